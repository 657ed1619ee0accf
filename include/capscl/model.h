/* capscl/model.h: a network on a device, and checkpoints. */
#ifndef CAPSCL_MODEL_H
#define CAPSCL_MODEL_H

#include <capscl/network.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- model ---------------------------------------------------------------------------------- */

typedef struct caps_model caps_model;

/* Begin with {CAPS_OPTIONS(caps_model_options), ...}. */
typedef struct caps_model_options {
    size_t size;                 /* of this struct: CAPS_OPTIONS */
    size_t max_batch;            /* >= 1 */
    bool training;               /* also gradients, and what backward needs */
    bool adam;                   /* also the two moments (training only) */
    bool reconstruct;            /* without training: run the decoder (its memory too) */
    bool input_gradient;         /* training only: also of the images (caps_model_input_gradient);
                                    without `reconstruct` the decoder is then left out, and so is
                                    its loss */
    bool accumulate;             /* training: where max_batch images do not fit, take micro-batches
                                    and accumulate their gradients, see caps_model_gradients */
    size_t micro_batch;          /* with accumulate: at most so many images at once; 0: as many as
                                    fit */
    uint64_t memory_limit_bytes; /* of device memory in all; 0: what the device has */
    size_t conv_workspace_bytes; /* cap of a convolution's workspace; 0: 64 MiB for columns, on
                                    a GPU an eighth of its memory; a quarter for transforms */
    const char *conv;            /* algorithm of the convolutions: "toom-cook" for all of them, or
                                    "conv1=direct,primary=auto"; NULL: what the runtime was asked
                                    for ($CAPSCL_CONV), else auto. See caps_conv_algorithm. Read by
                                    create only */
    caps_routing_algorithm routing_algorithm; /* AUTO: caps_class_caps_choose chooses */
    const caps_loss *loss;                    /* NULL: CAPS_LOSS_DEFAULT. Read by create only */
    const char *lr_multipliers;               /* learning-rate multipliers, by layer or parameter:
                                   "primary=0.1,decoder.fc1.bias=2", each 0 or more, 1 for those not
                                   named; of two names for a parameter the longer one counts. NULL:
                                   all 1. Read by create only */
    const float *class_weights; /* [J], of the spec's classes, each finite and 0 or more: the class
                                   loss of an image, and its gradient, times the weight of its
                                   label (of several labels: the mean of their weights). The
                                   reconstruction loss has none. NULL: none. Read by create only */
    double weight_decay; /* X, 0 or more: an optimizer takes g + X w in place of the gradient g of a
                            weight w, as of a loss with X/2 |w|^2; of tensors named "weight" alone,
                            no bias, no beta. 0: none */
    bool average;        /* training only: also an average of the parameters, which
                                   caps_model_average_step moves */
} caps_model_options;

/* Device memory by purpose, before anything is allocated. */
typedef struct caps_model_memory {
    uint64_t parameters, gradients, moments, activations, workspace, total;
    size_t micro_batch; /* images at once: max_batch but for `accumulate` */
} caps_model_memory;

/* rt: counts also what matrix products need on that device; NULL: without it. With
 * `accumulate`, CAPS_ERR_DEVICE_MEMORY where not even one image fits (need and have in the
 * message). */
CAPS_API caps_status caps_model_forecast(const caps_runtime *rt, const caps_model_spec *spec,
    const caps_model_options *options, caps_model_memory *memory, caps_error *err);

/* Plans and allocates everything; later calls allocate nothing on the device. Errors:
 * CAPS_ERR_SPEC, CAPS_ERR_DEVICE_MEMORY (before allocating; the message has need and have). */
CAPS_API caps_status caps_model_create(caps_model **out, caps_runtime *rt,
    const caps_model_spec *spec, const caps_model_options *options, caps_error *err);
CAPS_API void caps_model_free(caps_model *m);

