/* folder_list.c: what a directory holds, and what of it is not used. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fail.h"
#include "file.h"
#include "text.h"
#include "folder.h"

/* ---- listings ------------------------------------------------------------------------------- */

void caps_listing_release(caps_listing *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->names[i]);
    free(l->names);
    *l = (caps_listing){0};
}

static int listing_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

caps_status caps_listing_read(caps_listing *l, const char *path, caps_error *err)
{
    caps_status status = CAPS_OK;
    size_t capacity = 0;
    struct dirent *entry;
    DIR *directory = opendir(path);
    if (!directory)
        return caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot open", path);
    while (errno = 0, (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (l->n == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            char **names = realloc(l->names, capacity * sizeof *names);
            if (names)
                l->names = names;
            else
                CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path));
        }
        l->names[l->n] = strdup(entry->d_name);
        if (!l->names[l->n])
            CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path));
        l->n++;
    }
    if (errno)
        CAPS_TRY(caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot read", path));
    if (l->n)
        qsort(l->names, l->n, sizeof *l->names, listing_compare);
done:
    closedir(directory);
    return status;
}

/* ---- what it holds -------------------------------------------------------------------------- */

bool caps_is_picture_name(const char *name)
{
    static const char *const ends[] = {".png", ".jpg", ".jpeg"};
    const size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0] && name[0] != '.'; i++)
        if (n > strlen(ends[i]) && strcasecmp(name + n - strlen(ends[i]), ends[i]) == 0)
            return true;
    return false;
}

caps_status caps_folder_is_directory(bool *is, const char *path, const char *name, caps_error *err)
{
    caps_path_kind kind = CAPS_PATH_NOTHING;
    char *inner = caps_path_join(path, name);
    caps_status status = inner ? caps_path_look(&kind, inner, CAPS_ERR_NOT_FOUND, err)
                               : caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path);
    *is = kind == CAPS_PATH_DIRECTORY;
    free(inner);
    return status;
}

caps_status caps_folder_holds(
    bool *holds, const char *path, caps_folder_test *test, caps_error *err)
{
    caps_status status = CAPS_OK;
    const struct dirent *entry;
    DIR *directory = opendir(path);
    *holds = false;
    if (!directory)
        return caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot open", path);
    while (errno = 0, !*holds && (entry = readdir(directory)) != NULL)
        if (entry->d_name[0] != '.')
            CAPS_TRY(test(holds, path, entry->d_name, err));
    if (!*holds && errno)
        status = caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot read", path);
done:
    closedir(directory);
    return status;
}

caps_status caps_folder_is_picture(
    bool *passes, const char *path, const char *name, caps_error *err)
{
    (void)path;
    (void)err;
    *passes = caps_is_picture_name(name);
    return CAPS_OK;
}

caps_status caps_folder_is_class(bool *passes, const char *path, const char *name, caps_error *err)
{
    caps_status status = caps_folder_is_directory(passes, path, name, err);
    if (status != CAPS_OK || !*passes)
        return status;
    char *inner = caps_path_join(path, name);
    status = inner ? caps_folder_holds(passes, inner, caps_folder_is_picture, err)
                   : caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path);
    free(inner);
    return status;
}

caps_status caps_folder_holds_directory(bool *holds, const char *directory, caps_error *err)
{
    return caps_folder_holds(holds, directory, caps_folder_is_directory, err);
}

/* ---- what is not used ----------------------------------------------------------------------- */

void caps_unused_add(caps_unused *u, const char *folder, const char *name)
{
    enum { SHOWN = 4 };
    const size_t used = strlen(u->names), left = sizeof u->names - used;
    u->count++;
    if (u->shown == SHOWN || !caps_is_text(name) || strlen(folder) + strlen(name) + 4 > left)
        return;
    snprintf(u->names + used, left, "%s%s%s%s", used ? ", " : "", folder, *folder ? "/" : "", name);
    u->shown++;
}

const char *caps_unused_rest(const caps_unused *u)
{
    return u->count == u->shown ? "" : u->shown ? ", ..." : "...";
}

size_t caps_folder_count_pictures(const char *path, int depth)
{
    caps_listing l = {0};
    size_t count = 0;
    (void)caps_listing_read(&l, path, NULL); /* what cannot be looked at does not count */
    for (size_t i = 0; i < l.n; i++) {
        char *inner = NULL;
        if (caps_is_picture_name(l.names[i]))
            count++;
        else if (depth > 0 && (inner = caps_path_join(path, l.names[i])) != NULL &&
                 caps_path_is_directory(inner))
            count += caps_folder_count_pictures(inner, depth - 1);
        free(inner);
    }
    caps_listing_release(&l);
    return count;
}
