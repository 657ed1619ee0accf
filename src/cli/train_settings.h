/* train_settings.h: the flags of `train`, and a run's settings from them. */
#ifndef CAPS_TRAIN_SETTINGS_H
#define CAPS_TRAIN_SETTINGS_H

#include "cli.h"

typedef struct caps_train_flags {
    caps_common common;
    const char *data, *out, *arch, *init, *profile, *lr_multipliers;
    uint64_t epochs, max_steps, batch, seed, limit, validation, eval_every, save_every;
    uint64_t repeat, memory_limit, iterations, lr_decay_steps, lr_linear_epochs;
    double lr, lr_decay, lr_min, time_limit_seconds;
    double margin_positive, margin_negative, margin_down;
    double reconstruction_weight, reconstruction_mean;
    int optimizer, augment, routing_grad, initialiser;
    bool leaky, class_bias, primary_average, no_decoder, lr_staircase, class_mean;
    bool no_shuffle, resume, overwrite, kernel_times;
    caps_picture_flags pictures;
} caps_train_flags;

extern const caps_flag caps_train_flag_table[];

/* Flags that contradict each other or lack another. CAPS_ERR_ARGUMENT. */
caps_status caps_train_check_usage(
    const caps_train_flags *o, const caps_args *args, caps_error *err);

typedef struct caps_train_session caps_train_session; /* train_session.h */

/* The settings of a new run, into a config that has only its size; the checkpoint of --init, read
 * whole, into the session. */
caps_status caps_train_new_config(
    caps_train_session *s, caps_train_config *config, caps_error *err);

/* Of a run that is continued: the end that this command line names replaces the old one whole, as
 * it would in a new run, so that "--max-steps 500" alone means 500 steps. */
void caps_train_change_end(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config);

#endif