CAPS_API const caps_model_spec *caps_model_get_spec(const caps_model *m);
CAPS_API const caps_model_info *caps_model_get_info(const caps_model *m); /* of its spec */
CAPS_API caps_runtime *caps_model_get_runtime(const caps_model *m);
CAPS_API const caps_loss *caps_model_get_loss(const caps_model *m);
CAPS_API size_t caps_model_get_max_batch(const caps_model *m); /* options.max_batch */
/* Images at once: the most that caps_model_set_batch takes. Less than max_batch under
 * `accumulate` only. */
CAPS_API size_t caps_model_get_micro_batch(const caps_model *m);

/* "conv1=direct,primary=toom-cook": the algorithms in force, to be an options.conv that repeats
 * them. */
CAPS_API const char *caps_model_get_conv(const caps_model *m);
/* "stored" or "fused": what layers with dynamic routing do; "": there is none. */
CAPS_API const char *caps_model_get_routing(const caps_model *m);

CAPS_API size_t caps_model_parameter_count(const caps_model *m); /* number of tensors */
CAPS_API const caps_parameter *caps_model_parameter(const caps_model *m, size_t index);
/* For who writes into a parameter's value by other means than the functions here: what the model
 * keeps of the old values is forgotten. */
CAPS_API void caps_model_parameters_changed(caps_model *m);
/* Elements of the flat buffer of parameters; of those of gradients and moments, which have no
 * running statistics (caps_model_info.statistics, the last ones of the parameters). */
CAPS_API size_t caps_model_flat_count(const caps_model *m);
CAPS_API size_t caps_model_trained_count(const caps_model *m);

typedef enum caps_initialiser {
    /* He-normal for layers with ReLU, Glorot-normal for the others, biases 0 (docs/numerics.md). */
    CAPS_INITIALISER_SCALED,
    /* As in the authors' published code: normal, standard deviation 0.1, in the first
     * convolution 0.05, drawn anew beyond twice that; biases 0.1. */
    CAPS_INITIALISER_AUTHORS,
} caps_initialiser;

/* Weights drawn from (seed, parameter, element): the same on every device. Adam's moments become 0.
 * Blocks. */
CAPS_API caps_status caps_model_initialise(
    caps_model *m, caps_initialiser initialiser, uint64_t seed, caps_error *err);

/* All parameters at once, flat (caps_model_flat_count floats). Blocks. */
CAPS_API caps_status caps_model_set_parameters(caps_model *m, const float *flat, caps_error *err);
CAPS_API caps_status caps_model_get_parameters(caps_model *m, float *flat, caps_error *err);
CAPS_API caps_status caps_model_get_gradients(caps_model *m, float *flat, caps_error *err);
/* Gradients and Adam's moments: caps_model_trained_count floats. CAPS_ERR_ARGUMENT where the model has none. */
CAPS_API caps_status caps_model_set_moments(
    caps_model *m, const float *first, const float *second, caps_error *err);
CAPS_API caps_status caps_model_get_moments(
    caps_model *m, float *first, float *second, caps_error *err);

/* The exponential moving average of the parameters (caps_model_options.average), which begins as the
 * first ones that are drawn or set. All four: CAPS_ERR_ARGUMENT where the model has none.
 * average += rate (parameters - average), rate 0 to 1. Enqueues. */
CAPS_API caps_status caps_model_average_step(caps_model *m, float rate, caps_error *err);
/* Parameters and average change places: between two such calls the model computes with the average.
 * Enqueues. */
CAPS_API caps_status caps_model_swap_average(caps_model *m, caps_error *err);
/* Flat. Block. */
CAPS_API caps_status caps_model_set_average(caps_model *m, const float *flat, caps_error *err);
CAPS_API caps_status caps_model_get_average(caps_model *m, float *flat, caps_error *err);

typedef enum caps_mask {
    CAPS_MASK_LABEL,   /* the decoder sees the true class's capsule (training) */
    CAPS_MASK_LONGEST, /* the longest capsule (inference) */
} caps_mask;

/* Images on the host with what belongs to them; L is the spec's labels. */
typedef struct caps_images {
    size_t b;
    const float *images;   /* [b, C*H*W] */
    const int32_t *labels; /* [b, L]; NULL: none, then losses are not computed. Those that begin
                              where the images end go to the device with them, in one command */
    const float *targets;  /* [b, L, C*H*W]: what the decoder is to give for each label; NULL: the
                              image (L = 1), or no reconstruction loss (L > 1) */
} caps_images;

