/* network.c: a spec becomes a list of layers, and the heads on it. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "head.h"
#include "spec.h"

/* Of the authors' published code: truncated normal distributions. */
#define AUTHORS_STDDEV 0.1
#define AUTHORS_BIAS   0.1

#define MOST_ELEMENTS ((uint64_t)1 << 48)

/* ---- for the kinds -------------------------------------------------------------------------- */

caps_status caps_layer_check_array(
    const char *layer, const char *what, int n, const size_t *shape, caps_error *err)
{
    uint64_t product = 1;
    for (int i = 0; i < n; i++) {
        if (shape[i] > MOST_ELEMENTS / product)
            return caps_fail(err, CAPS_ERR_SPEC,
                "%s: %s would have more than 2^48 elements (%zu times %llu), need fewer", layer,
                what, shape[i], (unsigned long long)product);
        product *= shape[i];
    }
    return CAPS_OK;
}

size_t caps_value_elements(const caps_value *value)
{
    size_t count = 1;
    for (int d = 0; d < value->ndim; d++)
        count *= value->shape[d];
    return count;
}

bool caps_layer_has_statistics(const caps_layer *layer)
{
    for (size_t p = 0; p < layer->parameter_count; p++)
        if (layer->parameters[p].statistic)
            return true;
    return false;
}

size_t caps_layer_elements(const caps_layer *layer)
{
    size_t count = 0;
    for (size_t p = 0; p < layer->parameter_count; p++)
        if (!layer->parameters[p].statistic)
            count += layer->parameters[p].parameter.count;
    return count;
}

caps_status caps_layer_require(
    const caps_layer *layer, caps_form form, const char *need, caps_error *err)
{
    static const char *const forms[] = {
        "an image or feature maps", "features", "capsules", "matrix capsules"};
    const caps_value *x = layer->inputs[0];
    const caps_form has = layer->input_count == 2 ? CAPS_FORM_MATRIX : x->form;
    if (has == form)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_SPEC, "%s: %s gives %s, need %s", layer->name,
        x->layer->input_count ? x->layer->name : "the input", forms[has], need);
}

caps_status caps_layer_add_output(
    caps_layer *layer, caps_form form, int ndim, const size_t *shape, caps_error *err)
{
    assert(layer->output_count < CAPS_MOST_VALUES && ndim < CAPS_MAX_DIMS);
    caps_status status = caps_layer_check_array(
        layer->name, layer->input_count ? "its output" : "an image", ndim, shape, err);
    if (status != CAPS_OK)
        return status;
    caps_value *value = &layer->outputs[layer->output_count++];
    value->layer = layer;
    value->name = "";
    value->form = form;
    value->ndim = ndim;
    memcpy(value->shape, shape, (size_t)ndim * sizeof *shape);
    value->rows_per_image = layer->input_count ? layer->inputs[0]->rows_per_image : 1;
    return CAPS_OK;
}

/* Its place in the flat buffer is the caller's to give. */
static caps_status layer_add(caps_owned_parameter **added, caps_network *network, caps_layer *layer,
    const char *name, int ndim, const size_t *shape, caps_error *err)
{
    char what[40];
    snprintf(what, sizeof what, "its %s", name);
    caps_status status = caps_layer_check_array(layer->name, what, ndim, shape, err);
    if (status != CAPS_OK)
        return status;
    if (network->parameter_count == CAPS_MOST_PARAMETERS)
        return caps_fail(err, CAPS_ERR_SPEC,
            "%s: more than %d parameter tensors, need fewer layers", layer->name,
            CAPS_MOST_PARAMETERS);
    caps_owned_parameter *owned = &network->parameters[network->parameter_count++];
    assert(owned == layer->parameters + layer->parameter_count);
    layer->parameter_count++;
    caps_parameter *p = &owned->parameter;
    snprintf(owned->name, sizeof owned->name, "%s.%s", layer->name, name);
    p->name = owned->name;
    p->ndim = ndim;
    p->count = 1;
    for (int d = 0; d < ndim; d++) {
        p->shape[d] = shape[d];
        p->count *= shape[d];
    }
    *added = owned;
    return CAPS_OK;
}

