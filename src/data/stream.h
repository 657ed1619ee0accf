/* stream.h: the bytes of a file, decompressed where its name ends in ".gz". */
#ifndef CAPS_STREAM_H
#define CAPS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <zlib.h>

#include <capscl/error.h>

#define CAPS_STREAM_CHUNK 65536

/* zlib's inflate in place of its gz* functions: those pass data that is not gzip through as it is,
 * and are silent about what follows it. */
typedef struct caps_stream {
    const char *path;
    FILE *file;
    bool gz;
    size_t file_bytes; /* as it lies on the disk */
    z_stream z;
    bool z_started;
    bool member_ended; /* between two gzip members, or at the end */
    unsigned char in[CAPS_STREAM_CHUNK];
} caps_stream;

/* `path` must outlive the stream, which is to be closed also where this fails.
 * CAPS_ERR_NOT_FOUND, CAPS_ERR_FORMAT (no regular file), CAPS_ERR_MEMORY. */
caps_status caps_stream_open(caps_stream *s, const char *path, caps_error *err);
/* Fills data[0..n); *got < n only at the end of the file. CAPS_ERR_NOT_FOUND (it cannot be read),
 * CAPS_ERR_FORMAT (a damaged .gz), CAPS_ERR_MEMORY. */
caps_status caps_stream_read(caps_stream *s, void *data, size_t n, size_t *got, caps_error *err);
void caps_stream_close(caps_stream *s); /* a zeroed one is allowed */

#endif
