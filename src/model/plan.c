/* plan.c: what a model needs of the device, laid out before anything is allocated. */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_state.h"

#include "choice.h"
#include "conv.h"
#include "fail.h"
#include "launch.h"
#include "options.h"
#include "trust.h"

static caps_status plan_parameters(caps_model *m, caps_error *err)
{
    const size_t n = m->network.elements, all = n + m->network.statistics;
    const struct {
        caps_tensor *tensor;
        caps_purpose purpose;
        bool wanted;
        size_t count;
    } flats[] = {
        {&m->parameters, CAPS_PURPOSE_PARAMETERS, true, all},
        {&m->gradients, CAPS_PURPOSE_GRADIENTS, m->options.training, n},
        {&m->first_moments, CAPS_PURPOSE_MOMENTS, m->options.training && m->options.adam, n},
        {&m->second_moments, CAPS_PURPOSE_MOMENTS, m->options.training && m->options.adam, n},
        {&m->average, CAPS_PURPOSE_MOMENTS, m->options.training && m->options.average, all},
    };
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < sizeof flats / sizeof flats[0]; i++)
        if (flats[i].wanted)
            CAPS_TRY(caps_arena_add(
                m->arena, flats[i].tensor, flats[i].purpose, CAPS_F32, 1, &flats[i].count, err));
done:
    return status;
}

/* Where gradients are accumulated: one layer's, before they are added. A second buffer for all
 * gradients would be simpler, and larger. */
static caps_status plan_partial(caps_model *m, caps_error *err)
{
    size_t most = 0;
    if (!m->options.training || m->micro == m->options.max_batch)
        return CAPS_OK;
    for (size_t l = 0; l < m->network.layer_count; l++)
        if (caps_layer_elements(m->network.layers[l]) > most)
            most = caps_layer_elements(m->network.layers[l]);
    return caps_arena_add(m->arena, &m->partial, CAPS_PURPOSE_GRADIENTS, CAPS_F32, 1, &most, err);
}

static caps_status plan_value(
    caps_model *m, caps_value *value, const caps_plan *plan, bool gradient, caps_error *err)
{
    size_t shape[CAPS_MAX_DIMS] = {plan->batch * value->rows_per_image};
    caps_status status = CAPS_OK;
    memcpy(shape + 1, value->shape, (size_t)value->ndim * sizeof *shape);
    if (value != m->network.input) /* plan_batch's */
        CAPS_TRY(caps_arena_add(
            m->arena, &value->y, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, value->ndim + 1, shape, err));
    if (gradient)
        CAPS_TRY(caps_arena_add(
            m->arena, &value->dy, CAPS_PURPOSE_GRADIENTS, CAPS_F32, value->ndim + 1, shape, err));
done:
    return status;
}

/* Images, with their labels behind them. */
static caps_status plan_batch(caps_model *m, const caps_plan *plan, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(m->spec);
    const size_t n = plan->batch * (info->pixels + info->labels);
    return caps_arena_add(m->arena, &m->batch, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 1, &n, err);
}

void caps_model_bind_batch(caps_model *m, size_t b)
{
    const caps_model_info *info = caps_model_get_info(m);
    const caps_value *input = m->network.input;
    const size_t labels[] = {b, info->labels}, at = m->batch.offset + b * info->pixels;
    size_t shape[CAPS_MAX_DIMS] = {m->micro};
    memcpy(shape + 1, input->shape, (size_t)input->ndim * sizeof *shape);
    m->network.input->y =
        caps_tensor_wrap(m->batch.buffer, m->batch.offset, CAPS_F32, input->ndim + 1, shape);
    m->labels = caps_tensor_wrap(m->batch.buffer, at, CAPS_I32, info->labels > 1 ? 2 : 1, labels);
}

static caps_status plan_layers(caps_model *m, caps_plan *plan, caps_error *err)
{
    caps_status status;
    CAPS_TRY(plan_batch(m, plan, err));
    for (size_t l = 0; l < m->network.layer_count; l++) {
        caps_layer *layer = m->network.layers[l];
        const bool gradient = plan->training && (layer->input_count > 0 || plan->input_gradient);
        if (layer->decodes && !caps_model_reconstructs(m))
            continue;
        for (size_t v = 0; v < layer->output_count; v++)
            CAPS_TRY(plan_value(m, &layer->outputs[v], plan, gradient, err));
        if (layer->kind->plan)
            CAPS_TRY(layer->kind->plan(layer, plan, err));
    }
    caps_plan_finish_workspace(plan);
done:
    return status;
}

