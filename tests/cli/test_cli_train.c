/* The whole way through the program: train, stop, resume, overwrite, evaluate, predict. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "cli_support.h"
#include "image.h"

#define TRAIN_KEYS                                                                                 \
    "epoch step loss margin_loss reconstruction_sse train_error_percent test_error_percent "       \
    "images_per_second seconds peak_device_bytes resumed_from_step device error_low_percent "      \
    "error_high_percent test_balanced_error_percent class_errors"

enum {
    TRAIN_IMAGES = 90,
    TEST_IMAGES = 42,
    BATCH = 20,
    STEPS = 5 /* of an epoch, the last partial */
};

/* Made once: data, a spec, a run of two epochs, and the JSON that it printed. */
static char *work, *data, *spec, *run, *model;
static json_t *trained;

#define TINY "--data", data, "--arch", spec, "--batch", "20", "--lr", "0.01"

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", TRAIN_IMAGES, TEST_IMAGES, 1, 12, 12, 4);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
    run = cli_path(work, "run");
    model = cli_path(run, "model.safetensors");
    test_process p = cli_run("train", TINY, "--out", run, "--epochs", "2", "--json");
    cli_expect_ok(p);
    trained = cli_json(&p);
    /* The log: the device first; on no terminal no bar, one line for each epoch. */
    ck_assert_msg(strncmp(p.err, "device: ", 8) == 0, "%s", p.err);
    ck_assert_ptr_null(strchr(p.err, '\r'));
    ck_assert_ptr_nonnull(strstr(p.err, "\nepoch 1/2: "));
    ck_assert_ptr_nonnull(strstr(p.err, "\nepoch 2/2: "));
    ck_assert_ptr_nonnull(strstr(p.err, "memory: "));
    ck_assert_int_eq(cli_error_lines(p.err), 0);
    test_process_release(&p);
}

static void tear_down(void)
{
    json_decref(trained);
    free(work);
}

/* The lines of RUN/metrics.jsonl; each must be one JSON object, and the run's seconds grow. */
static size_t metrics_lines(const char *out)
{
    char *path = cli_path(out, "metrics.jsonl");
    size_t n = 0, lines = 0;
    double before = 0;
    char *text = (char *)cli_read(path, &n);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *value = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        ck_assert_msg(json_is_object(value), "%s: %s", path, line);
        const double seconds = cli_number(value, "total_seconds");
        ck_assert_msg(seconds > before, "%s: %s", path, line);
        before = seconds;
        json_decref(value);
        lines++;
    }
    free(text);
    free(path);
    return lines;
}

static json_t *read_config(const char *out)
{
    char *path = cli_path(out, "config.json");
    json_t *value = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(json_is_object(value), "%s", path);
    free(path);
    return value;
}

/* ---- train ---------------------------------------------------------------------------------- */

START_TEST(train_prints_metrics)
{
    cli_expect_keys(trained, TRAIN_KEYS);
    ck_assert(cli_number(trained, "epoch") == 2);
    ck_assert(cli_number(trained, "step") == 2 * STEPS);
    ck_assert(cli_number(trained, "resumed_from_step") == 0);
    ck_assert(cli_number(trained, "seconds") > 0);
    ck_assert(cli_number(trained, "images_per_second") > 0);
    ck_assert(cli_number(trained, "peak_device_bytes") > 0);
    ck_assert(json_is_string(json_object_get(trained, "device")));
    double sum =
        cli_number(trained, "margin_loss") + 0.0005 * cli_number(trained, "reconstruction_sse");
    ck_assert_double_eq_tol(cli_number(trained, "loss"), sum, 1e-5 * sum);
    double error = cli_number(trained, "test_error_percent") * TEST_IMAGES / 100;
    ck_assert_double_eq_tol(error, round(error), 1e-4);
    static const char *const files[] = {
        "config.json", "metrics.jsonl", "model.safetensors", "state.safetensors"};
    for (size_t i = 0; i < 4; i++)
        ck_assert(caps_path_exists(cli_path(run, files[i])));
    ck_assert_uint_ge(metrics_lines(run), 2);
}
END_TEST

