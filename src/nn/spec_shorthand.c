/* spec_shorthand.c: the specs of networks like the paper's, and of plain CNNs, as shorthand for a
 * list of layers:
 *
 *     conv1, primary, class_caps    conv, primary_caps, caps of these names
 *     conv, hidden, dropout         conv1 to convN, fc1 to fcN, dropout before the last, softmax
 *
 * Their fields are those of the layers with fewer defaults; what is wrong is named as it is written
 * ("class_caps.routing_grad"), so types are checked here, before the layers read them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "json.h"
#include "spec.h"

static caps_status shorthand_out_of_memory(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "model spec: out of memory");
}

/* ---- capsnet: reading ----------------------------------------------------------------------- */

typedef struct shorthand_field {
    const char *name;
    caps_field_type type; /* a size is required, a flag or choice is not */
    size_t most;          /* of a size */
    bool in_routing;      /* it is one of the list's routing object, */
    const char *there;    /* under this name; NULL: the same */
} shorthand_field;

static const char *const shorthand_grads[] = {"full", "last", NULL};

static const shorthand_field conv1_fields[] = {
    {"channels", CAPS_FIELD_SIZE, CAPS_FIELD_MOST_SIZE, false, NULL},
    {"kernel", CAPS_FIELD_SIZE, CAPS_FIELD_MOST_SIZE, false, NULL},
    {"stride", CAPS_FIELD_SIZE, CAPS_FIELD_MOST_SIZE, false, NULL},
    {0},
};
static const shorthand_field primary_fields[] = {
    {"types", CAPS_FIELD_SIZE, CAPS_FIELD_MOST_SIZE, false, NULL},
    {"dim", CAPS_FIELD_SIZE, CAPS_FIELD_MOST_SIZE, false, NULL},
    {"kernel", CAPS_FIELD_SIZE, CAPS_FIELD_MOST_SIZE, false, NULL},
    {"stride", CAPS_FIELD_SIZE, CAPS_FIELD_MOST_SIZE, false, NULL},
    {"average", CAPS_FIELD_FLAG, 0, false, NULL},
    {0},
};
static const shorthand_field class_caps_fields[] = {
    {"dim", CAPS_FIELD_SIZE, CAPS_FIELD_MOST_SIZE, false, NULL},
    {"iterations", CAPS_FIELD_SIZE, 1000, true, NULL},
    {"routing_grad", CAPS_FIELD_CHOICE, 0, true, "grad"},
    {"bias", CAPS_FIELD_FLAG, 0, false, NULL},
    {"leaky", CAPS_FIELD_FLAG, 0, true, NULL},
    {0},
};

static const struct {
    const char *name, *kind;
    const shorthand_field *fields;
} sections[] = {
    {"conv1", "conv", conv1_fields},
    {"primary", "primary_caps", primary_fields},
    {"class_caps", "caps", class_caps_fields},
};
enum { SECTIONS = sizeof sections / sizeof sections[0], CONV1 = 0, PRIMARY, CLASS_CAPS };

static caps_status shorthand_check_field(
    const caps_section *s, const shorthand_field *f, const json_t *value, caps_error *err)
{
    size_t number;
    if (f->type == CAPS_FIELD_SIZE)
        return caps_section_size(&number, value, s, f->name, 1, f->most, err);
    if (!value)
        return CAPS_OK;
    if (f->type == CAPS_FIELD_FLAG)
        return json_is_boolean(value)
                   ? CAPS_OK
                   : caps_section_refuse(s, f->name, "is not a boolean", "true or false", err);
    const char *text = json_string_value(value);
    for (size_t i = 0; text && shorthand_grads[i]; i++)
        if (strcmp(text, shorthand_grads[i]) == 0)
            return CAPS_OK;
    return caps_section_refuse(s, f->name, "is unknown", "\"full\" or \"last\"", err);
}

/* One section as a layer of the list. */
static caps_status shorthand_read_section(
    json_t *layers, const caps_section *top, size_t n, size_t classes, caps_error *err)
{
    const json_t *object = json_object_get(top->object, sections[n].name);
    const caps_section s = {object, top->where, sections[n].name};
    const char *known[8] = {0};
    json_t *layer = NULL, *routing = NULL;
    caps_status status = CAPS_OK;
    if (!json_is_object(object))
        return object ? caps_section_refuse(top, sections[n].name, "is not an object", "one", err)
                      : caps_section_refuse(top, sections[n].name, "is missing", "an object", err);
    for (size_t i = 0; sections[n].fields[i].name; i++)
        known[i] = sections[n].fields[i].name;
    CAPS_TRY(caps_section_check_keys(&s, known, NULL, err));
    layer = json_pack("{s:s, s:s}", "kind", sections[n].kind, "name", sections[n].name);
    routing = json_pack("{s:s}", "kind", "dynamic");
    for (const shorthand_field *f = sections[n].fields; f->name; f++) {
        json_t *value = json_object_get(object, f->name);
        CAPS_TRY(shorthand_check_field(&s, f, value, err));
        if (value)
            caps_json_set(f->in_routing ? &routing : &layer, f->there ? f->there : f->name,
                json_incref(value));
    }
    if (n == CLASS_CAPS) {
        caps_json_set(&layer, "capsules", json_integer((json_int_t)classes));
        caps_json_set(&layer, "routing", json_incref(routing));
    }
    if (!routing || json_array_append(layers, layer) != 0)
        CAPS_TRY(shorthand_out_of_memory(err));
done:
    json_decref(layer);
    json_decref(routing);
    return status;
}

