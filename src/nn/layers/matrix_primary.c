/* matrix_primary.c: the first matrix capsules: two 1x1 convolutions of the maps before, one that
 * gives the poses, and one that gives, through a sigmoid, the activations.
 *
 *     {"kind": "matrix_primary", "types": 8}
 *
 *     z [B, T*16, H, W]  ->  pose [B, I, 16],  activation [B, T, H, W] = [B, I],  I = T*H*W
 *
 * Nothing is applied to z: backward puts dz in its place. */
#include "matrix.h"

#include <stdio.h>

#include "add.h"
#include "convolution.h"
#include "fail.h"

typedef struct matrix_primary_layer {
    caps_layer base;
    caps_convolution pose, activation;
    size_t types;
    caps_tensor z;  /* [B, T*16, H, W] */
    caps_tensor dx; /* [B, C, H, W]: by way of the activations; no buffer: nobody needs it */
} matrix_primary_layer;

static const caps_field matrix_primary_fields[] = {
    CAPS_ROW_REQUIRED_SIZE("types", matrix_primary_layer, types),
    {0},
};

static caps_status matrix_primary_build(caps_layer *layer, caps_network *n, caps_error *err)
{
    matrix_primary_layer *self = (matrix_primary_layer *)layer;
    const size_t in = layer->inputs[0]->shape[0], channels = self->types * CAPS_POSE;
    const caps_conv2d pose = {.stride = 1, .act = CAPS_ACT_NONE};
    const caps_conv2d activation = {.stride = 1, .act = CAPS_ACT_SIGMOID};
    caps_status status;
    CAPS_TRY(caps_layer_check_array(
        layer->name, "its channels", 2, (size_t[]){self->types, CAPS_POSE}, err));
    self->pose.part = "pose";
    self->activation.part = "activation";
    CAPS_TRY(caps_convolution_build(
        &self->pose, n, layer, &pose, channels, 1, caps_stddev_glorot(in, channels), err));
    CAPS_TRY(caps_convolution_build(&self->activation, n, layer, &activation, self->types, 1,
        caps_stddev_glorot(in, self->types), err));
    CAPS_TRY(caps_matrix_add_outputs(layer, self->activation.y_shape, err));
done:
    return status;
}

static void matrix_primary_describe(const caps_layer *layer, char *text, size_t bytes)
{
    const size_t *grid = layer->outputs[0].grid;
    snprintf(text, bytes, "%zu types of 4x4: %zux%zu, %zu capsules", grid[0], grid[1], grid[2],
        layer->outputs[0].shape[0]);
}

static caps_status matrix_primary_plan(caps_layer *layer, caps_plan *plan, caps_error *err)
{
    matrix_primary_layer *self = (matrix_primary_layer *)layer;
    const size_t *z = self->pose.y_shape, *x = layer->inputs[0]->shape;
    caps_status status;
    CAPS_TRY(caps_convolution_plan(&self->pose, layer, plan, err));
    CAPS_TRY(caps_convolution_plan(&self->activation, layer, plan, err));
    CAPS_TRY(caps_arena_add(plan->arena, &self->z, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 4,
        (size_t[]){plan->batch, z[0], z[1], z[2]}, err));
    if (plan->training && (layer->inputs[0]->layer->input_count > 0 || plan->input_gradient))
        CAPS_TRY(caps_arena_add(plan->arena, &self->dx, CAPS_PURPOSE_GRADIENTS, CAPS_F32, 4,
            (size_t[]){plan->batch, x[0], x[1], x[2]}, err));
done:
    return status;
}

/* [b, I] as [b, T, H, W]. */
static caps_tensor as_maps(const matrix_primary_layer *self, const caps_tensor *t, size_t b)
{
    const caps_tensor rows = caps_batch_of(t, b);
    const size_t *maps = self->activation.y_shape;
    return caps_tensor_reshape(&rows, 4, (size_t[]){b, maps[0], maps[1], maps[2]});
}

static caps_status matrix_primary_forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    matrix_primary_layer *self = (matrix_primary_layer *)layer;
    const caps_tensor z = caps_batch_of(&self->z, pass->b);
    const caps_tensor y = caps_batch_of(&layer->outputs[0].y, pass->b);
    const caps_tensor a = as_maps(self, &layer->outputs[1].y, pass->b);
    caps_status status;
    CAPS_TRY(caps_convolution_forward(
        &self->pose, layer, pass, &z, &layer->parameters[1].parameter.value, err));
    CAPS_TRY(caps_group_forward(pass->rt, &y, &z, err));
    CAPS_TRY(caps_convolution_forward(
        &self->activation, layer, pass, &a, &layer->parameters[3].parameter.value, err));
done:
    return status;
}

static caps_status matrix_primary_backward(
    caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    matrix_primary_layer *self = (matrix_primary_layer *)layer;
    const bool needs_dx = layer->inputs[0]->dy.buffer != NULL;
    const caps_tensor dz = caps_batch_of(&self->z, pass->b);
    const caps_tensor dy = caps_batch_of(&layer->outputs[0].dy, pass->b);
    const caps_tensor a = as_maps(self, &layer->outputs[1].y, pass->b);
    const caps_tensor da = as_maps(self, &layer->outputs[1].dy, pass->b);
    const caps_tensor more = needs_dx ? caps_batch_of(&self->dx, pass->b) : (caps_tensor){0};
    caps_status status;
    CAPS_TRY(caps_group_backward(pass->rt, &dz, &dy, err));
    CAPS_TRY(caps_convolution_backward(&self->pose, layer, pass, &dz, NULL, err));
    CAPS_TRY(caps_convolution_backward_to(
        &self->activation, layer, pass, needs_dx ? &more : NULL, &da, &a, err));
    if (needs_dx) {
        const caps_tensor dx = caps_batch_of(&layer->inputs[0]->dy, pass->b);
        CAPS_TRY(caps_add(pass->rt, &dx, &more, err));
    }
done:
    return status;
}

static void matrix_primary_problem(const caps_layer *layer, caps_layer_problem *p)
{
    caps_convolution_problem(&((const matrix_primary_layer *)layer)->pose, layer, p);
}

const caps_layer_kind caps_layer_matrix_primary = {
    .name = "matrix_primary",
    .bytes = sizeof(matrix_primary_layer),
    .fields = matrix_primary_fields,
    .build = matrix_primary_build,
    .describe = matrix_primary_describe,
    .plan = matrix_primary_plan,
    .forward = matrix_primary_forward,
    .backward = matrix_primary_backward,
    .problem = matrix_primary_problem,
};
