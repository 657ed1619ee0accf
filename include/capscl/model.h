/* capscl/model.h: model specs, models, checkpoints. */
#ifndef CAPSCL_MODEL_H
#define CAPSCL_MODEL_H

#include <capscl/ops.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- spec ----------------------------------------------------------------------------------- */

#define CAPS_MAX_HIDDEN  8
#define CAPS_MAX_CONV    8
#define CAPS_MAX_CLASSES 256
#define CAPS_MAX_LABELS  2
#define CAPS_CLASS_NAME  256 /* bytes of a class's name, the 0 at its end included: NAME_MAX + 1 */

/* "capsnet" is the network of the paper. "cnn" is a row of convolutions (zero padding, ReLU), then
 * linear layers (ReLU), dropout, and a last linear layer whose softmax tells the class. */
typedef struct caps_model_spec {
    char kind[16];    /* "capsnet" or "cnn" */
    size_t input[3];  /* C, H, W */
    size_t source[3]; /* C, H, W of the data's images where that is another size: they are centred
                         on black, or cut around their centre; all 0: the input's size */
    size_t classes;   /* J */
    size_t labels; /* of an image: 1, or 2 (MultiMNIST: the two longest capsules are the answer, and
                      the decoder runs once for each) */
    /* kind "capsnet" */
    struct {
        size_t channels, kernel, stride;
    } conv1; /* C1, k1 */
    struct {
        size_t types, dim, kernel, stride;
        bool average; /* the convolution's result is divided by `types` before its bias */
    } primary;        /* T, K, k2 */
    struct {
        size_t dim, iterations; /* D, r */
        caps_routing_grad routing_grad;
        bool bias;
        bool leaky; /* see caps_routing */
    } class_caps;
    bool has_decoder;
    size_t decoder_hidden[CAPS_MAX_HIDDEN], decoder_hidden_count; /* may be 0 hidden layers */
    /* kind "cnn" */
    struct {
        size_t channels, kernel, stride, padding;
    } conv[CAPS_MAX_CONV];
    size_t conv_count;
    size_t hidden[CAPS_MAX_HIDDEN], hidden_count; /* linear layers before the last */
    double dropout;                               /* before the last layer, while training; 0..1 */

    /* How the classes are called: no part of the spec's JSON, but kept beside it in checkpoints. */
    bool has_class_names;
    char class_names[CAPS_MAX_CLASSES][CAPS_CLASS_NAME]; /* UTF-8 */
} caps_model_spec;

/* Sizes that follow from a spec. */
typedef struct caps_model_sizes {
    size_t h1, w1; /* capsnet: after conv1 */
    size_t h2, w2; /* after primary; cnn: after the last convolution */
    size_t i;      /* input capsules: types * h2 * w2; cnn: 0 */
    size_t pixels; /* C*H*W */
    uint64_t parameters;
    uint64_t decoder_parameters; /* of them in the decoder */
} caps_model_sizes;

/* The name of class j: its own, else its number, in `text` of at least CAPS_CLASS_NAME bytes, which
 * is returned. */
CAPS_API const char *caps_class_name(const caps_model_spec *spec, size_t j, char *text);
/* Takes names where there are as many as classes; otherwise, and for NULL, there are none. A name
 * that is too long is refused, and then there are none: CAPS_ERR_FORMAT. */
CAPS_API caps_status caps_class_names_set(
    caps_model_spec *spec, char *const *names, size_t count, caps_error *err);
/* A list of them in JSON, freed with free(); NULL: out of memory. And back: CAPS_ERR_FORMAT. */
CAPS_API char *caps_class_names_format(const caps_model_spec *spec);
CAPS_API caps_status caps_class_names_parse(
    caps_model_spec *spec, const char *json, const char *where, caps_error *err);

/* Parses and checks JSON text; `where` names it in messages ("net.json"). CAPS_ERR_SPEC. */
CAPS_API caps_status caps_model_spec_parse(
    caps_model_spec *spec, const char *json, const char *where, caps_error *err);
/* `name_or_file`: a built-in name (caps_model_spec_builtin), else a file. CAPS_ERR_NOT_FOUND,
 * _SPEC. */
CAPS_API caps_status caps_model_spec_load(
    caps_model_spec *spec, const char *name_or_file, caps_error *err);
/* Compact JSON in the contract's order; later fields only where they are not their default. Freed
 * with free(). NULL: out of memory. */
CAPS_API char *caps_model_spec_format(const caps_model_spec *spec);
/* Checks every size; fills *sizes (NULL allowed). A spec that cannot be built names the layer and
 * the sizes: "primary: kernel 9 is larger than its input 5x7". */
