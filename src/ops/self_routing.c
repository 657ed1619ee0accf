/* self_routing.c: votes and self-routing; kernels in cl/self_routing.cl, and those of votes and of
 * attention's sum.
 *
 * The votes of some images at a time are computed into the workspace, forward and again backward,
 * where their gradients take their place. The logits are votes of one element, by the routing
 * weights. */
#include <capscl/ops.h>

#include "add.h"
#include "call.h"
#include "fail.h"
#include "require.h"

#define GROUP      64                /* items of a work-group, GPU family */
#define MOST_VOTES ((size_t)1 << 22) /* elements of the votes that there are at once */

/* ---- sizes ---------------------------------------------------------------------------------- */

/* Images whose votes there are at once. */
static size_t chunk_of(const caps_self_routing *n, size_t b)
{
    const size_t image = n->i * n->j * n->d, most = image < MOST_VOTES ? MOST_VOTES / image : 1;
    return b < most ? b : most;
}

/* What the workspace holds, one after the other: where each begins; their sum. */
typedef struct layout {
    size_t votes, links, dpose, dgiven, dactivation, more, dw, all;
} layout;

static layout layout_of(const caps_self_routing *n, size_t b, bool training)
{
    const size_t chunk = chunk_of(n, b), pairs = n->i * n->j;
    layout l = {0};
    l.links = chunk * pairs * n->d; /* forward weights, backward dlogits */
    l.dpose = l.links + b * pairs;
    l.dgiven = l.dpose + (training ? b * n->j * n->d : 0);
    l.dactivation = l.dgiven + (training ? b * n->j : 0);
    l.more = l.dactivation + (training ? b * n->i : 0);
    l.dw = l.more + (training ? b * n->i * n->k : 0);
    l.all = l.dw + (training && chunk < b ? pairs * n->d * n->k : 0);
    return l;
}

size_t caps_self_routing_workspace(const caps_self_routing *shape, bool training)
{
    return layout_of(shape, shape->b, training).all;
}

static caps_tensor part_of(const caps_tensor *t, size_t first, int ndim, const size_t *shape)
{
    return caps_tensor_wrap(t->buffer, t->offset + first, CAPS_F32, ndim, shape);
}

/* ---- checks --------------------------------------------------------------------------------- */

static caps_status require(
    const char *name, const caps_tensor *t, int ndim, const size_t *shape, caps_error *err)
{
    return caps_require_tensor("self_routing", name, t, CAPS_F32, ndim, shape, err);
}

static caps_status check_all(size_t *b, const caps_self_routing *n, const char *v_name,
    const caps_tensor *v, const caps_self_routing_state *state, const caps_tensor *u,
    const caps_tensor *w, const caps_tensor *route, const caps_tensor *workspace, bool training,
    caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_require_source("self_routing", "u", u, 3, "[B, I, K]", err));
    *b = u->shape[0];
    if (*b > n->b)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_ARGUMENT, "self_routing: a batch of %zu, need at most %zu", *b, n->b));
    const size_t capsules[] = {*b, n->j, n->d}, pairs[] = {*b, n->i, n->j};
    CAPS_TRY(require("u", u, 3, (size_t[]){*b, n->i, n->k}, err));
    CAPS_TRY(require("w", w, 4, (size_t[]){n->i, n->j, n->d, n->k}, err));
    CAPS_TRY(require("route", route, 3, (size_t[]){n->i, n->j, n->k}, err));
    CAPS_TRY(require(v_name, v, 3, capsules, err));
    CAPS_TRY(require("couplings", &state->couplings, 3, pairs, err));
    CAPS_TRY(require("activation", &state->activation, 2, pairs, err));
    CAPS_TRY(require("pose", &state->pose, 3, capsules, err));
    CAPS_TRY(require("share", &state->share, 2, capsules, err));
    CAPS_TRY(require("total", &state->total, 1, b, err));
    CAPS_TRY(caps_require_count("self_routing", "B*I", 2, pairs, err));
    CAPS_TRY(caps_require_count("self_routing", "B*J", 2, capsules, err));
    CAPS_TRY(caps_require_count("self_routing", "I*J*D", 3, (size_t[]){n->i, n->j, n->d}, err));
    const size_t need = layout_of(n, *b, training).all;
    const size_t have = workspace && workspace->buffer ? caps_tensor_count(workspace) : 0;
    if (have < need)
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT,
            "self_routing: workspace has %zu elements, need %zu", have, need));
done:
    return status;
}

/* ---- launches ------------------------------------------------------------------------------- */

static caps_status run_rows(
    caps_runtime *rt, const char *kernel, const caps_call *call, size_t rows, caps_error *err)
{
    const size_t local = caps_is_gpu(rt) ? caps_group_size(rt, GROUP) : 1;
    const size_t global = caps_round_up(rows, local);
    return caps_launch(rt, kernel, call->args, call->count, 1, &global, &local, err);
}

