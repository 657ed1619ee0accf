/* cases_blocks.c: cases of batch normalisation, depthwise convolution, max pooling, attention
 * and self-routing. */
#include <math.h>
#include <stdio.h>

#include "cases.h"

#include "fail.h"
#include "ref.h"

#define draw     caps_selftest_draw
#define zeros    caps_selftest_zeros
#define put      caps_selftest_put
#define compare  caps_selftest_compare
#define FORWARD  CAPS_SELFTEST_FORWARD
#define BACKWARD CAPS_SELFTEST_BACKWARD
#define EPSILON  CAPS_BATCH_NORM_EPSILON

/* ---- batch_norm: b, c, s -------------------------------------------------------------------- */

static caps_status batch_norm(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], c = z[1], s = z[2], all = b * c * s;
    const size_t room = caps_batch_norm_workspace(b, c);
    snprintf(t->shape, sizeof t->shape, "B=%zu C=%zu S=%zu", b, c, s);
    double *x = draw(t, all, -1, 3), *dy = draw(t, all, -1, 1), *weight = draw(t, c, 0.5, 2);
    double *bias = draw(t, c, -1, 1), *mean = zeros(t, c), *var = zeros(t, c);
    double *y = zeros(t, all), *dx = zeros(t, all), *dw = zeros(t, c), *db = zeros(t, c);
    const caps_tensor *tx = put(t, x, 3, z), *tdy = put(t, dy, 3, z), *tw = put(t, weight, 1, &c);
    const caps_tensor *tb = put(t, bias, 1, &c), *tm = put(t, NULL, 1, &c);
    const caps_tensor *tv = put(t, NULL, 1, &c), *ty = put(t, NULL, 3, z);
    const caps_tensor *tdx = put(t, NULL, 3, z), *tdw = put(t, NULL, 1, &c);
    const caps_tensor *tdb = put(t, NULL, 1, &c), *work = put(t, NULL, 1, &room);
    caps_status status;
    CAPS_TRY(t->status);
    caps_ref_batch_norm_statistics(mean, var, x, b, c, s);
    caps_ref_batch_norm_forward(y, x, mean, var, weight, bias, (double)EPSILON, b, c, s);
    caps_ref_batch_norm_backward(
        dx, dw, db, dy, x, mean, var, weight, true, (double)EPSILON, b, c, s);
    CAPS_TRY(caps_batch_norm_statistics(t->rt, tm, tv, tx, work, err));
    CAPS_TRY(compare(t, FORWARD, tm, mean, err));
    CAPS_TRY(compare(t, FORWARD, tv, var, err));
    CAPS_TRY(caps_batch_norm_forward(t->rt, ty, tx, tm, tv, tw, tb, EPSILON, err));
    CAPS_TRY(compare(t, FORWARD, ty, y, err));
    CAPS_TRY(caps_batch_norm_backward(
        t->rt, tdx, tdw, tdb, tdy, tx, tm, tv, tw, true, EPSILON, work, err));
    CAPS_TRY(compare(t, BACKWARD, tdx, dx, err));
    CAPS_TRY(compare(t, BACKWARD, tdw, dw, err));
    CAPS_TRY(compare(t, BACKWARD, tdb, db, err));
    CAPS_TRY(caps_batch_norm_update(t->rt, tv, tm, CAPS_BATCH_NORM_MOMENTUM, err));
    for (size_t i = 0; i < c; i++)
        var[i] += 0.01 * (mean[i] - var[i]);
    CAPS_TRY(compare(t, FORWARD, tv, var, err));
done:
    return status;
}

/* ---- depthwise: b, c, h, w, kernel, stride -------------------------------------------------- */

