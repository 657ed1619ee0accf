/* test_depthwise.c: convolution of every channel by a kernel of its own. */
#include "windows.h"

static const sizes shapes[] = {{2, 3, 7, 5, 3, 1}, {3, 5, 9, 8, 4, 2}, {1, 1, 1, 1, 1, 1},
    {5, 7, 9, 9, 9, 1}, {4, 2, 11, 13, 2, 3}, {3, 4, 6, 37, 5, 1}, {16, 128, 9, 9, 9, 1}};

typedef struct problem {
    const sizes *z;
    size_t varied; /* 0 x, 1 w, 2 bias */
    const double *x, *w, *bias, *g;
} problem;

static double weighted(const double *v, void *context)
{
    const problem *p = context;
    const sizes *z = p->z;
    double *y = test_zeros(out_count(z));
    caps_ref_depthwise_forward(y, p->varied == 0 ? v : p->x, p->varied == 1 ? v : p->w,
        p->varied == 2 ? v : p->bias, z->b, z->c, z->h, z->w, z->k, z->stride);
    return weigh(y, p->g, z);
}

START_TEST(reference_gradient_by_finite_differences)
{
    for (size_t s = 0; s < 2; s++) {
        const sizes *z = &shapes[s];
        const size_t nx = z->b * z->c * z->h * z->w, nw = z->c * z->k * z->k;
        const size_t ny = out_count(z);
        double *x = test_random(nx, 1, -1, 1), *w = test_random(nw, 2, -1, 1);
        double *bias = test_random(z->c, 3, -1, 1), *g = test_random(ny, 4, -1, 1);
        double *dx = test_zeros(nx), *dw = test_zeros(nw), *db = test_zeros(z->c);
        caps_ref_depthwise_backward(dx, dw, db, g, x, w, z->b, z->c, z->h, z->w, z->k, z->stride);
        problem p = {z, 0, x, w, bias, g};
        ck_assert_double_lt(test_finite_difference(weighted, &p, x, dx, nx, 1e-4), 1e-7);
        p.varied = 1;
        ck_assert_double_lt(test_finite_difference(weighted, &p, w, dw, nw, 1e-4), 1e-7);
        p.varied = 2;
        ck_assert_double_lt(test_finite_difference(weighted, &p, bias, db, z->c, 1e-4), 1e-7);
        FREE_ALL(x, w, bias, g, dx, dw, db);
    }
}
END_TEST

/* With every kernel and channel once outside its neighbours: one channel's kernel is that of a plain
 * convolution. */
START_TEST(reference_is_a_convolution_of_one_channel)
{
    const sizes z = {2, 1, 8, 7, 3, 2};
    const size_t ny = z.b * out(z.h, &z) * out(z.w, &z);
    const caps_ref_conv conv = {z.b, 1, z.h, z.w, 1, z.k, z.k, z.stride, 0, 0};
    double *x = test_random(z.b * z.h * z.w, 1, -1, 1), *w = test_random(9, 2, -1, 1), bias = 0.5;
    double *y = test_zeros(ny), *need = test_zeros(ny);
    caps_ref_depthwise_forward(y, x, w, &bias, z.b, 1, z.h, z.w, z.k, z.stride);
    caps_ref_conv2d_forward(need, x, w, &bias, &conv);
    ck_assert_double_lt(test_relative_error(y, need, ny), 1e-14);
    free(x);
    free(w);
    free(y);
    free(need);
}
END_TEST

