/* add.c: see add.h; kernels in cl/add_cpu.cl and cl/add_gpu.cl. */
#include "add.h"

#include "fail.h"
#include "launch.h"
#include "require.h"

#define ADD_GROUP    128        /* GPU family: items in a work-group */
#define ADD_ITEMS    1024       /* CPU family: work-items to aim for, */
#define ADD_PER_ITEM 1024       /* of at least so many elements */
#define ADD_AT_ONCE  (1u << 30) /* elements that a launch counts in 32 bits */

/* factor NULL: 1. */
static caps_status add_launch(caps_runtime *rt, const caps_tensor *y, const caps_tensor *x,
    const float *factor, size_t first, size_t count, caps_error *err)
{
    const caps_tensor to = caps_tensor_wrap(y->buffer, y->offset + first, CAPS_F32, 1, &count);
    const caps_tensor from = caps_tensor_wrap(x->buffer, x->offset + first, CAPS_F32, 1, &count);
    caps_arg args[5] = {CAPS_ARG_TENSOR(&to), CAPS_ARG_TENSOR(&from)};
    size_t n = 2, local = 1, global;
    if (factor)
        args[n++] = (caps_arg)CAPS_ARG_FLOAT(*factor);
    args[n++] = (caps_arg)CAPS_ARG_UINT(count);
    if (caps_is_gpu(rt)) {
        local = caps_group_size(rt, ADD_GROUP);
        global = caps_round_up(count, local);
    } else {
        size_t per_item = caps_round_up(caps_div_up(count, ADD_ITEMS), 16);
        if (per_item < ADD_PER_ITEM)
            per_item = ADD_PER_ITEM;
        args[n++] = (caps_arg)CAPS_ARG_UINT(per_item);
        global = caps_div_up(count, per_item);
    }
    return caps_launch(rt, factor ? "add_scaled" : "add", args, n, 1, &global, &local, err);
}

static caps_status add_all(caps_runtime *rt, const caps_tensor *y, const caps_tensor *x,
    const float *factor, caps_error *err)
{
    const size_t count = y && y->buffer ? caps_tensor_count(y) : 0;
    caps_status status = CAPS_OK;
    if (!count || y->dtype != CAPS_F32)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "add: y has 0 float32, need >= 1");
    if (!x || !x->buffer || x->dtype != CAPS_F32 || caps_tensor_count(x) != count)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "add: x has %zu float32, need %zu",
            x && x->buffer && x->dtype == CAPS_F32 ? caps_tensor_count(x) : 0, count);
    for (size_t first = 0; first < count && status == CAPS_OK; first += ADD_AT_ONCE) {
        const size_t left = count - first;
        status = add_launch(rt, y, x, factor, first, left < ADD_AT_ONCE ? left : ADD_AT_ONCE, err);
    }
    return status;
}

caps_status caps_add(caps_runtime *rt, const caps_tensor *y, const caps_tensor *x, caps_error *err)
{
    return add_all(rt, y, x, NULL, err);
}

caps_status caps_add_scaled(
    caps_runtime *rt, const caps_tensor *y, const caps_tensor *x, float factor, caps_error *err)
{
    return add_all(rt, y, x, &factor, err);
}