CAPS_API caps_status caps_model_spec_check(
    const caps_model_spec *spec, caps_model_sizes *sizes, caps_error *err);
/* The same network; how its classes are called does not matter. */
CAPS_API bool caps_model_spec_equal(const caps_model_spec *a, const caps_model_spec *b);
/* The built-in specs: name i, or NULL past the last. */
CAPS_API const char *caps_model_spec_builtin(size_t i);

/* ---- model ---------------------------------------------------------------------------------- */

typedef struct caps_model caps_model;

/* loss = margin_scale * mean margin loss + reconstruction_weight * mean squared error, the means
 * over the images of a batch, the error summed over an image's pixels (and over its labels where
 * there are several). In a CNN the cross entropy stands in the margin loss's place. */
typedef struct caps_loss {
    caps_margin margin;
    double margin_scale;
    double reconstruction_weight;
} caps_loss;

/* Of the squared error in the loss (the paper, section 4.1). */
#define CAPS_RECONSTRUCTION_WEIGHT 0.0005
#define CAPS_LOSS_DEFAULT          ((caps_loss){CAPS_MARGIN_DEFAULT, 1, CAPS_RECONSTRUCTION_WEIGHT})

typedef struct caps_model_options {
    size_t max_batch;            /* >= 1 */
    bool training;               /* also gradients, and what backward needs */
    bool adam;                   /* also the two moments (training only) */
    size_t conv_workspace_bytes; /* cap of a convolution's workspace; 0: 64 MiB for columns, a
                                    quarter of the memory for transforms */
    const char *conv;            /* algorithm of the convolutions: "toom-cook" for all of them, or
                                    "conv1=direct,primary=auto"; NULL: $CAPSCL_CONV, else auto for
                                    all. See caps_conv_algorithm. Read by create only */
    const caps_loss *loss;       /* NULL: CAPS_LOSS_DEFAULT. Read by create only */
    const char *rate_factors;    /* on the rate of the optimizers, by layer or parameter:
                                    "primary=0.1,decoder.fc1.bias=2", a factor 0 or more, 1 for those
                                    not named; of two names for a parameter the longer one counts.
                                    NULL: all 1. Read by create only */
    bool reconstruct;            /* without training: run the decoder (its memory too) */
    uint64_t memory_limit_bytes; /* of device memory in all; 0: what the device has */
    bool split;                  /* training: where max_batch images do not fit, take fewer at once,
                                    see caps_model_gradients */
    size_t micro_batch;          /* with split: at most so many at once; 0: as many as fit */
    /* Class capsules; AUTO: caps_class_caps_choose chooses */
    caps_routing_algorithm routing_algorithm;
    bool input_gradient; /* training only: also of the images (caps_model_input_gradient); without
                            `reconstruct` the decoder is then left out, and so is its loss */
} caps_model_options;

/* Device memory by purpose, before anything is allocated. */
typedef struct caps_model_memory {
    uint64_t parameters, gradients, moments, activations, workspace, total;
    size_t micro_batch; /* images at once: max_batch but for `split` */
} caps_model_memory;

/* rt: counts also what matrix products need on that device; NULL: without it. With `split`,
 * CAPS_ERR_DEVICE_MEMORY where not even one image fits (need and have in the message). */
CAPS_API caps_status caps_model_forecast(const caps_runtime *rt, const caps_model_spec *spec,
    const caps_model_options *options, caps_model_memory *memory, caps_error *err);

/* Plans and allocates everything; later calls allocate nothing on the device. Errors:
 * CAPS_ERR_SPEC, CAPS_ERR_DEVICE_MEMORY (before allocating; the message has need and have). */
CAPS_API caps_status caps_model_create(caps_model **out, caps_runtime *rt,
    const caps_model_spec *spec, const caps_model_options *options, caps_error *err);
CAPS_API void caps_model_free(caps_model *m);

CAPS_API const caps_model_spec *caps_model_get_spec(const caps_model *m);
CAPS_API const caps_model_sizes *caps_model_get_sizes(const caps_model *m);
CAPS_API caps_runtime *caps_model_get_runtime(const caps_model *m);
CAPS_API const caps_loss *caps_model_get_loss(const caps_model *m);
CAPS_API size_t caps_model_get_max_batch(const caps_model *m); /* options.max_batch */
/* Images at once: the most that caps_model_set_batch takes. Less than max_batch under `split` only.
 */
CAPS_API size_t caps_model_get_micro_batch(const caps_model *m);

/* "conv1=direct,primary=toom-cook": the algorithms in force, to be an options.conv that repeats
 * them. */
