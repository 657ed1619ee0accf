/* test_optimizer.c: Adam and plain gradient descent. */
#include <math.h>

#include "families.h"
#include "ref.h"

static const caps_adam settings = {1e-3f, 0.9f, 0.999f, 1e-8f, 1};

static int32_t read_flag(caps_runtime *rt, const caps_tensor *flag)
{
    caps_error err = {0};
    int32_t value = -1;
    test_ok(caps_tensor_download(rt, flag, &value, &err));
    return value;
}

/* Ten steps, every count from one lane to several work-items, the weights small enough beside a
 * step that its own accuracy shows; the state compared, too. */
START_TEST(ten_adam_steps_agree_with_double_precision)
{
    static const size_t counts[] = {1, 15, 16, 1027, 70001};
    for (size_t x = 0; x < sizeof counts / sizeof counts[0]; x++) {
        caps_error err = {0};
        const size_t n = counts[x];
        if (test_small() && n > 1100)
            continue;
        double *w = test_random(n, x, -0.01, 0.01), *start = test_zeros(n);
        double *m = test_zeros(n), *v = test_zeros(n);
        memcpy(start, w, n * sizeof *w);
        caps_tensor tw = test_tensor(w, 1, &n), tm = test_tensor(m, 1, &n),
                    tv = test_tensor(v, 1, &n);
        caps_tensor flag = test_tensor_i32((int32_t[]){0}, 1, (size_t[]){1});
        for (uint64_t t = 1; t <= 10; t++) {
            double *g = test_random(n, 100 * x + t, -1, 1);
            for (size_t i = 0; i < n; i += 3)
                g[i] = (float)(g[i] * 1e-6); /* where epsilon begins to count */
            caps_tensor tg = test_tensor(g, 1, &n);
            caps_adam adam = settings;
            adam.t = t;
            caps_ref_adam_step(w, m, v, g, 1e-3, 0.9, 0.999, 1e-8, t, n);
            test_ok(caps_adam_step(families[_i], &tw, &tm, &tv, &flag, &tg, &adam, &err));
            test_tensor_release(&tg);
            free(g);
        }
        test_expect(&tw, w, 1e-6, "w");
        test_expect(&tm, m, 1e-6, "m");
        test_expect(&tv, v, 2e-5, "v"); /* 1 - 0.999f is not 0.001; the correction has it too */
        double *moved = test_download(&tw);
        for (size_t i = 0; i < n; i++) {
            moved[i] -= start[i];
            w[i] -= start[i];
        }
        ck_assert_double_lt(test_relative_error(moved, w, n), 2e-6);
        ck_assert_int_eq(read_flag(families[_i], &flag), 0);
        free(moved);
        test_tensor_release(&tw);
        test_tensor_release(&tm);
        test_tensor_release(&tv);
        test_tensor_release(&flag);
        free(w);
        free(start);
        free(m);
        free(v);
    }
}
END_TEST

START_TEST(a_late_step_is_as_accurate)
{
    caps_error err = {0};
    const size_t n = 33;
    double *w = test_random(n, 1, -1, 1), *m = test_random(n, 2, -1, 1),
           *v = test_random(n, 3, 0, 1);
    double *g = test_random(n, 4, -1, 1);
    caps_tensor tw = test_tensor(w, 1, &n), tm = test_tensor(m, 1, &n), tv = test_tensor(v, 1, &n);
    caps_tensor tg = test_tensor(g, 1, &n),
                flag = test_tensor_i32((int32_t[]){0}, 1, (size_t[]){1});
    caps_adam adam = settings;
    adam.t = 3000;
    caps_ref_adam_step(w, m, v, g, 1e-3, 0.9, 0.999, 1e-8, 3000, n);
    test_ok(caps_adam_step(families[_i], &tw, &tm, &tv, &flag, &tg, &adam, &err));
    test_expect(&tw, w, 1e-6, "w");
    test_expect(&tm, m, 1e-6, "m");
    test_expect(&tv, v, 1e-6, "v");
    test_tensor_release(&tw);
    test_tensor_release(&tm);
    test_tensor_release(&tv);
    test_tensor_release(&tg);
    test_tensor_release(&flag);
    free(w);
    free(m);
    free(v);
    free(g);
}
END_TEST

