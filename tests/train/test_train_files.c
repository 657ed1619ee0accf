/* The files of a run, and what is refused of them; settings; the schedule. */
#include <fcntl.h>
#include <stddef.h>

#include "train_support.h"

#include "config.h"
#include "metrics.h"
#include "safetensors.h"
#include "schedule.h"

/* Made once: a run that was stopped inside its second epoch. */
static char *work, *run_out;
static caps_train_config config;

static void set_up(void)
{
    work = test_directory();
    config = train_tiny(cli_make_data(work, "data", TRAIN_IMAGES, TEST_IMAGES, 1, 12, 12, 4));
    run_out = cli_path(work, "run");
    train_ok((train_watch){.out = run_out, .stop_at = 7}, &config);
}

static void tear_down(void)
{
    free(work);
}

/* ---- schedule ------------------------------------------------------------------------------- */

static caps_train_config train_defaults(void)
{
    caps_error err = {0};
    caps_train_config c = {CAPS_OPTIONS(caps_train_config)};
    test_ok(caps_train_config_init(&c, &err));
    return c;
}

START_TEST(rates)
{
    caps_train_config c = train_defaults();
    ck_assert(caps_learning_rate(&c, 0, 600) == 1e-3);
    ck_assert_double_eq_tol(caps_learning_rate(&c, 600, 600), 9e-4, 1e-18);
    ck_assert_double_eq_tol(caps_learning_rate(&c, 300, 600), 1e-3 * sqrt(0.9), 1e-18);
    ck_assert_double_eq_tol(caps_learning_rate(&c, 6000, 600), 1e-3 * pow(0.9, 10), 1e-18);
    c.lr_decay = 1;
    ck_assert(caps_learning_rate(&c, 12345, 600) == 1e-3);
    c.lr_linear_epochs = 10;
    ck_assert(caps_learning_rate(&c, 0, 600) == 1e-3);
    ck_assert_double_eq_tol(caps_learning_rate(&c, 1500, 600), 7.5e-4, 1e-18);
    ck_assert_double_eq_tol(caps_learning_rate(&c, 5999, 600), 1e-3 / 6000, 1e-18);
    ck_assert(caps_learning_rate(&c, 6000, 600) == 0);
    /* A rise over 100 steps, times the rest. */
    c.lr_warmup_steps = 100;
    ck_assert_double_eq_tol(caps_learning_rate(&c, 0, 600), 1e-5, 1e-18);
    ck_assert_double_eq_tol(caps_learning_rate(&c, 49, 600), 1e-3 * (1 - 49 / 6000.0) / 2, 1e-18);
    ck_assert_double_eq_tol(caps_learning_rate(&c, 99, 600), 1e-3 * (1 - 99 / 6000.0), 1e-18);
    ck_assert_double_eq_tol(caps_learning_rate(&c, 1500, 600), 7.5e-4, 1e-18);
    c.lr_warmup_steps = 0;
    ck_assert(caps_learning_rate(&c, 12345, 600) == 0);
    c.lr_decay = 0.5; /* both */
    ck_assert_double_eq_tol(caps_learning_rate(&c, 3000, 600), 1e-3 / 64, 1e-18);
    c.lr_min = 1e-4;
    ck_assert_double_eq_tol(caps_learning_rate(&c, 1200, 600), 2e-4, 1e-18);
    ck_assert(caps_learning_rate(&c, 2400, 600) == 1e-4);
    ck_assert(caps_learning_rate(&c, 12345, 600) == 1e-4);
    c.optimizer = CAPS_OPTIMIZER_SGD;
    ck_assert(caps_learning_rate(&c, 12345, 600) == 1e-3);
    caps_train_config_release(&c);
}
END_TEST

