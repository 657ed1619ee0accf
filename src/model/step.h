/* step.h: training steps and evaluations that never wait for the device, for src/train.
 *
 *     caps_step_begin(m)                       the record of the step will be new
 *     caps_model_accumulate(m, ..., true, ...) upload, forward, totals, backward
 *     caps_model_adam(m, ...)                  optimizer
 *     caps_step_end(m, slot)                   check for what is not finite, read the step's record
 *     (the next step goes in)
 *     caps_step_wait(m, slot, &report)         wait for that reading alone
 *
 * Everything but the last only enqueues. */
#ifndef CAPS_STEP_H
#define CAPS_STEP_H

#include <capscl/model.h>

#include "batch_share.h"

enum { CAPS_STEPS_AT_ONCE = 2 };

enum { CAPS_WHERE = 96 }; /* bytes of the name of what is not finite */

/* The record of a step. */
typedef struct caps_step_report {
    caps_model_totals totals;
    bool finite; /* both losses' sums and every gradient */
    char where
        [CAPS_WHERE]; /* not finite: what caps_model_first_not_finite found right after the step */
    /* [scored, J] of the step's last micro-batch: lengths or probabilities. Borrowed, until a step
     * is enqueued in its slot. */
    const float *scores;
    size_t scored;
} caps_step_report;

/* What caps_model_initialise puts into a model of this spec, drawn without one; freed
 * with free(). */
caps_status caps_model_draw(float **flat, const caps_model_spec *spec, caps_initialiser initialiser,
    uint64_t seed, caps_error *err);
/* Parameters to begin a training with: the moments become zero. */
caps_status caps_model_begin(caps_model *m, const float *flat, caps_error *err);

/* caps_model_set_batch that only enqueues: the host arrays must stay as they are until the queue
 * has passed. */
caps_status caps_model_enqueue_batch(caps_model *m, const caps_images *images, caps_error *err);
/* A batch of which this model computes a part, and other models the rest. */
typedef struct caps_joint {
    size_t first, total; /* its images are those from `first` on of `total` */
    /* Called when elements [first, first + count) of the flat gradient are enqueued whole; NULL:
     * no. The layers come in the order of the backward pass, the last one first. */
    caps_status (*ready)(void *user, size_t first, size_t count, caps_error *err);
    void *user;
    const caps_batch_share *share; /* for layers that normalise; NULL: there are none */
} caps_joint;

/* caps_model_gradients; totals: with caps_model_add_totals for every micro-batch. With `joint`
 * (NULL: the batch is this model's alone) an image weighs 1 / total in the loss, so that the
 * gradients of all models add up to those of the whole batch; of no images nothing is enqueued but a
 * part in the statistics of layers that normalise. */
caps_status caps_model_accumulate(caps_model *m, const caps_images *images, bool totals,
    const caps_joint *joint, caps_error *err);

/* Does it run its decoder? Not where the network has none, or it was made without. */
bool caps_model_decodes(const caps_model *m);
/* The gradients of all parameters, [caps_model_trained_count]: a view; and what is trained. */
caps_tensor caps_model_flat_gradients(const caps_model *m);
caps_tensor caps_model_flat_trained(const caps_model *m);
/* caps_model_adam and caps_model_sgd of elements [first, first + count) of what is trained. */
caps_status caps_model_adam_part(
    caps_model *m, float lr, uint64_t t, size_t first, size_t count, caps_error *err);
caps_status caps_model_sgd_part(
    caps_model *m, float lr, size_t first, size_t count, caps_error *err);

void caps_step_begin(caps_model *m);
/* slot: below CAPS_STEPS_AT_ONCE, not in use. The queue is flushed. */
caps_status caps_step_end(caps_model *m, size_t slot, caps_error *err);
caps_status caps_step_wait(caps_model *m, size_t slot, caps_step_report *report, caps_error *err);

/* Is the parameter of this index a running statistic? It is not trained and has no moments. */
bool caps_model_is_statistic(const caps_model *m, size_t index);

/* What is trained, with running statistics behind it, Adam's moments and the average, for the host
 * to read: flat, NULL where the model has none.
 * The model may not train until they are given back. */
typedef struct caps_model_view {
    const float *parameters, *moments[2], *average;
} caps_model_view;
caps_status caps_model_map(caps_model *m, caps_model_view *view, caps_error *err);
caps_status caps_model_unmap(caps_model *m, caps_model_view *view, caps_error *err);

/* The average as caps_model_save_own saves the parameters. */
caps_status caps_model_save_average_own(caps_model *m, const char *path, caps_error *err);

/* A tensor's content, enqueued: `host` is filled once *event (NULL: not wanted) has come. The
 * caller releases it. */
caps_status caps_model_read(
    caps_model *m, const caps_tensor *t, void *host, cl_event *event, caps_error *err);

#endif
