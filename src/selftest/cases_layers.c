/* cases_layers.c: cases of the matrix product, bias and activation, convolution, linear layers
 * and optimizers. */
#include <stdio.h>
#include <stdlib.h>

#include "cases.h"

#include "fail.h"
#include "gemm.h"
#include "launch.h"
#include "ref.h"

#define draw     caps_selftest_draw
#define zeros    caps_selftest_zeros
#define put      caps_selftest_put
#define compare  caps_selftest_compare
#define FORWARD  CAPS_SELFTEST_FORWARD
#define BACKWARD CAPS_SELFTEST_BACKWARD

static const char *const activations[] = {"none", "relu", "sigmoid"};

/* ---- gemm: m, n, k, trans_a, trans_b, count, algorithm -------------------------------------- */

static const caps_gemm_implementation *const methods[] = {
    &caps_gemm_direct, &caps_gemm_packed, &caps_gemm_clblast, &caps_gemm_tiled};

static caps_status gemm(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t m = z[0], n = z[1], k = z[2], count = z[5];
    const bool ta = z[3] != 0, tb = z[4] != 0;
    const caps_gemm_implementation *method = methods[z[6]];
    /* Rows are longer than they need be, products apart. */
    caps_gemm_shape s = {.trans_a = ta,
        .trans_b = tb,
        .m = m,
        .n = n,
        .k = k,
        .lda = (ta ? m : k) + 3,
        .ldb = (tb ? k : n) + 2,
        .ldc = n,
        .alpha = 0.75f,
        .beta = 0.5f,
        .count = count};
    s.stride_a = (ta ? k : m) * s.lda + 1;
    s.stride_b = (tb ? n : k) * s.ldb + 4;
    s.stride_c = m * n;
    const size_t na = s.stride_a * count, nb = s.stride_b * count, nc = s.stride_c * count;
    snprintf(t->shape, sizeof t->shape, "M=%zu N=%zu K=%zu%s%s count=%zu", m, n, k,
        ta ? " A^T" : "", tb ? " B^T" : "", count);
    snprintf(t->algorithm, sizeof t->algorithm, "%s", method->name);
    const size_t extent = na > nb ? (na > nc ? na : nc) : (nb > nc ? nb : nc);
    const bool slow = method == &caps_gemm_clblast && caps_is_simulated(t->rt);
    if (slow || caps_selftest_skips(t, "gemm") || method->unsupported_reason(t->rt, &s, extent))
        return CAPS_OK;
    double *a = draw(t, na, -1, 1), *b = draw(t, nb, -1, 1), *c = draw(t, nc, -1, 1);
    const caps_tensor *ta_ = put(t, a, 1, &na), *tb_ = put(t, b, 1, &nb), *tc = put(t, c, 1, &nc);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(method->run(t->rt, tc, ta_, tb_, &s, NULL, err));
    for (size_t i = 0; i < count; i++)
        caps_ref_gemm(c + i * s.stride_c, a + i * s.stride_a, b + i * s.stride_b, ta, tb, m, n, k,
            s.lda, s.ldb, s.ldc, 0.75, 0.5);
    CAPS_TRY(compare(t, FORWARD, tc, c, err));
done:
    return status;
}

/* ---- bias_act: n, c, s, activation ---------------------------------------------------------- */

static caps_status bias_act(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t n = z[0], c = z[1], s = z[2], all = n * c * s, shape[] = {n, c, s};
    const caps_activation act = (caps_activation)z[3];
    snprintf(t->shape, sizeof t->shape, "N=%zu C=%zu S=%zu %s", n, c, s, activations[act]);
    double *x = draw(t, all, -2, 2), *bias = draw(t, c, -1, 1), *dy = draw(t, all, -1, 1);
    double *y = zeros(t, all), *dx = zeros(t, all), *dbias = zeros(t, c);
    const caps_tensor *tx = put(t, x, 3, shape), *tbias = put(t, bias, 1, &c);
    const caps_tensor *tdy = put(t, dy, 3, shape), *ty = put(t, NULL, 3, shape);
    const caps_tensor *tdx = put(t, NULL, 3, shape), *tdbias = put(t, NULL, 1, &c);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_bias_act_forward(t->rt, ty, tx, tbias, act, err));
    caps_ref_bias_act_forward(y, x, bias, (int)act, n, c, s);
    CAPS_TRY(compare(t, FORWARD, ty, y, err));
    CAPS_TRY(caps_bias_act_backward(t->rt, tdx, tdbias, tdy, ty, act, err));
    caps_ref_bias_act_backward(dx, dbias, dy, y, (int)act, n, c, s);
    CAPS_TRY(compare(t, BACKWARD, tdx, dx, err));
    CAPS_TRY(compare(t, BACKWARD, tdbias, dbias, err));
