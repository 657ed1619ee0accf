/* conv.c: convolution as columns and a matrix product, in chunks of the batch.
 *
 * For a chunk of n images, P = OH*OW pixels, F = C*kh*kw taps, the workspace holds
 *     columns [F, n P] and product [M, n P].
 * forward:  product = w columns(x); y = act(product + bias), scattered to [n, M, P].
 * backward: product = dy act'(y), gathered; dw += product columns(x)^T; columns = w^T product, and
 * dx gathers its contributions from them. dbias comes from dy and y, whole batch at once. Kernels:
 * cl/conv_{cpu,gpu}.cl, and those of bias_act and gemm. */
#include <stdint.h>

#include <capscl/ops.h>

#include "bias_act.h"
#include "conv.h"
#include "gemm.h"
#include "require.h"
#include "fail.h"
#include "launch.h"

enum { GROUP = 64 }; /* the GPU family's work-group */

/* ---- sizes ---------------------------------------------------------------------------------- */

struct sizes {
    size_t b, c, h, w, m, kh, kw, stride, padding, oh, ow;
    size_t taps, pixels; /* F, P */
    size_t chunk;        /* images at once */
};

size_t caps_conv2d_output(size_t size, size_t kernel, size_t stride, size_t padding)
{
    if (size == 0 || kernel == 0 || stride == 0 || padding > (SIZE_MAX - size) / 2 ||
        size + 2 * padding < kernel)
        return 0;
    return (size + 2 * padding - kernel) / stride + 1;
}

static size_t times(size_t a, size_t b)
{
    return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

/* Workspace elements an image takes; SIZE_MAX where no number is large enough. */
static size_t per_image(size_t taps, size_t m, size_t pixels)
{
    return taps > SIZE_MAX - m ? SIZE_MAX : times(taps + m, pixels);
}

/* The fewest chunks of at most `most` images, and equal ones. */
static size_t equal_chunk(size_t images, size_t most)
{
    return caps_div_up(images, caps_div_up(images, most));
}

size_t caps_conv2d_workspace(
    const size_t x_shape[4], const size_t w_shape[4], const caps_conv2d *conv, size_t limit_bytes)
{
    size_t oh = caps_conv2d_output(x_shape[2], w_shape[2], conv->stride, conv->padding);
    size_t ow = caps_conv2d_output(x_shape[3], w_shape[3], conv->stride, conv->padding);
    size_t taps = times(times(x_shape[1], w_shape[2]), w_shape[3]);
    size_t each = per_image(taps, w_shape[0], times(oh, ow));
    if (each == 0 || each == SIZE_MAX || x_shape[0] == 0)
        return each;
    size_t fit = limit_bytes / sizeof(float) / each;
    if (fit < 1)
        fit = 1;
    if (fit > x_shape[0])
        fit = x_shape[0];
    return times(equal_chunk(x_shape[0], fit), each);
}

/* ---- checks --------------------------------------------------------------------------------- */

/* Fills *z from x, w and the workspace, and checks every size; the other tensors come after. */
static caps_status check(struct sizes *z, const caps_tensor *x, const caps_tensor *w,
    const caps_conv2d *conv, const caps_tensor *workspace, caps_error *err)
{
    caps_status status = CAPS_OK;
    CAPS_TRY(caps_require_source("conv2d", "x", x, 4, "[B, C, H, W]", err));
    CAPS_TRY(caps_require_source("conv2d", "w", w, 4, "[M, C, kh, kw]", err));
    if (w->shape[1] != x->shape[1])
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "conv2d: w has %zu input channels, need %zu as x has", w->shape[1], x->shape[1]);
    *z = (struct sizes){.b = x->shape[0],
        .c = x->shape[1],
        .h = x->shape[2],
        .w = x->shape[3],
        .m = w->shape[0],
        .kh = w->shape[2],
        .kw = w->shape[3],
        .stride = conv->stride,
        .padding = conv->padding};
    if (z->stride < 1)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "conv2d: stride is 0, need >= 1");
    if (z->padding >= z->kh || z->padding >= z->kw)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "conv2d: padding is %zu, need less than the kernel %zux%zu", z->padding, z->kh, z->kw);
    if ((int)conv->act < CAPS_ACT_NONE || conv->act > CAPS_ACT_SIGMOID)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "conv2d: activation is %d, need 0 to %d",
            (int)conv->act, CAPS_ACT_SIGMOID);
    z->oh = caps_conv2d_output(z->h, z->kh, z->stride, z->padding);
    z->ow = caps_conv2d_output(z->w, z->kw, z->stride, z->padding);
    if (z->oh == 0 || z->ow == 0)
        return z->padding == 0
                   ? caps_fail(err, CAPS_ERR_ARGUMENT,
                         "conv2d: kernel %zux%zu is larger than its input %zux%zu", z->kh, z->kw,
                         z->h, z->w)
                   : caps_fail(err, CAPS_ERR_ARGUMENT,
                         "conv2d: kernel %zux%zu is larger than its input %zux%zu with padding %zu",
                         z->kh, z->kw, z->h, z->w, z->padding);
    z->taps = times(times(z->c, z->kh), z->kw);
    z->pixels = times(z->oh, z->ow);

    if (!workspace || !workspace->buffer || workspace->dtype != CAPS_F32)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "conv2d: workspace is no float32 tensor, need one");
    const size_t each = per_image(z->taps, z->m, z->pixels), have = caps_tensor_count(workspace);
    if (have < each)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "conv2d: workspace has %zu elements, need >= %zu, one image", have, each);
    /* Kernels count within a chunk in 32 bits: a larger workspace than that serves no further. */
    const size_t plane = times(z->h, z->w);
    const size_t widest = z->pixels > plane ? z->pixels : plane;
    const size_t most = CAPS_REQUIRE_LIMIT / times(widest, z->c > z->m ? z->c : z->m);
    if (most < 1 || z->taps > CAPS_REQUIRE_LIMIT || z->h > CAPS_REQUIRE_LIMIT / 2 ||
        z->w > CAPS_REQUIRE_LIMIT / 2 || z->stride > CAPS_REQUIRE_LIMIT / 2)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "conv2d: an image of %zux%zux%zu to %zux%zux%zu, need fewer than 2^31 elements", z->c,
            z->h, z->w, z->m, z->oh, z->ow);
    size_t fit = have / each < most ? have / each : most;
    z->chunk = equal_chunk(z->b, fit < z->b ? fit : z->b);
