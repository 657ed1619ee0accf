/* onnx_heads.c: scores of the classes, and the mask before the decoder. */
#include <string.h>

#include "fail.h"
#include "onnx.h"

caps_status caps_onnx_scores(caps_onnx_graph *g, const caps_head *head, caps_error *err)
{
    const char *x = caps_onnx_value_name(g, head->input);
    if (head->kind == &caps_head_margin) {
        caps_onnx_set_number(g, "keepdims", 0);
        g->scores = caps_onnx_reduce(g, "ReduceL2", x, 2);
    } else if (head->kind == &caps_head_activation) {
        g->scores = x;
    } else if (head->kind == &caps_head_cross_entropy) {
        g->scores = caps_onnx_softmax(g, x, 1);
    } else if (head->kind == &caps_head_binary_cross_entropy) {
        g->scores = caps_onnx_node(g, "Sigmoid", x);
    } else {
        return caps_fail(
            err, CAPS_ERR_SPEC, "a network with %s has no translation to ONNX", head->kind->loss);
    }
    return CAPS_OK;
}

/* Of the L longest capsules each alone, all others zero: [N*L, J*D]. Of equal ones the first. */
caps_status caps_onnx_mask(
    caps_onnx_graph *g, const caps_layer *layer, const json_t *fields, caps_error *err)
{
    const int64_t labels = (int64_t)layer->outputs[0].rows_per_image;
    const int64_t j = (int64_t)layer->inputs[0]->shape[0], d = (int64_t)layer->inputs[0]->shape[1];
    const char *v = caps_onnx_read(g, layer, 0), *best;
    float *values;
    (void)fields, (void)err;
    if (labels == 1) {
        caps_onnx_set_number(g, "axis", 1);
        best = caps_onnx_node(g, "ArgMax", g->scores); /* [N, 1] */
    } else {
        best = caps_onnx_top(g, g->scores, labels);
    }
    const char *depth = caps_onnx_number(g, j);
    const char *off_on = caps_onnx_floats(g, &values, 1, (const size_t[]){2});
    if (values) {
        values[0] = 0;
        values[1] = 1;
    }
    const char *chosen = caps_onnx_node(g, "OneHot", best, depth, off_on); /* [N, L, J] */
    const char *kept = caps_onnx_node(
        g, "Mul", caps_onnx_reshape(g, chosen, 0, 0, 0, 1), caps_onnx_reshape(g, v, 0, 1, j, d));
    caps_onnx_value_set(g, &layer->outputs[0], caps_onnx_reshape(g, kept, -1, j * d));
    return CAPS_OK;
}
