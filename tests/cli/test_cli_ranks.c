/* Several ranks train one network, started by mpirun. */
#include <math.h>
#include <signal.h>

#include "cli_support.h"

static char *work, *data, *spec;

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

#define MPIRUN "mpirun --allow-run-as-root --oversubscribe"

/* A line for the shell. */
static test_process shell(const char *line)
{
    char *argv[] = {"/bin/sh", "-c", (char *)line, NULL};
    return test_run(argv, NULL);
}

/* Trains with n ranks (0: without mpirun) to the end. */
static json_t *train(int n, const char *out, const char *flags)
{
    char line[4096], ranks[96] = "";
    if (n > 0)
        snprintf(ranks, sizeof ranks, MPIRUN " -n %d", n);
    snprintf(line, sizeof line,
        "%s %s train --data %s --arch %s --batch 20 --quiet --json --out %s %s", ranks,
        TEST_PROGRAM, data, spec, cli_path(work, out), flags);
    test_process p = shell(line);
    ck_assert_msg(p.exit_code == 0, "%s: exit code %d; %s", line, p.exit_code, p.err);
    json_t *value = cli_json(&p);
    test_process_release(&p);
    return value;
}

static char *model_of(const char *out)
{
    return cli_path(cli_path(work, out), "model.safetensors");
}

/* A processor that can be cut into two parts? */
static bool has_parts(void)
{
    test_process p = shell(TEST_PROGRAM " devices --json | grep -q '\"compute_units\": *[2-9]'");
    const bool has = p.exit_code == 0;
    test_process_release(&p);
    return has;
}

/* ---- the same result ------------------------------------------------------------------------ */

START_TEST(ranks_give_the_bits_of_one_process)
{
    if (!has_parts())
        return;
    json_t *alone = train(0, "devices", "--device cpu/2 --epochs 2 --split 3:1");
    json_t *two = train(2, "two", "--device cpu/2 --epochs 2 --split 3:1");
    ck_assert(cli_same_file(model_of("devices"), model_of("two")));
    ck_assert(cli_number(alone, "loss") == cli_number(two, "loss"));
    const json_t *devices = json_object_get(two, "devices");
    ck_assert_uint_eq(json_array_size(devices), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *d = json_array_get(devices, i);
        ck_assert(cli_number(d, "rank") == (double)i);
        ck_assert(cli_number(d, "share") == (i == 0 ? 15 : 5));
        ck_assert(cli_number(d, "images") ==
                  cli_number(json_array_get(json_object_get(alone, "devices"), i), "images"));
    }
    json_decref(alone);
    json_decref(two);
}
END_TEST

/* Each rank updates its part of the parameters: whatever the optimizer does with them, and what is
 * saved of all parts and goes on, alone too. */
START_TEST(a_sharded_optimizer_gives_the_bits_of_one_process)
{
    static const char *const flags[] = {
        "--ema 0.9 --weight-decay 0.01 --layer-lr primary=0.5,conv1.bias=0", "--optimizer sgd",
        "--augment none --split 19:1"};
    if (!has_parts())
        return;
    for (size_t i = 0; i < 3; i++) {
        char alone[16], two[16], part[16];
        snprintf(alone, sizeof alone, "alone%zu", i);
        snprintf(two, sizeof two, "ranks%zu", i);
        snprintf(part, sizeof part, "part%zu", i);
        const char *all = cli_line("--device cpu/2 --max-steps 11 %s", flags[i]);
        json_decref(train(0, alone, all));
        json_decref(train(2, two, all));
        json_decref(train(2, part, cli_line("--device cpu/2 --max-steps 6 %s", flags[i])));
        test_process p = shell(cli_line(TEST_PROGRAM " train --resume --out %s --max-steps 11 "
                                                     "--device cpu/2 --quiet",
            cli_path(work, part)));
        cli_expect_ok(p);
        test_process_release(&p);
        ck_assert(cli_same_file(model_of(alone), model_of(two)));
        ck_assert(cli_same_file(model_of(alone), model_of(part)));
        if (i == 0)
            ck_assert(cli_same_file(cli_path(cli_path(work, alone), "model-ema.safetensors"),
                cli_path(cli_path(work, two), "model-ema.safetensors")));
    }
}
END_TEST

/* An uneven split, of which one rank has no image in the last batch of an epoch; one rank has two
 * devices. */
