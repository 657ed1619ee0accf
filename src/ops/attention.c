/* attention.c: votes and attention routing; kernels in cl/attention_cpu.cl and
 * cl/attention_gpu.cl, and those of votes.
 *
 * The votes of some images at a time are computed into the workspace, forward and again backward,
 * where their gradients take their place: what is stored between the two are couplings and sums. */
#include <math.h>

#include <capscl/ops.h>

#include "add.h"
#include "call.h"
#include "fail.h"
#include "require.h"

#define GROUP      64                /* items of a work-group, GPU family */
#define MOST_VOTES ((size_t)1 << 22) /* elements of the votes that there are at once */

/* ---- sizes ---------------------------------------------------------------------------------- */

/* Images whose votes there are at once. */
static size_t attention_chunk(const caps_attention *n, size_t b)
{
    const size_t image = n->i * n->j * n->d, most = image < MOST_VOTES ? MOST_VOTES / image : 1;
    return b < most ? b : most;
}

/* What the workspace holds, one after the other. */
typedef struct attention_layout {
    size_t votes, turn, slopes, ds, gains, dw, all; /* where each begins; their sum */
} attention_layout;

static attention_layout attention_layout_of(const caps_attention *n, size_t b, bool training)
{
    const size_t chunk = attention_chunk(n, b), pairs = n->i * n->j, capsules = n->j * n->d;
    attention_layout l = {0};
    l.turn = chunk * pairs * n->d;
    l.slopes = l.turn + (training ? chunk * capsules : 0);
    l.ds = l.slopes + (training ? chunk * pairs : 0);
    l.gains = l.ds + (training ? b * capsules : 0);
    l.dw = l.gains + (training ? b * pairs : 0);
    l.all = l.dw + (training && chunk < b ? pairs * n->d * n->k : 0);
    return l;
}

size_t caps_attention_workspace(const caps_attention *shape, bool training)
{
    return attention_layout_of(shape, shape->b, training).all;
}

static caps_tensor part_of(const caps_tensor *t, size_t first, int ndim, const size_t *shape)
{
    return caps_tensor_wrap(t->buffer, t->offset + first, CAPS_F32, ndim, shape);
}

/* ---- checks --------------------------------------------------------------------------------- */

static caps_status attention_check(size_t *b, const caps_attention *n, const char *v_name,
    const caps_tensor *v, const caps_attention_state *state, const caps_tensor *u,
    const caps_tensor *w, const caps_tensor *prior, const caps_tensor *workspace, bool training,
    caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_require_source("attention", "u", u, 3, "[B, I, K]", err));
    *b = u->shape[0];
    if (*b > n->b)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_ARGUMENT, "attention: a batch of %zu, need at most %zu", *b, n->b));
    const size_t capsules[] = {*b, n->j, n->d}, pairs[] = {*b, n->i, n->j};
    CAPS_TRY(
        caps_require_tensor("attention", "u", u, CAPS_F32, 3, (size_t[]){*b, n->i, n->k}, err));
    CAPS_TRY(caps_require_tensor(
        "attention", "w", w, CAPS_F32, 4, (size_t[]){n->i, n->j, n->d, n->k}, err));
    CAPS_TRY(caps_require_tensor("attention", "prior", prior, CAPS_F32, 2, pairs + 1, err));
    CAPS_TRY(caps_require_tensor("attention", v_name, v, CAPS_F32, 3, capsules, err));
    CAPS_TRY(caps_require_tensor("attention", "s", &state->s, CAPS_F32, 3, capsules, err));
    CAPS_TRY(caps_require_tensor("attention", "total", &state->total, CAPS_F32, 3, capsules, err));
    CAPS_TRY(
        caps_require_tensor("attention", "couplings", &state->couplings, CAPS_F32, 3, pairs, err));
    CAPS_TRY(caps_require_count("attention", "B", 1, b, err));
    CAPS_TRY(caps_require_count("attention", "I*J*D", 3, (size_t[]){n->i, n->j, n->d}, err));
    const size_t need = attention_layout_of(n, *b, training).all;
    if (!workspace || !workspace->buffer || caps_tensor_count(workspace) < need)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_ARGUMENT, "attention: workspace has %zu elements, need %zu",
                workspace && workspace->buffer ? caps_tensor_count(workspace) : 0, need));
done:
    return status;
}

/* ---- launches ------------------------------------------------------------------------------- */

/* `items` of dimension 0 in the GPU family, `own` in the CPU family; dimension 1: b samples. */
static caps_status launch(caps_runtime *rt, const char *kernel, const caps_call *call, size_t items,
    size_t own, size_t b, caps_error *err)
{
    const size_t group = caps_group_size(rt, GROUP);
    if (!caps_is_gpu(rt))
        return caps_launch(rt, kernel, call->args, call->count, 2, (size_t[]){own, b}, NULL, err);
    return caps_launch(rt, kernel, call->args, call->count, 2,
        (size_t[]){caps_round_up(items, group), b}, (size_t[]){group, 1}, err);
}

