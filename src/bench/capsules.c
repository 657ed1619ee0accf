/* capsules.c: what layers of capsules are made of. */
#include <stdio.h>

#include "bench_problem.h"

#include "fail.h"

/* ---- group: t = u, z ------------------------------------------------------------------------- */

static caps_status group_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_group_forward(p->b->rt, &p->t[0], &p->t[1], err);
}

static caps_status group_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_group_backward(p->b->rt, &p->t[1], &p->t[0], err);
}

static caps_status group_measure(
    const caps_bench *b, const caps_bench_layer *layer, caps_error *err)
{
    caps_bench_problem p = {.b = b};
    const caps_layer_problem *conv = &layer->problem;
    const size_t dim = conv->dim, types = conv->types;
    const size_t h = caps_bench_conv_height(conv), w = caps_bench_conv_width(conv);
    const size_t u[] = {b->batch, types * h * w, dim}, z[] = {b->batch, types * dim, h, w};
    const double n = (double)(u[0] * u[1]) * (double)dim;
    caps_status status = CAPS_OK;
    char text[CAPS_BENCH_SHAPE_TEXT], name[CAPS_LAYER_NAME + 1];
    if (types == 0)
        return CAPS_OK;
    caps_bench_prefix(name, layer, b->network->with_types);
    CAPS_TRY(caps_bench_add(&p, 3, u, err));
    CAPS_TRY(caps_bench_add(&p, 4, z, err));
    snprintf(
        text, sizeof text, "%sforward B=%zu T=%zu K=%zu %zux%zu", name, b->batch, types, dim, h, w);
    CAPS_TRY(caps_bench_problem_measure(&p, group_forward, "group", text, NULL, 0, 8 * n, err));
    snprintf(text, sizeof text, "%sbackward B=%zu T=%zu K=%zu %zux%zu", name, b->batch, types, dim,
        h, w);
    CAPS_TRY(caps_bench_problem_measure(&p, group_backward, "group", text, NULL, 0, 8 * n, err));
done:
    caps_bench_problem_release(&p);
    return status;
}

caps_status caps_bench_group(const caps_bench *b, caps_error *err)
{
    return caps_bench_walk(b, CAPS_PROBLEM_CONV, group_measure, err);
}

/* ---- squash: t = v, s, ds, dv --------------------------------------------------------------- */

static caps_status squash_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_squash_forward(p->b->rt, &p->t[0], &p->t[1], p->squash, err);
}

static caps_status squash_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_squash_backward(p->b->rt, &p->t[2], &p->t[3], &p->t[1], p->squash, err);
}

static caps_status squash_measure(
    const caps_bench *b, const caps_bench_layer *layer, caps_error *err)
{
    caps_bench_problem p = {.b = b, .squash = layer->problem.squash};
    const caps_layer_problem *conv = &layer->problem;
    const size_t shape[] = {b->batch,
        conv->types * caps_bench_conv_height(conv) * caps_bench_conv_width(conv), conv->dim};
    const double n = (double)(shape[0] * shape[1]) * (double)shape[2];
    caps_status status = CAPS_OK;
    char text[CAPS_BENCH_SHAPE_TEXT], name[CAPS_LAYER_NAME + 1];
    if (conv->types == 0)
        return CAPS_OK;
    caps_bench_prefix(name, layer, b->network->with_types);
    for (int t = 0; t < 4; t++)
        CAPS_TRY(caps_bench_add(&p, 3, shape, err));
    snprintf(text, sizeof text, "%sforward B=%zu I=%zu K=%zu", name, shape[0], shape[1], shape[2]);
    CAPS_TRY(
        caps_bench_problem_measure(&p, squash_forward, "squash", text, NULL, 3 * n, 8 * n, err));
    snprintf(text, sizeof text, "%sbackward B=%zu I=%zu K=%zu", name, shape[0], shape[1], shape[2]);
    CAPS_TRY(
        caps_bench_problem_measure(&p, squash_backward, "squash", text, NULL, 7 * n, 12 * n, err));
done:
    caps_bench_problem_release(&p);
    return status;
}

caps_status caps_bench_squash(const caps_bench *b, caps_error *err)
{
    return caps_bench_walk(b, CAPS_PROBLEM_CONV, squash_measure, err);
}

/* ---- votes: t = votes, u, w, du, dw, dvotes ------------------------------------------------- */

static caps_status votes_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_votes_forward(p->b->rt, &p->t[0], &p->t[1], &p->t[2], err);
}

static caps_status votes_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_votes_backward(p->b->rt, &p->t[3], &p->t[4], &p->t[5], &p->t[1], &p->t[2], err);
}

