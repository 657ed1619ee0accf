/* Lists, folders and ranges where a person would give them: a run for its checkpoint, a folder of
 * pictures, several operations, several runs. */
#include "cli_support.h"
#include "image.h"

/* Made once: data of 4 classes, a repetition of two seeds, three pictures beside a text. */
static char *work, *data, *spec, *three, *folder;

static void put_picture(const char *name, unsigned which)
{
    caps_error err = {0};
    uint8_t pixels[144];
    for (unsigned i = 0; i < 144; i++)
        pixels[i] = (uint8_t)((i * 37 + which * 91) % 251);
    const caps_image image = {12, 12, 1, pixels};
    test_ok(caps_image_write_png(&image, cli_path(folder, name), &err));
}

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 60, 24, 1, 12, 12, 4);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    three = cli_path(work, "three");
    test_process p = cli_run_text(cli_line(
        "train --data %s --arch %s --batch 20 --max-steps 2 --repeat 2 --seed 3 --quiet --out %s",
        data, spec, three));
    cli_expect_ok(p);
    test_process_release(&p);
    folder = cli_make_directory(work, "pictures");
    put_picture("b.png", 2);
    put_picture("a.png", 1);
    put_picture("c.PNG", 3);
    cli_write_text(folder, "readme.txt", "no picture");
}

static void tear_down(void)
{
    free(work);
}

/* Both lines print the same JSON, seconds aside. */
static void expect_same(const char *a, const char *b)
{
    char first[2048];
    snprintf(first, sizeof first, "%s", a);
    json_t *x = cli_run_json(first), *y = cli_run_json(b);
    if (json_is_object(x)) {
        json_object_del(x, "seconds");
        json_object_del(y, "seconds");
    }
    ck_assert_msg(json_equal(x, y), "%s\n%s", first, b);
    json_decref(x);
    json_decref(y);
}

static char *copy_of(const char *text)
{
    static char kept[4][2048];
    static int at;
    at = (at + 1) % 4;
    snprintf(kept[at], sizeof kept[at], "%s", text);
    return kept[at];
}

START_TEST(a_run_for_its_checkpoint)
{
    char *seed = cli_path(three, "seed-3");
    const char *format = "eval --data %s --model %s%s --json";
    expect_same(copy_of(cli_line(format, data, seed, "/model.safetensors")),
        copy_of(cli_line(format, data, seed, "")));
    format = "predict --data %s --model %s%s --json --index 1";
    expect_same(copy_of(cli_line(format, data, seed, "/model.safetensors")),
        copy_of(cli_line(format, data, seed, "/")));
    test_process p = cli_run_text(
        cli_line("show filters --model %s --out %s", seed, cli_path(work, "filters.png")));
    cli_expect_ok(p);
    test_process_release(&p);
    /* A run that was stopped before its end has the state alone. */
    ck_assert_int_eq(rename(cli_path(seed, "model.safetensors"), cli_path(work, "away")), 0);
    p = cli_run_text(cli_line("eval --data %s --model %s --quiet", data, seed));
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert_int_eq(rename(cli_path(work, "away"), cli_path(seed, "model.safetensors")), 0);
}
END_TEST

START_TEST(a_repetition_for_its_seeds)
{
    json_t *all = cli_run_json(cli_line("eval --data %s --model %s --json", data, three));
    const json_t *models = json_object_get(all, "models");
    ck_assert_uint_eq(json_array_size(models), 2);
    for (size_t i = 0; i < 2; i++) {
        const char *name = json_string_value(json_object_get(json_array_get(models, i), "model"));
        ck_assert_ptr_nonnull(strstr(name, i == 0 ? "/seed-3/model" : "/seed-4/model"));
    }
    json_decref(all);
    cli_expect_error(cli_run_text(cli_line("predict --data %s --model %s", data, three)), 3,
        "holds repeated runs, need one of them", "predict");
    cli_expect_error(cli_run_text(cli_line("predict --data %s --model %s", data, folder)), 3,
        "is a directory without a checkpoint, need model.safetensors in it", "no run");
}
END_TEST

START_TEST(a_folder_for_its_pictures)
{
    char *seed = cli_path(three, "seed-3");
    char *named = copy_of(cli_line(
        "predict --model %s %s/a.png %s/b.png %s/c.PNG --json", seed, folder, folder, folder));
    expect_same(named, copy_of(cli_line("predict --model %s %s --json", seed, folder)));
    /* Among files, in the order of the line. */
    json_t *list = cli_run_json(
        cli_line("predict --model %s %s/c.PNG %s %s/a.png --json", seed, folder, folder, folder));
    static const char *const order[] = {"c.PNG", "a.png", "b.png", "c.PNG", "a.png"};
    ck_assert_uint_eq(json_array_size(list), 5);
    for (size_t i = 0; i < 5; i++)
        ck_assert_ptr_nonnull(strstr(
            json_string_value(json_object_get(json_array_get(list, i), "source")), order[i]));
    json_decref(list);
    test_process p = cli_run_text(cli_line("predict --model %s %s", seed, folder));
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(
        p.err, "pictures: 1 entry that is no PNG or JPEG by name is not used: readme.txt\n"));
    test_process_release(&p);
    cli_expect_error(cli_run_text(cli_line("predict --model %s %s", seed, data)), 3,
        "a folder without PNG or JPEG files in it", "none");
    cli_expect_error(cli_run_text(cli_line("predict --model %s %s/none", seed, folder)), 3,
        "pictures/none: cannot open", "not there");
}
END_TEST

