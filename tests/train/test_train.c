/* Training as the library does it: stopping, resuming, extending, failing. */
#include <capscl/inspect.h>

#include "train_support.h"

#include "batcher.h"
#include "metrics.h"
#include "safetensors.h"

/* Made once: data, and a run of two epochs that nothing disturbed. */
static char *work, *data, *whole_out, *whole_model;
static caps_train_config whole;
static train_watch whole_run;

static void set_up(void)
{
    work = test_directory();
    data = cli_make_data(work, "data", TRAIN_IMAGES, TEST_IMAGES, 1, 12, 12, 4);
    whole = train_tiny(data);
    whole_out = cli_path(work, "whole");
    whole_model = cli_path(whole_out, "model.safetensors");
    whole_run = train_ok((train_watch){.out = whole_out}, &whole);
}

static void tear_down(void)
{
    free(work);
}

static char *fresh(const char *name)
{
    return cli_path(work, name);
}

static void expect_whole(const char *out, const train_watch *w)
{
    ck_assert_int_eq(w->end, CAPS_TRAIN_FINISHED);
    train_expect_same(&w->m, &whole_run.m);
    ck_assert_msg(cli_same_file(cli_path(out, "model.safetensors"), whole_model), "%s", out);
}

/* ---- a run ---------------------------------------------------------------------------------- */

START_TEST(a_run_leaves_what_it_says)
{
    caps_error err = {0};
    const caps_train_metrics *m = &whole_run.m;
    ck_assert_int_eq(whole_run.end, CAPS_TRAIN_FINISHED);
    ck_assert_uint_eq(m->epoch, 2);
    ck_assert_uint_eq(m->step, 2 * STEPS);
    ck_assert_uint_eq(m->images_done, TRAIN_IMAGES);
    ck_assert_uint_eq(m->images_total, TRAIN_IMAGES);
    ck_assert_uint_eq(m->resumed_from_step, 0);
    ck_assert(m->images_per_second > 0 && m->seconds > 0 && m->seconds_left == 0);
    ck_assert(m->peak_device_bytes > 0);
    ck_assert(m->loss == m->class_loss + 0.0005 * m->reconstruction_sse);
    ck_assert(m->lr == caps_learning_rate(&whole, 2 * STEPS - 1, STEPS));
    ck_assert_int_eq(whole_run.events[CAPS_TRAIN_STARTED], 1);
    ck_assert_int_eq(whole_run.events[CAPS_TRAIN_PROGRESS], 2 * STEPS);
    ck_assert_int_eq(whole_run.events[CAPS_TRAIN_EPOCH], 2);
    ck_assert_int_eq(whole_run.events[CAPS_TRAIN_EVALUATING], 2);
    ck_assert_int_eq(whole_run.events[CAPS_TRAIN_SAVED], 2);
    ck_assert_uint_eq(train_lines(whole_out, "epoch"), 2);
    ck_assert_uint_eq(train_lines(whole_out, NULL), 2);

    /* The saved model gives the test error that the run says; and it has learned something. */
    caps_checkpoint saved = {0};
    caps_dataset test = {0};
    caps_evaluation result = {0};
    caps_model *model = NULL;
    const caps_model_options options = {CAPS_OPTIONS(caps_model_options), .max_batch = 7};
    test_ok(caps_checkpoint_load(&saved, whole_model, whole.spec, &err));
    test_ok(test_dataset_load(&test, data, CAPS_SPLIT_TEST, 0, &err));
    test_ok(caps_model_create(&model, test_runtime(), saved.spec, &options, &err));
    test_ok(caps_model_set_parameters(model, saved.parameters, &err));
    test_ok(caps_evaluate(model, &test, NULL, &result, &err));
    ck_assert(result.error_percent == m->test_error_percent);
    ck_assert(isnan(result.reconstruction_sse)); /* made without a decoder */
    ck_assert_double_lt(m->loss, 0.75 * 0.64);
    caps_evaluation_release(&result);
    caps_model_free(model);
    caps_dataset_release(&test);
    caps_checkpoint_release(&saved);
}
END_TEST

START_TEST(a_used_directory_is_refused)
{
    uint64_t before = cli_tree_hash(whole_out);
    train_fails((train_watch){.out = whole_out}, &whole, CAPS_ERR_EXISTS, "whole");
    ck_assert_uint_eq(cli_tree_hash(whole_out), before);
}
END_TEST