/* out = sum_i (weights + prior) votes; either may be NULL, without both: sum_i votes. */
static caps_status run_sum(caps_runtime *rt, const caps_tensor *out, const caps_tensor *votes,
    const caps_tensor *weights, const caps_tensor *prior, const caps_attention *n, caps_error *err)
{
    caps_call call = {0};
    caps_put_tensor(&call, out);
    caps_put_tensor(&call, votes);
    caps_put_tensor(&call, weights);
    caps_put_tensor(&call, prior);
    caps_put_sizes(&call, (size_t[]){n->i, n->j, n->d}, 3);
    return launch(rt, "attention_sum", &call, n->j * n->d, n->j, out->shape[0], err);
}

/* An input capsule of a sample: one item in the GPU family; in the CPU family it takes all. */
static caps_status launch_inputs(caps_runtime *rt, const char *kernel, caps_call *call,
    const caps_attention *n, size_t b, caps_error *err)
{
    caps_put_float(call, (float)(1 / sqrt((double)n->d)));
    caps_put_sizes(call, (size_t[]){n->i, n->j, n->d}, 3);
    if (!caps_is_gpu(rt))
        return caps_launch(rt, kernel, call->args, call->count, 1, &b, NULL, err);
    return launch(rt, kernel, call, n->i, 1, b, err);
}

static caps_status run_couplings(caps_runtime *rt, const caps_tensor *couplings,
    const caps_tensor *votes, const caps_tensor *total, const caps_attention *n, caps_error *err)
{
    caps_call call = {0};
    caps_put_tensor(&call, couplings);
    caps_put_tensor(&call, votes);
    caps_put_tensor(&call, total);
    return launch_inputs(rt, "attention_couplings", &call, n, couplings->shape[0], err);
}

static caps_status run_slopes(caps_runtime *rt, const caps_tensor *slopes, const caps_tensor *gains,
    const caps_tensor *couplings, const caps_tensor *votes, const caps_tensor *ds,
    const caps_attention *n, caps_error *err)
{
    caps_call call = {0};
    caps_put_tensor(&call, slopes);
    caps_put_tensor(&call, gains);
    caps_put_tensor(&call, couplings);
    caps_put_tensor(&call, votes);
    caps_put_tensor(&call, ds);
    return launch_inputs(rt, "attention_slopes", &call, n, couplings->shape[0], err);
}

static caps_status run_dvotes(caps_runtime *rt, const caps_tensor *votes,
    const caps_tensor *couplings, const caps_tensor *prior, const caps_tensor *slopes,
    const caps_tensor *ds, const caps_tensor *total, const caps_tensor *turn,
    const caps_attention *n, caps_error *err)
{
    caps_call call = {0};
    caps_put_tensor(&call, votes);
    caps_put_tensor(&call, couplings);
    caps_put_tensor(&call, prior);
    caps_put_tensor(&call, slopes);
    caps_put_tensor(&call, ds);
    caps_put_tensor(&call, total);
    caps_put_tensor(&call, turn);
    caps_put_sizes(&call, (size_t[]){n->i, n->j, n->d}, 3);
    return launch(rt, "attention_dvotes", &call, n->i * n->j * n->d, n->i, votes->shape[0], err);
}

static caps_status run_dprior(caps_runtime *rt, const caps_tensor *dprior, const caps_tensor *gains,
    const caps_attention *n, caps_error *err)
{
    caps_call call = {0};
    const size_t pairs = n->i * n->j, local = caps_group_size(rt, GROUP);
    const size_t all = caps_round_up(pairs, local);
    caps_put_tensor(&call, dprior);
    caps_put_tensor(&call, gains);
    caps_put_sizes(&call, (size_t[]){gains->shape[0], pairs, n->j}, 3);
    if (!caps_is_gpu(rt))
        return caps_launch(rt, "attention_dprior", call.args, call.count, 1, &n->i, NULL, err);
    return caps_launch(rt, "attention_dprior", call.args, call.count, 1, &all, &local, err);
}

/* ---- the operation -------------------------------------------------------------------------- */

