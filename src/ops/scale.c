/* scale.c: y = factor x; kernels in cl/scale_cpu.cl and cl/scale_gpu.cl. */
#include <capscl/ops.h>

#include "elementwise.h"
#include "fail.h"
#include "launch.h"

#define SCALE_GROUP    128  /* GPU family: items in a work-group */
#define SCALE_PER_ITEM 8192 /* CPU family: elements of an item */
#define MOST           ((size_t)1 << 30)

caps_status caps_elementwise_check(const char *operation, const char *to_name,
    const caps_tensor *to, const char *from_name, const caps_tensor *from, size_t *count,
    caps_error *err)
{
    *count = from && from->buffer && from->dtype == CAPS_F32 ? caps_tensor_count(from) : 0;
    const size_t other = to && to->buffer && to->dtype == CAPS_F32 ? caps_tensor_count(to) : 0;
    if (*count < 1 || *count > MOST)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: %s has %zu float32, need 1 to 2^30",
            operation, from_name, *count);
    if (other != *count)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: %s has %zu float32, need %zu as %s",
            operation, to_name, other, *count, from_name);
    return CAPS_OK;
}

caps_status caps_scale(
    caps_runtime *rt, const caps_tensor *y, const caps_tensor *x, float factor, caps_error *err)
{
    size_t count, n = 4, local = 1, global;
    caps_status status;
    CAPS_TRY(caps_elementwise_check("scale", "y", y, "x", x, &count, err));
    caps_arg args[5] = {
        CAPS_ARG_TENSOR(y), CAPS_ARG_TENSOR(x), CAPS_ARG_FLOAT(factor), CAPS_ARG_UINT(count)};
    if (caps_is_gpu(rt)) {
        local = caps_group_size(rt, SCALE_GROUP);
        global = caps_round_up(count, local);
    } else {
        args[n++] = (caps_arg)CAPS_ARG_UINT(SCALE_PER_ITEM);
        global = caps_div_up(count, SCALE_PER_ITEM);
    }
    CAPS_TRY(caps_launch(rt, "scale", args, n, 1, &global, &local, err));
done:
    return status;
}
