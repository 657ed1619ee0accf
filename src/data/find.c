/* find.c: from a name to the place of a data set and its format. */
#include "formats.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fail.h"
#include "file.h"
#include "folder.h"

#define CIFAR_FOLDER "cifar-10-batches-bin"

static caps_status find_out_of_memory(caps_error *err, const char *name)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", name);
}

const char *caps_path_last(const char *path, size_t *n)
{
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    *n = end - begin;
    return path + begin;
}

/* ---- what a directory holds ----------------------------------------------------------------- */

static caps_status holds_idx(
    bool *holds, const char *directory, const char *prefix, caps_error *err)
{
    caps_status status = CAPS_OK;
    *holds = false;
    for (int i = 0; i < 2 * CAPS_IDX_PARTS && !*holds; i++) {
        char *path = NULL;
        CAPS_TRY(caps_idx_set_pick(&path, directory, prefix,
            i < CAPS_IDX_PARTS ? CAPS_SPLIT_TRAIN : CAPS_SPLIT_TEST,
            (caps_idx_part)(i % CAPS_IDX_PARTS), err));
        *holds = path != NULL;
        free(path);
    }
done:
    return status;
}

static caps_status holds_cifar(bool *holds, const char *directory, caps_error *err)
{
    caps_status status = CAPS_OK;
    *holds = false;
    for (int batch = 1; batch <= CAPS_CIFAR_TEST && !*holds; batch++) {
        caps_path_kind kind;
        char *path = caps_cifar_path(directory, batch);
        if (!path)
            return find_out_of_memory(err, directory);
        status = caps_path_look(&kind, path, CAPS_ERR_NOT_FOUND, err);
        free(path);
        if (status != CAPS_OK)
            return status;
        *holds = kind != CAPS_PATH_NOTHING;
    }
    return CAPS_OK;
}

/* The one set of EMNIST in a directory; "" where there is none. Of several, one must be chosen by
 * name: CAPS_ERR_FORMAT. */
static caps_status find_emnist(
    char prefix[CAPS_PREFIX_BYTES], const char *directory, caps_error *err)
{
    caps_status status = CAPS_OK;
    const struct dirent *entry;
    DIR *d = opendir(directory);
    char other[CAPS_PREFIX_BYTES];
    prefix[0] = '\0';
    if (!d)
        return caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot open", directory);
    while (errno = 0, (entry = readdir(d)) != NULL) {
        if (!caps_idx_set_prefix(other, entry->d_name) || strcmp(other, prefix) == 0)
            continue;
        if (prefix[0]) {
            const bool swap = strcmp(other, prefix) < 0;
            const char *first = swap ? other : prefix, *second = swap ? prefix : other;
            CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
                "%s: holds several sets, %.*s and %.*s among them, need the name of one as in "
                "%s%s%.*s",
                directory, (int)strlen(first) - 1, first, (int)strlen(second) - 1, second,
                directory, directory[strlen(directory) - 1] == '/' ? "" : "/",
                (int)strlen(first) - 1, first));
        }
        memcpy(prefix, other, sizeof other);
    }
    if (errno)
        status = caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot read", directory);
done:
    closedir(d);
    return status;
}

/* The directory of one of EMNIST's sets: the set that it is named after, else the only one. */
static caps_status recognise_emnist(
    caps_location *l, const char *path, const char *last, size_t n, caps_error *err)
{
    caps_status status = CAPS_OK;
    bool holds = false;
    if (n > 7 && n + 1 < CAPS_PREFIX_BYTES && strncmp(last, "emnist-", 7) == 0) {
        snprintf(l->prefix, sizeof l->prefix, "%.*s-", (int)n, last);
        CAPS_TRY(holds_idx(&holds, path, l->prefix, err));
    }
    if (!holds)
        CAPS_TRY(find_emnist(l->prefix, path, err));
    if (l->prefix[0])
        l->format = CAPS_DATA_IDX;
done:
    return status;
}

static caps_status recognise_cifar(caps_location *l, const char *path, caps_error *err)
{
    caps_status status;
    caps_path_kind kind;
    bool holds;
    char *inner = caps_path_join(path, CIFAR_FOLDER);
    if (!inner)
        CAPS_TRY(find_out_of_memory(err, path));
    CAPS_TRY(holds_cifar(&holds, path, err));
    if (holds)
        l->format = CAPS_DATA_CIFAR;
    CAPS_TRY(caps_path_look(&kind, inner, CAPS_ERR_NOT_FOUND, err));
    if (holds || kind != CAPS_PATH_DIRECTORY)
        goto done;
    CAPS_TRY(holds_cifar(&holds, inner, err));
    if (!holds)
        goto done;
    l->format = CAPS_DATA_CIFAR;
    free(l->directory);
    l->directory = inner;
    inner = NULL;
done:
    free(inner);
    return status;
}

