/* lanes.h: the models of an evaluation on their devices.
 *
 * Each model is a lane. Of m lanes, number k computes the batches k, k + m, ...; of several each has
 * a thread. The results of one batch are read while the device computes the next. */
#ifndef CAPS_LANES_H
#define CAPS_LANES_H

#include <capscl/inspect.h>

#include "batcher.h"

/* A batch and its results in host memory. */
typedef struct caps_readings {
    const caps_batch *batch; /* NULL: none is on its way */
    size_t first;            /* its first image */
    cl_event event;          /* the last of them has come */
    float *lengths;          /* [batch, J] */
    int32_t *best;           /* [batch, L] */
    float *class_loss, *sse; /* [batch], [batch * L] */
    float *changed; /* [batch, C*H*W]: what the device gets in place of the batch's images */
} caps_readings;

typedef struct caps_lanes_job {
    const caps_dataset *ds;
    caps_model *model;
    const caps_evaluate_options *options; /* whole */
    /* Image i of these readings; all images come in their order, from the thread that called. */
    void (*count)(void *user, const int32_t *true_labels, caps_readings *r, size_t i);
    void *user;
} caps_lanes_job;

/* All images of the data set. Errors as caps_evaluate. */
caps_status caps_lanes_run(const caps_lanes_job *job, caps_error *err);

#endif
