/* rehearse.c: see rehearse.h. */
#include "rehearse.h"

#include <stdint.h>
#include <stdlib.h>

#include "config.h"
#include "fail.h"
#include "rehearsal.h"
#include "step.h"

static caps_status step(caps_model *m, const caps_train_config *config, const float *images,
    const int32_t *labels, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_step_begin(m, err));
    CAPS_TRY(caps_model_gradients(m, config->batch, images, labels, err));
    CAPS_TRY(config->optimizer == CAPS_OPTIMIZER_ADAM ? caps_model_adam(m, 0, 1, err)
                                                      : caps_model_sgd(m, 0, err));
    CAPS_TRY(caps_step_end(m, 0, err));
    CAPS_TRY(caps_step_wait(m, 0, &(caps_step_report){0}, err));
done:
    return status;
}

caps_status caps_train_rehearse(caps_runtime *rt, const caps_train_config *config, caps_error *err)
{
    const size_t *input = config->spec.input, pixels = input[0] * input[1] * input[2];
    const caps_model_options options = caps_config_model_options(config, SIZE_MAX);
    caps_status status;
    caps_model *m = NULL;
    float *images = calloc(config->batch, pixels * sizeof *images);
    int32_t *labels = calloc(config->batch, sizeof *labels);
    if (!images || !labels)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu images", config->batch));
    CAPS_TRY(caps_rehearsal_list(rt, err));
    CAPS_TRY(caps_model_create(&m, rt, &config->spec, &options, err));
    CAPS_TRY(step(m, config, images, labels, err));
    caps_rehearsal_compile_templates(rt);
    CAPS_TRY(step(m, config, images, labels, err));
    CAPS_TRY(caps_rehearsal_compile(rt, err));
    CAPS_TRY(step(m, config, images, labels, err));
done:
    caps_model_free(m);
    free(images);
    free(labels);
    return status;
}
