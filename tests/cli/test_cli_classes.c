/* Uneven classes through the program: --class-weights, errors by class, the balanced error. */
#include <math.h>

#include "cli_support.h"

enum { SIDE = 12, PIXELS = SIDE * SIDE };

static char *work, *spec, *cnn, *uneven, *even;

/* Two classes that differ little: a quarter that is somewhat brighter, in much noise. */
static void write_faint(const char *directory, const char *split, size_t of0, size_t of1)
{
    char name[64];
    const size_t n = of0 + of1;
    unsigned char *images = calloc(1, 16 + n * PIXELS), *labels = calloc(1, 8 + n);
    ck_assert(images && labels);
    cli_put_word(images, 0x803);
    cli_put_word(images + 4, n);
    cli_put_word(images + 8, SIDE);
    cli_put_word(images + 12, SIDE);
    cli_put_word(labels, 0x801);
    cli_put_word(labels + 4, n);
    uint32_t noise = split[1] == 'r' ? 1 : 77;
    for (size_t i = 0; i < n; i++) {
        const size_t label = (i + 1) * of1 / n > i * of1 / n; /* spread evenly */
        labels[8 + i] = (unsigned char)label;
        for (size_t p = 0; p < PIXELS; p++) {
            const bool top = p / SIDE < SIDE / 2, left = p % SIDE < SIDE / 2;
            noise = noise * 1664525u + 1013904223u;
            images[16 + i * PIXELS + p] =
                (unsigned char)((noise >> 24) * 3 / 4 + (top && left == (label == 0) ? 40 : 0));
        }
    }
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", split);
    cli_write(cli_path(directory, name), images, 16 + n * PIXELS);
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", split);
    cli_write(cli_path(directory, name), labels, 8 + n);
    free(images);
    free(labels);
}

static char *make_faint(const char *name, size_t of0, size_t of1)
{
    char *directory = cli_path(work, name);
    ck_assert_int_eq(mkdir(directory, 0777), 0);
    write_faint(directory, "train", of0, of1);
    write_faint(directory, "t10k", 100, 40);
    return directory;
}

static void set_up(void)
{
    work = test_directory();
    spec = cli_write_text(work, "two.json",
        "{\"input\": [1,12,12], \"classes\": 2,"
        " \"conv1\": {\"channels\": 8, \"kernel\": 3, \"stride\": 1},"
        " \"primary\": {\"types\": 4, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"
        " \"class_caps\": {\"dim\": 6, \"iterations\": 2}, \"decoder\": {\"hidden\": [16]}}");
    cnn = cli_write_text(work, "cnn.json",
        "{\"kind\": \"cnn\", \"input\": [1,12,12], \"classes\": 2,"
        " \"conv\": [{\"channels\": 6, \"kernel\": 3, \"stride\": 2}], \"hidden\": [16]}");
    uneven = make_faint("uneven", 380, 20);
    even = make_faint("even", 60, 60);
}

static void tear_down(void)
{
    free(work);
}

/* ---- weights -------------------------------------------------------------------------------- */

static double class_error(const json_t *document, size_t j)
{
    const json_t *row = json_array_get(json_object_get(document, "class_errors"), j);
    cli_expect_keys(row, "n errors error_percent");
    return cli_number(row, "error_percent");
}

/* Of 380 and 20 images the plain training never finds the second class; the balanced one does, with
 * either loss. */
