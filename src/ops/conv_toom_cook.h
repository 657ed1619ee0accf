/* conv_toom_cook.h: what both families' Toom-Cook convolutions share: points and tiles.
 *
 * The image is cut into tiles of out_y x out_x outputs, tile and kernel into the phases of the
 * stride; each phase of a tile has points x points elements, and products are made for every pair
 * of points. A pair of complex points has three planes: real part, imaginary part, their sum. */
#ifndef CAPS_CONV_TOOM_COOK_H
#define CAPS_CONV_TOOM_COOK_H

#include "conv.h"

typedef struct caps_toom_cook {
    size_t points, bins, planes, all; /* complex bins; planes without and with their sums */
    size_t taps_y, taps_x, out_y, out_x;
    size_t tiles_y, tiles_x, tiles; /* of an image */
    size_t k;                       /* input channels and phases */
} caps_toom_cook;

/* The points with the fewest products; false: none can serve. */
bool caps_toom_cook_choose(caps_toom_cook *best, const caps_conv_sizes *z);

/* What a family does: as in caps_conv_implementation, for points that are chosen. */
typedef struct caps_toom_cook_family {
    /* NULL: it can serve. */
    const char *(*unsupported_reason)(const caps_conv_sizes *z, const caps_toom_cook *p);
    double (*cost)(const caps_conv_sizes *z, const caps_toom_cook *p);
    size_t (*workspace)(const caps_conv_sizes *z, const caps_toom_cook *p, size_t n, bool backward);
    size_t (*cached)(const caps_conv_sizes *z, const caps_toom_cook *p, size_t n);
    /* The two of products by caps_gemm; NULL: there are none. */
    size_t (*scratch)(const caps_runtime *rt, const caps_conv_sizes *z, const caps_toom_cook *p,
        size_t n, bool backward);
    void (*plan)(const caps_runtime *rt, const caps_conv_sizes *z, const caps_toom_cook *p,
        size_t n, bool backward, bool needs_input_gradient);
    caps_status (*forward)(caps_runtime *rt, const caps_conv_sizes *z, const caps_toom_cook *p,
        const caps_conv_tensors *t, const caps_tensor *workspace, size_t n, caps_conv_cached cached,
        caps_error *err);
    caps_status (*backward)(caps_runtime *rt, const caps_conv_sizes *z, const caps_toom_cook *p,
        const caps_conv_tensors *t, const caps_tensor *workspace, size_t n, caps_conv_cached cached,
        caps_error *err);
} caps_toom_cook_family;

extern const caps_toom_cook_family caps_toom_cook_cpu, caps_toom_cook_gpu;

/* Planes begin on whole cache lines: floats. */
enum { CAPS_TOOM_COOK_ALIGN = 16 };

/* The part of the workspace that begins `first` floats behind its aligned beginning. */
caps_tensor caps_toom_cook_place(const caps_tensor *workspace, size_t first);

#endif