done:
    return status;
}

/* ---- pieces --------------------------------------------------------------------------------- */

/* The two matrices of a chunk of n images, as views of the workspace. */
static void carve(const struct sizes *z, const caps_tensor *workspace, size_t n,
    caps_tensor *columns, caps_tensor *product)
{
    const size_t width = n * z->pixels;
    *columns = caps_tensor_wrap(
        workspace->buffer, workspace->offset, CAPS_F32, 2, (size_t[]){z->taps, width});
    *product = caps_tensor_wrap(workspace->buffer, workspace->offset + z->taps * width, CAPS_F32, 2,
        (size_t[]){z->m, width});
}

/* The product's layout, [M, n*P], as planes of [n, M, P]. */
static caps_planes planes_of(const struct sizes *z, size_t n)
{
    return (caps_planes){n, z->m, z->pixels, z->pixels, n * z->pixels};
}

static caps_status to_columns(caps_runtime *rt, const struct sizes *z, const caps_tensor *columns,
    const caps_tensor *x, size_t n, caps_error *err)
{
    const caps_arg args[] = {CAPS_ARG_TENSOR(columns), CAPS_ARG_TENSOR(x), CAPS_ARG_UINT(z->c),
        CAPS_ARG_UINT(z->h), CAPS_ARG_UINT(z->w), CAPS_ARG_UINT(z->kh), CAPS_ARG_UINT(z->kw),
        CAPS_ARG_UINT(z->oh), CAPS_ARG_UINT(z->ow), CAPS_ARG_UINT(z->stride),
        CAPS_ARG_UINT(z->padding), CAPS_ARG_UINT(n)};
    if (caps_is_gpu(rt)) {
        const size_t group = caps_group_size(rt, GROUP);
        return caps_launch(rt, "conv2d_to_columns", args, 12, 2,
            (size_t[]){caps_round_up(n * z->pixels, group), z->taps}, (size_t[]){group, 1}, err);
    }
    return caps_launch(
        rt, "conv2d_to_columns", args, 11, 2, (size_t[]){z->c * z->kh, n}, NULL, err);
}

