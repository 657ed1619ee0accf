/* test_cli_tune.c: `capscl tune` as a process: its file is used by the next run, and whatever is
 * wrong with the file or the cache costs one line. */
#include <signal.h>
#include <sys/wait.h>

#include "cli_support.h"

static char *work, *spec;

/* A cache with the kernels that are compiled already, so that only tuning differs. */
static char *fresh_cache(const char *name)
{
    char *cache = cli_make_directory(work, name);
    DIR *shared = opendir(TEST_BINARY_DIR "/test-cache");
    for (struct dirent *e = shared ? readdir(shared) : NULL; e; e = readdir(shared)) {
        if (strncmp(e->d_name, "program-", 8) != 0)
            continue;
        size_t n = 0;
        unsigned char *data = cli_read(cli_path(TEST_BINARY_DIR "/test-cache", e->d_name), &n);
        cli_write(cli_path(cache, e->d_name), data, n);
        free(data);
    }
    if (shared)
        closedir(shared);
    setenv("CAPSCL_CACHE", cache, 1);
    return cache;
}

/* The tuning file of a cache, or NULL. */
static char *tuning_file(const char *cache)
{
    DIR *directory = opendir(cache);
    char *path = NULL;
    for (struct dirent *e = directory ? readdir(directory) : NULL; e; e = readdir(directory))
        if (strncmp(e->d_name, "tuning-", 7) == 0)
            path = cli_path(cache, e->d_name);
    if (directory)
        closedir(directory);
    return path;
}

static void set_up(void)
{
    /* So that the products that `capscl bench gemm` makes are all products of the network. */
    setenv("CAPSCL_CONV", "im2col", 1);
    work = test_directory();
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
}

static void tear_down(void)
{
    free(work);
}

static void tune(void)
{
    test_process p =
        cli_run("tune", "--arch", spec, "--batch", "7", "--time", "40s", "--json", "--quiet");
    cli_expect_ok(p);
    ck_assert_str_eq(p.err, "");
    json_t *rows = cli_json(&p);
    ck_assert_uint_gt(json_array_size(rows), 3);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        cli_expect_keys(row, "choice variant before seconds measured");
        ck_assert(cli_number(row, "seconds") > 0);
        ck_assert_uint_ge(json_array_size(json_object_get(row, "measured")), 2);
    }
    json_decref(rows);
    test_process_release(&p);
}

/* How many of the products that `capscl bench gemm` makes are by `variant`, and how many there are;
 * what the run had to warn of. */
static size_t products_by(const char *variant, size_t *all, char warnings[1024])
{
    test_process p =
        cli_run("bench", "gemm", "--arch", spec, "--batch", "7", "--time", "0.02", "--json");
    cli_expect_ok(p);
    ck_assert_int_eq(cli_error_lines(p.err), 0);
    json_t *rows = cli_json(&p);
    size_t n = 0;
    *all = json_array_size(rows);
    for (size_t i = 0; i < *all; i++)
        n += strstr(json_string_value(json_object_get(json_array_get(rows, i), "variant")),
                 variant) != NULL;
    warnings[0] = 0;
    for (char *line = strstr(p.err, "warning: "); line; line = strstr(line + 1, "warning: "))
        snprintf(warnings + strlen(warnings), 1024 - strlen(warnings), "%.*s\n",
            (int)strcspn(line, "\n"), line);
    json_decref(rows);
    test_process_release(&p);
    return n;
}

static size_t lines(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* Every choice in the file becomes this one. */
static void choose_everywhere(const char *path, const char *variant)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error), *choice;
    ck_assert_msg(root != NULL, "%s: %s", path, error.text);
    const char *key;
    json_object_foreach(json_object_get(root, "choices"), key, choice)
        json_object_set_new(choice, "variant", json_string(variant));
    ck_assert_int_eq(json_dump_file(root, path, 0), 0);
    json_decref(root);
}

START_TEST(the_next_run_uses_it)
{
    char warnings[1024];
    size_t all = 0;
    char *cache = fresh_cache("used");
    tune();
    char *path = tuning_file(cache);
    ck_assert_ptr_nonnull(path);
    static const char *const variants[] = {"direct", "packed"};
    for (size_t i = 0; i < 2; i++) {
        choose_everywhere(path, variants[i]);
        size_t n = products_by(variants[i], &all, warnings);
        ck_assert_msg(n == all && all > 3, "%zu of %zu by %s", n, all, variants[i]);
        ck_assert_str_eq(warnings, "");
    }
    /* A variant that there is not counts as none. */
    choose_everywhere(path, "fastest");
    ck_assert_uint_eq(products_by("fastest", &all, warnings), 0);
}
END_TEST

