/* matrix_caps.c: matrix capsules whose parents see all children, routed by EM; the children of a
 * type share their matrices, wherever they are. Class capsules where they are the last ones.
 *
 *     {"kind": "matrix_caps", "capsules": 10, "coordinates": true,
 *      "routing": {"kind": "em", ...}}    as in matrix_conv.c
 *
 *     pose [B, T*H*W, 16], activation [B, T*H*W]  ->  [B, J, 16], [B, J]
 *
 * With `coordinates` the place of a child is added to its votes. */
#include "matrix.h"

#include <stdio.h>

#include "fail.h"

static const caps_field matrix_caps_fields[] = {
    CAPS_ROW_REQUIRED_SIZE("capsules", caps_em_layer, types),
    CAPS_ROW_FLAG_ON("coordinates", caps_em_layer, coordinates),
    CAPS_ROW_OBJECT("routing", caps_em_layer, routing, caps_em_routings),
    {0},
};

static caps_status matrix_caps_build(caps_layer *layer, caps_network *n, caps_error *err)
{
    caps_em_layer *self = (caps_em_layer *)layer;
    const size_t grid[] = {self->types, 1, 1};
    caps_status status;
    CAPS_TRY(caps_matrix_require(layer, err));
    const size_t weight[] = {
        layer->inputs[0]->grid[0], self->types, CAPS_POSE_SIDE, CAPS_POSE_SIDE};
    CAPS_TRY(caps_em_layer_build(self, n, grid, 4, weight, err));
done:
    return status;
}

static void matrix_caps_describe(const caps_layer *layer, char *text, size_t bytes)
{
    const caps_em_layer *self = (const caps_em_layer *)layer;
    char routing[96];
    caps_em_layer_describe_routing(self, routing, sizeof routing);
    snprintf(text, bytes, "%zu capsules of 4x4%s, %s", self->types,
        self->coordinates ? ", coordinates added" : "", routing);
}

const caps_layer_kind caps_layer_matrix_caps = {
    .name = "matrix_caps",
    .bytes = sizeof(caps_em_layer),
    .fields = matrix_caps_fields,
    .classes_field = "capsules",
    .reads_matrix = true,
    .build = matrix_caps_build,
    .describe = matrix_caps_describe,
    .plan = caps_em_layer_plan,
    .forward = caps_em_layer_forward,
    .backward = caps_em_layer_backward,
    .result = caps_em_layer_result,
    .round = caps_em_layer_round,
    .problem = caps_em_layer_problem,
};
