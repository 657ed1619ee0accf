/* conv_winograd.c: convolution with few input channels at stride 1, rows by F(4, 3): a first
 * layer's. Sixteen images lie in the lanes of a vector. Kernels and layouts:
 * cl/conv_winograd_cpu.cl.
 *
 * The workspace holds the chunk's images and the weights by their values at six points, and for
 * backward the gradients of each sixteen images. */
#include "conv.h"
#include "require.h"
#include "fail.h"
#include "launch.h"

enum { BAND = 512, TILES = 256, MOST_ROWS = 64 }; /* WINOGRAD_BAND and _TILES of the kernels */

static size_t tiles_of(const caps_conv_sizes *z)
{
    return caps_div_up(z->ow, 4);
}

static size_t groups_of(const caps_conv_sizes *z)
{
    return caps_div_up(z->kw, 3);
}

static const char *winograd_unsupported(
    const caps_runtime *rt, const caps_conv_sizes *z, bool needs_input_gradient)
{
    if (rt && caps_is_gpu(rt))
        return "it is written for the CPU family";
    if (needs_input_gradient)
        return "it gives no gradient of its input";
    if (z->stride != 1)
        return "need stride 1";
    if (z->ow + z->kw > BAND || tiles_of(z) > TILES || caps_conv_times(z->c, z->kh) > MOST_ROWS)
        return "need rows of fewer than 512 pixels, and at most 64 rows of kernels in all channels";
    const size_t plane = caps_conv_times(z->h + 2 * z->padding, tiles_of(z) * groups_of(z) * 6);
    if (caps_conv_times(plane, z->c) > CAPS_REQUIRE_LIMIT / 16 ||
        caps_conv_times(z->pixels, z->m) > CAPS_REQUIRE_LIMIT / 16)
        return "need fewer than 2^27 elements an image";
    return NULL;
}

static double winograd_cost(const caps_runtime *rt, const caps_conv_sizes *z)
{
    (void)rt;
    const double tiles = (double)(caps_round_up(z->b, 16) * z->oh * tiles_of(z));
    const double m = (double)caps_round_up(z->m, 4);
    const double products = 6.0 * (double)(z->c * z->kh * groups_of(z));
    return 1.4 * m * products * tiles + CAPS_CONV_BYTE * 4 * m * 4 * tiles;
}

/* Elements of the parts. */
static size_t x_count(const caps_conv_sizes *z, size_t n)
{
    const size_t plane = caps_conv_times(z->h + 2 * z->padding, tiles_of(z) * groups_of(z) * 6);
    return caps_conv_times(caps_round_up(n, 16), caps_conv_times(z->c, plane));
}

static size_t w_count(const caps_conv_sizes *z)
{
    return caps_conv_times(caps_round_up(z->m, 16), z->c * z->kh * groups_of(z) * 6);
}

static size_t winograd_workspace_of(
    const caps_runtime *rt, const caps_conv_sizes *z, size_t n, bool backward)
{
    (void)rt;
    const size_t entries = z->c * z->kh * groups_of(z) * 6 + 1;
    const size_t parts =
        backward ? caps_conv_times(caps_div_up(n, 16), caps_conv_times(z->m, entries)) : 0;
    return caps_conv_plus(caps_conv_plus(x_count(z, n), w_count(z)), parts);
}

/* ---- launches ------------------------------------------------------------------------------- */

typedef struct call {
    caps_runtime *rt;
    const caps_conv_sizes *z;
    caps_tensor x, w, parts;
} call;

static call winograd_begin(
    caps_runtime *rt, const caps_conv_sizes *z, const caps_tensor *workspace, size_t chunk)
{
    const size_t one = 1, x = x_count(z, chunk), w = w_count(z), at = workspace->offset;
    return (call){rt, z, caps_tensor_wrap(workspace->buffer, at, CAPS_F32, 1, &one),
        caps_tensor_wrap(workspace->buffer, at + x, CAPS_F32, 1, &one),
        caps_tensor_wrap(workspace->buffer, at + x + w, CAPS_F32, 1, &one)};
}

