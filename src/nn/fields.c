/* fields.c: see fields.h. */
#include "fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fail.h"
#include "json.h"

/* ---- messages ------------------------------------------------------------------------------- */

caps_status caps_section_refuse(const caps_section *s, const char *field, const char *problem,
    const char *need, caps_error *err)
{
    return caps_fail(err, CAPS_ERR_SPEC, "%s: %s%s%.64s %s, need %s", s->where, s->path,
        *s->path ? "." : "", field, problem, need);
}

static void append_name(char *list, size_t bytes, const char *name)
{
    const size_t at = strlen(list);
    snprintf(list + at, bytes - at, "%s%s", at ? ", " : "", name);
}

caps_status caps_section_check_keys(
    const caps_section *s, const char *const *known, const caps_field *fields, caps_error *err)
{
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)s->object, key, value)
    {
        char list[256] = "";
        bool found = false;
        for (size_t i = 0; known && known[i]; i++) {
            found = found || strcmp(known[i], key) == 0;
            append_name(list, sizeof list, known[i]);
        }
        for (const caps_field *f = fields; f && f->name; f++) {
            found = found || strcmp(f->name, key) == 0;
            append_name(list, sizeof list, f->name);
        }
        if (!found)
            return caps_fail(err, CAPS_ERR_SPEC,
                "%s: %s%s%.64s is no field of a spec, need one of %s", s->where, s->path,
                *s->path ? "." : "", key, list);
    }
    return CAPS_OK;
}

/* ---- reading -------------------------------------------------------------------------------- */

caps_status caps_section_size(size_t *out, const json_t *value, const caps_section *s,
    const char *field, size_t least, size_t most, caps_error *err)
{
    char need[64], problem[48];
    snprintf(need, sizeof need, "a whole number from %zu to %zu", least, most);
    if (!value)
        return caps_section_refuse(s, field, "is missing", need, err);
    if (!json_is_integer(value))
        return caps_section_refuse(s, field, "is not a whole number", need, err);
    const json_int_t n = json_integer_value(value);
    if (n < (json_int_t)least || n > (json_int_t)most) {
        snprintf(problem, sizeof problem, "is %lld", (long long)n);
        return caps_section_refuse(s, field, problem, need, err);
    }
    *out = (size_t)n;
    return CAPS_OK;
}

caps_status caps_section_sizes(size_t *out, size_t *count, const caps_section *s, const char *field,
    size_t most, caps_error *err)
{
    const json_t *list = json_object_get(s->object, field);
    if (!json_is_array(list))
        return caps_section_refuse(
            s, field, list ? "is not a list" : "is missing", "a list of layer sizes", err);
    *count = json_array_size(list);
    if (*count > most) {
        char problem[48], need[32];
        snprintf(problem, sizeof problem, "has %zu layers", *count);
        snprintf(need, sizeof need, "at most %zu", most);
        return caps_section_refuse(s, field, problem, need, err);
    }
    for (size_t i = 0; i < *count; i++) {
        caps_status status = caps_section_size(
            &out[i], json_array_get(list, i), s, field, 1, CAPS_FIELD_MOST_SIZE, err);
        if (status != CAPS_OK)
            return status;
    }
    return CAPS_OK;
}

static caps_status read_choice(
    int *out, const caps_field *f, const json_t *value, const caps_section *s, caps_error *err)
{
    const char *text = json_string_value(value);
    char need[128] = "";
    for (int i = 0; f->choices[i]; i++) {
        if (text && strcmp(text, f->choices[i]) == 0) {
            *out = i;
            return CAPS_OK;
        }
        const size_t at = strlen(need);
        snprintf(need + at, sizeof need - at, "%s\"%s\"", at ? " or " : "", f->choices[i]);
    }
    return caps_section_refuse(s, f->name, "is unknown", need, err);
}

static caps_status read_real(
    double *out, const caps_field *f, const json_t *value, const caps_section *s, caps_error *err)
{
    char need[96], problem[48];
    snprintf(
        need, sizeof need, "a number from %g to %s%g", f->least, f->open ? "below " : "", f->most);
    if (!json_is_number(value))
        return caps_section_refuse(s, f->name, value ? "is not a number" : "is missing", need, err);
    *out = json_number_value(value);
    if (*out >= f->least && (f->open ? *out < f->most : *out <= f->most))
        return CAPS_OK;
    snprintf(problem, sizeof problem, "is %g", *out);
    return caps_section_refuse(s, f->name, problem, need, err);
}