START_TEST(sgd_takes_the_gradient_times_the_rate)
{
    static const size_t counts[] = {1, 17, 2500};
    for (size_t x = 0; x < sizeof counts / sizeof counts[0]; x++) {
        caps_error err = {0};
        const size_t n = counts[x];
        double *w = test_random(n, x, -1, 1), *g = test_random(n, x + 9, -1, 1);
        /* Parameters may have any shape, as long as the counts agree. */
        caps_tensor tw = test_tensor(w, 2, (size_t[]){n, 1}), tg = test_tensor(g, 1, &n);
        caps_tensor flag = test_tensor_i32((int32_t[]){0}, 1, (size_t[]){1});
        caps_ref_sgd_step(w, g, (double)0.3f, n);
        test_ok(caps_sgd_step(families[_i], &tw, &flag, &tg, 0.3f, &err));
        test_expect(&tw, w, 1e-7, "w");
        ck_assert_int_eq(read_flag(families[_i], &flag), 0);
        test_tensor_release(&tw);
        test_tensor_release(&tg);
        test_tensor_release(&flag);
        free(w);
        free(g);
    }
}
END_TEST

/* The moving average after some steps, and what it and the weights are once they were swapped. */
START_TEST(averages_follow_and_are_swapped)
{
    static const size_t counts[] = {1, 16, 31, 2500};
    static const float rates[] = {0.0f, 1.0f, 0.1f, 0.001f};
    for (size_t x = 0; x < sizeof counts / sizeof counts[0]; x++) {
        caps_error err = {0};
        const size_t n = counts[x];
        double *average = test_random(n, x, -1, 1), *w = test_random(n, x + 5, -1, 1);
        caps_tensor ta = test_tensor(average, 1, &n), tw = test_tensor(w, 2, (size_t[]){n, 1});
        for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
            caps_ref_average_step(average, w, (double)rates[r], n);
            test_ok(caps_average_step(families[_i], &ta, &tw, rates[r], &err));
            test_expect(&ta, average, 1e-7, "average");
            for (size_t i = 0; i < n; i++)
                w[i] = (float)(w[i] + 0.5);
            test_tensor_release(&tw);
            tw = test_tensor(w, 2, (size_t[]){n, 1});
        }
        double *before = test_download(&ta);
        test_ok(caps_swap(families[_i], &ta, &tw, &err));
        test_expect(&ta, w, 0, "average");
        test_expect(&tw, before, 0, "w");
        test_ok(caps_swap(families[_i], &tw, &ta, &err));
        test_expect(&ta, before, 0, "average");
        free(before);
        test_tensor_release(&ta);
        test_tensor_release(&tw);
        free(average);
        free(w);
    }
}
END_TEST

/* One bad gradient anywhere sets the flag, for both optimizers; a good step leaves it as it is. */
START_TEST(gradients_that_are_not_finite_are_flagged)
{
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    static const size_t places[] = {0, 15, 16, 36, 37, 0};
    const size_t n = 38;
    for (size_t x = 0; x < sizeof places / sizeof places[0]; x++) {
        caps_error err = {0};
        double *g = test_random(n, x, -1, 1), *w = test_random(n, x + 7, -1, 1),
               *zero = test_zeros(n);
        caps_tensor good = test_tensor(g, 1, &n);
        g[places[x]] = bad[x % 3];
        caps_tensor tg = test_tensor(g, 1, &n), tw = test_tensor(w, 1, &n);
        caps_tensor tm = test_tensor(zero, 1, &n), tv = test_tensor(zero, 1, &n);
        caps_tensor flag = test_tensor_i32((int32_t[]){0}, 1, (size_t[]){1});
        test_ok(caps_sgd_step(families[_i], &tw, &flag, &tg, 0.1f, &err));
        ck_assert_int_eq(read_flag(families[_i], &flag), 1);
        test_ok(caps_sgd_step(families[_i], &tw, &flag, &good, 0.1f, &err));
        ck_assert_int_eq(read_flag(families[_i], &flag), 1);
        /* A fresh flag: Oclgrind takes a word for uninitialised once an atomic has written it. */
        test_tensor_release(&flag);
        flag = test_tensor_i32((int32_t[]){0}, 1, (size_t[]){1});
        test_ok(caps_adam_step(families[_i], &tw, &tm, &tv, &flag, &tg, &settings, &err));
        ck_assert_int_eq(read_flag(families[_i], &flag), 1);
        test_tensor_release(&good);
        test_tensor_release(&tg);
        test_tensor_release(&tw);
        test_tensor_release(&tm);
        test_tensor_release(&tv);
        test_tensor_release(&flag);
        free(g);
        free(w);
        free(zero);
    }
}
END_TEST

