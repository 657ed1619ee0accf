/* tune.h: what `capscl tune` can measure.
 *
 * What is chosen is recorded (src/device/choice.h): `capscl tune` runs a network once and then
 * measures, for each record, the algorithms that are candidates for it. To make another choice
 * tunable, give it a chooser, and add a kind. */
#ifndef CAPS_TUNE_H
#define CAPS_TUNE_H

#include "cli.h"
#include "choice.h"

enum { CAPS_TUNE_VARIANTS = 16 };

typedef struct caps_tune_kind {
    const char *kind; /* the first word of its keys: "gemm" */
    /* The variants for a choice: static strings, at most CAPS_TUNE_VARIANTS; their number. */
    size_t (*variants)(caps_runtime *rt, const caps_choice *choice, const char **names);
    /* What the runs need (tensors); then one run by a variant, enqueued; then all is freed. */
    caps_status (*open)(void **state, caps_runtime *rt, const caps_choice *choice, caps_error *err);
    caps_status (*run)(void *state, const char *variant, caps_error *err);
    void (*close)(void *state);
    /* Changing the variant makes a library build kernels again: one is measured to its end before
     * the next begins. Else they take turns, so that a busy machine slows all of them alike. */
    bool builds;
} caps_tune_kind;

/* In the order in which they are tuned: what others are measured with comes first. Ends with a row
 * whose kind is NULL. */
extern const caps_tune_kind caps_tune_kinds[];

#endif
