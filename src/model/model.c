/* model.c: a network on a device: planned, allocated, run forward and backward. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_state.h"

#include "add.h"
#include "choice.h"
#include "fail.h"
#include "gemm.h"
#include "launch.h"
#include "trace.h"

#define CONV_WORKSPACE_BYTES ((size_t)64 << 20)

/* ---- plan ----------------------------------------------------------------------------------- */

static caps_status plan_parameters(caps_model *m, caps_error *err)
{
    const size_t n = m->network.elements;
    const struct {
        caps_tensor *tensor;
        caps_purpose purpose;
        bool wanted;
    } flats[] = {
        {&m->parameters, CAPS_PURPOSE_PARAMETERS, true},
        {&m->gradients, CAPS_PURPOSE_GRADIENTS, m->options.training},
        {&m->first_moments, CAPS_PURPOSE_MOMENTS, m->options.training && m->options.adam},
        {&m->second_moments, CAPS_PURPOSE_MOMENTS, m->options.training && m->options.adam},
    };
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < sizeof flats / sizeof flats[0]; i++)
        if (flats[i].wanted)
            CAPS_TRY(
                caps_arena_add(m->arena, flats[i].tensor, flats[i].purpose, CAPS_F32, 1, &n, err));
done:
    return status;
}

/* Elements of a layer's parameters, which lie together in the flat buffers. */
static size_t layer_elements(const caps_layer *layer)
{
    size_t count = 0;
    for (size_t p = 0; p < layer->parameter_count; p++)
        count += layer->parameters[p].parameter.count;
    return count;
}

/* Where the batch goes in parts: room for what one layer's backward gives, before it is added. A
 * second buffer for all gradients would be simpler, and larger. */
static caps_status plan_partial(caps_model *m, caps_error *err)
{
    size_t most = 0;
    if (!m->options.training || m->micro == m->options.max_batch)
        return CAPS_OK;
    for (size_t l = 0; l < m->network.layer_count; l++)
        if (layer_elements(m->network.layers[l]) > most)
            most = layer_elements(m->network.layers[l]);
    return caps_arena_add(m->arena, &m->partial, CAPS_PURPOSE_GRADIENTS, CAPS_F32, 1, &most, err);
}

static caps_status plan_layers(caps_model *m, caps_plan *plan, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t l = 0; l < m->network.layer_count; l++) {
        caps_layer *layer = m->network.layers[l];
        if (layer->reconstructs && !caps_model_reconstructs(m))
            continue;
        size_t shape[CAPS_MAX_DIMS] = {plan->batch * layer->rows_per_image};
        memcpy(shape + 1, layer->shape, (size_t)layer->ndim * sizeof *shape);
        CAPS_TRY(caps_arena_add(
            m->arena, &layer->y, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, layer->ndim + 1, shape, err));
        if (plan->training && (layer->input || plan->input_gradient))
            CAPS_TRY(caps_arena_add(m->arena, &layer->dy, CAPS_PURPOSE_GRADIENTS, CAPS_F32,
                layer->ndim + 1, shape, err));
        if (layer->class->plan)
            CAPS_TRY(layer->class->plan(layer, plan, err));
    }
done:
    return status;
}

