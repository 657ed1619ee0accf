/* `capscl bench` and `capscl selftest` as processes: their tables, JSON and CSV, and wrong usage.
 */
#include <dirent.h>
#include <math.h>

#include "cli_support.h"

/* Long enough for five measurements of each row. */
#define SHORT "--time", "0.02"

#define ROW_KEYS                                                                                   \
    "operation shape variant repeats seconds_min seconds_median seconds_q1 seconds_q3 gflops "     \
    "gbytes_per_s fraction_of_peak device"
#define WHOLE_KEYS ROW_KEYS " batch images_per_second routing_grad peak_device_bytes conv"

static char *work, *spec;

static void set_up(void)
{
    work = test_directory();
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
}

static void tear_down(void)
{
    free(work);
}

static const char *text_of(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    ck_assert_msg(text != NULL, "%s", key);
    return text;
}

/* The figures of a row fit each other. */
static void expect_row(const json_t *row)
{
    const double least = cli_number(row, "seconds_min"), median = cli_number(row, "seconds_median");
    ck_assert(least > 0 && median >= least);
    ck_assert(cli_number(row, "repeats") >= 2);
    ck_assert(cli_number(row, "seconds_q1") <= median && cli_number(row, "seconds_q3") >= median);
    ck_assert(cli_number(row, "gflops") >= 0); /* what only moves data has none */
    ck_assert(cli_number(row, "gbytes_per_s") > 0);
    const double fraction = cli_number(row, "fraction_of_peak");
    /* More than 1 is a peak measured while the machine was busy, or a wrong count of operations. */
    ck_assert_msg(fraction > 0 && fraction < 2, "%g", fraction);
    ck_assert_str_ne(text_of(row, "shape"), "");
}

START_TEST(default_is_forward_and_step)
{
    test_process p = cli_run("bench", SHORT, "--arch", spec, "--json", "--quiet");
    cli_expect_ok(p);
    ck_assert_str_eq(p.err, "");
    json_t *rows = cli_json(&p);
    ck_assert_uint_eq(json_array_size(rows), 3);
    static const struct {
        const char *operation;
        double batch;
    } expected[] = {{"forward", 1}, {"forward", 100}, {"step", 100}};
    double seconds[3];
    for (size_t i = 0; i < 3; i++) {
        const json_t *row = json_array_get(rows, i);
        cli_expect_keys(row, WHOLE_KEYS);
        expect_row(row);
        ck_assert_str_eq(text_of(row, "operation"), expected[i].operation);
        ck_assert_str_eq(text_of(row, "routing_grad"), "full");
        ck_assert(cli_number(row, "batch") == expected[i].batch);
        ck_assert(cli_number(row, "peak_device_bytes") > 10000);
        seconds[i] = cli_number(row, "seconds_median");
        ck_assert_double_eq_tol(cli_number(row, "images_per_second"),
            expected[i].batch / seconds[i], 1e-4 * expected[i].batch / seconds[i]);
    }
    ck_assert(seconds[2] > seconds[0]);
    json_decref(rows);
    test_process_release(&p);
}
END_TEST

START_TEST(every_operation)
{
    static const char *const operations[] = {"gemm", "conv", "bias", "linear", "group", "squash",
        "votes", "routing", "losses", "adam", "sgd", "forward", "step"};
    const size_t count = sizeof operations / sizeof *operations;
    test_process p =
        cli_run("bench", "all", SHORT, "--arch", spec, "--batch", "7", "--json", "--quiet");
    cli_expect_ok(p);
    json_t *rows = cli_json(&p);
    for (size_t n = 0; n < count; n++) {
        size_t found = 0;
        for (size_t i = 0; i < json_array_size(rows); i++) {
            const json_t *row = json_array_get(rows, i);
            if (strcmp(text_of(row, "operation"), operations[n]) != 0)
                continue;
            cli_expect_keys(row, n < count - 2 ? ROW_KEYS : WHOLE_KEYS);
            expect_row(row);
            found++;
        }
        ck_assert_msg(found >= 1, "%s", operations[n]);
    }
    json_decref(rows);
    test_process_release(&p);
}
END_TEST

