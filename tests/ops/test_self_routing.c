/* test_self_routing.c: self-routing of votes that are computed from capsules and weights. */
#include <math.h>

#include "families.h"
#include "ref.h"

static const caps_self_routing shapes[] = {
    {3, 5, 4, 7, 2}, {2, 7, 3, 18, 5}, {1, 1, 1, 1, 1}, {5, 3, 19, 3, 4}, {33, 16, 10, 16, 8},
    {3, 1153, 11, 170, 3}, /* votes of one or two samples at a time */
};

/* ---- the reference --------------------------------------------------------------------------- */

typedef struct inputs {
    size_t us, ws, rs, vs;
    double *x; /* u, w and route, one after the other */
    double *dv;
} inputs;

static inputs inputs_of(const caps_self_routing *z)
{
    inputs in = {z->b * z->i * z->k, z->i * z->j * z->d * z->k, z->i * z->j * z->k,
        z->b * z->j * z->d, NULL, NULL};
    in.x = test_random(in.us + in.ws + in.rs, z->i, -1, 1);
    in.dv = test_random(in.vs, 4, -1, 1);
    for (size_t i = 0; i < in.rs; i++) /* couplings that are neither even nor a step */
        in.x[in.us + in.ws + i] *= 2;
    return in;
}

static void inputs_release(inputs *in)
{
    free(in->x);
    free(in->dv);
}

typedef struct need {
    double *v, *c, *dx; /* du, dw, droute behind one another */
} need;

static need need_of(const caps_self_routing *z, const inputs *in)
{
    need n = {
        test_zeros(in->vs), test_zeros(z->b * z->i * z->j), test_zeros(in->us + in->ws + in->rs)};
    const double *u = in->x, *w = u + in->us, *route = w + in->ws;
    caps_ref_self_routing_forward(n.v, n.c, u, w, route, z->b, z->i, z->j, z->d, z->k);
    caps_ref_self_routing_backward(n.dx, n.dx + in->us, n.dx + in->us + in->ws, in->dv, u, w, route,
        z->b, z->i, z->j, z->d, z->k);
    return n;
}

static void need_release(need *n)
{
    free(n->v);
    free(n->c);
    free(n->dx);
}

/* Two children of lengths 5 and 1; of the first the couplings are 3/4 and 1/4, of the second even.
 * Activations are (15/4 + 1/2) / 6 and (5/4 + 1/2) / 6. */
START_TEST(lengths_are_the_shares_of_the_activations)
{
    const double u[] = {3, 4, 0, 1}, route[] = {log(3) / 3, 0, 0, 0, 7, 0, 9, 0};
    const double w[] = {1, 0, 0, 1, 2, 0, 0, 2, 1, 0, 0, 1, 2, 0, 0, 2};
    double v[4], c[4];
    caps_ref_self_routing_forward(v, c, u, w, route, 1, 2, 2, 2, 2);
    ck_assert_double_eq_tol(c[0], 0.75, 1e-15);
    ck_assert_double_eq_tol(c[1], 0.25, 1e-15);
    ck_assert_double_eq(c[2], 0.5);
    ck_assert_double_eq_tol(hypot(v[0], v[1]), 4.25 / 6, 1e-15);
    ck_assert_double_eq_tol(hypot(v[2], v[3]), 1.75 / 6, 1e-15);
    /* M_1 = 15/4 (3, 4) + 1/2 (0, 1) */
    ck_assert_double_eq_tol(v[0] / v[1], 11.25 / 15.5, 1e-15);
}
END_TEST

typedef struct problem {
    const caps_self_routing *z;
    const inputs *in;
} problem;

static double weighted(const double *x, void *context)
{
    const problem *p = context;
    const caps_self_routing *z = p->z;
    double *v = test_zeros(p->in->vs), *c = test_zeros(z->b * z->i * z->j), sum = 0;
    caps_ref_self_routing_forward(
        v, c, x, x + p->in->us, x + p->in->us + p->in->ws, z->b, z->i, z->j, z->d, z->k);
    for (size_t i = 0; i < p->in->vs; i++)
        sum += p->in->dv[i] * v[i];
    free(v);
    free(c);
    return sum;
}

START_TEST(reference_gradient_by_finite_differences)
{
    for (size_t k = 0; k < 4; k++) {
        inputs in = inputs_of(&shapes[k]);
        need n = need_of(&shapes[k], &in);
        problem p = {&shapes[k], &in};
        const double error =
            test_finite_difference(weighted, &p, in.x, n.dx, in.us + in.ws + in.rs, 1e-5);
        ck_assert_msg(error < 1e-6, "shape %zu: %g", k, error);
        need_release(&n);
        inputs_release(&in);
    }
}
END_TEST

