/* em_lanes.c: votes and EM routing with sixteen images in the lanes of a vector; kernels, equations
 * and layouts in cl/em.clh, cl/em.clt and cl/em_gradient.clt.
 *
 * State: R of every iteration but the first, mu, var and z of every one. */
#include <stdio.h>

#include "em.h"

#include "call.h"
#include "fail.h"

#define LANES      CAPS_EM_LANES /* images of a group */
#define TILE       320           /* edges that an item holds */
#define MOST_TERMS 5             /* of the votes' gradient at once */
#define CHUNK      8             /* children that an item takes into lanes; as in em.clt */
#define FEW        32            /* of fewer windows every type of parent is an item */
#define EDGES      24            /* of an item of the gradient */

typedef struct layout {
    size_t groups, blocks;
    size_t chunk, run, runs; /* of the gradient: edges and windows of an item */
    size_t results, links;   /* floats of C parents and of their edges at all windows */
    size_t terms;
    char forward_options[32], gradient_options[48];
    caps_template forward, gradient;
} layout;

static void layout_of(layout *l, const caps_em *s, const caps_em_sizes *n)
{
    l->groups = caps_div_up(s->b, LANES);
    l->blocks = l->groups * n->windows < FEW ? s->parents : 1;
    l->chunk = s->kernel ? EDGES : s->height * s->width;
    l->run = s->kernel ? n->across : 1;
    l->runs = caps_div_up(n->windows, l->run);
    l->results = l->groups * n->windows * s->parents * LANES;
    l->links = l->results * n->edges;
    l->terms = 2 * n->steps - 1;
    snprintf(l->forward_options, sizeof l->forward_options, " -DEM_TILE=%d", TILE);
    snprintf(l->gradient_options, sizeof l->gradient_options, " -DEM_TILE=%d -DEM_TERMS=%zu", TILE,
        l->terms < MOST_TERMS ? l->terms : MOST_TERMS);
    l->forward = (caps_template){"em.clt", l->forward_options};
    l->gradient = (caps_template){"em_gradient.clt", l->gradient_options};
}

/* ---- state and workspace -------------------------------------------------------------------- */

/* The next `count` floats; every part begins at a cache line. */
static caps_tensor take(caps_tensor *rest, size_t count)
{
    const size_t begin = caps_round_up(rest->offset, LANES);
    rest->offset = begin + count;
    return caps_tensor_wrap(rest->buffer, begin, CAPS_F32, 1, &count);
}

typedef struct parts {
    caps_tensor R, mu, var, z;                               /* state */
    caps_tensor pose, activation, w;                         /* both */
    caps_tensor dmu, da, l, dr, rho, N, Q, dbeta_u, dbeta_a; /* backward */
    caps_tensor dactivation, edges, dw;
} parts;

static void take_state(parts *p, caps_tensor *rest, const caps_em *s, const layout *l)
{
    p->R = take(rest, (s->iterations - 1) * l->links);
    p->mu = take(rest, s->iterations * l->results * 16);
    p->var = take(rest, s->iterations * l->results * 16);
    p->z = take(rest, s->iterations * l->results);
}

static void take_workspace(parts *p, caps_tensor *rest, const caps_em *s, const caps_em_sizes *n,
    const layout *l, bool training)
{
    const size_t children = l->groups * n->children * LANES;
    const size_t window = l->groups * n->windows * n->edges * LANES;
    p->pose = take(rest, children * 16);
    p->activation = take(rest, children);
    p->w = take(rest, n->slots * s->parents * 16);
    if (!training)
        return;
    p->dmu = take(rest, l->results * 16);
    p->da = take(rest, l->results);
    p->l = take(rest, (n->steps - 1) * l->links);
    p->dr = take(rest, window * l->blocks);
    p->rho = take(rest, window * l->blocks);
    p->N = take(rest, n->steps * l->results * 16);
    p->Q = take(rest, n->steps * l->results * 16);
    p->dbeta_u = take(rest, l->results);
    p->dbeta_a = take(rest, l->results);
    p->dactivation = take(rest, children);
    p->edges = take(rest, window * 16);
    p->dw = take(rest, l->groups * l->runs * n->slots * s->parents * 16);
}

