/* textbuf.c: see textbuf.h. */
#include "textbuf.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(caps_textbuf *t, size_t n)
{
    if (t->out_of_memory)
        return false;
    if (n < t->size - t->used)
        return true;
    const size_t size = 2 * t->size + n + 4096;
    char *more = realloc(t->text, size);
    if (!more) {
        t->out_of_memory = true;
        return false;
    }
    t->text = more;
    t->size = size;
    return true;
}

char *caps_textbuf_extend(caps_textbuf *t, size_t n)
{
    if (!reserve(t, n))
        return NULL;
    char *at = t->text + t->used;
    t->used += n;
    t->text[t->used] = 0;
    return at;
}

void caps_textbuf_append(caps_textbuf *t, const char *piece, size_t n)
{
    char *at = caps_textbuf_extend(t, n);
    if (at)
        memcpy(at, piece, n);
}

void caps_textbuf_put(caps_textbuf *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *at = n < 0 ? NULL : caps_textbuf_extend(t, (size_t)n);
    if (!at)
        return;
    va_start(arguments, format);
    vsnprintf(at, (size_t)n + 1, format, arguments);
    va_end(arguments);
}

void caps_textbuf_put_float(caps_textbuf *t, double value)
{
    char text[40];
    for (int digits = 1; digits <= FLT_DECIMAL_DIG; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (!(fabsf(strtof(text, NULL) - (float)value) > 0))
            break;
    }
    caps_textbuf_append(t, text, strlen(text));
}

void caps_textbuf_release(caps_textbuf *t)
{
    free(t->text);
    *t = (caps_textbuf){0};
}

char *caps_bytes_text(char *text, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    snprintf(text, 32, "%.*f %s", unit == 0 || value >= 100 ? 0 : 1, value, units[unit]);
    return text;
}
