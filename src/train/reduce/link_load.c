/* link_load.c: see link_load.h. */
#define _GNU_SOURCE /* dladdr */
#include "link_load.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"

#define MODULE "capscl-mpi.so"
#ifndef CAPSCL_MPI_LIBRARY
#define CAPSCL_MPI_LIBRARY ""
#endif
#ifndef CAPSCL_MODULE_FROM_BIN
#define CAPSCL_MODULE_FROM_BIN "../lib/capscl"
#endif

const char *caps_link_built_with(void)
{
    return CAPSCL_MPI_LIBRARY;
}

static const char anchor; /* in the program or the library, whichever holds this file */

/* path[PATH_MAX]; false: it is nowhere. */
static bool find_module(char *path)
{
    static const char *const places[] = {"", "capscl/", CAPSCL_MODULE_FROM_BIN "/"};
    char own[PATH_MAX];
    Dl_info info;
    ssize_t n = -1;
    if (dladdr(&anchor, &info) != 0 && info.dli_fname && strstr(info.dli_fname, ".so"))
        n = snprintf(own, sizeof own, "%s", info.dli_fname);
    else
        n = readlink("/proc/self/exe", own, sizeof own - 1);
    if (n <= 0 || (size_t)n >= sizeof own)
        return false;
    own[n] = 0;
    char *slash = strrchr(own, '/');
    if (!slash)
        return false;
    slash[1] = 0;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (snprintf(path, PATH_MAX, "%s%s" MODULE, own, places[i]) < PATH_MAX &&
            access(path, R_OK) == 0)
            return true;
    return false;
}

bool caps_link_is_there(void)
{
    char path[PATH_MAX];
    return find_module(path);
}

caps_status caps_link_load(const caps_link **link, const char *path, caps_error *err)
{
    char found[PATH_MAX];
    if (!path && !find_module(found))
        return caps_fail(err, CAPS_ERR_RANK, "this build of capscl has no MPI (" MODULE ")");
    path = path ? path : found;
    /* Its symbols are for the plugins of the MPI library too. */
    void *module = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!module)
        return caps_fail(err, CAPS_ERR_RANK, "MPI cannot be loaded: %s", dlerror());
    const caps_link *(*get)(void) = NULL;
    *(void **)&get = dlsym(module, CAPS_LINK_SYMBOL);
    *link = get ? get() : NULL;
    return *link && (*link)->version == CAPS_LINK_VERSION
               ? CAPS_OK
               : caps_fail(err, CAPS_ERR_RANK, "%s: is of another capscl", path);
}
