/* test_em.c: votes and EM routing of capsules of 4x4 poses, both families, against the reference,
 * and the reference against finite differences. */
#include <math.h>
#include <stdio.h>

#include "families.h"
#include "ref.h"

/* Every size different; a window that is all, one child, no multiple of anything; strides that
 * leave children out or show them to several windows; kernel 0 with and without coordinates; a
 * group of sixteen images, one more, one less; more children than an item holds; hundreds of
 * parents; more terms of the gradient than go at once. */
static const caps_ref_em shapes[] = {
    {2, 2, 3, 4, 3, 2, 1, false, false, 2, 0.3, 1, 5e-4, NULL},
    {3, 2, 2, 3, 5, 0, 1, true, false, 3, 0.3, 0.5, 5e-4, NULL},
    {1, 1, 1, 1, 1, 1, 1, false, false, 1, 0.3, 1, 5e-4, NULL},
    {2, 1, 3, 5, 2, 1, 2, false, false, 3, 0.3, 1, 1e-3, NULL},
    {1, 3, 7, 6, 2, 2, 3, false, false, 2, 0.1, 1, 5e-4, NULL},
    {17, 3, 5, 6, 4, 3, 1, false, false, 3, 0.05, 0.2, 5e-4, NULL},
    {15, 2, 7, 9, 3, 3, 2, false, false, 4, 0.05, 0.2, 5e-4, NULL},
    {33, 5, 4, 3, 7, 0, 0, false, false, 3, 0.1, 0.1, 5e-4, NULL},
    {2, 5, 9, 8, 3, 0, 1, true, false, 3, 0.1, 0.05, 5e-4, NULL},
    {1, 1, 18, 19, 2, 0, 1, true, false, 2, 0.1, 0.02, 5e-4, NULL},
    {1, 37, 4, 3, 2, 3, 1, false, false, 2, 0.1, 0.02, 5e-4, NULL},
    {2, 2, 3, 3, 300, 2, 1, false, false, 3, 0.3, 1, 5e-4, NULL},
    {16, 19, 3, 3, 2, 2, 1, false, false, 1, 0.3, 1, 5e-4, NULL},
};

enum { SHAPES = sizeof shapes / sizeof shapes[0], SMALL = 3 };

static size_t children_of(const caps_ref_em *p)
{
    return p->types * p->height * p->width;
}

static size_t results_of(const caps_ref_em *p)
{
    return caps_ref_em_windows(p) * p->parents;
}

static size_t weights_of(const caps_ref_em *p)
{
    return (p->kernel ? caps_ref_em_edges(p) : p->types) * p->parents * 16;
}

static size_t links_of(const caps_ref_em *p)
{
    return p->iterations * p->b * caps_ref_em_edges(p) * results_of(p);
}

/* ---- host ------------------------------------------------------------------------------------ */

enum { POSE, ACTIVATION, WEIGHT, BETA_U, BETA_A, INPUTS };

typedef struct host {
    caps_ref_em p;
    size_t count[INPUTS];
    double *in[INPUTS], *d[INPUTS];
    double *pose_out, *activation_out, *assigned, *dpose_out, *dactivation_out;
} host;

/* `scale`: of the votes. */
static host host_create(const caps_ref_em *p, uint64_t seed, double scale)
{
    host h = {.p = *p,
        .count = {p->b * children_of(p) * 16, p->b * children_of(p), weights_of(p), p->parents,
            p->parents}};
    const double range[INPUTS][2] = {{-scale, scale}, {0, 1}, {-0.8, 0.8}, {-1, 1}, {-3, 3}};
    for (size_t n = 0; n < INPUTS; n++) {
        h.in[n] = test_random(h.count[n], seed + n, range[n][0], range[n][1]);
        h.d[n] = test_zeros(h.count[n]);
    }
    h.dpose_out = test_random(p->b * results_of(p) * 16, seed + 8, -1, 1);
    h.dactivation_out = test_random(p->b * results_of(p), seed + 9, -10, 10);
    h.pose_out = test_zeros(p->b * results_of(p) * 16);
    h.activation_out = test_zeros(p->b * results_of(p));
    h.assigned = test_zeros(links_of(p));
    return h;
}

static void host_forward(host *h)
{
    caps_ref_em_forward(h->pose_out, h->activation_out, h->assigned, h->in[POSE],
        h->in[ACTIVATION], h->in[WEIGHT], h->in[BETA_U], h->in[BETA_A], &h->p);
}

