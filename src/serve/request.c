/* request.c: see request.h. */
#include "request.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "json.h"

enum {
    NUMBER_BYTES = 32,      /* of a number as programs write it, and its comma */
    OTHER_BYTES = 16 * 1024 /* of all that is no image and no capsules */
};

const char *const caps_change_names[CAPS_CHANGE_COUNT] = {
    [CAPS_CHANGE_ROTATE] = "rotate",
    [CAPS_CHANGE_SHIFT_X] = "shift_x",
    [CAPS_CHANGE_SHIFT_Y] = "shift_y",
    [CAPS_CHANGE_SCALE] = "scale",
};

size_t caps_request_limit(const caps_explorer *e)
{
    size_t most = 0;
    for (size_t i = 0; i < e->options->count; i++) {
        const caps_model_info *info = e->models[i].info;
        const size_t capsules = info->classes * info->dim;
        most = info->pixels > most ? info->pixels : most;
        most = capsules > most ? capsules : most;
    }
    return OTHER_BYTES + most * NUMBER_BYTES;
}

void caps_request_release(caps_request *r)
{
    free(r->image);
    free(r->capsules);
    r->image = r->capsules = NULL;
}

/* ---- fields --------------------------------------------------------------------------------- */

/* A whole number from 0 to end - 1; without the field *out stays as it is, unless it is required.
 */
static caps_status read_whole(
    int64_t *out, const json_t *body, const char *name, size_t end, bool required, caps_error *err)
{
    const json_t *value = json_object_get(body, name);
    if (!value && !required)
        return CAPS_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) >= end)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            value ? "%s: need a whole number from 0 to %zu"
                  : "%s: missing, need a whole number from 0 to %zu",
            name, end - 1);
    *out = json_integer_value(value);
    return CAPS_OK;
}

static caps_status read_flag(bool *out, const json_t *body, const char *name, caps_error *err)
{
    const json_t *value = json_object_get(body, name);
    if (value && !json_is_boolean(value))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: need true or false", name);
    *out = json_is_true(value);
    return CAPS_OK;
}

static caps_status read_text(
    const char **out, const json_t *body, const char *name, caps_error *err)
{
    const json_t *value = json_object_get(body, name);
    if (value && !json_is_string(value))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: need a text", name);
    *out = json_string_value(value);
    return CAPS_OK;
}

/* Appends `n` numbers of a list, each from `least` to `most`. */
static caps_status read_list(float *out, const json_t *list, size_t n, const char *name,
    double least, double most, caps_error *err)
{
    if (!json_is_array(list) || json_array_size(list) != n)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: %zu numbers, need a list of %zu", name,
            json_array_size(list), n);
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(list, i);
        const double x = json_number_value(value);
        if (!json_is_number(value))
            return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: element %zu is no number", name, i);
        if (!(x >= least && x <= most))
            return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: element %zu is %g, need %g to %g", name,
                i, x, least, most);
        out[i] = (float)x;
    }
    return CAPS_OK;
}

static caps_status make_room(float **out, size_t n, caps_error *err)
{
    *out = calloc(n + 1, sizeof **out);
    return *out ? CAPS_OK : caps_fail(err, CAPS_ERR_MEMORY, "out of memory for a request");
}

/* What an image's values may be: 0 to 1, or, where the data have mean 0 and variance 1, any. */
static double range_of_image(const caps_explorer *e, double *least)
{
    const caps_dataset *ds = e->options->test ? e->options->test : e->options->train;
    const bool standardised = ds && ds->standardised;
    *least = standardised ? -1000 : 0;
    return standardised ? 1000 : 1;
}

static caps_status read_image(
    caps_request *r, const caps_explorer *e, const json_t *body, caps_error *err)
{
    const caps_model_info *info = e->models[r->model].info;
    const json_t *image = json_object_get(body, "image");
    double least;
    const double most = range_of_image(e, &least);
    caps_status status;
    if (!image)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "image: missing, need a list of %zu numbers (%zux%zux%zu)", info->pixels,
            info->input[0], info->input[1], info->input[2]);
    CAPS_TRY(make_room(&r->image, info->pixels, err));
    CAPS_TRY(read_list(r->image, image, info->pixels, "image", least, most, err));
done:
    return status;
}

