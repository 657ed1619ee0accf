/* run.c: the files of a run directory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "fail.h"
#include "picture.h"
#include "file.h"
#include "json.h"
#include "safetensors.h"
#include "tuning.h"

#define MOST_CONFIG ((size_t)16 << 20) /* bytes; the file has some two thousand */

static const char *const run_files[] = {
    CAPS_RUN_STATE, CAPS_RUN_CONFIG, CAPS_RUN_METRICS, CAPS_RUN_MODEL, CAPS_RUN_AVERAGE};
#define RUN_FILES (sizeof run_files / sizeof run_files[0])

caps_status caps_run_path(char **path, const char *out, const char *name, caps_error *err)
{
    *path = caps_path_join(out, name);
    return *path ? CAPS_OK : caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", out);
}

/* ---- the directory -------------------------------------------------------------------------- */

/* What stands at a path: a file's end is no directory, whatever comes after it. */
typedef enum place {
    PLACE_NOTHING,
    PLACE_DIRECTORY,
    PLACE_OTHER,
    PLACE_UNKNOWN, /* errno says why */
} place;

static place place_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode) ? PLACE_DIRECTORY : PLACE_OTHER;
    if (errno == ENOENT) /* a link to nowhere is something that mkdir cannot replace */
        return lstat(path, &st) == 0 ? PLACE_OTHER : PLACE_NOTHING;
    return errno == ENOTDIR ? PLACE_NOTHING : PLACE_UNKNOWN;
}

/* "a/b//c/" -> "a/b": cuts the last part off; "/" and "." end it. */
static void cut_last(char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    while (n > 0 && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0)
        path[n++] = '.';
    path[n] = 0;
}

/* The directory itself, or the nearest one above it that exists: *where, freed with free(). */
static caps_status find_directory(char **where, const char *out, bool *exists, caps_error *err)
{
    caps_status status = CAPS_OK;
    *where = NULL;
    *exists = false;
    char *path = strdup(out);
    if (!path)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", out);
    if (!*path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_IO, "the name of the run directory is empty"));
    for (bool first = true;; first = false) {
        place found = place_of(path);
        if (found == PLACE_UNKNOWN)
            CAPS_TRY(caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot be used as a directory", path));
        if (found == PLACE_OTHER)
            CAPS_TRY(caps_fail(
                err, CAPS_ERR_IO, "%s: is no directory, need one%s", path, first ? "" : " there"));
        if (found == PLACE_DIRECTORY) {
            *exists = first;
            break;
        }
        cut_last(path);
    }
    *where = path;
    path = NULL;
done:
    free(path);
    return status;
}

caps_status caps_run_check_writable(const char *out, caps_error *err)
{
    caps_status status;
    char *where = NULL, *path = NULL;
    struct stat st;
    bool exists;
    CAPS_TRY(find_directory(&where, out, &exists, err));
    if (access(where, W_OK | X_OK) != 0)
        CAPS_TRY(caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot write there", where));
    for (size_t i = 0; exists && i < RUN_FILES; i++) {
        CAPS_TRY(caps_run_path(&path, out, run_files[i], err));
        CAPS_TRY(caps_file_check_own(path, CAPS_ERR_IO, err));
        const bool is_link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
        if (is_link && strcmp(run_files[i], CAPS_RUN_METRICS) == 0)
            CAPS_TRY(caps_fail(err, CAPS_ERR_IO,
                "%s: is a symbolic link, need a regular file: lines are appended to it", path));
        if (!is_link && access(path, W_OK) != 0 && errno != ENOENT)
            CAPS_TRY(caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot write", path));
        free(path);
        path = NULL;
    }
done:
    free(path);
    free(where);
    return status;
}

caps_status caps_train_run_exists(const char *out, bool *exists, caps_error *err)
{
    caps_status status;
    char *where = NULL;
    struct stat st;
    bool directory;
    *exists = false;
    CAPS_TRY(find_directory(&where, out, &directory, err));
    for (size_t i = 0; directory && i < RUN_FILES; i++) {
        char *path;
        CAPS_TRY(caps_run_path(&path, out, run_files[i], err));
        if (lstat(path, &st) == 0)
            *exists = true;
        else if (errno != ENOENT)
            status = caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot look there", path);
        free(path);
        CAPS_TRY(status);
    }
done:
    free(where);
    return status;
}

caps_status caps_train_run_remove(const char *out, caps_error *err)
{
    caps_status status = CAPS_OK;
    char *path = NULL;
    /* The state goes first: what is left of a half removed run is never taken for one to resume. */
    for (size_t i = 0; i < RUN_FILES; i++) {
        CAPS_TRY(caps_run_path(&path, out, run_files[i], err));
        if (unlink(path) != 0 && errno != ENOENT && errno != ENOTDIR)
            CAPS_TRY(caps_fail_errno(err, CAPS_ERR_IO, "%s: cannot remove", path));
        free(path);
        path = NULL;
    }
done:
    free(path);
    return status;
}

/* ---- config.json ---------------------------------------------------------------------------- */

/* The copy in the state. */
static caps_status parse_copy(json_t **object, const char *path, caps_error *err)
{
    caps_safetensors st = {0};
    caps_status status;
    CAPS_TRY(caps_file_check_own(path, CAPS_ERR_FORMAT, err));
    CAPS_TRY(caps_safetensors_load(&st, path, err));
    const char *text = caps_safetensors_get_metadata(&st, "capscl.config");
    if (!text)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_FORMAT, "%s: no capscl.config in its metadata, need the settings", path));
    CAPS_TRY(caps_json_parse(object, text, strlen(text), path, CAPS_ERR_FORMAT, err));
done:
    caps_safetensors_release(&st);
    return status;
}

