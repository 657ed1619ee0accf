/* conv.h: the algorithms of a convolution, and what models need of them beside the public
 * functions.
 *
 * conv.c checks tensors, chooses how many images go at once, and hands over to one of
 *     conv_columns.c    im2col and a matrix product: any device, any shape
 *     conv_direct.c     sums over the taps, images in lanes: CPU family, few taps or channels
 *     conv_winograd.c   the same at stride 1, rows of the kernel by F(4, 3), or tiles by
 *                       F(4x4, 3x3)
 *     conv_implicit.c   a matrix product whose columns are never stored: GPU family, any shape
 *     conv_toom_cook.c  short transforms of tiles: kernels of 2 to 9 taps a phase
 */
#ifndef CAPS_CONV_H
#define CAPS_CONV_H

#include <stdint.h>

#include <capscl/ops.h>

#include "choosers.h"

/* A checked problem. x: [b,c,h,w], weight: [m,c,kh,kw], y: [b,m,oh,ow]. */
typedef struct caps_conv_sizes {
    size_t b, c, h, w, m, kh, kw, stride, padding, oh, ow;
    size_t taps, pixels; /* c kh kw; oh ow */
    caps_activation act;
} caps_conv_sizes;

/* What of a forward's transforms still lies in the workspace, untouched, for the same tensors. */
typedef struct caps_conv_cached {
    bool x, w;
} caps_conv_cached;

/* The tensors of one call. Forward: y, x, w, bias; backward: dx, dw, dbias, dy, y, x, w. NULL where
 * absent. */
typedef struct caps_conv_tensors {
    const caps_tensor *y, *x, *w, *bias, *dx, *dw, *dbias, *dy;
} caps_conv_tensors;

typedef struct caps_conv_implementation {
    const char *name;
    /* Why it cannot serve; NULL: it can. needs_input_gradient: the gradient of x is wanted. */
    const char *(*unsupported_reason)(
        const caps_runtime *rt, const caps_conv_sizes *z, bool needs_input_gradient);
    /* What a forward of the whole batch should take, in the time of a multiply-add at the peak; the
     * products of the backward are twice those of the forward for all. */
    double (*cost)(const caps_runtime *rt, const caps_conv_sizes *z);
    /* Elements of workspace for n of the z->b images at once; SIZE_MAX: no number is large
     * enough. rt NULL, here and above and below: the CPU family. */
    size_t (*workspace)(const caps_runtime *rt, const caps_conv_sizes *z, size_t n, bool backward);
    /* See caps_conv2d_cached_elements; NULL: 0. */
    size_t (*cached)(const caps_runtime *rt, const caps_conv_sizes *z, size_t n);
    /* Bytes of caps_gemm_scratch_get for the same. NULL: none. */
    size_t (*scratch)(const caps_runtime *rt, const caps_conv_sizes *z, size_t n, bool backward);
    /* Records the choices that a call with n images at once makes (choice.h). NULL: none. */
    void (*plan)(const caps_runtime *rt, const caps_conv_sizes *z, size_t n, bool backward,
        bool needs_input_gradient);
    caps_status (*forward)(caps_runtime *rt, const caps_conv_sizes *z, const caps_conv_tensors *t,
        const caps_tensor *workspace, size_t n, caps_conv_cached cached, caps_error *err);
    caps_status (*backward)(caps_runtime *rt, const caps_conv_sizes *z, const caps_conv_tensors *t,
        const caps_tensor *workspace, size_t n, caps_conv_cached cached, caps_error *err);
} caps_conv_implementation;

extern const caps_conv_implementation caps_conv_columns, caps_conv_direct, caps_conv_winograd,
    caps_conv_toom_cook, caps_conv_implicit;

/* Images that the workspace (elements) takes at once, in equal chunks; 0: not even one. */
size_t caps_conv_chunk(const caps_conv_implementation *algorithm, const caps_runtime *rt,
    const caps_conv_sizes *z, size_t workspace, bool backward);

/* y of n images, whose activation a gradient is multiplied by; without one dy, which is not read. */
static inline caps_tensor caps_conv_activated(
    const caps_conv_sizes *z, const caps_conv_tensors *t, size_t first, size_t n)
{
    return caps_tensor_rows(z->act != CAPS_ACT_NONE ? t->y : t->dy, first, n);
}

static inline size_t caps_conv_times(size_t a, size_t b)
{
    return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

/* A byte of memory traffic, in multiply-adds at the peak: 110 a nanosecond, and 15 GB/s moved,
 * fetching and thinking in between included. Ratios of this order hold from notebooks to
 * servers. */
#define CAPS_CONV_BYTE 7.0
/* The same for GPUs: 8 (notebooks, Radeon RX 580) to 19 (RX 7900, half of its peak), 12 an H100. */
#define CAPS_CONV_GPU_BYTE 12.0

static inline double caps_conv_byte(const caps_runtime *rt)
{
    return rt && caps_runtime_family(rt) == CAPS_FAMILY_GPU ? CAPS_CONV_GPU_BYTE : CAPS_CONV_BYTE;
}

/* What im2col's columns are given where nothing else is said: 64 MiB on a CPU, whose caches more
 * would leave; on a GPU, which wants large products, an eighth of its memory, and no more than one
 * allocation may have. rt NULL: the CPU family. */
size_t caps_conv_column_bytes(const caps_runtime *rt);

static inline size_t caps_conv_plus(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

/* Most bytes of caps_gemm_scratch_get that the convolution takes with this workspace (elements);
 * with `backward`, that direction's products too. Called where a layer is planned, after
 * caps_conv2d_choose: it records the algorithms of the products that the whole batch takes. */
size_t caps_conv2d_scratch(const caps_runtime *rt, const size_t x_shape[4], const size_t w_shape[4],
    const caps_conv2d *conv, size_t workspace, bool backward);

/* What is chosen for: the problem of a record (choice.h), whose key is "conv 8x3x20x20 16x9x9 s2
 * p0" followed by what is computed: "forward", "training", or "training dx" with the gradient of
 * x. */
typedef struct caps_conv_problem {
    size_t x_shape[4], w_shape[4];
    caps_conv2d conv; /* its algorithm does not count */
    bool backward, needs_input_gradient;
    size_t limit_bytes;
} caps_conv_problem;

/* The algorithms that can serve; their number, at most CAPS_ALGORITHMS. */
size_t caps_conv_candidates(
    const caps_runtime *rt, const caps_conv_problem *problem, caps_conv_algorithm *out);

/* Elements of the workspace, from its first, in which a forward leaves transforms that a later call
 * may find (caps_conv_cached); those behind them may be used for something else meanwhile. */
size_t caps_conv2d_cached_elements(const caps_runtime *rt, const size_t x_shape[4],
    const size_t w_shape[4], const caps_conv2d *conv, size_t workspace);

/* caps_conv2d_forward and _backward that may find transforms of an earlier call in the
 * workspace. */
caps_status caps_conv2d_forward_cached(caps_runtime *rt, const caps_conv_tensors *t,
    const caps_conv2d *conv, const caps_tensor *workspace, caps_conv_cached cached,
    caps_error *err);
caps_status caps_conv2d_backward_cached(caps_runtime *rt, const caps_conv_tensors *t,
    const caps_conv2d *conv, const caps_tensor *workspace, caps_conv_cached cached,
    caps_error *err);

#endif