caps_em_workspace caps_em_lanes_workspace(const caps_em *shape, bool training)
{
    const caps_em_sizes n = caps_em_sizes_of(shape);
    layout l;
    parts p;
    caps_tensor state = {0}, workspace = {0};
    layout_of(&l, shape, &n);
    take_state(&p, &state, shape, &l);
    take_workspace(&p, &workspace, shape, &n, &l, training);
    /* With space to begin at a cache line, wherever the tensor begins. */
    return (caps_em_workspace){state.offset + LANES, workspace.offset + LANES};
}

static void parts_of(parts *p, const caps_em_call *c, const layout *l, bool training)
{
    caps_tensor state = *c->state, workspace = *c->workspace;
    take_state(p, &state, c->shape, l);
    take_workspace(p, &workspace, c->shape, &c->n, l, training);
}

void caps_em_lanes_results(caps_tensor *mu, caps_tensor *z, const caps_tensor *state,
    const caps_em *shape, size_t iteration)
{
    const caps_em_sizes n = caps_em_sizes_of(shape);
    layout l;
    parts p;
    caps_tensor rest = *state;
    layout_of(&l, shape, &n);
    take_state(&p, &rest, shape, &l);
    *mu = caps_em_nth(&p.mu, iteration, l.results * 16);
    *z = caps_em_nth(&p.z, iteration, l.results);
}

/* ---- launches ------------------------------------------------------------------------------- */

static caps_status launch(caps_runtime *rt, const caps_template *program, const char *kernel,
    const caps_call *c, size_t across, size_t groups, caps_error *err)
{
    return caps_launch_template(rt, program, kernel, c->args, c->count, 2,
        (size_t[]){across, groups}, (size_t[]){1, 1}, err);
}

static caps_status to_lanes(caps_runtime *rt, const layout *l, const caps_tensor *poses,
    const caps_tensor *activations, const caps_tensor *pose, const caps_tensor *activation,
    size_t windows, caps_error *err)
{
    const size_t count = pose->shape[1];
    caps_call c = {0};
    CAPS_PUT(&c, poses, activations, pose, activation);
    caps_put_sizes(&c, (size_t[]){pose->shape[0], count, windows}, 3);
    return launch(rt, &l->forward, "em_to_lanes", &c, caps_div_up(count, CHUNK), l->groups, err);
}

static caps_status from_lanes(caps_runtime *rt, const layout *l, const caps_tensor *pose,
    const caps_tensor *activation, const caps_tensor *poses, const caps_tensor *activations,
    const size_t sizes[4], caps_error *err)
{
    caps_call c = {0};
    CAPS_PUT(&c, pose, activation, poses, activations);
    caps_put_sizes(&c, sizes, 4);
    return launch(
        rt, &l->forward, "em_from_lanes", &c, caps_div_up(sizes[1], CHUNK), l->groups, err);
}

/* What both directions begin with. */
static caps_status put_inputs(
    caps_runtime *rt, const caps_em_call *call, const layout *l, const parts *p, caps_error *err)
{
    caps_status status;
    caps_call c = {0};
    CAPS_TRY(to_lanes(rt, l, &p->pose, &p->activation, call->pose, call->activation, 0, err));
    CAPS_PUT(&c, &p->w, call->weight);
    caps_put_sizes(&c, (size_t[]){call->n.slots, call->shape->parents}, 2);
    CAPS_TRY(launch(rt, &l->forward, "em_weights", &c, call->n.slots, 1, err));
done:
    return status;
}

static void put_routing(caps_call *c, const caps_em *s, const layout *l, size_t t)
{
    caps_em_put_shape(c, s);
    caps_put_uint(c, l->blocks);
    caps_em_put_step(c, s, t);
}

/* ---- forward -------------------------------------------------------------------------------- */

