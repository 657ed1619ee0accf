/* tuning.c: see tuning.h. The file is
 *
 *     {"capscl_tuning": 1, "kernels": "...", "device": "...",
 *      "choices": {"gemm 100x512x160 nt": {"variant": "packed", "milliseconds": 0.52}, ...},
 *      "speeds": {"7c15...": 845.2, ...}}
 *
 * Its name has a hash of the device's text, and the text itself is compared too. "kernels" is a
 * hash of the kernels' sources: what was measured with others says nothing. "speeds" has images/s of
 * training steps, by network; older files have none. */
#include "tuning.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "json.h"
#include "runtime_state.h"
#include "sources.h"

enum { FORMAT = 1, FILE_LIMIT = 4 << 20 };

struct caps_tuning {
    bool loaded;
    json_t *choices; /* object: key -> {variant, milliseconds}; NULL: none yet */
    json_t *speeds;  /* object: network -> images/s; NULL: none yet */
};

caps_tuning *caps_tuning_create(void)
{
    return calloc(1, sizeof(caps_tuning));
}

void caps_tuning_free(caps_tuning *t)
{
    if (!t)
        return;
    json_decref(t->choices);
    json_decref(t->speeds);
    free(t);
}

/* ---- the file ------------------------------------------------------------------------------- */

/* A measurement counts for this device, driver and kernel family only. */
char *caps_tuning_device_text(const caps_device_info *d, caps_family family)
{
    return caps_format("%s | %s | %s | %s | driver %s | %u units | %s kernels", d->platform,
        d->vendor, d->name, d->version, d->driver, d->compute_units, caps_family_name(family));
}

static char *device_text(const caps_runtime *rt)
{
    return caps_tuning_device_text(&rt->device, rt->family);
}

char *caps_tuning_path(const caps_runtime *rt)
{
    char *device = device_text(rt), *name = NULL, *path = NULL;
    if (rt->cache_dir && device)
        name = caps_format("tuning-%016llx.json",
            (unsigned long long)caps_hash(CAPS_HASH_START, device, strlen(device)));
    if (name)
        path = caps_path_join(rt->cache_dir, name);
    free(device);
    free(name);
    return path;
}

static void tuning_warn(caps_runtime *rt, const char *path, const char *why)
{
    caps_runtime_warn(
        rt, "%.200s is ignored, the next 'capscl tune' writes it anew: %.150s", path, why);
}

/* Why the file says nothing about this runtime, or NULL. */
static const char *tuning_reason(const json_t *root, const char *device)
{
    const char *kernels = json_string_value(json_object_get(root, "kernels"));
    const char *of = json_string_value(json_object_get(root, "device"));
    const json_t *choices = json_object_get(root, "choices"), *choice;
    const char *key;
    if (json_integer_value(json_object_get(root, "capscl_tuning")) != FORMAT || !kernels || !of ||
        !json_is_object(choices))
        return "it is no file of measured choices";
    if (strcmp(of, device) != 0)
        return "it was measured on another device or driver";
    char own[17];
    caps_sources_hash(own, NULL);
    if (strcmp(kernels, own) != 0)
        return "it was measured with other kernels";
    json_object_foreach((json_t *)choices, key, choice)
    {
        const char *algorithm = json_string_value(json_object_get(choice, "variant"));
        if (strlen(key) >= CAPS_TUNING_KEY || !algorithm || !*algorithm ||
            strlen(algorithm) >= CAPS_TUNING_ALGORITHM)
            return "one of its choices has no variant";
    }
    return NULL;
}

static void tuning_load(caps_runtime *rt)
{
    caps_tuning *t = rt->tuning;
    unsigned char *text = NULL;
    size_t n = 0;
    json_t *root = NULL;
    caps_error err = {0};
    char *device = device_text(rt), *path = caps_tuning_path(rt);
    t->loaded = true;
    if (!device || !path || !caps_path_exists(path))
        goto done;
    const char *why = NULL;
    if (!(text = caps_cache_read(&n, path, FILE_LIMIT)))
        why = "it cannot be read, or others may write to it";
    else if (caps_json_parse(&root, (const char *)text, n, "it", CAPS_ERR_FORMAT, &err) != CAPS_OK)
        why = "it is no JSON";
    else
        why = tuning_reason(root, device);
    if (why)
        tuning_warn(rt, path, why);
    else
        t->choices = json_incref(json_object_get(root, "choices"));
    if (!why && json_is_object(json_object_get(root, "speeds")))
        t->speeds = json_incref(json_object_get(root, "speeds"));
done:
    json_decref(root);
    free(text);
    free(device);
    free(path);
}

const char *caps_tuning_get(const caps_runtime *rt, const char *key)
{
    if (!rt->tuning->loaded)
        tuning_load(
            (caps_runtime *)rt); /* what is read is part of the answer, not of the runtime */
    return json_string_value(json_object_get(json_object_get(rt->tuning->choices, key), "variant"));
}

