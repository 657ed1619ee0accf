/* conv_part.c: see conv_part.h. */
#include "conv_part.h"

#include <stdio.h>
#include <string.h>

#include "conv.h"
#include "fail.h"
#include "launch.h"

void caps_conv_part_init(caps_conv_part *part, caps_network *n, caps_layer *layer,
    const caps_conv2d *conv, size_t channels, size_t kernel, double sigma)
{
    const size_t weight[] = {channels, layer->input->shape[0], kernel, kernel};
    part->conv = *conv;
    caps_network_add_parameter(n, layer, "weight", 4, weight, sigma);
    caps_network_add_parameter(n, layer, "bias", 1, &channels, 0);
}

/* The part of "conv1=direct,primary=auto" that is for this layer, or all of "direct"; length in *n,
 * 0: there is none. */
static const char *wish_for(const char *text, const char *layer, size_t *n)
{
    const size_t name = strlen(layer);
    *n = 0;
    if (!strchr(text, '=')) {
        *n = strlen(text);
        return text;
    }
    for (const char *at = text; *at; at += strcspn(at, ","), at += *at == ',') {
        const size_t length = strcspn(at, ",");
        if (length > name + 1 && strncmp(at, layer, name) == 0 && at[name] == '=') {
            *n = length - name - 1;
            return at + name + 1;
        }
    }
    return text;
}

static caps_status choose(caps_conv_part *part, const caps_layer *layer, caps_plan *plan,
    const size_t x_shape[4], const size_t w_shape[4], caps_error *err)
{
    const bool needs_input_gradient = layer->input->input != NULL || plan->input_gradient;
    caps_conv_algorithm requested = CAPS_CONV_AUTO;
    char name[32] = "";
    size_t n;
    const char *text = wish_for(plan->conv, layer->name, &n);
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), text);
    if (n > 0 && !caps_conv_algorithm_find(&requested, name))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "conv: algorithm '%s' is unknown, need auto, im2col, direct, winograd or toom-cook",
            name);
    caps_status status = caps_conv2d_choose(&part->conv.algorithm, plan->rt, x_shape, w_shape,
        &part->conv, plan->training, needs_input_gradient, requested, plan->conv_most_bytes, err);
    if (status != CAPS_OK) {
        caps_fail_prefix(err, status, layer->name);
        return status;
    }
    const size_t used = strlen(plan->conv_choices), room = sizeof plan->conv_choices - used;
    const int more = snprintf(plan->conv_choices + used, room, "%s%s=%s", used ? "," : "",
        layer->name, caps_conv_algorithm_name(part->conv.algorithm));
    return more > 0 && (size_t)more < room ? CAPS_OK
                                           : caps_fail(err, CAPS_ERR_INTERNAL,
                                                 "conv: more layers than their choices have room");
}

caps_status caps_conv_part_plan(
    caps_conv_part *part, const caps_layer *layer, caps_plan *plan, caps_error *err)
{
    const size_t *in = layer->input->shape, *w_shape = layer->parameters[0].parameter.shape;
    const size_t x_shape[] = {plan->batch, in[0], in[1], in[2]};
    caps_status status;
    CAPS_TRY(choose(part, layer, plan, x_shape, w_shape, err));
    part->workspace = caps_conv2d_workspace(x_shape, w_shape, &part->conv, plan->training,
        part->conv.algorithm == CAPS_CONV_IM2COL ? plan->conv_limit_bytes : plan->conv_most_bytes);
    part->version = 0;
    /* Weights that do not change are transformed once, where nobody writes over them. */
    part->owns = part->conv.algorithm == CAPS_CONV_TOOM_COOK && !plan->training;
    part->first = part->owns ? caps_round_up(plan->workspace, 64) : 0;
    if (part->first + part->workspace > plan->workspace)
        plan->workspace = part->first + part->workspace;
    const size_t kept =
        part->first + caps_conv2d_cached_elements(x_shape, w_shape, &part->conv, part->workspace);
    if (kept > plan->workspace_cached)
        plan->workspace_cached = kept;
    if (plan->rt) {
        const size_t scratch = caps_conv2d_scratch(
            plan->rt, x_shape, w_shape, &part->conv, part->workspace, plan->training);
        if (scratch > plan->scratch_bytes)
            plan->scratch_bytes = scratch;
    }
done:
    return status;
}

/* No more of the workspace than was planned for this layer, so that its chunks do not depend on the
 * other layers. */
static caps_tensor workspace_of(const caps_conv_part *part, const caps_pass *pass)
{
    return caps_tensor_wrap(pass->workspace.buffer, pass->workspace.offset + part->first, CAPS_F32,
        1, &part->workspace);
}

caps_status caps_conv_part_forward(caps_conv_part *part, const caps_layer *layer,
    const caps_pass *pass, const caps_tensor *y, const caps_tensor *bias, caps_error *err)
{
    const caps_tensor x = caps_batch_of(&layer->input->y, pass->b);
    const caps_tensor workspace = workspace_of(part, pass);
    const caps_conv_tensors t = {
        .y = y, .x = &x, .w = &layer->parameters[0].parameter.value, .bias = bias};
    const caps_conv_cached kept = {.w = part->owns && part->version == pass->version};
    caps_status status = caps_conv2d_forward_cached(pass->rt, &t, &part->conv, &workspace, kept, err);
    part->version = status == CAPS_OK ? pass->version : 0;
    if (!part->owns)
        *pass->workspace_user = part;
    return status;
}

caps_status caps_conv_part_backward(caps_conv_part *part, const caps_layer *layer,
    const caps_pass *pass, const caps_tensor *dy, const caps_tensor *y, caps_error *err)
{
    const caps_parameter *w = &layer->parameters[0].parameter, *b = &layer->parameters[1].parameter;
    const bool needs_input_gradient = layer->input->dy.buffer != NULL;
    const bool untouched = *pass->workspace_user == part && part->version == pass->version;
    const caps_tensor x = caps_batch_of(&layer->input->y, pass->b);
    const caps_tensor dx = needs_input_gradient ? caps_batch_of(&layer->input->dy, pass->b) : x;
    const caps_tensor workspace = workspace_of(part, pass);
    const caps_conv_tensors t = {.y = y,
        .x = &x,
        .w = &w->value,
        .dx = needs_input_gradient ? &dx : NULL,
        .dw = &w->gradient,
        .dbias = &b->gradient,
        .dy = dy};
    const caps_conv_cached kept = {.x = untouched, .w = untouched};
    *pass->workspace_user = NULL; /* the gradients take the transforms' place */
    return caps_conv2d_backward_cached(pass->rt, &t, &part->conv, &workspace, kept, err);
}