START_TEST(without_a_decoder)
{
    caps_train_config config = whole;
    caps_error err = {0};
    config.spec = NULL;
    test_ok(caps_model_spec_copy(&config.spec, whole.spec, &err));
    test_ok(caps_model_spec_remove_decoder(config.spec, &err));
    char *out = fresh("bare");
    train_watch w = train_ok((train_watch){.out = out}, &config);
    ck_assert(isnan(w.m.reconstruction_sse));
    ck_assert(w.m.loss == w.m.class_loss && w.m.loss > 0);
    /* Also as it comes back from the state. */
    w = train_ok((train_watch){.out = out, .resume = true}, &config);
    ck_assert_int_eq(w.end, CAPS_TRAIN_WAS_FINISHED);
    ck_assert(isnan(w.m.reconstruction_sse));
    caps_train_config_release(&config);
}
END_TEST

START_TEST(sgd_keeps_its_rate_and_no_moments)
{
    caps_error err = {0};
    caps_train_config config = whole;
    config.optimizer = CAPS_OPTIMIZER_SGD;
    config.lr = 0.05;
    char *out = fresh("sgd"), *pieces = fresh("sgd-pieces");
    train_watch w = train_ok((train_watch){.out = out}, &config);
    ck_assert(w.m.lr == 0.05);
    caps_safetensors st = {0};
    test_ok(caps_safetensors_load(&st, cli_path(out, "state.safetensors"), &err));
    ck_assert_uint_eq(st.count, 9);
    caps_safetensors_release(&st);
    train_ok((train_watch){.out = pieces, .stop_at = 4}, &config);
    w = train_ok((train_watch){.out = pieces, .resume = true}, &config);
    ck_assert(
        cli_same_file(cli_path(out, "model.safetensors"), cli_path(pieces, "model.safetensors")));
}
END_TEST

START_TEST(init_gives_the_parameters)
{
    caps_train_config config = whole;
    snprintf(config.init, sizeof config.init, "%s", whole_model);
    config.optimizer = CAPS_OPTIMIZER_SGD;
    config.lr = 1e-30;
    config.max_steps = 1;
    char *out = fresh("init");
    train_ok((train_watch){.out = out}, &config);
    ck_assert(cli_same_file(whole_model, cli_path(out, "model.safetensors")));

    config.spec = train_changed_spec(whole.spec, "caps", "routing.iterations", "3");
    train_fails((train_watch){.out = fresh("never")}, &config, CAPS_ERR_MISMATCH, "iterations");
    snprintf(config.init, sizeof config.init, "%s/nothing.safetensors", work);
    train_fails((train_watch){.out = fresh("never")}, &config, CAPS_ERR_NOT_FOUND, "nothing");
    ck_assert(!caps_path_exists(fresh("never")));
    caps_train_config_release(&config);
}
END_TEST

/* ---- stop and resume ------------------------------------------------------------------------ */

START_TEST(stopped_at_any_step)
{
    /* Inside an epoch, at its end (evaluated by the run that goes on), and at the last step. */
    uint64_t k = (uint64_t)_i;
    char name[32];
    snprintf(name, sizeof name, "stop-%d", _i);
    char *out = fresh(name);
    train_watch w = train_ok((train_watch){.out = out, .stop_at = k}, &whole);
    ck_assert_int_eq(w.end, CAPS_TRAIN_STOPPED);
    ck_assert_uint_eq(w.m.step, k);
    ck_assert_uint_eq(train_lines(out, "epoch"), (k - 1) / STEPS);
    ck_assert(caps_path_exists(cli_path(out, "model.safetensors")));

    w = train_ok((train_watch){.out = out, .resume = true}, &whole);
    ck_assert_uint_eq(w.m.resumed_from_step, k);
    expect_whole(out, &w);
    ck_assert_uint_eq(train_lines(out, "epoch"), 2);
    ck_assert_uint_eq(train_lines(out, NULL), 2);
}
END_TEST

START_TEST(stopped_at_every_step)
{
    char *out = fresh("every-step");
    train_watch w = train_ok((train_watch){.out = out, .stop_at = 1}, &whole);
    for (uint64_t k = 2; k <= 2 * STEPS; k++) {
        ck_assert_int_eq(w.end, CAPS_TRAIN_STOPPED);
        w = train_ok((train_watch){.out = out, .resume = true, .stop_at = k}, &whole);
        ck_assert_uint_eq(w.m.step, k);
    }
    w = train_ok((train_watch){.out = out, .resume = true}, &whole);
    expect_whole(out, &w);
    ck_assert_uint_eq(train_lines(out, NULL), 2);
}
END_TEST

