/* spec.c: model specs: parsing, checking, formatting; the built-in ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/model.h>

#include "fail.h"
#include "file.h"
#include "json.h"

enum { MOST_CLASSES = 256, MOST_ITERATIONS = 1000 };
#define MOST_SIZE     ((size_t)INT32_MAX)
#define MOST_ELEMENTS ((uint64_t)1 << 48)
#define SPEC_BYTES    ((size_t)1 << 20) /* a spec file is some hundred bytes */

/* ---- the built-in specs --------------------------------------------------------------------- */

/* "mnist" is the paper's network. "small" keeps its shape with 1/18 of its multiplications: 48
 * instead of 256 channels, 8 instead of 32 capsule types, a quarter of the decoder. */
static const struct {
    const char *name, *json;
} builtins[] = {
    {"mnist", "{\"input\": [1, 28, 28], \"classes\": 10,"
              " \"conv1\": {\"channels\": 256, \"kernel\": 9, \"stride\": 1},"
              " \"primary\": {\"types\": 32, \"dim\": 8, \"kernel\": 9, \"stride\": 2},"
              " \"class_caps\": {\"dim\": 16, \"iterations\": 3},"
              " \"decoder\": {\"hidden\": [512, 1024]}}"},
    {"small", "{\"input\": [1, 28, 28], \"classes\": 10,"
              " \"conv1\": {\"channels\": 48, \"kernel\": 9, \"stride\": 1},"
              " \"primary\": {\"types\": 8, \"dim\": 8, \"kernel\": 9, \"stride\": 2},"
              " \"class_caps\": {\"dim\": 16, \"iterations\": 3},"
              " \"decoder\": {\"hidden\": [128, 256]}}"},
};

const char *caps_model_spec_builtin(size_t i)
{
    return i < sizeof builtins / sizeof builtins[0] ? builtins[i].name : NULL;
}

