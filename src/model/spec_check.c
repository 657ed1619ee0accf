/* spec_check.c: what a spec must be to become a network, and the sizes that follow from it. */
#include <stdio.h>
#include <string.h>

#include "spec.h"

#include "fail.h"

enum { MOST_ITERATIONS = 1000 };
#define MOST_ELEMENTS ((uint64_t)1 << 48)

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

static caps_status convolve(const char *layer, size_t kernel, size_t stride, size_t padding,
    size_t h, size_t w, size_t *oh, size_t *ow, caps_error *err)
{
    *oh = caps_conv2d_output(h, kernel, stride, padding);
    *ow = caps_conv2d_output(w, kernel, stride, padding);
    if (*oh == 0 || *ow == 0)
        return caps_fail(err, CAPS_ERR_SPEC, "%s: kernel %zu is larger than its input %zux%zu",
            layer, kernel, h, w);
    return CAPS_OK;
}

typedef struct range {
    const char *layer, *name;
    size_t value, most;
} range;

static caps_status check_rows(const range *rows, size_t count, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < count; i++)
        CAPS_TRY(in_range(rows[i].layer, rows[i].name, rows[i].value, rows[i].most, err));
done:
    return status;
}
#define CHECK_ROWS(rows) CAPS_TRY(check_rows(rows, sizeof(rows) / sizeof *(rows), err))

static caps_status check_common(const caps_model_spec *s, caps_error *err)
{
    const size_t most = CAPS_SPEC_MOST_SIZE;
    const range rows[] = {
        {"", "input channels", s->input[0], most},
        {"", "input height", s->input[1], most},
        {"", "input width", s->input[2], most},
        {"", "classes", s->classes, CAPS_MAX_CLASSES},
        {"", "labels", s->labels, CAPS_MAX_LABELS},
    };
    caps_status status;
    CHECK_ROWS(rows);
    if (s->labels > s->classes)
        CAPS_TRY(caps_fail(err, CAPS_ERR_SPEC,
            "labels is %zu, need at most as many as classes, %zu", s->labels, s->classes));
    if (s->source[0] || s->source[1] || s->source[2]) {
        const range source[] = {
            {"", "source channels", s->source[0], most},
            {"", "source height", s->source[1], most},
            {"", "source width", s->source[2], most},
        };
        CHECK_ROWS(source);
        if (s->source[0] != s->input[0])
            CAPS_TRY(caps_fail(err, CAPS_ERR_SPEC, "source has %zu channels, need %zu as the input",
                s->source[0], s->input[0]));
    }
done:
    return status;
}

static caps_status check_capsnet(const caps_model_spec *s, caps_error *err)
{
    const size_t most = CAPS_SPEC_MOST_SIZE;
    const range rows[] = {
        {"conv1", "channels", s->conv1.channels, most},
        {"conv1", "kernel", s->conv1.kernel, most},
        {"conv1", "stride", s->conv1.stride, most},
        {"primary", "types", s->primary.types, most},
        {"primary", "dim", s->primary.dim, most},
        {"primary", "kernel", s->primary.kernel, most},
        {"primary", "stride", s->primary.stride, most},
        {"class_caps", "dim", s->class_caps.dim, most},
        {"class_caps", "iterations", s->class_caps.iterations, MOST_ITERATIONS},
    };
    caps_status status;
    CHECK_ROWS(rows);
    if (s->decoder_hidden_count > CAPS_MAX_HIDDEN)
        CAPS_TRY(caps_fail(err, CAPS_ERR_SPEC, "decoder: %zu hidden layers, need at most %d",
            s->decoder_hidden_count, CAPS_MAX_HIDDEN));
    for (size_t i = 0; s->has_decoder && i < s->decoder_hidden_count; i++)
        CAPS_TRY(in_range("decoder", "a hidden layer", s->decoder_hidden[i], most, err));
done:
    return status;
}

static caps_status check_cnn(const caps_model_spec *s, caps_error *err)
{
    const size_t most = CAPS_SPEC_MOST_SIZE;
    caps_status status;
    CAPS_TRY(in_range("", "conv layers", s->conv_count, CAPS_MAX_CONV, err));
    for (size_t i = 0; i < s->conv_count; i++) {
        char layer[32];
        snprintf(layer, sizeof layer, "conv%zu", i + 1);
        const range rows[] = {
            {layer, "channels", s->conv[i].channels, most},
            {layer, "kernel", s->conv[i].kernel, most},
            {layer, "stride", s->conv[i].stride, most},
        };
        CHECK_ROWS(rows);
        if (s->conv[i].padding >= s->conv[i].kernel)
            CAPS_TRY(caps_fail(err, CAPS_ERR_SPEC, "%s: padding is %zu, need less than kernel %zu",
                layer, s->conv[i].padding, s->conv[i].kernel));
    }
    if (s->hidden_count > CAPS_MAX_HIDDEN)
        CAPS_TRY(caps_fail(err, CAPS_ERR_SPEC, "%zu hidden layers, need at most %d",
            s->hidden_count, CAPS_MAX_HIDDEN));
    for (size_t i = 0; i < s->hidden_count; i++)
        CAPS_TRY(in_range("hidden", "a layer", s->hidden[i], most, err));
    if (!(s->dropout >= 0) || s->dropout >= 1)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_SPEC, "dropout is %g, need 0 or more, below 1", s->dropout));
    if (s->labels != 1)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_SPEC, "labels is %zu, need 1 for kind \"cnn\"", s->labels));
done:
    return status;
}

