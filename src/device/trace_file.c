/* trace_file.c: see trace_file.h. */
#include "trace_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "trace.h"

void caps_trace_file_flush(caps_trace_file *out)
{
    if (out->failure.status == CAPS_OK && out->used > 0)
        caps_atomic_write(&out->file, out->buffer, out->used, &out->failure);
    out->used = 0;
}

void caps_trace_file_text(caps_trace_file *out, const char *text)
{
    size_t n = strlen(text);
    while (n > 0) {
        if (out->used == CAPS_TRACE_FILE_BYTES)
            caps_trace_file_flush(out);
        const size_t left = CAPS_TRACE_FILE_BYTES - out->used, some = n < left ? n : left;
        memcpy(out->buffer + out->used, text, some);
        out->used += some;
        text += some;
        n -= some;
    }
}

void caps_trace_file_put(caps_trace_file *out, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    caps_trace_file_text(out, text);
}

char *caps_trace_quote(const char *text)
{
    json_t *value = caps_json_text(text);
    char *quoted = caps_json_format(value, 0, 17);
    json_decref(value);
    return quoted;
}
