/* warmup.c: see warmup.h. */
#include "warmup.h"

#include <stdint.h>

#include "config.h"
#include "fail.h"
#include "kernel_warmup.h"
#include "random_images.h"
#include "stepper.h"

static caps_status warmup_step(caps_stepper *s, const caps_images *images, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_stepper_enqueue(s, images, 0, err));
    CAPS_TRY(caps_stepper_settle(s, err));
done:
    return status;
}

caps_status caps_train_warmup(caps_runtime *rt, const caps_train_config *config, caps_error *err)
{
    const caps_model_options options = caps_config_model_options(config, SIZE_MAX);
    caps_status status;
    caps_model *m = NULL;
    caps_stepper stepper;
    caps_random_images noise = {0};
    CAPS_TRY(caps_random_images_init(&noise, config->spec, config->batch, err));
    CAPS_TRY(caps_warmup_list(rt, err));
    CAPS_TRY(caps_model_create(&m, rt, config->spec, &options, err));
    caps_stepper_init(&stepper, m, config->optimizer, config->seed, 1);
    CAPS_TRY(warmup_step(&stepper, &noise.all, err));
    caps_warmup_compile_templates(rt);
    CAPS_TRY(warmup_step(&stepper, &noise.all, err));
    CAPS_TRY(caps_warmup_compile(rt, err));
    CAPS_TRY(warmup_step(&stepper, &noise.all, err));
done:
    caps_model_free(m);
    caps_random_images_release(&noise);
    return status;
}
