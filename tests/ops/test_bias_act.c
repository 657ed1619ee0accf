/* test_bias_act.c: bias and activation, and the sums over batch and pixels behind bias gradients.
 */
#include <math.h>

#include "families.h"
#include "ref.h"

typedef struct shape {
    size_t n, c, s;
} shape;

/* Every size different; S = 1 (channels side by side), and the edges of the kernels' vectors, runs
 * and work-groups. */
static const shape shapes[] = {{1, 1, 1}, {3, 5, 7}, {2, 17, 1}, {5, 3, 36}, {4, 16, 1},
    {1, 2, 600}, {7, 515, 1}, {130, 4, 5}, {2, 3, 1025}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static bool left_out(const shape *x)
{
    return test_small() && x->n * x->c * x->s > 1300;
}

/* ---- the reference -------------------------------------------------------------------------- */

typedef struct problem {
    shape x;
    int act;
    const double *g;
} problem;

/* sum g y as a function of x and bias, which lie one after the other */
static double weighted(const double *xb, void *context)
{
    const problem *p = context;
    size_t count = p->x.n * p->x.c * p->x.s;
    double *y = test_zeros(count), sum = 0;
    caps_ref_bias_act_forward(y, xb, xb + count, p->act, p->x.n, p->x.c, p->x.s);
    for (size_t i = 0; i < count; i++)
        sum += p->g[i] * y[i];
    free(y);
    return sum;
}

START_TEST(reference_gradient_by_finite_differences)
{
    const shape x = shapes[1];
    size_t count = x.n * x.c * x.s;
    for (int act = 0; act < 3; act++) {
        double *xb = test_random(count + x.c, 1, -2, 2), *g = test_random(count, 2, -1, 1);
        double *gradient = test_zeros(count + x.c), *y = test_zeros(count);
        problem p = {x, act, g};
        caps_ref_bias_act_forward(y, xb, xb + count, act, x.n, x.c, x.s);
        caps_ref_bias_act_backward(gradient, gradient + count, g, y, act, x.n, x.c, x.s);
        ck_assert_double_lt(
            test_finite_difference(weighted, &p, xb, gradient, count + x.c, 1e-6), 1e-6);
        free(xb);
        free(g);
        free(gradient);
        free(y);
    }
}
END_TEST

/* ---- the device ----------------------------------------------------------------------------- */

START_TEST(forward_agrees_with_the_reference)
{
    for (size_t i = 0; i < SHAPES; i++)
        for (int act = 0; act < 3; act++) {
            caps_error err = {0};
            const shape *z = &shapes[i];
            const size_t dims[] = {z->n, z->c, z->s}, count = z->n * z->c * z->s;
            if (left_out(z))
                continue;
            double *x = test_random(count, i, -4, 4), *bias = test_random(z->c, i + 30, -1, 1);
            double *y = test_zeros(count);
            caps_tensor tx = test_tensor(x, 3, dims), tb = test_tensor(bias, 1, &z->c);
            caps_tensor ty = test_tensor(NULL, z->s == 1 ? 2 : 3, dims);
            caps_ref_bias_act_forward(y, x, bias, act, z->n, z->c, z->s);
            test_ok(caps_bias_act_forward(families[_i], &ty, &tx, &tb, act, &err));
            test_expect(&ty, y, 1e-6, "y");
            caps_ref_bias_act_forward(y, x, NULL, act, z->n, z->c, z->s);
            test_ok(caps_bias_act_forward(families[_i], &ty, &tx, NULL, act, &err));
            test_expect(&ty, y, 1e-6, "y without bias");
            test_ok(caps_bias_act_forward(families[_i], &tx, &tx, NULL, act, &err));
            test_expect(&tx, y, 1e-6, "y in x's place");
            test_tensor_release(&tx);
            test_tensor_release(&ty);
            test_tensor_release(&tb);
            free(x);
            free(bias);
            free(y);
        }
}
END_TEST

START_TEST(backward_agrees_with_the_reference)
{
    for (size_t i = 0; i < SHAPES; i++)
        for (int act = 0; act < 3; act++) {
            caps_error err = {0};
            const shape *z = &shapes[i];
            const size_t dims[] = {z->n, z->c, z->s}, count = z->n * z->c * z->s;
            if (left_out(z))
                continue;
            double *x = test_random(count, i, -4, 4), *dy = test_random(count, i + 60, -1, 1);
            double *y = test_zeros(count), *dx = test_zeros(count), *dbias = test_zeros(z->c);
            caps_ref_bias_act_forward(y, x, NULL, act, z->n, z->c, z->s);
            for (size_t j = 0; j < count; j++)
                y[j] = (float)y[j];
            caps_ref_bias_act_backward(dx, dbias, dy, y, act, z->n, z->c, z->s);
            caps_tensor ty = test_tensor(y, 3, dims), tdy = test_tensor(dy, 3, dims);
            caps_tensor tdx = test_tensor(NULL, 3, dims), tdb = test_tensor(NULL, 1, &z->c);
            test_ok(caps_bias_act_backward(families[_i], &tdx, &tdb, &tdy, &ty, act, &err));
            test_expect(&tdx, dx, 1e-6, "dx");
            test_expect(&tdb, dbias, 1e-6, "dbias");
            /* In place: the sum must have been taken before dy is overwritten. */
            caps_tensor again = test_tensor(NULL, 1, &z->c);
            test_ok(caps_bias_act_backward(families[_i], &tdy, &again, &tdy, &ty, act, &err));
            test_expect(&tdy, dx, 1e-6, "dx in dy's place");
            test_expect(&again, dbias, 1e-6, "dbias of dx in dy's place");
            test_ok(
                caps_bias_act_backward(families[_i], &tdx, NULL, &tdy, &ty, CAPS_ACT_NONE, &err));
            test_expect(&tdx, dx, 1e-6, "dx without dbias");
            test_tensor_release(&ty);
            test_tensor_release(&tdy);
            test_tensor_release(&tdx);
            test_tensor_release(&tdb);
            test_tensor_release(&again);
            free(x);
            free(dy);
            free(y);
            free(dx);
            free(dbias);
        }
}
END_TEST

/* As many terms as the paper's layers have, of one sign and of both; in both layouts. */
START_TEST(long_sums_keep_their_accuracy)
{
    static const shape sums[] = {{100, 3, 36}, {100, 2, 784}, {5000, 5, 1}, {3, 2, 40000}};
    for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++)
        for (int sign = 0; sign < 2; sign++) {
            caps_error err = {0};
            const shape *z = &sums[i];
            const size_t dims[] = {z->n, z->c, z->s}, count = z->n * z->c * z->s;
            double *dy = test_random(count, i, sign ? 0 : -1, 1), *dx = test_zeros(count);
            double *dbias = test_zeros(z->c);
            caps_ref_bias_act_backward(dx, dbias, dy, dy, 0, z->n, z->c, z->s);
            caps_tensor tdy = test_tensor(dy, 3, dims), tdx = test_tensor(NULL, 3, dims);
            caps_tensor tdb = test_tensor(NULL, 1, &z->c), tdb2 = test_tensor(NULL, 1, &z->c);
            test_ok(
                caps_bias_act_backward(families[_i], &tdx, &tdb, &tdy, &tdy, CAPS_ACT_NONE, &err));
            test_expect(&tdb, dbias, sign ? 3e-7 : 1e-6, "dbias");
            test_ok(
                caps_bias_act_backward(families[_i], &tdx, &tdb2, &tdy, &tdy, CAPS_ACT_NONE, &err));
            uint32_t *once = test_bits(families[_i], &tdb), *twice = test_bits(families[_i], &tdb2);
            ck_assert_mem_eq(once, twice, z->c * sizeof *once);
            free(once);
            free(twice);
            test_tensor_release(&tdy);
            test_tensor_release(&tdx);
            test_tensor_release(&tdb);
            test_tensor_release(&tdb2);
            free(dy);
            free(dx);
            free(dbias);
        }
}
END_TEST

