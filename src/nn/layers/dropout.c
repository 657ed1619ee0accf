/* dropout.c: in a training step a part of the elements is set to zero and the others are made
 * larger; otherwise y = x. What is dropped is drawn anew for the backward, not stored.
 *
 *     {"kind": "dropout", "rate": 0.5} */
#include <stdio.h>
#include <string.h>

#include "layer.h"

typedef struct dropout_layer {
    caps_layer base;
    double rate;
    uint32_t stream; /* keeps its draws apart from those of other dropout layers */
} dropout_layer;

static const caps_field dropout_fields[] = {
    {.name = "rate",
        .type = CAPS_FIELD_REAL,
        .offset = offsetof(dropout_layer, rate),
        .required = true,
        .most = 1,
        .open = true},
    {0},
};

static caps_status dropout_build(caps_layer *layer, caps_network *n, caps_error *err)
{
    const caps_value *x = layer->inputs[0];
    ((dropout_layer *)layer)->stream = (uint32_t)n->dropout_count++;
    caps_status status = caps_layer_add_output(layer, x->form, x->ndim, x->shape, err);
    memcpy(layer->outputs[0].grid, x->grid, sizeof x->grid);
    return status;
}

static void dropout_describe(const caps_layer *layer, char *text, size_t bytes)
{
    snprintf(text, bytes, "rate %g", ((const dropout_layer *)layer)->rate);
}

/* The draws of the batch at hand; its first image may not be the first of the step's batch. */
static caps_dropout dropout_draws(const caps_layer *layer, const caps_pass *pass)
{
    const dropout_layer *self = (const dropout_layer *)layer;
    caps_dropout d = {0};
    if (!pass->dropout)
        return d;
    d = *pass->dropout;
    d.rate = (float)self->rate;
    d.layer = self->stream;
    d.first *= caps_value_elements(&layer->outputs[0]);
    return d;
}

static caps_status dropout_forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const caps_tensor x = caps_batch_of(&layer->inputs[0]->y, pass->b);
    const caps_tensor y = caps_batch_of(&layer->outputs[0].y, pass->b);
    const caps_dropout d = dropout_draws(layer, pass);
    return caps_dropout_forward(pass->rt, &y, &x, &d, err);
}

static caps_status dropout_backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    if (!layer->inputs[0]->dy.buffer) /* it is the first layer: nobody needs the images' */
        return CAPS_OK;
    const caps_tensor dx = caps_batch_of(&layer->inputs[0]->dy, pass->b);
    const caps_tensor dy = caps_batch_of(&layer->outputs[0].dy, pass->b);
    const caps_dropout d = dropout_draws(layer, pass);
    return caps_dropout_backward(pass->rt, &dx, &dy, &d, err);
}

const caps_layer_kind caps_layer_dropout = {
    .name = "dropout",
    .bytes = sizeof(dropout_layer),
    .fields = dropout_fields,
    .build = dropout_build,
    .describe = dropout_describe,
    .forward = dropout_forward,
    .backward = dropout_backward,
};