caps_status caps_layer_add_parameter(caps_network *network, caps_layer *layer, const char *name,
    int ndim, const size_t *shape, double stddev, caps_error *err)
{
    caps_owned_parameter *owned = NULL;
    caps_status status = layer_add(&owned, network, layer, name, ndim, shape, err);
    if (status != CAPS_OK)
        return status;
    owned->stddev = stddev;
    owned->authors_stddev = stddev > 0 ? AUTHORS_STDDEV : 0;
    owned->authors_initial = AUTHORS_BIAS;
    owned->parameter.first = network->elements;
    network->elements += owned->parameter.count;
    return CAPS_OK;
}

caps_status caps_layer_add_statistic(caps_network *network, caps_layer *layer, const char *name,
    size_t count, double initial, caps_error *err)
{
    caps_owned_parameter *owned = NULL;
    caps_status status = layer_add(&owned, network, layer, name, 1, &count, err);
    if (status != CAPS_OK)
        return status;
    owned->statistic = true;
    owned->initial = owned->authors_initial = initial;
    network->statistics += count;
    return CAPS_OK;
}

/* Statistics lie behind all that is trained, so that gradients and moments have no gaps. */
static void network_place_statistics(caps_network *n)
{
    size_t at = n->elements;
    for (size_t i = 0; i < n->parameter_count; i++)
        if (n->parameters[i].statistic) {
            n->parameters[i].parameter.first = at;
            at += n->parameters[i].parameter.count;
        }
}

/* ---- the list ------------------------------------------------------------------------------- */

void caps_network_release(caps_network *network)
{
    for (size_t i = 0; i < network->layer_count; i++)
        free(network->layers[i]);
    free(network->class_head);
    free(network->reconstruction_head);
    memset(network, 0, sizeof *network);
}

/* A zeroed layer of this kind at the end of the list, which reads what `from` gives. */
static caps_status network_add(caps_layer **layer, caps_network *network,
    const caps_layer_kind *kind, const char *name, caps_layer *from, caps_error *err)
{
    assert(network->layer_count < CAPS_MOST_LAYERS);
    caps_layer *added = calloc(1, kind->bytes);
    *layer = added;
    if (!added)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for the layer", name);
    added->kind = kind;
    snprintf(added->name, sizeof added->name, "%s", name);
    for (size_t i = 0; from && i < from->output_count; i++)
        added->inputs[added->input_count++] = &from->outputs[i];
    added->parameters = network->parameters + network->parameter_count;
    network->layers[network->layer_count++] = added;
    return CAPS_OK;
}

static caps_layer *network_last(const caps_network *n)
{
    return n->layers[n->layer_count - 1];
}

static caps_status network_add_input(caps_network *n, const size_t shape[3], caps_error *err)
{
    caps_layer *layer;
    caps_status status = network_add(&layer, n, &caps_layer_input, "input", NULL, err);
    if (status == CAPS_OK)
        status = caps_layer_add_output(layer, CAPS_FORM_MAPS, 3, shape, err);
    n->input = &layer->outputs[0];
    return status;
}

/* Letters, digits, '_' and '-'; none that tensors or results of a model have anyway. */
static bool network_name_is_good(const char *name)
{
    static const char *const taken[] = {"input", "mask", "decoder", "optimizer", "lengths", "best",
        "capsules", "couplings", "assignment", "reconstruction", "class_loss", "sse"};
    const size_t n = strlen(name);
    if (n == 0 || n >= CAPS_LAYER_NAME - 8 ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") < n)
        return false;
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (strcmp(taken[i], name) == 0)
            return false;
    return true;
}

/* The layer's name: its own, else the kind and its number among the layers of this kind. */
static caps_status network_name(char name[CAPS_LAYER_NAME], const caps_network *n,
    const caps_section *s, const caps_layer_kind *kind, caps_error *err)
{
    static const char need[] =
        "up to 39 letters, digits, '_' and '-', of no other layer, and no name of a result";
    const json_t *given = json_object_get(s->object, "name");
    const char *text = json_string_value(given);
    size_t number = 1;
    for (size_t i = 0; i < n->layer_count; i++)
        number += n->layers[i]->kind == kind;
    if (given && (!text || !network_name_is_good(text)))
        return caps_section_refuse(s, "name", "is no name of a layer", need, err);
    if (text)
        snprintf(name, CAPS_LAYER_NAME, "%s", text);
    else
        snprintf(name, CAPS_LAYER_NAME, "%s%zu", kind->name, number);
    for (size_t i = 0; i < n->layer_count; i++)
        if (strcmp(n->layers[i]->name, name) == 0)
            return caps_section_refuse(s, "name", "is that of another layer", need, err);
    return CAPS_OK;
}

/* Only some kinds read both values of matrix capsules. */
static caps_status network_check_matrix(const caps_layer *layer, caps_error *err)
{
    if (layer->input_count < 2 || layer->kind->reads_matrix)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_SPEC,
        "%s: %s gives matrix capsules, need matrix_conv or matrix_caps behind it", layer->name,
        layer->inputs[0]->layer->name);
}

