/* train_session.h: what one or several trainings of a process share. */
#ifndef CAPS_TRAIN_SESSION_H
#define CAPS_TRAIN_SESSION_H

#include "train_settings.h"

typedef struct caps_train_session {
    const caps_train_flags *flags;
    const caps_args *args;
    caps_runtime *rt; /* NULL: not open yet */
    double began;     /* the process, for --time-limit */
    bool shown;       /* network and memory were looked at for an earlier run */
    /* NULL, or called once the first files of a run are written: the directory is ours from then
     * on. A failure ends the run. */
    caps_status (*begun)(void *user, caps_error *err);
    void *begun_user;
    caps_status begun_status; /* what it gave */
    caps_error begun_error;
} caps_train_session;

/* Trains with these settings into `out`, or goes on there. init: as in caps_train_control. Errors
 * as caps_train_run; a usage error where the memory does not do. */
caps_status caps_train_one(caps_train_session *s, const caps_train_config *config, const char *out,
    const caps_checkpoint *init, caps_train_end *end, caps_train_metrics *m, caps_error *err);

/* "Ctrl-C" or "SIGTERM": what stopped a run. */
const char *caps_train_signal_name(void);

/* A run's document. */
json_t *caps_train_json(caps_runtime *rt, const caps_train_metrics *m);
#define CAPS_TRAIN_ERROR_BYTES 192
/* "0.54 % (54 of 10000 images; 95 % interval 0.41 to 0.70 %)" in text of that many bytes, which is
 * returned; of pairs with ", of single digits ...", where label_percent is not NaN. */
char *caps_train_error_text(
    char *text, double percent, double label_percent, uint64_t images, uint64_t labels);

#endif
