/* config_json.c: settings as JSON and back, by the table of config_table.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "config_table.h"
#include "fail.h"
#include "json.h"
#include "loss.h"
#include "text.h"

static caps_status json_no_memory(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for the settings");
}

json_t *caps_config_json_u64(uint64_t x)
{
    if (x <= INT64_MAX)
        return json_integer((json_int_t)x);
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, x);
    return json_string(text);
}

bool caps_config_u64(const json_t *value, uint64_t *out)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *out = (uint64_t)json_integer_value(value);
        return true;
    }
    const char *text = json_string_value(value);
    if (!text || text[0] < '0' || text[0] > '9')
        return false;
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return !*end && errno == 0;
}

bool caps_config_get_u64(const json_t *object, const char *key, uint64_t *out)
{
    return caps_config_u64(json_object_get(object, key), out);
}

caps_status caps_config_format(char **text, const json_t *object, size_t indent, caps_error *err)
{
    *text = caps_json_format_exact(object, indent);
    return *text ? CAPS_OK : json_no_memory(err);
}

/* ---- to JSON -------------------------------------------------------------------------------- */

/* The value of JSON text, which is freed. */
static json_t *json_of_text(char *text)
{
    json_t *value = NULL;
    if (text)
        (void)caps_json_parse(&value, text, strlen(text), "settings", CAPS_ERR_FORMAT, NULL);
    free(text);
    return value;
}

/* NULL: out of memory. */
static json_t *json_of_setting(const caps_setting *s, const caps_train_config *config)
{
    const void *at = caps_setting_at(s, config);
    switch (s->type) {
    case CAPS_SETTING_TEXT:
        return json_string_nocheck(at);
    case CAPS_SETTING_COUNT:
        return caps_config_json_u64(*(const uint64_t *)at);
    case CAPS_SETTING_SIZE:
        return caps_config_json_u64(*(const size_t *)at);
    case CAPS_SETTING_REAL:
        return caps_json_double(*(const double *)at);
    case CAPS_SETTING_SWITCH:
        return json_boolean(*(const bool *)at);
    case CAPS_SETTING_CHOICE:
        return json_string(s->value(caps_setting_choice(s, config)));
    case CAPS_SETTING_SPEC:
        return json_of_text(caps_model_spec_format(config->spec));
    case CAPS_SETTING_NAMES:
        return json_of_text(caps_class_names_format(config->spec));
    case CAPS_SETTING_LOSS:
        return caps_loss_to_json(&config->loss);
    }
    return NULL;
}

caps_status caps_config_to_json(json_t **out, const caps_train_config *config, caps_error *err)
{
    caps_status status = CAPS_OK;
    json_t *object = json_object();
    *out = NULL;
    for (size_t i = 0; i < caps_setting_count; i++) {
        const caps_setting *s = &caps_settings[i];
        if (s->type == CAPS_SETTING_NAMES && !caps_model_spec_info(config->spec)->has_class_names)
            continue;
        const char *text = s->type == CAPS_SETTING_TEXT ? caps_setting_at(s, config) : "";
        if (!caps_is_utf8(text))
            CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT,
                "train: %s '%s' is not UTF-8, need a name that is", s->key, text));
        caps_json_set(&object, s->key, json_of_setting(s, config));
    }
    if (!object)
        CAPS_TRY(json_no_memory(err));
    *out = json_incref(object);
done:
    json_decref(object);
    return status;
}

/* ---- from JSON ------------------------------------------------------------------------------ */

static caps_status json_bad_setting(
    const caps_setting *s, const char *where, const char *need, caps_error *err)
{
    return caps_fail(err, CAPS_ERR_FORMAT,
        "%s: %s is missing or not %s, need the settings of a run", where, s->key, need);
}

static caps_status json_read_text(
    const caps_setting *s, char *to, const json_t *value, const char *where, caps_error *err)
{
    const char *text = json_string_value(value);
    bool known = !s->value || (text && !*text);
    for (int i = 0; text && !known && s->value(i); i++)
        known = strcmp(text, s->value(i)) == 0;
    if (!text || strlen(text) >= s->bytes)
        return json_bad_setting(s, where, "a text of fitting length", err);
    if (!known)
        return json_bad_setting(s, where, "stored or fused", err);
    memcpy(to, text, strlen(text) + 1);
    return CAPS_OK;
}

static caps_status json_read_choice(
    const caps_setting *s, void *to, const json_t *value, const char *where, caps_error *err)
{
    const char *text = json_string_value(value);
    char need[96] = "";
    for (int i = 0; s->value(i); i++) {
        if (text && strcmp(text, s->value(i)) == 0) {
            memcpy(to, &i, s->bytes);
            return CAPS_OK;
        }
        const size_t at = strlen(need);
        snprintf(need + at, sizeof need - at, "%s%s", at ? " or " : "", s->value(i));
    }
    return json_bad_setting(s, where, need, err);
}

