/* cases_scores.c: cases of softmax, sigmoid and the cross entropies of logits, of dropout and of
 * scaling. */
#include <stdio.h>

#include "cases.h"

#include "fail.h"
#include "ref.h"

#define draw       caps_selftest_draw
#define zeros      caps_selftest_zeros
#define put        caps_selftest_put
#define labels_of  caps_selftest_labels
#define put_labels caps_selftest_put_labels
#define compare    caps_selftest_compare
#define FORWARD    CAPS_SELFTEST_FORWARD
#define BACKWARD   CAPS_SELFTEST_BACKWARD

/* ---- softmax, sigmoid, cross entropy: b, j; binary cross entropy: b, j, l -------------------- */

static caps_status softmax(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], j = z[1], shape[] = {b, j};
    snprintf(t->shape, sizeof t->shape, "B=%zu J=%zu", b, j);
    double *x = draw(t, b * j, -9, 9), *need = zeros(t, b * j);
    const caps_tensor *tx = put(t, x, 2, shape), *tp = put(t, NULL, 2, shape);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_softmax_forward(t->rt, tp, tx, err));
    caps_ref_softmax_forward(need, x, b, j);
    CAPS_TRY(compare(t, FORWARD, tp, need, err));
done:
    return status;
}

static caps_status cross_entropy(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], j = z[1], shape[] = {b, j};
    snprintf(t->shape, sizeof t->shape, "B=%zu J=%zu", b, j);
    double *x = draw(t, b * j, -9, 9), *p = zeros(t, b * j), *loss = zeros(t, b);
    double *dx = zeros(t, b * j);
    const int32_t *labels = labels_of(t, b, j);
    const caps_tensor *tx = put(t, x, 2, shape), *tp = put(t, NULL, 2, shape);
    const caps_tensor *tlabels = put_labels(t, labels, b), *tloss = put(t, NULL, 1, &b);
    const caps_tensor *tdx = put(t, NULL, 2, shape);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_softmax_forward(t->rt, tp, tx, err));
    CAPS_TRY(caps_cross_entropy_forward(t->rt, tloss, tx, tlabels, err));
    caps_ref_softmax_forward(p, x, b, j);
    caps_ref_cross_entropy_forward(loss, x, labels, b, j);
    CAPS_TRY(compare(t, FORWARD, tloss, loss, err));
    CAPS_TRY(caps_cross_entropy_backward(t->rt, tdx, tp, tlabels, 0.125f, err));
    caps_ref_cross_entropy_backward(dx, p, labels, 0.125, b, j);
    CAPS_TRY(compare(t, BACKWARD, tdx, dx, err));
done:
    return status;
}

static caps_status sigmoid(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], j = z[1], shape[] = {b, j};
    snprintf(t->shape, sizeof t->shape, "B=%zu J=%zu", b, j);
    double *x = draw(t, b * j, -9, 9), *need = zeros(t, b * j);
    const caps_tensor *tx = put(t, x, 2, shape), *tp = put(t, NULL, 2, shape);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_sigmoid_forward(t->rt, tp, tx, err));
    caps_ref_sigmoid_forward(need, x, b * j);
    CAPS_TRY(compare(t, FORWARD, tp, need, err));
done:
    return status;
}

static caps_status binary_cross_entropy(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], j = z[1], l = z[2], shape[] = {b, j};
    snprintf(t->shape, sizeof t->shape, "B=%zu J=%zu L=%zu", b, j, l);
    double *x = draw(t, b * j, -9, 9), *loss = zeros(t, b);
    double *dx = zeros(t, b * j);
    const int32_t *labels = labels_of(t, b * l, j);
    const caps_tensor *tx = put(t, x, 2, shape);
    const caps_tensor *flat = put_labels(t, labels, b * l), *tloss = put(t, NULL, 1, &b);
    const caps_tensor *tdx = put(t, NULL, 2, shape);
    caps_status status;
    CAPS_TRY(t->status);
    const caps_tensor tl = caps_tensor_reshape(flat, l > 1 ? 2 : 1, (size_t[]){b, l});
    CAPS_TRY(caps_binary_cross_entropy_forward(t->rt, tloss, tx, &tl, err));
    caps_ref_binary_cross_entropy_forward(loss, x, labels, b, j, l);
    CAPS_TRY(compare(t, FORWARD, tloss, loss, err));
    CAPS_TRY(caps_binary_cross_entropy_backward(t->rt, tdx, tx, &tl, 0.125f, err));
    caps_ref_binary_cross_entropy_backward(dx, x, labels, 0.125, b, j, l);
    CAPS_TRY(compare(t, BACKWARD, tdx, dx, err));
done:
    return status;
}

/* ---- dropout, scale: n ---------------------------------------------------------------------- */

static caps_status dropout(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t n = z[0];
    const caps_dropout d = {.rate = 0.3f,
        .seed = 0x123456789abcdefu,
        .step = 77,
        .layer = 3,
        .first = ((uint64_t)1 << 32) + 5};
    const double rate = (double)d.rate;
    snprintf(t->shape, sizeof t->shape, "n=%zu rate=0.3", n);
    double *x = draw(t, n, -1, 1), *need = zeros(t, n);
    const caps_tensor *tx = put(t, x, 1, &n), *ty = put(t, NULL, 1, &n);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_dropout_forward(t->rt, ty, tx, &d, err));
    caps_ref_dropout(need, x, rate, d.seed, d.step, d.layer, d.first, n);
    CAPS_TRY(compare(t, FORWARD, ty, need, err));
    CAPS_TRY(caps_dropout_backward(t->rt, tx, tx, &d, err));
    CAPS_TRY(compare(t, BACKWARD, tx, need, err));
done:
    return status;
}

static caps_status scale(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t n = z[0];
    snprintf(t->shape, sizeof t->shape, "n=%zu", n);
    double *x = draw(t, n, -1, 1);
    const caps_tensor *tx = put(t, x, 1, &n), *ty = put(t, NULL, 1, &n);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_scale(t->rt, ty, tx, 0.375f, err));
    for (size_t i = 0; i < n; i++)
        x[i] *= 0.375;
    CAPS_TRY(compare(t, FORWARD, ty, x, err));
done:
    return status;
}

const caps_selftest_case caps_selftest_scores[] = {
    {"softmax", softmax, CAPS_SMALL, {3, 5}},
    {"softmax", softmax, CAPS_LARGE, {129, 11}},
    {"cross_entropy", cross_entropy, CAPS_SMALL, {3, 5}},
    {"cross_entropy", cross_entropy, CAPS_LARGE, {129, 11}},
    {"sigmoid", sigmoid, CAPS_SMALL, {3, 5}},
    {"sigmoid", sigmoid, CAPS_LARGE, {129, 11}},
    {"binary_cross_entropy", binary_cross_entropy, CAPS_SMALL, {3, 5, 2}},
    {"binary_cross_entropy", binary_cross_entropy, CAPS_LARGE, {129, 11, 1}},
    {"dropout", dropout, CAPS_SMALL, {37}},
    {"dropout", dropout, CAPS_LARGE, {10007}},
    {"scale", scale, CAPS_SMALL, {37}},
    {"scale", scale, CAPS_LARGE, {100003}},
    {0},
};
