/* Folders of pictures, CIFAR-10 files and pairs, good and bad, given to the program. */
#include "cli_support.h"
#include "image.h"

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

/* A grey picture of 12x12 whose bright quarter says the class. */
static void write_picture(const char *path, unsigned class, unsigned noise)
{
    caps_error err = {0};
    caps_image image;
    test_ok(caps_image_init(&image, 12, 12, 1, &err));
    for (unsigned p = 0; p < 144; p++) {
        const unsigned quarter = p / 72 * 2 + p % 12 / 6;
        noise = noise * 1664525u + 1013904223u;
        image.pixels[p] = (uint8_t)((noise >> 24) % 60 + (quarter == class ? 180 : 0));
    }
    test_ok(caps_image_write_png(&image, path, &err));
    caps_image_release(&image);
}

/* One folder for each of four classes, `each` pictures in every one. */
static void fill_folders(const char *dir, unsigned each, unsigned noise)
{
    static const char *const classes[] = {"ant", "bee", "cow", "doe"};
    for (unsigned c = 0; c < 4; c++) {
        char *folder = cli_make_directory(dir, classes[c]);
        for (unsigned i = 0; i < each; i++) {
            char file[16];
            snprintf(file, sizeof file, "%u.png", i);
            write_picture(cli_path(folder, file), c, 8 * (noise + i) + c);
        }
    }
}

/* train/ and test/ of such folders. */
static char *make_folders(const char *name, unsigned each)
{
    char *dir = cli_make_directory(work, name);
    fill_folders(cli_make_directory(dir, "train"), each, 0);
    fill_folders(cli_make_directory(dir, "test"), each, each);
    return dir;
}

static void expect_bad(const char *data, const char *path, const char *needle)
{
    char *out = cli_path(work, "never");
    const uint64_t before = cli_tree_hash(work);
    cli_expect_error(
        cli_run("train", "--data", (char *)data, "--arch", spec, "--out", out), 3, path, "path");
    cli_expect_error(
        cli_run("train", "--data", (char *)data, "--arch", spec, "--out", out), 3, needle, "need");
    ck_assert_msg(!caps_path_exists(out), "the run directory was made");
    ck_assert_uint_eq(cli_tree_hash(work), before);
}

START_TEST(folders_serve_all_commands)
{
    char *dir = make_folders("animals", 12), *run = cli_path(work, "run");
    char *model = cli_path(run, "model.safetensors");
    test_process p = cli_run("train", "--data", dir, "--arch", spec, "--out", run, "--epochs", "6",
        "--lr", "0.01", "--batch", "8", "--augment", "none", "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    ck_assert_double_lt(cli_number(value, "test_error_percent"), 50);
    json_decref(value);
    test_process_release(&p);

    p = cli_run("eval", "--data", dir, "--model", model, "--json");
    cli_expect_ok(p);
    value = cli_json(&p);
    ck_assert(cli_number(value, "n") == 48);
    json_decref(value);
    test_process_release(&p);

    /* The first images are of all classes, in the order of their names. */
    p = cli_run(
        "predict", "--data", dir, "--model", model, "--index", "0", "1", "2", "3", "--json");
    cli_expect_ok(p);
    value = cli_json(&p);
    ck_assert_uint_eq(json_array_size(value), 4);
    for (size_t i = 0; i < 4; i++)
        ck_assert(cli_number(json_array_get(value, i), "true_label") == (double)i);
    json_decref(value);
    test_process_release(&p);
}
END_TEST

/* Without a test split: the images that --validation keeps are looked at by all commands, and those
 * of the same run only. */
/* A set without a test split, and a run that held 16 of its images out; the run's error on these.
 * */
static char *herd, *herd_run, *herd_model;

static double train_herd(void)
{
    static double trained;
    if (herd)
        return trained;
    herd = cli_make_directory(work, "herd");
    herd_run = cli_path(work, "herd-run");
    herd_model = cli_path(herd_run, "model.safetensors");
    fill_folders(herd, 12, 0);
    test_process p = cli_run("train", "--data", herd, "--arch", spec, "--out", herd_run, "--epochs",
        "3", "--lr", "0.01", "--batch", "8", "--augment", "none", "--validation", "16", "--json");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "validation error"));
    ck_assert_ptr_null(strstr(p.err, "test error"));
    json_t *value = cli_json(&p);
    trained = cli_number(value, "validation_error_percent");
    ck_assert(json_is_null(json_object_get(value, "test_error_percent")));
    ck_assert(cli_number(value, "validation_error_low_percent") <= trained);
    ck_assert(cli_number(value, "validation_error_high_percent") > trained);
    json_decref(value);
    test_process_release(&p);
    return trained;
}

