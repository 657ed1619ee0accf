/* places.c: see places.h. */
#include "places.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "config.h"
#include "fail.h"
#include "file.h"
#include "folder.h"
#include "repeat.h"

static caps_status places_out_of_memory(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for names of files");
}

/* ---- checkpoints ---------------------------------------------------------------------------- */

/* directory/name, kept, where there is such a file; else *path stays. */
static caps_status look_for(const char **path, caps_args *args, const char *directory,
    const char *name, bool *found, caps_error *err)
{
    caps_path_kind kind;
    char *file = caps_path_join(directory, name);
    if (!file)
        return places_out_of_memory(err);
    caps_status status = caps_path_look(&kind, file, CAPS_ERR_NOT_FOUND, err);
    *found = status == CAPS_OK && kind == CAPS_PATH_FILE;
    if (!*found) {
        free(file);
        return status;
    }
    *path = file;
    return caps_args_keep(args, file, err);
}

caps_status caps_place_model(caps_args *args, const char **model, caps_error *err)
{
    static const char *const names[] = {CAPS_RUN_MODEL, CAPS_RUN_STATE};
    const char *directory = *model;
    caps_path_kind kind;
    caps_status status;
    bool found = false;
    uint64_t seed;
    if (!directory)
        return CAPS_OK;
    CAPS_TRY(caps_path_look(&kind, directory, CAPS_ERR_NOT_FOUND, err));
    if (kind != CAPS_PATH_DIRECTORY)
        return CAPS_OK;
    for (size_t i = 0; !found && i < sizeof names / sizeof names[0]; i++)
        CAPS_TRY(look_for(model, args, directory, names[i], &found, err));
    if (found)
        return CAPS_OK;
    if (caps_repeat_first(directory, &seed))
        return caps_fail(err, CAPS_ERR_NOT_FOUND,
            "%s: holds repeated runs, need one of them (%s/seed-%llu)", directory, directory,
            (unsigned long long)seed);
    return caps_fail(err, CAPS_ERR_NOT_FOUND,
        "%s: is a directory without a checkpoint, need %s in it, or the name of a file", directory,
        CAPS_RUN_MODEL);
done:
    return status;
}

/* Puts `count` texts in the place of the i-th. */
static caps_status replace_text(
    caps_texts *texts, size_t i, char *const *with, size_t count, caps_error *err)
{
    const char **more = malloc((texts->count + count) * sizeof *more);
    if (!more)
        return places_out_of_memory(err);
    memcpy(more, texts->values, i * sizeof *more);
    for (size_t k = 0; k < count; k++)
        more[i + k] = with[k];
    memcpy(more + i + count, texts->values + i + 1, (texts->count - i - 1) * sizeof *more);
    free(texts->values);
    texts->values = more;
    texts->count += count - 1;
    return CAPS_OK;
}

/* The directories of a repetition's seeds. */
static caps_status place_seeds(caps_args *args, caps_texts *models, size_t i, caps_error *err)
{
    caps_repeat repeat = {0};
    char **names = NULL;
    caps_status status;
    CAPS_TRY(caps_repeat_load(&repeat, models->values[i], err));
    names = calloc(repeat.count, sizeof *names);
    if (!names)
        CAPS_TRY(places_out_of_memory(err));
    for (size_t k = 0; k < repeat.count; k++) {
        names[k] = caps_repeat_directory(&repeat, k);
        CAPS_TRY(caps_args_keep(args, names[k], err));
    }
    CAPS_TRY(replace_text(models, i, names, repeat.count, err));
done:
    free(names);
    caps_repeat_release(&repeat);
    return status;
}

caps_status caps_place_models(caps_args *args, caps_texts *models, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < models->count; i++) {
        uint64_t seed;
        if (caps_repeat_first(models->values[i], &seed))
            CAPS_TRY(place_seeds(args, models, i, err));
        CAPS_TRY(caps_place_model(args, &models->values[i], err));
    }
done:
    return status;
}

/* ---- pictures ------------------------------------------------------------------------------- */

/* The strings are kept by args. */
static caps_status place_folder(caps_args *args, size_t *at, caps_error *err)
{
    const char *folder = args->positional[*at];
    caps_listing l = {0};
    caps_texts texts = {(const char **)args->positional, args->positional_count};
    caps_unused unused = {0};
    char **names = NULL;
    size_t count = 0;
    caps_status status;
    CAPS_TRY(caps_listing_read(&l, folder, err));
    names = calloc(l.n + 1, sizeof *names);
    if (!names)
        CAPS_TRY(places_out_of_memory(err));
    for (size_t i = 0; i < l.n; i++) {
        bool inner;
        CAPS_TRY(caps_folder_is_directory(&inner, folder, l.names[i], err));
        if (inner || !caps_is_picture_name(l.names[i])) {
            caps_unused_add(&unused, "", l.names[i]);
            continue;
        }
        names[count] = caps_path_join(folder, l.names[i]);
        CAPS_TRY(caps_args_keep(args, names[count], err));
        count++;
    }
    if (unused.count > 0)
        caps_cli_note("%s: %zu %s no PNG or JPEG by name %s not used: %s%s", folder, unused.count,
            unused.count == 1 ? "entry that is" : "entries that are",
            unused.count == 1 ? "is" : "are", unused.names, caps_unused_rest(&unused));
    if (count == 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
            "%s: a folder without PNG or JPEG files in it, need some (a data set: --data %s)",
            folder, folder));
    status = replace_text(&texts, *at, names, count, err);
    args->positional = (char **)texts.values;
    args->positional_count = texts.count;
    *at += count - 1;
done:
    free(names);
    caps_listing_release(&l);
    return status;
}

caps_status caps_place_pictures(caps_args *args, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < args->positional_count; i++) {
        caps_path_kind kind;
        /* What cannot be looked at cannot be read either: that is said of it alone, later. */
        if (caps_path_look(&kind, args->positional[i], CAPS_ERR_NOT_FOUND, NULL) == CAPS_OK &&
            kind == CAPS_PATH_DIRECTORY)
            CAPS_TRY(place_folder(args, &i, err));
    }
done:
    return status;
}
