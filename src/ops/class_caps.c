/* class_caps.c: class capsules, votes and routing in one, by one of two algorithms: stored (votes.c
 * and routing.c one after the other) and fused (routing_fused.c). Where a device's kernels cannot
 * take the sizes, and with max-min normalisation, stored takes the place of fused.
 *
 * Workspace of the stored algorithm, in floats: routing's scratch, then, for the backward,
 * dvotes. */
#include <stdio.h>

#include <capscl/ops.h>

#include "choosers.h"
#include "fail.h"
#include "launch.h"
#include "require.h"
#include "trust.h"
#include "routing_fused.h"

/* CPU family: samples fill sixteen lanes, and up to sixteen take the same time; for fewer samples
 * than this it is faster to store the votes. See docs/performance-log.md. */
#define FUSED_LEAST_BATCH 5

/* ---- choice --------------------------------------------------------------------------------- */

/* The table has no row for AUTO: its positions are those of caps_routing_algorithm less one. */
static const caps_algorithm routing_names[] = {{"stored", NULL}, {"fused", NULL}};

/* By family and batch; rt NULL: that of the CPU family. Whoever runs the GPU family computes votes
 * faster than it reads them. */
static double routing_cost(const caps_runtime *rt, size_t algorithm, const void *problem)
{
    const caps_class_caps *shape = problem;
    const bool fused = caps_routing_fused_fits(rt, shape) &&
                       ((rt && caps_is_gpu(rt)) || shape->b >= FUSED_LEAST_BATCH);
    return algorithm + 1 == (fused ? CAPS_ROUTING_FUSED : CAPS_ROUTING_STORED) ? 0 : 1;
}

static void routing_key(char key[CAPS_TUNING_KEY], const void *problem)
{
    const caps_class_caps *n = problem;
    snprintf(key, CAPS_TUNING_KEY, "routing %zux%zux%zux%zux%zu r%zu%s%s%s%s", n->b, n->i, n->j,
        n->d, n->k, n->routing.iterations, n->routing.grad == CAPS_ROUTING_GRAD_FULL ? "" : " last",
        n->routing.leaky ? " leaky" : "", n->routing.squash == CAPS_SQUASH_EXP ? " exp" : "",
        n->routing.normalization == CAPS_NORMALIZATION_MAX_MIN ? " max_min" : "");
}

const caps_chooser caps_routing_chooser = {
    .name = "routing",
    .variable = "CAPSCL_ROUTING",
    .unknown = "routing variant \"%s\" is unknown",
    .algorithms = routing_names,
    .count = sizeof routing_names / sizeof *routing_names,
    .general = CAPS_ROUTING_STORED - 1,
    .problem_bytes = sizeof(caps_class_caps),
    .key = routing_key,
    .cost = routing_cost,
};

const char *caps_routing_algorithm_name(caps_routing_algorithm algorithm)
{
    return algorithm == CAPS_ROUTING_AUTO ? "auto" : routing_names[algorithm - 1].name;
}

caps_routing_algorithm caps_class_caps_choose(
    const caps_runtime *rt, const caps_class_caps *shape, caps_routing_algorithm requested)
{
    size_t chosen;
    (void)caps_choose(&chosen, &caps_routing_chooser, rt, shape,
        requested == CAPS_ROUTING_AUTO ? CAPS_CHOICE_FREE : (size_t)requested - 1, true, NULL);
    return (caps_routing_algorithm)(chosen + 1);
}

/* ---- sizes ---------------------------------------------------------------------------------- */

static size_t votes_count(const caps_class_caps *n)
{
    return n->b * n->i * n->j * n->d;
}

static bool is_fused(const caps_runtime *rt, const caps_class_caps *n)
{
    return n->algorithm == CAPS_ROUTING_FUSED && caps_routing_fused_fits(rt, n);
}

caps_class_caps_workspace caps_class_caps_workspace_of(
    const caps_runtime *rt, const caps_class_caps *shape, bool training)
{
    if (shape->routing.iterations < 1) /* forward and backward report that */
        return (caps_class_caps_workspace){0, 0};
    if (is_fused(rt, shape))
        return (caps_class_caps_workspace){
            0, caps_routing_fused_workspace(shape, rt && caps_is_gpu(rt), training)};
    /* The forward is the same in both modes; without a backward take the one with less scratch. */
    caps_routing last = shape->routing;
    last.grad = CAPS_ROUTING_GRAD_LAST;
    const size_t scratch = caps_routing_scratch(
        shape->b, shape->i, shape->j, shape->d, training ? &shape->routing : &last);
    return (caps_class_caps_workspace){
        votes_count(shape), scratch + (training ? votes_count(shape) : 0)};
}

