/* test_routing.c: routing by agreement, forward and backward, both routing_grad modes, with and
 * without a leak. */
#include <math.h>
#include <stdio.h>

#include "families.h"
#include "ref.h"

typedef struct shape {
    size_t b, i, j, d, r;
} shape;

/* Every size different; one class, one dimension, one input; more than one chunk of 32 inputs; more
 * than 16 classes and dimensions; one iteration to four, and many. The paper's network last. */
static const shape shapes[] = {
    {2, 5, 3, 4, 1},
    {2, 5, 3, 4, 2},
    {3, 7, 4, 6, 3},
    {1, 1, 1, 1, 3},
    {2, 6, 1, 5, 3},
    {2, 9, 4, 1, 5},
    {2, 33, 2, 3, 3},
    {2, 11, 5, 3, 4},
    {1, 4, 19, 21, 2},
    {3, 70, 10, 16, 3},
    {1, 3, 2, 2, 17},
    {2, 1152, 10, 16, 3},
};

#define SHAPES (sizeof shapes / sizeof shapes[0])

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

/* Votes large enough that couplings differ clearly, whatever the number of inputs. */
static double *make_votes(const shape *x, uint64_t seed)
{
    double *votes = test_random(votes_count(x), seed, -1, 1);
    double scale = (double)(float)(3 / sqrt((double)x->i));
    for (size_t n = 0; n < votes_count(x); n++)
        votes[n] = (float)(votes[n] * scale);
    return votes;
}

/* ---- host: the reference and its state ------------------------------------------------------- */

typedef struct host {
    double *last, *couplings, *s, *v;
} host;

static host host_forward(const shape *x, const double *votes, const double *bias, bool leaky)
{
    host h = {test_zeros(capsules_count(x)), test_zeros(links_count(x)),
        test_zeros(x->r * capsules_count(x)), test_zeros(x->r * capsules_count(x))};
    caps_ref_routing_forward(
        h.last, h.couplings, h.s, h.v, votes, bias, leaky, false, x->b, x->i, x->j, x->d, x->r);
    return h;
}

static void host_release(host *h)
{
    free(h->last);
    free(h->couplings);
    free(h->s);
    free(h->v);
}

typedef struct problem {
    shape x;
    const double *g, *couplings;
    bool leaky;
} problem;

/* sum g v as a function of the votes and, behind them, the bias. */
static double weighted(const double *votes, void *context)
{
    const problem *p = context;
    host h = host_forward(&p->x, votes, votes + votes_count(&p->x), p->leaky);
    double sum = 0;
    for (size_t n = 0; n < capsules_count(&p->x); n++)
        sum += p->g[n] * h.last[n];
    host_release(&h);
    return sum;
}

/* The same with the last iteration's couplings held fast. */
static double weighted_frozen(const double *votes, void *context)
{
    const problem *p = context;
    const shape *x = &p->x;
    const double *bias = votes + votes_count(x);
    double *s = test_zeros(capsules_count(x)), *v = test_zeros(capsules_count(x)), sum = 0;
    for (size_t n = 0; n < capsules_count(x); n++) {
        size_t b = n / (x->j * x->d), e = n % (x->j * x->d);
        s[n] = bias[e];
        for (size_t i = 0; i < x->i; i++)
            s[n] += p->couplings[(b * x->i + i) * x->j + e / x->d] *
                    votes[(b * x->i + i) * x->j * x->d + e];
    }
    caps_ref_squash_forward(v, s, false, x->b * x->j, x->d);
    for (size_t n = 0; n < capsules_count(x); n++)
        sum += p->g[n] * v[n];
    free(s);
    free(v);
    return sum;
}

START_TEST(reference_gradient_by_finite_differences)
{
    for (size_t n = 0; n + 1 < SHAPES; n++) {
        const shape *x = &shapes[n];
        if (votes_count(x) > 900)
            continue;
        size_t count = votes_count(x) + x->j * x->d;
        double *votes = test_random(count, n, -1, 1),
               *g = test_random(capsules_count(x), n + 50, -1, 1);
        double *gradient = test_zeros(count);
        for (int mode = 0; mode < 4; mode++) {
            const bool full = mode % 2, leaky = mode / 2;
            host h = host_forward(x, votes, votes + votes_count(x), leaky);
            problem p = {*x, g, h.couplings + (x->r - 1) * x->b * x->i * x->j, leaky};
            caps_ref_routing_backward(gradient, gradient + votes_count(x), g, h.couplings, h.s, h.v,
                votes, leaky, full, false, x->b, x->i, x->j, x->d, x->r);
            double error = test_finite_difference(
                full ? weighted : weighted_frozen, &p, votes, gradient, count, 1e-5);
            ck_assert_msg(error < 1e-6, "shape %zu, full %d, leaky %d: %g", n, full, leaky, error);
            host_release(&h);
        }
        free(votes);
        free(g);
        free(gradient);
    }
}
END_TEST

