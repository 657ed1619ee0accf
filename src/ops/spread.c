/* spread.c: the spread loss; kernels in cl/spread.cl (both families). */
#include <capscl/ops.h>

#include "fail.h"
#include "launch.h"
#include "require.h"

#define SPREAD_GROUP 128 /* GPU family: items in a work-group */

/* a: [B, J]; labels: int32 [B], or [B, L]; *l is L. */
static caps_status spread_check(
    const caps_tensor *a, const caps_tensor *labels, size_t *l, caps_error *err)
{
    const bool several = labels && labels->ndim == 2;
    caps_status status;
    *l = several ? labels->shape[1] : 1;
    CAPS_TRY(caps_require_source("spread", "a", a, 2, "[B, J]", err));
    CAPS_TRY(caps_require_count("spread", "B*J", 2, a->shape, err));
    CAPS_TRY(caps_require_tensor(
        "spread", "labels", labels, CAPS_I32, several ? 2 : 1, (size_t[]){a->shape[0], *l}, err));
done:
    return status;
}

caps_status caps_spread_forward(caps_runtime *rt, const caps_tensor *loss, const caps_tensor *a,
    const caps_tensor *labels, float margin, caps_error *err)
{
    size_t l;
    caps_status status;
    CAPS_TRY(spread_check(a, labels, &l, err));
    CAPS_TRY(caps_require_tensor("spread", "loss", loss, CAPS_F32, 1, a->shape, err));
    const size_t count = a->shape[0];
    const caps_arg args[] = {CAPS_ARG_TENSOR(loss), CAPS_ARG_TENSOR(a), CAPS_ARG_TENSOR(labels),
        CAPS_ARG_FLOAT(margin), CAPS_ARG_UINT(count), CAPS_ARG_UINT(a->shape[1]), CAPS_ARG_UINT(l)};
    CAPS_TRY(caps_launch_items(rt, "spread_forward", CAPS_ARGS(args), count, SPREAD_GROUP, err));
done:
    return status;
}

caps_status caps_spread_backward(caps_runtime *rt, const caps_tensor *da, const caps_tensor *a,
    const caps_tensor *labels, float margin, float scale, caps_error *err)
{
    size_t l;
    caps_status status;
    CAPS_TRY(spread_check(a, labels, &l, err));
    CAPS_TRY(caps_require_tensor("spread", "da", da, CAPS_F32, 2, a->shape, err));
    const size_t count = a->shape[0] * a->shape[1];
    const caps_arg args[] = {CAPS_ARG_TENSOR(da), CAPS_ARG_TENSOR(a), CAPS_ARG_TENSOR(labels),
        CAPS_ARG_FLOAT(margin), CAPS_ARG_FLOAT(scale), CAPS_ARG_UINT(count),
        CAPS_ARG_UINT(a->shape[1]), CAPS_ARG_UINT(l)};
    CAPS_TRY(caps_launch_items(rt, "spread_backward", CAPS_ARGS(args), count, SPREAD_GROUP, err));
done:
    return status;
}