done:
    return status;
}

/* ---- conv: b, c, h, w, m, kernel, stride, padding, images in a chunk (0: all), algorithm ----- */

/* Can the algorithm serve, and with the gradient of x? */
static bool can_convolve(bool *needs_input_gradient, const caps_selftest *t, const size_t *xs,
    const size_t *ws, const caps_conv2d *p)
{
    caps_conv_algorithm found;
    *needs_input_gradient = caps_conv2d_choose(&found, t->rt, xs, ws, p, true, true, p->algorithm,
                                SIZE_MAX, NULL) == CAPS_OK;
    return *needs_input_gradient || caps_conv2d_choose(&found, t->rt, xs, ws, p, true, false,
                                        p->algorithm, SIZE_MAX, NULL) == CAPS_OK;
}

static caps_status conv(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], c = z[1], h = z[2], w = z[3], m = z[4], k = z[5];
    const caps_conv2d p = {.stride = z[6],
        .padding = z[7],
        .act = CAPS_ACT_RELU,
        .algorithm = z[9] ? (caps_conv_algorithm)z[9] : CAPS_CONV_IM2COL};
    const caps_ref_conv r = {b, c, h, w, m, k, k, z[6], z[7], CAPS_ACT_RELU};
    const size_t oh = caps_conv2d_output(h, k, p.stride, p.padding);
    const size_t ow = caps_conv2d_output(w, k, p.stride, p.padding);
    const size_t xs[] = {b, c, h, w}, ws[] = {m, c, k, k}, ys[] = {b, m, oh, ow};
    const size_t nx = b * c * h * w, nw = m * c * k * k, ny = b * m * oh * ow;
    const size_t one[] = {z[8] ? z[8] : b, c, h, w};
    const size_t room = caps_conv2d_workspace(t->rt, one, ws, &p, true, (size_t)1 << 30);
    snprintf(t->shape, sizeof t->shape, "B=%zu C=%zu %zux%zu M=%zu k=%zu stride=%zu pad=%zu", b, c,
        h, w, m, k, p.stride, p.padding);
    snprintf(t->algorithm, sizeof t->algorithm, "%s", caps_conv_algorithm_name(p.algorithm));
    bool needs_input_gradient;
    if (caps_selftest_skips(t, "conv") || !can_convolve(&needs_input_gradient, t, xs, ws, &p))
        return CAPS_OK;
    double *x = draw(t, nx, -1, 1), *wt = draw(t, nw, -1, 1), *bias = draw(t, m, -1, 1);
    double *dy = draw(t, ny, -1, 1), *y = zeros(t, ny), *dx = zeros(t, nx), *dw = zeros(t, nw);
    double *dbias = zeros(t, m);
    const caps_tensor *tx = put(t, x, 4, xs), *tw = put(t, wt, 4, ws), *tb = put(t, bias, 1, &m);
    const caps_tensor *tdy = put(t, dy, 4, ys), *ty = put(t, NULL, 4, ys);
    const caps_tensor *tdx = needs_input_gradient ? put(t, NULL, 4, xs) : NULL,
                      *tdw = put(t, NULL, 4, ws);
    const caps_tensor *tdb = put(t, NULL, 1, &m), *space = put(t, NULL, 1, &room);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_conv2d_forward(t->rt, ty, tx, tw, tb, &p, space, err));
    caps_ref_conv2d_forward(y, x, wt, bias, &r);
    CAPS_TRY(compare(t, FORWARD, ty, y, err));
    CAPS_TRY(caps_conv2d_backward(t->rt, tdx, tdw, tdb, tdy, ty, tx, tw, &p, space, err));
    caps_ref_conv2d_backward(dx, dw, dbias, dy, y, x, wt, &r);
    if (needs_input_gradient)
        CAPS_TRY(compare(t, BACKWARD, tdx, dx, err));
    CAPS_TRY(compare(t, BACKWARD, tdw, dw, err));
    CAPS_TRY(compare(t, BACKWARD, tdb, dbias, err));
