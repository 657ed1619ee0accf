/* warmup.c: see warmup.h. */
#include "warmup.h"

#include <stdint.h>

#include "config.h"
#include "fail.h"
#include "random_images.h"
#include "kernel_warmup.h"
#include "step.h"

static caps_status step(
    caps_model *m, const caps_train_config *config, const caps_images *images, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_step_begin(m, err));
    caps_model_set_step(m, config->seed, 1);
    CAPS_TRY(caps_model_gradients_of(m, images, err));
    CAPS_TRY(config->optimizer == CAPS_OPTIMIZER_ADAM ? caps_model_adam(m, 0, 1, err)
                                                      : caps_model_sgd(m, 0, err));
    CAPS_TRY(caps_step_end(m, 0, err));
    CAPS_TRY(caps_step_wait(m, 0, &(caps_step_report){0}, err));
done:
    return status;
}

caps_status caps_train_warmup(caps_runtime *rt, const caps_train_config *config, caps_error *err)
{
    const caps_model_options options = caps_config_model_options(config, SIZE_MAX);
    caps_status status;
    caps_model *m = NULL;
    caps_random_images noise = {0};
    CAPS_TRY(caps_random_images_init(&noise, &config->spec, config->batch, err));
    CAPS_TRY(caps_warmup_list(rt, err));
    CAPS_TRY(caps_model_create(&m, rt, &config->spec, &options, err));
    CAPS_TRY(step(m, config, &noise.all, err));
    caps_warmup_compile_templates(rt);
    CAPS_TRY(step(m, config, &noise.all, err));
    CAPS_TRY(caps_warmup_compile(rt, err));
    CAPS_TRY(step(m, config, &noise.all, err));
done:
    caps_model_free(m);
    caps_random_images_release(&noise);
    return status;
}