static caps_status plan_results(caps_model *m, const caps_plan *plan, caps_error *err)
{
    const size_t l = m->spec.labels, b[] = {plan->batch, m->spec.classes};
    const size_t labels[] = {plan->batch, l}, targets[] = {plan->batch * l, m->sizes.pixels};
    const int labels_ndim = l > 1 ? 2 : 1;
    caps_status status;
    const struct {
        caps_tensor *tensor;
        caps_purpose purpose;
        caps_dtype dtype;
        int ndim;
        const size_t *shape;
    } rows[] = {
        {&m->labels, CAPS_PURPOSE_ACTIVATIONS, CAPS_I32, labels_ndim, labels},
        {&m->best, CAPS_PURPOSE_ACTIVATIONS, CAPS_I32, labels_ndim, labels},
        {&m->lengths, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 2, b},
        {&m->margin_loss, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 1, b},
        {&m->workspace, CAPS_PURPOSE_WORKSPACE, CAPS_F32, 1, &plan->workspace},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CAPS_TRY(caps_arena_add(m->arena, rows[i].tensor, rows[i].purpose, rows[i].dtype,
            rows[i].ndim, rows[i].shape, err));
    if (caps_model_reconstructs(m))
        CAPS_TRY(
            caps_arena_add(m->arena, &m->sse, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 1, targets, err));
    if (l > 1)
        CAPS_TRY(caps_arena_add(
            m->arena, &m->matched, CAPS_PURPOSE_ACTIVATIONS, CAPS_I32, 2, labels, err));
    if (l > 1 && caps_model_reconstructs(m))
        CAPS_TRY(caps_arena_add(
            m->arena, &m->targets, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 2, targets, err));
    CAPS_TRY(caps_looks_plan(m, err));
done:
    return status;
}

static const char *conv_wish(const caps_runtime *rt, const caps_model_options *options)
{
    const char *requested = options->conv ? options->conv : caps_runtime_requested(rt, "conv");
    return requested ? requested : "";
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
        for (const char *c = plan->conv_choices; at[name - 1] == '=' && *c && !known;
             c += strcspn(c, ","), c += *c == ',')
            known = strncmp(c, at, name) == 0;
        if (!known)
            return caps_fail(err, CAPS_ERR_ARGUMENT,
                "conv: '%.*s' is not LAYER=ALGORITHM of a convolution, need for instance %s",
                (int)strcspn(at, ","), at, plan->conv_choices);
    }
    return CAPS_OK;
}

/* Everything up to the allocation: sizes, layers, the arena's plan, for `batch` images at once. */
static caps_status plan_for(caps_model *m, const caps_runtime *rt, const caps_model_spec *spec,
    const caps_model_options *options, size_t batch, caps_plan *plan, caps_error *err)
{
    caps_status status;
    m->spec = *spec;
    m->options = *options;
    m->micro = batch;
    CAPS_TRY(caps_model_spec_check(spec, &m->sizes, err));
    CAPS_TRY(caps_network_init(&m->network, spec, err));
    CAPS_TRY(caps_arena_create(&m->arena, err));
    *plan = (caps_plan){
        .arena = m->arena,
        .rt = rt,
        .batch = batch,
        .training = options->training,
        .input_gradient = options->input_gradient,
        .conv = conv_wish(rt, options),
        .routing_algorithm = options->routing_algorithm,
        .conv_limit_bytes =
            options->conv_workspace_bytes ? options->conv_workspace_bytes : CONV_WORKSPACE_BYTES,
        .conv_most_bytes = most_for_transforms(rt, options),
    };
    CAPS_TRY(caps_rate_factors_set(&m->network, options->rate_factors, err));
    CAPS_TRY(plan_parameters(m, err));
    CAPS_TRY(plan_partial(m, err));
    CAPS_TRY(plan_layers(m, plan, err));
    CAPS_TRY(check_conv_names(plan, err));
    memcpy(m->conv, plan->conv_choices, sizeof m->conv);
    m->routing = plan->routing_algorithm;
    CAPS_TRY(plan_results(m, plan, err));
done:
    return status;
}

static void model_release(caps_model *m)
{
    caps_arena_free(m->arena);
    caps_network_release(&m->network);
    m->arena = NULL;
}

static uint64_t bytes_of(const caps_model *m, const caps_plan *plan)
{
    return caps_arena_bytes(m->arena, CAPS_PURPOSE_COUNT) + plan->scratch_bytes;
}

/* The plan fits into the limit, and into the device's memory and largest allocation where there is
 * one. A tensor that is larger than one allocation is left to the arena where it cannot be helped.
 */
