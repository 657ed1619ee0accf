/* layer.h: layers, and networks as lists of them.
 *
 * A layer reads values that earlier layers gave, and owns the values that it gives and its
 * parameters. A value is an activation with its gradient: y and dy. A network is a list of layers
 * in forward order, and the heads that make scores and losses of what the layers give (head.h). The
 * drivers in src/model run the layers forward in that order and backward in the reverse one, and
 * know no kind of layer.
 *
 * A kind of layer is one file, layers/<kind>.c: its fields, shapes, parameters, memory, forward and
 * backward, in a caps_layer_kind that registry.c lists. docs/adding-a-layer.md walks through one.
 *
 * Backward: when a layer's turn comes, the dy of its outputs are complete. It writes the gradients
 * of its parameters, and the dy of its inputs where these have a buffer. Heads write theirs before;
 * a layer that shares its input with a head adds (`mask`). A layer may overwrite its own dy. */
#ifndef CAPS_LAYER_H
#define CAPS_LAYER_H

#include <math.h>

#include <capscl/network.h>

#include "arena.h"
#include "batch_share.h"
#include "fields.h"
#include "launch.h"
#include "not_finite.h"

enum {
    CAPS_MOST_LAYERS = 64,
    CAPS_MOST_PARAMETERS = 128,
    CAPS_MOST_VALUES = 2,      /* inputs of a layer, outputs of one */
    CAPS_LAYER_NAME = 48,      /* bytes of a name, the final 0 included */
    CAPS_TRANSIENT_ALIGN = 64, /* elements */
};

typedef struct caps_layer caps_layer;
typedef struct caps_network caps_network;
typedef struct caps_head caps_head;

/* What a value is. */
typedef enum caps_form {
    CAPS_FORM_MAPS,     /* [C, H, W] feature maps */
    CAPS_FORM_FEATURES, /* [n] */
    CAPS_FORM_CAPSULES, /* [I, K] */
    CAPS_FORM_MATRIX,   /* of no value, but in messages: capsules [I, 16] with activations [I] */
} caps_form;

typedef struct caps_value {
    const caps_layer *layer; /* that gives it */
    const char *name;        /* of a second output, "pose"; "" for the first */
    caps_form form;
    int ndim; /* the batch not counted */
    size_t shape[CAPS_MAX_DIMS - 1];
    size_t grid[3];        /* capsules with a place: types, height, width; else 0 */
    size_t rows_per_image; /* 1, or, behind a mask, one for each label of an image */
    caps_tensor y;         /* [batch * rows_per_image, shape] */
    caps_tensor dy; /* the same; no buffer unless training, nor for the network's input unless
                              its gradient is wanted */
} caps_value;

/* What a layer plans with. Layers ask the arena for their tensors and raise the two maxima. */
typedef struct caps_plan {
    caps_arena *arena;
    const caps_runtime *rt; /* NULL: no device yet, scratch stays 0 */
    size_t batch;           /* most images at once */
    bool training;
    bool input_gradient;     /* wanted: of the network's input */
    const char *conv;        /* requested: caps_model_options.conv, never NULL */
    char conv_chosen[1024];  /* "conv1=direct,": what the layers took */
    size_t conv_limit_bytes; /* for a convolution's columns, */
    size_t conv_most_bytes;  /* and for other workspaces of one */
    size_t workspace;        /* float32 elements that the layers share */
    size_t workspace_cached; /* how many of them, from the first one on, hold what has to last */
    size_t transient;        /* the most that a layer needs for the time of a call, behind these */
    size_t scratch_bytes;    /* of matrix products */
    caps_routing_algorithm routing_requested;
    caps_routing_algorithm routing_chosen; /* AUTO: no layer routes */
} caps_plan;

/* One batch on its way through the layers. */
typedef struct caps_pass {
    caps_runtime *rt;
    size_t b;            /* images in it */
    caps_tensor labels;  /* int32 [b] or [b, L]; buffer NULL: none */
    caps_tensor targets; /* [b * L, C*H*W] of the reconstruction; buffer NULL: none */
    caps_tensor chosen;  /* int32 [b] or [b, L]: the classes whose capsules the mask keeps */
    bool by_labels;      /* which are the labels */
    /* The mask's output, where the classifying head masks along with what else it computes; it is
     * then the head's both ways. NULL: the mask layer's. */
    const caps_value *masked;
    /* What the classifying head's backward, where it masks, adds up along with it. NULL: nothing. */
    const struct caps_totals *totals;
    double mean; /* weight of an image in the loss of the backward that follows; 0: not known yet */
    const caps_dropout *dropout; /* of a training step; NULL: nothing is dropped */
    bool by_batch; /* batch normalisation by the batch's statistics; else by the running ones */
    /* Other models compute the rest of the batch; b may be 0 then, of layers that normalise, whose
     * forward and backward do no more than their part in the statistics. NULL: it is whole. */
    const caps_batch_share *share;
    caps_tensor workspace; /* float32 [plan.workspace] */
    /* Whose intermediate results the workspace holds; who uses it puts itself there. */
    const void **workspace_user;
    uint64_t version; /* of the parameters: another number, other values */
} caps_pass;