static caps_status from_columns(caps_runtime *rt, const struct sizes *z, const caps_tensor *dx,
    const caps_tensor *columns, size_t n, caps_error *err)
{
    const caps_arg args[] = {CAPS_ARG_TENSOR(dx), CAPS_ARG_TENSOR(columns), CAPS_ARG_UINT(z->c),
        CAPS_ARG_UINT(z->h), CAPS_ARG_UINT(z->w), CAPS_ARG_UINT(z->kh), CAPS_ARG_UINT(z->kw),
        CAPS_ARG_UINT(z->oh), CAPS_ARG_UINT(z->ow), CAPS_ARG_UINT(z->stride),
        CAPS_ARG_UINT(z->padding), CAPS_ARG_UINT(n)};
    if (caps_is_gpu(rt)) {
        const size_t group = caps_group_size(rt, GROUP);
        return caps_launch(rt, "conv2d_from_columns", args, 12, 2,
            (size_t[]){caps_round_up(z->h * z->w, group), n * z->c}, (size_t[]){group, 1}, err);
    }
    return caps_launch(rt, "conv2d_from_columns", args, 11, 2, (size_t[]){z->c, n}, NULL, err);
}

/* ---- the matrix products -------------------------------------------------------------------- */

/* product [M, width] = w [M, F] columns [F, width] */
static caps_gemm_shape forward_shape(size_t m, size_t taps, size_t width)
{
    return (caps_gemm_shape){.m = m,
        .n = width,
        .k = taps,
        .lda = taps,
        .ldb = width,
        .ldc = width,
        .alpha = 1,
        .count = 1};
}

/* dw [M, F] = product [M, width] columns [F, width]^T */
static caps_gemm_shape weight_shape(size_t m, size_t taps, size_t width)
{
    return (caps_gemm_shape){.trans_b = true,
        .m = m,
        .n = taps,
        .k = width,
        .lda = width,
        .ldb = width,
        .ldc = taps,
        .alpha = 1,
        .count = 1};
}

/* columns [F, width] = w [M, F]^T product [M, width] */
static caps_gemm_shape input_shape(size_t m, size_t taps, size_t width)
{
    return (caps_gemm_shape){.trans_a = true,
        .m = taps,
        .n = width,
        .k = m,
        .lda = taps,
        .ldb = width,
        .ldc = width,
        .alpha = 1,
        .count = 1};
}

size_t caps_conv2d_scratch(const caps_runtime *rt, const size_t x_shape[4], const size_t w_shape[4],
    const caps_conv2d *conv, size_t workspace, bool backward)
{
    const size_t oh = caps_conv2d_output(x_shape[2], w_shape[2], conv->stride, conv->padding);
    const size_t ow = caps_conv2d_output(x_shape[3], w_shape[3], conv->stride, conv->padding);
    const size_t m = w_shape[0], taps = times(times(w_shape[1], w_shape[2]), w_shape[3]);
    const size_t pixels = times(oh, ow), each = per_image(taps, m, pixels);
    if (each == 0 || each > workspace || x_shape[0] == 0)
        return 0;
    const size_t fit = workspace / each < x_shape[0] ? workspace / each : x_shape[0];
    size_t most = 0;
    /* Smaller batches come too, and a smaller product may take more, where a larger one is cut. */
    for (size_t n = fit; n > 0; n -= caps_div_up(n, CAPS_SCRATCH_SIZES)) {
        const size_t width = n * pixels;
        const caps_gemm_shape shapes[] = {forward_shape(m, taps, width),
            weight_shape(m, taps, width), input_shape(m, taps, width)};
        for (size_t i = 0; i < (backward ? 3 : 1); i++) {
            const size_t bytes = caps_gemm_scratch(rt, &shapes[i]);
            most = bytes > most ? bytes : most;
        }
    }
    return most;
}

/* ---- the operation -------------------------------------------------------------------------- */

