/* Profiles and their flags, and the CNN, through the program. */
#include <math.h>

#include "cli_support.h"

#define TINY_CNN                                                                                   \
    "{\"kind\": \"cnn\", \"input\": [1,12,12], \"classes\": 4,"                                    \
    " \"conv\": [{\"channels\": 5, \"kernel\": 5, \"stride\": 1, \"padding\": 2},"                 \
    "            {\"channels\": 6, \"kernel\": 3, \"stride\": 2}],"                                \
    " \"hidden\": [16], \"dropout\": 0.4}"
static char *work, *data, *spec, *cnn;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 90, 42, 1, 12, 12, 4);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    cnn = cli_write_text(work, "cnn.json", TINY_CNN);
}

static void tear_down(void)
{
    free(work);
}

static bool flag_at(const json_t *object, const char *section, const char *key)
{
    const json_t *spec_json = json_object_get(object, "spec");
    return json_is_true(json_object_get(json_object_get(spec_json, section), key));
}

START_TEST(profiles_say_what_they_are)
{
    static const struct {
        const char *name, *grad, *initialiser;
        double decay, decay_steps, rate_min, scale, weight;
        bool staircase, bias, average;
    } rows[] = {
        {"paper", "full", "scaled", 0.9, 0, 0, 1, 0.0005, false, false, false},
        {"authors", "full", "authors", 0.96, 2000, 1e-6, 1.0 / 8, 0.0005, false, true, true},
        {"keras", "last", "scaled", 0.9, 0, 0, 1, 0.392 / 144, true, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char flags[64], *out = cli_path(work, rows[i].name);
        snprintf(flags, sizeof flags, "--profile %s", rows[i].name);
        json_t *result = cli_train(out, spec, data, flags), *config = cli_config(out);
        const json_t *loss = json_object_get(config, "loss");
        const json_t *caps = json_object_get(json_object_get(config, "spec"), "class_caps");
        ck_assert_str_eq(json_string_value(json_object_get(config, "profile")), rows[i].name);
        ck_assert_str_eq(json_string_value(json_object_get(caps, "routing_grad")), rows[i].grad);
        ck_assert_str_eq(
            json_string_value(json_object_get(config, "initialiser")), rows[i].initialiser);
        ck_assert(cli_number(config, "rate_decay") == rows[i].decay);
        ck_assert(cli_number(config, "rate_decay_steps") == rows[i].decay_steps);
        ck_assert(cli_number(config, "rate_min") == rows[i].rate_min);
        ck_assert(cli_number(loss, "margin_scale") == rows[i].scale);
        ck_assert(cli_number(loss, "reconstruction_weight") == rows[i].weight);
        ck_assert(json_is_true(json_object_get(config, "rate_staircase")) == rows[i].staircase);
        ck_assert(flag_at(config, "class_caps", "bias") == rows[i].bias);
        ck_assert(flag_at(config, "primary", "average") == rows[i].average);
        /* The loss that is reported is the profile's. */
        const double reported = rows[i].scale * cli_number(result, "margin_loss") +
                                rows[i].weight * cli_number(result, "reconstruction_sse");
        ck_assert_double_eq_tol(cli_number(result, "loss"), reported, 1e-5 * reported);
        json_decref(result);
        json_decref(config);
    }
}
END_TEST

START_TEST(every_difference_is_a_flag)
{
    /* The paper's profile with all of the authors' differences gives the same parameters as theirs.
     */
    char *a = cli_path(work, "by-profile"), *b = cli_path(work, "by-flags");
    json_decref(cli_train(a, spec, data, "--profile authors"));
    json_decref(cli_train(b, spec, data,
        "--initialiser authors --primary-average --class-bias --class-mean --lr-decay 0.96 "
        "--lr-decay-steps 2000 --lr-min 1e-6"));
    ck_assert(cli_same_file(cli_path(a, "model.safetensors"), cli_path(b, "model.safetensors")));
    char *c = cli_path(work, "others");
    json_decref(cli_train(c, spec, data,
        "--iterations 1 --routing-grad last --leaky --no-decoder --margin-positive 0.8 "
        "--margin-negative 0.2 --margin-down 0.25 --lr-staircase"));
    json_t *config = cli_config(c);
    const json_t *loss = json_object_get(config, "loss");
    const json_t *caps = json_object_get(json_object_get(config, "spec"), "class_caps");
    ck_assert(cli_number(caps, "iterations") == 1);
    ck_assert(json_is_true(json_object_get(caps, "leaky")));
    ck_assert(json_is_null(json_object_get(json_object_get(config, "spec"), "decoder")));
    ck_assert_double_eq_tol(cli_number(loss, "margin_positive"), 0.8, 1e-7);
    ck_assert_double_eq_tol(cli_number(loss, "margin_negative"), 0.2, 1e-7);
    ck_assert_double_eq_tol(cli_number(loss, "margin_down"), 0.25, 1e-7);
    json_decref(config);
    /* The keras port's mean over pixels. */
    char *d = cli_path(work, "mean");
    json_decref(cli_train(d, spec, data, "--reconstruction-mean 0.392"));
    config = cli_config(d);
    ck_assert(cli_number(json_object_get(config, "loss"), "reconstruction_weight") == 0.392 / 144);
    json_decref(config);
}
END_TEST

/* What a profile turns on is turned off again: all of authors' and keras' differences undone give
 * the paper's bytes. Of a switch and its opposite the last one counts. */
START_TEST(every_difference_can_be_undone)
{
    static const char *const undone[] = {
        "--profile authors --lr-decay 0.9 --lr-decay-steps 0 --lr-min 0 --initialiser scaled "
        "--no-class-mean --no-primary-average --no-class-bias",
        "--profile keras --no-lr-staircase --reconstruction-weight 0.0005 --routing-grad full",
        "--lr-staircase --class-bias --primary-average --class-mean --no-class-mean "
        "--no-primary-average --no-class-bias --no-lr-staircase",
    };
    char *paper = cli_path(work, "undone-paper");
    json_decref(cli_train(paper, spec, data, "--max-steps 7"));
    for (size_t i = 0; i < sizeof undone / sizeof undone[0]; i++) {
        char *flags = caps_format("--max-steps 7 %s", undone[i]), name[16];
        snprintf(name, sizeof name, "undone-%zu", i);
        char *out = cli_path(work, name);
        json_decref(cli_train(out, spec, data, flags));
        ck_assert_msg(
            cli_same_file(cli_path(paper, "model.safetensors"), cli_path(out, "model.safetensors")),
            "%s", flags);
        free(flags);
    }
    char *last = cli_path(work, "undone-last");
    json_decref(cli_train(last, spec, data,
        "--no-class-bias --class-bias --no-primary-average --primary-average --no-class-mean "
        "--class-mean --no-lr-staircase --lr-staircase"));
    json_t *config = cli_config(last);
    ck_assert(flag_at(config, "class_caps", "bias"));
    ck_assert(flag_at(config, "primary", "average"));
    ck_assert(json_is_true(json_object_get(config, "rate_staircase")));
    ck_assert(cli_number(json_object_get(config, "loss"), "margin_scale") == 1.0 / 8);
    json_decref(config);
}
END_TEST

/* The network of --init is the file's, which is said where the profile has another. */
START_TEST(a_profile_after_init)
{
    char *out = cli_path(work, "plain"), line[2048];
    json_decref(cli_train(out, spec, data, "--optimizer sgd --lr-decay 1"));
    static const struct {
        const char *flags;
        bool said;
    } rows[] = {{"--profile authors", true}, {"--profile keras", true}, {"--profile paper", false},
        {"--profile keras --routing-grad last", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(line, sizeof line, "train --data %s --init %s --max-steps 1 --out %s/after-%zu %s",
            data, cli_path(out, "model.safetensors"), work, i, rows[i].flags);
        test_process p = cli_run_text(line);
        cli_expect_ok(p);
        ck_assert_msg((strstr(p.err, "\nnetwork: that of ") != NULL) == rows[i].said, "%s: %s",
            rows[i].flags, p.err);
        test_process_release(&p);
    }
}
END_TEST

/* A copy in which every `from` is a `to` of the same length. */
static char *altered(const char *model, const char *name, const char *from, const char *to)
{
    size_t n = 0, found = 0;
    const size_t length = strlen(from);
    unsigned char *bytes = cli_read(model, &n);
    ck_assert_uint_eq(strlen(to), length);
    for (size_t i = 0; i + length <= n; i++)
        if (memcmp(bytes + i, from, length) == 0) {
            memcpy(bytes + i, to, length);
            found++;
        }
    ck_assert_msg(found > 0, "%s has no %s", model, from);
    char *path = cli_path(work, name);
    cli_write(path, bytes, n);
    free(bytes);
    return path;
}

static json_t *evaluated(const char *model, const char *flags)
{
    char *line = caps_format("eval --model %s --data %s --json --quiet %s", model, data, flags);
    json_t *value = cli_run_json(line);
    free(line);
    return value;
}

/* Margins 0.7 and 0.2, from the rows of eval --predictions. */
static double margin_loss_of(const char *csv)
{
    size_t n = 0;
    double sum = 0, rows = 0;
    char *text = (char *)cli_read(csv, &n);
    strtok(text, "\n"); /* the header */
    for (char *row = strtok(NULL, "\n"); row; row = strtok(NULL, "\n")) {
        int index, truth, label;
        double length[4];
        ck_assert_int_eq(sscanf(row, "%d,%d,%d,%lf,%lf,%lf,%lf", &index, &truth, &label, &length[0],
                             &length[1], &length[2], &length[3]),
            7);
        for (int j = 0; j < 4; j++) {
            const double below = fmax(0, 0.7 - length[j]), above = fmax(0, length[j] - 0.2);
            sum += j == truth ? below * below : 0.5 * above * above;
        }
        rows++;
    }
    free(text);
    return sum / rows;
}

/* What a network was trained with stays with it: eval, attack and show go by the checkpoint's own
 * loss, a file without one has the default, a damaged one is refused. */
START_TEST(a_loss_stays_with_the_network)
{
    char *out = cli_path(work, "margins"), *parts = cli_path(work, "margins-resumed"), line[2048];
    json_decref(cli_train(
        out, spec, data, "--max-steps 7 --class-mean --margin-positive 0.7 --margin-negative 0.2"));
    json_decref(cli_train(parts, spec, data,
        "--max-steps 3 --class-mean --margin-positive 0.7 --margin-negative 0.2"));
    snprintf(line, sizeof line, "train --resume --out %s --max-steps 7 --quiet", parts);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    test_process_release(&p);
    char *model = cli_path(out, "model.safetensors"), *csv = cli_path(work, "margins.csv");
    ck_assert(cli_same_file(model, cli_path(parts, "model.safetensors")));

    char *flags = caps_format("--predictions %s", csv);
    json_t *own = evaluated(model, flags);
    const double loss = cli_number(own, "margin_loss");
    ck_assert_double_eq_tol(loss, margin_loss_of(csv), 1e-5 * loss);
    json_decref(own);
    free(flags);
    json_t *state = evaluated(cli_path(out, "state.safetensors"), "");
    ck_assert(cli_number(state, "margin_loss") == loss);
    json_decref(state);
    char *without = altered(model, "without.safetensors", "capscl.loss", "capscl.lost");
    json_t *plain = evaluated(without, "");
    ck_assert_double_gt(fabs(cli_number(plain, "margin_loss") - loss), 1e-3);
    json_decref(plain);

    /* The margins of the picture. */
    char *sheets[] = {cli_path(work, "own.png"), cli_path(work, "plain.png")};
    for (int i = 0; i < 2; i++) {
        snprintf(line, sizeof line, "show lengths --model %s --data %s --out %s", model, data,
            sheets[i]);
        if (i) /* under the same name: nothing else in the heading differs */
            ck_assert_int_eq(rename(without, model), 0);
        p = cli_run_text(line);
        cli_expect_ok(p);
        test_process_release(&p);
    }
    ck_assert(!cli_same_file(sheets[0], sheets[1]));

    char *damaged = altered(
        cli_path(parts, "model.safetensors"), "damaged.safetensors", "margin_down", "margin_dawn");
    snprintf(line, sizeof line, "eval --model %s --data %s", damaged, data);
    cli_expect_error(cli_run_text(line), 3, "capscl.loss: margin_down is missing", line);

    /* A loss that is 0 for every image has no gradient: its attack leaves all as they are. */
    char *flat = cli_path(work, "flat");
    json_decref(cli_train(
        flat, spec, data, "--margin-positive 0.00001 --margin-negative 0.000001 --margin-down 0"));
    json_t *attack = evaluated(cli_path(flat, "model.safetensors"), "--attack fgsm --epsilon 0.1");
    const json_t *row = json_array_get(json_object_get(attack, "rows"), 0);
    ck_assert(cli_number(json_array_get(json_object_get(row, "models"), 0), "unchanged") == 42);
    json_decref(attack);
}
END_TEST

START_TEST(a_cnn_goes_the_same_ways)
{
    char *model = cli_whole_and_resumed(work, "cnn", cnn, data), line[2048];
    /* A profile's scale is of the margin loss, not of the cross entropy. */
    json_t *result = cli_train(cli_path(work, "cnn-authors"), cnn, data, "--profile authors");
    ck_assert_double_eq_tol(cli_number(result, "loss"), cli_number(result, "margin_loss"), 1e-6);
    json_decref(result);
    snprintf(line, sizeof line, "eval --model %s --data %s --json", model, data);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    ck_assert(cli_number(value, "n") == 42);
    ck_assert(json_is_null(json_object_get(value, "reconstruction_sse")));
    ck_assert(cli_number(value, "margin_loss") > 0);
    json_decref(value);
    test_process_release(&p);
    snprintf(line, sizeof line, "predict --model %s --data %s --json", model, data);
    p = cli_run_text(line);
    cli_expect_ok(p);
    value = cli_json(&p);
    const json_t *lengths = json_object_get(json_array_get(value, 3), "lengths");
    double sum = 0; /* probabilities */
    for (size_t j = 0; j < json_array_size(lengths); j++)
        sum += json_number_value(json_array_get(lengths, j));
    ck_assert_double_eq_tol(sum, 1, 1e-5);
    json_decref(value);
    test_process_release(&p);
    snprintf(line, sizeof line, "predict --model %s --data %s --capsules", model, data);
    cli_expect_error(cli_run_text(line), 3, "has no capsules", line);
    snprintf(line, sizeof line, "show perturb --model %s --data %s --out %s", model, data,
        cli_path(work, "p.png"));
    cli_expect_error(cli_run_text(line), 3, "has no capsules", line);
}
END_TEST

static const struct {
    const char *flags, *needle;
} wrong[] = {
    {"--repeat 0", "--repeat"},
    {"--repeat three", "--repeat"},
    {"--profile author", "did you mean authors?"},
    {"--iterations 0", "--iterations"},
    {"--routing-grad half", "full or last"},
    {"--initialiser he", "scaled or authors"},
    {"--margin-positive -1", "need 0 to"},
    {"--margin-down x", "not a number"},
    {"--reconstruction-weight nan", "not a number"},
    {"--reconstruction-weight 1 --reconstruction-mean 1", "exclude each other"},
    {"--lr 0.001 --lr-min 0.01", "--lr-min"},
    {"--lr-decay-steps -1", "--lr-decay-steps"},
    {"--no-class-bias=1", "takes no value"},
    {"--margin-positive 0.1 --margin-negative 0.9", "need a larger m+"},
    {"--margin-negative 0.9", "need a larger m+"},
    {"--margin-positive 1e30", "need 0 to 1"},
    {"--margin-negative 1.5", "need 0 to 1"},
    {"--no-decoder --reconstruction-weight 1", "--reconstruction-weight without a decoder"},
    {"--no-decoder --reconstruction-mean 1", "--reconstruction-mean without a decoder"},
    {"--optimizer sgd --lr-decay 0.5", "--lr-decay with --optimizer sgd"},
    {"--optimizer sgd --lr-decay-steps 5", "--lr-decay-steps with --optimizer sgd"},
    {"--optimizer sgd --lr-staircase", "--lr-staircase with --optimizer sgd"},
    {"--optimizer sgd --lr-min 1e-5", "--lr-min with --optimizer sgd"},
    {"--optimizer sgd --lr-linear 3", "--lr-linear with --optimizer sgd"},
    {"--optimizer sgd --lr-warmup 3", "--lr-warmup with --optimizer sgd"},
    {"--lr-warmup 1.5", "--lr-warmup"},
    {"--lr-linear 0", "--lr-linear"},
    {"--lr-linear 3", "10 epochs at a learning rate that falls to 0 in 3"},
    {"--lr-linear 3 --max-steps 100 --batch 45",
        "50 epochs at a learning rate that falls to 0 in 3"},
    {"--validation 90", "90"},
    {"--validation -3", "--validation"},
    {"--augment place", "place40"},
    {"--layer-lr primary=fast", "'primary=fast' is not LAYER=X"},
    {"--layer-lr primal=0.1", "need one of conv1, primary, class_caps, decoder"},
};

START_TEST(wrong_settings)
{
    char line[2048], *out = cli_path(work, "wrong");
    snprintf(line, sizeof line, "train --data %s --arch %s --out %s %s", data, spec, out,
        wrong[_i].flags);
    cli_expect_error(cli_run_text(line), 2, wrong[_i].needle, line);
    ck_assert(!caps_path_exists(out));
}
END_TEST

static const char *const of_capsules[] = {"--iterations 2", "--routing-grad last", "--leaky",
    "--class-bias", "--no-class-bias", "--no-primary-average", "--no-class-mean",
    "--primary-average", "--no-decoder", "--margin-positive 1", "--class-mean",
    "--reconstruction-weight 1"};

START_TEST(a_cnn_has_no_capsules_to_set)
{
    char line[2048];
    snprintf(line, sizeof line, "train --data %s --arch %s --out %s %s", data, cnn,
        cli_path(work, "wrong"), of_capsules[_i]);
    cli_expect_error(cli_run_text(line), 2, "which has no capsules", line);
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("command line: profiles, CNN");
    TCase *t = tcase_create("profiles");
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, profiles_say_what_they_are);
    tcase_add_test(t, every_difference_is_a_flag);
    tcase_add_test(t, a_loss_stays_with_the_network);
    tcase_add_test(t, every_difference_can_be_undone);
    tcase_add_test(t, a_profile_after_init);
    tcase_add_test(t, a_cnn_goes_the_same_ways);
    tcase_add_loop_test(t, wrong_settings, 0, (int)(sizeof wrong / sizeof wrong[0]));
    tcase_add_loop_test(
        t, a_cnn_has_no_capsules_to_set, 0, (int)(sizeof of_capsules / sizeof of_capsules[0]));
    suite_add_tcase(s, t);
    return s;
}
