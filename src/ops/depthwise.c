/* depthwise.c: convolution of every channel by a kernel of its own; kernels in
 * cl/depthwise_cpu.cl and cl/depthwise_gpu.cl. */
#include <capscl/ops.h>

#include "call.h"
#include "fail.h"
#include "require.h"

#define GROUP 64 /* items of a work-group, GPU family */
#define RUN   16 /* channels of an item, CPU family: as in cl/depthwise_cpu.cl */

typedef struct depthwise_sizes {
    size_t b, c, h, w, oh, ow, k, stride;
} depthwise_sizes;

static caps_status depthwise_sizes_of(
    depthwise_sizes *n, const caps_tensor *x, const caps_tensor *w, size_t stride, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_require_source("depthwise", "x", x, 4, "[B, C, H, W]", err));
    CAPS_TRY(caps_require_source("depthwise", "w", w, 4, "[C, 1, k, k]", err));
    *n = (depthwise_sizes){
        x->shape[0], x->shape[1], x->shape[2], x->shape[3], 0, 0, w->shape[2], stride};
    CAPS_TRY(caps_require_tensor(
        "depthwise", "w", w, CAPS_F32, 4, (size_t[]){n->c, 1, n->k, n->k}, err));
    if (stride < 1 || stride > CAPS_REQUIRE_LIMIT)
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT, "depthwise: stride is %zu, need 1 to %zu",
            stride, CAPS_REQUIRE_LIMIT));
    n->oh = caps_conv2d_output(n->h, n->k, stride, 0);
    n->ow = caps_conv2d_output(n->w, n->k, stride, 0);
    if (n->oh == 0 || n->ow == 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT,
            "depthwise: kernel %zu is larger than its input %zux%zu", n->k, n->h, n->w));
    CAPS_TRY(caps_require_count("depthwise", "B", 1, &n->b, err));
    CAPS_TRY(caps_require_count("depthwise", "C*H*W", 3, (size_t[]){n->c, n->h, n->w}, err));
    CAPS_TRY(caps_require_count("depthwise", "C*k*k", 3, (size_t[]){n->c, n->k, n->k}, err));
done:
    return status;
}

static caps_status check_y(
    const char *name, const caps_tensor *y, const depthwise_sizes *n, caps_error *err)
{
    return caps_require_tensor(
        "depthwise", name, y, CAPS_F32, 4, (size_t[]){n->b, n->c, n->oh, n->ow}, err);
}

static void put_sizes(caps_call *call, const depthwise_sizes *n)
{
    caps_put_sizes(call, (size_t[]){n->c, n->h, n->w, n->oh, n->ow, n->k, n->stride}, 7);
}

/* places: of a channel of an image, that items of the GPU family take. */
static caps_status launch_images(caps_runtime *rt, const char *kernel, const caps_call *call,
    const depthwise_sizes *n, size_t places, caps_error *err)
{
    const size_t group = caps_group_size(rt, GROUP);
    if (!caps_is_gpu(rt))
        return caps_launch(rt, kernel, call->args, call->count, 2,
            (size_t[]){caps_div_up(n->c, RUN), n->b}, NULL, err);
    return caps_launch(rt, kernel, call->args, call->count, 2,
        (size_t[]){caps_round_up(n->c * places, group), n->b}, (size_t[]){group, 1}, err);
}

caps_status caps_depthwise_forward(caps_runtime *rt, const caps_tensor *y, const caps_tensor *x,
    const caps_tensor *w, const caps_tensor *bias, size_t stride, caps_error *err)
{
    depthwise_sizes n;
    caps_call call = {0};
    caps_status status;
    CAPS_TRY(depthwise_sizes_of(&n, x, w, stride, err));
    CAPS_TRY(check_y("y", y, &n, err));
    CAPS_TRY(caps_require_tensor("depthwise", "bias", bias, CAPS_F32, 1, &n.c, err));
    caps_put_tensor(&call, y);
    caps_put_tensor(&call, x);
    caps_put_tensor(&call, w);
    caps_put_tensor(&call, bias);
    put_sizes(&call, &n);
    CAPS_TRY(launch_images(rt, "depthwise_forward", &call, &n, n.oh * n.ow, err));
done:
    return status;
}

static caps_status depthwise_dx(caps_runtime *rt, const caps_tensor *dx, const caps_tensor *dy,
    const caps_tensor *w, const depthwise_sizes *n, caps_error *err)
{
    caps_call call = {0};
    caps_put_tensor(&call, dx);
    caps_put_tensor(&call, dy);
    caps_put_tensor(&call, w);
    put_sizes(&call, n);
    return launch_images(rt, "depthwise_dx", &call, n, n->h * n->w, err);
}

static caps_status depthwise_dw(caps_runtime *rt, const caps_tensor *dw, const caps_tensor *dbias,
    const caps_tensor *dy, const caps_tensor *x, const depthwise_sizes *n, caps_error *err)
{
    const size_t group = caps_group_size(rt, GROUP);
    caps_call call = {0};
    caps_put_tensor(&call, dw);
    caps_put_tensor(&call, dbias);
    caps_put_tensor(&call, dy);
    caps_put_tensor(&call, x);
    caps_put_uint(&call, n->b);
    put_sizes(&call, n);
    if (!caps_is_gpu(rt))
        return caps_launch(rt, "depthwise_dw", call.args, call.count, 1, &n->c, NULL, err);
    caps_put_local(&call, group);
    return caps_launch(rt, "depthwise_dw", call.args, call.count, 2,
        (size_t[]){(n->k * n->k + 1) * group, n->c}, (size_t[]){group, 1}, err);
}

caps_status caps_depthwise_backward(caps_runtime *rt, const caps_tensor *dx, const caps_tensor *dw,
    const caps_tensor *dbias, const caps_tensor *dy, const caps_tensor *x, const caps_tensor *w,
    size_t stride, caps_error *err)
{
    depthwise_sizes n;
    caps_status status;
    CAPS_TRY(depthwise_sizes_of(&n, x, w, stride, err));
    CAPS_TRY(check_y("dy", dy, &n, err));
    CAPS_TRY(caps_require_tensor("depthwise", "dw", dw, CAPS_F32, 4, w->shape, err));
    CAPS_TRY(caps_require_tensor("depthwise", "dbias", dbias, CAPS_F32, 1, &n.c, err));
    if (dx) {
        CAPS_TRY(caps_require_tensor("depthwise", "dx", dx, CAPS_F32, 4, x->shape, err));
        CAPS_TRY(depthwise_dx(rt, dx, dy, w, &n, err));
    }
    CAPS_TRY(depthwise_dw(rt, dw, dbias, dy, x, &n, err));
done:
    return status;
}