START_TEST(train_refuses_a_used_directory)
{
    uint64_t before = cli_tree_hash(work);
    cli_expect_error(
        cli_run("train", TINY, "--out", run, "--epochs", "1"), 2, "--overwrite", "train");
    ck_assert_uint_eq(cli_tree_hash(work), before);
    /* Any one of a run's files is enough. */
    char *other = cli_make_directory(work, "half-a-run");
    cli_write_text(other, "metrics.jsonl", "");
    cli_expect_error(cli_run("train", TINY, "--out", other), 2, "half-a-run", "train");
    /* Other files in the directory are no run. */
    ck_assert_int_eq(rename(cli_path(other, "metrics.jsonl"), cli_path(other, "notes.txt")), 0);
    test_process p = cli_run("train", TINY, "--out", other, "--max-steps", "1", "--quiet");
    cli_expect_ok(p);
    ck_assert(caps_path_exists(cli_path(other, "notes.txt")));
    test_process_release(&p);
}
END_TEST

/* Beside a process that compiles for it (or without one, on a device that needs none). */
START_TEST(a_cold_machine_gives_the_same_bytes)
{
    char *out = cli_path(work, "cold"), *caches = cli_make_directory(work, "caches");
    char ours[1100], pocl[1100], *environment[] = {ours, pocl, NULL};
    snprintf(ours, sizeof ours, "CAPSCL_CACHE=%s", cli_path(caches, "capscl"));
    snprintf(pocl, sizeof pocl, "POCL_CACHE_DIR=%s", cli_make_directory(caches, "pocl"));
    test_process p = cli_run_env(
        environment, "train", TINY, "--out", out, "--epochs", "2", "--quiet", (char *)NULL);
    cli_expect_ok(p);
    ck_assert_str_eq(p.err, "");
    test_process_release(&p);
    ck_assert(cli_same_file(model, cli_path(out, "model.safetensors")));
}
END_TEST

