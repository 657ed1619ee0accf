/* test_linear.c: the fully connected layer. */
#include "families.h"
#include "ref.h"

typedef struct shape {
    size_t b, in, out;
} shape;

/* The last two are layers of the paper's decoder. */
static const shape shapes[] = {
    {1, 1, 1}, {3, 7, 5}, {5, 1, 18}, {1, 19, 33}, {100, 160, 512}, {37, 512, 784}};

typedef struct problem {
    shape z;
    int act;
    const double *g;
} problem;

/* sum g y as a function of x, w and bias, which lie one after the other */
static double weighted(const double *at, void *context)
{
    const problem *p = context;
    const shape *z = &p->z;
    const double *w = at + z->b * z->in, *bias = w + z->out * z->in;
    double *y = test_zeros(z->b * z->out), sum = 0;
    caps_ref_linear_forward(y, at, w, bias, p->act, z->b, z->in, z->out);
    for (size_t i = 0; i < z->b * z->out; i++)
        sum += p->g[i] * y[i];
    free(y);
    return sum;
}

START_TEST(reference_gradient_by_finite_differences)
{
    const shape z = shapes[1];
    const size_t nx = z.b * z.in, nw = z.out * z.in, ny = z.b * z.out, all = nx + nw + z.out;
    for (int act = 0; act < 3; act++) {
        double *at = test_random(all, 1, -1, 1), *g = test_random(ny, 2, -1, 1);
        double *gradient = test_zeros(all), *y = test_zeros(ny);
        problem p = {z, act, g};
        caps_ref_linear_forward(y, at, at + nx, at + nx + nw, act, z.b, z.in, z.out);
        caps_ref_linear_backward(
            gradient, gradient + nx, gradient + nx + nw, g, y, at, at + nx, act, z.b, z.in, z.out);
        ck_assert_double_lt(test_finite_difference(weighted, &p, at, gradient, all, 1e-6), 1e-6);
        free(at);
        free(g);
        free(gradient);
        free(y);
    }
}
END_TEST

START_TEST(agrees_with_the_reference)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int act = 0; act < 3; act++) {
            caps_error err = {0};
            const shape *z = &shapes[i];
            const size_t nx = z->b * z->in, nw = z->out * z->in, ny = z->b * z->out;
            if (test_small() && nx + nw > 1000)
                continue;
            double *x = test_random(nx, i, -1, 1), *w = test_random(nw, i + 20, -0.2, 0.2);
            double *bias = test_random(z->out, i + 40, -1, 1), *dy = test_random(ny, i + 60, -1, 1);
            double *y = test_zeros(ny), *dx = test_zeros(nx), *dw = test_zeros(nw);
            double *dbias = test_zeros(z->out);
            const size_t xs[] = {z->b, z->in}, ws[] = {z->out, z->in}, ys[] = {z->b, z->out};
            caps_tensor tx = test_tensor(x, 2, xs), tw = test_tensor(w, 2, ws);
            caps_tensor tb = test_tensor(bias, 1, &z->out), ty = test_tensor(NULL, 2, ys);
            caps_ref_linear_forward(y, x, w, NULL, act, z->b, z->in, z->out);
            test_ok(caps_linear_forward(families[_i], &ty, &tx, &tw, NULL, act, &err));
            test_expect(&ty, y, 2e-6, "y without bias");
            caps_ref_linear_forward(y, x, w, bias, act, z->b, z->in, z->out);
            test_ok(caps_linear_forward(families[_i], &ty, &tx, &tw, &tb, act, &err));
            test_expect(&ty, y, 2e-6, "y");

            /* The device's own y on both sides: a ReLU near 0 may differ in its last bit. */
            double *have = test_download(&ty);
            caps_ref_linear_backward(dx, dw, dbias, dy, have, x, w, act, z->b, z->in, z->out);
            caps_tensor tdy = test_tensor(dy, 2, ys), tdz = test_tensor(NULL, 2, ys);
            caps_tensor tdx = test_tensor(NULL, 2, xs), tdw = test_tensor(NULL, 2, ws);
            caps_tensor tdb = test_tensor(NULL, 1, &z->out);
            test_ok(caps_linear_backward(
                families[_i], &tdx, &tdw, &tdb, &tdz, &tdy, &ty, &tx, &tw, act, &err));
            test_expect(&tdx, dx, 5e-6, "dx");
            test_expect(&tdw, dw, 5e-6, "dw");
            test_expect(&tdb, dbias, 1e-6, "dbias");
            /* dz in dy's place, and nothing but dw wanted. */
            caps_tensor again = test_tensor(NULL, 2, ws);
            test_ok(caps_linear_backward(
                families[_i], NULL, &again, NULL, &tdy, &tdy, &ty, &tx, &tw, act, &err));
            test_expect(&again, dw, 5e-6, "dw alone");
            test_tensor_release(&tx);
            test_tensor_release(&tw);
            test_tensor_release(&tb);
            test_tensor_release(&ty);
            test_tensor_release(&tdy);
            test_tensor_release(&tdz);
            test_tensor_release(&tdx);
            test_tensor_release(&tdw);
            test_tensor_release(&tdb);
            test_tensor_release(&again);
            free(x);
            free(w);
            free(bias);
            free(dy);
            free(y);
            free(dx);
            free(dw);
            free(dbias);
            free(have);
        }
}
END_TEST

START_TEST(wrong_shapes_are_refused)
{
    caps_runtime *rt = families[_i];
    caps_tensor x = test_tensor(NULL, 2, (size_t[]){3, 4}),
                w = test_tensor(NULL, 2, (size_t[]){5, 4});
    caps_tensor y = test_tensor(NULL, 2, (size_t[]){3, 5}),
                bias = test_tensor(NULL, 1, (size_t[]){4});
    test_refused(caps_linear_forward(rt, &y, &x, &y, NULL, CAPS_ACT_NONE, err),
        "linear: w is float32 [3, 5], need float32 [3, 4]");
    test_refused(caps_linear_forward(rt, &x, &x, &w, NULL, CAPS_ACT_NONE, err),
        "linear: y is float32 [3, 4], need float32 [3, 5]");
    test_refused(caps_linear_forward(rt, &y, &bias, &w, NULL, CAPS_ACT_NONE, err),
        "linear: x is float32 [4], need float32 [B, in]");
    test_refused(caps_linear_forward(rt, &y, &x, &w, &bias, CAPS_ACT_NONE, err),
        "linear: bias is float32 [4], need float32 [5]");
    test_refused(caps_linear_backward(rt, &x, &x, NULL, &y, &y, &y, &x, &w, CAPS_ACT_NONE, err),
        "linear: dw is float32 [3, 4], need float32 [5, 4]");
    test_refused(caps_linear_backward(rt, &x, &w, &bias, &y, &y, &y, &x, &w, CAPS_ACT_NONE, err),
        "linear: dbias is float32 [4], need float32 [5]");
    test_refused(caps_linear_backward(rt, &x, &w, NULL, &y, &y, &x, &x, &w, CAPS_ACT_RELU, err),
        "linear: y is float32 [3, 4], need float32 [3, 5]");
    test_tensor_release(&x);
    test_tensor_release(&w);
    test_tensor_release(&y);
    test_tensor_release(&bias);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("linear");
    TCase *tc = families_case(s, "linear");
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    families_add(tc, agrees_with_the_reference);
    families_add(tc, wrong_shapes_are_refused);
    return s;
}
