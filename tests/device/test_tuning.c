/* test_tuning.c: the cache of measured choices, and the list of choices in force. */
#include <stdio.h>

#include "device_support.h"
#include "file.h"
#include "tuning.h"

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

START_TEST(notes)
{
    char *cache = test_directory();
    caps_runtime *rt = runtime_at(cache);
    const caps_choice *list = NULL;
    int subject = 7;
    ck_assert_uint_eq(caps_tuning_choices(rt, &list), 0);
    caps_tuning_record(rt, "a thing", "one", false, &subject, sizeof subject);
    subject = 8;                                           /* the note has a copy */
    caps_tuning_record(rt, "a thing", "two", true, NULL, 0); /* the first counts */
    char key[32];
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "thing %d", i);
        caps_tuning_record(rt, key, "three", true, NULL, 0);
    }
    ck_assert_uint_eq(caps_tuning_choices(rt, &list), 101);
    ck_assert_str_eq(list[0].key, "a thing");
    ck_assert_str_eq(list[0].variant, "one");
    ck_assert(!list[0].measured && list[0].bytes == sizeof subject);
    ck_assert_int_eq(*(const int *)list[0].subject, 7);
    ck_assert_str_eq(list[100].key, "thing 99");
    ck_assert(list[100].measured && !list[100].subject);
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
    tcase_add_test(t, notes);
    suite_add_tcase(s, t);
    return s;
}