static caps_status votes_measure(
    const caps_bench *b, const caps_bench_layer *layer, caps_error *err)
{
    caps_bench_problem p = {.b = b};
    const caps_class_caps *c = &layer->problem.class_caps;
    const size_t i = c->i, j = c->j, d = c->d, k = c->k;
    const size_t votes[] = {b->batch, i, j, d}, u[] = {b->batch, i, k}, w[] = {i, j, d, k};
    const double nv = (double)(b->batch * i) * (double)(j * d), nu = (double)(b->batch * i * k);
    const double nw = (double)(i * j) * (double)(d * k), flops = 2 * nv * (double)k;
    caps_status status;
    char text[CAPS_BENCH_SHAPE_TEXT], name[CAPS_LAYER_NAME + 1];
    caps_bench_prefix(name, layer, b->network->of_type[CAPS_PROBLEM_CAPS]);
    CAPS_TRY(caps_bench_add(&p, 4, votes, err));
    CAPS_TRY(caps_bench_add(&p, 3, u, err));
    CAPS_TRY(caps_bench_add(&p, 4, w, err));
    CAPS_TRY(caps_bench_add(&p, 3, u, err));
    CAPS_TRY(caps_bench_add(&p, 4, w, err));
    CAPS_TRY(caps_bench_add(&p, 4, votes, err));
    snprintf(
        text, sizeof text, "%sforward B=%zu I=%zu J=%zu D=%zu K=%zu", name, b->batch, i, j, d, k);
    CAPS_TRY(caps_bench_problem_measure(
        &p, votes_forward, "votes", text, NULL, flops, 4 * (nv + nu + nw), err));
    snprintf(
        text, sizeof text, "%sbackward B=%zu I=%zu J=%zu D=%zu K=%zu", name, b->batch, i, j, d, k);
    CAPS_TRY(caps_bench_problem_measure(
        &p, votes_backward, "votes", text, NULL, 2 * flops, 4 * (nv + 2 * nu + 2 * nw), err));
done:
    caps_bench_problem_release(&p);
    return status;
}

caps_status caps_bench_votes(const caps_bench *b, caps_error *err)
{
    return caps_bench_walk(b, CAPS_PROBLEM_CAPS, votes_measure, err);
}

/* ---- class capsules: t = v, u, w, dv, du, dw, couplings, s, v_t, workspace, votes ------------ */

static caps_status class_caps_forward(void *context, caps_error *err)
{
    caps_bench_problem *p = context;
    return caps_class_caps_forward(p->b->rt, &p->t[0], &p->class_state, &p->t[1], &p->t[2], NULL,
        &p->class_caps, &p->t[9], err);
}

static caps_status class_caps_backward(void *context, caps_error *err)
{
    caps_bench_problem *p = context;
    return caps_class_caps_backward(p->b->rt, &p->t[4], &p->t[5], NULL, &p->t[3], &p->class_state,
        &p->t[1], &p->t[2], &p->class_caps, &p->t[9], err);
}