START_TEST(a_bad_file_costs_one_line)
{
    static const char *const texts[] = {"", "{", "{\"capscl_tuning\": 1}", "no JSON at all"};
    char warnings[1024];
    size_t all = 0;
    char *cache = fresh_cache("bad");
    tune();
    char *path = tuning_file(cache);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cli_write(path, texts[i], strlen(texts[i]));
        products_by("packed", &all, warnings);
        ck_assert_msg(lines(warnings) == 1 && strstr(warnings, path) && strstr(warnings, "ignored"),
            "'%s' gives: %s", texts[i], warnings);
    }
    /* It is rebuilt, with the same line. */
    test_process p = cli_run("tune", "--arch", spec, "--batch", "7", "--time", "40");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "is ignored"));
    test_process_release(&p);
    products_by("packed", &all, warnings);
    ck_assert_str_eq(warnings, "");
}
END_TEST

START_TEST(an_unwritable_cache_is_said_once)
{
    char *file = cli_write_text(work, "file", "x");
    setenv("CAPSCL_CACHE", cli_path(file, "below"), 1);
    test_process p = cli_run("tune", "--arch", spec, "--batch", "7", "--time", "40");
    cli_expect_ok(p);
    const char *said = strstr(p.err, "the choices are not kept");
    ck_assert_ptr_nonnull(said);
    ck_assert_ptr_null(strstr(said + 1, "the choices are not kept"));
    ck_assert_ptr_nonnull(strstr(p.out, "gemm "));
    test_process_release(&p);
}
END_TEST

/* Stopped while it measures: what it had so far is kept. */
START_TEST(a_signal_keeps_what_was_measured)
{
    char *cache = fresh_cache("stopped"), *log = cli_path(work, "stopped.log");
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (!freopen(log, "w", stderr) || !freopen("/dev/null", "w", stdout))
            _exit(99);
        execl(TEST_PROGRAM, TEST_PROGRAM, "tune", "--arch", spec, "--time", "10m", (char *)NULL);
        _exit(98);
    }
    for (int i = 0; i < 3000 && !tuning_file(cache); i++)
        usleep(20000);
    ck_assert_int_eq(kill(child, SIGINT), 0);
    int state = 0;
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    ck_assert(WIFEXITED(state));
    ck_assert_int_eq(WEXITSTATUS(state), 130);
    size_t n = 0;
    char *text = (char *)cli_read(log, &n);
    ck_assert_int_eq(cli_error_lines(text), 1);
    ck_assert_msg(strstr(text, "are kept") != NULL, "%s", text);
    free(text);
    json_error_t error;
    json_t *root = json_load_file(tuning_file(cache), 0, &error);
    ck_assert_msg(root != NULL, "%s", error.text);
    ck_assert_uint_ge(json_object_size(json_object_get(root, "choices")), 1);
    json_decref(root);
}
END_TEST

START_TEST(wrong_usage)
{
    static const struct {
        const char *arguments, *needle;
        int code;
    } cases[] = {
        {"tune --time 0", "--time", 2},
        {"tune --time 1x", "--time", 2},
        {"tune --batch 0", "--batch", 2},
        {"tune --bath 3", "--batch", 2},
        {"tune gemm", "gemm", 2},
        {"tune --arch /nonexistent.json", "nonexistent", 3},
        {"tune --device nosuchdevice", "nosuchdevice", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cli_expect_error(
            cli_run_text(cases[i].arguments), cases[i].code, cases[i].needle, cases[i].arguments);
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("cli_tune");
    TCase *t = tcase_create("tune");
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, the_next_run_uses_it);
    tcase_add_test(t, a_bad_file_costs_one_line);
    tcase_add_test(t, an_unwritable_cache_is_said_once);
    tcase_add_test(t, a_signal_keeps_what_was_measured);
    tcase_add_test(t, wrong_usage);
    suite_add_tcase(s, t);
    return s;
}
