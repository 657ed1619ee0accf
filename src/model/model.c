/* model.c: a network on a device: made, freed, asked for what it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_state.h"

#include "fail.h"
#include "gemm.h"

/* Kernels count the elements of one image, or of one parameter, in 32 bits. */
static caps_status check_counts(const caps_model *m, caps_error *err)
{
    for (size_t l = 0; l < m->network.layer_count; l++) {
        const caps_layer *layer = m->network.layers[l];
        size_t count = 0;
        for (size_t v = 0; v < layer->output_count; v++)
            if (caps_value_elements(&layer->outputs[v]) > count)
                count = caps_value_elements(&layer->outputs[v]);
        for (size_t p = 0; p < layer->parameter_count; p++)
            if (layer->parameters[p].parameter.count > count)
                count = layer->parameters[p].parameter.count;
        if (count > INT32_MAX)
            return caps_fail(err, CAPS_ERR_SPEC,
                "%s: %zu elements in an image's output or a parameter, need < 2^31", layer->name,
                count);
    }
    return CAPS_OK;
}

static void bind_parameters(caps_model *m)
{
    for (size_t i = 0; i < m->network.parameter_count; i++) {
        caps_parameter *p = &m->network.parameters[i].parameter;
        p->value = caps_tensor_wrap(
            m->parameters.buffer, m->parameters.offset + p->first, CAPS_F32, p->ndim, p->shape);
        if (m->options.training && !m->network.parameters[i].statistic)
            p->gradient = caps_tensor_wrap(
                m->gradients.buffer, m->gradients.offset + p->first, CAPS_F32, p->ndim, p->shape);
    }
}

caps_status caps_model_create(caps_model **out, caps_runtime *rt, const caps_model_spec *spec,
    const caps_model_options *options, caps_error *err)
{
    caps_status status = CAPS_OK;
    caps_plan plan;
    cl_mem scratch;
    *out = NULL;
    caps_model *m = calloc(1, sizeof *m);
    if (!m)
        return caps_fail(err, CAPS_ERR_MEMORY, "model: out of memory");
    m->rt = rt;
    CAPS_TRY(caps_model_plan(m, rt, spec, options, &plan, err));
    m->loss = m->options.loss ? *m->options.loss : CAPS_LOSS_DEFAULT;
    CAPS_TRY(caps_model_check_memory(m, rt, &plan, false, err));
    CAPS_TRY(check_counts(m, err));
    CAPS_TRY(caps_arena_commit(m->arena, rt, err));
    if (plan.scratch_bytes)
        CAPS_TRY(caps_gemm_scratch_get(rt, plan.scratch_bytes, &scratch, err));
    bind_parameters(m);
    caps_model_bind_batch(m, m->micro);
    m->version = 1;
    m->options.conv = NULL; /* what the caller lends need not outlive this call */
    m->options.loss = NULL;
    m->options.lr_multipliers = NULL;
    if (m->class_weights.buffer)
        CAPS_TRY(caps_tensor_upload(rt, &m->class_weights, m->options.class_weights, err));
    m->options.class_weights = NULL;
    CAPS_TRY(caps_tensor_zero(rt, &m->parameters, err));
    if (m->average.buffer)
        CAPS_TRY(caps_tensor_zero(rt, &m->average, err));
    CAPS_TRY(caps_checks_init(m, err));
    if (m->options.training && m->options.input_gradient) /* the decoder's are never computed */
        CAPS_TRY(caps_tensor_zero(rt, &m->gradients, err));
    if (m->first_moments.buffer) {
        CAPS_TRY(caps_tensor_zero(rt, &m->first_moments, err));
        CAPS_TRY(caps_tensor_zero(rt, &m->second_moments, err));
    }
    *out = m;
    m = NULL;
done:
    caps_model_free(m);
    return status;
}

void caps_model_free(caps_model *m)
{
    if (!m)
        return;
    caps_readings_release(m);
    caps_model_release_plan(m);
    free(m->checked);
    free(m->check_buffers);
    caps_model_spec_free(m->spec);
    free(m);
}

const caps_model_spec *caps_model_get_spec(const caps_model *m)
{
    return m->spec;
}

const caps_model_info *caps_model_get_info(const caps_model *m)
{
    return caps_model_spec_info(m->spec);
}

caps_runtime *caps_model_get_runtime(const caps_model *m)
{
    return m->rt;
}

const char *caps_model_get_routing(const caps_model *m)
{
    return m->routing;
}

const char *caps_model_get_conv(const caps_model *m)
{
    return m->conv;
}

const caps_loss *caps_model_get_loss(const caps_model *m)
{
    return &m->loss;
}

size_t caps_model_get_max_batch(const caps_model *m)
{
    return m->options.max_batch;
}

size_t caps_model_get_micro_batch(const caps_model *m)
{
    return m->micro;
}
