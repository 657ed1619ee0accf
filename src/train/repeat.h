/* repeat.h: the same training with several seeds, one after the other.
 *
 *     OUT/repeat.json   {"seeds": [1, 2, 3], "config": settings, as in a run's config.json}
 *     OUT/seed-1/ ...   an ordinary run each, which may also be resumed alone
 *
 * repeat.json is written when the first run has its first files, so that a seed that has not begun
 * can begin in another process. */
#ifndef CAPS_REPEAT_H
#define CAPS_REPEAT_H

#include <capscl/train.h>

#define CAPS_REPEAT_FILE "repeat.json"

/* How far one of the seeds has come. */
typedef struct caps_repeat_result {
    caps_train_metrics metrics;
    bool trained, finished;
} caps_repeat_result;

typedef struct caps_repeat {
    const char *out; /* borrowed */
    bool resume, overwrite;
    uint64_t *seeds; /* [count] */
    size_t count;
    caps_train_config config;    /* of every seed, but for the seed; the caller fills it in */
    caps_repeat_result *results; /* [count] */
    uint64_t *stale;             /* seeds of a repetition that this one replaces */
    size_t stale_count;
} caps_repeat;

/* Is there a repetition in `out`? */
caps_status caps_repeat_exists(bool *exists, const char *out, caps_error *err);
/* Its first seed. False: there is none, or it cannot be read. */
bool caps_repeat_first(const char *out, uint64_t *seed);

/* A new repetition with `count` seeds from `first` on. Checks what can be checked, touches nothing.
 * CAPS_ERR_ARGUMENT (seeds past the greatest), CAPS_ERR_EXISTS, CAPS_ERR_IO. */
caps_status caps_repeat_begin(
    caps_repeat *r, const char *out, uint64_t first, size_t count, bool overwrite, caps_error *err);
/* One that goes on, with its settings. CAPS_ERR_FORMAT, CAPS_ERR_IO. */
caps_status caps_repeat_load(caps_repeat *r, const char *out, caps_error *err);
void caps_repeat_release(caps_repeat *r); /* a zeroed one is allowed */

/* The directory of a seed's run, freed with free(). NULL: out of memory. */
char *caps_repeat_directory(const caps_repeat *r, size_t i);

/* To be called once the first seed's run is under way (CAPS_TRAIN_STARTED): removes all runs of an
 * earlier repetition but that one, so that none of them is taken for one of these, and writes down
 * which seeds these are. */
caps_status caps_repeat_started(const caps_repeat *r, caps_error *err);

/* Trains the run of seed i, which is a new one or goes on (`resume`). started: it is the first of a
 * new repetition, caps_repeat_started is due. */
typedef struct caps_repeat_run {
    size_t i;
    const char *out;
    bool resume, started;
} caps_repeat_run;
typedef caps_status caps_repeat_train(void *user, const caps_repeat_run *run,
    const caps_train_config *config, caps_train_end *end, caps_train_metrics *m, caps_error *err);

/* Trains what is not finished, one seed after the other, up to the first that is stopped: *at, or
 * `count` where all are finished. A failure's message begins with its seed. `change` puts another
 * end into the settings of a run that goes on; NULL: they stay as they are. */
typedef void caps_repeat_change(void *user, caps_train_config *config);
caps_status caps_repeat_train_all(caps_repeat *r, caps_repeat_train *train,
    caps_repeat_change *change, void *user, size_t *at, caps_train_end *end, caps_error *err);

/* Over the seeds that are finished and have such an error; returns how many they are. */
typedef double caps_repeat_error(const caps_train_metrics *m);
size_t caps_repeat_mean(
    const caps_repeat *r, caps_repeat_error *error, double *mean, double *standard_deviation);

#endif
