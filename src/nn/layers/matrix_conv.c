/* matrix_conv.c: matrix capsules whose parents see windows of kernel x kernel children, routed by
 * EM; there is no padding.
 *
 *     {"kind": "matrix_conv", "types": 16, "kernel": 3, "stride": 2,
 *      "routing": {"kind": "em", "iterations": 3, "grad": "full", "lambda": 0.01, "cost_scale": 1,
 *                  "variance_floor": 0.0005}}
 *
 *     pose [B, T*H*W, 16], activation [B, T*H*W]  ->  [B, C*H2*W2, 16], [B, C*H2*W2],
 *     H2 = (H - k) / stride + 1 */
#include "matrix.h"

#include <stdio.h>

#include "fail.h"

static const caps_field matrix_conv_fields[] = {
    CAPS_ROW_REQUIRED_SIZE("types", caps_em_layer, types),
    CAPS_ROW_REQUIRED_SIZE("kernel", caps_em_layer, kernel),
    CAPS_ROW_REQUIRED_SIZE("stride", caps_em_layer, stride),
    CAPS_ROW_OBJECT("routing", caps_em_layer, routing, caps_em_routings),
    {0},
};

static caps_status matrix_conv_build(caps_layer *layer, caps_network *n, caps_error *err)
{
    caps_em_layer *self = (caps_em_layer *)layer;
    const size_t k = self->kernel;
    caps_status status;
    CAPS_TRY(caps_matrix_require(layer, err));
    const size_t *in = layer->inputs[0]->grid;
    const size_t grid[] = {self->types, caps_conv2d_output(in[1], k, self->stride, 0),
        caps_conv2d_output(in[2], k, self->stride, 0)};
    const size_t weight[] = {k, k, in[0], self->types, CAPS_POSE_SIDE, CAPS_POSE_SIDE};
    if (grid[1] == 0 || grid[2] == 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_SPEC, "%s: kernel %zu is larger than its input %zux%zu",
            layer->name, k, in[1], in[2]));
    CAPS_TRY(caps_em_layer_build(self, n, grid, 6, weight, err));
done:
    return status;
}

static void matrix_conv_describe(const caps_layer *layer, char *text, size_t bytes)
{
    const caps_em_layer *self = (const caps_em_layer *)layer;
    const size_t *grid = layer->outputs[0].grid;
    char routing[96];
    caps_em_layer_describe_routing(self, routing, sizeof routing);
    snprintf(text, bytes, "%zu types, kernel %zu, stride %zu, %s: %zux%zu, %zu capsules",
        self->types, self->kernel, self->stride, routing, grid[1], grid[2],
        layer->outputs[0].shape[0]);
}

const caps_layer_kind caps_layer_matrix_conv = {
    .name = "matrix_conv",
    .bytes = sizeof(caps_em_layer),
    .fields = matrix_conv_fields,
    .reads_matrix = true,
    .build = matrix_conv_build,
    .describe = matrix_conv_describe,
    .plan = caps_em_layer_plan,
    .forward = caps_em_layer_forward,
    .backward = caps_em_layer_backward,
    .result = caps_em_layer_result,
    .round = caps_em_layer_round,
    .problem = caps_em_layer_problem,
};
