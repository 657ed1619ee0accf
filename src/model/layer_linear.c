/* layer_linear.c: y = act(x w^T + bias), of its input flattened. dy's memory takes dy act'(y). */
#include "layer.h"

#include "linear.h"

typedef struct linear_layer {
    caps_layer base;
    caps_activation activation;
} linear_layer;

static caps_status plan(caps_layer *layer, caps_plan *plan, caps_error *err)
{
    (void)err;
    if (!plan->rt)
        return CAPS_OK;
    const size_t bytes = caps_linear_scratch(plan->rt, plan->batch * layer->rows_per_image,
        layer->parameters[0].parameter.shape[1], layer->shape[0], plan->training);
    if (bytes > plan->scratch_bytes)
        plan->scratch_bytes = bytes;
    return CAPS_OK;
}

static caps_status forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const linear_layer *self = (const linear_layer *)layer;
    const caps_tensor x = caps_flat_of(layer->input, &layer->input->y, pass->b);
    const caps_tensor y = caps_flat_of(layer, &layer->y, pass->b);
    return caps_linear_forward(pass->rt, &y, &x, &layer->parameters[0].parameter.value,
        &layer->parameters[1].parameter.value, self->activation, err);
}

static caps_status backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const linear_layer *self = (const linear_layer *)layer;
    const caps_tensor x = caps_flat_of(layer->input, &layer->input->y, pass->b);
    const caps_tensor dx = caps_flat_of(layer->input, &layer->input->dy, pass->b);
    const caps_tensor y = caps_flat_of(layer, &layer->y, pass->b);
    const caps_tensor dy = caps_flat_of(layer, &layer->dy, pass->b);
    const caps_parameter *w = &layer->parameters[0].parameter, *b = &layer->parameters[1].parameter;
    return caps_linear_backward(pass->rt, &dx, &w->gradient, &b->gradient, &dy, &dy, &y, &x,
        &w->value, self->activation, err);
}

static const caps_layer_class class = {"linear", sizeof(linear_layer), plan, forward, backward};

caps_status caps_layer_linear(
    caps_network *n, const char *name, size_t out, caps_activation activation, caps_error *err)
{
    caps_layer *input = n->layers[n->layer_count - 1], *layer;
    size_t in = 1;
    for (int d = 0; d < input->ndim; d++)
        in *= input->shape[d];
    const size_t weight[] = {out, in};
    caps_status status = caps_network_add(&layer, n, &class, name, input, 1, &out, err);
    if (status != CAPS_OK)
        return status;
    ((linear_layer *)layer)->activation = activation;
    caps_network_add_parameter(n, layer, "weight", 2, weight,
        activation == CAPS_ACT_RELU ? caps_stddev_he(in) : caps_stddev_glorot(in, out));
    caps_network_add_parameter(n, layer, "bias", 1, &out, 0);
    return CAPS_OK;
}
