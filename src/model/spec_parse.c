/* spec_parse.c: a spec from JSON text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec.h"

#include "fail.h"
#include "json.h"

/* An object of the spec, with the path that messages use, and the fields that may stand in it. */
typedef struct section {
    const json_t *object;
    const char *where, *path; /* path: "primary", or "" at the top */
} section;

static caps_status bad(
    const section *s, const char *field, const char *problem, const char *need, caps_error *err)
{
    return caps_fail(err, CAPS_ERR_SPEC, "%s: %s%s%s %s, need %s", s->where, s->path,
        *s->path ? "." : "", field, problem, need);
}

static caps_status check_fields(const section *s, const char *const *known, caps_error *err)
{
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)s->object, key, value)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (known[i])
            continue;
        char list[256];
        size_t at = 0;
        list[0] = 0;
        for (i = 0; known[i]; i++)
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", known[i]);
        return caps_fail(err, CAPS_ERR_SPEC, "%s: %s%s%.64s is no field of a spec, need one of %s",
            s->where, s->path, *s->path ? "." : "", key, list);
    }
    return CAPS_OK;
}

static caps_status get_object(section *inner, const section *s, const char *field, caps_error *err)
{
    const json_t *value = json_object_get(s->object, field);
    if (!value)
        return bad(s, field, "is missing", "an object", err);
    if (!json_is_object(value))
        return bad(s, field, "is not an object", "one", err);
    *inner = (section){value, s->where, field};
    return CAPS_OK;
}

static caps_status to_size(
    size_t *out, const json_t *value, const section *s, const char *field, caps_error *err)
{
    char need[64];
    snprintf(need, sizeof need, "a whole number from 1 to %zu", CAPS_SPEC_MOST_SIZE);
    if (!value)
        return bad(s, field, "is missing", need, err);
    if (!json_is_integer(value))
        return bad(s, field, "is not a whole number", need, err);
    json_int_t n = json_integer_value(value);
    if (n < 1 || n > (json_int_t)CAPS_SPEC_MOST_SIZE) {
        char problem[48];
        snprintf(problem, sizeof problem, "is %lld", (long long)n);
        return bad(s, field, problem, need, err);
    }
    *out = (size_t)n;
    return CAPS_OK;
}

static caps_status get_size(size_t *out, const section *s, const char *field, caps_error *err)
{
    return to_size(out, json_object_get(s->object, field), s, field, err);
}

static caps_status get_flag(bool *out, const section *s, const char *field, caps_error *err)
{
    const json_t *value = json_object_get(s->object, field);
    if (value && !json_is_boolean(value))
        return bad(s, field, "is not a boolean", "true or false", err);
    *out = json_is_true(value);
    return CAPS_OK;
}

/* [channels, height, width] */
static caps_status get_image(size_t out[3], const section *s, const char *field, caps_error *err)
{
    const json_t *value = json_object_get(s->object, field);
    caps_status status = CAPS_OK;
    if (!json_is_array(value) || json_array_size(value) != 3)
        return bad(s, field, value ? "is not a list of three" : "is missing",
            "[channels, height, width]", err);
    for (size_t i = 0; i < 3; i++)
        CAPS_TRY(to_size(&out[i], json_array_get(value, i), s, field, err));
done:
    return status;
}

/* A list of at most `most` items; *count of them. */
static caps_status get_list(const json_t **list, size_t *count, const section *s, const char *field,
    size_t most, caps_error *err)
{
    *list = json_object_get(s->object, field);
    if (!json_is_array(*list))
        return bad(s, field, *list ? "is not a list" : "is missing", "a list of layer sizes", err);
    *count = json_array_size(*list);
    if (*count <= most)
        return CAPS_OK;
    char problem[48], need[32];
    snprintf(problem, sizeof problem, "has %zu layers", *count);
    snprintf(need, sizeof need, "at most %zu", most);
    return bad(s, field, problem, need, err);
}

static caps_status get_sizes(
    size_t *out, size_t *count, const section *s, const char *field, size_t most, caps_error *err)
{
    const json_t *list;
    caps_status status;
    CAPS_TRY(get_list(&list, count, s, field, most, err));
    for (size_t i = 0; i < *count; i++)
        CAPS_TRY(to_size(&out[i], json_array_get(list, i), s, field, err));
done:
    return status;
}

