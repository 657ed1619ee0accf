/* capscl/train.h: training with checkpoints and resumption. */
#ifndef CAPSCL_TRAIN_H
#define CAPSCL_TRAIN_H

#include <capscl/dataset.h>
#include <capscl/model.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum caps_optimizer {
    CAPS_OPTIMIZER_ADAM,
    CAPS_OPTIMIZER_SGD,
} caps_optimizer;

/* How the gradients of several processes become their sum. */
typedef enum caps_reduce {
    CAPS_REDUCE_EXACT, /* added in the order of the ranks: the same bits on every run */
    CAPS_REDUCE_FAST,  /* by MPI, in whatever order is fastest */
    CAPS_REDUCE_BF16,  /* as exact, but sent as bfloat16, both ways: half the bytes. What rounding
                          leaves out is added to the next step's; a run that is resumed begins that
                          anew */
} caps_reduce;

/* What a run is; kept in config.json and in state.safetensors. Caller's storage:
 *     caps_train_config config = {CAPS_OPTIONS(caps_train_config)};
 *     caps_train_config_init(&config, &err);        // all that the user does not change
 *     ...
 *     caps_train_config_release(&config); */
typedef struct caps_train_config {
    size_t size;           /* of this struct: CAPS_OPTIONS */
    caps_model_spec *spec; /* its own, on the heap */
    char arch[256];        /* how the spec was named: "mnist", a file; for the record */
    char data[1024];       /* name or directory of the data set */
    char profile[16];      /* what the settings began with: caps_profile_at; for the record */
    char init[1024];       /* checkpoint that gave the first parameters, or "" */
    uint64_t epochs;       /* ends after this many; 0: no such end */
    uint64_t max_steps;    /* ends after this many steps; 0: no such end */
    size_t batch;
    char conv[1024];  /* caps_model_options.conv; "": none; a run records what was chosen */
    char routing[16]; /* "", "stored" or "fused": votes of the class capsules; likewise */
    uint64_t memory_limit_bytes; /* of device memory; 0: what the device has */
    size_t micro_batch; /* images at once; 0: the batch, or the largest equal part of it that fits
                           (the run's own copies of the settings, in its files, have the number) */
    caps_optimizer optimizer;
    double lr;                 /* first learning rate */
    double lr_decay;           /* lr(step) = lr * decay^(step / decay_steps); Adam only */
    uint64_t lr_decay_steps;   /* 0: the steps of an epoch */
    bool lr_staircase;         /* only whole powers: lr stays for decay_steps */
    uint64_t lr_linear_epochs; /* and times 1 - step / (the steps of so many epochs); 0: not */
    double lr_min;             /* never lower */
    char lr_multipliers[1024]; /* by layer: caps_model_options.lr_multipliers; "": none */
    caps_loss loss;
    caps_initialiser initialiser;
    uint64_t seed;
    caps_augment augment;
    bool shuffle;
    size_t limit;        /* first N of the training split; 0: all */
    size_t validation;   /* of them, drawn from the seed, are held out to choose by; 0: none */
    uint64_t eval_every; /* epochs; 0: only at the end */
    uint64_t save_every; /* steps; 0: only each epoch and at the end */
    /* How files of pictures are read; see caps_dataset_options. */
    char background[8]; /* "" (chosen for each), "black", "white", "0" to "255" */
    bool invert, stretch;
    /* Of the classes in the class loss (caps_model_options.class_weights): "" (none), "balanced"
     * (inversely to how many training images they have), or a number for each, "1,2.5". */
    char class_weights[1024];
    /* Several devices (caps_train_control.others): as they were named, for the record, and the
     * shares of a batch that they compute, "60:40"; "": one device; equal shares. */
    char devices[2048], split[1024];
    bool split_auto; /* the shares follow the devices' speed: measured before the first epoch, where
                        `split` is "", and changed between epochs where that helps */
    char conv_request[1024]; /* what `conv` was before the first device's choices took its place */
    uint64_t ranks;     /* processes that trained together, 0: one; `devices` are then as they were
                         requested, on every machine */
    caps_reduce reduce; /* how their gradients are summed */
    uint64_t lr_warmup_steps; /* of so many first steps step n (from 1) has n / so many of the rate;
                                 Adam only; 0: none */
    double spread_margin_first; /* of the spread loss in the first step; a straight line leads to
                                   loss.spread_margin in the last one. 0: that from the start */
    double weight_decay;        /* caps_model_options.weight_decay */
    double ema; /* the exponential moving average of the parameters decays by so much a step (at
                   step n, from 1, at most (1 + n) / (10 + n)), is evaluated beside them and saved
                   as model-ema.safetensors; below 1, 0: none */
    /* What `augment` does, and flip beside any of them. */
    caps_augment_options augment_options;
    caps_viewpoints viewpoints; /* of the training and the test split: caps_dataset_options */
} caps_train_config;

/* The three functions that fill a config need its `size` and write no more than so many bytes; what
 * it held before is not released.
 *
 * The defaults: the paper's network and profile. CAPS_ERR_ARGUMENT (size), CAPS_ERR_MEMORY. */
