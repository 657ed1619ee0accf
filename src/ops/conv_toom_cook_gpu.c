/* conv_toom_cook_gpu.c: the Toom-Cook convolution of the GPU family. Layouts and equations:
 * cl/toom_cook_gpu.clt. The products of all pairs of points are one strided batch of caps_gemm:
 *
 *     Y^ [rows, M] = X^ [rows, K] W^ [M, K]^T     rows: images x tiles
 *     dX^ [rows, K] = dY^ [rows, M] W^ [M, K]
 *     dW^ [M, K] = dY^ [rows, M]^T X^ [rows, K]   a later chunk adds to it
 *
 * The bias's gradient is the sum of dY^ at the points (1, 1), where the batch goes in one chunk.
 *
 * The workspace holds W^, X^, Y^ and for backward dX^ and, where the batch goes in several chunks,
 * dW^; else dW^ takes the place of W^, which is done with by then. */
#include <stdio.h>

#include "bias_act.h"
#include "conv_toom_cook.h"
#include "gemm.h"
#include "require.h"
#include "fail.h"
#include "launch.h"

enum {
    GROUP = 256, /* items of a work-group, where the device takes it */
    LANES = 64,  /* columns of a work-group, where local memory has room for their patches */
    ROW = 4,     /* floats: rows begin on multiples of it */
};

/* ---- sizes ---------------------------------------------------------------------------------- */

static size_t row_k(const caps_toom_cook *p)
{
    return caps_round_up(p->k, ROW);
}

static size_t row_m(const caps_conv_sizes *z)
{
    return caps_round_up(z->m, ROW);
}

static const char *toom_cook_unsupported(const caps_conv_sizes *z, const caps_toom_cook *p)
{
    const size_t image = caps_conv_times(z->h, z->w), widest = p->k > z->m ? p->k : z->m;
    if (caps_conv_times(image, z->c) > CAPS_REQUIRE_LIMIT ||
        caps_conv_times(z->pixels, z->m) > CAPS_REQUIRE_LIMIT || z->taps > CAPS_REQUIRE_LIMIT ||
        caps_conv_times(p->k, z->m) > CAPS_REQUIRE_LIMIT ||
        caps_conv_times(p->tiles, widest) > CAPS_REQUIRE_LIMIT)
        return "need fewer than 2^31 elements an image";
    return NULL;
}

/* A product has tiles, and a round of it steps: what is not whole is computed all the same. */
enum { TILE = 32, STEP = 16 };

/* The planes of x, y and w are written and read; there are as many products as planes. */
static double toom_cook_cost(const caps_conv_sizes *z, const caps_toom_cook *p)
{
    const double rows = (double)p->tiles * (double)z->b, all = (double)p->all;
    const double k = (double)row_k(p), m = (double)row_m(z);
    const double padded = (double)caps_round_up((size_t)rows, TILE) *
                          (double)caps_round_up(z->m, TILE) * (double)caps_round_up(p->k, STEP);
    return 1.2 * all * padded + CAPS_CONV_GPU_BYTE * 4 * 2 * all * (k * m + rows * (k + m));
}

/* ---- workspace ------------------------------------------------------------------------------ */

/* Where the parts lie, in floats from its aligned beginning. */
typedef struct layout {
    size_t w, x, y, dx, dw, end;
} layout;

static size_t toom_cook_part(const caps_toom_cook *p, size_t rows, size_t row)
{
    const size_t floats = caps_conv_times(p->all, caps_conv_times(rows, row));
    return floats > SIZE_MAX - CAPS_TOOM_COOK_ALIGN ? SIZE_MAX
                                                    : caps_round_up(floats, CAPS_TOOM_COOK_ALIGN);
}

static layout lay_out(
    const caps_conv_sizes *z, const caps_toom_cook *p, size_t n, bool backward, bool dx)
{
    const size_t rows = caps_conv_times(n, p->tiles), w = toom_cook_part(p, z->m, row_k(p));
    const size_t x = toom_cook_part(p, rows, row_k(p)), y = toom_cook_part(p, rows, row_m(z));
    layout l = {.x = w};
    l.y = caps_conv_plus(l.x, x);
    l.end = caps_conv_plus(l.y, y);
    if (!backward || !dx)
        return l;
    l.dx = l.end;
    l.end = caps_conv_plus(l.dx, x);
    if (n < z->b) {
        l.dw = l.end;
        l.end = caps_conv_plus(l.dw, w);
    }
    return l;
}

