/* One training with several seeds, through the program. */
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "cli_support.h"

static char *work, *data, *spec;

#define TINY "--data", data, "--arch", spec, "--batch", "20", "--lr", "0.01"

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 90, 42, 1, 12, 12, 4);
    spec = cli_write_text(work, "tiny.json", TINY_SPEC);
}

static void tear_down(void)
{
    free(work);
}

/* RUN/seed-N/model.safetensors */
static char *model_of(const char *out, int seed)
{
    char name[48];
    snprintf(name, sizeof name, "seed-%d/model.safetensors", seed);
    return cli_path(out, name);
}

static json_t *seeds_of(const char *out)
{
    json_t *value = json_load_file(cli_path(out, "repeat.json"), JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(json_is_object(value), "%s", out);
    json_t *seeds = json_incref(json_object_get(value, "seeds"));
    json_decref(value);
    return seeds;
}

static void quietly(test_process p)
{
    cli_expect_ok(p);
    test_process_release(&p);
}

/* Each seed's run is what a training with that seed alone gives. */
START_TEST(seeds_are_ordinary_runs)
{
    char *out = cli_path(work, "two"), *alone = cli_path(work, "alone");
    test_process p = cli_run(
        "train", TINY, "--out", out, "--epochs", "1", "--seed", "7", "--repeat", "2", "--json");
    cli_expect_ok(p);
    json_t *all = cli_json(&p), *runs = json_object_get(all, "runs"), *seeds = seeds_of(out);
    test_process_release(&p);
    cli_expect_keys(all, "runs mean_test_error_percent sd_test_error_percent");
    ck_assert_uint_eq(json_array_size(runs), 2);
    ck_assert_uint_eq(json_array_size(seeds), 2);
    double errors[2];
    for (int i = 0; i < 2; i++) {
        const json_t *run = json_array_get(runs, (size_t)i);
        ck_assert(cli_number(run, "seed") == 7 + i);
        ck_assert(json_integer_value(json_array_get(seeds, (size_t)i)) == 7 + i);
        ck_assert(cli_number(run, "epoch") == 1);
        errors[i] = cli_number(run, "test_error_percent");
    }
    ck_assert_double_eq_tol(
        cli_number(all, "mean_test_error_percent"), (errors[0] + errors[1]) / 2, 1e-4);
    ck_assert_double_eq_tol(
        cli_number(all, "sd_test_error_percent"), fabs(errors[0] - errors[1]) / sqrt(2), 1e-4);
    ck_assert(!cli_same_file(model_of(out, 7), model_of(out, 8)));
    quietly(cli_run("train", TINY, "--out", alone, "--epochs", "1", "--seed", "8", "--quiet"));
    ck_assert(cli_same_file(model_of(out, 8), cli_path(alone, "model.safetensors")));
    /* One of them can be evaluated and go on by itself. */
    quietly(
        cli_run("train", "--resume", "--out", cli_path(out, "seed-7"), "--epochs", "2", "--quiet"));
    json_decref(seeds);
    json_decref(all);
}
END_TEST

START_TEST(text_has_mean_and_spread)
{
    char *out = cli_path(work, "text");
    test_process p =
        cli_run("train", TINY, "--out", out, "--max-steps", "2", "--repeat", "3", "--quiet");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.out, "seed 1"));
    ck_assert_ptr_nonnull(strstr(p.out, "seed 3"));
    ck_assert_ptr_nonnull(strstr(p.out, "95 % interval"));
    ck_assert_ptr_nonnull(strstr(p.out, "mean of 3 runs"));
    ck_assert_ptr_nonnull(strstr(p.out, "standard deviation"));
    ck_assert_ptr_nonnull(strstr(p.out, "capscl eval"));
    test_process_release(&p);
}
END_TEST

/* One seed is a list of one, with a mean and no spread. */
START_TEST(a_single_seed)
{
    char *out = cli_path(work, "single");
    test_process p = cli_run("train", TINY, "--out", out, "--max-steps", "2", "--seed", "4",
        "--repeat", "1", "--json", "--quiet");
    cli_expect_ok(p);
    json_t *all = cli_json(&p), *runs = json_object_get(all, "runs"), *seeds = seeds_of(out);
    test_process_release(&p);
    ck_assert_uint_eq(json_array_size(runs), 1);
    ck_assert_uint_eq(json_array_size(seeds), 1);
    ck_assert(cli_number(all, "mean_test_error_percent") ==
              cli_number(json_array_get(runs, 0), "test_error_percent"));
    ck_assert(json_is_null(json_object_get(all, "sd_test_error_percent")));
    json_decref(seeds);
    json_decref(all);
    p = cli_run("train", "--resume", "--out", out, "--max-steps", "3", "--quiet");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.out, "test error, mean of 1 run: "));
    ck_assert_ptr_null(strstr(p.out, "standard deviation"));
    test_process_release(&p);
    ck_assert(caps_path_exists(model_of(out, 4)));
}
END_TEST

/* Stopped within the second of three seeds; --resume leaves the finished one, goes on with the
 * stopped one, begins the third, and all end with the bytes of runs that were never stopped. */