CAPS_API caps_status caps_train_config_init(caps_train_config *config, caps_error *err);
/* With a spec of its own. */
CAPS_API caps_status caps_train_config_copy(
    caps_train_config *to, const caps_train_config *from, caps_error *err);
/* Reads OUT/config.json of a run that is to be resumed (or, where it is lost, the copy in
 * OUT/state.safetensors). CAPS_ERR_NOT_FOUND, CAPS_ERR_FORMAT. */
CAPS_API caps_status caps_train_config_load(
    caps_train_config *config, const char *out, caps_error *err);
/* Frees the spec; a config that was only given its size is allowed. */
CAPS_API void caps_train_config_release(caps_train_config *config);

/* A named set of choices about how training is done (docs/profiles.md). Members may be added at the
 * end. */
typedef struct caps_profile {
    const char *name, *about;
    uint64_t epochs;
    size_t batch;
    double lr, lr_decay;
    uint64_t lr_decay_steps;
    bool lr_staircase;
    double lr_min;
    caps_initialiser initialiser;
    bool class_mean; /* the margin loss averaged over classes, and halved: margin_scale is
                        caps_loss_class_mean */
    double reconstruction_weight; /* of the squared error summed over pixels, */
    double reconstruction_mean;   /* or, where not 0, averaged over them */
    /* Of layers of these kinds in the network: */
    bool class_bias, primary_average;
    bool routing_last; /* routing.grad is "last"; else as it is */
    bool affine;       /* images are augmented by `affine` where they can be, else as by default */
    double weight_decay;
    /* Of the spread loss, in the first step and in the last. */
    double spread_margin_first, spread_margin_last;
} caps_profile;

/* The i-th profile, NULL past the last; the first is the default. */
CAPS_API const caps_profile *caps_profile_at(size_t i);
CAPS_API const caps_profile *caps_profile_find(const char *name); /* NULL: there is none */
/* Puts a profile's choices into *config and, with `network`, into its spec, which must be there:
 * the loss depends on its sizes. CAPS_ERR_SPEC, CAPS_ERR_MEMORY: the config is half changed. */
CAPS_API caps_status caps_profile_apply(
    caps_train_config *config, const caps_profile *p, bool network, caps_error *err);
/* margin_scale of a loss that is averaged over classes and halved: 1 / (2 J). */
CAPS_API double caps_loss_class_mean(const caps_model_spec *spec);

/* Margin of the spread loss in step `step` (from 0) of `steps`. */
CAPS_API double caps_spread_margin(const caps_train_config *config, uint64_t step, uint64_t steps);

/* Learning rate of step `step` (from 0). */
CAPS_API double caps_learning_rate(
    const caps_train_config *config, uint64_t step, uint64_t steps_per_epoch);

/* What one of several devices did in an epoch. */
typedef struct caps_train_epoch_device {
    char id[64], name[128];
    int rank;     /* 0, unless several processes train together */
    size_t share; /* its images of a whole batch */
    uint64_t images;
    double images_per_second; /* busy and waiting; NaN: nothing was timed */
    double busy_seconds;      /* enqueueing, computing, summing gradients; without the first step of
                                 all, which also builds kernels */
    double waiting_seconds;   /* for the others */
} caps_train_epoch_device;

/* Where a run stands. */
typedef struct caps_train_metrics {
    uint64_t epoch;                  /* epochs begun, from 1 */
    uint64_t step;                   /* steps done since the very start */
    double loss, class_loss;         /* means over the epoch's images so far; see caps_loss */
    double reconstruction_sse;       /* mean per image, unweighted; NaN without a decoder */
    double train_error_percent;      /* over the same images, as they were trained on */
    double test_error_percent;       /* NaN where not evaluated */
    double validation_error_percent; /* the same, of the images that are held out */
    size_t labels; /* of an image; of several, those not found have a share too: */
    double test_label_error_percent, validation_label_error_percent;
    uint64_t test_images, validation_images; /* in these sets */
    double lr;                               /* of the last step */
    double images_per_second;                /* training steps only */
    double seconds;                          /* since this process began the run, all included */
    double total_seconds;               /* with those of the processes before it; NaN not known */
    double seconds_left;                /* estimate to the end; NaN unknown */
    uint64_t images_done, images_total; /* within the epoch */
    uint64_t peak_device_bytes;
    uint64_t resumed_from_step;
    /* The mean of the classes' own errors; NaN where not evaluated. */
    double test_balanced_error_percent, validation_balanced_error_percent;
    size_t classes;      /* J */
    bool classes_uneven; /* of those that have training images, one has twice as many as another */
    /* [J], with CAPS_TRAIN_EPOCH alone, where the epoch was evaluated (else NULL), and until the
     * event's function returns: images of each class, and those predicted as another; of the test
     * split where it was evaluated, else of the images that are held out. */
    const uint64_t *class_images, *class_errors;
    /* [device_count], likewise with CAPS_TRAIN_EPOCH alone; of one device there is none. */
    const caps_train_epoch_device *devices;
    size_t device_count;
    /* Of the parameters' average (caps_train_config.ema); NaN where not evaluated. */
    bool averages; /* there is one */
    double ema_test_error_percent, ema_validation_error_percent;
} caps_train_metrics;