CAPS_API const char *caps_model_get_conv(const caps_model *m);
/* STORED or FUSED: what the class capsules do. */
CAPS_API caps_routing_algorithm caps_model_get_routing(const caps_model *m);

/* Parameters in the contract's order and names; value and gradient are views of two flat buffers.
 */
typedef struct caps_parameter {
    const char *name; /* "conv1.weight" */
    int ndim;
    size_t shape[CAPS_MAX_DIMS];
    size_t count, first; /* elements; position in the flat buffer */
    caps_tensor value;
    caps_tensor gradient; /* buffer NULL unless training */
} caps_parameter;

CAPS_API size_t caps_model_parameter_count(const caps_model *m); /* number of tensors */
CAPS_API const caps_parameter *caps_model_parameter(const caps_model *m, size_t index);
/* For who writes into a parameter's value by other means than the functions here: what the model
 * keeps of the old values is forgotten. */
CAPS_API void caps_model_parameters_changed(caps_model *m);
CAPS_API size_t caps_model_flat_count(const caps_model *m); /* elements of the flat buffer */

typedef enum caps_initialiser {
    /* He-normal for layers with ReLU, Glorot-normal for the others, biases 0 (docs/numerics.md). */
    CAPS_INITIALISER_SCALED,
    /* As in the authors' published code: normal with sigma 0.1, in conv1 0.05, drawn anew beyond
     * two sigma; biases 0.1. */
    CAPS_INITIALISER_AUTHORS,
} caps_initialiser;

/* Weights drawn from (seed, parameter, element): the same on every device. Blocks. */
CAPS_API caps_status caps_model_initialise_as(
    caps_model *m, caps_initialiser initialiser, uint64_t seed, caps_error *err);
/* The same, scaled. */
CAPS_API caps_status caps_model_initialise(caps_model *m, uint64_t seed, caps_error *err);

/* All parameters at once, flat (caps_model_flat_count floats). Blocks. */
CAPS_API caps_status caps_model_set_parameters(caps_model *m, const float *flat, caps_error *err);
CAPS_API caps_status caps_model_get_parameters(caps_model *m, float *flat, caps_error *err);
CAPS_API caps_status caps_model_get_gradients(caps_model *m, float *flat, caps_error *err);
/* Adam's moments, flat. CAPS_ERR_ARGUMENT where the model has none. */
CAPS_API caps_status caps_model_set_moments(
    caps_model *m, const float *first, const float *second, caps_error *err);
CAPS_API caps_status caps_model_get_moments(
    caps_model *m, float *first, float *second, caps_error *err);

typedef enum caps_mask {
    CAPS_MASK_LABEL,   /* the decoder sees the true class's capsule (training) */
    CAPS_MASK_LONGEST, /* the longest capsule (inference) */
} caps_mask;

/* Images on the host with what belongs to them; L is spec.labels. */
typedef struct caps_images {
    size_t b;
    const float *images;   /* [b, C*H*W] */
    const int32_t *labels; /* [b, L]; NULL: none, then losses are not computed */
    const float *targets;  /* [b, L, C*H*W]: what the decoder is to give for each label; NULL: the
                              image (L = 1), or no reconstruction loss (L > 1) */
} caps_images;

/* Puts a batch into the model's input. 1 <= b <= caps_model_get_micro_batch. Enqueues; the host
 * arrays may be reused at return. */
CAPS_API caps_status caps_model_set_images(
    caps_model *m, const caps_images *images, caps_error *err);
/* The same without targets. */
CAPS_API caps_status caps_model_set_batch(
    caps_model *m, size_t b, const float *images, const int32_t *labels, caps_error *err);
/* Numbers that the draws of a training step follow from. Where a model has dropout it drops in
 * forwards that are masked by label from then on, until step is 0: the default. */
CAPS_API void caps_model_set_step(caps_model *m, uint64_t seed, uint64_t step);
/* Forward of the batch that was set. Enqueues. */
CAPS_API caps_status caps_model_forward(caps_model *m, caps_mask mask, caps_error *err);
/* All gradients of the loss (caps_loss). Needs `training`. Enqueues. */
CAPS_API caps_status caps_model_backward(caps_model *m, caps_error *err);

/* set_batch, forward (masked by label) and backward of a batch of b <= max_batch images, in
 * ceil(b / micro_batch) equal parts (their sizes differ by one at most), one after the other. The
 * gradients are those of the mean over all b, equal within rounding to those of the batch at once;
 * the outputs are the last part's. Enqueues: the host arrays must stay as they are until the queue
 * has passed. Needs `training`. */
CAPS_API caps_status caps_model_gradients_of(
    caps_model *m, const caps_images *images, caps_error *err);