START_TEST(a_time_limit_stops_too)
{
    char *out = fresh("limit");
    train_watch w = {.out = out, .time_limit_seconds = 1e-6};
    w = train_ok(w, &whole);
    ck_assert_int_eq(w.end, CAPS_TRAIN_TIME_LIMIT);
    ck_assert_uint_eq(w.m.step, 1);
    /* However short it is: every time a step further, and the end is reached. */
    int times = 0;
    while (w.end == CAPS_TRAIN_TIME_LIMIT && times++ < 100)
        w = train_ok((train_watch){.out = out, .resume = true, .time_limit_seconds = 1e-6}, &whole);
    expect_whole(out, &w);
    ck_assert_uint_eq(train_lines(out, NULL), 2);
}
END_TEST

/* What a kill leaves: the last state, logged lines after it, perhaps half a line, and no more. */
START_TEST(killed_after_a_save)
{
    caps_train_config config = whole;
    config.save_every = 3;
    char *first = fresh("saving"), *killed = cli_make_directory(work, "killed");
    train_watch w = train_ok(
        (train_watch){
            .out = first, .copy_at_saved = cli_path(killed, "state.safetensors"), .copy_step = 6},
        &config);
    /* At 3, 6 and 9, and at the two epochs' ends. */
    ck_assert_int_eq(w.events[CAPS_TRAIN_SAVED], 5);
    expect_whole(first, &w);

    size_t n = 0;
    char *log = (char *)cli_read(cli_path(first, "metrics.jsonl"), &n);
    cli_write(cli_path(killed, "metrics.jsonl"), log, n - 20);
    free(log);
    /* config.json is lost: the state's copy serves. */
    caps_error err = {0};
    caps_train_config found = {CAPS_OPTIONS(caps_train_config)};
    test_ok(caps_train_config_load(&found, killed, &err));
    w = train_ok((train_watch){.out = killed, .resume = true}, &found);
    caps_train_config_release(&found);
    ck_assert_uint_eq(w.m.resumed_from_step, 6);
    expect_whole(killed, &w);
    ck_assert_uint_eq(train_lines(killed, NULL), 2);
    ck_assert(cli_same_file(cli_path(killed, "config.json"), cli_path(first, "config.json")));
}
END_TEST

/* A run's config.json is the same in a process that has trained others before. */
START_TEST(a_later_run_records_its_own_choices)
{
    static const size_t batches[] = {13, 11, 13};
    char *out[3] = {fresh("before"), fresh("between"), fresh("later")};
    for (size_t i = 0; i < 3; i++) {
        caps_train_config config = whole;
        config.batch = batches[i];
        train_ok((train_watch){.out = out[i]}, &config);
    }
    ck_assert(cli_same_file(cli_path(out[0], "config.json"), cli_path(out[2], "config.json")));
}
END_TEST

START_TEST(extended_runs_go_on_as_one)
{
    char *out = fresh("extended");
    caps_train_config config = whole;
    config.epochs = 0;
    config.max_steps = 3;
    train_watch w = train_ok((train_watch){.out = out}, &config);
    ck_assert_int_eq(w.end, CAPS_TRAIN_FINISHED);
    ck_assert_uint_eq(w.m.step, 3);
    ck_assert_uint_eq(w.m.images_done, 3 * BATCH);
    ck_assert(!isnan(w.m.test_error_percent));
    ck_assert_uint_eq(train_lines(out, "epoch"), 1); /* of a part of it */

    config.epochs = 1;
    config.max_steps = 0;
    w = train_ok((train_watch){.out = out, .resume = true}, &config);
    ck_assert_uint_eq(w.m.step, STEPS);
    caps_train_config kept = {CAPS_OPTIONS(caps_train_config)};
    caps_error err = {0};
    test_ok(caps_train_config_load(&kept, out, &err));
    ck_assert(kept.epochs == 1 && kept.max_steps == 0);
    caps_train_config_release(&kept);
    w = train_ok((train_watch){.out = out, .resume = true}, &whole);
    ck_assert_uint_eq(w.m.resumed_from_step, STEPS);
    expect_whole(out, &w);
    ck_assert_uint_eq(train_lines(out, "epoch"), 3);
}
END_TEST

