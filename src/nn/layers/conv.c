/* conv.c: convolution, bias, activation.
 *
 *     {"kind": "conv", "channels": 256, "kernel": 9, "stride": 1, "padding": 0,
 *      "activation": "relu"} */
#include <stdio.h>

#include "convolution.h"

typedef struct conv_layer {
    caps_layer base;
    caps_convolution convolution;
    size_t channels, kernel, stride, padding;
    int activation; /* position below */
} conv_layer;

static const char *const conv_activations[] = {"relu", "none", NULL};

static const caps_field conv_fields[] = {
    CAPS_ROW_REQUIRED_SIZE("channels", conv_layer, channels),
    CAPS_ROW_REQUIRED_SIZE("kernel", conv_layer, kernel),
    CAPS_ROW_SIZE("stride", conv_layer, stride, 1, 1, CAPS_FIELD_MOST_SIZE),
    CAPS_ROW_SIZE("padding", conv_layer, padding, 0, 0, CAPS_FIELD_MOST_SIZE),
    CAPS_ROW_CHOICE_OF("activation", conv_layer, activation, conv_activations),
    {0},
};

static bool conv_has_relu(const conv_layer *self)
{
    return self->activation == 0;
}

static caps_status conv_build(caps_layer *layer, caps_network *n, caps_error *err)
{
    conv_layer *self = (conv_layer *)layer;
    const caps_conv2d conv = {.stride = self->stride,
        .padding = self->padding,
        .act = conv_has_relu(self) ? CAPS_ACT_RELU : CAPS_ACT_NONE};
    const size_t taps = self->kernel * self->kernel, in = layer->inputs[0]->shape[0];
    const double stddev = conv_has_relu(self)
                              ? caps_stddev_he(in * taps)
                              : caps_stddev_glorot(in * taps, self->channels * taps);
    caps_status status = caps_convolution_build(
        &self->convolution, n, layer, &conv, self->channels, self->kernel, stddev, err);
    return status == CAPS_OK
               ? caps_layer_add_output(layer, CAPS_FORM_MAPS, 3, self->convolution.y_shape, err)
               : status;
}

static void conv_describe(const caps_layer *layer, char *text, size_t bytes)
{
    const conv_layer *self = (const conv_layer *)layer;
    const size_t *y = layer->outputs[0].shape;
    char padding[40] = "";
    if (self->padding > 0)
        snprintf(padding, sizeof padding, ", padding %zu", self->padding);
    snprintf(text, bytes, "%zu channels, kernel %zu, stride %zu%s%s: %zux%zu", self->channels,
        self->kernel, self->stride, padding, conv_has_relu(self) ? "" : ", no activation", y[1],
        y[2]);
}

static caps_status conv_plan(caps_layer *layer, caps_plan *plan, caps_error *err)
{
    return caps_convolution_plan(&((conv_layer *)layer)->convolution, layer, plan, err);
}

static caps_status conv_forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const caps_tensor y = caps_batch_of(&layer->outputs[0].y, pass->b);
    return caps_convolution_forward(&((conv_layer *)layer)->convolution, layer, pass, &y,
        &layer->parameters[1].parameter.value, err);
}

static caps_status conv_backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    conv_layer *self = (conv_layer *)layer;
    const caps_tensor y = caps_batch_of(&layer->outputs[0].y, pass->b);
    const caps_tensor dy = caps_batch_of(&layer->outputs[0].dy, pass->b);
    return caps_convolution_backward(
        &self->convolution, layer, pass, &dy, conv_has_relu(self) ? &y : NULL, err);
}

static void conv_problem(const caps_layer *layer, caps_layer_problem *p)
{
    caps_convolution_problem(&((const conv_layer *)layer)->convolution, layer, p);
}

const caps_layer_kind caps_layer_conv = {
    .name = "conv",
    .bytes = sizeof(conv_layer),
    .fields = conv_fields,
    .build = conv_build,
    .describe = conv_describe,
    .plan = conv_plan,
    .forward = conv_forward,
    .backward = conv_backward,
    .problem = conv_problem,
};
