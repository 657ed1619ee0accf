/* config.h: settings of a run as JSON, and the files of a run directory. */
#ifndef CAPS_CONFIG_H
#define CAPS_CONFIG_H

#include <jansson.h>

#include <capscl/train.h>

#include "options.h"

/* The files of a run, in the order in which a new one gets them. */
#define CAPS_RUN_STATE   "state.safetensors"
#define CAPS_RUN_CONFIG  "config.json"
#define CAPS_RUN_METRICS "metrics.jsonl"
#define CAPS_RUN_MODEL   "model.safetensors"
#define CAPS_RUN_AVERAGE "model-ema.safetensors"

/* "out/name", freed with free(). */
caps_status caps_run_path(char **path, const char *out, const char *name, caps_error *err);

/* The directory can be written to: the files of a run can be made and replaced there. Nothing is
 * touched. CAPS_ERR_IO. */
caps_status caps_run_check_writable(const char *out, caps_error *err);

/* On a run that goes on: the choices that were measured when it began (*text, freed with free()), in
 * the place of those that are in the cache now. CAPS_ERR_FORMAT. */
caps_status caps_run_read_choices(char **text, const char *out, caps_error *err);
caps_status caps_run_restore_choices(
    caps_runtime *rt, const char *text, const char *out, caps_error *err);

/* What a run was trained on: how many images (without those that are held out), their hash, and
 * whether they are light on dark. images 0: its config.json does not say, as runs of before did
 * not. */
typedef struct caps_run_data {
    uint64_t images, hash;
    caps_ground ground;
    bool has_ground; /* config.json says; else ANY */
} caps_run_data;

/* caps_train_config_load, with what it was trained on where data is not NULL. */
caps_status caps_run_load(
    caps_train_config *config, caps_run_data *data, const char *out, caps_error *err);

/* Moves *from, whole, into the caller's struct, which says how large it is; CAPS_ERR_ARGUMENT. */
caps_status caps_config_give(caps_train_config *to, caps_train_config *from, caps_error *err);

/* Checks every setting; a spec is right by itself. CAPS_ERR_ARGUMENT. */
caps_status caps_config_check(const caps_train_config *config, caps_error *err);

/* Of the model that trains on `images` images: no batch is larger than the data. It borrows
 * config's texts. */
caps_model_options caps_config_model_options(const caps_train_config *config, size_t images);

/* A new object with every setting. CAPS_ERR_ARGUMENT where a name is not UTF-8, which JSON cannot
 * hold. */
caps_status caps_config_to_json(json_t **out, const caps_train_config *config, caps_error *err);
/* The reverse, exact to the last bit, into a config as caps_train_config_init takes one. Other keys
 * are ignored. `where` names the source in messages. CAPS_ERR_FORMAT. */
caps_status caps_config_from_json(
    caps_train_config *config, const json_t *object, const char *where, caps_error *err);

/* The settings that the trained parameters depend on are the same; path: where `have` is from.
 * CAPS_ERR_MISMATCH. */
caps_status caps_config_check_same(const caps_train_config *have, const caps_train_config *need,
    const char *path, caps_error *err);

/* Text that gives the same doubles back, with as few digits as that takes. Freed with free(). */
caps_status caps_config_format(char **text, const json_t *object, size_t indent, caps_error *err);

/* The contents of config.json: settings, versions, device, kernel family, and the algorithms that
 * were chosen once the model was created. */
caps_status caps_config_describe(
    json_t **out, const caps_train_config *config, const caps_runtime *rt, caps_error *err);

/* A whole number of 64 bits: JSON's integers end at 2^63, larger ones are text. */
json_t *caps_config_json_u64(uint64_t x);
bool caps_config_u64(const json_t *value, uint64_t *out);
bool caps_config_get_u64(const json_t *object, const char *key, uint64_t *out);

#endif
