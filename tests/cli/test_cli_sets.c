/* test_cli_sets.c: the command line on data sets as people have them: names of files, folders of
 * splits, any number of classes, files beside the pictures. */
#include "cli_support.h"
#include "image.h"

static char *work;

static void set_up(void)
{
    work = test_directory();
}

static void tear_down(void)
{
    free(work);
}

/* ---- IDX ------------------------------------------------------------------------------------ */

static void rename_in(const char *dir, const char *from, const char *to)
{
    ck_assert_int_eq(rename(cli_path(dir, from), cli_path(dir, to)), 0);
}

/* One step, and what the run says of classes. */
static json_t *train_once(const char *data, const char *arch, const char *run, size_t classes)
{
    char *out = cli_path(work, run), *model = cli_path(out, "model.safetensors"), line[64];
    test_process p = cli_run("train", "--data", (char *)data, "--arch", (char *)arch, "--out", out,
        "--max-steps", "1", "--batch", "2", "--limit", "4");
    cli_expect_ok(p);
    snprintf(line, sizeof line, "network: %zu classes, as the data has (%s by itself: 10)", classes,
        arch);
    ck_assert_msg((strstr(p.err, line) != NULL) == (classes != 10), "%s", p.err);
    test_process_release(&p);
    p = cli_run("eval", "--model", model, "--data", (char *)data, "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    ck_assert_uint_eq(json_array_size(json_object_get(value, "confusion")), classes);
    test_process_release(&p);
    return value;
}

START_TEST(built_in_networks_take_the_classes_of_the_data)
{
    static const struct {
        const char *name, *arch;
        size_t classes;
    } sets[] = {{"many", "small", 29}, {"two", "small", 2}, {"ten", "small", 10},
        {"more", "cnn-small", 12}, {"default", "mnist", 3}};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        char run[32], *data = cli_make_data(work, sets[i].name, 60, 8, 1, 28, 28, sets[i].classes);
        snprintf(run, sizeof run, "run %zu", i);
        json_decref(train_once(data, sets[i].arch, run, sets[i].classes));
    }
    /* A network of a file keeps its own number: both are named, and what to do. */
    char *ten = cli_write_text(work, "ten.json",
        "{\"input\": [1,28,28], \"classes\": 10,"
        " \"conv1\": {\"channels\": 4, \"kernel\": 9, \"stride\": 2},"
        " \"primary\": {\"types\": 2, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"
        " \"class_caps\": {\"dim\": 4, \"iterations\": 1}}");
    char *out = cli_path(work, "never"), *many = cli_path(work, "many");
    cli_expect_error(cli_run("train", "--data", many, "--arch", ten, "--out", out), 3,
        "need < 10: the data has 29 classes, the network 10, need one of as many", "a spec");
    cli_expect_error(
        cli_run("eval", "--data", many, "--model", cli_path(work, "run 1/model.safetensors")), 3,
        "the data has 29 classes, the network 2", "a model");
    char *one = cli_make_data(work, "one", 6, 2, 1, 28, 28, 1);
    cli_expect_error(cli_run("train", "--data", one, "--out", out), 3,
        "one: every label of the training split is 0, need at least two classes", "one class");
    ck_assert(!caps_path_exists(out));
}
END_TEST

START_TEST(idx_names_with_a_dot)
{
    static const char *const files[] = {
        "train-images", "train-labels", "t10k-images", "t10k-labels"};
    char *data = cli_make_data(work, "dots", 20, 8, 1, 28, 28, 4);
    for (size_t i = 0; i < 4; i++) {
        char from[64], to[64];
        snprintf(from, sizeof from, "%s-idx%d-ubyte", files[i], i % 2 ? 1 : 3);
        snprintf(to, sizeof to, "%s.idx%d-ubyte", files[i], i % 2 ? 1 : 3);
        rename_in(data, from, to);
    }
    json_t *value = train_once(data, "small", "run dots", 4);
    ck_assert_int_eq(json_integer_value(json_object_get(value, "n")), 8);
    json_decref(value);
}
END_TEST

