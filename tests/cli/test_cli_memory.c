/* test_cli_memory.c: --memory-limit, and what a run says of its memory. */
#include <math.h>

#include "cli_support.h"
#include "file.h"

static char *work, *data, *spec, *run;
static double peak; /* of a run without a limit */
static json_t *trained;

#define TINY "--data", data, "--arch", spec, "--batch", "20", "--lr", "0.01"

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 90, 42, 1, 12, 12, 4);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    run = cli_path(work, "run");
    test_process p = cli_run("train", TINY, "--out", run, "--epochs", "2", "--json");
    cli_expect_ok(p);
    trained = cli_json(&p);
    peak = cli_number(trained, "peak_device_bytes");
    test_process_release(&p);
}

static void tear_down(void)
{
    json_decref(trained);
    free(work);
}

static double setting(const char *out, const char *key)
{
    char *path = cli_path(out, "config.json");
    json_t *value = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(json_is_object(value), "%s", path);
    double number = cli_number(value, key);
    json_decref(value);
    return number;
}

static char *limit_of(double bytes)
{
    return caps_format("%.0f", bytes);
}

START_TEST(the_forecast_is_said_and_kept)
{
    char *out = cli_path(work, "forecast");
    test_process p = cli_run("train", TINY, "--out", out, "--max-steps", "1");
    cli_expect_ok(p);
    double mib[6];
    const char *line = strstr(p.err, "\nmemory: ");
    ck_assert_ptr_nonnull(line);
    ck_assert_int_eq(
        sscanf(line,
            "\nmemory: %lf MiB on the device (parameters %lf, gradients %lf, moments %lf, "
            "activations %lf, workspace %lf)\n",
            mib, mib + 1, mib + 2, mib + 3, mib + 4, mib + 5),
        6);
    ck_assert_double_eq_tol(mib[0], mib[1] + mib[2] + mib[3] + mib[4] + mib[5], 0.3);
    ck_assert_double_eq_tol(mib[0] * 1048576, peak, 0.1 * peak + 0.05 * 1048576);
    /* Before training begins. */
    ck_assert_ptr_null(strstr(p.err, "parts"));
    ck_assert(line < strstr(p.err, "\nepoch 1"));
    ck_assert(setting(out, "micro_batch") == 20);
    ck_assert(setting(out, "memory_limit_bytes") == 0);
    test_process_release(&p);
}
END_TEST

START_TEST(a_limit_trains_in_parts)
{
    char *out = cli_path(work, "limited"), *limit = limit_of(0.8 * peak);
    test_process p =
        cli_run("train", TINY, "--out", out, "--epochs", "2", "--memory-limit", limit, "--json");
    cli_expect_ok(p);
    json_t *m = cli_json(&p);
    ck_assert_double_le(cli_number(m, "peak_device_bytes"), 0.8 * peak);
    ck_assert_ptr_nonnull(strstr(p.err, "; batches go in "));
    ck_assert(setting(out, "micro_batch") < 20);
    ck_assert(setting(out, "memory_limit_bytes") == floor(0.8 * peak + 0.5));
    /* The same training, but for roundings. */
    ck_assert_double_eq_tol(
        cli_number(m, "loss"), cli_number(trained, "loss"), 0.01 * cli_number(trained, "loss"));
    ck_assert(cli_number(m, "step") == cli_number(trained, "step"));
    test_process_release(&p);
    json_decref(m);

    /* A run that goes on keeps its parts, and the bits. */
    char *pieces = cli_path(work, "limited-pieces");
    p = cli_run("train", TINY, "--out", pieces, "--max-steps", "3", "--memory-limit", limit);
    cli_expect_ok(p);
    test_process_release(&p);
    cli_expect_error(cli_run("train", "--resume", "--out", pieces, "--memory-limit", "1G"), 2,
        "--memory-limit 1073741824 with --resume: the run has", "train");
    p = cli_run("train", "--resume", "--out", pieces, "--epochs", "2");
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert(setting(pieces, "micro_batch") == setting(out, "micro_batch"));
    ck_assert(setting(pieces, "memory_limit_bytes") == setting(out, "memory_limit_bytes"));
    ck_assert(
        cli_same_file(cli_path(out, "model.safetensors"), cli_path(pieces, "model.safetensors")));
    free(limit);
}
END_TEST