/* A path where nothing is, `<parent>/emnist-<set>`, stands for those files of its parent. */
static caps_status recognise_parent(
    caps_location *l, const char *path, const char *last, size_t n, caps_error *err)
{
    caps_status status = CAPS_OK;
    caps_path_kind kind;
    bool holds;
    if (n <= 7 || n + 1 >= CAPS_PREFIX_BYTES || strncmp(last, "emnist-", 7) != 0)
        return CAPS_OK;
    snprintf(l->prefix, sizeof l->prefix, "%.*s-", (int)n, last);
    l->directory[last - path] = '\0';
    if (last == path)
        strcpy(l->directory, ".");
    CAPS_TRY(caps_path_look(&kind, l->directory, CAPS_ERR_NOT_FOUND, err));
    if (kind == CAPS_PATH_NOTHING)
        goto done;
    CAPS_TRY(holds_idx(&holds, l->directory, l->prefix, err));
    l->format = holds ? CAPS_DATA_IDX : CAPS_DATA_NONE;
done:
    return status;
}

/* Sets kind, format, directory and prefix by what `path` holds; where that is nothing known, the
 * format is none. */
static caps_status find_recognise(caps_location *l, const char *path, caps_error *err)
{
    caps_status status = CAPS_OK;
    bool holds = false;
    size_t n;
    const char *last = caps_path_last(path, &n);
    l->format = CAPS_DATA_NONE;
    l->prefix[0] = '\0';
    free(l->directory);
    l->directory = strdup(path);
    if (!l->directory)
        CAPS_TRY(find_out_of_memory(err, path));
    CAPS_TRY(caps_path_look(&l->kind, path, CAPS_ERR_NOT_FOUND, err));
    if (l->kind != CAPS_PATH_DIRECTORY) {
        CAPS_TRY(recognise_parent(l, path, last, n, err));
        goto done;
    }
    CAPS_TRY(holds_idx(&holds, path, "", err));
    if (holds)
        l->format = CAPS_DATA_IDX;
    else
        CAPS_TRY(recognise_emnist(l, path, last, n, err));
    if (l->format == CAPS_DATA_NONE)
        CAPS_TRY(recognise_cifar(l, path, err));
    if (l->format != CAPS_DATA_NONE)
        goto done;
    CAPS_TRY(caps_smallnorb_holds(&holds, path, err));
    if (holds)
        l->format = CAPS_DATA_SMALLNORB;
    if (holds)
        goto done;
    CAPS_TRY(caps_folder_holds_pictures(&holds, path, err));
    if (holds)
        l->format = CAPS_DATA_FOLDER;
done:
    return status;
}

/* ---- names ---------------------------------------------------------------------------------- */

#define MAX_PLACES 4

typedef struct places {
    char *path[MAX_PLACES]; /* directories where data sets lie */
    int closed[MAX_PLACES]; /* 0, or the errno of one that cannot be looked at */
    size_t n;
} places;

/* `chosen`: somebody named this place for data sets, so one that cannot be looked at is an error.
 * Another is passed over: the home of a service may be closed to it, or be no directory. */
static caps_status places_add(places *p, const char *a, const char *b, bool chosen, caps_error *err)
{
    struct stat st;
    char *path = caps_format("%s%s", a, b);
    if (!path)
        return find_out_of_memory(err, "data set");
    p->path[p->n] = path;
    p->closed[p->n] = stat(path, &st) == 0 || errno == ENOENT ? 0 : errno;
    const int code = p->closed[p->n++];
    if (code == 0 || (!chosen && (code == EACCES || code == ENOTDIR)))
        return CAPS_OK;
    errno = code;
    return caps_fail_errno(err, CAPS_ERR_NOT_FOUND, "%s: cannot look for data sets there", path);
}

