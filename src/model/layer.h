/* layer.h: layers, and networks as lists of them.
 *
 * A layer reads the output of an earlier one and owns its output, its gradient and its parameters.
 * A network is a list of layers in forward order; the drivers in model.c run them forward in that
 * order and backward in the reverse one, and know no more. Another network is another list
 * (network.c); another kind of layer is another layer_<kind>.c with a caps_layer_class.
 *
 * Backward: when a layer's turn comes, its dy is complete. It writes the gradients of its
 * parameters, and dx into its input's dy (unless input->dy has no buffer). Losses write first; a
 * layer that shares its input with a loss or another reader adds (`mask`). dy may be overwritten.
 */
#ifndef CAPS_LAYER_H
#define CAPS_LAYER_H

#include <math.h>

#include <capscl/model.h>

#include "arena.h"
#include "launch.h"

enum { CAPS_TRANSIENT_ALIGN = 64 }; /* elements */

enum { CAPS_MOST_LAYERS = 32, CAPS_MOST_PARAMETERS = 64 };

typedef struct caps_layer caps_layer;

/* What a layer plans with. Layers ask the arena for their tensors and raise the two maxima. */
typedef struct caps_plan {
    caps_arena *arena;
    const caps_runtime *rt; /* NULL: no device yet, scratch stays 0 */
    size_t batch;           /* most images at once */
    bool training;
    bool input_gradient;     /* wanted: of the network's input */
    const char *conv;        /* caps_model_options.conv, never NULL */
    char conv_choices[256];  /* "conv1=direct,": what the layers took */
    size_t conv_limit_bytes; /* for a convolution's columns, */
    size_t conv_most_bytes;  /* and for other workspaces of one */
    size_t workspace;        /* float32 elements that the layers share */
    size_t workspace_cached;   /* how many of them, from the first one on, hold what has to last */
    size_t scratch_bytes;    /* of matrix products */
    caps_routing_algorithm routing_algorithm; /* a requested; then what was chosen */
} caps_plan;

/* One batch on its way through the layers. */
typedef struct caps_pass {
    caps_runtime *rt;
    size_t b;           /* images in it */
    caps_tensor chosen; /* int32 [b] or [b, labels]: the classes whose capsules the mask keeps */
    const caps_dropout *dropout; /* of a training step; NULL: nothing is dropped */
    caps_tensor workspace;       /* float32 [plan.workspace] */
    /* Whose intermediate results the workspace holds; who uses it puts itself there. */
    const void **workspace_user;
    uint64_t version; /* of the parameters: another number, other values */
} caps_pass;

typedef struct caps_layer_class {
    const char *kind;
    size_t bytes; /* of the struct that begins with caps_layer */
    /* Memory beside y and dy, which the driver plans. NULL: none. */
    caps_status (*plan)(caps_layer *layer, caps_plan *plan, caps_error *err);
    /* NULL: y is filled from outside (the input). */
    caps_status (*forward)(caps_layer *layer, const caps_pass *pass, caps_error *err);
    caps_status (*backward)(caps_layer *layer, const caps_pass *pass, caps_error *err);
} caps_layer_class;

/* A parameter with what only the model knows of it. */
typedef struct caps_owned_parameter {
    caps_parameter parameter; /* parameter.name points to `name` */
    char name[48];
    double sigma; /* of the normal distribution that first values come from; 0: they are 0 */
    double
        authors_stddev; /* the same for CAPS_INITIALISER_AUTHORS, cut at 2 sigma; 0: they are 0.1 */
    float rate_factor; /* on the rate that an optimizer is given */
} caps_owned_parameter;

struct caps_layer {
    const caps_layer_class *class;
    char name[24];     /* "conv1" */
    caps_layer *input; /* NULL for the input layer only */
    bool reconstructs; /* part of the decoder: left out where no reconstruction is wanted */
    size_t rows_per_image;     /* rows of y an image: 1, or, behind a mask, one for each of its labels */
    int ndim;          /* of y, the batch not counted */
    size_t shape[CAPS_MAX_DIMS - 1];
    caps_owned_parameter *parameters; /* [parameter_count], the network's */
    size_t parameter_count;
    caps_tensor y;  /* [batch * copies, shape] */
    caps_tensor dy; /* the same; no buffer unless training, nor for the input unless it is wanted */
};