START_TEST(any_number_of_ranks_gives_the_loss_of_one)
{
    json_t *one = train(0, "one", "--epochs 2");
    const double loss = cli_number(one, "loss");
    static const struct {
        int n;
        const char *flags;
        size_t members;
    } runs[] = {{3, "--split 13:1:6", 3}, {3, "--split 13:1:6", 3}, {4, "", 4},
        {2, "--reduce fast", 2}, {2, "--memory-limit 1M", 2}};
    char names[5][16];
    for (int i = 0; i < 5; i++) {
        snprintf(names[i], sizeof names[i], "many%d", i);
        char flags[128];
        snprintf(flags, sizeof flags, "--epochs 2 %s", runs[i].flags);
        json_t *m = train(runs[i].n, names[i], flags);
        ck_assert_msg(fabs(cli_number(m, "loss") - loss) <= 1e-5 * loss, "%s: %.9g, need %.9g",
            runs[i].flags, cli_number(m, "loss"), loss);
        ck_assert(cli_number(m, "test_error_percent") == cli_number(one, "test_error_percent"));
        ck_assert_uint_eq(json_array_size(json_object_get(m, "devices")), runs[i].members);
        json_decref(m);
    }
    ck_assert(cli_same_file(model_of(names[0]), model_of(names[1])));
    json_decref(one);
}
END_TEST

/* Of a batch of 20 images the ranks have 13, 1 and 6, of the last one of 10 6, none and 3 or so: what
 * normalises goes by all of them. */
START_TEST(statistics_of_a_batch_are_those_of_all_ranks)
{
    spec = cli_write_text(work, "norm.json",
        "{\"input\": [1,12,12], \"classes\": 4, \"layers\": ["
        " {\"kind\": \"conv\", \"channels\": 5, \"kernel\": 3, \"norm\": \"batch\"},"
        " {\"kind\": \"conv\", \"channels\": 6, \"kernel\": 3, \"norm\": \"batch\"},"
        " {\"kind\": \"primary_caps\", \"types\": 2, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"
        " {\"kind\": \"caps\", \"capsules\": 4, \"dim\": 6,"
        "  \"routing\": {\"kind\": \"dynamic\", \"iterations\": 2}}]}");
    static const char flags[] = "--epochs 2 --conv im2col";
    json_t *one = train(0, "norm-one", flags);
    json_t *three = train(3, "norm-three", cli_line("%s --split 13:1:6", flags));
    const double loss = cli_number(one, "loss");
    ck_assert_msg(fabs(cli_number(three, "loss") - loss) <= 1e-5 * loss, "%.9g, need %.9g",
        cli_number(three, "loss"), loss);
    json_decref(train(3, "norm-again", cli_line("%s --split 13:1:6", flags)));
    ck_assert(cli_same_file(model_of("norm-three"), model_of("norm-again")));
    json_decref(one);
    json_decref(three);
}
END_TEST

/* Other bits than exact, the same on every run, and the loss within what 8 bits give. */
START_TEST(gradients_as_bfloat16_repeat)
{
    json_t *exact = train(3, "exact", "--epochs 2 --split 13:1:6");
    json_t *half = train(3, "half", "--epochs 2 --split 13:1:6 --reduce bf16");
    json_t *again = train(3, "again", "--epochs 2 --split 13:1:6 --reduce bf16");
    const double loss = cli_number(exact, "loss");
    ck_assert(cli_same_file(model_of("half"), model_of("again")));
    ck_assert(!cli_same_file(model_of("half"), model_of("exact")));
    ck_assert_msg(fabs(cli_number(half, "loss") - loss) <= 1e-3 * loss, "%.9g, need %.9g",
        cli_number(half, "loss"), loss);
    json_decref(exact);
    json_decref(half);
    json_decref(again);
}
END_TEST

START_TEST(a_run_goes_on_with_other_ranks)
{
    char line[2048];
    json_decref(train(2, "whole", "--max-steps 9 --save-every 2"));
    json_decref(train(2, "parts", "--max-steps 4"));
    snprintf(line, sizeof line,
        MPIRUN " -n 2 " TEST_PROGRAM " train --resume --out %s "
               "--max-steps 9 --quiet",
        cli_path(work, "parts"));
    test_process p = shell(line);
    cli_expect_ok(p);
    test_process_release(&p);
    ck_assert(cli_same_file(model_of("whole"), model_of("parts")));
    /* Another number; shares begin anew. */
    json_decref(train(3, "other", "--max-steps 4 --split 2:1:1"));
    snprintf(line, sizeof line,
        MPIRUN " -n 2 " TEST_PROGRAM " train --resume --out %s --max-steps 6",
        cli_path(work, "other"));
    p = shell(line);
    cli_expect_ok(p);
    ck_assert_msg(strstr(p.err, "shares 2:1:1 were those of 3 ranks, need 2 others"), "%s", p.err);
    test_process_release(&p);
    snprintf(
        line, sizeof line, "train --resume --out %s --max-steps 8 --json", cli_path(work, "other"));
    json_t *m = cli_run_json(line);
    ck_assert(cli_number(m, "resumed_from_step") == 6);
    json_decref(m);
}
END_TEST