/* The same without targets. */
CAPS_API caps_status caps_model_gradients(
    caps_model *m, size_t b, const float *images, const int32_t *labels, caps_error *err);

/* The gradient of the loss in the images of the batch, [b, C, H, W], once caps_model_backward has
 * run: a view; buffer NULL where the model was made without `input_gradient`. */
CAPS_API caps_tensor caps_model_input_gradient(const caps_model *m);

/* The last forward's results: views, first dimension the batch's size; buffer NULL where there is
 * none (no decoder, no labels). */
typedef struct caps_model_outputs {
    caps_tensor lengths;        /* [b, J]; of a CNN the softmax's probabilities */
    caps_tensor capsules;       /* [b, J, D]; none in a CNN */
    caps_tensor primary;        /* [b, I, K]: the primary capsules; none in a CNN */
    caps_tensor couplings;      /* [b, I, J] of the last iteration; none in a CNN */
    caps_tensor all_couplings;  /* [r, b, I, J] of every iteration */
    caps_tensor best;           /* int32 [b], or [b, L]: the longest capsules */
    caps_tensor reconstruction; /* [b * L, C*H*W]: of label t of image n in row n L + t; by length
                                   those that are right stand where their label does */
    caps_tensor margin_loss;    /* [b]; of a CNN the cross entropy */
    caps_tensor sse;            /* [b * L] */
} caps_model_outputs;
CAPS_API caps_model_outputs caps_model_get_outputs(const caps_model *m);

/* The decoder alone: outputs.reconstruction (and nothing else of the outputs, until the next
 * forward) is what it makes of class capsules given by the caller, [b, J*D], who has set to zero
 * those that it shall not see. 1 <= b <= caps_model_get_micro_batch. Enqueues; the host array may
 * be reused at return. CAPS_ERR_ARGUMENT where the model has no decoder, or was made without
 * `reconstruct` (or `training`). */
CAPS_API caps_status caps_model_decode(
    caps_model *m, const float *capsules, size_t b, caps_error *err);

/* Sums over the batches since the last clear: margin loss, sse, errors (see caps_totals_add). The
 * forward adds to them where labels are set. get blocks. */
typedef struct caps_model_totals {
    double margin_loss, sse, errors;
} caps_model_totals;
CAPS_API caps_status caps_model_clear_totals(caps_model *m, caps_error *err);
CAPS_API caps_status caps_model_get_totals(caps_model *m, caps_model_totals *t, caps_error *err);
/* Puts back what get gave. Blocks. */
CAPS_API caps_status caps_model_set_totals(
    caps_model *m, const caps_model_totals *t, caps_error *err);

/* One optimizer step over the flat buffers, at `rate` times options.rate_factors. Enqueues. */
CAPS_API caps_status caps_model_adam(caps_model *m, float rate, uint64_t t, caps_error *err);
CAPS_API caps_status caps_model_sgd(caps_model *m, float rate, caps_error *err);
/* *finite is false where a gradient of a step since the last call was not finite. Blocks. */
CAPS_API caps_status caps_model_check_finite(caps_model *m, bool *finite, caps_error *err);
/* After a loss or gradient that is not finite: the first layer (forward order, then gradients in
 * backward order) whose values are not, e.g. "class_caps" or "gradient of conv1.weight". */
CAPS_API caps_status caps_model_first_not_finite(caps_model *m, char *name, size_t bytes, caps_error *err);

/* ---- checkpoints ---------------------------------------------------------------------------- */

/* model.safetensors: parameters, and in __metadata__ capscl.spec, capscl.format "1" and, where it
 * is not the default, the loss as capscl.loss. Written to a temporary file beside `path`, synced,
 * renamed. CAPS_ERR_IO. */
CAPS_API caps_status caps_model_save(caps_model *m, const char *path, caps_error *err);

/* A checkpoint's spec and parameters in host memory. */
typedef struct caps_checkpoint {
    caps_model_spec spec;
    bool has_spec;
    caps_loss loss;    /* that it was trained with, for caps_model_options.loss; the default where
                          the file names none */
    float *parameters; /* flat, the contract's order; NULL before load */
    size_t count;
} caps_checkpoint;

/* Reads and checks every offset, shape and dtype. `spec` says what it must hold; NULL: the file's
 * own. Errors: CAPS_ERR_NOT_FOUND, CAPS_ERR_FORMAT, CAPS_ERR_SPEC, CAPS_ERR_MISMATCH. */
CAPS_API caps_status caps_checkpoint_load(
    caps_checkpoint *c, const char *path, const caps_model_spec *spec, caps_error *err);
CAPS_API void caps_checkpoint_release(caps_checkpoint *c);

#ifdef __cplusplus
}
#endif
#endif
