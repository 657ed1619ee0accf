/* test_attention.c: attention routing of votes that are computed from capsules and weights. */
#include <math.h>

#include "families.h"
#include "ref.h"

static const caps_attention shapes[] = {
    {3, 5, 4, 7, 2, CAPS_SQUASH_EXP}, {2, 7, 3, 18, 5, CAPS_SQUASH_PAPER},
    {1, 1, 1, 1, 1, CAPS_SQUASH_EXP}, {5, 3, 19, 3, 4, CAPS_SQUASH_EXP},
    {33, 16, 10, 16, 8, CAPS_SQUASH_EXP},
    {3, 1153, 11, 170, 3, CAPS_SQUASH_EXP}, /* votes of one or two samples at a time */
};

typedef struct problem {
    const caps_attention *z;
    size_t varied; /* 0 votes, 1 prior */
    const double *votes, *prior, *g;
} problem;

static double weighted(const double *x, void *context)
{
    const problem *p = context;
    const caps_attention *z = p->z;
    const size_t capsules = z->b * z->j * z->d;
    double *v = test_zeros(capsules), *total = test_zeros(capsules), *s = test_zeros(capsules);
    double *c = test_zeros(z->b * z->i * z->j), sum = 0;
    caps_ref_attention_forward(v, c, total, s, p->varied ? p->votes : x, p->varied ? x : p->prior,
        z->squash == CAPS_SQUASH_EXP, z->b, z->i, z->j, z->d);
    for (size_t i = 0; i < capsules; i++)
        sum += p->g[i] * v[i];
    free(v);
    free(total);
    free(s);
    free(c);
    return sum;
}

START_TEST(reference_gradient_by_finite_differences)
{
    for (size_t k = 0; k < 2; k++) {
        const caps_attention *z = &shapes[k];
        const size_t capsules = z->b * z->j * z->d, pairs = z->i * z->j, all = z->b * pairs * z->d;
        const bool exponential = z->squash == CAPS_SQUASH_EXP;
        double *votes = test_random(all, 1, -1, 1), *prior = test_random(pairs, 2, -1, 1);
        double *g = test_random(capsules, 3, -1, 1), *v = test_zeros(capsules);
        double *total = test_zeros(capsules), *s = test_zeros(capsules);
        double *c = test_zeros(z->b * pairs), *dvotes = test_zeros(all), *dp = test_zeros(pairs);
        caps_ref_attention_forward(
            v, c, total, s, votes, prior, exponential, z->b, z->i, z->j, z->d);
        caps_ref_attention_backward(
            dvotes, dp, g, c, total, s, votes, prior, exponential, z->b, z->i, z->j, z->d);
        problem p = {z, 0, votes, prior, g};
        ck_assert_double_lt(test_finite_difference(weighted, &p, votes, dvotes, all, 1e-5), 1e-6);
        p.varied = 1;
        ck_assert_double_lt(test_finite_difference(weighted, &p, prior, dp, pairs, 1e-5), 1e-6);
        double *const arrays[] = {votes, prior, g, v, total, s, c, dvotes, dp};
        for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
            free(arrays[i]);
    }
}
END_TEST

typedef struct need {
    double *v, *c, *du, *dw, *dprior;
} need;

/* What the reference makes of these. */
static need need_of(const caps_attention *z, const double *u, const double *w, const double *prior,
    const double *dv)
{
    const size_t capsules = z->b * z->j * z->d, pairs = z->i * z->j, all = z->b * pairs * z->d;
    const bool exponential = z->squash == CAPS_SQUASH_EXP;
    double *votes = test_zeros(all), *dvotes = test_zeros(all);
    double *total = test_zeros(capsules), *s = test_zeros(capsules);
    need n = {test_zeros(capsules), test_zeros(z->b * pairs), test_zeros(z->b * z->i * z->k),
        test_zeros(pairs * z->d * z->k), test_zeros(pairs)};
    caps_ref_votes_forward(votes, u, w, z->b, z->i, z->j, z->d, z->k);
    caps_ref_attention_forward(
        n.v, n.c, total, s, votes, prior, exponential, z->b, z->i, z->j, z->d);
    caps_ref_attention_backward(
        dvotes, n.dprior, dv, n.c, total, s, votes, prior, exponential, z->b, z->i, z->j, z->d);
    caps_ref_votes_backward(n.du, n.dw, dvotes, u, w, z->b, z->i, z->j, z->d, z->k);
    free(votes);
    free(dvotes);
    free(total);
    free(s);
    return n;
}

