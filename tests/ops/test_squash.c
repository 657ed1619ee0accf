/* test_squash.c: squash and its gradient, from zero to the ends of float32. */
#include <math.h>

#include "families.h"
#include "ref.h"

static const size_t shapes[][2] = {
    {1, 1}, {5, 1}, {37, 5}, {129, 8}, {7, 16}, {3, 33}, {2, 200}, {5000, 8}};

static const caps_squash kinds[] = {CAPS_SQUASH_PAPER, CAPS_SQUASH_EXP};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

typedef struct problem {
    const double *g;
    size_t n, k;
    bool exponential;
} problem;

/* sum_i g_i v_i(s), whose gradient is what backward gives for dv = g. */
static double weighted(const double *s, void *context)
{
    const problem *p = context;
    double *v = test_zeros(p->n * p->k), sum = 0;
    caps_ref_squash_forward(v, s, p->exponential, p->n, p->k);
    for (size_t i = 0; i < p->n * p->k; i++)
        sum += p->g[i] * v[i];
    free(v);
    return sum;
}

START_TEST(reference_gradient_by_finite_differences)
{
    for (size_t k = 1; k < 8; k += 3) {
        const size_t n = 4;
        double *s = test_random(n * k, k, -2, 2), *g = test_random(n * k, k + 9, -1, 1);
        double *ds = test_zeros(n * k);
        for (int e = 0; e < 2; e++) {
            problem p = {g, n, k, e == 1};
            caps_ref_squash_backward(ds, g, s, e == 1, n, k);
            ck_assert_double_lt(test_finite_difference(weighted, &p, s, ds, n * k, 1e-5), 1e-7);
        }
        free(s);
        free(g);
        free(ds);
    }
}
END_TEST

START_TEST(agrees_with_the_reference)
{
    for (size_t c = 0; c < KINDS * sizeof shapes / sizeof shapes[0]; c++) {
        const size_t x = c / KINDS;
        const caps_squash kind = kinds[c % KINDS];
        const bool exponential = kind == CAPS_SQUASH_EXP;
        caps_error err = {0};
        size_t n = shapes[x][0], k = shapes[x][1], count = n * k;
        if (test_small() && count > 1100)
            continue;
        double *s = test_random(count, x, -3, 3), *dv = test_random(count, x + 50, -1, 1);
        double *v = test_zeros(count), *ds = test_zeros(count);
        memset(s, 0, k * sizeof *s); /* the first vector is zero */
        caps_ref_squash_forward(v, s, exponential, n, k);
        caps_ref_squash_backward(ds, dv, s, exponential, n, k);
        caps_tensor ts = test_tensor(s, 2, shapes[x]), tdv = test_tensor(dv, 2, shapes[x]);
        caps_tensor tv = test_tensor(NULL, 2, shapes[x]), tds = test_tensor(NULL, 2, shapes[x]);
        test_ok(caps_squash_forward(families[_i], &tv, &ts, kind, &err));
        test_ok(caps_squash_backward(families[_i], &tds, &tdv, &ts, kind, &err));
        test_expect(&tv, v, 1e-6, "v");
        test_expect(&tds, ds, 2e-6, "ds");
        double *have = test_download(&tv), *gradient = test_download(&tds);
        for (size_t i = 0; i < k; i++)
            ck_assert(have[i] == 0 && gradient[i] == 0);
        test_ok(caps_squash_backward(families[_i], &tdv, &tdv, &ts, kind, &err)); /* in place */
        test_expect_exactly(&tdv, gradient, "ds in place");
        free(have);
        free(gradient);
        test_tensor_release(&ts);
        test_tensor_release(&tdv);
        test_tensor_release(&tv);
        test_tensor_release(&tds);
        free(s);
        free(dv);
        free(v);
        free(ds);
    }
}
END_TEST

/* Vectors of nearly every size float32 has, among them those whose squares it has not. Beyond these,
 * vectors or gradients have subnormal elements, which count as zero. */
static void check_magnitudes(caps_runtime *rt, caps_squash kind)
{
    const bool exponential = kind == CAPS_SQUASH_EXP;
    static const double sizes[] = {1e-35, 1e-30, 1e-20, 1e-15, 1e-12, 1e-6, 1e-3, 0.1, 0.3, 0.5, 1,
        3, 1e3, 1e6, 1e12, 1e18, 1e25, 1e34};
    const size_t n = sizeof sizes / sizeof sizes[0], k = 11, shape[] = {n, k};
    caps_error err = {0};
    double *s = test_random(n * k, 3, -1, 1), *dv = test_random(n * k, 4, -1, 1);
    double *v = test_zeros(n * k), *ds = test_zeros(n * k);
    for (size_t i = 0; i < n * k; i++)
        s[i] = (float)(s[i] * sizes[i / k]);
    caps_ref_squash_forward(v, s, exponential, n, k);
    caps_ref_squash_backward(ds, dv, s, exponential, n, k);
    caps_tensor ts = test_tensor(s, 2, shape), tdv = test_tensor(dv, 2, shape);
    caps_tensor tv = test_tensor(NULL, 2, shape), tds = test_tensor(NULL, 2, shape);
    test_ok(caps_squash_forward(rt, &tv, &ts, kind, &err));
    test_ok(caps_squash_backward(rt, &tds, &tdv, &ts, kind, &err));
    double *have = test_download(&tv), *gradient = test_download(&tds);
    for (size_t row = 0; row < n; row++) {
        /* Below 1e-18, v is smaller than the least normal float32, where devices may flush to
         * zero. */
        if (sizes[row] > 1e-18)
            ck_assert_msg(test_relative_error(have + row * k, v + row * k, k) < 1e-6,
                "v at %g: %g, not %g", sizes[row], have[row * k], v[row * k]);
        for (size_t i = row * k; i < (row + 1) * k; i++)
            ck_assert_msg(fabs(have[i] - v[i]) <= 1e-37 + 1e-5 * fabs(v[i]), "v at %g", sizes[row]);
        ck_assert_msg(test_relative_error(gradient + row * k, ds + row * k, k) < 1e-5,
            "ds at %g: %g, not %g", sizes[row], gradient[row * k], ds[row * k]);
    }
    free(have);
    free(gradient);
    test_tensor_release(&ts);
    test_tensor_release(&tdv);
    test_tensor_release(&tv);
    test_tensor_release(&tds);
    free(s);
    free(dv);
    free(v);
    free(ds);
}

