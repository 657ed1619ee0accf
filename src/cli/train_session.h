/* train_session.h: what the trainings of a process share, and what they log and print. */
#ifndef CAPS_TRAIN_SESSION_H
#define CAPS_TRAIN_SESSION_H

#include "ranks.h"
#include "train_settings.h"

struct caps_train_session {
    const caps_train_flags *flags;
    const caps_args *args;
    caps_runtime *rt;               /* NULL: not open yet */
    caps_ranks *ranks;              /* NULL: this process alone */
    caps_opened opened;             /* all devices; rt is the first */
    caps_train_device *devices;     /* [opened.n]: what they did */
    struct caps_train_named *named; /* [named_count]: the devices of all ranks, on rank 0, */
    size_t named_count;             /* once the training is over */
    caps_checkpoint init;           /* of --init; zeroed: none */
    bool lacks_profile;             /* its network is without what the profile changes */
    double began;                   /* the process, for --time-limit */
    bool several;                   /* runs: a repetition */
    bool shown;                     /* network and memory were checked for an earlier run */
    void (*stop)(void);             /* as Ctrl-C does */
    /* NULL, or called once the first files of a run are written: the directory is ours from then
     * on. A failure ends the run. */
    caps_status (*begun)(void *user, caps_error *err);
    void *begun_user;
    caps_status begun_status; /* what it gave */
    caps_error begun_error;
    /* Of the last evaluation; NULL: none in this process. */
    char *class_line;     /* "error by class: ...", freed with free(); NULL too: classes are even */
    json_t *class_errors; /* [J] of {n, errors, error_percent} */
};

/* Trains with these settings into `out`, or goes on there. Errors as caps_train_run; a usage error
 * where the memory does not do. */
caps_status caps_train_one(caps_train_session *s, const caps_train_config *config, const char *out,
    bool resume, caps_train_end *end, caps_train_metrics *m, caps_error *err);

/* "Ctrl-C" or "SIGTERM": what stopped a run. */
const char *caps_train_signal_name(void);

/* ---- train_devices.c ------------------------------------------------------------------------ */

/* Opens the devices of a training: those that the flags name, those that a run had that goes on, or
 * the default one; of several ranks this one's part of them. */
caps_status caps_train_open_devices(
    caps_train_session *s, caps_train_config *config, caps_error *err);
void caps_train_close_devices(caps_train_session *s);
/* What the devices of all ranks did; all ranks call it. */
typedef struct caps_train_named {
    char id[64], name[128];
    int rank;
    caps_train_device did;
} caps_train_named;
caps_status caps_train_gather_devices(caps_train_session *s, caps_error *err);
/* "devices": what each did. */
json_t *caps_train_devices_json(const caps_train_session *s);
/* What each of several did in an epoch, for the log. */
void caps_train_devices_log(const caps_train_metrics *m);
/* The same as text; nothing where there is only one. */
void caps_train_devices_print(const caps_train_session *s);

/* ---- train_log.c ---------------------------------------------------------------------------- */

/* A run as it is logged. */
typedef struct caps_train_watch {
    caps_runtime *rt;
    caps_train_session *session;
    const caps_train_config *config;
    const char *out;
    bool resume;
    struct caps_events *events; /* --tensorboard; NULL: none, or they failed: */
    caps_status events_status;
    caps_error events_error;
    double began, last_detail_seconds;
    bool stepped; /* a step of this process is done */
} caps_train_watch;

/* The network, layer by layer. */
void caps_train_show_model(const caps_train_config *config);
/* caps_train_control.event, with a caps_train_watch as its user. */
void caps_train_on_event(
    void *user, caps_train_event event, const caps_train_metrics *m, const char *text);

/* train_classes.c: errors by class of an epoch's event into the session, which is logged where
 * classes are uneven. */
void caps_train_keep_classes(caps_train_watch *w, const caps_train_metrics *m);
void caps_train_release_classes(caps_train_session *s);

/* A run's document. */
json_t *caps_train_json(caps_runtime *rt, const caps_train_metrics *m);
/* A run's results as text; out: its directory; class_line: see caps_train_session, NULL: none. */
void caps_train_print(const caps_train_config *config, const char *out, const caps_train_metrics *m,
    const char *class_line);
#define CAPS_TRAIN_ERROR_BYTES 192
/* "0.54 % (54 of 10000 images; 95 % interval 0.41 to 0.70 %)" in text of that many bytes, which is
 * returned; of pairs with ", of single digits ...", where label_percent is not NaN. */
char *caps_train_error_text(
    char *text, double percent, double label_percent, uint64_t images, uint64_t labels);

#endif
