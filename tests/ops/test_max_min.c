/* test_max_min.c: dynamic routing with max-min normalisation of the couplings. */
#include <math.h>

#include "families.h"
#include "ref.h"

typedef struct shape {
    size_t b, i, j, d, r;
    caps_squash squash;
} shape;

/* Every size different; one iteration to five; one parent; more than one chunk of 32 inputs; more
 * than 16 parents and dimensions; dimensions that leave tails of 8 and less. The paper's last. */
static const shape shapes[] = {
    {2, 5, 3, 4, 1, CAPS_SQUASH_PAPER},
    {2, 5, 4, 3, 2, CAPS_SQUASH_EXP},
    {3, 7, 4, 6, 3, CAPS_SQUASH_PAPER},
    {2, 9, 5, 1, 5, CAPS_SQUASH_PAPER},
    {2, 6, 1, 5, 3, CAPS_SQUASH_PAPER},
    {2, 35, 2, 11, 3, CAPS_SQUASH_EXP},
    {1, 4, 19, 29, 2, CAPS_SQUASH_PAPER},
    {3, 70, 10, 16, 3, CAPS_SQUASH_PAPER},
    {2, 1152, 10, 16, 3, CAPS_SQUASH_PAPER},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static size_t votes_count(const shape *x)
{
    return x->b * x->i * x->j * x->d;
}

static size_t links_count(const shape *x)
{
    return x->r * x->b * x->i * x->j;
}

static size_t capsules_count(const shape *x)
{
    return x->b * x->j * x->d;
}

static double *make_votes(const shape *x, uint64_t seed)
{
    double *votes = test_random(votes_count(x), seed, -1, 1);
    for (size_t n = 0; n < votes_count(x); n++)
        votes[n] = (float)(votes[n] * 3 / sqrt((double)x->i));
    return votes;
}

/* ---- the reference --------------------------------------------------------------------------- */

typedef struct host {
    double *last, *couplings, *s, *v, *dvotes, *dbias;
} host;

static host host_run(
    const shape *x, const double *votes, const double *bias, const double *dv, bool full)
{
    const bool exponential = x->squash == CAPS_SQUASH_EXP;
    host h = {test_zeros(capsules_count(x)), test_zeros(links_count(x)),
        test_zeros(x->r * capsules_count(x)), test_zeros(x->r * capsules_count(x)),
        test_zeros(votes_count(x)), test_zeros(x->j * x->d)};
    caps_ref_routing_forward(h.last, h.couplings, h.s, h.v, votes, bias, CAPS_REF_MAX_MIN,
        exponential, x->b, x->i, x->j, x->d, x->r);
    if (dv)
        caps_ref_routing_backward(h.dvotes, h.dbias, dv, h.couplings, h.s, h.v, votes,
            CAPS_REF_MAX_MIN, full, exponential, x->b, x->i, x->j, x->d, x->r);
    return h;
}

static void host_release(host *h)
{
    double *const all[] = {h->last, h->couplings, h->s, h->v, h->dvotes, h->dbias};
    for (size_t n = 0; n < sizeof all / sizeof *all; n++)
        free(all[n]);
}

/* With votes of 1, 2 and 4 the first iteration adds them up as they are: squashed 1/2, 4/5 and
 * 16/17, so that logits are 1/2, 8/5 and 64/17. */
START_TEST(couplings_are_those_of_the_formula)
{
    const shape x = {1, 1, 3, 1, 2, CAPS_SQUASH_PAPER};
    const double votes[] = {1, 2, 4}, most = 64.0 / 17;
    host h = host_run(&x, votes, NULL, NULL, true);
    for (size_t j = 0; j < 3; j++)
        ck_assert_double_eq(h.couplings[j], 1);
    ck_assert_double_eq(h.couplings[3], 0);
    ck_assert_double_eq_tol(h.couplings[4], (1.6 - 0.5) / (most - 0.5), 1e-15);
    ck_assert_double_eq(h.couplings[5], 1);
    ck_assert_double_eq(h.last[0], 0);
    ck_assert_double_eq_tol(h.last[2], 16.0 / 17, 1e-15);
    host_release(&h);
}
END_TEST

typedef struct problem {
    const shape *x;
    const double *g, *couplings; /* NULL: not held fast */
} problem;

/* sum g v as a function of the votes and, behind them, the bias. */
static double weighted(const double *votes, void *context)
{
    const problem *p = context;
    const shape *x = p->x;
    const double *bias = votes + votes_count(x);
    host h = host_run(x, votes, bias, NULL, true);
    double sum = 0;
    for (size_t n = 0; p->couplings && n < capsules_count(x); n++) {
        const size_t b = n / (x->j * x->d), e = n % (x->j * x->d);
        h.s[n] = bias[e];
        for (size_t i = 0; i < x->i; i++)
            h.s[n] += p->couplings[(b * x->i + i) * x->j + e / x->d] *
                      votes[(b * x->i + i) * x->j * x->d + e];
    }
    if (p->couplings)
        caps_ref_squash_forward(h.last, h.s, x->squash == CAPS_SQUASH_EXP, x->b * x->j, x->d);
    for (size_t n = 0; n < capsules_count(x); n++)
        sum += p->g[n] * h.last[n];
    host_release(&h);
    return sum;
}

START_TEST(reference_gradient_by_finite_differences)
{
    for (size_t n = 0; n < 5; n++) {
        const shape *x = &shapes[n];
        const size_t count = votes_count(x) + x->j * x->d;
        double *votes = test_random(count, n + 20, -1, 1);
        double *g = test_random(capsules_count(x), n + 50, -1, 1), *gradient = test_zeros(count);
        for (int full = 0; full < 2; full++) {
            host h = host_run(x, votes, votes + votes_count(x), g, full);
            memcpy(gradient, h.dvotes, votes_count(x) * sizeof *gradient);
            memcpy(gradient + votes_count(x), h.dbias, x->j * x->d * sizeof *gradient);
            problem p = {x, g, full ? NULL : h.couplings + (x->r - 1) * x->b * x->i * x->j};
            const double error = test_finite_difference(weighted, &p, votes, gradient, count, 1e-6);
            ck_assert_msg(error < 1e-6, "shape %zu, full %d: %g", n, full, error);
            host_release(&h);
        }
        free(votes);
        free(g);
        free(gradient);
    }
}
END_TEST

/* ---- the device ------------------------------------------------------------------------------ */

typedef struct device {
    caps_tensor votes, bias, dv, v, dvotes, dbias;
    caps_routing_state state;
} device;

static device device_run(caps_runtime *rt, const shape *x, const double *votes, const double *bias,
    const double *dv, caps_routing_grad grad)
{
    const caps_routing how = {x->r, grad, false, x->squash, CAPS_NORMALIZATION_MAX_MIN};
    const size_t us[] = {x->b, x->i, x->j, x->d}, all[] = {x->r, x->b, x->j, x->d};
    const size_t scratch = caps_routing_scratch(x->b, x->i, x->j, x->d, &how);
    device d = {.votes = test_tensor(votes, 4, us),
        .bias = test_tensor(bias, 2, us + 2),
        .dv = test_tensor(dv, 3, all + 1),
        .v = test_tensor(NULL, 3, all + 1),
        .dvotes = test_tensor(NULL, 4, us),
        .dbias = test_tensor(NULL, 2, us + 2)};
    caps_error err = {0};
    d.state = (caps_routing_state){test_tensor(NULL, 4, (size_t[]){x->r, x->b, x->i, x->j}),
        test_tensor(NULL, 4, all), test_tensor(NULL, 4, all), test_tensor(NULL, 1, &scratch)};
    test_ok(caps_routing_forward(rt, &d.v, &d.state, &d.votes, bias ? &d.bias : NULL, &how, &err));
    test_ok(caps_routing_backward(
        rt, &d.dvotes, bias ? &d.dbias : NULL, &d.dv, &d.state, &d.votes, &how, &err));
    return d;
}

static void device_release(device *d)
{
    caps_tensor *const all[] = {&d->votes, &d->bias, &d->dv, &d->v, &d->dvotes, &d->dbias,
        &d->state.couplings, &d->state.s, &d->state.v, &d->state.scratch};
    for (size_t n = 0; n < sizeof all / sizeof *all; n++)
        test_tensor_release(all[n]);
}

static void compare(caps_runtime *rt, const shape *x, const double *votes, bool biased, bool full)
{
    double *dv = test_random(capsules_count(x), 3, -1, 1);
    double *bias = test_random(x->j * x->d, 4, -0.3, 0.3);
    host h = host_run(x, votes, biased ? bias : NULL, dv, full);
    device d = device_run(rt, x, votes, biased ? bias : NULL, dv,
        full ? CAPS_ROUTING_GRAD_FULL : CAPS_ROUTING_GRAD_LAST);
    test_expect(&d.state.couplings, h.couplings, 1e-5, "couplings");
    test_expect(&d.v, h.last, 1e-5, "v");
    test_expect(&d.state.v, h.v, 1e-5, "v of all iterations");
    test_expect(&d.dvotes, h.dvotes, 1e-4, "dvotes");
    if (biased)
        test_expect(&d.dbias, h.dbias, 1e-4, "dbias");
    device_release(&d);
    host_release(&h);
    free(dv);
    free(bias);
}

START_TEST(agrees_with_the_reference)
{
    for (size_t n = 0; n < SHAPES; n++) {
        if (test_small() && votes_count(&shapes[n]) > 800)
            continue;
        double *votes = make_votes(&shapes[n], n + 7);
        for (int mode = 0; mode < 4; mode++)
            compare(families[_i], &shapes[n], votes, mode % 2, mode / 2);
        free(votes);
    }
}
END_TEST

/* Two parents get the same votes, and so the same logits, in all their bits: for some children
 * these are the greatest, for some the least. The gradient is that of the first of the two. */
START_TEST(of_equal_logits_the_first_takes_the_gradient)
{
    const shape *x = &shapes[2];
    double *votes = make_votes(x, 5);
    size_t ends[2] = {0};
    for (size_t n = 0; n < x->b * x->i; n++)
        memcpy(votes + (n * x->j + 3) * x->d, votes + (n * x->j + 1) * x->d, x->d * sizeof *votes);
    host h = host_run(x, votes, NULL, NULL, true);
    for (size_t n = 1; n < links_count(x) / x->j; n++) {
        const double *c = h.couplings + n * x->j;
        ck_assert_double_eq(c[1], c[3]);
        ends[0] += n >= x->b * x->i && c[1] == 0;
        ends[1] += n >= x->b * x->i && c[1] == 1;
    }
    ck_assert(ends[0] > 0 && ends[1] > 0);
    compare(families[_i], x, votes, false, true);
    host_release(&h);
    free(votes);
}
END_TEST

/* No votes at all, and a single parent: no logit differs from another. */
START_TEST(equal_logits_give_couplings_of_one_and_no_gradient_through_them)
{
    for (size_t n = 2; n < 5; n += 2) {
        const shape *x = &shapes[n];
        double *votes = x->j == 1 ? make_votes(x, 6) : test_zeros(votes_count(x));
        double *dv = test_random(capsules_count(x), 1, -1, 1), *one = test_zeros(links_count(x));
        for (size_t i = 0; i < links_count(x); i++)
            one[i] = 1;
        host last = host_run(x, votes, NULL, dv, false);
        device d = device_run(families[_i], x, votes, NULL, dv, CAPS_ROUTING_GRAD_FULL);
        test_expect_exactly(&d.state.couplings, one, "couplings");
        if (x->j == 1)
            test_expect(&d.dvotes, last.dvotes, 1e-5, "dvotes");
        else
            test_expect_exactly(&d.dvotes, last.dvotes, "dvotes");
        device_release(&d);
        host_release(&last);
        free(votes);
        free(dv);
        free(one);
    }
}
END_TEST

START_TEST(huge_and_tiny_votes_stay_finite)
{
    static const double sizes[] = {1e18, 1e6, 1e-12, 1e-20};
    const shape *x = &shapes[2];
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        double *votes = make_votes(x, 1), *dv = test_random(capsules_count(x), 2, -1, 1);
        for (size_t i = 0; i < votes_count(x); i++)
            votes[i] = (float)(votes[i] * sizes[n]);
        device d = device_run(families[_i], x, votes, NULL, dv, CAPS_ROUTING_GRAD_FULL);
        double *v = test_download(&d.v), *c = test_download(&d.state.couplings);
        double *dvotes = test_download(&d.dvotes);
        for (size_t i = 0; i < votes_count(x); i++)
            ck_assert_msg(isfinite(dvotes[i]), "dvotes at %g", sizes[n]);
        for (size_t i = 0; i < links_count(x); i++)
            ck_assert_msg(c[i] >= 0 && c[i] <= 1, "coupling %g at %g", c[i], sizes[n]);
        for (size_t i = 0; i < capsules_count(x); i++)
            ck_assert(fabs(v[i]) <= 1);
        free(v);
        free(c);
        free(dvotes);
        device_release(&d);
        free(votes);
        free(dv);
    }
}
END_TEST