static void host_run(host *h)
{
    host_forward(h);
    caps_ref_em_backward(h->d[POSE], h->d[ACTIVATION], h->d[WEIGHT], h->d[BETA_U], h->d[BETA_A],
        h->dpose_out, h->dactivation_out, h->in[POSE], h->in[ACTIVATION], h->in[WEIGHT],
        h->in[BETA_U], h->in[BETA_A], &h->p);
}

static void host_release(host *h)
{
    for (size_t n = 0; n < INPUTS; n++) {
        free(h->in[n]);
        free(h->d[n]);
    }
    double *all[] = {
        h->pose_out, h->activation_out, h->assigned, h->dpose_out, h->dactivation_out};
    for (size_t n = 0; n < sizeof all / sizeof all[0]; n++)
        free(all[n]);
}

/* ---- the reference by finite differences ----------------------------------------------------- */

/* The results weighed with their gradients, of all inputs one after the other. */
static double weighted(const double *x, void *context)
{
    host *h = context;
    double sum = 0;
    for (size_t n = 0; n < INPUTS; x += h->count[n++])
        memcpy(h->in[n], x, h->count[n] * sizeof *x);
    host_forward(h);
    for (size_t n = 0; n < h->p.b * results_of(&h->p) * 16; n++)
        sum += h->dpose_out[n] * h->pose_out[n];
    for (size_t n = 0; n < h->p.b * results_of(&h->p); n++)
        sum += h->dactivation_out[n] * h->activation_out[n];
    return sum;
}

/* Constants in `last` are those of the point where the gradient is taken. */
static double difference_of(const caps_ref_em *p, bool last)
{
    host h = host_create(p, 3, 1);
    size_t all = 0, at = 0;
    h.p.last = last;
    host_run(&h);
    double *fixed = h.assigned;
    if (last) {
        h.p.fixed = fixed + links_of(p) / p->iterations * (p->iterations - 1);
        h.assigned = test_zeros(links_of(p));
    }
    for (size_t n = 0; n < INPUTS; n++)
        all += h.count[n];
    double *x = test_zeros(all), *gradient = test_zeros(all);
    for (size_t n = 0; n < INPUTS; at += h.count[n++]) {
        memcpy(x + at, h.in[n], h.count[n] * sizeof *x);
        memcpy(gradient + at, h.d[n], h.count[n] * sizeof *x);
    }
    const double error = test_finite_difference(weighted, &h, x, gradient, all, 1e-6);
    free(x);
    free(gradient);
    if (last)
        free(fixed);
    host_release(&h);
    return error;
}

START_TEST(the_reference_agrees_with_finite_differences)
{
    static const caps_ref_em cases[] = {
        {2, 2, 3, 4, 3, 2, 1, false, false, 3, 0.3, 0.7, 5e-2, NULL},
        {1, 2, 2, 3, 3, 0, 1, true, false, 3, 0.3, 0.7, 5e-2, NULL},
        {1, 1, 4, 3, 2, 2, 2, false, false, 1, 0.3, 0.7, 5e-2, NULL},
        {1, 1, 3, 4, 2, 1, 2, false, false, 4, 0.3, 0.7, 5e-2, NULL},
    };
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++)
        for (int last = 0; last < 2; last++) {
            const double error = difference_of(&cases[n], last);
            ck_assert_msg(error < 1e-6, "case %zu, last %d: %g", n, last, error);
        }
}
END_TEST

/* ---- device ---------------------------------------------------------------------------------- */

typedef struct device {
    caps_em how;
    caps_tensor in[INPUTS], d[INPUTS];
    caps_tensor pose_out, activation_out, dpose_out, dactivation_out, state, workspace;
} device;

static device device_create(caps_runtime *rt, const host *h)
{
    const caps_ref_em *p = &h->p;
    const size_t pose[] = {p->b, children_of(p), 16}, out[] = {p->b, results_of(p), 16};
    const size_t weight[] = {p->kernel, p->kernel, p->types, p->parents, 4, 4};
    const size_t skip = p->kernel ? 0 : 2;
    const size_t *shape[INPUTS] = {pose, pose, weight + skip, &p->parents, &p->parents};
    const int ndim[INPUTS] = {3, 2, 6 - (int)skip, 1, 1};
    device d = {.how = {p->b, p->types, p->height, p->width, p->parents, p->kernel, p->stride,
                    p->coordinates, p->iterations,
                    p->last ? CAPS_ROUTING_GRAD_LAST : CAPS_ROUTING_GRAD_FULL, (float)p->lambda,
                    (float)p->cost_scale, (float)p->variance_floor}};
    const caps_em_workspace need = caps_em_workspace_of(rt, &d.how, true);
    for (size_t n = 0; n < INPUTS; n++) {
        d.in[n] = test_tensor(h->in[n], ndim[n], shape[n]);
        d.d[n] = test_tensor(NULL, ndim[n], shape[n]);
    }
    d.pose_out = test_tensor(NULL, 3, out);
    d.activation_out = test_tensor(NULL, 2, out);
    d.dpose_out = test_tensor(h->dpose_out, 3, out);
    d.dactivation_out = test_tensor(h->dactivation_out, 2, out);
    d.state = test_tensor(NULL, 1, &need.state); /* guards show whether that is enough */
    d.workspace = test_tensor(NULL, 1, &need.workspace);
    return d;
}

