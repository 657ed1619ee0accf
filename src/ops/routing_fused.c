/* routing_fused.c: CPU family of class capsules without stored votes; kernels, equations and
 * layouts in cl/routing_fused_cpu.cl and cl/routing_fused_gradient_cpu.cl. The GPU family:
 * routing_fused_gpu.c. */
#include "routing_fused.h"

#include "routing_fused_gpu.h"
#include "call.h"
#include "fail.h"

#define LANES 16 /* samples of a group */
/* As in the kernels: */
#define FUSED_CHUNK 64 /* input capsules of a partial sum, */
#define FUSED_TILE  16 /* of what an item holds of u and of the couplings at once, */
#define FUSED_BLOCK 8  /* and of an item of dw */

typedef struct layout {
    size_t groups, chunks;
    size_t e;            /* J D */
    size_t area;         /* floats of an item's own */
    size_t steps;        /* iterations that the gradient goes through */
    size_t terms, slots; /* of dvotes, see the kernels */
} layout;

static layout layout_of(const caps_fused *n)
{
    layout l = {
        .groups = caps_div_up(n->b, LANES),
        .chunks = caps_div_up(n->i, FUSED_CHUNK),
        .e = n->j * n->d,
        .steps = n->routing.grad == CAPS_ROUTING_GRAD_FULL ? n->routing.iterations : 1,
    };
    const bool constant = l.steps < n->routing.iterations; /* couplings, and not even ones */
    l.area = LANES * (FUSED_TILE * n->k + 2 * l.e + (FUSED_TILE + 2) * n->j);
    l.terms = constant ? 1 : 2 * (l.steps - 1);
    l.slots = constant ? 1 : l.terms + 1;
    return l;
}

/* ---- workspace ------------------------------------------------------------------------------ */

/* Every part begins at a cache line, wherever the workspace begins: lines that are cut cost
 * time. */
static size_t padded(size_t count)
{
    return caps_round_up(count, LANES);
}

static caps_tensor take(caps_tensor *rest, size_t count)
{
    const size_t begin = caps_round_up(rest->offset, LANES);
    rest->offset = begin + count;
    return caps_tensor_wrap(rest->buffer, begin, CAPS_F32, 1, &count);
}

static size_t partial_count(const layout *l)
{
    return l->groups * l->chunks * l->e * LANES;
}

/* Of the items of the passes, or, of those of dw, what each holds of u. */
static size_t areas_count(const caps_fused *n, const layout *l)
{
    const size_t passes = l->groups * l->chunks * l->area;
    const size_t blocks = caps_round_up(n->i, FUSED_BLOCK) * n->b * n->k;
    return passes > blocks ? passes : blocks;
}

static size_t vec_count(const layout *l)
{
    return l->groups * l->e * l->slots * LANES;
}

static size_t z_count(const caps_fused *n, const layout *l)
{
    return n->j * caps_div_up(n->d, LANES) * n->b * l->slots * LANES;
}

static size_t coef_count(const caps_fused *n, const layout *l)
{
    return l->groups * n->i * n->j * l->terms * LANES;
}

static size_t cpu_workspace(const caps_fused *n, bool training)
{
    const layout l = layout_of(n);
    const size_t both = padded(partial_count(&l)) + padded(areas_count(n, &l)) + LANES;
    const size_t forward = padded(l.groups * l.e * LANES);
    const size_t backward = padded(vec_count(&l)) + padded(z_count(n, &l)) +
                            padded(coef_count(n, &l)) + padded(l.steps * n->b * l.e);
    return both + (training && backward > forward ? backward : forward);
}

bool caps_routing_fused_fits(const caps_runtime *rt, const caps_fused *n)
{
    if (n->routing.normalization != CAPS_NORMALIZATION_SOFTMAX)
        return false;
    return !rt || !caps_is_gpu(rt) || caps_routing_fused_gpu_fits(rt, n);
}

size_t caps_routing_fused_workspace(const caps_fused *n, bool gpu, bool training)
{
    return gpu ? caps_routing_fused_gpu_workspace(n, training) : cpu_workspace(n, training);
}

/* ---- forward -------------------------------------------------------------------------------- */

static caps_status fused_run(caps_runtime *rt, const char *kernel, const caps_call *c,
    size_t across, size_t groups, caps_error *err)
{
    return caps_launch(rt, kernel, c->args, c->count, 2, (size_t[]){across, groups}, NULL, err);
}

/* B, I, J, D, K and the area's size, as every pass ends its arguments. */
static void put_sizes(caps_call *c, const caps_fused *n, const layout *l)
{
    caps_put_sizes(c, (size_t[]){n->b, n->i, n->j, n->d, n->k, l->area}, 6);
}

