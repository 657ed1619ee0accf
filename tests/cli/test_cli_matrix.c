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
        json_t *result = cli_train(out, spec, data, flags), *config = cli_config(out);
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

/* All elements of a tensor of a model's file. */
static void fill_tensor(const char *path, const char *tensor, float value)
{
    size_t n = 0;
    unsigned char *file = cli_read(path, &n);
    uint64_t header = 0;
    memcpy(&header, file, 8);
    json_t *rows = json_loadb((char *)file + 8, header, 0, NULL);
    const json_t *at = json_object_get(json_object_get(rows, tensor), "data_offsets");
    ck_assert_msg(json_array_size(at) == 2, "%s has no %s", path, tensor);
    const size_t begin = (size_t)json_integer_value(json_array_get(at, 0));
    const size_t end = (size_t)json_integer_value(json_array_get(at, 1));
    for (size_t x = begin; x < end; x += sizeof value)
        memcpy(file + 8 + header + x, &value, sizeof value);
    cli_write(path, file, n);
    json_decref(rows);
    free(file);
}

/* lambda is 1000: z of iteration 1 is 50 beta_a, that of iteration 2 97.5 beta_a. */
START_TEST(the_iteration_that_is_not_finite_is_named)
{
    static const struct {
        const char *tensor, *needle;
        float value;
    } rows[] = {
        {"caps1.beta_a", "step 1: iteration 1 of caps1 is not finite (learning rate ", -1e37f},
        {"caps1.beta_a", "step 1: iteration 2 of caps1 is not finite (learning rate ", -5e36f},
        {"class_caps.beta_a", "step 1: iteration 2 of class_caps is not finite (", -5e36f},
        {"primary.pose.weight", "step 1: primary is not finite (", 3e38f},
    };
    char line[2048], *out = cli_path(work, "finite"), *steep = cli_path(work, "steep.json");
    char *changed = strdup(TINY_MATRIX), text[2048] = "";
    for (char *at = changed, *next; at; at = next) {
        next = strstr(at, "\"iterations\":2");
        if (next) {
            *next = 0;
            next += strlen("\"iterations\":2");
        }
        strcat(strcat(text, at), next ? "\"iterations\":3,\"lambda\":1000" : "");
    }
    free(changed);
    cli_write(steep, text, strlen(text));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_decref(cli_train(out, steep, data, "--max-steps 1 --lr 1e-6 --overwrite"));
        char *model = cli_path(out, "model.safetensors");
        fill_tensor(model, rows[i].tensor, rows[i].value);
        snprintf(line, sizeof line,
            "train --data %s --init %s --out %s --batch 20 --max-steps 2 "
            "--overwrite",
            data, model, cli_path(work, "not-finite"));
        cli_expect_error(cli_run_text(line), 1, rows[i].needle, line);
    }
}
END_TEST

#define EM_ROUTING "\"routing\":{\"kind\":\"em\"}}"
#define ONE_BY_ONE "{\"kind\":\"matrix_conv\",\"types\":2,\"kernel\":1,\"stride\":1," EM_ROUTING
#define TWO_BY_TWO "{\"kind\":\"matrix_conv\",\"types\":2,\"kernel\":2,\"stride\":1," EM_ROUTING

/* A list of `count` layers of the kind. */
static char *many_layers(const char *name, size_t count, const char *layer)
{
    char *text = malloc(300 + count * (strlen(layer) + 1));
    strcpy(text, "{\"input\":[1,12,12],\"classes\":4,\"layers\":["
                 "{\"kind\":\"conv\",\"channels\":4,\"kernel\":3,\"stride\":2},"
                 "{\"kind\":\"matrix_primary\",\"types\":2}");
    for (size_t i = 0; i < count; i++)
        strcat(strcat(text, ","), layer);
    strcat(text, ",{\"kind\":\"matrix_caps\",\"capsules\":4," EM_ROUTING "],\"decoder\":null}");
    char *path = cli_write_text(work, name, text);
    free(text);
    return path;
}

/* More layers than a list may have; more parameters; windows that do not fit: each in one line. */
START_TEST(networks_that_are_too_deep)
{
    const struct {
        const char *spec, *needle;
    } rows[] = {
        {many_layers("300.json", 300, ONE_BY_ONE), "300.json: layers has 303 layers, need at most"},
        {many_layers("45.json", 45, ONE_BY_ONE), "more than 128 parameter tensors, need fewer"},
        {many_layers("5.json", 5, TWO_BY_TWO),
            "matrix_conv5: kernel 2 is larger than its input 1x1"},
    };
    char line[2048], *out = cli_path(work, "deep");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(line, sizeof line, "train --data %s --arch %s --out %s", data, rows[i].spec, out);
        cli_expect_error(cli_run_text(line), 3, rows[i].needle, line);
        ck_assert(!caps_path_exists(out));
    }
    /* As deep as it may be: 40 layers that route, 126 tensors. */
    json_decref(cli_train(
        out, many_layers("39.json", 39, ONE_BY_ONE), data, "--max-steps 1 --iterations 1"));
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
    tcase_add_test(t, the_iteration_that_is_not_finite_is_named);
    tcase_add_test(t, networks_that_are_too_deep);
    tcase_add_loop_test(t, wrong_settings, 0, (int)(sizeof wrong / sizeof wrong[0]));
    suite_add_tcase(s, t);
    return s;
}
