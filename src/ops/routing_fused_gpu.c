/* routing_fused_gpu.c: GPU family of class capsules without stored votes; kernels in
 * cl/routing_fused_gpu.cl and, for what is left once the votes are summed, cl/routing_gpu.cl.
 *
 * Workspace, in floats. Both directions begin with `partial` [B, chunks, J, D]. Forward: then x
 * [B,J,D]. Backward: then gs [steps, B, J, D], then G [steps - 1, B, I, J] of the iterations but
 * the first that counts. */
#include "routing_fused_gpu.h"

#include "call.h"
#include "fail.h"
#include "require.h"

#define FUSED_GROUP 128 /* items in a work-group */
#define FUSED_WIDTH 16  /* lanes of a dot product, at most */
/* As in the kernels: */
#define FUSED_CHUNK   32 /* input capsules of a partial sum, */
#define FUSED_SAMPLES 4  /* samples of a work-group, */
#define FUSED_STEP    16 /* and outputs whose dvotes lie in local memory at once */

typedef struct layout {
    size_t chunks, blocks; /* of input capsules, of samples */
    size_t steps;          /* iterations that the gradient goes through */
    size_t capsules;       /* B J D */
    size_t links;          /* B I J */
    size_t group, width;
} layout;

static layout layout_of(const caps_fused *n)
{
    return (layout){
        .chunks = caps_div_up(n->i, FUSED_CHUNK),
        .blocks = caps_div_up(n->b, FUSED_SAMPLES),
        .steps = n->routing.grad == CAPS_ROUTING_GRAD_FULL ? n->routing.iterations : 1,
        .capsules = n->b * n->j * n->d,
        .links = n->b * n->i * n->j,
    };
}

static layout launch_layout(const caps_runtime *rt, const caps_fused *n)
{
    layout l = layout_of(n);
    l.group = caps_group_size(rt, FUSED_GROUP);
    l.width = caps_row_width(n->d, l.group < FUSED_WIDTH ? l.group : FUSED_WIDTH);
    return l;
}

size_t caps_routing_fused_gpu_workspace(const caps_fused *n, bool training)
{
    const layout l = layout_of(n);
    const size_t back = training ? l.steps * l.capsules + (l.steps - 1) * l.links : 0;
    return l.capsules * l.chunks + (back > l.capsules ? back : l.capsules);
}

static caps_tensor fused_gpu_part(const caps_tensor *workspace, size_t skip, size_t count)
{
    return caps_tensor_wrap(workspace->buffer, workspace->offset + skip, CAPS_F32, 1, &count);
}

/* A pass over the votes; c has the tensors. first: 0 or 1 for the forward's last two arguments,
 * first and leaky; -1 for none. */
static caps_status launch_pass(caps_runtime *rt, const char *kernel, caps_call *c,
    const caps_fused *n, const layout *l, int first, caps_error *err)
{
    const size_t round = l->group < FUSED_SAMPLES ? 1 : l->group / FUSED_SAMPLES;
    caps_put_local(c, FUSED_SAMPLES * round * (l->width + 1));
    caps_put_sizes(c, (size_t[]){l->chunks, n->b, n->i, n->j, n->d, n->k, l->width}, 7);
    if (first >= 0)
        caps_put_sizes(c, (size_t[]){(size_t)first, n->routing.leaky}, 2);
    return caps_call_groups(rt, kernel, c, l->blocks * l->chunks, l->group, err);
}

/* A row for each output capsule of the batch; c has the tensors. first: 0, 1 or -1 for no such
 * argument. */
static caps_status launch_rows(caps_runtime *rt, const char *kernel, caps_call *c,
    const caps_fused *n, const layout *l, size_t chunks, int first, caps_error *err)
{
    const size_t width = caps_row_width(n->d, l->group), rows = n->b * n->j;
    caps_put_local(c, l->group);
    caps_put_sizes(c, (size_t[]){rows, chunks, n->j, n->d, width, n->routing.squash}, 6);
    if (first >= 0)
        caps_put_uint(c, (size_t)first);
    return caps_call_groups(rt, kernel, c, caps_div_up(rows, l->group / width), l->group, err);
}

