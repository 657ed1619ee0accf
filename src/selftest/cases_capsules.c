/* cases_capsules.c: cases of regrouping, squash, votes, routing, losses, mask and totals. */
#include <stdio.h>

#include "cases.h"

#include "fail.h"
#include "ref.h"
#include "trust.h"

#define draw       caps_selftest_draw
#define zeros      caps_selftest_zeros
#define put        caps_selftest_put
#define labels_of  caps_selftest_labels
#define put_labels caps_selftest_put_labels
#define compare    caps_selftest_compare
#define FORWARD    CAPS_SELFTEST_FORWARD
#define BACKWARD   CAPS_SELFTEST_BACKWARD
#define FULL       CAPS_ROUTING_GRAD_FULL
#define LAST       CAPS_ROUTING_GRAD_LAST

/* ---- group: b, t, k, h, w ------------------------------------------------------------------- */

static caps_status group(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], types = z[1], k = z[2], h = z[3], w = z[4], p = h * w;
    const size_t n = b * types * k * p, zs[] = {b, types * k, h, w}, us[] = {b, types * p, k};
    snprintf(t->shape, sizeof t->shape, "B=%zu T=%zu K=%zu %zux%zu", b, types, k, h, w);
    double *x = draw(t, n, -1, 1), *du = draw(t, n, -1, 1), *u = zeros(t, n), *dx = zeros(t, n);
    const caps_tensor *tx = put(t, x, 4, zs), *tdu = put(t, du, 3, us);
    const caps_tensor *tu = put(t, NULL, 3, us), *tdx = put(t, NULL, 4, zs);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_group_forward(t->rt, tu, tx, err));
    caps_ref_group_forward(u, x, b, types, k, p);
    CAPS_TRY(compare(t, FORWARD, tu, u, err));
    CAPS_TRY(caps_group_backward(t->rt, tdx, tdu, err));
    caps_ref_group_backward(dx, du, b, types, k, p);
    CAPS_TRY(compare(t, BACKWARD, tdx, dx, err));
done:
    return status;
}

/* ---- squash: n, k, kind --------------------------------------------------------------------- */

static caps_status squash(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t n = z[0], k = z[1], all = n * k, shape[] = {n, k};
    const caps_squash kind = (caps_squash)z[2];
    snprintf(t->shape, sizeof t->shape, "N=%zu K=%zu%s", n, k, z[2] ? " exp" : "");
    double *s = draw(t, all, -1.5, 1.5), *dv = draw(t, all, -1, 1);
    double *v = zeros(t, all), *ds = zeros(t, all);
    for (size_t x = 0; s && x < k; x++)
        s[x] = 0; /* a capsule of length 0 */
    const caps_tensor *ts = put(t, s, 2, shape), *tdv = put(t, dv, 2, shape);
    const caps_tensor *tv = put(t, NULL, 2, shape), *tds = put(t, NULL, 2, shape);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_squash_forward(t->rt, tv, ts, kind, err));
    caps_ref_squash_forward(v, s, kind == CAPS_SQUASH_EXP, n, k);
    CAPS_TRY(compare(t, FORWARD, tv, v, err));
    CAPS_TRY(caps_squash_backward(t->rt, tds, tdv, ts, kind, err));
    caps_ref_squash_backward(ds, dv, s, kind == CAPS_SQUASH_EXP, n, k);
    CAPS_TRY(compare(t, BACKWARD, tds, ds, err));
done:
    return status;
}

/* ---- votes: b, i, j, d, k ------------------------------------------------------------------- */

static caps_status votes(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], i = z[1], j = z[2], d = z[3], k = z[4];
    const size_t us[] = {b, i, k}, ws[] = {i, j, d, k}, vs[] = {b, i, j, d};
    const size_t nu = b * i * k, nw = i * j * d * k, nv = b * i * j * d;
    snprintf(t->shape, sizeof t->shape, "B=%zu I=%zu J=%zu D=%zu K=%zu", b, i, j, d, k);
    double *u = draw(t, nu, -1, 1), *w = draw(t, nw, -0.5, 0.5), *dvotes = draw(t, nv, -1, 1);
    double *out = zeros(t, nv), *du = zeros(t, nu), *dw = zeros(t, nw);
    const caps_tensor *tu = put(t, u, 3, us), *tw = put(t, w, 4, ws), *tdv = put(t, dvotes, 4, vs);
    const caps_tensor *tv = put(t, NULL, 4, vs), *tdu = put(t, NULL, 3, us);
    const caps_tensor *tdw = put(t, NULL, 4, ws);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_votes_forward(t->rt, tv, tu, tw, err));
    caps_ref_votes_forward(out, u, w, b, i, j, d, k);
    CAPS_TRY(compare(t, FORWARD, tv, out, err));
    CAPS_TRY(caps_votes_backward(t->rt, tdu, tdw, tdv, tu, tw, err));
    caps_ref_votes_backward(du, dw, dvotes, u, w, b, i, j, d, k);
    CAPS_TRY(compare(t, BACKWARD, tdu, du, err));
    CAPS_TRY(compare(t, BACKWARD, tdw, dw, err));