/* ---- folders -------------------------------------------------------------------------------- */

#define SPEC                                                                                       \
    "{\"input\": [1,12,12], \"classes\": 3, \"conv1\": {\"channels\": 8, \"kernel\": 3, "          \
    "\"stride\": 1},"                                                                              \
    " \"primary\": {\"types\": 4, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"                      \
    " \"class_caps\": {\"dim\": 6, \"iterations\": 2}, \"decoder\": {\"hidden\": [16]}}"

static uint8_t pixel_of(unsigned seed, size_t i)
{
    return (uint8_t)((i * 37 + seed * 91 + i * i * seed) % 251);
}

static void put_picture(const char *path, unsigned seed)
{
    caps_error err = {0};
    caps_image image;
    test_ok(caps_image_init(&image, 12, 12, 1, &err));
    for (size_t i = 0; i < 144; i++)
        image.pixels[i] = pixel_of(seed, i);
    test_ok(caps_image_write_png(&image, path, &err));
    caps_image_release(&image);
}

/* `each` pictures for each of three classes in dir/split. */
static void put_split(const char *dir, const char *split, unsigned each, unsigned seed)
{
    static const char *const classes[] = {"ant", "b, \"ee\"", "cow"};
    char *at = cli_make_directory(dir, split);
    for (unsigned c = 0; c < 3; c++) {
        char *class = cli_make_directory(at, classes[c]), name[32];
        for (unsigned i = 0; i < each; i++) {
            snprintf(name, sizeof name, "%u.png", i);
            put_picture(cli_path(class, name), seed + 7 * i + c);
        }
    }
}

static json_t *results_of(const char *data, const char *model, const char *split)
{
    test_process p = cli_run("eval", "--data", (char *)data, "--model", (char *)model, "--split",
        (char *)split, "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    test_process_release(&p);
    return value;
}

static void expect_size(const char *data, const char *model, const char *split, double n)
{
    json_t *value = results_of(data, model, split);
    ck_assert_double_eq(cli_number(value, "n"), n);
    json_decref(value);
}

/* A validation folder is evaluated as training goes on, the test split at the end; with it, there
 * need not be a test split; other commands take it without the run's settings. */
START_TEST(validation_folders)
{
    char *dir = cli_make_directory(work, "sets"), *run = cli_path(work, "validated");
    char *model = cli_path(run, "model.safetensors"), *spec = cli_write_text(work, "3.json", SPEC);
    put_split(dir, "Training", 4, 1);
    put_split(dir, "valid", 3, 50);
    put_split(dir, "testing", 2, 90);
    cli_write_text(dir, "Training/ant/Thumbs.db", "x");
    cli_make_directory(dir, "extra");
    test_process p = cli_run("train", "--data", dir, "--arch", spec, "--out", run, "--epochs", "2",
        "--batch", "4", "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    const double error = cli_number(value, "validation_error_percent");
    json_decref(value);
    static const char *const lines[] = {", 12 training images", ", 6 test images",
        ", 9 validation images of 1x12x12\n",
        "sets: 1 entry beside the folders of the splits is not used: extra\n",
        "Training: 1 file that is no PNG or JPEG by its name is not used: ant/Thumbs.db\n"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *at = strstr(p.err, lines[i]);
        ck_assert_msg(at != NULL, "'%s' is not in %s", lines[i], p.err);
        ck_assert_msg(!strstr(at + 1, lines[i]), "'%s' is twice in %s", lines[i], p.err);
    }
    const char *test_error = strstr(p.err, "test error");
    ck_assert_ptr_nonnull(strstr(p.err, "epoch 1/2"));
    ck_assert_ptr_nonnull(test_error);
    ck_assert(test_error > strstr(p.err, "epoch 2/2"));
    test_process_release(&p);

    ck_assert_int_eq(unlink(cli_path(run, "config.json")), 0);
    value = results_of(dir, model, "validation");
    ck_assert(cli_number(value, "n") == 9 && cli_number(value, "error_percent") == error);
    json_decref(value);
    expect_size(dir, model, "test", 6);
    expect_size(dir, model, "train", 12);
    cli_expect_error(cli_run("train", "--data", dir, "--arch", spec, "--out",
                         cli_path(work, "never"), "--validation", "3"),
        2, "sets: has a validation split of its own, which is used; need no --validation 3",
        "both");

    rename_in(dir, "testing", "other");
    p = cli_run("train", "--data", dir, "--arch", spec, "--out", run, "--overwrite", "--epochs",
        "1", "--json");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "9 validation images of 1x12x12 (there is no test split)"));
    ck_assert_ptr_nonnull(strstr(p.err, "not used: extra, other\n"));
    test_process_release(&p);
    p = cli_run("report", run);
    cli_expect_ok(p);
    test_process_release(&p);
    cli_expect_error(cli_run("eval", "--data", dir, "--model", model), 3, "no folder test", "test");

    rename_in(dir, "valid", "another");
    cli_expect_error(
        cli_run("train", "--data", dir, "--arch", spec, "--out", cli_path(work, "never")), 3,
        "no folder test, need test or testing", "neither");
    ck_assert(!caps_path_exists(cli_path(work, "never")));
}
END_TEST