static caps_status read_capsules(
    caps_request *r, const caps_explorer *e, const json_t *body, caps_error *err)
{
    const caps_model_info *info = e->models[r->model].info;
    const json_t *capsules = json_object_get(body, "capsules");
    caps_status status;
    if (!json_is_array(capsules) || json_array_size(capsules) != info->classes)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "capsules: %zu lists, need %zu of %zu numbers each", json_array_size(capsules),
            info->classes, info->dim);
    CAPS_TRY(make_room(&r->capsules, info->classes * info->dim, err));
    for (size_t j = 0; j < info->classes; j++)
        CAPS_TRY(read_list(r->capsules + j * info->dim, json_array_get(capsules, j), info->dim,
            "capsules", -1e6, 1e6, err));
done:
    return status;
}

static caps_status read_values(
    caps_request *r, const json_t *body, double least, double most, caps_error *err)
{
    const json_t *values = json_object_get(body, "values");
    const size_t n = json_array_size(values);
    if (!json_is_array(values) || n < 1 || n > CAPS_REQUEST_VALUES)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "values: %zu numbers, need a list of 1 to %d", n,
            CAPS_REQUEST_VALUES);
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(values, i);
        const double x = json_number_value(value);
        if (!json_is_number(value) || !(x >= least && x <= most))
            return caps_fail(err, CAPS_ERR_ARGUMENT,
                "values: element %zu: need a number from %g to %g", i, least, most);
        r->values[i] = x;
    }
    r->count = n;
    return CAPS_OK;
}

static caps_status read_class(caps_request *r, const caps_explorer *e, const json_t *body,
    const char *name, bool required, caps_error *err)
{
    int64_t class = -1;
    const caps_status status =
        read_whole(&class, body, name, e->models[r->model].info->classes, required, err);
    r->class = (int32_t) class;
    return status;
}

/* The label of an attack: `label`, or where an image has several `labels`. */
static caps_status read_labels(
    caps_request *r, const caps_explorer *e, const json_t *body, caps_error *err)
{
    const caps_model_info *info = e->models[r->model].info;
    const json_t *labels = json_object_get(body, "labels");
    float several[CAPS_MAX_LABELS];
    if (info->labels == 1) {
        const caps_status status = read_class(r, e, body, "label", true, err);
        r->labels[0] = r->class;
        return status;
    }
    const caps_status status =
        read_list(several, labels, info->labels, "labels", 0, (double)info->classes - 1, err);
    for (size_t i = 0; status == CAPS_OK && i < info->labels; i++) {
        r->labels[i] = (int32_t)several[i];
        if (several[i] > (float)r->labels[i])
            return caps_fail(
                err, CAPS_ERR_ARGUMENT, "labels: %g is no whole number", (double)several[i]);
    }
    return status;
}

/* ---- tasks ---------------------------------------------------------------------------------- */

static caps_status require_decoder(const caps_request *r, const caps_explorer *e, caps_error *err)
{
    if (e->models[r->model].info->has_decoder)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_NOT_FOUND, "model %zu has no decoder", r->model);
}

static caps_status read_predict(
    caps_request *r, const caps_explorer *e, const json_t *body, caps_error *err)
{
    caps_status status;
    CAPS_TRY(read_image(r, e, body, err));
    CAPS_TRY(read_flag(&r->routing, body, "routing", err));
    CAPS_TRY(read_class(r, e, body, "reconstruct_class", false, err));
    if (r->class >= 0)
        CAPS_TRY(require_decoder(r, e, err));
done:
    return status;
}

static caps_status read_decode(
    caps_request *r, const caps_explorer *e, const json_t *body, caps_error *err)
{
    caps_status status;
    CAPS_TRY(require_decoder(r, e, err));
    CAPS_TRY(read_capsules(r, e, body, err));
    CAPS_TRY(read_class(r, e, body, "class", true, err));
done:
    return status;
}

static caps_status read_sweep(
    caps_request *r, const caps_explorer *e, const json_t *body, caps_error *err)
{
    int64_t dimension = 0;
    caps_status status;
    CAPS_TRY(read_decode(r, e, body, err));
    CAPS_TRY(read_whole(&dimension, body, "dimension", e->models[r->model].info->dim, true, err));
    CAPS_TRY(read_values(r, body, -1e6, 1e6, err));
    r->dimension = (size_t)dimension;
done:
    return status;
}