done:
    return status;
}

static const char *const normalization_text[] = {"", " leaky", " max-min"}; /* by CAPS_REF_.. */

/* ---- routing: b, i, j, d, iterations, routing_grad, bias, normalization, squash ------------- */

static caps_status routing(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], i = z[1], j = z[2], d = z[3], r = z[4];
    const caps_routing how = {r, (caps_routing_grad)z[5], z[7] == CAPS_REF_LEAKY, (caps_squash)z[8],
        (caps_normalization)(z[7] == CAPS_REF_MAX_MIN)};
    const int by = (int)z[7];
    const bool exponential = how.squash == CAPS_SQUASH_EXP;
    const bool full = how.grad == CAPS_ROUTING_GRAD_FULL, biased = z[6] != 0;
    const size_t votes_shape[] = {b, i, j, d}, v_shape[] = {b, j, d}, bias_shape[] = {j, d};
    const size_t c_shape[] = {r, b, i, j}, s_shape[] = {r, b, j, d};
    const size_t nu = b * i * j * d, nv = b * j * d, room = caps_routing_scratch(b, i, j, d, &how);
    snprintf(t->shape, sizeof t->shape, "B=%zu I=%zu J=%zu D=%zu r=%zu %s%s%s%s", b, i, j, d, r,
        full ? "full" : "last", biased ? " bias" : "", normalization_text[by],
        exponential ? " exp" : "");
    if (caps_trust_refusal(t->rt, "routing", "stored"))
        return CAPS_OK;
    double *u = draw(t, nu, -0.4, 0.4), *bias = draw(t, j * d, -0.3, 0.3), *dv = draw(t, nv, -1, 1);
    double *c = zeros(t, r * b * i * j), *s = zeros(t, r * nv), *v = zeros(t, r * nv);
    double *last = zeros(t, nv), *dvotes = zeros(t, nu), *dbias = zeros(t, j * d);
    const caps_tensor *tu = put(t, u, 4, votes_shape), *tb = put(t, bias, 2, bias_shape);
    const caps_tensor *tdv = put(t, dv, 3, v_shape), *tv = put(t, NULL, 3, v_shape);
    const caps_tensor *tdu = put(t, NULL, 4, votes_shape), *tdb = put(t, NULL, 2, bias_shape);
    caps_routing_state state = {.couplings = *put(t, NULL, 4, c_shape),
        .s = *put(t, NULL, 4, s_shape),
        .v = *put(t, NULL, 4, s_shape),
        .scratch = *put(t, NULL, 1, &room)};
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_routing_forward(t->rt, tv, &state, tu, biased ? tb : NULL, &how, err));
    caps_ref_routing_forward(
        last, c, s, v, u, biased ? bias : NULL, by, exponential, b, i, j, d, r);
    CAPS_TRY(compare(t, FORWARD, tv, last, err));
    CAPS_TRY(compare(t, FORWARD, &state.couplings, c, err));
    CAPS_TRY(caps_routing_backward(t->rt, tdu, biased ? tdb : NULL, tdv, &state, tu, &how, err));
    caps_ref_routing_backward(
        dvotes, biased ? dbias : NULL, dv, c, s, v, u, by, full, exponential, b, i, j, d, r);
    CAPS_TRY(compare(t, BACKWARD, tdu, dvotes, err));
    if (biased)
        CAPS_TRY(compare(t, BACKWARD, tdb, dbias, err));
done:
    return status;
}

/* ---- class capsules: b, i, j, d, k, iterations, routing_grad, bias, variant, normalization,
 * squash -------------------------------------------------------------------------------------- */

