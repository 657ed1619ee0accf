/* spec_layers.c: what there is to say of a layer: shape, routing, what its places see. */
#include "spec.h"

#include <string.h>

/* A field of the layer's object, where it is written. */
static size_t field_of(const json_t *json, const char *field, size_t otherwise)
{
    const json_t *value = json_object_get(json, field);
    return json_is_integer(value) ? (size_t)json_integer_value(value) : otherwise;
}

static void read_routing(caps_layer_info *info, const json_t *json)
{
    static const char *const kinds[] = {"dynamic", "max_min", "attention", "self", "em"};
    const json_t *routing = json_object_get(json, "routing");
    const char *kind = json_string_value(json_object_get(routing, "kind"));
    for (size_t i = 0; kind && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kind, kinds[i]) == 0) {
            info->routing = kinds[i];
            /* Of the kinds only EM has a default, and it is the paper's. */
            info->iterations = field_of(routing, "iterations", strcmp(kind, "em") == 0 ? 3 : 1);
        }
}

/* A window of `kernel` in steps of `stride`, with so much padding, over what the layer before
 * gives. */
static void read_window(caps_layer_info *info, const caps_layer_info *before, size_t kernel,
    size_t stride, size_t padding)
{
    const caps_layer_info image = {.field = 1, .step = 1};
    const caps_layer_info *from = before ? before : &image;
    if (from->field == 0)
        return;
    info->field = from->field + (kernel - 1) * from->step;
    info->begin = from->begin - (ptrdiff_t)(padding * from->step);
    info->step = from->step * stride;
}

/* matrix_caps and all that reads flat values has no kernel, and sees everything. */
static void read_places(caps_layer_info *info, const caps_layer *layer, const json_t *json,
    const caps_layer_info *before)
{
    const caps_value *out = &layer->outputs[0];
    const size_t kernel = field_of(json, "kernel", 0);
    const bool has_places = out->form == CAPS_FORM_MAPS || out->grid[0] > 0;
    if (strcmp(info->kind, "max_pool") == 0)
        read_window(info, before, kernel, field_of(json, "stride", kernel), 0);
    else if (kernel > 0)
        read_window(
            info, before, kernel, field_of(json, "stride", 1), field_of(json, "padding", 0));
    else if (has_places && strcmp(info->kind, "matrix_caps") != 0)
        read_window(info, before, 1, 1, 0);
}

void caps_spec_read_layer(caps_layer_info *info, const caps_layer *layer, const json_t *json,
    const caps_layer_info *before)
{
    const caps_value *out = &layer->outputs[0];
    *info = (caps_layer_info){.kind = layer->kind->name, .ndim = out->ndim};
    for (int i = 0; i < out->ndim; i++)
        info->shape[i] = out->shape[i];
    memcpy(info->grid, out->grid, sizeof info->grid);
    read_routing(info, json);
    read_places(info, layer, json, before);
}

bool caps_model_spec_layer(const caps_model_spec *spec, size_t i, caps_layer_info *layer)
{
    if (i >= spec->line_count)
        return false;
    *layer = spec->lines[i].info;
    layer->name = spec->lines[i].name;
    layer->text = spec->lines[i].text;
    return true;
}
