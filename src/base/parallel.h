/* parallel.h: a loop over a range, cut between a few threads. */
#ifndef CAPS_PARALLEL_H
#define CAPS_PARALLEL_H

#include <stddef.h>

/* body(context, first, end) for parts of 0 .. n, at least `least` long each, in as many threads as
 * there are processors (this one is among them). Parts must not depend on each other, nor the
 * result on how they are cut. Where no thread can be had this one does it all. */
void caps_parallel(
    size_t n, size_t least, void (*body)(void *context, size_t first, size_t end), void *context);

#endif