/* The settings as they were written, and *where they are. Both are the caller's. */
static caps_status read_config(json_t **object, char **where, const char *out, caps_error *err)
{
    caps_status status;
    char *path = NULL, *state = NULL;
    unsigned char *text = NULL;
    size_t n = 0;
    caps_path_kind config, copy;
    *object = NULL;
    *where = NULL;
    CAPS_TRY(caps_run_path(&path, out, CAPS_RUN_CONFIG, err));
    CAPS_TRY(caps_run_path(&state, out, CAPS_RUN_STATE, err));
    CAPS_TRY(caps_path_look(&config, path, CAPS_ERR_NOT_FOUND, err));
    CAPS_TRY(caps_path_look(&copy, state, CAPS_ERR_NOT_FOUND, err));
    if (config != CAPS_PATH_NOTHING) {
        CAPS_TRY(caps_file_read_own(&text, &n, path, MOST_CONFIG, err));
        CAPS_TRY(caps_json_parse(object, (const char *)text, n, path, CAPS_ERR_FORMAT, err));
        *where = path;
        path = NULL;
    } else if (copy != CAPS_PATH_NOTHING) {
        CAPS_TRY(parse_copy(object, state, err));
        *where = state;
        state = NULL;
    } else {
        CAPS_TRY(caps_fail(err, CAPS_ERR_NOT_FOUND,
            "%s: holds no run to resume: neither %s nor %s is there", out, CAPS_RUN_CONFIG,
            CAPS_RUN_STATE));
    }
done:
    free(text);
    free(state);
    free(path);
    return status;
}

/* What it was trained on, as read_config gave it. */
static caps_status data_from_json(
    caps_run_data *data, const json_t *object, const char *where, caps_error *err)
{
    *data = (caps_run_data){0};
    if (json_object_get(object, "data_images") &&
        (!caps_config_get_u64(object, "data_images", &data->images) ||
            !caps_config_get_u64(object, "data_hash", &data->hash)))
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: data_images or data_hash is no whole number, need the settings of a run", where);
    const char *ground = json_string_value(json_object_get(object, "data_ground"));
    for (int i = 0; ground && caps_ground_name(i); i++)
        if (strcmp(ground, caps_ground_name(i)) == 0) {
            data->ground = (caps_ground)i;
            data->has_ground = true;
        }
    return CAPS_OK;
}

caps_status caps_run_load(
    caps_train_config *config, caps_run_data *data, const char *out, caps_error *err)
{
    caps_status status;
    json_t *object;
    char *where;
    CAPS_TRY(read_config(&object, &where, out, err));
    status = caps_config_from_json(config, object, where, err);
    if (status == CAPS_OK && data)
        status = data_from_json(data, object, where, err);
done:
    json_decref(object);
    free(where);
    return status;
}

caps_status caps_train_config_load(caps_train_config *config, const char *out, caps_error *err)
{
    return caps_run_load(config, NULL, out, err);
}

caps_status caps_run_read_choices(char **text, const char *out, caps_error *err)
{
    caps_status status;
    json_t *object;
    char *where;
    *text = NULL;
    CAPS_TRY(read_config(&object, &where, out, err));
    const json_t *tuned = json_object_get(object, "tuned");
    *text = tuned ? caps_json_format(tuned, 0, 6) : caps_format("{}");
    if (!*text)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for the settings"));
done:
    json_decref(object);
    free(where);
    return status;
}

caps_status caps_run_restore_choices(
    caps_runtime *rt, const char *text, const char *out, caps_error *err)
{
    caps_status status = caps_tuning_restore(rt, text, err);
    return status == CAPS_OK ? status : caps_fail_prefix(err, status, "%s", out);
}