static caps_status depthwise(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], c = z[1], h = z[2], w = z[3], k = z[4], stride = z[5];
    const size_t ys[] = {
        b, c, caps_conv2d_output(h, k, stride, 0), caps_conv2d_output(w, k, stride, 0)};
    const size_t ws[] = {c, 1, k, k}, nx = b * c * h * w, nw = c * k * k;
    const size_t ny = b * c * ys[2] * ys[3];
    snprintf(
        t->shape, sizeof t->shape, "B=%zu C=%zu %zux%zu k=%zu stride=%zu", b, c, h, w, k, stride);
    double *x = draw(t, nx, -1, 1), *weight = draw(t, nw, -1, 1), *bias = draw(t, c, -1, 1);
    double *dy = draw(t, ny, -1, 1), *y = zeros(t, ny), *dx = zeros(t, nx), *dw = zeros(t, nw);
    double *db = zeros(t, c);
    const caps_tensor *tx = put(t, x, 4, z), *tw = put(t, weight, 4, ws);
    const caps_tensor *tb = put(t, bias, 1, &c), *tdy = put(t, dy, 4, ys);
    const caps_tensor *ty = put(t, NULL, 4, ys), *tdx = put(t, NULL, 4, z);
    const caps_tensor *tdw = put(t, NULL, 4, ws), *tdb = put(t, NULL, 1, &c);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_depthwise_forward(t->rt, ty, tx, tw, tb, stride, err));
    caps_ref_depthwise_forward(y, x, weight, bias, b, c, h, w, k, stride);
    CAPS_TRY(compare(t, FORWARD, ty, y, err));
    CAPS_TRY(caps_depthwise_backward(t->rt, tdx, tdw, tdb, tdy, tx, tw, stride, err));
    caps_ref_depthwise_backward(dx, dw, db, dy, x, weight, b, c, h, w, k, stride);
    CAPS_TRY(compare(t, BACKWARD, tdx, dx, err));
    CAPS_TRY(compare(t, BACKWARD, tdw, dw, err));
    CAPS_TRY(compare(t, BACKWARD, tdb, db, err));
done:
    return status;
}

/* ---- max_pool: b, c, h, w, kernel, stride --------------------------------------------------- */

static caps_status max_pool(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], c = z[1], h = z[2], w = z[3], k = z[4], stride = z[5];
    const size_t ys[] = {
        b, c, caps_conv2d_output(h, k, stride, 0), caps_conv2d_output(w, k, stride, 0)};
    const size_t nx = b * c * h * w, ny = b * c * ys[2] * ys[3];
    snprintf(
        t->shape, sizeof t->shape, "B=%zu C=%zu %zux%zu k=%zu stride=%zu", b, c, h, w, k, stride);
    double *x = draw(t, nx, -2, 2), *dy = draw(t, ny, -1, 1);
    double *y = zeros(t, ny), *dx = zeros(t, nx);
    for (size_t i = 0; x && i < nx; i++) /* several greatest ones in most windows */
        x[i] = floor(x[i]);
    const caps_tensor *tx = put(t, x, 4, z), *tdy = put(t, dy, 4, ys);
    const caps_tensor *ty = put(t, NULL, 4, ys), *tdx = put(t, NULL, 4, z);
    caps_tensor *place = put(t, NULL, 4, ys);
    caps_status status;
    CAPS_TRY(t->status);
    place->dtype = CAPS_I32;
    CAPS_TRY(caps_max_pool_forward(t->rt, ty, place, tx, k, stride, err));
    caps_ref_max_pool_forward(y, x, b * c, h, w, k, stride);
    CAPS_TRY(compare(t, FORWARD, ty, y, err));
    CAPS_TRY(caps_max_pool_backward(t->rt, tdx, tdy, place, k, stride, err));
    caps_ref_max_pool_backward(dx, dy, x, b * c, h, w, k, stride);
    CAPS_TRY(compare(t, BACKWARD, tdx, dx, err));
done:
    return status;
}

/* ---- attention: b, i, j, d, k, squash ------------------------------------------------------- */

typedef struct attention_need {
    double *votes, *v, *c, *total, *s, *dvotes, *du, *dw, *dprior;
} attention_need;

