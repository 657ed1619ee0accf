/* names.h: names of files from standard input, one a line or ended by zero bytes, as they come. */
#ifndef CAPS_CLI_NAMES_H
#define CAPS_CLI_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include <capscl/error.h>

enum { CAPS_NAME_BYTES = 65536 };

/* Begins zeroed, but for `zero`. */
typedef struct caps_names {
    bool zero; /* a name ends with a zero byte, in place of a line's end */
    bool ended;
    size_t begin, end; /* within bytes: what is read and not given yet */
    char bytes[CAPS_NAME_BYTES];
} caps_names;

/* The next name, freed with free(), in *name. NULL: the input has ended; or, unless `wait`, no whole
 * name comes within a moment, which `ended` tells apart. Empty lines are passed over.
 * CAPS_ERR_FORMAT (a name that is too long or has a zero byte), CAPS_ERR_IO, CAPS_ERR_MEMORY. */
caps_status caps_names_next(caps_names *names, bool wait, char **name, caps_error *err);

#endif
