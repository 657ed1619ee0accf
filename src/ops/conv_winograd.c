/* conv_winograd.c: convolution at stride 1, rows by F(4, 3), or, where that should take less, tiles
 * by F(4x4, 3x3) (conv_winograd_tiles.c). Sixteen images lie in the lanes of a
 * vector. Kernels and layouts: cl/conv_winograd_cpu.cl.
 *
 * The workspace holds the chunk's images and the weights by their values at six points, and for
 * backward the gradients of each sixteen images; then, in the same place, for dx the weights turned
 * round and dy at the six points, of as many images at once as there is room for. */
#include "conv.h"
#include "conv_lanes.h"
#include "conv_winograd.h"
#include "require.h"
#include "fail.h"
#include "launch.h"

enum { POINTS = 6, ENTRIES = 384 }; /* ENTRIES: WINOGRAD_ENTRIES of the kernels */
enum { FLAT_BYTES = 512 << 10 };    /* of sixteen images, at most, whose layout is flat */

/* A convolution of stride 1 that is computed: that of x, or of dy for dx. */
typedef struct rows {
    size_t channels, outputs, oh, ow, kh, kw;
    size_t tall, tiles, groups;
} rows;

static rows forward_rows(const caps_conv_sizes *z)
{
    return (rows){z->c, z->m, z->oh, z->ow, z->kh, z->kw, z->oh + z->kh - 1, caps_div_up(z->ow, 4),
        caps_div_up(z->kw, 3)};
}

static rows back_rows(const caps_conv_sizes *z)
{
    return (rows){z->m, z->c, z->h, z->w, z->kh, z->kw, z->h + z->kh - 1, caps_div_up(z->w, 4),
        caps_div_up(z->kw, 3)};
}

static size_t plane_of(const rows *r)
{
    return caps_conv_times(r->tall, caps_conv_times(r->tiles * r->groups, POINTS));
}

/* The layout: see the kernels. */
static bool is_flat(const rows *r)
{
    return r->channels * plane_of(r) * CAPS_LANES * sizeof(float) <= FLAT_BYTES;
}

static const char *winograd_unsupported(
    const caps_runtime *rt, const caps_conv_sizes *z, bool needs_input_gradient)
{
    const rows forward = forward_rows(z), back = back_rows(z);
    if (rt && caps_is_gpu(rt))
        return "it is written for the CPU family";
    if (z->stride != 1)
        return "need stride 1";
    if (z->ow + z->kw > CAPS_BAND || (needs_input_gradient && z->w + z->kw > CAPS_BAND))
        return "need rows of fewer than 512 pixels";
    if (caps_conv_times(z->kh, POINTS * forward.groups) > ENTRIES)
        return "need kernels of at most 64 rows of three elements";
    if (caps_conv_times(plane_of(&forward), z->c) > CAPS_REQUIRE_LIMIT / CAPS_LANES ||
        caps_conv_times(plane_of(&back), z->m) > CAPS_REQUIRE_LIMIT / CAPS_LANES ||
        caps_conv_times(z->taps * 2, z->m) > CAPS_REQUIRE_LIMIT / CAPS_LANES)
        return "need fewer than 2^27 elements an image";
    return NULL;
}

static double rows_cost(const caps_conv_sizes *z)
{
    const rows r = forward_rows(z);
    const double images = (double)caps_round_up(z->b, CAPS_LANES);
    const double m = (double)caps_round_up(z->m, CAPS_EIGHT);
    const double products = (double)(POINTS * z->c * z->kh * r.groups);
    return images * (1.1 * m * products * (double)(r.oh * r.tiles) +
                        CAPS_CONV_BYTE * 4 * (double)(r.oh * r.tiles * 4) * m);
}

/* The shape alone decides, so that forward and backward agree. */
static bool by_tiles(const caps_conv_sizes *z)
{
    return caps_winograd_tiles_serve(z) && caps_winograd_tiles_cost(z) < rows_cost(z);
}

static double winograd_cost(const caps_runtime *rt, const caps_conv_sizes *z)
{
    (void)rt;
    return by_tiles(z) ? caps_winograd_tiles_cost(z) : rows_cost(z);
}

/* ---- the workspace -------------------------------------------------------------------------- */

static size_t x_count(const rows *r, size_t n)
{
    return caps_conv_times(caps_round_up(n, CAPS_LANES), caps_conv_times(r->channels, plane_of(r)));
}

static size_t w_count(const rows *r)
{
    return caps_conv_times(caps_round_up(r->outputs, CAPS_LANES),
        caps_conv_times(r->channels, r->kh * r->groups * POINTS));
}

static size_t entries_of(const rows *r)
{
    return caps_conv_plus(caps_conv_times(r->channels, r->kh * r->groups * POINTS), 1);
}

