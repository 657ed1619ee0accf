/* test_batch_norm.c: statistics of a batch, normalisation by them or by constants, gradients. */
#include <math.h>

#include "families.h"
#include "ref.h"

#define EPSILON ((double)CAPS_BATCH_NORM_EPSILON)

static const size_t shapes[][3] = {{5, 3, 7}, {1, 4, 9}, {17, 2, 1}, {3, 1, 33}, {33, 6, 19},
    {1, 1, 1}, {2, 3, 2050}, {16, 32, 576}};

typedef struct problem {
    size_t b, c, s, varied; /* varied: 0 x, 1 weight, 2 bias */
    const double *x, *weight, *bias, *mean, *var, *g;
    bool of_batch;
} problem;

/* sum_i g_i y_i, as a function of what is varied. */
static double weighted(const double *v, void *context)
{
    const problem *p = context;
    const size_t all = p->b * p->c * p->s;
    const double *x = p->varied == 0 ? v : p->x, *weight = p->varied == 1 ? v : p->weight;
    double *mean = test_zeros(p->c), *var = test_zeros(p->c), *y = test_zeros(all), sum = 0;
    if (p->of_batch)
        caps_ref_batch_norm_statistics(mean, var, x, p->b, p->c, p->s);
    caps_ref_batch_norm_forward(y, x, p->of_batch ? mean : p->mean, p->of_batch ? var : p->var,
        weight, p->varied == 2 ? v : p->bias, EPSILON, p->b, p->c, p->s);
    for (size_t i = 0; i < all; i++)
        sum += p->g[i] * y[i];
    free(mean);
    free(var);
    free(y);
    return sum;
}

START_TEST(reference_gradient_by_finite_differences)
{
    const size_t b = 3, c = 2, s = 5, all = b * c * s;
    for (int of_batch = 0; of_batch < 2; of_batch++) {
        double *x = test_random(all, 1, -2, 2), *g = test_random(all, 2, -1, 1);
        double *weight = test_random(c, 3, -2, 2), *bias = test_random(c, 4, -1, 1);
        double *mean = test_random(c, 5, -1, 1), *var = test_random(c, 6, 0.5, 2);
        double *dx = test_zeros(all), *dweight = test_zeros(c), *dbias = test_zeros(c);
        if (of_batch)
            caps_ref_batch_norm_statistics(mean, var, x, b, c, s);
        caps_ref_batch_norm_backward(
            dx, dweight, dbias, g, x, mean, var, weight, of_batch, EPSILON, b, c, s);
        problem p = {b, c, s, 0, x, weight, bias, mean, var, g, of_batch};
        ck_assert_double_lt(test_finite_difference(weighted, &p, x, dx, all, 1e-5), 1e-7);
        p.varied = 1;
        ck_assert_double_lt(test_finite_difference(weighted, &p, weight, dweight, c, 1e-5), 1e-7);
        p.varied = 2;
        ck_assert_double_lt(test_finite_difference(weighted, &p, bias, dbias, c, 1e-5), 1e-7);
        double *const all_of_them[] = {x, g, weight, bias, mean, var, dx, dweight, dbias};
        for (size_t i = 0; i < 9; i++)
            free(all_of_them[i]);
    }
}
END_TEST