START_TEST(ends_and_epochs)
{
    ck_assert_uint_eq(caps_schedule_steps_per_epoch(60000, 100), 600);
    ck_assert_uint_eq(caps_schedule_steps_per_epoch(90, 20), 5);
    ck_assert_uint_eq(caps_schedule_steps_per_epoch(3, SIZE_MAX), 1);
    caps_train_config c = train_defaults();
    ck_assert_uint_eq(caps_schedule_last_step(&c, 600), 6000);
    c.max_steps = 7;
    ck_assert_uint_eq(caps_schedule_last_step(&c, 600), 7);
    c.max_steps = 7000;
    ck_assert_uint_eq(caps_schedule_last_step(&c, 600), 6000);
    c.epochs = 0;
    ck_assert_uint_eq(caps_schedule_last_step(&c, 600), 7000);
    c.epochs = UINT64_MAX;
    ck_assert_uint_eq(caps_schedule_last_step(&c, 600), 7000);
    ck_assert_uint_eq(caps_schedule_epoch(0, 5), 1);
    ck_assert_uint_eq(caps_schedule_epoch(5, 5), 1);
    ck_assert_uint_eq(caps_schedule_epoch(6, 5), 2);
    /* No run goes on where its straight line has ended. */
    caps_error err = {0};
    caps_train_config_release(&c);
    c = train_defaults();
    c.lr_linear_epochs = 3;
    for (uint64_t epochs = 0; epochs <= 4; epochs++)
        for (uint64_t steps = epochs ? 0 : 1; steps <= 22; steps++) {
            c.epochs = epochs;
            c.max_steps = steps;
            const bool longer = epochs ? epochs > 3 : steps > 3 * 7;
            ck_assert_int_eq(
                caps_schedule_check(&c, 7, &err), longer ? CAPS_ERR_ARGUMENT : CAPS_OK);
        }
    ck_assert_ptr_nonnull(strstr(err.message, "4 epochs at a learning rate that falls to 0 in 3"));
    c.lr_min = 1e-6;
    test_ok(caps_schedule_check(&c, 7, &err));
    c.lr_min = 0;
    c.lr_linear_epochs = 0;
    test_ok(caps_schedule_check(&c, 7, &err));
    caps_train_config_release(&c);
}
END_TEST

/* ---- settings ------------------------------------------------------------------------------- */

