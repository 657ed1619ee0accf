/* max_pool.c: the greatest value of every window, channel by channel, no padding; of equal values the
 * first in row order gets the gradient. Backward needs where they were.
 *
 *     {"kind": "max_pool", "kernel": 2, "stride": 2} */
#include <stdio.h>
#include <string.h>

#include "fail.h"
#include "layer.h"

typedef struct pool_layer {
    caps_layer base;
    size_t kernel, stride;
    caps_tensor place; /* int32 [batch, C, OH, OW], in training */
} pool_layer;

static const caps_field pool_fields[] = {
    CAPS_ROW_REQUIRED_SIZE("kernel", pool_layer, kernel),
    {.name = "stride",
        .type = CAPS_FIELD_SIZE,
        .offset = offsetof(pool_layer, stride),
        .least = 1,
        .most = (double)CAPS_FIELD_MOST_SIZE},
    {0},
};

static caps_status pool_build(caps_layer *layer, caps_network *n, caps_error *err)
{
    pool_layer *self = (pool_layer *)layer;
    const size_t *in = layer->inputs[0]->shape; /* C, H, W */
    caps_status status;
    (void)n;
    CAPS_TRY(caps_layer_require(layer, CAPS_FORM_MAPS, "an image or feature maps", err));
    if (self->stride == 0) /* not given */
        self->stride = self->kernel;
    const size_t y[] = {in[0], caps_conv2d_output(in[1], self->kernel, self->stride, 0),
        caps_conv2d_output(in[2], self->kernel, self->stride, 0)};
    if (y[1] == 0 || y[2] == 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_SPEC, "%s: kernel %zu is larger than its input %zux%zu",
            layer->name, self->kernel, in[1], in[2]));
    CAPS_TRY(caps_layer_add_output(layer, CAPS_FORM_MAPS, 3, y, err));
done:
    return status;
}

static void pool_describe(const caps_layer *layer, char *text, size_t bytes)
{
    const pool_layer *self = (const pool_layer *)layer;
    const size_t *y = layer->outputs[0].shape;
    snprintf(
        text, bytes, "kernel %zu, stride %zu: %zux%zu", self->kernel, self->stride, y[1], y[2]);
}

static caps_status pool_plan(caps_layer *layer, caps_plan *plan, caps_error *err)
{
    const size_t *y = layer->outputs[0].shape, shape[] = {plan->batch, y[0], y[1], y[2]};
    return plan->training ? caps_arena_add(plan->arena, &((pool_layer *)layer)->place,
                                CAPS_PURPOSE_ACTIVATIONS, CAPS_I32, 4, shape, err)
                          : CAPS_OK;
}

static caps_status pool_forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const pool_layer *self = (const pool_layer *)layer;
    const caps_tensor x = caps_batch_of(&layer->inputs[0]->y, pass->b);
    const caps_tensor y = caps_batch_of(&layer->outputs[0].y, pass->b);
    const caps_tensor place = self->place.buffer ? caps_batch_of(&self->place, pass->b) : y;
    return caps_max_pool_forward(
        pass->rt, &y, self->place.buffer ? &place : NULL, &x, self->kernel, self->stride, err);
}

static caps_status pool_backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const pool_layer *self = (const pool_layer *)layer;
    if (!layer->inputs[0]->dy.buffer) /* it is the first layer: nobody needs the images' */
        return CAPS_OK;
    const caps_tensor dx = caps_batch_of(&layer->inputs[0]->dy, pass->b);
    const caps_tensor dy = caps_batch_of(&layer->outputs[0].dy, pass->b);
    const caps_tensor place = caps_batch_of(&self->place, pass->b);
    return caps_max_pool_backward(pass->rt, &dx, &dy, &place, self->kernel, self->stride, err);
}

static void pool_problem(const caps_layer *layer, caps_layer_problem *p)
{
    const pool_layer *self = (const pool_layer *)layer;
    const size_t *in = layer->inputs[0]->shape;
    p->type = CAPS_PROBLEM_POOL;
    memcpy(p->x_shape, (size_t[]){1, in[0], in[1], in[2]}, sizeof p->x_shape);
    memcpy(p->w_shape, (size_t[]){0, 0, self->kernel, self->kernel}, sizeof p->w_shape);
    p->conv.stride = self->stride;
}

const caps_layer_kind caps_layer_max_pool = {
    .name = "max_pool",
    .bytes = sizeof(pool_layer),
    .fields = pool_fields,
    .build = pool_build,
    .describe = pool_describe,
    .plan = pool_plan,
    .forward = pool_forward,
    .backward = pool_backward,
    .problem = pool_problem,
};
