/* trace_file.h: the file of a trace, written through a small buffer as the run goes on. */
#ifndef CAPS_TRACE_FILE_H
#define CAPS_TRACE_FILE_H

#include "file.h"

enum { CAPS_TRACE_FILE_BYTES = 1 << 16 };

typedef struct caps_trace_file {
    caps_atomic_file file;
    char buffer[CAPS_TRACE_FILE_BYTES];
    size_t used;
    caps_error failure; /* status CAPS_OK: none; else nothing is written any more */
} caps_trace_file;

/* Text of any length; a format of at most 255 characters; what is in the buffer to the file. */
void caps_trace_file_text(caps_trace_file *out, const char *text);
void caps_trace_file_put(caps_trace_file *out, const char *format, ...) CAPS_PRINTF(2, 3);
void caps_trace_file_flush(caps_trace_file *out);

#endif