static void attention_reference(const attention_need *n, const double *u, const double *w,
    const double *prior, const double *dv, const caps_attention *a)
{
    const bool exponential = a->squash == CAPS_SQUASH_EXP;
    caps_ref_votes_forward(n->votes, u, w, a->b, a->i, a->j, a->d, a->k);
    caps_ref_attention_forward(
        n->v, n->c, n->total, n->s, n->votes, prior, exponential, a->b, a->i, a->j, a->d);
    caps_ref_attention_backward(n->dvotes, n->dprior, dv, n->c, n->total, n->s, n->votes, prior,
        exponential, a->b, a->i, a->j, a->d);
    caps_ref_votes_backward(n->du, n->dw, n->dvotes, u, w, a->b, a->i, a->j, a->d, a->k);
}

static caps_status attention(caps_selftest *t, const size_t *z, caps_error *err)
{
    const caps_attention a = {z[0], z[1], z[2], z[3], z[4], (caps_squash)z[5]};
    const size_t us[] = {a.b, a.i, a.k}, ws[] = {a.i, a.j, a.d, a.k}, vs[] = {a.b, a.j, a.d};
    const size_t cs[] = {a.b, a.i, a.j}, nu = a.b * a.i * a.k, nw = a.i * a.j * a.d * a.k;
    const size_t nv = a.b * a.j * a.d, pairs = a.i * a.j, all = a.b * pairs * a.d;
    const size_t room = caps_attention_workspace(&a, true);
    snprintf(t->shape, sizeof t->shape, "B=%zu I=%zu J=%zu D=%zu K=%zu", a.b, a.i, a.j, a.d, a.k);
    double *u = draw(t, nu, -1, 1), *w = draw(t, nw, -0.5, 0.5), *prior = draw(t, pairs, -1, 1);
    double *dv = draw(t, nv, -1, 1);
    const attention_need n = {zeros(t, all), zeros(t, nv), zeros(t, a.b * pairs), zeros(t, nv),
        zeros(t, nv), zeros(t, all), zeros(t, nu), zeros(t, nw), zeros(t, pairs)};
    const caps_tensor *tu = put(t, u, 3, us), *tw = put(t, w, 4, ws);
    const caps_tensor *tp = put(t, prior, 2, cs + 1), *tdv = put(t, dv, 3, vs);
    const caps_tensor *tv = put(t, NULL, 3, vs), *tdu = put(t, NULL, 3, us);
    const caps_tensor *tdw = put(t, NULL, 4, ws), *tdp = put(t, NULL, 2, cs + 1);
    const caps_tensor *work = put(t, NULL, 1, &room);
    caps_attention_state state = {*put(t, NULL, 3, cs), *put(t, NULL, 3, vs), *put(t, NULL, 3, vs)};
    caps_status status;
    CAPS_TRY(t->status);
    attention_reference(&n, u, w, prior, dv, &a);
    CAPS_TRY(caps_attention_forward(t->rt, tv, &state, tu, tw, tp, &a, work, err));
    CAPS_TRY(compare(t, FORWARD, tv, n.v, err));
    CAPS_TRY(compare(t, FORWARD, &state.couplings, n.c, err));
    CAPS_TRY(caps_attention_backward(t->rt, tdu, tdw, tdp, tdv, &state, tu, tw, tp, &a, work, err));
    CAPS_TRY(compare(t, BACKWARD, tdu, n.du, err));
    CAPS_TRY(compare(t, BACKWARD, tdw, n.dw, err));
    CAPS_TRY(compare(t, BACKWARD, tdp, n.dprior, err));
done:
    return status;
}

/* ---- self-routing: b, i, j, d, k ------------------------------------------------------------ */