/* A value that is not a number must reach the loss, not turn into the zero of a ReLU. */
START_TEST(what_is_not_finite_stays_so)
{
    for (int act = 0; act < 3; act++)
        for (size_t s = 1; s < 20; s += 18) {
            caps_error err = {0};
            const size_t dims[] = {1, 3, s};
            double *x = test_random(3 * s, 1, -1, 1);
            x[s] = NAN;
            caps_tensor tx = test_tensor(x, 3, dims), ty = test_tensor(NULL, 3, dims);
            test_ok(caps_bias_act_forward(families[_i], &ty, &tx, NULL, act, &err));
            double *y = test_download(&ty);
            for (size_t i = 0; i < 3 * s; i++)
                ck_assert_msg(!isnan(y[i]) == (i != s), "act %d, element %zu: %g", act, i, y[i]);
            free(y);
            test_tensor_release(&tx);
            test_tensor_release(&ty);
            free(x);
        }
}
END_TEST

/* Far out, where exp overflows: exactly 0 and 1, never NaN. */
START_TEST(sigmoid_saturates)
{
    const size_t dims[] = {1, 4};
    const double x[] = {-200, -30, 30, 200}, want[] = {0, 9.357622968839299e-14, 1, 1};
    caps_error err = {0};
    caps_tensor tx = test_tensor(x, 2, dims), ty = test_tensor(NULL, 2, dims);
    test_ok(caps_bias_act_forward(families[_i], &ty, &tx, NULL, CAPS_ACT_SIGMOID, &err));
    double *y = test_download(&ty);
    ck_assert(y[0] == 0 && y[2] == want[2] && y[3] == want[3]);
    ck_assert_double_eq_tol(y[1] / want[1], 1, 1e-5);
    free(y);
    test_tensor_release(&tx);
    test_tensor_release(&ty);
}
END_TEST

