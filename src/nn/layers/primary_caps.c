/* primary_caps.c: primary capsules: a convolution without activation, regrouped as I = T*H*W
 * capsules of K, squashed.
 *
 *     {"kind": "primary_caps", "types": 32, "dim": 8, "kernel": 9, "stride": 2, "average": false,
 *      "squash": "paper", "depthwise": false}
 *
 *     z [B, T*K, H, W]  ->  s [B, I, K]  ->  y = squash(s) [B, I, K]
 *
 * Backward needs s, but not z (nothing is applied to it): z's memory takes dz. In the GPU family y
 * is computed from z at once; backward needs z, and s's memory takes dz.
 *
 * With `average` the convolution's result w * x is divided by T before its bias: primary capsules
 * of the authors' code are routed once, with equal couplings. As (w * x + T bias) / T is the same,
 * the convolution gets T bias, and s and the gradients a factor.
 *
 * With `depthwise` every channel of the input has a kernel of its own, so that there are as many
 * types as channels / dim; `types` is then not given. */
#include <stdio.h>
#include <string.h>

#include "convolution.h"
#include "fail.h"
#include "group.h"

typedef struct primary_layer {
    caps_layer base;
    caps_convolution convolution;
    size_t given, types, dim, kernel, stride; /* given: types in the spec, 0 with `depthwise` */
    bool average, depthwise;
    int squash; /* caps_squash */
    caps_tensor z, s;
    caps_tensor scaled_bias; /* [T*K], with `average` only */
} primary_layer;

static const caps_field primary_fields[] = {
    CAPS_ROW_SIZE("types", primary_layer, given, 0, 1, CAPS_FIELD_MOST_SIZE),
    CAPS_ROW_REQUIRED_SIZE("dim", primary_layer, dim),
    CAPS_ROW_REQUIRED_SIZE("kernel", primary_layer, kernel),
    CAPS_ROW_REQUIRED_SIZE("stride", primary_layer, stride),
    CAPS_ROW_FLAG("average", primary_layer, average),
    CAPS_ROW_CHOICE_OF("squash", primary_layer, squash, caps_squash_names),
    CAPS_ROW_FLAG("depthwise", primary_layer, depthwise),
    {0},
};

/* Types from the spec or, with `depthwise`, from the input's channels. */
static caps_status primary_count_types(caps_layer *layer, caps_error *err)
{
    primary_layer *self = (primary_layer *)layer;
    const size_t channels = layer->inputs[0]->shape[0];
    self->types = self->given;
    if (!self->depthwise)
        return self->given ? CAPS_OK
                           : caps_fail(err, CAPS_ERR_SPEC,
                                 "%s.types is missing, need a whole number from 1 to %zu",
                                 layer->name, CAPS_FIELD_MOST_SIZE);
    if (self->given)
        return caps_fail(err, CAPS_ERR_SPEC,
            "%s.types is %zu, need none with depthwise: there are channels / dim", layer->name,
            self->given);
    if (channels % self->dim)
        return caps_fail(err, CAPS_ERR_SPEC,
            "%s: dim is %zu, need a divisor of %zu, the channels of its input, with depthwise",
            layer->name, self->dim, channels);
    self->types = channels / self->dim;
    return CAPS_OK;
}

static caps_status depthwise_build(
    caps_convolution *c, caps_network *n, caps_layer *layer, size_t kernel, caps_error *err)
{
    const size_t *in = layer->inputs[0]->shape; /* C, H, W */
    const size_t weight[] = {in[0], 1, kernel, kernel}, taps = kernel * kernel;
    caps_status status;
    c->y_shape[0] = in[0];
    c->y_shape[1] = caps_conv2d_output(in[1], kernel, c->conv.stride, 0);
    c->y_shape[2] = caps_conv2d_output(in[2], kernel, c->conv.stride, 0);
    if (c->y_shape[1] == 0 || c->y_shape[2] == 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_SPEC, "%s: kernel %zu is larger than its input %zux%zu",
            layer->name, kernel, in[1], in[2]));
    CAPS_TRY(caps_layer_add_parameter(
        n, layer, "weight", 4, weight, caps_stddev_glorot(taps, taps), err));
    CAPS_TRY(caps_layer_add_parameter(n, layer, "bias", 1, in, 0, err));
