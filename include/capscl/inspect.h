/* capscl/inspect.h: looking at a model: what it makes of images, how often it errs, and what is
 * inside it. Nothing here changes parameters, except of models that the caller names for that.
 *
 * All functions block, print nothing, and may be used with any runtime; a model is used by one
 * thread at a time. Arrays in host memory are row-major. Shapes use these letters: n images, L
 * labels of an image, J classes, D values of a class capsule, I capsules that the class capsules
 * read, r iterations of their routing, and C, H, W of an image, whose values are 0 to 1.
 *
 * A result struct is filled by its function, also after a failure, and released by its caller.
 */
#ifndef CAPSCL_INSPECT_H
#define CAPSCL_INSPECT_H

#include <capscl/dataset.h>
#include <capscl/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Called before every batch, when `done` of `total` images are finished. The answer true stops the
 * work: its function then returns CAPS_ERR_INTERRUPTED. `stop` NULL: nothing is called. */
typedef struct caps_inspect_progress {
    bool (*stop)(void *user, size_t done, size_t total);
    void *user;
} caps_inspect_progress;

/* ---- opening a model and its data ----------------------------------------------------------- */

/* caps_model_create, with half the batch, a quarter, ... where the device's memory is too small for
 * options->max_batch images. caps_model_get_max_batch is the batch that fits.
 * CAPS_ERR_DEVICE_MEMORY: not even one image fits. */
CAPS_API caps_status caps_model_create_fitting(caps_model **out, caps_runtime *rt,
    const caps_model_spec *spec, const caps_model_options *options, caps_error *err);

/* Begin with {CAPS_OPTIONS(caps_open_options), ...}. */
typedef struct caps_open_options {
    size_t size;      /* of this struct: CAPS_OPTIONS */
    const char *arch; /* the network of a file without its spec; see caps_checkpoint_load_as */
    bool fitting;     /* with a smaller batch where memory is short: caps_model_create_fitting */
    /* NULL, or called with each line that is worth saying of the file: caps_checkpoint.notes. */
    void (*note)(void *user, const char *text);
    void *user;
} caps_open_options;

/* A checkpoint as a model that holds its parameters. The loss is the one that it was trained with,
 * in place of options->loss. `how` may be NULL. Errors: those of caps_checkpoint_load_as and
 * caps_model_create. */
CAPS_API caps_status caps_model_open(caps_model **out, caps_runtime *rt, const char *path,
    const caps_model_options *options, const caps_open_options *how, caps_error *err);

/* The data set can feed a network of this spec: sizes, classes, labels of an image.
 * CAPS_ERR_MISMATCH, CAPS_ERR_FORMAT. */
CAPS_API caps_status caps_data_check(
    const caps_dataset *ds, const caps_model_spec *spec, caps_error *err);
/* Makes a data set what a network of this spec takes: images are centred or cut where the spec says
 * so (its `source`). Then caps_data_check, and names of classes, where both have some, must be the
 * same, as a label is a place among them. CAPS_ERR_MISMATCH, CAPS_ERR_FORMAT. */
CAPS_API caps_status caps_data_fit(caps_dataset *ds, const caps_model_spec *spec, caps_error *err);
/* caps_dataset_open and caps_data_fit: pictures are converted to the spec's size, in place of the
 * options' own. On failure *ds is released. */
CAPS_API caps_status caps_data_open(caps_dataset *ds, const char *name_or_dir,
    const caps_dataset_options *options, const caps_model_spec *spec, caps_error *err);
/* Networks of both specs take the same images and have as many classes and labels. */
CAPS_API bool caps_data_is_shared(const caps_model_spec *a, const caps_model_spec *b);

/* ---- predictions ---------------------------------------------------------------------------- */

/* What caps_predict gives besides labels and lengths; a set of bits. */
enum {
    CAPS_PREDICT_CAPSULES = 1,
    CAPS_PREDICT_RECONSTRUCTION = 2, /* needs a model made with `reconstruct` */
    CAPS_PREDICT_COUPLINGS = 4,
    CAPS_PREDICT_INPUT_LENGTHS = 8,
    CAPS_PREDICT_ITERATIONS = 16,
};