START_TEST(shortened_runs_end_where_they_are)
{
    char *out = fresh("shortened");
    caps_train_config config = whole;
    train_ok((train_watch){.out = out, .stop_at = 7}, &config);
    config.epochs = 1;
    train_watch w = train_ok((train_watch){.out = out, .resume = true}, &config);
    ck_assert_int_eq(w.end, CAPS_TRAIN_FINISHED);
    ck_assert_uint_eq(w.m.step, 7);
    ck_assert(!isnan(w.m.test_error_percent));
    ck_assert_int_eq(w.events[CAPS_TRAIN_PROGRESS], 0);
    /* And goes on from there. */
    w = train_ok((train_watch){.out = out, .resume = true}, &whole);
    expect_whole(out, &w);
}
END_TEST

START_TEST(an_end_without_evaluation_gets_one)
{
    char *out = fresh("unevaluated");
    caps_train_config config = whole;
    config.eval_every = 0;
    train_watch w = train_ok((train_watch){.out = out, .stop_at = STEPS + 1}, &config);
    ck_assert_int_eq(w.events[CAPS_TRAIN_EVALUATING], 0);
    ck_assert(isnan(w.epoch.test_error_percent));
    w = train_ok((train_watch){.out = out, .resume = true}, &config);
    ck_assert_int_eq(w.events[CAPS_TRAIN_EVALUATING], 1);
    expect_whole(out, &w); /* evaluations change nothing of the training */
    ck_assert_uint_eq(train_lines(out, "epoch"), 2);
}
END_TEST

START_TEST(a_finished_run_stays_as_it_is)
{
    uint64_t before = cli_tree_hash(whole_out);
    train_watch w = train_ok((train_watch){.out = whole_out, .resume = true}, &whole);
    ck_assert_int_eq(w.end, CAPS_TRAIN_WAS_FINISHED);
    train_expect_same(&w.m, &whole_run.m);
    ck_assert_uint_eq(w.m.resumed_from_step, 2 * STEPS);
    caps_train_config less = whole;
    less.epochs = 1;
    w = train_ok((train_watch){.out = whole_out, .resume = true}, &less);
    ck_assert_int_eq(w.end, CAPS_TRAIN_WAS_FINISHED);
    ck_assert_uint_eq(cli_tree_hash(whole_out), before);
}
END_TEST

START_TEST(other_settings_are_refused)
{
    char *out = fresh("settings");
    train_ok((train_watch){.out = out, .stop_at = 2}, &whole);
    uint64_t before = cli_tree_hash(out);
    const train_watch again = {.out = out, .resume = true};
    caps_train_config config = whole;
    config.seed = 2;
    train_fails(again, &config, CAPS_ERR_MISMATCH, "seed");
    config = whole;
    config.batch = 10;
    train_fails(again, &config, CAPS_ERR_MISMATCH, "batch");
    config = whole;
    config.optimizer = CAPS_OPTIMIZER_SGD;
    train_fails(again, &config, CAPS_ERR_MISMATCH, "optimizer");
    config = whole;
    config.spec = train_changed_spec(whole.spec, "caps", "routing.iterations", "3");
    train_fails(again, &config, CAPS_ERR_MISMATCH, "spec");
    caps_train_config_release(&config);
    config = whole;
    config.batch = 0;
    train_fails(again, &config, CAPS_ERR_ARGUMENT, "batch");

    /* Other data under the run's name for it: fewer images, then one pixel of one image. */
    config = whole;
    char *fewer = cli_make_data(work, "fewer", 80, TEST_IMAGES, 1, 12, 12, 4);
    snprintf(config.data, sizeof config.data, "%s", fewer);
    train_fails(again, &config, CAPS_ERR_MISMATCH, "80");
    char *other = cli_make_data(work, "other", TRAIN_IMAGES, TEST_IMAGES, 1, 12, 12, 4);
    char *images = cli_path(other, "train-images-idx3-ubyte");
    size_t n = 0;
    unsigned char *bytes = cli_read(images, &n);
    bytes[n - 1] ^= 1;
    cli_write(images, bytes, n);
    snprintf(config.data, sizeof config.data, "%s", other);
    train_fails(again, &config, CAPS_ERR_MISMATCH, "other training images");
    ck_assert_uint_eq(cli_tree_hash(out), before);

    /* The same data elsewhere is the same. */
    bytes[n - 1] ^= 1;
    cli_write(images, bytes, n);
    free(bytes);
    train_watch w = train_ok(again, &config);
    expect_whole(out, &w);
}
END_TEST

