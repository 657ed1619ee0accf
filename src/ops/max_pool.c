/* max_pool.c: the greatest value of every window; kernels in cl/max_pool_cpu.cl and
 * cl/max_pool_gpu.cl. */
#include <capscl/ops.h>

#include "call.h"
#include "fail.h"
#include "require.h"

#define GROUP 64 /* items of a work-group, GPU family */

typedef struct pool_sizes {
    size_t planes, h, w, oh, ow;
} pool_sizes;

/* x and y as planes; y has the size that windows give. */
static caps_status pool_sizes_of(pool_sizes *n, const char *x_name, const caps_tensor *x,
    const char *y_name, const caps_tensor *y, const caps_tensor *place, size_t kernel,
    size_t stride, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_require_source("max_pool", x_name, x, 4, "[B, C, H, W]", err));
    if (kernel < 1 || stride < 1 || stride > CAPS_REQUIRE_LIMIT)
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT,
            "max_pool: kernel is %zu and stride %zu, need 1 to %zu", kernel, stride,
            CAPS_REQUIRE_LIMIT));
    *n = (pool_sizes){x->shape[0] * x->shape[1], x->shape[2], x->shape[3],
        caps_conv2d_output(x->shape[2], kernel, stride, 0),
        caps_conv2d_output(x->shape[3], kernel, stride, 0)};
    if (n->oh == 0 || n->ow == 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT,
            "max_pool: kernel %zu is larger than its input %zux%zu", kernel, n->h, n->w));
    const size_t shape[] = {x->shape[0], x->shape[1], n->oh, n->ow};
    CAPS_TRY(caps_require_tensor("max_pool", y_name, y, CAPS_F32, 4, shape, err));
    if (place)
        CAPS_TRY(caps_require_tensor("max_pool", "place", place, CAPS_I32, 4, shape, err));
    CAPS_TRY(caps_require_count("max_pool", "H*W", 2, (size_t[]){n->h, n->w}, err));
done:
    return status;
}

/* places: of a plane, that items of the GPU family take. */
static caps_status pool_launch(caps_runtime *rt, const char *kernel, caps_call *call,
    const pool_sizes *n, size_t k, size_t stride, size_t places, caps_error *err)
{
    const size_t group = caps_group_size(rt, GROUP);
    caps_put_sizes(call, (size_t[]){n->h, n->w, n->oh, n->ow, k, stride}, 6);
    if (!caps_is_gpu(rt))
        return caps_launch(rt, kernel, call->args, call->count, 1, &n->planes, NULL, err);
    return caps_launch(rt, kernel, call->args, call->count, 2,
        (size_t[]){caps_round_up(places, group), n->planes}, (size_t[]){group, 1}, err);
}

caps_status caps_max_pool_forward(caps_runtime *rt, const caps_tensor *y, const caps_tensor *place,
    const caps_tensor *x, size_t kernel, size_t stride, caps_error *err)
{
    pool_sizes n;
    caps_call call = {0};
    caps_status status;
    CAPS_TRY(pool_sizes_of(&n, "x", x, "y", y, place, kernel, stride, err));
    caps_put_tensor(&call, y);
    caps_put_tensor(&call, place);
    caps_put_tensor(&call, x);
    CAPS_TRY(pool_launch(rt, "max_pool_forward", &call, &n, kernel, stride, n.oh * n.ow, err));
done:
    return status;
}

caps_status caps_max_pool_backward(caps_runtime *rt, const caps_tensor *dx, const caps_tensor *dy,
    const caps_tensor *place, size_t kernel, size_t stride, caps_error *err)
{
    pool_sizes n;
    caps_call call = {0};
    caps_status status;
    CAPS_TRY(pool_sizes_of(&n, "dx", dx, "dy", dy, place, kernel, stride, err));
    if (!place)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_ARGUMENT, "max_pool: place is missing, need the forward's"));
    caps_put_tensor(&call, dx);
    caps_put_tensor(&call, dy);
    caps_put_tensor(&call, place);
    CAPS_TRY(pool_launch(rt, "max_pool_backward", &call, &n, kernel, stride, n.h * n.w, err));
done:
    return status;
}
