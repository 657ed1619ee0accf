/* run_record.c: see run_record.h. */
#include "run_record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "fail.h"
#include "file.h"
#include "json.h"

#define MOST_METRICS ((size_t)1 << 30)
#define MOST_CONFIG  ((size_t)16 << 20)

static double read_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* Where it is a whole number that a double counts exactly; what is computed from others is
 * nonsense. */
static double read_count(const json_t *object, const char *key)
{
    const double x = read_number(object, key);
    return x >= 0 && x <= 0x1p53 ? x : NAN;
}

/* CAPS_ERR_FORMAT: no line of metrics. */
static caps_status parse_line(caps_metric *m, const char *line, size_t n)
{
    json_t *object = NULL;
    const caps_status status = caps_json_parse(&object, line, n, "", CAPS_ERR_FORMAT, NULL);
    if (status != CAPS_OK)
        return status;
    const char *type = json_string_value(json_object_get(object, "type"));
    *m = (caps_metric){.epoch = type && strcmp(type, "epoch") == 0,
        .epoch_number = read_count(object, "epoch"),
        .step = read_count(object, "step"),
        .images_done = read_count(object, "images_done"),
        .images_total = read_count(object, "images_total"),
        .test_images = read_count(object, "test_images"),
        .validation_images = read_count(object, "validation_images"),
        .loss = read_number(object, "loss"),
        .class_loss = read_number(object, "margin_loss"),
        .sse = read_number(object, "reconstruction_sse"),
        .train_error = read_number(object, "train_error_percent"),
        .test_error = read_number(object, "test_error_percent"),
        .validation_error = read_number(object, "validation_error_percent"),
        .test_label_error = read_number(object, "test_label_error_percent"),
        .validation_label_error = read_number(object, "validation_label_error_percent"),
        .lr = read_number(object, "rate"),
        .images_per_second = read_number(object, "images_per_second"),
        .seconds = read_number(object, "seconds"),
        .total_seconds = read_number(object, "total_seconds"),
        .peak_bytes = read_count(object, "peak_device_bytes")};
    if (m->epoch && json_is_array(json_object_get(object, "devices")))
        m->devices = json_incref(json_object_get(object, "devices"));
    const bool is_line = type && !isnan(m->step);
    if (!is_line)
        json_decref(m->devices);
    json_decref(object);
    return is_line ? CAPS_OK : CAPS_ERR_FORMAT;
}

/* An incomplete line ends the reading: a run that still goes on may be at it. */
static caps_status read_metrics(caps_run_record *run, const char *path, caps_error *err)
{
    caps_status status;
    unsigned char *text = NULL;
    size_t n = 0, size = 0;
    CAPS_TRY(caps_file_read_own(&text, &n, path, MOST_METRICS, err));
    for (const char *at = (const char *)text, *end = at + n; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        caps_metric m;
        const caps_status read = stop ? parse_line(&m, at, (size_t)(stop - at)) : CAPS_ERR_FORMAT;
        if (read == CAPS_ERR_MEMORY)
            CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path));
        if (read != CAPS_OK)
            break;
        if (run->count == size) {
            size = 2 * size + 256;
            caps_metric *more = realloc(run->rows, size * sizeof *more);
            if (!more)
                json_decref(m.devices);
            if (!more)
                CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path));
            run->rows = more;
        }
        run->rows[run->count++] = m;
        at = stop + 1;
    }
done:
    free(text);
    return status;
}

