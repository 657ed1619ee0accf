/* routing.c: routing by agreement over stored votes; kernels and equations in cl/routing_cpu.cl and
 * cl/routing_gpu.cl.
 *
 * Scratch, in floats. Both directions begin with `partial` [B, chunks, J, D], the sums over chunks
 * of input capsules. Forward: then x [B,J,D], the sum of the v so far. Backward: then gs [steps, B,
 * J, D] for the iterations that count (all, or the last), then G [steps - 1, B, I, J] for those but
 * the first. */
#include <capscl/ops.h>

#include "require.h"
#include "fail.h"
#include "launch.h"
#include "routing_fused.h"
#include "trust.h"

#define ROUTING_CHUNK 32  /* as in the kernels: input capsules of a partial sum */
#define ROUTING_GROUP 128 /* GPU family: items in a work-group */
#define ROUTING_WIDTH 16  /* GPU family: lanes of a dot product, at most */

typedef struct sizes {
    size_t b, i, j, d, r;
    size_t chunks, steps;
    bool leaky, max_min;
    caps_squash squash;
} sizes;

static sizes routing_sizes_of(size_t b, size_t i, size_t j, size_t d, const caps_routing *routing)
{
    return (sizes){.b = b,
        .i = i,
        .j = j,
        .d = d,
        .r = routing->iterations,
        .chunks = caps_div_up(i, ROUTING_CHUNK),
        .steps = routing->grad == CAPS_ROUTING_GRAD_FULL ? routing->iterations : 1,
        .leaky = routing->leaky,
        .max_min = routing->normalization == CAPS_NORMALIZATION_MAX_MIN,
        .squash = routing->squash};
}

static size_t partial_count(const sizes *n)
{
    return n->b * n->chunks * n->j * n->d;
}

size_t caps_routing_scratch(size_t b, size_t i, size_t j, size_t d, const caps_routing *routing)
{
    sizes n = routing_sizes_of(b, i, j, d, routing);
    if (n.r < 1) /* forward and backward report that */
        return 0;
    /* steps >= 1, so that gs has space for x. */
    return partial_count(&n) + n.steps * b * j * d + (n.steps - 1) * b * i * j;
}

static caps_status routing_check(sizes *n, caps_routing_state *state, const caps_tensor *votes,
    const caps_routing *routing, caps_error *err)
{
    caps_status status;
    if (!routing || routing->iterations < 1) {
        status = caps_fail(err, CAPS_ERR_ARGUMENT, "routing: iterations is 0, need >= 1");
        goto done;
    }
    if (routing->grad != CAPS_ROUTING_GRAD_FULL && routing->grad != CAPS_ROUTING_GRAD_LAST) {
        status =
            caps_fail(err, CAPS_ERR_ARGUMENT, "routing: grad is %d, need %d (full) or %d (last)",
                (int)routing->grad, CAPS_ROUTING_GRAD_FULL, CAPS_ROUTING_GRAD_LAST);
        goto done;
    }
    if (routing->leaky && routing->normalization == CAPS_NORMALIZATION_MAX_MIN) {
        status = caps_fail(err, CAPS_ERR_ARGUMENT,
            "routing: leaky is true, need false with max-min normalization");
        goto done;
    }
    CAPS_TRY(caps_require_source("routing", "votes", votes, 4, "[B, I, J, D]", err));
    *n = routing_sizes_of(
        votes->shape[0], votes->shape[1], votes->shape[2], votes->shape[3], routing);
    CAPS_TRY(caps_require_count("routing", "I*J*D", 3, (size_t[]){n->i, n->j, n->d}, err));
    CAPS_TRY(caps_require_count("routing", "iterations*B*J", 3, (size_t[]){n->r, n->b, n->j}, err));
    CAPS_TRY(caps_require_tensor("routing", "state.couplings", &state->couplings, CAPS_F32, 4,
        (size_t[]){n->r, n->b, n->i, n->j}, err));
    CAPS_TRY(caps_require_tensor(
        "routing", "state.s", &state->s, CAPS_F32, 4, (size_t[]){n->r, n->b, n->j, n->d}, err));
    CAPS_TRY(caps_require_tensor(
        "routing", "state.v", &state->v, CAPS_F32, 4, (size_t[]){n->r, n->b, n->j, n->d}, err));
    size_t need = caps_routing_scratch(n->b, n->i, n->j, n->d, routing);
    size_t have = state->scratch.buffer && state->scratch.dtype == CAPS_F32
                      ? caps_tensor_count(&state->scratch)
                      : 0;
    if (have < need)
        status = caps_fail(err, CAPS_ERR_ARGUMENT,
            "routing: state.scratch has %zu float32, need >= %zu", have, need);
done:
    return status;
}