START_TEST(wrong_shapes_are_refused)
{
    caps_runtime *rt = families[_i];
    caps_tensor x = test_tensor(NULL, 3, (size_t[]){2, 3, 4}),
                flat = test_tensor(NULL, 1, (size_t[]){24});
    caps_tensor other = test_tensor(NULL, 3, (size_t[]){2, 3, 5}),
                bias = test_tensor(NULL, 1, (size_t[]){4});
    test_refused(caps_bias_act_forward(rt, &other, &x, NULL, CAPS_ACT_NONE, err),
        "bias_act: y has 30 elements, need 24");
    test_refused(caps_bias_act_forward(rt, &x, &x, &bias, CAPS_ACT_NONE, err),
        "bias_act: bias is float32 [4], need float32 [3]");
    test_refused(caps_bias_act_forward(rt, &flat, &flat, NULL, CAPS_ACT_NONE, err),
        "bias_act: input is no float32 tensor of 2 dimensions or more, need [N, C, ...]");
    test_refused(caps_bias_act_forward(rt, &x, &x, NULL, (caps_activation)7, err),
        "bias_act: activation is 7, need 0 to 2");
    test_refused(caps_bias_act_backward(rt, &x, &bias, &x, &x, CAPS_ACT_RELU, err),
        "bias_act: dbias is float32 [4], need float32 [3]");
    test_refused(caps_bias_act_backward(rt, &x, NULL, &x, &other, CAPS_ACT_RELU, err),
        "bias_act: y has 30 elements, need 24");
    test_tensor_release(&x);
    test_tensor_release(&flat);
    test_tensor_release(&other);
    test_tensor_release(&bias);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("bias_act");
    TCase *tc = families_case(s, "bias_act");
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    families_add(tc, forward_agrees_with_the_reference);
    families_add(tc, backward_agrees_with_the_reference);
    if (!test_small())
        families_add(tc, long_sums_keep_their_accuracy);
    families_add(tc, what_is_not_finite_stays_so);
    families_add(tc, sigmoid_saturates);
    families_add(tc, wrong_shapes_are_refused);
    return s;
}