static caps_status read_transform(
    caps_request *r, const caps_explorer *e, const json_t *body, caps_error *err)
{
    const size_t *size = e->models[r->model].info->input;
    const double far = (double)(size[1] > size[2] ? size[1] : size[2]);
    const char *kind = NULL;
    int found = -1;
    caps_status status;
    CAPS_TRY(read_text(&kind, body, "kind", err));
    for (int i = 0; i < CAPS_CHANGE_COUNT; i++)
        if (kind && strcmp(kind, caps_change_names[i]) == 0)
            found = i;
    if (found < 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT,
            "kind: '%.40s', need rotate, shift_x, shift_y or scale", kind ? kind : ""));
    r->change = (caps_change)found;
    CAPS_TRY(read_image(r, e, body, err));
    if (found == CAPS_CHANGE_SCALE)
        CAPS_TRY(read_values(r, body, 0.1, 10, err));
    else if (found == CAPS_CHANGE_ROTATE)
        CAPS_TRY(read_values(r, body, -360, 360, err));
    else
        CAPS_TRY(read_values(r, body, -far, far, err));
    CAPS_TRY(read_class(r, e, body, "class", false, err));
done:
    return status;
}

static caps_status read_attack(
    caps_request *r, const caps_explorer *e, const json_t *body, caps_error *err)
{
    const json_t *epsilon = json_object_get(body, "epsilon");
    double least;
    caps_status status;
    if (range_of_image(e, &least) > 1)
        return caps_fail(
            err, CAPS_ERR_NOT_FOUND, "the images of the data are not 0 to 1, which attacks need");
    if (!json_is_number(epsilon) ||
        !(json_number_value(epsilon) >= 0 && json_number_value(epsilon) <= 1))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "epsilon: need a number from 0 to 1");
    r->epsilon = json_number_value(epsilon);
    CAPS_TRY(read_image(r, e, body, err));
    CAPS_TRY(read_labels(r, e, body, err));
    r->class = -1;
done:
    return status;
}

/* What every body may have. */
static caps_status read_common(
    caps_request *r, const caps_explorer *e, const json_t *body, caps_error *err)
{
    int64_t model = 0;
    const char *stream = NULL;
    caps_status status;
    r->class = -1;
    r->sequence = -1;
    CAPS_TRY(read_whole(&model, body, "model", e->options->count, false, err));
    r->model = (size_t)model;
    CAPS_TRY(read_text(&stream, body, "stream", err));
    if (stream && (!*stream || strlen(stream) > CAPS_REQUEST_STREAM))
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT, "stream: %zu bytes, need 1 to %d",
            strlen(stream), CAPS_REQUEST_STREAM));
    if (stream)
        memcpy(r->stream, stream, strlen(stream) + 1);
    CAPS_TRY(read_whole(&r->sequence, body, "sequence", INT64_MAX, false, err));
done:
    return status;
}

caps_status caps_request_read(
    caps_request *r, const caps_explorer *e, const char *body, size_t n, caps_error *err)
{
    static caps_status (*const readers[])(
        caps_request *, const caps_explorer *, const json_t *, caps_error *) = {
        [CAPS_TASK_PREDICT] = read_predict,
        [CAPS_TASK_DECODE] = read_decode,
        [CAPS_TASK_ATTACK] = read_attack,
        [CAPS_TASK_SWEEP] = read_sweep,
        [CAPS_TASK_TRANSFORM] = read_transform,
    };
    json_t *value = NULL;
    caps_status status;
    CAPS_TRY(caps_json_parse(&value, body, n, "body", CAPS_ERR_ARGUMENT, err));
    if (!json_is_object(value))
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT, "body: not a JSON object, need one"));
    CAPS_TRY(read_common(r, e, value, err));
    CAPS_TRY(readers[r->task](r, e, value, err));
done:
    json_decref(value);
    if (status != CAPS_OK)
        caps_request_release(r);
    return status;
}

caps_status caps_query_number(
    size_t *out, const char *name, const char *text, size_t otherwise, size_t end, caps_error *err)
{
    const size_t digits = text ? strspn(text, "0123456789") : 0;
    *out = otherwise;
    if (text && digits > 0 && digits <= 15 && !text[digits])
        *out = (size_t)strtoull(text, NULL, 10);
    else if (text)
        *out = end;
    if (*out >= end)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "%s: '%.20s' is out of range, need a whole number from 0 to %zu", name,
            text ? text : "", end ? end - 1 : 0);
    return CAPS_OK;
}