static caps_status class_caps(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], i = z[1], j = z[2], d = z[3], k = z[4], r = z[5];
    const caps_class_caps how = {b, i, j, d, k,
        {r, (caps_routing_grad)z[6], z[9] == CAPS_REF_LEAKY, (caps_squash)z[10],
            (caps_normalization)(z[9] == CAPS_REF_MAX_MIN)},
        (caps_routing_algorithm)z[8]};
    const int by = (int)z[9];
    const bool exponential = how.routing.squash == CAPS_SQUASH_EXP;
    const bool full = how.routing.grad == CAPS_ROUTING_GRAD_FULL, biased = z[7] != 0;
    const size_t us[] = {b, i, k}, ws[] = {i, j, d, k}, vs[] = {b, j, d}, bs[] = {j, d};
    const size_t c_shape[] = {r, b, i, j}, s_shape[] = {r, b, j, d};
    const size_t nu = b * i * k, nw = i * j * d * k, nv = b * j * d, votes = b * i * j * d;
    const caps_class_caps_workspace room = caps_class_caps_workspace_of(t->rt, &how, true);
    snprintf(t->shape, sizeof t->shape, "B=%zu I=%zu J=%zu D=%zu K=%zu r=%zu %s%s%s%s", b, i, j, d,
        k, r, full ? "full" : "last", biased ? " bias" : "", normalization_text[by],
        exponential ? " exp" : "");
    snprintf(t->algorithm, sizeof t->algorithm, "%s", caps_routing_algorithm_name(how.algorithm));
    if (caps_selftest_skips(t, "routing"))
        return CAPS_OK;
    double *u = draw(t, nu, -1, 1), *w = draw(t, nw, -0.3, 0.3), *bias = draw(t, j * d, -0.3, 0.3);
    double *dv = draw(t, nv, -1, 1), *u_hat = zeros(t, votes), *du_hat = zeros(t, votes);
    double *c = zeros(t, r * b * i * j), *s = zeros(t, r * nv), *v = zeros(t, r * nv);
    double *last = zeros(t, nv), *du = zeros(t, nu), *dw = zeros(t, nw), *db = zeros(t, j * d);
    const caps_tensor *tu = put(t, u, 3, us), *tw = put(t, w, 4, ws), *tb = put(t, bias, 2, bs);
    const caps_tensor *tdv = put(t, dv, 3, vs), *tv = put(t, NULL, 3, vs);
    const caps_tensor *tdu = put(t, NULL, 3, us), *tdw = put(t, NULL, 4, ws);
    const caps_tensor *tdb = put(t, NULL, 2, bs), *workspace = put(t, NULL, 1, &room.workspace);
    caps_class_caps_state state = {.couplings = *put(t, NULL, 4, c_shape),
        .s = *put(t, NULL, 4, s_shape),
        .v = *put(t, NULL, 4, s_shape)};
    if (room.votes)
        state.votes = *put(t, NULL, 1, &room.votes);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_class_caps_forward(
        t->rt, tv, &state, tu, tw, biased ? tb : NULL, &how, workspace, err));
    caps_ref_votes_forward(u_hat, u, w, b, i, j, d, k);
    caps_ref_routing_forward(
        last, c, s, v, u_hat, biased ? bias : NULL, by, exponential, b, i, j, d, r);
    CAPS_TRY(compare(t, FORWARD, tv, last, err));
    CAPS_TRY(compare(t, FORWARD, &state.couplings, c, err));
    CAPS_TRY(caps_class_caps_backward(
        t->rt, tdu, tdw, biased ? tdb : NULL, tdv, &state, tu, tw, &how, workspace, err));
    caps_ref_routing_backward(du_hat, db, dv, c, s, v, u_hat, by, full, exponential, b, i, j, d, r);
    caps_ref_votes_backward(du, dw, du_hat, u, w, b, i, j, d, k);
    CAPS_TRY(compare(t, BACKWARD, tdu, du, err));
    CAPS_TRY(compare(t, BACKWARD, tdw, dw, err));
    if (biased)
        CAPS_TRY(compare(t, BACKWARD, tdb, db, err));
done:
    return status;
}

/* ---- lengths, margin, argmax: b, j, d, l ----------------------------------------------------- */

static caps_status lengths(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], j = z[1], d = z[2], vs[] = {b, j, d}, ls[] = {b, j};
    snprintf(t->shape, sizeof t->shape, "B=%zu J=%zu D=%zu", b, j, d);
    double *v = draw(t, b * j * d, -0.4, 0.4), *need = zeros(t, b * j);
    const caps_tensor *tv = put(t, v, 3, vs), *tl = put(t, NULL, 2, ls);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_lengths_forward(t->rt, tl, tv, err));
    caps_ref_lengths_forward(need, v, b, j, d);
    CAPS_TRY(compare(t, FORWARD, tl, need, err));