/* Puts a batch into the model's input. 1 <= b <= caps_model_get_micro_batch. The host arrays may be
 * reused at return. */
CAPS_API caps_status caps_model_set_batch(
    caps_model *m, const caps_images *images, caps_error *err);
/* Numbers that the draws of a training step follow from. Where a model has dropout it drops in
 * forwards that are masked by label from then on, until step is 0: the default. */
CAPS_API void caps_model_set_step(caps_model *m, uint64_t seed, uint64_t step);
/* The margin of the spread loss in caps_model_gradients from then on; 0: that of the model's loss,
 * the default, which all else has anyway. */
CAPS_API void caps_model_set_spread_margin(caps_model *m, float margin);
/* Forward of the batch that was set, and its losses where it has labels. Batch normalisation goes
 * by the batch's statistics where the model was made for training, without input_gradient, and the
 * forward is masked by label; else by the running ones, which a backward of the first sort moves.
 * Enqueues. */
CAPS_API caps_status caps_model_forward(caps_model *m, caps_mask mask, caps_error *err);
/* All gradients of the loss (caps_loss). Needs `training`. Enqueues. */
CAPS_API caps_status caps_model_backward(caps_model *m, caps_error *err);

/* set_batch, forward (masked by label) and backward of a batch of b <= max_batch images, in
 * ceil(b / micro_batch) micro-batches (their sizes differ by one at most), one after the other. The
 * gradients are those of the mean over all b, equal within rounding to those of the batch at once;
 * the outputs are the last micro-batch's. Enqueues: the host arrays must stay as they are until the
 * queue has passed. Needs `training`. */
CAPS_API caps_status caps_model_gradients(
    caps_model *m, const caps_images *images, caps_error *err);

/* The gradient of the loss in the images of the batch, [b, C, H, W], once caps_model_backward has
 * run: a view; buffer NULL where the model was made without `input_gradient`. */
CAPS_API caps_tensor caps_model_input_gradient(const caps_model *m);

/* A result of the last forward by its name: a view whose first dimension is the batch's size unless
 * said otherwise; buffer NULL where there is none (no such name, no decoder, no labels).
 *   "lengths"         [b, J]: the classes' scores: lengths of the class capsules, activations of
 *                     matrix capsules, or probabilities
 *   "best"            int32 [b], or [b, L]: the classes with the highest scores
 *   "capsules"        [b, J, D]: the class capsules
 *   "inputs"          [b, I, K]: the capsules that these read; "inputs.activation" [b, I] of
 *                     matrix capsules
 *   "couplings"       [b, I, J]: of the last iteration of their routing; "assignment" of matrix
 *                     capsules, which have no couplings: R
 *   "couplings.iterations", "assignment.iterations"  [r, b, I, J]: of every iteration
 *   "capsules.iterations"  [r, b, J, D]: the class capsules after every iteration of dynamic or
 *                     max-min routing; "activation.iterations" [r, b, J] of matrix capsules
 *   "reconstruction"  [b * L, C*H*W]: of label t of image n in row n L + t; by length those that
 *                     are right stand where their label does
 *   "class_loss"      [b]: margin loss, spread loss or cross entropy
 *   "sse"             [b * L]: squared error of the reconstruction
 *   "<layer>", "<layer>.<output>"  what any layer gives, as docs/networks.md has it */
CAPS_API caps_tensor caps_model_output(const caps_model *m, const char *name);

/* The decoder alone: "reconstruction" (and no other output, until the next forward) is what it
 * makes of class capsules given by the caller, [b, J*D], who has set to zero those that it shall
 * not see. 1 <= b <= caps_model_get_micro_batch * L. The host array may be reused at return.
 * CAPS_ERR_ARGUMENT where the model has no decoder, or was made without `reconstruct` (or
 * `training`). */
CAPS_API caps_status caps_model_decode(
    caps_model *m, const float *capsules, size_t b, caps_error *err);

