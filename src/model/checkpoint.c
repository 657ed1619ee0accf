/* checkpoint.c: parameters and spec in a safetensors file (docs/checkpoint-format.md). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loss.h"
#include "model_state.h"
#include "parameter_file.h"

#include "fail.h"
#include "json.h"
#include "launch.h"

/* ---- writing -------------------------------------------------------------------------------- */

typedef caps_status save_file(const char *path, const caps_st_tensor *tensors, size_t count,
    const caps_st_pair *metadata, size_t metadata_count, caps_error *err);

static caps_status save_by(save_file *save, caps_model *m, const char *path, caps_error *err)
{
    caps_st_tensor tensors[CAPS_MOST_PARAMETERS];
    caps_status status = CAPS_OK;
    const void *flat = NULL;
    caps_network_texts texts = {0};
    caps_st_pair metadata[CAPS_NETWORK_PAIRS];
    CAPS_TRY(caps_network_texts_init(&texts, m->spec, &m->loss, path, err));
    CAPS_TRY(caps_tensor_map(m->rt, &m->parameters, &flat, err));
    for (size_t i = 0; i < m->network.parameter_count; i++) {
        const caps_parameter *p = &m->network.parameters[i].parameter;
        tensors[i] = caps_parameter_tensor(p, p->name, flat);
    }
    const size_t pairs = caps_network_texts_list(metadata, &texts, NULL, 0);
    CAPS_TRY(save(path, tensors, m->network.parameter_count, metadata, pairs, err));
done:
    caps_tensor_unmap(m->rt, &m->parameters, &flat, NULL);
    caps_network_texts_release(&texts);
    return status;
}

caps_status caps_model_save(caps_model *m, const char *path, caps_error *err)
{
    return save_by(caps_safetensors_save, m, path, err);
}

caps_status caps_model_save_own(caps_model *m, const char *path, caps_error *err)
{
    return save_by(caps_safetensors_save_own, m, path, err);
}

/* ---- reading -------------------------------------------------------------------------------- */

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

static caps_status mismatch(
    const char *path, const caps_model_spec *have, const caps_model_spec *need, caps_error *err)
{
    char *x = caps_model_spec_format(have), *y = caps_model_spec_format(need);
    json_t *a = NULL, *b = NULL;
    char text[256] = "it is of another network";
    if (x && y && caps_json_parse(&a, x, strlen(x), "", CAPS_ERR_SPEC, NULL) == CAPS_OK &&
        caps_json_parse(&b, y, strlen(y), "", CAPS_ERR_SPEC, NULL) == CAPS_OK)
        first_difference(a, b, "", text, sizeof text);
    json_decref(a);
    json_decref(b);
    free(x);
    free(y);
    return caps_fail(err, CAPS_ERR_MISMATCH, "%s: %s", path, text);
}

/* The spec of the file, which must be the one that is required, if one is; its loss and the names
 * of its classes. */
static caps_status read_spec(caps_checkpoint *c, const caps_safetensors *st, const char *path,
    const caps_model_spec *required, caps_error *err)
{
    const char *format = caps_safetensors_get_metadata(st, "capscl.format");
    const char *spec = caps_safetensors_get_metadata(st, "capscl.spec");
    const char *loss = caps_safetensors_get_metadata(st, "capscl.loss");
    const char *names = caps_safetensors_get_metadata(st, "capscl.classes");
    caps_status status = CAPS_OK;
    if (format && strcmp(format, CAPS_FORMAT_VERSION) != 0)
        return caps_fail(err, CAPS_ERR_FORMAT, "%s: capscl.format is '%.16s', need '%s'", path,
            format, CAPS_FORMAT_VERSION);
    if (!spec && !required)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: no capscl.spec in its metadata, need one (or --arch FILE with train --init)",
            path);
    if (spec) {
        CAPS_TRY(caps_model_spec_parse(&c->spec, spec, path, err));
        c->has_spec = true;
        if (required && !caps_model_spec_equal(c->spec, required))
            CAPS_TRY(mismatch(path, c->spec, required, err));
    }
    if (required) {
        caps_model_spec_free(c->spec);
        CAPS_TRY(caps_model_spec_copy(&c->spec, required, err));
    }
    c->loss = CAPS_LOSS_DEFAULT;
    if (loss)
        CAPS_TRY(caps_loss_parse(&c->loss, loss, path, err));
    if (names && !caps_model_spec_info(c->spec)->has_class_names)
        CAPS_TRY(caps_class_names_parse(c->spec, names, path, err));
done:
    return status;
}

/* Names that are none of the network's. A state holds the optimizer's moments too. */
static caps_status check_extras(
    const caps_safetensors *st, const caps_network *network, const char *path, caps_error *err)
{
    const bool is_state = caps_safetensors_get_metadata(st, "capscl.state") != NULL;
    for (size_t t = 0; t < st->count; t++) {
        const char *name = st->tensors[t].name;
        bool known = is_state && strncmp(name, "optimizer.", 10) == 0;
        for (size_t i = 0; !known && i < network->parameter_count; i++)
            known = strcmp(network->parameters[i].name, name) == 0;
        if (!known)
            return caps_fail(err, CAPS_ERR_FORMAT,
                "%s: tensor %.64s is none of the network's, need only its parameters", path, name);
    }
    return CAPS_OK;
}

caps_status caps_checkpoint_load(
    caps_checkpoint *c, const char *path, const caps_model_spec *spec, caps_error *err)
{
    caps_safetensors st;
    caps_network network = {0};
    caps_status status;
    memset(c, 0, sizeof *c);
    status = caps_safetensors_load(&st, path, err);
    if (status != CAPS_OK)
        return status;
    CAPS_TRY(read_spec(c, &st, path, spec, err));
    CAPS_TRY(caps_network_init(&network, c->spec, err));
    CAPS_TRY(check_extras(&st, &network, path, err));
    /* A file that holds less than the network cannot make us allocate the network. */
    for (size_t i = 0; i < network.parameter_count; i++) {
        const caps_parameter *p = &network.parameters[i].parameter;
        CAPS_TRY(caps_parameter_check(caps_safetensors_get(&st, p->name), p->name, p, path, err));
    }
    c->count = network.elements;
    c->parameters = malloc(c->count * sizeof *c->parameters);
    if (!c->parameters) {
        status = caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for its parameters", path);
        goto done;
    }
    for (size_t i = 0; i < network.parameter_count; i++) {
        const caps_parameter *p = &network.parameters[i].parameter;
        CAPS_TRY(
            caps_parameter_read(c->parameters, caps_safetensors_get(&st, p->name), p, path, err));
    }
done:
    caps_network_release(&network);
    caps_safetensors_release(&st);
    if (status != CAPS_OK)
        caps_checkpoint_release(c);
    return status;
}

void caps_checkpoint_release(caps_checkpoint *c)
{
    free(c->parameters);
    caps_model_spec_free(c->spec);
    memset(c, 0, sizeof *c);
}