static caps_status check_memory(const caps_model *m, const caps_runtime *rt, const caps_plan *plan,
    bool one_allocation, caps_error *err)
{
    const double mib = 1.0 / (1024 * 1024);
    const uint64_t need = bytes_of(m, plan), limit = m->options.memory_limit_bytes;
    char batch[64] = "one image at a time";
    if (plan->batch > 1 || !m->options.split)
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

/* The least size of equal parts of n of which none is larger than `most`. */
static size_t part_size(size_t n, size_t most)
{
    return caps_div_up(n, caps_div_up(n, most));
}

/* plan_for the batch or, under `split`, for the fewest equal parts of it that fit. */
static caps_status model_plan(caps_model *m, const caps_runtime *rt, const caps_model_spec *spec,
    const caps_model_options *options, caps_plan *plan, caps_error *err)
{
    const bool split = options->split && options->training;
    const size_t all = options->max_batch;
    size_t high = all, low = 0; /* images at once: so many do not fit; so many do */
    const size_t recorded = caps_choices_count(rt);
    caps_status status;
    if (all < 1 || all > INT32_MAX)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "model: max_batch is %zu, need 1 to %d", all, INT32_MAX);
    if (split && options->micro_batch && options->micro_batch < all)
        high = part_size(all, options->micro_batch);
    status = plan_for(m, rt, spec, options, high, plan, err);
    if (!split)
        return status;
    if (status == CAPS_OK)
        status = check_memory(m, rt, plan, true, err);
    if (status != CAPS_ERR_DEVICE_MEMORY || high == 1)
        return status;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        model_release(m);
        caps_choices_truncate(rt, recorded);
        status = plan_for(m, rt, spec, options, middle, plan, err);
        if (status == CAPS_OK)
            status = check_memory(m, rt, plan, true, err);
        if (status != CAPS_OK && status != CAPS_ERR_DEVICE_MEMORY)
            return status;
        *(status == CAPS_OK ? &low : &high) = middle;
    }
    model_release(m);
    caps_choices_truncate(rt, recorded);
    status = plan_for(m, rt, spec, options, low ? part_size(all, low) : 1, plan, err);
    return status == CAPS_OK ? check_memory(m, rt, plan, true, err) : status;
}

caps_status caps_model_forecast(const caps_runtime *rt, const caps_model_spec *spec,
    const caps_model_options *options, caps_model_memory *memory, caps_error *err)
{
    caps_model m = {0};
    caps_plan plan;
    caps_status status;
    const size_t recorded = caps_choices_count(rt);
    CAPS_TRY(model_plan(&m, rt, spec, options, &plan, err));
    memory->parameters = caps_arena_bytes(m.arena, CAPS_PURPOSE_PARAMETERS);
    memory->gradients = caps_arena_bytes(m.arena, CAPS_PURPOSE_GRADIENTS);
    memory->moments = caps_arena_bytes(m.arena, CAPS_PURPOSE_MOMENTS);
    memory->activations = caps_arena_bytes(m.arena, CAPS_PURPOSE_ACTIVATIONS);
    memory->workspace = caps_arena_bytes(m.arena, CAPS_PURPOSE_WORKSPACE) + plan.scratch_bytes;
    memory->total = bytes_of(&m, &plan);
    memory->micro_batch = m.micro;
done:
    model_release(&m);
    caps_choices_truncate(rt, recorded); /* nothing of it will run */
    return status;
}

/* ---- making --------------------------------------------------------------------------------- */