/* What follows from the lines: how far it is, and how long it took. */
static void sum_up(caps_run_record *run)
{
    const caps_train_config *c = &run->config;
    double before = 0;
    run->steps_per_epoch = run->all_steps = NAN;
    for (size_t i = 0; i < run->count; i++) {
        const caps_metric *m = &run->rows[i];
        run->steps = m->step;
        if (m->images_total > 0)
            run->steps_per_epoch = ceil(m->images_total / (double)c->batch);
        /* Earlier versions wrote no sum; there the clock begins anew with every process that
         * resumes. */
        run->seconds += m->seconds >= before ? m->seconds - before : m->seconds;
        if (isfinite(m->total_seconds))
            run->seconds = m->total_seconds;
        before = m->seconds;
    }
    if (c->epochs)
        run->all_steps = (double)c->epochs * run->steps_per_epoch;
    if (c->max_steps && !(run->all_steps <= (double)c->max_steps))
        run->all_steps = (double)c->max_steps;
    run->finished = run->count && run->rows[run->count - 1].epoch && run->steps >= run->all_steps;
}

/* The path of RUN/name where it exists; NULL where it does not. */
static caps_status look_for_file(char **path, const char *run, const char *name, caps_error *err)
{
    caps_path_kind kind;
    *path = caps_path_join(run, name);
    if (!*path)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", run);
    caps_status status = caps_path_look(&kind, *path, CAPS_ERR_NOT_FOUND, err);
    if (status == CAPS_OK)
        status = caps_file_check_own(*path, CAPS_ERR_FORMAT, err);
    if (status != CAPS_OK || kind == CAPS_PATH_NOTHING) {
        free(*path);
        *path = NULL;
    }
    return status;
}

static caps_status find_file(char **path, const char *run, const char *name, caps_error *err)
{
    caps_status status = look_for_file(path, run, name, err);
    if (status == CAPS_OK && !*path)
        status =
            caps_fail(err, CAPS_ERR_NOT_FOUND, "%s%s%s: does not exist, need the files of a run",
                run, run[strlen(run) - 1] == '/' ? "" : "/", name);
    return status;
}

caps_status caps_run_record_read(caps_run_record *run, const char *path, caps_error *err)
{
    caps_status status = CAPS_OK;
    char *config = NULL, *metrics = NULL;
    unsigned char *text = NULL;
    size_t n = 0;
    caps_path_kind kind;
    *run = (caps_run_record){.path = path, .config = {CAPS_OPTIONS(caps_train_config)}};
    CAPS_TRY(caps_path_look(&kind, path, CAPS_ERR_NOT_FOUND, err));
    if (kind != CAPS_PATH_DIRECTORY)
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_NOT_FOUND, "%s: is no directory, need that of a run", path));
    CAPS_TRY(find_file(&config, path, CAPS_RUN_CONFIG, err));
    CAPS_TRY(find_file(&metrics, path, CAPS_RUN_METRICS, err));
    CAPS_TRY(caps_file_read_own(&text, &n, config, MOST_CONFIG, err));
    CAPS_TRY(caps_json_parse(&run->json, (const char *)text, n, config, CAPS_ERR_FORMAT, err));
    CAPS_TRY(caps_train_config_load(&run->config, path, err));
    CAPS_TRY(read_metrics(run, metrics, err));
    /* A run that was just begun has only a state, which holds the parameters too. */
    CAPS_TRY(look_for_file(&run->model, path, CAPS_RUN_MODEL, err));
    if (!run->model)
        CAPS_TRY(look_for_file(&run->model, path, CAPS_RUN_STATE, err));
    if (!run->model)
        CAPS_TRY(find_file(&run->model, path, CAPS_RUN_MODEL, err));
    sum_up(run);
done:
    free(text);
    free(config);
    free(metrics);
    if (status != CAPS_OK)
        caps_run_record_release(run);
    return status;
}

void caps_run_record_release(caps_run_record *run)
{
    json_decref(run->json);
    caps_train_config_release(&run->config);
    for (size_t i = 0; i < run->count; i++)
        json_decref(run->rows[i].devices);
    free(run->rows);
    free(run->model);
    *run = (caps_run_record){0};
}

const caps_metric *caps_run_record_last_epoch(const caps_run_record *run)
{
    for (size_t i = run->count; i-- > 0;)
        if (run->rows[i].epoch)
            return &run->rows[i];
    return NULL;
}
