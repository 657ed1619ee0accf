/* test_cli_viewpoints.c: smallNORB, solids, viewpoints, crops, affine and flip by the program. */
#include <math.h>

#include "cli_support.h"
#include "data_files.h"
#include "image.h"

static char *work, *spec;

/* A network of a few milliseconds for 2x32x32. */
#define SPEC                                                                                       \
    "{\"kind\":\"cnn\",\"input\":[2,32,32],\"classes\":5,\"conv\":[{\"channels\":6,\"kernel\":5,"  \
    "\"stride\":4}],\"hidden\":[12],\"dropout\":0}"

static void begin(void)
{
    if (work)
        return;
    cli_use_test_cache();
    work = test_directory();
    spec = cli_write_text(work, "spec.json", SPEC);
}

/* ---- training and what goes on from it ------------------------------------------------------ */

START_TEST(solids_from_training_to_evaluation)
{
    begin();
    char *run = cli_path(work, "run"), *model = cli_path(run, "model.safetensors");
    test_process p = cli_run("train", "--data", "solids:4", "--arch", spec, "--out", run,
        "--viewpoints", "familiar-azimuths", "--limit", "300", "--batch", "50", "--epochs", "2",
        "--flip", "--crop-contrast", "0.25", "--json");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "data: solids:4, 300 training images of 2x48x48"));
    ck_assert_ptr_nonnull(strstr(p.err, "data: solids:4, 8100 test images of 2x48x48"));
    json_t *value = cli_json(&p);
    const double trained = cli_number(value, "test_error_percent");
    json_decref(value);
    test_process_release(&p);

    size_t n;
    char *config = (char *)cli_read(cli_path(run, "config.json"), &n);
    static const char *const keys[] = {"\"augment\": \"crop\"", "\"flip\": true",
        "\"crop_contrast\": 0.25", "\"crop_brightness\": 0.5",
        "\"viewpoints\": \"familiar-azimuths\"", "\"affine_rotate\": 10"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        ck_assert_msg(strstr(config, keys[i]) != NULL, "no %s", keys[i]);
    free(config);

    /* The run's viewpoints are the default. */
    p = cli_run("eval", "--data", "solids:4", "--model", model, "--json");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "--viewpoints familiar-azimuths (otherwise with"));
    value = cli_json(&p);
    ck_assert(cli_number(value, "n") == 8100);
    ck_assert_double_eq_tol(cli_number(value, "error_percent"), trained, 1e-4);
    json_decref(value);
    test_process_release(&p);
    p = cli_run("eval", "--data", "solids:4", "--model", model, "--viewpoints", "novel-elevations",
        "--limit", "400", "--crops", "5", "--json");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "lengths are means over 5 parts of each image"));
    value = cli_json(&p);
    ck_assert(cli_number(value, "n") == 400);
    json_decref(value);
    test_process_release(&p);
    p = cli_run("predict", "--data", "solids:4", "--model", model, "--index", "3", "--json");
    cli_expect_ok(p);
    test_process_release(&p);
}
END_TEST

/* Stopped and resumed, the same bytes; flags of another kind are refused with both values. */
START_TEST(resumed_with_the_same_changes)
{
    begin();
    char *whole = cli_path(work, "whole"), *parts = cli_path(work, "parts");
    const char *const both[] = {whole, parts};
    for (int i = 0; i < 2; i++) {
        test_process p = cli_run("train", "--data", "solids:9", "--arch", spec, "--out", both[i],
            "--limit", "120", "--batch", "32", "--max-steps", i ? "5" : "9", "--flip",
            "--viewpoints", "novel-azimuths");
        cli_expect_ok(p);
        test_process_release(&p);
    }
    cli_expect_error(cli_run("train", "--resume", "--out", parts, "--crop-contrast", "0.1"), 2,
        "--crop-contrast 0.1 with --resume: the run has 0.5;", "need");
    cli_expect_error(cli_run("train", "--resume", "--out", parts, "--viewpoints", "all"), 2,
        "--viewpoints all with --resume: the run has novel-azimuths;", "need");
    test_process p = cli_run("train", "--resume", "--out", parts, "--max-steps", "9", "--flip",
        "--viewpoints", "novel-azimuths", "--crop-brightness", "0.5");
    cli_expect_ok(p);
    test_process_release(&p);
    size_t n, m;
    unsigned char *x = cli_read(cli_path(whole, "model.safetensors"), &n);
    unsigned char *y = cli_read(cli_path(parts, "model.safetensors"), &m);
    ck_assert_uint_eq(n, m);
    ck_assert_mem_eq(x, y, n);
    free(x);
    free(y);
}
END_TEST

