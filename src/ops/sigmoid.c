/* sigmoid.c: sigmoid and binary cross entropy; kernels in cl/sigmoid.cl, for both families. */
#include <capscl/ops.h>

#include "fail.h"
#include "launch.h"
#include "require.h"

#define SIGMOID_GROUP 64 /* GPU family: items in a work-group */

/* z: [B, J]; labels: int32 [B], or [B, L]; *l is L. */
static caps_status sigmoid_check(
    const caps_tensor *z, const caps_tensor *labels, size_t *l, caps_error *err)
{
    static const char operation[] = "binary_cross_entropy";
    const bool several = labels && labels->ndim == 2;
    caps_status status;
    *l = several ? labels->shape[1] : 1;
    CAPS_TRY(caps_require_source(operation, "z", z, 2, "[B, J]", err));
    CAPS_TRY(caps_require_count(operation, "B*J", 2, z->shape, err));
    CAPS_TRY(caps_require_tensor(
        operation, "labels", labels, CAPS_I32, several ? 2 : 1, (size_t[]){z->shape[0], *l}, err));
done:
    return status;
}

caps_status caps_sigmoid_forward(
    caps_runtime *rt, const caps_tensor *p, const caps_tensor *z, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_require_source("sigmoid", "z", z, 2, "[B, J]", err));
    CAPS_TRY(caps_require_count("sigmoid", "B*J", 2, z->shape, err));
    CAPS_TRY(caps_require_tensor("sigmoid", "p", p, CAPS_F32, 2, z->shape, err));
    const size_t count = z->shape[0] * z->shape[1];
    const caps_arg args[] = {CAPS_ARG_TENSOR(p), CAPS_ARG_TENSOR(z), CAPS_ARG_UINT(count)};
    CAPS_TRY(caps_launch_items(rt, "sigmoid_forward", CAPS_ARGS(args), count, SIGMOID_GROUP, err));
done:
    return status;
}

caps_status caps_binary_cross_entropy_forward(caps_runtime *rt, const caps_tensor *loss,
    const caps_tensor *z, const caps_tensor *labels, caps_error *err)
{
    size_t l;
    caps_status status;
    CAPS_TRY(sigmoid_check(z, labels, &l, err));
    CAPS_TRY(caps_require_tensor("binary_cross_entropy", "loss", loss, CAPS_F32, 1, z->shape, err));
    const caps_arg args[] = {CAPS_ARG_TENSOR(loss), CAPS_ARG_TENSOR(z), CAPS_ARG_TENSOR(labels),
        CAPS_ARG_UINT(z->shape[0]), CAPS_ARG_UINT(z->shape[1]), CAPS_ARG_UINT(l)};
    CAPS_TRY(caps_launch_items(
        rt, "binary_cross_entropy_forward", CAPS_ARGS(args), z->shape[0], SIGMOID_GROUP, err));
done:
    return status;
}

caps_status caps_binary_cross_entropy_backward(caps_runtime *rt, const caps_tensor *dz,
    const caps_tensor *z, const caps_tensor *labels, float scale, caps_error *err)
{
    size_t l;
    caps_status status;
    CAPS_TRY(sigmoid_check(z, labels, &l, err));
    CAPS_TRY(caps_require_tensor("binary_cross_entropy", "dz", dz, CAPS_F32, 2, z->shape, err));
    const size_t count = z->shape[0] * z->shape[1];
    const caps_arg args[] = {CAPS_ARG_TENSOR(dz), CAPS_ARG_TENSOR(z), CAPS_ARG_TENSOR(labels),
        CAPS_ARG_FLOAT(scale), CAPS_ARG_UINT(count), CAPS_ARG_UINT(z->shape[1]), CAPS_ARG_UINT(l)};
    CAPS_TRY(caps_launch_items(
        rt, "binary_cross_entropy_backward", CAPS_ARGS(args), count, SIGMOID_GROUP, err));
done:
    return status;
}
