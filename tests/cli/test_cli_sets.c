/* test_cli_sets.c: the command line on data sets as people have them: names of files, folders of
 * splits, any number of classes, files beside the pictures. */
#include "cli_support.h"

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

Suite *suite(void)
{
    Suite *s = suite_create("command line: sets");
    TCase *sets = tcase_create("sets");
    tcase_add_unchecked_fixture(sets, set_up, tear_down);
    tcase_set_timeout(sets, 600);
    tcase_add_test(sets, built_in_networks_take_the_classes_of_the_data);
    tcase_add_test(sets, idx_names_with_a_dot);
    suite_add_tcase(s, sets);
    return s;
}