done:
    return status;
}

static caps_status primary_build(caps_layer *layer, caps_network *n, caps_error *err)
{
    primary_layer *self = (primary_layer *)layer;
    caps_status status;
    CAPS_TRY(caps_layer_require(layer, CAPS_FORM_MAPS, "an image or feature maps", err));
    CAPS_TRY(primary_count_types(layer, err));
    const caps_conv2d conv = {.stride = self->stride, .act = CAPS_ACT_NONE};
    const size_t channels = self->types * self->dim, taps = self->kernel * self->kernel;
    const double stddev = caps_stddev_glorot(layer->inputs[0]->shape[0] * taps, channels * taps);
    self->convolution.conv = conv;
    CAPS_TRY(caps_layer_check_array(
        layer->name, "its channels", 2, (size_t[]){self->types, self->dim}, err));
    if (self->depthwise)
        CAPS_TRY(depthwise_build(&self->convolution, n, layer, self->kernel, err));
    else
        CAPS_TRY(caps_convolution_build(
            &self->convolution, n, layer, &conv, channels, self->kernel, stddev, err));
    const size_t grid[] = {self->types, self->convolution.y_shape[1], self->convolution.y_shape[2]};
    const size_t shape[] = {grid[0] * grid[1] * grid[2], self->dim};
    CAPS_TRY(caps_layer_check_array(
        layer->name, "its output", 4, (size_t[]){self->types, self->dim, grid[1], grid[2]}, err));
    CAPS_TRY(caps_layer_add_output(layer, CAPS_FORM_CAPSULES, 2, shape, err));
    memcpy(layer->outputs[0].grid, grid, sizeof grid);
done:
    return status;
}

static void primary_describe(const caps_layer *layer, char *text, size_t bytes)
{
    const primary_layer *self = (const primary_layer *)layer;
    const caps_value *y = &layer->outputs[0];
    snprintf(text, bytes, "%zu types of %zu, kernel %zu, stride %zu%s: %zux%zu, %zu capsules%s%s",
        self->types, self->dim, self->kernel, self->stride, self->depthwise ? ", depthwise" : "",
        y->grid[1], y->grid[2], y->shape[0], self->average ? ", averaged over types" : "",
        self->squash == CAPS_SQUASH_EXP ? ", exponential squash" : "");
}

static caps_status primary_plan(caps_layer *layer, caps_plan *plan, caps_error *err)
{
    primary_layer *self = (primary_layer *)layer;
    const size_t *z = self->convolution.y_shape, *y = layer->outputs[0].shape;
    caps_status status;
    if (!self->depthwise)
        CAPS_TRY(caps_convolution_plan(&self->convolution, layer, plan, err));
    CAPS_TRY(caps_arena_add(plan->arena, &self->z, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 4,
        (size_t[]){plan->batch, z[0], z[1], z[2]}, err));
    CAPS_TRY(caps_arena_add(plan->arena, &self->s, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 3,
        (size_t[]){plan->batch, y[0], y[1]}, err));
    if (self->average && self->types > 1)
        CAPS_TRY(caps_arena_add(
            plan->arena, &self->scaled_bias, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 1, z, err));
done:
    return status;
}

/* 1, or with `average` T. */
static float primary_divisor(const primary_layer *self)
{
    return self->average ? (float)self->types : 1;
}

/* z from the layer's input. */
static caps_status primary_convolve(caps_layer *layer, const caps_pass *pass, const caps_tensor *z,
    const caps_tensor *bias, caps_error *err)
{
    primary_layer *self = (primary_layer *)layer;
    const caps_tensor x = caps_batch_of(&layer->inputs[0]->y, pass->b);
    if (!self->depthwise)
        return caps_convolution_forward(&self->convolution, layer, pass, z, bias, err);
    return caps_depthwise_forward(
        pass->rt, z, &x, &layer->parameters[0].parameter.value, bias, self->stride, err);
}