/* ---- what goes wrong ------------------------------------------------------------------------ */

START_TEST(not_finite_names_step_and_layer)
{
    caps_train_config config = whole;
    config.optimizer = CAPS_OPTIMIZER_SGD;
    config.lr = 1e30;
    char *out = fresh("not-finite");
    train_watch w =
        train_fails((train_watch){.out = out}, &config, CAPS_ERR_NOT_FINITE, "last saved step 0)");
    ck_assert_msg(strncmp(w.err.message, "step ", 5) == 0, "%s", w.err.message);
    ck_assert_ptr_nonnull(strstr(w.err.message, " is not finite (learning rate 1e+30; "));
    ck_assert_ptr_null(strstr(w.err.message, "nothing"));
    ck_assert(!caps_path_exists(cli_path(out, "model.safetensors")));
    /* The first state is still there, whole: it goes wrong at the same step again. */
    train_watch again = train_fails((train_watch){.out = out, .resume = true}, &config,
        CAPS_ERR_NOT_FINITE, "last saved step 0)");
    ck_assert_str_eq(again.err.message, w.err.message);
}
END_TEST

/* The run as a plain loop that waits after every call: the step and the name that it ends with. */
static void expect_end(const caps_train_config *config, const char *message)
{
    caps_error err = {0};
    caps_model *m = NULL;
    caps_dataset train = {0};
    caps_batcher *batcher = NULL;
    char name[64] = "", expected[128];
    bool finite = true;
    uint64_t step = 0;
    const caps_model_options options = {
        CAPS_OPTIONS(caps_model_options), .max_batch = config->batch, .training = true};
    const caps_batcher_options from = {.batch = config->batch,
        .augment = config->augment,
        .shuffle = config->shuffle,
        .seed = config->seed};
    test_ok(test_dataset_load(&train, config->data, CAPS_SPLIT_TRAIN, 0, &err));
    test_ok(caps_model_create(&m, test_runtime(), config->spec, &options, &err));
    test_ok(caps_model_initialise(m, CAPS_INITIALISER_SCALED, config->seed, &err));
    test_ok(caps_batcher_create(&batcher, &train, &from, &err));
    while (finite) {
        caps_model_totals totals;
        const caps_batch *batch = caps_batcher_next(batcher);
        const caps_images images = {batch->n, batch->images, batch->labels, batch->targets};
        test_ok(caps_model_set_batch(m, &images, &err));
        test_ok(caps_model_clear_totals(m, &err));
        test_ok(caps_model_forward(m, CAPS_MASK_LABEL, &err));
        test_ok(caps_model_add_totals(m, &err));
        test_ok(caps_model_backward(m, &err));
        test_ok(caps_model_sgd(m, (float)config->lr, &err));
        test_ok(caps_model_get_totals(m, &totals, &err));
        test_ok(caps_model_check_finite(m, &finite, &err));
        finite = finite && isfinite(totals.class_loss) && isfinite(totals.sse);
        step++;
    }
    test_ok(caps_model_first_not_finite(m, name, sizeof name, &err));
    snprintf(expected, sizeof expected, "step %llu: %s is not finite", (unsigned long long)step,
        strcmp(name, "nothing") == 0 ? "the loss" : name);
    ck_assert_msg(
        strncmp(message, expected, strlen(expected)) == 0, "need '%s': %s", expected, message);
    caps_batcher_free(batcher);
    caps_model_free(m);
    caps_dataset_release(&train);
}

/* Though the next step is on its way when it shows. */
START_TEST(not_finite_is_as_without_running_ahead)
{
    static const double rates[] = {3e38, 1e36, 1e30, 1e22};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        caps_train_config config = whole;
        config.optimizer = CAPS_OPTIMIZER_SGD;
        config.lr = rates[i];
        config.epochs = 20;
        config.save_every = 7;
        char name[32];
        snprintf(name, sizeof name, "rate-%zu", i);
        train_watch w = train_fails(
            (train_watch){.out = fresh(name)}, &config, CAPS_ERR_NOT_FINITE, "not finite");
        expect_end(&config, w.err.message);
    }
}
END_TEST