/* Kernels count the elements of one image, or of one parameter, in 32 bits. */
static caps_status check_counts(const caps_model *m, caps_error *err)
{
    for (size_t l = 0; l < m->network.layer_count; l++) {
        const caps_layer *layer = m->network.layers[l];
        size_t count = 1;
        for (int d = 0; d < layer->ndim; d++)
            count *= layer->shape[d];
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
        if (m->options.training)
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
    m->loss = options->loss ? *options->loss : CAPS_LOSS_DEFAULT;
    CAPS_TRY(model_plan(m, rt, spec, options, &plan, err));
    CAPS_TRY(check_memory(m, rt, &plan, false, err));
    CAPS_TRY(check_counts(m, err));
    CAPS_TRY(caps_arena_commit(m->arena, rt, err));
    if (plan.scratch_bytes)
        CAPS_TRY(caps_gemm_scratch_get(rt, plan.scratch_bytes, &scratch, err));
    bind_parameters(m);
    m->version = 1;
    m->options.conv = NULL; /* what the caller lends need not outlive this call */
    m->options.loss = NULL;
    m->options.rate_factors = NULL;
    CAPS_TRY(caps_tensor_zero(rt, &m->parameters, err));
    CAPS_TRY(caps_looks_make(m, err));
    if (options->training && options->input_gradient) /* the decoder's are never computed */
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
    model_release(m);
    free(m);
}

const caps_model_spec *caps_model_get_spec(const caps_model *m)
{
    return &m->spec;
}

const caps_model_sizes *caps_model_get_sizes(const caps_model *m)
{
    return &m->sizes;
}

caps_runtime *caps_model_get_runtime(const caps_model *m)
{
    return m->rt;
}

caps_routing_algorithm caps_model_get_routing(const caps_model *m)
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

/* ---- a batch -------------------------------------------------------------------------------- */

static caps_status put_images(caps_model *m, const caps_images *images, bool wait, caps_error *err)
{
    caps_status (*const put)(caps_runtime *, const caps_tensor *, const void *, caps_error *) =
        wait ? caps_tensor_upload : caps_tensor_put;
    const size_t b = images->b;
    caps_status status;
    m->b = 0;
    m->forwarded = false;
    m->decoded = 0;
    m->part = 0;
    m->dropout.first = 0;
    if (b < 1 || b > m->micro)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "model: a batch of %zu images, need 1 to %zu", b, m->micro);
    const caps_tensor x = caps_batch_of(&m->network.input->y, b);
    CAPS_TRY(put(m->rt, &x, images->images, err));
    if (images->labels) {
        const caps_tensor to = caps_batch_of(&m->labels, b);
        CAPS_TRY(put(m->rt, &to, images->labels, err));
    }
    if (images->targets && m->targets.buffer) {
        const caps_tensor to = caps_batch_of(&m->targets, b * m->spec.labels);
        CAPS_TRY(put(m->rt, &to, images->targets, err));
    }
    m->b = b;
    m->labelled = images->labels != NULL;
    m->targeted = m->labelled && (m->spec.labels == 1 || images->targets);
done:
    return status;
}

caps_status caps_model_set_images(caps_model *m, const caps_images *images, caps_error *err)
{
    return put_images(m, images, true, err);
}

caps_status caps_model_set_batch(
    caps_model *m, size_t b, const float *images, const int32_t *labels, caps_error *err)
{
    return put_images(m, &(caps_images){b, images, labels, NULL}, true, err);
}

caps_status caps_model_put_images(caps_model *m, const caps_images *images, caps_error *err)
{
    caps_trace_begin(m->rt, "put batch");
    caps_status status = put_images(m, images, false, err);
    caps_trace_end(m->rt);
    return status;
}

void caps_model_set_step(caps_model *m, uint64_t seed, uint64_t step)
{
    m->dropout = (caps_dropout){.seed = seed, .step = step};
}

/* What the decoder sees: the labels' capsules, or the longest ones. */
static const caps_tensor *chosen_of(const caps_model *m)
{
    if (m->mask == CAPS_MASK_LABEL)
        return &m->labels;
    return m->spec.labels > 1 && m->labelled ? &m->matched : &m->best;
}

static caps_pass pass_of(caps_model *m)
{
    return (caps_pass){
        .rt = m->rt,
        .b = m->b,
        .chosen = caps_batch_of(chosen_of(m), m->b),
        .dropout = m->mask == CAPS_MASK_LABEL && m->dropout.step > 0 ? &m->dropout : NULL,
        .workspace = m->workspace,
        .workspace_user = &m->workspace_user,
        .version = m->version,
    };
}

