/* conv_implicit.c: convolution as a matrix product without columns in memory: GPU family, any
 * shape. Kernels and equations: cl/conv_implicit_gpu.clt.
 *
 * The workspace holds dw's parts, [splits, M, C kh kw + 1], where its sum over pixels goes in
 * several: of few filters with few taps there are too few tiles for a device. The bias is one more
 * tap, unless that would need one more tile. */
#include <math.h>
#include <stdio.h>

#include "bias_act.h"
#include "conv.h"
#include "require.h"
#include "fail.h"
#include "launch.h"

enum {
    MOST_GROUP = 16,  /* items a side of a work-group, where the device takes its square */
    TILE = 4,         /* elements of each item in both directions, as in the kernels */
    STEPS = 16,       /* as in the kernels */
    TILES_A_UNIT = 4, /* work-groups for each compute unit at least, where splits give them */
    LEAST_RUN = 8,    /* rounds of a split at least */
    MOST_SPLITS = 64,
    SUM_GROUP = 256,
};

/* ---- sizes ---------------------------------------------------------------------------------- */

/* Kernels count within a chunk in 32 bits. */
static size_t most_at_once(const caps_conv_sizes *z)
{
    const size_t x = caps_conv_times(z->c, caps_conv_times(z->h, z->w));
    const size_t y = caps_conv_times(z->m, z->pixels);
    return CAPS_REQUIRE_LIMIT / (x > y ? x : y);
}

static const char *implicit_unsupported(
    const caps_runtime *rt, const caps_conv_sizes *z, bool needs_input_gradient)
{
    (void)needs_input_gradient;
    if (!rt || !caps_is_gpu(rt))
        return "it is written for the GPU family";
    if (most_at_once(z) < 1 || caps_conv_times(z->taps, z->m) > CAPS_REQUIRE_LIMIT ||
        z->h > CAPS_REQUIRE_LIMIT / 4 || z->w > CAPS_REQUIRE_LIMIT / 4 ||
        z->stride > CAPS_REQUIRE_LIMIT / 2)
        return "need fewer than 2^31 elements an image";
    return NULL;
}

/* Items a side of a work-group; a side of its tile. */
static size_t group_of(const caps_runtime *rt)
{
    size_t side = MOST_GROUP;
    while (side > 1 && caps_group_size(rt, side * side) < side * side)
        side /= 2;
    return side;
}

static size_t tiles_of(const caps_runtime *rt, size_t n)
{
    return caps_div_up(n, TILE * group_of(rt));
}

/* Parts of dw's sum over the pixels of n images. */
static size_t splits_of(const caps_runtime *rt, const caps_conv_sizes *z, size_t n)
{
    const size_t tiles = tiles_of(rt, z->m) * tiles_of(rt, z->taps);
    const size_t wanted = caps_div_up(TILES_A_UNIT * caps_runtime_device(rt)->compute_units, tiles);
    const size_t most = caps_div_up(n * z->pixels, LEAST_RUN * STEPS);
    const size_t splits = wanted < most ? wanted : most;
    return splits < MOST_SPLITS ? splits : MOST_SPLITS;
}

static size_t implicit_workspace_of(
    const caps_runtime *rt, const caps_conv_sizes *z, size_t n, bool backward)
{
    if (n > 1 && n > most_at_once(z))
        return SIZE_MAX;
    const size_t splits = backward && rt ? splits_of(rt, z, n) : 1;
    return splits > 1 ? caps_conv_times(splits, z->m * (z->taps + 1)) : 1;
}

/* Tiles that stick out are computed all the same, and as if there were one for each compute unit: a
 * sum over taps is not split. A step's address costs what half of its multiply-adds does. x is read
 * again for every tile of channels, from a cache. */