static size_t toom_cook_workspace_of(
    const caps_conv_sizes *z, const caps_toom_cook *p, size_t n, bool backward)
{
    const size_t rows = caps_conv_times(n, p->tiles), k = row_k(p), m = row_m(z);
    /* Work-groups are counted in 32 bits. */
    if (caps_conv_times(rows, k > m ? k : m) > CAPS_REQUIRE_LIMIT)
        return SIZE_MAX;
    return caps_conv_plus(lay_out(z, p, n, backward, true).end, CAPS_TOOM_COOK_ALIGN);
}

/* W^ and X^. */
static size_t toom_cook_cached(const caps_conv_sizes *z, const caps_toom_cook *p, size_t n)
{
    return lay_out(z, p, n, false, false).y + CAPS_TOOM_COOK_ALIGN;
}

/* ---- products ------------------------------------------------------------------------------- */

/* Those of n images, in the order of the head. */
typedef struct products {
    caps_gemm_shape y, dx, dw;
} products;

static products products_of(const caps_conv_sizes *z, const caps_toom_cook *p, size_t n)
{
    const size_t rows = n * p->tiles, k = row_k(p), m = row_m(z);
    const caps_gemm_shape same = {.alpha = 1, .count = p->all};
    products s = {same, same, same};
    s.y.trans_b = true;
    s.y.m = s.dx.m = s.dw.k = rows;
    s.y.n = s.dx.k = s.dw.m = z->m;
    s.y.k = s.dx.n = s.dw.n = p->k;
    s.y.ldc = s.dx.lda = s.dw.lda = m;
    s.y.lda = s.y.ldb = s.dx.ldb = s.dx.ldc = s.dw.ldb = s.dw.ldc = k;
    s.y.stride_a = s.dx.stride_c = s.dw.stride_b = rows * k;
    s.y.stride_b = s.dx.stride_b = s.dw.stride_c = z->m * k;
    s.y.stride_c = s.dx.stride_a = s.dw.stride_a = rows * m;
    s.dw.trans_a = true;
    return s;
}

static size_t toom_cook_scratch(const caps_runtime *rt, const caps_conv_sizes *z,
    const caps_toom_cook *p, size_t n, bool backward)
{
    const products s = products_of(z, p, n);
    const caps_gemm_shape *shapes[] = {&s.y, &s.dx, &s.dw};
    size_t most = 0;
    for (size_t i = 0; i < (backward ? 3 : 1); i++) {
        const size_t bytes = caps_gemm_scratch(rt, shapes[i]);
        most = bytes > most ? bytes : most;
    }
    return most;
}

static void toom_cook_plan(const caps_runtime *rt, const caps_conv_sizes *z,
    const caps_toom_cook *p, size_t n, bool backward, bool needs_input_gradient)
{
    const products s = products_of(z, p, n);
    if (!backward)
        (void)caps_gemm_plan(rt, &s.y);
    if (backward && needs_input_gradient)
        (void)caps_gemm_plan(rt, &s.dx);
    if (backward)
        (void)caps_gemm_plan(rt, &s.dw);
}

/* ---- launches ------------------------------------------------------------------------------- */

typedef struct call {
    caps_runtime *rt;
    const caps_conv_sizes *z;
    const caps_toom_cook *p;
    size_t n, rows, channels, lanes, group; /* of a chunk, in images and rows; of a work-group */
    char options[256];
    caps_tensor w, x, y, dx, dw; /* the parts of the workspace */
} call;

/* Columns of a work-group, so that its patches fit local memory: at least a channel's phases. */
static size_t lanes_of(const caps_runtime *rt, const caps_conv_sizes *z, const caps_toom_cook *p)
{
    const size_t floats = (size_t)caps_runtime_device(rt)->local_mem_bytes / sizeof(float);
    const size_t phases = z->stride * z->stride;
    size_t lanes = LANES;
    while (lanes / 2 >= phases && p->planes * (lanes + 1) > floats)
        lanes /= 2;
    return lanes;
}

static void toom_cook_begin(call *c, caps_runtime *rt, const caps_conv_sizes *z,
    const caps_toom_cook *p, const caps_tensor *workspace, size_t chunk, bool backward,
    bool needs_input_gradient)
{
    const layout l = lay_out(z, p, chunk, backward, needs_input_gradient);
    *c = (call){.rt = rt, .z = z, .p = p};
    c->lanes = lanes_of(rt, z, p);
    c->channels = c->lanes / (z->stride * z->stride);
    c->group = caps_group_size(rt, GROUP);
    c->w = caps_toom_cook_place(workspace, l.w);
    c->x = caps_toom_cook_place(workspace, l.x);
    c->y = caps_toom_cook_place(workspace, l.y);
    c->dx = caps_toom_cook_place(workspace, l.dx);
    c->dw = caps_toom_cook_place(workspace, l.dw);
    snprintf(c->options, sizeof c->options,
        " -DTOOM_COOK_POINTS=%zu -DTOOM_COOK_KERNEL_Y=%zu -DTOOM_COOK_KERNEL_X=%zu"
        " -DTOOM_COOK_TAPS_Y=%zu -DTOOM_COOK_TAPS_X=%zu -DTOOM_COOK_OUT_Y=%zu"
        " -DTOOM_COOK_OUT_X=%zu -DTOOM_COOK_STRIDE=%zu -DTOOM_COOK_ITEMS=%zu -DTOOM_COOK_LANES=%zu",
        p->points, z->kh, z->kw, p->taps_y, p->taps_x, p->out_y, p->out_x, z->stride, c->group,
        c->lanes);
}