START_TEST(stopped_and_resumed)
{
    char *out = cli_path(work, "stopped"), *log = cli_path(work, "stopped.log");
    char *const steps = "1000";
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (!freopen(log, "w", stderr) || !freopen("/dev/null", "w", stdout))
            _exit(127);
        execl(TEST_PROGRAM, TEST_PROGRAM, "train", TINY, "--out", out, "--max-steps", steps,
            "--eval-every", "1000000", "--repeat", "3", (char *)NULL);
        _exit(127);
    }
    ck_assert_msg(cli_appears(cli_path(out, "seed-2/metrics.jsonl")), "seed 2 never began");
    cli_interrupt(child, log);
    size_t n = 0;
    ck_assert(!caps_path_exists(model_of(out, 3)));
    unsigned char *before = cli_read(model_of(out, 1), &n);
    const uint64_t hash = caps_hash(CAPS_HASH_START, before, n);
    free(before);

    quietly(cli_run("train", "--resume", "--out", out, "--quiet"));
    before = cli_read(model_of(out, 1), &n);
    ck_assert_uint_eq(caps_hash(CAPS_HASH_START, before, n), hash);
    free(before);
    for (int seed = 2; seed <= 3; seed++) {
        char name[16], number[4];
        snprintf(name, sizeof name, "whole-%d", seed);
        snprintf(number, sizeof number, "%d", seed);
        char *whole = cli_path(work, name);
        quietly(cli_run("train", TINY, "--out", whole, "--max-steps", steps, "--eval-every",
            "1000000", "--seed", number, "--quiet"));
        ck_assert(cli_same_file(model_of(out, seed), cli_path(whole, "model.safetensors")));
    }
    /* Nothing is left to do: the files stay, the results are printed again. */
    const uint64_t all = cli_tree_hash(out);
    test_process p = cli_run("train", "--resume", "--out", out, "--quiet", "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p);
    ck_assert_uint_eq(json_array_size(json_object_get(value, "runs")), 3);
    json_decref(value);
    test_process_release(&p);
    ck_assert_uint_eq(cli_tree_hash(out), all);
}
END_TEST

/* The time is that of all seeds together; --json prints what there is. */
START_TEST(a_time_limit_is_for_all_seeds)
{
    char *out = cli_path(work, "limited");
    test_process p = cli_run("train", TINY, "--out", out, "--max-steps", "1000000", "--eval-every",
        "1000000", "--repeat", "3", "--time-limit", "3s", "--json");
    cli_expect_ok(p);
    ck_assert_ptr_nonnull(strstr(p.err, "time limit reached"));
    json_t *value = cli_json(&p), *runs = json_object_get(value, "runs");
    ck_assert_uint_eq(json_array_size(runs), 1);
    ck_assert(cli_number(json_array_get(runs, 0), "seed") == 1);
    ck_assert(json_is_null(json_object_get(value, "mean_test_error_percent")));
    json_decref(value);
    test_process_release(&p);
    ck_assert(caps_path_exists(cli_path(out, "repeat.json")));
    ck_assert(!caps_path_exists(model_of(out, 2)));
}
END_TEST

