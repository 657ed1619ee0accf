/* config_record.c: what config.json says of a run besides its settings. */
#include <stdlib.h>
#include <string.h>

#include <capscl/version.h>

#include "choice.h"
#include "config.h"
#include "fail.h"
#include "json.h"
#include "tuning.h"

/* Device and driver names come from outside and may hold anything. */
static json_t *record_foreign_text(const char *text)
{
    json_t *value = json_string(text);
    if (value)
        return value;
    char plain[256];
    size_t n = 0;
    for (; text[n] && n + 1 < sizeof plain; n++)
        plain[n] = (unsigned char)text[n] < 128 ? text[n] : '?';
    plain[n] = 0;
    return json_string(plain);
}

/* The value of JSON text, which is freed; NULL: out of memory. */
static json_t *record_of_text(char *text)
{
    json_t *value = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return value;
}

/* The matrix products that run: of all choices those whose key begins "gemm ". */
static json_t *record_gemm(const caps_runtime *rt)
{
    json_t *all = record_of_text(caps_choices_format(rt)), *products = json_object(), *algorithm;
    const char *key;
    bool stored = all && products;
    json_object_foreach(all, key, algorithm)
    {
        if (stored && strncmp(key, "gemm ", 5) == 0)
            stored = json_object_set(products, key, algorithm) == 0;
    }
    json_decref(all);
    if (!stored) {
        json_decref(products);
        return NULL;
    }
    return products;
}

caps_status caps_config_describe(
    json_t **out, const caps_train_config *config, const caps_runtime *rt, caps_error *err)
{
    caps_status status = CAPS_OK;
    json_t *object = NULL;
    *out = NULL;
    CAPS_TRY(caps_config_to_json(&object, config, err));
    const caps_device_info *device = caps_runtime_device(rt);
    const struct {
        const char *key;
        json_t *value;
    } rows[] = {
        {"capscl_version", json_string(caps_version())},
        {"device", record_foreign_text(device->name)},
        {"device_id", json_string(device->id)},
        {"device_type", json_string(caps_device_type_name(device->type))},
        {"device_version", record_foreign_text(device->version)},
        {"driver_version", record_foreign_text(device->driver)},
        {"platform", record_foreign_text(device->platform)},
        {"vendor", record_foreign_text(device->vendor)},
        {"kernels", json_string(caps_family_name(caps_runtime_family(rt)))},
        {"gemm", record_gemm(rt)},
        {"tuned", record_of_text(caps_tuning_format(rt))},
    };
    bool stored = true;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        stored = json_object_set_new(object, rows[i].key, rows[i].value) == 0 && stored;
    if (!stored)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for the settings"));
    *out = json_incref(object);
done:
    json_decref(object);
    return status;
}