static caps_status require_elements(
    const char *name, const caps_tensor *t, size_t need, caps_error *err)
{
    const size_t have = t && t->buffer && t->dtype == CAPS_F32 ? caps_tensor_count(t) : 0;
    return have >= need ? CAPS_OK
                        : caps_fail(err, CAPS_ERR_ARGUMENT,
                              "class_caps: %s has %zu float32, need >= %zu", name, have, need);
}

/* n: the sizes at hand. */
static caps_status class_caps_check(const caps_runtime *rt, caps_class_caps *n,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_class_caps *shape, const caps_tensor *workspace, bool training, caps_error *err)
{
    caps_status status;
    const caps_routing *routing = &shape->routing;
    if (shape->algorithm != CAPS_ROUTING_STORED && shape->algorithm != CAPS_ROUTING_FUSED) {
        status = caps_fail(err, CAPS_ERR_ARGUMENT,
            "class_caps: algorithm is %d, need %d (stored) or %d (fused)", (int)shape->algorithm,
            CAPS_ROUTING_STORED, CAPS_ROUTING_FUSED);
        goto done;
    }
    CAPS_TRY(caps_trust_require(
        rt, "routing", caps_routing_algorithm_name(shape->algorithm), "class_caps", err));
    if (routing->iterations < 1) {
        status = caps_fail(err, CAPS_ERR_ARGUMENT, "class_caps: iterations is 0, need >= 1");
        goto done;
    }
    if (routing->grad != CAPS_ROUTING_GRAD_FULL && routing->grad != CAPS_ROUTING_GRAD_LAST) {
        status =
            caps_fail(err, CAPS_ERR_ARGUMENT, "class_caps: grad is %d, need %d (full) or %d (last)",
                (int)routing->grad, CAPS_ROUTING_GRAD_FULL, CAPS_ROUTING_GRAD_LAST);
        goto done;
    }
    CAPS_TRY(caps_require_source("class_caps", "u", u, 3, "[B, I, K]", err));
    *n = *shape;
    n->b = u->shape[0];
    if (n->b > shape->b || n->i != u->shape[1] || n->k != u->shape[2]) {
        status = caps_fail(err, CAPS_ERR_ARGUMENT,
            "class_caps: u is float32 [%zu, %zu, %zu], need float32 [1 to %zu, %zu, %zu]",
            u->shape[0], u->shape[1], u->shape[2], shape->b, shape->i, shape->k);
        goto done;
    }
    CAPS_TRY(caps_require_tensor(
        "class_caps", "w", w, CAPS_F32, 4, (size_t[]){n->i, n->j, n->d, n->k}, err));
    CAPS_TRY(caps_require_tensor("class_caps", "state.couplings", &state->couplings, CAPS_F32, 4,
        (size_t[]){routing->iterations, n->b, n->i, n->j}, err));
    CAPS_TRY(caps_require_tensor("class_caps", "state.s", &state->s, CAPS_F32, 4,
        (size_t[]){routing->iterations, n->b, n->j, n->d}, err));
    CAPS_TRY(caps_require_tensor("class_caps", "state.v", &state->v, CAPS_F32, 4,
        (size_t[]){routing->iterations, n->b, n->j, n->d}, err));
    /* What kernels count in 32 bits: a parameter, a sample's part, an item's own memory. */
    CAPS_TRY(
        caps_require_count("class_caps", "I*J*D*K", 4, (size_t[]){n->i, n->j, n->d, n->k}, err));
    CAPS_TRY(caps_require_count("class_caps", "256*J*D", 3, (size_t[]){256, n->j, n->d}, err));
    CAPS_TRY(caps_require_count("class_caps", "512*K", 2, (size_t[]){512, n->k}, err));
    CAPS_TRY(caps_require_count(
        "class_caps", "iterations*B*J", 3, (size_t[]){routing->iterations, n->b, n->j}, err));
    const caps_class_caps_workspace needed = caps_class_caps_workspace_of(rt, n, training);
    CAPS_TRY(require_elements("state.votes", &state->votes, needed.votes, err));
    CAPS_TRY(require_elements("workspace", workspace, needed.workspace, err));
done:
    return status;
}

/* ---- stored --------------------------------------------------------------------------------- */