/* pose = sum_i weights votes. */
static caps_status run_sum(caps_runtime *rt, const caps_tensor *pose, const caps_tensor *votes,
    const caps_tensor *weights, const caps_self_routing *n, caps_error *err)
{
    caps_call call = {0};
    const size_t local = caps_group_size(rt, GROUP), b = pose->shape[0];
    CAPS_PUT(&call, pose, votes, weights, NULL);
    caps_put_sizes(&call, (size_t[]){n->i, n->j, n->d}, 3);
    if (!caps_is_gpu(rt))
        return caps_launch(
            rt, "attention_sum", call.args, call.count, 2, (size_t[]){n->j, b}, NULL, err);
    return caps_launch(rt, "attention_sum", call.args, call.count, 2,
        (size_t[]){caps_round_up(n->j * n->d, local), b}, (size_t[]){local, 1}, err);
}

/* Logits are votes of one element, [B,I,J,1], and routing weights [I,J,1,K]. */
static caps_tensor as_votes(const caps_tensor *t)
{
    const size_t shape[] = {t->shape[0], t->shape[1], t->shape[2], 1};
    return caps_tensor_wrap(t->buffer, t->offset, CAPS_F32, 4, shape);
}

static caps_tensor as_weight(const caps_tensor *t)
{
    const size_t shape[] = {t->shape[0], t->shape[1], 1, t->shape[2]};
    return caps_tensor_wrap(t->buffer, t->offset, CAPS_F32, 4, shape);
}

static caps_status run_couplings(caps_runtime *rt, const caps_self_routing_state *state,
    const caps_tensor *weights, const caps_tensor *u, const caps_tensor *route,
    const caps_self_routing *n, caps_error *err)
{
    const caps_tensor logits = as_votes(&state->couplings), by = as_weight(route);
    const size_t rows = u->shape[0] * n->i;
    caps_call call = {0};
    caps_status status;
    CAPS_TRY(caps_votes_forward(rt, &logits, u, &by, err));
    CAPS_PUT(&call, &state->couplings, weights, &state->activation, u);
    caps_put_sizes(&call, (size_t[]){rows, n->j, n->k}, 3);
    CAPS_TRY(run_rows(rt, "self_routing_weights", &call, rows, err));
done:
    return status;
}

static caps_status run_output(caps_runtime *rt, const caps_tensor *v,
    const caps_self_routing_state *state, const caps_tensor *weights, const caps_self_routing *n,
    caps_error *err)
{
    const size_t rows = v->shape[0] * n->j;
    caps_call call = {0};
    CAPS_PUT(&call, v, &state->share, &state->total, &state->pose, weights, &state->activation);
    caps_put_sizes(&call, (size_t[]){rows, n->i, n->j, n->d}, 4);
    return run_rows(rt, "self_routing_output", &call, rows, err);
}

/* ---- the operation -------------------------------------------------------------------------- */

caps_status caps_self_routing_forward(caps_runtime *rt, const caps_tensor *v,
    caps_self_routing_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *route, const caps_self_routing *shape, const caps_tensor *workspace,
    caps_error *err)
{
    size_t b;
    caps_status status;
    CAPS_TRY(check_all(&b, shape, "v", v, state, u, w, route, workspace, false, err));
    const layout at = layout_of(shape, b, false);
    const size_t chunk = chunk_of(shape, b);
    const caps_tensor weights = part_of(workspace, at.links, 3, state->couplings.shape);
    CAPS_TRY(run_couplings(rt, state, &weights, u, route, shape, err));
    for (size_t first = 0; first < b; first += chunk) {
        const size_t n = chunk < b - first ? chunk : b - first;
        const size_t all[] = {n, shape->i, shape->j, shape->d};
        const caps_tensor votes = part_of(workspace, at.votes, 4, all);
        const caps_tensor us = caps_tensor_rows(u, first, n);
        const caps_tensor pose = caps_tensor_rows(&state->pose, first, n);
        const caps_tensor by = caps_tensor_rows(&weights, first, n);
        CAPS_TRY(caps_votes_forward(rt, &votes, &us, w, err));
        CAPS_TRY(run_sum(rt, &pose, &votes, &by, shape, err));
    }
    CAPS_TRY(run_output(rt, v, state, &weights, shape, err));
done:
    return status;
}

/* The parts of a backward's workspace. */
typedef struct parts {
    caps_tensor dlogits, dpose, dgiven, dactivation, more;
} parts;

static parts parts_of(const caps_self_routing *n, size_t b, const caps_tensor *workspace)
{
    const layout at = layout_of(n, b, true);
    const size_t pairs[] = {b, n->i, n->j}, capsules[] = {b, n->j, n->d};
    return (parts){part_of(workspace, at.links, 3, pairs),
        part_of(workspace, at.dpose, 3, capsules), part_of(workspace, at.dgiven, 2, capsules),
        part_of(workspace, at.dactivation, 2, pairs),
        part_of(workspace, at.more, 3, (size_t[]){b, n->i, n->k})};
}