/* ---- cnn: reading --------------------------------------------------------------------------- */

static caps_status shorthand_read_convs(json_t *layers, const caps_section *top, caps_error *err)
{
    static const char *const known[] = {"channels", "kernel", "stride", "padding", NULL};
    const json_t *list = json_object_get(top->object, "conv");
    const caps_section s0 = {NULL, top->where, "conv"};
    const size_t count = json_array_size(list);
    caps_status status = CAPS_OK;
    if (!json_is_array(list))
        return caps_section_refuse(
            top, "conv", list ? "is not a list" : "is missing", "a list of layer sizes", err);
    if (count < 1 || count > CAPS_MOST_HIDDEN) {
        char problem[48];
        snprintf(problem, sizeof problem, "has %zu layers", count);
        return caps_section_refuse(top, "conv", problem, "1 to 8", err);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *object = json_array_get(list, i);
        caps_section s = s0;
        char name[24];
        size_t number;
        s.object = object;
        if (!json_is_object(object))
            return caps_section_refuse(
                top, "conv", "has what is no object", "channels, kernel, stride", err);
        CAPS_TRY(caps_section_check_keys(&s, known, NULL, err));
        for (size_t k = 0; k < 3; k++)
            CAPS_TRY(caps_section_size(&number, json_object_get(object, known[k]), &s, known[k], 1,
                CAPS_FIELD_MOST_SIZE, err));
        if (json_object_get(object, "padding"))
            CAPS_TRY(caps_section_size(&number, json_object_get(object, "padding"), &s, "padding",
                0, CAPS_FIELD_MOST_SIZE, err));
        snprintf(name, sizeof name, "conv%zu", i + 1);
        json_t *layer = json_pack("{s:s, s:s}", "kind", "conv", "name", name);
        const bool whole = json_object_update(layer, (json_t *)object) == 0;
        if (json_array_append_new(layers, layer) != 0 || !whole)
            CAPS_TRY(shorthand_out_of_memory(err));
    }
done:
    return status;
}

static caps_status shorthand_read_cnn(
    caps_model_spec *spec, const caps_section *top, caps_error *err)
{
    const json_t *dropout = json_object_get(top->object, "dropout");
    const double rate = json_number_value(dropout);
    size_t hidden[CAPS_MOST_HIDDEN], count = 0;
    caps_status status;
    CAPS_TRY(shorthand_read_convs(spec->layers, top, err));
    CAPS_TRY(caps_section_sizes(hidden, &count, top, "hidden", CAPS_MOST_HIDDEN, err));
    if (dropout && !json_is_number(dropout))
        CAPS_TRY(caps_section_refuse(top, "dropout", "is not a number", "0 or more, below 1", err));
    if (!(rate >= 0) || rate >= 1)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_SPEC, "%s: dropout is %g, need 0 or more, below 1", top->where, rate));
    for (size_t i = 0; i <= count; i++) {
        const bool last = i == count;
        char name[24];
        if (last && rate > 0)
            caps_json_append(&spec->layers,
                json_pack("{s:s, s:s, s:f}", "kind", "dropout", "name", "dropout", "rate", rate));
        snprintf(name, sizeof name, "fc%zu", i + 1);
        caps_json_append(
            &spec->layers, json_pack("{s:s, s:s, s:I, s:s}", "kind", "linear", "name", name, "out",
                               (json_int_t)(last ? spec->classes : hidden[i]), "activation",
                               last ? "none" : "relu"));
    }
    if (!spec->layers)
        status = shorthand_out_of_memory(err);
done:
    return status;
}

caps_status caps_shorthand_read(caps_model_spec *spec, const caps_section *top, caps_error *err)
{
    caps_status status = CAPS_OK;
    spec->layers = json_array();
    if (!spec->layers)
        return shorthand_out_of_memory(err);
    if (spec->form == CAPS_SPEC_CNN)
        return shorthand_read_cnn(spec, top, err);
    for (size_t n = 0; n < SECTIONS; n++)
        CAPS_TRY(shorthand_read_section(spec->layers, top, n, spec->classes, err));
    CAPS_TRY(caps_spec_read_decoder(spec, top, err));
done:
    return status;
}

