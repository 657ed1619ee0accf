/* Profiles and their flags, the CNN, pairs, validation and several models, through the program. */
#include <math.h>

#include "cli_support.h"
#include "image.h"
#include "statistics.h"

#define TINY_CNN                                                                                   \
    "{\"kind\": \"cnn\", \"input\": [1,12,12], \"classes\": 4,"                                    \
    " \"conv\": [{\"channels\": 5, \"kernel\": 5, \"stride\": 1, \"padding\": 2},"                 \
    "            {\"channels\": 6, \"kernel\": 3, \"stride\": 2}],"                                \
    " \"hidden\": [16], \"dropout\": 0.4}"
#define TINY_PAIRS                                                                                 \
    "{\"input\": [1,20,20], \"classes\": 4, \"labels\": 2,"                                        \
    " \"conv1\": {\"channels\": 6, \"kernel\": 5, \"stride\": 2},"                                 \
    " \"primary\": {\"types\": 3, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"                      \
    " \"class_caps\": {\"dim\": 6, \"iterations\": 2}, \"decoder\": {\"hidden\": [16]}}"

static char *work, *data, *pairs, *spec, *cnn, *two;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 90, 42, 1, 12, 12, 4);
    pairs = malloc(strlen(data) + 8);
    sprintf(pairs, "multi:%s", data);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    cnn = cli_write_text(work, "cnn.json", TINY_CNN);
    two = cli_write_text(work, "pairs.json", TINY_PAIRS);
}

static void tear_down(void)
{
    free(pairs);
    free(work);
}

static json_t *config_of(const char *out)
{
    json_t *value = json_load_file(cli_path(out, "config.json"), 0, NULL);
    ck_assert_msg(json_is_object(value), "%s", out);
    return value;
}

/* Of RUN/metrics.jsonl. */
static json_t *last_epoch(const char *out)
{
    size_t n;
    json_t *last = NULL;
    char *text = (char *)cli_read(cli_path(out, "metrics.jsonl"), &n);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (strstr(line, "\"epoch\",")) {
            json_decref(last);
            last = json_loads(line, 0, NULL);
        }
    ck_assert_msg(json_is_object(last), "%s", out);
    free(text);
    return last;
}

