/* Images kept for validation, several models, several seeds, through the program. */
#include <math.h>

#include "cli_support.h"

static char *work, *data, *spec;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 90, 42, 1, 12, 12, 4);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
}

static void tear_down(void)
{
    free(work);
}

START_TEST(validation_images_are_kept_apart)
{
    char *out = cli_path(work, "validated");
    json_t *value = cli_train(out, spec, data, "--validation 30 --max-steps 6");
    ck_assert(cli_number(value, "validation_error_percent") >= 0);
    ck_assert(cli_number(value, "test_error_percent") >= 0);
    ck_assert(cli_number(value, "epoch") == 2); /* 60 images, 3 steps an epoch */
    json_decref(value);
    /* The test split is looked at once, at the end. */
    size_t n = 0;
    char *text = (char *)cli_read(cli_path(out, "metrics.jsonl"), &n);
    int epochs = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *row = json_loads(line, 0, NULL);
        if (strcmp(json_string_value(json_object_get(row, "type")), "epoch") == 0) {
            epochs++;
            ck_assert(cli_number(row, "validation_error_percent") >= 0);
            ck_assert(json_is_null(json_object_get(row, "test_error_percent")) == (epochs == 1));
        }
        json_decref(row);
    }
    ck_assert_int_eq(epochs, 2);
    free(text);
}
END_TEST

START_TEST(several_models)
{
    char *a = cli_path(work, "one"), *b = cli_path(work, "two"), line[4096];
    json_decref(cli_train(a, spec, data, "--seed 3 --max-steps 5"));
    json_decref(cli_train(b, spec, data, "--seed 4 --max-steps 5"));
    char *ma = cli_path(a, "model.safetensors"), *mb = cli_path(b, "model.safetensors");
    char *csv = cli_path(work, "rows.csv");
    double percents[2];
    for (int i = 0; i < 2; i++) {
        snprintf(line, sizeof line, "eval --model %s --data %s --json", i ? mb : ma, data);
        test_process p = cli_run_text(line);
        cli_expect_ok(p);
        json_t *value = cli_json(&p);
        percents[i] = cli_number(value, "error_percent");
        ck_assert(cli_number(value, "error_low_percent") <= percents[i]);
        ck_assert(cli_number(value, "error_high_percent") >= percents[i]);
        json_decref(value);
        test_process_release(&p);
    }
    snprintf(line, sizeof line, "eval --model %s --model %s --data %s --predictions %s --json", ma,
        mb, data, csv);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    const json_t *models = json_object_get(value, "models");
    ck_assert_uint_eq(json_array_size(models), 2);
    for (size_t i = 0; i < 2; i++)
        ck_assert(cli_number(json_array_get(models, i), "error_percent") == percents[i]);
    ck_assert_double_eq_tol(
        cli_number(value, "mean_error_percent"), (percents[0] + percents[1]) / 2, 1e-6);
    ck_assert_double_eq_tol(
        cli_number(value, "sd_error_percent"), fabs(percents[0] - percents[1]) / sqrt(2), 1e-6);
    /* Rows are the ensemble's: their wrong labels are its errors, their lengths the mean. */
    size_t n = 0;
    int wrong = 0, rows = 0;
    char *text = (char *)cli_read(csv, &n);
    for (char *row = strtok(text, "\n"); row; row = strtok(NULL, "\n")) {
        int index, truth, label;
        float length[4];
        if (sscanf(row, "%d,%d,%d,%f,%f,%f,%f", &index, &truth, &label, &length[0], &length[1],
                &length[2], &length[3]) != 7)
            continue;
        rows++;
        wrong += truth != label;
        for (int j = 0; j < 4; j++)
            ck_assert(length[j] <= length[label]);
    }
    ck_assert_int_eq(rows, 42);
    ck_assert(cli_number(json_object_get(value, "ensemble"), "errors") == wrong);
    free(text);
    json_decref(value);
    test_process_release(&p);
    /* One that takes other images. */
    char *c = cli_path(work, "other");
    char *two = cli_write_text(work, "pairs.json", TINY_PAIRS);
    snprintf(line, sizeof line, "multi:%s", data);
    json_decref(cli_train(c, two, line, ""));
    snprintf(line, sizeof line, "eval --model %s %s --data %s", ma,
        cli_path(c, "model.safetensors"), data);
    cli_expect_error(cli_run_text(line), 3, "need models of the same data", line);
    snprintf(line, sizeof line, "eval --model %s nowhere --data %s", ma, data);
    cli_expect_error(cli_run_text(line), 3, "nowhere", line);
    p = cli_run("eval", "--help");
    ck_assert_ptr_nonnull(strstr(p.out, "of several models the ensemble's"));
    test_process_release(&p);
}
END_TEST

START_TEST(several_seeds)
{
    char *out = cli_path(work, "repeat"), *alone = cli_path(work, "alone"), line[2048];
    json_t *value = cli_train(out, spec, data, "--repeat 3 --seed 5");
    const json_t *runs = json_object_get(value, "runs");
    ck_assert_uint_eq(json_array_size(runs), 3);
    double percents[3], mean = 0;
    for (size_t i = 0; i < 3; i++) {
        ck_assert(cli_number(json_array_get(runs, i), "seed") == 5 + (double)i);
        percents[i] = cli_number(json_array_get(runs, i), "test_error_percent");
        mean += percents[i] / 3;
    }
    ck_assert_double_eq_tol(cli_number(value, "mean_test_error_percent"), mean, 1e-6);
    ck_assert(cli_number(value, "sd_test_error_percent") >= 0);
    json_decref(value);
    /* Each is what it would be by itself. */
    json_decref(cli_train(alone, spec, data, "--seed 6"));
    char *second = cli_path(out, "seed-6");
    ck_assert(
        cli_same_file(cli_path(alone, "model.safetensors"), cli_path(second, "model.safetensors")));
    /* Going on: what was begun continues, what was not begins with the same settings. */
    char *third = cli_path(out, "seed-7");
    const char *const files[] = {
        "config.json", "metrics.jsonl", "model.safetensors", "state.safetensors"};
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(remove(cli_path(third, files[i])), 0);
    snprintf(line, sizeof line, "train --resume --out %s --max-steps 4 --json", out);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    value = cli_json(&p);
    runs = json_object_get(value, "runs");
    ck_assert(cli_number(json_array_get(runs, 0), "resumed_from_step") == 2);
    ck_assert(cli_number(json_array_get(runs, 2), "resumed_from_step") == 0);
    ck_assert(cli_number(json_array_get(runs, 2), "step") == 4);
    json_decref(value);
    test_process_release(&p);
    /* A place that is taken. */
    snprintf(line, sizeof line, "train --data %s --arch %s --out %s --repeat 2", data, spec, alone);
    cli_expect_error(cli_run_text(line), 2, "holds a run already", line);
    snprintf(line, sizeof line, "train --data %s --arch %s --out %s --repeat 3 --seed 5", data,
        spec, out);
    cli_expect_error(cli_run_text(line), 2, "seed-5", line);
    cli_write_text(out, "repeat.json", "{\"seeds\": [1, \"x\"]}");
    snprintf(line, sizeof line, "train --resume --out %s", out);
    cli_expect_error(cli_run_text(line), 3, "seed 1 is no whole number", line);
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("command line: several runs");
    TCase *t = tcase_create("several");
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, validation_images_are_kept_apart);
    tcase_add_test(t, several_models);
    tcase_add_test(t, several_seeds);
    suite_add_tcase(s, t);
    return s;
}
