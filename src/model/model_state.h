/* model_state.h: what a model holds; seen by src/model only. */
#ifndef CAPS_MODEL_STATE_H
#define CAPS_MODEL_STATE_H

#include <capscl/model.h>

#include "head.h"
#include "layer.h"
#include "not_finite.h"
#include "step.h"

/* A tensor that may hold what is not finite, and how it is called: before + name. */
typedef struct caps_checked_tensor {
    const caps_tensor *tensor;
    const char *before, *name;
    bool per_image;          /* [batch, ...] */
    const caps_layer *layer; /* of an iteration; else NULL */
    size_t iteration;        /* of its forward, from 0 */
} caps_checked_tensor;

/* A copy of what a step leaves on its way to the host. */
typedef struct caps_reading {
    int32_t *words; /* the record, then from CAPS_SCORES_AT on float32 [micro, J] */
    size_t scored;  /* images in them */
    cl_event event; /* NULL: none */
} caps_reading;

enum { CAPS_SCORES_AT = 8 }; /* elements: rows of fours behind the record */

struct caps_model {
    caps_runtime *rt;
    caps_model_spec *spec; /* its own */
    caps_model_options options;
    caps_network network;
    caps_arena *arena;
    size_t micro; /* most images at once */
    /* Flat, [network.elements], parameters with [network.statistics] behind them: views of them are
     * the parameters' values and gradients. */
    caps_tensor parameters, gradients, first_moments, second_moments;
    caps_tensor average; /* of the parameters; no buffer: none */
    caps_tensor partial; /* one layer's gradients of a micro-batch; no buffer unless micro is less
                            than max_batch */
    caps_tensor left;    /* int32 [8 + micro * J], what steps leave and the host reads at once: */
    caps_tensor record;  /* int32 [5] (not_finite.h), and behind it the scores. With */
    caps_tensor totals;  /* float32 [3] in it: class loss, sse, errors, */
    caps_tensor flag;    /* int32 [1] in it: a gradient was not finite */
    bool fresh;          /* the record is 0 for whoever comes next, but not on the device yet */
    caps_tensor batch;   /* the input's y, and behind the images that were set their labels: */
    caps_tensor labels;  /* int32 [b], or [b, L] */
    caps_tensor targets; /* [batch * L, C*H*W]; L > 1 only, else the images */
    caps_loss loss;
    float step_margin;          /* of the spread loss in caps_model_accumulate; 0: the loss's */
    caps_tensor class_weights;  /* [J]; no buffer: none */
    caps_tensor workspace;      /* of convolutions */
    const void *workspace_user; /* see caps_pass */
    uint64_t version;           /* of the parameters, from 1; see caps_pass */
    char conv[1024];            /* caps_model_get_conv */
    const char *routing;        /* caps_model_get_routing */
    size_t b;                   /* images of the batch that was set; 0: none */
    size_t part;                /* which micro-batch of a batch it is, from 0 */
    double mean;                /* weight of its images in the loss that is wanted; 0: not known */
    bool labelled;              /* it has labels */
    bool targeted;              /* and what the decoder is to give is known */
    caps_dropout dropout;       /* step 0: none */
    bool forwarded;             /* and went forward, masked by: */
    caps_mask mask;
    const caps_batch_share *share; /* caps_joint.share of the batch at hand */
    size_t decoded;                /* only the decoder ran, on the caller's capsules */

    caps_checked_tensor *checked; /* in the order in which they are computed */
    size_t checked_count;
    caps_tensor check_table; /* int32 [checked_count, 8]: the same on the device */
    cl_mem *check_buffers;   /* that they lie in, [checked_count] at most */
    uint32_t check_buffer_count;
    caps_reading readings[CAPS_STEPS_AT_ONCE];
};

/* Does the model run its decoder? */
static inline bool caps_model_reconstructs(const caps_model *m)
{
    const bool trains = m->options.training && !m->options.input_gradient;
    return m->network.reconstruction_head && (trains || m->options.reconstruct);
}

/* Does batch normalisation go by the batch's statistics in forwards that are masked by label? */
static inline bool caps_model_by_batch(const caps_model *m)
{
    return m->options.training && !m->options.input_gradient;
}

/* Has the batch at hand a reconstruction loss? */
static inline bool caps_model_compares(const caps_model *m)
{
    return caps_model_reconstructs(m) && m->targeted;
}

/* The heads that run; NULL ends the list of at most two. */
static inline caps_head *caps_model_head(const caps_model *m, size_t i)
{
    return i == 0                                 ? m->network.class_head
           : i == 1 && caps_model_reconstructs(m) ? m->network.reconstruction_head
                                                  : NULL;
}

/* plan.c: everything up to the allocation. */
caps_status caps_model_plan(caps_model *m, const caps_runtime *rt, const caps_model_spec *spec,
    const caps_model_options *options, caps_plan *plan, caps_error *err);
/* The plan fits the limit and the device; one_allocation: also each tensor by itself. */
caps_status caps_model_check_memory(const caps_model *m, const caps_runtime *rt,
    const caps_plan *plan, bool one_allocation, caps_error *err);
/* Frees what was planned; the model can be planned again. */
void caps_model_release_plan(caps_model *m);

/* Makes views of m->batch: the input's y, and the labels of b images. */
void caps_model_bind_batch(caps_model *m, size_t b);

/* pass.c: puts images into the input; wait: the host arrays may be reused at return. */
caps_status caps_model_put(caps_model *m, const caps_images *images, bool wait, caps_error *err);

/* optimizers.c: every parameter's lr_multiplier; text: caps_model_options.lr_multipliers. */
caps_status caps_lr_multipliers_set(caps_network *n, const char *text, caps_error *err);

/* step.c: asks the arena for what steps leave of `batch` images and for the table; fills them once
 * it has committed; waits for what is still read. */
caps_status caps_checks_plan(caps_model *m, size_t batch, caps_error *err);
caps_status caps_checks_init(caps_model *m, caps_error *err);
/* Checks a micro-batch before the next one takes its tensors. */
caps_status caps_checks_between(caps_model *m, caps_error *err);
/* Zeroes a fresh record, for those that add to it. */
caps_status caps_record_settle(caps_model *m, caps_error *err);
void caps_readings_release(caps_model *m);

#endif