START_TEST(affine_is_recorded)
{
    begin();
    char *data = test_put_set(40, 1, 4, 12, 12), *run = cli_path(work, "affine");
    char *tiny = cli_write_text(work, "tiny.json", TINY_SPEC);
    test_process p = cli_run("train", "--data", data, "--arch", tiny, "--out", run, "--augment",
        "affine", "--affine-rotate", "20", "--affine-squeeze", "0", "--affine-erase", "2",
        "--no-affine-shift", "--max-steps", "3", "--batch", "8");
    cli_expect_ok(p);
    test_process_release(&p);
    size_t n;
    char *config = (char *)cli_read(cli_path(run, "config.json"), &n);
    static const char *const keys[] = {"\"augment\": \"affine\"", "\"affine_rotate\": 20",
        "\"affine_squeeze\": 0", "\"affine_erase\": 2", "\"affine_shift\": false"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        ck_assert_msg(strstr(config, keys[i]) != NULL, "no %s", keys[i]);
    free(config);
    cli_expect_error(cli_run("train", "--resume", "--out", run, "--affine-erase", "4"), 2,
        "--affine-erase 4 with --resume: the run has 2;", "need");
    cli_expect_error(cli_run("eval", "--data", data, "--model", run, "--crops", "5"), 2,
        "need more than the network's 12x12 for crops", "need");
    p = cli_run("eval", "--data", data, "--model", run, "--shifts", "9", "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    ck_assert(cli_number(value, "n") == 40);
    json_decref(value);
    test_process_release(&p);
    free(data);
}
END_TEST

/* ---- several looks ---- */

/* The lengths of image 7, of predict: they are those that eval writes of it, and unless `looks` is
 * one look they are not those of the image as it is. The label is that of the greatest. */
static void expect_as_eval(const char *data, const char *run, const char *looks, bool alone)
{
    char *csv = cli_path(work, "looks.csv"), *row;
    test_process p = cli_run_text(cli_line(
        "eval --data %s --model %s --predictions %s --limit 20 %s --quiet", data, run, csv, looks));
    cli_expect_ok(p);
    test_process_release(&p);
    size_t n, greatest = 0;
    unsigned char *bytes = cli_read(csv, &n);
    char *text = strndup((char *)bytes, n);
    ck_assert_ptr_nonnull(row = strstr(text, "\n7,"));
    json_t *all = cli_run_json(
        cli_line("predict --data %s --model %s --index 2 7 --json %s", data, run, looks));
    const json_t *one = json_array_get(all, 1), *lengths = json_object_get(one, "lengths");
    json_t *plain =
        cli_run_json(cli_line("predict --data %s --model %s --index 7 --json", data, run));
    const json_t *as_it_is = json_object_get(json_array_get(plain, 0), "lengths");
    row = strchr(row + 1, ',') + 1; /* the true label, then the label */
    ck_assert(atoi(row) == (int)cli_number(one, "true_label"));
    row = strchr(row, ',') + 1;
    ck_assert(atoi(row) == (int)cli_number(one, "label"));
    double far = 0;
    for (size_t j = 0; j < json_array_size(lengths); j++) {
        row = strchr(row, ',') + 1;
        const double x = json_number_value(json_array_get(lengths, j));
        ck_assert_double_eq_tol(x, atof(row), 1e-6);
        far = fmax(far, fabs(x - json_number_value(json_array_get(as_it_is, j))));
        if (x > json_number_value(json_array_get(lengths, greatest)))
            greatest = j;
    }
    ck_assert((size_t)cli_number(one, "label") == greatest);
    ck_assert(alone ? far < 1e-7 : far > 1e-5);
    json_decref(all);
    json_decref(plain);
    free(text);
    free(bytes);
}

static void write_dot(const char *path, int y, int x)
{
    caps_error err = {0};
    caps_image image;
    test_ok(caps_image_init(&image, 12, 12, 1, &err));
    memset(image.pixels, 0, 12 * 12);
    image.pixels[y * 12 + x] = 255;
    test_ok(caps_image_write_png(&image, path, &err));
    caps_image_release(&image);
}

/* A file with a dot, and the same file with the dot elsewhere, seen from where it is the first. */
static void expect_files_are_moved(const char *run)
{
    double sums[4] = {0};
    char *png = cli_path(work, "dot.png");
    write_dot(png, 6, 5);
    for (int k = 0; k < 5; k++) {
        static const int by[5][2] = {{0, 0}, {-1, 0}, {0, -1}, {0, 1}, {1, 0}};
        char *other = cli_path(work, "moved.png");
        write_dot(other, 6 + by[k][0], 5 + by[k][1]);
        json_t *all = cli_run_json(cli_line("predict --model %s %s --json", run, other));
        for (size_t j = 0; j < 4; j++)
            sums[j] += json_number_value(
                json_array_get(json_object_get(json_array_get(all, 0), "lengths"), j));
        json_decref(all);
    }
    json_t *all = cli_run_json(cli_line("predict --model %s %s --shifts 5 --json", run, png));
    const json_t *lengths = json_object_get(json_array_get(all, 0), "lengths");
    for (size_t j = 0; j < 4; j++)
        ck_assert_double_eq_tol(json_number_value(json_array_get(lengths, j)), sums[j] / 5, 1e-6);
    json_decref(all);
}

START_TEST(predict_takes_several_looks)
{
    begin();
    char *data = test_put_set(40, 1, 4, 12, 12), *run = cli_path(work, "looks");
    char *tiny = cli_write_text(work, "tiny-looks.json", TINY_SPEC);
    json_decref(cli_train(run, tiny, data, "--max-steps 4"));
    expect_as_eval(data, run, "--shifts 1", true);
    expect_as_eval(data, run, "--shifts 9", false);
    expect_as_eval(data, run, "--shifts 25", false);
    expect_files_are_moved(run);
    cli_expect_error(cli_run("predict", "--data", data, "--model", run, "--crops", "5"), 2,
        "need more than the network's 12x12 for crops", "predict");
    test_process p =
        cli_run("predict", "--data", data, "--model", run, "--shifts", "9", "--index", "1");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "lengths are means over 9 shifted copies of each image"));
    ck_assert_ptr_nonnull(strstr(p.out, "  label "));
    test_process_release(&p);
    free(data);
    /* Of images that are larger than the network's input. */
    char *large = cli_path(work, "large");
    p = cli_run("train", "--data", "solids:4", "--arch", spec, "--out", large, "--limit", "60",
        "--batch", "20", "--max-steps", "2");
    cli_expect_ok(p);
    test_process_release(&p);
    expect_as_eval("solids:4", large, "--crops 1", true);
    expect_as_eval("solids:4", large, "--crops 13", false);
}
END_TEST

