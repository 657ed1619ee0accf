/* onnx_maps.c: layers of images, feature maps and features. */
#include <string.h>

#include "fail.h"
#include "onnx.h"

const char *caps_onnx_read(const caps_onnx_graph *g, const caps_layer *layer, size_t i)
{
    return caps_onnx_value_name(g, layer->inputs[i]);
}

caps_status caps_onnx_input(
    caps_onnx_graph *g, const caps_layer *layer, const json_t *fields, caps_error *err)
{
    (void)fields, (void)err;
    caps_onnx_value_set(g, &layer->outputs[0], "images");
    return CAPS_OK;
}

/* Dropout drops in training steps only. */
caps_status caps_onnx_same(
    caps_onnx_graph *g, const caps_layer *layer, const json_t *fields, caps_error *err)
{
    (void)fields, (void)err;
    caps_onnx_value_set(g, &layer->outputs[0], caps_onnx_read(g, layer, 0));
    return CAPS_OK;
}

static const char *activate(caps_onnx_graph *g, const char *x, const json_t *fields)
{
    return caps_onnx_is(fields, "activation", "relu")      ? caps_onnx_node(g, "Relu", x)
           : caps_onnx_is(fields, "activation", "sigmoid") ? caps_onnx_node(g, "Sigmoid", x)
                                                           : x;
}

const char *caps_onnx_convolution(caps_onnx_graph *g, const caps_layer *layer, size_t weight,
    bool bias, const json_t *fields, int64_t groups)
{
    const size_t *shape = layer->parameters[weight].parameter.shape; /* M, C, k, k */
    const json_t *stride = json_object_get(fields, "stride");
    const int64_t kernel = (int64_t)shape[2], padding = caps_onnx_size(fields, "padding");
    const int64_t s = stride ? (int64_t)json_integer_value(stride) : 1;
    const char *w = caps_onnx_parameter(g, layer, weight);
    const char *b = bias ? caps_onnx_parameter(g, layer, weight + 1) : NULL;
    caps_onnx_set_numbers(g, "kernel_shape", 2, (int64_t[]){kernel, kernel});
    caps_onnx_set_numbers(g, "strides", 2, (int64_t[]){s, s});
    caps_onnx_set_numbers(g, "pads", 4, (int64_t[]){padding, padding, padding, padding});
    caps_onnx_set_number(g, "group", groups);
    return caps_onnx_node(g, "Conv", caps_onnx_read(g, layer, 0), w, b);
}

caps_status caps_onnx_conv(
    caps_onnx_graph *g, const caps_layer *layer, const json_t *fields, caps_error *err)
{
    const char *y = activate(g, caps_onnx_convolution(g, layer, 0, true, fields, 1), fields);
    (void)err;
    if (caps_onnx_is(fields, "norm", "batch")) {
        const char *p[4]; /* weight, bias, mean, variance */
        for (size_t i = 0; i < 4; i++)
            p[i] = caps_onnx_parameter(g, layer, 2 + i);
        caps_onnx_set_float(g, "epsilon", CAPS_BATCH_NORM_EPSILON);
        y = caps_onnx_node(g, "BatchNormalization", y, p[0], p[1], p[2], p[3]);
    }
    caps_onnx_value_set(g, &layer->outputs[0], y);
    return CAPS_OK;
}

caps_status caps_onnx_linear(
    caps_onnx_graph *g, const caps_layer *layer, const json_t *fields, caps_error *err)
{
    const char *x = caps_onnx_read(g, layer, 0);
    (void)err;
    if (layer->inputs[0]->ndim > 1) {
        caps_onnx_set_number(g, "axis", 1);
        x = caps_onnx_node(g, "Flatten", x);
    }
    const char *w = caps_onnx_parameter(g, layer, 0), *b = caps_onnx_parameter(g, layer, 1);
    caps_onnx_set_number(g, "transB", 1);
    const char *y = activate(g, caps_onnx_node(g, "Gemm", x, w, b), fields);
    caps_onnx_value_set(g, &layer->outputs[0], y);
    return CAPS_OK;
}

caps_status caps_onnx_max_pool(
    caps_onnx_graph *g, const caps_layer *layer, const json_t *fields, caps_error *err)
{
    const int64_t k = caps_onnx_size(fields, "kernel"), s = caps_onnx_size(fields, "stride");
    (void)err;
    caps_onnx_set_numbers(g, "kernel_shape", 2, (int64_t[]){k, k});
    caps_onnx_set_numbers(g, "strides", 2, (int64_t[]){s, s});
    caps_onnx_value_set(
        g, &layer->outputs[0], caps_onnx_node(g, "MaxPool", caps_onnx_read(g, layer, 0)));
    return CAPS_OK;
}
