/* conv_winograd.h: what conv_winograd.c leaves to conv_winograd_tiles.c: kernels of at most 3x3, in
 * two dimensions. Shapes: see caps_conv_sizes. */
#ifndef CAPS_CONV_WINOGRAD_H
#define CAPS_CONV_WINOGRAD_H

#include "conv.h"

/* Whether tiles can serve, forward and backward; stride 1 has been seen to. */
bool caps_winograd_tiles_serve(const caps_conv_sizes *z);

/* See caps_conv_implementation. */
double caps_winograd_tiles_cost(const caps_conv_sizes *z);
size_t caps_winograd_tiles_workspace(const caps_conv_sizes *z, size_t n, bool backward);
caps_status caps_winograd_tiles_forward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_error *err);
caps_status caps_winograd_tiles_backward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_error *err);

#endif