/* ---- failure -------------------------------------------------------------------------------- */

/* One line names the rank, and what there is can be gone on with. */
static void expect_lost(test_process p, int code, const char *says, const char *out)
{
    char line[2048];
    ck_assert_msg(
        code < 0 ? p.exit_code != 0 : p.exit_code == code, "exit code %d; %s", p.exit_code, p.err);
    ck_assert_msg(cli_error_lines(p.err) == 1, "%s", p.err);
    ck_assert_msg(strstr(p.err, says) != NULL, "need '%s' in %s", says, p.err);
    test_process_release(&p);
    if (!out)
        return;
    snprintf(
        line, sizeof line, "train --resume --out %s --time-limit 0.1 --json", cli_path(work, out));
    json_t *m = cli_run_json(line);
    ck_assert(cli_number(m, "step") >= cli_number(m, "resumed_from_step"));
    json_decref(m);
}

/* Rank 0 runs as it is, rank 1 with this environment. */
static test_process train_with(const char *environment, const char *out, const char *flags)
{
    char command[2048], line[6000];
    snprintf(command, sizeof command,
        "%s train --data %s --arch %s --batch 10 --epochs 20 --save-every 5 --quiet --out %s %s",
        TEST_PROGRAM, data, spec, cli_path(work, out), flags);
    snprintf(line, sizeof line, MPIRUN " -n 1 %s : -n 1 /usr/bin/env %s %s", command, environment,
        command);
    return shell(line);
}

#define FAULTS TEST_BINARY_DIR "/tests/faults/fault_opencl.so"

START_TEST(a_rank_that_fails_is_named)
{
    if (access(FAULTS, R_OK) == 0)
        expect_lost(train_with("LD_PRELOAD=" FAULTS " FAULT_PROGRAM=capscl "
                               "FAULT=clEnqueueNDRangeKernel:900",
                        "fault", ""),
            4, "rank 1 (", "fault");
    /* Another command line; other data of the same name. */
    char *elsewhere = cli_make_directory(work, "elsewhere"), setting[2048], line[4096];
    cli_make_data(elsewhere, "data", 80, 42, 1, 12, 12, 4);
    snprintf(setting, sizeof setting, "CAPSCL_DATA=%s", elsewhere);
    snprintf(line, sizeof line,
        "CAPSCL_DATA=%s " MPIRUN " -n 1 %s train --data data --arch %s --out %s/x : -n 1 "
        "/usr/bin/env %s %s train --data data --arch %s --out %s/x",
        work, TEST_PROGRAM, spec, work, setting, TEST_PROGRAM, spec, work);
    expect_lost(
        shell(line), 3, "80 training images, other images or labels than the 90 of rank 0", NULL);
    snprintf(line, sizeof line,
        MPIRUN " -n 1 %s train --data %s --arch %s --out %s/x : -n 1 %s train --data %s --out %s/x",
        TEST_PROGRAM, data, spec, work, TEST_PROGRAM, data, work);
    expect_lost(shell(line), 2, "the command line is another than that of rank 0", NULL);
    ck_assert(!caps_path_exists(cli_path(work, "x")));
}
END_TEST

/* mpirun in the background; its rank `which` (-1: mpirun itself) gets the signal. */
static test_process train_and_send(const char *out, int which, const char *sent, const char *flags)
{
    char line[4096], target[256];
    if (which < 0)
        snprintf(target, sizeof target, "$m");
    else
        snprintf(target, sizeof target, "$(ps -o pid= --ppid $m | sed -n %dp)", which + 1);
    snprintf(line, sizeof line,
        MPIRUN
        " -n 3 %s train --data %s --arch %s --batch 10 --max-steps 1000000 --save-every 50 "
        "--eval-every 1000000 --quiet --out %s %s & m=$!; i=0; "
        "while [ ! -e %s/state.safetensors ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done; "
        "sleep 0.7; kill -%s %s; wait $m",
        TEST_PROGRAM, data, spec, cli_path(work, out), flags, cli_path(work, out), sent, target);
    return shell(line);
}

START_TEST(a_rank_that_is_killed_is_named)
{
    /* There is a state without --save-every too: rank 0 saves behind the first step. */
    expect_lost(train_and_send("killed", 1, "KILL", "--save-every 1000000"), -1,
        "): its process has ended", "killed");
    expect_lost(train_and_send("hangs", 2, "STOP", "--device-timeout 2"), -1,
        "): nothing was heard of it for 2 s", "hangs");
    expect_lost(train_and_send("first", 0, "KILL", ""), -1, "capscl: rank 0 (", "first");
}
END_TEST

