/* class_names.c: how the classes are called; no part of a spec's JSON, but kept beside it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "json.h"
#include "spec.h"
#include "text.h"

static void names_forget(caps_model_spec *spec)
{
    free(spec->class_names);
    spec->class_names = NULL;
    spec->info.has_class_names = false;
}

static caps_status names_make(caps_model_spec *spec, caps_error *err)
{
    spec->class_names = calloc(spec->classes, sizeof *spec->class_names);
    spec->info.has_class_names = spec->class_names != NULL;
    return spec->class_names
               ? CAPS_OK
               : caps_fail(err, CAPS_ERR_MEMORY, "out of memory for names of classes");
}

const char *caps_class_name(const caps_model_spec *spec, size_t j, char *text)
{
    if (spec->class_names && j < spec->classes)
        snprintf(text, CAPS_CLASS_NAME, "%s", spec->class_names[j]);
    else
        snprintf(text, CAPS_CLASS_NAME, "%zu", j);
    return text;
}

caps_status caps_class_names_set(
    caps_model_spec *spec, char *const *names, size_t count, caps_error *err)
{
    names_forget(spec);
    if (!names || count != spec->classes)
        return CAPS_OK;
    /* Cut, two names might be the same. */
    for (size_t j = 0; j < count; j++)
        if (strlen(names[j]) >= CAPS_CLASS_NAME)
            return caps_fail(err, CAPS_ERR_FORMAT,
                "the name of class %zu has %zu bytes, need at most %d", j, strlen(names[j]),
                CAPS_CLASS_NAME - 1);
        else if (!caps_is_text(names[j]))
            return caps_fail(err, CAPS_ERR_FORMAT,
                "the name of class %zu, '%s', has control characters or is not UTF-8, need text", j,
                names[j]);
    caps_status status = names_make(spec, err);
    for (size_t j = 0; status == CAPS_OK && j < count; j++)
        memcpy(spec->class_names[j], names[j], strlen(names[j]) + 1);
    return status;
}

char *caps_class_names_format(const caps_model_spec *spec)
{
    json_t *list = json_array();
    char text[CAPS_CLASS_NAME];
    for (size_t j = 0; j < spec->classes; j++)
        caps_json_append(&list, json_string(caps_class_name(spec, j, text)));
    char *json = caps_json_format(list, 0, 9);
    json_decref(list);
    return json;
}

caps_status caps_class_names_parse(
    caps_model_spec *spec, const char *json, const char *where, caps_error *err)
{
    json_t *names = NULL;
    caps_status status;
    names_forget(spec);
    CAPS_TRY(caps_json_parse(&names, json, strlen(json), where, CAPS_ERR_FORMAT, err));
    if (!json_is_array(names) || json_array_size(names) != spec->classes)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: names of classes are no list of %zu texts",
            where, spec->classes));
    for (size_t j = 0; j < spec->classes; j++) {
        const char *name = json_string_value(json_array_get(names, j));
        if (!name || !*name || strlen(name) >= CAPS_CLASS_NAME)
            CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
                "%s: name %zu of the classes is no text of 1 to %d bytes", where, j,
                CAPS_CLASS_NAME - 1));
        if (!caps_is_text(name))
            CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
                "%s: name %zu of the classes, '%s', has control characters, need text", where, j,
                name));
    }
    CAPS_TRY(names_make(spec, err));
    for (size_t j = 0; j < spec->classes; j++) {
        const char *name = json_string_value(json_array_get(names, j));
        memcpy(spec->class_names[j], name, strlen(name) + 1);
    }
done:
    json_decref(names);
    return status;
}