static const char *find_variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static caps_status places_list(places *p, caps_error *err)
{
    caps_status status = CAPS_OK;
    const char *data = find_variable("CAPSCL_DATA"), *xdg = find_variable("XDG_DATA_HOME");
    const char *home = find_variable("HOME");
    CAPS_TRY(places_add(p, ".", "", true, err));
    if (data)
        CAPS_TRY(places_add(p, data, "", true, err));
    if (xdg)
        CAPS_TRY(places_add(p, xdg, "/capscl", false, err));
    else if (home)
        CAPS_TRY(places_add(p, home, "/.local/share/capscl", false, err));
    CAPS_TRY(places_add(p, "/usr/share/datasets", "", false, err));
done:
    return status;
}

/* Looks at "<place>/<folder><name>", which is shown without "./" as the name was given. */
static caps_status find_try(caps_location *l, char **candidate, const char *place,
    const char *folder, const char *name, caps_error *err)
{
    free(*candidate);
    *candidate = strcmp(place, ".") == 0 ? caps_format("%s%s", folder, name)
                                         : caps_format("%s/%s%s", place, folder, name);
    return *candidate ? find_recognise(l, *candidate, err) : find_out_of_memory(err, name);
}

static caps_status find_not_found(const places *p, const char *name, caps_error *err)
{
    char text[CAPS_ERROR_MESSAGE_BYTES] = "";
    for (size_t i = 0, used = 0; i < p->n && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s/%s%s", i ? ", " : "",
            p->path[i], name,
            p->closed[i] == EACCES    ? " (no permission to look there)"
            : p->closed[i] == ENOTDIR ? " (no directory)"
                                      : "");
    return caps_fail(
        err, CAPS_ERR_NOT_FOUND, "%s: no data set of this name; looked for %s", name, text);
}

static caps_status find_name(caps_location *l, const char *name, caps_error *err)
{
    caps_status status;
    places p = {{NULL}, {0}, 0};
    char *candidate = NULL, *directory = NULL;
    caps_path_kind own = CAPS_PATH_NOTHING; /* of ./NAME */
    const bool emnist = strncmp(name, "emnist-", 7) == 0;
    const bool cifar = strcmp(name, "cifar10") == 0 || strcmp(name, "cifar-10") == 0;
    l->format = CAPS_DATA_NONE;
    CAPS_TRY(places_list(&p, err));
    /* The first place with data; without any, the first directory of that name, so that the message
     * is about what it lacks. */
    for (size_t i = 0; i < p.n && l->format == CAPS_DATA_NONE; i++) {
        if (p.closed[i])
            continue;
        CAPS_TRY(find_try(l, &candidate, p.path[i], "", name, err));
        own = i == 0 ? l->kind : own;
        if (l->format == CAPS_DATA_NONE && !directory && l->kind == CAPS_PATH_DIRECTORY) {
            directory = candidate;
            candidate = NULL;
        }
        if (l->format == CAPS_DATA_NONE && emnist)
            CAPS_TRY(find_try(l, &candidate, p.path[i], "emnist/", name, err));
        if (l->format == CAPS_DATA_NONE && cifar)
            CAPS_TRY(find_try(l, &candidate, p.path[i], "", CIFAR_FOLDER, err));
    }
    if (l->format == CAPS_DATA_NONE) {
        if (!directory && own == CAPS_PATH_FILE)
            CAPS_TRY(caps_location_explain_file(name, err));
        if (!directory)
            CAPS_TRY(find_not_found(&p, name, err));
        free(candidate);
        candidate = directory;
        directory = NULL;
        CAPS_TRY(find_recognise(l, candidate, err));
    }
    l->path = candidate;
    candidate = NULL;
done:
    free(candidate);
    free(directory);
    for (size_t i = 0; i < p.n; i++)
        free(p.path[i]);
    return status;
}

static caps_status find_path(caps_location *l, const char *path, caps_error *err)
{
    caps_status status = find_recognise(l, path, err);
    if (status != CAPS_OK)
        return status;
    if (l->format == CAPS_DATA_NONE && l->kind == CAPS_PATH_NOTHING)
        return caps_fail(err, CAPS_ERR_NOT_FOUND, "%s: no such directory", path);
    if (l->format == CAPS_DATA_NONE && l->kind == CAPS_PATH_FILE)
        return caps_location_explain_file(path, err);
    l->path = strdup(path);
    return l->path ? CAPS_OK : find_out_of_memory(err, path);
}

/* The one folder in a directory, hidden ones and what macOS adds to archives aside; NULL: there are
 * several, or none. */
