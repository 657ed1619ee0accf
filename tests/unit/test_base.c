/* test_base.c: errors, generator, JSON helpers. */
#include "support.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fail.h"
#include "file.h"
#include "json.h"
#include "options.h"
#include "rng.h"

/* ---- errors --------------------------------------------------------------------------------- */

START_TEST(status_names)
{
#define EXPECT_NAMED(name, text)                                                                   \
    ck_assert_str_eq(caps_status_name(name), #name);                                               \
    ck_assert_str_eq(caps_status_text(name), text);
    CAPS_STATUS_TABLE(EXPECT_NAMED)
    ck_assert_ptr_nonnull(caps_status_name((caps_status)999));
    ck_assert_ptr_nonnull(caps_status_text((caps_status)-5));
    ck_assert_str_eq(caps_cl_error_name(-5), "CL_OUT_OF_RESOURCES");
    ck_assert_str_eq(caps_cl_error_name(-1001), "CL_PLATFORM_NOT_FOUND_KHR");
    ck_assert_str_eq(caps_cl_error_name(-4242), "CL_ERROR");
}
END_TEST

START_TEST(fail_fills_the_report)
{
    caps_error err = {.cl_code = -3, .build_log = "old"};
    ck_assert_int_eq(
        caps_fail(&err, CAPS_ERR_SPEC, "routing: iterations is %d, need >= 1", 0), CAPS_ERR_SPEC);
    ck_assert_int_eq(err.status, CAPS_ERR_SPEC);
    ck_assert_str_eq(err.message, "routing: iterations is 0, need >= 1");
    ck_assert_int_eq(err.cl_code, 0);
    ck_assert_str_eq(err.build_log, "");
    ck_assert_int_eq(caps_fail(NULL, CAPS_ERR_IO, "x"), CAPS_ERR_IO);
    ck_assert_int_eq(caps_fail_cl(NULL, -4, "x"), CAPS_ERR_DEVICE_MEMORY);
    ck_assert_int_eq(caps_fail_prefix(NULL, CAPS_ERR_IO, "x"), CAPS_ERR_IO);
    ck_assert_int_eq(caps_fail_errno(NULL, CAPS_ERR_IO, "x"), CAPS_ERR_IO);
}
END_TEST

START_TEST(fail_cl_names_the_code)
{
    caps_error err = {0};
    ck_assert_int_eq(caps_fail_cl(&err, -5, "launch %s", "squash"), CAPS_ERR_OPENCL);
    ck_assert_str_eq(err.message, "launch squash: CL_OUT_OF_RESOURCES (-5)");
    ck_assert_int_eq(err.cl_code, -5);
    const int memory_codes[] = {-4, -6, -61};
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(caps_fail_cl(&err, memory_codes[i], "buffer"), CAPS_ERR_DEVICE_MEMORY);
        ck_assert_int_eq(err.status, CAPS_ERR_DEVICE_MEMORY);
    }
}
END_TEST

START_TEST(fail_prefix_keeps_the_rest)
{
    caps_error err = {0};
    caps_fail_cl(&err, -54, "launch");
    strcpy(err.build_log, "log");
    ck_assert_int_eq(caps_fail_prefix(&err, CAPS_ERR_OPENCL, "layer %d", 3), CAPS_ERR_OPENCL);
    ck_assert_str_eq(err.message, "layer 3: launch: CL_INVALID_WORK_GROUP_SIZE (-54)");
    ck_assert_int_eq(err.cl_code, -54);
    ck_assert_str_eq(err.build_log, "log");
    /* An argument may be the old message itself. */
    caps_fail(&err, CAPS_ERR_IO, "again: %s", err.message);
    ck_assert_str_eq(err.message, "again: layer 3: launch: CL_INVALID_WORK_GROUP_SIZE (-54)");
}
END_TEST