START_TEST(a_vote_that_is_not_finite_shows_in_its_sample_alone)
{
    const shape *x = &shapes[2];
    double *votes = make_votes(x, 1), *dv = test_random(capsules_count(x), 2, -1, 1);
    votes[x->i * x->j * x->d + 5] = NAN; /* of the second sample's first parent */
    device d = device_run(families[_i], x, votes, NULL, dv, CAPS_ROUTING_GRAD_FULL);
    double *v = test_download(&d.v);
    for (size_t n = 0; n < capsules_count(x); n++)
        ck_assert_int_eq(isnan(v[n]) != 0, n >= x->j * x->d && n < x->j * x->d + x->d);
    free(v);
    device_release(&d);
    free(votes);
    free(dv);
}
END_TEST

START_TEST(two_runs_give_the_same_bits)
{
    const shape *x = &shapes[test_small() ? 2 : 7];
    double *votes = make_votes(x, 1), *dv = test_random(capsules_count(x), 2, -1, 1);
    device d[2];
    uint32_t *bits[2];
    for (int run = 0; run < 2; run++) {
        d[run] = device_run(families[_i], x, votes, NULL, dv, CAPS_ROUTING_GRAD_FULL);
        bits[run] = test_bits(families[_i], &d[run].dvotes);
    }
    ck_assert(memcmp(bits[0], bits[1], votes_count(x) * sizeof *bits[0]) == 0);
    for (int run = 0; run < 2; run++) {
        device_release(&d[run]);
        free(bits[run]);
    }
    free(votes);
    free(dv);
}
END_TEST