/* What a model makes of n images. An array is NULL where it was not requested, and where the model
 * has nothing of the kind: a network without capsules, a model without its decoder. */
typedef struct caps_predictions {
    size_t n;
    size_t labels_per_image, classes, dim, inputs, iterations, pixels; /* L, J, D, I, r, C*H*W */
    int32_t *labels;       /* [n, L]: the classes with the greatest lengths, greatest first */
    float *lengths;        /* [n, J]: of the class capsules, or probabilities */
    float *capsules;       /* [n, J, D]: the class capsules */
    float *reconstruction; /* [n, L, C*H*W]: what the decoder makes of the capsule of each label */
    float *couplings;      /* [n, r, I, J]: of every iteration; of matrix capsules assignments */
    float *input_lengths;  /* [n, I]: of the capsules that the class capsules read; of matrix
                              capsules activations */
    float *iteration_lengths; /* [n, r, J]: of the class capsules after every iteration of their
                                 routing; of matrix capsules activations */
} caps_predictions;

/* Runs the images [n, C*H*W] through the network, in batches of the model's size; `what` is a set
 * of CAPS_PREDICT_*. progress may be NULL. Errors: CAPS_ERR_MEMORY, CAPS_ERR_INTERRUPTED, those of
 * the device. */
CAPS_API caps_status caps_predict(caps_model *m, const float *images, size_t n, unsigned what,
    const caps_inspect_progress *progress, caps_predictions *out, caps_error *err);
/* The same by `count` models with the same parameters, on devices of their own, which take turns: a
 * thread for each. progress is called from the caller's thread. */
CAPS_API caps_status caps_predict_by(caps_model *const *models, size_t count, const float *images,
    size_t n, unsigned what, const caps_inspect_progress *progress, caps_predictions *out,
    caps_error *err);
CAPS_API void caps_predictions_release(caps_predictions *p); /* a zeroed one is allowed */

/* The decoder alone: what it makes of class capsules [n, J, D], as images [n, C*H*W] in the
 * caller's array. classes [n]: the decoder sees only the capsule of this class, as after a
 * prediction; NULL: it sees all of them. Errors: CAPS_ERR_ARGUMENT (no decoder, or the model was
 * made without `reconstruct`; a class that there is not), CAPS_ERR_MEMORY, CAPS_ERR_INTERRUPTED. */
CAPS_API caps_status caps_decode(caps_model *m, const float *capsules, const int32_t *classes,
    size_t n, float *images, const caps_inspect_progress *progress, caps_error *err);

/* Puts those of L predicted labels that are right where the true label stands, and the others in
 * their order into the places left. Returns how many are not right. L <= CAPS_MAX_LABELS. */
CAPS_API size_t caps_labels_match(int32_t *labels, const int32_t *true_labels, size_t count);

/* ---- evaluation ----------------------------------------------------------------------------- */

/* Results over a data set. */
typedef struct caps_evaluation {
    size_t n, errors; /* an image is an error unless all its labels were found */
    double error_percent;
    size_t labels;              /* L */
    size_t label_errors;        /* of n * L labels, those not found */
    double label_error_percent; /* L = 1: error_percent */
    double class_loss;          /* margin loss or cross entropy, mean per image */
    double reconstruction_sse;  /* squared error summed over an image, mean per image; the decoder
                                   sees the longest capsule; NaN: no decoder */
    size_t classes;             /* J */
    uint64_t *confusion;        /* [true][predicted], J x J; of several labels those that were found
                                   are on the diagonal, the others paired in order */
    double seconds;
} caps_evaluation;

/* An image that was evaluated. */
typedef struct caps_evaluated {
    size_t index;                      /* in the data set */
    const int32_t *label, *true_label; /* [L], after caps_labels_match */
    bool right;                        /* all of them */
    const float *lengths;              /* [J] */
    double sse;                        /* over all its labels; NaN: no decoder */
} caps_evaluated;

/* Called for every image, in the order of the data set. */
typedef void caps_evaluate_each(void *user, const caps_evaluated *image);
/* Called for every batch before it goes to the device: writes to `changed` [b, C*H*W] what the
 * network shall see in place of batch->images. `first` is the index of its first image. A failure
 * ends the evaluation. */
typedef caps_status caps_evaluate_change(
    void *user, const caps_images *batch, size_t first, float *changed, caps_error *err);