static const char *const capsnet_fields[] = {"kind", "input", "source", "classes", "labels",
    "conv1", "primary", "class_caps", "decoder", NULL};
static const char *const cnn_fields[] = {
    "kind", "input", "source", "classes", "conv", "hidden", "dropout", NULL};

static caps_status parse_top(caps_model_spec *spec, const section *top, caps_error *err)
{
    const json_t *kind = json_object_get(top->object, "kind");
    const char *name = kind ? json_string_value(kind) : "capsnet";
    caps_status status = CAPS_OK;
    if (!name || (strcmp(name, "capsnet") != 0 && strcmp(name, "cnn") != 0))
        CAPS_TRY(bad(top, "kind", "is unknown", "\"capsnet\" or \"cnn\"", err));
    snprintf(spec->kind, sizeof spec->kind, "%s", name);
    CAPS_TRY(check_fields(top, strcmp(name, "cnn") == 0 ? cnn_fields : capsnet_fields, err));
    CAPS_TRY(get_image(spec->input, top, "input", err));
    if (json_object_get(top->object, "source"))
        CAPS_TRY(get_image(spec->source, top, "source", err));
    CAPS_TRY(get_size(&spec->classes, top, "classes", err));
    spec->labels = 1;
    if (json_object_get(top->object, "labels"))
        CAPS_TRY(get_size(&spec->labels, top, "labels", err));
done:
    return status;
}

static caps_status parse_cnn(caps_model_spec *spec, const section *top, caps_error *err)
{
    static const char *const fields[] = {"channels", "kernel", "stride", "padding", NULL};
    const json_t *list;
    caps_status status;
    CAPS_TRY(get_list(&list, &spec->conv_count, top, "conv", CAPS_MAX_CONV, err));
    for (size_t i = 0; i < spec->conv_count; i++) {
        const json_t *layer = json_array_get(list, i);
        const section s = {layer, top->where, "conv"};
        if (!json_is_object(layer))
            CAPS_TRY(bad(top, "conv", "has what is no object", "channels, kernel, stride", err));
        CAPS_TRY(check_fields(&s, fields, err));
        CAPS_TRY(get_size(&spec->conv[i].channels, &s, "channels", err));
        CAPS_TRY(get_size(&spec->conv[i].kernel, &s, "kernel", err));
        CAPS_TRY(get_size(&spec->conv[i].stride, &s, "stride", err));
        const json_t *padding = json_object_get(layer, "padding");
        if (padding && (!json_is_integer(padding) || json_integer_value(padding) != 0))
            CAPS_TRY(get_size(&spec->conv[i].padding, &s, "padding", err));
    }
    CAPS_TRY(get_sizes(spec->hidden, &spec->hidden_count, top, "hidden", CAPS_MAX_HIDDEN, err));
    const json_t *dropout = json_object_get(top->object, "dropout");
    if (dropout && !json_is_number(dropout))
        CAPS_TRY(bad(top, "dropout", "is not a number", "0 or more, below 1", err));
    spec->dropout = json_number_value(dropout);
done:
    return status;
}

static caps_status parse_layers(caps_model_spec *spec, const section *top, caps_error *err)
{
    static const char *const conv1_fields[] = {"channels", "kernel", "stride", NULL};
    static const char *const primary_fields[] = {
        "types", "dim", "kernel", "stride", "average", NULL};
    caps_status status;
    section s;
    CAPS_TRY(get_object(&s, top, "conv1", err));
    CAPS_TRY(check_fields(&s, conv1_fields, err));
    CAPS_TRY(get_size(&spec->conv1.channels, &s, "channels", err));
    CAPS_TRY(get_size(&spec->conv1.kernel, &s, "kernel", err));
    CAPS_TRY(get_size(&spec->conv1.stride, &s, "stride", err));

    CAPS_TRY(get_object(&s, top, "primary", err));
    CAPS_TRY(check_fields(&s, primary_fields, err));
    CAPS_TRY(get_size(&spec->primary.types, &s, "types", err));
    CAPS_TRY(get_size(&spec->primary.dim, &s, "dim", err));
    CAPS_TRY(get_size(&spec->primary.kernel, &s, "kernel", err));
    CAPS_TRY(get_size(&spec->primary.stride, &s, "stride", err));
    CAPS_TRY(get_flag(&spec->primary.average, &s, "average", err));
done:
    return status;
}

