/* test_cli_robust.c: `eval --transform` and `eval --attack` as a process: tables, JSON, bad input.
 */
#include <math.h>

#include "cli_support.h"

static char *place, *data, *model, *cnn;

/* A tiny network of either kind, trained for a moment. */
static void prepare(void)
{
    cli_use_test_cache();
    place = test_directory();
    data = cli_make_data(place, "data", 60, 40, 1, 12, 12, 4);
    char *specs[] = {cli_write_text(place, "tiny.json", TINY_SPEC),
        cli_write_text(place, "cnn.json",
            "{\"kind\": \"cnn\", \"input\": [1,12,12], \"classes\": 4,"
            " \"conv\": [{\"channels\": 8, \"kernel\": 3, \"stride\": 2, \"padding\": 1}],"
            " \"hidden\": [12], \"dropout\": 0.2}")};
    char *runs[] = {cli_path(place, "run"), cli_path(place, "run2")};
    for (int i = 0; i < 2; i++) {
        test_process p = cli_run("train", "--data", data, "--arch", specs[i], "--epochs", "6",
            "--batch", "8", "--lr", "0.01", "--augment", "none", "--out", runs[i], "--quiet");
        cli_expect_ok(p);
        test_process_release(&p);
    }
    model = cli_path(runs[0], "model.safetensors");
    cnn = cli_path(runs[1], "model.safetensors");
}

static json_t *eval(const char *of, const char *flags)
{
    char *text = caps_format("eval --model %s --data %s --json --quiet %s", of, data, flags);
    test_process p = cli_run_text(text);
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    test_process_release(&p);
    free(text);
    return value;
}

/* The only model's results in row i. */
static const json_t *result(const json_t *value, size_t i)
{
    const json_t *row = json_array_get(json_object_get(value, "rows"), i);
    const json_t *models = json_object_get(row, "models");
    ck_assert_uint_eq(json_array_size(models), 1);
    return json_array_get(models, 0);
}

/* Severity and epsilon 0 give what eval gives; rows and keys are as promised; the interval is one.
 */
static void check_rows(
    const json_t *value, const char *level, const double *levels, size_t count, const json_t *plain)
{
    const bool attack = strcmp(level, "epsilon") == 0;
    cli_expect_keys(value, attack ? "attack steps rows device" : "transform seed rows device");
    const json_t *rows = json_object_get(value, "rows");
    ck_assert_uint_eq(json_array_size(rows), count);
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(rows, i), *m = result(value, i);
        ck_assert(cli_number(row, level) == levels[i]);
        cli_expect_keys(m, attack ? "model n errors error_percent error_low_percent "
                                    "error_high_percent unchanged"
                                  : "model n errors error_percent error_low_percent "
                                    "error_high_percent");
        const double n = cli_number(m, "n"), errors = cli_number(m, "errors");
        const double percent = cli_number(m, "error_percent");
        ck_assert(n == 40);
        ck_assert_double_lt(fabs(percent - 100 * errors / n), 1e-6);
        ck_assert(cli_number(m, "error_low_percent") <= percent);
        ck_assert(cli_number(m, "error_high_percent") > percent ||
                  cli_number(m, "error_high_percent") == 100);
        if (levels[i] == 0)
            ck_assert(errors == cli_number(plain, "errors"));
    }
}

START_TEST(transforms)
{
    static const struct {
        const char *kind;
        double severity; /* of the second row */
        bool harms;      /* scaled about the centre, a bright quarter stays one */
    } kinds[] = {{"shift", 6, true}, {"rotate", 180, true}, {"scale", 4, false},
        {"affine", 1, true}, {"noise", 3, true}};
    json_t *plain = eval(model, "");
    for (int k = 0; k < 5; k++) {
        char flags[128];
        snprintf(flags, sizeof flags, "--transform %s --severity 0 %g", kinds[k].kind,
            kinds[k].severity);
        json_t *value = eval(model, flags);
        const double levels[] = {0, kinds[k].severity};
        check_rows(value, "severity", levels, 2, plain);
        ck_assert_str_eq(json_string_value(json_object_get(value, "transform")), kinds[k].kind);
        ck_assert(cli_number(value, "seed") == 1);
        ck_assert_msg(
            !kinds[k].harms || cli_number(result(value, 1), "errors") > cli_number(plain, "errors"),
            "%s does no harm", kinds[k].kind);

        /* The same again, and whatever the batch. */
        json_t *again = eval(model, flags);
        ck_assert(json_equal(value, again));
        json_decref(again);
        snprintf(flags, sizeof flags, "--transform %s --severity 0 %g --batch 7", kinds[k].kind,
            kinds[k].severity);
        again = eval(model, flags);
        ck_assert(json_equal(value, again));
        json_decref(again);
        json_decref(value);
    }
    /* Of a list given twice the last one counts. */
    json_t *value =
        eval(model, "--severity 1 2 3 --transform noise --severity=0.5 --transform-seed 77");
    ck_assert(cli_number(value, "seed") == 77);
    check_rows(value, "severity", (double[]){0.5}, 1, plain);
    json_decref(value);
    json_decref(plain);
}
END_TEST