START_TEST(messages_are_one_line_and_keep_both_ends)
{
    caps_error err = {0};
    caps_fail(&err, CAPS_ERR_IO, "a\nb\tc\x01 d\x7f: need");
    ck_assert_str_eq(err.message, "a\\x0ab\\x09c\\x01 d\\x7f: need");

    /* Two-byte characters: a cut must not leave half of one. Each length shifts the cut. */
    for (size_t n = 700; n < 900; n++) {
        char *long_name = malloc(2 * n + 1);
        for (size_t i = 0; i < n; i++)
            memcpy(long_name + 2 * i, "\xc3\xa9", 2);
        long_name[2 * n] = '\0';
        caps_fail(&err, CAPS_ERR_IO, "%.*s%s: cannot write", (int)(n % 2), "x", long_name);
        size_t length = strlen(err.message);
        ck_assert_uint_lt(length, CAPS_ERROR_MESSAGE_BYTES);
        ck_assert_uint_gt(length, CAPS_ERROR_MESSAGE_BYTES - 8);
        ck_assert_str_eq(err.message + length - strlen(": cannot write"), ": cannot write");
        size_t leads = 0, trails = 0;
        for (size_t i = 0; i < length; i++) {
            leads += (unsigned char)err.message[i] == 0xc3;
            trails += (unsigned char)err.message[i] == 0xa9;
        }
        ck_assert_uint_eq(leads, trails);
        ck_assert_ptr_nonnull(strstr(err.message, "\xa9 ... \xc3"));
        free(long_name);
    }
}
END_TEST

START_TEST(fail_errno_gives_the_reason)
{
    caps_error err = {0};
    errno = ENOSPC;
    ck_assert_int_eq(caps_fail_errno(&err, CAPS_ERR_IO, "%s: cannot write", "f"), CAPS_ERR_IO);
    ck_assert_str_eq(err.message, "f: cannot write: No space left on device");
}
END_TEST

/* ---- generator ------------------------------------------------------------------------------ */

START_TEST(philox_known_answers)
{
    /* From kat_vectors of the Random123 distribution. */
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff},
            {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
            {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        uint32_t out[4];
        caps_philox(out, vectors[i].counter, vectors[i].key);
        for (int w = 0; w < 4; w++)
            ck_assert_uint_eq(out[w], vectors[i].out[w]);
    }
    /* The layout that rng.h promises: seed, stream and counters of the second half of pi's digits.
     */
    uint32_t out[4];
    caps_rng_words(
        out, 0x299f31d0a4093822u, (caps_rng_stream)0x243f6a88, 0x85a308d3, 0x0370734413198a2eu);
    for (int w = 0; w < 4; w++)
        ck_assert_uint_eq(out[w], vectors[2].out[w]);
}
END_TEST

START_TEST(every_argument_counts)
{
    uint32_t base[4], other[4];
    caps_rng_words(base, 1, CAPS_RNG_TEST, 2, 3);
    caps_rng_words(other, 1, CAPS_RNG_TEST, 2, 3);
    ck_assert_mem_eq(base, other, sizeof base);
    for (int bit = 0; bit < 64; bit++) {
        caps_rng_words(other, 1 ^ 1ull << bit, CAPS_RNG_TEST, 2, 3);
        ck_assert_mem_ne(base, other, sizeof base);
        caps_rng_words(other, 1, CAPS_RNG_TEST, 2, 3 ^ 1ull << bit);
        ck_assert_mem_ne(base, other, sizeof base);
    }
    for (int bit = 0; bit < 32; bit++) {
        caps_rng_words(other, 1, CAPS_RNG_TEST, 2 ^ 1u << bit, 3);
        ck_assert_mem_ne(base, other, sizeof base);
    }
    caps_rng_words(other, 1, CAPS_RNG_SHIFT, 2, 3);
    ck_assert_mem_ne(base, other, sizeof base);
}
END_TEST

static double chi_square(const size_t *counts, size_t cells, size_t draws)
{
    double expected = (double)draws / (double)cells, sum = 0;
    for (size_t i = 0; i < cells; i++)
        sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
    return sum;
}

