/* spec_change.c: fields, classes, input and decoder of a spec that is there. Every change is made
 * to a copy, which takes the spec's place once it is known to be a network. */
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "json.h"
#include "spec.h"

/* What was changed in `copy`, which is consumed, becomes the spec. */
static caps_status change_take(caps_model_spec *spec, caps_model_spec *copy, caps_error *err)
{
    caps_status status = caps_spec_refresh(copy, "network", err);
    bool fits = true;
    if (status == CAPS_OK && copy->form != CAPS_SPEC_LIST)
        status = caps_shorthand_fits(&fits, copy, err);
    if (status == CAPS_OK) {
        if (!fits)
            copy->form = CAPS_SPEC_LIST;
        const caps_model_spec old = *spec;
        *spec = *copy;
        *copy = old;
    }
    caps_model_spec_free(copy);
    return status;
}

static const caps_layer_kind *change_kind_of(const json_t *layer)
{
    return caps_layer_kind_find(json_string_value(json_object_get(layer, "kind")));
}

/* The object in which the path's last name is a field; *name points to that name. */
static json_t *change_object_of(json_t *layer, const char *path, const char **name)
{
    char first[64];
    json_t *object = layer;
    for (const char *dot = strchr(path, '.'); dot; dot = strchr(path, '.')) {
        const size_t n = (size_t)(dot - path) < sizeof first ? (size_t)(dot - path) : 0;
        memcpy(first, path, n);
        first[n] = 0;
        object = json_object_get(object, first);
        path = dot + 1;
    }
    *name = path;
    return object;
}

caps_status caps_model_spec_set(caps_model_spec *spec, const char *kind, const char *field,
    const char *json, size_t *changed, caps_error *err)
{
    caps_model_spec *copy = NULL;
    json_t *value, *layer;
    size_t i, count = 0;
    caps_status status = caps_json_parse(&value, json, strlen(json), "network", CAPS_ERR_SPEC, err);
    if (status == CAPS_ERR_SPEC)
        return caps_fail(
            err, CAPS_ERR_SPEC, "network: %s is '%.60s', need a JSON value", field, json);
    CAPS_TRY(status);
    CAPS_TRY(caps_model_spec_copy(&copy, spec, err));
    json_array_foreach(copy->layers, i, layer)
    {
        const caps_layer_kind *own = change_kind_of(layer);
        const char *name;
        if (strcmp(own->name, kind) != 0 || !caps_fields_know(own->fields, layer, field))
            continue;
        json_t *object = change_object_of(layer, field, &name);
        if (json_object_set(object, name, value) != 0)
            CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "network: out of memory"));
        count++;
    }
    if (count > 0) {
        status = change_take(spec, copy, err);
        copy = NULL;
    }
    if (status == CAPS_OK && changed)
        *changed = count;
done:
    json_decref(value);
    caps_model_spec_free(copy);
    return status;
}

caps_status caps_spec_field_read(
    char **text, const caps_model_spec *spec, const char *kind, const char *field, caps_error *err)
{
    caps_network network;
    *text = NULL;
    caps_status status = caps_network_init(&network, spec, err);
    if (status != CAPS_OK)
        return status;
    for (size_t i = network.layer_count; i-- > 0 && !*text && status == CAPS_OK;) {
        const caps_layer *layer = network.layers[i];
        const char *name;
        if (layer->decodes || strcmp(layer->kind->name, kind) != 0)
            continue;
        json_t *all = json_object();
        caps_fields_write(&all, layer->kind->fields, layer, true);
        const json_t *object = change_object_of(all, field, &name);
        const json_t *value = json_object_get(object, name);
        if (value && !json_is_object(value))
            *text = caps_json_format(value, 0, 17);
        if (!all || (value && !json_is_object(value) && !*text))
            status = caps_fail(err, CAPS_ERR_MEMORY, "network: out of memory");
        json_decref(all);
    }
    caps_network_release(&network);
    return status;
}

char *caps_model_spec_get(const caps_model_spec *spec, const char *kind, const char *field)
{
    char *text;
    (void)caps_spec_field_read(&text, spec, kind, field, NULL);
    return text;
}

caps_status caps_model_spec_set_classes(caps_model_spec *spec, size_t classes, caps_error *err)
{
    caps_model_spec *copy = NULL;
    caps_status status = CAPS_OK;
    if (classes == spec->classes)
        return CAPS_OK;
    if (classes < 1 || classes > CAPS_MAX_CLASSES || spec->labels > classes)
        return caps_fail(err, CAPS_ERR_SPEC, "classes is %zu, need %zu to %d", classes,
            spec->labels, CAPS_MAX_CLASSES);
    CAPS_TRY(caps_model_spec_copy(&copy, spec, err));
    free(copy->class_names);
    copy->class_names = NULL;
    copy->classes = classes;
    json_t *last = json_array_get(copy->layers, json_array_size(copy->layers) - 1);
    if (json_object_set_new(
            last, change_kind_of(last)->classes_field, json_integer((json_int_t)classes)) != 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "network: out of memory"));
    status = change_take(spec, copy, err);
    copy = NULL;
done:
    caps_model_spec_free(copy);
    return status;
}

caps_status caps_model_spec_set_input(
    caps_model_spec *spec, const size_t input[3], const size_t source[3], caps_error *err)
{
    static const size_t none[3];
    caps_model_spec *copy = NULL;
    caps_status status = CAPS_OK;
    if (source && source[0] != input[0])
        return caps_fail(err, CAPS_ERR_SPEC, "source has %zu channels, need %zu as the input",
            source[0], input[0]);
    CAPS_TRY(caps_model_spec_copy(&copy, spec, err));
    memcpy(copy->input, input, sizeof copy->input);
    memcpy(copy->source, source ? source : none, sizeof copy->source);
    status = change_take(spec, copy, err);
done:
    return status;
}

caps_status caps_model_spec_remove_decoder(caps_model_spec *spec, caps_error *err)
{
    caps_model_spec *copy = NULL;
    caps_status status = caps_model_spec_copy(&copy, spec, err);
    if (status != CAPS_OK)
        return status;
    copy->has_decoder = false;
    copy->hidden_count = 0;
    return change_take(spec, copy, err);
}