START_TEST(the_small_class_is_learnt_with_balanced_weights)
{
    const char *archs[] = {spec, cnn};
    for (size_t a = 0; a < 2; a++) {
        char *plain = cli_path(work, a ? "plain-cnn" : "plain"),
             *balanced = cli_path(work, a ? "balanced-cnn" : "balanced"), line[512];
        const char *flags = "--max-steps 120 --lr 0.003 --augment none";
        json_t *before = cli_train(plain, archs[a], uneven, flags);
        snprintf(line, sizeof line, "%s --class-weights balanced", flags);
        json_t *after = cli_train(balanced, archs[a], uneven, line);
        ck_assert_double_gt(class_error(before, 1), 90);
        ck_assert_double_lt(class_error(after, 1), 45);
        const double mean = (class_error(after, 0) + class_error(after, 1)) / 2;
        ck_assert_double_eq_tol(cli_number(after, "test_balanced_error_percent"), mean, 1e-6);
        json_decref(before);
        json_decref(after);
        /* What eval says of the same model. */
        snprintf(line, sizeof line, "eval --model %s/model.safetensors --data %s --json --quiet",
            balanced, uneven);
        json_t *eval = cli_run_json(line);
        ck_assert_double_eq_tol(cli_number(eval, "balanced_error_percent"), mean, 1e-6);
        ck_assert_uint_eq(json_array_size(json_object_get(eval, "class_errors")), 2);
        json_decref(eval);
    }
}
END_TEST

START_TEST(weights_are_settings_of_the_run)
{
    char *out = cli_path(work, "settings");
    json_decref(cli_train(out, spec, uneven, "--class-weights balanced"));
    json_t *config = cli_config(out);
    ck_assert_str_eq(json_string_value(json_object_get(config, "class_weights")), "balanced");
    const json_t *values = json_object_get(config, "class_weight_values");
    /* n / (J n_c): 400 / (2 * 380) and 400 / (2 * 20) */
    ck_assert_double_eq_tol(json_number_value(json_array_get(values, 0)), 400.0 / 760, 1e-6);
    ck_assert_double_eq_tol(json_number_value(json_array_get(values, 1)), 10, 1e-6);
    json_decref(config);
    char *plain = cli_path(work, "no-weights");
    json_decref(cli_train(plain, spec, uneven, "--class-weights none"));
    config = cli_config(plain);
    ck_assert_ptr_null(json_object_get(config, "class_weight_values"));
    json_decref(config);
}
END_TEST

/* Counted over the images that are trained on: after --limit and --validation. */
START_TEST(balanced_over_the_images_that_are_trained_on)
{
    char *out = cli_path(work, "limited");
    json_decref(
        cli_train(out, spec, uneven, "--class-weights balanced --limit 100 --validation 20"));
    json_t *config = cli_config(out);
    const json_t *values = json_object_get(config, "class_weight_values");
    const double w0 = json_number_value(json_array_get(values, 0)),
                 w1 = json_number_value(json_array_get(values, 1));
    /* 80 images; their weights' sum is 80, and each class's share of it a half. */
    const double n0 = 40 / w0, n1 = 40 / w1;
    ck_assert_double_eq_tol(n0 + n1, 80, 1e-4);
    ck_assert(n1 >= 1 && n1 <= 5 && fabs(n1 - round(n1)) < 1e-4);
    json_decref(config);
}
END_TEST

START_TEST(resumed_with_weights)
{
    char line[1024];
    char *whole = cli_path(work, "weighted"), *parts = cli_path(work, "weighted-parts");
    json_decref(cli_train(whole, spec, uneven, "--class-weights 0.5,4 --max-steps 25"));
    json_decref(cli_train(parts, spec, uneven, "--class-weights 0.5,4 --max-steps 11"));
    snprintf(line, sizeof line, "train --resume --out %s --max-steps 25 --quiet", parts);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert(
        cli_same_file(cli_path(whole, "model.safetensors"), cli_path(parts, "model.safetensors")));
    snprintf(line, sizeof line, "train --resume --out %s --class-weights 0.5,4", parts);
    p = cli_run_text(line);
    cli_expect_ok(p);
    test_process_release(&p);
    snprintf(line, sizeof line, "train --resume --out %s --class-weights none", parts);
    cli_expect_error(cli_run_text(line), 2,
        "train: --class-weights none with --resume: the run has 0.5,4", line);
    json_decref(cli_train(cli_path(work, "ones"), spec, uneven, "--class-weights 1,1"));
    json_decref(cli_train(cli_path(work, "none"), spec, uneven, ""));
    ck_assert(cli_same_file(
        cli_path(work, "ones/model.safetensors"), cli_path(work, "none/model.safetensors")));
}
END_TEST