/* The device of one of several models failed. */
typedef struct caps_evaluate_failure {
    bool failed;
    size_t model; /* 0: the first; 1: others[0]; ... */
    bool stuck;   /* it does not answer: neither the model nor its runtime may be used or freed */
} caps_evaluate_failure;

/* Where an image is seen from: moved so far down and to the right of where the view has it. */
typedef struct caps_offset {
    ptrdiff_t down, right;
} caps_offset;

enum { CAPS_CROPS_MOST = 13, CAPS_SHIFTS_MOST = 25 };

/* Of images that are larger than the view: the first 1, 5, 9 or 13 parts of these: the centre, four
 * on the diagonals half the way to the corners, the middles of the sides, the corners.
 * CAPS_ERR_ARGUMENT: another number; images that are not larger. */
CAPS_API caps_status caps_offsets_crops(
    caps_offset out[CAPS_CROPS_MOST], size_t n, const caps_dataset *ds, caps_error *err);
/* By whole pixels, from near to far: the first 1, 5, 9 (3x3), 13 or 25 (5x5). CAPS_ERR_ARGUMENT:
 * another number. */
CAPS_API caps_status caps_offsets_shifts(
    caps_offset out[CAPS_SHIFTS_MOST], size_t n, caps_error *err);

/* Begin with {CAPS_OPTIONS(caps_evaluate_options), ...}. All callbacks are optional. */
typedef struct caps_evaluate_options {
    size_t size; /* of this struct */
    caps_evaluate_each *each;
    void *each_user;
    caps_evaluate_change *change;
    void *change_user;
    caps_inspect_progress progress;
    /* Models with the same parameters on devices of their own, which take turns with the first: of
     * m models, number k computes the batches k, k + m, ... in a thread of its own. */
    caps_model *const *others;
    size_t others_count;
    void *const
        *others_change_users; /* [others_count], for `change`, which threads then call at the
                                         same time */
    /* Of several models: a device that takes so much longer over a batch than the others has failed;
     * 0: never. `failure` (NULL allowed) says which one. */
    double timeout_seconds;
    caps_evaluate_failure *failure;
    /* An image counts by the mean of its lengths from all of these; its losses are those from the
     * first one, and `each` has no squared error. NULL: as the view has it. */
    const caps_offset *offsets;
    size_t offsets_count;
} caps_evaluate_options;

/* Evaluates all images of a data set in batches of the model's size, or the smallest of several.
 * Sums are taken image by image in double: they do not depend on the batch. options NULL: no
 * callbacks. Errors: those of caps_data_check, CAPS_ERR_MEMORY, CAPS_ERR_INTERRUPTED, those of the
 * device and of `change`. */
CAPS_API caps_status caps_evaluate(caps_model *m, const caps_dataset *ds,
    const caps_evaluate_options *options, caps_evaluation *result, caps_error *err);
CAPS_API void caps_evaluation_release(caps_evaluation *result);
/* Of class j < classes: how many images it has (of several labels: how many labels), and how many
 * of them were predicted as another class. */
CAPS_API void caps_evaluation_class(
    const caps_evaluation *result, size_t j, uint64_t *images, uint64_t *errors);
/* The balanced error, in percent: the mean of the classes' own errors, over those that have images.
 * NaN: none has. */
CAPS_API double caps_evaluation_balanced_percent(const caps_evaluation *result);

/* Every image's result of an evaluation, kept. */
typedef struct caps_image_results {
    size_t n, labels_per_image, classes;
    int32_t *labels, *true_labels; /* [n, L], after caps_labels_match */
    float *lengths;                /* [n, J] */
} caps_image_results;

/* Storage for n images; CAPS_ERR_MEMORY. */
CAPS_API caps_status caps_image_results_init(
    caps_image_results *r, size_t n, const caps_model_spec *spec, caps_error *err);
CAPS_API void caps_image_results_set(caps_image_results *r, const caps_evaluated *image);
CAPS_API void caps_image_results_release(caps_image_results *r); /* a zeroed one is allowed */
/* Were all labels of image i found? */
CAPS_API bool caps_image_results_is_right(const caps_image_results *r, size_t i);
/* How sure the network is of what is in image i: the length of its true class, of several the
 * least. */