/* A network without capsules is measured at its own layers, one row a layer and direction. */
START_TEST(a_network_without_capsules)
{
    char *cnn = cli_write_text(work, "cnn.json",
        "{\"kind\": \"cnn\", \"input\": [1, 8, 8], \"classes\": 3, \"conv\": ["
        "{\"channels\": 4, \"kernel\": 3, \"stride\": 1, \"padding\": 1},"
        "{\"channels\": 5, \"kernel\": 3, \"stride\": 2, \"padding\": 0}], \"hidden\": [6]}");
    static const char *const linear[] = {"fc1 forward B=7 in=45 out=6",
        "fc1 backward B=7 in=45 out=6", "fc2 forward B=7 in=6 out=3",
        "fc2 backward B=7 in=6 out=3"};
    test_process p =
        cli_run("bench", "all", SHORT, "--arch", cnn, "--batch", "7", "--json", "--quiet");
    cli_expect_ok(p);
    json_t *rows = cli_json(&p);
    size_t seen = 0, dx = 0, entropy = 0, padded = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *operation = text_of(row, "operation"), *shape = text_of(row, "shape");
        ck_assert_str_ne(operation, "votes");
        ck_assert_str_ne(operation, "squash");
        if (strcmp(operation, "linear") == 0)
            ck_assert_str_eq(shape, linear[seen++]);
        dx += strcmp(operation, "gemm") == 0 && strstr(shape, " dx ") != NULL;
        entropy += strncmp(shape, "cross entropy ", 14) == 0;
        padded +=
            strcmp(operation, "conv") == 0 && strstr(shape, "conv1 ") && strstr(shape, " pad=1");
        if (strcmp(operation, "step") == 0)
            ck_assert_str_eq(text_of(row, "routing_grad"), "none");
    }
    ck_assert_uint_eq(seen, 4);
    ck_assert_uint_eq(dx, 3); /* of all layers but the first, whose input is the images */
    ck_assert_uint_eq(entropy, 2);
    ck_assert_uint_ge(padded, 2);
    json_decref(rows);
    test_process_release(&p);
    cli_expect_error(cli_run("bench", "votes", "--arch", cnn, "--quiet"), 2,
        "has the operation votes", "bench: votes");
}
END_TEST

START_TEST(several_batches)
{
    test_process p =
        cli_run("bench", "squash", SHORT, "--batch", "2", "9", "--arch", spec, "--json");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "peak: "));
    json_t *rows = cli_json(&p);
    ck_assert_uint_eq(json_array_size(rows), 4);
    ck_assert_ptr_nonnull(strstr(text_of(json_array_get(rows, 0), "shape"), "B=2 "));
    ck_assert_ptr_nonnull(strstr(text_of(json_array_get(rows, 3), "shape"), "B=9 "));
    json_decref(rows);
    test_process_release(&p);
}
END_TEST

START_TEST(comma_separated)
{
    test_process p = cli_run("bench", "forward", SHORT, "--batch", "3", "--arch", spec, "--csv");
    cli_expect_ok(p);
    char *head = strtok(p.out, "\n"), *row = strtok(NULL, "\n");
    ck_assert_ptr_nonnull(row);
    ck_assert_ptr_null(strtok(NULL, "\n"));
    ck_assert_int_eq(strncmp(head, "operation,shape,variant,repeats,", 32), 0);
    ck_assert_int_eq(strncmp(row, "forward,\"B=3 ", 13), 0);
    size_t commas[2] = {0};
    for (int n = 0; n < 2; n++) {
        bool quoted = false;
        for (const char *c = n == 0 ? head : row; *c; c++) {
            quoted ^= *c == '"';
            commas[n] += *c == ',' && !quoted;
        }
    }
    ck_assert_uint_eq(commas[0], 16);
    ck_assert_uint_eq(commas[1], 16);
    test_process_release(&p);
}
END_TEST

/* Every algorithm that can serve has its rows, or the one that is asked for. */
START_TEST(convolutions_by_algorithm)
{
    test_process p =
        cli_run("bench", "conv", SHORT, "--arch", spec, "--batch", "3", "--json", "--quiet");
    cli_expect_ok(p);
    json_t *rows = cli_json(&p);
    const size_t all = json_array_size(rows);
    ck_assert_uint_ge(all, 4);
    json_decref(rows);
    test_process_release(&p);
    p = cli_run("bench", "conv", SHORT, "--arch", spec, "--batch", "3", "--json", "--quiet",
        "--conv", "im2col");
    cli_expect_ok(p);
    rows = cli_json(&p);
    ck_assert_uint_eq(json_array_size(rows), 4);
    for (size_t i = 0; i < 4; i++)
        ck_assert_ptr_nonnull(strstr(text_of(json_array_get(rows, i), "variant"), "/im2col"));
    json_decref(rows);
    test_process_release(&p);
    cli_expect_error(cli_run("bench", "conv", "--arch", spec, "--conv", "fast"), 2,
        "algorithm 'fast' is unknown", "bench conv");
    /* The CPU family refuses the strided layer, the GPU family, which has no such kernels, the
     * first. */
    cli_expect_error(cli_run("bench", "step", "--arch", spec, "--conv", "winograd"), 2,
        ": winograd cannot serve", "bench step");
}
END_TEST