START_TEST(not_finite_is_never_saved)
{
    /* Weights that are too large to be numbers, from gradients that are. */
    caps_train_config config = whole;
    config.optimizer = CAPS_OPTIMIZER_SGD;
    config.lr = 3e38;
    config.lr_decay = 1;
    config.save_every = 1;
    config.max_steps = 4;
    char *out = fresh("huge");
    train_fails(
        (train_watch){.out = out}, &config, CAPS_ERR_NOT_FINITE, " is not finite (learning rate ");
    caps_error err = {0};
    caps_checkpoint saved = {0};
    test_ok(caps_checkpoint_load(
        &saved, cli_path(out, "state.safetensors"), config.spec, &err)); /* reads numbers only */
    caps_checkpoint_release(&saved);
}
END_TEST

START_TEST(a_place_that_cannot_be_written)
{
    char *file = cli_write_text(work, "a-file", "mine");
    train_fails((train_watch){.out = "/proc/nothing"}, &whole, CAPS_ERR_IO, "/proc/nothing");
    train_fails((train_watch){.out = file}, &whole, CAPS_ERR_IO, "a-file");
    train_fails((train_watch){.out = cli_path(file, "run")}, &whole, CAPS_ERR_IO, "a-file");
    train_fails((train_watch){.out = ""}, &whole, CAPS_ERR_IO, "empty");
    size_t n = 0;
    unsigned char *text = cli_read(file, &n);
    ck_assert(n == 4 && memcmp(text, "mine", 4) == 0);
    free(text);
}
END_TEST

START_TEST(a_model_that_cannot_be_written)
{
    char *out = fresh("blocked"), *model = cli_path(out, "model.safetensors");
    train_watch w = train_fails((train_watch){.out = out, .block_model = true}, &whole, CAPS_ERR_IO,
        "blocked/model.safetensors");
    ck_assert_int_eq(w.events[CAPS_TRAIN_EPOCH], 1);
    /* As long as it is there, nothing is touched. */
    uint64_t before = cli_tree_hash(out);
    train_fails((train_watch){.out = out, .resume = true}, &whole, CAPS_ERR_IO, "directory");
    ck_assert_uint_eq(cli_tree_hash(out), before);
    ck_assert_int_eq(rmdir(model), 0);
    w = train_ok((train_watch){.out = out, .resume = true}, &whole);
    ck_assert_uint_eq(w.m.resumed_from_step, 0);
    expect_whole(out, &w);
    ck_assert_uint_eq(train_lines(out, NULL), 2);
}
END_TEST

/* Lines are appended to it: neither through a link nor to what is no file. */
START_TEST(a_log_that_is_no_file_of_the_run)
{
    char *out = fresh("full"), *log = cli_path(out, "metrics.jsonl");
    char *state = cli_path(out, "state.safetensors");
    train_ok((train_watch){.out = out, .stop_at = 3}, &whole);
    size_t n = 0, m = 0;
    unsigned char *before = cli_read(state, &n);
    ck_assert_int_eq(unlink(log), 0);
    for (int kind = 0; kind < 3; kind++) {
        ck_assert_int_eq(kind == 0   ? symlink("/dev/full", log)
                         : kind == 1 ? symlink("/nowhere/else", log)
                                     : mkfifo(log, 0600),
            0);
        train_fails((train_watch){.out = out, .resume = true}, &whole, CAPS_ERR_IO,
            kind == 1 ? "metrics.jsonl: is a symbolic link, need a regular file"
                      : "metrics.jsonl: is a pipe or a device, need a regular file");
        unsigned char *after = cli_read(state, &m);
        ck_assert(n == m && memcmp(before, after, n) == 0);
        free(after);
        ck_assert_int_eq(unlink(log), 0);
    }
    free(before);
    train_watch w = train_ok((train_watch){.out = out, .resume = true}, &whole);
    expect_whole(out, &w);
}
END_TEST

START_TEST(two_processes_in_one_directory)
{
    caps_error err = {0};
    char *out = fresh("locked");
    caps_metrics_log log = {0};
    train_ok((train_watch){.out = out, .stop_at = 3}, &whole);
    test_ok(caps_metrics_open(&log, cli_path(out, "metrics.jsonl"), 3, true, &err));
    uint64_t before = cli_tree_hash(out);
    train_fails((train_watch){.out = out, .resume = true}, &whole, CAPS_ERR_IO, "another process");
    ck_assert_uint_eq(cli_tree_hash(out), before);
    caps_metrics_close(&log);
    train_ok((train_watch){.out = out, .resume = true}, &whole);
}
END_TEST

/* A line of the log says what a run that was stopped at its step says, though the device was a step
 * further when it was written. */
