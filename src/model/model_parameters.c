/* model_parameters.c: first values, getting and setting, and what is not finite. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "model_state.h"

#include "fail.h"
#include "rng.h"

size_t caps_model_parameter_count(const caps_model *m)
{
    return m->network.parameter_count;
}

const caps_parameter *caps_model_parameter(const caps_model *m, size_t index)
{
    return index < m->network.parameter_count ? &m->network.parameters[index].parameter : NULL;
}

size_t caps_model_flat_count(const caps_model *m)
{
    return m->network.elements;
}

caps_status caps_model_initialise(caps_model *m, uint64_t seed, caps_error *err)
{
    caps_status status = CAPS_OK;
    float *flat = calloc(m->network.elements, sizeof *flat);
    if (!flat)
        return caps_fail(err, CAPS_ERR_MEMORY, "model: out of memory for its first weights");
    for (size_t i = 0; i < m->network.parameter_count; i++) {
        const caps_owned_parameter *owned = &m->network.parameters[i];
        float *w = flat + owned->parameter.first; /* [count] */
        for (size_t e = 0; owned->sigma > 0 && e < owned->parameter.count; e++)
            w[e] = (float)owned->sigma * caps_rng_normal(seed, CAPS_RNG_WEIGHTS, (uint32_t)i, e);
    }
    CAPS_TRY(caps_model_set_parameters(m, flat, err));
    if (m->first_moments.buffer) {
        CAPS_TRY(caps_tensor_zero(m->rt, &m->first_moments, err));
        CAPS_TRY(caps_tensor_zero(m->rt, &m->second_moments, err));
    }
done:
    free(flat);
    return status;
}

caps_status caps_model_set_parameters(caps_model *m, const float *flat, caps_error *err)
{
    return caps_tensor_upload(m->rt, &m->parameters, flat, err);
}

caps_status caps_model_get_parameters(caps_model *m, float *flat, caps_error *err)
{
    return caps_tensor_download(m->rt, &m->parameters, flat, err);
}

caps_status caps_model_get_gradients(caps_model *m, float *flat, caps_error *err)
{
    if (!m->options.training)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "model: it was made for inference: no gradients");
    return caps_tensor_download(m->rt, &m->gradients, flat, err);
}

static caps_status need_moments(const caps_model *m, caps_error *err)
{
    return m->first_moments.buffer
               ? CAPS_OK
               : caps_fail(err, CAPS_ERR_ARGUMENT, "model: it was made without Adam's moments");
}

caps_status caps_model_set_moments(
    caps_model *m, const float *first, const float *second, caps_error *err)
{
    caps_status status;
    CAPS_TRY(need_moments(m, err));
    CAPS_TRY(caps_tensor_upload(m->rt, &m->first_moments, first, err));
    CAPS_TRY(caps_tensor_upload(m->rt, &m->second_moments, second, err));
done:
    return status;
}

caps_status caps_model_get_moments(caps_model *m, float *first, float *second, caps_error *err)
{
    caps_status status;
    CAPS_TRY(need_moments(m, err));
    CAPS_TRY(caps_tensor_download(m->rt, &m->first_moments, first, err));
    CAPS_TRY(caps_tensor_download(m->rt, &m->second_moments, second, err));
done:
    return status;
}

/* ---- what is not finite --------------------------------------------------------------------- */

caps_status caps_model_check_finite(caps_model *m, bool *finite, caps_error *err)
{
    int32_t flag = 0;
    caps_status status;
    CAPS_TRY(caps_tensor_download(m->rt, &m->flag, &flag, err));
    *finite = flag == 0;
    if (flag)
        CAPS_TRY(caps_tensor_zero(m->rt, &m->flag, err));
done:
    return status;
}

static caps_status look(caps_model *m, const caps_tensor *t, bool *finite, caps_error *err)
{
    const size_t n = caps_tensor_count(t);
    *finite = true;
    float *values = malloc(n * sizeof *values);
    if (!values)
        return caps_fail(err, CAPS_ERR_MEMORY, "model: out of memory");
    caps_status status = caps_tensor_download(m->rt, t, values, err);
    for (size_t i = 0; status == CAPS_OK && *finite && i < n; i++)
        *finite = isfinite(values[i]);
    free(values);
    return status;
}

/* Values that the forward left, then gradients in the order in which they were computed. */
caps_status caps_model_blame(caps_model *m, char *name, size_t bytes, caps_error *err)
{
    caps_status status = CAPS_OK;
    bool finite = true;
    snprintf(name, bytes, "nothing");
    for (size_t l = 0; m->b > 0 && l < m->network.layer_count; l++) {
        const caps_layer *layer = m->network.layers[l];
        if (!layer->y.buffer)
            continue;
        const caps_tensor y = caps_batch_of(&layer->y, m->b);
        CAPS_TRY(look(m, &y, &finite, err));
        if (!finite) {
            snprintf(name, bytes, "%s", layer->name);
            goto done;
        }
    }
    for (size_t l = m->network.layer_count; m->options.training && l-- > 0;) {
        const caps_layer *layer = m->network.layers[l];
        for (size_t p = 0; p < layer->parameter_count; p++) {
            CAPS_TRY(look(m, &layer->parameters[p].parameter.gradient, &finite, err));
            if (!finite) {
                snprintf(name, bytes, "gradient of %s", layer->parameters[p].name);
                goto done;
            }
        }
    }
    for (size_t p = 0; p < m->network.parameter_count; p++) {
        CAPS_TRY(look(m, &m->network.parameters[p].parameter.value, &finite, err));
        if (!finite) {
            snprintf(name, bytes, "%s", m->network.parameters[p].name);
            goto done;
        }
    }
done:
    return status;
}