/* Layer `index` of the spec's list from its object. */
static caps_status network_add_listed(
    caps_network *n, const json_t *object, size_t index, const char *where, caps_error *err)
{
    static const char *const own[] = {"kind", "name", NULL};
    char path[CAPS_LAYER_NAME], name[CAPS_LAYER_NAME], kinds[256] = "";
    caps_layer *layer;
    caps_status status;
    snprintf(path, sizeof path, "layers[%zu]", index);
    caps_section s = {object, where, path};
    if (!json_is_object(object))
        return caps_fail(
            err, CAPS_ERR_SPEC, "%s: %s is not an object, need a layer in { }", where, path);
    const json_t *given = json_object_get(object, "kind");
    const char *text = json_string_value(json_object_get(object, "name"));
    const caps_layer_kind *kind =
        json_is_string(given) ? caps_layer_kind_find(json_string_value(given)) : NULL;
    if (text && network_name_is_good(text))
        snprintf(path, sizeof path, "%s", text);
    for (size_t i = 0; caps_layer_kind_at(i); i++) {
        const size_t at = strlen(kinds);
        snprintf(kinds + at, sizeof kinds - at, "%s%s", i ? ", " : "one of ",
            caps_layer_kind_at(i)->name);
    }
    if (!kind)
        return caps_section_refuse(&s, "kind", given ? "is unknown" : "is missing", kinds, err);
    CAPS_TRY(network_name(name, n, &s, kind, err));
    CAPS_TRY(caps_section_check_keys(&s, own, kind->fields, err));
    CAPS_TRY(network_add(&layer, n, kind, name, network_last(n), err));
    s.path = layer->name;
    CAPS_TRY(caps_fields_read(layer, kind->fields, &s, err));
    status = network_check_matrix(layer, err);
    if (status == CAPS_OK)
        status = kind->build(layer, n, err);
    if (status != CAPS_OK)
        caps_fail_prefix(err, status, "%s", where);
done:
    return status;
}

/* ---- decoder and heads ---------------------------------------------------------------------- */

static caps_status network_add_linear(
    caps_network *n, const char *name, size_t out, const char *activation, caps_error *err)
{
    caps_layer *layer;
    json_t *object = json_pack("{s:I, s:s}", "out", (json_int_t)out, "activation", activation);
    const caps_section s = {object, "decoder", name};
    caps_status status =
        object ? CAPS_OK : caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", name);
    CAPS_TRY(status);
    CAPS_TRY(network_add(&layer, n, &caps_layer_linear, name, network_last(n), err));
    CAPS_TRY(caps_fields_read(layer, caps_layer_linear.fields, &s, err));
    CAPS_TRY(caps_layer_linear.build(layer, n, err));
done:
    json_decref(object);
    return status;
}