static size_t winograd_workspace_of(
    const caps_runtime *rt, const caps_conv_sizes *z, size_t n, bool backward)
{
    const rows forward = forward_rows(z), back = back_rows(z);
    const size_t w = w_count(&forward), back_w = w_count(&back);
    (void)rt;
    if (by_tiles(z))
        return caps_winograd_tiles_workspace(z, n, backward);
    if (!backward)
        return caps_conv_plus(x_count(&forward, n), w);
    const size_t parts =
        caps_conv_times(caps_div_up(n, CAPS_LANES), caps_conv_times(z->m, entries_of(&forward)));
    /* dy for dx goes where x was, too: sixteen images at least, more where there is room. */
    const size_t dx = caps_conv_plus(x_count(&back, 1), back_w);
    const size_t all = caps_conv_plus(x_count(&forward, n), parts);
    return all > dx ? all : dx;
}

/* ---- launches ------------------------------------------------------------------------------- */

typedef struct place {
    caps_tensor x, parts;
} place;

/* x, or dy act'(y), at the six points. given: act, h, w, its first row and column, images. */
static caps_status from_images(caps_runtime *rt, const rows *r, const caps_tensor *to,
    const caps_tensor *x, const caps_tensor *y, const size_t given[6], caps_error *err)
{
    const size_t n = given[5], blocks = caps_div_up(n, CAPS_LANES);
    const size_t parts = caps_conv_parts(rt, r->channels * blocks, r->tall);
    const caps_arg args[] = {CAPS_ARG_TENSOR(to), CAPS_ARG_TENSOR(x), CAPS_ARG_TENSOR(y),
        CAPS_ARG_UINT(given[0]), CAPS_ARG_UINT(n), CAPS_ARG_UINT(r->channels),
        CAPS_ARG_UINT(given[1]), CAPS_ARG_UINT(given[2]), CAPS_ARG_UINT(given[3]),
        CAPS_ARG_UINT(given[4]), CAPS_ARG_UINT(r->tall), CAPS_ARG_UINT(r->tiles),
        CAPS_ARG_UINT(r->groups), CAPS_ARG_UINT(is_flat(r)), CAPS_ARG_UINT(parts)};
    return caps_launch(
        rt, "winograd_x", CAPS_ARGS(args), 2, (size_t[]){r->channels * parts, blocks}, NULL, err);
}

static caps_status from_weights(caps_runtime *rt, const rows *r, const caps_tensor *to,
    const caps_tensor *w, bool back, caps_error *err)
{
    const caps_arg args[] = {CAPS_ARG_TENSOR(to), CAPS_ARG_TENSOR(w), CAPS_ARG_UINT(r->outputs),
        CAPS_ARG_UINT(r->channels), CAPS_ARG_UINT(r->kh), CAPS_ARG_UINT(r->kw),
        CAPS_ARG_UINT(r->groups), CAPS_ARG_UINT(back)};
    return caps_launch(rt, "winograd_w", CAPS_ARGS(args), 1,
        (size_t[]){caps_div_up(r->outputs, CAPS_EIGHT)}, NULL, err);
}

static caps_status products(caps_runtime *rt, const rows *r, const caps_tensor *y,
    const caps_tensor *x, const caps_tensor *w, const caps_tensor *bias, caps_activation act,
    size_t n, caps_error *err)
{
    const size_t bytes = r->channels * POINTS * r->tiles * r->groups * CAPS_LANES * sizeof(float);
    const caps_conv_cut cut =
        caps_conv_cut_of(rt, &(caps_conv_lines){n, r->outputs, r->oh, r->ow, bytes, r->kh, 1});
    const caps_arg args[] = {CAPS_ARG_TENSOR(y), CAPS_ARG_TENSOR(x), CAPS_ARG_TENSOR(w),
        CAPS_ARG_TENSOR(bias), CAPS_ARG_UINT(act), CAPS_ARG_UINT(n), CAPS_ARG_UINT(r->channels),
        CAPS_ARG_UINT(r->tall), CAPS_ARG_UINT(r->outputs), CAPS_ARG_UINT(r->kh),
        CAPS_ARG_UINT(r->oh), CAPS_ARG_UINT(r->ow), CAPS_ARG_UINT(r->tiles),
        CAPS_ARG_UINT(r->groups), CAPS_ARG_UINT(is_flat(r)), CAPS_ARG_UINT(cut.rows),
        CAPS_ARG_UINT(cut.parts)};
    return caps_launch(
        rt, "winograd_product", CAPS_ARGS(args), 2, (size_t[]){cut.items, cut.blocks}, NULL, err);
}

/* ---- the algorithm -------------------------------------------------------------------------- */

