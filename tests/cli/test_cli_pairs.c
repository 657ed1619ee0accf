/* Pairs and what is told of their single digits, through the program. */
#include <math.h>

#include <capscl/inspect.h>

#include "cli_support.h"
#include "image.h"

static char *work, *data, *pairs, *spec, *two;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 90, 42, 1, 12, 12, 4);
    pairs = caps_format("multi:%s", data);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    two = cli_write_text(work, "pairs.json", TINY_PAIRS);
}

static void tear_down(void)
{
    free(pairs);
    free(work);
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
    json_t *value = cli_train(out, two, pairs, "--repeat 2 --validation 20");
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
    json_decref(cli_train(out, two, pairs, "--max-steps 6"));
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
    test_ok(caps_image_read(&image, out, &err));
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
    const size_t bytes = (asked.height - 290) * asked.width * 3; /* from below */
    ck_assert_mem_eq(own.pixels + own.height * own.width * 3 - bytes,
        asked.pixels + asked.height * asked.width * 3 - bytes, bytes);
    caps_image_release(&own);
    caps_image_release(&asked);
}

START_TEST(pairs_go_the_same_ways)
{
    char *model = cli_whole_and_resumed(work, "pairs", two, pairs), line[2048];
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
    expect_said(p.out, ", of single digits ", single, 84);
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

/* A CNN with a sigmoid for each class: it learns, goes on to the same bytes, and is read by all
 * that does not need capsules. */
START_TEST(a_cnn_learns_pairs)
{
    char *cnn = cli_write_text(work, "cnn-pairs.json",
        "{\"kind\": \"cnn\", \"input\": [1,20,20], \"classes\": 4, \"labels\": 2, \"conv\": "
        "[{\"channels\": 6, \"kernel\": 5, \"stride\": 2, \"padding\": 2}], \"hidden\": [24], "
        "\"dropout\": 0.1}");
    char line[2048], *model = cli_whole_and_resumed(work, "cnn", cnn, pairs);
    char *out = cli_path(work, "learned");
    json_t *end = cli_train(out, cnn, pairs, "--max-steps 400 --epochs 60 --batch 10 --lr 0.003");
    /* Of the six pairs of four classes one is guessed; of single digits half. */
    ck_assert_double_lt(cli_number(end, "test_error_percent"), 60);
    ck_assert_double_lt(cli_number(end, "test_label_error_percent"), 35);
    json_decref(end);
    snprintf(line, sizeof line, "predict --model %s --data %s --index 5", model, pairs);
    test_process p = cli_run_text(line);
    cli_expect_ok(p);
    ck_assert_msg(strstr(p.out, "probabilities ") != NULL, "%s", p.out);
    test_process_release(&p);
    snprintf(line, sizeof line, "eval --model %s --data %s --attack fgsm --epsilon 0 0.2 --json",
        cli_path(out, "model.safetensors"), pairs);
    p = cli_run_text(line);
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    double percent[2];
    for (size_t i = 0; i < 2; i++)
        percent[i] = cli_number(
            json_array_get(
                json_object_get(json_array_get(json_object_get(value, "rows"), i), "models"), 0),
            "label_error_percent");
    ck_assert_double_gt(percent[1], percent[0] + 10);
    json_decref(value);
    test_process_release(&p);
    snprintf(line, sizeof line, "report %s", out);
    p = cli_run_text(line);
    cli_expect_ok(p);
    test_process_release(&p);
    size_t n;
    char *page = (char *)cli_read(cli_path(out, "report.html"), &n);
    ck_assert_ptr_nonnull(strstr(page, "<td>binary cross entropy</td>"));
    ck_assert_ptr_nonnull(strstr(page, "<th>digits</th>"));
    free(page);
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("command line: pairs");
    TCase *t = tcase_create("pairs");
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, pairs_go_the_same_ways);
    tcase_add_test(t, single_digits_have_intervals);
    tcase_add_test(t, a_report_has_the_worst_pairs);
    tcase_add_test(t, a_cnn_learns_pairs);
    suite_add_tcase(s, t);
    return s;
}
