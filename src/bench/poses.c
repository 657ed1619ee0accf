/* poses.c: matrix capsules: votes and EM routing in one. */
#include <stdio.h>

#include "bench_problem.h"

#include "fail.h"

enum {
    POSE_OUT,
    ACTIVATION_OUT,
    STATE,
    POSE,
    ACTIVATION,
    WEIGHT,
    BETA_U,
    BETA_A,
    WORKSPACE,
    DPOSE,
    DACTIVATION,
    DWEIGHT,
    DBETA_U,
    DBETA_A,
    DPOSE_OUT,
    DACTIVATION_OUT
};

static caps_status em_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    const caps_tensor *t = p->t;
    return caps_em_forward(p->b->rt, &t[POSE_OUT], &t[ACTIVATION_OUT], &t[STATE], &t[POSE],
        &t[ACTIVATION], &t[WEIGHT], &t[BETA_U], &t[BETA_A], &p->em, &t[WORKSPACE], err);
}

static caps_status em_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    const caps_tensor *t = p->t;
    return caps_em_backward(p->b->rt, &t[DPOSE], &t[DACTIVATION], &t[DWEIGHT], &t[DBETA_U],
        &t[DBETA_A], &t[DPOSE_OUT], &t[DACTIVATION_OUT], &t[STATE], &t[POSE], &t[ACTIVATION],
        &t[WEIGHT], &t[BETA_U], &t[BETA_A], &p->em, &t[WORKSPACE], err);
}

typedef struct em_sizes {
    size_t children, windows, parents, slots; /* slots: matrices for each type of parent */
    double edges;                             /* of an image: pairs of a child and a parent */
} em_sizes;

static em_sizes sizes_of(const caps_em *s)
{
    em_sizes n = {.children = s->types * s->height * s->width, .windows = 1, .slots = s->types};
    size_t seen = n.children;
    if (s->kernel) {
        n.windows = caps_conv2d_output(s->height, s->kernel, s->stride, 0) *
                    caps_conv2d_output(s->width, s->kernel, s->stride, 0);
        n.slots = seen = s->kernel * s->kernel * s->types;
    }
    n.parents = n.windows * s->parents;
    n.edges = (double)n.parents * (double)seen;
    return n;
}

static caps_status add_tensors(caps_bench_problem *p, const em_sizes *n, caps_error *err)
{
    const caps_em *s = &p->em;
    const caps_em_workspace room = caps_em_workspace_of(p->b->rt, s, true);
    const size_t pose[] = {s->b, n->children, 16}, to[] = {s->b, n->parents, 16};
    const size_t k = s->kernel, w[] = {k, k, s->types, s->parents, 4, 4};
    const int windows = k ? 0 : 2; /* dimensions of w that there are not */
    caps_status status = CAPS_OK;
    CAPS_TRY(caps_bench_add(p, 3, to, err));
    CAPS_TRY(caps_bench_add(p, 2, to, err));
    CAPS_TRY(caps_bench_add(p, 1, &room.state, err));
    CAPS_TRY(caps_bench_add(p, 3, pose, err));
    CAPS_TRY(caps_bench_add_positive(p, 2, pose, err));
    CAPS_TRY(caps_bench_add(p, 6 - windows, w + windows, err));
    CAPS_TRY(caps_bench_add(p, 1, &s->parents, err));
    CAPS_TRY(caps_bench_add(p, 1, &s->parents, err));
    CAPS_TRY(caps_bench_add(p, 1, &room.workspace, err));
    CAPS_TRY(caps_bench_add(p, 3, pose, err));
    CAPS_TRY(caps_bench_add(p, 2, pose, err));
    CAPS_TRY(caps_bench_add(p, 6 - windows, w + windows, err));
    CAPS_TRY(caps_bench_add(p, 1, &s->parents, err));
    CAPS_TRY(caps_bench_add(p, 1, &s->parents, err));
    CAPS_TRY(caps_bench_add(p, 3, to, err));
    CAPS_TRY(caps_bench_add(p, 2, to, err));
done:
    return status;
}

static void em_text(
    char *text, const char *name, const char *pass, const caps_em *s, const char *grad)
{
    snprintf(text, CAPS_BENCH_SHAPE_TEXT, "%s%s B=%zu T=%zu %zux%zu C=%zu k=%zu s=%zu r=%zu%s",
        name, pass, s->b, s->types, s->height, s->width, s->parents, s->kernel,
        s->kernel ? s->stride : 0, s->iterations, grad);
}

/* Operations of an edge, 16 elements each: a vote is 64 multiply-adds; an iteration's mean 1 of an
 * element, its variance and its density 1 and a difference. Backward: the vote, and its gradient in
 * the pose and in the weight; an iteration's gradients of R and of the vote 4 each. Bytes: poses,
 * activations and weights once, R written and read by every iteration but the first. */
static caps_status em_measure(const caps_bench *b, const caps_bench_layer *layer, caps_error *err)
{
    caps_bench_problem p = {.b = b, .em = layer->problem.em};
    caps_em *s = &p.em;
    const em_sizes n = sizes_of(s);
    const bool full = s->grad == CAPS_ROUTING_GRAD_FULL;
    const double edges = (double)b->batch * n.edges, r = (double)s->iterations;
    const double back = full ? r : 1;
    const double poses = 17 * (double)b->batch * (double)(n.children + n.parents);
    const double weights = 16 * (double)(n.slots * s->parents);
    caps_status status;
    char text[CAPS_BENCH_SHAPE_TEXT], name[CAPS_LAYER_NAME + 1];
    s->b = b->batch;
    caps_bench_prefix(name, layer, b->network->of_type[CAPS_PROBLEM_EM]);
    CAPS_TRY(add_tensors(&p, &n, err));
    em_text(text, name, "forward", s, "");
    CAPS_TRY(caps_bench_problem_measure(&p, em_forward, "em", text, NULL,
        edges * (128 + 16 * (5 * r + 3 * (r - 1))), 4 * (poses + weights + 2 * (r - 1) * edges),
        err));
    em_text(text, name, "backward", s, full ? " full" : " last");
    CAPS_TRY(caps_bench_problem_measure(&p, em_backward, "em", text, NULL,
        edges * (3 * 128 + 16 * 8 * back), 4 * (2 * poses + 2 * weights + 3 * back * edges), err));
done:
    caps_bench_problem_release(&p);
    return status;
}

caps_status caps_bench_em(const caps_bench *b, caps_error *err)
{
    return caps_bench_walk(b, CAPS_PROBLEM_EM, em_measure, err);
}