/* The images from `first` on: the part of du by the votes, dlogits, dactivation, and dw, which is
 * added to from the second chunk on. */
static caps_status backward_chunk(caps_runtime *rt, const caps_tensor *du, const caps_tensor *dw,
    const caps_self_routing_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_self_routing *shape, const parts *p, const caps_tensor *workspace, size_t first,
    size_t n, caps_error *err)
{
    const layout at = layout_of(shape, u->shape[0], true);
    const size_t all[] = {n, shape->i, shape->j, shape->d}, rows = n * shape->i;
    const caps_tensor votes = part_of(workspace, at.votes, 4, all);
    const caps_tensor more = part_of(workspace, at.dw, w->ndim, w->shape);
    const caps_tensor us = caps_tensor_rows(u, first, n);
    const caps_tensor dus = du ? caps_tensor_rows(du, first, n) : us;
    const caps_tensor dlogits = caps_tensor_rows(&p->dlogits, first, n);
    const caps_tensor dactivation = caps_tensor_rows(&p->dactivation, first, n);
    const caps_tensor couplings = caps_tensor_rows(&state->couplings, first, n);
    const caps_tensor activation = caps_tensor_rows(&state->activation, first, n);
    const caps_tensor dpose = caps_tensor_rows(&p->dpose, first, n);
    const caps_tensor dgiven = caps_tensor_rows(&p->dgiven, first, n);
    const caps_tensor share = caps_tensor_rows(&state->share, first, n);
    caps_call call = {0};
    caps_status status;
    CAPS_TRY(caps_votes_forward(rt, &votes, &us, w, err));
    CAPS_PUT(
        &call, &votes, &dlogits, &dactivation, &couplings, &activation, &dpose, &dgiven, &share);
    caps_put_sizes(&call, (size_t[]){rows, shape->i, shape->j, shape->d}, 4);
    CAPS_TRY(run_rows(rt, "self_routing_slopes", &call, rows, err));
    CAPS_TRY(caps_votes_backward(rt, du ? &dus : NULL, first ? &more : dw, &votes, &us, w, err));
    if (first)
        CAPS_TRY(caps_add(rt, dw, &more, err));
done:
    return status;
}

static caps_status run_gradient(caps_runtime *rt, const parts *p, const caps_tensor *dv,
    const caps_self_routing_state *state, const caps_self_routing *n, caps_error *err)
{
    const size_t rows = dv->shape[0] * n->j;
    caps_call call = {0};
    CAPS_PUT(&call, &p->dpose, &p->dgiven, dv, &state->pose, &state->share, &state->total);
    caps_put_sizes(&call, (size_t[]){rows, n->j, n->d}, 3);
    return run_rows(rt, "self_routing_gradient", &call, rows, err);
}

/* droute, and the parts of du by the logits and by the activations. */
static caps_status run_routes(caps_runtime *rt, const caps_tensor *du, const caps_tensor *droute,
    const parts *p, const caps_tensor *u, const caps_tensor *route, const caps_self_routing *n,
    caps_error *err)
{
    const caps_tensor dlogits = as_votes(&p->dlogits), by = as_weight(route);
    const caps_tensor dby = as_weight(droute);
    const size_t rows = u->shape[0] * n->i;
    caps_call call = {0};
    caps_status status;
    CAPS_TRY(caps_votes_backward(rt, du ? &p->more : NULL, &dby, &dlogits, u, &by, err));
    if (!du)
        goto done;
    CAPS_PUT(&call, du, &p->more, u, &p->dactivation);
    caps_put_sizes(&call, (size_t[]){rows, n->k}, 2);
    CAPS_TRY(run_rows(rt, "self_routing_du", &call, rows, err));
done:
    return status;
}

caps_status caps_self_routing_backward(caps_runtime *rt, const caps_tensor *du,
    const caps_tensor *dw, const caps_tensor *droute, const caps_tensor *dv,
    const caps_self_routing_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *route, const caps_self_routing *shape, const caps_tensor *workspace,
    caps_error *err)
{
    size_t b;
    caps_status status;
    CAPS_TRY(check_all(&b, shape, "dv", dv, state, u, w, route, workspace, true, err));
    if (du)
        CAPS_TRY(require("du", du, 3, u->shape, err));
    CAPS_TRY(require("dw", dw, 4, w->shape, err));
    CAPS_TRY(require("droute", droute, 3, route->shape, err));
    const size_t chunk = chunk_of(shape, b);
    const parts p = parts_of(shape, b, workspace);
    CAPS_TRY(run_gradient(rt, &p, dv, state, shape, err));
    for (size_t first = 0; first < b; first += chunk)
        CAPS_TRY(backward_chunk(rt, du, dw, state, u, w, shape, &p, workspace, first,
            chunk < b - first ? chunk : b - first, err));
    CAPS_TRY(run_routes(rt, du, droute, &p, u, route, shape, err));
done:
    return status;
}
