/* state.c: see state.h. */
#include "state.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "fail.h"
#include "file.h"
#include "parameter_file.h"
#include "schedule.h"
#include "state_json.h"

#define NAME_BYTES 96

/* The file's copies of every parameter: value, first and second moment, average. */
enum { VALUE, FIRST, SECOND, AVERAGE };
static const char *const prefixes[] = {"", "optimizer.m.", "optimizer.v.", "ema."};
#define COPIES (sizeof prefixes / sizeof prefixes[0])

static const float *copy_of(const caps_state *s, size_t copy)
{
    return copy == VALUE     ? s->values.parameters
           : copy == AVERAGE ? s->values.average
                             : s->values.moments[copy - FIRST];
}

/* A running statistic has no moments. */
static bool has_copy(const caps_model *m, size_t copy, size_t parameter)
{
    return copy == VALUE || copy == AVERAGE || !caps_model_is_statistic(m, parameter);
}

static void show_arrays(caps_state *s)
{
    s->values = (caps_model_view){
        s->arrays[VALUE], {s->arrays[FIRST], s->arrays[SECOND]}, s->arrays[AVERAGE]};
}

caps_status caps_state_begin(caps_state *s, float *parameters, size_t count,
    const caps_train_config *config, caps_error *err)
{
    const bool adam = config->optimizer == CAPS_OPTIMIZER_ADAM;
    const bool wanted[COPIES] = {[FIRST] = adam, [SECOND] = adam, [AVERAGE] = config->ema > 0};
    caps_state_drop(s);
    s->arrays[VALUE] = parameters;
    /* Memory that is only read stays the system's one page of zeros. */
    for (size_t i = FIRST; i < COPIES; i++)
        if (wanted[i] && !(s->arrays[i] = calloc(count, sizeof(float)))) {
            caps_state_drop(s);
            return caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for the state");
        }
    if (wanted[AVERAGE])
        memcpy(s->arrays[AVERAGE], parameters, count * sizeof *parameters);
    show_arrays(s);
    return CAPS_OK;
}

void caps_state_forget_errors(caps_state *s)
{
    s->test_error_percent = s->validation_error_percent = NAN;
    s->test_label_error_percent = s->validation_label_error_percent = NAN;
    s->test_balanced_error_percent = s->validation_balanced_error_percent = NAN;
    s->ema_test_error_percent = s->ema_validation_error_percent = NAN;
}

void caps_state_drop(caps_state *s)
{
    for (size_t i = 0; i < COPIES; i++) {
        free(s->arrays[i]);
        s->arrays[i] = NULL;
    }
    s->values = (caps_model_view){0};
}

caps_status caps_state_apply(const caps_state *s, caps_model *m, caps_error *err)
{
    caps_status status;
    const caps_model_view *v = &s->values;
    CAPS_TRY(caps_model_set_parameters(m, v->parameters, err));
    if (v->moments[0])
        CAPS_TRY(caps_model_set_moments(m, v->moments[0], v->moments[1], err));
    if (v->average)
        CAPS_TRY(caps_model_set_average(m, v->average, err));
done:
    return status;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* The first element that is not finite, or `count`. */
static size_t find_not_finite(const float *values, size_t count)
{
    size_t i = 0;
    while (i < count && isfinite(values[i]))
        i++;
    return i;
}

static caps_status check_finite(const caps_state *s, const caps_model *m, caps_error *err)
{
    for (size_t copy = 0; copy < COPIES; copy++)
        for (size_t i = 0; copy_of(s, copy) && i < caps_model_parameter_count(m); i++) {
            const caps_parameter *p = caps_model_parameter(m, i);
            if (!has_copy(m, copy, i))
                continue;
            if (find_not_finite(copy_of(s, copy) + p->first, p->count) < p->count)
                return caps_fail(err, CAPS_ERR_NOT_FINITE, "%s%s", prefixes[copy], p->name);
        }
    return CAPS_OK;
}

static caps_status write_file(const caps_state *s, const char *path, const caps_model *m,
    const caps_st_pair *metadata, size_t metadata_count, caps_error *err)
{
    size_t parameters = caps_model_parameter_count(m), n = 0;
    caps_status status = CAPS_OK;
    caps_st_tensor *tensors = calloc(COPIES * parameters, sizeof *tensors);
    char(*names)[NAME_BYTES] = malloc(COPIES * parameters * sizeof *names);
    if (!tensors || !names)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path));
    for (size_t copy = 0; copy < COPIES; copy++)
        for (size_t i = 0; copy_of(s, copy) && i < parameters; i++) {
            const caps_parameter *p = caps_model_parameter(m, i);
            if (!has_copy(m, copy, i))
                continue;
            snprintf(names[n], NAME_BYTES, "%s%s", prefixes[copy], p->name);
            tensors[n] = caps_parameter_tensor(p, names[n], copy_of(s, copy));
            n++;
        }
    CAPS_TRY(caps_safetensors_save_own(path, tensors, n, metadata, metadata_count, err));
done:
    free(names);
    free(tensors);
    return status;
}

caps_status caps_state_take(caps_state *s, caps_model *m, caps_error *err)
{
    caps_status status;
    caps_state_drop(s);
    CAPS_TRY(caps_model_map(m, &s->values, err));
    CAPS_TRY(check_finite(s, m, err));
done:
    if (status != CAPS_OK)
        caps_state_give_back(s, m, NULL);
    return status;
}

caps_status caps_state_give_back(caps_state *s, caps_model *m, caps_error *err)
{
    return caps_model_unmap(m, &s->values, err);
}