static caps_status iterate(caps_runtime *rt, const caps_em_call *call, const layout *l,
    const parts *p, size_t t, caps_error *err)
{
    const caps_em *s = call->shape;
    const bool last = t + 1 == s->iterations;
    const caps_tensor R = caps_em_nth(&p->R, t ? t - 1 : 0, l->links);
    const caps_tensor logits = caps_em_nth(&p->R, last ? 0 : t, l->links);
    const caps_tensor mu = caps_em_nth(&p->mu, t, l->results * 16),
                      z = caps_em_nth(&p->z, t, l->results);
    const caps_tensor var = caps_em_nth(&p->var, t, l->results * 16);
    caps_status status;
    caps_call c = {0}, e = {0};
    CAPS_PUT(&c, last ? NULL : &logits, &mu, &var, &z, &p->pose, &p->activation, t ? &R : NULL,
        &p->w, call->beta_u, call->beta_a);
    put_routing(&c, s, l, t);
    CAPS_TRY(
        launch(rt, &l->forward, "em_forward", &c, call->n.windows * l->blocks, l->groups, err));
    if (last)
        goto done;
    CAPS_PUT(&e, &logits);
    caps_em_put_shape(&e, s);
    CAPS_TRY(launch(rt, &l->forward, "em_normalise", &e, s->height * s->width, l->groups, err));
done:
    return status;
}

caps_status caps_em_lanes_forward(caps_runtime *rt, const caps_em_call *call, caps_error *err)
{
    const caps_em *s = call->shape;
    layout l;
    parts p;
    caps_status status;
    layout_of(&l, s, &call->n);
    parts_of(&p, call, &l, false);
    CAPS_TRY(put_inputs(rt, call, &l, &p, err));
    for (size_t t = 0; t < s->iterations; t++)
        CAPS_TRY(iterate(rt, call, &l, &p, t, err));
    const caps_tensor mu = caps_em_nth(&p.mu, s->iterations - 1, l.results * 16);
    const caps_tensor z = caps_em_nth(&p.z, s->iterations - 1, l.results);
    CAPS_TRY(from_lanes(rt, &l, call->pose_out, call->activation_out, &mu, &z,
        (size_t[]){s->b, call->n.windows * s->parents, call->n.windows, true}, err));
done:
    return status;
}

caps_status caps_em_lanes_assignment(caps_runtime *rt, const caps_tensor *out,
    const caps_tensor *state, const caps_em *shape, size_t iteration, caps_error *err)
{
    const caps_em_sizes n = caps_em_sizes_of(shape);
    layout l;
    parts p;
    caps_tensor rest = *state;
    caps_call c = {0};
    layout_of(&l, shape, &n);
    take_state(&p, &rest, shape, &l);
    const caps_tensor R = caps_em_nth(&p.R, iteration ? iteration - 1 : 0, l.links);
    CAPS_PUT(&c, out, iteration ? &R : NULL);
    caps_put_uint(&c, shape->b);
    caps_em_put_shape(&c, shape);
    return launch(rt, &l.forward, "em_assignment", &c, n.windows, l.groups, err);
}

/* ---- backward ------------------------------------------------------------------------------- */

static caps_status iterate_back(caps_runtime *rt, const caps_em_call *call, const layout *l,
    const parts *p, size_t t, caps_error *err)
{
    const caps_em *s = call->shape;
    const caps_em_sizes *n = &call->n;
    const bool last = t + 1 == s->iterations, sums = t == n->earliest;
    const caps_tensor R = caps_em_nth(&p->R, t ? t - 1 : 0, l->links);
    const caps_tensor given = caps_em_nth(&p->l, last ? 0 : t, l->links);
    const caps_tensor dr = sums ? p->dr : caps_em_nth(&p->l, t - 1, l->links);
    const caps_tensor mu = caps_em_nth(&p->mu, t, l->results * 16),
                      z = caps_em_nth(&p->z, t, l->results);
    const caps_tensor var = caps_em_nth(&p->var, t, l->results * 16);
    const caps_tensor N = caps_em_nth(&p->N, t - n->earliest, l->results * 16);
    const caps_tensor Q = caps_em_nth(&p->Q, t - n->earliest, l->results * 16);
    caps_status status;
    caps_call c = {0}, e = {0};
    CAPS_PUT(&c, &dr, sums ? &p->rho : NULL, &N, &Q, &p->dbeta_u, &p->dbeta_a, &p->pose,
        &p->activation, t ? &R : NULL, last ? NULL : &given, &mu, &var, &z, &p->dmu, &p->da, &p->w,
        call->beta_u);
    put_routing(&c, s, l, t);
    CAPS_TRY(launch(rt, &l->gradient, "em_backward", &c, n->windows * l->blocks, l->groups, err));
    if (sums) {
        CAPS_PUT(&e, &p->dactivation, &p->rho);
        caps_em_put_shape(&e, s);
        caps_put_uint(&e, l->blocks);
    } else {
        CAPS_PUT(&e, &dr, &p->dactivation, &R, &p->activation);
        caps_em_put_shape(&e, s);
    }
    caps_put_uint(&e, !last);
    CAPS_TRY(launch(rt, &l->gradient, sums ? "em_rho" : "em_logits_gradient", &e,
        s->height * s->width, l->groups, err));
done:
    return status;
}

