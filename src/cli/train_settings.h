/* train_settings.h: the flags of `train`, and a run's settings from them. */
#ifndef CAPS_TRAIN_SETTINGS_H
#define CAPS_TRAIN_SETTINGS_H

#include "cli.h"
#include "start.h"

typedef struct caps_train_flags {
    caps_common common;
    caps_texts devices; /* --device; common.device is the first, where they name one alone */
    const char *split;
    const char *data, *out, *arch, *init, *profile, *lr_multipliers, *class_weights;
    const char *tensorboard;
    uint64_t epochs, max_steps, batch, seed, limit, validation, eval_every, save_every;
    uint64_t repeat, memory_limit, iterations, lr_decay_steps, lr_linear_epochs, lr_warmup_steps;
    int loss; /* position of --loss */
    const char *spread_margin;
    double weight_decay;
    double lr, lr_decay, lr_min, ema, time_limit_seconds;
    double margin_positive, margin_negative, margin_down;
    double reconstruction_weight, reconstruction_mean;
    double affine_rotate, affine_squeeze, crop_brightness, crop_contrast;
    uint64_t affine_erase;
    bool affine_shift, flip;
    int optimizer, augment, routing_grad, initialiser;
    bool leaky, class_bias, primary_average, no_decoder, lr_staircase, class_mean;
    double device_timeout;
    bool keep_going;
    int reduce;
    bool no_shuffle, resume, overwrite, kernel_times;
    caps_picture_flags pictures;
} caps_train_flags;

extern const caps_flag caps_train_flag_table[];

/* Flags that contradict each other or lack another. CAPS_ERR_ARGUMENT. */
caps_status caps_train_check_usage(const caps_train_flags *o, caps_error *err);

typedef struct caps_train_session caps_train_session; /* train_session.h */

/* The settings of a new run, into a config that has only its size; the checkpoint of --init, read
 * whole, into the session. */
caps_status caps_train_new_config(
    caps_train_session *s, caps_train_config *config, caps_error *err);

/* The settings that are given as flags, but for the run's end, into a config that has its network.
 * CAPS_ERR_ARGUMENT (a text is too long). */
caps_status caps_train_take_settings(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config, caps_error *err);

/* ---- train_loss.c --------------------------------------------------------------------------- */

/* By the position of --loss: "margin", "spread". */
extern const char *const caps_train_losses[];
/* --loss, and with it what belongs to that loss alone. CAPS_ERR_ARGUMENT: the network cannot have
 * it. */
caps_status caps_train_take_loss(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config, caps_error *err);
/* No flag is of a loss that the network does not have. CAPS_ERR_ARGUMENT. */
caps_status caps_train_check_loss_flags(
    const caps_args *args, const caps_train_config *config, caps_error *err);
/* "M", or "A:B" with A no greater than B; NULL: not given. CAPS_ERR_ARGUMENT. */
caps_status caps_train_take_spread_margin(
    const char *text, caps_train_config *config, caps_error *err);

/* What the flags request of the network; returns how many. Those of one flag stand together: it is
 * enough that the network has a layer of one of their kinds. */
enum { CAPS_TRAIN_REQUESTS = 9 };
size_t caps_train_requests(const caps_train_flags *o, const caps_args *args,
    caps_spec_request requests[CAPS_TRAIN_REQUESTS], char iterations[32]);

/* ---- train_augment.c ------------------------------------------------------------------------ */

/* Flags of an augmentation that is not the config's. CAPS_ERR_ARGUMENT. */
caps_status caps_train_check_augment(
    const caps_args *args, const caps_train_config *config, caps_error *err);
/* What the augmentation does, and the viewpoints, as far as flags say. */
void caps_train_change_augment(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config);

/* ---- train_resume.c: a run that is continued ------------------------------------------------ */

/* Every flag that is given says what the run has, which `config` holds, or is one that may say
 * something else: where it ends, where its data lie, its device, what is printed. seeds: how many
 * a repetition has, 0 for a single run. CAPS_ERR_ARGUMENT has both values. */
caps_status caps_train_check_resumed(const caps_train_flags *o, const caps_args *args,
    const caps_train_config *config, size_t seeds, caps_error *err);

/* The end that this command line names replaces the old one whole, as it would in a new run, so
 * that "--max-steps 500" alone means 500 steps; so does the place of the data. */
void caps_train_change_resumed(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config);

/* Where the run's data are no longer where they were, the error says what to do. */
caps_status caps_train_explain_data(caps_status status, const caps_train_flags *o,
    const caps_train_config *config, caps_error *err);

#endif