/* ---- parsing -------------------------------------------------------------------------------- */

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
    snprintf(need, sizeof need, "a whole number from 1 to %zu", MOST_SIZE);
    if (!value)
        return bad(s, field, "is missing", need, err);
    if (!json_is_integer(value))
        return bad(s, field, "is not a whole number", need, err);
    json_int_t n = json_integer_value(value);
    if (n < 1 || n > (json_int_t)MOST_SIZE) {
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

static caps_status parse_top(caps_model_spec *spec, const section *top, caps_error *err)
{
    static const char *const fields[] = {
        "kind", "input", "classes", "conv1", "primary", "class_caps", "decoder", NULL};
    caps_status status;
    CAPS_TRY(check_fields(top, fields, err));
    const json_t *kind = json_object_get(top->object, "kind");
    if (kind && (!json_is_string(kind) || strcmp(json_string_value(kind), "capsnet") != 0))
        CAPS_TRY(bad(top, "kind", "is unknown", "\"capsnet\"", err));
    snprintf(spec->kind, sizeof spec->kind, "capsnet");

    const json_t *input = json_object_get(top->object, "input");
    if (!json_is_array(input) || json_array_size(input) != 3)
        CAPS_TRY(bad(top, "input", input ? "is not a list of three" : "is missing",
            "[channels, height, width]", err));
    for (size_t i = 0; i < 3; i++)
        CAPS_TRY(to_size(&spec->input[i], json_array_get(input, i), top, "input", err));
    CAPS_TRY(get_size(&spec->classes, top, "classes", err));
done:
    return status;
}

static caps_status parse_layers(caps_model_spec *spec, const section *top, caps_error *err)
{
    static const char *const conv1_fields[] = {"channels", "kernel", "stride", NULL};
    static const char *const primary_fields[] = {"types", "dim", "kernel", "stride", NULL};
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
done:
    return status;
}

static caps_status parse_class_caps(caps_model_spec *spec, const section *top, caps_error *err)
{
    static const char *const fields[] = {"dim", "iterations", "routing_grad", "bias", NULL};
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
    const json_t *bias = json_object_get(s.object, "bias");
    if (bias && !json_is_boolean(bias))
        CAPS_TRY(bad(&s, "bias", "is not a boolean", "true or false", err));
    spec->class_caps.bias = json_is_true(bias);
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
    const json_t *hidden = json_object_get(s.object, "hidden");
    if (!json_is_array(hidden))
        CAPS_TRY(bad(
            &s, "hidden", hidden ? "is not a list" : "is missing", "a list of layer sizes", err));
    spec->decoder_hidden_count = json_array_size(hidden);
    if (spec->decoder_hidden_count > CAPS_MAX_HIDDEN) {
        char problem[48], need[32];
        snprintf(problem, sizeof problem, "has %zu layers", spec->decoder_hidden_count);
        snprintf(need, sizeof need, "at most %d", CAPS_MAX_HIDDEN);
        CAPS_TRY(bad(&s, "hidden", problem, need, err));
    }
    for (size_t i = 0; i < spec->decoder_hidden_count; i++)
        CAPS_TRY(to_size(&spec->decoder_hidden[i], json_array_get(hidden, i), &s, "hidden", err));
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
    CAPS_TRY(parse_layers(&parsed, &top, err));
    CAPS_TRY(parse_class_caps(&parsed, &top, err));
    CAPS_TRY(parse_decoder(&parsed, &top, err));
    status = caps_model_spec_check(&parsed, NULL, err);
    if (status != CAPS_OK)
        status = caps_fail_prefix(err, status, "%s", where);
    else
        *spec = parsed;
done:
    json_decref(value);
    return status;
}

caps_status caps_model_spec_load(caps_model_spec *spec, const char *name_or_file, caps_error *err)
{
    for (size_t i = 0; i < sizeof builtins / sizeof builtins[0]; i++)
        if (strcmp(builtins[i].name, name_or_file) == 0)
            return caps_model_spec_parse(spec, builtins[i].json, name_or_file, err);
    unsigned char *text = NULL;
    size_t n = 0;
    caps_status status = caps_file_read(&text, &n, name_or_file, SPEC_BYTES, err);
    if (status == CAPS_ERR_NOT_FOUND && !strchr(name_or_file, '/') &&
        !caps_path_exists(name_or_file))
        return caps_fail(err, CAPS_ERR_NOT_FOUND,
            "%s: no such model spec, need a file or one of mnist, small", name_or_file);
    if (status != CAPS_OK)
        return status;
    if (memchr(text, 0, n))
        status = caps_fail(
            err, CAPS_ERR_SPEC, "%s: not a text file, need a model spec in JSON", name_or_file);
    else
        status = caps_model_spec_parse(spec, (const char *)text, name_or_file, err);
    free(text);
    return status;
}

/* ---- formatting, comparing ------------------------------------------------------------------ */

char *caps_model_spec_format(const caps_model_spec *spec)
{
    json_t *decoder = spec->has_decoder ? json_object() : json_null();
    if (spec->has_decoder) {
        json_t *hidden = json_array();
        for (size_t i = 0; i < spec->decoder_hidden_count; i++)
            json_array_append_new(hidden, json_integer((json_int_t)spec->decoder_hidden[i]));
        json_object_set_new(decoder, "hidden", hidden);
    }
    bool full = spec->class_caps.routing_grad == CAPS_ROUTING_GRAD_FULL;
    json_t *value = json_pack("{s:[I,I,I], s:I, s:{s:I, s:I, s:I}, s:{s:I, s:I, s:I, s:I},"
                              " s:{s:I, s:I, s:s, s:b}, s:o}",
        "input", (json_int_t)spec->input[0], (json_int_t)spec->input[1], (json_int_t)spec->input[2],
        "classes", (json_int_t)spec->classes, "conv1", "channels", (json_int_t)spec->conv1.channels,
        "kernel", (json_int_t)spec->conv1.kernel, "stride", (json_int_t)spec->conv1.stride,
        "primary", "types", (json_int_t)spec->primary.types, "dim", (json_int_t)spec->primary.dim,
        "kernel", (json_int_t)spec->primary.kernel, "stride", (json_int_t)spec->primary.stride,
        "class_caps", "dim", (json_int_t)spec->class_caps.dim, "iterations",
        (json_int_t)spec->class_caps.iterations, "routing_grad", full ? "full" : "last", "bias",
        spec->class_caps.bias, "decoder", decoder);
    char *text = value ? caps_json_format(value, 0, 9) : NULL;
    json_decref(value);
    return text;
}

bool caps_model_spec_equal(const caps_model_spec *a, const caps_model_spec *b)
{
    char *x = caps_model_spec_format(a), *y = caps_model_spec_format(b);
    bool equal = x && y && strcmp(x, y) == 0 && strcmp(a->kind, b->kind) == 0;
    free(x);
    free(y);
    return equal;
}

/* ---- checking ------------------------------------------------------------------------------- */

static caps_status in_range(
    const char *layer, const char *name, size_t value, size_t most, caps_error *err)
{
    if (value >= 1 && value <= most)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_SPEC, "%s%s%s is %zu, need 1 to %zu", layer, *layer ? ": " : "",
        name, value, most);
}

/* Every array of the network, one image's worth, stays under MOST_ELEMENTS: sums of some tens of
 * them, times a batch, then fit 64 bits. */
static caps_status array(const char *layer, const char *name, uint64_t *count, size_t n,
    const size_t *shape, caps_error *err)
{
    uint64_t product = 1;
    for (size_t i = 0; i < n; i++) {
        if (shape[i] > MOST_ELEMENTS / product)
            return caps_fail(err, CAPS_ERR_SPEC,
                "%s: %s would have more than 2^48 elements (%zu times %llu), need fewer", layer,
                name, shape[i], (unsigned long long)product);
        product *= shape[i];
    }
    *count += product;
    return CAPS_OK;
}

static caps_status convolve(const char *layer, size_t kernel, size_t stride, size_t h, size_t w,
    size_t *oh, size_t *ow, caps_error *err)
{
    *oh = caps_conv2d_output(h, kernel, stride, 0);
    *ow = caps_conv2d_output(w, kernel, stride, 0);
    if (*oh == 0 || *ow == 0)
        return caps_fail(err, CAPS_ERR_SPEC, "%s: kernel %zu is larger than its input %zux%zu",
            layer, kernel, h, w);
    return CAPS_OK;
}