CAPS_API float caps_image_results_sureness(const caps_image_results *r, size_t i);
/* How bad the mistake in image i is: the length of a class that was predicted wrongly minus that of
 * a true one that was missed, the most of all such; 0 where nothing is wrong. */
CAPS_API float caps_image_results_mistake(const caps_image_results *r, size_t i);
/* The worst mistakes, at most `most`, the worst first; of equal ones the earlier first. Returns how
 * many there are. */
CAPS_API size_t caps_image_results_worst(const caps_image_results *r, size_t *index, size_t most);
/* The right image of class j with the longest capsule; false: there is none. Of one label. */
CAPS_API bool caps_image_results_best(const caps_image_results *r, size_t j, size_t *index);

/* ---- several models as one ------------------------------------------------------------------ */

/* An ensemble answers with the mean of its models' lengths. Usage: caps_ensemble_create, for every
 * model caps_evaluate with caps_ensemble_add called for each image, then caps_ensemble_evaluate. */
typedef struct caps_ensemble caps_ensemble;

/* For n images, and models that share the data of this spec. CAPS_ERR_MEMORY. */
CAPS_API caps_status caps_ensemble_create(
    caps_ensemble **out, size_t n, const caps_model_spec *spec, caps_error *err);
CAPS_API void caps_ensemble_add(caps_ensemble *e, const caps_evaluated *image);
/* Errors and confusion of the ensemble; losses, squared error and seconds are NaN. each may be
 * NULL; its lengths are the means. CAPS_ERR_ARGUMENT: an image was not added once for every model;
 * CAPS_ERR_MEMORY. */
CAPS_API caps_status caps_ensemble_evaluate(const caps_ensemble *e, caps_evaluate_each *each,
    void *user, caps_evaluation *result, caps_error *err);
CAPS_API void caps_ensemble_free(caps_ensemble *e); /* NULL is allowed */

/* ---- changed images ------------------------------------------------------------------------- */

/* Random changes, to see how a network bears them; docs/robustness.md has the distributions. S is
 * the severity. */
typedef enum caps_transform {
    CAPS_TRANSFORM_SHIFT,  /* whole pixels, -S..S each way */
    CAPS_TRANSFORM_ROTATE, /* -S..S degrees about the centre */
    CAPS_TRANSFORM_SCALE,  /* by 1/(1+S)..1+S, uniform in the logarithm */
    CAPS_TRANSFORM_AFFINE, /* turned, sheared, scaled by axis and shifted */
    CAPS_TRANSFORM_NOISE,  /* normal with standard deviation S, cut at 0..1 */
    CAPS_TRANSFORM_COUNT
} caps_transform;

/* "shift", ...; NULL from CAPS_TRANSFORM_COUNT on. */
CAPS_API const char *caps_transform_name(int transform);
/* The greatest severity. The least is 0, which leaves an image as it is. */
CAPS_API double caps_transform_max_severity(caps_transform transform);

/* What image `index` becomes: a pure function of its arguments. The severities of a transform share
 * their draws: an image that is turned to the left by one is turned to the left by all of them. in
 * and out, [C, H, W] with values in 0..1, must not overlap; 0 <= severity <= the greatest. Shifts
 * go by whole pixels: the fraction of their severity is cut off. */
CAPS_API void caps_transform_apply(caps_transform transform, double severity, uint64_t seed,
    uint64_t index, const float *in, float *out, size_t channels, size_t height, size_t width);

/* A change that is given: the image is scaled about its centre, turned, and moved. */
typedef struct caps_placement {
    double scale;       /* 1: as it is; > 0 */
    double degrees;     /* counter-clockwise */
    double right, down; /* pixels, also fractions of one */
} caps_placement;

/* in and out, [C, H, W], must not overlap. Between pixels values are linear; what comes from
 * outside is 0. {1, 0, 0, 0} gives the image exactly. */
CAPS_API void caps_placement_apply(const caps_placement *placement, const float *in, float *out,
    size_t channels, size_t height, size_t width);

