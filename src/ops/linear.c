/* linear.c: y = act(x w^T + bias) and its gradients: matrix products and bias_act. */
#include <capscl/ops.h>

#include "linear.h"
#include "gemm.h"
#include "require.h"
#include "fail.h"
#include "launch.h"

static caps_status linear_check(
    const caps_tensor *t, const char *name, size_t rows, size_t columns, caps_error *err)
{
    return caps_require_tensor("linear", name, t, CAPS_F32, 2, (size_t[]){rows, columns}, err);
}

static caps_status check_channels(
    const caps_tensor *t, const char *name, size_t out, caps_error *err)
{
    return t ? caps_require_tensor("linear", name, t, CAPS_F32, 1, &out, err) : CAPS_OK;
}

static caps_status check_inputs(const caps_tensor *x, const caps_tensor *w, caps_error *err)
{
    caps_status status = CAPS_OK;
    CAPS_TRY(caps_require_source("linear", "x", x, 2, "[B, in]", err));
    CAPS_TRY(caps_require_source("linear", "w", w, 2, "[out, in]", err));
    CAPS_TRY(linear_check(w, "w", w->shape[0], x->shape[1], err));
done:
    return status;
}

/* ---- the matrix products -------------------------------------------------------------------- */

/* y [B, out] = x [B, in] w [out, in]^T */
static caps_gemm_shape forward_shape(size_t b, size_t in, size_t out)
{
    return (caps_gemm_shape){.trans_b = true,
        .m = b,
        .n = out,
        .k = in,
        .lda = in,
        .ldb = in,
        .ldc = out,
        .alpha = 1,
        .count = 1};
}

/* dw [out, in] = dz [B, out]^T x [B, in] */
static caps_gemm_shape weight_shape(size_t b, size_t in, size_t out)
{
    return (caps_gemm_shape){.trans_a = true,
        .m = out,
        .n = in,
        .k = b,
        .lda = out,
        .ldb = in,
        .ldc = in,
        .alpha = 1,
        .count = 1};
}

/* dx [B, in] = dz [B, out] w [out, in] */
static caps_gemm_shape input_shape(size_t b, size_t in, size_t out)
{
    return (caps_gemm_shape){
        .m = b, .n = in, .k = out, .lda = out, .ldb = in, .ldc = in, .alpha = 1, .count = 1};
}

size_t caps_linear_plan(const caps_runtime *rt, size_t b, size_t in, size_t out, bool backward,
    bool needs_input_gradient)
{
    const size_t products = !backward ? 1 : needs_input_gradient ? 3 : 2;
    size_t most = 0;
    for (size_t n = b; n > 0; n -= caps_div_up(n, CAPS_SCRATCH_SIZES)) { /* smaller batches, too */
        const caps_gemm_shape shapes[] = {
            forward_shape(n, in, out), weight_shape(n, in, out), input_shape(n, in, out)};
        for (size_t i = 0; i < products; i++) {
            const size_t bytes =
                n == b ? caps_gemm_plan(rt, &shapes[i]) : caps_gemm_scratch(rt, &shapes[i]);
            most = bytes > most ? bytes : most;
        }
    }
    return most;
}

size_t caps_linear_scratch(const caps_runtime *rt, size_t b, size_t in, size_t out, bool backward)
{
    return caps_linear_plan(rt, b, in, out, backward, backward);
}

/* ---- the operation -------------------------------------------------------------------------- */

caps_status caps_linear_forward(caps_runtime *rt, const caps_tensor *y, const caps_tensor *x,
    const caps_tensor *w, const caps_tensor *bias, caps_activation act, caps_error *err)
{
    caps_status status = CAPS_OK;
    CAPS_TRY(check_inputs(x, w, err));
    const size_t b = x->shape[0], in = x->shape[1], out = w->shape[0];
    CAPS_TRY(linear_check(y, "y", b, out, err));
    CAPS_TRY(check_channels(bias, "bias", out, err));
    const caps_gemm_shape shape = forward_shape(b, in, out);
    const caps_gemm_epilogue epilogue = {.bias = bias, .act = act};
    CAPS_TRY(caps_gemm_finished(rt, y, x, w, &shape, &epilogue, err));
done:
    return status;
}

caps_status caps_linear_backward(caps_runtime *rt, const caps_tensor *dx, const caps_tensor *dw,
    const caps_tensor *dbias, const caps_tensor *dz, const caps_tensor *dy, const caps_tensor *y,
    const caps_tensor *x, const caps_tensor *w, caps_activation act, caps_error *err)
{
    caps_status status = CAPS_OK;
    CAPS_TRY(check_inputs(x, w, err));
    const size_t b = x->shape[0], in = x->shape[1], out = w->shape[0];
    CAPS_TRY(linear_check(dy, "dy", b, out, err));
    CAPS_TRY(linear_check(dz, "dz", b, out, err));
    CAPS_TRY(linear_check(dw, "dw", out, in, err));
    if (dx)
        CAPS_TRY(linear_check(dx, "dx", b, in, err));
    CAPS_TRY(check_channels(dbias, "dbias", out, err));
    if (act != CAPS_ACT_NONE)
        CAPS_TRY(linear_check(y, "y", b, out, err));
    CAPS_TRY(caps_bias_act_backward(rt, dz, dbias, dy, y, act, err));
    const caps_gemm_shape weights = weight_shape(b, in, out);
    CAPS_TRY(caps_gemm(rt, dw, dz, x, &weights, err));
    if (dx) {
        const caps_gemm_shape inputs = input_shape(b, in, out);
        CAPS_TRY(caps_gemm(rt, dx, dz, w, &inputs, err));
    }
done:
    return status;
}