START_TEST(train_overwrites_only_its_files)
{
    char *out = cli_path(work, "overwritten");
    test_process p = cli_run("train", TINY, "--out", out, "--max-steps", "3", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    char *notes = cli_write_text(out, "notes.txt", "mine");
    p = cli_run("train", TINY, "--out", out, "--epochs", "2", "--overwrite", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert(caps_path_exists(notes));
    /* The same seed, device and batch: the same bytes as the first run. */
    ck_assert(cli_same_file(model, cli_path(out, "model.safetensors")));
    ck_assert_uint_eq(metrics_lines(out), metrics_lines(run));
}
END_TEST

START_TEST(the_last_flag_wins)
{
    char *out = cli_path(work, "last-wins");
    test_process p = cli_run("train", TINY, "--out", "/proc/not-here", "--max-steps", "9",
        "--seed=5", "--batch=7", "--out", out, "--max-steps=2", "--seed", "6", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    json_t *config = read_config(out);
    char *text = json_dumps(config, JSON_COMPACT);
    ck_assert_msg(strstr(text, "\"batch\":7") != NULL, "%s", text);
    ck_assert_msg(strstr(text, "\"seed\":6") != NULL, "%s", text);
    free(text);
    json_decref(config);
}
END_TEST

START_TEST(quiet_is_quiet)
{
    char *out = cli_path(work, "quiet");
    test_process p = cli_run("train", TINY, "--out", out, "--max-steps", "1", "--quiet");
    cli_expect_ok(p);
    ck_assert_str_eq(p.err, "");
    ck_assert_ptr_nonnull(strstr(p.out, "test error: "));
    test_process_release(&p);
    p = cli_run("eval", "--model", model, "--data", data, "--quiet");
    cli_expect_ok(p);
    ck_assert_str_eq(p.err, "");
    test_process_release(&p);
    p = cli_run("predict", "--model", model, "--data", data, "--quiet");
    cli_expect_ok(p);
    ck_assert_str_eq(p.err, "");
    test_process_release(&p);
}
END_TEST

START_TEST(both_ends_the_first_counts)
{
    static const struct {
        const char *epochs, *steps;
        int expected;
    } ends[] = {{"1", "100", STEPS}, {"3", "2", 2}, {NULL, "7", 7}};
    for (size_t i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "ends-%zu", i);
        char *out = cli_path(work, name);
        test_process p = ends[i].epochs
                             ? cli_run("train", TINY, "--out", out, "--json", "--max-steps",
                                   (char *)ends[i].steps, "--epochs", (char *)ends[i].epochs)
                             : cli_run("train", TINY, "--out", out, "--json", "--max-steps",
                                   (char *)ends[i].steps);
        cli_expect_ok(p);
        json_t *value = cli_json(&p);
        ck_assert(cli_number(value, "step") == ends[i].expected);
        /* An evaluation always ends a run. */
        ck_assert(cli_number(value, "test_error_percent") >= 0);
        json_decref(value);
        test_process_release(&p);
    }
}
END_TEST

START_TEST(kernel_times_are_printed)
{
    char *out = cli_path(work, "times");
    test_process p =
        cli_run("train", TINY, "--out", out, "--max-steps", "1", "--kernel-times", "--json");
    cli_expect_ok(p);
    json_decref(cli_json(&p));
    ck_assert_ptr_nonnull(strstr(p.err, "all kernels"));
    ck_assert_ptr_nonnull(strstr(p.err, "squash"));
    test_process_release(&p);
}
END_TEST

START_TEST(init_gives_parameters_and_spec)
{
    char *out = cli_path(work, "from-init");
    test_process p = cli_run("train", "--data", data, "--out", out, "--init", model, "--optimizer",
        "sgd", "--lr", "1e-30", "--max-steps", "1", "--json");
    cli_expect_ok(p);
    test_process_release(&p);
    /* A step of no size: the parameters are those of --init. */
    ck_assert(cli_same_file(model, cli_path(out, "model.safetensors")));
}
END_TEST

/* ---- resume --------------------------------------------------------------------------------- */

START_TEST(resume_of_a_finished_run)
{
    uint64_t before = cli_tree_hash(run);
    test_process p = cli_run("train", "--resume", "--out", run, "--json");
    cli_expect_ok(p);
    ck_assert_uint_eq(cli_tree_hash(run), before);
    ck_assert_ptr_nonnull(strstr(p.err, "finished"));
    json_t *value = cli_json(&p);
    cli_expect_keys(value, TRAIN_KEYS);
    ck_assert(cli_number(value, "step") == 2 * STEPS);
    ck_assert(cli_number(value, "test_error_percent") == cli_number(trained, "test_error_percent"));
    json_decref(value);
    test_process_release(&p);
}
END_TEST

START_TEST(resume_gives_the_same_bytes)
{
    /* Stopped inside the first epoch, then inside the second, by --max-steps; then to the end. */
    char *out = cli_path(work, "in-pieces");
    test_process p = cli_run("train", TINY, "--out", out, "--max-steps", "3", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    p = cli_run("train", "--resume", "--out", out, "--max-steps", "7", "--json", "--quiet");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    ck_assert(cli_number(value, "resumed_from_step") == 3);
    ck_assert(cli_number(value, "step") == 7);
    json_decref(value);
    test_process_release(&p);
    p = cli_run("train", "--resume", "--out", out, "--epochs", "2", "--quiet", "--json");
    cli_expect_ok(p);
    value = cli_json(&p);
    ck_assert(cli_number(value, "resumed_from_step") == 7);
    ck_assert(cli_number(value, "step") == 2 * STEPS);
    ck_assert_double_eq_tol(cli_number(value, "loss"), cli_number(trained, "loss"), 1e-6);
    json_decref(value);
    test_process_release(&p);
    ck_assert(cli_same_file(model, cli_path(out, "model.safetensors")));
    ck_assert_uint_ge(metrics_lines(out), 3); /* of three processes */
}
END_TEST

START_TEST(resume_without_a_state)
{
    char *empty = cli_make_directory(work, "empty");
    cli_expect_error(
        cli_run("train", "--resume", "--out", empty), 3, "empty", "an empty directory");
    char *nowhere = cli_path(work, "nowhere");
    cli_expect_error(cli_run("train", "--resume", "--out", nowhere), 3, "nowhere", "no directory");
    ck_assert(!caps_path_exists(nowhere));
    cli_write_text(empty, "config.json", "{\"half\": ");
    cli_expect_error(
        cli_run("train", "--resume", "--out", empty), 3, "empty", "a torn config.json");
    /* A good configuration, but no state. */
    char *lost = cli_path(work, "lost-state");
    test_process p = cli_run("train", TINY, "--out", lost, "--max-steps", "1", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert_int_eq(unlink(cli_path(lost, "state.safetensors")), 0);
    uint64_t before = cli_tree_hash(lost);
    cli_expect_error(cli_run("train", "--resume", "--out", lost, "--max-steps", "2"), 3,
        "state.safetensors", "no state");
    ck_assert_uint_eq(cli_tree_hash(lost), before);
}
END_TEST

/* ---- signals and time ----------------------------------------------------------------------- */

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

/* Starts `train` with 100000 epochs, stderr and stdout to files, and waits for its first save. */
static pid_t start_long(const char *out, const char *log)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        dup2(fd, 1);
        dup2(fd, 2);
        execl(TEST_PROGRAM, TEST_PROGRAM, "train", TINY, "--out", out, "--epochs", "100000",
            "--save-every", "1", "--eval-every", "1000", (char *)NULL);
        _exit(127);
    }
    char *state = cli_path(out, "state.safetensors");
    for (int i = 0; i < 3000 && !caps_path_exists(state); i++) {
        int status;
        ck_assert_msg(waitpid(child, &status, WNOHANG) == 0, "the training ended");
        nap();
    }
    ck_assert(caps_path_exists(state));
    free(state);
    return child;
}

static int wait_for(pid_t child)
{
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Goes on for one step from where it was stopped. */
static void expect_resumable(const char *out)
{
    test_process p =
        cli_run("train", "--resume", "--out", (char *)out, "--epochs", "1", "--json", "--quiet");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    double step = cli_number(value, "step");
    json_decref(value);
    test_process_release(&p);
    char steps[32];
    snprintf(steps, sizeof steps, "%.0f", (step > 0 ? step : 0) + 1);
    p = cli_run(
        "train", "--resume", "--out", (char *)out, "--max-steps", steps, "--json", "--quiet");
    cli_expect_ok(p);
    value = cli_json(&p);
    ck_assert(cli_number(value, "resumed_from_step") >= 1);
    ck_assert(cli_number(value, "step") == step + 1);
    json_decref(value);
    test_process_release(&p);
}

START_TEST(a_signal_saves_and_exits_130)
{
    static const int signals[] = {SIGINT, SIGTERM};
    for (size_t i = 0; i < 2; i++) {
        char name[32];
        snprintf(name, sizeof name, "signal-%zu", i);
        char *out = cli_path(work, name), *log = cli_path(work, "signal.log");
        pid_t child = start_long(out, log);
        ck_assert_int_eq(kill(child, signals[i]), 0);
        ck_assert_int_eq(wait_for(child), 130);
        size_t n = 0;
        char *text = (char *)cli_read(log, &n);
        ck_assert_int_eq(cli_error_lines(text), 1);
        ck_assert_ptr_nonnull(strstr(text, "train --resume --out"));
        free(text);
        expect_resumable(out);
    }
}
END_TEST

START_TEST(a_second_signal_ends_at_once)
{
    char *out = cli_path(work, "two-signals"), *log = cli_path(work, "two-signals.log");
    pid_t child = start_long(out, log);
    kill(child, SIGINT);
    kill(child, SIGTERM);
    ck_assert_int_eq(wait_for(child), 130);
    expect_resumable(out);
}
END_TEST

START_TEST(a_time_limit_ends_a_run_saved)
{
    char *out = cli_path(work, "limited");
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    test_process p =
        cli_run("train", TINY, "--out", out, "--epochs", "1000000", "--time-limit", "3s", "--json");
    clock_gettime(CLOCK_MONOTONIC, &to);
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "time limit"));
    json_t *value = cli_json(&p);
    cli_expect_keys(value, TRAIN_KEYS);
    ck_assert(cli_number(value, "step") >= 1);
    json_decref(value);
    test_process_release(&p);
    /* 3 s and the last step's evaluation and saving; a busy machine gets much more than it needs.
     */
    ck_assert_int_le(to.tv_sec - from.tv_sec, 20);
    expect_resumable(out);
}
END_TEST

START_TEST(a_terminal_gets_a_bar)
{
    char *out = cli_path(work, "terminal");
    int terminal;
    pid_t child = forkpty(&terminal, NULL, NULL, NULL);
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        setenv("TERM", "xterm", 1);
        execl(
            TEST_PROGRAM, TEST_PROGRAM, "train", TINY, "--out", out, "--epochs", "1", (char *)NULL);
        _exit(127);
    }
    static char text[65536];
    size_t used = 0;
    for (;;) {
        ssize_t n = read(terminal, text + used, sizeof text - 1 - used);
        if (n > 0)
            used += (size_t)n;
        else if (n == 0 || errno != EINTR || used == sizeof text - 1)
            break; /* EIO: the other side has gone */
    }
    text[used] = 0;
    close(terminal);
    ck_assert_int_eq(wait_for(child), 0);
    ck_assert_msg(
        strstr(text, "\r") && strstr(text, "images/s") && strstr(text, "left"), "%s", text);
    ck_assert_ptr_nonnull(strstr(text, "\033[K")); /* it wipes itself */
}
END_TEST