START_TEST(logged_steps_are_those_they_say)
{
    caps_train_config config = whole;
    config.epochs = 0;
    config.max_steps = 2 * CAPS_METRICS_STEPS + 3;
    config.eval_every = 0;
    char *out = fresh("logged"), *stopped = fresh("logged-stopped");
    train_ok((train_watch){.out = out}, &config);
    ck_assert_uint_eq(train_lines(out, "step"), 2);
    train_watch w = train_ok((train_watch){.out = stopped, .stop_at = CAPS_METRICS_STEPS}, &config);
    size_t n = 0;
    char *text = (char *)cli_read(cli_path(out, "metrics.jsonl"), &n), *line = text;
    json_t *value = NULL;
    do { /* the first of type "step" */
        json_decref(value);
        value = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
        line = strchr(line, '\n') + 1;
    } while (strcmp(json_string_value(json_object_get(value, "type")), "step") != 0);
    ck_assert(json_integer_value(json_object_get(value, "step")) == CAPS_METRICS_STEPS);
    ck_assert(json_integer_value(json_object_get(value, "images_done")) == TRAIN_IMAGES);
    ck_assert(json_number_value(json_object_get(value, "loss")) == w.m.loss);
    ck_assert(json_number_value(json_object_get(value, "train_error_percent")) ==
              w.m.train_error_percent);
    ck_assert(json_number_value(json_object_get(value, "rate")) == w.m.lr);
    json_decref(value);
    free(text);
}
END_TEST

/* ---- evaluation ----------------------------------------------------------------------------- */

typedef struct seen {
    size_t n, errors;
    double sse;
} seen;

static void see(void *user, const caps_evaluated *image)
{
    seen *s = user;
    const int label = *image->label, true_label = *image->true_label;
    ck_assert_uint_eq(image->index, s->n);
    ck_assert_int_eq(true_label, (int)(image->index * 7 % 4)); /* cli_write_split */
    for (int j = 0; j < 4; j++)
        ck_assert(image->lengths[j] <= image->lengths[label]);
    ck_assert(image->right == (label == true_label));
    s->n++;
    s->errors += label != true_label;
    s->sse += image->sse;
}

START_TEST(evaluation_counts_every_image)
{
    caps_error err = {0};
    caps_checkpoint saved = {0};
    caps_dataset test = {0};
    double margin[2], sse[2];
    size_t errors[2];
    test_ok(caps_checkpoint_load(&saved, whole_model, NULL, &err));
    test_ok(test_dataset_load(&test, data, CAPS_SPLIT_TEST, 0, &err));
    for (int i = 0; i < 2; i++) {
        caps_model *model = NULL;
        caps_evaluation result = {0};
        seen s = {0};
        /* Batches that do not divide the images; one larger than all of them. */
        const caps_model_options options = {
            CAPS_OPTIONS(caps_model_options), .max_batch = i ? 100 : 9, .reconstruct = true};
        test_ok(caps_model_create(&model, test_runtime(), saved.spec, &options, &err));
        test_ok(caps_model_set_parameters(model, saved.parameters, &err));
        const caps_evaluate_options seeing = {
            CAPS_OPTIONS(caps_evaluate_options), .each = see, .each_user = &s};
        test_ok(caps_evaluate(model, &test, &seeing, &result, &err));
        ck_assert_uint_eq(result.n, TEST_IMAGES);
        ck_assert_uint_eq(s.n, TEST_IMAGES);
        ck_assert_uint_eq(s.errors, result.errors);
        ck_assert(result.error_percent == 100.0 * (double)s.errors / TEST_IMAGES);
        ck_assert_double_eq_tol(s.sse / TEST_IMAGES, result.reconstruction_sse, 1e-9);
        uint64_t all = 0, right = 0;
        ck_assert_uint_eq(result.classes, 4);
        for (size_t a = 0; a < 4; a++)
            for (size_t b = 0; b < 4; b++) {
                all += result.confusion[a * 4 + b];
                right += a == b ? result.confusion[a * 4 + b] : 0;
            }
        ck_assert_uint_eq(all, TEST_IMAGES);
        ck_assert_uint_eq(all - right, result.errors);
        margin[i] = result.class_loss;
        sse[i] = result.reconstruction_sse;
        errors[i] = result.errors;
        caps_evaluation_release(&result);
        caps_model_free(model);
    }
    ck_assert_uint_eq(errors[0], errors[1]);
    ck_assert_double_eq_tol(margin[0], margin[1], 1e-5 * margin[0]);
    ck_assert_double_eq_tol(sse[0], sse[1], 1e-5 * sse[0]);
    caps_dataset_release(&test);
    caps_checkpoint_release(&saved);
}
END_TEST