caps_status caps_tuning_set(
    caps_runtime *rt, const char *key, const char *algorithm, double milliseconds, caps_error *err)
{
    caps_tuning *t = rt->tuning;
    caps_tuning_get(rt, key);
    if (strlen(key) >= CAPS_TUNING_KEY || strlen(algorithm) >= CAPS_TUNING_ALGORITHM)
        return caps_fail(
            err, CAPS_ERR_INTERNAL, "tuning: key or algorithm too long: %s: %s", key, algorithm);
    if (!t->choices)
        t->choices = json_object();
    json_t *choice = json_pack(
        "{s:s, s:o}", "variant", algorithm, "milliseconds", caps_json_double(milliseconds));
    if (!t->choices || !choice || json_object_set_new(t->choices, key, choice) != 0)
        return caps_fail(err, CAPS_ERR_MEMORY, "tuning: out of memory");
    return CAPS_OK;
}

double caps_tuning_speed(const caps_runtime *rt, const char *network)
{
    caps_tuning_get(rt, ""); /* reads the file */
    const double speed = json_number_value(json_object_get(rt->tuning->speeds, network));
    return speed > 0 && speed < 1e12 ? speed : 0;
}

caps_status caps_tuning_set_speed(
    caps_runtime *rt, const char *network, double images_per_second, caps_error *err)
{
    caps_tuning *t = rt->tuning;
    caps_tuning_get(rt, "");
    if (!t->speeds)
        t->speeds = json_object();
    if (!t->speeds ||
        json_object_set_new(t->speeds, network, caps_json_double(images_per_second)) != 0)
        return caps_fail(err, CAPS_ERR_MEMORY, "tuning: out of memory");
    return CAPS_OK;
}

caps_status caps_tuning_save(caps_runtime *rt, caps_error *err)
{
    caps_status status = CAPS_OK;
    const caps_tuning *t = rt->tuning;
    char *device = device_text(rt), *path = caps_tuning_path(rt), *text = NULL;
    json_t *root = NULL;
    char kernels[17];
    caps_sources_hash(kernels, NULL);
    if (!rt->cache_dir) {
        status = caps_fail(err, CAPS_ERR_IO, "there is no cache directory");
        goto done;
    }
    if (device && path)
        root = json_pack("{s:i, s:s, s:o, s:o}", "capscl_tuning", FORMAT, "kernels", kernels,
            "device", caps_json_text(device), "choices",
            t->choices ? json_incref(t->choices) : json_object());
    if (t->speeds)
        caps_json_set(&root, "speeds", json_incref(t->speeds));
    text = root ? caps_json_format(root, 2, 6) : NULL;
    if (!text) {
        status = caps_fail(err, CAPS_ERR_MEMORY, "tuning: out of memory");
        goto done;
    }
    CAPS_TRY(caps_cache_write(rt->cache_dir, path, text, strlen(text), err));
done:
    json_decref(root);
    free(device);
    free(path);
    free(text);
    return status;
}

/* ---- in runs -------------------------------------------------------------------------------- */

char *caps_tuning_format(const caps_runtime *rt)
{
    json_t *all = json_object(), *choice;
    const char *key;
    caps_tuning_get(rt, ""); /* reads the file */
    json_object_foreach(rt->tuning->choices, key, choice)
    {
        caps_json_set(&all, key, json_incref(json_object_get(choice, "variant")));
    }
    char *text = caps_json_format(all, 0, 6);
    json_decref(all);
    return text;
}

char *caps_tuning_known(const caps_device_info *device, caps_family family)
{
    /* Reading the file takes no more of a runtime than this. */
    caps_runtime rt = {.device = *device, .family = family, .tuning = caps_tuning_create()};
    char *text = NULL;
    if (rt.tuning && caps_cache_directory(&rt.cache_dir, NULL, NULL) == CAPS_OK) {
        if (rt.cache_dir && caps_cache_refuse(rt.cache_dir)) {
            free(rt.cache_dir);
            rt.cache_dir = NULL;
        }
        text = caps_tuning_format(&rt);
    }
    caps_tuning_free(rt.tuning);
    free(rt.cache_dir);
    return text;
}

caps_status caps_tuning_restore(caps_runtime *rt, const char *text, caps_error *err)
{
    caps_status status;
    json_t *all = NULL, *value;
    const char *key;
    CAPS_TRY(caps_json_parse(
        &all, text, strlen(text), "the run's measured choices", CAPS_ERR_FORMAT, err));
    if (!json_is_object(all))
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_FORMAT, "the run's measured choices are no object, need key: variant"));
    json_decref(rt->tuning->choices);
    rt->tuning->choices = NULL;
    rt->tuning->loaded = true;
    json_object_foreach(all, key, value)
    {
        const char *name = json_string_value(value);
        if (!name || !*name || strlen(name) >= CAPS_TUNING_ALGORITHM ||
            strlen(key) >= CAPS_TUNING_KEY)
            CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
                "the run's measured choices: '%.60s' has no variant, need a name", key));
        CAPS_TRY(caps_tuning_set(rt, key, name, 0, err));
    }
done:
    json_decref(all);
    return status;
}