/* ---- the device ------------------------------------------------------------------------------ */

typedef struct device {
    caps_tensor u, w, route, dv, v, du, dw, droute, work;
    caps_self_routing_state state;
} device;

/* spare: the shape is planned for so many samples more. */
static device device_run(
    caps_runtime *rt, const caps_self_routing *z, const inputs *in, size_t spare)
{
    const size_t us[] = {z->b, z->i, z->k}, ws[] = {z->i, z->j, z->d, z->k};
    const size_t vs[] = {z->b, z->j, z->d}, cs[] = {z->b, z->i, z->j}, rs[] = {z->i, z->j, z->k};
    caps_self_routing planned = *z;
    planned.b += spare;
    const size_t room = caps_self_routing_workspace(&planned, true);
    caps_error err = {0};
    device d = {test_tensor(in->x, 3, us), test_tensor(in->x + in->us, 4, ws),
        test_tensor(in->x + in->us + in->ws, 3, rs), test_tensor(in->dv, 3, vs),
        test_tensor(NULL, 3, vs), test_tensor(NULL, 3, us), test_tensor(NULL, 4, ws),
        test_tensor(NULL, 3, rs), test_tensor(NULL, 1, &room),
        {test_tensor(NULL, 3, cs), test_tensor(NULL, 2, cs), test_tensor(NULL, 3, vs),
            test_tensor(NULL, 2, vs), test_tensor(NULL, 1, &z->b)}};
    test_ok(caps_self_routing_forward(
        rt, &d.v, &d.state, &d.u, &d.w, &d.route, &planned, &d.work, &err));
    test_ok(caps_self_routing_backward(rt, &d.du, &d.dw, &d.droute, &d.dv, &d.state, &d.u, &d.w,
        &d.route, &planned, &d.work, &err));
    return d;
}

static void device_release(device *d)
{
    caps_tensor *const all[] = {&d->u, &d->w, &d->route, &d->dv, &d->v, &d->du, &d->dw, &d->droute,
        &d->work, &d->state.couplings, &d->state.activation, &d->state.pose, &d->state.share,
        &d->state.total};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        test_tensor_release(all[i]);
}

static void check_shape(
    caps_runtime *rt, const caps_self_routing *z, size_t spare, double tolerance)
{
    inputs in = inputs_of(z);
    need n = need_of(z, &in);
    device d = device_run(rt, z, &in, spare);
    caps_self_routing planned = *z;
    caps_error err = {0};
    planned.b += spare;
    test_expect(&d.state.couplings, n.c, tolerance, "couplings");
    test_expect(&d.v, n.v, tolerance, "v");
    test_expect(&d.du, n.dx, 10 * tolerance, "du");
    test_expect(&d.dw, n.dx + in.us, 10 * tolerance, "dw");
    test_expect(&d.droute, n.dx + in.us + in.ws, 10 * tolerance, "droute");
    /* Without du, and once more. */
    uint32_t *bits = test_bits(rt, &d.dw), *again;
    test_ok(caps_self_routing_backward(rt, NULL, &d.dw, &d.droute, &d.dv, &d.state, &d.u, &d.w,
        &d.route, &planned, &d.work, &err));
    again = test_bits(rt, &d.dw);
    ck_assert(memcmp(bits, again, in.ws * sizeof *bits) == 0);
    free(bits);
    free(again);
    device_release(&d);
    need_release(&n);
    inputs_release(&in);
}

START_TEST(agrees_with_the_reference)
{
    for (size_t i = 0; i < 5; i++)
        if (!test_small() || shapes[i].b < 6)
            check_shape(families[_i], &shapes[i], i, 2e-6);
}
END_TEST

START_TEST(in_chunks)
{
    if (!test_small())
        check_shape(families[_i], &shapes[5], 0, 1e-5);
}
END_TEST

/* A child that is 0 has no part and no gradient but by its votes' weights, which are 0 too; where
 * all children of a sample are 0, or all votes, so are its parents. */
