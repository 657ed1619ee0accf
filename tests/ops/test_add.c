/* test_add.c: y += x, y += factor x. */
#include <math.h>

#include "add.h"
#include "families.h"

START_TEST(sums_are_exact)
{
    static const size_t counts[] = {1, 15, 16, 1027, 1100001};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        caps_error err = {0};
        const size_t n = counts[c];
        if (test_small() && n > 1100)
            continue;
        double *y = test_random(n, c, -1, 1), *x = test_random(n, 50 + c, -1, 1);
        caps_tensor ty = test_tensor(y, 1, &n), tx = test_tensor(x, 2, (size_t[]){1, n});
        test_ok(caps_add(families[_i], &ty, &tx, &err));
        for (size_t i = 0; i < n; i++)
            y[i] = (double)((float)y[i] + (float)x[i]); /* one rounding on either side */
        test_expect_exactly(&ty, y, "y");
        test_tensor_release(&ty);
        test_tensor_release(&tx);
        free(y);
        free(x);
    }
}
END_TEST

START_TEST(scaled_sums_have_one_rounding)
{
    static const size_t counts[] = {1, 15, 16, 1027};
    const float factor = 0.3f;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        caps_error err = {0};
        const size_t n = counts[c];
        double *y = test_random(n, c, -1, 1), *x = test_random(n, 50 + c, -1, 1);
        caps_tensor ty = test_tensor(y, 1, &n), tx = test_tensor(x, 1, &n);
        test_ok(caps_add_scaled(families[_i], &ty, &tx, factor, &err));
        for (size_t i = 0; i < n; i++)
            y[i] = (double)fmaf(factor, (float)x[i], (float)y[i]);
        test_expect_exactly(&ty, y, "y");
        test_tensor_release(&ty);
        test_tensor_release(&tx);
        free(y);
        free(x);
    }
}
END_TEST

START_TEST(bad_arguments_are_refused)
{
    caps_error err = {0};
    const size_t two = 2, three = 3;
    const double values[] = {1, 2, 3};
    caps_tensor a = test_tensor(values, 1, &two), b = test_tensor(values, 1, &three), none = {0};
    caps_tensor whole = test_tensor_i32((int32_t[]){1, 2}, 1, &two);
    ck_assert_int_eq(caps_add(families[_i], &a, &b, &err), CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(err.message, "add: x has 3 float32, need 2");
    ck_assert_int_eq(caps_add(families[_i], &a, &whole, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(caps_add(families[_i], &whole, &a, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(caps_add(families[_i], &none, &a, &err), CAPS_ERR_ARGUMENT);
    test_expect_exactly(&a, values, "a");
    test_tensor_release(&a);
    test_tensor_release(&b);
    test_tensor_release(&whole);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("add");
    TCase *tc = families_case(s, "add");
    families_add(tc, sums_are_exact);
    families_add(tc, scaled_sums_have_one_rounding);
    families_add(tc, bad_arguments_are_refused);
    return s;
}
