/* spec.c: model specs: the built-in ones, loading, formatting, comparing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec.h"

#include "fail.h"
#include "file.h"
#include "json.h"

#define SPEC_BYTES ((size_t)1 << 20) /* a spec file is some hundred bytes */

/* ---- the built-in specs --------------------------------------------------------------------- */

#define KERNELS9(channels, types)                                                                  \
    "\"conv1\": {\"channels\": " #channels ", \"kernel\": 9, \"stride\": 1},"                      \
    " \"primary\": {\"types\": " #types ", \"dim\": 8, \"kernel\": 9, \"stride\": 2},"
#define CONV5(channels)                                                                            \
    "{\"channels\": " #channels ", \"kernel\": 5, \"stride\": 1, \"padding\": 2}"

/* "mnist" is the paper's network, "multimnist" the one of its section 6, "cifar10" the one of
 * section 7, "cnn" its baseline. "small" keeps the shape of "mnist" with 1/18 of its
 * multiplications: 48 instead of 256 channels, 8 instead of 32 capsule types, a quarter of the
 * decoder. "cnn-small" is the baseline with 1/40 of its multiplications. */
static const struct {
    const char *name, *json;
} builtins[] = {
    {"mnist", "{\"input\": [1, 28, 28], \"classes\": 10," KERNELS9(
                  256, 32) " \"class_caps\": {\"dim\": 16, \"iterations\": 3},"
                           " \"decoder\": {\"hidden\": [512, 1024]}}"},
    {"small", "{\"input\": [1, 28, 28], \"classes\": 10," KERNELS9(
                  48, 8) " \"class_caps\": {\"dim\": 16, \"iterations\": 3},"
                         " \"decoder\": {\"hidden\": [128, 256]}}"},
    {"multimnist", "{\"input\": [1, 36, 36], \"classes\": 10, \"labels\": 2," KERNELS9(
                       256, 32) " \"class_caps\": {\"dim\": 16, \"iterations\": 3},"
                                " \"decoder\": {\"hidden\": [512, 1024]}}"},
    {"cifar10", "{\"input\": [3, 24, 24], \"source\": [3, 32, 32], \"classes\": 10," KERNELS9(
                    256, 64) " \"class_caps\": {\"dim\": 16, \"iterations\": 3, \"leaky\": true},"
                             " \"decoder\": {\"hidden\": [512, 1024]}}"},
    {"cnn",
        "{\"kind\": \"cnn\", \"input\": [1, 28, 28], \"classes\": 10, \"conv\": [" CONV5(
            256) ", " CONV5(256) ", " CONV5(128) "], \"hidden\": [328, 192], \"dropout\": 0.5}"},
    {"cnn-small",
        "{\"kind\": \"cnn\", \"input\": [1, 28, 28], \"classes\": 10, \"conv\": [" CONV5(
            32) ", " CONV5(32) ", " CONV5(32) "], \"hidden\": [128, 64], \"dropout\": 0.5}"},
};

const char *caps_model_spec_builtin(size_t i)
{
    return i < sizeof builtins / sizeof builtins[0] ? builtins[i].name : NULL;
}

const char *caps_class_name(const caps_model_spec *spec, size_t j, char *text)
{
    if (spec->has_class_names && j < spec->classes)
        snprintf(text, CAPS_CLASS_NAME, "%s", spec->class_names[j]);
    else
        snprintf(text, CAPS_CLASS_NAME, "%zu", j);
    return text;
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
        !caps_path_exists(name_or_file)) {
        char names[256] = "";
        for (size_t i = 0, at = 0; i < sizeof builtins / sizeof builtins[0]; i++)
            at += (size_t)snprintf(
                names + at, sizeof names - at, "%s%s", i ? ", " : "", builtins[i].name);
        return caps_fail(err, CAPS_ERR_NOT_FOUND,
            "%s: no such model spec, need a file or one of %s", name_or_file, names);
    }
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

static json_t *sizes_list(const size_t *sizes, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer((json_int_t)sizes[i]));
    return list;
}