/* Votes and routing together. Counts are those of the equations with votes formed once. */
static caps_status class_caps_measure(const caps_bench *b, const caps_bench_layer *layer,
    caps_routing_algorithm algorithm, caps_error *err)
{
    caps_bench_problem p = {.b = b};
    p.class_caps = layer->problem.class_caps;
    p.class_caps.b = b->batch;
    p.class_caps.algorithm = algorithm;
    const size_t n = b->batch, i = p.class_caps.i, j = p.class_caps.j, d = p.class_caps.d;
    const size_t k = p.class_caps.k, r = p.class_caps.routing.iterations;
    const size_t u[] = {n, i, k}, w[] = {i, j, d, k}, v[] = {n, j, d};
    const size_t c_shape[] = {r, n, i, j}, s_shape[] = {r, n, j, d};
    const bool full = p.class_caps.routing.grad == CAPS_ROUTING_GRAD_FULL;
    const caps_class_caps_workspace workspace =
        caps_class_caps_workspace_of(b->rt, &p.class_caps, true);
    const double nv = (double)(n * i) * (double)(j * d), steps = full ? (double)r : 1;
    const double nu = (double)(n * i * k), nw = (double)(i * j) * (double)(d * k);
    const double nc = (double)r * (double)(n * i * j), form = 2 * nv * (double)k;
    const char *by = caps_routing_algorithm_name(algorithm);
    caps_status status;
    char text[CAPS_BENCH_SHAPE_TEXT];
    CAPS_TRY(caps_bench_add(&p, 3, v, err));
    CAPS_TRY(caps_bench_add(&p, 3, u, err));
    CAPS_TRY(caps_bench_add(&p, 4, w, err));
    CAPS_TRY(caps_bench_add(&p, 3, v, err));
    CAPS_TRY(caps_bench_add(&p, 3, u, err));
    CAPS_TRY(caps_bench_add(&p, 4, w, err));
    CAPS_TRY(caps_bench_add(&p, 4, c_shape, err));
    CAPS_TRY(caps_bench_add(&p, 4, s_shape, err));
    CAPS_TRY(caps_bench_add(&p, 4, s_shape, err));
    CAPS_TRY(caps_bench_add(&p, 1, &workspace.workspace, err));
    p.class_state = (caps_class_caps_state){.couplings = p.t[6], .s = p.t[7], .v = p.t[8]};
    if (workspace.votes) {
        CAPS_TRY(caps_bench_add(&p, 1, &workspace.votes, err));
        p.class_state.votes = p.t[10];
    }
    snprintf(text, sizeof text, "%s forward B=%zu I=%zu J=%zu D=%zu K=%zu r=%zu", layer->name, n, i,
        j, d, k, r);
    CAPS_TRY(caps_bench_problem_measure(&p, class_caps_forward, "routing", text, by,
        form + (4 * (double)r - 2) * nv, 4 * (nu + nw + nc), err));
    snprintf(text, sizeof text, "%s backward B=%zu I=%zu J=%zu D=%zu K=%zu r=%zu %s", layer->name,
        n, i, j, d, k, r, full ? "full" : "last");
    CAPS_TRY(caps_bench_problem_measure(&p, class_caps_backward, "routing", text, by,
        2 * form + (4 * (steps - 1) + 2 * (2 * steps - 1)) * nv, 4 * (2 * nu + 2 * nw + nc), err));
done:
    caps_bench_problem_release(&p);
    return status;
}

/* ---- routing: t = v, votes, dvotes, dv, couplings, s, v_t, scratch -------------------------- */

static caps_status routing_forward(void *context, caps_error *err)
{
    caps_bench_problem *p = context;
    return caps_routing_forward(p->b->rt, &p->t[0], &p->state, &p->t[1], NULL, &p->routing, err);
}

static caps_status routing_backward(void *context, caps_error *err)
{
    caps_bench_problem *p = context;
    return caps_routing_backward(
        p->b->rt, &p->t[2], NULL, &p->t[3], &p->state, &p->t[1], &p->routing, err);
}

static caps_status routing_measure(
    const caps_bench *b, const caps_bench_layer *layer, caps_error *err)
{
    caps_bench_problem p = {.b = b};
    const caps_class_caps *c = &layer->problem.class_caps;
    const size_t n = b->batch, i = c->i, j = c->j, d = c->d, r = c->routing.iterations;
    const size_t votes[] = {n, i, j, d}, v[] = {n, j, d};
    const size_t c_shape[] = {r, n, i, j}, s_shape[] = {r, n, j, d};
    p.routing = c->routing;
    const bool full = p.routing.grad == CAPS_ROUTING_GRAD_FULL;
    const size_t workspace = caps_routing_scratch(n, i, j, d, &p.routing);
    const double nv = (double)(n * i) * (double)(j * d), steps = full ? (double)r : 1;
    caps_status status;
    char text[CAPS_BENCH_SHAPE_TEXT], name[CAPS_LAYER_NAME + 1];
    caps_bench_prefix(name, layer, b->network->of_type[CAPS_PROBLEM_CAPS]);
    CAPS_TRY(caps_bench_add(&p, 3, v, err));
    CAPS_TRY(caps_bench_add(&p, 4, votes, err));
    CAPS_TRY(caps_bench_add(&p, 4, votes, err));
    CAPS_TRY(caps_bench_add(&p, 3, v, err));
    CAPS_TRY(caps_bench_add(&p, 4, c_shape, err));
    CAPS_TRY(caps_bench_add(&p, 4, s_shape, err));
    CAPS_TRY(caps_bench_add(&p, 4, s_shape, err));
    CAPS_TRY(caps_bench_add(&p, 1, &workspace, err));
    p.state =
        (caps_routing_state){.couplings = p.t[4], .s = p.t[5], .v = p.t[6], .scratch = p.t[7]};
    p.footprint = 4 * nv; /* the same votes again and again */
    /* An iteration reads the votes once: logits (but the first) and sum. Backward: the votes once
     * for each iteration but the first that counts; then dvotes, 2 steps - 1 terms. */
    snprintf(text, sizeof text, "%sforward B=%zu I=%zu J=%zu D=%zu r=%zu", name, n, i, j, d, r);
    CAPS_TRY(caps_bench_problem_measure(&p, routing_forward, "routing", text, NULL,
        (4 * (double)r - 2) * nv, 4 * (double)r * nv, err));
    snprintf(text, sizeof text, "%sbackward B=%zu I=%zu J=%zu D=%zu r=%zu %s", name, n, i, j, d, r,
        full ? "full" : "last");
    CAPS_TRY(caps_bench_problem_measure(&p, routing_backward, "routing", text, NULL,
        (4 * (steps - 1) + 2 * (2 * steps - 1)) * nv, 4 * steps * nv, err));
    CAPS_TRY(class_caps_measure(b, layer, CAPS_ROUTING_STORED, err));
    CAPS_TRY(class_caps_measure(b, layer, CAPS_ROUTING_FUSED, err));
done:
    caps_bench_problem_release(&p);
    return status;
}

