/* test_max_pool.c: the greatest value of every window, and where its gradient goes. */
#include <math.h>

#include "windows.h"

/* Windows side by side, overlapping, apart, and the whole plane. */
static const sizes shapes[] = {{2, 3, 7, 5, 2, 2}, {3, 2, 9, 8, 3, 2}, {1, 1, 1, 1, 1, 1},
    {2, 5, 6, 11, 3, 1}, {4, 2, 13, 10, 2, 3}, {3, 4, 5, 5, 5, 1}, {16, 32, 24, 24, 2, 2}};

typedef struct problem {
    const sizes *z;
    const double *g;
} problem;

static double weighted(const double *x, void *context)
{
    const problem *p = context;
    const sizes *z = p->z;
    double *y = test_zeros(out_count(z));
    caps_ref_max_pool_forward(y, x, z->b * z->c, z->h, z->w, z->k, z->stride);
    return weigh(y, p->g, z);
}

START_TEST(reference_gradient_by_finite_differences)
{
    for (size_t s = 0; s < 4; s++) {
        const sizes *z = &shapes[s];
        const size_t nx = z->b * z->c * z->h * z->w;
        const size_t ny = out_count(z);
        double *x = test_random(nx, 1, -1, 1), *g = test_random(ny, 4, -1, 1);
        double *dx = test_zeros(nx);
        caps_ref_max_pool_backward(dx, g, x, z->b * z->c, z->h, z->w, z->k, z->stride);
        problem p = {z, g};
        ck_assert_double_lt(test_finite_difference(weighted, &p, x, dx, nx, 1e-6), 1e-6);
        free(x);
        free(g);
        free(dx);
    }
}
END_TEST

/* values: how many different ones, so that most windows have several of their greatest. */
static void check_shape(caps_runtime *rt, const sizes *z, size_t values)
{
    const size_t xs[] = {z->b, z->c, z->h, z->w};
    const size_t ys[] = {z->b, z->c, out(z->h, z), out(z->w, z)}, planes = z->b * z->c;
    const size_t nx = planes * z->h * z->w, ny = planes * ys[2] * ys[3];
    caps_error err = {0};
    double *x = test_random(nx, nx, -1, 1), *dy = test_random(ny, 4, -1, 1);
    double *y = test_zeros(ny), *dx = test_zeros(nx);
    for (size_t i = 0; values && i < nx; i++)
        x[i] = floor(x[i] * (double)values);
    caps_ref_max_pool_forward(y, x, planes, z->h, z->w, z->k, z->stride);
    caps_ref_max_pool_backward(dx, dy, x, planes, z->h, z->w, z->k, z->stride);
    caps_tensor tx = test_tensor(x, 4, xs), tdy = test_tensor(dy, 4, ys);
    caps_tensor ty = test_tensor(NULL, 4, ys), tdx = test_tensor(NULL, 4, xs);
    caps_tensor tp = test_tensor_i32(NULL, 4, ys);
    test_ok(caps_max_pool_forward(rt, &ty, NULL, &tx, z->k, z->stride, &err));
    test_expect_exactly(&ty, y, "y without places");
    test_ok(caps_max_pool_forward(rt, &ty, &tp, &tx, z->k, z->stride, &err));
    test_expect_exactly(&ty, y, "y");
    test_ok(caps_max_pool_backward(rt, &tdx, &tdy, &tp, z->k, z->stride, &err));
    test_expect(&tdx, dx, 1e-6, "dx");
    RELEASE_ALL(&tx, &tdy, &ty, &tdx, &tp);
    FREE_ALL(x, dy, y, dx);
}

START_TEST(agrees_with_the_reference)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if (!test_small() || shapes[i].b < 16)
            check_shape(families[_i], &shapes[i], 0);
}
END_TEST

START_TEST(of_equal_values_the_first_gets_the_gradient)
{
    for (size_t i = 0; i < 6; i++)
        check_shape(families[_i], &shapes[i], 2);
}
END_TEST

START_TEST(what_is_not_a_number_stays)
{
    const double x[] = {1, 5, NAN, 3, 2, 4, NAN, 7, 6}, dy[] = {1, 10, 100, 1000};
    const size_t xs[] = {1, 1, 3, 3}, ys[] = {1, 1, 2, 2};
    caps_error err = {0};
    caps_tensor tx = test_tensor(x, 4, xs), ty = test_tensor(NULL, 4, ys);
    caps_tensor tp = test_tensor_i32(NULL, 4, ys), tdy = test_tensor(dy, 4, ys);
    caps_tensor tdx = test_tensor(NULL, 4, xs);
    test_ok(caps_max_pool_forward(families[_i], &ty, &tp, &tx, 2, 1, &err));
    test_ok(caps_max_pool_backward(families[_i], &tdx, &tdy, &tp, 2, 1, &err));
    test_expect_exactly(&tdx, (const double[]){0, 1, 10, 0, 0, 0, 100, 1000, 0}, "dx");
    double *y = test_download(&ty);
    ck_assert(y[0] == 5 && isnan(y[1]) && isnan(y[2]) && y[3] == 7);
    free(y);
    RELEASE_ALL(&tx, &ty, &tp, &tdy, &tdx);
}
END_TEST

START_TEST(wrong_shapes_are_refused)
{
    caps_tensor x = test_tensor(NULL, 4, (size_t[]){2, 3, 4, 5});
    test_refused(caps_max_pool_forward(families[_i], &x, NULL, &x, 2, 2, err),
        "max_pool: y is float32 [2, 3, 4, 5], need float32 [2, 3, 2, 2]");
    test_refused(caps_max_pool_forward(families[_i], &x, NULL, &x, 5, 1, err),
        "max_pool: kernel 5 is larger than its input 4x5");
    test_refused(caps_max_pool_forward(families[_i], &x, NULL, &x, 2, 0, err),
        "max_pool: kernel is 2 and stride 0, need 1 to 2147483647");
    test_refused(caps_max_pool_backward(families[_i], &x, &x, NULL, 1, 1, err),
        "max_pool: place is missing, need the forward's");
    test_tensor_release(&x);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("max_pool");
    TCase *tc = families_case(s, "max_pool");
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    families_add(tc, agrees_with_the_reference);
    families_add(tc, of_equal_values_the_first_gets_the_gradient);
    families_add(tc, what_is_not_a_number_stays);
    families_add(tc, wrong_shapes_are_refused);
    return s;
}
