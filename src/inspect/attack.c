/* attack.c: images changed by a little so that a network errs. The gradient comes from the device,
 * the step in its sign is the host's. */
#include <stdlib.h>
#include <string.h>

#include <capscl/inspect.h>

#include "fail.h"
#include "trace.h"

const char *caps_attack_name(int attack)
{
    static const char *const names[CAPS_ATTACK_COUNT] = {
        [CAPS_ATTACK_FGSM] = "fgsm", [CAPS_ATTACK_BIM] = "bim"};
    return attack >= 0 && attack < CAPS_ATTACK_COUNT ? names[attack] : NULL;
}

caps_model_options caps_attack_model_options(size_t max_batch)
{
    return (caps_model_options){CAPS_OPTIONS(caps_model_options), .max_batch = max_batch,
        .training = true, .input_gradient = true};
}

caps_status caps_attack_model_create(
    caps_model **out, caps_model *m, size_t max_batch, const char *conv, caps_error *err)
{
    caps_model_options options = caps_attack_model_options(max_batch);
    caps_status status;
    *out = NULL;
    options.conv = conv;
    options.loss = caps_model_get_loss(m);
    float *flat = malloc(caps_model_flat_count(m) * sizeof *flat);
    if (!flat)
        return caps_fail(err, CAPS_ERR_MEMORY, "attack: out of memory for the parameters");
    CAPS_TRY(caps_model_create_fitting(
        out, caps_model_get_runtime(m), caps_model_get_spec(m), &options, err));
    CAPS_TRY(caps_model_get_parameters(m, flat, err));
    CAPS_TRY(caps_model_set_parameters(*out, flat, err));
done:
    free(flat);
    if (status != CAPS_OK) {
        caps_model_free(*out);
        *out = NULL;
    }
    return status;
}

static float clamp(float value, float low, float high)
{
    return value < low ? low : value > high ? high : value;
}

/* One step of at most `step` up the loss, not farther than epsilon from x, within 0..1. Where the
 * gradient is 0 (or not a number) a pixel stays. */
static void step_up(
    float *at, const float *x, const float *gradient, size_t n, float step, float epsilon)
{
    for (size_t i = 0; i < n; i++) {
        const float sign = (float)((gradient[i] > 0) - (gradient[i] < 0));
        const float near = clamp(at[i] + step * sign, x[i] - epsilon, x[i] + epsilon);
        at[i] = clamp(near, 0, 1);
    }
}

caps_status caps_attack_apply(caps_model *m, caps_attack attack, double epsilon, uint64_t steps,
    const caps_images *images, float *out, caps_error *err)
{
    caps_runtime *rt = caps_model_get_runtime(m);
    const size_t n = images->b * caps_model_get_info(m)->pixels;
    caps_status status = CAPS_OK;
    float *gradient = NULL;
    memcpy(out, images->images, n * sizeof *out);
    if (!(epsilon > 0))
        return CAPS_OK;
    if (attack == CAPS_ATTACK_FGSM)
        steps = 1;
    gradient = malloc(n * sizeof *gradient);
    if (!gradient)
        return caps_fail(err, CAPS_ERR_MEMORY, "attack: out of memory for a gradient");
    caps_trace_begin(rt, "attack");
    for (uint64_t s = 0; s < steps; s++) {
        const caps_images now = {images->b, out, images->labels, NULL};
        CAPS_TRY(caps_model_set_batch(m, &now, err));
        CAPS_TRY(caps_model_forward(m, CAPS_MASK_LABEL, err));
        CAPS_TRY(caps_model_backward(m, err));
        const caps_tensor dx = caps_model_input_gradient(m);
        if (!dx.buffer) {
            status = caps_fail(
                err, CAPS_ERR_ARGUMENT, "attack: the model was made without input_gradient");
            goto done;
        }
        CAPS_TRY(caps_tensor_download(rt, &dx, gradient, err));
        step_up(out, images->images, gradient, n, (float)(epsilon / (double)steps), (float)epsilon);
    }
done:
    caps_trace_end(rt);
    free(gradient);
    return status;
}
