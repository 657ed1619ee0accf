/* train_support.h: a run of a few milliseconds, watched, stopped at a step, and what it left. */
#ifndef CAPS_TEST_TRAIN_SUPPORT_H
#define CAPS_TEST_TRAIN_SUPPORT_H

#include <math.h>

#include "../cli/cli_support.h"

enum {
    TRAIN_IMAGES = 90,
    TEST_IMAGES = 42,
    BATCH = 20,
    STEPS = 5 /* of an epoch, the last partial */
};

static inline caps_train_config train_tiny(const char *data)
{
    caps_error err = {0};
    caps_train_config config = {CAPS_OPTIONS(caps_train_config)};
    test_ok(caps_train_config_init(&config, &err));
    caps_model_spec_free(config.spec);
    test_ok(caps_model_spec_parse(&config.spec, TINY_SPEC, "tiny", &err));
    snprintf(config.arch, sizeof config.arch, "tiny");
    snprintf(config.data, sizeof config.data, "%s", data);
    config.epochs = 2;
    config.batch = BATCH;
    config.lr = 0.01;
    return config;
}

/* A spec like `from` but for one field; released with caps_model_spec_free. */
static inline caps_model_spec *train_changed_spec(
    const caps_model_spec *from, const char *kind, const char *field, const char *json)
{
    caps_error err = {0};
    caps_model_spec *spec = NULL;
    size_t changed;
    test_ok(caps_model_spec_copy(&spec, from, &err));
    test_ok(caps_model_spec_set(spec, kind, field, json, &changed, &err));
    ck_assert_uint_ge(changed, 1);
    return spec;
}

/* What one call of caps_train_run did. */
typedef struct train_watch {
    const char *out;
    bool resume;
    uint64_t stop_at; /* asks to stop at this step; 0: never */
    double time_limit_seconds;
    bool block_model;          /* puts a directory where model.safetensors is to be */
    const char *copy_at_saved; /* copies the state of step `copy_step` there */
    uint64_t copy_step;

    volatile int stop;
    int events[CAPS_TRAIN_LOG + 1];
    caps_train_end end;
    caps_train_metrics m, epoch; /* the result; the last epoch's */
    caps_error err;
} train_watch;

static inline void train_event(
    void *user, caps_train_event event, const caps_train_metrics *m, const char *text)
{
    train_watch *w = user;
    (void)text;
    w->events[event]++;
    if (event == CAPS_TRAIN_EPOCH)
        w->epoch = *m;
    if (event == CAPS_TRAIN_PROGRESS && m->step == w->stop_at)
        w->stop = 1;
    if (event == CAPS_TRAIN_STARTED && w->block_model)
        ck_assert_int_eq(mkdir(cli_path(w->out, "model.safetensors"), 0777), 0);
    if (event == CAPS_TRAIN_SAVED && w->copy_at_saved && m->step == w->copy_step) {
        size_t n = 0;
        unsigned char *state = cli_read(cli_path(w->out, "state.safetensors"), &n);
        cli_write(w->copy_at_saved, state, n);
        free(state);
    }
}

static inline caps_status train_run(train_watch *w, const caps_train_config *config)
{
    const caps_train_control control = {
        CAPS_OPTIONS(caps_train_control),
        .out = w->out,
        .resume = w->resume,
        .time_limit_seconds = w->time_limit_seconds,
        .stop = &w->stop,
        .event = train_event,
        .user = w,
    };
    return caps_train_run(test_runtime(), config, &control, &w->end, &w->m, &w->err);
}

static inline train_watch train_ok(train_watch w, const caps_train_config *config)
{
    caps_status status = train_run(&w, config);
    ck_assert_msg(status == CAPS_OK, "%s: %s", caps_status_name(status), w.err.message);
    return w;
}

/* It failed with this status and a line that holds `needle`. */
static inline train_watch train_fails(
    train_watch w, const caps_train_config *config, caps_status expected, const char *needle)
{
    caps_status status = train_run(&w, config);
    ck_assert_msg(status == expected, "%s, need %s: %s", caps_status_name(status),
        caps_status_name(expected), w.err.message);
    ck_assert_msg(w.err.status == expected, "%s in the error", caps_status_name(w.err.status));
    ck_assert_msg(strstr(w.err.message, needle) && !strchr(w.err.message, '\n'), "need '%s' in: %s",
        needle, w.err.message);
    return w;
}

/* Lines of RUN/metrics.jsonl of a type (NULL: all); each must be one JSON object. */
static inline size_t train_lines(const char *out, const char *type)
{
    size_t n = 0, lines = 0;
    char *text = (char *)cli_read(cli_path(out, "metrics.jsonl"), &n);
    ck_assert(n == 0 || text[n - 1] == '\n');
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *value = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        ck_assert_msg(json_is_object(value), "%s", line);
        const char *own = json_string_value(json_object_get(value, "type"));
        lines += !type || (own && strcmp(own, type) == 0);
        json_decref(value);
    }
    free(text);
    return lines;
}

/* All that does not hang on time is the same, to the last bit. */
static inline void train_expect_same(const caps_train_metrics *a, const caps_train_metrics *b)
{
    ck_assert_uint_eq(a->epoch, b->epoch);
    ck_assert_uint_eq(a->step, b->step);
    ck_assert_uint_eq(a->images_done, b->images_done);
    ck_assert_uint_eq(a->images_total, b->images_total);
    ck_assert(a->loss == b->loss && a->class_loss == b->class_loss);
    ck_assert(a->reconstruction_sse == b->reconstruction_sse);
    ck_assert(a->train_error_percent == b->train_error_percent);
    ck_assert(a->test_error_percent == b->test_error_percent);
    ck_assert(a->lr == b->lr);
}

#endif