/* The two modes and one iteration: with one, couplings are constant anyway. */
START_TEST(reference_modes_differ_where_they_should)
{
    const shape one = {2, 5, 3, 4, 1}, two = {2, 5, 3, 4, 2};
    for (const shape *x = &one; x; x = x == &one ? &two : NULL) {
        double *votes = make_votes(x, 1), *g = test_random(capsules_count(x), 2, -1, 1);
        double *full = test_zeros(votes_count(x)), *last = test_zeros(votes_count(x));
        host h = host_forward(x, votes, NULL, false);
        caps_ref_routing_backward(full, NULL, g, h.couplings, h.s, h.v, votes, 0, true, false, x->b,
            x->i, x->j, x->d, x->r);
        caps_ref_routing_backward(last, NULL, g, h.couplings, h.s, h.v, votes, 0, false, false,
            x->b, x->i, x->j, x->d, x->r);
        double error = test_relative_error(last, full, votes_count(x));
        ck_assert(x->r == 1 ? error == 0 : error > 1e-2);
        host_release(&h);
        free(votes);
        free(g);
        free(full);
        free(last);
    }
}
END_TEST

/* ---- device ---------------------------------------------------------------------------------- */

typedef struct device {
    caps_tensor votes, bias, dv, v, dvotes, dbias;
    caps_routing_state state;
    caps_routing routing;
} device;

static device device_create(const shape *x, const double *votes, const double *bias,
    const double *dv, caps_routing_grad grad, bool leaky)
{
    const size_t votes_shape[] = {x->b, x->i, x->j, x->d}, bias_shape[] = {x->j, x->d};
    const size_t v_shape[] = {x->b, x->j, x->d}, all_shape[] = {x->r, x->b, x->j, x->d};
    device d = {.routing = {x->r, grad, leaky}};
    size_t scratch = caps_routing_scratch(x->b, x->i, x->j, x->d, &d.routing);
    d.votes = test_tensor(votes, 4, votes_shape);
    d.bias = test_tensor(bias, 2, bias_shape);
    d.dv = test_tensor(dv, 3, v_shape);
    d.v = test_tensor(NULL, 3, v_shape);
    d.dvotes = test_tensor(NULL, 4, votes_shape);
    d.dbias = test_tensor(NULL, 2, bias_shape);
    d.state.couplings = test_tensor(NULL, 4, (size_t[]){x->r, x->b, x->i, x->j});
    d.state.s = test_tensor(NULL, 4, all_shape);
    d.state.v = test_tensor(NULL, 4, all_shape);
    d.state.scratch = test_tensor(NULL, 1, &scratch); /* its guards show whether it is enough */
    return d;
}

static void device_release(device *d)
{
    test_tensor_release(&d->votes);
    test_tensor_release(&d->bias);
    test_tensor_release(&d->dv);
    test_tensor_release(&d->v);
    test_tensor_release(&d->dvotes);
    test_tensor_release(&d->dbias);
    test_tensor_release(&d->state.couplings);
    test_tensor_release(&d->state.s);
    test_tensor_release(&d->state.v);
    test_tensor_release(&d->state.scratch);
}

static void device_run(caps_runtime *rt, device *d, bool bias)
{
    caps_error err = {0};
    test_ok(caps_routing_forward(
        rt, &d->v, &d->state, &d->votes, bias ? &d->bias : NULL, &d->routing, &err));
    test_ok(caps_routing_backward(
        rt, &d->dvotes, bias ? &d->dbias : NULL, &d->dv, &d->state, &d->votes, &d->routing, &err));
}

