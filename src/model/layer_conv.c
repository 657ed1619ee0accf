/* layer_conv.c: convolution, bias, ReLU. */
#include "conv_part.h"

typedef struct conv_layer {
    caps_layer base;
    caps_conv_part part;
} conv_layer;

static caps_status plan(caps_layer *layer, caps_plan *plan, caps_error *err)
{
    return caps_conv_part_plan(&((conv_layer *)layer)->part, layer, plan, err);
}

static caps_status forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const caps_tensor y = caps_batch_of(&layer->y, pass->b);
    return caps_conv_part_forward(
        &((conv_layer *)layer)->part, layer, pass, &y, &layer->parameters[1].parameter.value, err);
}

static caps_status backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const caps_tensor y = caps_batch_of(&layer->y, pass->b);
    const caps_tensor dy = caps_batch_of(&layer->dy, pass->b);
    return caps_conv_part_backward(&((conv_layer *)layer)->part, layer, pass, &dy, &y, err);
}

static const caps_layer_class class = {"conv", sizeof(conv_layer), plan, forward, backward};

caps_status caps_layer_conv(caps_network *n, const char *name, size_t channels, size_t kernel,
    size_t stride, size_t padding, caps_error *err)
{
    const caps_conv2d conv = {.stride = stride, .padding = padding, .act = CAPS_ACT_RELU};
    caps_layer *input = n->layers[n->layer_count - 1], *layer;
    const size_t *in = input->shape; /* C, H, W */
    const size_t shape[] = {channels, caps_conv2d_output(in[1], kernel, stride, padding),
        caps_conv2d_output(in[2], kernel, stride, padding)};
    caps_status status = caps_network_add(&layer, n, &class, name, input, 3, shape, err);
    if (status == CAPS_OK)
        caps_conv_part_init(&((conv_layer *)layer)->part, n, layer, &conv, channels, kernel,
            caps_stddev_he(in[0] * kernel * kernel));
    return status;
}
