/* driver_cache.c: a place for compiled kernels where the usual one cannot be written; see
 * drivers.h. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers.h"
#include "file.h"
#include "text.h"

static pthread_once_t prepared = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *own;       /* the directory of this process; NULL: none */
static pid_t own_maker; /* a child that was forked does not remove it */
static char note[1024];
static char variables[128]; /* that would name other places: "POCL_CACHE_DIR and CAPSCL_CACHE" */

bool caps_cache_is_writable(const char *directory)
{
    char *path = caps_format("%s", directory);
    bool writable = !path; /* out of memory: nothing is known against it */
    for (char *end = path ? path + strlen(path) : NULL; end; end = strrchr(path, '/')) {
        struct stat st;
        *end = 0;
        const char *at = *path ? path : directory[0] == '/' ? "/" : ".";
        if (stat(at, &st) == 0) {
            writable = S_ISDIR(st.st_mode) && faccessat(AT_FDCWD, at, W_OK | X_OK, AT_EACCESS) == 0;
            break;
        }
        if (!*path)
            break;
        if (!strchr(path, '/')) { /* a relative name: it would be made here */
            writable = faccessat(AT_FDCWD, ".", W_OK | X_OK, AT_EACCESS) == 0;
            break;
        }
    }
    free(path);
    return writable;
}

/* Of a directory that nobody else can write to. */
static void remove_tree(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    while (directory && (entry = readdir(directory)) != NULL) {
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *inner = caps_path_join(path, entry->d_name);
        if (inner && lstat(inner, &st) == 0) {
            if (S_ISDIR(st.st_mode))
                remove_tree(inner);
            else
                unlink(inner);
        }
        free(inner);
    }
    if (directory)
        closedir(directory);
    rmdir(path);
}

static void remove_own(void)
{
    if (own && own_maker == getpid())
        remove_tree(own);
    free(own);
    own = NULL;
}

static void make_own(void)
{
    const char *const places[] = {getenv("TMPDIR"), "/tmp"};
    for (size_t i = 0; i < 2 && !own; i++) {
        const bool named = places[i] && *places[i];
        own = named ? caps_format("%s/capscl-XXXXXX", places[i]) : NULL;
        if (own && !mkdtemp(own)) { /* with mode 0700 */
            free(own);
            own = NULL;
        }
    }
    own_maker = getpid();
    if (own)
        atexit(remove_own);
}

const char *caps_cache_fallback(const char *place, const char *variable)
{
    pthread_mutex_lock(&lock);
    if (!own)
        make_own();
    if (own && !strstr(variables, variable)) {
        const size_t used = strlen(variables);
        snprintf(variables + used, sizeof variables - used, "%s%s", used ? " and " : "", variable);
        char why[400] = "HOME is not set";
        if (place)
            snprintf(why, sizeof why, "%.300s cannot be written", place);
        snprintf(note, sizeof note,
            "compiled kernels are kept in %.200s until the program ends, as %s: set %s to a "
            "directory of your own to keep them",
            own, why, variables);
    }
    const char *directory = own;
    pthread_mutex_unlock(&lock);
    return directory;
}

const char *caps_cache_take_note(void)
{
    static char taken[sizeof note];
    pthread_mutex_lock(&lock);
    memcpy(taken, note, sizeof taken);
    note[0] = 0;
    pthread_mutex_unlock(&lock);
    return taken[0] ? taken : NULL;
}

/* As PoCL's pocl_cache.c has it. */
char *caps_driver_cache_place(void)
{
    const char *place = getenv("POCL_CACHE_DIR");
    if (place && *place)
        return caps_format("%s", place);
    place = getenv("XDG_CACHE_HOME");
    if (place && *place)
        return caps_format("%s/pocl/kcache", place);
    place = getenv("HOME");
    return place ? caps_format("%s/.cache/pocl/kcache", place) : caps_format("/tmp/pocl/kcache");
}

bool caps_driver_cache_is_bad(char *text, size_t bytes)
{
    char *place = caps_driver_cache_place();
    const bool bad = place && !caps_cache_is_writable(place);
    caps_text_clean(text, bytes, bad ? place : "");
    free(place);
    return bad;
}

static void prepare(void)
{
    char *place = caps_drivers_have_pocl() ? caps_driver_cache_place() : NULL;
    if (place && !caps_cache_is_writable(place)) {
        const char *directory = caps_cache_fallback(place, "POCL_CACHE_DIR");
        char *pocl = directory ? caps_path_join(directory, "pocl") : NULL;
        if (pocl && mkdir(pocl, 0700) == 0)
            setenv("POCL_CACHE_DIR", pocl, 1);
        free(pocl);
    }
    free(place);
}

void caps_driver_cache_prepare(void)
{
    pthread_once(&prepared, prepare);
}