static void set_images(call *c, size_t n)
{
    c->n = n;
    c->rows = n * c->p->tiles;
}

/* One group for each block of columns of each of `rows`. */
static caps_status transform(const call *c, const char *kernel, const caps_arg *args, size_t nargs,
    size_t rows, size_t blocks, caps_error *err)
{
    const caps_template template = {"toom_cook_gpu.clt", c->options};
    return caps_launch_template(c->rt, &template, kernel, args, nargs, 1,
        (size_t[]){rows * blocks * c->group}, &c->group, err);
}

static size_t blocks_k(const call *c)
{
    return caps_div_up(c->z->c, c->channels);
}

static size_t blocks_m(const call *c)
{
    return caps_div_up(c->z->m, c->lanes);
}

static caps_status from_weights(const call *c, const caps_tensor *w, caps_error *err)
{
    const caps_arg args[] = {CAPS_ARG_TENSOR(&c->w), CAPS_ARG_TENSOR(w), CAPS_ARG_UINT(c->z->c),
        CAPS_ARG_UINT(blocks_k(c)), CAPS_ARG_UINT(row_k(c->p)), CAPS_ARG_UINT(c->z->m)};
    return transform(c, "toom_cook_w", CAPS_ARGS(args), c->z->m, blocks_k(c), err);
}

/* dbias NULL: not wanted, else of what dY^ holds. */
static caps_status to_weights(
    const call *c, const caps_tensor *dw, const caps_tensor *dbias, caps_error *err)
{
    const caps_arg args[] = {CAPS_ARG_TENSOR(dw), CAPS_ARG_TENSOR(dbias), CAPS_ARG_TENSOR(&c->dw),
        CAPS_ARG_TENSOR(&c->y), CAPS_ARG_UINT(c->z->c), CAPS_ARG_UINT(blocks_k(c)),
        CAPS_ARG_UINT(row_k(c->p)), CAPS_ARG_UINT(c->z->m), CAPS_ARG_UINT(row_m(c->z)),
        CAPS_ARG_UINT(c->rows)};
    return transform(c, "toom_cook_dw", CAPS_ARGS(args), c->z->m, blocks_k(c), err);
}

static caps_status from_images(const call *c, const caps_tensor *x, caps_error *err)
{
    const caps_conv_sizes *z = c->z;
    const caps_arg args[] = {CAPS_ARG_TENSOR(&c->x), CAPS_ARG_TENSOR(x), CAPS_ARG_UINT(z->c),
        CAPS_ARG_UINT(z->h), CAPS_ARG_UINT(z->w), CAPS_ARG_UINT(z->padding),
        CAPS_ARG_UINT(c->p->tiles_x), CAPS_ARG_UINT(c->p->tiles), CAPS_ARG_UINT(blocks_k(c)),
        CAPS_ARG_UINT(row_k(c->p)), CAPS_ARG_UINT(c->rows)};
    return transform(c, "toom_cook_x", CAPS_ARGS(args), c->rows, blocks_k(c), err);
}

/* A launch for every set of tiles that do not overlap: see the kernel. */
static caps_status to_images(const call *c, const caps_tensor *dx, caps_error *err)
{
    const caps_conv_sizes *z = c->z;
    const caps_toom_cook *p = c->p;
    const size_t step_y = caps_div_up(p->points, p->out_y),
                 step_x = caps_div_up(p->points, p->out_x);
    caps_status status = CAPS_OK;
    for (size_t y = 0; y < step_y && y < p->tiles_y; y++)
        for (size_t x = 0; x < step_x && x < p->tiles_x; x++) {
            const size_t tiles =
                caps_div_up(p->tiles_y - y, step_y) * caps_div_up(p->tiles_x - x, step_x);
            const caps_arg args[] = {CAPS_ARG_TENSOR(dx), CAPS_ARG_TENSOR(&c->dx),
                CAPS_ARG_UINT(z->c), CAPS_ARG_UINT(z->h), CAPS_ARG_UINT(z->w),
                CAPS_ARG_UINT(z->padding), CAPS_ARG_UINT(p->tiles_x), CAPS_ARG_UINT(p->tiles),
                CAPS_ARG_UINT(blocks_k(c)), CAPS_ARG_UINT(row_k(p)), CAPS_ARG_UINT(c->rows),
                CAPS_ARG_UINT(y), CAPS_ARG_UINT(x)};
            CAPS_TRY(transform(c, "toom_cook_dx", CAPS_ARGS(args), c->n * tiles, blocks_k(c), err));
        }
done:
    return status;
}