/* The reconstruction and what it should be, both [b * L, C*H*W]. */
static void reconstruction_of(const caps_model *m, caps_tensor *y, caps_tensor *x)
{
    const size_t shape[] = {m->b * m->spec.labels, m->sizes.pixels};
    const caps_tensor images = caps_batch_of(&m->network.input->y, m->b);
    *y = caps_batch_of(&m->network.reconstruction->y, shape[0]);
    *x = m->targets.buffer ? caps_batch_of(&m->targets, shape[0])
                           : caps_tensor_reshape(&images, 2, shape);
}

static bool compares(const caps_model *m)
{
    return caps_model_reconstructs(m) && m->targeted;
}

static caps_status forward_losses(caps_model *m, caps_error *err)
{
    const caps_tensor lengths = caps_batch_of(&m->lengths, m->b);
    const caps_tensor labels = caps_batch_of(&m->labels, m->b);
    const caps_tensor best = caps_batch_of(&m->best, m->b);
    const caps_tensor loss = caps_batch_of(&m->margin_loss, m->b);
    caps_tensor sse = {0}, y, x;
    caps_status status;
    if (m->network.logits) {
        const caps_tensor z = caps_batch_of(&m->network.logits->y, m->b);
        CAPS_TRY(caps_cross_entropy_forward(m->rt, &loss, &z, &labels, err));
    } else {
        CAPS_TRY(caps_margin_forward(m->rt, &loss, &lengths, &labels, &m->loss.margin, err));
    }
    if (compares(m)) {
        sse = caps_batch_of(&m->sse, m->b * m->spec.labels);
        reconstruction_of(m, &y, &x);
        CAPS_TRY(caps_sse_forward(m->rt, &sse, &y, &x, err));
    }
    CAPS_TRY(
        caps_totals_add(m->rt, &m->totals, &loss, compares(m) ? &sse : NULL, &best, &labels, err));
done:
    return status;
}

/* From the layer that tells the classes: lengths or probabilities, and the best of them. */
static caps_status classify(caps_model *m, const caps_layer *layer, caps_error *err)
{
    const caps_tensor y = caps_batch_of(&layer->y, m->b);
    const caps_tensor lengths = caps_batch_of(&m->lengths, m->b);
    const caps_tensor best = caps_batch_of(&m->best, m->b);
    caps_status status;
    CAPS_TRY(layer == m->network.logits ? caps_softmax_forward(m->rt, &lengths, &y, err)
                                        : caps_lengths_forward(m->rt, &lengths, &y, err));
    CAPS_TRY(caps_argmax(m->rt, &best, &lengths, err));
    if (m->spec.labels > 1 && m->labelled) {
        const caps_tensor labels = caps_batch_of(&m->labels, m->b);
        const caps_tensor matched = caps_batch_of(&m->matched, m->b);
        CAPS_TRY(caps_match(m->rt, &matched, &best, &labels, err));
    }
done:
    return status;
}

caps_status caps_model_forward(caps_model *m, caps_mask mask, caps_error *err)
{
    caps_status status = CAPS_OK;
    if (m->b == 0 || m->decoded)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "model: forward without a batch, need set_batch");
    if (mask == CAPS_MASK_LABEL && !m->labelled)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "model: masked by labels, but the batch has none");
    m->mask = mask;
    const caps_pass pass = pass_of(m);
    for (size_t l = 0; l < m->network.layer_count; l++) {
        caps_layer *layer = m->network.layers[l];
        if (layer->reconstructs && !caps_model_reconstructs(m))
            continue;
        if (layer->class->forward)
            CAPS_TRY(layer->class->forward(layer, &pass, err));
        if (layer == m->network.capsules || layer == m->network.logits)
            CAPS_TRY(classify(m, layer, err));
    }
    if (m->labelled)
        CAPS_TRY(forward_losses(m, err));
    m->forwarded = true;