/* ---- eval ----------------------------------------------------------------------------------- */

START_TEST(eval_prints_what_it_should)
{
    char *csv = cli_path(work, "predictions.csv");
    test_process p =
        cli_run("eval", "--model", model, "--data", data, "--json", "--predictions", csv);
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    cli_expect_keys(value,
        "n errors error_percent margin_loss reconstruction_sse confusion seconds "
        "device error_low_percent error_high_percent class_errors "
        "balanced_error_percent classes");
    ck_assert(cli_number(value, "n") == TEST_IMAGES);
    double errors = cli_number(value, "errors"), sum = 0, diagonal = 0;
    ck_assert_double_eq_tol(cli_number(value, "error_percent"), 100 * errors / TEST_IMAGES, 1e-6);
    /* What train said of the same model. */
    ck_assert_double_eq_tol(
        cli_number(value, "error_percent"), cli_number(trained, "test_error_percent"), 1e-6);
    const json_t *confusion = json_object_get(value, "confusion");
    ck_assert_uint_eq(json_array_size(confusion), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *row = json_array_get(confusion, i);
        ck_assert_uint_eq(json_array_size(row), 4);
        for (size_t j = 0; j < 4; j++) {
            double count = json_number_value(json_array_get(row, j));
            sum += count;
            diagonal += i == j ? count : 0;
        }
    }
    ck_assert(sum == TEST_IMAGES && sum - diagonal == errors);
    test_process_release(&p);

    /* The CSV: a heading, a row an image in order, and the same errors; the label's length leads.
     */
    FILE *f = fopen(csv, "r");
    ck_assert_ptr_nonnull(f);
    char line[512];
    ck_assert_ptr_nonnull(fgets(line, sizeof line, f));
    ck_assert_str_eq(line, "index,true_label,label,length_0,length_1,length_2,length_3\n");
    int rows = 0, wrong = 0;
    while (fgets(line, sizeof line, f)) {
        int index, true_label, label;
        float l[4];
        ck_assert_int_eq(sscanf(line, "%d,%d,%d,%f,%f,%f,%f", &index, &true_label, &label, &l[0],
                             &l[1], &l[2], &l[3]),
            7);
        ck_assert_int_eq(index, rows);
        ck_assert_int_eq(true_label, rows * 7 % 4);
        for (int j = 0; j < 4; j++)
            ck_assert(l[label] >= l[j] && l[j] >= 0 && l[j] < 1);
        rows++;
        wrong += label != true_label;
    }
    fclose(f);
    ck_assert_int_eq(rows, TEST_IMAGES);
    ck_assert(wrong == errors);
    json_decref(value);

    p = cli_run("eval", "--model", model, "--data", data, "--split", "train", "--limit", "30",
        "--batch", "7");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.out, "of 30 images"));
    ck_assert_ptr_nonnull(strstr(p.out, "confusion"));
    test_process_release(&p);
}
END_TEST

