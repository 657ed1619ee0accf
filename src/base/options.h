/* options.h: reading a public struct of options whose first member is its size. */
#ifndef CAPS_OPTIONS_H
#define CAPS_OPTIONS_H

#include <stddef.h>

#include <capscl/error.h>

/* Copies the options at `from` into the zeroed storage `to` of `to_size` bytes, and sets the size
 * there to to_size. `from_size` is what the caller's struct says of itself (CAPS_OPTIONS): smaller
 * than to_size where the caller was compiled against an older header, whose later members are then
 * 0, their default. from NULL: all defaults.
 * Errors: CAPS_ERR_ARGUMENT with `name` where from_size is 0 (CAPS_OPTIONS was forgotten), smaller
 * than the size member or greater than to_size (a caller newer than the library). */
caps_status caps_options_read(void *to, size_t to_size, const void *from, size_t from_size,
    const char *name, caps_error *err);

#endif