/* Largest finite gradients for sgd; for Adam the square has to be finite as well. */
START_TEST(large_gradients)
{
    caps_error err = {0};
    const size_t n = 3;
    const double zero[] = {0, 0, 0}, largest[] = {3e38, -3e38, 1}, large[] = {1e18, -1e-25, 0};
    caps_tensor tw = test_tensor(zero, 1, &n), tm = test_tensor(zero, 1, &n);
    caps_tensor tv = test_tensor(zero, 1, &n), g1 = test_tensor(largest, 1, &n);
    caps_tensor g2 = test_tensor(large, 1, &n);
    caps_tensor flag = test_tensor_i32((int32_t[]){0}, 1, (size_t[]){1});
    test_ok(caps_sgd_step(families[_i], &tw, &flag, &g1, 0.0f, &err));
    ck_assert_int_eq(read_flag(families[_i], &flag), 0);
    test_ok(caps_adam_step(families[_i], &tw, &tm, &tv, &flag, &g2, &settings, &err));
    ck_assert_int_eq(read_flag(families[_i], &flag), 0);
    double *w = test_download(&tw);
    ck_assert_double_eq_tol(w[0], -1e-3, 1e-8);  /* a first step is the rate, whatever the size */
    ck_assert_double_eq_tol(w[1], 1e-20, 1e-25); /* unless epsilon is larger */
    ck_assert(w[2] == 0);
    test_ok(caps_adam_step(families[_i], &tw, &tm, &tv, &flag, &g1, &settings, &err));
    ck_assert_int_eq(read_flag(families[_i], &flag), 1);
    free(w);
    test_tensor_release(&tw);
    test_tensor_release(&tm);
    test_tensor_release(&tv);
    test_tensor_release(&g1);
    test_tensor_release(&g2);
    test_tensor_release(&flag);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    caps_runtime *rt = families[_i];
    const size_t n = 5;
    caps_tensor w = test_tensor(NULL, 1, &n), g = test_tensor(NULL, 1, (size_t[]){4});
    caps_tensor flag = test_tensor_i32(NULL, 1, (size_t[]){1}), none = {0};
    caps_adam adam = settings;
    test_refused(caps_sgd_step(rt, &w, &flag, &g, 1, err), "sgd: g has 4 float32, need 5");
    test_refused(caps_average_step(rt, &w, &g, 0.5f, err), "average: w has 4 float32, need 5");
    test_refused(
        caps_average_step(rt, &none, &w, 0.5f, err), "average: average has 0 float32, need >= 1");
    test_refused(caps_average_step(rt, &w, &w, 1.5f, err), "average: rate is 1.5, need 0 to 1");
    test_refused(caps_average_step(rt, &w, &w, NAN, err), "average: rate is nan, need 0 to 1");
    test_refused(caps_swap(rt, &w, &g, err), "swap: b has 4 float32, need 5");
    test_refused(caps_sgd_step(rt, &none, &flag, &g, 1, err), "sgd: w has 0 float32, need >= 1");
    test_refused(
        caps_sgd_step(rt, &w, &flag, &w, NAN, err), "sgd: rate is nan, need a finite number");
    test_refused(caps_sgd_step(rt, &w, &g, &w, 1, err), "sgd: flag is float32 [4], need int32 [1]");
    test_refused(
        caps_adam_step(rt, &w, &g, &w, &flag, &w, &adam, err), "adam: m has 4 float32, need 5");
    adam.t = 0;
    test_refused(caps_adam_step(rt, &w, &w, &w, &flag, &w, &adam, err), "adam: t is 0, need >= 1");
    adam = settings;
    adam.beta2 = 1;
    test_refused(caps_adam_step(rt, &w, &w, &w, &flag, &w, &adam, err),
        "adam: beta1, beta2 are 0.9, 1, need 0 <= beta < 1");
    adam = settings;
    adam.epsilon = 0;
    test_refused(
        caps_adam_step(rt, &w, &w, &w, &flag, &w, &adam, err), "adam: epsilon is 0, need > 0");
    test_tensor_release(&w);
    test_tensor_release(&g);
    test_tensor_release(&flag);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("optimizer");
    TCase *tc = families_case(s, "optimizer");
    families_add(tc, ten_adam_steps_agree_with_double_precision);
    families_add(tc, a_late_step_is_as_accurate);
    families_add(tc, sgd_takes_the_gradient_times_the_rate);
    families_add(tc, averages_follow_and_are_swapped);
    families_add(tc, gradients_that_are_not_finite_are_flagged);
    families_add(tc, large_gradients);
    families_add(tc, wrong_arguments_are_refused);
    return s;
}