static double implicit_cost(const caps_runtime *rt, const caps_conv_sizes *z)
{
    const double pixels = (double)z->b * (double)z->pixels, taps = (double)z->taps;
    const double m = (double)caps_round_up(z->m, TILE * MOST_GROUP);
    const double x = (double)z->b * (double)z->c * (double)z->h * (double)z->w;
    const double side = TILE * MOST_GROUP, tiles = m / side * ceil(pixels / side);
    const double units = rt ? (double)caps_runtime_device(rt)->compute_units : 1;
    return 1.5 * m * taps * pixels * fmax(1, units / tiles) +
           caps_conv_byte(rt) * 4 * (2 * x + (double)z->m * (taps + pixels));
}

/* ---- launches ------------------------------------------------------------------------------- */

static caps_status launch(caps_runtime *rt, const char *kernel, const caps_arg *args, size_t nargs,
    size_t groups, caps_error *err)
{
    const size_t side = group_of(rt), local = side * side;
    char options[64];
    snprintf(options, sizeof options, " -DIMPLICIT_GROUP=%zu", side);
    const caps_template template = {"conv_implicit_gpu.clt", options};
    return caps_launch_template(
        rt, &template, kernel, args, nargs, 1, (size_t[]){groups * local}, &local, err);
}

/* images, channels, h, w, outputs, kh, kw, oh, ow, stride, padding: what all kernels take. */
#define SIZES(z, n)                                                                                \
    CAPS_ARG_UINT(n), CAPS_ARG_UINT((z)->c), CAPS_ARG_UINT((z)->h), CAPS_ARG_UINT((z)->w),         \
        CAPS_ARG_UINT((z)->m), CAPS_ARG_UINT((z)->kh), CAPS_ARG_UINT((z)->kw),                     \
        CAPS_ARG_UINT((z)->oh), CAPS_ARG_UINT((z)->ow), CAPS_ARG_UINT((z)->stride),                \
        CAPS_ARG_UINT((z)->padding)

static caps_status to_outputs(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *y, const caps_tensor *x, size_t n,
    caps_error *err)
{
    const size_t blocks = tiles_of(rt, z->m);
    const caps_arg args[] = {CAPS_ARG_TENSOR(y), CAPS_ARG_TENSOR(x), CAPS_ARG_TENSOR(t->w),
        CAPS_ARG_TENSOR(t->bias), CAPS_ARG_UINT(z->act), SIZES(z, n), CAPS_ARG_UINT(blocks)};
    return launch(
        rt, "conv2d_implicit_forward", CAPS_ARGS(args), blocks * tiles_of(rt, n * z->pixels), err);
}

static caps_status to_images(caps_runtime *rt, const caps_conv_sizes *z, const caps_tensor *dx,
    const caps_tensor *dy, const caps_tensor *y, const caps_tensor *w, size_t n, caps_error *err)
{
    const size_t phases_y = z->stride < z->h ? z->stride : z->h;
    const size_t phases_x = z->stride < z->w ? z->stride : z->w, blocks = tiles_of(rt, z->c);
    const size_t most =
        caps_div_up(z->h, z->stride) * caps_div_up(z->w, z->stride); /* of a phase */
    const size_t tiles = tiles_of(rt, n * most);
    const caps_arg args[] = {CAPS_ARG_TENSOR(dx), CAPS_ARG_TENSOR(dy), CAPS_ARG_TENSOR(y),
        CAPS_ARG_TENSOR(w), CAPS_ARG_UINT(z->act), SIZES(z, n), CAPS_ARG_UINT(blocks),
        CAPS_ARG_UINT(tiles), CAPS_ARG_UINT(phases_x)};
    return launch(
        rt, "conv2d_implicit_dx", CAPS_ARGS(args), phases_y * phases_x * tiles * blocks, err);
}

