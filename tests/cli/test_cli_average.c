/* The exponential moving average of the weights: what it is step by step, its file, its error, and
 * that a run which was stopped goes on with it. */
#include <math.h>

#include "cli_support.h"
#include "safetensors.h"

static char *work, *data, *spec;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", 70, 30, 1, 14, 14, 4);
    spec = cli_write_text(work, "net.json",
        "{\"input\": [1,14,14], \"classes\": 4,"
        " \"conv1\": {\"channels\": 6, \"kernel\": 5, \"stride\": 1},"
        " \"primary\": {\"types\": 3, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"
        " \"class_caps\": {\"dim\": 5, \"iterations\": 2}, \"decoder\": {\"hidden\": [9]}}");
}

static char *train(const char *name, const char *flags)
{
    char *out = cli_path(work, name);
    json_decref(cli_train(out, spec, data, flags));
    return out;
}

static char *model_of(const char *out)
{
    return cli_path(out, "model.safetensors");
}

static char *average_of(const char *out)
{
    return cli_path(out, "model-ema.safetensors");
}

static caps_safetensors load(const char *path)
{
    caps_safetensors st = {0};
    caps_error err = {0};
    test_ok(caps_safetensors_load(&st, path, &err));
    return st;
}

/* average += (1 - min(decay, (1 + n) / (10 + n))) (w - average) at step n, from the first weights,
 * for each tensor; w of step n from a run that ends there. */
static void follow(const char *optimizer, double decay)
{
    enum { STEPS = 4 };
    char *init = model_of(train(optimizer, "--max-steps 1 --optimizer sgd --lr 1e-30"));
    caps_safetensors w[STEPS], first = load(init);
    char *last = NULL;
    for (int n = 1; n <= STEPS; n++) {
        char *out = caps_format("%s-%d", optimizer, n);
        last = train(out, cli_line("--init %s --max-steps %d --optimizer %s --lr 0.01 --ema %g",
                              init, n, optimizer, decay));
        w[n - 1] = load(model_of(last));
        free(out);
    }
    caps_safetensors have = load(average_of(last));
    ck_assert_uint_eq(have.count, first.count);
    double moved = 0;
    for (size_t i = 0; i < first.count; i++) {
        const char *name = first.tensors[i].name;
        const size_t count = first.tensors[i].bytes / sizeof(float);
        const float *start = first.tensors[i].data;
        const float *average = caps_safetensors_get(&have, name)->data;
        for (size_t e = 0; e < count; e++) {
            double a = (double)start[e];
            for (int n = 1; n <= STEPS; n++) {
                const float *now = caps_safetensors_get(&w[n - 1], name)->data;
                a += (1 - fmin(decay, (1.0 + n) / (10.0 + n))) * ((double)now[e] - a);
            }
            ck_assert_msg(fabs((double)average[e] - a) <= 1e-6 * (fabs(a) + 1e-2),
                "%s[%zu]: %.9g, need %.9g", name, e, (double)average[e], a);
            moved += fabs(a - (double)start[e]);
        }
    }
    ck_assert(moved > 0);
    for (int n = 0; n < STEPS; n++)
        caps_safetensors_release(&w[n]);
    caps_safetensors_release(&first);
    caps_safetensors_release(&have);
}

START_TEST(it_follows_the_weights)
{
    follow("adam", 0.999);
    follow("sgd", 0.15); /* below what the first steps are held to */
}
END_TEST

/* Its error is that of its file; the weights are those of a run without. */
START_TEST(it_is_evaluated_and_changes_nothing)
{
    char *out = train("plain", "--max-steps 8 --lr 0.01"), *with = cli_path(work, "with");
    json_t *run = cli_train(with, spec, data, "--max-steps 8 --lr 0.01 --ema 0.8");
    ck_assert(cli_same_file(model_of(out), model_of(with)));
    ck_assert(!cli_same_file(model_of(with), average_of(with)));
    ck_assert(!caps_path_exists(average_of(out)));
    json_t *eval =
        cli_run_json(cli_line("eval --model %s --data %s --json --quiet", average_of(with), data));
    ck_assert(cli_number(run, "ema_test_error_percent") == cli_number(eval, "error_percent"));
    json_decref(eval);
    json_decref(run);
    /* A state may stand where a model does: its own weights count. */
    json_t *both[2];
    const char *const files[] = {"state.safetensors", "model.safetensors"};
    for (int i = 0; i < 2; i++)
        both[i] = cli_run_json(
            cli_line("eval --model %s --data %s --json --quiet", cli_path(with, files[i]), data));
    ck_assert(cli_number(both[0], "margin_loss") == cli_number(both[1], "margin_loss"));
    json_decref(both[0]);
    json_decref(both[1]);
    /* --overwrite leaves nothing of the run before. */
    json_decref(cli_train(with, spec, data, "--overwrite"));
    ck_assert(!caps_path_exists(average_of(with)));
}
END_TEST

START_TEST(a_run_goes_on_with_it)
{
    static const char flags[] = "--lr 0.01 --ema 0.9 --validation 10";
    char *whole = cli_path(work, "whole"), *parts = cli_path(work, "parts");
    json_t *need = cli_train(whole, spec, data, cli_line("--max-steps 9 %s", flags));
    json_decref(cli_train(parts, spec, data, cli_line("--max-steps 5 %s", flags)));
    json_t *have = cli_run_json(
        cli_line("train --resume --out %s --max-steps 9 --ema 0.9 --quiet --json", parts));
    ck_assert(cli_same_file(model_of(whole), model_of(parts)));
    ck_assert(cli_same_file(average_of(whole), average_of(parts)));
    static const char *const keys[] = {"ema_test_error_percent", "ema_validation_error_percent"};
    for (int i = 0; i < 2; i++)
        ck_assert(cli_number(need, keys[i]) == cli_number(have, keys[i]));
    json_decref(need);
    json_decref(have);
    cli_expect_error(cli_run_text(cli_line("train --resume --out %s --ema 0.8", parts)), 2,
        "--ema 0.8 with --resume", "another decay");
}
END_TEST

START_TEST(what_it_may_not_be)
{
    static const char *const values[] = {"1", "1.5", "-0.1", "x"};
    char *out = cli_path(work, "refused");
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        cli_expect_error(cli_run_text(cli_line("train --data %s --arch %s --out %s --ema %s", data,
                             spec, out, values[i])),
            2, "--ema", values[i]);
    ck_assert(!caps_path_exists(out));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("averaged weights");
    TCase *t = tcase_create("runs");
    tcase_add_unchecked_fixture(t, set_up, NULL);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, it_follows_the_weights);
    tcase_add_test(t, it_is_evaluated_and_changes_nothing);
    tcase_add_test(t, a_run_goes_on_with_it);
    tcase_add_test(t, what_it_may_not_be);
    suite_add_tcase(s, t);
    return s;
}