done:
    return status;
}

/* Labels of l classes an image, and their tensor: [b], or [b, l]. Two of one image may be the
 * same. */
static const caps_tensor *several(
    caps_selftest *t, int32_t **labels, size_t b, size_t l, size_t classes)
{
    *labels = labels_of(t, b * l, classes);
    caps_tensor *flat = put_labels(t, *labels, b * l);
    if (l > 1 && t->status == CAPS_OK) { /* the same tensor, which stays the case's to release */
        flat->ndim = 2;
        flat->shape[0] = b;
        flat->shape[1] = l;
    }
    return flat;
}

static caps_status margin(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], j = z[1], d = z[2], l = z[3], vs[] = {b, j, d}, ls[] = {b, j};
    const caps_margin m = CAPS_MARGIN_DEFAULT;
    const double plus = (double)m.positive, minus = (double)m.negative, down = (double)m.down;
    snprintf(t->shape, sizeof t->shape, "B=%zu J=%zu D=%zu L=%zu", b, j, d, l);
    const double most = 0.9 / (double)d;
    double *v = draw(t, b * j * d, -2 * most, 2 * most), *length = zeros(t, b * j);
    double *loss = zeros(t, b), *dv = zeros(t, b * j * d);
    int32_t *labels;
    const caps_tensor *tv = put(t, v, 3, vs), *tl = put(t, NULL, 2, ls);
    const caps_tensor *tlabels = several(t, &labels, b, l, j), *tloss = put(t, NULL, 1, &b);
    const caps_tensor *tdv = put(t, NULL, 3, vs);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_lengths_forward(t->rt, tl, tv, err));
    CAPS_TRY(caps_margin_forward(t->rt, tloss, tl, tlabels, &m, err));
    caps_ref_lengths_forward(length, v, b, j, d);
    caps_ref_margin_forward(loss, length, labels, plus, minus, down, b, j, l);
    CAPS_TRY(compare(t, FORWARD, tloss, loss, err));
    CAPS_TRY(caps_margin_backward(t->rt, tdv, tv, tl, tlabels, &m, 0.125f, err));
    caps_ref_margin_backward(dv, v, length, labels, plus, minus, down, 0.125, b, j, d, l);
    CAPS_TRY(compare(t, BACKWARD, tdv, dv, err));
done:
    return status;
}

static double *as_doubles(caps_selftest *t, const int32_t *values, size_t n)
{
    double *x = zeros(t, n);
    for (size_t i = 0; x && i < n; i++)
        x[i] = (double)values[i];
    return x;
}

/* The longest capsules, then the same in the order of labels. */
static caps_status argmax(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], j = z[1], l = z[2], ls[] = {b, j};
    snprintf(t->shape, sizeof t->shape, "B=%zu J=%zu L=%zu", b, j, l);
    double *length = draw(t, b * j, 0, 1);
    int32_t *best, *labels, *matched;
    const caps_tensor *tl = put(t, length, 2, ls), *tbest = several(t, &best, b, l, j);
    const caps_tensor *tlabels = several(t, &labels, b, l, j);
    const caps_tensor *tmatched = several(t, &matched, b, l, j);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_argmax(t->rt, tbest, tl, err));
    caps_ref_argmax(best, length, b, j, l);
    double *need = as_doubles(t, best, b * l);
    CAPS_TRY(t->status);
    CAPS_TRY(compare(t, FORWARD, tbest, need, err));
    CAPS_TRY(caps_match(t->rt, tmatched, tbest, tlabels, err));
    caps_ref_match(matched, best, labels, b, l);
    need = as_doubles(t, matched, b * l);
    CAPS_TRY(t->status);
    CAPS_TRY(compare(t, FORWARD, tmatched, need, err));
done:
    return status;
}

/* ---- mask: b, j, d, l ----------------------------------------------------------------------- */

