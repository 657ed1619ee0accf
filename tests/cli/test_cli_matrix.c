/* Networks of matrix capsules, and the flags of their loss, through the program. */
#include <math.h>

#include "cli_support.h"

#define TINY_MATRIX                                                                                \
    "{\"input\":[1,12,12],\"classes\":4,\"layers\":["                                              \
    "{\"kind\":\"conv\",\"name\":\"conv1\",\"channels\":5,\"kernel\":3,\"stride\":2},"             \
    "{\"kind\":\"matrix_primary\",\"name\":\"primary\",\"types\":2},"                              \
    "{\"kind\":\"matrix_conv\",\"name\":\"caps1\",\"types\":3,\"kernel\":3,\"stride\":1,"          \
    "\"routing\":{\"kind\":\"em\",\"iterations\":2}},"                                             \
    "{\"kind\":\"matrix_caps\",\"name\":\"class_caps\",\"capsules\":4,"                            \
    "\"routing\":{\"kind\":\"em\",\"iterations\":2}}],\"decoder\":{\"hidden\":[9]}}"

static char *work, *data, *spec, *vectors;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 90, 42, 1, 12, 12, 4);
    spec = cli_write_text(work, "matrix.json", TINY_MATRIX);
    vectors = cli_write_text(work, "vectors.json", TINY_SPEC);
}

static void tear_down(void)
{
    free(work);
}

static json_t *config_of(const char *out)
{
    json_t *value = json_load_file(cli_path(out, "config.json"), 0, NULL);
    ck_assert_msg(json_is_object(value), "%s", out);
    return value;
}

START_TEST(profiles_are_recorded)
{
    static const struct {
        const char *flags, *loss;
        double first, last, decay;
    } rows[] = {
        {"--profile em", "spread", 0.2, 0.9, 2e-7},
        {"--profile em-authors", "spread", 0.2, 0.99, 2e-7},
        {"--spread-margin 0.5", "spread", 0.5, 0.5, 0},
        {"--spread-margin 0.1:0.7 --weight-decay 0.01", "spread", 0.1, 0.7, 0.01},
        {"--profile em --loss margin --margin-down 0.25", "margin", 0, 0, 2e-7},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char flags[128], name[16];
        snprintf(name, sizeof name, "profile%zu", i);
        snprintf(flags, sizeof flags, "%s --epochs 1 --batch 45", rows[i].flags);
        char *out = cli_path(work, name);
        json_t *result = cli_train(out, spec, data, flags), *config = config_of(out);
        const json_t *loss = json_object_get(config, "loss");
        ck_assert_str_eq(json_string_value(json_object_get(loss, "class_loss")), rows[i].loss);
        ck_assert(cli_number(config, "spread_margin_first") == rows[i].first);
        ck_assert(cli_number(config, "weight_decay") == rows[i].decay);
        if (rows[i].last > 0)
            ck_assert_double_eq_tol(cli_number(loss, "spread_margin"), rows[i].last, 1e-7);
        ck_assert(isfinite(cli_number(result, "margin_loss")));
        json_decref(result);
        json_decref(config);
    }
}
END_TEST

/* Stopped and resumed, the margin goes on on the same line. */
START_TEST(a_run_that_was_stopped_ends_with_the_same_bytes)
{
    char line[2048], *whole = cli_path(work, "whole"), *parts = cli_path(work, "parts");
    json_decref(cli_train(whole, spec, data, "--profile em --max-steps 8"));
    snprintf(line, sizeof line,
        "train --data %s --arch %s --out %s --profile em --max-steps 8 --batch 20 --time-limit "
        "0.001",
        data, spec, parts);
    for (int i = 0; i < 3; i++) {
        test_process p = cli_run_text(line);
        ck_assert_int_eq(p.exit_code, 0);
        test_process_release(&p);
        snprintf(line, sizeof line, "train --resume --out %s --time-limit 0.001", parts);
    }
    static const struct {
        const char *flags, *needle;
    } others[] = {{"--loss margin", "the run has spread loss"},
        {"--spread-margin 0.3:0.9", "the run has 0.2"},
        {"--spread-margin 0.2:0.8", "the run has 0.9"}, {"--weight-decay 0", "the run has 2e-7"},
        {"--iterations 3", "the run has 2"}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        snprintf(line, sizeof line, "train --resume --out %s %s", parts, others[i].flags);
        cli_expect_error(cli_run_text(line), 2, others[i].needle, line);
    }
    snprintf(line, sizeof line,
        "train --resume --out %s --loss spread --spread-margin 0.2:0.9 --iterations 2", parts);
    test_process p = cli_run_text(line);
    ck_assert_int_eq(p.exit_code, 0);
    test_process_release(&p);
    ck_assert(
        cli_same_file(cli_path(whole, "model.safetensors"), cli_path(parts, "model.safetensors")));
}
END_TEST