/* dbias NULL: not wanted. */
static caps_status to_weights(caps_runtime *rt, const caps_conv_sizes *z, const caps_tensor *dw,
    const caps_tensor *dbias, const caps_tensor *parts, const caps_tensor *dy, const caps_tensor *y,
    const caps_tensor *x, size_t n, bool added, caps_error *err)
{
    const size_t blocks = tiles_of(rt, z->m), tiles = tiles_of(rt, z->taps);
    const size_t steps = n * z->pixels, wanted = splits_of(rt, z, n);
    const size_t run = caps_round_up(caps_div_up(steps, wanted), STEPS);
    const size_t splits = caps_div_up(steps, run), count = z->m * (z->taps + (dbias ? 1 : 0));
    const bool whole = splits == 1;
    const caps_arg args[] = {CAPS_ARG_TENSOR(whole ? dw : parts),
        CAPS_ARG_TENSOR(whole ? dbias : NULL), CAPS_ARG_TENSOR(dy), CAPS_ARG_TENSOR(y),
        CAPS_ARG_TENSOR(x), CAPS_ARG_UINT(z->act), SIZES(z, n), CAPS_ARG_UINT(blocks),
        CAPS_ARG_UINT(tiles), CAPS_ARG_UINT(run), CAPS_ARG_UINT(whole && added),
        CAPS_ARG_UINT(dbias != NULL)};
    caps_status status =
        launch(rt, "conv2d_implicit_dw", CAPS_ARGS(args), splits * tiles * blocks, err);
    if (status != CAPS_OK || whole)
        return status;
    const size_t local = caps_group_size(rt, SUM_GROUP), all = caps_round_up(count, local);
    char options[64];
    snprintf(options, sizeof options, " -DIMPLICIT_GROUP=%zu", group_of(rt));
    const caps_template template = {"conv_implicit_gpu.clt", options};
    const caps_arg sum[] = {CAPS_ARG_TENSOR(dw), CAPS_ARG_TENSOR(dbias), CAPS_ARG_TENSOR(parts),
        CAPS_ARG_UINT(count), CAPS_ARG_UINT(z->taps), CAPS_ARG_UINT(splits), CAPS_ARG_UINT(added)};
    return caps_launch_template(
        rt, &template, "conv2d_implicit_dw_sum", CAPS_ARGS(sum), 1, &all, &local, err);
}

/* ---- the algorithm -------------------------------------------------------------------------- */

static caps_status implicit_forward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_conv_cached cached,
    caps_error *err)
{
    caps_status status = CAPS_OK;
    (void)workspace;
    (void)cached;
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        const caps_tensor x = caps_tensor_rows(t->x, first, n);
        const caps_tensor y = caps_tensor_rows(t->y, first, n);
        CAPS_TRY(to_outputs(rt, z, t, &y, &x, n, err));
    }
done:
    return status;
}

static caps_status implicit_backward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_conv_cached cached,
    caps_error *err)
{
    caps_status status = CAPS_OK;
    (void)cached;
    const bool fits = z->taps % (TILE * group_of(rt)) != 0;
    if (t->dbias && !fits)
        CAPS_TRY(caps_bias_act_sum(rt, t->dbias, t->dy, t->y, z->act, z->b, z->m, z->pixels, err));
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        const caps_tensor x = caps_tensor_rows(t->x, first, n);
        const caps_tensor dy = caps_tensor_rows(t->dy, first, n);
        const bool is_active = z->act != CAPS_ACT_NONE;
        const caps_tensor y = is_active ? caps_tensor_rows(t->y, first, n) : dy;
        CAPS_TRY(to_weights(
            rt, z, t->dw, fits ? t->dbias : NULL, workspace, &dy, &y, &x, n, first > 0, err));
        if (t->dx) {
            const caps_tensor dx = caps_tensor_rows(t->dx, first, n);
            CAPS_TRY(to_images(rt, z, &dx, &dy, &y, t->w, n, err));
        }
    }
done:
    return status;
}

const caps_conv_implementation caps_conv_implicit = {"implicit", implicit_unsupported,
    implicit_cost, implicit_workspace_of, NULL, NULL, NULL, implicit_forward, implicit_backward};