START_TEST(settings_go_through_text)
{
    caps_error err = {0};
    caps_train_config a = config, b = {CAPS_OPTIONS(caps_train_config)};
    json_t *object = NULL, *again = NULL;
    char *text = NULL;
    a.lr = nextafter(0.1, 1);
    a.lr_decay = nextafter(1, 0);
    a.seed = UINT64_MAX - 1;
    a.epochs = 0;
    a.max_steps = 1000000000000000;
    a.optimizer = CAPS_OPTIMIZER_SGD;
    a.augment = CAPS_AUGMENT_NONE;
    a.shuffle = false;
    a.limit = 77;
    a.eval_every = 0;
    a.save_every = 3;
    a.lr_linear_epochs = 12;
    a.lr_warmup_steps = 500;
    a.reduce = CAPS_REDUCE_BF16;
    snprintf(a.lr_multipliers, sizeof a.lr_multipliers, "primary=0.1,decoder.fc1=2");
    snprintf(a.init, sizeof a.init, "a \"quoted\" \\ name \xc3\xa9");
    test_ok(caps_config_to_json(&object, &a, &err));
    test_ok(caps_config_format(&text, object, 2, &err));
    again = json_loads(text, 0, NULL);
    test_ok(caps_config_from_json(&b, again, "text", &err));
    ck_assert(caps_model_spec_equal(a.spec, b.spec));
    ck_assert(a.lr == b.lr && a.lr_decay == b.lr_decay && a.seed == b.seed);
    ck_assert(a.epochs == b.epochs && a.max_steps == b.max_steps && a.batch == b.batch);
    ck_assert(a.optimizer == b.optimizer && a.augment == b.augment && a.shuffle == b.shuffle);
    ck_assert(a.limit == b.limit && a.eval_every == b.eval_every && a.save_every == b.save_every);
    ck_assert_str_eq(a.init, b.init);
    ck_assert_str_eq(a.lr_multipliers, b.lr_multipliers);
    ck_assert_uint_eq(a.lr_linear_epochs, b.lr_linear_epochs);
    ck_assert_uint_eq(a.lr_warmup_steps, b.lr_warmup_steps);
    ck_assert(a.reduce == b.reduce);
    ck_assert_str_eq(a.data, b.data);
    ck_assert_str_eq(a.arch, b.arch);
    ck_assert_str_eq(a.profile, b.profile);
    /* Numbers are written as short as they can be. */
    ck_assert_ptr_nonnull(strstr(text, "\"batch\": 20"));

    static const char *const broken[][2] = {{"batch", "0"}, {"batch", "-1"}, {"batch", "\"x\""},
        {"rate", "null"}, {"rate", "-1"}, {"rate_decay", "1.5"}, {"seed", "1.5"},
        {"optimizer", "\"adamw\""}, {"augment", "1"}, {"shuffle", "0"}, {"spec", "{}"},
        {"spec", "null"}, {"data", "7"}, {"profile", "\"p\""}, {"max_steps", "0"},
        {"rate_factors", "1"}, {"rate_linear_epochs", "-2"}, {"rate_linear_epochs", "1.5"},
        {"rate_warmup_steps", "-1"}, {"reduce", "\"half\""}};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        json_t *changed = json_copy(again);
        json_object_set_new(changed, broken[i][0], json_loads(broken[i][1], JSON_DECODE_ANY, NULL));
        err = (caps_error){0};
        caps_status status = caps_config_from_json(&b, changed, "text", &err);
        ck_assert_msg(status == CAPS_ERR_FORMAT || status == CAPS_ERR_SPEC, "%s %s: %s",
            broken[i][0], broken[i][1], caps_status_name(status));
        ck_assert_msg(strstr(err.message, "text") != NULL, "%s", err.message);
        json_decref(changed);
    }
    /* A run from before there were factors, or a straight line, had none. */
    json_object_del(again, "rate_warmup_steps");
    json_object_del(again, "reduce");
    json_object_del(again, "rate_factors");
    json_object_del(again, "rate_linear_epochs");
    caps_train_config_release(&b);
    test_ok(caps_config_from_json(&b, again, "text", &err));
    ck_assert_uint_eq(b.lr_linear_epochs, 0);
    ck_assert_uint_eq(b.lr_warmup_steps, 0);
    ck_assert(b.reduce == CAPS_REDUCE_EXACT);
    ck_assert_str_eq(b.lr_multipliers, "");
    caps_train_config_release(&b);
    json_decref(object);
    json_decref(again);
    free(text);
    snprintf(a.init, sizeof a.init, "\xff\xfe");
    ck_assert_int_eq(caps_config_to_json(&object, &a, &err), CAPS_ERR_ARGUMENT);
}
END_TEST

/* Structs begin with their size: none is an error, that of an older header is taken. */
START_TEST(structs_say_their_size)
{
    caps_error err = {0};
    caps_train_config none = {0}, older = {CAPS_OPTIONS(caps_train_config)};
    caps_train_config all = {CAPS_OPTIONS(caps_train_config), .save_every = 5};
    const caps_train_control control = {.out = run_out, .resume = true};
    caps_train_end end;
    caps_train_metrics m;
    ck_assert_int_eq(caps_train_config_init(&none, &err), CAPS_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "CAPS_OPTIONS(caps_train_config)"));
    ck_assert_ptr_null(none.spec);
    ck_assert_int_eq(caps_train_config_copy(&older, &none, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(
        caps_train_run(test_runtime(), &config, &control, &end, &m, &err), CAPS_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "CAPS_OPTIONS(caps_train_control)"));

    /* A header that ends before `save_every`: nothing behind its end is written, and it is 0. */
    older.size = offsetof(caps_train_config, save_every);
    older.save_every = 77;
    test_ok(caps_train_config_init(&older, &err));
    ck_assert_uint_eq(older.save_every, 77);
    ck_assert_uint_eq(older.size, offsetof(caps_train_config, save_every));
    test_ok(caps_train_config_copy(&all, &older, &err));
    ck_assert_uint_eq(all.save_every, 0);
    ck_assert_uint_eq(all.size, sizeof all);
    ck_assert(all.spec != older.spec && caps_model_spec_equal(all.spec, older.spec));
    caps_train_config_release(&all);
    caps_train_config_release(&older);
}
END_TEST