static caps_status check_ranges(const caps_model_spec *s, caps_error *err)
{
    const struct {
        const char *layer, *name;
        size_t value, most;
    } rows[] = {
        {"", "input channels", s->input[0], MOST_SIZE},
        {"", "input height", s->input[1], MOST_SIZE},
        {"", "input width", s->input[2], MOST_SIZE},
        {"", "classes", s->classes, MOST_CLASSES},
        {"conv1", "channels", s->conv1.channels, MOST_SIZE},
        {"conv1", "kernel", s->conv1.kernel, MOST_SIZE},
        {"conv1", "stride", s->conv1.stride, MOST_SIZE},
        {"primary", "types", s->primary.types, MOST_SIZE},
        {"primary", "dim", s->primary.dim, MOST_SIZE},
        {"primary", "kernel", s->primary.kernel, MOST_SIZE},
        {"primary", "stride", s->primary.stride, MOST_SIZE},
        {"class_caps", "dim", s->class_caps.dim, MOST_SIZE},
        {"class_caps", "iterations", s->class_caps.iterations, MOST_ITERATIONS},
    };
    if (strcmp(s->kind, "capsnet") != 0)
        return caps_fail(err, CAPS_ERR_SPEC, "kind is '%.15s', need capsnet", s->kind);
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CAPS_TRY(in_range(rows[i].layer, rows[i].name, rows[i].value, rows[i].most, err));
    if (s->decoder_hidden_count > CAPS_MAX_HIDDEN)
        return caps_fail(err, CAPS_ERR_SPEC, "decoder: %zu hidden layers, need at most %d",
            s->decoder_hidden_count, CAPS_MAX_HIDDEN);
    for (size_t i = 0; s->has_decoder && i < s->decoder_hidden_count; i++)
        CAPS_TRY(in_range("decoder", "a hidden layer", s->decoder_hidden[i], MOST_SIZE, err));
done:
    return status;
}

caps_status caps_model_spec_check(
    const caps_model_spec *s, caps_model_sizes *sizes, caps_error *err)
{
    caps_model_sizes z = {0};
    uint64_t arrays = 0, parameters = 0; /* elements; arrays: only checked */
    caps_status status;
    CAPS_TRY(check_ranges(s, err));
    const size_t c = s->input[0], c1 = s->conv1.channels, k1 = s->conv1.kernel,
                 k2 = s->primary.kernel, k = s->primary.dim, j = s->classes, d = s->class_caps.dim;
    CAPS_TRY(array("input", "an image", &arrays, 3, s->input, err));
    z.pixels = c * s->input[1] * s->input[2];

    CAPS_TRY(convolve("conv1", k1, s->conv1.stride, s->input[1], s->input[2], &z.h1, &z.w1, err));
    CAPS_TRY(array("conv1", "its weight", &parameters, 4, (size_t[]){c1, c, k1, k1}, err));
    CAPS_TRY(array("conv1", "its output", &arrays, 3, (size_t[]){c1, z.h1, z.w1}, err));
    CAPS_TRY(
        array("conv1", "its column buffer", &arrays, 5, (size_t[]){c, k1, k1, z.h1, z.w1}, err));
    parameters += c1;

    CAPS_TRY(convolve("primary", k2, s->primary.stride, z.h1, z.w1, &z.h2, &z.w2, err));
    CAPS_TRY(array(
        "primary", "its weight", &parameters, 5, (size_t[]){s->primary.types, k, c1, k2, k2}, err));
    CAPS_TRY(array(
        "primary", "its output", &arrays, 4, (size_t[]){s->primary.types, k, z.h2, z.w2}, err));
    CAPS_TRY(
        array("primary", "its column buffer", &arrays, 5, (size_t[]){c1, k2, k2, z.h2, z.w2}, err));
    parameters += s->primary.types * k;
    z.i = s->primary.types * z.h2 * z.w2;

    CAPS_TRY(array("class_caps", "its weight", &parameters, 4, (size_t[]){z.i, j, d, k}, err));
    CAPS_TRY(array("class_caps", "its votes", &arrays, 3, (size_t[]){z.i, j, d}, err));
    CAPS_TRY(array("class_caps", "its couplings", &arrays, 3,
        (size_t[]){z.i, j, s->class_caps.iterations}, err));
    CAPS_TRY(array(
        "class_caps", "its output", &arrays, 3, (size_t[]){j, d, s->class_caps.iterations}, err));
    if (s->class_caps.bias)
        parameters += j * d;

    size_t in = j * d;
    for (size_t n = 0; s->has_decoder && n <= s->decoder_hidden_count; n++) {
        size_t out = n < s->decoder_hidden_count ? s->decoder_hidden[n] : z.pixels;
        char layer[24];
        snprintf(layer, sizeof layer, "decoder.fc%zu", n + 1);
        CAPS_TRY(array(layer, "its weight", &parameters, 2, (size_t[]){out, in}, err));
        parameters += out;
        in = out;
    }
    z.parameters = parameters;
    if (sizes)
        *sizes = z;
done:
    return status;
}
