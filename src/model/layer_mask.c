/* layer_mask.c: all capsules but one set to zero, flattened to [B, J*D]; for images with several
 * labels a row for each, [B*L, J*D]. Its gradient is added to that of the capsules, which the
 * margin loss has written before. */
#include "layer.h"

static caps_status forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const caps_tensor v = caps_batch_of(&layer->input->y, pass->b);
    const caps_tensor y = caps_batch_of(&layer->y, pass->b * layer->rows_per_image);
    return caps_mask_forward(pass->rt, &y, &v, &pass->chosen, err);
}

static caps_status backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const caps_tensor dv = caps_batch_of(&layer->input->dy, pass->b);
    const caps_tensor dy = caps_batch_of(&layer->dy, pass->b * layer->rows_per_image);
    return caps_mask_backward(pass->rt, &dv, &dy, &pass->chosen, err);
}

static const caps_layer_class class = {"mask", sizeof(caps_layer), NULL, forward, backward};

caps_status caps_layer_mask(caps_network *n, const char *name, size_t labels, caps_error *err)
{
    caps_layer *input = n->capsules, *layer;
    caps_status status = caps_network_add(
        &layer, n, &class, name, input, 1, (size_t[]){input->shape[0] * input->shape[1]}, err);
    if (status == CAPS_OK)
        layer->rows_per_image = labels;
    return status;
}
