/* test_tuning.c: the cache of measured choices, and the list of choices in force. */
#include <math.h>
#include <stdio.h>

#include "device_support.h"
#include "file.h"
#include "choice.h"

static caps_runtime *runtime_at(const char *cache)
{
    const caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options), .cache_dir = cache};
    return open_runtime(&options);
}

static char *path_of(const char *cache)
{
    caps_runtime *rt = runtime_at(cache);
    char *path = caps_tuning_path(rt);
    caps_runtime_free(rt);
    ck_assert_ptr_nonnull(path);
    return path;
}

/* Two choices, saved by a runtime that is gone. */
static void store(const char *cache)
{
    caps_error err = {0};
    caps_runtime *rt = runtime_at(cache);
    test_ok(caps_tuning_set(rt, "gemm 1x2x3 nn", "direct", 0.25, &err));
    test_ok(caps_tuning_set(rt, "gemm 4x5x6 nt x7", "packed", 0.5, &err));
    test_ok(caps_tuning_set(rt, "gemm 4x5x6 nt x7", "clblast", 0.125, &err));
    ck_assert_str_eq(caps_tuning_get(rt, "gemm 4x5x6 nt x7"), "clblast");
    test_ok(caps_tuning_save(rt, &err));
    caps_runtime_free(rt);
}

START_TEST(round_trip)
{
    char *cache = test_directory();
    store(cache);
    caps_error err = {0};
    caps_runtime *rt = runtime_at(cache);
    ck_assert_str_eq(caps_tuning_get(rt, "gemm 1x2x3 nn"), "direct");
    ck_assert_str_eq(caps_tuning_get(rt, "gemm 4x5x6 nt x7"), "clblast");
    ck_assert_ptr_null(caps_tuning_get(rt, "gemm 1x2x3 nt"));
    ck_assert_ptr_null(caps_runtime_take_warning(rt));
    /* What is there stays when more is added. */
    test_ok(caps_tuning_set(rt, "gemm 9x9x9 tn", "direct", 1, &err));
    test_ok(caps_tuning_save(rt, &err));
    caps_runtime_free(rt);
    rt = runtime_at(cache);
    ck_assert_str_eq(caps_tuning_get(rt, "gemm 1x2x3 nn"), "direct");
    ck_assert_str_eq(caps_tuning_get(rt, "gemm 9x9x9 tn"), "direct");
    caps_runtime_free(rt);
    free(cache);
}
END_TEST