static caps_status find_only_folder(char **only, const char *directory, caps_error *err)
{
    caps_listing l = {0};
    caps_status status;
    size_t count = 0;
    *only = NULL;
    CAPS_TRY(caps_listing_read(&l, directory, err));
    for (size_t i = 0; i < l.n; i++) {
        bool is;
        CAPS_TRY(caps_folder_is_directory(&is, directory, l.names[i], err));
        if (!is || strcmp(l.names[i], "__MACOSX") == 0 || count++ > 0)
            continue;
        *only = caps_path_join(directory, l.names[i]);
        if (!*only)
            CAPS_TRY(find_out_of_memory(err, directory));
    }
done:
    caps_listing_release(&l);
    if (status != CAPS_OK || count != 1) {
        free(*only);
        *only = NULL;
    }
    return status;
}

/* An unpacked archive often lies in a folder of its own: the set in the one folder of a directory
 * that holds none itself, two deep. */
static caps_status find_within(caps_location *l, caps_error *err)
{
    caps_status status = CAPS_OK;
    char *at = strdup(l->path), *inner = NULL;
    if (!at)
        return find_out_of_memory(err, l->path);
    for (int depth = 0; depth < 2 && l->format == CAPS_DATA_NONE; depth++) {
        CAPS_TRY(find_only_folder(&inner, at, err));
        free(at);
        at = inner;
        inner = NULL;
        if (!at)
            break;
        CAPS_TRY(find_recognise(l, at, err));
    }
    if (l->format != CAPS_DATA_NONE) {
        l->within = l->path;
        l->path = at;
        at = NULL;
    } else {
        CAPS_TRY(find_recognise(l, l->path, err));
    }
done:
    free(inner);
    free(at);
    return status;
}

/* "solids:SEED". */
static caps_status find_solids(
    caps_location *l, const char *name, const char *seed, caps_error *err)
{
    char *end = NULL;
    errno = 0;
    l->seed = *seed >= '0' && *seed <= '9' ? strtoull(seed, &end, 10) : 0;
    if (!end || *end || errno)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: '%s' is no seed, need a whole number of 64 bits, as in solids:1", name, seed);
    l->format = CAPS_DATA_SOLIDS;
    l->path = strdup(name);
    l->directory = strdup(name);
    return l->path && l->directory ? CAPS_OK : find_out_of_memory(err, name);
}

caps_status caps_location_init(caps_location *l, const char *name_or_dir, caps_error *err)
{
    static const char multi[] = "multi:";
    const size_t n = sizeof multi - 1;
    const char *name = name_or_dir ? name_or_dir : "";
    caps_status status;
    bool folders = false;
    memset(l, 0, sizeof *l);
    l->pairs = strncmp(name, multi, n) == 0;
    if (l->pairs)
        name += n;
    if (!*name)
        return caps_fail(err, CAPS_ERR_NOT_FOUND,
            l->pairs ? "multi: is followed by nothing, need the data set to make pairs of"
                     : "data set: the name is empty");
    if (l->pairs && strncmp(name, multi, n) == 0)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "%s: pairs of pairs, need a data set of single images after multi:", name_or_dir);
    if (strncmp(name, "solids:", 7) == 0) {
        CAPS_TRY(find_solids(l, name, name + 7, err));
        goto done;
    }
    CAPS_TRY(strchr(name, '/') ? find_path(l, name, err) : find_name(l, name, err));
    if (l->format == CAPS_DATA_NONE)
        CAPS_TRY(find_within(l, err));
    /* Folders without a picture so far: what is wrong with them will be the message. */
    if (l->format == CAPS_DATA_NONE)
        CAPS_TRY(caps_folder_holds_directory(&folders, l->path, err));
    if (folders)
        l->format = CAPS_DATA_FOLDER;
done:
    if (status != CAPS_OK)
        caps_location_release(l);
    return status;
}

void caps_location_release(caps_location *l)
{
    free(l->path);
    free(l->within);
    free(l->directory);
    *l = (caps_location){0};
}

caps_status caps_dataset_find(char **path, const char *name_or_dir, caps_error *err)
{
    caps_location l;
    *path = NULL;
    caps_status status = caps_location_init(&l, name_or_dir, err);
    if (status != CAPS_OK)
        return status;
    *path = caps_format("%s%s", l.pairs ? "multi:" : "", l.path);
    caps_location_release(&l);
    return *path ? CAPS_OK : find_out_of_memory(err, name_or_dir);
}