/* The couplings of the first iteration, where all logits are 0, that of the leak included. */
static float even_coupling(const caps_fused *n)
{
    return 1.0f / (float)(n->j + n->routing.leaky);
}

static caps_status cpu_forward(caps_runtime *rt, const caps_tensor *v,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *bias, const caps_fused *n, const caps_tensor *workspace, caps_error *err)
{
    const layout l = layout_of(n);
    caps_tensor rest = *workspace;
    const caps_tensor partial = take(&rest, partial_count(&l)),
                      areas = take(&rest, areas_count(n, &l));
    const caps_tensor x = take(&rest, l.groups * l.e * LANES);
    caps_status status = CAPS_OK;
    for (size_t t = 0; t < n->routing.iterations; t++) {
        const bool last = t + 1 == n->routing.iterations;
        const caps_tensor c_t = caps_tensor_rows(&state->couplings, t, 1);
        const caps_tensor s_t = caps_tensor_rows(&state->s, t, 1);
        const caps_tensor v_t = caps_tensor_rows(&state->v, t, 1);
        caps_call pass = {0}, reduce = {0};
        caps_put_tensor(&pass, &partial);
        caps_put_tensor(&pass, &c_t);
        caps_put_tensor(&pass, &areas);
        caps_put_tensor(&pass, u);
        caps_put_tensor(&pass, w);
        if (t > 0)
            caps_put_tensor(&pass, &x);
        put_sizes(&pass, n, &l);
        caps_put_uint(&pass, n->routing.leaky);
        CAPS_TRY(fused_run(rt, t == 0 ? "routing_fused_first" : "routing_fused_pass", &pass,
            l.groups, l.chunks, err));
        caps_put_tensor(&reduce, &s_t);
        caps_put_tensor(&reduce, &v_t);
        caps_put_tensor(&reduce, last ? NULL : &x);
        caps_put_tensor(&reduce, last ? v : NULL);
        caps_put_tensor(&reduce, &partial);
        caps_put_tensor(&reduce, bias);
        caps_put_sizes(&reduce, (size_t[]){n->b, l.chunks, n->j, n->d}, 4);
        caps_put(&reduce, (caps_arg)CAPS_ARG_FLOAT(t == 0 ? even_coupling(n) : 1.0f));
        caps_put_uint(&reduce, n->routing.squash);
        caps_put_uint(&reduce, t == 0);
        CAPS_TRY(fused_run(rt, "routing_fused_reduce", &reduce, n->j, l.groups, err));
    }
done:
    return status;
}

caps_status caps_routing_fused_forward(caps_runtime *rt, const caps_tensor *v,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *bias, const caps_fused *n, const caps_tensor *workspace, caps_error *err)
{
    return (caps_is_gpu(rt) ? caps_routing_fused_gpu_forward : cpu_forward)(
        rt, v, state, u, w, bias, n, workspace, err);
}

/* ---- backward ------------------------------------------------------------------------------- */

/* The parts of the workspace. */
typedef struct backward {
    caps_tensor partial, areas, vec, z, coef, gs;
} backward;

static backward backward_of(const caps_fused *n, const layout *l, const caps_tensor *workspace)
{
    caps_tensor rest = *workspace;
    backward p;
    p.partial = take(&rest, partial_count(l));
    p.areas = take(&rest, areas_count(n, l));
    p.vec = take(&rest, vec_count(l));
    p.z = take(&rest, z_count(n, l));
    p.coef = take(&rest, coef_count(n, l));
    p.gs = take(&rest, l->steps * n->b * l->e);
    return p;
}

/* `t` with its beginning moved on by `skip` elements. */
static caps_tensor moved(const caps_tensor *t, size_t skip)
{
    return caps_tensor_wrap(t->buffer, t->offset + skip, CAPS_F32, 1, t->shape);
}

/* gs of iteration `step` of those that count, with v of the one before it. */
static caps_status squash_back(caps_runtime *rt, const backward *p, const caps_tensor *dv,
    const caps_class_caps_state *state, const caps_fused *n, const layout *l, size_t step,
    caps_error *err)
{
    const size_t t = n->routing.iterations - l->steps + step;
    const bool base = t == 0, before = step > 0;
    const caps_tensor s = caps_tensor_rows(&state->s, t, 1);
    const caps_tensor v = caps_tensor_rows(&state->v, before ? t - 1 : t, 1);
    const caps_tensor gs = moved(&p->gs, step * n->b * l->e);
    caps_call c = {0};
    caps_put_tensor(&c, &gs);
    caps_put_tensor(&c, &p->vec);
    caps_put_tensor(&c, &p->z);
    caps_put_tensor(&c, &p->partial);
    caps_put_tensor(&c, step + 1 == l->steps ? dv : NULL);
    caps_put_tensor(&c, &s);
    caps_put_tensor(&c, before ? &v : NULL);
    const size_t slot = base ? l->terms : before ? 2 * (step - 1) : 0;
    caps_put_sizes(&c, (size_t[]){n->b, l->chunks, n->j, n->d, l->slots, slot}, 6);
    caps_put(&c, (caps_arg)CAPS_ARG_FLOAT(base ? even_coupling(n) : 1.0f));
    caps_put_uint(&c, n->routing.squash);
    return fused_run(rt, "routing_fused_gs", &c, n->j, l->groups, err);
}