static void check_shape(caps_runtime *rt, const sizes *z)
{
    const size_t xs[] = {z->b, z->c, z->h, z->w}, ws[] = {z->c, 1, z->k, z->k};
    const size_t ys[] = {z->b, z->c, out(z->h, z), out(z->w, z)};
    const size_t nx = xs[0] * xs[1] * xs[2] * xs[3], nw = z->c * z->k * z->k;
    const size_t ny = ys[0] * ys[1] * ys[2] * ys[3];
    caps_error err = {0};
    double *x = test_random(nx, nx, -1, 1), *w = test_random(nw, 2, -1, 1);
    double *bias = test_random(z->c, 3, -1, 1), *dy = test_random(ny, 4, -1, 1);
    double *y = test_zeros(ny), *dx = test_zeros(nx), *dw = test_zeros(nw), *db = test_zeros(z->c);
    caps_ref_depthwise_forward(y, x, w, bias, z->b, z->c, z->h, z->w, z->k, z->stride);
    caps_ref_depthwise_backward(dx, dw, db, dy, x, w, z->b, z->c, z->h, z->w, z->k, z->stride);
    caps_tensor tx = test_tensor(x, 4, xs), tw = test_tensor(w, 4, ws);
    caps_tensor tb = test_tensor(bias, 1, &z->c), tdy = test_tensor(dy, 4, ys);
    caps_tensor ty = test_tensor(NULL, 4, ys), tdx = test_tensor(NULL, 4, xs);
    caps_tensor tdw = test_tensor(NULL, 4, ws), tdb = test_tensor(NULL, 1, &z->c);
    test_ok(caps_depthwise_forward(rt, &ty, &tx, &tw, &tb, z->stride, &err));
    test_expect(&ty, y, 1e-6, "y");
    test_ok(caps_depthwise_backward(rt, &tdx, &tdw, &tdb, &tdy, &tx, &tw, z->stride, &err));
    test_expect(&tdx, dx, 2e-6, "dx");
    test_expect(&tdw, dw, 2e-6, "dw");
    test_expect(&tdb, db, 2e-6, "dbias");
    uint32_t *bits = test_bits(rt, &tdw), *again;
    test_ok(caps_depthwise_backward(rt, NULL, &tdw, &tdb, &tdy, &tx, &tw, z->stride, &err));
    again = test_bits(rt, &tdw);
    ck_assert(memcmp(bits, again, nw * sizeof *bits) == 0);
    free(bits);
    free(again);
    RELEASE_ALL(&tx, &tw, &tb, &tdy, &ty, &tdx, &tdw, &tdb);
    FREE_ALL(x, w, bias, dy, y, dx, dw, db);
}

START_TEST(agrees_with_the_reference)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if (!test_small() || shapes[i].c < 7)
            check_shape(families[_i], &shapes[i]);
}
END_TEST

START_TEST(wrong_shapes_are_refused)
{
    caps_tensor x = test_tensor(NULL, 4, (size_t[]){2, 3, 4, 5});
    caps_tensor w = test_tensor(NULL, 4, (size_t[]){3, 1, 2, 2});
    caps_tensor many = test_tensor(NULL, 4, (size_t[]){4, 1, 2, 2});
    caps_tensor large = test_tensor(NULL, 4, (size_t[]){3, 1, 5, 5});
    caps_tensor c = test_tensor(NULL, 1, (size_t[]){3});
    test_refused(caps_depthwise_forward(families[_i], &x, &x, &w, &c, 1, err),
        "depthwise: y is float32 [2, 3, 4, 5], need float32 [2, 3, 3, 4]");
    test_refused(caps_depthwise_forward(families[_i], &x, &x, &many, &c, 1, err),
        "depthwise: w is float32 [4, 1, 2, 2], need float32 [3, 1, 2, 2]");
    test_refused(caps_depthwise_forward(families[_i], &x, &x, &large, &c, 1, err),
        "depthwise: kernel 5 is larger than its input 4x5");
    test_refused(caps_depthwise_forward(families[_i], &x, &x, &w, &c, 0, err),
        "depthwise: stride is 0, need 1 to 2147483647");
    test_tensor_release(&x);
    test_tensor_release(&w);
    test_tensor_release(&many);
    test_tensor_release(&large);
    test_tensor_release(&c);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("depthwise");
    TCase *tc = families_case(s, "depthwise");
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    tcase_add_test(tc, reference_is_a_convolution_of_one_channel);
    families_add(tc, agrees_with_the_reference);
    families_add(tc, wrong_shapes_are_refused);
    return s;
}