/* A run that goes on chooses as it did when it began. */
START_TEST(runs_keep_their_choices)
{
    static const char *const bad[] = {
        "", "[]", "5", "{\"a\": 1}", "{\"a\": \"\"}", "{\"a\": null}", "{\"a\"}"};
    char *cache = test_directory(), *empty = test_directory();
    store(cache);
    caps_error err = {0};
    caps_runtime *tuned = runtime_at(cache), *untuned = runtime_at(empty);
    char *then = caps_tuning_format(tuned), *nothing = caps_tuning_format(untuned);
    ck_assert_str_eq(nothing, "{}");
    test_ok(caps_tuning_restore(untuned, then, &err));
    ck_assert_str_eq(caps_tuning_get(untuned, "gemm 4x5x6 nt x7"), "clblast");
    test_ok(caps_tuning_restore(tuned, nothing, &err));
    ck_assert_ptr_null(caps_tuning_get(tuned, "gemm 4x5x6 nt x7"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_int_eq(caps_tuning_restore(untuned, bad[i], &err), CAPS_ERR_FORMAT);
    caps_runtime_free(tuned);
    caps_runtime_free(untuned);
    free(then);
    free(nothing);
    free(cache);
    free(empty);
}
END_TEST

/* A runtime answers from what it read first, whatever becomes of the file. */
START_TEST(answers_do_not_change)
{
    char *cache = test_directory();
    caps_runtime *rt = runtime_at(cache);
    ck_assert_ptr_null(caps_tuning_get(rt, "gemm 1x2x3 nn"));
    store(cache);
    ck_assert_ptr_null(caps_tuning_get(rt, "gemm 1x2x3 nn"));
    caps_runtime_free(rt);
    free(cache);
}
END_TEST

/* The text with the first `from` in it replaced by `to`, written back. */
static void change(const char *path, const char *from, const char *to)
{
    caps_error err = {0};
    unsigned char *text = NULL;
    size_t n = 0;
    test_ok(caps_file_read(&text, &n, path, 1 << 20, &err));
    char *at = strstr((char *)text, from);
    ck_assert_msg(at != NULL, "%s in %s", from, (char *)text);
    char *changed = caps_format("%.*s%s%s", (int)(at - (char *)text), text, to, at + strlen(from));
    ck_assert_ptr_nonnull(changed);
    test_ok(caps_file_write(path, changed, strlen(changed), &err));
    free(changed);
    free(text);
}

START_TEST(bad_files_are_ignored)
{
    static const struct {
        const char *from, *to, *why; /* from NULL: the whole file */
    } cases[] = {
        {NULL, "", "no JSON"},
        {NULL, "{\"capscl_tuning\": 1", "no JSON"},
        {NULL, "\x01\x02\xff", "no JSON"},
        {NULL, "[]", "no file of measured choices"},
        {NULL, "{\"capscl_tuning\": 1}", "no file of measured choices"},
        {"\"capscl_tuning\": 1", "\"capscl_tuning\": 2", "no file of measured choices"},
        {"\"choices\": {", "\"choices\": 3, \"x\": {", "no file of measured choices"},
        {"\"device\": \"", "\"device\": \"another ", "another device or driver"},
        {"\"kernels\": \"", "\"kernels\": \"0", "other kernels"},
        {"\"variant\": \"direct\"", "\"variant\": \"\"", "no variant"},
        {"\"variant\": \"direct\"", "\"variant\": 7", "no variant"},
        {"\"variant\": \"direct\"",
            "\"variant\": \"a name that is much longer than any variant of ours has, or will\"",
            "no variant"},
    };
    caps_error err = {0};
    char *cache = test_directory(), *path = path_of(cache);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].from) {
            store(cache);
            change(path, cases[i].from, cases[i].to);
        } else {
            test_ok(caps_file_write(path, cases[i].to, strlen(cases[i].to), &err));
        }
        caps_runtime *rt = runtime_at(cache);
        ck_assert_msg(!caps_tuning_get(rt, "gemm 4x5x6 nt x7"), "case %zu", i);
        ck_assert_ptr_null(caps_tuning_get(rt, "gemm 1x2x3 nn"));
        const char *warning = caps_runtime_take_warning(rt);
        ck_assert_msg(warning && strstr(warning, cases[i].why) && strstr(warning, path) &&
                          !strchr(warning, '\n'),
            "case %zu: %s", i, warning ? warning : "no warning");
        ck_assert_ptr_null(caps_runtime_take_warning(rt)); /* once */
        /* The next measurement makes it good. */
        test_ok(caps_tuning_set(rt, "gemm 1x2x3 nn", "direct", 1, &err));
        test_ok(caps_tuning_save(rt, &err));
        caps_runtime_free(rt);
        rt = runtime_at(cache);
        ck_assert_str_eq(caps_tuning_get(rt, "gemm 1x2x3 nn"), "direct");
        ck_assert_ptr_null(caps_runtime_take_warning(rt));
        caps_runtime_free(rt);
        remove(path);
    }
    free(path);
    free(cache);
}
END_TEST

START_TEST(unwritable_cache)
{
    caps_error err = {0};
    char *directory = test_directory(), *file = caps_path_join(directory, "file");
    test_ok(caps_file_write(file, "x", 1, &err));
    char *cache = caps_path_join(file, "below");
    caps_runtime *rt = runtime_at(cache);
    ck_assert_ptr_null(caps_tuning_get(rt, "gemm 1x2x3 nn"));
    test_ok(caps_tuning_set(rt, "gemm 1x2x3 nn", "direct", 1, &err));
    ck_assert_str_eq(caps_tuning_get(rt, "gemm 1x2x3 nn"), "direct");
    ck_assert_int_eq(caps_tuning_save(rt, &err), CAPS_ERR_IO);
    caps_runtime_free(rt);
    free(cache);
    free(file);
    free(directory);
}
END_TEST

