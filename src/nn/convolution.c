/* convolution.c: see convolution.h. */
#include "convolution.h"

#include <stdio.h>
#include <string.h>

#include "conv.h"
#include "fail.h"
#include "launch.h"

#define AUTHORS_STDDEV_FIRST 0.05

static const caps_parameter *convolution_weight(const caps_convolution *c, const caps_layer *layer)
{
    return &layer->parameters[c->parameter].parameter;
}

caps_status caps_convolution_build(caps_convolution *c, caps_network *n, caps_layer *layer,
    const caps_conv2d *conv, size_t channels, size_t kernel, double stddev, caps_error *err)
{
    const size_t *in = layer->inputs[0]->shape; /* C, H, W */
    const size_t weight[] = {channels, in[0], kernel, kernel};
    char names[2][24];
    caps_status status;
    c->conv = *conv;
    c->parameter = layer->parameter_count;
    snprintf(names[0], sizeof names[0], "%s%sweight", c->part ? c->part : "", c->part ? "." : "");
    snprintf(names[1], sizeof names[1], "%s%sbias", c->part ? c->part : "", c->part ? "." : "");
    CAPS_TRY(caps_layer_require(layer, CAPS_FORM_MAPS, "an image or feature maps", err));
    if (conv->padding >= kernel)
        CAPS_TRY(caps_fail(err, CAPS_ERR_SPEC, "%s: padding is %zu, need less than kernel %zu",
            layer->name, conv->padding, kernel));
    c->y_shape[0] = channels;
    c->y_shape[1] = caps_conv2d_output(in[1], kernel, conv->stride, conv->padding);
    c->y_shape[2] = caps_conv2d_output(in[2], kernel, conv->stride, conv->padding);
    if (c->y_shape[1] == 0 || c->y_shape[2] == 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_SPEC, "%s: kernel %zu is larger than its input %zux%zu",
            layer->name, kernel, in[1], in[2]));
    CAPS_TRY(caps_layer_add_parameter(n, layer, names[0], 4, weight, stddev, err));
    CAPS_TRY(caps_layer_add_parameter(n, layer, names[1], 1, &channels, 0, err));
    CAPS_TRY(caps_layer_check_array(layer->name, "its column buffer", 5,
        (size_t[]){in[0], kernel, kernel, c->y_shape[1], c->y_shape[2]}, err));
    /* The first one of a network: a narrower distribution in the authors' published code. */
    if (n->conv_count++ == 0)
        layer->parameters[c->parameter].authors_stddev = AUTHORS_STDDEV_FIRST;
done:
    return status;
}

/* The part of "conv1=direct,primary=auto" that is for this layer, or all of "direct"; length in *n,
 * 0: there is none. */
static const char *convolution_requested(const char *text, const char *layer, size_t *n)
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

static caps_status convolution_choose(caps_convolution *c, const caps_layer *layer, caps_plan *plan,
    const size_t x_shape[4], const size_t w_shape[4], caps_error *err)
{
    const bool needs_input_gradient =
        layer->inputs[0]->layer->input_count > 0 || plan->input_gradient;
    caps_conv_algorithm requested = CAPS_CONV_AUTO;
    char name[32] = "", own[CAPS_LAYER_NAME + 24];
    size_t n;
    snprintf(own, sizeof own, "%s%s%s", layer->name, c->part ? "." : "", c->part ? c->part : "");
    const char *text = convolution_requested(plan->conv, own, &n);
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), text);
    if (n > 0 && !caps_conv_algorithm_find(&requested, name))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "conv: algorithm '%s' is unknown, need auto, im2col, direct, winograd, toom-cook "
            "or implicit",
            name);
    caps_status status = caps_conv2d_choose(&c->conv.algorithm, plan->rt, x_shape, w_shape,
        &c->conv, plan->training, needs_input_gradient, requested, plan->conv_most_bytes, err);
    if (status != CAPS_OK) {
        caps_fail_prefix(err, status, "%s", layer->name);
        return status;
    }
    const size_t used = strlen(plan->conv_chosen), room = sizeof plan->conv_chosen - used;
    const int more = snprintf(plan->conv_chosen + used, room, "%s%s=%s", used ? "," : "", own,
        caps_conv_algorithm_name(c->conv.algorithm));
    if (more > 0 && (size_t)more < room)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_SPEC,
        "%s: the names of the convolutions up to it, with their algorithms, have more than %zu "
        "bytes, need shorter names or fewer layers",
        layer->name, sizeof plan->conv_chosen - 1);
}

