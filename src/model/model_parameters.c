/* model_parameters.c: first values of the parameters; reading and writing them, gradients and
 * moments. */
#include <math.h>
#include <stdlib.h>

#include "model_state.h"

#include "fail.h"
#include "parallel.h"
#include "rng.h"
#include "launch.h"
#include "step.h"

#define LEAST_DRAWS   ((size_t)1 << 14) /* normal numbers that are worth a thread */
#define MOST_ATTEMPTS 64 /* all of them beyond two standard deviations: once in 10^85 numbers */

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
    return m->network.elements + m->network.statistics;
}

size_t caps_model_trained_count(const caps_model *m)
{
    return m->network.elements;
}

bool caps_model_is_statistic(const caps_model *m, size_t index)
{
    return m->network.parameters[index].statistic;
}

typedef struct draw {
    float *w; /* [count] of one parameter */
    uint64_t seed;
    uint32_t parameter;
    float stddev;
    bool truncated; /* drawn anew beyond two standard deviations */
} draw;

/* Attempts beyond the first draw from counters of their own: a parameter's number is small. */
static float draw_one(const draw *d, size_t e)
{
    float x = 0;
    for (uint32_t attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
        x = caps_rng_normal(d->seed, CAPS_RNG_WEIGHTS, attempt << 16 | d->parameter, e);
        if (!d->truncated || fabsf(x) <= 2)
            break;
    }
    return d->stddev * x;
}

static void draw_some(void *context, size_t first, size_t end)
{
    const draw *d = context;
    for (size_t e = first; e < end; e++)
        d->w[e] = draw_one(d, e);
}

static caps_status draw_all(float **flat, const caps_network *network, caps_initialiser initialiser,
    uint64_t seed, caps_error *err)
{
    const bool authors = initialiser == CAPS_INITIALISER_AUTHORS;
    *flat = calloc(network->elements + network->statistics, sizeof **flat);
    if (!*flat)
        return caps_fail(err, CAPS_ERR_MEMORY, "model: out of memory for its first weights");
    for (size_t i = 0; i < network->parameter_count; i++) {
        const caps_owned_parameter *owned = &network->parameters[i];
        const double stddev = authors ? owned->authors_stddev : owned->stddev;
        draw d = {*flat + owned->parameter.first, seed, (uint32_t)i, (float)stddev, authors};
        if (stddev > 0)
            caps_parallel(owned->parameter.count, LEAST_DRAWS, draw_some, &d);
        const double initial = authors ? owned->authors_initial : owned->initial;
        for (size_t e = 0; stddev <= 0 && e < owned->parameter.count; e++)
            d.w[e] = (float)initial;
        const size_t rows = owned->identity;
        for (size_t e = 0; rows > 0 && e < owned->parameter.count; e++)
            if (e / rows % rows == e % rows)
                d.w[e] += 1.0f;
    }
    return CAPS_OK;
}

caps_status caps_model_draw(float **flat, const caps_model_spec *spec, caps_initialiser initialiser,
    uint64_t seed, caps_error *err)
{
    caps_network network = {0};
    caps_status status;
    *flat = NULL;
    CAPS_TRY(caps_network_init(&network, spec, err));
    CAPS_TRY(draw_all(flat, &network, initialiser, seed, err));
done:
    caps_network_release(&network);
    return status;
}

static caps_status clear_moments(caps_model *m, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (m->first_moments.buffer) {
        CAPS_TRY(caps_tensor_zero(m->rt, &m->first_moments, err));
        CAPS_TRY(caps_tensor_zero(m->rt, &m->second_moments, err));
    }
done:
    return status;
}

caps_status caps_model_begin(caps_model *m, const float *flat, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_model_set_parameters(m, flat, err));
    CAPS_TRY(clear_moments(m, err));
    if (m->average.buffer)
        CAPS_TRY(caps_model_set_average(m, flat, err));
done:
    return status;
}