START_TEST(choices_are_recorded)
{
    char *cache = test_directory();
    caps_runtime *rt = runtime_at(cache);
    const caps_choice *list = NULL;
    int problem = 7;
    ck_assert_uint_eq(caps_tuning_choices(rt, &list), 0);
    caps_choice_record(rt, "a thing", "one", false, false, &problem, sizeof problem);
    problem = 8;                                                    /* the record has a copy */
    caps_choice_record(rt, "a thing", "one", true, false, NULL, 0); /* the first counts */
    char key[32];
    for (int i = 0; i < 99; i++) {
        snprintf(key, sizeof key, "thing %d", i);
        caps_choice_record(rt, key, "three", true, false, NULL, 0);
    }
    caps_choice_record(rt, "a thing", "two", false, true, NULL, 0); /* both are in force */
    ck_assert_uint_eq(caps_tuning_choices(rt, &list), 101);
    ck_assert_str_eq(list[0].key, "a thing");
    ck_assert_str_eq(list[0].algorithm, "one");
    ck_assert(!list[0].measured && !list[0].requested);
    ck_assert_uint_eq(list[0].problem_bytes, sizeof problem);
    ck_assert_int_eq(*(const int *)list[0].problem, 7);
    ck_assert_str_eq(list[99].key, "thing 98");
    ck_assert(list[99].measured && !list[99].problem);
    ck_assert(list[100].requested && !list[100].measured);
    caps_choices_truncate(rt, 1);
    char *text = caps_choices_format(rt);
    ck_assert_str_eq(text, "{\"a thing\":\"one\"}");
    free(text);
    caps_choice_record(rt, "a thing", "two", false, false, NULL, 0);
    caps_choice_record(rt, "b", "x", false, false, NULL, 0);
    text = caps_choices_format(rt);
    ck_assert_str_eq(text, "{\"a thing\":\"one,two\",\"b\":\"x\"}");
    free(text);
    caps_runtime_free(rt);
    free(cache);
}
END_TEST

/* ---- the chooser ---------------------------------------------------------------------------- */

/* Three algorithms of a problem that is a number: the n-th serves up to 10 n. */
static const char *test_unsupported(const caps_runtime *rt, size_t algorithm, const void *problem)
{
    (void)rt;
    return *(const int *)problem > 10 * ((int)algorithm + 1) ? "it is too large" : NULL;
}

static double test_cost(const caps_runtime *rt, size_t algorithm, const void *problem)
{
    (void)rt;
    static const double costs[] = {3, 1, 2};
    return *(const int *)problem < 0 && algorithm == 1 ? INFINITY : costs[algorithm];
}

static bool test_tunable(const caps_runtime *rt, size_t algorithm, const void *problem)
{
    (void)rt;
    (void)problem;
    return algorithm != 0;
}

static void test_key(char key[CAPS_TUNING_KEY], const void *problem)
{
    snprintf(key, CAPS_TUNING_KEY, "test %d", *(const int *)problem);
}

static void test_describe(char *text, size_t bytes, const void *problem)
{
    snprintf(text, bytes, "cannot take %d", *(const int *)problem);
}

