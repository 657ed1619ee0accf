/* model_state.h: what a model holds; seen by src/model only. */
#ifndef CAPS_MODEL_STATE_H
#define CAPS_MODEL_STATE_H

#include "layer.h"

struct caps_model {
    caps_runtime *rt;
    caps_model_spec spec;
    caps_model_sizes sizes;
    caps_model_options options;
    caps_network network;
    caps_arena *arena;
    /* Flat, [network.elements]: views of them are the parameters' values and gradients. */
    caps_tensor parameters, gradients, first_moments, second_moments;
    caps_tensor flag;                      /* int32 [1]: a gradient was not finite */
    caps_tensor labels, best;              /* int32 [batch] */
    caps_tensor lengths, margin_loss, sse; /* [batch, J], [batch], [batch] */
    caps_tensor totals;                    /* [3] */
    caps_tensor workspace;                 /* convolution columns */
    size_t b;                              /* images of the batch that was set; 0: none */
    bool labelled;                         /* it has labels */
    bool forwarded;                        /* and went forward, masked by: */
    caps_mask mask;
};

/* Does the model run its decoder? */
static inline bool caps_model_reconstructs(const caps_model *m)
{
    return m->network.reconstruction && (m->options.training || m->options.reconstruct);
}

#endif
