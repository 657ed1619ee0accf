/* trust_file.c: where verdicts are kept. The file is
 *
 *     {"capscl_trust": 1, "kernels": "...", "device": "...", "complete": true,
 *      "verdicts": [{"variant": "tile 64x64", "passed": true, "error": 1e-07, "tolerance": 1e-05,
 *                    "why": "", "group": 0}, ...]}
 *
 * Its name has a hash of the device's text, and the text itself is compared too. A file that is
 * damaged, or of other kernels, is as if it were not there: the checks are run again. */
#include "trust_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "json.h"
#include "runtime_state.h"
#include "sources.h"

enum { FORMAT = 1, FILE_LIMIT = 1 << 20 };

/* The limits are part of it: they decide which variants there are, and a driver may take others
 * from its environment. */
char *caps_trust_device_text(const caps_device_info *d, caps_family family)
{
    char *tuned = caps_tuning_device_text(d, family), *text = NULL;
    size_t group = 0;
    if (d->handle)
        clGetDeviceInfo(d->handle, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof group, &group, NULL);
    if (tuned)
        text = caps_format("%s | groups of %zu | %llu bytes local", tuned, group,
            (unsigned long long)d->local_mem_bytes);
    free(tuned);
    return text;
}

uint64_t caps_trust_device_hash(const caps_device_info *d, caps_family family)
{
    char *text = caps_trust_device_text(d, family);
    const uint64_t hash = text ? caps_hash(CAPS_HASH_START, text, strlen(text)) : 0;
    free(text);
    return hash;
}

char *caps_trust_path(const char *directory, uint64_t hash)
{
    char *name = caps_format("trust-%016llx.json", (unsigned long long)hash);
    char *path = name ? caps_path_join(directory, name) : NULL;
    free(name);
    return path;
}

static char *trust_path(const char *directory, const char *device)
{
    return caps_trust_path(directory, caps_hash(CAPS_HASH_START, device, strlen(device)));
}

static bool read_verdict(caps_verdict *v, const json_t *row)
{
    const char *variant = json_string_value(json_object_get(row, "variant"));
    const char *why = json_string_value(json_object_get(row, "why"));
    const json_t *passed = json_object_get(row, "passed");
    if (!variant || !*variant || strlen(variant) >= CAPS_TRUST_VARIANT || !why ||
        strlen(why) >= CAPS_TRUST_WHY || !json_is_boolean(passed))
        return false;
    *v = (caps_verdict){.passed = json_is_true(passed),
        .error = json_number_value(json_object_get(row, "error")),
        .tolerance = json_number_value(json_object_get(row, "tolerance")),
        .group = (size_t)json_integer_value(json_object_get(row, "group"))};
    snprintf(v->variant, sizeof v->variant, "%s", variant);
    snprintf(v->why, sizeof v->why, "%s", why);
    return v->passed == !*why;
}

/* What a file has that was made with these kernels, or NULL. Freed with json_decref(). */
static json_t *read_file(const char *path, const char *cl_path)
{
    size_t bytes = 0;
    unsigned char *text = caps_cache_read(&bytes, path, FILE_LIMIT);
    json_t *root = NULL;
    char own[17];
    if (text &&
        caps_json_parse(&root, (const char *)text, bytes, "it", CAPS_ERR_FORMAT, NULL) == CAPS_OK) {
        const char *kernels = json_string_value(json_object_get(root, "kernels"));
        caps_sources_hash(own, cl_path);
        if (json_integer_value(json_object_get(root, "capscl_trust")) != FORMAT || !kernels ||
            strcmp(kernels, own) != 0) {
            json_decref(root);
            root = NULL;
        }
    }
    free(text);
    return root;
}

bool caps_trust_is_kept(const char *directory, uint64_t hash, const char *cl_path)
{
    char *path = caps_trust_path(directory, hash);
    json_t *root = path ? read_file(path, cl_path) : NULL;
    const bool kept = json_is_true(json_object_get(root, "complete"));
    json_decref(root);
    free(path);
    return kept;
}

/* The rows for a device, or NULL; borrowed. */
static const json_t *find_rows(const json_t *root, const char *device)
{
    const char *of = json_string_value(json_object_get(root, "device"));
    const json_t *rows = json_object_get(root, "verdicts");
    if (!of || strcmp(of, device) != 0 || json_array_size(rows) < 1 ||
        json_array_size(rows) > CAPS_TRUST_MOST)
        return NULL;
    return rows;
}

caps_status caps_trust_load(caps_verdict **list, size_t *n, const char *directory,
    const char *device, const char *cl_path, caps_error *err)
{
    json_t *root = NULL;
    caps_status status = CAPS_OK;
    char *path = trust_path(directory, device);
    *list = NULL;
    *n = 0;
    if (!path)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for verdicts");
    root = read_file(path, cl_path);
    const json_t *rows = find_rows(root, device);
    const size_t count = json_array_size(rows);
    if (count == 0)
        goto done;
    *list = calloc(count, sizeof **list);
    if (!*list)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu verdicts", count));
    while (*n < count && read_verdict(&(*list)[*n], json_array_get(rows, *n)))
        ++*n;
    if (*n < count) {
        free(*list);
        *list = NULL;
        *n = 0;
    }
done:
    json_decref(root);
    free(path);
    return status;
}

void caps_trust_save(const caps_verdict *list, size_t n, bool complete, const char *directory,
    const char *device, const char *cl_path)
{
    char kernels[17];
    json_t *rows = json_array();
    caps_sources_hash(kernels, cl_path);
    for (size_t i = 0; i < n; i++)
        caps_json_append(
            &rows, json_pack("{s:s, s:b, s:o, s:o, s:o, s:I}", "variant", list[i].variant, "passed",
                       list[i].passed, "error", caps_json_double(list[i].error), "tolerance",
                       caps_json_double(list[i].tolerance), "why", caps_json_text(list[i].why),
                       "group", (json_int_t)list[i].group));
    json_t *root =
        rows ? json_pack("{s:i, s:s, s:o, s:b, s:o}", "capscl_trust", FORMAT, "kernels", kernels,
                   "device", caps_json_text(device), "complete", complete, "verdicts", rows)
             : NULL;
    char *text = root ? caps_json_format(root, 2, 6) : NULL;
    char *path = trust_path(directory, device);
    /* What is not kept is checked again: that a cache cannot be written is said elsewhere. */
    if (text && path)
        (void)caps_cache_write(directory, path, text, strlen(text), NULL);
    json_decref(root);
    free(text);
    free(path);
}

caps_status caps_verdicts_read(caps_verdict **list, size_t *n, const caps_device_info *device,
    caps_family family, caps_error *err)
{
    caps_status status = CAPS_OK;
    char *directory = NULL, *text = caps_trust_device_text(device, family);
    *list = NULL;
    *n = 0;
    if (!text)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for verdicts"));
    CAPS_TRY(caps_cache_directory(&directory, NULL, err));
    if (directory)
        CAPS_TRY(caps_trust_load(list, n, directory, text, caps_sources_place(), err));
done:
    free(directory);
    free(text);
    return status;
}
