/* test_votes.c: votes and their gradients. */
#include "families.h"
#include "ref.h"

typedef struct shape {
    size_t b, i, j, d, k;
} shape;

/* Every size different, one at a time 1, and the edges of the kernels' blocks: 64 samples, 8
 * samples, 16 and 256 outputs, 8 inputs. The paper's capsules last. */
static const shape shapes[] = {
    {1, 1, 1, 1, 1},
    {3, 5, 2, 7, 4},
    {2, 3, 4, 5, 9},
    {66, 2, 3, 6, 1},
    {9, 2, 5, 1, 17},
    {2, 2, 17, 16, 3},
    {130, 1, 1, 3, 8},
    {5, 1152, 10, 16, 8},
};

static size_t inputs(const shape *x)
{
    return x->b * x->i * x->k;
}

static size_t weights(const shape *x)
{
    return x->i * x->j * x->d * x->k;
}

static size_t outputs(const shape *x)
{
    return x->b * x->i * x->j * x->d;
}

typedef struct problem {
    shape x;
    const double *g;
} problem;

/* sum g votes as a function of u and w, which lie one after the other */
static double weighted(const double *uw, void *context)
{
    const problem *p = context;
    const shape *x = &p->x;
    double *votes = test_zeros(outputs(x)), sum = 0;
    caps_ref_votes_forward(votes, uw, uw + inputs(x), x->b, x->i, x->j, x->d, x->k);
    for (size_t n = 0; n < outputs(x); n++)
        sum += p->g[n] * votes[n];
    free(votes);
    return sum;
}

START_TEST(reference_gradient_by_finite_differences)
{
    const shape x = shapes[1];
    size_t count = inputs(&x) + weights(&x);
    double *uw = test_random(count, 1, -1, 1), *g = test_random(outputs(&x), 2, -1, 1);
    double *gradient = test_zeros(count);
    problem p = {x, g};
    caps_ref_votes_backward(
        gradient, gradient + inputs(&x), g, uw, uw + inputs(&x), x.b, x.i, x.j, x.d, x.k);
    ck_assert_double_lt(test_finite_difference(weighted, &p, uw, gradient, count, 1e-4), 1e-7);
    free(uw);
    free(g);
    free(gradient);
}
END_TEST

START_TEST(agrees_with_the_reference)
{
    for (size_t n = 0; n < sizeof shapes / sizeof shapes[0]; n++) {
        const shape *x = &shapes[n];
        caps_error err = {0};
        if (test_small() && outputs(x) > 3000)
            continue;
        double *u = test_random(inputs(x), n, -1, 1), *w = test_random(weights(x), n + 20, -1, 1);
        double *dvotes = test_random(outputs(x), n + 40, -1, 1), *votes = test_zeros(outputs(x));
        double *du = test_zeros(inputs(x)), *dw = test_zeros(weights(x));
        caps_ref_votes_forward(votes, u, w, x->b, x->i, x->j, x->d, x->k);
        caps_ref_votes_backward(du, dw, dvotes, u, w, x->b, x->i, x->j, x->d, x->k);
        const size_t u_shape[] = {x->b, x->i, x->k}, w_shape[] = {x->i, x->j, x->d, x->k};
        const size_t votes_shape[] = {x->b, x->i, x->j, x->d};
        caps_tensor tu = test_tensor(u, 3, u_shape), tw = test_tensor(w, 4, w_shape);
        caps_tensor tg = test_tensor(dvotes, 4, votes_shape);
        caps_tensor out = test_tensor(NULL, 4, votes_shape);
        caps_tensor tdu = test_tensor(NULL, 3, u_shape), tdw = test_tensor(NULL, 4, w_shape);
        test_ok(caps_votes_forward(families[_i], &out, &tu, &tw, &err));
        test_expect(&out, votes, 1e-6, "votes");
        /* Each gradient alone, then a second run of both: the same bits. */
        test_ok(caps_votes_backward(families[_i], &tdu, NULL, &tg, &tu, &tw, &err));
        test_expect(&tdu, du, 2e-6, "du");
        test_ok(caps_votes_backward(families[_i], NULL, &tdw, &tg, &tu, &tw, &err));
        test_expect(&tdw, dw, 2e-6, "dw");
        uint32_t *du_bits = test_bits(families[_i], &tdu), *dw_bits = test_bits(families[_i], &tdw);
        test_ok(caps_votes_backward(families[_i], &tdu, &tdw, &tg, &tu, &tw, &err));
        uint32_t *du_again = test_bits(families[_i], &tdu),
                 *dw_again = test_bits(families[_i], &tdw);
        ck_assert(memcmp(du_bits, du_again, caps_tensor_bytes(&tdu)) == 0);
        ck_assert(memcmp(dw_bits, dw_again, caps_tensor_bytes(&tdw)) == 0);
        free(du_bits);
        free(dw_bits);
        free(du_again);
        free(dw_again);
        test_tensor_release(&tu);
        test_tensor_release(&tw);
        test_tensor_release(&tg);
        test_tensor_release(&out);
        test_tensor_release(&tdu);
        test_tensor_release(&tdw);
        free(u);
        free(w);
        free(dvotes);
        free(votes);
        free(du);
        free(dw);
    }
}
END_TEST

