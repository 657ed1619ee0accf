/* textbuf.h: text that grows in memory. A failure to find memory is kept until it is asked for, so
 * that it is checked once, at the end. */
#ifndef CAPS_TEXTBUF_H
#define CAPS_TEXTBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capscl/error.h>

/* Begins zeroed. */
typedef struct caps_textbuf {
    char *text; /* NULL before the first piece; ends with a 0 */
    size_t used, size;
    bool out_of_memory;
} caps_textbuf;

void caps_textbuf_put(caps_textbuf *t, const char *format, ...) CAPS_PRINTF(2, 3);
void caps_textbuf_append(caps_textbuf *t, const char *piece, size_t n);
/* n bytes at the end that the caller fills (a 0 follows them), or NULL: out of memory. */
char *caps_textbuf_extend(caps_textbuf *t, size_t n);
void caps_textbuf_release(caps_textbuf *t); /* a zeroed one is allowed */

/* A number with as few digits as give the same float32 again. */
void caps_textbuf_put_float(caps_textbuf *t, double value);

/* "1.5 GiB", "12.3 MiB": text of at least 32 bytes, which is returned. */
char *caps_bytes_text(char *text, uint64_t bytes);

#endif
