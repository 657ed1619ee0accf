/* parameter_file.c: see parameter_file.h. */
#include "parameter_file.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "loss.h"

caps_status caps_network_texts_init(caps_network_texts *t, const caps_model_spec *spec,
    const caps_loss *loss, const char *path, caps_error *err)
{
    const bool named = caps_model_spec_info(spec)->has_class_names,
               plain = caps_loss_equal(loss, &CAPS_LOSS_DEFAULT);
    t->spec = caps_model_spec_format(spec);
    t->classes = named ? caps_class_names_format(spec) : NULL;
    t->loss = plain ? NULL : caps_loss_format(loss);
    if (!t->spec || (named && !t->classes) || (!plain && !t->loss))
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for the spec", path);
    return CAPS_OK;
}

void caps_network_texts_release(caps_network_texts *t)
{
    free(t->loss);
    free(t->classes);
    free(t->spec);
    *t = (caps_network_texts){0};
}

size_t caps_network_texts_list(
    caps_st_pair *metadata, const caps_network_texts *t, const caps_st_pair *own, size_t count)
{
    size_t n = 0;
    metadata[n++] = (caps_st_pair){"capscl.spec", t->spec};
    metadata[n++] = (caps_st_pair){"capscl.format", CAPS_FORMAT_VERSION};
    for (size_t i = 0; i < count; i++)
        metadata[n++] = own[i];
    if (t->classes)
        metadata[n++] = (caps_st_pair){"capscl.classes", t->classes};
    if (t->loss)
        metadata[n++] = (caps_st_pair){"capscl.loss", t->loss};
    return n;
}

caps_st_tensor caps_parameter_tensor(const caps_parameter *p, const char *name, const float *flat)
{
    caps_st_tensor t = {.name = name,
        .dtype = "F32",
        .ndim = p->ndim,
        .data = flat + p->first,
        .bytes = p->count * sizeof *flat};
    memcpy(t.shape, p->shape, (size_t)p->ndim * sizeof *p->shape);
    return t;
}

void caps_shape_text(char *text, size_t bytes, int ndim, const size_t *shape)
{
    size_t at = 0;
    text[0] = 0;
    for (int d = 0; d < ndim && at < bytes; d++)
        at += (size_t)snprintf(text + at, bytes - at, "%s%zu", d ? ", " : "", shape[d]);
}

/* ---- types of numbers ----------------------------------------------------------------------- */

static float from_f32(const unsigned char *at)
{
    float x;
    memcpy(&x, at, sizeof x);
    return x;
}

static float from_f64(const unsigned char *at)
{
    double x;
    memcpy(&x, at, sizeof x);
    return (float)x;
}

/* The upper half of a float32. */
static float from_bf16(const unsigned char *at)
{
    uint16_t half;
    memcpy(&half, at, sizeof half);
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* One bit of sign, five of exponent, ten of fraction: every such number is a float32. */
static float from_f16(const unsigned char *at)
{
    uint16_t half;
    memcpy(&half, at, sizeof half);
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    float x;
    if (exponent == 31)
        x = fraction ? NAN : INFINITY;
    else if (exponent == 0)
        x = ldexpf((float)fraction, -24);
    else
        x = ldexpf((float)(1024 + fraction), exponent - 25);
    return half >> 15 ? -x : x;
}

static const struct number_type {
    const char *dtype, *name;
    size_t bytes;
    float (*read)(const unsigned char *at);
} number_types[] = {{"F32", "float32", 4, from_f32}, {"F16", "float16", 2, from_f16},
    {"BF16", "bfloat16", 2, from_bf16}, {"F64", "float64", 8, from_f64}};

static const struct number_type *find_type(const char *dtype)
{
    for (size_t i = 0; i < sizeof number_types / sizeof number_types[0]; i++)
        if (strcmp(number_types[i].dtype, dtype) == 0)
            return &number_types[i];
    return NULL;
}

const char *caps_parameter_type_name(const char *dtype)
{
    const struct number_type *type = find_type(dtype);
    return type ? type->name : NULL;
}

/* ---- reading -------------------------------------------------------------------------------- */

bool caps_parameter_fits(const caps_st_tensor *t, const caps_parameter *p)
{
    return t->ndim == p->ndim &&
           memcmp(t->shape, p->shape, (size_t)p->ndim * sizeof *p->shape) == 0;
}

caps_status caps_parameter_check(const caps_st_tensor *t, const char *name, const caps_parameter *p,
    const char *path, caps_error *err)
{
    char have[192], need[192];
    if (!t)
        return caps_fail(err, CAPS_ERR_FORMAT, "%s: tensor %s is missing", path, name);
    if (!find_type(t->dtype))
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: tensor %s: dtype is %s, need F32, or F16, BF16 or F64, which are converted", path,
            name, t->dtype);
    if (caps_parameter_fits(t, p))
        return CAPS_OK;
    caps_shape_text(have, sizeof have, t->ndim, t->shape);
    caps_shape_text(need, sizeof need, p->ndim, p->shape);
    return caps_fail(
        err, CAPS_ERR_FORMAT, "%s: tensor %s: shape is [%s], need [%s]", path, name, have, need);
}

/* A running statistic that a root is taken of. */
static bool is_variance(const caps_parameter *p)
{
    static const char end[] = ".norm.running_var";
    const size_t n = strlen(p->name), m = sizeof end - 1;
    return n > m && strcmp(p->name + n - m, end) == 0;
}

caps_status caps_parameter_read(float *values, const caps_st_tensor *t, const caps_parameter *p,
    const char *path, caps_error *err)
{
    const struct number_type *type = find_type(t->dtype);
    const unsigned char *data = t->data;
    const bool variance = is_variance(p);
    for (size_t i = 0; i < p->count; i++) {
        values[i] = type->read(data + i * type->bytes);
        if (variance && values[i] < 0)
            return caps_fail(err, CAPS_ERR_FORMAT, "%s: tensor %s: element %zu is %g, need >= 0",
                path, t->name, i, (double)values[i]);
        if (isfinite(values[i]))
            continue;
        double x = 0;
        if (type->bytes == sizeof x)
            memcpy(&x, data + i * sizeof x, sizeof x);
        if (type->bytes == sizeof x && isfinite(x))
            return caps_fail(err, CAPS_ERR_FORMAT,
                "%s: tensor %s: element %zu is %g, too large for float32, need at most %g", path,
                t->name, i, x, (double)FLT_MAX);
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: tensor %s: element %zu is not finite, need numbers", path, t->name, i);
    }
    return CAPS_OK;
}
