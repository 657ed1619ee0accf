/* dropout.c: see ops.h; kernel in cl/dropout.cl, for both families. */
#include <math.h>

#include <capscl/ops.h>

#include "elementwise.h"
#include "fail.h"
#include "launch.h"
#include "rng.h"

#define DROPOUT_GROUP 64 /* GPU family: items in a work-group */
#define DROPOUT_PER_ITEM                                                                           \
    256 /* CPU family: elements of an item; GPU family: a block of the generator */

static caps_status drop(caps_runtime *rt, const char *to_name, const caps_tensor *to,
    const char *from_name, const caps_tensor *from, const caps_dropout *d, caps_error *err)
{
    size_t count;
    caps_status status;
    if (!(d->rate >= 0) || d->rate >= 1)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "dropout: rate is %g, need >= 0 and < 1", (double)d->rate);
    CAPS_TRY(caps_elementwise_check("dropout", to_name, to, from_name, from, &count, err));
    /* Words from the threshold on are kept; 2^32 - 1 of them at most are not. */
    const double threshold = floor((double)d->rate * 4294967296.0);
    const uint32_t stream = (uint32_t)CAPS_RNG_DROPOUT | d->layer << 8;
    const size_t local = caps_is_gpu(rt) ? caps_group_size(rt, DROPOUT_GROUP) : 1;
    const size_t per_item = caps_is_gpu(rt) ? 4 : DROPOUT_PER_ITEM;
    const size_t global = caps_round_up(caps_div_up(count, per_item), local);
    const caps_arg args[] = {CAPS_ARG_TENSOR(to), CAPS_ARG_TENSOR(from),
        CAPS_ARG_FLOAT(1.0f / (1.0f - d->rate)), CAPS_ARG_UINT(threshold),
        CAPS_ARG_UINT(d->seed & UINT32_MAX), CAPS_ARG_UINT(d->seed >> 32), CAPS_ARG_UINT(stream),
        CAPS_ARG_UINT(d->step & UINT32_MAX), CAPS_ARG_UINT(d->first & UINT32_MAX),
        CAPS_ARG_UINT(d->first >> 32), CAPS_ARG_UINT(count), CAPS_ARG_UINT(per_item)};
    CAPS_TRY(caps_launch(rt, "dropout", CAPS_ARGS(args), 1, &global, &local, err));
done:
    return status;
}

caps_status caps_dropout_forward(caps_runtime *rt, const caps_tensor *y, const caps_tensor *x,
    const caps_dropout *dropout, caps_error *err)
{
    return drop(rt, "y", y, "x", x, dropout, err);
}

caps_status caps_dropout_backward(caps_runtime *rt, const caps_tensor *dx, const caps_tensor *dy,
    const caps_dropout *dropout, caps_error *err)
{
    return drop(rt, "dx", dx, "dy", dy, dropout, err);
}
