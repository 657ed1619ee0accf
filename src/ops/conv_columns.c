/* conv_columns.c: convolution as columns and a matrix product, in chunks of the batch.
 *
 * For a chunk of n images, P = OH*OW pixels, F = C*kh*kw taps, the workspace holds
 *     columns [F, n P] and product [M, n P].
 * forward:  product = w columns(x); y = act(product + bias), scattered to [n, M, P].
 * backward: product = dy act'(y), gathered; dw += product columns(x)^T; columns = w^T product, and
 * dx gathers its contributions from them. Kernels: cl/conv_{cpu,gpu}.cl, and those of bias_act and
 * gemm. */
#include "bias_act.h"
#include "conv.h"
#include "gemm.h"
#include "require.h"
#include "fail.h"
#include "launch.h"

enum { GROUP = 64 }; /* the GPU family's work-group */

/* ---- pieces --------------------------------------------------------------------------------- */

/* The two matrices of a chunk of n images, as views of the workspace. */
static void carve(const caps_conv_sizes *z, const caps_tensor *workspace, size_t n,
    caps_tensor *columns, caps_tensor *product)
{
    const size_t width = n * z->pixels;
    *columns = caps_tensor_wrap(
        workspace->buffer, workspace->offset, CAPS_F32, 2, (size_t[]){z->taps, width});
    *product = caps_tensor_wrap(workspace->buffer, workspace->offset + z->taps * width, CAPS_F32, 2,
        (size_t[]){z->m, width});
}

/* The product's layout, [M, n*P], as planes of [n, M, P]. */
static caps_planes planes_of(const caps_conv_sizes *z, size_t n)
{
    return (caps_planes){n, z->m, z->pixels, z->pixels, n * z->pixels};
}

static caps_status to_columns(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_tensor *columns, const caps_tensor *x, size_t n, caps_error *err)
{
    const size_t group = caps_group_size(rt, GROUP), blocks = caps_div_up(n * z->pixels, group);
    const caps_arg args[] = {CAPS_ARG_TENSOR(columns), CAPS_ARG_TENSOR(x), CAPS_ARG_UINT(z->c),
        CAPS_ARG_UINT(z->h), CAPS_ARG_UINT(z->w), CAPS_ARG_UINT(z->kh), CAPS_ARG_UINT(z->kw),
        CAPS_ARG_UINT(z->oh), CAPS_ARG_UINT(z->ow), CAPS_ARG_UINT(z->stride),
        CAPS_ARG_UINT(z->padding), CAPS_ARG_UINT(n), CAPS_ARG_UINT(blocks)};
    if (caps_is_gpu(rt))
        return caps_launch(rt, "conv2d_to_columns", CAPS_ARGS(args), 1,
            (size_t[]){blocks * z->c * group}, &group, err);
    return caps_launch(
        rt, "conv2d_to_columns", args, 11, 2, (size_t[]){z->c * z->kh, n}, NULL, err);
}