typedef enum caps_train_event {
    CAPS_TRAIN_READING,  /* pictures of the data are being read: `text` says how far */
    CAPS_TRAIN_STARTED,  /* model made, data read, the first files written */
    CAPS_TRAIN_PROGRESS, /* after every step that the device was given: `step` counts it; its loss
                            comes with the next, as the host is a step ahead (images_done and what
                            they give are of the steps that are done; NaN in an epoch's first) */
    CAPS_TRAIN_EVALUATING,
    CAPS_TRAIN_EPOCH, /* an epoch has ended (evaluated where due) */
    CAPS_TRAIN_SAVED,
    CAPS_TRAIN_WARNING, /* `text` is one line */
    CAPS_TRAIN_NOTE,    /* `text` is one line that the user should read: no failure */
    CAPS_TRAIN_LOG,     /* `text` is one line for the log */
} caps_train_event;

/* What a device has computed in this process. */
typedef struct caps_train_device {
    uint64_t images;
    double busy_seconds;    /* of its steps: enqueueing, computing, summing gradients */
    double waiting_seconds; /* for the other devices */
    size_t share;           /* its images of a whole batch */
    bool failed;            /* and takes part no more */
    bool stuck; /* it does not answer: its runtime may not be used any more, nor freed */
} caps_train_device;

/* How this process runs it; none of it changes the result, but for `others`. Begin with
 * {CAPS_OPTIONS(caps_train_control), ...}. */
typedef struct caps_train_control {
    size_t size;     /* of this struct: CAPS_OPTIONS */
    const char *out; /* the run directory */
    bool resume;
    bool overwrite;              /* removes the files of a run that is there, after all checks */
    const caps_checkpoint *init; /* config.init as the caller has read it; NULL: it is read */
    double time_limit_seconds;   /* 0: none; ends at a step's end, saved */
    const volatile int *stop;    /* set to non-zero by a signal handler: finish the step, save */
    void (*event)(
        void *user, caps_train_event event, const caps_train_metrics *m, const char *text);
    void *user;
    /* Devices beside that of the runtime, which compute each batch together with it: runtimes of
     * their own, of which none is used elsewhere meanwhile. The same devices in the same order with
     * the same config.split give the same bytes. */
    caps_runtime *const *others;
    size_t others_count;
    caps_train_device *devices; /* [1 + others_count], written as the run goes on; NULL: not */
    /* Of several devices: where one fails the others go on from the last step, which is saved; else
     * the run ends there. */
    bool keep_going;
    double
        device_timeout_seconds; /* a device that does not answer for so long has failed; 0: 600 */
    struct caps_ranks *ranks;   /* the program's own; NULL: this process trains alone */
    /* Of a run that goes on: shares in the place of its own. NULL: it keeps them, unless its devices
     * are others now. */
    const char *split;
    /* Single images in memory (caps_dataset_from_arrays) in place of what config.data names, which
     * then is only for the record; they are copied. test NULL: there is no test split, and where
     * config.validation is 0 too the run is not evaluated. A run that is resumed needs the same
     * training images again. */
    const caps_dataset *train, *test;
} caps_train_control;

typedef enum caps_train_end {
    CAPS_TRAIN_FINISHED, /* epochs or max_steps reached */
    CAPS_TRAIN_STOPPED,  /* by control.stop */
    CAPS_TRAIN_TIME_LIMIT,
    CAPS_TRAIN_WAS_FINISHED, /* resumed a finished run: nothing done */
} caps_train_end;

/* Does `out` hold any file of a run (config.json, metrics.jsonl, model.safetensors,
 * state.safetensors)? Also checks that it is a directory, or can be made one. */
CAPS_API caps_status caps_train_run_exists(const char *out, bool *exists, caps_error *err);
/* Removes those files, and no other. */
CAPS_API caps_status caps_train_run_remove(const char *out, caps_error *err);

/* Trains. With control.resume, goes on from OUT/state.safetensors. *end says why it ended, *m the
 * last epoch's metrics. A training that was stopped and resumed, however often, gives the same
 * bytes in OUT/model.safetensors as one that was not (same device, family and options). Errors:
 * CAPS_ERR_NOT_FINITE (step and layer named; the last good state stays), CAPS_ERR_IO (the last good
 * state stays), CAPS_ERR_INTERRUPTED (control.stop before the run was begun: nothing was touched),
 * those of the model, the data and the device. Of OUT nothing is touched before everything that can
 * be checked was. */
CAPS_API caps_status caps_train_run(caps_runtime *rt, const caps_train_config *config,
    const caps_train_control *control, caps_train_end *end, caps_train_metrics *m, caps_error *err);

#ifdef __cplusplus
}
#endif
#endif