START_TEST(evaluation_leaves_totals_and_weights)
{
    caps_error err = {0};
    caps_dataset test = {0};
    caps_model *model = NULL;
    caps_evaluation result = {0};
    caps_model_totals before, after;
    const caps_model_options options = {
        CAPS_OPTIONS(caps_model_options), .max_batch = 10, .training = true, .adam = true};
    test_ok(test_dataset_load(&test, data, CAPS_SPLIT_TEST, 0, &err));
    test_ok(caps_model_create(&model, test_runtime(), whole.spec, &options, &err));
    test_ok(caps_model_initialise(model, CAPS_INITIALISER_SCALED, 3, &err));
    size_t n = caps_model_flat_count(model);
    float *weights[2] = {malloc(n * sizeof(float)), malloc(n * sizeof(float))};
    float images[10 * 144];
    int32_t labels[10];
    for (size_t i = 0; i < 10; i++) {
        caps_dataset_image(&test, i, CAPS_AUGMENT_NONE, 0, 0, images + i * 144);
        labels[i] = test.labels[i];
    }
    const caps_images batch = {10, images, labels, NULL};
    test_ok(caps_model_clear_totals(model, &err));
    test_ok(caps_model_set_batch(model, &batch, &err));
    test_ok(caps_model_forward(model, CAPS_MASK_LABEL, &err));
    test_ok(caps_model_add_totals(model, &err));
    test_ok(caps_model_get_totals(model, &before, &err));
    ck_assert(before.class_loss > 0 && before.sse > 0);
    test_ok(caps_model_get_parameters(model, weights[0], &err));
    test_ok(caps_evaluate(model, &test, NULL, &result, &err));
    test_ok(caps_model_get_totals(model, &after, &err));
    test_ok(caps_model_get_parameters(model, weights[1], &err));
    ck_assert(before.class_loss == after.class_loss && before.sse == after.sse);
    ck_assert(before.errors == after.errors);
    ck_assert(memcmp(weights[0], weights[1], n * sizeof(float)) == 0);
    caps_evaluation_release(&result);

    /* A set that does not fit is refused, and leaves nothing to release. */
    test.width = 11;
    ck_assert_int_eq(caps_evaluate(model, &test, NULL, &result, &err), CAPS_ERR_MISMATCH);
    ck_assert_ptr_null(result.confusion);
    free(weights[0]);
    free(weights[1]);
    caps_model_free(model);
    caps_dataset_release(&test);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("training");
    TCase *t = tcase_create("runs");
    tcase_set_timeout(t, 300);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_run_leaves_what_it_says);
    tcase_add_test(t, a_used_directory_is_refused);
    tcase_add_test(t, without_a_decoder);
    tcase_add_test(t, sgd_keeps_its_rate_and_no_moments);
    tcase_add_test(t, init_gives_the_parameters);
    tcase_add_loop_test(t, stopped_at_any_step, 1, 2 * STEPS + 1);
    tcase_add_test(t, stopped_at_every_step);
    tcase_add_test(t, a_time_limit_stops_too);
    tcase_add_test(t, killed_after_a_save);
    tcase_add_test(t, a_later_run_records_its_own_choices);
    tcase_add_test(t, extended_runs_go_on_as_one);
    tcase_add_test(t, shortened_runs_end_where_they_are);
    tcase_add_test(t, an_end_without_evaluation_gets_one);
    tcase_add_test(t, a_finished_run_stays_as_it_is);
    tcase_add_test(t, other_settings_are_refused);
    tcase_add_test(t, not_finite_names_step_and_layer);
    tcase_add_test(t, not_finite_is_as_without_running_ahead);
    tcase_add_test(t, not_finite_is_never_saved);
    tcase_add_test(t, logged_steps_are_those_they_say);
    tcase_add_test(t, a_place_that_cannot_be_written);
    tcase_add_test(t, a_model_that_cannot_be_written);
    tcase_add_test(t, a_log_that_is_no_file_of_the_run);
    tcase_add_test(t, two_processes_in_one_directory);
    tcase_add_test(t, evaluation_counts_every_image);
    tcase_add_test(t, evaluation_leaves_totals_and_weights);
    suite_add_tcase(s, t);
    return s;
}