START_TEST(what_a_network_shows)
{
    char line[2048], *out = cli_path(work, "shown"), *png = cli_path(work, "a.png");
    json_decref(cli_train(out, spec, data, "--epochs 1"));
    snprintf(
        line, sizeof line, "predict --model %s --data %s --index 3 --capsules --json", out, data);
    json_t *all = cli_run_json(line), *one = json_array_get(all, 0);
    const json_t *lengths = json_object_get(one, "lengths");
    const json_t *capsules = json_object_get(one, "capsules");
    ck_assert_uint_eq(json_array_size(lengths), 4);
    ck_assert_uint_eq(json_array_size(capsules), 4);
    ck_assert_uint_eq(json_array_size(json_array_get(capsules, 0)), 16);
    ck_assert_uint_eq(json_array_size(json_object_get(one, "reconstruction")), 144);
    json_decref(all);
    static const char *const kinds[] = {
        "assignment", "perturb", "reconstruct", "filters", "lengths", "confusion"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const bool index = strcmp(kinds[i], "perturb") == 0 || strcmp(kinds[i], "assignment") == 0;
        snprintf(line, sizeof line, "show %s --model %s --data %s --out %s%s", kinds[i], out, data,
            png, index ? " --index 1 2" : "");
        test_process p = cli_run_text(line);
        ck_assert_msg(p.exit_code == 0, "%s: %s", line, p.err);
        test_process_release(&p);
    }
    snprintf(line, sizeof line, "show couplings --model %s --data %s --out %s", out, data, png);
    cli_expect_error(cli_run_text(line), 3, "are matrix capsules (show assignment)", line);
    snprintf(line, sizeof line, "eval --model %s --data %s --attack fgsm --epsilon 0.1", out, data);
    test_process p = cli_run_text(line);
    ck_assert_msg(p.exit_code == 0, "%s: %s", line, p.err);
    test_process_release(&p);
    json_decref(cli_train(cli_path(work, "vectors"), vectors, data, "--epochs 1"));
    snprintf(line, sizeof line, "show assignment --model %s --data %s --out %s",
        cli_path(work, "vectors"), data, png);
    cli_expect_error(cli_run_text(line), 3, "are vectors (show couplings)", line);
}
END_TEST

static const struct {
    bool vectors;
    const char *flags, *needle;
} wrong[] = {
    {false, "--spread-margin 0.9:0.2", "it falls from 0.9 to 0.2"},
    {false, "--spread-margin 0:0.2", "need > 0 and <= 1"},
    {false, "--spread-margin 0.2:1.5", "need > 0 and <= 1"},
    {false, "--spread-margin 0.2:", "not a number"},
    {false, "--spread-margin wide", "not a number"},
    {false, "--loss spred", "need margin or spread"},
    {false, "--loss margin --spread-margin 0.2", "whose loss is the margin loss"},
    {false, "--margin-down 0.2", "whose loss is the spread loss"},
    {false, "--leaky", "no layer of the kind"},
    {false, "--weight-decay -1", "--weight-decay"},
    {true, "--loss spread", "whose loss is the margin loss"},
    {true, "--spread-margin 0.2", "whose loss is the margin loss"},
};

START_TEST(wrong_settings)
{
    char line[2048], *out = cli_path(work, "wrong");
    snprintf(line, sizeof line, "train --data %s --arch %s --out %s %s", data,
        wrong[_i].vectors ? vectors : spec, out, wrong[_i].flags);
    cli_expect_error(cli_run_text(line), 2, wrong[_i].needle, line);
    ck_assert(!caps_path_exists(out));
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("command line: matrix capsules");
    TCase *t = tcase_create("matrix");
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, profiles_are_recorded);
    tcase_add_test(t, a_run_that_was_stopped_ends_with_the_same_bytes);
    tcase_add_test(t, what_a_network_shows);
    tcase_add_loop_test(t, wrong_settings, 0, (int)(sizeof wrong / sizeof wrong[0]));
    suite_add_tcase(s, t);
    return s;
}