/* Changes on purpose, by the gradient of the model's own loss (white box). With g the gradient of
 * the class loss of the true label and E the most that a pixel may change:
 *     FGSM (Goodfellow, Shlens, Szegedy 2015)   x + E sign(g)
 *     BIM (Kurakin, Goodfellow, Bengio 2017)    N such steps of E / N, each from where the last one
 *                                               ended, kept within E of x
 * both kept within 0..1. Where g is 0 a pixel stays as it is. */
typedef enum caps_attack { CAPS_ATTACK_FGSM, CAPS_ATTACK_BIM, CAPS_ATTACK_COUNT } caps_attack;

/* "fgsm", "bim"; NULL from CAPS_ATTACK_COUNT on. */
CAPS_API const char *caps_attack_name(int attack);
/* Options of a model that an attack can be made with, for so many images at once. It has no
 * decoder: of the loss only the class loss is left. */
CAPS_API caps_model_options caps_attack_model_options(size_t max_batch);
/* Such a model with the spec, loss and parameters of `m`, on its runtime, for max_batch images or
 * as many as fit. conv: see caps_model_options. Errors: those of caps_model_create_fitting. */
CAPS_API caps_status caps_attack_model_create(
    caps_model **out, caps_model *m, size_t max_batch, const char *conv, caps_error *err);
/* What becomes of a batch (labelled; 1 <= b <= caps_model_get_micro_batch): out [b, C*H*W], which
 * must not overlap images->images. epsilon in 0..1, 0 gives the images exactly; steps >= 1 is of
 * BIM only. CAPS_ERR_ARGUMENT where `m` was made without input_gradient. */
CAPS_API caps_status caps_attack_apply(caps_model *m, caps_attack attack, double epsilon,
    uint64_t steps, const caps_images *images, float *out, caps_error *err);

/* How far caps_robustness is. */
typedef struct caps_robustness_progress {
    size_t evaluation, evaluations; /* the number of the one that runs, from 0, of so many */
    double level;                   /* its severity or epsilon */
    size_t done, total, errors;     /* images of it */
} caps_robustness_progress;

/* Begin with {CAPS_OPTIONS(caps_robustness_options), ...}. */
typedef struct caps_robustness_options {
    size_t size;              /* of this struct */
    bool attacks;             /* true: `attack` and `steps` count; false: `transform` and `seed` */
    caps_transform transform; /* its levels are severities */
    uint64_t seed;
    caps_attack attack; /* its levels are epsilons */
    uint64_t steps;
    const char *conv; /* of the models that give gradients: see caps_model_options */
    bool (*progress)(void *user, const caps_robustness_progress *p); /* NULL, or after every image;
                                                                        true: stop */
    void *user;
    /* [models, others_count]: of each model, models with its parameters on further devices, which
     * take turns with it (caps_evaluate_options.others). */
    caps_model *const *others;
    size_t others_count;
} caps_robustness_options;

/* A model at one level. */
typedef struct caps_robustness_cell {
    size_t n, errors;            /* images */
    size_t labels, label_errors; /* L; of n * L labels those not found */
    size_t unchanged;            /* images that an attack could not change */
} caps_robustness_cell;

/* The error of every model (made for inference) at every level, over a data set that they share.
 * cells [levels, models]. An attack is made for each model by itself, with a second model that has
 * its parameters. Errors: those of caps_evaluate, caps_attack_model_create, caps_attack_apply. */
CAPS_API caps_status caps_robustness(caps_model *const *models, size_t count,
    const caps_dataset *ds, const double *levels, size_t level_count,
    const caps_robustness_options *options, caps_robustness_cell *cells, caps_error *err);

/* ---- statistics ----------------------------------------------------------------------------- */

/* z of 95 %: the quantile of the normal distribution at 0.975. */
#define CAPS_Z95 1.959963984540054

/* The interval of E. B. Wilson (1927) for a share of `errors` in `n` independent trials: *low and
 * *high in 0..1. z: CAPS_Z95 for 95 %. With n = 0 nothing is known: 0..1. */
CAPS_API void caps_wilson(uint64_t errors, uint64_t n, double z, double *low, double *high);

/* Mean, and the standard deviation of a sample (n - 1 in the denominator; NaN for one value). */
CAPS_API void caps_mean_sd(const double *x, size_t n, double *mean, double *sd);

#ifdef __cplusplus
}
#endif
#endif
