/* conv.h: what a convolution needs beside the arena's tensors. */
#ifndef CAPS_CONV_H
#define CAPS_CONV_H

#include <capscl/ops.h>

/* Most bytes of caps_gemm_scratch_get that the convolution takes with this workspace (elements);
 * with `backward`, that direction's products too. */
size_t caps_conv2d_scratch(const caps_runtime *rt, const size_t x_shape[4], const size_t w_shape[4],
    const caps_conv2d *conv, size_t workspace, bool backward);

#endif