START_TEST(keeps_its_accuracy_at_every_magnitude)
{
    for (size_t k = 0; k < KINDS; k++)
        check_magnitudes(families[_i], kinds[k]);
}
END_TEST

START_TEST(what_is_not_finite_stays_so)
{
    const size_t shape[] = {4, 3};
    const double s[] = {1, NAN, 2, 1, INFINITY, 2, 0, 0, NAN, 3, 0, 4};
    caps_error err = {0};
    caps_tensor ts = test_tensor(s, 2, shape), tv = test_tensor(NULL, 2, shape);
    caps_tensor tds = test_tensor(NULL, 2, shape);
    test_ok(caps_squash_forward(families[_i], &tv, &ts, CAPS_SQUASH_PAPER, &err));
    test_ok(caps_squash_backward(families[_i], &tds, &ts, &ts, CAPS_SQUASH_PAPER, &err));
    double *v = test_download(&tv), *ds = test_download(&tds);
    ck_assert(isnan(v[0]) && isnan(v[1]) && isnan(v[4]) && isnan(v[8]));
    ck_assert(isnan(ds[1]) && isnan(ds[4]) && isnan(ds[8]));
    ck_assert_double_eq_tol(v[9], 3.0 * 5 / 26, 1e-7);
    ck_assert_double_eq_tol(v[11], 4.0 * 5 / 26, 1e-7);
    free(v);
    free(ds);
    test_tensor_release(&ts);
    test_tensor_release(&tv);
    test_tensor_release(&tds);
}
END_TEST

START_TEST(a_vector_gets_the_same_bits_in_any_batch)
{
    const size_t many[] = {90, 7}, k = 7;
    caps_error err = {0};
    double *s = test_random(90 * k, 5, -2, 2);
    caps_tensor ts = test_tensor(s, 2, many), tv = test_tensor(NULL, 2, many);
    test_ok(caps_squash_forward(families[_i], &tv, &ts, CAPS_SQUASH_PAPER, &err));
    uint32_t *all = test_bits(families[_i], &tv);
    for (size_t row = 0; row < 90; row += 89) {
        caps_tensor one_s = caps_tensor_rows(&ts, row, 1), one = test_tensor(NULL, 2, one_s.shape);
        test_ok(caps_squash_forward(families[_i], &one, &one_s, CAPS_SQUASH_PAPER, &err));
        uint32_t *bits = test_bits(families[_i], &one);
        ck_assert(memcmp(bits, all + row * k, k * sizeof *bits) == 0);
        free(bits);
        test_tensor_release(&one);
    }
    free(all);
    test_tensor_release(&ts);
    test_tensor_release(&tv);
    free(s);
}
END_TEST

START_TEST(wrong_shapes_are_refused)
{
    caps_tensor s = test_tensor(NULL, 3, (size_t[]){2, 3, 4}),
                v = test_tensor(NULL, 3, (size_t[]){2, 3, 5});
    caps_tensor i = test_tensor_i32(NULL, 3, (size_t[]){2, 3, 4}), none = {0};
    test_refused(caps_squash_forward(families[_i], &v, &s, CAPS_SQUASH_PAPER, err),
        "squash: v is float32 [2, 3, 5], need float32 [2, 3, 4]");
    test_refused(caps_squash_backward(families[_i], &s, &i, &s, CAPS_SQUASH_PAPER, err),
        "squash: dv is int32 [2, 3, 4], need float32 [2, 3, 4]");
    test_refused(caps_squash_forward(families[_i], &v, &none, CAPS_SQUASH_PAPER, err),
        "squash: s has 0 dimensions, need >= 1");
    test_refused(caps_squash_forward(families[_i], NULL, &s, CAPS_SQUASH_PAPER, err),
        "squash: v has no buffer, need float32 [2, 3, 4]");
    test_tensor_release(&s);
    test_tensor_release(&v);
    test_tensor_release(&i);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("squash");
    TCase *tc = families_case(s, "squash");
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    families_add(tc, agrees_with_the_reference);
    families_add(tc, keeps_its_accuracy_at_every_magnitude);
    families_add(tc, what_is_not_finite_stays_so);
    families_add(tc, a_vector_gets_the_same_bits_in_any_batch);
    families_add(tc, wrong_shapes_are_refused);
    return s;
}