START_TEST(a_chooser_takes_request_measurement_and_cost)
{
    static const caps_algorithm names[] = {{"small", NULL}, {"middle", "medium"}, {"large", NULL}};
    const caps_chooser chooser = {.name = "test",
        .algorithms = names,
        .count = 3,
        .general = 2,
        .problem_bytes = sizeof(int),
        .key = test_key,
        .describe = test_describe,
        .unsupported_reason = test_unsupported,
        .cost = test_cost,
        .tunable = test_tunable};
    const struct {
        int problem;
        size_t requested;
        const char *measured;
        size_t expected;
        const char *error;
    } cases[] = {
        {1, CAPS_CHOICE_FREE, NULL, 1, NULL},
        {2, CAPS_CHOICE_FREE, "large", 2, NULL},
        {3, CAPS_CHOICE_FREE, "unknown", 1, NULL},
        {4, 0, "large", 0, NULL},
        {15, CAPS_CHOICE_FREE, "small", 1, NULL}, /* what was measured cannot serve */
        {25, CAPS_CHOICE_FREE, "medium", 2, NULL},
        {16, 0, NULL, 0, "small cannot take 16: it is too large"},
        {31, CAPS_CHOICE_FREE, NULL, 2, "large cannot take 31: it is too large"},
        {-1, CAPS_CHOICE_FREE, "middle", 2, NULL}, /* only where it is requested */
        {-2, 1, NULL, 1, NULL},
        {5, CAPS_CHOICE_FREE, "medium", 1, NULL},
    };
    caps_error err = {0};
    char *cache = test_directory();
    caps_runtime *rt = runtime_at(cache);
    const caps_choice *list;
    ck_assert_uint_eq(caps_algorithm_find(&chooser, "medium"), 1);
    ck_assert_uint_eq(caps_algorithm_find(&chooser, "auto"), CAPS_CHOICE_FREE);
    size_t recorded = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char key[CAPS_TUNING_KEY];
        size_t chosen = 99;
        test_key(key, &cases[i].problem);
        if (cases[i].measured)
            test_ok(caps_tuning_set(rt, key, cases[i].measured, 1, &err));
        const caps_status status =
            caps_choose(&chosen, &chooser, rt, &cases[i].problem, cases[i].requested, true, &err);
        ck_assert_uint_eq(chosen, cases[i].expected);
        ck_assert_int_eq(status, cases[i].error ? CAPS_ERR_ARGUMENT : CAPS_OK);
        if (cases[i].error) {
            ck_assert_str_eq(err.message, cases[i].error);
            continue;
        }
        recorded++;
        ck_assert_uint_eq(caps_tuning_choices(rt, &list), recorded);
        ck_assert_str_eq(list[recorded - 1].key, key);
        ck_assert_str_eq(list[recorded - 1].algorithm, names[chosen].name);
        ck_assert(list[recorded - 1].requested == (cases[i].requested != CAPS_CHOICE_FREE));
        ck_assert_int_eq(*(const int *)list[recorded - 1].problem, cases[i].problem);
        ck_assert(caps_choice_is_recorded(&chooser, rt, &cases[i].problem));
    }
    size_t found[CAPS_ALGORITHMS];
    ck_assert_uint_eq(caps_choice_candidates(&chooser, rt, &cases[0].problem, found), 2);
    ck_assert(found[0] == 1 && found[1] == 2);
    const int large = 25;
    ck_assert_uint_eq(caps_choice_candidates(&chooser, rt, &large, found), 1);
    /* Without a runtime, and without a record. */
    size_t chosen;
    const int other = 9;
    test_ok(caps_choose(&chosen, &chooser, NULL, &other, CAPS_CHOICE_FREE, true, &err));
    ck_assert_uint_eq(chosen, 1);
    test_ok(caps_choose(&chosen, &chooser, rt, &other, 2, false, &err));
    ck_assert(chosen == 2 && !caps_choice_is_recorded(&chooser, rt, &other));
    caps_runtime_free(rt);
    free(cache);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("tuning");
    TCase *t = tcase_create("tuning");
    tcase_add_checked_fixture(t, environment_take, environment_give_back);
    tcase_add_test(t, round_trip);
    tcase_add_test(t, runs_keep_their_choices);
    tcase_add_test(t, answers_do_not_change);
    tcase_add_test(t, bad_files_are_ignored);
    tcase_add_test(t, unwritable_cache);
    tcase_add_test(t, choices_are_recorded);
    tcase_add_test(t, a_chooser_takes_request_measurement_and_cost);
    suite_add_tcase(s, t);
    return s;
}