START_TEST(nothing_is_nothing)
{
    const caps_self_routing *z = &shapes[0];
    inputs in = inputs_of(z);
    for (size_t e = 0; e < z->i * z->k; e++)
        in.x[e] = 0; /* the first sample */
    for (size_t e = 0; e < z->k; e++)
        in.x[(z->i + 2) * z->k + e] = 0; /* a child of the second */
    need n = need_of(z, &in);
    device d = device_run(families[_i], z, &in, 0);
    test_expect(&d.v, n.v, 2e-6, "v");
    test_expect(&d.du, n.dx, 2e-5, "du");
    test_expect(&d.droute, n.dx + in.us + in.ws, 2e-5, "droute");
    device_release(&d);
    need_release(&n);
    for (size_t e = 0; e < in.ws; e++)
        in.x[in.us + e] = 0;
    double *zero = test_zeros(in.us + in.ws + in.rs);
    d = device_run(families[_i], z, &in, 0);
    test_expect_exactly(&d.v, zero, "v");
    test_expect_exactly(&d.du, zero, "du");
    test_expect_exactly(&d.dw, zero, "dw");
    test_expect_exactly(&d.droute, zero, "droute");
    device_release(&d);
    free(zero);
    inputs_release(&in);
}
END_TEST

START_TEST(a_child_that_is_not_finite_shows_in_its_sample_alone)
{
    const caps_self_routing *z = &shapes[0];
    inputs in = inputs_of(z);
    in.x[z->i * z->k + 3] = NAN; /* of the second sample */
    device d = device_run(families[_i], z, &in, 0);
    double *v = test_download(&d.v);
    for (size_t n = 0; n < in.vs; n++)
        ck_assert_int_eq(isnan(v[n]) != 0, n / (z->j * z->d) == 1);
    free(v);
    device_release(&d);
    inputs_release(&in);
}
END_TEST

START_TEST(huge_and_tiny_children_stay_finite)
{
    static const double sizes[] = {1e17, 1e6, 1e-12, 1e-17};
    const caps_self_routing *z = &shapes[0];
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        inputs in = inputs_of(z);
        for (size_t e = 0; e < in.us; e++)
            in.x[e] = (float)(in.x[e] * sizes[s]);
        device d = device_run(families[_i], z, &in, 0);
        double *v = test_download(&d.v), *dw = test_download(&d.dw), *du = test_download(&d.du);
        for (size_t n = 0; n < in.vs; n++)
            ck_assert_msg(fabs(v[n]) <= 1.00001, "v at %g", sizes[s]);
        for (size_t n = 0; n < in.ws; n++)
            ck_assert_msg(isfinite(dw[n]), "dw at %g", sizes[s]);
        for (size_t n = 0; n < in.us; n++)
            ck_assert_msg(isfinite(du[n]), "du at %g", sizes[s]);
        free(v);
        free(dw);
        free(du);
        device_release(&d);
        inputs_release(&in);
    }
}
END_TEST

START_TEST(wrong_shapes_are_refused)
{
    const caps_self_routing shape = {2, 3, 4, 5, 6};
    caps_tensor u = test_tensor(NULL, 3, (size_t[]){2, 3, 6});
    caps_tensor more = test_tensor(NULL, 3, (size_t[]){3, 3, 6});
    caps_tensor w = test_tensor(NULL, 4, (size_t[]){3, 4, 5, 6});
    caps_tensor route = test_tensor(NULL, 3, (size_t[]){3, 4, 6});
    caps_tensor v = test_tensor(NULL, 3, (size_t[]){2, 4, 5});
    caps_tensor pairs = test_tensor(NULL, 3, (size_t[]){2, 3, 4});
    caps_tensor a = test_tensor(NULL, 2, (size_t[]){2, 3});
    caps_tensor share = test_tensor(NULL, 2, (size_t[]){2, 4});
    caps_tensor total = test_tensor(NULL, 1, (size_t[]){2});
    caps_self_routing_state state = {pairs, a, v, share, total};
    test_refused(
        caps_self_routing_forward(families[_i], &v, &state, &more, &w, &route, &shape, &v, err),
        "self_routing: a batch of 3, need at most 2");
    test_refused(caps_self_routing_forward(families[_i], &v, &state, &u, &w, &u, &shape, &v, err),
        "self_routing: route is float32 [2, 3, 6], need float32 [3, 4, 6]");
    test_refused(
        caps_self_routing_forward(families[_i], &v, &state, &u, &w, &route, &shape, &v, err),
        "self_routing: workspace has 40 elements, need 144");
    caps_tensor *const all[] = {&u, &more, &w, &route, &v, &pairs, &a, &share, &total};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        test_tensor_release(all[i]);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("self_routing");
    TCase *tc = families_case(s, "self_routing");
    tcase_add_test(tc, lengths_are_the_shares_of_the_activations);
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    families_add(tc, agrees_with_the_reference);
    families_add(tc, in_chunks);
    families_add(tc, nothing_is_nothing);
    families_add(tc, a_child_that_is_not_finite_shows_in_its_sample_alone);
    families_add(tc, huge_and_tiny_children_stay_finite);
    families_add(tc, wrong_shapes_are_refused);
    return s;
}