/* A shape of the user's, which no network has. */
START_TEST(a_shape_of_ones_own)
{
    test_process p = cli_run("bench", "gemm", SHORT, "--shape", "31x17x23:tn", "--json", "--quiet");
    cli_expect_ok(p);
    json_t *rows = cli_json(&p);
    ck_assert_uint_eq(json_array_size(rows), 1);
    ck_assert_str_eq(text_of(json_array_get(rows, 0), "shape"), "given M=31 N=17 K=23 A^T");
    expect_row(json_array_get(rows, 0));
    json_decref(rows);
    test_process_release(&p);
    p = cli_run("bench", "conv", SHORT, "--shape", "3x2x11x13x5x3x2x1", "--json", "--quiet");
    cli_expect_ok(p);
    rows = cli_json(&p);
    /* Forward and backward by im2col at least. */
    ck_assert_uint_ge(json_array_size(rows), 2);
    ck_assert_str_eq(text_of(json_array_get(rows, 1), "shape"),
        "given backward B=3 C=2 11x13 M=5 k=3 stride=2 pad=1");
    for (size_t i = 0; i < json_array_size(rows); i++)
        expect_row(json_array_get(rows, i));
    json_decref(rows);
    test_process_release(&p);
}
END_TEST

START_TEST(a_shape_that_is_none)
{
    static const char *const gemm[] = {"12x12", "0x1x2", "axbxc", "1x2x3x4", "1x2x3:n", "1x2x3:nx",
        "1x2x", "-1x2x3", "1e3x2x3", "1x2x3 ", "99999999x99999999x9"};
    static const char *const conv[] = {"1x2x3x4", "1x1x3x3x4x9x1", "1x1x9x9x4x3x0",
        "1x1x9x9x4x3x1x3", "1x1x9x9x4x3x1x0x0", "1x1x9x9x4x3x1:nt",
        "100000000x1000x1000x1000x4x3x1"};
    for (size_t i = 0; i < sizeof gemm / sizeof *gemm; i++)
        cli_expect_error(cli_run("bench", "gemm", "--shape", gemm[i]), 2, "--shape", "bench");
    for (size_t i = 0; i < sizeof conv / sizeof *conv; i++)
        cli_expect_error(cli_run("bench", "conv", "--shape", conv[i]), 2, "--shape", "bench");
    cli_expect_error(cli_run("bench", "step", "--shape", "1x2x3"), 2, "gemm or conv", "bench");
    cli_expect_error(cli_run("bench", "--shape", "1x2x3"), 2, "gemm or conv", "bench");
    cli_expect_error(cli_run("bench", "gemm", "--shape", "1x2x3", "--batch", "4"), 2,
        "takes the place", "bench");
    cli_expect_error(cli_run("bench", "conv", "--shape", "3x2x11x13x5x3x2", "--conv", "winograd"),
        2, "cannot serve", "bench conv");
}
END_TEST

