/* spec_difference.c: where two networks differ, in words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "spec.h"

static bool first_difference(
    const json_t *have, const json_t *need, const char *path, char *text, size_t bytes);

/* Of lists of layers, which are called by their names. */
static bool first_difference_in_list(
    const json_t *have, const json_t *need, const char *path, char *text, size_t bytes)
{
    if (json_array_size(have) != json_array_size(need)) {
        snprintf(text, bytes, "%s has %zu entries, need %zu", path, json_array_size(have),
            json_array_size(need));
        return true;
    }
    for (size_t i = 0; i < json_array_size(have); i++) {
        const json_t *x = json_array_get(have, i), *y = json_array_get(need, i);
        const char *name = json_string_value(json_object_get(x, "name"));
        if (!json_equal(x, y) && json_is_object(x) && json_is_object(y))
            return first_difference(x, y, name ? name : path, text, bytes);
    }
    return false;
}

/* The first field in which two specs differ: "class_caps.iterations is 3, need 2". */
static bool first_difference(
    const json_t *have, const json_t *need, const char *path, char *text, size_t bytes)
{
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)have, key, value)
    {
        const json_t *other = json_object_get(need, key);
        if (json_equal(value, other))
            continue;
        char field[64];
        snprintf(field, sizeof field, "%.30s%s%.30s", path, *path ? "." : "", key);
        if (json_is_object(value) && json_is_object(other) &&
            first_difference(value, other, field, text, bytes))
            return true;
        if (json_is_array(value) && json_is_array(other) &&
            first_difference_in_list(value, other, field, text, bytes))
            return true;
        char *x = caps_json_format(value, 0, 9), *y = other ? caps_json_format(other, 0, 9) : NULL;
        snprintf(text, bytes, "%s is %s, need %s", field, x ? x : "?", y ? y : "none");
        free(x);
        free(y);
        return true;
    }
    return false;
}

void caps_spec_difference(
    char *text, size_t bytes, const caps_model_spec *have, const caps_model_spec *need)
{
    char *x = caps_model_spec_format(have), *y = caps_model_spec_format(need);
    json_t *a = NULL, *b = NULL;
    const bool read = x && y &&
                      caps_json_parse(&a, x, strlen(x), "", CAPS_ERR_SPEC, NULL) == CAPS_OK &&
                      caps_json_parse(&b, y, strlen(y), "", CAPS_ERR_SPEC, NULL) == CAPS_OK;
    if (!read || !first_difference(a, b, "", text, bytes))
        snprintf(text, bytes, "it is of another network");
    json_decref(a);
    json_decref(b);
    free(x);
    free(y);
}
