/* linear.h: what a linear layer needs beside the arena's tensors. */
#ifndef CAPS_LINEAR_H
#define CAPS_LINEAR_H

#include <capscl/ops.h>

/* Most bytes of caps_gemm_scratch_get that it takes for b images; with `backward`, that direction's
 * products too, and with `needs_input_gradient` that of x among them. Called where a layer is
 * planned: it records the algorithms of the products that the whole batch takes (choice.h). */
size_t caps_linear_plan(const caps_runtime *rt, size_t b, size_t in, size_t out, bool backward,
    bool needs_input_gradient);

/* The same with the gradient of x wherever there is a backward. */
size_t caps_linear_scratch(const caps_runtime *rt, size_t b, size_t in, size_t out, bool backward);

#endif