done:
    return status;
}

/* ---- class_weights: b, n, j, l -------------------------------------------------------------- */

static caps_status class_weights(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], n = z[1], j = z[2], l = z[3], shape[] = {b, n}, labels_shape[] = {b, l};
    snprintf(t->shape, sizeof t->shape, "B=%zu N=%zu J=%zu L=%zu", b, n, j, l);
    double *x = draw(t, b * n, -1, 1), *weights = draw(t, j, 0, 3);
    int32_t *labels = caps_selftest_labels(t, b * l, j);
    const caps_tensor *tx = put(t, x, 2, shape), *tweights = put(t, weights, 1, &j);
    const caps_tensor *flat = caps_selftest_put_labels(t, labels, b * l);
    caps_status status;
    CAPS_TRY(t->status);
    const caps_tensor tlabels = caps_tensor_reshape(flat, 2, labels_shape);
    CAPS_TRY(caps_class_weights_apply(t->rt, tx, tweights, &tlabels, err));
    caps_ref_class_weights(x, weights, labels, b, n, j, l);
    CAPS_TRY(compare(t, FORWARD, tx, x, err));
done:
    return status;
}

/* ---- linear: b, in, out, activation --------------------------------------------------------- */

static caps_status linear(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], in = z[1], out = z[2];
    const size_t xs[] = {b, in}, ws[] = {out, in}, ys[] = {b, out};
    const caps_activation act = (caps_activation)z[3];
    const caps_gemm_shape product = {.trans_b = true,
        .m = b,
        .n = out,
        .k = in,
        .lda = in,
        .ldb = in,
        .ldc = out,
        .alpha = 1,
        .count = 1};
    snprintf(t->shape, sizeof t->shape, "B=%zu in=%zu out=%zu %s", b, in, out, activations[act]);
    snprintf(t->algorithm, sizeof t->algorithm, "%s", caps_gemm_algorithm(t->rt, &product));
    double *x = draw(t, b * in, -1, 1), *w = draw(t, out * in, -0.5, 0.5);
    double *bias = draw(t, out, -1, 1), *dy = draw(t, b * out, -1, 1), *y = zeros(t, b * out);
    double *dx = zeros(t, b * in), *dw = zeros(t, out * in), *dbias = zeros(t, out);
    const caps_tensor *tx = put(t, x, 2, xs), *tw = put(t, w, 2, ws), *tb = put(t, bias, 1, &out);
    const caps_tensor *tdy = put(t, dy, 2, ys), *ty = put(t, NULL, 2, ys);
    const caps_tensor *tdz = put(t, NULL, 2, ys), *tdx = put(t, NULL, 2, xs);
    const caps_tensor *tdw = put(t, NULL, 2, ws), *tdb = put(t, NULL, 1, &out);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_linear_forward(t->rt, ty, tx, tw, tb, act, err));
    caps_ref_linear_forward(y, x, w, bias, (int)act, b, in, out);
    CAPS_TRY(compare(t, FORWARD, ty, y, err));
    CAPS_TRY(caps_linear_backward(t->rt, tdx, tdw, tdb, tdz, tdy, ty, tx, tw, act, err));
    caps_ref_linear_backward(dx, dw, dbias, dy, y, x, w, (int)act, b, in, out);
    CAPS_TRY(compare(t, BACKWARD, tdx, dx, err));
    CAPS_TRY(compare(t, BACKWARD, tdw, dw, err));
    CAPS_TRY(compare(t, BACKWARD, tdb, dbias, err));
