/* stepper.h: the pipeline of training steps, in one place.
 *
 * A step is five calls in this order: begin the step's record, set the step's number, gradients of
 * a batch, the optimizer, end (what the step left is read). All of them only enqueue, so the host
 * runs ahead of the device: while one step is computed the next one is enqueued, and what the one
 * before left is taken.
 *
 *     caps_stepper_enqueue     step n        device: n - 1
 *     caps_stepper_take        step n - 1    device: n
 *
 * What holds, and is asserted:
 * - steps are numbered without gaps, and are taken in the order in which they were enqueued;
 * - at most CAPS_STEPS_AT_ONCE are in flight, step n in slot n modulo that number;
 * - the arrays of a batch stay as they are until its step was taken. A batcher keeps its last
 *   CAPS_BATCHES_HELD batches, which is why no more steps than so many may be in flight. */
#ifndef CAPS_STEPPER_H
#define CAPS_STEPPER_H

#include <capscl/train.h>

#include "step.h"

/* Called between a step's gradients and its optimizer: where the gradients are summed over devices.
 * They lie in the parameters' `gradient` (caps_model_parameter), as the mean over this model's
 * batch, or, of a part of a batch, summed over its images and divided by their number in all. A
 * failure ends the step, and is its error. */
typedef caps_status caps_stepper_reduce(void *user, caps_model *m, caps_error *err);
/* Called in place of both, where a sharded optimizer updates the parameters. */
typedef caps_status caps_stepper_update(
    void *user, caps_model *m, float lr, uint64_t step, caps_error *err);
/* Called before, as each layer's part of them is enqueued: see caps_joint. */
typedef caps_status caps_stepper_ready(void *user, size_t first, size_t count, caps_error *err);

/* What a step was and what it left. */
typedef struct caps_step_result {
    uint64_t step; /* from 1 */
    size_t images;
    double lr;
    caps_model_totals totals; /* over its images */
    bool finite;              /* losses and gradients */
    char where[CAPS_WHERE];   /* not finite: the first layer or gradient that is not */
    /* [scored, J] of its last micro-batch; until the next step but one is enqueued. */
    const float *scores;
    size_t scored;
} caps_step_result;

typedef struct caps_stepper {
    caps_model *model; /* borrowed */
    caps_optimizer optimizer;
    uint64_t seed;
    caps_stepper_reduce *reduce; /* NULL: none. May be set while no step is in flight */
    caps_stepper_ready *ready;   /* likewise; NULL: none */
    caps_stepper_update *update; /* likewise; NULL: `reduce` and the whole optimizer */
    void *reduce_user;
    const caps_batch_share *share; /* caps_joint.share; NULL: none */
    /* The images of the next step are those from `first` on of `total` that several models compute
     * together; there may be none. total 0: they are all. */
    size_t first, total;
    double ema; /* the model's average decays by so much a step; 0: there is none */

    uint64_t taken;   /* the last step that was taken; the first one that is enqueued comes next */
    size_t in_flight; /* enqueued and not taken: taken + 1 to taken + in_flight */
    struct {
        size_t images;
        double lr;
        bool used;
    } slots[CAPS_STEPS_AT_ONCE];
} caps_stepper;

/* first: the number of the first step that will be enqueued, from 1. */
void caps_stepper_init(
    caps_stepper *s, caps_model *model, caps_optimizer optimizer, uint64_t seed, uint64_t first);

/* The last step that was enqueued (and those before it). */
uint64_t caps_stepper_enqueued(const caps_stepper *s);
/* The optimizer's step for elements [first, first + count) of what is trained. */
caps_status caps_stepper_optimize(
    const caps_stepper *s, float lr, uint64_t step, size_t first, size_t count, caps_error *err);
bool caps_stepper_is_full(const caps_stepper *s); /* one must be taken before the next goes in */

/* Images of one of the last CAPS_STEPS_AT_ONCE steps that were enqueued, or failed there. */
size_t caps_stepper_images(const caps_stepper *s, uint64_t step);

/* Gives the device the next step: a batch of at most the model's max_batch, with labels. Never
 * waits, unless `reduce` does. After a failure no further step may be enqueued; those in flight can
 * be taken. */
caps_status caps_stepper_enqueue(
    caps_stepper *s, const caps_images *images, double lr, caps_error *err);
/* Waits for the oldest step in flight (there must be one). A step whose values are not finite is no
 * failure here: what follows it was computed from these values. */
caps_status caps_stepper_take(caps_stepper *s, caps_step_result *result, caps_error *err);
/* Takes all that are in flight and forgets what they left. */
caps_status caps_stepper_settle(caps_stepper *s, caps_error *err);

#endif
