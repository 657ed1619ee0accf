/* options.c: reading a public struct of options whose first member is its size. */
#include "options.h"

#include <string.h>

#include "fail.h"

caps_status caps_options_read(
    void *to, size_t to_size, const void *from, size_t from_size, const char *name, caps_error *err)
{
    memset(to, 0, to_size);
    if (from && (from_size < sizeof(size_t) || from_size > to_size))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "%s: size is %zu, need %zu to %zu: CAPS_OPTIONS(%s)", name, from_size, sizeof(size_t),
            to_size, name);
    if (from)
        memcpy(to, from, from_size);
    memcpy(to, &to_size, sizeof to_size);
    return CAPS_OK;
}