done:
    return status;
}

/* Puts the views of a layer's gradients into `flat`, from element `at` on. */
static void bind_gradients(caps_layer *layer, const caps_tensor *flat, size_t at)
{
    for (size_t i = 0; i < layer->parameter_count; i++) {
        caps_parameter *p = &layer->parameters[i].parameter;
        p->gradient =
            caps_tensor_wrap(flat->buffer, flat->offset + at, CAPS_F32, p->ndim, p->shape);
        at += p->count;
    }
}

/* A layer's backward whose parameters' gradients are added to those of the parts before. */
static caps_status add_backward(
    caps_model *m, caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    caps_status status;
    const size_t first = layer->parameters[0].parameter.first, n = layer_elements(layer);
    const caps_tensor to =
        caps_tensor_wrap(m->gradients.buffer, m->gradients.offset + first, CAPS_F32, 1, &n);
    const caps_tensor from =
        caps_tensor_wrap(m->partial.buffer, m->partial.offset, CAPS_F32, 1, &n);
    bind_gradients(layer, &m->partial, 0);
    status = layer->class->backward(layer, pass, err);
    bind_gradients(layer, &m->gradients, first);
    return status == CAPS_OK ? caps_add(m->rt, &to, &from, err) : status;
}

/* The losses' gradients of the layers that they read. mean: weight of an image. */
static caps_status backward_losses(caps_model *m, double mean, caps_error *err)
{
    const caps_layer *layer = m->network.logits ? m->network.logits : m->network.capsules;
    const caps_tensor dy = caps_batch_of(&layer->dy, m->b), y = caps_batch_of(&layer->y, m->b);
    const caps_tensor lengths = caps_batch_of(&m->lengths, m->b);
    const caps_tensor labels = caps_batch_of(&m->labels, m->b);
    const float scale = (float)(m->loss.margin_scale * mean);
    caps_status status;
    CAPS_TRY(
        m->network.logits
            ? caps_cross_entropy_backward(m->rt, &dy, &lengths, &labels, scale, err)
            : caps_margin_backward(m->rt, &dy, &y, &lengths, &labels, &m->loss.margin, scale, err));
    if (compares(m)) {
        const caps_tensor dr = caps_batch_of(&m->network.reconstruction->dy, m->b * m->spec.labels);
        caps_tensor r, x;
        reconstruction_of(m, &r, &x);
        CAPS_TRY(caps_sse_backward(
            m->rt, &dr, &r, &x, (float)(m->loss.reconstruction_weight * mean), err));
    }
done:
    return status;
}

/* mean: weight of an image in the loss. add: to the gradients that there are. */
static caps_status backward(caps_model *m, double mean, bool add, caps_error *err)
{
    caps_status status;
    if (!m->options.training)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "model: backward, but it was made for inference");
    if (!m->forwarded || !m->labelled)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "model: backward without a forward of a labelled batch");
    if (caps_model_reconstructs(m) && !m->targeted)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "model: backward of images with %zu labels without targets for the decoder",
            m->spec.labels);
    const caps_pass pass = pass_of(m);
    CAPS_TRY(backward_losses(m, mean, err));
    for (size_t l = m->network.layer_count; l-- > 0;) {
        caps_layer *layer = m->network.layers[l];
        if (layer->class->backward && (!layer->reconstructs || caps_model_reconstructs(m)))
            CAPS_TRY(add && layer->parameter_count ? add_backward(m, layer, &pass, err)
                                                   : layer->class->backward(layer, &pass, err));
    }
done:
    return status;
}

caps_status caps_model_backward(caps_model *m, caps_error *err)
{
    return backward(m, 1.0 / (double)m->b, false, err);
}

