/* em_groups.c: votes and EM routing on the GPU family, a work-group for a parent of an image;
 * kernels and layouts in cl/em_gpu.clt.
 *
 * State: R of every iteration but the first, mu, var and z of every one. */
#include <stdio.h>

#include "em.h"

#include "call.h"
#include "fail.h"

#define GROUP      64          /* items of a group */
#define ROW        17          /* floats of a vote in local memory, and of what an item adds */
#define MOST_LOCAL (24 * 1024) /* bytes of local memory: of more, too few groups run at once */

typedef struct groups {
    size_t group, results, links; /* floats of all parents and of their edges */
    char options[96];
    caps_template program;
    caps_tensor R, mu, var, z, l, N, Q, dbeta;
} groups;

static caps_tensor take(caps_tensor *rest, size_t count)
{
    const size_t begin = rest->offset;
    rest->offset = begin + count;
    return caps_tensor_wrap(rest->buffer, begin, CAPS_F32, 1, &count);
}

/* state and workspace move on by what is taken. */
static void take_parts(groups *g, caps_tensor *state, caps_tensor *workspace, const caps_em *s,
    const caps_em_sizes *n, bool training)
{
    g->results = s->b * n->windows * s->parents;
    g->links = g->results * n->edges;
    g->R = take(state, (s->iterations - 1) * g->links);
    g->mu = take(state, s->iterations * g->results * 16);
    g->var = take(state, s->iterations * g->results * 16);
    g->z = take(state, s->iterations * g->results);
    if (!training)
        return;
    g->l = take(workspace, n->steps * g->links);
    g->N = take(workspace, n->steps * g->results * 16);
    g->Q = take(workspace, n->steps * g->results * 16);
    g->dbeta = take(workspace, g->results * 2);
}

caps_em_workspace caps_em_groups_workspace(const caps_em *shape, bool training)
{
    const caps_em_sizes n = caps_em_sizes_of(shape);
    groups g;
    caps_tensor state = {0}, workspace = {0};
    take_parts(&g, &state, &workspace, shape, &n, training);
    return (caps_em_workspace){state.offset, workspace.offset};
}

static void prepare(groups *g, const caps_runtime *rt, const caps_tensor *state,
    const caps_tensor *workspace, const caps_em *s, const caps_em_sizes *n)
{
    caps_tensor left = *state, own = workspace ? *workspace : (caps_tensor){0};
    take_parts(g, &left, &own, s, n, workspace != NULL);
    /* Simulators take as long for items that have nothing to do. */
    g->group = caps_group_size(rt, caps_is_simulated(rt) ? GROUP / 8 : GROUP);
    const uint64_t have = caps_runtime_device(rt)->local_mem_bytes;
    const size_t room = have < MOST_LOCAL ? (size_t)have : MOST_LOCAL;
    const size_t need = (g->group + n->edges) * ROW * sizeof(float);
    snprintf(g->options, sizeof g->options, " -DEM_TILE=1 -DEM_GROUP=%zu -DEM_HELD=%zu", g->group,
        need <= room ? caps_round_up(n->edges, 4) : 1);
    g->program = (caps_template){"em_gpu.clt", g->options};
}

void caps_em_groups_results(caps_tensor *mu, caps_tensor *z, const caps_tensor *state,
    const caps_em *shape, size_t iteration)
{
    const caps_em_sizes n = caps_em_sizes_of(shape);
    groups g;
    caps_tensor left = *state, none = {0};
    take_parts(&g, &left, &none, shape, &n, false);
    *mu = caps_em_nth(&g.mu, iteration, g.results * 16);
    *z = caps_em_nth(&g.z, iteration, g.results);
}

/* ---- launches ------------------------------------------------------------------------------- */

static void put_routing(caps_call *c, const caps_em *s, size_t t)
{
    caps_em_put_shape(c, s);
    caps_em_put_step(c, s, t);
}

/* `across` groups for each of `images`. */
static caps_status launch(caps_runtime *rt, const groups *g, const char *kernel, const caps_call *c,
    size_t across, size_t images, caps_error *err)
{
    return caps_launch_template(rt, &g->program, kernel, c->args, c->count, 2,
        (size_t[]){across * g->group, images}, (size_t[]){g->group, 1}, err);
}

static caps_status launch_children(caps_runtime *rt, const groups *g, const char *kernel,
    const caps_call *c, const caps_em *s, const caps_em_sizes *n, size_t rows, caps_error *err)
{
    return launch(rt, g, kernel, c, caps_div_up(n->children * rows, g->group), s->b, err);
}

/* ---- forward -------------------------------------------------------------------------------- */

static caps_status iterate(
    caps_runtime *rt, const caps_em_call *call, const groups *g, size_t t, caps_error *err)
{
    const caps_em *s = call->shape;
    const bool last = t + 1 == s->iterations;
    const caps_tensor R = caps_em_nth(&g->R, t ? t - 1 : 0, g->links);
    const caps_tensor logits = caps_em_nth(&g->R, last ? 0 : t, g->links);
    const caps_tensor mu = caps_em_nth(&g->mu, t, g->results * 16),
                      z = caps_em_nth(&g->z, t, g->results);
    const caps_tensor var = caps_em_nth(&g->var, t, g->results * 16);
    caps_status status;
    caps_call c = {0}, e = {0};
    CAPS_PUT(&c, last ? NULL : &logits, &mu, &var, &z, last ? call->pose_out : NULL,
        last ? call->activation_out : NULL, call->pose, call->activation, t ? &R : NULL,
        call->weight, call->beta_u, call->beta_a);
    put_routing(&c, s, t);
    CAPS_TRY(launch(rt, g, "em_group_forward", &c, call->n.windows * s->parents, s->b, err));
    if (last)
        goto done;
    CAPS_PUT(&e, &logits);
    caps_em_put_shape(&e, s);
    CAPS_TRY(launch_children(rt, g, "em_group_normalise", &e, s, &call->n, 1, err));
done:
    return status;
}

