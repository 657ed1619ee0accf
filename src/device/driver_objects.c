/* driver_objects.c: see driver_objects.h.
 *
 * PoCL's cache has a directory for each program, "XX/HASH": program.bc, the program as bitcode;
 * last_accessed, which is touched when it is built; and below directories by kernel and size of
 * group, one .so each. An object is not written twice but by two processes at once, and then its
 * sum is the same, but for program.bc, which has the name of a temporary file in it: there the
 * later one takes the sum anew at once.
 *
 * What has no sum yet is looked at for its form: a file that ends before it says so was not written
 * to its end. */
#include "driver_objects.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "drivers.h"
#include "file.h"
#include "json.h"
#include "object_form.h"
#include "runtime_state.h"
#include "text.h"

enum { FORMAT = 1, FILE_LIMIT = 4 << 20, OBJECT_LIMIT = 256 << 20, DEPTH = 3 };

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* ---- directories ---------------------------------------------------------------------------- */

typedef void visit_function(void *user, const char *name, const char *path, const struct stat *st);

/* All that lies `depth` deep or less; names begin with `before`. */
static void walk(
    const char *directory, const char *before, int depth, visit_function *visit, void *user)
{
    DIR *open = opendir(directory);
    struct dirent *entry;
    while (open && (entry = readdir(open)) != NULL) {
        struct stat st;
        if (entry->d_name[0] == '.')
            continue;
        char *path = caps_path_join(directory, entry->d_name);
        char *name = caps_format("%s%s%s", before, *before ? "/" : "", entry->d_name);
        if (path && name && lstat(path, &st) == 0) {
            if (S_ISDIR(st.st_mode) && depth > 1)
                walk(path, name, depth - 1, visit, user);
            else
                visit(user, name, path, &st);
        }
        free(path);
        free(name);
    }
    if (open)
        closedir(open);
}

static bool is_object(const char *name, const struct stat *st)
{
    return S_ISREG(st->st_mode) && (ends_with(name, ".so") || strcmp(name, "program.bc") == 0);
}

/* ---- the sums ------------------------------------------------------------------------------- */

typedef struct objects {
    char *directory; /* "XX/HASH"; NULL: not known */
    char *path;      /* of it */
    json_t *files;   /* by name below it: [size, sum, date] */
    bool changed;    /* there is more than on disk */
    size_t damaged;
    char *text; /* one that is damaged */
    size_t text_bytes;
} objects;

static long long date_of(const struct stat *st)
{
    return (long long)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static bool objects_set_directory(objects *o, const char *directory)
{
    char *place = caps_driver_cache_place();
    o->directory = caps_format("%s", directory);
    o->path = place && o->directory ? caps_path_join(place, directory) : NULL;
    free(place);
    return o->path != NULL;
}

/* False: there is nothing of that kind. */
static bool objects_load(objects *o, const char *record)
{
    size_t bytes = 0;
    json_t *root = NULL;
    unsigned char *text = caps_cache_read(&bytes, record, FILE_LIMIT);
    if (text)
        (void)caps_json_parse(&root, (const char *)text, bytes, "it", CAPS_ERR_FORMAT, NULL);
    free(text);
    const char *directory = json_string_value(json_object_get(root, "directory"));
    json_t *files = json_object_get(root, "files");
    const bool loaded = json_integer_value(json_object_get(root, "capscl_objects")) == FORMAT &&
                        directory && !strstr(directory, "..") && json_is_object(files) &&
                        objects_set_directory(o, directory);
    o->files = loaded ? json_incref(files) : json_object();
    json_decref(root);
    return loaded;
}

static void objects_save(const objects *o, const char *cache_dir, const char *record)
{
    json_t *root = json_pack("{s:i, s:o, s:O}", "capscl_objects", FORMAT, "directory",
        caps_json_text(o->directory), "files", o->files);
    char *text = root ? caps_json_format(root, 0, 6) : NULL;
    if (text)
        (void)caps_cache_write(cache_dir, record, text, strlen(text), NULL);
    json_decref(root);
    free(text);
}

static void objects_release(objects *o)
{
    free(o->directory);
    free(o->path);
    json_decref(o->files);
}

static unsigned sum_of(const unsigned char *data, size_t n)
{
    return (unsigned)crc32_z(0, data, n);
}

static bool is_whole(const char *name, const unsigned char *data, size_t n)
{
    return ends_with(name, ".so") ? caps_object_is_library(data, n)
                                  : caps_object_is_bitcode(data, n);
}

static bool is_damaged(const json_t *known, const char *name, const unsigned char *data, size_t n)
{
    if (known)
        return json_integer_value(json_array_get(known, 0)) != (json_int_t)n ||
               json_integer_value(json_array_get(known, 1)) != sum_of(data, n);
    return !is_whole(name, data, n);
}

static void check_object(void *user, const char *name, const char *path, const struct stat *st)
{
    objects *o = user;
    unsigned char *data = NULL;
    size_t n = 0;
    if (!is_object(name, st) || caps_file_read_own(&data, &n, path, OBJECT_LIMIT, NULL) != CAPS_OK)
        return;
    if (is_damaged(json_object_get(o->files, name), name, data, n) && unlink(path) == 0) {
        if (o->damaged++ == 0)
            caps_text_clean(o->text, o->text_bytes, path);
    }
    free(data);
}

static void keep_object(void *user, const char *name, const char *path, const struct stat *st)
{
    objects *o = user;
    unsigned char *data = NULL;
    size_t n = 0;
    const json_t *known = json_object_get(o->files, name);
    if (!is_object(name, st) || json_integer_value(json_array_get(known, 2)) == date_of(st) ||
        caps_file_read_own(&data, &n, path, OBJECT_LIMIT, NULL) != CAPS_OK)
        return;
    json_t *row =
        json_pack("[I, I, I]", (json_int_t)n, (json_int_t)sum_of(data, n), (json_int_t)date_of(st));
    if (is_whole(name, data, n))
        o->changed = json_object_set(o->files, name, row) == 0 || o->changed;
    else
        unlink(path); /* it was there before there were sums */
    json_decref(row);
    free(data);
}

/* ---- which were built since then ------------------------------------------------------------ */

typedef struct recent {
    struct timespec since;
    size_t n;
    char *names[64];
} recent;

static bool is_before(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

static void find_recent(void *user, const char *name, const char *path, const struct stat *st)
{
    recent *r = user;
    struct stat touched;
    char *file = S_ISDIR(st->st_mode) ? caps_path_join(path, "last_accessed") : NULL;
    if (file && stat(file, &touched) == 0 && !is_before(&touched.st_mtim, &r->since) &&
        r->n < sizeof r->names / sizeof r->names[0])
        r->names[r->n++] = caps_format("%s", name);
    free(file);
}

static void recent_find(recent *r, const struct timespec *since)
{
    char *place = caps_driver_cache_place();
    *r = (recent){.since = *since};
    if (place)
        walk(place, "", 2, find_recent, r);
    free(place);
}

static void recent_release(recent *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->names[i]);
}

struct timespec caps_objects_time(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME_COARSE, &now); /* that of files, which is not the exact one */
    return now;
}