static void compare(
    caps_runtime *rt, const shape *x, bool with_bias, caps_routing_grad grad, bool leaky)
{
    double *votes = make_votes(x, x->i), *dv = test_random(capsules_count(x), 3, -1, 1);
    double *bias = test_random(x->j * x->d, 4, -0.3, 0.3);
    double *dvotes = test_zeros(votes_count(x)), *dbias = test_zeros(x->j * x->d);
    host h = host_forward(x, votes, with_bias ? bias : NULL, leaky);
    caps_ref_routing_backward(dvotes, dbias, dv, h.couplings, h.s, h.v, votes, leaky,
        grad == CAPS_ROUTING_GRAD_FULL, false, x->b, x->i, x->j, x->d, x->r);
    device d = device_create(x, votes, bias, dv, grad, leaky);
    device_run(rt, &d, with_bias);
    /* Each iteration hands its rounding on to the next through exp. */
    test_expect(&d.v, h.last, 3e-6, "v");
    test_expect(&d.state.couplings, h.couplings, 3e-6, "couplings");
    test_expect(&d.state.s, h.s, 3e-6, "s");
    test_expect(&d.state.v, h.v, 3e-6, "v of all iterations");
    test_expect(&d.dvotes, dvotes, 1e-5, "dvotes");
    if (with_bias)
        test_expect(&d.dbias, dbias, 1e-5, "dbias");
    device_release(&d);
    host_release(&h);
    free(votes);
    free(bias);
    free(dv);
    free(dvotes);
    free(dbias);
}

START_TEST(agrees_with_the_reference)
{
    for (size_t n = 0; n < SHAPES; n++) {
        if (!test_takes(n) || (test_small() && votes_count(&shapes[n]) > 2000))
            continue;
        /* On a simulator, each of bias and gradient with and without, not all four. */
        for (int mode = 0; mode < 4; mode++) {
            const bool bias = mode % 2, leaky = mode / 2;
            if (leaky && test_small() && votes_count(&shapes[n]) > 200)
                continue;
            if (bias || !test_small())
                compare(families[_i], &shapes[n], bias, CAPS_ROUTING_GRAD_FULL, leaky);
            if (!bias || !test_small())
                compare(families[_i], &shapes[n], bias, CAPS_ROUTING_GRAD_LAST, leaky);
        }
    }
}
END_TEST

static void run_twice(caps_runtime *rt, bool leaky)
{
    const shape x = test_small() ? shapes[6] : shapes[9];
    double *votes = make_votes(&x, 1), *dv = test_random(capsules_count(&x), 2, -1, 1);
    double *bias = test_random(x.j * x.d, 3, -1, 1);
    uint32_t *bits[2][3];
    size_t bytes[3] = {0};
    for (int run = 0; run < 2; run++) {
        device d = device_create(&x, votes, bias, dv, CAPS_ROUTING_GRAD_FULL, leaky);
        device_run(rt, &d, true);
        const caps_tensor *out[3] = {&d.v, &d.dvotes, &d.dbias};
        for (int n = 0; n < 3; n++) {
            bits[run][n] = test_bits(rt, out[n]);
            bytes[n] = caps_tensor_bytes(out[n]);
        }
        device_release(&d);
    }
    for (int n = 0; n < 3; n++) {
        ck_assert(memcmp(bits[0][n], bits[1][n], bytes[n]) == 0);
        free(bits[0][n]);
        free(bits[1][n]);
    }
    free(votes);
    free(bias);
    free(dv);
}

START_TEST(two_runs_give_the_same_bits)
{
    if (!test_small())
        run_twice(families[_i], false);
    run_twice(families[_i], true);
}
END_TEST

static void compare_batches(caps_runtime *rt, bool leaky)
{
    shape all = {3, 40, 3, 5, 3}, one = all;
    one.b = 1;
    double *votes = make_votes(&all, 1), *dv = test_random(capsules_count(&all), 2, -1, 1);
    device d = device_create(&all, votes, NULL, dv, CAPS_ROUTING_GRAD_FULL, leaky);
    device_run(rt, &d, false);
    uint32_t *v = test_bits(rt, &d.v), *dvotes = test_bits(rt, &d.dvotes);
    for (size_t b = 0; b < all.b; b++) {
        device e = device_create(&one, votes + b * votes_count(&one), NULL,
            dv + b * capsules_count(&one), CAPS_ROUTING_GRAD_FULL, leaky);
        device_run(rt, &e, false);
        uint32_t *w = test_bits(rt, &e.v), *dw = test_bits(rt, &e.dvotes);
        ck_assert(memcmp(w, v + b * capsules_count(&one), capsules_count(&one) * 4) == 0);
        ck_assert(memcmp(dw, dvotes + b * votes_count(&one), votes_count(&one) * 4) == 0);
        free(w);
        free(dw);
        device_release(&e);
    }
    free(v);
    free(dvotes);
    device_release(&d);
    free(votes);
    free(dv);
}

START_TEST(a_sample_gets_the_same_bits_in_any_batch)
{
    if (!test_small())
        compare_batches(families[_i], false);
    compare_batches(families[_i], true);
}
END_TEST