static void device_release(device *d)
{
    for (size_t n = 0; n < INPUTS; n++) {
        test_tensor_release(&d->in[n]);
        test_tensor_release(&d->d[n]);
    }
    caps_tensor *all[] = {&d->pose_out, &d->activation_out, &d->dpose_out, &d->dactivation_out,
        &d->state, &d->workspace};
    for (size_t n = 0; n < sizeof all / sizeof all[0]; n++)
        test_tensor_release(all[n]);
}

static caps_status forward(caps_runtime *rt, device *d, caps_error *err)
{
    return caps_em_forward(rt, &d->pose_out, &d->activation_out, &d->state, &d->in[POSE],
        &d->in[ACTIVATION], &d->in[WEIGHT], &d->in[BETA_U], &d->in[BETA_A], &d->how, &d->workspace,
        err);
}

static caps_status backward(caps_runtime *rt, device *d, bool poses, bool activations,
    caps_error *err)
{
    return caps_em_backward(rt, poses ? &d->d[POSE] : NULL, activations ? &d->d[ACTIVATION] : NULL,
        &d->d[WEIGHT], &d->d[BETA_U], &d->d[BETA_A], &d->dpose_out, &d->dactivation_out, &d->state,
        &d->in[POSE], &d->in[ACTIVATION], &d->in[WEIGHT], &d->in[BETA_U], &d->in[BETA_A], &d->how,
        &d->workspace, err);
}

/* Forward, NaN into the workspace as other operations may leave it, backward. */
static void device_run(caps_runtime *rt, device *d)
{
    caps_error err = {0};
    const size_t n = caps_tensor_count(&d->workspace);
    float *values = malloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = NAN;
    test_ok(forward(rt, d, &err));
    test_ok(caps_tensor_upload(rt, &d->workspace, values, &err));
    test_ok(backward(rt, d, true, true, &err));
    free(values);
}

#define FORWARD  1e-5
#define GRADIENT 5e-4

static void compare(caps_runtime *rt, host *h)
{
    static const char *const names[INPUTS] = {
        "dpose", "dactivation", "dweight", "dbeta_u", "dbeta_a"};
    caps_error err = {0};
    device d = device_create(rt, h);
    const size_t edges = caps_ref_em_edges(&h->p), windows = caps_ref_em_windows(&h->p);
    const size_t links[] = {h->p.b, windows, edges, h->p.parents};
    const size_t shared[] = {h->p.b, edges, h->p.parents};
    host_run(h);
    device_run(rt, &d);
    test_expect(&d.pose_out, h->pose_out, FORWARD, "pose_out");
    test_expect(&d.activation_out, h->activation_out, FORWARD, "activation_out");
    for (size_t t = 0; t < h->p.iterations; t++) {
        caps_tensor R = test_tensor(NULL, h->p.kernel ? 4 : 3, h->p.kernel ? links : shared);
        test_ok(caps_em_assignment(rt, &R, &d.state, &d.how, t, &err));
        test_expect(&R, h->assigned + links_of(&h->p) / h->p.iterations * t, 10 * FORWARD, "R");
        test_tensor_release(&R);
    }
    for (size_t n = 0; n < INPUTS; n++)
        test_expect(&d.d[n], h->d[n], GRADIENT, names[n]);
    device_release(&d);
}

START_TEST(agrees_with_the_reference)
{
    for (size_t n = 0; n < (test_small() ? SMALL : SHAPES); n++)
        for (int last = 0; last < 2 && test_takes(n); last++) {
            host h = host_create(&shapes[n], n, 1);
            h.p.last = last;
            compare(families[_i], &h);
            host_release(&h);
        }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("em");
    TCase *tc = families_case(s, "em");
    tcase_add_test(tc, the_reference_agrees_with_finite_differences);
    families_add(tc, agrees_with_the_reference);
    return s;
}
