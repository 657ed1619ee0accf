/* conv_lanes.h: what conv_direct.c and conv_winograd.c share: sixteen images in the lanes of a
 * vector, items that have a band of rows and go through output channels, eight at a time. */
#ifndef CAPS_CONV_LANES_H
#define CAPS_CONV_LANES_H

#include <capscl/ops.h>

enum { CAPS_LANES = 16, CAPS_EIGHT = 8 };
enum { CAPS_BAND = 512 }; /* pixels that an item holds: DIRECT_BAND, WINOGRAD_BAND of the kernels */

/* A convolution of n images, to `outputs` channels of oh x ow: bytes of a row of what an item
 * reads, all channels and sixteen images; how many of these the first row of outputs needs, and
 * every other one. */
typedef struct caps_conv_lines {
    size_t n, outputs, oh, ow, row_bytes, first, step;
} caps_conv_lines;

/* How it is cut: rows of outputs of an item, parts of the output channels, items of a launch. What
 * an item reads fits into a cache, and every unit of the device gets some items. */
typedef struct caps_conv_cut {
    size_t rows, parts, items, blocks;
} caps_conv_cut;

caps_conv_cut caps_conv_cut_of(const caps_runtime *rt, const caps_conv_lines *lines);

/* Into how many parts, at most `most`, each of `items` pieces of work is cut, so that every unit of
 * the device gets some. */
size_t caps_conv_parts(const caps_runtime *rt, size_t items, size_t most);

/* The workspace from element `first` on. */
caps_tensor caps_conv_place(const caps_tensor *workspace, size_t first);

/* Of b images, how many go at once, in equal chunks of whole sixteens: the workspace has room for
 * them behind `first` elements, sixteen images take `each`. */
size_t caps_conv_images(const caps_tensor *workspace, size_t first, size_t each, size_t b);

#endif
