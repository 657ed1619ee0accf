/* squash.c: kernels in cl/squash_cpu.cl and cl/squash_gpu.cl. */
#include <capscl/ops.h>

#include "require.h"
#include "fail.h"
#include "launch.h"

#define SQUASH_GROUP         128  /* GPU family: items in a work-group */
#define SQUASH_ITEMS         1024 /* CPU family: work-items to aim for, */
#define SQUASH_ITEM_ELEMENTS 512  /* of at least so many elements */

/* Rows and their length: the leading dimensions and the last. */
static caps_status squash_check(const caps_tensor *s, size_t *rows, size_t *k, caps_error *err)
{
    if (!s || s->ndim < 1 || s->ndim > CAPS_MAX_DIMS)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "squash: s has %d dimensions, need >= 1", s ? s->ndim : 0);
    caps_status status = caps_require_source("squash", "s", s, s->ndim, "[.., K]", err);
    if (status == CAPS_OK)
        status = caps_require_count("squash", "K", 1, &s->shape[s->ndim - 1], err);
    if (status == CAPS_OK)
        status = caps_require_count("squash", "the number of capsules", s->ndim - 1, s->shape, err);
    if (status != CAPS_OK)
        return status;
    *k = s->shape[s->ndim - 1];
    *rows = caps_tensor_count(s) / *k;
    return CAPS_OK;
}

/* Enqueues after `n` tensor arguments in args, which has space for five more. */
static caps_status squash_launch(caps_runtime *rt, const char *kernel, caps_arg *args, size_t n,
    size_t rows, size_t k, caps_squash squash, caps_error *err)
{
    size_t last, local = 1, global;
    if (caps_is_gpu(rt)) {
        local = caps_group_size(rt, SQUASH_GROUP);
        last = caps_row_width(k, local);
        global = caps_div_up(rows, local / last) * local;
        args[n++] = (caps_arg)CAPS_ARG_LOCAL(local * sizeof(float));
    } else {
        last = caps_div_up(rows, SQUASH_ITEMS);
        if (last < caps_div_up(SQUASH_ITEM_ELEMENTS, k))
            last = caps_div_up(SQUASH_ITEM_ELEMENTS, k);
        global = caps_div_up(rows, last);
    }
    args[n++] = (caps_arg)CAPS_ARG_UINT(rows);
    args[n++] = (caps_arg)CAPS_ARG_UINT(k);
    args[n++] = (caps_arg)CAPS_ARG_UINT(last);
    args[n++] = (caps_arg)CAPS_ARG_UINT(squash);
    return caps_launch(rt, kernel, args, n, 1, &global, &local, err);
}

caps_status caps_squash_forward(caps_runtime *rt, const caps_tensor *v, const caps_tensor *s,
    caps_squash squash, caps_error *err)
{
    size_t rows = 0, k = 0;
    caps_status status;
    CAPS_TRY(squash_check(s, &rows, &k, err));
    CAPS_TRY(caps_require_tensor("squash", "v", v, CAPS_F32, s->ndim, s->shape, err));
    caps_arg args[8] = {CAPS_ARG_TENSOR(v), CAPS_ARG_TENSOR(s)};
    CAPS_TRY(squash_launch(rt, "squash_forward", args, 2, rows, k, squash, err));
done:
    return status;
}

caps_status caps_squash_backward(caps_runtime *rt, const caps_tensor *ds, const caps_tensor *dv,
    const caps_tensor *s, caps_squash squash, caps_error *err)
{
    size_t rows = 0, k = 0;
    caps_status status;
    CAPS_TRY(squash_check(s, &rows, &k, err));
    CAPS_TRY(caps_require_tensor("squash", "ds", ds, CAPS_F32, s->ndim, s->shape, err));
    CAPS_TRY(caps_require_tensor("squash", "dv", dv, CAPS_F32, s->ndim, s->shape, err));
    caps_arg args[10] = {CAPS_ARG_TENSOR(ds), CAPS_ARG_TENSOR(dv), CAPS_ARG_TENSOR(s)};
    CAPS_TRY(squash_launch(rt, "squash_backward", args, 3, rows, k, squash, err));
done:
    return status;
}