/* One shape; `apart`: how far the values lie from zero. */
static void check_shape(caps_runtime *rt, const size_t *z, bool of_batch, double apart)
{
    const size_t b = z[0], c = z[1], s = z[2], all = b * c * s;
    const size_t room = caps_batch_norm_workspace(b, c);
    caps_error err = {0};
    double *x = test_random(all, all, apart - 2, apart + 2), *dy = test_random(all, 2, -1, 1);
    double *weight = test_random(c, 3, -2, 2), *bias = test_random(c, 4, -1, 1);
    double *mean = test_random(c, 5, apart - 1, apart + 1), *var = test_random(c, 6, 0.5, 2);
    double *y = test_zeros(all), *dx = test_zeros(all), *dw = test_zeros(c), *db = test_zeros(c);
    caps_tensor tx = test_tensor(x, 3, z), tdy = test_tensor(dy, 3, z),
                ty = test_tensor(NULL, 3, z);
    caps_tensor tdx = test_tensor(NULL, 3, z), tw = test_tensor(weight, 1, &c);
    caps_tensor tb = test_tensor(bias, 1, &c), tdw = test_tensor(NULL, 1, &c);
    caps_tensor tdb = test_tensor(NULL, 1, &c), work = test_tensor(NULL, 1, &room);
    caps_tensor tm = test_tensor(of_batch ? NULL : mean, 1, &c);
    caps_tensor tv = test_tensor(of_batch ? NULL : var, 1, &c);
    if (of_batch) {
        caps_ref_batch_norm_statistics(mean, var, x, b, c, s);
        test_ok(caps_batch_norm_statistics(rt, &tm, &tv, &tx, &work, &err));
        test_expect(&tm, mean, 1e-6, "mean");
        if (b * s > 1)
            test_expect(&tv, var, 1e-5, "var");
        else
            test_expect_exactly(&tv, (const double[]){0}, "var of one value");
    }
    caps_ref_batch_norm_forward(y, x, mean, var, weight, bias, EPSILON, b, c, s);
    caps_ref_batch_norm_backward(dx, dw, db, dy, x, mean, var, weight, of_batch, EPSILON, b, c, s);
    /* What is far from zero loses digits when it is read. */
    const double loss = 1 + apart;
    const float epsilon = CAPS_BATCH_NORM_EPSILON;
    test_ok(caps_batch_norm_forward(rt, &ty, &tx, &tm, &tv, &tw, &tb, epsilon, &err));
    test_expect(&ty, y, 1e-6 * loss, "y");
    test_ok(caps_batch_norm_backward(
        rt, &tdx, &tdw, &tdb, &tdy, &tx, &tm, &tv, &tw, of_batch, epsilon, &work, &err));
    test_expect(&tdb, db, 1e-5, "dbias");
    if (b * s > 1 || !of_batch) {
        test_expect(&tdw, dw, 1e-5 * loss, "dweight");
        test_expect(&tdx, dx, 1e-5 * loss, "dx");
        uint32_t *bits = test_bits(rt, &tdx), *again;
        test_ok(caps_batch_norm_backward(/* in place */
            rt, &tdy, &tdw, &tdb, &tdy, &tx, &tm, &tv, &tw, of_batch, epsilon, &work, &err));
        again = test_bits(rt, &tdy);
        ck_assert(memcmp(bits, again, all * sizeof *bits) == 0);
        free(bits);
        free(again);
    }
    caps_tensor *const tensors[] = {&tx, &tdy, &ty, &tdx, &tw, &tb, &tdw, &tdb, &work, &tm, &tv};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        test_tensor_release(tensors[i]);
    double *const arrays[] = {x, dy, weight, bias, mean, var, y, dx, dw, db};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
}

START_TEST(agrees_with_the_reference)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int of_batch = 0; of_batch < 2; of_batch++)
            if (!test_small() || shapes[i][0] * shapes[i][1] * shapes[i][2] < 500)
                check_shape(families[_i], shapes[i], of_batch, 1);
}
END_TEST

START_TEST(far_from_zero_the_variance_does_not_cancel)
{
    check_shape(families[_i], shapes[4], true, 100);
}
END_TEST

START_TEST(running_statistics_move_by_a_hundredth)
{
    const size_t c = 37;
    caps_error err = {0};
    double *old = test_random(c, 1, -3, 3), *batch = test_random(c, 2, -3, 3);
    caps_tensor running = test_tensor(old, 1, &c), now = test_tensor(batch, 1, &c);
    test_ok(caps_batch_norm_update(families[_i], &running, &now, CAPS_BATCH_NORM_MOMENTUM, &err));
    for (size_t i = 0; i < c; i++)
        old[i] = 0.99 * old[i] + 0.01 * batch[i];
    test_expect(&running, old, 1e-6, "running");
    test_tensor_release(&running);
    test_tensor_release(&now);
    free(old);
    free(batch);
}
END_TEST

START_TEST(wrong_shapes_are_refused)
{
    caps_tensor x = test_tensor(NULL, 3, (size_t[]){2, 3, 4}),
                flat = test_tensor(NULL, 1, &x.shape[0]);
    caps_tensor c = test_tensor(NULL, 1, (size_t[]){3}),
                y = test_tensor(NULL, 3, (size_t[]){2, 3, 5});
    test_refused(caps_batch_norm_statistics(families[_i], &c, &c, &flat, &c, err),
        "batch_norm: x is no float32 tensor of 2 dimensions or more, need [B, C, ...]");
    test_refused(caps_batch_norm_statistics(families[_i], &c, &flat, &x, &c, err),
        "batch_norm: var is float32 [2], need float32 [3]");
    test_refused(caps_batch_norm_statistics(families[_i], &c, &c, &x, &c, err),
        "batch_norm: workspace has 3 elements, need 12");
    test_refused(caps_batch_norm_forward(families[_i], &y, &x, &c, &c, &c, &c, 1e-3f, err),
        "batch_norm: y is float32 [2, 3, 5], need float32 [2, 3, 4]");
    test_refused(caps_batch_norm_backward(
                     families[_i], &x, &c, &c, &x, &x, &c, &c, &flat, true, 1e-3f, &y, err),
        "batch_norm: weight is float32 [2], need float32 [3]");
    test_tensor_release(&x);
    test_tensor_release(&flat);
    test_tensor_release(&c);
    test_tensor_release(&y);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("batch_norm");
    TCase *tc = families_case(s, "batch_norm");
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    families_add(tc, agrees_with_the_reference);
    families_add(tc, far_from_zero_the_variance_does_not_cancel);
    families_add(tc, running_statistics_move_by_a_hundredth);
    families_add(tc, wrong_shapes_are_refused);
    return s;
}