START_TEST(settings_of_a_run)
{
    caps_error err = {0};
    caps_train_config found = {CAPS_OPTIONS(caps_train_config)};
    char *out = cli_make_directory(work, "settings");
    ck_assert_int_eq(caps_train_config_load(&found, out, &err), CAPS_ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.message, "settings"));
    test_ok(caps_train_config_load(&found, run_out, &err));
    ck_assert_str_eq(found.data, config.data);
    ck_assert(caps_model_spec_equal(found.spec, config.spec));
    caps_train_config_release(&found);
    /* A torn file is not one that is lost. */
    cli_write_text(out, "config.json", "{\"arch\": \"mn");
    ck_assert_int_eq(caps_train_config_load(&found, out, &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.message, "config.json"));
    cli_write_text(out, "config.json", "[]");
    ck_assert_int_eq(caps_train_config_load(&found, out, &err), CAPS_ERR_FORMAT);
    ck_assert_int_eq(unlink(cli_path(out, "config.json")), 0);
    cli_write_text(out, "state.safetensors", "no tensors");
    ck_assert_int_eq(caps_train_config_load(&found, out, &err), CAPS_ERR_FORMAT);
}
END_TEST

START_TEST(finding_and_removing)
{
    caps_error err = {0};
    bool exists = true;
    char *out = cli_make_directory(work, "removing");
    test_ok(caps_train_run_exists(cli_path(work, "no/such/place"), &exists, &err));
    ck_assert(!exists);
    char *notes = cli_write_text(out, "notes.txt", "mine");
    test_ok(caps_train_run_exists(out, &exists, &err));
    ck_assert(!exists);
    static const char *const files[] = {
        "config.json", "metrics.jsonl", "model.safetensors", "state.safetensors"};
    for (size_t i = 0; i < 4; i++) {
        cli_write_text(out, files[i], "");
        test_ok(caps_train_run_exists(out, &exists, &err));
        ck_assert(exists);
        test_ok(caps_train_run_remove(out, &err));
        test_ok(caps_train_run_exists(out, &exists, &err));
        ck_assert(!exists);
    }
    ck_assert(caps_path_exists(notes));
    test_ok(caps_train_run_remove(cli_path(work, "no/such/place"), &err));
    ck_assert_int_eq(caps_train_run_exists(notes, &exists, &err), CAPS_ERR_IO);
    ck_assert_int_eq(caps_train_run_exists(cli_path(notes, "x"), &exists, &err), CAPS_ERR_IO);
    ck_assert_int_eq(mkdir(cli_path(out, "config.json"), 0777), 0);
    ck_assert_int_eq(caps_run_check_writable(out, &err), CAPS_ERR_IO);
    ck_assert_int_eq(caps_train_run_remove(out, &err), CAPS_ERR_IO);
    ck_assert_ptr_nonnull(strstr(err.message, "config.json"));
}
END_TEST

/* ---- metrics.jsonl -------------------------------------------------------------------------- */

#define LINES                                                                                      \
    "{\"type\":\"step\",\"step\":100}\n"                                                           \
    "{\"type\":\"epoch\",\"step\":150}\n"                                                          \
    "{\"type\":\"step\",\"step\":200}\n"                                                           \
    "{\"type\":\"step\",\"step\":300}\n"                                                           \
    "{\"type\":\"epoch\",\"step\":300}\n"