/* Limits: the 0.999 quantiles of chi-square with 9 and 2 degrees of freedom. */
START_TEST(below_is_unbiased)
{
    const size_t draws = 100000;
    size_t counts[10] = {0};
    for (size_t i = 0; i < draws; i++) {
        uint64_t x = caps_rng_below(10, 7, CAPS_RNG_TEST, 0, i);
        ck_assert_uint_lt(x, 10);
        counts[x]++;
    }
    ck_assert_double_lt(chi_square(counts, 10, draws), 27.88);

    /* At n = 3 * 2^62 a bare remainder would fall into the lowest third twice as often. */
    const uint64_t n = 3ull << 62;
    size_t thirds[3] = {0};
    for (size_t i = 0; i < draws; i++) {
        uint64_t x = caps_rng_below(n, 7, CAPS_RNG_TEST, 1, i);
        ck_assert_uint_lt(x, n);
        thirds[x >> 62]++;
    }
    ck_assert_double_lt(chi_square(thirds, 3, draws), 13.82);

    /* One value in two is refused here, so that further attempts occur. */
    const uint64_t half = (1ull << 63) + 1;
    size_t halves[2] = {0};
    for (size_t i = 0; i < draws; i++)
        halves[caps_rng_below(half, 7, CAPS_RNG_TEST, 2, i) >> 62]++;
    ck_assert_double_lt(chi_square(halves, 2, draws), 10.83);
    ck_assert_uint_eq(caps_rng_below(1, 7, CAPS_RNG_TEST, 3, 4), 0);
}
END_TEST

START_TEST(shuffle_is_a_permutation)
{
    enum { N = 1000 };
    uint32_t order[N], again[N], other[N];
    unsigned char seen[N] = {0};
    caps_rng_shuffle(order, N, 5, 0);
    for (int i = 0; i < N; i++) {
        ck_assert_uint_lt(order[i], N);
        ck_assert_int_eq(seen[order[i]]++, 0);
    }
    caps_rng_shuffle(again, N, 5, 0);
    ck_assert_mem_eq(order, again, sizeof order);
    caps_rng_shuffle(other, N, 5, 1);
    ck_assert_mem_ne(order, other, sizeof order);
    caps_rng_shuffle(other, N, 6, 0);
    ck_assert_mem_ne(order, other, sizeof order);

    /* Of three elements all six orders, equally often: 20.52 is the 0.999 quantile at five. */
    size_t counts[6] = {0};
    for (uint32_t e = 0; e < 6000; e++) {
        caps_rng_shuffle(order, 3, 9, e);
        counts[order[0] * 2 + (order[1] > order[2])]++;
    }
    ck_assert_double_lt(chi_square(counts, 6, 6000), 20.52);
    caps_rng_shuffle(order, 1, 1, 1);
    ck_assert_uint_eq(order[0], 0);
    caps_rng_shuffle(order, 0, 1, 1); /* nothing to do */
}
END_TEST

/* Limits: four standard errors of each moment. */
START_TEST(normal_and_uniform_moments)
{
    const int n = 200000;
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, tail = 0, u1 = 0, u2 = 0;
    for (int i = 0; i < n; i++) {
        double x = caps_rng_normal(3, CAPS_RNG_TEST, 0, (uint64_t)i);
        ck_assert(isfinite(x));
        m1 += x;
        m2 += x * x;
        m3 += x * x * x;
        m4 += x * x * x * x;
        tail += fabs(x) > 1.959964;
        double u = caps_rng_uniform(3, CAPS_RNG_TEST, 1, (uint64_t)i);
        ck_assert(u >= 0 && u < 1);
        u1 += u;
        u2 += u * u;
    }
    ck_assert_double_lt(fabs(m1 / n), 4 / sqrt(n));
    ck_assert_double_lt(fabs(m2 / n - 1), 4 * sqrt(2.0 / n));
    ck_assert_double_lt(fabs(m3 / n), 4 * sqrt(15.0 / n));
    ck_assert_double_lt(fabs(m4 / n - 3), 4 * sqrt(96.0 / n));
    ck_assert_double_lt(fabs(tail / n - 0.05), 4 * sqrt(0.05 * 0.95 / n));
    ck_assert_double_lt(fabs(u1 / n - 0.5), 4 * sqrt(1.0 / 12 / n));
    ck_assert_double_lt(fabs(u2 / n - 1.0 / 3), 4 * sqrt(4.0 / 45 / n));
}
END_TEST