/* ---- writing -------------------------------------------------------------------------------- */

static json_t *shorthand_layer(const caps_model_spec *spec, const char *name)
{
    size_t i;
    json_t *layer;
    json_array_foreach(spec->layers, i, layer)
    {
        const char *own = json_string_value(json_object_get(layer, "name"));
        if (own && strcmp(own, name) == 0)
            return layer;
    }
    return NULL;
}

/* A size of the layer; 1 or 0 where its default is not written. */
static json_t *shorthand_size(const json_t *layer, const char *field, json_int_t otherwise)
{
    const json_t *value = json_object_get(layer, field);
    return json_integer(value ? json_integer_value(value) : otherwise);
}

/* The fields that were never optional first: what has come later is written where it is set. */
static void shorthand_write_capsnet(json_t **to, const caps_model_spec *spec)
{
    static const char *const conv1[] = {"channels", "kernel", "stride", NULL};
    static const char *const primary[] = {"types", "dim", "kernel", "stride", NULL};
    static const char *const *const sizes[] = {conv1, primary};
    for (size_t n = CONV1; n <= PRIMARY; n++) {
        const json_t *layer = shorthand_layer(spec, sections[n].name);
        json_t *object = json_object();
        for (size_t i = 0; sizes[n][i]; i++)
            caps_json_set(&object, sizes[n][i], shorthand_size(layer, sizes[n][i], 1));
        if (json_is_true(json_object_get(layer, "average")))
            caps_json_set(&object, "average", json_true());
        caps_json_set(to, sections[n].name, object);
    }
    const json_t *caps = shorthand_layer(spec, "class_caps");
    const json_t *routing = json_object_get(caps, "routing");
    const json_t *grad = json_object_get(routing, "grad");
    json_t *object = json_object();
    caps_json_set(&object, "dim", shorthand_size(caps, "dim", 0));
    caps_json_set(&object, "iterations", shorthand_size(routing, "iterations", 0));
    caps_json_set(&object, "routing_grad", json_string(grad ? json_string_value(grad) : "full"));
    caps_json_set(&object, "bias", json_boolean(json_is_true(json_object_get(caps, "bias"))));
    if (json_is_true(json_object_get(routing, "leaky")))
        caps_json_set(&object, "leaky", json_true());
    caps_json_set(to, "class_caps", object);
    caps_json_set(to, "decoder", caps_spec_decoder_json(spec));
}

static void shorthand_write_cnn(json_t **to, const caps_model_spec *spec)
{
    static const char *const sizes[] = {"channels", "kernel", "stride"};
    json_t *conv = json_array(), *hidden = json_array();
    double rate = 0;
    size_t i;
    const json_t *layer;
    json_array_foreach(spec->layers, i, layer)
    {
        const char *kind = json_string_value(json_object_get(layer, "kind"));
        const bool last = i + 1 == json_array_size(spec->layers);
        if (strcmp(kind, "conv") == 0) {
            json_t *object = json_object();
            for (size_t k = 0; k < 3; k++)
                caps_json_set(&object, sizes[k], shorthand_size(layer, sizes[k], 1));
            caps_json_set(&object, "padding", shorthand_size(layer, "padding", 0));
            caps_json_append(&conv, object);
        } else if (strcmp(kind, "dropout") == 0) {
            rate = json_number_value(json_object_get(layer, "rate"));
        } else if (!last) {
            caps_json_append(&hidden, shorthand_size(layer, "out", 0));
        }
    }
    caps_json_set(to, "conv", conv);
    caps_json_set(to, "hidden", hidden);
    caps_json_set(to, "dropout", json_real(rate));
}

void caps_shorthand_write(json_t **to, const caps_model_spec *spec)
{
    if (spec->form == CAPS_SPEC_CNN)
        shorthand_write_cnn(to, spec);
    else
        shorthand_write_capsnet(to, spec);
}

caps_status caps_shorthand_fits(bool *fits, const caps_model_spec *spec, caps_error *err)
{
    caps_model_spec *again = NULL;
    char *text = caps_model_spec_format(spec);
    const caps_status status =
        text ? caps_model_spec_parse(&again, text, "spec", NULL) : CAPS_ERR_MEMORY;
    *fits = status == CAPS_OK && caps_model_spec_equal(again, spec);
    caps_model_spec_free(again);
    free(text);
    return status == CAPS_ERR_MEMORY ? shorthand_out_of_memory(err) : CAPS_OK;
}