static caps_status read_object(
    void *to, const caps_field *f, const json_t *value, const caps_section *s, caps_error *err)
{
    static const char *const own[] = {"kind", NULL};
    int *variant = (int *)((char *)to + f->offset);
    char path[96], need[128] = "";
    caps_status status;
    if (!json_is_object(value))
        return caps_section_refuse(
            s, f->name, value ? "is not an object" : "is missing", "an object", err);
    snprintf(path, sizeof path, "%.40s%s%.40s", s->path, *s->path ? "." : "", f->name);
    const caps_section inner = {value, s->where, path};
    const char *kind = json_string_value(json_object_get(value, "kind"));
    for (int i = 0; f->variants[i].kind; i++) {
        if (kind && strcmp(kind, f->variants[i].kind) == 0) {
            *variant = i;
            CAPS_TRY(caps_section_check_keys(&inner, own, f->variants[i].fields, err));
            return caps_fields_read(to, f->variants[i].fields, &inner, err);
        }
        const size_t at = strlen(need);
        snprintf(need + at, sizeof need - at, "%s\"%s\"", at ? " or " : "", f->variants[i].kind);
    }
    status = caps_section_refuse(
        &inner, "kind", json_object_get(value, "kind") ? "is unknown" : "is missing", need, err);
done:
    return status;
}

/* What a field has where it is not written. */
static void set_default(void *member, const caps_field *f)
{
    switch (f->type) {
    case CAPS_FIELD_SIZE:
        *(size_t *)member = (size_t)f->fallback;
        break;
    case CAPS_FIELD_FLAG:
        *(bool *)member = f->fallback > 0;
        break;
    case CAPS_FIELD_REAL:
        *(double *)member = f->fallback;
        break;
    case CAPS_FIELD_CHOICE:
    case CAPS_FIELD_OBJECT:
        *(int *)member = (int)f->fallback;
        break;
    }
}

static caps_status read_field(
    void *to, const caps_field *f, const json_t *value, const caps_section *s, caps_error *err)
{
    void *member = (char *)to + f->offset;
    switch (f->type) {
    case CAPS_FIELD_SIZE:
        return caps_section_size(member, value, s, f->name, (size_t)f->least, (size_t)f->most, err);
    case CAPS_FIELD_FLAG:
        if (!json_is_boolean(value))
            return caps_section_refuse(s, f->name, "is not a boolean", "true or false", err);
        *(bool *)member = json_is_true(value);
        return CAPS_OK;
    case CAPS_FIELD_CHOICE:
        return read_choice(member, f, value, s, err);
    case CAPS_FIELD_REAL:
        return read_real(member, f, value, s, err);
    case CAPS_FIELD_OBJECT:
        return read_object(to, f, value, s, err);
    }
    return CAPS_OK;
}

caps_status caps_fields_read(
    void *to, const caps_field *fields, const caps_section *s, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (const caps_field *f = fields; f && f->name; f++) {
        const json_t *value = json_object_get(s->object, f->name);
        if (!value && !f->required)
            set_default((char *)to + f->offset, f);
        else
            CAPS_TRY(read_field(to, f, value, s, err));
    }
done:
    return status;
}

/* ---- writing -------------------------------------------------------------------------------- */

static bool has_default(const caps_field *f, const void *member)
{
    switch (f->type) {
    case CAPS_FIELD_SIZE:
        return *(const size_t *)member == (size_t)f->fallback;
    case CAPS_FIELD_FLAG:
        return *(const bool *)member == (f->fallback > 0);
    case CAPS_FIELD_CHOICE:
        return *(const int *)member == (int)f->fallback;
    case CAPS_FIELD_REAL:
        return !(fabs(*(const double *)member - f->fallback) > 0);
    case CAPS_FIELD_OBJECT:
        break;
    }
    return false;
}

static json_t *write_field(const caps_field *f, const void *from, bool all)
{
    const void *member = (const char *)from + f->offset;
    json_t *object;
    switch (f->type) {
    case CAPS_FIELD_SIZE:
        return json_integer((json_int_t) * (const size_t *)member);
    case CAPS_FIELD_FLAG:
        return json_boolean(*(const bool *)member);
    case CAPS_FIELD_CHOICE:
        return json_string(f->choices[*(const int *)member]);
    case CAPS_FIELD_REAL:
        return json_real(*(const double *)member);
    case CAPS_FIELD_OBJECT:
        object = json_object();
        const caps_field_variant *variant = &f->variants[*(const int *)member];
        caps_json_set(&object, "kind", json_string(variant->kind));
        caps_fields_write(&object, variant->fields, from, all);
        return object;
    }
    return NULL;
}

void caps_fields_write(json_t **to, const caps_field *fields, const void *from, bool all)
{
    for (const caps_field *f = fields; f && f->name; f++) {
        if (!all && !f->required && has_default(f, (const char *)from + f->offset))
            continue;
        caps_json_set(to, f->name, write_field(f, from, all));
    }
}

bool caps_fields_know(const caps_field *fields, const json_t *object, const char *path)
{
    const size_t first = strcspn(path, ".");
    for (const caps_field *f = fields; f && f->name; f++) {
        if (strncmp(f->name, path, first) != 0 || f->name[first])
            continue;
        if (!path[first])
            return f->type != CAPS_FIELD_OBJECT;
        if (f->type != CAPS_FIELD_OBJECT)
            return false;
        const json_t *inner = json_object_get(object, f->name);
        const char *kind = json_string_value(json_object_get(inner, "kind"));
        for (const caps_field_variant *v = f->variants; kind && v->kind; v++)
            if (strcmp(v->kind, kind) == 0)
                return caps_fields_know(v->fields, inner, path + first + 1);
    }
    return false;
}