static void format_capsnet(json_t *to, const caps_model_spec *spec)
{
    const bool full = spec->class_caps.routing_grad == CAPS_ROUTING_GRAD_FULL;
    json_t *primary = json_pack("{s:I, s:I, s:I, s:I}", "types", (json_int_t)spec->primary.types,
        "dim", (json_int_t)spec->primary.dim, "kernel", (json_int_t)spec->primary.kernel, "stride",
        (json_int_t)spec->primary.stride);
    if (spec->primary.average)
        json_object_set_new(primary, "average", json_true());
    json_t *class_caps = json_pack("{s:I, s:I, s:s, s:b}", "dim", (json_int_t)spec->class_caps.dim,
        "iterations", (json_int_t)spec->class_caps.iterations, "routing_grad",
        full ? "full" : "last", "bias", spec->class_caps.bias);
    if (spec->class_caps.leaky)
        json_object_set_new(class_caps, "leaky", json_true());
    if (spec->labels != 1)
        json_object_set_new(to, "labels", json_integer((json_int_t)spec->labels));
    json_object_set_new(to, "conv1",
        json_pack("{s:I, s:I, s:I}", "channels", (json_int_t)spec->conv1.channels, "kernel",
            (json_int_t)spec->conv1.kernel, "stride", (json_int_t)spec->conv1.stride));
    json_object_set_new(to, "primary", primary);
    json_object_set_new(to, "class_caps", class_caps);
    json_object_set_new(to, "decoder",
        spec->has_decoder ? json_pack("{s:o}", "hidden",
                                sizes_list(spec->decoder_hidden, spec->decoder_hidden_count))
                          : json_null());
}

static void format_cnn(json_t *to, const caps_model_spec *spec)
{
    json_t *conv = json_array();
    for (size_t i = 0; i < spec->conv_count; i++)
        json_array_append_new(conv,
            json_pack("{s:I, s:I, s:I, s:I}", "channels", (json_int_t)spec->conv[i].channels,
                "kernel", (json_int_t)spec->conv[i].kernel, "stride",
                (json_int_t)spec->conv[i].stride, "padding", (json_int_t)spec->conv[i].padding));
    json_object_set_new(to, "conv", conv);
    json_object_set_new(to, "hidden", sizes_list(spec->hidden, spec->hidden_count));
    json_object_set_new(to, "dropout", json_real(spec->dropout));
}

char *caps_model_spec_format(const caps_model_spec *spec)
{
    json_t *value = json_object();
    if (strcmp(spec->kind, "capsnet") != 0)
        json_object_set_new(value, "kind", json_string(spec->kind));
    json_object_set_new(value, "input", sizes_list(spec->input, 3));
    if (spec->source[0])
        json_object_set_new(value, "source", sizes_list(spec->source, 3));
    json_object_set_new(value, "classes", json_integer((json_int_t)spec->classes));
    (strcmp(spec->kind, "cnn") == 0 ? format_cnn : format_capsnet)(value, spec);
    char *text = value ? caps_json_format(value, 0, 9) : NULL;
    json_decref(value);
    return text;
}

char *caps_class_names_format(const caps_model_spec *spec)
{
    json_t *list = json_array();
    for (size_t j = 0; j < spec->classes; j++)
        json_array_append_new(list, json_string(spec->class_names[j]));
    char *text = list ? caps_json_format(list, 0, 9) : NULL;
    json_decref(list);
    return text;
}

caps_status caps_class_names_set(
    caps_model_spec *spec, char *const *names, size_t count, caps_error *err)
{
    spec->has_class_names = false;
    if (!names || count != spec->classes || count > CAPS_MAX_CLASSES)
        return CAPS_OK;
    for (size_t j = 0; j < count; j++) {
        const size_t n = strlen(names[j]);
        /* Cut, two names might be the same. */
        if (n >= CAPS_CLASS_NAME)
            return caps_fail(err, CAPS_ERR_FORMAT,
                "the name of class %zu has %zu bytes, need at most %d", j, n, CAPS_CLASS_NAME - 1);
        memcpy(spec->class_names[j], names[j], n + 1);
    }
    spec->has_class_names = true;
    return CAPS_OK;
}

bool caps_model_spec_equal(const caps_model_spec *a, const caps_model_spec *b)
{
    char *x = caps_model_spec_format(a), *y = caps_model_spec_format(b);
    const bool equal = x && y && strcmp(x, y) == 0;
    free(x);
    free(y);
    return equal;
}