/* ---- wrong usage ---------------------------------------------------------------------------- */

static const struct {
    const char *line;
    int code;
    const char *needle;
} wrong[] = {
    {"train --data solids:x --out r", 3, "solids:x: 'x' is no seed"},
    {"train --data solids:1 --out r --augment affine --limit 8", 2, "need crop or none"},
    {"train --data solids:1 --out r --viewpoints near", 2, "need all or familiar-azimuths"},
    {"train --data solids:1 --out r --affine-rotate 5", 2,
        "--affine-rotate with the augmentation crop, need --augment affine"},
    {"train --data solids:1 --out r --augment none --crop-contrast 1", 2,
        "--crop-contrast with the augmentation none, need --augment crop"},
    {"train --data solids:1 --out r --crop-contrast 1.5", 2, "--crop-contrast"},
    {"train --data solids:1 --out r --augment shift2 --limit 8", 2, "the size of the view"},
    {"eval --data solids:1 --model m --crops 4", 2, "need 1 or 5 or 9 or 13"},
    {"eval --data solids:1 --model m --shifts 2", 2, "need 1 or 5 or 9 or 13 or 25"},
    {"eval --data solids:1 --model m --shifts 5 --crops 5", 2, "exclude each other"},
    {"predict --data solids:1 --model m --crops 4", 2, "need 1 or 5 or 9 or 13"},
    {"predict --data solids:1 --model m --shifts 5 --crops 5", 2, "exclude each other"},
    {"predict a.png --model m --crops 5", 2, "--crops without --data"},
    {"predict --data solids:1 --model m --shifts 5 --capsules", 2,
        "--shifts is for labels and lengths, need no --capsules"},
    {"predict --data solids:1 --model m --crops 5 --reconstruct a.png", 2,
        "--crops is for labels and lengths, need no --capsules and no --reconstruct"},
    {"eval --data solids:1 --model m --crops 5 --transform shift --severity 1", 2,
        "--crops is for the images as they are"},
};

START_TEST(wrong_usage)
{
    begin();
    char line[1024];
    const bool trains = strncmp(wrong[_i].line, "train", 5) == 0;
    snprintf(
        line, sizeof line, "%s%s%s", wrong[_i].line, trains ? " --arch " : "", trains ? spec : "");
    cli_expect_error(cli_run_text(line), wrong[_i].code, wrong[_i].needle, wrong[_i].line);
    ck_assert(!caps_path_exists("r"));
}
END_TEST