static caps_status mask(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], j = z[1], d = z[2], l = z[3], n = b * j * d;
    const size_t vs[] = {b, j, d}, ms[] = {b * l, j * d};
    snprintf(t->shape, sizeof t->shape, "B=%zu J=%zu D=%zu L=%zu", b, j, d, l);
    double *v = draw(t, n, -1, 1), *dmasked = draw(t, n * l, -1, 1), *dv = draw(t, n, -1, 1);
    double *masked = zeros(t, n * l);
    int32_t *chosen;
    const caps_tensor *tv = put(t, v, 3, vs), *tchosen = several(t, &chosen, b, l, j);
    const caps_tensor *tdm = put(t, dmasked, 2, ms), *tm = put(t, NULL, 2, ms);
    const caps_tensor *tdv = put(t, dv, 3, vs);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_mask_forward(t->rt, tm, tv, tchosen, err));
    caps_ref_mask_forward(masked, v, chosen, b, j, d, l);
    CAPS_TRY(compare(t, FORWARD, tm, masked, err));
    CAPS_TRY(caps_mask_backward(t->rt, tdv, tdm, tchosen, err));
    caps_ref_mask_backward(dv, dmasked, chosen, b, j, d, l);
    CAPS_TRY(compare(t, BACKWARD, tdv, dv, err));
done:
    return status;
}

/* ---- sse: b, p; totals: b ------------------------------------------------------------------- */

static caps_status sse(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], p = z[1], shape[] = {b, p};
    snprintf(t->shape, sizeof t->shape, "B=%zu P=%zu", b, p);
    double *y = draw(t, b * p, 0, 1), *x = draw(t, b * p, 0, 1), *need = zeros(t, b);
    double *dy = zeros(t, b * p);
    const caps_tensor *ty = put(t, y, 2, shape), *tx = put(t, x, 2, shape);
    const caps_tensor *ts = put(t, NULL, 1, &b), *tdy = put(t, NULL, 2, shape);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_sse_forward(t->rt, ts, ty, tx, err));
    caps_ref_sse_forward(need, y, x, b, p);
    CAPS_TRY(compare(t, FORWARD, ts, need, err));
    CAPS_TRY(caps_sse_backward(t->rt, tdy, ty, tx, 0.125f, err));
    caps_ref_sse_backward(dy, y, x, 0.125, b, p);
    CAPS_TRY(compare(t, BACKWARD, tdy, dy, err));
done:
    return status;
}

static caps_status totals(caps_selftest *t, const size_t *z, caps_error *err)
{
    const size_t b = z[0], three = 3;
    snprintf(t->shape, sizeof t->shape, "B=%zu", b);
    double *loss = draw(t, b, 0, 1), *squares = draw(t, b, 0, 50), *need = draw(t, 3, 0, 9);
    const int32_t *best = labels_of(t, b, 3), *labels = labels_of(t, b, 3);
    const caps_tensor *tt = put(t, need, 1, &three), *tloss = put(t, loss, 1, &b);
    const caps_tensor *ts = put(t, squares, 1, &b), *tbest = put_labels(t, best, b);
    const caps_tensor *tlabels = put_labels(t, labels, b);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_totals_add(t->rt, tt, tloss, ts, tbest, tlabels, err));
    for (size_t i = 0; i < b; i++) {
        need[0] += loss[i];
        need[1] += squares[i];
        need[2] += best[i] != labels[i];
    }
    CAPS_TRY(compare(t, FORWARD, tt, need, err));
done:
    return status;
}