START_TEST(attacks)
{
    static const double levels[] = {0, 0.1, 0.6}; /* classes differ by 0.7 */
    const char *const models[] = {model, cnn};
    for (int m = 0; m < 2; m++) {
        json_t *plain = eval(models[m], "");
        json_t *fgsm = eval(models[m], "--attack fgsm --epsilon 0 0.1 0.6");
        json_t *bim = eval(models[m], "--attack bim --epsilon 0 0.1 0.6 --attack-steps 4");
        check_rows(fgsm, "epsilon", levels, 3, plain);
        check_rows(bim, "epsilon", levels, 3, plain);
        ck_assert(cli_number(fgsm, "steps") == 1);
        ck_assert(cli_number(bim, "steps") == 4);
        ck_assert(cli_number(result(bim, 0), "unchanged") == 40);
        ck_assert(cli_number(result(bim, 2), "errors") > cli_number(plain, "errors"));
        ck_assert(cli_number(result(fgsm, 2), "errors") > cli_number(plain, "errors"));
        ck_assert(cli_number(result(fgsm, 2), "unchanged") < 40);
        json_t *again = eval(models[m], "--attack bim --epsilon 0.1 --attack-steps 4");
        ck_assert(json_equal(result(again, 0), result(bim, 1)));
        json_decref(again);
        json_decref(plain);
        json_decref(fgsm);
        json_decref(bim);
    }
    json_t *value = eval(model, "--attack bim --epsilon 0.05");
    ck_assert(cli_number(value, "steps") == 10);
    json_decref(value);
}
END_TEST

START_TEST(tables)
{
    test_process p = cli_run(
        "eval", "--model", model, "--data", data, "--transform", "rotate", "--severity", "0", "45");
    cli_expect_ok(p);
    ck_assert_msg(
        strstr(p.out, "transform rotate, seed 1: error of 40 images (95 % interval)\n") != NULL,
        "%s", p.out);
    ck_assert(strstr(p.out, model) != NULL);
    ck_assert(strstr(p.out, "\n       45  ") != NULL);
    test_process_release(&p);
    p = cli_run("eval", "--model", model, "--data", data, "--attack", "bim", "--epsilon", "0.25",
        "--limit", "10");
    cli_expect_ok(p);
    ck_assert_msg(strstr(p.out, "attack bim, 10 steps: error of 10 images") != NULL, "%s", p.out);
    ck_assert(strstr(p.out, "\n     0.25  ") != NULL);
    ck_assert(strstr(p.out, "images left as they are at epsilon 0.25") != NULL);
    test_process_release(&p);
}
END_TEST

START_TEST(wrong_usage)
{
    static const struct {
        const char *flags, *needle;
    } rows[] = {
        {"--transform bend --severity 1", "--transform: unknown value 'bend', need shift or"},
        {"--attack pgd --epsilon 0.1", "--attack: unknown value 'pgd', need fgsm or bim"},
        {"--transform rotate", "--transform is given without --severity"},
        {"--severity 1", "--severity is given without --transform"},
        {"--transform-seed 1", "--transform-seed is given without --transform"},
        {"--attack fgsm", "--attack is given without --epsilon"},
        {"--epsilon 0.1", "--epsilon is given without --attack"},
        {"--attack-steps 3", "--attack-steps is given without --attack"},
        {"--attack fgsm --epsilon 0.1 --attack-steps 3", "--attack-steps: fgsm has one step"},
        {"--attack bim --epsilon 0.1 --attack-steps 0", "'0' is out of range"},
        {"--transform rotate --severity 5 --attack fgsm --epsilon 0.1", "are both given, need one"},
        {"--transform rotate --severity", "--severity needs a value"},
        {"--transform rotate --severity big", "--severity: 'big' is not a number"},
        {"--transform rotate --severity 5 nan", "--severity: 'nan' is not a number"},
        {"--transform rotate --severity inf", "--severity: 'inf' is not a number"},
        {"--transform rotate --severity -1", "--severity: '-1' is out of range"},
        {"--transform rotate --severity 1e999", "is out of range"},
        {"--transform rotate --severity 10 181", "--severity: 181 is out of range, need 0 to 180"},
        {"--transform rotate --severity 1e400", "is out of range, need 0 to 180"},
        {"--transform noise --severity 2e6", "is out of range, need 0 to 10"},
        {"--transform shift --severity 65", "--severity: 65 is out of range, need 0 to 64"},
        {"--transform shift --severity 1.5", "--severity: 1.5 is not a whole number"},
        {"--transform scale --severity 4.1", "need 0 to 4 for --transform scale"},
        {"--transform affine --severity 1.01", "need 0 to 1 for --transform affine"},
        {"--transform noise --severity 10.5", "need 0 to 10 for --transform noise"},
        {"--transform noise --severity 1 --transform-seed x", "--transform-seed: 'x'"},
        {"--attack fgsm --epsilon 0.1 1.5", "--epsilon: '1.5' is out of range, need 0 to 1"},
        {"--attack fgsm --epsilon -0.1", "--epsilon: '-0.1' is out of range"},
        {"--attack bim --epsilon nan", "--epsilon: 'nan' is not a number"},
        {"--attack bim --epsilon 0.1x", "--epsilon: '0.1x' is not a number"},
        {"--transform noise --severity 1 --predictions PLACE/p.csv",
            "--predictions is for the images as they are"},
        {"--attack fgsm --epsilon 0.1 --conv primary=winograd", "primary: winograd cannot"},
    };
    const uint64_t before = cli_tree_hash(place);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *text = caps_format("eval --model %s --data %s %s", model, data, rows[i].flags);
        cli_expect_error(cli_run_text(text), 2, rows[i].needle, rows[i].flags);
        free(text);
    }
    ck_assert_uint_eq(cli_tree_hash(place), before);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("command line: robustness");
    TCase *t = tcase_create("robustness");
    tcase_set_timeout(t, 600);
    tcase_add_unchecked_fixture(t, prepare, NULL);
    tcase_add_test(t, transforms);
    tcase_add_test(t, attacks);
    tcase_add_test(t, tables);
    tcase_add_test(t, wrong_usage);
    suite_add_tcase(s, t);
    return s;
}