START_TEST(wrong_shapes_are_refused)
{
    caps_tensor u = test_tensor(NULL, 3, (size_t[]){2, 3, 4});
    caps_tensor w = test_tensor(NULL, 4, (size_t[]){3, 2, 5, 4});
    caps_tensor other = test_tensor(NULL, 4, (size_t[]){3, 2, 5, 6});
    caps_tensor votes = test_tensor(NULL, 4, (size_t[]){2, 3, 2, 5});
    test_refused(caps_votes_forward(families[_i], &votes, &u, &other, err),
        "votes: w is float32 [3, 2, 5, 6], need float32 [3, 2, 5, 4]");
    test_refused(caps_votes_forward(families[_i], &w, &u, &w, err),
        "votes: votes is float32 [3, 2, 5, 4], need float32 [2, 3, 2, 5]");
    test_refused(caps_votes_backward(families[_i], &u, &votes, &votes, &u, &w, err),
        "votes: dw is float32 [2, 3, 2, 5], need float32 [3, 2, 5, 4]");
    test_refused(caps_votes_forward(families[_i], &votes, &votes, &w, err),
        "votes: u is float32 [2, 3, 2, 5], need float32 [B, I, K]");
    test_tensor_release(&u);
    test_tensor_release(&w);
    test_tensor_release(&other);
    test_tensor_release(&votes);
}
END_TEST

START_TEST(sizes_beyond_the_counters_are_refused)
{
    /* Views may claim any shape; nothing is touched before the sizes are checked. */
    caps_tensor some = test_tensor(NULL, 1, (size_t[]){4});
    const size_t i = 1 << 20, j = 1 << 10, d = 2;
    caps_tensor u = caps_tensor_wrap(some.buffer, 0, CAPS_F32, 3, (size_t[]){1, i, 1});
    caps_tensor w = caps_tensor_wrap(some.buffer, 0, CAPS_F32, 4, (size_t[]){i, j, d, 1});
    caps_tensor votes = caps_tensor_wrap(some.buffer, 0, CAPS_F32, 4, (size_t[]){1, i, j, d});
    test_refused(caps_votes_forward(families[_i], &votes, &u, &w, err),
        "votes: I*J*D is 2147483648, need <= 2147483647");
    test_tensor_release(&some);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("votes");
    TCase *tc = families_case(s, "votes");
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    families_add(tc, agrees_with_the_reference);
    families_add(tc, wrong_shapes_are_refused);
    families_add(tc, sizes_beyond_the_counters_are_refused);
    return s;
}