START_TEST(wrong_weights)
{
    static const struct {
        const char *value, *needle;
    } rows[] = {{"1,2,3", "--class-weights: 3 numbers, need one for each of the 2 classes"},
        {"1", "--class-weights: 1 number, need one for each of the 2 classes"},
        {"ballanced", "--class-weights: 'ballanced' is no number from 0 on, need balanced, none"},
        {"1,", "--class-weights: '' is no number"}, {"1,-2", "'-2' is no number from 0 on"},
        {"1,nan", "'nan' is no number"}, {"0,0", "all are 0, need one above it"},
        {"1,2x", "'2x' is no number"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_process p = cli_run("train", "--data", uneven, "--arch", spec, "--out",
            cli_path(work, "never"), "--class-weights", (char *)(uintptr_t)rows[i].value);
        cli_expect_error(p, 2, rows[i].needle, rows[i].value);
        ck_assert(!caps_path_exists(cli_path(work, "never")));
    }
}
END_TEST

/* The note of a class that is left out, where weights would help and are not there yet. */
START_TEST(a_class_that_is_never_predicted_is_named)
{
    test_process p = cli_run("train", "--data", uneven, "--arch", spec, "--out",
        cli_path(work, "named"), "--epochs", "4", "--batch", "20");
    cli_expect_ok(p);
    const char *note =
        strstr(p.err, "note: class 1 (20 of 400 training images) was never predicted "
                      "in the last 3 epochs: classes are uneven: try --class-weights "
                      "balanced");
    ck_assert_msg(note != NULL, "%s", p.err);
    ck_assert_ptr_null(strstr(note + 1, "note: class"));
    test_process_release(&p);
}
END_TEST

/* ---- errors by class ------------------------------------------------------------------------ */

static test_process train_text(const char *name, const char *from)
{
    test_process p = cli_run("train", "--data", (char *)(uintptr_t)from, "--arch", spec, "--out",
        cli_path(work, name), "--epochs", "2", "--batch", "20");
    cli_expect_ok(p);
    return p;
}

/* At epochs and at the end where classes are uneven, and not where they are even. */
START_TEST(errors_by_class_where_classes_are_uneven)
{
    test_process p = train_text("text-uneven", uneven);
    const char *line = strstr(p.err, "  error by class: 0: ");
    ck_assert_msg(line && strstr(line + 1, "  error by class: 0: "), "two epochs: %s", p.err);
    ck_assert_msg(strstr(p.out, "test balanced error: ") != NULL, "%s", p.out);
    ck_assert_msg(strstr(p.out, "\nerror by class: 0: ") != NULL, "%s", p.out);
    test_process_release(&p);

    p = train_text("text-even", even);
    ck_assert_msg(strstr(p.err, "error by class") == NULL, "%s", p.err);
    ck_assert_msg(strstr(p.out, "error by class") == NULL, "%s", p.out);
    ck_assert_msg(strstr(p.out, "balanced") == NULL, "%s", p.out);
    test_process_release(&p);

    /* The test split has 100 and 40 images. */
    p = cli_run("eval", "--model", cli_path(work, "text-even/model.safetensors"), "--data", even);
    cli_expect_ok(p);
    ck_assert_msg(strstr(p.out, "\nbalanced error: ") != NULL, "%s", p.out);
    test_process_release(&p);
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("cli classes");
    TCase *tc = tcase_create("uneven classes");
    tcase_set_timeout(tc, 300);
    tcase_add_unchecked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, the_small_class_is_learnt_with_balanced_weights);
    tcase_add_test(tc, weights_are_settings_of_the_run);
    tcase_add_test(tc, balanced_over_the_images_that_are_trained_on);
    tcase_add_test(tc, resumed_with_weights);
    tcase_add_test(tc, wrong_weights);
    tcase_add_test(tc, a_class_that_is_never_predicted_is_named);
    tcase_add_test(tc, errors_by_class_where_classes_are_uneven);
    suite_add_tcase(s, tc);
    return s;
}
