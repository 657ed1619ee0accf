/* slices.h: how a piece of the gradients is cut among the ranks, and how their parts are added. */
#ifndef CAPS_SLICES_H
#define CAPS_SLICES_H

#include <capscl/train.h>

/* Of a piece of `count` elements, those that rank k of `ranks` owns: from *first on, so many. */
size_t caps_slice_get(size_t *first, size_t count, int ranks, int k);
/* Bytes of an element on its way. */
size_t caps_slice_width(caps_reduce way);
/* Of a rank's part of a slice, `length` from `at` on: to sum, or added to it. */
void caps_slice_add(
    caps_reduce way, const void *part, float *sum, size_t at, size_t length, bool begins);

#endif