/* ---- predict -------------------------------------------------------------------------------- */

START_TEST(predict_of_a_data_set)
{
    test_process p = cli_run("predict", "--model", model, "--data", data, "--index", "3", "0", "41",
        "--json", "--capsules", "--quiet");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    ck_assert_uint_eq(json_array_size(value), 3);
    static const int indices[] = {3, 0, 41};
    for (size_t i = 0; i < 3; i++) {
        const json_t *row = json_array_get(value, i);
        cli_expect_keys(row, "source label true_label lengths capsules reconstruction");
        ck_assert(cli_number(row, "true_label") == indices[i] * 7 % 4);
        const json_t *lengths = json_object_get(row, "lengths");
        const json_t *capsules = json_object_get(row, "capsules");
        ck_assert_uint_eq(json_array_size(lengths), 4);
        ck_assert_uint_eq(json_array_size(capsules), 4);
        ck_assert_uint_eq(json_array_size(json_object_get(row, "reconstruction")), 144);
        size_t label = (size_t)cli_number(row, "label");
        for (size_t j = 0; j < 4; j++) {
            const json_t *capsule = json_array_get(capsules, j);
            ck_assert_uint_eq(json_array_size(capsule), 6);
            double sum = 0, length = json_number_value(json_array_get(lengths, j));
            for (size_t d = 0; d < 6; d++) {
                double x = json_number_value(json_array_get(capsule, d));
                sum += x * x;
            }
            ck_assert_double_eq_tol(sqrt(sum), length, 1e-5);
            ck_assert(length <= json_number_value(json_array_get(lengths, label)));
        }
    }
    json_decref(value);
    test_process_release(&p);

    p = cli_run("predict", "--model", model, "--data", data, "--json");
    cli_expect_ok(p);
    value = cli_json(&p);
    ck_assert_uint_eq(json_array_size(value), 10); /* as the help says */
    cli_expect_keys(json_array_get(value, 0), "source label true_label lengths");
    json_decref(value);
    test_process_release(&p);
}
END_TEST