/* spare: the shape is planned for so many samples more. */
static void check_shape(caps_runtime *rt, const caps_attention *z, size_t spare, double tolerance)
{
    const size_t us[] = {z->b, z->i, z->k}, ws[] = {z->i, z->j, z->d, z->k};
    const size_t vs[] = {z->b, z->j, z->d}, ps[] = {z->b, z->i, z->j};
    caps_attention planned = *z;
    caps_error err = {0};
    planned.b += spare;
    const size_t room = caps_attention_workspace(&planned, true);
    const size_t nu = us[0] * us[1] * us[2], nw = ws[0] * ws[1] * ws[2] * ws[3];
    double *u = test_random(nu, nu, -1, 1), *w = test_random(nw, 2, -1, 1);
    double *prior = test_random(z->i * z->j, 3, -1, 1);
    double *dv = test_random(vs[0] * vs[1] * vs[2], 4, -1, 1);
    for (size_t i = 0; i < nw; i++) /* votes whose softmax is neither even nor a step */
        w[i] = (double)(float)(w[i] / sqrt((double)z->i));
    need n = need_of(z, u, w, prior, dv);
    caps_tensor tu = test_tensor(u, 3, us), tw = test_tensor(w, 4, ws);
    caps_tensor tp = test_tensor(prior, 2, ps + 1), tdv = test_tensor(dv, 3, vs);
    caps_tensor tv = test_tensor(NULL, 3, vs), tdu = test_tensor(NULL, 3, us);
    caps_tensor tdw = test_tensor(NULL, 4, ws), tdp = test_tensor(NULL, 2, ps + 1);
    caps_tensor work = test_tensor(NULL, 1, &room);
    caps_attention_state state = {
        test_tensor(NULL, 3, ps), test_tensor(NULL, 3, vs), test_tensor(NULL, 3, vs)};
    test_ok(caps_attention_forward(rt, &tv, &state, &tu, &tw, &tp, &planned, &work, &err));
    test_expect(&state.couplings, n.c, tolerance, "couplings");
    test_expect(&tv, n.v, tolerance, "v");
    test_ok(caps_attention_backward(
        rt, &tdu, &tdw, &tdp, &tdv, &state, &tu, &tw, &tp, &planned, &work, &err));
    test_expect(&tdu, n.du, 10 * tolerance, "du");
    test_expect(&tdw, n.dw, 10 * tolerance, "dw");
    test_expect(&tdp, n.dprior, 10 * tolerance, "dprior");
    uint32_t *bits = test_bits(rt, &tdw), *again;
    test_ok(caps_attention_backward(
        rt, NULL, &tdw, &tdp, &tdv, &state, &tu, &tw, &tp, &planned, &work, &err));
    again = test_bits(rt, &tdw);
    ck_assert(memcmp(bits, again, nw * sizeof *bits) == 0);
    free(bits);
    free(again);
    caps_tensor *const tensors[] = {&tu, &tw, &tp, &tdv, &tv, &tdu, &tdw, &tdp, &work,
        &state.couplings, &state.total, &state.s};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        test_tensor_release(tensors[i]);
    double *const arrays[] = {u, w, prior, dv, n.v, n.c, n.du, n.dw, n.dprior};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
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

START_TEST(great_logits_do_not_overflow)
{
    const size_t us[] = {1, 2, 1}, ws[] = {2, 3, 1, 1}, vs[] = {1, 3, 1}, ps[] = {1, 2, 3};
    const double u[] = {1e3, 1e3}, w[] = {1, 2, 3, 4, 5, 6}, prior[] = {0, 0, 0, 0, 0, 0};
    const caps_attention shape = {1, 2, 3, 1, 1, CAPS_SQUASH_EXP};
    const size_t room = caps_attention_workspace(&shape, true);
    caps_error err = {0};
    caps_tensor tu = test_tensor(u, 3, us), tw = test_tensor(w, 4, ws);
    caps_tensor tp = test_tensor(prior, 2, ps + 1), tv = test_tensor(NULL, 3, vs);
    caps_tensor work = test_tensor(NULL, 1, &room);
    caps_attention_state state = {
        test_tensor(NULL, 3, ps), test_tensor(NULL, 3, vs), test_tensor(NULL, 3, vs)};
    test_ok(caps_attention_forward(families[_i], &tv, &state, &tu, &tw, &tp, &shape, &work, &err));
    test_expect_exactly(&state.couplings, (const double[]){0, 0, 1, 0, 0, 1}, "couplings");
    test_expect_exactly(&tv, (const double[]){0, 0, 1}, "v");
    caps_tensor *const tensors[] = {
        &tu, &tw, &tp, &tv, &work, &state.couplings, &state.total, &state.s};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        test_tensor_release(tensors[i]);
}
END_TEST

START_TEST(wrong_shapes_are_refused)
{
    const caps_attention shape = {2, 3, 4, 5, 6, CAPS_SQUASH_EXP};
    caps_tensor u = test_tensor(NULL, 3, (size_t[]){2, 3, 6});
    caps_tensor more = test_tensor(NULL, 3, (size_t[]){3, 3, 6});
    caps_tensor w = test_tensor(NULL, 4, (size_t[]){3, 4, 5, 6});
    caps_tensor prior = test_tensor(NULL, 2, (size_t[]){3, 4});
    caps_tensor v = test_tensor(NULL, 3, (size_t[]){2, 4, 5});
    caps_tensor pairs = test_tensor(NULL, 3, (size_t[]){2, 3, 4});
    caps_attention_state state = {pairs, v, v};
    test_refused(
        caps_attention_forward(families[_i], &v, &state, &more, &w, &prior, &shape, &v, err),
        "attention: a batch of 3, need at most 2");
    test_refused(caps_attention_forward(families[_i], &v, &state, &u, &w, &u, &shape, &v, err),
        "attention: prior is float32 [2, 3, 6], need float32 [3, 4]");
    test_refused(caps_attention_forward(families[_i], &v, &state, &u, &w, &prior, &shape, &v, err),
        "attention: workspace has 40 elements, need 120");
    test_tensor_release(&u);
    test_tensor_release(&more);
    test_tensor_release(&w);
    test_tensor_release(&prior);
    test_tensor_release(&v);
    test_tensor_release(&pairs);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("attention");
    TCase *tc = families_case(s, "attention");
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    families_add(tc, agrees_with_the_reference);
    families_add(tc, in_chunks);
    families_add(tc, great_logits_do_not_overflow);
    families_add(tc, wrong_shapes_are_refused);
    return s;
}
