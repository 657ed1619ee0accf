/* model_state.h: what a model holds; seen by src/model only. */
#ifndef CAPS_MODEL_STATE_H
#define CAPS_MODEL_STATE_H

#include "layer.h"
#include "not_finite.h"
#include "step.h"

enum { CAPS_MOST_LOOKS = CAPS_MOST_LAYERS + 2 * CAPS_MOST_PARAMETERS };

/* A tensor that may hold what is not finite, and how it is called: before + name. */
typedef struct caps_looked_at {
    const caps_tensor *tensor;
    const char *before, *name;
    bool per_image; /* [batch, ...] */
} caps_looked_at;

/* A copy of `record` on its way to the host. */
typedef struct caps_reading {
    int32_t words[CAPS_NOT_FINITE_RECORD];
    cl_event event; /* NULL: none */
} caps_reading;

struct caps_model {
    caps_runtime *rt;
    caps_model_spec spec;
    caps_model_sizes sizes;
    caps_model_options options;
    caps_network network;
    caps_arena *arena;
    size_t micro; /* most images at once */
    /* Flat, [network.elements]: views of them are the parameters' values and gradients. */
    caps_tensor parameters, gradients, first_moments, second_moments;
    caps_tensor partial; /* one layer's gradients of a part of the batch; no buffer unless micro is
                            less than max_batch */
    caps_tensor record;  /* int32 [5], what steps tell (not_finite.h), with */
    caps_tensor totals;  /* float32 [3] in it: margin loss, sse, errors, */
    caps_tensor flag;    /* int32 [1] in it: a gradient was not finite */
    caps_tensor labels, best; /* int32 [batch], or [batch, L] */
    caps_tensor matched;      /* int32 [batch, L]: `best` in the order of the labels; L > 1 only */
    caps_tensor targets;      /* [batch * L, C*H*W]; L > 1 only, else the images */
    caps_tensor lengths;      /* [batch, J] */
    caps_tensor margin_loss, sse; /* [batch], [batch * L] */
    caps_loss loss;
    caps_tensor workspace;        /* of convolutions */
    const void *workspace_user;   /* see caps_pass */
    uint64_t version;             /* of the parameters, from 1; see caps_pass */
    char conv[256];               /* caps_model_get_conv */
    caps_routing_algorithm routing; /* caps_model_get_routing */
    size_t b;                     /* images of the batch that was set; 0: none */
    size_t part;                  /* which part of a batch it is, from 0 */
    bool labelled;                /* it has labels */
    bool targeted;                /* and what the decoder is to give is known */
    caps_dropout dropout;         /* step 0: none */
    bool forwarded;               /* and went forward, masked by: */
    caps_mask mask;
    size_t decoded; /* only the decoder ran, on the caller's capsules */

    caps_looked_at looks[CAPS_MOST_LOOKS]; /* in the order in which they are computed */
    size_t look_count;
    caps_tensor look_table;               /* int32 [look_count, 6]: the same on the device */
    cl_mem look_buffers[CAPS_MOST_LOOKS]; /* that they lie in */
    uint32_t look_buffer_count;
    caps_reading readings[CAPS_STEPS_AT_ONCE];
};

/* Does the model run its decoder? */
static inline bool caps_model_reconstructs(const caps_model *m)
{
    const bool trains = m->options.training && !m->options.input_gradient;
    return m->network.reconstruction && (trains || m->options.reconstruct);
}

/* optimizers.c: every parameter's rate_factor; text: caps_model_options.rate_factors. */
caps_status caps_rate_factors_set(caps_network *n, const char *text, caps_error *err);

/* step.c: asks the arena for record and table; fills them once it has committed; waits for what is
 * still read. */
caps_status caps_looks_plan(caps_model *m, caps_error *err);
caps_status caps_looks_make(caps_model *m, caps_error *err);
/* Looks at a part of a batch before the next one takes its tensors. */
caps_status caps_looks_between(caps_model *m, caps_error *err);
void caps_readings_release(caps_model *m);

#endif
