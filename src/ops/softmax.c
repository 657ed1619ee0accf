/* softmax.c: softmax and cross entropy; kernels in cl/softmax.cl, for both families. */
#include <capscl/ops.h>

#include "fail.h"
#include "launch.h"
#include "require.h"

#define SOFTMAX_GROUP 64 /* GPU family: items in a work-group */

static caps_status softmax_check(
    const char *operation, const char *name, const caps_tensor *t, caps_error *err)
{
    caps_status status = caps_require_source(operation, name, t, 2, "[B, J]", err);
    return status == CAPS_OK ? caps_require_count(operation, "B*J", 2, t->shape, err) : status;
}

caps_status caps_softmax_forward(
    caps_runtime *rt, const caps_tensor *p, const caps_tensor *z, caps_error *err)
{
    caps_status status;
    CAPS_TRY(softmax_check("softmax", "z", z, err));
    CAPS_TRY(caps_require_tensor("softmax", "p", p, CAPS_F32, 2, z->shape, err));
    const caps_arg args[] = {CAPS_ARG_TENSOR(p), CAPS_ARG_TENSOR(z), CAPS_ARG_UINT(z->shape[0]),
        CAPS_ARG_UINT(z->shape[1])};
    CAPS_TRY(
        caps_launch_items(rt, "softmax_forward", CAPS_ARGS(args), z->shape[0], SOFTMAX_GROUP, err));
done:
    return status;
}

caps_status caps_cross_entropy_forward(caps_runtime *rt, const caps_tensor *loss,
    const caps_tensor *z, const caps_tensor *labels, caps_error *err)
{
    caps_status status;
    CAPS_TRY(softmax_check("cross_entropy", "z", z, err));
    CAPS_TRY(caps_require_tensor("cross_entropy", "loss", loss, CAPS_F32, 1, z->shape, err));
    CAPS_TRY(caps_require_tensor("cross_entropy", "labels", labels, CAPS_I32, 1, z->shape, err));
    const caps_arg args[] = {CAPS_ARG_TENSOR(loss), CAPS_ARG_TENSOR(z), CAPS_ARG_TENSOR(labels),
        CAPS_ARG_UINT(z->shape[0]), CAPS_ARG_UINT(z->shape[1])};
    CAPS_TRY(caps_launch_items(
        rt, "cross_entropy_forward", CAPS_ARGS(args), z->shape[0], SOFTMAX_GROUP, err));
done:
    return status;
}

caps_status caps_cross_entropy_backward(caps_runtime *rt, const caps_tensor *dz,
    const caps_tensor *p, const caps_tensor *labels, float scale, caps_error *err)
{
    caps_status status;
    CAPS_TRY(softmax_check("cross_entropy", "p", p, err));
    CAPS_TRY(caps_require_tensor("cross_entropy", "dz", dz, CAPS_F32, 2, p->shape, err));
    CAPS_TRY(caps_require_tensor("cross_entropy", "labels", labels, CAPS_I32, 1, p->shape, err));
    const size_t count = p->shape[0] * p->shape[1];
    const caps_arg args[] = {CAPS_ARG_TENSOR(dz), CAPS_ARG_TENSOR(p), CAPS_ARG_TENSOR(labels),
        CAPS_ARG_FLOAT(scale), CAPS_ARG_UINT(count), CAPS_ARG_UINT(p->shape[1])};
    CAPS_TRY(caps_launch_items(
        rt, "cross_entropy_backward", CAPS_ARGS(args), count, SOFTMAX_GROUP, err));
done:
    return status;
}
