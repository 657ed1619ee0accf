/* routing_fused_gpu.c: GPU family of class capsules without stored votes; kernels in
 * cl/routing_tiled_gpu.clt and cl/routing_tiled_gradient_gpu.clt and, for what is left once the
 * votes are summed, cl/routing_gpu.cl.
 *
 * Workspace, in floats. Both directions begin with `partial` [B, chunks, J, D]. Forward: then x
 * [B,J,D]. Backward: then gs [steps, B, J, D], then G [steps - 1, B, I, J] of the iterations but
 * the first that counts. Each begins at a multiple of four floats. */
#include <assert.h>
#include <stdio.h>

#include "routing_fused_gpu.h"

#include "call.h"
#include "fail.h"
#include "require.h"
#include "routing_tiles.h"

#define FUSED_GROUP 128 /* items in a work-group of what is not a pass over votes */
#define OPTIONS     256

typedef struct layout {
    size_t chunk, chunks; /* input capsules of a partial sum; how many sums */
    size_t steps;         /* iterations that the gradient goes through */
    size_t capsules;      /* B J D */
    size_t links;         /* B I J */
    size_t partial, gs;   /* elements with what fills up four */
} layout;

static layout layout_of(const caps_fused *n)
{
    layout l = {
        .chunk = caps_routing_chunk(n->i),
        .steps = n->routing.grad == CAPS_ROUTING_GRAD_FULL ? n->routing.iterations : 1,
        .capsules = n->b * n->j * n->d,
        .links = n->b * n->i * n->j,
    };
    l.chunks = caps_div_up(n->i, l.chunk);
    l.partial = caps_round_up(l.capsules * l.chunks, 4);
    l.gs = caps_round_up(l.steps * l.capsules, 4);
    return l;
}

bool caps_routing_fused_gpu_fits(const caps_runtime *rt, const caps_fused *n)
{
    caps_routing_tiles tiles;
    caps_routing_gradient_tiles gradient;
    return caps_routing_tiles_choose(&tiles, rt, n) &&
           caps_routing_gradient_tiles_choose(&gradient, rt, n);
}

/* With three floats more for a workspace that begins between two fours. */
size_t caps_routing_fused_gpu_workspace(const caps_fused *n, bool training)
{
    const layout l = layout_of(n);
    const size_t back = training ? l.gs + (l.steps - 1) * l.links : 0;
    return l.partial + (back > l.capsules ? back : l.capsules) + 3;
}

static caps_tensor fused_gpu_part(const caps_tensor *workspace, size_t skip, size_t count)
{
    const size_t begin = caps_round_up(workspace->offset, 4) + skip;
    return caps_tensor_wrap(workspace->buffer, begin, CAPS_F32, 1, &count);
}

/* ---- launches ------------------------------------------------------------------------------- */

static bool in_fours(const caps_tensor *t)
{
    return t->offset % 4 == 0;
}

/* A pass over the votes; c has the tensors. leaky: a last argument, or -1 for none. */
static caps_status launch_pass(caps_runtime *rt, const char *kernel, caps_call *c,
    const caps_tensor *u, const caps_tensor *w, const caps_fused *n, int leaky, caps_error *err)
{
    caps_routing_tiles t;
    const bool fits = caps_routing_tiles_choose(&t, rt, n);
    assert(fits);
    (void)fits;
    const bool fours = n->k % 4 == 0 && t.kc % 4 == 0 && in_fours(u) && in_fours(w);
    char options[OPTIONS];
    snprintf(options, sizeof options,
        " -DROUTING_J=%zu -DROUTING_D=%zu -DROUTING_K=%zu -DROUTING_WM=%zu -DROUTING_WN=%zu "
        "-DROUTING_LM=%zu -DROUTING_KC=%zu -DROUTING_FOURS=%d",
        n->j, n->d, n->k, t.wm, t.wn, t.lm, t.kc, fours);
    caps_put_sizes(c, (size_t[]){t.chunk, t.chunks, n->b, n->i}, 4);
    if (leaky >= 0)
        caps_put_uint(c, (size_t)leaky);
    const caps_template template = {"routing_tiled_gpu.clt", options};
    const size_t global = caps_div_up(n->b, t.batch) * t.chunks * t.items;
    return caps_launch_template(
        rt, &template, kernel, c->args, c->count, 1, &global, &t.items, err);
}

