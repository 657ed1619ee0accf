/* layer_dropout.c: in a training step a part of the elements is set to zero and the others are made
 * larger; otherwise y = x. What is dropped is drawn anew for the backward, not stored. */
#include "layer.h"

typedef struct dropout_layer {
    caps_layer base;
    float rate;
    uint32_t stream;
} dropout_layer;

/* The draws of the batch at hand; its first image may not be the first of the step's batch. */
static caps_dropout draws(const caps_layer *layer, const caps_pass *pass)
{
    const dropout_layer *self = (const dropout_layer *)layer;
    caps_dropout d = {0};
    size_t elements = 1;
    if (!pass->dropout)
        return d;
    for (int i = 0; i < layer->ndim; i++)
        elements *= layer->shape[i];
    d = *pass->dropout;
    d.rate = self->rate;
    d.layer = self->stream;
    d.first *= elements;
    return d;
}

static caps_status forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const caps_tensor x = caps_batch_of(&layer->input->y, pass->b);
    const caps_tensor y = caps_batch_of(&layer->y, pass->b);
    const caps_dropout d = draws(layer, pass);
    return caps_dropout_forward(pass->rt, &y, &x, &d, err);
}

static caps_status backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const caps_tensor dx = caps_batch_of(&layer->input->dy, pass->b);
    const caps_tensor dy = caps_batch_of(&layer->dy, pass->b);
    const caps_dropout d = draws(layer, pass);
    return caps_dropout_backward(pass->rt, &dx, &dy, &d, err);
}

static const caps_layer_class class = {"dropout", sizeof(dropout_layer), NULL, forward, backward};

caps_status caps_layer_dropout(
    caps_network *n, const char *name, double rate, uint32_t stream, caps_error *err)
{
    caps_layer *input = n->layers[n->layer_count - 1], *layer;
    caps_status status =
        caps_network_add(&layer, n, &class, name, input, input->ndim, input->shape, err);
    if (status != CAPS_OK)
        return status;
    ((dropout_layer *)layer)->rate = (float)rate;
    ((dropout_layer *)layer)->stream = stream;
    return CAPS_OK;
}