/* ---- together ------------------------------------------------------------------------------- */

size_t caps_objects_check(const char *record, char *text, size_t bytes)
{
    objects o = {.text = text, .text_bytes = bytes};
    if (objects_load(&o, record))
        walk(o.path, "", DEPTH, check_object, &o);
    objects_release(&o);
    return o.damaged;
}

void caps_objects_keep(const char *cache_dir, const char *record, const struct timespec *begun)
{
    objects o = {.text = NULL};
    /* Of several that were built meanwhile, in other processes, this one is not known. */
    if (!objects_load(&o, record) && begun) {
        recent r;
        recent_find(&r, begun);
        o.changed = r.n == 1 && r.names[0] && objects_set_directory(&o, r.names[0]);
        recent_release(&r);
    }
    if (o.path)
        walk(o.path, "", DEPTH, keep_object, &o);
    if (o.path && o.changed)
        objects_save(&o, cache_dir, record);
    objects_release(&o);
}

typedef struct removal {
    const struct timespec *before;
    bool removed;
} removal;

static void remove_object(void *user, const char *name, const char *path, const struct stat *st)
{
    removal *r = user;
    if (is_object(name, st) && is_before(&st->st_mtim, r->before) && unlink(path) == 0)
        r->removed = true;
}

/* A process that is ended while it builds has touched nothing: the program's bitcode may be what
 * ended it. */
static void remove_cut(void *user, const char *name, const char *path, const struct stat *st)
{
    removal *r = user;
    struct stat of_file;
    char *file = S_ISDIR(st->st_mode) ? caps_path_join(path, "program.bc") : NULL;
    const int fd = file ? open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    (void)name;
    if (fd >= 0 && fstat(fd, &of_file) == 0 && S_ISREG(of_file.st_mode)) {
        const size_t n = (size_t)of_file.st_size;
        void *data = n > 0 ? mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
        const bool whole = data != MAP_FAILED && caps_object_is_bitcode(data, n);
        if (data != MAP_FAILED)
            munmap(data, n);
        r->removed = (!whole && unlink(file) == 0) || r->removed;
    }
    if (fd >= 0)
        close(fd);
    free(file);
}

bool caps_objects_remove_since(const struct timespec *begun)
{
    recent r;
    removal all = {begun, false};
    char *place = caps_driver_cache_place();
    recent_find(&r, begun);
    for (size_t i = 0; i < r.n; i++) {
        char *path = place && r.names[i] ? caps_path_join(place, r.names[i]) : NULL;
        if (path)
            walk(path, "", DEPTH, remove_object, &all);
        free(path);
    }
    recent_release(&r);
    if (place)
        walk(place, "", 2, remove_cut, &all);
    free(place);
    return all.removed;
}