START_TEST(a_signal_stops_all_and_saves)
{
    expect_lost(train_and_send("signal", -1, "INT", ""), -1, "capscl: stopped by ", "signal");
    expect_lost(train_and_send("term", 2, "TERM", ""), 130, "saved; go on with: ", "term");
}
END_TEST

/* ---- launchers ------------------------------------------------------------------------------ */

START_TEST(ranks_that_do_not_find_each_other_are_refused)
{
    char *out = cli_path(work, "never");
    static const struct {
        char *environment[4];
        const char *says;
    } rows[] = {
        {{"SLURM_STEP_NUM_TASKS=4", "SLURM_PROCID=0"}, "need srun --mpi=pmix"},
        {{"PMI_SIZE=2", "PMI_RANK=0"}, "mpiexec started 2 processes that do not find each other"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cli_expect_error(cli_run_env((char **)rows[i].environment, "train", "--data", data,
                             "--arch", spec, "--out", out, (char *)NULL),
            2, rows[i].says, rows[i].says);
    ck_assert(!caps_path_exists(out));
    /* A batch script is no step; and what does not belong together is said so. */
    char *alone[][4] = {{"SLURM_NTASKS=4", "SLURM_PROCID=0", "SLURM_JOB_ID=7"},
        {"CAPSCL_MPI=off", "OMPI_COMM_WORLD_SIZE=2", "OMPI_COMM_WORLD_RANK=1"}};
    for (size_t i = 0; i < 2; i++) {
        test_process p = cli_run_env(alone[i], "train", "--data", data, "--arch", spec, "--out",
            out, "--overwrite", "--max-steps", "1", "--quiet", (char *)NULL);
        cli_expect_ok(p);
        ck_assert(p.out[0]);
        test_process_release(&p);
    }
    char *two[] = {"OMPI_COMM_WORLD_SIZE=2", "OMPI_COMM_WORLD_RANK=0", NULL};
    cli_expect_error(cli_run_env(two, "eval", "--model", "x", (char *)NULL), 2,
        "eval: started 2 times by mpirun, need once", "eval");
    two[1] = "OMPI_COMM_WORLD_RANK=1";
    test_process p = cli_run_env(two, "eval", "--model", "x", (char *)NULL);
    ck_assert(p.exit_code == 2 && !p.err[0] && !p.out[0]);
    test_process_release(&p);
}
END_TEST

START_TEST(what_only_one_process_can_do_is_refused)
{
    char line[2048];
    static const char *const rows[][2] = {{"--keep-going", "train: --keep-going with 2 ranks"},
        {"--repeat 2", "train: --repeat with 2 ranks, need one process"},
        {"--split 1:1:1", "3 shares, need one for each of 2 devices"}};
    for (size_t i = 0; i < 3; i++) {
        snprintf(line, sizeof line, MPIRUN " -n 2 %s train --data %s --arch %s --out %s/no %s",
            TEST_PROGRAM, data, spec, work, rows[i][0]);
        expect_lost(shell(line), 2, rows[i][1], NULL);
    }
    ck_assert(!caps_path_exists(cli_path(work, "no")));
}
END_TEST

Suite *suite(void)
{
    cli_use_test_cache();
    Suite *s = suite_create("command line: ranks");
    TCase *tc = tcase_create("ranks");
    tcase_set_timeout(tc, 300);
    tcase_add_unchecked_fixture(tc, set_up, tear_down);
    suite_add_tcase(s, tc);
    if (access(TEST_BINARY_DIR "/capscl-mpi.so", R_OK) != 0 ||
        system("command -v mpirun >/dev/null 2>&1") != 0) {
        fprintf(stderr, "ranks: SKIPPED: there is no mpirun, or no MPI in this build\n");
        return s;
    }
    tcase_add_test(tc, ranks_give_the_bits_of_one_process);
    tcase_add_test(tc, a_sharded_optimizer_gives_the_bits_of_one_process);
    tcase_add_test(tc, any_number_of_ranks_gives_the_loss_of_one);
    tcase_add_test(tc, statistics_of_a_batch_are_those_of_all_ranks);
    tcase_add_test(tc, gradients_as_bfloat16_repeat);
    tcase_add_test(tc, a_run_goes_on_with_other_ranks);
    tcase_add_test(tc, a_rank_that_fails_is_named);
    tcase_add_test(tc, a_rank_that_is_killed_is_named);
    tcase_add_test(tc, a_signal_stops_all_and_saves);
    tcase_add_test(tc, ranks_that_do_not_find_each_other_are_refused);
    tcase_add_test(tc, what_only_one_process_can_do_is_refused);
    return s;
}
