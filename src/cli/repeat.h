/* repeat.h: one training with several seeds: RUN/seed-<n> each a run of its own, and
 * RUN/repeat.json. */
#ifndef CAPS_REPEAT_H
#define CAPS_REPEAT_H

#include "cli.h"

typedef struct caps_repeat {
    size_t count;    /* 0: there is no repetition */
    uint64_t *seeds; /* [count] */
    char **outs;     /* [count] run directories */
} caps_repeat;

/* n seeds from `first` on, below the directory `out`. */
caps_status caps_repeat_init(
    caps_repeat *r, const char *out, uint64_t first, size_t n, caps_error *err);
/* What RUN/repeat.json says; count is 0 where there is none. CAPS_ERR_FORMAT. */
caps_status caps_repeat_load(caps_repeat *r, const char *out, caps_error *err);
/* Makes the directory, and RUN/repeat.json in it. CAPS_ERR_IO. */
caps_status caps_repeat_save(const caps_repeat *r, const char *out, caps_error *err);
void caps_repeat_release(caps_repeat *r); /* a zeroed one is allowed */

/* What `n` runs ended with: each one's test error, mean, standard deviation. */
void caps_repeat_print(const caps_repeat *r, const char *out, const caps_train_metrics *metrics,
    size_t n, const char *data);

#endif