caps_status caps_model_initialise(
    caps_model *m, caps_initialiser initialiser, uint64_t seed, caps_error *err)
{
    caps_status status;
    float *flat = NULL;
    CAPS_TRY(draw_all(&flat, &m->network, initialiser, seed, err));
    CAPS_TRY(caps_model_begin(m, flat, err));
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

static caps_status map(caps_model *m, const caps_tensor *t, const float **values, caps_error *err)
{
    const void *host = NULL;
    caps_status status = t->buffer ? caps_tensor_map(m->rt, t, &host, err) : CAPS_OK;
    *values = host;
    return status;
}

static caps_status unmap(caps_model *m, const caps_tensor *t, const float **values, caps_error *err)
{
    const void *host = *values;
    *values = NULL;
    return caps_tensor_unmap(m->rt, t, &host, err);
}

caps_status caps_model_map(caps_model *m, caps_model_view *view, caps_error *err)
{
    caps_status status;
    *view = (caps_model_view){0};
    CAPS_TRY(map(m, &m->parameters, &view->parameters, err));
    CAPS_TRY(map(m, &m->first_moments, &view->moments[0], err));
    CAPS_TRY(map(m, &m->second_moments, &view->moments[1], err));
    CAPS_TRY(map(m, &m->average, &view->average, err));
done:
    if (status != CAPS_OK)
        caps_model_unmap(m, view, NULL);
    return status;
}

caps_status caps_model_unmap(caps_model *m, caps_model_view *view, caps_error *err)
{
    const caps_status each[] = {
        unmap(m, &m->parameters, &view->parameters, err),
        unmap(m, &m->first_moments, &view->moments[0], err),
        unmap(m, &m->second_moments, &view->moments[1], err),
        unmap(m, &m->average, &view->average, err),
    };
    for (size_t i = 0; i < sizeof each / sizeof each[0]; i++)
        if (each[i] != CAPS_OK)
            return each[i];
    return CAPS_OK;
}

caps_status caps_model_get_gradients(caps_model *m, float *flat, caps_error *err)
{
    if (!m->options.training)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "model: it was made for inference: no gradients");
    return caps_tensor_download(m->rt, &m->gradients, flat, err);
}

caps_tensor caps_model_flat_gradients(const caps_model *m)
{
    return m->gradients;
}

caps_tensor caps_model_flat_trained(const caps_model *m)
{
    return caps_tensor_wrap(
        m->parameters.buffer, m->parameters.offset, CAPS_F32, 1, &m->network.elements);
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

/* ---- the average ---------------------------------------------------------------------------- */

static caps_status need_average(const caps_model *m, caps_error *err)
{
    return m->average.buffer
               ? CAPS_OK
               : caps_fail(err, CAPS_ERR_ARGUMENT, "model: it was made without an average");
}

caps_status caps_model_average_step(caps_model *m, float rate, caps_error *err)
{
    caps_status status;
    CAPS_TRY(need_average(m, err));
    CAPS_TRY(caps_average_step(m->rt, &m->average, &m->parameters, rate, err));
done:
    return status;
}

caps_status caps_model_swap_average(caps_model *m, caps_error *err)
{
    caps_status status;
    CAPS_TRY(need_average(m, err));
    m->version++;
    CAPS_TRY(caps_swap(m->rt, &m->parameters, &m->average, err));
done:
    return status;
}

caps_status caps_model_set_average(caps_model *m, const float *flat, caps_error *err)
{
    caps_status status;
    CAPS_TRY(need_average(m, err));
    CAPS_TRY(caps_tensor_upload(m->rt, &m->average, flat, err));
done:
    return status;
}

caps_status caps_model_get_average(caps_model *m, float *flat, caps_error *err)
{
    caps_status status;
    CAPS_TRY(need_average(m, err));
    CAPS_TRY(caps_tensor_download(m->rt, &m->average, flat, err));
done:
    return status;
}