typedef struct caps_network {
    caps_layer *layers[CAPS_MOST_LAYERS]; /* forward order */
    size_t layer_count;
    caps_owned_parameter parameters[CAPS_MOST_PARAMETERS]; /* the contract's order */
    size_t parameter_count;
    size_t elements;            /* of all parameters: one flat buffer, no gaps */
    caps_layer *input;          /* y: [batch, C, H, W] */
    caps_layer *capsules;       /* y: [batch, J, D]; lengths classify; NULL in a CNN */
    caps_tensor *couplings;     /* [r, batch, I, J] of that layer */
    caps_layer *logits;         /* y: [batch, J]; a CNN's classifier, else NULL */
    caps_layer *reconstruction; /* y: [batch, C*H*W], or NULL */
} caps_network;

/* Builds the list that the spec describes, without a device. `spec` must be checked. */
caps_status caps_network_init(caps_network *network, const caps_model_spec *spec, caps_error *err);
void caps_network_release(caps_network *network);

/* For the layers' create functions: a zeroed layer of this class at the end of the list. */
caps_status caps_network_add(caps_layer **layer, caps_network *network,
    const caps_layer_class *class, const char *name, caps_layer *input, int ndim,
    const size_t *shape, caps_error *err);
/* A parameter "<layer>.<name>" of the layer that was added last. */
void caps_network_add_parameter(caps_network *network, caps_layer *layer, const char *name,
    int ndim, const size_t *shape, double sigma);

/* The layers. fan-in and fan-out below are as in docs/numerics.md. */
caps_status caps_layer_input(caps_network *n, const size_t shape[3], caps_error *err);
caps_status caps_layer_conv(caps_network *n, const char *name, size_t channels, size_t kernel,
    size_t stride, size_t padding, caps_error *err); /* ReLU behind it */
/* average: the convolution's result is divided by `types` before its bias. */
caps_status caps_layer_primary(caps_network *n, const char *name, size_t types, size_t dim,
    size_t kernel, size_t stride, bool average, caps_error *err);
caps_status caps_layer_class_caps(caps_network *n, const char *name, size_t classes, size_t dim,
    const caps_routing *routing, bool bias, caps_error *err);
/* labels: capsules that it keeps, each in a row of its own. */
caps_status caps_layer_mask(caps_network *n, const char *name, size_t labels, caps_error *err);
/* stream: keeps its draws apart from those of other layers. */
caps_status caps_layer_dropout(
    caps_network *n, const char *name, double rate, uint32_t stream, caps_error *err);
caps_status caps_layer_linear(
    caps_network *n, const char *name, size_t out, caps_activation activation, caps_error *err);

/* Elements behind what is kept in the workspace, for whoever needs them for the time of a call:
 * planned, */
static inline void caps_plan_transient(caps_plan *plan, size_t elements)
{
    const size_t need = caps_round_up(plan->workspace_cached, CAPS_TRANSIENT_ALIGN) +
                        caps_round_up(elements, CAPS_TRANSIENT_ALIGN);
    if (need > plan->workspace)
        plan->workspace = need;
}

/* and found: the last ones. */
static inline caps_tensor caps_transient_workspace(const caps_pass *pass, const size_t *elements)
{
    const size_t all = pass->workspace.shape[0];
    const size_t first = (all - caps_round_up(*elements, CAPS_TRANSIENT_ALIGN)) / CAPS_TRANSIENT_ALIGN *
                         CAPS_TRANSIENT_ALIGN;
    return caps_tensor_wrap(
        pass->workspace.buffer, pass->workspace.offset + first, CAPS_F32, 1, elements);
}

/* The first b images of a tensor. */
static inline caps_tensor caps_batch_of(const caps_tensor *t, size_t b)
{
    return caps_tensor_rows(t, 0, b);
}

/* b images' rows of a layer's output or gradient, flat: [b * copies, elements]. */
static inline caps_tensor caps_flat_of(const caps_layer *layer, const caps_tensor *t, size_t b)
{
    const caps_tensor rows = caps_batch_of(t, b * layer->rows_per_image);
    size_t count = 1;
    for (int d = 0; d < layer->ndim; d++)
        count *= layer->shape[d];
    return caps_tensor_reshape(&rows, 2, (size_t[]){b * layer->rows_per_image, count});
}

static inline double caps_stddev_he(size_t fan_in)
{
    return sqrt(2.0 / (double)fan_in);
}

static inline double caps_stddev_glorot(size_t fan_in, size_t fan_out)
{
    return sqrt(2.0 / ((double)fan_in + (double)fan_out));
}

#endif