START_TEST(clock_goes_forward)
{
    uint64_t before = caps_clock_ns();
    usleep(2000);
    uint64_t after = caps_clock_ns();
    ck_assert_uint_ge(after - before, 2000000);
    ck_assert_double_eq_tol(caps_clock_seconds(), (double)caps_clock_ns() * 1e-9, 1.0);
}
END_TEST

/* ---- JSON ----------------------------------------------------------------------------------- */

START_TEST(json_parse)
{
    caps_error err = {0};
    json_t *value = NULL;
    const char *text = "{\"a\": [1, 2.5, null]} trailing";
    test_ok(caps_json_parse(&value, text, 21, "spec", CAPS_ERR_SPEC, &err));
    ck_assert_uint_eq(json_array_size(json_object_get(value, "a")), 3);
    json_decref(value);

    static const char *const bad[] = {"", "{", "{\"a\":1,\n\"a\":2}", "nothing", "[1,]", "\xff\xfe",
        "{\"a\": 1e999}", "[\"\n\"]", "{\"a\":1} x", "{\"a\\u0000b\": 1}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (caps_error){0};
        ck_assert_int_eq(
            caps_json_parse(&value, bad[i], strlen(bad[i]), "x.json", CAPS_ERR_SPEC, &err),
            CAPS_ERR_SPEC);
        ck_assert_ptr_null(value);
        ck_assert_msg(strncmp(err.message, "x.json: line ", 13) == 0, "%s", err.message);
        ck_assert_ptr_null(strchr(err.message, '\n'));
    }
    ck_assert_int_eq(
        caps_json_parse(&value, "[1,\n2,\n]", 8, "x", CAPS_ERR_FORMAT, &err), CAPS_ERR_FORMAT);
    ck_assert_msg(strncmp(err.message, "x: line 3: ", 11) == 0, "%s", err.message);
    /* Deep nesting is refused, not followed down the stack. */
    char *deep = malloc(1000001);
    memset(deep, '[', 1000000);
    deep[1000000] = '\0';
    ck_assert_int_eq(
        caps_json_parse(&value, deep, 1000000, "x", CAPS_ERR_FORMAT, &err), CAPS_ERR_FORMAT);
    free(deep);
}
END_TEST

START_TEST(json_numbers_come_back)
{
    for (uint64_t i = 0; i < 2000; i++) {
        uint32_t w[4];
        caps_rng_words(w, 1, CAPS_RNG_TEST, 0, i);
        float f;
        double d;
        memcpy(&f, w, sizeof f);
        memcpy(&d, w + 2, sizeof d);
        if (!isfinite(f) || !isfinite(d))
            continue;
        json_t *single = caps_json_float(f), *real = caps_json_double(d);
        char *single_text = caps_json_format(single, 0, 9), *text = caps_json_format(real, 0, 17);
        ck_assert_float_eq(strtof(single_text, NULL), f);
        ck_assert_double_eq(strtod(text, NULL), d);
        free(text);
        free(single_text);
        json_decref(real);
        json_decref(single);
    }
    json_t *value = json_pack("{s:o, s:o, s:o}", "z", caps_json_float(NAN), "a",
        caps_json_double(-INFINITY), "m", caps_json_float(0.5f));
    char *compact = caps_json_format(value, 0, 9), *wide = caps_json_format(value, 2, 9);
    ck_assert_str_eq(compact, "{\"z\":null,\"a\":null,\"m\":0.5}");
    ck_assert_str_eq(wide, "{\n  \"z\": null,\n  \"a\": null,\n  \"m\": 0.5\n}");
    free(wide);
    free(compact);
    json_decref(value);
}
END_TEST

