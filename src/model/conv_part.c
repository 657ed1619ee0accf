/* conv_part.c: see conv_part.h. */
#include "conv_part.h"

#include "conv.h"

void caps_conv_part_init(caps_conv_part *part, caps_network *n, caps_layer *layer,
    const caps_conv2d *conv, size_t channels, size_t kernel, double sigma)
{
    const size_t weight[] = {channels, layer->input->shape[0], kernel, kernel};
    part->conv = *conv;
    caps_network_add_parameter(n, layer, "weight", 4, weight, sigma);
    caps_network_add_parameter(n, layer, "bias", 1, &channels, 0);
}

void caps_conv_part_plan(caps_conv_part *part, const caps_layer *layer, caps_plan *plan)
{
    const size_t *in = layer->input->shape, *w_shape = layer->parameters[0].parameter.shape;
    const size_t x_shape[] = {plan->batch, in[0], in[1], in[2]};
    part->workspace = caps_conv2d_workspace(
        x_shape, w_shape, &part->conv, plan->training, plan->conv_limit_bytes);
    if (part->workspace > plan->workspace)
        plan->workspace = part->workspace;
    if (!plan->rt)
        return;
    const size_t scratch = caps_conv2d_scratch(
        plan->rt, x_shape, w_shape, &part->conv, part->workspace, plan->training);
    if (scratch > plan->scratch_bytes)
        plan->scratch_bytes = scratch;
}

/* No more of the workspace than was planned for this layer, so that its chunks do not depend on the
 * other layers. */
static caps_tensor workspace_of(const caps_conv_part *part, const caps_pass *pass)
{
    return caps_tensor_wrap(
        pass->workspace.buffer, pass->workspace.offset, CAPS_F32, 1, &part->workspace);
}

caps_status caps_conv_part_forward(const caps_conv_part *part, const caps_layer *layer,
    const caps_pass *pass, const caps_tensor *y, caps_error *err)
{
    const caps_tensor x = caps_batch_of(&layer->input->y, pass->b);
    const caps_tensor workspace = workspace_of(part, pass);
    return caps_conv2d_forward(pass->rt, y, &x, &layer->parameters[0].parameter.value,
        &layer->parameters[1].parameter.value, &part->conv, &workspace, err);
}

caps_status caps_conv_part_backward(const caps_conv_part *part, const caps_layer *layer,
    const caps_pass *pass, const caps_tensor *dy, const caps_tensor *y, caps_error *err)
{
    const caps_parameter *w = &layer->parameters[0].parameter, *b = &layer->parameters[1].parameter;
    const bool deeper = layer->input->dy.buffer != NULL;
    const caps_tensor x = caps_batch_of(&layer->input->y, pass->b);
    const caps_tensor dx = deeper ? caps_batch_of(&layer->input->dy, pass->b) : x;
    const caps_tensor workspace = workspace_of(part, pass);
    return caps_conv2d_backward(pass->rt, deeper ? &dx : NULL, &w->gradient, &b->gradient, dy, y,
        &x, &w->value, &part->conv, &workspace, err);
}