/* A device's results as a file. */
START_TEST(results_are_kept)
{
    char *place = cli_path(work, "results");
    test_process p = cli_run(
        "bench", "squash", SHORT, "--arch", spec, "--batch", "5", "--results", place, "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    DIR *directory = opendir(place);
    ck_assert_ptr_nonnull(directory);
    char *found = NULL;
    for (const struct dirent *e; (e = readdir(directory));)
        if (e->d_name[0] != '.') {
            ck_assert_ptr_null(found);
            found = cli_path(place, e->d_name);
        }
    closedir(directory);
    ck_assert_ptr_nonnull(found);
    ck_assert_ptr_nonnull(strstr(found, "-tiny-squash.json"));
    json_t *kept = json_load_file(found, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_ptr_nonnull(kept);
    cli_expect_keys(kept, "capscl date device kernels arch peak rows");
    cli_expect_keys(json_object_get(kept, "device"),
        "name platform vendor version driver type compute_units global_mem_bytes");
    const json_t *rows = json_object_get(kept, "rows");
    ck_assert_uint_eq(json_array_size(rows), 2);
    for (size_t i = 0; i < 2; i++)
        expect_row(json_array_get(rows, i));
    json_decref(kept);
    /* A place that is a file is seen before anything is measured. */
    char *file = cli_write_text(work, "file", "x");
    cli_expect_error(
        cli_run("bench", "squash", "--arch", spec, "--results", file, "--quiet"), 1, file, "bench");
}
END_TEST

START_TEST(wrong_usage)
{
    cli_expect_error(cli_run("bench", "gem", "--arch", spec), 2, "did you mean gemm", "bench");
    cli_expect_error(cli_run("bench", "gemm", "convs"), 2, "conv", "bench");
    cli_expect_error(cli_run("bench", "--batch", "0"), 2, "--batch", "bench");
    cli_expect_error(cli_run("bench", "--batch", "1e3"), 2, "--batch", "bench");
    /* The paper's network: 74 MB of votes for each hundred images. */
    cli_expect_error(
        cli_run("bench", "votes", "--batch", "1000000", "--quiet"), 2, "--batch 1000000", "bench");
    cli_expect_error(cli_run("bench", "step", "--batch", "1000000", "--quiet"), 2,
        "--batch 1000000", "bench step");
    cli_expect_error(cli_run("bench", "--time", "0"), 2, "--time", "bench");
    cli_expect_error(cli_run("bench", "--json", "--csv"), 2, "--csv", "bench");
    cli_expect_error(cli_run("bench", "--arch", "nosuch"), 3, "nosuch", "bench");
    cli_expect_error(cli_run("bench", "--device", "nosuch"), 4, "nosuch", "bench");
    cli_expect_error(cli_run("selftest", "--device", "nosuch"), 4, "nosuch", "selftest");
    cli_expect_error(cli_run("selftest", "extra"), 2, "extra", "selftest");
}
END_TEST

START_TEST(selftest_text)
{
    test_process p = cli_run("selftest", "--small");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.out, " passed on "));
    ck_assert_ptr_nonnull(strstr(p.out, "\nrouting "));
    ck_assert_ptr_null(strstr(p.out, "FAIL"));
    test_process_release(&p);
    p = cli_run("selftest", "--small", "--verbose");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.out, "ok    squash    backward"));
    test_process_release(&p);
}
END_TEST

START_TEST(selftest_json)
{
    static const char *const families[] = {"CAPSCL_KERNELS=cpu", "CAPSCL_KERNELS=gpu"};
    for (size_t f = 0; f < 2; f++) {
        char *environment[] = {(char *)families[f], NULL};
        test_process p =
            cli_run_env(environment, "selftest", "--small", "--json", "--quiet", (char *)NULL);
        cli_expect_ok(p);
        json_t *rows = cli_json(&p);
        ck_assert_uint_ge(json_array_size(rows), 30);
        for (size_t i = 0; i < json_array_size(rows); i++) {
            const json_t *row = json_array_get(rows, i);
            cli_expect_keys(row, "operation shape direction variant error tolerance passed");
            ck_assert(json_is_true(json_object_get(row, "passed")));
            ck_assert(cli_number(row, "error") <= cli_number(row, "tolerance"));
            ck_assert_int_eq(strncmp(text_of(row, "variant"), families[f] + 15, 3), 0);
        }
        json_decref(rows);
        test_process_release(&p);
    }
}
END_TEST

START_TEST(selftest_that_fails)
{
    char *kernels = cli_make_directory(work, "kernels"), command[2048];
    snprintf(command, sizeof command,
        "cp '%s'/cl/*.cl* '%s' && sed -i 's/return 1.0f \\/ (n + 1.0f \\/ n);/return "
        "1.0f;/' '%s'/common.clh",
        TEST_SOURCE_DIR, kernels, kernels);
    ck_assert_int_eq(system(command), 0);
    char variable[1100];
    snprintf(variable, sizeof variable, "CAPSCL_CL_PATH=%s", kernels);
    char *environment[] = {variable, NULL};
    test_process p = cli_run_env(environment, "selftest", "--small", (char *)NULL);
    ck_assert_int_eq(p.exit_code, 1);
    ck_assert_ptr_nonnull(strstr(p.out, "FAIL"));
    ck_assert_ptr_nonnull(strstr(p.out, "squash"));
    ck_assert_int_eq(cli_error_lines(p.err), 1);
    test_process_release(&p);
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("cli_bench");
    TCase *t = tcase_create("bench and selftest");
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, default_is_forward_and_step);
    tcase_add_test(t, every_operation);
    tcase_add_test(t, a_network_without_capsules);
    tcase_add_test(t, several_batches);
    tcase_add_test(t, comma_separated);
    tcase_add_test(t, convolutions_by_algorithm);
    tcase_add_test(t, a_shape_of_ones_own);
    tcase_add_test(t, a_shape_that_is_none);
    tcase_add_test(t, results_are_kept);
    tcase_add_test(t, wrong_usage);
    tcase_add_test(t, selftest_text);
    tcase_add_test(t, selftest_json);
    tcase_add_test(t, selftest_that_fails);
    suite_add_tcase(s, t);
    return s;
}
