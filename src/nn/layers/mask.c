/* mask.c: all capsules but one set to zero, flattened to [B, J*D]; for images with several labels a
 * row for each, [B*L, J*D]. Its gradient is added to that of the capsules, which the classifying
 * head has written before. The network that adds the layer sets how many labels an image has. Where
 * the head does all of this (caps_pass.masked), nothing is left to do. */
#include "layer.h"

static caps_status mask_build(caps_layer *layer, caps_network *n, caps_error *err)
{
    (void)n;
    const size_t elements = caps_value_elements(layer->inputs[0]);
    return caps_layer_add_output(layer, CAPS_FORM_FEATURES, 1, &elements, err);
}

static caps_status mask_forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    if (pass->masked == &layer->outputs[0])
        return CAPS_OK;
    const caps_tensor v = caps_batch_of(&layer->inputs[0]->y, pass->b);
    const caps_tensor y = caps_rows_of(&layer->outputs[0], &layer->outputs[0].y, pass->b);
    return caps_mask_forward(pass->rt, &y, &v, &pass->chosen, err);
}

static caps_status mask_backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    if (pass->masked == &layer->outputs[0])
        return CAPS_OK;
    const caps_tensor dv = caps_batch_of(&layer->inputs[0]->dy, pass->b);
    const caps_tensor dy = caps_rows_of(&layer->outputs[0], &layer->outputs[0].dy, pass->b);
    return caps_mask_backward(pass->rt, &dv, &dy, &pass->chosen, err);
}

const caps_layer_kind caps_layer_mask = {
    .name = "mask",
    .bytes = sizeof(caps_layer),
    .build = mask_build,
    .forward = mask_forward,
    .backward = mask_backward,
};
