/* conv_direct.c: convolution summed directly, for few taps or few channels. Sixteen images lie in
 * the lanes of a vector. Kernels and layouts: cl/conv_direct_cpu.cl.
 *
 * The workspace holds the chunk's images by lanes, the weights in eights of output channels, and for
 * backward the gradients of each sixteen images; then, in the same place, for dx the weights in
 * eights of input channels and dy by lanes, of as many images at once as there is room for. */
#include "conv.h"
#include "conv_lanes.h"
#include "require.h"
#include "fail.h"
#include "launch.h"

enum { MOST_TAPS = 256 }; /* DIRECT_TAPS of the kernels */

/* Rows and columns of dy in lanes: zeros around, so that every pixel of x has all taps of a phase
 * (kernel / stride, rounded up). */
static size_t back_side(size_t size, size_t kernel, size_t outputs, const caps_conv_sizes *z)
{
    const size_t reach = (size - 1 + z->padding) / z->stride + 1;
    return caps_div_up(kernel, z->stride) - 1 + (reach > outputs ? reach : outputs);
}

static size_t back_plane(const caps_conv_sizes *z)
{
    return caps_conv_times(back_side(z->h, z->kh, z->oh, z), back_side(z->w, z->kw, z->ow, z));
}

static const char *direct_unsupported(
    const caps_runtime *rt, const caps_conv_sizes *z, bool needs_input_gradient)
{
    if (rt && caps_is_gpu(rt))
        return "it is written for the CPU family";
    if (caps_conv_times(z->kh, z->kw) > MOST_TAPS || z->ow > CAPS_BAND)
        return "need kernels of at most 256 elements and rows of at most 512 outputs";
    if (needs_input_gradient && z->w > CAPS_BAND)
        return "need rows of at most 512 pixels for the gradient of its input";
    const size_t plane = caps_conv_times(z->h + 2 * z->padding, z->w + 2 * z->padding);
    if (caps_conv_times(plane, z->c) > CAPS_REQUIRE_LIMIT / CAPS_LANES ||
        caps_conv_times(z->pixels, z->m) > CAPS_REQUIRE_LIMIT / CAPS_LANES ||
        caps_conv_times(back_plane(z), z->m) > CAPS_REQUIRE_LIMIT / CAPS_LANES ||
        caps_conv_times(z->taps, z->m) > CAPS_REQUIRE_LIMIT / CAPS_LANES ||
        z->stride > CAPS_REQUIRE_LIMIT / CAPS_LANES)
        return "need fewer than 2^27 elements an image";
    return NULL;
}

static double direct_cost(const caps_runtime *rt, const caps_conv_sizes *z)
{
    (void)rt;
    const double pixels = (double)caps_round_up(z->b, CAPS_LANES) * (double)z->pixels;
    const double m = (double)caps_round_up(z->m, CAPS_EIGHT);
    return 1.1 * m * (double)z->taps * pixels + CAPS_CONV_BYTE * 4 * m * pixels;
}

/* Elements of the parts. */
static size_t lanes_count(const caps_conv_sizes *z, size_t n)
{
    const size_t plane = caps_conv_times(z->h + 2 * z->padding, z->w + 2 * z->padding);
    return caps_conv_times(caps_round_up(n, CAPS_LANES), caps_conv_times(z->c, plane));
}

static size_t weights_count(const caps_conv_sizes *z)
{
    return caps_conv_times(caps_round_up(z->m, CAPS_LANES), z->taps);
}

static size_t back_weights_count(const caps_conv_sizes *z)
{
    return caps_conv_times(
        caps_round_up(z->c, CAPS_LANES), caps_conv_times(z->m, caps_conv_times(z->kh, z->kw)));
}

/* dy of sixteen images. */
static size_t back_lanes_count(const caps_conv_sizes *z)
{
    return caps_conv_times(CAPS_LANES, caps_conv_times(z->m, back_plane(z)));
}

static size_t direct_workspace_of(
    const caps_runtime *rt, const caps_conv_sizes *z, size_t n, bool backward)
{
    (void)rt;
    const size_t forward = caps_conv_plus(lanes_count(z, n), weights_count(z));
    if (!backward)
        return forward;
    const size_t parts =
        caps_conv_times(caps_div_up(n, CAPS_LANES), caps_conv_times(z->m, z->taps + 1));
    const size_t dw = caps_conv_plus(forward, parts);
    const size_t dx = caps_conv_plus(back_weights_count(z), back_lanes_count(z));
    return dw > dx ? dw : dx;
}

/* ---- launches ------------------------------------------------------------------------------- */

typedef struct places {
    caps_tensor lanes, weights, parts;
} places;