caps_status caps_routing_fused_gpu_forward(caps_runtime *rt, const caps_tensor *v,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *bias, const caps_fused *n, const caps_tensor *workspace, caps_error *err)
{
    const layout l = launch_layout(rt, n);
    const caps_tensor partial = fused_gpu_part(workspace, 0, l.capsules * l.chunks);
    const caps_tensor x = fused_gpu_part(workspace, l.capsules * l.chunks, l.capsules);
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
        caps_put_tensor(&pass, &x);
        CAPS_TRY(launch_pass(rt, "routing_fused_pass", &pass, n, &l, t == 0, err));
        caps_put_tensor(&reduce, &s_t);
        caps_put_tensor(&reduce, &v_t);
        caps_put_tensor(&reduce, last ? NULL : &x);
        caps_put_tensor(&reduce, last ? v : NULL);
        caps_put_tensor(&reduce, &partial);
        caps_put_tensor(&reduce, bias);
        CAPS_TRY(launch_rows(rt, "routing_reduce", &reduce, n, &l, l.chunks, t == 0, err));
    }
done:
    return status;
}

/* dbias[j,d] = sum over steps and batch of gs. */
static caps_status launch_dbias(caps_runtime *rt, const caps_tensor *dbias, const caps_tensor *gs,
    const caps_fused *n, const layout *l, caps_error *err)
{
    const size_t columns = caps_row_width(n->j * n->d, l->group < 16 ? l->group : 16);
    caps_call c = {0};
    caps_put_tensor(&c, dbias);
    caps_put_tensor(&c, gs);
    caps_put_local(&c, l->group);
    caps_put_sizes(&c, (size_t[]){l->steps * n->b, n->j, n->d, columns}, 4);
    return caps_call_groups(
        rt, "routing_dbias", &c, caps_div_up(n->j * n->d, columns), l->group, err);
}

/* terms: couplings, gs, G and v, of which dvotes are made. */
static caps_status launch_du(caps_runtime *rt, const caps_tensor *du,
    const caps_tensor *const terms[4], const caps_tensor *w, const caps_fused *n, const layout *l,
    caps_error *err)
{
    const size_t width = caps_row_width(n->k, l->group), capsules = l->group / width;
    caps_call c = {0};
    caps_put_tensor(&c, du);
    for (size_t t = 0; t < 4; t++)
        caps_put_tensor(&c, terms[t]);
    caps_put_tensor(&c, w);
    caps_put_local(&c, FUSED_SAMPLES * capsules * FUSED_STEP);
    caps_put_sizes(&c, (size_t[]){n->b, n->i, n->j, n->d, n->k, l->steps, width}, 7);
    return caps_call_groups(
        rt, "routing_fused_du", &c, l->blocks * caps_div_up(n->i, capsules), l->group, err);
}

static caps_status launch_dw(caps_runtime *rt, const caps_tensor *dw,
    const caps_tensor *const terms[4], const caps_tensor *u, const caps_fused *n, const layout *l,
    caps_error *err)
{
    const size_t groups = caps_div_up(n->i * n->j * n->d, l->group) * caps_div_up(n->k, 8);
    caps_call c = {0};
    caps_put_tensor(&c, dw);
    for (size_t t = 0; t < 4; t++)
        caps_put_tensor(&c, terms[t]);
    caps_put_tensor(&c, u);
    caps_put_sizes(&c, (size_t[]){n->b, n->i, n->j, n->d, n->k, l->steps}, 6);
    return caps_call_groups(rt, "routing_fused_dw", &c, groups, l->group, err);
}

caps_status caps_routing_fused_gpu_backward(caps_runtime *rt, const caps_tensor *du,
    const caps_tensor *dw, const caps_tensor *dbias, const caps_tensor *dv,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_fused *n, const caps_tensor *workspace, caps_error *err)
{
    const layout l = launch_layout(rt, n);
    const size_t gs_at = l.capsules * l.chunks, g_at = gs_at + l.steps * l.capsules;
    const size_t begin = n->routing.iterations - l.steps; /* the first iteration that counts */
    const caps_tensor partial = fused_gpu_part(workspace, 0, gs_at);
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
        CAPS_TRY(launch_rows(rt, "routing_gs", &squash, n, &l, last ? 1 : l.chunks, -1, err));
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
        CAPS_TRY(launch_pass(rt, "routing_fused_back", &back, n, &l, -1, err));
    }

    const caps_tensor *const terms[] = {&couplings, &gs, &g, &v};
    if (du)
        CAPS_TRY(launch_du(rt, du, terms, w, n, &l, err));
    if (dw)
        CAPS_TRY(launch_dw(rt, dw, terms, u, n, &l, err));
    if (dbias)
        CAPS_TRY(launch_dbias(rt, dbias, &gs, n, &l, err));
done:
    return status;
}
