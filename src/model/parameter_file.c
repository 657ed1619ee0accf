/* parameter_file.c: see parameter_file.h. */
#include "parameter_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "loss.h"

caps_status caps_network_texts_init(caps_network_texts *t, const caps_model_spec *spec,
    const caps_loss *loss, const char *path, caps_error *err)
{
    const bool named = caps_model_spec_info(spec)->has_class_names,
               plain = caps_loss_equal(loss, &CAPS_LOSS_DEFAULT);
    t->spec = caps_model_spec_format(spec);
    t->classes = named ? caps_class_names_format(spec) : NULL;
    t->loss = plain ? NULL : caps_loss_format(loss);
    if (!t->spec || (named && !t->classes) || (!plain && !t->loss))
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for the spec", path);
    return CAPS_OK;
}

void caps_network_texts_release(caps_network_texts *t)
{
    free(t->loss);
    free(t->classes);
    free(t->spec);
    *t = (caps_network_texts){0};
}

size_t caps_network_texts_list(
    caps_st_pair *metadata, const caps_network_texts *t, const caps_st_pair *own, size_t count)
{
    size_t n = 0;
    metadata[n++] = (caps_st_pair){"capscl.spec", t->spec};
    metadata[n++] = (caps_st_pair){"capscl.format", CAPS_FORMAT_VERSION};
    for (size_t i = 0; i < count; i++)
        metadata[n++] = own[i];
    if (t->classes)
        metadata[n++] = (caps_st_pair){"capscl.classes", t->classes};
    if (t->loss)
        metadata[n++] = (caps_st_pair){"capscl.loss", t->loss};
    return n;
}

caps_st_tensor caps_parameter_tensor(const caps_parameter *p, const char *name, const float *flat)
{
    caps_st_tensor t = {.name = name,
        .dtype = "F32",
        .ndim = p->ndim,
        .data = flat + p->first,
        .bytes = p->count * sizeof *flat};
    memcpy(t.shape, p->shape, (size_t)p->ndim * sizeof *p->shape);
    return t;
}

static void shape_text(char *text, size_t bytes, int ndim, const size_t *shape)
{
    size_t at = 0;
    text[0] = 0;
    for (int d = 0; d < ndim && at < bytes; d++)
        at += (size_t)snprintf(text + at, bytes - at, "%s%zu", d ? ", " : "", shape[d]);
}

caps_status caps_parameter_check(const caps_st_tensor *t, const char *name, const caps_parameter *p,
    const char *path, caps_error *err)
{
    char have[192], need[192];
    if (!t)
        return caps_fail(err, CAPS_ERR_FORMAT, "%s: tensor %s is missing", path, name);
    if (strcmp(t->dtype, "F32") != 0)
        return caps_fail(
            err, CAPS_ERR_FORMAT, "%s: tensor %s: dtype is %s, need F32", path, name, t->dtype);
    if (t->ndim == p->ndim && memcmp(t->shape, p->shape, (size_t)p->ndim * sizeof *p->shape) == 0)
        return CAPS_OK;
    shape_text(have, sizeof have, t->ndim, t->shape);
    shape_text(need, sizeof need, p->ndim, p->shape);
    return caps_fail(
        err, CAPS_ERR_FORMAT, "%s: tensor %s: shape is [%s], need [%s]", path, name, have, need);
}

caps_status caps_parameter_read(float *flat, const caps_st_tensor *t, const caps_parameter *p,
    const char *path, caps_error *err)
{
    float *values = flat + p->first; /* [count] */
    memcpy(values, t->data, p->count * sizeof *values);
    for (size_t i = 0; i < p->count; i++)
        if (!isfinite(values[i]))
            return caps_fail(err, CAPS_ERR_FORMAT,
                "%s: tensor %s: element %zu is not finite, need numbers", path, t->name, i);
    return CAPS_OK;
}