static caps_status self_routing(caps_selftest *t, const size_t *z, caps_error *err)
{
    const caps_self_routing a = {z[0], z[1], z[2], z[3], z[4]};
    const size_t us[] = {a.b, a.i, a.k}, ws[] = {a.i, a.j, a.d, a.k}, vs[] = {a.b, a.j, a.d};
    const size_t cs[] = {a.b, a.i, a.j}, rs[] = {a.i, a.j, a.k}, nu = a.b * a.i * a.k;
    const size_t nr = a.i * a.j * a.k, nw = nr * a.d, nv = a.b * a.j * a.d;
    const size_t room = caps_self_routing_workspace(&a, true);
    snprintf(t->shape, sizeof t->shape, "B=%zu I=%zu J=%zu D=%zu K=%zu", a.b, a.i, a.j, a.d, a.k);
    double *u = draw(t, nu, -1, 1), *w = draw(t, nw, -0.5, 0.5), *route = draw(t, nr, -1, 1);
    double *dv = draw(t, nv, -1, 1), *v = zeros(t, nv), *c = zeros(t, a.b * a.i * a.j);
    double *du = zeros(t, nu), *dw = zeros(t, nw), *dr = zeros(t, nr);
    const caps_tensor *tu = put(t, u, 3, us), *tw = put(t, w, 4, ws), *tr = put(t, route, 3, rs);
    const caps_tensor *tdv = put(t, dv, 3, vs), *tv = put(t, NULL, 3, vs);
    const caps_tensor *tdu = put(t, NULL, 3, us), *tdw = put(t, NULL, 4, ws);
    const caps_tensor *tdr = put(t, NULL, 3, rs), *work = put(t, NULL, 1, &room);
    caps_self_routing_state state = {*put(t, NULL, 3, cs), *put(t, NULL, 2, cs),
        *put(t, NULL, 3, vs), *put(t, NULL, 2, vs), *put(t, NULL, 1, &a.b)};
    caps_status status;
    CAPS_TRY(t->status);
    caps_ref_self_routing_forward(v, c, u, w, route, a.b, a.i, a.j, a.d, a.k);
    caps_ref_self_routing_backward(du, dw, dr, dv, u, w, route, a.b, a.i, a.j, a.d, a.k);
    CAPS_TRY(caps_self_routing_forward(t->rt, tv, &state, tu, tw, tr, &a, work, err));
    CAPS_TRY(compare(t, FORWARD, tv, v, err));
    CAPS_TRY(compare(t, FORWARD, &state.couplings, c, err));
    CAPS_TRY(
        caps_self_routing_backward(t->rt, tdu, tdw, tdr, tdv, &state, tu, tw, tr, &a, work, err));
    CAPS_TRY(compare(t, BACKWARD, tdu, du, err));
    CAPS_TRY(compare(t, BACKWARD, tdw, dw, err));
    CAPS_TRY(compare(t, BACKWARD, tdr, dr, err));
done:
    return status;
}

const caps_selftest_case caps_selftest_blocks[] = {
    {"batch_norm", batch_norm, CAPS_SMALL, {3, 5, 7}},
    {"batch_norm", batch_norm, CAPS_SMALL, {17, 2, 1}},
    {"batch_norm", batch_norm, CAPS_LARGE, {33, 12, 1037}},
    {"depthwise", depthwise, CAPS_SMALL, {2, 3, 7, 5, 3, 1}},
    {"depthwise", depthwise, CAPS_SMALL, {3, 2, 9, 8, 4, 2}},
    {"depthwise", depthwise, CAPS_LARGE, {5, 128, 9, 9, 9, 1}},
    {"max_pool", max_pool, CAPS_SMALL, {2, 3, 7, 5, 2, 2}},
    {"max_pool", max_pool, CAPS_SMALL, {1, 2, 9, 8, 3, 2}},
    {"max_pool", max_pool, CAPS_LARGE, {5, 33, 28, 27, 2, 2}},
    {"attention", attention, CAPS_SMALL, {3, 5, 4, 7, 2, CAPS_SQUASH_EXP}},
    {"attention", attention, CAPS_SMALL, {2, 7, 3, 18, 5, CAPS_SQUASH_PAPER}},
    {"attention", attention, CAPS_LARGE, {21, 16, 10, 16, 8, CAPS_SQUASH_EXP}},
    {"self_routing", self_routing, CAPS_SMALL, {3, 5, 4, 7, 2}},
    {"self_routing", self_routing, CAPS_SMALL, {2, 7, 3, 18, 5}},
    {"self_routing", self_routing, CAPS_LARGE, {21, 45, 10, 16, 8}},
    {0},
};