/* Targets, what the heads give, the workspace, and what steps leave. */
static caps_status plan_results(caps_model *m, caps_plan *plan, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(m->spec);
    const size_t l = info->labels, targets[] = {plan->batch * l, info->pixels};
    caps_status status = CAPS_OK;
    for (size_t i = 0; caps_model_head(m, i); i++) {
        caps_head *head = caps_model_head(m, i);
        head->loss = &m->loss;
        CAPS_TRY(head->kind->plan(head, plan, err));
    }
    if (m->options.class_weights)
        CAPS_TRY(caps_arena_add(
            m->arena, &m->class_weights, CAPS_PURPOSE_WORKSPACE, CAPS_F32, 1, &info->classes, err));
    const size_t workspace = plan->workspace ? plan->workspace : 1; /* no tensor is empty */
    CAPS_TRY(caps_arena_add(
        m->arena, &m->workspace, CAPS_PURPOSE_WORKSPACE, CAPS_F32, 1, &workspace, err));
    if (l > 1 && caps_model_reconstructs(m))
        CAPS_TRY(caps_arena_add(
            m->arena, &m->targets, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 2, targets, err));
    CAPS_TRY(caps_checks_plan(m, plan->batch, err));
done:
    return status;
}

static const char *plan_requested_conv(const caps_runtime *rt, const caps_model_options *options)
{
    const char *requested = options->conv ? options->conv : caps_runtime_requested(rt, "conv");
    return requested ? requested : "";
}

/* Under a limit of memory as much as a CPU's, so that it does not take images from the batch. */
static size_t most_for_columns(const caps_runtime *rt, const caps_model_options *options)
{
    if (options->conv_workspace_bytes)
        return options->conv_workspace_bytes;
    return caps_conv_column_bytes(options->memory_limit_bytes ? NULL : rt);
}

static size_t most_for_transforms(const caps_runtime *rt, const caps_model_options *options)
{
    uint64_t most = options->memory_limit_bytes ? options->memory_limit_bytes / 2 : UINT64_MAX;
    if (options->conv_workspace_bytes)
        return options->conv_workspace_bytes;
    if (rt) {
        const caps_device_info *device = caps_runtime_device(rt);
        most = most < device->global_mem_bytes / 4 ? most : device->global_mem_bytes / 4;
        most = most < device->max_alloc_bytes ? most : device->max_alloc_bytes;
    }
    return most < SIZE_MAX ? (size_t)most : SIZE_MAX;
}

/* Every name in "conv1=direct,primary=auto" is one of those that chose. */
static caps_status check_conv_names(const caps_plan *plan, caps_error *err)
{
    const char *text = strchr(plan->conv, '=') ? plan->conv : "";
    for (const char *at = text; *at; at += strcspn(at, ","), at += *at == ',') {
        const size_t name = strcspn(at, "=,") + 1;
        bool known = false;
        for (const char *c = plan->conv_chosen; at[name - 1] == '=' && *c && !known;
             c += strcspn(c, ","), c += *c == ',')
            known = strncmp(c, at, name) == 0;
        if (!known)
            return caps_fail(err, CAPS_ERR_ARGUMENT,
                "conv: '%.*s' is not LAYER=ALGORITHM of a convolution, need for instance %s",
                (int)strcspn(at, ","), at, plan->conv_chosen);
    }
    return CAPS_OK;
}

/* Everything up to the allocation: layers, the arena's plan, for `batch` images at once. */
static caps_status plan_for(
    caps_model *m, const caps_runtime *rt, size_t batch, caps_plan *plan, caps_error *err)
{
    const caps_model_options *options = &m->options;
    caps_status status;
    m->micro = batch;
    CAPS_TRY(caps_network_init(&m->network, m->spec, err));
    CAPS_TRY(caps_arena_create(&m->arena, err));
    *plan = (caps_plan){
        .arena = m->arena,
        .rt = rt,
        .batch = batch,
        .training = options->training,
        .input_gradient = options->input_gradient,
        .conv = plan_requested_conv(rt, options),
        .routing_requested = options->routing_algorithm,
        .conv_limit_bytes = most_for_columns(rt, options),
        .conv_most_bytes = most_for_transforms(rt, options),
    };
    CAPS_TRY(caps_lr_multipliers_set(&m->network, options->lr_multipliers, err));
    CAPS_TRY(plan_parameters(m, err));
    CAPS_TRY(plan_partial(m, err));
    CAPS_TRY(plan_layers(m, plan, err));
    CAPS_TRY(check_conv_names(plan, err));
    memcpy(m->conv, plan->conv_chosen, sizeof m->conv);
    m->routing = plan->routing_chosen == CAPS_ROUTING_AUTO
                     ? ""
                     : caps_routing_algorithm_name(plan->routing_chosen);
    CAPS_TRY(plan_results(m, plan, err));
done:
    return status;
}

