/* model_parameters.c: first values, getting and setting, and what is not finite. */
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

void caps_model_parameters_changed(caps_model *m)
{
    m->version++;
}

caps_status caps_model_set_parameters(caps_model *m, const float *flat, caps_error *err)
{
    m->version++;
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