caps_status caps_attention_forward(caps_runtime *rt, const caps_tensor *v,
    caps_attention_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *prior, const caps_attention *shape, const caps_tensor *workspace,
    caps_error *err)
{
    size_t b;
    caps_status status;
    CAPS_TRY(attention_check(&b, shape, "v", v, state, u, w, prior, workspace, false, err));
    const size_t chunk = attention_chunk(shape, b);
    for (size_t first = 0; first < b; first += chunk) {
        const size_t n = chunk < b - first ? chunk : b - first;
        const size_t shape4[] = {n, shape->i, shape->j, shape->d};
        const caps_tensor votes = part_of(workspace, 0, 4, shape4);
        const caps_tensor us = caps_tensor_rows(u, first, n);
        const caps_tensor total = caps_tensor_rows(&state->total, first, n);
        const caps_tensor couplings = caps_tensor_rows(&state->couplings, first, n);
        const caps_tensor s = caps_tensor_rows(&state->s, first, n);
        CAPS_TRY(caps_votes_forward(rt, &votes, &us, w, err));
        CAPS_TRY(run_sum(rt, &total, &votes, NULL, NULL, shape, err));
        CAPS_TRY(run_couplings(rt, &couplings, &votes, &total, shape, err));
        CAPS_TRY(run_sum(rt, &s, &votes, &couplings, prior, shape, err));
    }
    CAPS_TRY(caps_squash_forward(rt, v, &state->s, shape->squash, err));
done:
    return status;
}

/* The images from `first` on: du, and dw, which is added to from the second chunk on. */
static caps_status backward_chunk(caps_runtime *rt, const caps_tensor *du, const caps_tensor *dw,
    const caps_attention_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *prior, const caps_attention *shape, const caps_tensor *workspace,
    size_t first, size_t n, caps_error *err)
{
    const attention_layout at = attention_layout_of(shape, u->shape[0], true);
    const size_t pairs[] = {n, shape->i, shape->j}, capsules[] = {n, shape->j, shape->d};
    const size_t all[] = {n, shape->i, shape->j, shape->d};
    const caps_tensor votes = part_of(workspace, at.votes, 4, all);
    const caps_tensor turn = part_of(workspace, at.turn, 3, capsules);
    const caps_tensor slopes = part_of(workspace, at.slopes, 3, pairs);
    const caps_tensor ds = part_of(workspace, at.ds + first * shape->j * shape->d, 3, capsules);
    const caps_tensor gains = part_of(workspace, at.gains + first * shape->i * shape->j, 3, pairs);
    const caps_tensor more = part_of(workspace, at.dw, w->ndim, w->shape);
    const caps_tensor us = caps_tensor_rows(u, first, n);
    const caps_tensor dus = du ? caps_tensor_rows(du, first, n) : us;
    const caps_tensor total = caps_tensor_rows(&state->total, first, n);
    const caps_tensor couplings = caps_tensor_rows(&state->couplings, first, n);
    caps_status status;
    CAPS_TRY(caps_votes_forward(rt, &votes, &us, w, err));
    CAPS_TRY(run_slopes(rt, &slopes, &gains, &couplings, &votes, &ds, shape, err));
    CAPS_TRY(run_sum(rt, &turn, &votes, &slopes, NULL, shape, err));
    CAPS_TRY(run_dvotes(rt, &votes, &couplings, prior, &slopes, &ds, &total, &turn, shape, err));
    CAPS_TRY(caps_votes_backward(rt, du ? &dus : NULL, first ? &more : dw, &votes, &us, w, err));
    if (first)
        CAPS_TRY(caps_add(rt, dw, &more, err));
done:
    return status;
}

caps_status caps_attention_backward(caps_runtime *rt, const caps_tensor *du, const caps_tensor *dw,
    const caps_tensor *dprior, const caps_tensor *dv, const caps_attention_state *state,
    const caps_tensor *u, const caps_tensor *w, const caps_tensor *prior,
    const caps_attention *shape, const caps_tensor *workspace, caps_error *err)
{
    size_t b;
    caps_status status;
    CAPS_TRY(attention_check(&b, shape, "dv", dv, state, u, w, prior, workspace, true, err));
    if (du)
        CAPS_TRY(caps_require_tensor("attention", "du", du, CAPS_F32, 3, u->shape, err));
    CAPS_TRY(caps_require_tensor("attention", "dw", dw, CAPS_F32, 4, w->shape, err));
    CAPS_TRY(caps_require_tensor("attention", "dprior", dprior, CAPS_F32, 2, prior->shape, err));
    const attention_layout at = attention_layout_of(shape, b, true);
    const size_t chunk = attention_chunk(shape, b);
    const caps_tensor ds = part_of(workspace, at.ds, 3, dv->shape);
    const caps_tensor gains = part_of(workspace, at.gains, 3, state->couplings.shape);
    CAPS_TRY(caps_squash_backward(rt, &ds, dv, &state->s, shape->squash, err));
    for (size_t first = 0; first < b; first += chunk)
        CAPS_TRY(backward_chunk(rt, du, dw, state, u, w, prior, shape, workspace, first,
            chunk < b - first ? chunk : b - first, err));
    CAPS_TRY(run_dprior(rt, dprior, &gains, shape, err));
done:
    return status;
}