static caps_tensor votes_in(const caps_tensor *t, size_t skip, const caps_class_caps *n)
{
    return caps_tensor_wrap(
        t->buffer, t->offset + skip, CAPS_F32, 4, (size_t[]){n->b, n->i, n->j, n->d});
}

static caps_routing_state stored_state(
    const caps_class_caps_state *state, const caps_tensor *workspace, size_t scratch)
{
    return (caps_routing_state){state->couplings, state->s, state->v,
        caps_tensor_wrap(workspace->buffer, workspace->offset, CAPS_F32, 1, &scratch)};
}

static caps_status stored_forward(caps_runtime *rt, const caps_tensor *v,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *bias, const caps_class_caps *n, const caps_tensor *workspace,
    caps_error *err)
{
    caps_routing last = n->routing; /* less scratch, and the same forward */
    last.grad = CAPS_ROUTING_GRAD_LAST;
    const caps_tensor votes = votes_in(&state->votes, 0, n);
    caps_routing_state routing =
        stored_state(state, workspace, caps_routing_scratch(n->b, n->i, n->j, n->d, &last));
    caps_status status;
    CAPS_TRY(caps_votes_forward(rt, &votes, u, w, err));
    CAPS_TRY(caps_routing_forward(rt, v, &routing, &votes, bias, &last, err));
done:
    return status;
}

static caps_status stored_backward(caps_runtime *rt, const caps_tensor *du, const caps_tensor *dw,
    const caps_tensor *dbias, const caps_tensor *dv, const caps_class_caps_state *state,
    const caps_tensor *u, const caps_tensor *w, const caps_class_caps *n,
    const caps_tensor *workspace, caps_error *err)
{
    const size_t scratch = caps_routing_scratch(n->b, n->i, n->j, n->d, &n->routing);
    const caps_tensor votes = votes_in(&state->votes, 0, n);
    const caps_tensor dvotes = votes_in(workspace, scratch, n);
    caps_routing_state routing = stored_state(state, workspace, scratch);
    caps_status status;
    CAPS_TRY(caps_routing_backward(rt, &dvotes, dbias, dv, &routing, &votes, &n->routing, err));
    CAPS_TRY(caps_votes_backward(rt, du, dw, &dvotes, u, w, err));
done:
    return status;
}

/* ---- the operation -------------------------------------------------------------------------- */

caps_status caps_class_caps_forward(caps_runtime *rt, const caps_tensor *v,
    caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *bias, const caps_class_caps *shape, const caps_tensor *workspace,
    caps_error *err)
{
    caps_class_caps n;
    caps_status status;
    CAPS_TRY(class_caps_check(rt, &n, state, u, w, shape, workspace, false, err));
    CAPS_TRY(
        caps_require_tensor("class_caps", "v", v, CAPS_F32, 3, (size_t[]){n.b, n.j, n.d}, err));
    if (bias)
        CAPS_TRY(caps_require_tensor(
            "class_caps", "bias", bias, CAPS_F32, 2, (size_t[]){n.j, n.d}, err));
    CAPS_TRY((is_fused(rt, &n) ? caps_routing_fused_forward : stored_forward)(
        rt, v, state, u, w, bias, &n, workspace, err));
done:
    return status;
}

caps_status caps_class_caps_backward(caps_runtime *rt, const caps_tensor *du, const caps_tensor *dw,
    const caps_tensor *dbias, const caps_tensor *dv, const caps_class_caps_state *state,
    const caps_tensor *u, const caps_tensor *w, const caps_class_caps *shape,
    const caps_tensor *workspace, caps_error *err)
{
    caps_class_caps n;
    caps_status status;
    CAPS_TRY(class_caps_check(rt, &n, state, u, w, shape, workspace, true, err));
    CAPS_TRY(
        caps_require_tensor("class_caps", "dv", dv, CAPS_F32, 3, (size_t[]){n.b, n.j, n.d}, err));
    if (du)
        CAPS_TRY(caps_require_tensor("class_caps", "du", du, CAPS_F32, 3, u->shape, err));
    if (dw)
        CAPS_TRY(caps_require_tensor("class_caps", "dw", dw, CAPS_F32, 4, w->shape, err));
    if (dbias)
        CAPS_TRY(caps_require_tensor(
            "class_caps", "dbias", dbias, CAPS_F32, 2, (size_t[]){n.j, n.d}, err));
    CAPS_TRY((is_fused(rt, &n) ? caps_routing_fused_backward : stored_backward)(
        rt, du, dw, dbias, dv, state, u, w, &n, workspace, err));
done:
    return status;
}
