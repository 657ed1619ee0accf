/* sources.h: the kernel sources embedded in the library, sorted by name (made by
 * cmake/embed.cmake). */
#ifndef CAPS_SOURCES_H
#define CAPS_SOURCES_H
#include <stddef.h>
typedef struct caps_source {
    const char
        *name; /* "squash.cl"; "x_cpu.cl" and "x_gpu.cl" belong to one family, x.cl to both */
    const char *text; /* ends with a zero byte that `bytes` does not count */
    size_t bytes;
} caps_source;
extern const caps_source caps_sources[]; /* the last has name NULL */

/* $CAPSCL_CL_PATH, where sources are read from in place of these; NULL: not set. */
const char *caps_sources_place(void);
/* 16 digits of a hash of all sources, these (place NULL; computed once) or those of a directory and
 * these where it has none. */
void caps_sources_hash(char text[17], const char *place);

#endif