static caps_status from_columns(caps_runtime *rt, const caps_conv_sizes *z, const caps_tensor *dx,
    const caps_tensor *columns, size_t n, caps_error *err)
{
    const size_t group = caps_group_size(rt, GROUP), blocks = caps_div_up(z->h * z->w, group);
    const caps_arg args[] = {CAPS_ARG_TENSOR(dx), CAPS_ARG_TENSOR(columns), CAPS_ARG_UINT(z->c),
        CAPS_ARG_UINT(z->h), CAPS_ARG_UINT(z->w), CAPS_ARG_UINT(z->kh), CAPS_ARG_UINT(z->kw),
        CAPS_ARG_UINT(z->oh), CAPS_ARG_UINT(z->ow), CAPS_ARG_UINT(z->stride),
        CAPS_ARG_UINT(z->padding), CAPS_ARG_UINT(n), CAPS_ARG_UINT(blocks)};
    if (caps_is_gpu(rt))
        return caps_launch(rt, "conv2d_from_columns", CAPS_ARGS(args), 1,
            (size_t[]){blocks * n * z->c * group}, &group, err);
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

/* ---- the algorithm -------------------------------------------------------------------------- */

/* Kernels count within a chunk in 32 bits. */
static size_t most_at_once(const caps_conv_sizes *z)
{
    const size_t plane = caps_conv_times(z->h, z->w);
    const size_t widest = z->pixels > plane ? z->pixels : plane;
    return CAPS_REQUIRE_LIMIT / caps_conv_times(widest, z->c > z->m ? z->c : z->m);
}

static const char *columns_unsupported(
    const caps_runtime *rt, const caps_conv_sizes *z, bool needs_input_gradient)
{
    (void)rt;
    (void)needs_input_gradient;
    if (most_at_once(z) < 1 || z->taps > CAPS_REQUIRE_LIMIT || z->h > CAPS_REQUIRE_LIMIT / 2 ||
        z->w > CAPS_REQUIRE_LIMIT / 2 || z->stride > CAPS_REQUIRE_LIMIT / 2)
        return "need fewer than 2^31 elements an image";
    return NULL;
}

static size_t columns_workspace_of(
    const caps_runtime *rt, const caps_conv_sizes *z, size_t n, bool backward)
{
    (void)rt;
    (void)backward;
    if (n > 1 && n > most_at_once(z))
        return SIZE_MAX;
    return caps_conv_times(n, caps_conv_times(caps_conv_plus(z->taps, z->m), z->pixels));
}

static size_t scratch_of(const caps_runtime *rt, const caps_conv_sizes *z, size_t n, bool backward)
{
    const size_t width = n * z->pixels;
    const caps_gemm_shape shapes[] = {forward_shape(z->m, z->taps, width),
        weight_shape(z->m, z->taps, width), input_shape(z->m, z->taps, width)};
    size_t most = 0;
    for (size_t i = 0; i < (backward ? 3 : 1); i++) {
        const size_t bytes = caps_gemm_scratch(rt, &shapes[i]);
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* One of the chunks of a layer's plan: its products are recorded. */
static void columns_plan(const caps_runtime *rt, const caps_conv_sizes *z, size_t n, bool backward,
    bool needs_input_gradient)
{
    const size_t width = n * z->pixels;
    const caps_gemm_shape product = forward_shape(z->m, z->taps, width);
    const caps_gemm_shape weights = weight_shape(z->m, z->taps, width);
    const caps_gemm_shape inputs = input_shape(z->m, z->taps, width);
    (void)caps_gemm_plan(rt, &product);
    if (backward)
        (void)caps_gemm_plan(rt, &weights);
    if (backward && needs_input_gradient)
        (void)caps_gemm_plan(rt, &inputs);
}

/* Columns are written, packed and read; the product is written and copied. */
static double columns_cost(const caps_runtime *rt, const caps_conv_sizes *z)
{
    const double byte = caps_conv_byte(rt);
    const double pixels = (double)z->b * (double)z->pixels, taps = (double)z->taps;
    const double m = (double)z->m;
    return 1.1 * m * taps * pixels + byte * 4 * (3 * taps * pixels + 2 * m * taps + 3 * m * pixels);
}

static caps_status columns_forward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_conv_cached cached,
    caps_error *err)
{
    caps_status status = CAPS_OK;
    (void)cached;
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first, width = n * z->pixels;
        const caps_tensor xn = caps_tensor_rows(t->x, first, n);
        const caps_tensor yn = caps_tensor_rows(t->y, first, n);
        const caps_planes planes = planes_of(z, n);
        caps_tensor columns, product;
        carve(z, workspace, n, &columns, &product);
        CAPS_TRY(to_columns(rt, z, &columns, &xn, n, err));
        const caps_gemm_shape shape = forward_shape(z->m, z->taps, width);
        CAPS_TRY(caps_gemm(rt, &product, t->w, &columns, &shape, err));
        CAPS_TRY(caps_bias_act_apply(rt, &yn, &product, &planes, t->bias, z->act, err));
    }
done:
    return status;
}

static caps_status columns_backward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_conv_cached cached,
    caps_error *err)
{
    caps_status status = CAPS_OK;
    (void)cached;
    if (t->dbias)
        CAPS_TRY(caps_bias_act_sum(rt, t->dbias, t->dy, t->y, z->act, z->b, z->m, z->pixels, err));
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first, width = n * z->pixels;
        const caps_tensor xn = caps_tensor_rows(t->x, first, n);
        const caps_tensor dyn = caps_tensor_rows(t->dy, first, n);
        const caps_planes planes = planes_of(z, n);
        const caps_tensor yn = caps_conv_activated(z, t, first, n);
        caps_tensor columns, product;
        carve(z, workspace, n, &columns, &product);
        CAPS_TRY(caps_bias_act_gradient(rt, &product, &planes, &dyn, &yn, z->act, err));
        CAPS_TRY(to_columns(rt, z, &columns, &xn, n, err));
        caps_gemm_shape weights = weight_shape(z->m, z->taps, width);
        weights.beta = first == 0 ? 0 : 1;
        CAPS_TRY(caps_gemm(rt, t->dw, &product, &columns, &weights, err));
        if (!t->dx)
            continue;
        const caps_gemm_shape inputs = input_shape(z->m, z->taps, width);
        CAPS_TRY(caps_gemm(rt, &columns, t->w, &product, &inputs, err));
        const caps_tensor dxn = caps_tensor_rows(t->dx, first, n);
        CAPS_TRY(from_columns(rt, z, &dxn, &columns, n, err));
    }
done:
    return status;
}

const caps_conv_implementation caps_conv_columns = {"im2col", columns_unsupported, columns_cost,
    columns_workspace_of, NULL, scratch_of, columns_plan, columns_forward, columns_backward};