void caps_model_release_plan(caps_model *m)
{
    caps_arena_free(m->arena);
    caps_network_release(&m->network);
    m->arena = NULL;
}

static uint64_t bytes_of(const caps_model *m, const caps_plan *plan)
{
    return caps_arena_bytes(m->arena, CAPS_PURPOSE_COUNT) + plan->scratch_bytes;
}

/* Fits into the limit, and into the device's memory and largest allocation where there is
 * one. A tensor that is larger than one allocation is left to the arena where it cannot be helped.
 */
caps_status caps_model_check_memory(const caps_model *m, const caps_runtime *rt,
    const caps_plan *plan, bool one_allocation, caps_error *err)
{
    const double mib = 1.0 / (1024 * 1024);
    const uint64_t need = bytes_of(m, plan), limit = m->options.memory_limit_bytes;
    char batch[64] = "one image at a time";
    if (plan->batch > 1 || !m->options.accumulate)
        snprintf(batch, sizeof batch, "batches of %zu", plan->batch);
    if (limit && need > limit)
        return caps_fail(err, CAPS_ERR_DEVICE_MEMORY,
            "the model with %s needs %.1f MiB of device memory, the limit is %.1f MiB", batch,
            (double)need * mib, (double)limit * mib);
    if (!rt)
        return CAPS_OK;
    const caps_device_info *device = caps_runtime_device(rt);
    if (need > device->global_mem_bytes)
        return caps_fail(err, CAPS_ERR_DEVICE_MEMORY,
            "the model with %s needs %.0f MiB of device memory, device %s (%s) has %.0f MiB", batch,
            (double)need * mib, device->id, device->name, (double)device->global_mem_bytes * mib);
    if (one_allocation && caps_arena_largest(m->arena) > device->max_alloc_bytes)
        return caps_fail(err, CAPS_ERR_DEVICE_MEMORY,
            "the model with %s needs one tensor of %.0f MiB, the largest that device %s (%s) gives "
            "is %.0f MiB",
            batch, (double)caps_arena_largest(m->arena) * mib, device->id, device->name,
            (double)device->max_alloc_bytes * mib);
    return CAPS_OK;
}

/* The least size of equal micro-batches of n images of which none is larger than `most`. */
static size_t micro_size(size_t n, size_t most)
{
    return caps_div_up(n, caps_div_up(n, most));
}

/* What the caller lends is read as the options have it when the model is made. */
static caps_status plan_begin(
    caps_model *m, const caps_model_spec *spec, const caps_model_options *options, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_options_read(
        &m->options, sizeof m->options, options, options->size, "model options", err));
    CAPS_TRY(caps_model_spec_copy(&m->spec, spec, err));
    if (m->options.loss)
        CAPS_TRY(caps_loss_check(spec, m->options.loss, err));
    if (!(m->options.weight_decay >= 0 && m->options.weight_decay <= (double)FLT_MAX))
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT, "model: weight_decay is %g, need 0 or more",
            m->options.weight_decay));
    if (m->options.max_batch < 1 || m->options.max_batch > INT32_MAX)
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT, "model: max_batch is %zu, need 1 to %d",
            m->options.max_batch, INT32_MAX));
    const float *weights = m->options.class_weights;
    for (size_t j = 0; weights && j < caps_model_spec_info(spec)->classes; j++)
        if (!(weights[j] >= 0 && weights[j] <= FLT_MAX))
            CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT,
                "model: the weight of class %zu is %g, need a number from 0 on", j,
                (double)weights[j]));
done:
    return status;
}