/* Sums over batches, kept on the device until the next clear: class loss, squared error, images
 * that were not classified right (see caps_totals_add). add takes the labelled batch of the last
 * forward and enqueues; get blocks. */
typedef struct caps_model_totals {
    double class_loss, sse, errors;
} caps_model_totals;
CAPS_API caps_status caps_model_clear_totals(caps_model *m, caps_error *err);
CAPS_API caps_status caps_model_add_totals(caps_model *m, caps_error *err);
CAPS_API caps_status caps_model_get_totals(caps_model *m, caps_model_totals *t, caps_error *err);

/* One optimizer step over the flat buffers, at learning rate `lr` times options.lr_multipliers,
 * with options.weight_decay, which is added to the gradients that there are. Enqueues. */
CAPS_API caps_status caps_model_adam(caps_model *m, float lr, uint64_t t, caps_error *err);
CAPS_API caps_status caps_model_sgd(caps_model *m, float lr, caps_error *err);
/* *finite is false where a gradient of a step since the last call was not finite. Blocks. */
CAPS_API caps_status caps_model_check_finite(caps_model *m, bool *finite, caps_error *err);
/* After a loss or gradient that is not finite: the first layer (forward order, then gradients in
 * backward order) whose values are not, e.g. "class_caps", "iteration 2 of caps1" (of EM routing,
 * counted from 1) or "gradient of conv1.weight". */
CAPS_API caps_status caps_model_first_not_finite(
    caps_model *m, char *name, size_t bytes, caps_error *err);

/* ---- checkpoints ---------------------------------------------------------------------------- */

/* model.safetensors: parameters, and in __metadata__ capscl.spec, capscl.format "1" and, where it
 * is not the default, the loss as capscl.loss. Written to a temporary file beside `path`, synced,
 * renamed. CAPS_ERR_IO. */
CAPS_API caps_status caps_model_save(caps_model *m, const char *path, caps_error *err);

/* A checkpoint's spec and parameters in host memory. */
typedef struct caps_checkpoint {
    caps_model_spec *spec; /* the file's, or that which it was read with */
    bool has_spec;         /* the file has one */
    caps_loss loss;    /* that it was trained with, for caps_model_options.loss; the default where
                          the file names none */
    float *parameters; /* flat, the contract's order; NULL before load */
    size_t count;
    bool *fresh; /* NULL, or by parameter: the file has none that fits, its elements are 0 here
                    (caps_checkpoint_load_fitting alone) */
    /* NULL, or what is worth saying, in lines ended by '\n': numbers that were converted, layers
     * that were not taken. */
    char *notes;
} caps_checkpoint;

/* Reads a checkpoint. The header is read and checked first, every offset, shape and type, and the
 * data only where they are of use. float16, bfloat16 and float64 are converted to float32. `spec`
 * says what the file must hold; NULL: its own. Errors: CAPS_ERR_NOT_FOUND, CAPS_ERR_FORMAT,
 * CAPS_ERR_SPEC, CAPS_ERR_MISMATCH. */
CAPS_API caps_status caps_checkpoint_load(
    caps_checkpoint *c, const char *path, const caps_model_spec *spec, caps_error *err);
/* The same with the network's name or file beside it (caps_model_spec_load), for files that do not
 * have their spec; where one has, both must agree: CAPS_ERR_MISMATCH. Of a built-in network the
 * number of classes is that of the file. arch NULL: the file's own spec. */
CAPS_API caps_status caps_checkpoint_load_as(
    caps_checkpoint *c, const char *path, const char *arch, caps_error *err);
/* What a file has for a network of this spec: layers of the same name and shapes, each whole or not
 * at all; the others are `fresh`. CAPS_ERR_MISMATCH: there is none; or all fit, but the file's own
 * spec is another (the number of iterations, say). */
CAPS_API caps_status caps_checkpoint_load_fitting(
    caps_checkpoint *c, const char *path, const caps_model_spec *spec, caps_error *err);
CAPS_API void caps_checkpoint_release(caps_checkpoint *c);

#ifdef __cplusplus
}
#endif
#endif