/* Linear layers one after the other, the last of `last` units. */
static caps_status linear_layers(const char *prefix, size_t in, const size_t *hidden, size_t count,
    size_t last, uint64_t *parameters, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t n = 0; n <= count; n++) {
        const size_t out = n < count ? hidden[n] : last;
        char layer[32];
        snprintf(layer, sizeof layer, "%sfc%zu", prefix, n + 1);
        CAPS_TRY(array(layer, "its weight", parameters, 2, (size_t[]){out, in}, err));
        *parameters += out;
        in = out;
    }
done:
    return status;
}

static caps_status size_cnn(const caps_model_spec *s, caps_model_sizes *z, caps_error *err)
{
    uint64_t arrays = 0, parameters = 0, features = 0;
    size_t c = s->input[0], h = s->input[1], w = s->input[2];
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < s->conv_count; i++) {
        const size_t m = s->conv[i].channels, k = s->conv[i].kernel;
        char layer[32];
        size_t oh, ow;
        snprintf(layer, sizeof layer, "conv%zu", i + 1);
        CAPS_TRY(convolve(layer, k, s->conv[i].stride, s->conv[i].padding, h, w, &oh, &ow, err));
        CAPS_TRY(array(layer, "its weight", &parameters, 4, (size_t[]){m, c, k, k}, err));
        CAPS_TRY(array(layer, "its output", &arrays, 3, (size_t[]){m, oh, ow}, err));
        CAPS_TRY(array(layer, "its column buffer", &arrays, 5, (size_t[]){c, k, k, oh, ow}, err));
        parameters += m;
        c = m;
        h = oh;
        w = ow;
    }
    z->h2 = h;
    z->w2 = w;
    CAPS_TRY(array("fc1", "its input", &features, 3, (size_t[]){c, h, w}, err));
    CAPS_TRY(linear_layers(
        "", (size_t)features, s->hidden, s->hidden_count, s->classes, &parameters, err));
    z->parameters = parameters;
done:
    return status;
}

static caps_status size_capsnet(const caps_model_spec *s, caps_model_sizes *z, caps_error *err)
{
    uint64_t arrays = 0, parameters = 0; /* elements; arrays: only checked */
    const size_t c = s->input[0], c1 = s->conv1.channels, k1 = s->conv1.kernel,
                 k2 = s->primary.kernel, k = s->primary.dim, j = s->classes, d = s->class_caps.dim;
    caps_status status;
    CAPS_TRY(
        convolve("conv1", k1, s->conv1.stride, 0, s->input[1], s->input[2], &z->h1, &z->w1, err));
    CAPS_TRY(array("conv1", "its weight", &parameters, 4, (size_t[]){c1, c, k1, k1}, err));
    CAPS_TRY(array("conv1", "its output", &arrays, 3, (size_t[]){c1, z->h1, z->w1}, err));
    CAPS_TRY(
        array("conv1", "its column buffer", &arrays, 5, (size_t[]){c, k1, k1, z->h1, z->w1}, err));
    parameters += c1;

    CAPS_TRY(convolve("primary", k2, s->primary.stride, 0, z->h1, z->w1, &z->h2, &z->w2, err));
    CAPS_TRY(array(
        "primary", "its weight", &parameters, 5, (size_t[]){s->primary.types, k, c1, k2, k2}, err));
    CAPS_TRY(array(
        "primary", "its output", &arrays, 4, (size_t[]){s->primary.types, k, z->h2, z->w2}, err));
    CAPS_TRY(array(
        "primary", "its column buffer", &arrays, 5, (size_t[]){c1, k2, k2, z->h2, z->w2}, err));
    parameters += s->primary.types * k;
    z->i = s->primary.types * z->h2 * z->w2;

    CAPS_TRY(array("class_caps", "its weight", &parameters, 4, (size_t[]){z->i, j, d, k}, err));
    CAPS_TRY(array("class_caps", "its votes", &arrays, 3, (size_t[]){z->i, j, d}, err));
    CAPS_TRY(array("class_caps", "its couplings", &arrays, 3,
        (size_t[]){z->i, j, s->class_caps.iterations}, err));
    CAPS_TRY(array(
        "class_caps", "its output", &arrays, 3, (size_t[]){j, d, s->class_caps.iterations}, err));
    if (s->class_caps.bias)
        parameters += j * d;
    if (s->has_decoder)
        CAPS_TRY(linear_layers("decoder.", j * d, s->decoder_hidden, s->decoder_hidden_count,
            z->pixels, &z->decoder_parameters, err));
    z->parameters = parameters + z->decoder_parameters;
done:
    return status;
}

caps_status caps_model_spec_check(
    const caps_model_spec *s, caps_model_sizes *sizes, caps_error *err)
{
    const bool cnn = strcmp(s->kind, "cnn") == 0;
    caps_model_sizes z = {0};
    uint64_t arrays = 0;
    caps_status status;
    if (!cnn && strcmp(s->kind, "capsnet") != 0)
        return caps_fail(err, CAPS_ERR_SPEC, "kind is '%.15s', need capsnet or cnn", s->kind);
    CAPS_TRY(check_common(s, err));
    CAPS_TRY(cnn ? check_cnn(s, err) : check_capsnet(s, err));
    CAPS_TRY(array("input", "an image", &arrays, 3, s->input, err));
    z.pixels = s->input[0] * s->input[1] * s->input[2];
    CAPS_TRY(cnn ? size_cnn(s, &z, err) : size_capsnet(s, &z, err));
    if (sizes)
        *sizes = z;
done:
    return status;
}
