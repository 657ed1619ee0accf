/* train_settings.h: the flags of `train`, and a run's settings from them. */
#ifndef CAPS_TRAIN_SETTINGS_H
#define CAPS_TRAIN_SETTINGS_H

#include "cli.h"

typedef struct caps_train_flags {
    caps_common common;
    const char *data, *out, *arch, *init, *profile, *rate_factors;
    uint64_t epochs, max_steps, batch, seed, limit, validation, eval_every, save_every;
    uint64_t repeat, memory_limit, iterations, rate_decay_steps, rate_linear_epochs;
    double rate, rate_decay, rate_min, time_limit_seconds;
    double margin_positive, margin_negative, margin_down;
    double reconstruction_weight, reconstruction_mean;
    int optimizer, augment, routing_grad, initialiser;
    bool leaky, class_bias, primary_average, no_decoder, rate_staircase, class_mean;
    bool no_shuffle, resume, overwrite, kernel_times;
} caps_train_flags;

extern const caps_flag caps_train_flag_table[];

/* Flags that contradict each other or lack another. CAPS_ERR_ARGUMENT. */
caps_status caps_train_check_usage(
    const caps_train_flags *o, const caps_args *args, caps_error *err);

/* The settings of a new run. *init: the checkpoint of --init, read whole, else zeroed. */
caps_status caps_train_new_config(const caps_train_flags *o, const caps_args *args,
    caps_train_config *config, caps_checkpoint *init, caps_error *err);

/* A run that is continued: the end that this command line names replaces the old one whole, as it
 * would in a new run, so that "--max-steps 500" alone means 500 steps. */
void caps_train_change_end(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config);

/* Those of the run in --out, which is to go on. */
caps_status caps_train_old_config(
    const caps_train_flags *o, const caps_args *args, caps_train_config *config, caps_error *err);

#endif