START_TEST(logs_are_cut_back)
{
    static const struct {
        const char *text;
        uint64_t step;
        bool ended;
        size_t lines;
    } rows[] = {
        {LINES, 1000, true, 5},
        {LINES, 300, true, 5},
        {LINES, 300, false, 4},
        {LINES, 299, true, 3},
        {LINES, 150, true, 2},
        {LINES, 150, false, 1},
        {LINES, 0, false, 0},
        {LINES "{\"type\":\"step\",\"step\":4", 1000, true, 5},    /* torn */
        {LINES "{\"type\":\"step\",\"step\":400}", 1000, true, 5}, /* no end of line */
        {LINES "\n", 1000, true, 5},
        {"not a line\n" LINES, 1000, true, 0},
        {"", 10, true, 0},
    };
    caps_error err = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *path = cli_write_text(work, "metrics.jsonl", rows[i].text);
        caps_metrics_log log = {0};
        test_ok(caps_metrics_open(&log, path, rows[i].step, rows[i].ended, &err));
        caps_metrics_close(&log);
        ck_assert_uint_eq(train_lines(work, NULL), rows[i].lines);
        size_t n = 0;
        char *left = (char *)cli_read(path, &n);
        ck_assert(strncmp(left, rows[i].text, n) == 0 || rows[i].lines == 0);
        free(left);
    }
}
END_TEST

START_TEST(lines_are_appended)
{
    caps_error err = {0};
    caps_metrics_log log = {0};
    const caps_train_metrics m = {.epoch = 2,
        .step = 300,
        .loss = 0.1f,
        .class_loss = 1.0 / 3,
        .reconstruction_sse = NAN,
        .train_error_percent = 12.5,
        .test_error_percent = NAN,
        .images_done = 1};
    char *path = cli_write_text(work, "metrics.jsonl", LINES);
    test_ok(caps_metrics_open(&log, path, 200, true, &err));
    test_ok(caps_metrics_append(&log, CAPS_METRICS_STEP, &m, &err));
    test_ok(caps_metrics_append(&log, CAPS_METRICS_EPOCH, &m, &err));
    test_ok(caps_metrics_sync(&log, &err));
    caps_metrics_close(&log);
    ck_assert_uint_eq(train_lines(work, NULL), 5);
    ck_assert_uint_eq(train_lines(work, "epoch"), 2);
    size_t n = 0;
    char *text = (char *)cli_read(path, &n);
    size_t first = n;
    while (first > 0 && text[first] != '{')
        first--;
    json_t *last = json_loads(text + first, JSON_REJECT_DUPLICATES, NULL);
    ck_assert(cli_number(last, "step") == 300);
    ck_assert(cli_number(last, "margin_loss") == 1.0 / 3);
    ck_assert(json_is_null(json_object_get(last, "reconstruction_sse")));
    ck_assert(json_is_null(json_object_get(last, "test_error_percent")));
    json_decref(last);
    free(text);

    err = (caps_error){0};
    ck_assert_int_eq(caps_metrics_open(&log, work, 0, true, &err), CAPS_ERR_IO);
    ck_assert_int_eq(caps_metrics_open(&log, "/dev/full", 0, true, &err), CAPS_ERR_IO);
    ck_assert_str_eq(err.message, "/dev/full: is a pipe or a device, need a regular file");
    char *full = cli_path(work, "full.jsonl");
    test_ok(caps_metrics_open(&log, full, 0, true, &err));
    const int device = open("/dev/full", O_WRONLY);
    ck_assert_int_eq(dup2(device, log.fd), log.fd); /* the disk fills up */
    close(device);
    ck_assert_int_eq(caps_metrics_append(&log, CAPS_METRICS_STEP, &m, &err), CAPS_ERR_IO);
    ck_assert_ptr_nonnull(strstr(err.message, "full.jsonl: cannot write: No space left"));
    caps_metrics_close(&log);
}
END_TEST

/* ---- state.safetensors ---------------------------------------------------------------------- */

/* The good state with one thing changed. */
typedef struct damage {
    const char *what; /* in the message */
    const char
        *tensor; /* "-name" without it, "+name" with one more, "name" with its first number */
    float value;
    int shape;       /* adds one to a tensor's first size, and as many zeros */
    const char *key; /* of the metadata: NULL text leaves it out */
    const char *text;
    const char *field; /* of capscl.state: its JSON value */
    const char *json;
    caps_status status; /* 0: CAPS_ERR_FORMAT */
} damage;