/* Rows for each output capsule of the batch; c has the tensors. first: 0, 1 or -1 for no such
 * argument. */
static caps_status launch_rows(caps_runtime *rt, const char *kernel, caps_call *c,
    const caps_fused *n, size_t chunks, int first, caps_error *err)
{
    const size_t group = caps_group_size(rt, FUSED_GROUP), width = caps_row_width(n->d, group);
    const size_t parts = caps_routing_parts(group, width, chunks), rows = n->b * n->j;
    caps_put_local(c, group);
    caps_put_sizes(c, (size_t[]){rows, chunks, n->j, n->d, width, parts, n->routing.squash}, 7);
    if (first >= 0)
        caps_put_uint(c, (size_t)first);
    return caps_call_groups(rt, kernel, c, caps_div_up(rows, group / (width * parts)), group, err);
}

/* dbias[j,d] = sum over steps and batch of gs. */
static caps_status launch_dbias(caps_runtime *rt, const caps_tensor *dbias, const caps_tensor *gs,
    const caps_fused *n, size_t steps, caps_error *err)
{
    const size_t group = caps_group_size(rt, FUSED_GROUP);
    const size_t columns = caps_row_width(n->j * n->d, group < 16 ? group : 16);
    caps_call c = {0};
    caps_put_tensor(&c, dbias);
    caps_put_tensor(&c, gs);
    caps_put_local(&c, group);
    caps_put_sizes(&c, (size_t[]){steps * n->b, n->j, n->d, columns}, 4);
    return caps_call_groups(rt, "routing_dbias", &c, caps_div_up(n->j * n->d, columns), group, err);
}

/* terms: couplings, gs, G and v, of which dvotes are made. */
static caps_status launch_gradient(caps_runtime *rt, const caps_tensor *du, const caps_tensor *dw,
    const caps_tensor *const terms[4], const caps_tensor *u, const caps_tensor *w,
    const caps_fused *n, size_t steps, caps_error *err)
{
    caps_routing_gradient_tiles t;
    const bool fits = caps_routing_gradient_tiles_choose(&t, rt, n);
    assert(fits);
    (void)fits;
    const bool fours =
        t.v == 4 && n->k % 4 == 0 && in_fours(terms[1]) && in_fours(terms[3]) && in_fours(w);
    char options[OPTIONS];
    snprintf(options, sizeof options,
        " -DROUTING_J=%zu -DROUTING_D=%zu -DROUTING_K=%zu -DROUTING_STEPS=%zu -DROUTING_CI=%zu "
        "-DROUTING_SB=%zu -DROUTING_V=%zu -DROUTING_KV=%zu -DROUTING_ITEMS=%zu -DROUTING_FOURS=%d",
        n->j, n->d, n->k, steps, t.ci, t.sb, t.v, t.kv, t.items, fours);
    caps_call c = {0};
    caps_put_tensor(&c, du);
    caps_put_tensor(&c, dw);
    for (size_t x = 0; x < 4; x++)
        caps_put_tensor(&c, terms[x]);
    caps_put_tensor(&c, u);
    caps_put_tensor(&c, w);
    caps_put_sizes(&c, (size_t[]){n->b, n->i}, 2);
    const caps_template template = {"routing_tiled_gradient_gpu.clt", options};
    const size_t global = caps_div_up(n->i, t.ci) * t.items;
    return caps_launch_template(
        rt, &template, "routing_tiled_gradient", c.args, c.count, 1, &global, &t.items, err);
}

/* ---- both directions ------------------------------------------------------------------------ */

