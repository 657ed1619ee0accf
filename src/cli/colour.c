/* colour.c: see colour.h. */
#include "colour.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_coloured(FILE *stream)
{
    static int known[2] = {-1, -1};
    int *is = &known[stream == stderr];
    if (*is < 0) {
        const char *term = getenv("TERM"), *none = getenv("NO_COLOR");
        *is = isatty(fileno(stream)) && term && *term && strcmp(term, "dumb") != 0 &&
              !(none && *none);
    }
    return *is;
}

const char *caps_colour(FILE *stream, caps_tint tint)
{
    static const char *const codes[] = {"\033[31m", "\033[32m", "\033[33m", "\033[34m"};
    return is_coloured(stream) ? codes[tint] : "";
}

const char *caps_colour_end(FILE *stream)
{
    return is_coloured(stream) ? "\033[0m" : "";
}