/* A part of the scratch, `skip` floats from its beginning. */
static caps_tensor routing_part(
    const caps_routing_state *state, size_t skip, size_t b, size_t rows, size_t j)
{
    return caps_tensor_wrap(
        state->scratch.buffer, state->scratch.offset + skip, CAPS_F32, 3, (size_t[]){b, rows, j});
}

static size_t group_size(const caps_runtime *rt)
{
    return caps_is_gpu(rt) ? caps_group_size(rt, ROUTING_GROUP) : 1;
}

/* A pass over the votes, `n` tensor arguments being in args, with space for eight more. last: up to
 * two arguments more, after the sizes. */
static caps_status launch_pass(caps_runtime *rt, const char *kernel, caps_arg *args, size_t n,
    const sizes *size, const size_t *last, size_t last_count, caps_error *err)
{
    size_t local = group_size(rt), width = caps_row_width(size->d, ROUTING_WIDTH);
    if (width > local)
        width = local;
    if (caps_is_gpu(rt)) {
        args[n++] = (caps_arg)CAPS_ARG_LOCAL(local * (width + 1) * sizeof(float));
        args[n++] = (caps_arg)CAPS_ARG_UINT(size->chunks);
    }
    args[n++] = (caps_arg)CAPS_ARG_UINT(size->i);
    args[n++] = (caps_arg)CAPS_ARG_UINT(size->j);
    args[n++] = (caps_arg)CAPS_ARG_UINT(size->d);
    if (caps_is_gpu(rt))
        args[n++] = (caps_arg)CAPS_ARG_UINT(width);
    for (size_t i = 0; i < last_count; i++)
        args[n++] = (caps_arg)CAPS_ARG_UINT(last[i]);
    if (caps_is_gpu(rt)) {
        size_t global = size->b * size->chunks * local;
        return caps_launch(rt, kernel, args, n, 1, &global, &local, err);
    }
    return caps_launch(
        rt, kernel, args, n, 2, (size_t[]){size->chunks, size->b}, (size_t[]){1, 1}, err);
}

/* A row for each output capsule of the batch; arguments as above, with space for nine more. flag:
 * a last argument, or -1 for none. */
static caps_status launch_rows(caps_runtime *rt, const char *kernel, caps_arg *args, size_t n,
    const sizes *size, size_t chunks, int flag, caps_error *err)
{
    size_t local = group_size(rt), width = caps_row_width(size->d, local);
    const size_t parts = caps_routing_parts(local, width, chunks), rows = size->b * size->j;
    const size_t global = caps_div_up(rows, local / (width * parts)) * local;
    if (caps_is_gpu(rt))
        args[n++] = (caps_arg)CAPS_ARG_LOCAL(local * sizeof(float));
    args[n++] = (caps_arg)CAPS_ARG_UINT(rows);
    args[n++] = (caps_arg)CAPS_ARG_UINT(chunks);
    args[n++] = (caps_arg)CAPS_ARG_UINT(size->j);
    args[n++] = (caps_arg)CAPS_ARG_UINT(size->d);
    if (caps_is_gpu(rt)) {
        args[n++] = (caps_arg)CAPS_ARG_UINT(width);
        args[n++] = (caps_arg)CAPS_ARG_UINT(parts);
    }
    args[n++] = (caps_arg)CAPS_ARG_UINT(size->squash);
    if (flag >= 0)
        args[n++] = (caps_arg)CAPS_ARG_UINT(flag);
    return caps_launch(rt, kernel, args, n, 1, &global, &local, err);
}