static const damage damages[] = {
    {.what = "tensor conv1.bias is missing", .tensor = "-conv1.bias"},
    {.what = "tensor optimizer.m.conv1.bias is missing", .tensor = "-optimizer.m.conv1.bias"},
    {.what = "tensor optimizer.v.decoder.fc2.weight is missing",
        .tensor = "-optimizer.v.decoder.fc2.weight"},
    {.what = "tensor conv3.weight is none", .tensor = "+conv3.weight"},
    {.what = "tensor optimizer.w.conv1.bias is none", .tensor = "+optimizer.w.conv1.bias"},
    {.what = "tensor conv1.weight: element 0 is not finite",
        .tensor = "conv1.weight",
        .value = NAN},
    {.what = "tensor optimizer.m.primary.bias: element 0 is not finite",
        .tensor = "optimizer.m.primary.bias",
        .value = INFINITY},
    {.what = "tensor optimizer.v.primary.bias: element 0 is -1",
        .tensor = "optimizer.v.primary.bias",
        .value = -1},
    {.what = "tensor conv1.bias: shape is [9], need [8]", .tensor = "conv1.bias", .shape = 1},
    {.what = "tensor optimizer.v.conv1.bias: shape is [9], need [8]",
        .tensor = "optimizer.v.conv1.bias",
        .shape = 1},
    {.what = "no capscl.format", .key = "capscl.format"},
    {.what = "capscl.format is '2'", .key = "capscl.format", .text = "2"},
    {.what = "no capscl.state", .key = "capscl.state"},
    {.what = "not valid JSON", .key = "capscl.state", .text = "{\"step\": "},
    {.what = "step", .key = "capscl.state", .text = "[]"},
    {.what = "no capscl.config", .key = "capscl.config"},
    {.what = "not valid JSON", .key = "capscl.config", .text = "x"},
    {.what = "state.safetensors", .key = "capscl.config", .text = "{}"},
    {.what = "no capscl.spec", .key = "capscl.spec"},
    {.what = "state.safetensors", .key = "capscl.spec", .text = "{}"},
    {.what = "capscl.spec is not the spec",
        .key = "capscl.spec",
        .text = "{\"input\": [1,28,28], \"classes\": 10,"
                " \"conv1\": {\"channels\": 8, \"kernel\": 3, \"stride\": 1},"
                " \"primary\": {\"types\": 4, \"dim\": 4, \"kernel\": 3, \"stride\": 2},"
                " \"class_caps\": {\"dim\": 6, \"iterations\": 2}}"},
    {.what = "step", .field = "step", .json = "-1"},
    {.what = "step", .field = "step", .json = "7.5"},
    {.what = "belongs to its step", .field = "step", .json = "8"},
    {.what = "belongs to its step", .field = "epoch", .json = "1"},
    {.what = "belongs to its step", .field = "batch", .json = "3"},
    {.what = "belongs to its step", .field = "images_done", .json = "41"},
    {.what = "ended", .field = "ended", .json = "1"},
    {.what = "margin_loss", .field = "totals", .json = "{}"},
    {.what = "sse", .field = "totals", .json = "{\"margin_loss\":1,\"sse\":-1,\"errors\":1}"},
    {.what = "errors", .field = "totals", .json = "{\"margin_loss\":1,\"sse\":1,\"errors\":41}"},
    {.what = "errors", .field = "totals", .json = "{\"margin_loss\":1,\"sse\":1,\"errors\":1.5}"},
    {.what = "data_images", .field = "data_images", .json = "0"},
    {.what = "other training images",
        .field = "data_hash",
        .json = "5",
        .status = CAPS_ERR_MISMATCH},
};