static caps_status winograd_forward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_conv_cached cached,
    caps_error *err)
{
    const rows r = forward_rows(z);
    const caps_tensor x = caps_conv_place(workspace, 0),
                      w = caps_conv_place(workspace, x_count(&r, chunk));
    caps_status status;
    (void)cached;
    if (by_tiles(z))
        return caps_winograd_tiles_forward(rt, z, t, workspace, chunk, err);
    CAPS_TRY(from_weights(rt, &r, &w, t->w, false, err));
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        const caps_tensor from = caps_tensor_rows(t->x, first, n);
        const caps_tensor y = caps_tensor_rows(t->y, first, n);
        CAPS_TRY(from_images(rt, &r, &x, &from, &from,
            (size_t[]){CAPS_ACT_NONE, z->h, z->w, z->padding, z->padding, n}, err));
        CAPS_TRY(products(rt, &r, &y, &x, &w, t->bias, z->act, n, err));
    }
done:
    return status;
}

/* dw and dbias of n images, from `first` on. */
static caps_status weight_gradient(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const place *p, size_t first, size_t n, caps_error *err)
{
    const rows r = forward_rows(z);
    const size_t kernels = z->kh * r.groups, blocks = caps_div_up(n, CAPS_LANES);
    const size_t some = caps_div_up(z->c, caps_div_up(z->c, ENTRIES / (kernels * POINTS)));
    const caps_tensor x = caps_tensor_rows(t->x, first, n);
    const caps_tensor dy = caps_tensor_rows(t->dy, first, n);
    const caps_tensor y = caps_conv_activated(z, t, first, n);
    caps_status status;
    CAPS_TRY(from_images(rt, &r, &p->x, &x, &x,
        (size_t[]){CAPS_ACT_NONE, z->h, z->w, z->padding, z->padding, n}, err));
    const caps_arg args[] = {CAPS_ARG_TENSOR(&p->parts), CAPS_ARG_TENSOR(&p->x),
        CAPS_ARG_TENSOR(&dy), CAPS_ARG_TENSOR(&y), CAPS_ARG_UINT(z->act), CAPS_ARG_UINT(n),
        CAPS_ARG_UINT(z->c), CAPS_ARG_UINT(r.tall), CAPS_ARG_UINT(z->m), CAPS_ARG_UINT(z->kh),
        CAPS_ARG_UINT(z->oh), CAPS_ARG_UINT(z->ow), CAPS_ARG_UINT(r.tiles), CAPS_ARG_UINT(r.groups),
        CAPS_ARG_UINT(is_flat(&r)), CAPS_ARG_UINT(some)};
    CAPS_TRY(caps_launch(rt, "winograd_dw", CAPS_ARGS(args), 2,
        (size_t[]){caps_div_up(z->m, CAPS_EIGHT) * caps_div_up(z->c, some), blocks}, NULL, err));
    const caps_arg sums[] = {CAPS_ARG_TENSOR(t->dw), CAPS_ARG_TENSOR(t->dbias),
        CAPS_ARG_TENSOR(&p->parts), CAPS_ARG_UINT(blocks), CAPS_ARG_UINT(z->c * z->kh),
        CAPS_ARG_UINT(z->kw), CAPS_ARG_UINT(r.groups), CAPS_ARG_UINT(first > 0)};
    CAPS_TRY(caps_launch(rt, "winograd_dw_sum", CAPS_ARGS(sums), 1, (size_t[]){z->m}, NULL, err));
done:
    return status;
}

/* dx, of as many images at once as the workspace has room for. */
static caps_status input_gradient(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, caps_error *err)
{
    const rows r = back_rows(z);
    const size_t weights = w_count(&r);
    const size_t chunk = caps_conv_images(workspace, weights, x_count(&r, 1), z->b);
    const caps_tensor w = caps_conv_place(workspace, 0), to = caps_conv_place(workspace, weights);
    caps_status status;
    CAPS_TRY(from_weights(rt, &r, &w, t->w, true, err));
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        const caps_tensor dx = caps_tensor_rows(t->dx, first, n);
        const caps_tensor dy = caps_tensor_rows(t->dy, first, n);
        const caps_tensor y = caps_conv_activated(z, t, first, n);
        CAPS_TRY(from_images(rt, &r, &to, &dy, &y,
            (size_t[]){z->act, z->oh, z->ow, z->kh - 1 - z->padding, z->kw - 1 - z->padding, n},
            err));
        CAPS_TRY(products(rt, &r, &dx, &to, &w, NULL, CAPS_ACT_NONE, n, err));
    }
done:
    return status;
}

static caps_status winograd_backward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_conv_cached cached,
    caps_error *err)
{
    const rows r = forward_rows(z);
    const place p = {caps_conv_place(workspace, 0), caps_conv_place(workspace, x_count(&r, chunk))};
    caps_status status = CAPS_OK;
    (void)cached;
    if (by_tiles(z))
        return caps_winograd_tiles_backward(rt, z, t, workspace, chunk, err);
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        CAPS_TRY(weight_gradient(rt, z, t, &p, first, n, err));
    }
    if (t->dx)
        CAPS_TRY(input_gradient(rt, z, t, workspace, err));
done:
    return status;
}

const caps_conv_implementation caps_conv_winograd = {"winograd", winograd_unsupported,
    winograd_cost, winograd_workspace_of, NULL, NULL, NULL, winograd_forward, winograd_backward};
