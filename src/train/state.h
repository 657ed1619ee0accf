/* state.h: state.safetensors, all that is needed to go on with a run (docs/checkpoint-format.md).
 */
#ifndef CAPS_STATE_H
#define CAPS_STATE_H

#include <capscl/train.h>

#include "step.h"

typedef struct caps_state {
    uint64_t step;             /* steps done since the very start */
    uint64_t images_done;      /* of the epoch that `step` belongs to */
    caps_model_totals totals;  /* over those images */
    bool ended;                /* the line that closes the epoch or the run is in the log */
    double test_error_percent; /* of the evaluation at `step`; NaN: none */
    double validation_error_percent;
    double test_label_error_percent, validation_label_error_percent; /* of single labels */
    double test_balanced_error_percent, validation_balanced_error_percent;
    double ema_test_error_percent, ema_validation_error_percent; /* of the average */
    double lr, images_per_second;
    double seconds; /* of all processes that trained, when it was saved; NaN: not known */
    uint64_t peak_device_bytes;
    uint64_t data_images, data_hash; /* of the training split */

    /* What is saved, flat, in the model's order: the arrays below, or the model's own memory. */
    caps_model_view values;
    float *arrays[4]; /* parameters, Adam's moments, average; NULL where `values` are the model's */
} caps_state;

/* The state of a run that begins with these parameters (taken over, malloc'd; `count` of them) and
 * moments of zero where there is Adam, an average of the same values where there is one; everything
 * else stays as it is. CAPS_ERR_MEMORY. */
caps_status caps_state_begin(caps_state *s, float *parameters, size_t count,
    const caps_train_config *config, caps_error *err);
/* No evaluation at this step. */
void caps_state_forget_errors(caps_state *s);
/* Frees the arrays; the numbers stay. */
void caps_state_drop(caps_state *s);

/* Parameters and moments are the model's from now on until they are given back: it may not train
 * meanwhile. CAPS_ERR_NOT_FINITE: a value is not finite, and the message is its name alone. */
caps_status caps_state_take(caps_state *s, caps_model *m, caps_error *err);
caps_status caps_state_give_back(caps_state *s, caps_model *m, caps_error *err);

/* Writes the values, and where the run stands; `m` names the parameters. `config_text` is the
 * content of config.json. CAPS_ERR_IO: the file that was there before still is. */
caps_status caps_state_save(const caps_state *s, const char *path, const caps_model *m,
    const caps_train_config *config, const char *config_text, caps_error *err);

/* Reads and checks all of it; nothing is put into the model, which says what parameters there must
 * be. The settings must be those of `config` in all that the result depends on, but for the end of
 * the run. Errors: CAPS_ERR_NOT_FOUND, CAPS_ERR_FORMAT, CAPS_ERR_MISMATCH (other settings). */
caps_status caps_state_load(caps_state *s, const char *path, const caps_model *m,
    const caps_train_config *config, caps_error *err);

/* Into the model. Blocks. */
caps_status caps_state_apply(const caps_state *s, caps_model *m, caps_error *err);

#endif
