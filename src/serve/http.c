/* http.c: see http.h. */
#include "http.h"

#include <dlfcn.h>
#include <stddef.h>

#include "fail.h"

#ifndef CAPSCL_MICROHTTPD
#define CAPSCL_MICROHTTPD "libmicrohttpd.so.12"
#endif

caps_http_library caps_http;

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
#define CAPS_HTTP_ROW(name) {"MHD_" #name, offsetof(caps_http_library, name)},
    CAPS_HTTP_FUNCTIONS(CAPS_HTTP_ROW)
#undef CAPS_HTTP_ROW
};

/* It stays loaded. */
caps_status caps_http_load(caps_error *err)
{
    if (caps_http.start_daemon)
        return CAPS_OK;
    void *library = dlopen(CAPSCL_MICROHTTPD, RTLD_NOW | RTLD_LOCAL);
    caps_http_library found = {0};
    const char *missing = library ? NULL : dlerror();
    for (size_t i = 0; !missing && i < sizeof functions / sizeof functions[0]; i++) {
        void *function = dlsym(library, functions[i].name);
        if (!function)
            missing = functions[i].name;
        *(void **)(void *)((char *)&found + functions[i].offset) = function;
    }
    if (missing)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "serve: libmicrohttpd cannot be loaded, need its package (libmicrohttpd12): %s",
            missing);
    caps_http = found;
    return CAPS_OK;
}
