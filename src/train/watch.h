/* watch.h: does a training learn? Looks at what steps leave, and gives one line, once, where they
 * show that it does not: all class capsules short, all saturated, the loss where it was and the
 * error that of a guess, every image predicted as one class, a class that is never predicted.
 *
 * It costs no work on the device but a copy of the scores that are there, changes no result, and
 * is no part of the state: a run that goes on watches anew. */
#ifndef CAPS_WATCH_H
#define CAPS_WATCH_H

#include <capscl/train.h>

#include "stepper.h"

typedef struct caps_watch {
    const caps_train_config *config; /* borrowed, like all pointers but predicted and missed */
    const caps_dataset *train;
    const uint64_t *class_images; /* [J], of train */
    uint64_t window_steps;        /* steps that a window has */
    uint64_t steps_per_epoch, last_step;
    bool said; /* once is enough */

    /* The window: steps since it was begun. */
    uint64_t steps;
    uint64_t images; /* of the window's second half, with their */
    double errors;
    uint64_t bad_windows, guessing_windows,
        still_windows;            /* in a row, up to the last: see watch.c */
    float least, most;            /* of all scores */
    uint64_t saturated;           /* steps in a row, up to the last, with none below 0.9 */
    double sum_y, sum_xy, sum_yy; /* of the class loss y of step x, from 0 */
    uint64_t *window_predicted;   /* [J] */

    /* The epoch. */
    uint64_t epoch_steps;
    uint64_t *epoch_predicted; /* [J] */
    uint64_t *missed;          /* [J]: epochs in a row in which the class was never predicted */
} caps_watch;

/* A zeroed watch. The config's class weights, rate and spec are read later. CAPS_ERR_MEMORY. */
caps_status caps_watch_init(caps_watch *w, const caps_train_config *config,
    const caps_dataset *train, const uint64_t *class_images, uint64_t steps_per_epoch,
    uint64_t last_step, caps_error *err);
void caps_watch_release(caps_watch *w); /* a zeroed one is allowed */

/* After a step was taken. True: there is something to say, in text [bytes]. */
bool caps_watch_step(caps_watch *w, const caps_step_result *step, char *text, size_t bytes);

#endif
