/* Gradients as bfloat16: rounding against double, and what it leaves out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bf16.h"
#include "bf16_support.h"
#include "support.h"

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

START_TEST(rounding_is_to_the_nearest_even)
{
    uint64_t state = 1;
    enum { N = 1000003 };
    float *g = malloc(N * sizeof *g), *left = calloc(N, sizeof *left);
    uint16_t *sent = malloc(N * sizeof *sent);
    for (size_t i = 0; i < N; i++) {
        uint32_t bits = next_random(&state);
        if (i % 4 == 0)
            bits = (bits & 0xffff0000) | 0x8000; /* a tie */
        if ((bits & 0x7f800000) == 0x7f800000)
            bits ^= 0x40000000; /* a number */
        g[i] = test_bf16_bits(bits);
    }
    caps_bf16_round(sent, left, g, N);
    for (size_t i = 0; i < N; i++) {
        ck_assert_msg(sent[i] == test_bf16_nearest((double)g[i]), "%a: %#x, need %#x", (double)g[i],
            sent[i], test_bf16_nearest((double)g[i]));
        if (isfinite(test_bf16_value(sent[i])))
            ck_assert((double)left[i] == (double)g[i] - (double)test_bf16_value(sent[i]));
    }
    free(g);
    free(left);
    free(sent);
}
END_TEST

/* At every length vectors have another rest; nothing past it may be touched. */
START_TEST(lengths_are_kept)
{
    for (size_t n = 0; n < 70; n++) {
        float g[72], left[72], to[72], sum[72];
        uint16_t sent[72];
        for (size_t i = 0; i < 72; i++) {
            g[i] = (float)i / 7 - 3;
            left[i] = 0.001f * (float)i;
            to[i] = sum[i] = 5;
            sent[i] = 0x1234;
        }
        caps_bf16_round(sent, left, g, n);
        caps_bf16_read(to, sent, n);
        caps_bf16_add(sum, sent, n);
        for (size_t i = 0; i < 72; i++) {
            const float whole = g[i] + 0.001f * (float)i;
            ck_assert_uint_eq(sent[i], i < n ? test_bf16_nearest((double)whole) : 0x1234);
            ck_assert(left[i] == (i < n ? whole - test_bf16_value(sent[i]) : 0.001f * (float)i));
            ck_assert(to[i] == (i < n ? test_bf16_value(sent[i]) : 5));
            ck_assert(sum[i] == (i < n ? 5 + test_bf16_value(sent[i]) : 5));
        }
    }
}
END_TEST

/* Gradients of 20 bits in fixed point: every sum is exact in float, and so is the books' balance. */
START_TEST(nothing_is_lost_over_many_steps)
{
    enum { N = 1001, STEPS = 2000 };
    static float g[N], left[N];
    static double given[N], went[N];
    static uint16_t sent[N];
    uint64_t state = 7;
    for (int step = 0; step < STEPS; step++) {
        for (size_t i = 0; i < N; i++) {
            g[i] = ldexpf((float)((int32_t)(next_random(&state) >> 12) - (1 << 19)), -20);
            given[i] += (double)g[i];
        }
        caps_bf16_round(sent, left, g, N);
        for (size_t i = 0; i < N; i++)
            went[i] += (double)test_bf16_value(sent[i]);
    }
    for (size_t i = 0; i < N; i++) {
        ck_assert_msg(given[i] == went[i] + (double)left[i], "%zu: %.17g, %.17g + %.17g", i,
            given[i], went[i], (double)left[i]);
        ck_assert(fabs((double)left[i]) <= 0x1p-9); /* half a unit of a bfloat16 below 1 */
    }
}
END_TEST

/* A gradient too small to change what is sent arrives in time. Alone it would never. */
START_TEST(small_gradients_arrive)
{
    float g = 1 + 0x1p-12f, left = 0;
    double sum = 0;
    uint16_t sent, alone;
    for (int step = 0; step < 4096; step++) {
        float none = 0;
        caps_bf16_round(&alone, &none, &g, 1);
        ck_assert(test_bf16_value(alone) == 1);
        caps_bf16_round(&sent, &left, &g, 1);
        sum += (double)test_bf16_value(sent);
    }
    ck_assert_msg(sum + (double)left == 4097, "%.17g + %.17g", sum, (double)left);
}
END_TEST

START_TEST(what_is_not_finite_passes)
{
    const uint32_t odd[] = {0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0xff80ffff,
        0x7fffffff, 0x7f7fffff, 0xff7fffff, 0x00000000, 0x80000000, 0x00000001, 0x807fffff};
    enum { N = sizeof odd / sizeof odd[0] };
    float g[N], left[N] = {0}, to[N], sum[N];
    uint16_t sent[N];
    for (size_t i = 0; i < N; i++) {
        g[i] = test_bf16_bits(odd[i]);
        sum[i] = 1;
    }
    caps_bf16_round(sent, left, g, N);
    caps_bf16_read(to, sent, N);
    caps_bf16_add(sum, sent, N);
    for (size_t i = 0; i < N; i++) {
        const bool large = fabsf(g[i]) > 3.39e38f && !isnan(g[i]);
        ck_assert_msg(isnan(g[i]) == isnan(to[i]) && isnan(g[i]) == isnan(sum[i]), "%zu", i);
        ck_assert_msg(
            large == !!isinf(to[i]) && (!large || signbit(to[i]) == signbit(g[i])), "%zu", i);
        ck_assert_msg(isfinite(left[i]) && (isfinite(to[i]) || left[i] == 0), "%zu", i);
    }
    /* Nor does what was left before make it a number. */
    float kept = 0.25f, nan = NAN;
    caps_bf16_round(sent, &kept, &nan, 1);
    ck_assert(isnan(test_bf16_value(sent[0])) && kept == 0);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("bf16");
    TCase *tc = tcase_create("bf16");
    tcase_add_test(tc, rounding_is_to_the_nearest_even);
    tcase_add_test(tc, lengths_are_kept);
    tcase_add_test(tc, nothing_is_lost_over_many_steps);
    tcase_add_test(tc, small_gradients_arrive);
    tcase_add_test(tc, what_is_not_finite_passes);
    suite_add_tcase(s, tc);
    return s;
}