caps_status caps_conv2d_forward(caps_runtime *rt, const caps_tensor *y, const caps_tensor *x,
    const caps_tensor *w, const caps_tensor *bias, const caps_conv2d *conv,
    const caps_tensor *workspace, caps_error *err)
{
    struct sizes z;
    caps_status status = CAPS_OK;
    CAPS_TRY(check(&z, x, w, conv, workspace, err));
    CAPS_TRY(
        caps_require_tensor("conv2d", "y", y, CAPS_F32, 4, (size_t[]){z.b, z.m, z.oh, z.ow}, err));
    if (bias)
        CAPS_TRY(caps_require_tensor("conv2d", "bias", bias, CAPS_F32, 1, &z.m, err));
    for (size_t first = 0; first < z.b; first += z.chunk) {
        const size_t n = z.chunk < z.b - first ? z.chunk : z.b - first, width = n * z.pixels;
        const caps_tensor xn = caps_tensor_rows(x, first, n), yn = caps_tensor_rows(y, first, n);
        const caps_planes planes = planes_of(&z, n);
        caps_tensor columns, product;
        carve(&z, workspace, n, &columns, &product);
        CAPS_TRY(to_columns(rt, &z, &columns, &xn, n, err));
        const caps_gemm_shape shape = forward_shape(z.m, z.taps, width);
        CAPS_TRY(caps_gemm(rt, &product, w, &columns, &shape, err));
        CAPS_TRY(caps_bias_act_apply(rt, &yn, &product, &planes, bias, conv->act, err));
    }
done:
    return status;
}

caps_status caps_conv2d_backward(caps_runtime *rt, const caps_tensor *dx, const caps_tensor *dw,
    const caps_tensor *dbias, const caps_tensor *dy, const caps_tensor *y, const caps_tensor *x,
    const caps_tensor *w, const caps_conv2d *conv, const caps_tensor *workspace, caps_error *err)
{
    struct sizes z;
    caps_status status = CAPS_OK;
    CAPS_TRY(check(&z, x, w, conv, workspace, err));
    const size_t outputs[] = {z.b, z.m, z.oh, z.ow};
    CAPS_TRY(caps_require_tensor("conv2d", "dy", dy, CAPS_F32, 4, outputs, err));
    if (conv->act != CAPS_ACT_NONE)
        CAPS_TRY(caps_require_tensor("conv2d", "y", y, CAPS_F32, 4, outputs, err));
    CAPS_TRY(caps_require_tensor("conv2d", "dw", dw, CAPS_F32, 4, w->shape, err));
    if (dx)
        CAPS_TRY(caps_require_tensor("conv2d", "dx", dx, CAPS_F32, 4, x->shape, err));
    if (dbias) {
        CAPS_TRY(caps_require_tensor("conv2d", "dbias", dbias, CAPS_F32, 1, &z.m, err));
        CAPS_TRY(caps_bias_act_sum(rt, dbias, dy, y, conv->act, z.b, z.m, z.pixels, err));
    }
    for (size_t first = 0; first < z.b; first += z.chunk) {
        const size_t n = z.chunk < z.b - first ? z.chunk : z.b - first, width = n * z.pixels;
        const caps_tensor xn = caps_tensor_rows(x, first, n);
        const caps_tensor dyn = caps_tensor_rows(dy, first, n);
        const caps_planes planes = planes_of(&z, n);
        caps_tensor yn = dyn, columns, product;
        if (conv->act != CAPS_ACT_NONE)
            yn = caps_tensor_rows(y, first, n);
        carve(&z, workspace, n, &columns, &product);
        CAPS_TRY(caps_bias_act_slope(rt, &product, &planes, &dyn, &yn, conv->act, err));
        CAPS_TRY(to_columns(rt, &z, &columns, &xn, n, err));
        caps_gemm_shape weights = weight_shape(z.m, z.taps, width);
        weights.beta = first == 0 ? 0 : 1;
        CAPS_TRY(caps_gemm(rt, dw, &product, &columns, &weights, err));
        if (!dx)
            continue;
        const caps_gemm_shape inputs = input_shape(z.m, z.taps, width);
        CAPS_TRY(caps_gemm(rt, &columns, w, &product, &inputs, err));
        const caps_tensor dxn = caps_tensor_rows(dx, first, n);
        CAPS_TRY(from_columns(rt, &z, &dxn, &columns, n, err));
    }
done:
    return status;
}