static caps_status gradients(
    caps_runtime *rt, const caps_em_call *call, const layout *l, const parts *p, caps_error *err)
{
    const caps_em *s = call->shape;
    const caps_em_sizes *n = &call->n;
    caps_status status;
    for (size_t first = 0; first < l->terms; first += MOST_TERMS) {
        caps_call c = {0};
        CAPS_PUT(&c, call->dpose ? &p->edges : NULL, &p->dw, &p->pose, &p->activation,
            s->iterations > 1 ? &p->R : NULL, n->steps > 1 ? &p->l : NULL, &p->mu, &p->var, &p->N,
            &p->Q, &p->w);
        caps_em_put_shape(&c, s);
        caps_put_sizes(
            &c, (size_t[]){l->groups, l->chunk, l->run, n->earliest, n->steps, first}, 6);
        CAPS_TRY(launch(rt, &l->gradient, "em_gradient", &c,
            caps_div_up(n->edges, l->chunk) * l->runs, l->groups, err));
    }
    caps_call w = {0}, beta = {0};
    CAPS_PUT(&w, call->dweight, &p->dw);
    caps_put_sizes(&w, (size_t[]){l->groups * l->runs, n->slots * s->parents}, 2);
    CAPS_TRY(launch(rt, &l->gradient, "em_sum_weights", &w, n->slots * s->parents, 1, err));
    CAPS_PUT(&beta, call->dbeta_u, call->dbeta_a, &p->dbeta_u, &p->dbeta_a);
    caps_put_sizes(&beta, (size_t[]){l->groups * n->windows, s->parents}, 2);
    CAPS_TRY(launch(rt, &l->gradient, "em_sum_beta", &beta, s->parents, 1, err));
    if (call->dpose) {
        caps_call c = {0};
        CAPS_PUT(&c, &p->pose, &p->edges); /* nobody needs the poses any more */
        caps_em_put_shape(&c, s);
        CAPS_TRY(launch(rt, &l->gradient, "em_collect", &c, s->height * s->width, l->groups, err));
    }
done:
    return status;
}

caps_status caps_em_lanes_backward(caps_runtime *rt, const caps_em_call *call, caps_error *err)
{
    const caps_em *s = call->shape;
    layout l;
    parts p;
    caps_status status;
    layout_of(&l, s, &call->n);
    parts_of(&p, call, &l, true);
    CAPS_TRY(put_inputs(rt, call, &l, &p, err));
    CAPS_TRY(to_lanes(
        rt, &l, &p.dmu, &p.da, call->pose_out, call->activation_out, call->n.windows, err));
    for (size_t t = s->iterations; t-- > call->n.earliest;)
        CAPS_TRY(iterate_back(rt, call, &l, &p, t, err));
    CAPS_TRY(gradients(rt, call, &l, &p, err));
    if (call->dpose || call->dactivation)
        CAPS_TRY(from_lanes(rt, &l, call->dpose, call->dactivation, &p.pose, &p.dactivation,
            (size_t[]){s->b, call->n.children, 0, false}, err));
done:
    return status;
}