/* Suffixes are what they mean: enough for the whole batch. */
START_TEST(sizes_with_suffixes)
{
    static const char *const sizes[] = {"1T", "64G", "0.5G", "1000M", "1000000K", "1000000000"};
    static const double bytes[] = {0x1p40, 64 * 0x1p30, 0x1p29, 1000 * 0x1p20, 1e6 * 1024, 1e9};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *out = cli_path(work, sizes[i]);
        test_process p = cli_run("train", TINY, "--out", out, "--max-steps", "1", "--quiet",
            "--memory-limit", (char *)sizes[i]);
        cli_expect_ok(p);
        test_process_release(&p);
        ck_assert(setting(out, "memory_limit_bytes") == bytes[i]);
        ck_assert(setting(out, "micro_batch") == 20);
    }
}
END_TEST

START_TEST(bad_limits)
{
    static const struct {
        const char *value, *needle;
    } cases[] = {{"12X", "'12X' is not a size"}, {"", "empty"}, {"0", "'0' is out of range"},
        {"-1", "'-1' is out of range"}, {"-5M", "'-5M' is out of range"}, {"1e", "not a size"},
        {"M", "not a size"}, {"12 M", "not a size"}, {"12MB", "not a size"}, {"nan", "not a size"},
        {"1e30T", "out of range"}, {"0.5", "out of range"}, {"1", "--memory-limit is too small"},
        {"10K", "one image at a time needs"}};
    const uint64_t before = cli_tree_hash(work);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *value = (char *)cases[i].value;
        cli_expect_error(
            cli_run("train", TINY, "--out", cli_path(work, "never"), "--memory-limit", value), 2,
            cases[i].needle, "train");
        /* Nor is a run removed for it. */
        cli_expect_error(
            cli_run("train", TINY, "--out", run, "--overwrite", "--memory-limit", value), 2,
            cases[i].needle, "train");
    }
    cli_expect_error(
        cli_run("train", TINY, "--out", run, "--memory-limit"), 2, "--memory-limit", "train");
    ck_assert_uint_eq(cli_tree_hash(work), before);
}
END_TEST

/* What can be checked is checked before --overwrite removes anything. */
START_TEST(overwrite_comes_last)
{
    char *bad = cli_make_data(work, "torn", 90, 42, 1, 12, 12, 4);
    size_t n = 0;
    unsigned char *images = cli_read(cli_path(bad, "t10k-images-idx3-ubyte"), &n);
    cli_write(cli_path(bad, "t10k-images-idx3-ubyte"), images, n - 7);
    free(images);
    char *odd = cli_make_data(work, "odd", 20, 20, 1, 5, 5, 4);
    char *text = cli_write_text(work, "no.safetensors", "no checkpoint");
    const uint64_t before = cli_tree_hash(work);
    cli_expect_error(cli_run("train", "--data", bad, "--arch", spec, "--out", run, "--overwrite"),
        3, "t10k-images", "a torn test split");
    cli_expect_error(cli_run("train", "--data", odd, "--arch", spec, "--out", run, "--overwrite"),
        3, "5x5", "images of another size");
    cli_expect_error(cli_run("train", "--data", data, "--init", text, "--out", run, "--overwrite"),
        3, "no.safetensors", "no checkpoint");
    cli_expect_error(cli_run("train", "--data", data, "--init", cli_path(run, "model.safetensors"),
                         "--arch", "small", "--out", run, "--overwrite"),
        3, "model.safetensors", "another network's");
    ck_assert_uint_eq(cli_tree_hash(work), before);

    /* Its own parameters may begin it anew: they are read before they are removed. */
    char *own = cli_path(work, "own");
    test_process p = cli_run("train", TINY, "--out", own, "--max-steps", "2", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    p = cli_run("train", "--data", data, "--init", cli_path(own, "model.safetensors"), "--out", own,
        "--overwrite", "--max-steps", "1", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("command line: memory");
    TCase *t = tcase_create("memory");
    cli_use_test_cache();
    tcase_set_timeout(t, 600);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, the_forecast_is_said_and_kept);
    tcase_add_test(t, a_limit_trains_in_parts);
    tcase_add_test(t, sizes_with_suffixes);
    tcase_add_test(t, bad_limits);
    tcase_add_test(t, overwrite_comes_last);
    suite_add_tcase(s, t);
    return s;
}