/* toom_cook_y (third: the bias) and toom_cook_dy (third: y). */
static caps_status outputs(const call *c, const char *kernel, const caps_tensor *to,
    const caps_tensor *from, const caps_tensor *third, caps_error *err)
{
    const caps_conv_sizes *z = c->z;
    const caps_arg args[] = {CAPS_ARG_TENSOR(to), CAPS_ARG_TENSOR(from), CAPS_ARG_TENSOR(third),
        CAPS_ARG_UINT(z->act), CAPS_ARG_UINT(z->m), CAPS_ARG_UINT(z->oh), CAPS_ARG_UINT(z->ow),
        CAPS_ARG_UINT(c->p->tiles_x), CAPS_ARG_UINT(c->p->tiles), CAPS_ARG_UINT(blocks_m(c)),
        CAPS_ARG_UINT(row_m(z)), CAPS_ARG_UINT(c->rows)};
    return transform(c, kernel, CAPS_ARGS(args), c->rows, blocks_m(c), err);
}

/* ---- the algorithm -------------------------------------------------------------------------- */

static caps_status toom_cook_forward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_toom_cook *p, const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk,
    caps_conv_cached cached, caps_error *err)
{
    call c;
    caps_status status = CAPS_OK;
    toom_cook_begin(&c, rt, z, p, workspace, chunk, false, false);
    if (!cached.w)
        CAPS_TRY(from_weights(&c, t->w, err));
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        const caps_tensor x = caps_tensor_rows(t->x, first, n);
        const caps_tensor y = caps_tensor_rows(t->y, first, n);
        const products s = products_of(z, p, n);
        set_images(&c, n);
        CAPS_TRY(from_images(&c, &x, err));
        CAPS_TRY(caps_gemm(rt, &c.y, &c.x, &c.w, &s.y, err));
        CAPS_TRY(outputs(&c, "toom_cook_y", &y, &c.y, t->bias, err));
    }
done:
    return status;
}

static caps_status toom_cook_backward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_toom_cook *p, const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk,
    caps_conv_cached cached, caps_error *err)
{
    call c;
    caps_status status = CAPS_OK;
    const bool at_once = chunk >= z->b; /* dY^ of all images is there in the end */
    toom_cook_begin(&c, rt, z, p, workspace, chunk, true, t->dx != NULL);
    if (t->dbias && !at_once)
        CAPS_TRY(caps_bias_act_sum(rt, t->dbias, t->dy, t->y, z->act, z->b, z->m, z->pixels, err));
    if (t->dx && !cached.w)
        CAPS_TRY(from_weights(&c, t->w, err));
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        const caps_tensor x = caps_tensor_rows(t->x, first, n);
        const caps_tensor dy = caps_tensor_rows(t->dy, first, n);
        const caps_tensor y = caps_conv_activated(z, t, first, n);
        products s = products_of(z, p, n);
        set_images(&c, n);
        if (!cached.x || chunk < z->b)
            CAPS_TRY(from_images(&c, &x, err));
        CAPS_TRY(outputs(&c, "toom_cook_dy", &c.y, &dy, &y, err));
        if (t->dx) {
            const caps_tensor dx = caps_tensor_rows(t->dx, first, n);
            CAPS_TRY(caps_gemm(rt, &c.dx, &c.y, &c.w, &s.dx, err));
            CAPS_TRY(to_images(&c, &dx, err));
        }
        s.dw.beta = first > 0 ? 1 : 0;
        CAPS_TRY(caps_gemm(rt, &c.dw, &c.y, &c.x, &s.dw, err));
    }
    CAPS_TRY(to_weights(&c, t->dw, at_once ? t->dbias : NULL, err));
done:
    return status;
}

const caps_toom_cook_family caps_toom_cook_gpu = {toom_cook_unsupported, toom_cook_cost,
    toom_cook_workspace_of, toom_cook_cached, toom_cook_scratch, toom_cook_plan, toom_cook_forward,
    toom_cook_backward};