caps_status caps_routing_forward(caps_runtime *rt, const caps_tensor *v, caps_routing_state *state,
    const caps_tensor *votes, const caps_tensor *bias, const caps_routing *routing, caps_error *err)
{
    sizes n;
    caps_status status;
    CAPS_TRY(routing_check(&n, state, votes, routing, err));
    CAPS_TRY(caps_trust_require(rt, "routing", "stored", "routing", err));
    CAPS_TRY(caps_require_tensor("routing", "v", v, CAPS_F32, 3, (size_t[]){n.b, n.j, n.d}, err));
    if (bias)
        CAPS_TRY(
            caps_require_tensor("routing", "bias", bias, CAPS_F32, 2, (size_t[]){n.j, n.d}, err));
    caps_tensor partial = routing_part(state, 0, n.b, n.chunks, n.j * n.d);
    caps_tensor x = routing_part(state, partial_count(&n), n.b, n.j, n.d);
    for (size_t t = 0; t < n.r; t++) {
        caps_tensor c = caps_tensor_rows(&state->couplings, t, 1);
        caps_tensor s_t = caps_tensor_rows(&state->s, t, 1);
        caps_tensor v_t = caps_tensor_rows(&state->v, t, 1);
        bool last = t + 1 == n.r;
        caps_arg pass[12] = {CAPS_ARG_TENSOR(&partial), CAPS_ARG_TENSOR(&c), CAPS_ARG_TENSOR(votes),
            CAPS_ARG_TENSOR(&x)};
        CAPS_TRY(launch_pass(rt, n.max_min ? "routing_pass_max_min" : "routing_pass", pass, 4, &n,
            (size_t[]){t == 0, n.leaky}, n.max_min ? 1 : 2, err));
        caps_arg reduce[15] = {CAPS_ARG_TENSOR(&s_t), CAPS_ARG_TENSOR(&v_t),
            CAPS_ARG_TENSOR(last ? NULL : &x), CAPS_ARG_TENSOR(last ? v : NULL),
            CAPS_ARG_TENSOR(&partial), CAPS_ARG_TENSOR(bias)};
        CAPS_TRY(launch_rows(rt, "routing_reduce", reduce, 6, &n, n.chunks, t == 0, err));
    }
done:
    return status;
}

/* G and, as partial sums, gv of the iteration before, of the iteration `t` > 0. next: G of the one
 * after it, or NULL. */
static caps_status run_back(caps_runtime *rt, const caps_tensor *partial, const caps_tensor *g,
    const caps_tensor *votes, const caps_tensor *gs, const caps_tensor *next,
    const caps_routing_state *state, size_t t, const sizes *n, caps_error *err)
{
    const caps_tensor c = caps_tensor_rows(&state->couplings, t, 1);
    caps_arg args[15] = {CAPS_ARG_TENSOR(partial), CAPS_ARG_TENSOR(g), CAPS_ARG_TENSOR(votes),
        CAPS_ARG_TENSOR(gs), CAPS_ARG_TENSOR(&c), CAPS_ARG_TENSOR(next)};
    if (!n->max_min)
        return launch_pass(rt, "routing_back", args, 6, n, NULL, 0, err);
    args[6] = (caps_arg)CAPS_ARG_TENSOR(&state->v);
    return launch_pass(rt, "routing_back_max_min", args, 7, n, (size_t[]){t, n->b}, 2, err);
}

/* dbias, the sum of gs over its n->steps * B rows. */
static caps_status routing_sum_bias(caps_runtime *rt, const caps_tensor *dbias,
    const caps_tensor *gs, const sizes *n, caps_error *err)
{
    size_t local = group_size(rt), global = n->j, count = 2;
    const size_t columns = caps_row_width(n->j * n->d, local < 16 ? local : 16);
    caps_arg sum[7] = {CAPS_ARG_TENSOR(dbias), CAPS_ARG_TENSOR(gs)};
    if (caps_is_gpu(rt))
        sum[count++] = (caps_arg)CAPS_ARG_LOCAL(local * sizeof(float));
    sum[count++] = (caps_arg)CAPS_ARG_UINT(n->steps * n->b);
    sum[count++] = (caps_arg)CAPS_ARG_UINT(n->j);
    sum[count++] = (caps_arg)CAPS_ARG_UINT(n->d);
    if (caps_is_gpu(rt)) {
        sum[count++] = (caps_arg)CAPS_ARG_UINT(columns);
        global = caps_div_up(n->j * n->d, columns) * local;
    }
    return caps_launch(rt, "routing_dbias", sum, count, 1, &global, &local, err);
}