/* A seed that has not begun takes its settings from repeat.json; a new end counts for all. */
START_TEST(seeds_that_have_not_begun)
{
    char *out = cli_path(work, "lost");
    quietly(cli_run("train", TINY, "--out", out, "--max-steps", "3", "--repeat", "3", "--quiet"));
    char *third = cli_path(work, "third");
    ck_assert_int_eq(rename(cli_path(out, "seed-3"), third), 0);
    char *first = cli_path(work, "first");
    ck_assert_int_eq(rename(cli_path(out, "seed-1"), first), 0);
    quietly(cli_run("train", "--resume", "--out", out, "--quiet"));
    ck_assert(cli_same_file(model_of(out, 1), cli_path(first, "model.safetensors")));
    ck_assert(cli_same_file(model_of(out, 3), cli_path(third, "model.safetensors")));
    test_process p =
        cli_run("train", "--resume", "--out", out, "--max-steps", "6", "--quiet", "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p), *runs = json_object_get(value, "runs");
    for (size_t i = 0; i < 3; i++)
        ck_assert(cli_number(json_array_get(runs, i), "step") == 6);
    json_decref(value);
    test_process_release(&p);
}
END_TEST

START_TEST(used_directories_are_refused)
{
    char *out = cli_path(work, "used"), *plain = cli_path(work, "plain");
    quietly(cli_run("train", TINY, "--out", out, "--max-steps", "1", "--repeat", "3", "--quiet"));
    quietly(cli_run("train", TINY, "--out", plain, "--max-steps", "1", "--quiet"));
    uint64_t before = cli_tree_hash(work);
    cli_expect_error(
        cli_run("train", TINY, "--out", out, "--repeat", "2"), 2, "--overwrite", "train");
    cli_expect_error(cli_run("train", TINY, "--out", out), 2, "used", "train");
    cli_expect_error(cli_run("train", TINY, "--out", plain, "--repeat", "2"), 2, "plain", "train");
    cli_expect_error(
        cli_run("train", "--resume", "--out", out, "--repeat", "4"), 2, "--repeat", "train");
    cli_expect_error(cli_run("train", TINY, "--out", cli_path(work, "x"), "--repeat", "0"), 2,
        "--repeat", "train");
    cli_expect_error(cli_run("train", TINY, "--out", cli_path(work, "x"), "--repeat", "2", "--seed",
                         "18446744073709551615"),
        2, "--repeat", "train");
    /* A run that no list of seeds knows cannot be gone on with. */
    char *foreign = cli_make_directory(work, "foreign");
    quietly(cli_run(
        "train", TINY, "--out", cli_path(foreign, "seed-2"), "--max-steps", "1", "--quiet"));
    cli_expect_error(cli_run("train", TINY, "--out", foreign, "--repeat", "2"), 2,
        "seed-2: holds a run already, of no repetition", "train");
    test_process p = cli_run("train", TINY, "--out", foreign, "--repeat", "2");
    ck_assert_ptr_null(strstr(p.err, "--resume"));
    test_process_release(&p);
    /* A report is about one of them. */
    char *first = caps_format("(report %s/seed-1)", out);
    cli_expect_error(cli_run("report", out), 3, first, "report");
    free(first);
    before = cli_tree_hash(work);
    /* Bad data: whatever --overwrite would replace is still there. */
    cli_expect_error(cli_run("train", "--data", cli_path(work, "nowhere/"), "--arch", spec, "--out",
                         out, "--repeat", "2", "--overwrite"),
        3, "nowhere", "train");
    ck_assert_uint_eq(cli_tree_hash(work), before);
    /* A list of seeds that cannot be written is found before the first of them is trained. */
    cli_make_directory(cli_make_directory(work, "taken"), "repeat.json");
    before = cli_tree_hash(work);
    cli_expect_error(
        cli_run("train", TINY, "--out", cli_path(work, "taken"), "--repeat", "2", "--overwrite"), 1,
        "repeat.json", "train");
    ck_assert_uint_eq(cli_tree_hash(work), before);
    /* --overwrite with fewer seeds leaves no old ones behind. */
    quietly(cli_run("train", TINY, "--out", out, "--max-steps", "1", "--repeat", "2", "--overwrite",
        "--quiet"));
    ck_assert(caps_path_exists(model_of(out, 2)));
    ck_assert(!caps_path_exists(model_of(out, 3)));
    json_t *seeds = seeds_of(out);
    ck_assert_uint_eq(json_array_size(seeds), 2);
    json_decref(seeds);
}
END_TEST

/* Runs of other settings that lie where a later seed will: --resume takes none of them for its own.
 */
START_TEST(what_is_overwritten_is_never_resumed)
{
    char *out = cli_path(work, "anew");
    quietly(cli_run("train", TINY, "--out", out, "--max-steps", "2", "--repeat", "2", "--quiet"));
    quietly(cli_run("train", TINY, "--out", out, "--max-steps", "4", "--repeat", "2", "--overwrite",
        "--time-limit", "0.001", "--quiet"));
    ck_assert(!caps_path_exists(model_of(out, 2)));
    test_process p = cli_run("train", "--resume", "--out", out, "--quiet", "--json");
    cli_expect_ok(p);
    json_t *value = cli_json(&p), *runs = json_object_get(value, "runs");
    ck_assert_uint_eq(json_array_size(runs), 2);
    for (size_t i = 0; i < 2; i++)
        ck_assert(cli_number(json_array_get(runs, i), "step") == 4);
    json_decref(value);
    test_process_release(&p);
}
END_TEST

START_TEST(a_damaged_list_of_seeds)
{
    static const char *const bad[] = {"{", "{}", "{\"seeds\": []}", "{\"seeds\": [1, -2]}",
        "{\"seeds\": [\"one\"]}", "{\"seeds\": 3}"};
    char *out = cli_make_directory(work, "damaged");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cli_write_text(out, "repeat.json", bad[i]);
        uint64_t before = cli_tree_hash(out);
        cli_expect_error(cli_run("train", "--resume", "--out", out), 3, "repeat.json", "train");
        ck_assert_uint_eq(cli_tree_hash(out), before);
    }
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("repeat");
    TCase *repeat = tcase_create("repeat");
    tcase_set_timeout(repeat, 600);
    tcase_add_unchecked_fixture(repeat, set_up, tear_down);
    tcase_add_test(repeat, seeds_are_ordinary_runs);
    tcase_add_test(repeat, text_has_mean_and_spread);
    tcase_add_test(repeat, a_single_seed);
    tcase_add_test(repeat, stopped_and_resumed);
    tcase_add_test(repeat, a_time_limit_is_for_all_seeds);
    tcase_add_test(repeat, seeds_that_have_not_begun);
    tcase_add_test(repeat, used_directories_are_refused);
    tcase_add_test(repeat, what_is_overwritten_is_never_resumed);
    tcase_add_test(repeat, a_damaged_list_of_seeds);
    suite_add_tcase(s, repeat);
    return s;
}