static places places_of(const caps_conv_sizes *z, const caps_tensor *workspace, size_t chunk)
{
    const size_t lanes = lanes_count(z, chunk), weights = weights_count(z);
    return (places){caps_conv_place(workspace, 0), caps_conv_place(workspace, lanes),
        caps_conv_place(workspace, lanes + weights)};
}

/* Images in lanes: [channels, h, w], with zeros above, to the left and behind. */
typedef struct planes {
    size_t channels, h, w, top, left, tall, wide;
} planes;

static planes forward_planes(const caps_conv_sizes *z)
{
    return (planes){
        z->c, z->h, z->w, z->padding, z->padding, z->h + 2 * z->padding, z->w + 2 * z->padding};
}

static planes back_planes(const caps_conv_sizes *z)
{
    return (planes){z->m, z->oh, z->ow, caps_div_up(z->kh, z->stride) - 1,
        caps_div_up(z->kw, z->stride) - 1, back_side(z->h, z->kh, z->oh, z),
        back_side(z->w, z->kw, z->ow, z)};
}

/* x, or x act'(y). */
static caps_status to_lanes(caps_runtime *rt, const planes *p, const caps_tensor *lanes,
    const caps_tensor *x, const caps_tensor *y, caps_activation act, size_t n, caps_error *err)
{
    const caps_arg args[] = {CAPS_ARG_TENSOR(lanes), CAPS_ARG_TENSOR(x), CAPS_ARG_TENSOR(y),
        CAPS_ARG_UINT(act), CAPS_ARG_UINT(n), CAPS_ARG_UINT(p->channels), CAPS_ARG_UINT(p->h),
        CAPS_ARG_UINT(p->w), CAPS_ARG_UINT(p->top), CAPS_ARG_UINT(p->left), CAPS_ARG_UINT(p->tall),
        CAPS_ARG_UINT(p->wide)};
    return caps_launch(rt, "conv2d_direct_lanes", CAPS_ARGS(args), 2,
        (size_t[]){p->channels * p->tall, caps_div_up(n, CAPS_LANES)}, NULL, err);
}

/* The sizes that both directions take last. */
static void add_sizes(caps_arg *args, size_t at, const caps_conv_sizes *z, size_t n)
{
    const size_t sizes[] = {z->act, n, z->c, z->h + 2 * z->padding, z->w + 2 * z->padding, z->m,
        z->kh, z->kw, z->stride, z->oh, z->ow};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        args[at + i] = (caps_arg)CAPS_ARG_UINT(sizes[i]);
}

/* ---- the algorithm -------------------------------------------------------------------------- */

static caps_status direct_forward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_conv_cached cached,
    caps_error *err)
{
    const places c = places_of(z, workspace, chunk);
    const planes p = forward_planes(z);
    const size_t row_bytes = z->c * p.wide * CAPS_LANES * sizeof(float);
    caps_status status = CAPS_OK;
    (void)cached;
    const caps_arg weights[] = {CAPS_ARG_TENSOR(&c.weights), CAPS_ARG_TENSOR(t->w),
        CAPS_ARG_UINT(z->m), CAPS_ARG_UINT(z->taps)};
    CAPS_TRY(caps_launch(rt, "conv2d_direct_weights", CAPS_ARGS(weights), 1,
        (size_t[]){caps_div_up(z->m, CAPS_EIGHT)}, NULL, err));
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        const caps_tensor x = caps_tensor_rows(t->x, first, n);
        const caps_tensor y = caps_tensor_rows(t->y, first, n);
        CAPS_TRY(to_lanes(rt, &p, &c.lanes, &x, &x, CAPS_ACT_NONE, n, err));
        const caps_conv_cut cut = caps_conv_cut_of(
            rt, &(caps_conv_lines){n, z->m, z->oh, z->ow, row_bytes, z->kh, z->stride});
        caps_arg args[17] = {CAPS_ARG_TENSOR(&y), CAPS_ARG_TENSOR(&c.lanes),
            CAPS_ARG_TENSOR(&c.weights), CAPS_ARG_TENSOR(t->bias)};
        add_sizes(args, 4, z, n);
        args[15] = (caps_arg)CAPS_ARG_UINT(cut.rows);
        args[16] = (caps_arg)CAPS_ARG_UINT(cut.parts);
        CAPS_TRY(caps_launch(rt, "conv2d_direct_forward", CAPS_ARGS(args), 2,
            (size_t[]){cut.items, cut.blocks}, NULL, err));
    }
done:
    return status;
}