static caps_status from_images(const call *c, const caps_tensor *x, size_t n, caps_error *err)
{
    const caps_conv_sizes *z = c->z;
    const caps_arg args[] = {CAPS_ARG_TENSOR(&c->x), CAPS_ARG_TENSOR(x), CAPS_ARG_UINT(n),
        CAPS_ARG_UINT(z->c), CAPS_ARG_UINT(z->h), CAPS_ARG_UINT(z->w), CAPS_ARG_UINT(z->padding),
        CAPS_ARG_UINT(tiles_of(z)), CAPS_ARG_UINT(groups_of(z))};
    return caps_launch(c->rt, "winograd_x", CAPS_ARGS(args), 2,
        (size_t[]){z->c * (z->h + 2 * z->padding), caps_div_up(n, 16)}, NULL, err);
}

/* The sizes that both directions take last. */
static void add_sizes(caps_arg *args, size_t at, const caps_conv_sizes *z, size_t n)
{
    const size_t sizes[] = {z->act, n, z->c, z->h + 2 * z->padding, z->m, z->kh, z->oh, z->ow,
        tiles_of(z), groups_of(z)};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        args[at + i] = (caps_arg)CAPS_ARG_UINT(sizes[i]);
}

/* ---- the algorithm -------------------------------------------------------------------------- */

static caps_status winograd_forward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_conv_cached cached,
    caps_error *err)
{
    const call c = winograd_begin(rt, z, workspace, chunk);
    caps_status status = CAPS_OK;
    (void)cached;
    const caps_arg weights[] = {CAPS_ARG_TENSOR(&c.w), CAPS_ARG_TENSOR(t->w), CAPS_ARG_UINT(z->m),
        CAPS_ARG_UINT(z->c * z->kh), CAPS_ARG_UINT(z->kw), CAPS_ARG_UINT(groups_of(z))};
    CAPS_TRY(caps_launch(
        rt, "winograd_w", CAPS_ARGS(weights), 1, (size_t[]){caps_div_up(z->m, 4)}, NULL, err));
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        const caps_tensor x = caps_tensor_rows(t->x, first, n);
        const caps_tensor y = caps_tensor_rows(t->y, first, n);
        CAPS_TRY(from_images(&c, &x, n, err));
        caps_arg args[14] = {CAPS_ARG_TENSOR(&y), CAPS_ARG_TENSOR(&c.x), CAPS_ARG_TENSOR(&c.w),
            CAPS_ARG_TENSOR(t->bias)};
        add_sizes(args, 4, z, n);
        CAPS_TRY(caps_launch(rt, "winograd_forward", CAPS_ARGS(args), 2,
            (size_t[]){caps_div_up(z->m, 4), caps_div_up(n, 16)}, NULL, err));
    }
done:
    return status;
}

static caps_status winograd_backward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_conv_cached cached,
    caps_error *err)
{
    const call c = winograd_begin(rt, z, workspace, chunk);
    caps_status status = CAPS_OK;
    (void)cached;
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        const caps_tensor x = caps_tensor_rows(t->x, first, n);
        const caps_tensor dy = caps_tensor_rows(t->dy, first, n);
        caps_tensor y = dy;
        if (z->act != CAPS_ACT_NONE)
            y = caps_tensor_rows(t->y, first, n);
        CAPS_TRY(from_images(&c, &x, n, err));
        caps_arg args[14] = {CAPS_ARG_TENSOR(&c.parts), CAPS_ARG_TENSOR(&c.x), CAPS_ARG_TENSOR(&dy),
            CAPS_ARG_TENSOR(&y)};
        add_sizes(args, 4, z, n);
        CAPS_TRY(caps_launch(rt, "winograd_dw", CAPS_ARGS(args), 2,
            (size_t[]){caps_div_up(z->m, 4), caps_div_up(n, 16)}, NULL, err));
        const caps_arg sums[] = {CAPS_ARG_TENSOR(t->dw), CAPS_ARG_TENSOR(t->dbias),
            CAPS_ARG_TENSOR(&c.parts), CAPS_ARG_UINT(caps_div_up(n, 16)),
            CAPS_ARG_UINT(z->c * z->kh), CAPS_ARG_UINT(z->kw), CAPS_ARG_UINT(groups_of(z)),
            CAPS_ARG_UINT(first > 0)};
        CAPS_TRY(
            caps_launch(rt, "winograd_dw_sum", CAPS_ARGS(sums), 1, (size_t[]){z->m}, NULL, err));
    }
done:
    return status;
}

const caps_conv_implementation caps_conv_winograd = {"winograd", winograd_unsupported,
    winograd_cost, winograd_workspace_of, NULL, NULL, NULL, winograd_forward, winograd_backward};