caps_status caps_state_save(const caps_state *s, const char *path, const caps_model *m,
    const caps_train_config *config, const char *config_text, caps_error *err)
{
    caps_status status = CAPS_OK;
    char *state = NULL;
    caps_network_texts texts = {0};
    CAPS_TRY(caps_network_texts_init(&texts, config->spec, &config->loss, path, err));
    CAPS_TRY(caps_state_format(&state, s, config, err));
    const caps_st_pair own[] = {{"capscl.state", state}, {"capscl.config", config_text}};
    caps_st_pair metadata[2 + CAPS_NETWORK_PAIRS];
    const size_t pairs = caps_network_texts_list(metadata, &texts, own, 2);
    CAPS_TRY(write_file(s, path, m, metadata, pairs, err));
done:
    caps_network_texts_release(&texts);
    free(state);
    return status;
}

/* ---- reading -------------------------------------------------------------------------------- */

static caps_status get_metadata(const char **text, const caps_safetensors *st, const char *key,
    const char *path, caps_error *err)
{
    *text = caps_safetensors_get_metadata(st, key);
    return *text ? CAPS_OK
                 : caps_fail(err, CAPS_ERR_FORMAT,
                       "%s: no %s in its metadata, need the state of a run", path, key);
}

static caps_status read_metadata(caps_state *s, const caps_safetensors *st, const char *path,
    const caps_train_config *config, caps_error *err)
{
    caps_status status;
    const char *format, *spec, *state, *settings;
    caps_model_spec *own = NULL;
    CAPS_TRY(get_metadata(&format, st, "capscl.format", path, err));
    CAPS_TRY(get_metadata(&spec, st, "capscl.spec", path, err));
    CAPS_TRY(get_metadata(&state, st, "capscl.state", path, err));
    CAPS_TRY(get_metadata(&settings, st, "capscl.config", path, err));
    if (strcmp(format, CAPS_FORMAT_VERSION) != 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT, "%s: capscl.format is '%.16s', need '%s'", path,
            format, CAPS_FORMAT_VERSION));
    CAPS_TRY(caps_state_check_settings(settings, path, config, err));
    status = caps_model_spec_parse(&own, spec, path, err);
    if (status == CAPS_ERR_SPEC) {
        status = CAPS_ERR_FORMAT;
        if (err)
            err->status = status;
    }
    CAPS_TRY(status);
    if (!caps_model_spec_equal(own, config->spec))
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
            "%s: capscl.spec is not the spec of its capscl.config, need both to agree", path));
    CAPS_TRY(caps_state_parse(s, state, path, config, err));
done:
    caps_model_spec_free(own);
    return status;
}

/* Names are unique in a file, so one that is not of the run shows in the number of tensors. */
static caps_status find_extra(const caps_safetensors *st, const caps_state *s, const caps_model *m,
    const char *path, caps_error *err)
{
    for (size_t t = 0; t < st->count; t++) {
        bool known = false;
        for (size_t copy = 0; copy < COPIES; copy++)
            for (size_t i = 0; copy_of(s, copy) && !known && i < caps_model_parameter_count(m);
                 i++) {
                char name[NAME_BYTES];
                snprintf(
                    name, sizeof name, "%s%s", prefixes[copy], caps_model_parameter(m, i)->name);
                known = has_copy(m, copy, i) && strcmp(name, st->tensors[t].name) == 0;
            }
        if (!known)
            return caps_fail(err, CAPS_ERR_FORMAT,
                "%s: tensor %.64s is none of the run's, need only parameters, moments and averages",
                path, st->tensors[t].name);
    }
    return CAPS_OK;
}

static caps_status read_tensors(caps_state *s, const caps_safetensors *st, const char *path,
    const caps_model *m, caps_error *err)
{
    for (size_t copy = 0; copy < COPIES; copy++)
        for (size_t i = 0; copy_of(s, copy) && i < caps_model_parameter_count(m); i++) {
            const caps_parameter *p = caps_model_parameter(m, i);
            char name[NAME_BYTES];
            if (!has_copy(m, copy, i))
                continue;
            snprintf(name, sizeof name, "%s%s", prefixes[copy], p->name);
            const caps_st_tensor *t = caps_safetensors_get(st, name);
            caps_status status = caps_parameter_check(t, name, p, path, err);
            if (status == CAPS_OK)
                status = caps_parameter_read(s->arrays[copy] + p->first, t, p, path, err);
            if (status != CAPS_OK)
                return status;
            const float *values = copy_of(s, copy) + p->first; /* [count] */
            for (size_t e = 0; copy == SECOND && e < p->count; e++)
                if (values[e] < 0)
                    return caps_fail(err, CAPS_ERR_FORMAT,
                        "%s: tensor %s: element %zu is %g, need >= 0", path, name, e,
                        (double)values[e]);
        }
    return find_extra(st, s, m, path, err);
}

caps_status caps_state_load(caps_state *s, const char *path, const caps_model *m,
    const caps_train_config *config, caps_error *err)
{
    caps_safetensors st = {0};
    caps_status status;
    memset(s, 0, sizeof *s);
    CAPS_TRY(caps_file_check_own(path, CAPS_ERR_FORMAT, err));
    CAPS_TRY(caps_safetensors_load(&st, path, err));
    CAPS_TRY(read_metadata(s, &st, path, config, err));
    float *parameters = malloc(caps_model_flat_count(m) * sizeof *parameters);
    if (!parameters)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path));
    CAPS_TRY(caps_state_begin(s, parameters, caps_model_flat_count(m), config, err));
    CAPS_TRY(read_tensors(s, &st, path, m, err));
done:
    caps_safetensors_release(&st);
    if (status != CAPS_OK)
        caps_state_drop(s);
    return status;
}