/* Rows [rows, from] to rows [rows, to]: cut off, or with zeros behind. malloc'd. */
static double *resized(const double *x, size_t rows, size_t from, size_t to)
{
    double *y = test_zeros(rows * to);
    for (size_t n = 0; n < rows; n++)
        memcpy(y + n * to, x + n * from, (from < to ? from : to) * sizeof *y);
    return y;
}

/* A capsule whose votes are zero has logits of zero and stays zero itself: so is a leak. Both sides
 * are the device's, and the right one knows of no leak. */
START_TEST(a_leak_is_one_more_capsule_whose_votes_are_zero)
{
    for (size_t n = 0; n < SHAPES; n++) {
        const shape *x = &shapes[n];
        if (votes_count(x) > (test_small() ? 100 : 20000))
            continue;
        shape wide = *x;
        wide.j++;
        const size_t e = x->j * x->d, more = wide.j * x->d;
        double *votes = make_votes(x, 8), *dv = test_random(capsules_count(x), 9, -1, 1);
        double *bias = test_random(e, 10, -0.3, 0.3), *wide_bias = resized(bias, 1, e, more);
        double *wide_votes = resized(votes, x->b * x->i, e, more);
        double *wide_dv = resized(dv, x->b, e, more);
        for (int grad = CAPS_ROUTING_GRAD_FULL; grad <= CAPS_ROUTING_GRAD_LAST; grad++) {
            device d = device_create(x, votes, bias, dv, (caps_routing_grad)grad, true);
            device w = device_create(
                &wide, wide_votes, wide_bias, wide_dv, (caps_routing_grad)grad, false);
            device_run(families[_i], &d, true);
            device_run(families[_i], &w, true);
            const caps_tensor *have[] = {&d.v, &d.state.couplings, &d.state.v, &d.dvotes, &d.dbias};
            const caps_tensor *need[] = {&w.v, &w.state.couplings, &w.state.v, &w.dvotes, &w.dbias};
            const size_t rows[] = {x->b, x->r * x->b * x->i, x->r * x->b, x->b * x->i, 1};
            for (int t = 0; t < 5; t++) {
                double *all = test_download(need[t]);
                double *part = resized(all, rows[t], t == 1 ? wide.j : more, t == 1 ? x->j : e);
                test_expect(have[t], part, t < 3 ? 3e-6 : 1e-5, "leaky");
                free(all);
                free(part);
            }
            device_release(&d);
            device_release(&w);
        }
        free(votes);
        free(dv);
        free(bias);
        free(wide_votes);
        free(wide_dv);
        free(wide_bias);
    }
}
END_TEST

START_TEST(votes_of_zero_give_capsules_and_gradients_of_zero)
{
    for (int leaky = 0; leaky < 2; leaky++) {
        const shape *x = &shapes[leaky ? 1 : 2];
        double *votes = test_zeros(votes_count(x)), *dv = test_random(capsules_count(x), 1, -1, 1);
        double *zero = test_zeros(votes_count(x)), *even = test_zeros(links_count(x));
        ck_assert_uint_eq(x->j + (size_t)leaky, 4);
        for (size_t n = 0; n < links_count(x); n++)
            even[n] = 0.25;
        device d = device_create(x, votes, zero, dv, CAPS_ROUTING_GRAD_FULL, leaky);
        device_run(families[_i], &d, true);
        test_expect_exactly(&d.v, zero, "v");
        test_expect_exactly(&d.state.couplings, even, "couplings");
        test_expect_exactly(&d.dvotes, zero, "dvotes");
        test_expect_exactly(&d.dbias, zero, "dbias");
        device_release(&d);
        free(votes);
        free(dv);
        free(zero);
        free(even);
    }
}
END_TEST

