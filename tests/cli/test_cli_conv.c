/* test_cli_conv.c: --conv: what it takes, what a run keeps of it, and that results agree. */
#include "cli_support.h"
#include "file.h"

static char *work, *data, *spec, *run;

#define TINY "--data", data, "--arch", spec, "--batch", "20", "--lr", "0.01"

static void set_up(void)
{
    unsetenv("CAPSCL_CONV");
    work = test_directory();
    data = cli_make_data(work, "data", 90, 42, 1, 12, 12, 4);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    run = cli_path(work, "run");
    test_process p = cli_run("train", TINY, "--out", run, "--epochs", "1", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
}

static void tear_down(void)
{
    free(work);
}

/* The run's choices are `want`: "conv1=...,primary=...". */
static void expect_chosen(const char *out, const char *want)
{
    json_t *config = json_load_file(cli_path(out, "config.json"), JSON_REJECT_DUPLICATES, NULL);
    ck_assert(json_is_object(config));
    ck_assert_str_eq(json_string_value(json_object_get(config, "conv")), want);
    json_decref(config);
}

START_TEST(a_run_keeps_its_algorithms)
{
    char *out = cli_path(work, "kept"), *variable = "CAPSCL_CONV=im2col";
    char *const environment[] = {variable, NULL};
    test_process p = cli_run("train", TINY, "--out", out, "--max-steps", "2", "--conv",
        "primary=toom-cook,conv1=direct");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "conv1=direct,primary=toom-cook"));
    test_process_release(&p);
    expect_chosen(out, "conv1=direct,primary=toom-cook");
    /* The environment is for runs that begin. */
    p = cli_run_env(
        environment, "train", "--resume", "--out", out, "--epochs", "1", "--quiet", (char *)NULL);
    cli_expect_ok(p);
    test_process_release(&p);
    expect_chosen(out, "conv1=direct,primary=toom-cook");
    p = cli_run_env(environment, "train", TINY, "--out", cli_path(work, "columns"), "--max-steps",
        "1", "--quiet", (char *)NULL);
    cli_expect_ok(p);
    test_process_release(&p);
    expect_chosen(cli_path(work, "columns"), "conv1=im2col,primary=im2col");
    cli_expect_error(cli_run("train", "--resume", "--out", out, "--conv", "im2col"), 2,
        "--conv im2col with --resume: the run has", "train");
}
END_TEST

/* Settings of a run that were changed by hand. */
static char *run_with(const char *name, const char *key, json_t *value)
{
    char *out = cli_path(work, name), *path = cli_path(out, "config.json");
    test_process p = cli_run("train", TINY, "--out", out, "--max-steps", "1", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    json_t *config = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_int_eq(json_object_set_new(config, key, value), 0);
    ck_assert_int_eq(json_dump_file(config, path, 0), 0);
    json_decref(config);
    return out;
}

START_TEST(a_run_keeps_what_was_measured)
{
    json_t *tuned = json_object();
    json_object_set_new(tuned, "gemm 20x16x24 nt", json_string("direct"));
    test_process p = cli_run(
        "train", "--resume", "--out", run_with("tuned", "tuned", tuned), "--max-steps", "2");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "routing: "));
    test_process_release(&p);
    cli_expect_error(cli_run("train", "--resume", "--out",
                         run_with("torn", "tuned", json_integer(5)), "--max-steps", "2"),
        3, ": the run's measured choices", "tuned is a number");
    cli_expect_error(cli_run("train", "--resume", "--out",
                         run_with("lost", "routing", json_string("both")), "--max-steps", "2"),
        3, "config.json: routing", "routing is unknown");
    cli_expect_error(cli_run("train", "--resume", "--out", run_with("odd", "conv", json_integer(1)),
                         "--max-steps", "2"),
        3, "config.json: conv", "conv is a number");
}
END_TEST

static double loss_by(const char *algorithm)
{
    test_process p = cli_run("eval", "--model", cli_path(run, "model.safetensors"), "--data", data,
        "--conv", (char *)algorithm, "--json", "--quiet");
    cli_expect_ok(p);
    json_t *m = cli_json(&p);
    double loss = cli_number(m, "margin_loss");
    json_decref(m);
    test_process_release(&p);
    return loss;
}

START_TEST(algorithms_agree)
{
    const double loss = loss_by("im2col");
    ck_assert_double_gt(loss, 0);
    ck_assert_double_eq_tol(loss_by("spectral"), loss, 1e-4 * loss);
    ck_assert_double_eq_tol(loss_by("conv1=direct"), loss, 1e-5 * loss);
    ck_assert_double_eq_tol(loss_by("auto"), loss, 1e-4 * loss);
}
END_TEST

START_TEST(bad_algorithms)
{
    static const struct {
        const char *value, *needle;
    } cases[] = {{"fast", "algorithm 'fast' is unknown, need auto, im2col, direct, winograd, "
                          "toom-cook or implicit"},
        {"winograd", "primary: winograd cannot serve"},
        {"primary=winograd", "primary: winograd cannot"},
        {"conv1=fast", "algorithm 'fast' is unknown"}, {"class_caps=im2col", "'class_caps=im2col'"},
        {"conv1", "algorithm 'conv1' is unknown"},
        {"conv1=im2col,spectral", "'spectral' is not LAYER=ALGORITHM"},
        {"conv11=im2col", "'conv11=im2col' is not"}};
    const uint64_t before = cli_tree_hash(work);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *value = (char *)cases[i].value;
        cli_expect_error(cli_run("train", TINY, "--out", cli_path(work, "never"), "--conv", value),
            2, cases[i].needle, "train");
        cli_expect_error(cli_run("train", TINY, "--out", run, "--overwrite", "--conv", value), 2,
            cases[i].needle, "train");
    }
    cli_expect_error(cli_run("eval", "--model", cli_path(run, "model.safetensors"), "--data", data,
                         "--conv", "fast"),
        2, "algorithm 'fast' is unknown", "eval");
    ck_assert_uint_eq(cli_tree_hash(work), before);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("command line: convolution");
    TCase *t = tcase_create("convolution");
    cli_use_test_cache();
    tcase_set_timeout(t, 600);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_run_keeps_its_algorithms);
    tcase_add_test(t, a_run_keeps_what_was_measured);
    tcase_add_test(t, algorithms_agree);
    tcase_add_test(t, bad_algorithms);
    suite_add_tcase(s, t);
    return s;
}