static caps_status parse_class_caps(caps_model_spec *spec, const section *top, caps_error *err)
{
    static const char *const fields[] = {
        "dim", "iterations", "routing_grad", "bias", "leaky", NULL};
    caps_status status;
    section s;
    CAPS_TRY(get_object(&s, top, "class_caps", err));
    CAPS_TRY(check_fields(&s, fields, err));
    CAPS_TRY(get_size(&spec->class_caps.dim, &s, "dim", err));
    CAPS_TRY(get_size(&spec->class_caps.iterations, &s, "iterations", err));
    const json_t *grad = json_object_get(s.object, "routing_grad");
    const char *mode = grad ? json_string_value(grad) : "full";
    if (mode && strcmp(mode, "full") == 0)
        spec->class_caps.routing_grad = CAPS_ROUTING_GRAD_FULL;
    else if (mode && strcmp(mode, "last") == 0)
        spec->class_caps.routing_grad = CAPS_ROUTING_GRAD_LAST;
    else
        CAPS_TRY(bad(&s, "routing_grad", "is unknown", "\"full\" or \"last\"", err));
    CAPS_TRY(get_flag(&spec->class_caps.bias, &s, "bias", err));
    CAPS_TRY(get_flag(&spec->class_caps.leaky, &s, "leaky", err));
done:
    return status;
}

static caps_status parse_decoder(caps_model_spec *spec, const section *top, caps_error *err)
{
    static const char *const fields[] = {"hidden", NULL};
    const json_t *decoder = json_object_get(top->object, "decoder");
    caps_status status = CAPS_OK;
    section s;
    spec->has_decoder = decoder && !json_is_null(decoder);
    if (!spec->has_decoder)
        return CAPS_OK;
    CAPS_TRY(get_object(&s, top, "decoder", err));
    CAPS_TRY(check_fields(&s, fields, err));
    CAPS_TRY(get_sizes(
        spec->decoder_hidden, &spec->decoder_hidden_count, &s, "hidden", CAPS_MAX_HIDDEN, err));
done:
    return status;
}

caps_status caps_model_spec_parse(
    caps_model_spec *spec, const char *json, const char *where, caps_error *err)
{
    caps_model_spec parsed = {0};
    json_t *value = NULL;
    caps_status status;
    CAPS_TRY(caps_json_parse(&value, json, strlen(json), where, CAPS_ERR_SPEC, err));
    const section top = {value, where, ""};
    if (!json_is_object(value)) {
        status =
            caps_fail(err, CAPS_ERR_SPEC, "%s: not a JSON object, need a model spec in { }", where);
        goto done;
    }
    CAPS_TRY(parse_top(&parsed, &top, err));
    if (strcmp(parsed.kind, "cnn") == 0) {
        CAPS_TRY(parse_cnn(&parsed, &top, err));
    } else {
        CAPS_TRY(parse_layers(&parsed, &top, err));
        CAPS_TRY(parse_class_caps(&parsed, &top, err));
        CAPS_TRY(parse_decoder(&parsed, &top, err));
    }
    status = caps_model_spec_check(&parsed, NULL, err);
    if (status != CAPS_OK)
        status = caps_fail_prefix(err, status, "%s", where);
    else
        *spec = parsed;
done:
    json_decref(value);
    return status;
}

caps_status caps_class_names_parse(
    caps_model_spec *spec, const char *json, const char *where, caps_error *err)
{
    json_t *names = NULL;
    caps_status status;
    spec->has_class_names = false;
    CAPS_TRY(caps_json_parse(&names, json, strlen(json), where, CAPS_ERR_FORMAT, err));
    if (!json_is_array(names) || json_array_size(names) != spec->classes ||
        spec->classes > CAPS_MAX_CLASSES)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: names of classes are no list of %zu texts",
            where, spec->classes));
    for (size_t j = 0; j < spec->classes; j++) {
        const char *name = json_string_value(json_array_get(names, j));
        if (!name || !*name || strlen(name) >= CAPS_CLASS_NAME)
            CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
                "%s: name %zu of the classes is no text of 1 to %d bytes", where, j,
                CAPS_CLASS_NAME - 1));
        memcpy(spec->class_names[j], name, strlen(name) + 1);
    }
    spec->has_class_names = true;
done:
    json_decref(names);
    return status;
}