static void write_damaged(const char *path, const caps_safetensors *good, const damage *d)
{
    caps_error err = {0};
    caps_st_tensor tensors[64];
    caps_st_pair pairs[8];
    size_t n = 0, m = 0;
    void *owned = NULL;
    char *text = NULL;
    ck_assert_uint_lt(good->count, 60);
    for (size_t i = 0; i < good->count; i++) {
        caps_st_tensor t = good->tensors[i];
        if (d->tensor && d->tensor[0] == '-' && strcmp(d->tensor + 1, t.name) == 0)
            continue;
        if (d->tensor && strcmp(d->tensor, t.name) == 0) {
            owned = calloc(1, t.bytes * 2);
            memcpy(owned, t.data, t.bytes);
            if (d->shape) {
                t.bytes += t.bytes / t.shape[0];
                t.shape[0]++;
            } else {
                memcpy(owned, &d->value, sizeof d->value);
            }
            t.data = owned;
        }
        tensors[n++] = t;
    }
    if (d->tensor && d->tensor[0] == '+') {
        tensors[n] = good->tensors[0];
        tensors[n++].name = d->tensor + 1;
    }
    for (size_t i = 0; i < good->metadata_count; i++) {
        caps_st_pair pair = good->metadata[i];
        if (d->key && strcmp(d->key, pair.key) == 0) {
            if (!d->text)
                continue;
            pair.value = d->text;
        }
        if (d->field && strcmp(pair.key, "capscl.state") == 0) {
            json_t *state = json_loads(pair.value, 0, NULL);
            ck_assert(json_object_get(state, d->field) != NULL);
            json_object_set_new(state, d->field, json_loads(d->json, JSON_DECODE_ANY, NULL));
            pair.value = text = json_dumps(state, JSON_COMPACT);
            json_decref(state);
        }
        pairs[m++] = pair;
    }
    test_ok(caps_safetensors_save(path, tensors, n, pairs, m, &err));
    free(owned);
    free(text);
}

START_TEST(damaged_states_are_refused)
{
    const damage *d = &damages[_i];
    caps_error err = {0};
    caps_safetensors good = {0};
    char name[32];
    snprintf(name, sizeof name, "damaged-%d", _i);
    char *out = cli_make_directory(work, name), *path = cli_path(out, "state.safetensors");
    test_ok(caps_safetensors_load(&good, cli_path(run_out, "state.safetensors"), &err));
    write_damaged(path, &good, d);
    caps_safetensors_release(&good);
    uint64_t before = cli_tree_hash(out);
    train_watch w = train_fails((train_watch){.out = out, .resume = true}, &config,
        d->status ? d->status : CAPS_ERR_FORMAT, d->what);
    ck_assert_msg(strstr(w.err.message, "state.safetensors") != NULL, "%s", w.err.message);
    ck_assert_uint_eq(cli_tree_hash(out), before);
}
END_TEST

START_TEST(cut_states_are_refused)
{
    size_t n = 0;
    unsigned char *good = cli_read(cli_path(run_out, "state.safetensors"), &n);
    char *out = cli_make_directory(work, "cut"), *path = cli_path(out, "state.safetensors");
    const size_t lengths[] = {0, 7, 8, 100, n / 2, n - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        cli_write(path, good, lengths[i]);
        train_fails((train_watch){.out = out, .resume = true}, &config, CAPS_ERR_FORMAT,
            "state.safetensors");
    }
    ck_assert_int_eq(unlink(path), 0);
    train_fails((train_watch){.out = out, .resume = true}, &config, CAPS_ERR_NOT_FOUND,
        "state.safetensors");
    /* The whole of it, without anything else, is enough. */
    cli_write(path, good, n);
    train_watch w = train_ok((train_watch){.out = out, .resume = true}, &config);
    ck_assert_uint_eq(w.m.resumed_from_step, 7);
    ck_assert_int_eq(w.end, CAPS_TRAIN_FINISHED);
    free(good);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("files of a run");
    TCase *t = tcase_create("files");
    tcase_set_timeout(t, 300);
    tcase_add_unchecked_fixture(t, set_up, tear_down);
    tcase_add_test(t, rates);
    tcase_add_test(t, ends_and_epochs);
    tcase_add_test(t, settings_go_through_text);
    tcase_add_test(t, structs_say_their_size);
    tcase_add_test(t, settings_of_a_run);
    tcase_add_test(t, finding_and_removing);
    tcase_add_test(t, logs_are_cut_back);
    tcase_add_test(t, lines_are_appended);
    tcase_add_loop_test(
        t, damaged_states_are_refused, 0, (int)(sizeof damages / sizeof damages[0]));
    tcase_add_test(t, cut_states_are_refused);
    suite_add_tcase(s, t);
    return s;
}
