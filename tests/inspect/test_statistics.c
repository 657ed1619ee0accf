/* test_statistics.c: intervals of shares, means and standard deviations. */
#include <math.h>

#include <capscl/inspect.h>

#include "support.h"

/* Newcombe (1998), table I, gives these intervals of Wilson's method at 95 %. */
START_TEST(published_intervals)
{
    static const struct {
        uint64_t errors, n;
        double low, high;
    } rows[] = {{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611},
        {1, 29, 0.0061, 0.1718}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double low, high;
        caps_wilson(rows[i].errors, rows[i].n, CAPS_Z95, &low, &high);
        ck_assert_double_eq_tol(low, rows[i].low, 5e-5);
        ck_assert_double_eq_tol(high, rows[i].high, 5e-5);
    }
}
END_TEST

/* Both ends solve (share - p)^2 = z^2 p (1 - p) / n, the share lies between them, and errors and
 * successes change places. */
START_TEST(intervals_solve_their_equation)
{
    static const uint64_t ns[] = {1, 7, 100, 10000, 4000000000u};
    for (size_t i = 0; i < sizeof ns / sizeof ns[0]; i++)
        for (uint64_t part = 0; part <= 4; part++) {
            const uint64_t n = ns[i], errors = n / 4 * part;
            const double share = (double)errors / (double)n, zs[] = {1, CAPS_Z95, 2.5758};
            for (size_t k = 0; k < 3; k++) {
                double ends[2], other[2];
                caps_wilson(errors, n, zs[k], &ends[0], &ends[1]);
                caps_wilson(n - errors, n, zs[k], &other[0], &other[1]);
                ck_assert(ends[0] >= 0 && ends[0] <= share && share <= ends[1] && ends[1] <= 1);
                for (size_t e = 0; e < 2; e++) {
                    const double p = ends[e], left = (share - p) * (share - p);
                    ck_assert_double_eq_tol(left, zs[k] * zs[k] * p * (1 - p) / (double)n, 1e-14);
                    ck_assert_double_eq_tol(p, 1 - other[1 - e], 1e-14);
                }
            }
        }
}
END_TEST

START_TEST(means_and_deviations)
{
    double mean, sd;
    caps_mean_sd((const double[]){2, 4, 4, 4, 5, 5, 7, 9}, 8, &mean, &sd);
    ck_assert_double_eq_tol(mean, 5, 1e-15);
    ck_assert_double_eq_tol(sd, sqrt(32.0 / 7), 1e-15);
    caps_mean_sd((const double[]){3, 3, 3}, 3, &mean, &sd);
    ck_assert_double_eq(mean, 3);
    ck_assert_double_eq(sd, 0);
    /* Far from zero the digits must not cancel. */
    caps_mean_sd((const double[]){1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16}, 4, &mean, &sd);
    ck_assert_double_eq_tol(mean, 1e9 + 10, 1e-6);
    ck_assert_double_eq_tol(sd, sqrt(30), 1e-9);
    caps_mean_sd((const double[]){0.25}, 1, &mean, &sd);
    ck_assert_double_eq(mean, 0.25);
    ck_assert(isnan(sd));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("statistics");
    TCase *all = tcase_create("statistics");
    tcase_add_test(all, published_intervals);
    tcase_add_test(all, intervals_solve_their_equation);
    tcase_add_test(all, means_and_deviations);
    suite_add_tcase(s, all);
    return s;
}