/* Writes an image of the data set's kind as a PNG, `zoom` times as large, grey or colour. */
static char *write_png(
    const char *name, size_t quarter, size_t zoom, size_t channels, bool inverted)
{
    caps_error err = {0};
    caps_image image = {0};
    test_ok(caps_image_init(&image, 12 * zoom, 12 * zoom, channels, &err));
    for (size_t y = 0; y < image.height; y++)
        for (size_t x = 0; x < image.width; x++) {
            bool bright = 2 * (2 * y / image.height) + 2 * x / image.width == quarter;
            for (size_t c = 0; c < channels; c++)
                image.pixels[(y * image.width + x) * channels + c] =
                    (uint8_t)(bright != inverted ? 220 : 30);
        }
    char *path = cli_path(work, name);
    test_ok(caps_image_write_png(&image, path, &err));
    caps_image_release(&image);
    return path;
}

START_TEST(predict_of_pictures)
{
    char *plain = write_png("plain.png", 2, 1, 1, false),
         *large = write_png("large.png", 2, 5, 3, false);
    char *dark = write_png("dark.png", 2, 1, 1, true);
    test_process p = cli_run("predict", "--model", model, plain, large, "--json", "--verbose");
    cli_expect_ok(p);
    json_t *value = cli_json(&p), *first = json_array_get(value, 0),
           *second = json_array_get(value, 1);
    ck_assert_uint_eq(json_array_size(value), 2);
    cli_expect_keys(first, "source label lengths");
    ck_assert_str_eq(json_string_value(json_object_get(first, "source")), plain);
    /* The large colour picture is the same one. */
    for (size_t j = 0; j < 4; j++)
        ck_assert_double_eq_tol(
            json_number_value(json_array_get(json_object_get(first, "lengths"), j)),
            json_number_value(json_array_get(json_object_get(second, "lengths"), j)), 5e-3);
    ck_assert_ptr_nonnull(strstr(p.err, "large.png: "));
    ck_assert_ptr_nonnull(strstr(p.err, "60x60"));
    test_process_release(&p);

    /* --invert turns the dark one round, up to what the two greys are. */
    p = cli_run("predict", "--model", model, "--invert", "--json", dark);
    cli_expect_ok(p);
    json_t *turned = cli_json(&p);
    ck_assert(cli_number(json_array_get(turned, 0), "label") == cli_number(first, "label"));
    json_decref(turned);
    json_decref(value);
    test_process_release(&p);
}
END_TEST

START_TEST(predict_draws_a_sheet)
{
    caps_error err = {0};
    caps_image image = {0};
    char *sheet = cli_path(work, "sheet.png");
    test_process p = cli_run("predict", "--model", model, "--data", data, "--reconstruct", sheet);
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.out, "right"));
    ck_assert_ptr_nonnull(strstr(p.err, sheet));
    test_process_release(&p);
    test_ok(caps_image_read(&image, sheet, &err));
    ck_assert_uint_ge(image.width, 600);
    ck_assert_uint_ge(image.height, 300);
    ck_assert_uint_eq(image.channels, 3);
    /* Not one flat colour: black of the pictures, and light paper. */
    size_t dark = 0, light = 0, all = image.width * image.height;
    for (size_t i = 0; i < all; i++) {
        dark += image.pixels[3 * i] < 70;
        light += image.pixels[3 * i] > 240;
    }
    ck_assert(dark > all / 20 && light > all / 5);
    caps_image_release(&image);
}
END_TEST