caps_status caps_model_gradients_of(caps_model *m, const caps_images *images, caps_error *err)
{
    const size_t b = images->b, labels = m->spec.labels, pixels = m->sizes.pixels;
    caps_status status = CAPS_OK;
    if (b < 1 || b > m->options.max_batch)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "model: a batch of %zu images, need 1 to %zu", b,
            m->options.max_batch);
    const size_t parts = caps_div_up(b, m->micro);
    for (size_t part = 0, first = 0; part < parts; part++) {
        const size_t n = b / parts + (part < b % parts);
        const caps_images some = {n, images->images + first * pixels,
            images->labels ? images->labels + first * labels : NULL,
            images->targets ? images->targets + first * labels * pixels : NULL};
        if (part > 0) /* the one before leaves its tensors now */
            CAPS_TRY(caps_looks_between(m, err));
        CAPS_TRY(caps_model_put_images(m, &some, err));
        m->part = part;
        m->dropout.first = first;
        CAPS_TRY(caps_model_forward(m, CAPS_MASK_LABEL, err));
        CAPS_TRY(backward(m, 1.0 / (double)b, part > 0, err));
        first += n;
    }
done:
    return status;
}

caps_status caps_model_gradients(
    caps_model *m, size_t b, const float *images, const int32_t *labels, caps_error *err)
{
    return caps_model_gradients_of(m, &(caps_images){b, images, labels, NULL}, err);
}

caps_tensor caps_model_input_gradient(const caps_model *m)
{
    const caps_tensor *dx = &m->network.input->dy;
    return dx->buffer && m->b > 0 ? caps_batch_of(dx, m->b) : (caps_tensor){0};
}

caps_model_outputs caps_model_get_outputs(const caps_model *m)
{
    caps_model_outputs out = {0};
    if (m->decoded)
        out.reconstruction = caps_batch_of(&m->network.reconstruction->y, m->decoded);
    if (!m->forwarded)
        return out;
    out.lengths = caps_batch_of(&m->lengths, m->b);
    out.best = caps_batch_of(&m->best, m->b);
    if (m->network.capsules) {
        const caps_tensor *couplings = m->network.couplings; /* [r, batch, I, J] */
        const size_t i = couplings->shape[2], j = couplings->shape[3];
        const size_t last = couplings->shape[0] - 1;
        out.capsules = caps_batch_of(&m->network.capsules->y, m->b);
        out.primary = caps_batch_of(&m->network.capsules->input->y, m->b);
        /* The iterations of a batch of b lie b images apart (layer_class_caps.c). */
        out.couplings = caps_tensor_wrap(couplings->buffer, couplings->offset + last * m->b * i * j,
            CAPS_F32, 3, (size_t[]){m->b, i, j});
        out.all_couplings = caps_tensor_wrap(
            couplings->buffer, couplings->offset, CAPS_F32, 4, (size_t[]){last + 1, m->b, i, j});
    }
    if (caps_model_reconstructs(m))
        out.reconstruction = caps_batch_of(&m->network.reconstruction->y, m->b * m->spec.labels);
    if (m->labelled)
        out.margin_loss = caps_batch_of(&m->margin_loss, m->b);
    if (compares(m))
        out.sse = caps_batch_of(&m->sse, m->b * m->spec.labels);
    return out;
}

caps_status caps_model_clear_totals(caps_model *m, caps_error *err)
{
    return caps_tensor_zero(m->rt, &m->totals, err);
}

caps_status caps_model_get_totals(caps_model *m, caps_model_totals *t, caps_error *err)
{
    float totals[3];
    caps_status status = caps_tensor_download(m->rt, &m->totals, totals, err);
    if (status == CAPS_OK)
        *t = (caps_model_totals){(double)totals[0], (double)totals[1], (double)totals[2]};
    return status;
}

caps_status caps_model_set_totals(caps_model *m, const caps_model_totals *t, caps_error *err)
{
    const float totals[] = {(float)t->margin_loss, (float)t->sse, (float)t->errors};
    return caps_tensor_upload(m->rt, &m->totals, totals, err);
}