/* The first layer that normalises by the batch's statistics, and so needs its batch whole; NULL:
 * none. */
static const caps_layer *plan_needs_whole(const caps_model *m)
{
    for (size_t l = 0; caps_model_by_batch(m) && l < m->network.layer_count; l++)
        if (caps_layer_has_statistics(m->network.layers[l]))
            return m->network.layers[l];
    return NULL;
}

/* For such networks: the batch at once, or nothing. */
static caps_status plan_whole(caps_model *m, const caps_runtime *rt, const caps_plan *plan,
    const caps_layer *layer, caps_error *err)
{
    if (m->micro < m->options.max_batch)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "%s: normalises by the statistics of the whole batch, but %zu of %zu images are to go "
            "at "
            "once: need a smaller batch, or no micro-batches",
            layer->name, m->micro, m->options.max_batch);
    caps_status status = caps_model_check_memory(m, rt, plan, true, err);
    if (status == CAPS_OK)
        return status;
    caps_fail_prefix(err, status,
        "%s: normalises by the statistics of the whole batch, which does not fit, need a smaller "
        "batch",
        layer->name);
    return status;
}

/* plan_for the batch or, with gradient accumulation, for the fewest equal micro-batches that fit.
 * */
caps_status caps_model_plan(caps_model *m, const caps_runtime *rt, const caps_model_spec *spec,
    const caps_model_options *given, caps_plan *plan, caps_error *err)
{
    caps_status status = plan_begin(m, spec, given, err);
    if (status != CAPS_OK)
        return status;
    const caps_model_options *options = &m->options;
    const bool accumulate = options->accumulate && options->training;
    const size_t all = options->max_batch;
    size_t high = all, low = 0; /* images at once: so many do not fit; so many do */
    const size_t recorded = caps_choices_count(rt);
    if (accumulate && options->micro_batch && options->micro_batch < all)
        high = micro_size(all, options->micro_batch);
    status = plan_for(m, rt, high, plan, err);
    if (!accumulate)
        return status;
    if (status == CAPS_OK && plan_needs_whole(m))
        return plan_whole(m, rt, plan, plan_needs_whole(m), err);
    if (status == CAPS_OK)
        status = caps_model_check_memory(m, rt, plan, true, err);
    if (status != CAPS_ERR_DEVICE_MEMORY || high == 1)
        return status;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        caps_model_release_plan(m);
        caps_choices_truncate(rt, recorded);
        status = plan_for(m, rt, middle, plan, err);
        if (status == CAPS_OK)
            status = caps_model_check_memory(m, rt, plan, true, err);
        if (status != CAPS_OK && status != CAPS_ERR_DEVICE_MEMORY)
            return status;
        *(status == CAPS_OK ? &low : &high) = middle;
    }
    caps_model_release_plan(m);
    caps_choices_truncate(rt, recorded);
    status = plan_for(m, rt, low ? micro_size(all, low) : 1, plan, err);
    return status == CAPS_OK ? caps_model_check_memory(m, rt, plan, true, err) : status;
}

caps_status caps_model_forecast(const caps_runtime *rt, const caps_model_spec *spec,
    const caps_model_options *options, caps_model_memory *memory, caps_error *err)
{
    caps_model m = {0};
    caps_plan plan;
    caps_status status;
    const size_t recorded = caps_choices_count(rt);
    const bool postponed = caps_trust_postpone(true); /* nothing of it will run */
    status = caps_model_plan(&m, rt, spec, options, &plan, err);
    caps_trust_postpone(postponed);
    CAPS_TRY(status);
    memory->parameters = caps_arena_bytes(m.arena, CAPS_PURPOSE_PARAMETERS);
    memory->gradients = caps_arena_bytes(m.arena, CAPS_PURPOSE_GRADIENTS);
    memory->moments = caps_arena_bytes(m.arena, CAPS_PURPOSE_MOMENTS);
    memory->activations = caps_arena_bytes(m.arena, CAPS_PURPOSE_ACTIVATIONS);
    memory->workspace = caps_arena_bytes(m.arena, CAPS_PURPOSE_WORKSPACE) + plan.scratch_bytes;
    memory->total = bytes_of(&m, &plan);
    memory->micro_batch = m.micro;
done:
    caps_model_release_plan(&m);
    caps_choices_truncate(rt, recorded);
    caps_model_spec_free(m.spec);
    return status;
}
