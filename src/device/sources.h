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
#endif