/* ---- options -------------------------------------------------------------------------------- */

typedef struct old_options {
    size_t size;
    int a;
} old_options;

typedef struct new_options {
    size_t size;
    int a;
    double later;
} new_options;

START_TEST(options_of_an_older_caller_are_read)
{
    caps_error err = {0};
    new_options now;
    const old_options old = {CAPS_OPTIONS(old_options), .a = 7};
    test_ok(caps_options_read(&now, sizeof now, &old, old.size, "options", &err));
    ck_assert_uint_eq(now.size, sizeof now);
    ck_assert_int_eq(now.a, 7);
    ck_assert(now.later == 0);
    const new_options full = {CAPS_OPTIONS(new_options), .a = 8, .later = 0.5};
    test_ok(caps_options_read(&now, sizeof now, &full, full.size, "options", &err));
    ck_assert(now.a == 8 && now.later == 0.5);
    test_ok(caps_options_read(&now, sizeof now, NULL, 0, "options", &err));
    ck_assert(now.size == sizeof now && now.a == 0 && now.later == 0);
}
END_TEST

START_TEST(options_of_no_known_size_are_refused)
{
    caps_error err = {0};
    new_options now;
    const new_options full = {.a = 8};
    const size_t wrong[] = {0, sizeof(size_t) - 1, sizeof(new_options) + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *message = caps_format("my_options: size is %zu, need %zu to %zu: "
                                    "CAPS_OPTIONS(my_options)",
            wrong[i], sizeof(size_t), sizeof now);
        ck_assert_int_eq(caps_options_read(&now, sizeof now, &full, wrong[i], "my_options", &err),
            CAPS_ERR_ARGUMENT);
        ck_assert_str_eq(err.message, message);
        ck_assert_int_eq(now.a, 0);
        free(message);
    }
}
END_TEST

/* What the system reports need not be UTF-8; a document must be. */
START_TEST(json_text_of_any_bytes)
{
    static const char *const texts[][2] = {{"plain", "plain"}, {"", ""},
        {"gr\303\274n", "gr\303\274n"}, {"\377device\200", "?device?"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        json_t *text = caps_json_text(texts[i][0]);
        ck_assert_str_eq(json_string_value(text), texts[i][1]);
        json_decref(text);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("base");
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, status_names);
    tcase_add_test(errors, fail_fills_the_report);
    tcase_add_test(errors, fail_cl_names_the_code);
    tcase_add_test(errors, fail_prefix_keeps_the_rest);
    tcase_add_test(errors, messages_are_one_line_and_keep_both_ends);
    tcase_add_test(errors, fail_errno_gives_the_reason);
    tcase_add_test(errors, options_of_an_older_caller_are_read);
    tcase_add_test(errors, options_of_no_known_size_are_refused);
    suite_add_tcase(s, errors);
    TCase *rng = tcase_create("rng");
    tcase_set_timeout(rng, 60);
    tcase_add_test(rng, philox_known_answers);
    tcase_add_test(rng, every_argument_counts);
    tcase_add_test(rng, below_is_unbiased);
    tcase_add_test(rng, shuffle_is_a_permutation);
    tcase_add_test(rng, normal_and_uniform_moments);
    tcase_add_test(rng, clock_goes_forward);
    suite_add_tcase(s, rng);
    TCase *json = tcase_create("json");
    tcase_add_test(json, json_parse);
    tcase_add_test(json, json_numbers_come_back);
    tcase_add_test(json, json_text_of_any_bytes);
    suite_add_tcase(s, json);
    return s;
}