done:
    return status;
}

/* ---- optimizers: n, steps ------------------------------------------------------------------- */

static caps_status adam(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t n = z[0], one = 1;
    snprintf(t->shape, sizeof t->shape, "N=%zu steps=%zu", n, z[1]);
    double *w = draw(t, n, -1, 1), *m = zeros(t, n), *v = zeros(t, n);
    const int32_t clear = 0;
    const caps_tensor *tw = put(t, w, 1, &n), *tm = put(t, m, 1, &n), *tv = put(t, v, 1, &n);
    const caps_tensor *flag = caps_selftest_put_labels(t, &clear, one);
    caps_status status;
    CAPS_TRY(t->status);
    for (uint64_t step = 1; step <= z[1]; step++) {
        const caps_adam settings = {0.01f, 0.9f, 0.999f, 1e-8f, step};
        const double *g = draw(t, n, -1, 1);
        const caps_tensor *tg = put(t, g, 1, &n);
        CAPS_TRY(t->status);
        CAPS_TRY(caps_adam_step(t->rt, tw, tm, tv, flag, tg, &settings, err));
        caps_ref_adam_step(
            w, m, v, g, (double)0.01f, (double)0.9f, (double)0.999f, (double)1e-8f, step, n);
    }
    CAPS_TRY(compare(t, FORWARD, tw, w, err));
    CAPS_TRY(compare(t, FORWARD, tm, m, err));
    CAPS_TRY(compare(t, FORWARD, tv, v, err));
done:
    return status;
}

static caps_status sgd(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t n = z[0];
    snprintf(t->shape, sizeof t->shape, "N=%zu", n);
    const int32_t clear = 0;
    double *w = draw(t, n, -1, 1);
    const double *g = draw(t, n, -1, 1);
    const caps_tensor *tw = put(t, w, 1, &n), *tg = put(t, g, 1, &n);
    const caps_tensor *flag = caps_selftest_put_labels(t, &clear, 1);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_sgd_step(t->rt, tw, flag, tg, 0.25f, err));
    caps_ref_sgd_step(w, g, 0.25, n);
    CAPS_TRY(compare(t, FORWARD, tw, w, err));
done:
    return status;
}

static caps_status average(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t n = z[0];
    snprintf(t->shape, sizeof t->shape, "N=%zu", n);
    double *a = draw(t, n, -1, 1);
    const double *w = draw(t, n, -1, 1);
    const caps_tensor *ta = put(t, a, 1, &n), *tw = put(t, w, 1, &n);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_average_step(t->rt, ta, tw, 0.125f, err));
    caps_ref_average_step(a, w, 0.125, n);
    CAPS_TRY(compare(t, FORWARD, ta, a, err));
    CAPS_TRY(caps_swap(t->rt, ta, tw, err));
    CAPS_TRY(compare(t, FORWARD, tw, a, err));
    CAPS_TRY(compare(t, FORWARD, ta, w, err));
done:
    return status;
}