START_TEST(ranges_of_images)
{
    char *seed = cli_path(three, "seed-3");
    const char *format = "predict --data %s --model %s --json --index %s";
    expect_same(copy_of(cli_line(format, data, seed, "4 0 1 2 3 23")),
        copy_of(cli_line(format, data, seed, "4 0-3 23-23")));
    static const struct {
        const char *index, *needle;
    } rows[] = {{"3-1", "'3-1' is no range"}, {"0-24", "24 is out of range"}, {"1-", "--index"},
        {"1-2-3", "--index"}, {"1--2", "--index"}, {"0-4294967295", "'0-4294967295' is no range"},
        {"0-x", "--index"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cli_expect_error(cli_run_text(cli_line(format, data, seed, rows[i].index)), 2,
            rows[i].needle, rows[i].index);
    cli_expect_error(
        cli_run("bench", "--batch", "1-2"), 2, "--batch", "ranges are for indices alone");
}
END_TEST

/* The names of operations in the rows, in their order, each once. */
static void expect_operations(const char *line, const char *expected)
{
    json_t *rows = cli_run_json(line);
    char names[256] = "";
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(rows, i), "operation"));
        const size_t used = strlen(names);
        if (used == 0 || strcmp(strrchr(names, ' ') ? strrchr(names, ' ') + 1 : names, name) != 0)
            snprintf(names + used, sizeof names - used, "%s%s", used ? " " : "", name);
    }
    ck_assert_str_eq(names, expected);
    json_decref(rows);
}

START_TEST(several_operations)
{
    const char *format = "bench %s --arch %s --time 0.001 --batch 3 --json";
    expect_operations(cli_line(format, "adam squash", spec), "squash adam");
    expect_operations(cli_line(format, "squash squash", spec), "squash");
    expect_operations(cli_line(format, "step forward", spec), "forward step");
    cli_expect_error(cli_run("bench", "squash", "stp"), 2, "did you mean step?", "a typo");
    cli_expect_error(cli_run("bench", "squash", "votes", "--arch", "cnn-small"), 2,
        "bench: no layer of cnn-small has the operation squash", "no capsules");
    cli_expect_error(cli_run("bench", "gemm", "conv", "--shape", "2x3x4"), 2,
        "--shape needs the operation that it is for", "a shape of which");
    expect_operations("selftest squash sgd --small --json", "sgd squash");
    cli_expect_error(
        cli_run("selftest", "squashh"), 2, "did you mean squash?; there are gemm, ", "a typo");
}
END_TEST

/* One row a layer and algorithm, also of a network without capsules. */
START_TEST(convolutions_of_any_network)
{
    char *lines = copy_of(cli_line("bench conv --arch %s --time 0.001 --batch 2 --json",
        cli_write_text(work, "cnn.json",
            "{\"kind\": \"cnn\", \"input\": [1,12,12], \"classes\": 3, \"conv\": [{\"channels\": "
            "4, "
            "\"kernel\": 3, \"stride\": 1}, {\"channels\": 5, \"kernel\": 5, \"stride\": 1}], "
            "\"hidden\": [8]}")));
    json_t *rows = cli_run_json(lines);
    bool seen[2] = {false};
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const char *shape = json_string_value(json_object_get(json_array_get(rows, i), "shape"));
        seen[0] = seen[0] || strncmp(shape, "conv1 ", 6) == 0;
        seen[1] = seen[1] || strncmp(shape, "conv2 ", 6) == 0;
    }
    ck_assert(seen[0] && seen[1]);
    json_decref(rows);
}
END_TEST

START_TEST(reports_of_several_runs)
{
    char *a = cli_path(three, "seed-3"), *b = cli_path(three, "seed-4");
    test_process p = cli_run("report", a, b);
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert(caps_path_exists(cli_path(a, "report.html")));
    ck_assert(caps_path_exists(cli_path(b, "report.html")));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("command line: lists, folders, ranges");
    TCase *tc = tcase_create("places");
    cli_use_test_cache();
    tcase_set_timeout(tc, 0);
    tcase_add_unchecked_fixture(tc, set_up, tear_down);
    suite_add_tcase(s, tc);
    tcase_add_test(tc, a_run_for_its_checkpoint);
    tcase_add_test(tc, a_repetition_for_its_seeds);
    tcase_add_test(tc, a_folder_for_its_pictures);
    tcase_add_test(tc, ranges_of_images);
    tcase_add_test(tc, several_operations);
    tcase_add_test(tc, convolutions_of_any_network);
    tcase_add_test(tc, reports_of_several_runs);
    return s;
}