START_TEST(folders_without_a_test_split)
{
    const double trained = train_herd();
    char *dir = herd, *run = herd_run, *model = herd_model;
    test_process p =
        cli_run("eval", "--data", dir, "--model", model, "--split", "validation", "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    ck_assert(cli_number(value, "n") == 16);
    ck_assert_double_eq_tol(cli_number(value, "error_percent"), trained, 1e-4);
    json_decref(value);
    test_process_release(&p);
    p = cli_run("predict", "--data", dir, "--model", model, "--split", "validation", "--index",
        "15", "--json");
    cli_expect_ok(p);
    test_process_release(&p);
    char *sheet = cli_path(work, "herd.png");
    p = cli_run("show", "confusion", "--data", dir, "--model", model, "--split", "validation",
        "--out", sheet);
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert(caps_path_exists(sheet));
    p = cli_run("report", run);
    cli_expect_ok(p);
    test_process_release(&p);
    size_t n;
    char *page = (char *)cli_read(cli_path(run, "report.html"), &n);
    ck_assert_ptr_nonnull(strstr(page, " of 16 images)"));
    free(page);
}
END_TEST

START_TEST(validation_images_that_cannot_be)
{
    train_herd();
    char *dir = herd, *model = herd_model, *elsewhere = cli_path(work, "lone.model");
    /* The test split, an image beyond those held out, a model without its run, one of a run
     * that held none out, and two that held out different images. */
    cli_expect_error(
        cli_run("eval", "--data", dir, "--model", model), 3, "has no test split", "test split");
    cli_expect_error(cli_run("predict", "--data", dir, "--model", model, "--split", "validation",
                         "--index", "16"),
        2, "need 0..15", "index");
    ck_assert_int_eq(link(model, elsewhere), 0);
    cli_expect_error(cli_run("eval", "--data", dir, "--model", elsewhere, "--split", "validation"),
        3, "config.json", "no run");
    char *all = make_folders("flock", 4), *none = cli_path(work, "flock-run");
    char *of_none = cli_path(none, "model.safetensors");
    test_process p = cli_run(
        "train", "--data", all, "--arch", spec, "--out", none, "--max-steps", "1", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    cli_expect_error(cli_run("eval", "--data", all, "--model", of_none, "--split", "validation"), 3,
        "held out no images", "no validation");
    char *other = cli_path(work, "herd-run2"), *of_other = cli_path(other, "model.safetensors");
    p = cli_run("train", "--data", dir, "--arch", spec, "--out", other, "--max-steps", "1",
        "--validation", "16", "--seed", "2", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    cli_expect_error(
        cli_run("eval", "--data", dir, "--model", model, of_other, "--split", "validation"), 3,
        of_other, "other images");
}
END_TEST

START_TEST(other_data_than_the_run_had)
{
    train_herd();
    char *dir = herd, *run = herd_run, *model = herd_model;
    /* Of another size, of other pictures. */
    char *more = cli_make_directory(work, "larger herd"), *same = cli_make_directory(work, "copy");
    fill_folders(more, 13, 0);
    cli_expect_error(cli_run("eval", "--data", more, "--model", model, "--split", "validation"), 3,
        "has 52 training images, the run of", "more images");
    fill_folders(same, 12, 0);
    test_process p =
        cli_run("eval", "--data", same, "--model", model, "--split", "validation", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert_int_eq(rename(cli_path(more, "bee"), cli_path(work, "bees")), 0);
    ck_assert_int_eq(rename(cli_path(same, "bee"), cli_path(more, "bee")), 0);
    ck_assert_int_eq(rename(cli_path(same, "ant"), cli_path(same, "bee")), 0);
    ck_assert_int_eq(rename(cli_path(more, "bee"), cli_path(same, "ant")), 0);
    char *const others[][10] = {
        {"eval"}, {"predict"}, {"show", "lengths", "--out", cli_path(work, "other.png")}};
    for (size_t i = 0; i < 3; i++) {
        char *argv[16] = {TEST_PROGRAM};
        size_t at = 1;
        for (size_t k = 0; others[i][k]; k++)
            argv[at++] = others[i][k];
        char *const rest[] = {"--data", same, "--model", model, "--split", "validation"};
        memcpy(argv + at, rest, sizeof rest);
        cli_expect_error(
            test_run(argv, NULL), 3, "has other training images or labels", others[i][0]);
    }
    /* Runs of before did not write down what they were trained on. */
    char *config = cli_path(run, "config.json");
    json_t *settings = json_load_file(config, 0, NULL);
    ck_assert(cli_number(settings, "data_images") == 32);
    json_object_del(settings, "data_images");
    json_object_del(settings, "data_hash");
    ck_assert_int_eq(json_dump_file(settings, config, 0), 0);
    json_decref(settings);
    p = cli_run("eval", "--data", same, "--model", model, "--split", "validation", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    cli_expect_error(cli_run("eval", "--data", dir, "--model", model, "--split", "every"), 2,
        "'every'", "split");
}
END_TEST

/* Repeated without a test split: the mean is one of validation errors. */
START_TEST(repeats_without_a_test_split)
{
    char *dir = cli_make_directory(work, "pack"), *out = cli_path(work, "pack-runs");
    fill_folders(dir, 6, 0);
    test_process p = cli_run("train", "--data", dir, "--arch", spec, "--out", out, "--max-steps",
        "2", "--repeat", "2", "--validation", "8", "--quiet");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.out, "validation error, mean of 2 runs"));
    ck_assert_ptr_null(strstr(p.out, "test error"));
    ck_assert_ptr_null(strstr(p.out, "capscl eval"));
    test_process_release(&p);
    p = cli_run("train", "--resume", "--out", out, "--quiet", "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    const json_t *runs = json_object_get(value, "runs");
    ck_assert_double_eq_tol(cli_number(value, "mean_validation_error_percent"),
        (cli_number(json_array_get(runs, 0), "validation_error_percent") +
            cli_number(json_array_get(runs, 1), "validation_error_percent")) /
            2,
        1e-4);
    ck_assert(cli_number(value, "sd_validation_error_percent") >= 0);
    ck_assert(json_is_null(json_object_get(value, "mean_test_error_percent")));
    json_decref(value);
    test_process_release(&p);
}
END_TEST

START_TEST(folders_with_other_classes)
{
    char *dir = make_folders("zoo", 6), *run = cli_path(work, "zoo-run"), *other;
    test_process p = cli_run(
        "train", "--data", dir, "--arch", spec, "--out", run, "--max-steps", "2", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    /* The names are in the checkpoint, and a set whose labels mean other classes is refused. */
    other = make_folders("garden", 2);
    ck_assert_int_eq(rename(cli_path(other, "train/bee"), cli_path(other, "train/bat")), 0);
    ck_assert_int_eq(rename(cli_path(other, "test/bee"), cli_path(other, "test/bat")), 0);
    cli_expect_error(
        cli_run("eval", "--model", cli_path(run, "model.safetensors"), "--data", other), 3,
        "class 1 is 'bat', of the model 'bee'", "other classes");
    p = cli_run("eval", "--model", cli_path(run, "model.safetensors"), "--data", dir);
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.out, " cow "));
    test_process_release(&p);
    /* Who trains on from it learns those classes, under their names. */
    char *on = cli_path(work, "garden-run");
    p = cli_run("train", "--data", other, "--init", cli_path(run, "model.safetensors"), "--out", on,
        "--max-steps", "2", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    p = cli_run("eval", "--model", cli_path(on, "model.safetensors"), "--data", other);
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.out, " bat "));
    test_process_release(&p);
}
END_TEST

/* Names that differ behind their first 31 bytes are three classes everywhere. */
START_TEST(long_names_stay_apart)
{
    static const char *const classes[] = {"ant", "bee", "cow", "doe"};
    static const char *const splits[] = {"train", "test"};
    char *dir = make_folders("long names", 3), *run = cli_path(work, "long-run");
    char *model = cli_path(run, "model.safetensors"), name[200], from[64], to[264];
    for (size_t c = 0; c < 4; c++)
        for (size_t s = 0; s < 2; s++) {
            snprintf(from, sizeof from, "%s/%s", splits[s], classes[c]);
            snprintf(to, sizeof to, "%s/%0150zu", splits[s], c);
            ck_assert_int_eq(rename(cli_path(dir, from), cli_path(dir, to)), 0);
        }
    test_process p = cli_run(
        "train", "--data", dir, "--arch", spec, "--out", run, "--max-steps", "1", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    /* The table cuts them in the middle, JSON has them whole, of one model and of several. */
    p = cli_run("eval", "--model", model, "--data", dir, "--quiet");
    cli_expect_ok(p);
    for (int c = 0; c < 4; c++) {
        snprintf(name, sizeof name, " 0000000000000000000..%09d ", c);
        ck_assert_ptr_nonnull(strstr(p.out, name));
    }
    test_process_release(&p);
    for (int several = 0; several < 2; several++) {
        p = several ? cli_run("eval", "--model", model, model, "--data", dir, "--json")
                    : cli_run("eval", "--model", model, "--data", dir, "--json");
        cli_expect_ok(p);
        json_t *e = cli_json(&p), *names = json_object_get(e, "classes");
        ck_assert_uint_eq(json_array_size(names), 4);
        snprintf(name, sizeof name, "%0150d", 2);
        ck_assert_str_eq(json_string_value(json_array_get(names, 2)), name);
        json_decref(e);
        test_process_release(&p);
    }
    p = cli_run(
        "predict", "--data", dir, "--model", model, "--index", "0", "1", "2", "3", "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    for (size_t i = 0; i < 4; i++) {
        const json_t *row = json_array_get(value, i);
        snprintf(name, sizeof name, "%0150d", (int)cli_number(row, "label"));
        ck_assert_str_eq(json_string_value(json_object_get(row, "class")), name);
    }
    json_decref(value);
    test_process_release(&p);
}
END_TEST

/* predict's sheet has the names of the classes: a line more where they are long, of the same
 * network, pictures and paths: a path's letters have widths of their own, and a caption takes
 * another line where they fill one. */
START_TEST(sheets_have_names)
{
    static const char *const classes[] = {"ant", "bee", "cow", "doe"};
    static const char *const splits[] = {"train", "test"};
    char *dir = make_folders("named", 2), *run = cli_path(work, "named-run"), from[32], to[32];
    char *model = cli_path(run, "model.safetensors"), *sheet = cli_path(work, "named.png");
    size_t heights[2];
    for (int numbered = 0; numbered < 2; numbered++) {
        for (size_t c = 0; c < 4 * (size_t)numbered; c++)
            for (size_t s = 0; s < 2; s++) {
                snprintf(from, sizeof from, "%s/%s", splits[s], classes[c]);
                snprintf(to, sizeof to, "%s/%zu", splits[s], c);
                ck_assert_int_eq(rename(cli_path(dir, from), cli_path(dir, to)), 0);
            }
        test_process p = cli_run("train", "--data", dir, "--arch", spec, "--out", run,
            "--max-steps", "1", "--overwrite", "--quiet");
        cli_expect_ok(p);
        test_process_release(&p);
        p = cli_run("predict", "--data", dir, "--model", model, "--index", "0", "1", "2",
            "--reconstruct", sheet, "--quiet");
        cli_expect_ok(p);
        test_process_release(&p);
        caps_error err = {0};
        caps_image image;
        test_ok(caps_image_read(&image, sheet, &err));
        heights[numbered] = image.height;
        caps_image_release(&image);
        ck_assert_int_eq(remove(sheet), 0);
    }
    ck_assert_uint_eq(heights[0], heights[1] + 20);
}
END_TEST

START_TEST(bad_folders)
{
    char *dir = make_folders("empty class", 2);
    cli_make_directory(dir, "train/fox");
    expect_bad(dir, "train/fox", "no PNG or JPEG files");
    dir = make_folders("two names", 2);
    cli_make_directory(dir, "training");
    expect_bad(dir, "two names", "holds train and training, need one of them");
    dir = make_folders("no picture", 2);
    cli_write_text(dir, "test/cow/1.png", "moo");
    expect_bad(dir, "test/cow/1.png", "is neither a PNG nor a JPEG file");
    dir = make_folders("piped", 2);
    char *piped = cli_path(dir, "train/bee/f.png");
    ck_assert_int_eq(mkfifo(piped, 0600), 0);
    cli_expect_error(
        cli_run("train", "--data", dir, "--arch", spec, "--out", cli_path(work, "never")), 3,
        "f.png: is a pipe that nobody writes to", "pipe");
    ck_assert_int_eq(unlink(piped), 0);
    dir = make_folders("new class", 2);
    write_picture(cli_path(cli_make_directory(dir, "test/fox"), "1.png"), 0, 0);
    expect_bad(dir, "test/fox", "no such class");
    dir = cli_make_directory(work, "one class");
    write_picture(cli_path(cli_make_directory(dir, "ant"), "1.png"), 0, 0);
    expect_bad(dir, "one class", "one folder of a class, ant, need at least two");
    write_picture(cli_path(cli_make_directory(dir, "bee"), "1.png"), 1, 0);
    write_picture(cli_path(cli_make_directory(dir, "cow"), "1.png"), 2, 0);
    write_picture(cli_path(cli_make_directory(dir, "doe"), "1.png"), 3, 0);
    expect_bad(dir, "one class", "has no test split");
    expect_bad(dir, "one class", "--validation N");
    dir = make_folders("train alone", 2);
    ck_assert_int_eq(rename(cli_path(dir, "test"), cli_path(work, "test elsewhere")), 0);
    expect_bad(dir, "train alone", "no folder test");
    expect_bad(dir, "train alone", "--validation N");
    dir = cli_make_directory(work, "nothing");
    expect_bad(dir, "nothing", "holds no data set");
    cli_make_directory(dir, "train");
    expect_bad(dir, "nothing/train", "no folders of classes");
    dir = make_folders("four", 2); /* of a network of ten classes */
    cli_expect_error(
        cli_run("train", "--data", dir, "--arch",
            cli_write_text(work, "ten.json",
                "{\"input\": [1,12,12], \"classes\": 10,"
                " \"conv1\": {\"channels\": 8, \"kernel\": 3, \"stride\": 1},"
                " \"primary\": {\"types\": 4, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"
                " \"class_caps\": {\"dim\": 6, \"iterations\": 2}}"),
            "--out", cli_path(work, "never")),
        3, "has 4 classes, the network 10", "other count");
}
END_TEST

START_TEST(bad_cifar)
{
    char *dir = cli_make_directory(work, "cifar"), *files[6];
    unsigned char rows[2 * 3073] = {0};
    for (int i = 0; i < 6; i++) {
        char name[32];
        snprintf(name, sizeof name, i < 5 ? "data_batch_%d.bin" : "test_batch.bin", i + 1);
        files[i] = cli_path(dir, name);
        cli_write(files[i], rows, sizeof rows);
    }
    expect_bad(dir, "cifar", "images are 3x32x32, the model takes 1x12x12");
    char names[400];
    memset(names, 'n', 256);
    strcpy(names + 256, "\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    char *meta = cli_write_text(dir, "batches.meta.txt", names);
    cli_expect_error(
        cli_run("train", "--data", dir, "--arch", "cifar10", "--out", cli_path(work, "never")), 3,
        "cifar: the name of class 0 has 256 bytes, need at most 255", "a long name");
    ck_assert(!caps_path_exists(cli_path(work, "never")));
    ck_assert_int_eq(unlink(meta), 0);
    cli_write(files[3], rows, sizeof rows - 1);
    expect_bad(dir, "data_batch_4.bin", "6145 bytes, need images of 3073 bytes each");
    rows[3073] = 10;
    cli_write(files[3], rows, sizeof rows);
    expect_bad(dir, "data_batch_4.bin", "label of image 1 is 10, need < 10");
    ck_assert_int_eq(unlink(files[3]), 0);
    expect_bad(dir, "data_batch_4.bin", "does not exist");
}
END_TEST

/* What a command writes does not take the place of its data: refused before the model is opened. */
START_TEST(outputs_over_the_data)
{
    char *idx = cli_make_data(work, "idx", 8, 4, 1, 12, 12, 4), *pictures = make_folders("own", 1);
    char *cifar = cli_make_directory(work, "batches"), *pairs = caps_format("multi:%s", idx);
    char *labels = cli_path(idx, "t10k-labels-idx1-ubyte"), *cow = cli_path(work, "cow.png");
    char *picture = cli_path(pictures, "train/cow/0.png");
    char *batch = cli_write_text(cifar, "test_batch.bin", "rows");
    char *meta = cli_write_text(cifar, "batches.meta.txt", "names");
    ck_assert_int_eq(symlink(picture, cow), 0);
    char *const lines[][3] = {
        {"show lengths --out", labels, idx},
        {"show lengths --out", labels, pairs},
        {"show filters --out", picture, pictures},
        {"show lengths --out", cow, pictures},
        {"predict --reconstruct", picture, pictures},
        {"eval --predictions", batch, cifar},
        {"eval --trace", meta, cifar},
    };
    const uint64_t before = cli_tree_hash(work);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char *line =
            caps_format("%s %s --data %s --model none", lines[i][0], lines[i][1], lines[i][2]);
        cli_expect_error(cli_run_text(line), 2, "would replace a file of the data set", line);
        free(line);
    }
    char *line = caps_format("train --data %s --arch %s --out %s/never --trace %s", idx, spec, work,
        cli_path(idx, "train-images-idx3-ubyte"));
    cli_expect_error(cli_run_text(line), 2, "would replace a file of the data set", line);
    free(line);
    ck_assert_uint_eq(cli_tree_hash(work), before);
    /* Beside the data, or where nothing is yet, is as good a place as any. */
    char *beside = cli_write_text(pictures, "sheet.png", "old");
    char *const good[] = {beside, cli_path(pictures, "train/cow/new.png"), cli_path(idx, "new")};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        line = caps_format(
            "show filters --out %s --data %s --model none", good[i], i < 2 ? pictures : idx);
        cli_expect_error(cli_run_text(line), 3, "none", line);
        free(line);
    }
    free(pairs);
}
END_TEST

START_TEST(bad_pairs)
{
    char *dir = cli_make_data(work, "fours", 24, 12, 1, 4, 4, 4);
    char *colour = cli_make_data(work, "colour", 24, 12, 3, 4, 4, 4);
    char *one = cli_make_data(work, "one", 24, 12, 1, 4, 4, 1);
    char *multi = caps_format("multi:%s", dir), *of_colour = caps_format("multi:%s", colour);
    char *of_one = caps_format("multi:%s", one), *twice = caps_format("multi:%s", multi);
    expect_bad("multi:", "multi:", "need the data set to make pairs of");
    expect_bad("multi:no-such-set", "no-such-set", "no data set of this name");
    expect_bad(twice, "multi:multi:", "pairs of pairs");
    expect_bad(of_colour, "colour", "3 channels, need 1");
    expect_bad(of_one, "one", "need at least two classes");
    /* The network has one label an image. */
    expect_bad(multi, "fours", "an image has 2 labels, the model gives 1");
    free(twice);
    free(of_one);
    free(of_colour);
    free(multi);
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("command line: formats of data");
    TCase *t = tcase_create("formats");
    tcase_set_timeout(t, 300);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, folders_serve_all_commands);
    tcase_add_test(t, folders_without_a_test_split);
    tcase_add_test(t, validation_images_that_cannot_be);
    tcase_add_test(t, other_data_than_the_run_had);
    tcase_add_test(t, repeats_without_a_test_split);
    tcase_add_test(t, folders_with_other_classes);
    tcase_add_test(t, long_names_stay_apart);
    tcase_add_test(t, sheets_have_names);
    tcase_add_test(t, bad_folders);
    tcase_add_test(t, outputs_over_the_data);
    tcase_add_test(t, bad_cifar);
    tcase_add_test(t, bad_pairs);
    suite_add_tcase(s, t);
    return s;
}
