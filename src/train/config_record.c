/* config_record.c: what config.json says of a run besides its settings. */
#include <stdlib.h>
#include <string.h>

#include <capscl/version.h>

#include "choice.h"
#include "config.h"
#include "fail.h"
#include "json.h"
#include "tuning.h"

/* The value of JSON text, which is freed; NULL: out of memory. */
static json_t *record_of_text(char *text)
{
    json_t *value = NULL;
    if (text)
        (void)caps_json_parse(&value, text, strlen(text), "choices", CAPS_ERR_FORMAT, NULL);
    free(text);
    return value;
}

/* The matrix products that run: of all choices those whose key begins "gemm ". */
static json_t *record_gemm(const caps_runtime *rt)
{
    json_t *all = record_of_text(caps_choices_format(rt)), *products = json_object(), *algorithm;
    const char *key;
    if (!all) {
        json_decref(products);
        return NULL;
    }
    json_object_foreach(all, key, algorithm)
    {
        if (strncmp(key, "gemm ", 5) == 0)
            caps_json_set(&products, key, json_incref(algorithm));
    }
    json_decref(all);
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
        {"device", caps_json_text(device->name)},
        {"device_id", json_string(device->id)},
        {"device_type", json_string(caps_device_type_name(device->type))},
        {"device_version", caps_json_text(device->version)},
        {"driver_version", caps_json_text(device->driver)},
        {"platform", caps_json_text(device->platform)},
        {"vendor", caps_json_text(device->vendor)},
        {"kernels", json_string(caps_family_name(caps_runtime_family(rt)))},
        {"gemm", record_gemm(rt)},
        {"tuned", record_of_text(caps_tuning_format(rt))},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        caps_json_set(&object, rows[i].key, rows[i].value);
    if (!object)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for the settings"));
    *out = json_incref(object);
done:
    json_decref(object);
    return status;
}