/* The operation behind a layer with its sizes, for benchmarks and counts. */
typedef enum caps_problem_type {
    CAPS_PROBLEM_NONE,
    CAPS_PROBLEM_CONV,      /* x_shape[0] is 1 image; capsules: its channels are types * dim */
    CAPS_PROBLEM_LINEAR,    /* in, out, act */
    CAPS_PROBLEM_CAPS,      /* class_caps but for its batch and algorithm */
    CAPS_PROBLEM_EM,        /* em of one image */
    CAPS_PROBLEM_ATTENTION, /* sizes of class_caps but for its batch */
    CAPS_PROBLEM_DEPTHWISE, /* x_shape of 1 image, w_shape, conv.stride */
    CAPS_PROBLEM_POOL,      /* x_shape of 1 image; w_shape: 0, 0, kernel, kernel; conv.stride */
    CAPS_PROBLEM_TYPES
} caps_problem_type;

typedef struct caps_layer_problem {
    caps_problem_type type;
    size_t x_shape[4], w_shape[4];
    caps_conv2d conv;
    bool normalised;    /* the convolution's output is, over the batch */
    size_t types, dim;  /* of primary capsules; else 0 */
    caps_squash squash; /* of primary capsules */
    size_t in, out;
    caps_activation act;
    caps_class_caps class_caps;
    caps_em em;
    size_t couplings; /* sets of them that routing leaves: one for each iteration; 0: none */
    double flops;     /* of an image's forward: products alone */
} caps_layer_problem;

typedef struct caps_layer_kind {
    const char *name;          /* "conv" */
    size_t bytes;              /* of the struct that begins with caps_layer */
    const caps_field *fields;  /* NULL: no layer of a spec's list */
    const char *classes_field; /* of a layer that classifies: as many as classes; NULL: it cannot */
    bool reads_matrix;         /* both values of a layer of matrix capsules (matrix.h) */
    /* From fields and inputs: the outputs' form and shape, the parameters. Refuses inputs that do
     * not fit: CAPS_ERR_SPEC, "name: ...". */
    caps_status (*build)(caps_layer *layer, caps_network *n, caps_error *err);
    /* "256 channels, kernel 9, stride 1: 20x20" */
    void (*describe)(const caps_layer *layer, char *text, size_t bytes);
    /* Memory beside the outputs' y and dy, which the driver plans. NULL: none. */
    caps_status (*plan)(caps_layer *layer, caps_plan *plan, caps_error *err);
    /* NULL: y is filled from outside (the input). */
    caps_status (*forward)(caps_layer *layer, const caps_pass *pass, caps_error *err);
    caps_status (*backward)(caps_layer *layer, const caps_pass *pass, caps_error *err);
    /* What it can show beside its outputs: "couplings" of a batch of b; no buffer: nothing of that
     * name. NULL: nothing. */
    caps_tensor (*result)(const caps_layer *layer, const char *name, size_t b);
    /* The tensor that round n (from 0) of a forward leaves something in, and in row where in it lies
     * what is not finite where anything of the round is not (row NULL: not wanted); returns NULL:
     * there are n rounds. The hook NULL: the outputs are all that a forward leaves. */
    const caps_tensor *(*round)(
        const caps_layer *layer, const caps_runtime *rt, size_t n, caps_not_finite_row *row);
    /* For benchmarks; NULL: nothing worth measuring. */
    void (*problem)(const caps_layer *layer, caps_layer_problem *problem);
} caps_layer_kind;

/* A parameter with what only the model knows of it. */
typedef struct caps_owned_parameter {
    caps_parameter parameter; /* parameter.name points to `name` */
    char name[CAPS_LAYER_NAME + 32];
    double
        stddev; /* of the normal distribution that first values come from; 0: they are `initial` */
    double authors_stddev; /* the same for CAPS_INITIALISER_AUTHORS, cut at twice that; 0: they are
                              `authors_initial` */
    double initial, authors_initial;
    /* Not 0: the last two dimensions are square matrices of so many rows, and first values are those
     * of the identity plus what is said above. */
    size_t identity;
    float lr_multiplier; /* on the learning rate that an optimizer is given */
    bool statistic;      /* it is not trained and has no gradient: a layer keeps it up to date */
} caps_owned_parameter;

struct caps_layer {
    const caps_layer_kind *kind;
    char name[CAPS_LAYER_NAME];           /* "conv1" */
    caps_value *inputs[CAPS_MOST_VALUES]; /* none for the input layer */
    size_t input_count;
    caps_value outputs[CAPS_MOST_VALUES];
    size_t output_count;
    bool decodes; /* part of the decoder: left out where no reconstruction is wanted */
    caps_owned_parameter *parameters; /* [parameter_count], the network's */
    size_t parameter_count;
};