/* Logits far beyond what exp takes: couplings become 0 or 1, and everything stays finite. */
START_TEST(huge_and_tiny_votes_stay_finite)
{
    static const double sizes[] = {1e18, 1e6, 1e-12, 1e-20};
    const shape *x = &shapes[2];
    for (size_t n = 0; n < 2 * sizeof sizes / sizeof sizes[0]; n++) {
        const double size = sizes[n / 2];
        const bool leaky = n % 2;
        double *votes = test_random(votes_count(x), 1, -1, 1),
               *dv = test_random(capsules_count(x), 2, -1, 1);
        for (size_t i = 0; i < votes_count(x); i++)
            votes[i] = (float)(votes[i] * size);
        device d = device_create(x, votes, NULL, dv, CAPS_ROUTING_GRAD_FULL, leaky);
        device_run(families[_i], &d, false);
        double *v = test_download(&d.v), *c = test_download(&d.state.couplings);
        double *dvotes = test_download(&d.dvotes);
        for (size_t i = 0; i < votes_count(x); i++)
            ck_assert_msg(isfinite(dvotes[i]), "dvotes at %g", size);
        for (size_t i = 0; i < links_count(x); i += x->j) {
            double sum = 0;
            for (size_t j = 0; j < x->j; j++)
                sum += c[i + j];
            if (!leaky)
                ck_assert_double_eq_tol(sum, 1, 1e-6);
            else if (size < 1)
                ck_assert_double_eq_tol(sum, (double)x->j / (double)(x->j + 1), 1e-6);
            else /* all or nothing, but for the first iteration */
                ck_assert(i < links_count(x) / x->r || sum < 1e-6 || fabs(sum - 1) < 1e-6);
        }
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
    votes[x->i * x->j * x->d + 5] = NAN; /* of the second sample */
    for (int leaky = 0; leaky < 2; leaky++) {
        device d = device_create(x, votes, NULL, dv, CAPS_ROUTING_GRAD_FULL, leaky);
        device_run(families[_i], &d, false);
        double *v = test_download(&d.v);
        for (size_t n = 0; n < capsules_count(x); n++)
            ck_assert_int_eq(isnan(v[n]) != 0, n / (x->j * x->d) == 1);
        free(v);
        device_release(&d);
    }
    free(votes);
    free(dv);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    const shape *x = &shapes[2];
    caps_runtime *rt = families[_i];
    device d = device_create(x, NULL, NULL, NULL, CAPS_ROUTING_GRAD_FULL, false);
    caps_routing none = {.iterations = 0}, two = {.iterations = 2};
    caps_routing odd = {.iterations = 3, .grad = (caps_routing_grad)7};
    test_refused(caps_routing_forward(rt, &d.v, &d.state, &d.votes, NULL, &none, err),
        "routing: iterations is 0, need >= 1");
    test_refused(caps_routing_forward(rt, &d.v, &d.state, &d.votes, NULL, &two, err),
        "routing: state.couplings is float32 [3, 3, 7, 4], need float32 [2, 3, 7, 4]");
    test_refused(caps_routing_forward(rt, &d.v, &d.state, &d.votes, NULL, &odd, err),
        "routing: grad is 7, need 0 (full) or 1 (last)");
    test_refused(caps_routing_forward(rt, &d.v, &d.state, &d.votes, &d.v, &d.routing, err),
        "routing: bias is float32 [3, 4, 6], need float32 [4, 6]");
    test_refused(caps_routing_forward(rt, &d.votes, &d.state, &d.votes, NULL, &d.routing, err),
        "routing: v is float32 [3, 7, 4, 6], need float32 [3, 4, 6]");
    test_refused(caps_routing_backward(rt, &d.dv, NULL, &d.dv, &d.state, &d.votes, &d.routing, err),
        "routing: dvotes is float32 [3, 4, 6], need float32 [3, 7, 4, 6]");
    test_refused(
        caps_routing_backward(rt, &d.dvotes, NULL, &d.votes, &d.state, &d.votes, &d.routing, err),
        "routing: dv is float32 [3, 7, 4, 6], need float32 [3, 4, 6]");
    caps_tensor whole = d.state.scratch;
    d.state.scratch.shape[0]--;
    char need[128];
    size_t count = caps_tensor_count(&whole);
    snprintf(
        need, sizeof need, "routing: state.scratch has %zu float32, need >= %zu", count - 1, count);
    test_refused(caps_routing_forward(rt, &d.v, &d.state, &d.votes, NULL, &d.routing, err), need);
    d.state.scratch = whole;
    device_release(&d);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("routing");
    TCase *tc = families_case(s, "routing");
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    tcase_add_test(tc, reference_modes_differ_where_they_should);
    families_add(tc, agrees_with_the_reference);
    families_add(tc, two_runs_give_the_same_bits);
    families_add(tc, a_sample_gets_the_same_bits_in_any_batch);
    families_add(tc, a_leak_is_one_more_capsule_whose_votes_are_zero);
    families_add(tc, votes_of_zero_give_capsules_and_gradients_of_zero);
    families_add(tc, huge_and_tiny_votes_stay_finite);
    families_add(tc, a_vote_that_is_not_finite_shows_in_its_sample_alone);
    families_add(tc, wrong_arguments_are_refused);
    return s;
}