caps_status caps_em_groups_forward(caps_runtime *rt, const caps_em_call *call, caps_error *err)
{
    groups g;
    caps_status status = CAPS_OK;
    prepare(&g, rt, call->state, NULL, call->shape, &call->n);
    for (size_t t = 0; status == CAPS_OK && t < call->shape->iterations; t++)
        status = iterate(rt, call, &g, t, err);
    return status;
}

caps_status caps_em_groups_assignment(caps_runtime *rt, const caps_tensor *out,
    const caps_tensor *state, const caps_em *shape, size_t iteration, caps_error *err)
{
    const caps_em_sizes n = caps_em_sizes_of(shape);
    groups g;
    caps_call c = {0};
    prepare(&g, rt, state, NULL, shape, &n);
    const caps_tensor R = caps_em_nth(&g.R, iteration ? iteration - 1 : 0, g.links);
    CAPS_PUT(&c, out, iteration ? &R : NULL);
    caps_em_put_shape(&c, shape);
    return launch_children(rt, &g, "em_group_assignment", &c, shape, &n, 1, err);
}

/* ---- backward ------------------------------------------------------------------------------- */

static caps_status iterate_back(
    caps_runtime *rt, const caps_em_call *call, const groups *g, size_t t, caps_error *err)
{
    const caps_em *s = call->shape;
    const caps_em_sizes *n = &call->n;
    const size_t step = t - n->earliest;
    const bool last = t + 1 == s->iterations;
    const caps_tensor R = caps_em_nth(&g->R, t ? t - 1 : 0, g->links);
    const caps_tensor dr = caps_em_nth(&g->l, step, g->links);
    const caps_tensor given = caps_em_nth(&g->l, last ? 0 : step + 1, g->links);
    const caps_tensor mu = caps_em_nth(&g->mu, t, g->results * 16),
                      z = caps_em_nth(&g->z, t, g->results);
    const caps_tensor var = caps_em_nth(&g->var, t, g->results * 16);
    const caps_tensor N = caps_em_nth(&g->N, step, g->results * 16),
                      Q = caps_em_nth(&g->Q, step, g->results * 16);
    caps_status status;
    caps_call c = {0}, e = {0};
    CAPS_PUT(&c, &dr, &N, &Q, &g->dbeta, call->pose, call->activation, t ? &R : NULL,
        last ? NULL : &given, &mu, &var, &z, call->pose_out, call->activation_out, call->weight,
        call->beta_u);
    put_routing(&c, s, t);
    CAPS_TRY(launch(rt, g, "em_group_backward", &c, n->windows * s->parents, s->b, err));
    CAPS_PUT(&e, &dr, call->dactivation, t ? &R : NULL, call->activation);
    caps_em_put_shape(&e, s);
    caps_put_sizes(&e, (size_t[]){!last, step == 0}, 2);
    CAPS_TRY(launch_children(rt, g, "em_group_logits_gradient", &e, s, n, 1, err));
done:
    return status;
}

/* Of em_group_dpose and em_group_dweight. */
static void put_votes(
    caps_call *c, const caps_tensor *to, const caps_em_call *call, const groups *g)
{
    CAPS_PUT(c, to, call->pose, call->activation, call->shape->iterations > 1 ? &g->R : NULL, &g->l,
        &g->mu, &g->var, &g->N, &g->Q, call->weight);
    caps_em_put_shape(c, call->shape);
    caps_put_sizes(c, (size_t[]){call->shape->b, call->n.earliest, call->n.steps}, 3);
}

caps_status caps_em_groups_backward(caps_runtime *rt, const caps_em_call *call, caps_error *err)
{
    const caps_em *s = call->shape;
    groups g;
    caps_status status;
    caps_call dpose = {0}, dweight = {0}, beta = {0};
    prepare(&g, rt, call->state, call->workspace, s, &call->n);
    for (size_t t = s->iterations; t-- > call->n.earliest;)
        CAPS_TRY(iterate_back(rt, call, &g, t, err));
    put_votes(&dweight, call->dweight, call, &g);
    CAPS_TRY(launch(rt, &g, "em_group_dweight", &dweight, call->n.slots * s->parents, 1, err));
    CAPS_PUT(&beta, call->dbeta_u, call->dbeta_a, &g.dbeta);
    caps_put_sizes(&beta, (size_t[]){s->b, s->parents, call->n.windows}, 3);
    CAPS_TRY(launch(rt, &g, "em_group_dbeta", &beta, s->parents, 1, err));
    if (!call->dpose)
        goto done;
    put_votes(&dpose, call->dpose, call, &g);
    CAPS_TRY(launch_children(rt, &g, "em_group_dpose", &dpose, s, &call->n, 4, err));
done:
    return status;
}