/* Predictions name the files that images were read from. */
START_TEST(files_in_predictions)
{
    char *dir = cli_make_directory(work, "files"), *run = cli_path(work, "run files");
    char *model = cli_path(run, "model.safetensors"), *csv = cli_path(work, "p.csv");
    char *spec = cli_write_text(work, "f.json", SPEC);
    put_split(dir, "train", 3, 1);
    put_split(dir, "test", 2, 9);
    test_process p = cli_run(
        "train", "--data", dir, "--arch", spec, "--out", run, "--max-steps", "1", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);

    p = cli_run("predict", "--data", dir, "--model", model, "--index", "5", "0", "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    static const char *const sources[] = {"/test/cow/1.png", "/test/ant/0.png"};
    for (size_t i = 0; i < 2; i++) {
        json_t *row = json_array_get(value, i), *one;
        char *path = caps_format("%s%s", dir, sources[i]);
        ck_assert_str_eq(json_string_value(json_object_get(row, "source")), path);
        /* The file alone is predicted alike. */
        test_process q = cli_run("predict", path, "--model", model, "--json");
        cli_expect_ok(q);
        one = cli_json(&q);
        ck_assert_int_eq(json_equal(json_object_get(row, "lengths"),
                             json_object_get(json_array_get(one, 0), "lengths")),
            1);
        json_decref(one);
        test_process_release(&q);
        free(path);
    }
    json_decref(value);
    test_process_release(&p);

    p = cli_run("eval", "--data", dir, "--model", model, "--predictions", csv);
    cli_expect_ok(p);
    test_process_release(&p);
    size_t n;
    char *text = (char *)cli_read(csv, &n);
    const char *head = "index,true_label,label,length_0,length_1,length_2,file\n0,0,";
    ck_assert_msg(strncmp(text, head, strlen(head)) == 0, "%s", text);
    char *quoted = caps_format(",\"%s/test/b, \"\"ee\"\"/0.png\"\n2,2,", dir);
    char *plain = caps_format(",%s/test/cow/1.png\n", dir);
    ck_assert_msg(strstr(text, quoted) != NULL, "%s", text);
    ck_assert_str_eq(strstr(text, plain), plain); /* the last row */
    free(quoted);
    free(plain);
    free(text);

    /* A set without files has the columns it always had. */
    char *idx = cli_make_data(work, "idx", 6, 4, 1, 12, 12, 3);
    p = cli_run("eval", "--data", idx, "--model", model, "--predictions", csv);
    cli_expect_ok(p);
    test_process_release(&p);
    text = (char *)cli_read(csv, &n);
    ck_assert_ptr_nonnull(strstr(text, ",length_2\n"));
    ck_assert_ptr_null(strstr(text, "file"));
    free(text);
    p = cli_run("report", run);
    cli_expect_ok(p);
    test_process_release(&p);
    text = (char *)cli_read(cli_path(run, "report.html"), &n);
    ck_assert_ptr_nonnull(strstr(text, "/test/"));
    free(text);
}
END_TEST

/* The pictures of a split, in the order of its folders, as IDX files. */
static void put_as_idx(const char *dir, const char *split, unsigned each, unsigned seed)
{
    const size_t n = 3 * each;
    unsigned char images[16 + 36 * 144] = {0}, labels[8 + 36] = {0};
    char name[64];
    ck_assert_uint_le(n, 36);
    cli_put_word(images, 0x803);
    cli_put_word(images + 4, n);
    cli_put_word(images + 8, 12);
    cli_put_word(images + 12, 12);
    cli_put_word(labels, 0x801);
    cli_put_word(labels + 4, n);
    for (unsigned i = 0; i < n; i++) {
        labels[8 + i] = (unsigned char)(i % 3);
        for (size_t p = 0; p < 144; p++)
            images[16 + i * 144 + p] = pixel_of(seed + 7 * (i / 3) + i % 3, p);
    }
    snprintf(name, sizeof name, "%s-images.idx3-ubyte", split);
    cli_write(cli_path(dir, name), images, 16 + n * 144);
    snprintf(name, sizeof name, "%s-labels.idx1-ubyte", split);
    cli_write(cli_path(dir, name), labels, 8 + n);
}

/* The same images in both formats give the same training. */
START_TEST(folders_and_idx_train_alike)
{
    char *dir = cli_make_directory(work, "alike"), *idx = cli_make_directory(work, "alike idx");
    char *spec = cli_write_text(work, "a.json", SPEC), *data[] = {dir, idx};
    static const char *const keys[] = {
        "loss", "margin_loss", "reconstruction_sse", "train_error_percent", "test_error_percent"};
    json_t *results[2], *evaluations[2];
    put_split(dir, "train", 8, 1);
    put_split(dir, "test", 4, 70);
    put_as_idx(idx, "train", 8, 1);
    put_as_idx(idx, "t10k", 4, 70);
    for (int i = 0; i < 2; i++) {
        char *run = cli_path(work, i ? "run alike idx" : "run alike");
        test_process p = cli_run("train", "--data", data[i], "--arch", spec, "--out", run,
            "--epochs", "3", "--batch", "5", "--json");
        cli_expect_ok(p);
        results[i] = cli_json(&p);
        test_process_release(&p);
        evaluations[i] = results_of(data[i], cli_path(run, "model.safetensors"), "test");
    }
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
        ck_assert_msg(cli_number(results[0], keys[k]) == cli_number(results[1], keys[k]),
            "%s differs", keys[k]);
    ck_assert(json_equal(json_object_get(evaluations[0], "confusion"),
        json_object_get(evaluations[1], "confusion")));
    ck_assert(
        cli_number(evaluations[0], "margin_loss") == cli_number(evaluations[1], "margin_loss"));
    for (int i = 0; i < 2; i++) {
        json_decref(results[i]);
        json_decref(evaluations[i]);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("command line: sets");
    TCase *sets = tcase_create("sets");
    tcase_add_unchecked_fixture(sets, set_up, tear_down);
    tcase_set_timeout(sets, 600);
    tcase_add_test(sets, built_in_networks_take_the_classes_of_the_data);
    tcase_add_test(sets, idx_names_with_a_dot);
    tcase_add_test(sets, validation_folders);
    tcase_add_test(sets, files_in_predictions);
    tcase_add_test(sets, folders_and_idx_train_alike);
    suite_add_tcase(s, sets);
    return s;
}