/* dx, in as many images at once as the workspace takes dy of. */
static caps_status input_gradient(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, caps_error *err)
{
    const planes p = back_planes(z);
    const size_t count = back_weights_count(z);
    const size_t chunk = caps_conv_images(workspace, count, back_lanes_count(z), z->b);
    const caps_tensor w = caps_conv_place(workspace, 0), lanes = caps_conv_place(workspace, count);
    caps_status status;
    const caps_arg weights[] = {CAPS_ARG_TENSOR(&w), CAPS_ARG_TENSOR(t->w), CAPS_ARG_UINT(z->c),
        CAPS_ARG_UINT(z->m), CAPS_ARG_UINT(z->kh), CAPS_ARG_UINT(z->kw), CAPS_ARG_UINT(z->stride)};
    CAPS_TRY(caps_launch(rt, "conv2d_direct_weights_back", CAPS_ARGS(weights), 1,
        (size_t[]){caps_div_up(z->c, CAPS_EIGHT)}, NULL, err));
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        const caps_conv_cut cut = caps_conv_cut_of(
            rt, &(caps_conv_lines){n, z->c, z->h, z->w, z->m * p.wide * CAPS_LANES * sizeof(float),
                    caps_div_up(z->kh, z->stride), 1});
        const caps_tensor dx = caps_tensor_rows(t->dx, first, n);
        const caps_tensor dy = caps_tensor_rows(t->dy, first, n);
        const caps_tensor y = caps_conv_activated(z, t, first, n);
        CAPS_TRY(to_lanes(rt, &p, &lanes, &dy, &y, z->act, n, err));
        const caps_arg args[] = {CAPS_ARG_TENSOR(&dx), CAPS_ARG_TENSOR(&lanes), CAPS_ARG_TENSOR(&w),
            CAPS_ARG_UINT(n), CAPS_ARG_UINT(z->c), CAPS_ARG_UINT(z->h), CAPS_ARG_UINT(z->w),
            CAPS_ARG_UINT(z->m), CAPS_ARG_UINT(z->kh), CAPS_ARG_UINT(z->kw),
            CAPS_ARG_UINT(z->stride), CAPS_ARG_UINT(z->padding), CAPS_ARG_UINT(p.tall),
            CAPS_ARG_UINT(p.wide), CAPS_ARG_UINT(cut.rows), CAPS_ARG_UINT(cut.parts)};
        CAPS_TRY(caps_launch(rt, "conv2d_direct_dx", CAPS_ARGS(args), 2,
            (size_t[]){cut.items, cut.blocks}, NULL, err));
    }
done:
    return status;
}

static caps_status direct_backward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_conv_cached cached,
    caps_error *err)
{
    const places c = places_of(z, workspace, chunk);
    const planes p = forward_planes(z);
    const size_t some = caps_div_up(z->c, caps_div_up(z->c, MOST_TAPS / (z->kh * z->kw)));
    caps_status status = CAPS_OK;
    (void)cached;
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        const caps_tensor x = caps_tensor_rows(t->x, first, n);
        const caps_tensor dy = caps_tensor_rows(t->dy, first, n);
        const caps_tensor y = caps_conv_activated(z, t, first, n);
        CAPS_TRY(to_lanes(rt, &p, &c.lanes, &x, &x, CAPS_ACT_NONE, n, err));
        caps_arg args[16] = {CAPS_ARG_TENSOR(&c.parts), CAPS_ARG_TENSOR(&c.lanes),
            CAPS_ARG_TENSOR(&dy), CAPS_ARG_TENSOR(&y)};
        add_sizes(args, 4, z, n);
        args[15] = (caps_arg)CAPS_ARG_UINT(some);
        CAPS_TRY(caps_launch(rt, "conv2d_direct_dw", CAPS_ARGS(args), 2,
            (size_t[]){caps_div_up(z->m, CAPS_EIGHT) * caps_div_up(z->c, some),
                caps_div_up(n, CAPS_LANES)},
            NULL, err));
        const caps_arg sums[] = {CAPS_ARG_TENSOR(t->dw), CAPS_ARG_TENSOR(t->dbias),
            CAPS_ARG_TENSOR(&c.parts), CAPS_ARG_UINT(caps_div_up(n, CAPS_LANES)),
            CAPS_ARG_UINT(z->taps), CAPS_ARG_UINT(first > 0)};
        CAPS_TRY(caps_launch(
            rt, "conv2d_direct_dw_sum", CAPS_ARGS(sums), 1, (size_t[]){z->m}, NULL, err));
    }
    if (t->dx)
        CAPS_TRY(input_gradient(rt, z, t, workspace, err));
done:
    return status;
}

const caps_conv_implementation caps_conv_direct = {"direct", direct_unsupported, direct_cost,
    direct_workspace_of, NULL, NULL, NULL, direct_forward, direct_backward};