/* G of iteration `step` and, as partial sums, gv of the one before it. */
static caps_status step_back(caps_runtime *rt, const backward *p,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_fused *n, const layout *l, size_t step, caps_error *err)
{
    const size_t term = 2 * (step - 1);
    const caps_tensor c_t = caps_tensor_rows(&state->couplings, step, 1);
    const caps_tensor coef = moved(&p->coef, term * LANES);
    const caps_tensor vec = moved(&p->vec, term * n->d * LANES);
    caps_call c = {0};
    caps_put_tensor(&c, &p->partial);
    caps_put_tensor(&c, &coef);
    caps_put_tensor(&c, &p->areas);
    caps_put_tensor(&c, &c_t);
    caps_put_tensor(&c, u);
    caps_put_tensor(&c, w);
    caps_put_tensor(&c, &vec);
    put_sizes(&c, n, l);
    caps_put_uint(&c, l->terms);
    caps_put_uint(&c, step + 1 < l->steps);
    return fused_run(rt, "routing_fused_back", &c, l->groups, l->chunks, err);
}

static caps_status cpu_backward(caps_runtime *rt, const caps_tensor *du, const caps_tensor *dw,
    const caps_tensor *dbias, const caps_tensor *dv, const caps_class_caps_state *state,
    const caps_tensor *u, const caps_tensor *w, const caps_fused *n, const caps_tensor *workspace,
    caps_error *err)
{
    const layout l = layout_of(n);
    const backward p = backward_of(n, &l, workspace);
    const bool based = l.slots > l.terms;
    caps_status status;
    for (size_t step = l.steps; step-- > 0;) {
        CAPS_TRY(squash_back(rt, &p, dv, state, n, &l, step, err));
        if (step > 0)
            CAPS_TRY(step_back(rt, &p, state, u, w, n, &l, step, err));
    }
    if (!based) {
        const caps_tensor c_t = caps_tensor_rows(&state->couplings, n->routing.iterations - 1, 1);
        caps_call c = {0};
        caps_put_tensor(&c, &p.coef);
        caps_put_tensor(&c, &c_t);
        caps_put_sizes(&c, (size_t[]){n->b, n->i, n->j}, 3);
        CAPS_TRY(fused_run(rt, "routing_fused_lanes", &c, l.groups, l.chunks, err));
    }
    if (du) {
        caps_call c = {0};
        caps_put_tensor(&c, du);
        caps_put_tensor(&c, &p.areas);
        caps_put_tensor(&c, &p.coef);
        caps_put_tensor(&c, &p.vec);
        caps_put_tensor(&c, w);
        put_sizes(&c, n, &l);
        caps_put_uint(&c, l.terms);
        caps_put_uint(&c, based);
        CAPS_TRY(fused_run(rt, "routing_fused_du", &c, l.groups, l.chunks, err));
    }
    if (dw) {
        caps_call c = {0};
        caps_put_tensor(&c, dw);
        caps_put_tensor(&c, &p.areas);
        caps_put_tensor(&c, &p.coef);
        caps_put_tensor(&c, &p.z);
        caps_put_tensor(&c, u);
        put_sizes(&c, n, &l);
        c.count--; /* no area */
        caps_put_uint(&c, l.terms);
        caps_put_uint(&c, based);
        CAPS_TRY(fused_run(rt, "routing_fused_dw", &c, caps_div_up(n->i, FUSED_BLOCK), 1, err));
    }
    if (dbias) {
        const caps_arg sum[] = {CAPS_ARG_TENSOR(dbias), CAPS_ARG_TENSOR(&p.gs),
            CAPS_ARG_UINT(l.steps * n->b), CAPS_ARG_UINT(n->j), CAPS_ARG_UINT(n->d)};
        CAPS_TRY(caps_launch(rt, "routing_dbias", CAPS_ARGS(sum), 1, &n->j, NULL, err));
    }
done:
    return status;
}

caps_status caps_routing_fused_backward(caps_runtime *rt, const caps_tensor *du,
    const caps_tensor *dw, const caps_tensor *dbias, const caps_tensor *dv,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_fused *n, const caps_tensor *workspace, caps_error *err)
{
    return (caps_is_gpu(rt) ? caps_routing_fused_gpu_backward : cpu_backward)(
        rt, du, dw, dbias, dv, state, u, w, n, workspace, err);
}