caps_status caps_routing_backward(caps_runtime *rt, const caps_tensor *dvotes,
    const caps_tensor *dbias, const caps_tensor *dv, caps_routing_state *state,
    const caps_tensor *votes, const caps_routing *routing, caps_error *err)
{
    sizes n;
    caps_status status;
    CAPS_TRY(routing_check(&n, state, votes, routing, err));
    CAPS_TRY(caps_trust_require(rt, "routing", "stored", "routing", err));
    CAPS_TRY(caps_require_tensor("routing", "dvotes", dvotes, CAPS_F32, 4, votes->shape, err));
    CAPS_TRY(caps_require_tensor("routing", "dv", dv, CAPS_F32, 3, (size_t[]){n.b, n.j, n.d}, err));
    if (dbias)
        CAPS_TRY(
            caps_require_tensor("routing", "dbias", dbias, CAPS_F32, 2, (size_t[]){n.j, n.d}, err));

    size_t gs_count = n.b * n.j * n.d, g_count = n.b * n.i * n.j;
    size_t gs_at = partial_count(&n), g_at = gs_at + n.steps * gs_count;
    size_t begin = n.r - n.steps; /* the first iteration that counts */
    caps_tensor partial = routing_part(state, 0, n.b, n.chunks, n.j * n.d);
    for (size_t step = n.steps; step-- > 0;) {
        bool last = step + 1 == n.steps;
        caps_tensor gs = routing_part(state, gs_at + step * gs_count, n.b, n.j, n.d);
        caps_tensor s = caps_tensor_rows(&state->s, begin + step, 1);
        caps_arg squash[12] = {
            CAPS_ARG_TENSOR(&gs), CAPS_ARG_TENSOR(last ? dv : &partial), CAPS_ARG_TENSOR(&s)};
        CAPS_TRY(launch_rows(rt, "routing_gs", squash, 3, &n, last ? 1 : n.chunks, -1, err));
        if (step == 0)
            break;
        caps_tensor g = routing_part(state, g_at + (step - 1) * g_count, n.b, n.i, n.j);
        caps_tensor next = routing_part(state, last ? 0 : g_at + step * g_count, n.b, n.i, n.j);
        CAPS_TRY(run_back(
            rt, &partial, &g, votes, &gs, last ? NULL : &next, state, begin + step, &n, err));
    }

    caps_tensor gs = routing_part(state, gs_at, n.steps * n.b, n.j, n.d);
    caps_tensor g = routing_part(state, g_at, n.b, n.i, n.j);
    caps_tensor c = caps_tensor_rows(&state->couplings, begin, n.steps);
    caps_tensor v = caps_tensor_rows(&state->v, begin, n.steps);
    const caps_arg args[] = {CAPS_ARG_TENSOR(dvotes), CAPS_ARG_TENSOR(&c), CAPS_ARG_TENSOR(&gs),
        CAPS_ARG_TENSOR(n.steps > 1 ? &g : NULL), CAPS_ARG_TENSOR(&v), CAPS_ARG_UINT(n.b),
        CAPS_ARG_UINT(n.i), CAPS_ARG_UINT(n.j), CAPS_ARG_UINT(n.d), CAPS_ARG_UINT(n.steps)};
    size_t local = group_size(rt);
    if (caps_is_gpu(rt)) {
        size_t global = n.b * caps_round_up(n.i * n.j * n.d, local);
        CAPS_TRY(caps_launch(rt, "routing_dvotes", CAPS_ARGS(args), 1, &global, &local, err));
    } else {
        CAPS_TRY(caps_launch(rt, "routing_dvotes", CAPS_ARGS(args), 2, (size_t[]){n.chunks, n.b},
            (size_t[]){1, 1}, err));
    }
    if (dbias)
        CAPS_TRY(routing_sum_bias(rt, dbias, &gs, &n, err));
done:
    return status;
}