struct caps_network {
    caps_layer *layers[CAPS_MOST_LAYERS]; /* forward order */
    size_t layer_count;
    caps_owned_parameter parameters[CAPS_MOST_PARAMETERS]; /* in the order of the flat buffer */
    size_t parameter_count;
    size_t elements;                  /* of all that are trained: one flat buffer, no gaps */
    size_t statistics;                /* of all that are not, behind these */
    size_t conv_count, dropout_count; /* layers of these kinds so far */
    caps_value *input;                /* [C, H, W] */
    caps_layer *classifier;           /* the layer whose output the classifying head reads */
    caps_head *class_head;
    caps_head *reconstruction_head; /* NULL: there is no decoder */
};

/* Builds the layers and heads that the spec describes, without a device. CAPS_ERR_SPEC: "name:
 * ...". */
caps_status caps_network_init(caps_network *network, const caps_model_spec *spec, caps_error *err);
void caps_network_release(caps_network *network);

/* Whether that is the name of a built-in network. */
bool caps_model_spec_is_builtin(const char *name);

/* The first field in which two specs differ: "class_caps.iterations is 3, need 2". */
void caps_spec_difference(
    char *text, size_t bytes, const caps_model_spec *have, const caps_model_spec *need);

/* By caps_squash: "paper", "exp". */
extern const char *const caps_squash_names[];

/* The kinds that a spec's list may have: the i-th, NULL past the last; by name, NULL: none. */
const caps_layer_kind *caps_layer_kind_at(size_t i);
const caps_layer_kind *caps_layer_kind_find(const char *name);

/* The kinds that networks add by themselves, and how: the input, the mask before the decoder. */
extern const caps_layer_kind caps_layer_input, caps_layer_mask;
/* The decoder is made of these; fields are set by the caller, from JSON: {"out": 512}. */
extern const caps_layer_kind caps_layer_linear;

/* ---- for the kinds -------------------------------------------------------------------------- */

/* The layer's first (next) output: float32 [shape] an image. Refuses what is too large. */
caps_status caps_layer_add_output(
    caps_layer *layer, caps_form form, int ndim, const size_t *shape, caps_error *err);
/* A parameter "<layer>.<name>". */
caps_status caps_layer_add_parameter(caps_network *network, caps_layer *layer, const char *name,
    int ndim, const size_t *shape, double stddev, caps_error *err);
/* A statistic [count] "<layer>.<name>" that the layer keeps up to date in training. */
caps_status caps_layer_add_statistic(caps_network *network, caps_layer *layer, const char *name,
    size_t count, double initial, caps_error *err);
/* Every array of the network, one image's worth, stays under 2^48 elements: sums of some tens of
 * them, times a batch, then fit 64 bits. what: "its column buffer". CAPS_ERR_SPEC. */
caps_status caps_layer_check_array(
    const char *layer, const char *what, int n, const size_t *shape, caps_error *err);
/* The layer reads one value of this form. need: "an image". CAPS_ERR_SPEC names both. */
caps_status caps_layer_require(
    const caps_layer *layer, caps_form form, const char *need, caps_error *err);
/* Elements of a value, an image's; of a layer's trained parameters, which lie together in the flat
 * buffers. */
size_t caps_value_elements(const caps_value *value);
size_t caps_layer_elements(const caps_layer *layer);
/* It has statistics: it normalises by its batch. */
bool caps_layer_has_statistics(const caps_layer *layer);

/* Elements behind what is cached in the workspace, for whoever needs them for the time of a call:
 * planned, */
static inline void caps_plan_transient(caps_plan *plan, size_t elements)
{
    if (elements > plan->transient)
        plan->transient = elements;
}

/* with all layers planned, */
static inline void caps_plan_finish_workspace(caps_plan *plan)
{
    const size_t need = caps_round_up(plan->workspace_cached, CAPS_TRANSIENT_ALIGN) +
                        caps_round_up(plan->transient, CAPS_TRANSIENT_ALIGN);
    if (plan->transient > 0 && need > plan->workspace)
        plan->workspace = need;
}

/* and found: the last ones. */
static inline caps_tensor caps_transient_workspace(const caps_pass *pass, const size_t *elements)
{
    const size_t all = pass->workspace.shape[0];
    const size_t first = (all - caps_round_up(*elements, CAPS_TRANSIENT_ALIGN)) /
                         CAPS_TRANSIENT_ALIGN * CAPS_TRANSIENT_ALIGN;
    return caps_tensor_wrap(
        pass->workspace.buffer, pass->workspace.offset + first, CAPS_F32, 1, elements);
}

/* The first b images of a tensor. */
static inline caps_tensor caps_batch_of(const caps_tensor *t, size_t b)
{
    return caps_tensor_rows(t, 0, b);
}

/* b images' rows of a value's y or dy. */
static inline caps_tensor caps_rows_of(const caps_value *value, const caps_tensor *t, size_t b)
{
    return caps_tensor_rows(t, 0, b * value->rows_per_image);
}

/* The same, flat: [b * rows_per_image, elements]. */
static inline caps_tensor caps_flat_of(const caps_value *value, const caps_tensor *t, size_t b)
{
    const caps_tensor rows = caps_rows_of(value, t, b);
    return caps_tensor_reshape(
        &rows, 2, (size_t[]){b * value->rows_per_image, caps_value_elements(value)});
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