static caps_status json_read_number(
    const caps_setting *s, void *to, const json_t *value, const char *where, caps_error *err)
{
    uint64_t number;
    if (!caps_config_u64(value, &number))
        return json_bad_setting(s, where, "a whole number", err);
    if (s->type == CAPS_SETTING_SIZE && number > SIZE_MAX)
        return json_bad_setting(s, where, "small enough", err);
    if (s->type == CAPS_SETTING_SIZE)
        *(size_t *)to = (size_t)number;
    else
        *(uint64_t *)to = number;
    return CAPS_OK;
}

/* A value that has a reader of its own for JSON text. */
static caps_status json_read_object(const caps_setting *s, caps_train_config *config,
    const json_t *value, const char *where, caps_error *err)
{
    const bool right = s->type == CAPS_SETTING_NAMES ? json_is_array(value) : json_is_object(value);
    if (!right)
        return json_bad_setting(
            s, where, s->type == CAPS_SETTING_NAMES ? "a list" : "an object", err);
    char *text = caps_json_format(value, 0, 17);
    if (!text)
        return json_no_memory(err);
    caps_status status = CAPS_OK;
    if (s->type == CAPS_SETTING_SPEC)
        status = caps_model_spec_parse(&config->spec, text, where, err);
    else if (s->type == CAPS_SETTING_LOSS)
        status = caps_loss_parse(&config->loss, text, where, err);
    else
        status = caps_class_names_parse(config->spec, text, where, err);
    free(text);
    return status;
}

static caps_status json_read_setting(const caps_setting *s, caps_train_config *config,
    const json_t *value, const char *where, caps_error *err)
{
    void *to = (char *)config + s->offset;
    switch (s->type) {
    case CAPS_SETTING_TEXT:
        return json_read_text(s, to, value, where, err);
    case CAPS_SETTING_COUNT:
    case CAPS_SETTING_SIZE:
        return json_read_number(s, to, value, where, err);
    case CAPS_SETTING_REAL:
        if (!json_is_number(value))
            return json_bad_setting(s, where, "a number", err);
        *(double *)to = json_number_value(value);
        return CAPS_OK;
    case CAPS_SETTING_SWITCH:
        if (!json_is_boolean(value))
            return json_bad_setting(s, where, "true or false", err);
        *(bool *)to = json_is_true(value);
        return CAPS_OK;
    case CAPS_SETTING_CHOICE:
        return json_read_choice(s, to, value, where, err);
    case CAPS_SETTING_SPEC:
    case CAPS_SETTING_NAMES:
    case CAPS_SETTING_LOSS:
        break;
    }
    return json_read_object(s, config, value, where, err);
}

caps_status caps_config_from_json(
    caps_train_config *config, const json_t *object, const char *where, caps_error *err)
{
    caps_train_config c = {CAPS_OPTIONS(caps_train_config), .loss = CAPS_LOSS_DEFAULT};
    caps_status status = CAPS_OK;
    if (!json_is_object(object))
        return caps_fail(err, CAPS_ERR_FORMAT, "%s: not a JSON object, need one", where);
    /* The names of classes belong to the spec, which stands behind them. */
    for (int names = 0; names < 2; names++)
        for (size_t i = 0; i < caps_setting_count; i++) {
            const caps_setting *s = &caps_settings[i];
            const json_t *value = json_object_get(object, s->key);
            if ((s->type == CAPS_SETTING_NAMES) == (names == 1) && (value || !s->optional))
                CAPS_TRY(json_read_setting(s, &c, value, where, err));
        }
    status = caps_config_check(&c, err);
    if (status == CAPS_ERR_ARGUMENT)
        status = caps_fail_prefix(err, CAPS_ERR_FORMAT, "%s", where);
    CAPS_TRY(status);
    CAPS_TRY(caps_config_give(config, &c, err));
done:
    caps_train_config_release(&c);
    /* The spec is a part of this file: one that is wrong makes it the file's fault. */
    if (status == CAPS_ERR_SPEC) {
        status = CAPS_ERR_FORMAT;
        if (err)
            err->status = status;
    }
    return status;
}

caps_status caps_config_check_same(
    const caps_train_config *have, const caps_train_config *need, const char *path, caps_error *err)
{
    caps_status status = CAPS_OK;
    json_t *x = NULL, *y = NULL;
    char *a = NULL, *b = NULL;
    for (size_t i = 0; i < caps_setting_count && status == CAPS_OK; i++) {
        const caps_setting *s = &caps_settings[i];
        if (!s->decides)
            continue;
        x = json_of_setting(s, have);
        y = json_of_setting(s, need);
        if (!x || !y) {
            status = json_no_memory(err);
        } else if (!json_equal(x, y)) {
            a = caps_json_format(x, 0, 17);
            b = caps_json_format(y, 0, 17);
            status = caps_fail(err, CAPS_ERR_MISMATCH,
                "%s: %s of its run is %.256s, of these settings %.256s: need the same to go on",
                path, s->key, a ? a : "?", b ? b : "?");
            free(a);
            free(b);
        }
        json_decref(x);
        json_decref(y);
    }
    return status;
}