const caps_selftest_case caps_selftest_capsules[] = {
    {"group", group, CAPS_SMALL, {2, 3, 5, 4, 7}},
    {"group", group, CAPS_LARGE, {11, 32, 8, 6, 5}},
    {"squash", squash, CAPS_SMALL, {13, 5}},
    {"squash", squash, CAPS_SMALL, {7, 19}},
    {"squash", squash, CAPS_LARGE, {1153, 8}},
    {"squash", squash, CAPS_SMALL, {5, 11, CAPS_SQUASH_EXP}},
    {"squash", squash, CAPS_LARGE, {257, 9, CAPS_SQUASH_EXP}},
    {"votes", votes, CAPS_SMALL, {3, 11, 5, 7, 4}},
    {"votes", votes, CAPS_LARGE, {21, 67, 10, 16, 8}},
    {"votes", votes, CAPS_LARGE, {9, 37, 11, 19, 13}},
    {"routing", routing, CAPS_SMALL, {2, 35, 4, 5, 1, CAPS_ROUTING_GRAD_FULL, 0}},
    {"routing", routing, CAPS_SMALL, {2, 35, 4, 5, 3, CAPS_ROUTING_GRAD_FULL, 1}},
    {"routing", routing, CAPS_SMALL, {2, 35, 4, 5, 2, CAPS_ROUTING_GRAD_LAST, 0}},
    {"routing", routing, CAPS_LARGE, {13, 145, 10, 16, 3, CAPS_ROUTING_GRAD_FULL, 0}},
    {"routing", routing, CAPS_LARGE, {13, 145, 10, 16, 3, CAPS_ROUTING_GRAD_LAST, 1}},
    {"routing", routing, CAPS_SMALL, {2, 35, 4, 5, 3, CAPS_ROUTING_GRAD_FULL, 1, 1}},
    {"routing", routing, CAPS_SMALL, {3, 9, 1, 7, 4, CAPS_ROUTING_GRAD_LAST, 0, 1}},
    {"routing", routing, CAPS_LARGE, {13, 145, 10, 16, 3, CAPS_ROUTING_GRAD_FULL, 0, 1}},
    {"routing", routing, CAPS_LARGE, {5, 70, 11, 19, 5, CAPS_ROUTING_GRAD_FULL, 1}},
    {"routing", routing, CAPS_SMALL,
        {2, 35, 4, 5, 3, CAPS_ROUTING_GRAD_FULL, 1, 0, CAPS_SQUASH_EXP}},
    {"routing", routing, CAPS_SMALL, {2, 35, 4, 5, 3, FULL, 1, CAPS_REF_MAX_MIN}},
    {"routing", routing, CAPS_SMALL, {3, 9, 7, 6, 4, LAST, 0, CAPS_REF_MAX_MIN, CAPS_SQUASH_EXP}},
    {"routing", routing, CAPS_LARGE, {13, 145, 10, 16, 3, FULL, 0, CAPS_REF_MAX_MIN}},
    {"class_caps", class_caps, CAPS_SMALL, {2, 11, 4, 5, 3, 2, FULL, 1, CAPS_ROUTING_STORED}},
    {"class_caps", class_caps, CAPS_SMALL, {17, 5, 3, 5, 3, 3, FULL, 1, CAPS_ROUTING_FUSED}},
    {"class_caps", class_caps, CAPS_SMALL, {3, 11, 2, 4, 5, 2, LAST, 0, CAPS_ROUTING_FUSED}},
    {"class_caps", class_caps, CAPS_SMALL, {2, 11, 4, 5, 3, 2, LAST, 0, CAPS_ROUTING_STORED, 1}},
    {"class_caps", class_caps, CAPS_SMALL, {17, 5, 3, 5, 3, 3, FULL, 1, CAPS_ROUTING_FUSED, 1}},
    {"class_caps", class_caps, CAPS_LARGE, {13, 145, 10, 16, 8, 3, FULL, 0, CAPS_ROUTING_STORED}},
    {"class_caps", class_caps, CAPS_LARGE, {13, 145, 10, 16, 8, 3, FULL, 0, CAPS_ROUTING_FUSED}},
    {"class_caps", class_caps, CAPS_LARGE, {13, 145, 10, 16, 8, 3, FULL, 0, CAPS_ROUTING_FUSED, 1}},
    {"class_caps", class_caps, CAPS_LARGE, {33, 67, 11, 19, 13, 5, FULL, 1, CAPS_ROUTING_FUSED}},
    {"class_caps", class_caps, CAPS_LARGE, {33, 67, 10, 16, 8, 3, LAST, 1, CAPS_ROUTING_FUSED}},
    {"class_caps", class_caps, CAPS_LARGE,
        {17, 35, 7, 9, 5, 3, FULL, 1, CAPS_ROUTING_FUSED, 0, CAPS_SQUASH_EXP}},
    {"lengths", lengths, CAPS_SMALL, {3, 5, 7}},
    {"lengths", lengths, CAPS_LARGE, {101, 10, 16}},
    {"margin", margin, CAPS_SMALL, {3, 5, 7, 1}},
    {"margin", margin, CAPS_SMALL, {4, 5, 3, 2}},
    {"margin", margin, CAPS_LARGE, {101, 10, 16, 1}},
    {"argmax", argmax, CAPS_SMALL, {7, 5, 1}},
    {"argmax", argmax, CAPS_SMALL, {6, 5, 2}},
    {"argmax", argmax, CAPS_LARGE, {101, 10, 3}},
    {"mask", mask, CAPS_SMALL, {3, 5, 7, 1}},
    {"mask", mask, CAPS_SMALL, {3, 5, 7, 2}},
    {"mask", mask, CAPS_LARGE, {101, 10, 16, 1}},
    {"sse", sse, CAPS_SMALL, {3, 37}},
    {"sse", sse, CAPS_LARGE, {101, 784}},
    {"totals", totals, CAPS_SMALL, {7}},
    {"totals", totals, CAPS_LARGE, {333}},
    {0},
};