caps_status caps_convolution_plan(
    caps_convolution *c, const caps_layer *layer, caps_plan *plan, caps_error *err)
{
    const size_t *in = layer->inputs[0]->shape, *w_shape = convolution_weight(c, layer)->shape;
    const size_t x_shape[] = {plan->batch, in[0], in[1], in[2]};
    caps_status status;
    CAPS_TRY(convolution_choose(c, layer, plan, x_shape, w_shape, err));
    c->workspace = caps_conv2d_workspace(plan->rt, x_shape, w_shape, &c->conv, plan->training,
        c->conv.algorithm == CAPS_CONV_IM2COL ? plan->conv_limit_bytes : plan->conv_most_bytes);
    c->version = 0;
    /* Weights that do not change are transformed once, where nobody writes over them. */
    c->owns = c->conv.algorithm == CAPS_CONV_TOOM_COOK && !plan->training;
    c->first = c->owns ? caps_round_up(plan->workspace, 64) : 0;
    if (c->first + c->workspace > plan->workspace)
        plan->workspace = c->first + c->workspace;
    const size_t cached =
        c->first + caps_conv2d_cached_elements(plan->rt, x_shape, w_shape, &c->conv, c->workspace);
    if (cached > plan->workspace_cached)
        plan->workspace_cached = cached;
    if (plan->rt) {
        const size_t scratch =
            caps_conv2d_scratch(plan->rt, x_shape, w_shape, &c->conv, c->workspace, plan->training);
        if (scratch > plan->scratch_bytes)
            plan->scratch_bytes = scratch;
    }
done:
    return status;
}

/* No more of the workspace than was planned for this layer, so that its chunks do not depend on the
 * other layers. */
static caps_tensor convolution_workspace(const caps_convolution *c, const caps_pass *pass)
{
    return caps_tensor_wrap(
        pass->workspace.buffer, pass->workspace.offset + c->first, CAPS_F32, 1, &c->workspace);
}

caps_status caps_convolution_forward(caps_convolution *c, const caps_layer *layer,
    const caps_pass *pass, const caps_tensor *y, const caps_tensor *bias, caps_error *err)
{
    const caps_tensor x = caps_batch_of(&layer->inputs[0]->y, pass->b);
    const caps_tensor workspace = convolution_workspace(c, pass);
    const caps_conv_tensors t = {
        .y = y, .x = &x, .w = &convolution_weight(c, layer)->value, .bias = bias};
    const caps_conv_cached cached = {.w = c->owns && c->version == pass->version};
    caps_status status =
        caps_conv2d_forward_cached(pass->rt, &t, &c->conv, &workspace, cached, err);
    c->version = status == CAPS_OK ? pass->version : 0;
    if (!c->owns)
        *pass->workspace_user = c;
    return status;
}

caps_status caps_convolution_backward_to(caps_convolution *c, const caps_layer *layer,
    const caps_pass *pass, const caps_tensor *dx, const caps_tensor *dy, const caps_tensor *y,
    caps_error *err)
{
    const caps_parameter *w = convolution_weight(c, layer);
    const caps_parameter *b = &layer->parameters[c->parameter + 1].parameter;
    const bool untouched = *pass->workspace_user == c && c->version == pass->version;
    const caps_tensor x = caps_batch_of(&layer->inputs[0]->y, pass->b);
    const caps_tensor workspace = convolution_workspace(c, pass);
    const caps_conv_tensors t = {.y = y,
        .x = &x,
        .w = &w->value,
        .dx = dx,
        .dw = &w->gradient,
        .dbias = &b->gradient,
        .dy = dy};
    const caps_conv_cached cached = {.x = untouched, .w = untouched};
    *pass->workspace_user = NULL; /* the gradients take the transforms' place */
    return caps_conv2d_backward_cached(pass->rt, &t, &c->conv, &workspace, cached, err);
}

caps_status caps_convolution_backward(caps_convolution *c, const caps_layer *layer,
    const caps_pass *pass, const caps_tensor *dy, const caps_tensor *y, caps_error *err)
{
    const caps_tensor *all = &layer->inputs[0]->dy;
    const caps_tensor dx = all->buffer ? caps_batch_of(all, pass->b) : *all;
    return caps_convolution_backward_to(c, layer, pass, all->buffer ? &dx : NULL, dy, y, err);
}

void caps_convolution_problem(
    const caps_convolution *c, const caps_layer *layer, caps_layer_problem *p)
{
    const size_t *in = layer->inputs[0]->shape;
    const caps_parameter *w = convolution_weight(c, layer);
    const size_t x[] = {1, in[0], in[1], in[2]};
    p->type = CAPS_PROBLEM_CONV;
    memcpy(p->x_shape, x, sizeof x);
    memcpy(p->w_shape, w->shape, sizeof p->w_shape);
    p->conv = c->conv;
    p->flops = 2 * (double)w->count * (double)(c->y_shape[1] * c->y_shape[2]);
}