caps_status caps_bench_routing(const caps_bench *b, caps_error *err)
{
    return caps_bench_walk(b, CAPS_PROBLEM_CAPS, routing_measure, err);
}

/* ---- attention: t = v, u, w, prior, dv, du, dw, dprior, couplings, total, s, workspace ------- */

static caps_status attention_forward(void *context, caps_error *err)
{
    caps_bench_problem *p = context;
    return caps_attention_forward(p->b->rt, &p->t[0], &p->attention_state, &p->t[1], &p->t[2],
        &p->t[3], &p->attention, &p->t[11], err);
}

static caps_status attention_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_attention_backward(p->b->rt, &p->t[5], &p->t[6], &p->t[7], &p->t[4],
        &p->attention_state, &p->t[1], &p->t[2], &p->t[3], &p->attention, &p->t[11], err);
}

static caps_status attention_measure(
    const caps_bench *b, const caps_bench_layer *layer, caps_error *err)
{
    const caps_class_caps *c = &layer->problem.class_caps;
    const size_t n = b->batch, i = c->i, j = c->j, d = c->d, k = c->k;
    caps_bench_problem p = {
        .b = b, .attention = {.b = n, .i = i, .j = j, .d = d, .k = k, .squash = c->routing.squash}};
    const size_t v[] = {n, j, d}, u[] = {n, i, k}, w[] = {i, j, d, k}, between[] = {n, i, j};
    const size_t workspace = caps_attention_workspace(&p.attention, true);
    const double nv = (double)(n * i) * (double)(j * d), nw = (double)(i * j) * (double)(d * k);
    const double nu = (double)(n * i * k), nc = (double)(n * i * j);
    caps_status status;
    char text[CAPS_BENCH_SHAPE_TEXT], name[CAPS_LAYER_NAME + 1];
    caps_bench_prefix(name, layer, b->network->of_type[CAPS_PROBLEM_ATTENTION]);
    for (int t = 0; t < 2; t++) { /* forward's arrays, and their gradients */
        CAPS_TRY(caps_bench_add(&p, 3, v, err));
        CAPS_TRY(caps_bench_add(&p, 3, u, err));
        CAPS_TRY(caps_bench_add(&p, 4, w, err));
        CAPS_TRY(caps_bench_add(&p, 2, between + 1, err));
    }
    CAPS_TRY(caps_bench_add(&p, 3, between, err));
    CAPS_TRY(caps_bench_add(&p, 3, v, err));
    CAPS_TRY(caps_bench_add(&p, 3, v, err));
    CAPS_TRY(caps_bench_add(&p, 1, &workspace, err));
    p.attention_state = (caps_attention_state){.couplings = p.t[8], .total = p.t[9], .s = p.t[10]};
    snprintf(text, sizeof text, "%sforward B=%zu I=%zu J=%zu D=%zu K=%zu", name, n, i, j, d, k);
    CAPS_TRY(caps_bench_problem_measure(&p, attention_forward, "attention", text, NULL,
        2 * nv * (double)k + 5 * nv, 4 * (nu + nw + nc), err));
    snprintf(text, sizeof text, "%sbackward B=%zu I=%zu J=%zu D=%zu K=%zu", name, n, i, j, d, k);
    CAPS_TRY(caps_bench_problem_measure(&p, attention_backward, "attention", text, NULL,
        6 * nv * (double)k + 10 * nv, 4 * (2 * nu + 2 * nw + nc), err));
done:
    caps_bench_problem_release(&p);
    return status;
}

caps_status caps_bench_attention(const caps_bench *b, caps_error *err)
{
    return caps_bench_walk(b, CAPS_PROBLEM_ATTENTION, attention_measure, err);
}