/* From dz the gradients of the parameters and of the layer's input. */
static caps_status primary_convolve_back(
    caps_layer *layer, const caps_pass *pass, const caps_tensor *dz, caps_error *err)
{
    primary_layer *self = (primary_layer *)layer;
    const caps_parameter *w = &layer->parameters[0].parameter;
    const caps_value *in = layer->inputs[0];
    const caps_tensor x = caps_batch_of(&in->y, pass->b);
    const caps_tensor dx = in->dy.buffer ? caps_batch_of(&in->dy, pass->b) : x;
    if (!self->depthwise)
        return caps_convolution_backward(&self->convolution, layer, pass, dz, NULL, err);
    return caps_depthwise_backward(pass->rt, in->dy.buffer ? &dx : NULL, &w->gradient,
        &layer->parameters[1].parameter.gradient, dz, &x, &w->value, self->stride, err);
}

static caps_status primary_forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    primary_layer *self = (primary_layer *)layer;
    const caps_tensor z = caps_batch_of(&self->z, pass->b), s = caps_batch_of(&self->s, pass->b);
    const caps_tensor y = caps_batch_of(&layer->outputs[0].y, pass->b);
    const caps_tensor *bias = &layer->parameters[1].parameter.value;
    const float divisor = primary_divisor(self);
    caps_status status;
    if (divisor > 1) {
        CAPS_TRY(caps_scale(pass->rt, &self->scaled_bias, bias, divisor, err));
        bias = &self->scaled_bias;
    }
    CAPS_TRY(primary_convolve(layer, pass, &z, bias, err));
    if (caps_is_gpu(pass->rt)) {
        status = caps_group_squash_forward(
            pass->rt, &y, &z, 1.0f / divisor, (caps_squash)self->squash, err);
        goto done;
    }
    CAPS_TRY(caps_group_forward(pass->rt, &s, &z, err));
    if (divisor > 1)
        CAPS_TRY(caps_scale(pass->rt, &s, &s, 1.0f / divisor, err));
    CAPS_TRY(caps_squash_forward(pass->rt, &y, &s, (caps_squash)self->squash, err));
done:
    return status;
}

static caps_status primary_backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    primary_layer *self = (primary_layer *)layer;
    const caps_tensor z = caps_batch_of(&self->z, pass->b), s = caps_batch_of(&self->s, pass->b);
    const caps_tensor dz = caps_is_gpu(pass->rt) ? caps_tensor_reshape(&s, z.ndim, z.shape) : z;
    const caps_tensor dy = caps_batch_of(&layer->outputs[0].dy, pass->b);
    const caps_tensor *dbias = &layer->parameters[1].parameter.gradient;
    const caps_squash squash = (caps_squash)self->squash;
    const float divisor = primary_divisor(self);
    caps_status status;
    if (caps_is_gpu(pass->rt)) {
        CAPS_TRY(caps_group_squash_backward(pass->rt, &dz, &dy, &z, 1.0f / divisor, squash, err));
    } else {
        CAPS_TRY(caps_squash_backward(pass->rt, &dy, &dy, &s, squash, err));
        if (divisor > 1)
            CAPS_TRY(caps_scale(pass->rt, &dy, &dy, 1.0f / divisor, err));
        CAPS_TRY(caps_group_backward(pass->rt, &dz, &dy, err));
    }
    CAPS_TRY(primary_convolve_back(layer, pass, &dz, err));
    if (divisor > 1)
        CAPS_TRY(caps_scale(pass->rt, dbias, dbias, divisor, err));
done:
    return status;
}

static void primary_problem(const caps_layer *layer, caps_layer_problem *p)
{
    const primary_layer *self = (const primary_layer *)layer;
    const size_t *z = self->convolution.y_shape;
    caps_convolution_problem(&self->convolution, layer, p);
    if (self->depthwise) {
        p->type = CAPS_PROBLEM_DEPTHWISE;
        p->flops = 2 * (double)layer->parameters[0].parameter.count * (double)(z[1] * z[2]);
        return;
    }
    p->types = self->types;
    p->dim = self->dim;
    p->squash = (caps_squash)self->squash;
}

const caps_layer_kind caps_layer_primary_caps = {
    .name = "primary_caps",
    .bytes = sizeof(primary_layer),
    .fields = primary_fields,
    .build = primary_build,
    .describe = primary_describe,
    .plan = primary_plan,
    .forward = primary_forward,
    .backward = primary_backward,
    .problem = primary_problem,
};