static caps_status network_add_decoder(
    caps_network *n, const caps_model_spec *spec, caps_error *err)
{
    const size_t encoder = n->layer_count, pixels = caps_value_elements(n->input);
    caps_layer *mask;
    caps_status status;
    CAPS_TRY(network_add(&mask, n, &caps_layer_mask, "mask", n->classifier, err));
    CAPS_TRY(caps_layer_mask.build(mask, n, err));
    mask->outputs[0].rows_per_image = spec->labels;
    for (size_t i = 0; i <= spec->hidden_count; i++) {
        const bool last = i == spec->hidden_count;
        char name[24];
        snprintf(name, sizeof name, "decoder.fc%zu", i + 1);
        CAPS_TRY(network_add_linear(
            n, name, last ? pixels : spec->hidden[i], last ? "sigmoid" : "relu", err));
    }
    for (size_t i = encoder; i < n->layer_count; i++)
        n->layers[i]->decodes = true;
    CAPS_TRY(caps_head_create(
        &n->reconstruction_head, &caps_head_reconstruction, &network_last(n)->outputs[0], err));
    n->reconstruction_head->classes = spec->classes;
    n->reconstruction_head->labels = spec->labels;
done:
    return status;
}

/* The form of the last layer's output gives the scores: lengths of capsules, or logits through a
 * softmax, or through sigmoids where an image has several labels. */
static caps_status network_add_class_head(
    caps_network *n, const caps_model_spec *spec, caps_error *err)
{
    n->classifier = network_last(n);
    caps_layer *last = n->classifier;
    caps_value *y = &last->outputs[0];
    caps_layer_problem problem = {0};
    if (last->kind->problem)
        last->kind->problem(last, &problem);
    const bool capsules = y->form == CAPS_FORM_CAPSULES;
    if (!last->kind->classes_field ||
        (!capsules && (problem.type != CAPS_PROBLEM_LINEAR || problem.act != CAPS_ACT_NONE)))
        return caps_fail(err, CAPS_ERR_SPEC,
            "%s: the last layer does not classify, need capsules, or a linear layer with "
            "activation none",
            last->name);
    if (y->shape[0] != spec->classes)
        return caps_fail(err, CAPS_ERR_SPEC,
            "%s: the last layer gives %zu %s, need %zu, as many as classes", last->name,
            y->shape[0], capsules ? "capsules" : "outputs", spec->classes);
    if (!capsules && spec->has_decoder)
        return caps_fail(
            err, CAPS_ERR_SPEC, "decoder: %s has no capsules, need some to decode", last->name);
    const bool matrix = last->output_count == 2;
    caps_status status = caps_head_create(&n->class_head,
        matrix             ? &caps_head_activation
        : capsules         ? &caps_head_margin
        : spec->labels > 1 ? &caps_head_binary_cross_entropy
                           : &caps_head_cross_entropy,
        matrix ? &last->outputs[1] : y, err);
    if (status != CAPS_OK)
        return status;
    n->class_head->classes = spec->classes;
    n->class_head->labels = spec->labels;
    return CAPS_OK;
}

static caps_status network_normalise(json_t *to, const caps_layer *layer, caps_error *err)
{
    json_t *object = json_pack("{s:s, s:s}", "kind", layer->kind->name, "name", layer->name);
    caps_fields_write(&object, layer->kind->fields, layer, false);
    if (json_array_append_new(to, object) == 0)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", layer->name);
}

caps_status caps_network_build(caps_network *network, const caps_model_spec *spec,
    const char *where, json_t *layers, caps_error *err)
{
    const char *name = where ? where : "spec";
    const json_t *object;
    size_t i;
    caps_status status;
    memset(network, 0, sizeof *network);
    status = network_add_input(network, spec->input, err);
    if (status != CAPS_OK)
        caps_fail_prefix(err, status, "%s", name);
    CAPS_TRY(status);
    json_array_foreach(spec->layers, i, object)
    {
        CAPS_TRY(network_add_listed(network, object, i, name, err));
        if (layers)
            CAPS_TRY(network_normalise(layers, network_last(network), err));
    }
    status = network_add_class_head(network, spec, err);
    if (status == CAPS_OK && spec->has_decoder)
        status = network_add_decoder(network, spec, err);
    if (status != CAPS_OK && where)
        caps_fail_prefix(err, status, "%s", where);
    network_place_statistics(network);
done:
    if (status != CAPS_OK)
        caps_network_release(network);
    return status;
}

caps_status caps_network_init(caps_network *network, const caps_model_spec *spec, caps_error *err)
{
    return caps_network_build(network, spec, NULL, NULL, err);
}