static json_t *train(const char *out, const char *arch, const char *from, const char *flags)
{
    char *line = malloc(strlen(out) + strlen(arch) + strlen(from) + strlen(flags) + 160);
    sprintf(line, "train --data %s --arch %s --batch 20 --max-steps 2 --quiet --json --out %s %s",
        from, arch, out, flags);
    test_process p = cli_run_text(line);
    ck_assert_msg(p.exit_code == 0, "%s: exit code %d; %s", line, p.exit_code, p.err);
    json_t *value = cli_json(&p);
    test_process_release(&p);
    free(line);
    return value;
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
        json_t *result = train(out, spec, data, flags), *config = config_of(out);
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
        /* The loss that is told is the profile's. */
        const double told = rows[i].scale * cli_number(result, "margin_loss") +
                            rows[i].weight * cli_number(result, "reconstruction_sse");
        ck_assert_double_eq_tol(cli_number(result, "loss"), told, 1e-5 * told);
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
    json_decref(train(a, spec, data, "--profile authors"));
    json_decref(train(b, spec, data,
        "--initialiser authors --primary-average --class-bias --class-mean --lr-decay 0.96 "
        "--lr-decay-steps 2000 --lr-min 1e-6"));
    ck_assert(cli_same_file(cli_path(a, "model.safetensors"), cli_path(b, "model.safetensors")));
    char *c = cli_path(work, "others");
    json_decref(train(c, spec, data,
        "--iterations 1 --routing-grad last --leaky --no-decoder --margin-positive 0.8 "
        "--margin-negative 0.2 --margin-down 0.25 --lr-staircase"));
    json_t *config = config_of(c);
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
    json_decref(train(d, spec, data, "--reconstruction-mean 0.392"));
    config = config_of(d);
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
    json_decref(train(paper, spec, data, "--max-steps 7"));
    for (size_t i = 0; i < sizeof undone / sizeof undone[0]; i++) {
        char *flags = caps_format("--max-steps 7 %s", undone[i]), name[16];
        snprintf(name, sizeof name, "undone-%zu", i);
        char *out = cli_path(work, name);
        json_decref(train(out, spec, data, flags));
        ck_assert_msg(
            cli_same_file(cli_path(paper, "model.safetensors"), cli_path(out, "model.safetensors")),
            "%s", flags);
        free(flags);
    }
    char *last = cli_path(work, "undone-last");
    json_decref(train(last, spec, data,
        "--no-class-bias --class-bias --no-primary-average --primary-average --no-class-mean "
        "--class-mean --no-lr-staircase --lr-staircase"));
    json_t *config = config_of(last);
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
    json_decref(train(out, spec, data, "--optimizer sgd --lr-decay 1"));
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

/* Trains to the end at once and in two processes; the bytes are the same. Gives the model. */
static char *whole_and_resumed(const char *name, const char *arch, const char *from)
{
    char line[2048], other[64];
    char *whole = cli_path(work, name);
    snprintf(other, sizeof other, "%s-resumed", name);
    char *parts = cli_path(work, other);
    json_decref(train(whole, arch, from, "--max-steps 7"));
    json_decref(train(parts, arch, from, "--max-steps 3"));
    snprintf(line, sizeof line, "train --resume --out %s --max-steps 7 --quiet", parts);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    test_process_release(&p);
    char *model = cli_path(whole, "model.safetensors");
    ck_assert(cli_same_file(model, cli_path(parts, "model.safetensors")));
    return model;
}

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
    test_process p = cli_run_text(line);
    ck_assert_msg(p.exit_code == 0, "%s: exit code %d; %s", line, p.exit_code, p.err);
    json_t *value = cli_json(&p);
    test_process_release(&p);
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
    json_decref(train(
        out, spec, data, "--max-steps 7 --class-mean --margin-positive 0.7 --margin-negative 0.2"));
    json_decref(train(parts, spec, data,
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
    json_decref(train(
        flat, spec, data, "--margin-positive 0.00001 --margin-negative 0.000001 --margin-down 0"));
    json_t *attack = evaluated(cli_path(flat, "model.safetensors"), "--attack fgsm --epsilon 0.1");
    const json_t *row = json_array_get(json_object_get(attack, "rows"), 0);
    ck_assert(cli_number(json_array_get(json_object_get(row, "models"), 0), "unchanged") == 42);
    json_decref(attack);
}
END_TEST

START_TEST(a_cnn_goes_the_same_ways)
{
    char *model = whole_and_resumed("cnn", cnn, data), line[2048];
    /* A profile's scale is of the margin loss, not of the cross entropy. */
    json_t *result = train(cli_path(work, "cnn-authors"), cnn, data, "--profile authors");
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

/* <prefix>error_low_percent and _high_percent are Wilson's for that share of n. */
static void expect_interval(const json_t *object, const char *prefix, double percent, double n)
{
    double low, high;
    char key[64];
    caps_wilson((uint64_t)lround(percent * n / 100), (uint64_t)n, CAPS_Z95, &low, &high);
    snprintf(key, sizeof key, "%serror_low_percent", prefix);
    ck_assert_double_eq_tol(cli_number(object, key), 100 * low, 1e-6);
    snprintf(key, sizeof key, "%serror_high_percent", prefix);
    ck_assert_double_eq_tol(cli_number(object, key), 100 * high, 1e-6);
}

static void expect_said(const char *text, const char *name, double percent, double n)
{
    double low, high;
    char said[128];
    const double errors = round(percent * n / 100);
    caps_wilson((uint64_t)errors, (uint64_t)n, CAPS_Z95, &low, &high);
    snprintf(said, sizeof said, "%s%.2f %% (%.0f of %.0f; 95 %% interval %.2f to %.2f %%)", name,
        percent, errors, n, 100 * low, 100 * high);
    ck_assert_msg(strstr(text, said) != NULL, "no '%s' in %s", said, text);
}

/* What is told of single digits, by a training in JSON and in text and by the report. */
START_TEST(single_digits_have_intervals)
{
    char *out = cli_path(work, "digits"), line[2048];
    json_t *value = train(out, two, pairs, "--repeat 2 --validation 20");
    const json_t *runs = json_object_get(value, "runs");
    static const char *const names[] = {"test_label_", "validation_label_"};
    double percent[2][2];
    for (int k = 0; k < 2; k++) {
        const double n = k ? 40 : 84;
        char key[64];
        for (size_t i = 0; i < 2; i++) {
            const json_t *run = json_array_get(runs, i);
            snprintf(key, sizeof key, "%serror_percent", names[k]);
            percent[k][i] = cli_number(run, key);
            expect_interval(run, names[k], percent[k][i], n);
        }
        snprintf(key, sizeof key, "mean_%serror_percent", names[k]);
        ck_assert_double_eq_tol(cli_number(value, key), (percent[k][0] + percent[k][1]) / 2, 1e-6);
        snprintf(key, sizeof key, "sd_%serror_percent", names[k]);
        ck_assert_double_eq_tol(
            cli_number(value, key), fabs(percent[k][0] - percent[k][1]) / sqrt(2), 1e-6);
    }
    json_decref(value);
    snprintf(line, sizeof line, "train --resume --out %s --quiet", out);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    expect_said(p.out, ", of single digits ", percent[0][1], 84);
    expect_said(p.out, ", of single digits ", percent[1][0], 40);
    ck_assert_ptr_nonnull(strstr(p.out, " of 42 pairs; 95 % interval "));
    ck_assert_ptr_nonnull(strstr(p.out, " of 20 pairs; 95 % interval "));
    ck_assert_ptr_nonnull(strstr(p.out, "\ntest error of single digits, mean of 2 runs: "));
    ck_assert_ptr_nonnull(strstr(p.out, "\nvalidation error of single digits, mean of 2 runs: "));
    test_process_release(&p);

    char *one = cli_path(out, "seed-2");
    snprintf(line, sizeof line, "report %s --quiet", one);
    p = cli_run_text(line);
    cli_expect_ok(p);
    test_process_release(&p);
    size_t n = 0;
    char *page = (char *)cli_read(cli_path(one, "report.html"), &n);
    double low, high;
    caps_wilson((uint64_t)lround(percent[0][1] * 0.84), 84, CAPS_Z95, &low, &high);
    snprintf(line, sizeof line,
        "<td>of single digits</td><td>%.2f %% (95 %%: %.2f to %.2f) over 84</td>", percent[0][1],
        100 * low, 100 * high);
    ck_assert_msg(strstr(page, line) != NULL, "no '%s'", line);
    snprintf(line, sizeof line, "<td>95 %% interval (Wilson)</td><td>%.2f to %.2f %%</td>",
        100 * low, 100 * high);
    ck_assert_msg(strstr(page, line) != NULL, "no '%s'", line);
    ck_assert_ptr_nonnull(strstr(page, " of 42 pairs)</td>"));
    ck_assert_ptr_nonnull(strstr(page, " over 42 pairs</td>"));
    ck_assert_ptr_nonnull(strstr(page, " over 20 pairs</td>"));
    ck_assert_ptr_nonnull(strstr(page, "steps of 20 pairs</span>"));
    ck_assert_ptr_nonnull(strstr(page, "<th>digits</th>"));
    free(page);
}
END_TEST

/* How bad a pair's mistake is by its row of eval --predictions: of all classes that were predicted
 * and are not there, and of those that are there and were not, the longest less the shortest. -1:
 * there is none. */
static double mistake_of(const int truth[2], const int label[2], const double *length)
{
    double longest = -1, shortest = 2;
    for (int t = 0; t < 2; t++) {
        if (label[t] != truth[0] && label[t] != truth[1])
            longest = fmax(longest, length[label[t]]);
        if (truth[t] != label[0] && truth[t] != label[1])
            shortest = fmin(shortest, length[truth[t]]);
    }
    return longest < 0 ? -1 : longest - shortest;
}

START_TEST(a_report_has_the_worst_pairs)
{
    char *out = cli_path(work, "worst"), *csv = cli_path(work, "worst.csv"), line[2048];
    json_decref(train(out, two, pairs, "--max-steps 6"));
    snprintf(line, sizeof line, "report %s --quiet", out);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    test_process_release(&p);
    snprintf(line, sizeof line, "eval --model %s --data %s --predictions %s --quiet",
        cli_path(out, "model.safetensors"), pairs, csv);
    p = cli_run_text(line);
    cli_expect_ok(p);
    test_process_release(&p);
    size_t n = 0, mistakes = 0;
    char *rows = (char *)cli_read(csv, &n), worst[192] = "";
    double most = -1;
    strtok(rows, "\n"); /* the header */
    for (char *row = strtok(NULL, "\n"); row; row = strtok(NULL, "\n")) {
        int index, truth[2], label[2];
        double length[4];
        ck_assert_int_eq(sscanf(row, "%d,%d,%d,%d,%d,%lf,%lf,%lf,%lf", &index, &truth[0], &truth[1],
                             &label[0], &label[1], &length[0], &length[1], &length[2], &length[3]),
            9);
        const double mistake = mistake_of(truth, label, length);
        mistakes += mistake >= 0;
        if (mistake <= most)
            continue;
        most = mistake;
        snprintf(worst, sizeof worst,
            "<div><b class=\"good\">%d, %d</b> &rarr; <b class=\"bad\">%d, %d</b><br>%.2f, %.2f "
            "&rarr; %.2f, %.2f<br>"
            "<span class=\"muted\">%d</span>",
            truth[0], truth[1], label[0], label[1], length[truth[0]], length[truth[1]],
            length[label[0]], length[label[1]], index);
    }
    free(rows);
    ck_assert_uint_gt(mistakes, 1);
    char *page = (char *)cli_read(cli_path(out, "report.html"), &n);
    ck_assert_ptr_nonnull(strstr(page, "Pairs of the test split"));
    ck_assert_msg(strstr(page, worst) != NULL, "no %s", worst);
    ck_assert(strstr(page, worst) == strstr(page, "<div><b class=\"good\">")); /* the first card */
    size_t cards = 0;
    const char *card = "<div class=\"mistake\">";
    for (size_t i = 0; i + strlen(card) <= n; i++)
        cards += strncmp(page + i, card, strlen(card)) == 0;
    ck_assert_uint_eq(cards, mistakes < 24 ? mistakes : 24);
    free(page);
}
END_TEST
/* From a row of --predictions of four classes: how bad its mistake is, and the lesser length of the
 * true ones. */
static void of_prediction(const char *row, double *mistake, double *sureness)
{
    int truth[2], label[2];
    double lengths[4];
    ck_assert_int_eq(sscanf(row, "%*d,%d,%d,%d,%d,%lf,%lf,%lf,%lf", &truth[0], &truth[1], &label[0],
                         &label[1], &lengths[0], &lengths[1], &lengths[2], &lengths[3]),
        8);
    *mistake = mistake_of(truth, label, lengths);
    *sureness = fmin(lengths[truth[0]], lengths[truth[1]]);
}

static caps_image picture_of(const char *arguments, const char *model)
{
    char line[2048], *out = cli_path(work, "picture.png");
    snprintf(line, sizeof line, "show couplings --model %s --data %s --out %s %s", model, pairs,
        out, arguments);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    test_process_release(&p);
    caps_error err = {0};
    caps_image image;
    test_ok(caps_image_read_png(&image, out, &err));
    return image;
}

/* Couplings are of the surest right pair and of the worst mistake: as if both were asked for, but
 * for the heading. */
static void expect_worst_pair(const char *model)
{
    char line[2048], *csv = cli_path(work, "pairs.csv");
    snprintf(line, sizeof line, "eval --model %s --data %s --predictions %s", model, pairs, csv);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    test_process_release(&p);
    size_t n, worst = 0, surest = 0;
    double most = -1, greatest = -INFINITY, mistake, sureness;
    char *text = (char *)cli_read(csv, &n);
    strtok(text, "\n"); /* the heading */
    const char *row = strtok(NULL, "\n");
    for (size_t i = 0; row; i++, row = strtok(NULL, "\n")) {
        of_prediction(row, &mistake, &sureness);
        if (mistake > most) {
            most = mistake;
            worst = i;
        }
        if (mistake < 0 && sureness > greatest) {
            greatest = sureness;
            surest = i;
        }
    }
    free(text);
    ck_assert(most >= 0); /* a network of a few steps makes some */
    if (isfinite(greatest))
        snprintf(line, sizeof line, "--index %zu %zu", surest, worst);
    else
        snprintf(line, sizeof line, "--index %zu", worst);
    caps_image own = picture_of("", model), asked = picture_of(line, model);
    ck_assert_uint_eq(own.width, asked.width);
    const size_t bytes = (asked.height - 240) * asked.width * 3; /* from below */
    ck_assert_mem_eq(own.pixels + own.height * own.width * 3 - bytes,
        asked.pixels + asked.height * asked.width * 3 - bytes, bytes);
    caps_image_release(&own);
    caps_image_release(&asked);
}

START_TEST(pairs_go_the_same_ways)
{
    char *model = whole_and_resumed("pairs", two, pairs), line[2048];
    /* The share of single digits is told beside the pairs', as it is trained and afterwards. */
    snprintf(
        line, sizeof line, "train --resume --out %s --epochs 3 --json", cli_path(work, "pairs"));
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    json_t *end = cli_json(&p), *epoch = last_epoch(cli_path(work, "pairs"));
    const double exact = cli_number(end, "test_error_percent");
    const double single = cli_number(end, "test_label_error_percent");
    ck_assert(single >= exact / 2 && single <= exact);
    expect_interval(end, "test_label_", single, 84);
    ck_assert_double_eq_tol(cli_number(epoch, "test_label_error_percent"), single, 1e-4);
    ck_assert_ptr_nonnull(strstr(p.err, "(of single digits "));
    test_process_release(&p);
    snprintf(line, sizeof line, "train --resume --out %s --quiet", cli_path(work, "pairs"));
    p = cli_run_text(line);
    cli_expect_ok(p);
    expect_said(p.out, "test error of single digits: ", single, 84);
    ck_assert_ptr_nonnull(strstr(p.out, " of 42 pairs; 95 % interval "));
    test_process_release(&p);
    json_decref(epoch);
    json_decref(end);
    snprintf(line, sizeof line, "eval --model %s --data %s --json", model, pairs);
    p = cli_run_text(line);
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    ck_assert(cli_number(value, "n") == 42);
    /* A pair is wrong where one of its digits is or both are. */
    const double errors = cli_number(value, "errors"), wrong = cli_number(value, "label_errors");
    ck_assert(wrong >= errors && wrong <= 2 * errors);
    ck_assert(cli_number(value, "reconstruction_sse") > 0);
    expect_interval(value, "label_", 100 * wrong / 84, 84);
    json_decref(value);
    test_process_release(&p);
    snprintf(line, sizeof line, "eval --model %s %s --data %s", model, model, pairs);
    p = cli_run_text(line);
    cli_expect_ok(p);
    snprintf(line, sizeof line, "\nof single digits: %.2f %% (%.0f of 84; 95 %% interval ",
        100 * wrong / 84, wrong);
    ck_assert_msg(strstr(p.out, line) != NULL, "%s", p.out);
    ck_assert_ptr_nonnull(strstr(p.out, "; of single digits "));
    ck_assert_ptr_nonnull(strstr(p.out, " of 42 pairs; 95 % interval "));
    test_process_release(&p);
    snprintf(line, sizeof line, "eval --model %s --data %s --transform noise --severity 0 --json",
        model, pairs);
    p = cli_run_text(line);
    cli_expect_ok(p);
    value = cli_json(&p);
    expect_interval(
        json_array_get(
            json_object_get(json_array_get(json_object_get(value, "rows"), 0), "models"), 0),
        "label_", 100 * wrong / 84, 84);
    json_decref(value);
    test_process_release(&p);
    snprintf(line, sizeof line, "predict --model %s --data %s --index 5 --capsules --json", model,
        pairs);
    p = cli_run_text(line);
    cli_expect_ok(p);
    value = cli_json(&p);
    const json_t *row = json_array_get(value, 0);
    ck_assert_uint_eq(json_array_size(json_object_get(row, "labels")), 2);
    ck_assert_uint_eq(json_array_size(json_object_get(row, "true_labels")), 2);
    const json_t *both = json_object_get(row, "reconstruction");
    ck_assert_uint_eq(json_array_size(both), 2);
    ck_assert_uint_eq(json_array_size(json_array_get(both, 1)), 400);
    json_decref(value);
    test_process_release(&p);
    snprintf(line, sizeof line, "show overlap --model %s --data %s --out %s", model, pairs,
        cli_path(work, "o.png"));
    p = cli_run_text(line);
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert(caps_path_exists(cli_path(work, "o.png")));
    expect_worst_pair(model);
    snprintf(line, sizeof line, "show perturb --model %s --data %s --out %s", model, pairs,
        cli_path(work, "q.png"));
    cli_expect_error(cli_run_text(line), 3, "takes pairs", line);
    /* The page has all kinds of pairs: couplings, filters, lengths, overlap. */
    snprintf(line, sizeof line, "report %s", cli_path(work, "pairs"));
    p = cli_run_text(line);
    cli_expect_ok(p);
    test_process_release(&p);
    size_t length, figures = 0;
    char *html = (char *)cli_read(cli_path(cli_path(work, "pairs"), "report.html"), &length);
    for (const char *at = html; (at = strstr(at, "class=\"sheet\"")) != NULL; at++)
        figures++;
    ck_assert_uint_eq(figures, 4);
    ck_assert_ptr_nonnull(strstr(html, "alt=\"which primary capsules vote"));
    ck_assert_ptr_nonnull(strstr(html, "Each pair counts twice"));
    ck_assert_ptr_nonnull(strstr(html, "<th>digits</th>"));
    free(html);
    /* The network and the data must both be of pairs. */
    snprintf(line, sizeof line, "eval --model %s --data %s", model, data);
    cli_expect_error(cli_run_text(line), 3, data, line);
    snprintf(line, sizeof line, "train --data %s --arch %s --out %s", data, two,
        cli_path(work, "never"));
    cli_expect_error(cli_run_text(line), 3, data, line);
    snprintf(line, sizeof line, "train --data %s --arch %s --out %s", pairs, spec,
        cli_path(work, "never"));
    cli_expect_error(cli_run_text(line), 3, "multi:", line);
    ck_assert(!caps_path_exists(cli_path(work, "never")));
}
END_TEST

START_TEST(validation_images_are_kept_apart)
{
    char *out = cli_path(work, "validated");
    json_t *value = train(out, spec, data, "--validation 30 --max-steps 6");
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
    json_decref(train(a, spec, data, "--seed 3 --max-steps 5"));
    json_decref(train(b, spec, data, "--seed 4 --max-steps 5"));
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
    json_decref(train(c, two, pairs, ""));
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
    json_t *value = train(out, spec, data, "--repeat 3 --seed 5");
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
    json_decref(train(alone, spec, data, "--seed 6"));
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
    {"--validation 90", "90"},
    {"--validation -3", "--validation"},
    {"--augment place", "place40"},
    {"--resume --profile paper", "--profile with --resume"},
};

START_TEST(wrong_settings)
{
    char line[2048], *out = cli_path(work, "wrong");
    const bool resumes = strncmp(wrong[_i].flags, "--resume", 8) == 0;
    snprintf(line, sizeof line, "train %s%s --arch %s --out %s %s", resumes ? "" : "--data ",
        resumes ? "" : data, spec, out, wrong[_i].flags);
    if (resumes)
        snprintf(line, sizeof line, "train --out %s %s", out, wrong[_i].flags);
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
    Suite *s = suite_create("command line: profiles, CNN, pairs");
    TCase *t = tcase_create("profiles");
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, profiles_say_what_they_are);
    tcase_add_test(t, every_difference_is_a_flag);
    tcase_add_test(t, a_loss_stays_with_the_network);
    tcase_add_test(t, every_difference_can_be_undone);
    tcase_add_test(t, a_profile_after_init);
    tcase_add_test(t, a_cnn_goes_the_same_ways);
    tcase_add_test(t, pairs_go_the_same_ways);
    tcase_add_test(t, single_digits_have_intervals);
    tcase_add_test(t, a_report_has_the_worst_pairs);
    tcase_add_test(t, validation_images_are_kept_apart);
    tcase_add_test(t, several_models);
    tcase_add_test(t, several_seeds);
    tcase_add_loop_test(t, wrong_settings, 0, (int)(sizeof wrong / sizeof wrong[0]));
    tcase_add_loop_test(
        t, a_cnn_has_no_capsules_to_set, 0, (int)(sizeof of_capsules / sizeof of_capsules[0]));
    suite_add_tcase(s, t);
    return s;
}
