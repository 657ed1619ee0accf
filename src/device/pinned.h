/* pinned.h: host memory that a GPU reads by itself. From any other memory a driver copies first,
 * and may make the host wait for that.
 *
 * It is a buffer made with CL_MEM_ALLOC_HOST_PTR that stays mapped for as long as it lives. */
#ifndef CAPS_PINNED_H
#define CAPS_PINNED_H

#include <capscl/device.h>

typedef struct caps_pinned {
    caps_runtime *rt;
    cl_mem buffer; /* NULL: none */
    void *host;
} caps_pinned;

/* Is it of use? Not for a processor, which reads all memory alike. */
bool caps_pinned_helps(const caps_runtime *rt);
/* `bytes` > 0 of it, on any device; waits for the queue. Where the driver has none: NULL, and plain
 * memory does. user: a caps_pinned that has none yet, with its rt. */
void *caps_pinned_take(void *user, size_t bytes);
/* Once no command in the queue reads it any more. Nothing where there is none. */
void caps_pinned_give(void *user);

#endif