/* ---- class capsules -------------------------------------------------------------------------- */

/* Whatever is asked for, votes are stored. */
START_TEST(class_capsules_store_their_votes)
{
    const shape *x = &shapes[test_small() ? 2 : 7];
    const size_t k = 8, us[] = {x->b, x->i, k}, ws[] = {x->i, x->j, x->d, k};
    const size_t all[] = {x->r, x->b, x->j, x->d}, nu = x->b * x->i * k,
                 nw = x->i * x->j * x->d * k;
    double *u = test_random(nu, 1, -1, 1), *w = test_random(nw, 2, -0.4, 0.4);
    double *dv = test_random(capsules_count(x), 3, -1, 1), *votes = test_zeros(votes_count(x));
    double *du = test_zeros(nu), *dw = test_zeros(nw);
    caps_ref_votes_forward(votes, u, w, x->b, x->i, x->j, x->d, k);
    host h = host_run(x, votes, NULL, dv, true);
    caps_ref_votes_backward(du, dw, h.dvotes, u, w, x->b, x->i, x->j, x->d, k);
    for (int a = CAPS_ROUTING_STORED; a <= CAPS_ROUTING_FUSED; a++) {
        const caps_class_caps how = {x->b, x->i, x->j, x->d, k,
            {x->r, CAPS_ROUTING_GRAD_FULL, false, x->squash, CAPS_NORMALIZATION_MAX_MIN},
            (caps_routing_algorithm)a};
        const caps_class_caps_workspace room =
            caps_class_caps_workspace_of(families[_i], &how, true);
        ck_assert_uint_eq(room.votes, votes_count(x));
        ck_assert_int_eq(
            caps_class_caps_choose(families[_i], &how, CAPS_ROUTING_AUTO), CAPS_ROUTING_STORED);
        caps_tensor tu = test_tensor(u, 3, us), tw = test_tensor(w, 4, ws);
        caps_tensor tdv = test_tensor(dv, 3, all + 1), tv = test_tensor(NULL, 3, all + 1);
        caps_tensor tdu = test_tensor(NULL, 3, us), tdw = test_tensor(NULL, 4, ws);
        caps_tensor work = test_tensor(NULL, 1, &room.workspace);
        caps_class_caps_state state = {test_tensor(NULL, 4, (size_t[]){x->r, x->b, x->i, x->j}),
            test_tensor(NULL, 4, all), test_tensor(NULL, 4, all),
            test_tensor(NULL, 1, &room.votes)};
        caps_error err = {0};
        test_ok(
            caps_class_caps_forward(families[_i], &tv, &state, &tu, &tw, NULL, &how, &work, &err));
        test_ok(caps_class_caps_backward(
            families[_i], &tdu, &tdw, NULL, &tdv, &state, &tu, &tw, &how, &work, &err));
        test_expect(&tv, h.last, 1e-5, "v");
        test_expect(&state.couplings, h.couplings, 1e-5, "couplings");
        test_expect(&tdu, du, 1e-4, "du");
        test_expect(&tdw, dw, 1e-4, "dw");
        caps_tensor *const tensors[] = {&tu, &tw, &tdv, &tv, &tdu, &tdw, &work, &state.couplings,
            &state.s, &state.v, &state.votes};
        for (size_t n = 0; n < sizeof tensors / sizeof *tensors; n++)
            test_tensor_release(tensors[n]);
    }
    double *const arrays[] = {u, w, dv, votes, du, dw};
    for (size_t n = 0; n < sizeof arrays / sizeof *arrays; n++)
        free(arrays[n]);
    host_release(&h);
}
END_TEST

START_TEST(a_leak_is_refused)
{
    const caps_routing how = {
        3, CAPS_ROUTING_GRAD_FULL, true, CAPS_SQUASH_PAPER, CAPS_NORMALIZATION_MAX_MIN};
    caps_tensor t = test_tensor(NULL, 4, (size_t[]){2, 3, 4, 5});
    caps_routing_state state = {t, t, t, t};
    test_refused(caps_routing_forward(families[_i], &t, &state, &t, NULL, &how, err),
        "routing: leaky is true, need false with max-min normalization");
    test_tensor_release(&t);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("max_min");
    TCase *tc = families_case(s, "max_min");
    tcase_add_test(tc, couplings_are_those_of_the_formula);
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    families_add(tc, agrees_with_the_reference);
    families_add(tc, of_equal_logits_the_first_takes_the_gradient);
    families_add(tc, equal_logits_give_couplings_of_one_and_no_gradient_through_them);
    families_add(tc, huge_and_tiny_votes_stay_finite);
    families_add(tc, a_vote_that_is_not_finite_shows_in_its_sample_alone);
    families_add(tc, two_runs_give_the_same_bits);
    families_add(tc, class_capsules_store_their_votes);
    families_add(tc, a_leak_is_refused);
    return s;
}