START_TEST(predict_without_a_decoder)
{
    char *bare = cli_write_text(work, "bare.json",
        "{\"input\": [1,12,12], \"classes\": 4,"
        " \"conv1\": {\"channels\": 8, \"kernel\": 3, \"stride\": 1},"
        " \"primary\": {\"types\": 4, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"
        " \"class_caps\": {\"dim\": 6, \"iterations\": 2, \"bias\": true}, \"decoder\": null}");
    char *out = cli_path(work, "bare-run"), *sheet = cli_path(work, "bare.png");
    char *bare_model = cli_path(out, "model.safetensors");
    test_process p = cli_run("train", "--data", data, "--arch", bare, "--out", out, "--batch", "20",
        "--max-steps", "2", "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    cli_expect_keys(value, TRAIN_KEYS);
    ck_assert(json_is_null(json_object_get(value, "reconstruction_sse")));
    json_decref(value);
    test_process_release(&p);

    p = cli_run("eval", "--model", bare_model, "--data", data, "--json");
    cli_expect_ok(p);
    value = cli_json(&p);
    ck_assert(json_is_null(json_object_get(value, "reconstruction_sse")));
    json_decref(value);
    test_process_release(&p);

    p = cli_run("predict", "--model", bare_model, "--data", data, "--json", "--capsules");
    cli_expect_ok(p);
    value = cli_json(&p);
    ck_assert(json_is_null(json_object_get(json_array_get(value, 0), "reconstruction")));
    json_decref(value);
    test_process_release(&p);
    cli_expect_error(
        cli_run("predict", "--model", bare_model, "--data", data, "--reconstruct", sheet), 3,
        "decoder", "predict");
    ck_assert(!caps_path_exists(sheet));
}
END_TEST

START_TEST(colour_images_of_any_shape)
{
    char *colour = cli_make_data(work, "colour", 30, 10, 3, 11, 14, 3);
    char *net = cli_write_text(work, "colour.json",
        "{\"input\": [3,11,14], \"classes\": 3,"
        " \"conv1\": {\"channels\": 5, \"kernel\": 3, \"stride\": 1},"
        " \"primary\": {\"types\": 3, \"dim\": 4, \"kernel\": 4, \"stride\": 2},"
        " \"class_caps\": {\"dim\": 5, \"iterations\": 1, \"routing_grad\": \"last\"},"
        " \"decoder\": {\"hidden\": []}}");
    char *out = cli_path(work, "colour-run"), *sheet = cli_path(work, "colour.png");
    test_process p = cli_run("train", "--data", colour, "--arch", net, "--out", out, "--batch", "8",
        "--epochs", "1", "--quiet");
    cli_expect_ok(p);
    test_process_release(&p);
    char *picture = write_png("any.png", 1, 3, 1, false);
    p = cli_run("predict", "--model", cli_path(out, "model.safetensors"), picture, "--reconstruct",
        sheet, "--json");
    cli_expect_ok(p);
    json_decref(cli_json(&p));
    test_process_release(&p);
    caps_error err = {0};
    caps_image image = {0};
    test_ok(caps_image_read(&image, sheet, &err));
    caps_image_release(&image);
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("command line: train, eval, predict");
    TCase *t = tcase_create("whole way");
    tcase_set_timeout(t, 300);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, train_prints_metrics);
    tcase_add_test(t, train_refuses_a_used_directory);
    tcase_add_test(t, a_cold_machine_gives_the_same_bytes);
    tcase_add_test(t, train_overwrites_only_its_files);
    tcase_add_test(t, the_last_flag_wins);
    tcase_add_test(t, quiet_is_quiet);
    tcase_add_test(t, both_ends_the_first_counts);
    tcase_add_test(t, kernel_times_are_printed);
    tcase_add_test(t, init_gives_parameters_and_spec);
    tcase_add_test(t, resume_of_a_finished_run);
    tcase_add_test(t, resume_gives_the_same_bytes);
    tcase_add_test(t, resume_without_a_state);
    tcase_add_test(t, a_signal_saves_and_exits_130);
    tcase_add_test(t, a_second_signal_ends_at_once);
    tcase_add_test(t, a_time_limit_ends_a_run_saved);
    tcase_add_test(t, a_terminal_gets_a_bar);
    tcase_add_test(t, eval_prints_what_it_should);
    tcase_add_test(t, predict_of_a_data_set);
    tcase_add_test(t, predict_of_pictures);
    tcase_add_test(t, predict_draws_a_sheet);
    tcase_add_test(t, predict_without_a_decoder);
    tcase_add_test(t, colour_images_of_any_shape);
    suite_add_tcase(s, t);
    return s;
}