const caps_selftest_case caps_selftest_layers[] = {
    {"gemm", gemm, CAPS_SMALL, {5, 7, 9, 0, 0, 1, 0}},
    {"gemm", gemm, CAPS_SMALL, {5, 7, 9, 1, 1, 2, 0}},
    {"gemm", gemm, CAPS_SMALL, {9, 35, 11, 0, 1, 1, 1}},
    {"gemm", gemm, CAPS_SMALL, {13, 17, 6, 1, 0, 3, 1}},
    {"gemm", gemm, CAPS_LARGE, {67, 129, 301, 0, 0, 1, 1}},
    {"gemm", gemm, CAPS_LARGE, {131, 66, 70, 1, 1, 2, 1}},
    {"gemm", gemm, CAPS_LARGE, {67, 129, 301, 0, 1, 1, 2}},
    {"gemm", gemm, CAPS_LARGE, {1037, 131, 263, 1, 0, 1, 1}},
    {"gemm", gemm, CAPS_LARGE, {33, 45, 70, 1, 0, 1, 2}},
    {"gemm", gemm, CAPS_SMALL, {9, 35, 11, 0, 1, 2, 3}},
    {"gemm", gemm, CAPS_SMALL, {13, 17, 26, 1, 0, 1, 3}},
    {"gemm", gemm, CAPS_LARGE, {107, 129, 301, 0, 0, 1, 3}},
    {"gemm", gemm, CAPS_LARGE, {3, 70, 2000, 1, 1, 2, 3}},
    {"gemm", gemm, CAPS_LARGE, {31, 45, 23, 0, 0, 3, 2}},
    {"bias_act", bias_act, CAPS_SMALL, {3, 5, 7, 0}},
    {"bias_act", bias_act, CAPS_SMALL, {2, 5, 19, 1}},
    {"bias_act", bias_act, CAPS_SMALL, {4, 21, 1, 2}},
    {"bias_act", bias_act, CAPS_LARGE, {13, 33, 101, 1}},
    {"conv", conv, CAPS_SMALL, {2, 3, 7, 8, 5, 3, 1, 0, 0}},
    {"conv", conv, CAPS_SMALL, {3, 2, 9, 7, 4, 4, 2, 2, 1}},
    {"conv", conv, CAPS_LARGE, {5, 3, 19, 23, 18, 9, 1, 0, 2}},
    {"conv", conv, CAPS_LARGE, {4, 13, 20, 17, 21, 9, 2, 0, 0}},
    {"conv", conv, CAPS_LARGE, {3, 6, 28, 28, 32, 5, 1, 2, 2}},
    {"conv", conv, CAPS_SMALL, {3, 1, 9, 11, 5, 4, 1, 1, 0, CAPS_CONV_DIRECT}},
    {"conv", conv, CAPS_LARGE, {19, 2, 17, 23, 21, 9, 2, 3, 0, CAPS_CONV_DIRECT}},
    {"conv", conv, CAPS_SMALL, {3, 1, 9, 11, 5, 4, 1, 1, 0, CAPS_CONV_WINOGRAD}},
    {"conv", conv, CAPS_LARGE, {19, 2, 17, 23, 21, 9, 1, 3, 0, CAPS_CONV_WINOGRAD}},
    {"conv", conv, CAPS_SMALL, {3, 2, 9, 11, 5, 3, 1, 1, 0, CAPS_CONV_TOOM_COOK}},
    {"conv", conv, CAPS_LARGE, {19, 5, 17, 23, 21, 9, 2, 3, 0, CAPS_CONV_TOOM_COOK}},
    {"conv", conv, CAPS_LARGE, {3, 7, 31, 37, 33, 5, 1, 2, 0, CAPS_CONV_TOOM_COOK}},
    {"conv", conv, CAPS_SMALL, {3, 2, 9, 11, 5, 3, 2, 1, 0, CAPS_CONV_IMPLICIT}},
    {"conv", conv, CAPS_LARGE, {5, 7, 17, 23, 33, 9, 2, 3, 2, CAPS_CONV_IMPLICIT}},
    {"conv", conv, CAPS_LARGE, {3, 35, 13, 11, 70, 5, 1, 2, 0, CAPS_CONV_IMPLICIT}},
    {"class_weights", class_weights, CAPS_SMALL, {3, 7, 5, 1}},
    {"class_weights", class_weights, CAPS_SMALL, {4, 3, 2, 3}},
    {"class_weights", class_weights, CAPS_LARGE, {101, 160, 10, 1}},
    {"linear", linear, CAPS_SMALL, {3, 7, 5, 1}},
    {"linear", linear, CAPS_SMALL, {4, 6, 9, 2}},
    {"linear", linear, CAPS_LARGE, {37, 161, 67, 1}},
    {"linear", linear, CAPS_LARGE, {37, 61, 199, 2}},
    {"adam", adam, CAPS_SMALL, {37, 3}},
    {"adam", adam, CAPS_LARGE, {100003, 10}},
    {"sgd", sgd, CAPS_SMALL, {37}},
    {"sgd", sgd, CAPS_LARGE, {100003}},
    {"average", average, CAPS_SMALL, {37}},
    {"average", average, CAPS_LARGE, {100003}},
    {0},
};