/* Attacks and transforms are for pixels of 0 to 1. */
START_TEST(standardised_images_are_not_changed)
{
    begin();
    char *run = cli_path(work, "plain");
    test_process p = cli_run("train", "--data", "solids:4", "--arch", spec, "--out", run, "--limit",
        "50", "--max-steps", "1", "--viewpoints", "familiar-elevations");
    cli_expect_ok(p);
    test_process_release(&p);
    cli_expect_error(cli_run("eval", "--data", "solids:4", "--limit", "20", "--model", run,
                         "--attack", "fgsm", "--epsilon", "0.1"),
        2, "solids:4: its images are standardised, need pixels of 0 to 1", "need");
}
END_TEST

/* ---- smallNORB ------------------------------------------------------------------------------ */

/* A split of n images of 2x96x96: classes in turn, bars of five lengths. */
static void put_norb(const char *dir, const char *split, size_t n, bool cut)
{
    const size_t pixels = 2 * 96 * 96, bytes = 24 + n * pixels;
    unsigned char *b = calloc(1, bytes + 20 + 16 * n);
    const unsigned sizes[][6] = {{0x1E3D4C55, 4, (unsigned)n, 2, 96, 96},
        {0x1E3D4C54, 1, (unsigned)n, 1, 1, 0}, {0x1E3D4C54, 2, (unsigned)n, 4, 1, 0}};
    static const char *const parts[] = {"dat", "cat", "info"};
    for (int part = 0; part < 3; part++) {
        size_t at = 0;
        for (int k = 0; k < (part ? 5 : 6); k++, at += 4)
            for (int byte = 0; byte < 4; byte++)
                b[at + (size_t)byte] = (unsigned char)(sizes[part][k] >> (8 * byte));
        for (size_t i = 0; i < n; i++) {
            if (part == 0) {
                memset(b + at, 90, pixels);
                for (size_t y = 30; y < 66; y++)
                    memset(b + at + y * 96 + 20, 200, 8 + i % 5 * 12);
                at += pixels;
            } else {
                memset(b + at, 0, part == 1 ? 4 : 16);
                b[at + (part == 1 ? 0 : 4)] = (unsigned char)(part == 1 ? i % 5 : i % 9);
                if (part == 2)
                    b[at + 8] = (unsigned char)(i % 18 * 2);
                at += part == 1 ? 4 : 16;
            }
        }
        char *name = caps_format("smallnorb-5x-%s-%s.mat", split, parts[part]);
        test_put(dir, name, b, cut && part == 0 ? at - 1 : at);
        free(name);
    }
    free(b);
}

START_TEST(smallnorb_serves_training)
{
    begin();
    char *dir = cli_make_directory(work, "smallnorb"), *run = cli_path(work, "norb");
    put_norb(dir, "training", 60, false);
    put_norb(dir, "testing", 30, false);
    test_process p = cli_run("train", "--data", dir, "--arch", spec, "--out", run, "--epochs", "40",
        "--batch", "10", "--lr", "0.01", "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    ck_assert_double_lt(cli_number(value, "test_error_percent"), 50);
    json_decref(value);
    test_process_release(&p);
    p = cli_run("eval", "--data", dir, "--model", run, "--crops", "13", "--json");
    cli_expect_ok(p);
    value = cli_json(&p);
    ck_assert(cli_number(value, "n") == 30);
    ck_assert_str_eq(
        json_string_value(json_array_get(json_object_get(value, "classes"), 4)), "car");
    json_decref(value);
    test_process_release(&p);
    /* A built-in network takes them too. */
    p = cli_run("train", "--data", dir, "--arch", "cnn-small", "--out", cli_path(work, "small"),
        "--max-steps", "1", "--batch", "4");
    cli_expect_ok(p);
    test_process_release(&p);
    /* A cut file: one line that names it. */
    put_norb(dir, "testing", 30, true);
    cli_expect_error(cli_run("eval", "--data", dir, "--model", run), 3,
        cli_path(dir, "smallnorb-5x-testing-dat.mat: 552983 bytes, need 552984 for 30 images"), "");
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("command line: viewpoints");
    TCase *viewpoints = tcase_create("viewpoints");
    tcase_set_timeout(viewpoints, 300);
    tcase_add_test(viewpoints, solids_from_training_to_evaluation);
    tcase_add_test(viewpoints, resumed_with_the_same_changes);
    tcase_add_test(viewpoints, affine_is_recorded);
    tcase_add_test(viewpoints, predict_takes_several_looks);
    tcase_add_loop_test(viewpoints, wrong_usage, 0, sizeof wrong / sizeof wrong[0]);
    tcase_add_test(viewpoints, standardised_images_are_not_changed);
    tcase_add_test(viewpoints, smallnorb_serves_training);
    suite_add_tcase(s, viewpoints);
    return s;
}
