/* state_json.c: see state_json.h. */
#include "state_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "fail.h"
#include "json.h"
#include "schedule.h"

/* ---- capscl.state --------------------------------------------------------------------------- */

/* What follows from the step: stored for the reader, and checked when read. */
typedef struct position {
    uint64_t epoch, batch, images_done; /* batch: of the epoch, done */
} position;

static position position_of(uint64_t step, uint64_t images, size_t batch)
{
    uint64_t per_epoch = caps_schedule_steps_per_epoch((size_t)images, batch);
    position p = {.epoch = caps_schedule_epoch(step, per_epoch)};
    p.batch = step - (p.epoch - 1) * per_epoch;
    p.images_done = p.batch == per_epoch ? images : p.batch * batch;
    return p;
}

caps_status caps_state_format(
    char **text, const caps_state *s, const caps_train_config *config, caps_error *err)
{
    caps_status status = CAPS_OK;
    const position at = position_of(s->step, s->data_images, config->batch);
    json_t *object = json_object();
    json_t *totals =
        json_pack("{s:o, s:o, s:o}", "margin_loss", caps_json_double(s->totals.class_loss), "sse",
            caps_json_double(s->totals.sse), "errors", caps_json_double(s->totals.errors));
    const struct {
        const char *key;
        json_t *value;
    } rows[] = {
        {"step", caps_config_json_u64(s->step)},
        {"epoch", caps_config_json_u64(at.epoch)},
        {"batch", caps_config_json_u64(at.batch)},
        {"images_done", caps_config_json_u64(s->images_done)},
        {"ended", json_boolean(s->ended)},
        {"totals", totals},
        {"test_error_percent", caps_json_double(s->test_error_percent)},
        {"validation_error_percent", caps_json_double(s->validation_error_percent)},
        {"test_label_error_percent", caps_json_double(s->test_label_error_percent)},
        {"validation_label_error_percent", caps_json_double(s->validation_label_error_percent)},
        {"test_balanced_error_percent", caps_json_double(s->test_balanced_error_percent)},
        {"validation_balanced_error_percent",
            caps_json_double(s->validation_balanced_error_percent)},
        {"ema_test_error_percent", caps_json_double(s->ema_test_error_percent)},
        {"ema_validation_error_percent", caps_json_double(s->ema_validation_error_percent)},
        {"rate", caps_json_double(s->lr)},
        {"seconds", caps_json_double(s->seconds)},
        {"seed", caps_config_json_u64(config->seed)},
        {"data_images", caps_config_json_u64(s->data_images)},
        {"data_hash", caps_config_json_u64(s->data_hash)},
        {"images_per_second", caps_json_double(s->images_per_second)},
        {"peak_device_bytes", caps_config_json_u64(s->peak_device_bytes)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        caps_json_set(&object, rows[i].key, rows[i].value);
    if (!object)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for the state"));
    CAPS_TRY(caps_config_format(text, object, 0, err));
done:
    json_decref(object);
    return status;
}

static caps_status state_bad(caps_error *err, const char *path, const char *key, const char *need)
{
    return caps_fail(
        err, CAPS_ERR_FORMAT, "%s: capscl.state: %s is missing or not %s", path, key, need);
}

static bool is_real(const json_t *value, double *out)
{
    if (!json_is_number(value))
        return false;
    *out = json_number_value(value);
    return isfinite(*out) && *out >= 0;
}

static caps_status read_fields(
    caps_state *s, position *at, const json_t *object, const char *path, caps_error *err)
{
    const struct {
        const char *key;
        uint64_t *to;
    } numbers[] = {{"step", &s->step}, {"epoch", &at->epoch}, {"batch", &at->batch},
        {"images_done", &s->images_done}, {"data_images", &s->data_images},
        {"data_hash", &s->data_hash}, {"peak_device_bytes", &s->peak_device_bytes}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (!caps_config_get_u64(object, numbers[i].key, numbers[i].to))
            return state_bad(err, path, numbers[i].key, "a whole number");

    const json_t *totals = json_object_get(object, "totals");
    const struct {
        const json_t *from;
        const char *key;
        double *to;
        bool may_be_null;
    } reals[] = {{totals, "margin_loss", &s->totals.class_loss, false},
        {totals, "sse", &s->totals.sse, false}, {totals, "errors", &s->totals.errors, false},
        {object, "rate", &s->lr, true},
        {object, "test_error_percent", &s->test_error_percent, true},
        {object, "validation_error_percent", &s->validation_error_percent, true},
        {object, "test_label_error_percent", &s->test_label_error_percent, true},
        {object, "validation_label_error_percent", &s->validation_label_error_percent, true},
        {object, "test_balanced_error_percent", &s->test_balanced_error_percent, true},
        {object, "validation_balanced_error_percent", &s->validation_balanced_error_percent, true},
        {object, "ema_test_error_percent", &s->ema_test_error_percent, true},
        {object, "ema_validation_error_percent", &s->ema_validation_error_percent, true},
        {object, "seconds", &s->seconds, true},
        {object, "images_per_second", &s->images_per_second, true}};
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        const json_t *value = json_object_get(reals[i].from, reals[i].key);
        /* States from before there was such a number have none. */
        if (reals[i].may_be_null && (!value || json_is_null(value)))
            *reals[i].to = NAN;
        else if (!is_real(value, reals[i].to))
            return state_bad(err, path, reals[i].key, "a number >= 0");
    }
    const json_t *ended = json_object_get(object, "ended");
    if (!json_is_boolean(ended))
        return state_bad(err, path, "ended", "true or false");
    s->ended = json_is_true(ended);
    return CAPS_OK;
}

caps_status caps_state_parse(caps_state *s, const char *text, const char *path,
    const caps_train_config *config, caps_error *err)
{
    caps_status status;
    json_t *object = NULL;
    position stored = {0};
    CAPS_TRY(caps_json_parse(&object, text, strlen(text), path, CAPS_ERR_FORMAT, err));
    CAPS_TRY(read_fields(s, &stored, object, path, err));
    if (s->data_images == 0 || s->data_images > UINT32_MAX)
        CAPS_TRY(state_bad(err, path, "data_images", "a number of images"));
    const position at = position_of(s->step, s->data_images, config->batch);
    if (stored.epoch != at.epoch || stored.batch != at.batch || s->images_done != at.images_done)
        CAPS_TRY(state_bad(err, path, "epoch, batch or images_done", "what belongs to its step"));
    if (s->totals.errors > (double)s->images_done || floor(s->totals.errors) < s->totals.errors)
        CAPS_TRY(state_bad(err, path, "errors", "a number of its images"));
done:
    json_decref(object);
    return status;
}

/* ---- capscl.config -------------------------------------------------------------------------- */

caps_status caps_state_check_settings(
    const char *text, const char *path, const caps_train_config *config, caps_error *err)
{
    caps_status status;
    caps_train_config own = {CAPS_OPTIONS(caps_train_config)};
    json_t *object = NULL;
    CAPS_TRY(caps_json_parse(&object, text, strlen(text), path, CAPS_ERR_FORMAT, err));
    CAPS_TRY(caps_config_from_json(&own, object, path, err));
    /* The data set is compared by its content, where it is read. */
    CAPS_TRY(caps_config_check_same(&own, config, path, err));
done:
    caps_train_config_release(&own);
    json_decref(object);
    return status;
}