caps_status caps_routing_fused_gpu_forward(caps_runtime *rt, const caps_tensor *v,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *bias, const caps_fused *n, const caps_tensor *workspace, caps_error *err)
{
    const layout l = layout_of(n);
    const caps_tensor partial = fused_gpu_part(workspace, 0, l.capsules * l.chunks);
    const caps_tensor x = fused_gpu_part(workspace, l.partial, l.capsules);
    caps_status status = CAPS_OK;
    for (size_t t = 0; t < n->routing.iterations; t++) {
        const bool last = t + 1 == n->routing.iterations;
        const caps_tensor c_t = caps_tensor_rows(&state->couplings, t, 1);
        const caps_tensor s_t = caps_tensor_rows(&state->s, t, 1);
        const caps_tensor v_t = caps_tensor_rows(&state->v, t, 1);
        caps_call pass = {0}, reduce = {0};
        caps_put_tensor(&pass, &partial);
        caps_put_tensor(&pass, &c_t);
        caps_put_tensor(&pass, u);
        caps_put_tensor(&pass, w);
        if (t > 0)
            caps_put_tensor(&pass, &x);
        CAPS_TRY(launch_pass(rt, t == 0 ? "routing_tiled_first" : "routing_tiled_pass", &pass, u, w,
            n, n->routing.leaky, err));
        caps_put_tensor(&reduce, &s_t);
        caps_put_tensor(&reduce, &v_t);
        caps_put_tensor(&reduce, last ? NULL : &x);
        caps_put_tensor(&reduce, last ? v : NULL);
        caps_put_tensor(&reduce, &partial);
        caps_put_tensor(&reduce, bias);
        CAPS_TRY(launch_rows(rt, "routing_reduce", &reduce, n, l.chunks, t == 0, err));
    }
done:
    return status;
}

caps_status caps_routing_fused_gpu_backward(caps_runtime *rt, const caps_tensor *du,
    const caps_tensor *dw, const caps_tensor *dbias, const caps_tensor *dv,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_fused *n, const caps_tensor *workspace, caps_error *err)
{
    const layout l = layout_of(n);
    const size_t gs_at = l.partial, g_at = gs_at + l.gs;
    const size_t begin = n->routing.iterations - l.steps; /* the first iteration that counts */
    const caps_tensor partial = fused_gpu_part(workspace, 0, l.capsules * l.chunks);
    const caps_tensor gs = fused_gpu_part(workspace, gs_at, l.steps * l.capsules);
    const caps_tensor g = fused_gpu_part(workspace, l.steps > 1 ? g_at : gs_at, l.links);
    const caps_tensor couplings = caps_tensor_rows(&state->couplings, begin, l.steps);
    const caps_tensor v = caps_tensor_rows(&state->v, begin, l.steps);
    caps_status status;
    for (size_t step = l.steps; step-- > 0;) {
        const bool last = step + 1 == l.steps;
        const caps_tensor gs_t = fused_gpu_part(workspace, gs_at + step * l.capsules, l.capsules);
        const caps_tensor s_t = caps_tensor_rows(&state->s, begin + step, 1);
        caps_call squash = {0}, back = {0};
        caps_put_tensor(&squash, &gs_t);
        caps_put_tensor(&squash, last ? dv : &partial);
        caps_put_tensor(&squash, &s_t);
        CAPS_TRY(launch_rows(rt, "routing_gs", &squash, n, last ? 1 : l.chunks, -1, err));
        if (step == 0)
            break;
        const caps_tensor g_t = fused_gpu_part(workspace, g_at + (step - 1) * l.links, l.links);
        const caps_tensor next = fused_gpu_part(workspace, g_at + step * l.links, l.links);
        const caps_tensor c_t = caps_tensor_rows(&couplings, step, 1);
        caps_put_tensor(&back, &partial);
        caps_put_tensor(&back, &g_t);
        caps_put_tensor(&back, u);
        caps_put_tensor(&back, w);
        caps_put_tensor(&back, &gs_t);
        caps_put_tensor(&back, &c_t);
        caps_put_tensor(&back, last ? NULL : &next);
        CAPS_TRY(launch_pass(rt, "routing_tiled_back", &back, u, w, n, -1, err));
    }

    const caps_tensor *const terms[] = {&couplings, &gs, &g, &v};
    if (du || dw)
        CAPS_TRY(launch_gradient(rt, du, dw, terms, u, w, n, l.steps, err));
    if (dbias)
        CAPS_TRY(launch_dbias(rt, dbias, &gs, n, l.steps, err));
done:
    return status;
}
