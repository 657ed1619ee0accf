/* tune.h: measures the choices that a network needs on a device. Nothing here prints.
 *
 * Choosers record what they choose and for which sizes (src/device/choice.h): tuning runs a network
 * once and then measures, for each record, every algorithm that its kind of choice knows. */
#ifndef CAPS_TUNE_H
#define CAPS_TUNE_H

#include <capscl/model.h>

#include "choice.h"

enum { CAPS_TUNE_ALGORITHMS = 16 };

/* What was measured for a choice. */
typedef struct caps_tune_result {
    const caps_choice *choice; /* with the algorithm that was in force */
    size_t count, best;
    const char *algorithms[CAPS_TUNE_ALGORITHMS];
    double seconds[CAPS_TUNE_ALGORITHMS]; /* medians; NaN: not measured */
} caps_tune_result;

typedef struct caps_tune {
    caps_runtime *rt;
    const caps_model_spec *spec;
    size_t batch;                   /* of training; the prediction of one image is tuned too */
    double seconds;                 /* of measuring, at most */
    bool (*is_stopped)(void *user); /* called between measurements */
    /* Before a choice is measured: how much is done, 0 to 1. */
    void (*progress)(void *user, const char *key, double done);
    void (*result)(void *user, const caps_tune_result *result); /* of a choice that was measured */
    void (*speed)(void *user, double images_per_second); /* of training, measured at the end */
    void (*not_saved)(
        void *user, const char *message); /* at most once: the cache cannot be written */
    void *user;
} caps_tune;

typedef struct caps_tune_totals {
    size_t choices, measured;
    bool saved; /* all that was measured is in the cache */
} caps_tune_totals;

/* Of the model that it makes. */
caps_model_options caps_tune_model_options(const caps_tune *t);

/* Trains one step and predicts one image, so that every chooser records its choice. */
caps_status caps_tune_run_network(const caps_tune *t, caps_error *err);

/* Measures these choices until the time is over, and saves each result. */
caps_status caps_tune_measure(const caps_tune *t, caps_tune_totals *totals, caps_error *err);

/* Then training itself, as the choices are now: its speed is what several devices share a batch by.
 * Saved too. */
caps_status caps_tune_measure_speed(const caps_tune *t, caps_tune_totals *totals, caps_error *err);

/* ---- kinds of choices ----------------------------------------------------------------------- */

typedef struct caps_tune_kind {
    const char *name; /* the first word of its keys: "gemm" */
    /* The algorithms for a choice: static strings, at most CAPS_TUNE_ALGORITHMS; their number. */
    size_t (*algorithms)(caps_runtime *rt, const caps_choice *choice, const char **names);
    /* What the runs need (tensors); then one run by an algorithm, enqueued; then all is freed. */
    caps_status (*open)(void **state, caps_runtime *rt, const caps_choice *choice, caps_error *err);
    caps_status (*run)(void *state, const char *algorithm, caps_error *err);
    void (*close)(void *state);
    /* Changing the algorithm makes a library build kernels again: one is measured to its end before
     * the next begins. Else they take turns, so that a busy machine slows all of them alike. */
    bool builds;
} caps_tune_kind;

/* In the order in which they are tuned: what others are measured with comes first. Ends with a row
 * whose name is NULL. */
extern const caps_tune_kind caps_tune_kinds[];

/* One choice of a kind, for so many seconds from now, `end` (caps_clock_seconds) at most. *chosen
 * is false where nothing follows from what was measured. */
caps_status caps_tune_measure_choice(const caps_tune *t, const caps_tune_kind *kind,
    double deadline, double end, caps_tune_result *result, bool *chosen, caps_error *err);

#endif
