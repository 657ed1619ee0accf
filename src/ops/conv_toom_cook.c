/* conv_toom_cook.c: convolution by evaluation at points, products, interpolation (Toom-Cook;
 * Winograd 1980), in tiles of the image, with stride by phases: the choice of points, and the
 * family that does it.
 *
 *     forward:   W^ <- w, X^ <- x, Y^ = X^ W^ point by point, y <- Y^
 *     backward:  dY^ <- dy act'(y), dX^ = dY^ W^, dW^ = X^ dY^, dx <- dX^, dw <- dW^ */
#include <math.h>

#include "conv_toom_cook.h"
#include "fail.h"
#include "launch.h"

/* ---- points --------------------------------------------------------------------------------- */

/* Sets of points (scripts/make-toom-cook). A set is good to about 5e-6 of the result for at least
 * `taps` taps: with fewer, its tiles are so large that the error grows, and the next smaller set
 * does the work as well. */
static const struct set {
    size_t points, real, least_taps;
} sets[] = {{4, 4, 2}, {6, 4, 2}, {8, 6, 3}, {10, 8, 4}};
enum { SETS = sizeof sets / sizeof sets[0], MOST_STRIDE = 4 };

static size_t taps_of(size_t kernel, size_t stride)
{
    const size_t taps = caps_div_up(kernel, stride);
    return taps < 2 ? 2 : taps;
}

static caps_toom_cook plan_of(const caps_conv_sizes *z, const struct set *set)
{
    caps_toom_cook p = {.points = set->points,
        .taps_y = taps_of(z->kh, z->stride),
        .taps_x = taps_of(z->kw, z->stride)};
    p.bins = set->points == set->real ? 0 : 2 * set->real + 2;
    p.planes = set->points * set->points;
    p.all = p.planes + p.bins;
    p.out_y = set->points - p.taps_y + 1;
    p.out_x = set->points - p.taps_x + 1;
    p.tiles_y = caps_div_up(z->oh, p.out_y);
    p.tiles_x = caps_div_up(z->ow, p.out_x);
    p.tiles = p.tiles_y * p.tiles_x;
    p.k = z->c * z->stride * z->stride;
    return p;
}

bool caps_toom_cook_choose(caps_toom_cook *best, const caps_conv_sizes *z)
{
    size_t least = SIZE_MAX;
    const size_t taps_y = taps_of(z->kh, z->stride), taps_x = taps_of(z->kw, z->stride);
    for (size_t i = 0; i < SETS; i++) {
        const struct set *set = &sets[i];
        const size_t taps = taps_y > taps_x ? taps_y : taps_x;
        if (taps >= set->points || taps < set->least_taps)
            continue;
        const caps_toom_cook p = plan_of(z, set);
        const size_t products = caps_conv_times(p.all, p.tiles);
        if (products < least) {
            least = products;
            *best = p;
        }
    }
    return least < SIZE_MAX;
}

caps_tensor caps_toom_cook_place(const caps_tensor *workspace, size_t first)
{
    const size_t one = 1, begin = caps_round_up(workspace->offset, CAPS_TOOM_COOK_ALIGN);
    return caps_tensor_wrap(workspace->buffer, begin + first, CAPS_F32, 1, &one);
}

/* ---- the algorithm -------------------------------------------------------------------------- */

static const caps_toom_cook_family *family_of(const caps_runtime *rt)
{
    return rt && caps_is_gpu(rt) ? &caps_toom_cook_gpu : &caps_toom_cook_cpu;
}

static const char *toom_cook_unsupported(
    const caps_runtime *rt, const caps_conv_sizes *z, bool needs_input_gradient)
{
    caps_toom_cook p;
    (void)needs_input_gradient;
    if (z->stride > MOST_STRIDE || !caps_toom_cook_choose(&p, z))
        return "need a stride of at most 4 and a kernel of at most 9 taps a phase of it";
    return family_of(rt)->unsupported_reason(z, &p);
}

static double toom_cook_cost(const caps_runtime *rt, const caps_conv_sizes *z)
{
    caps_toom_cook p;
    return caps_toom_cook_choose(&p, z) ? family_of(rt)->cost(z, &p) : INFINITY;
}

static size_t toom_cook_workspace_of(
    const caps_runtime *rt, const caps_conv_sizes *z, size_t n, bool backward)
{
    caps_toom_cook p;
    if (!caps_toom_cook_choose(&p, z))
        return SIZE_MAX;
    return family_of(rt)->workspace(z, &p, n, backward);
}

/* W^ and X^. */
static size_t toom_cook_cached(const caps_runtime *rt, const caps_conv_sizes *z, size_t n)
{
    caps_toom_cook p;
    return caps_toom_cook_choose(&p, z) ? family_of(rt)->cached(z, &p, n) : 0;
}

static size_t toom_cook_scratch(
    const caps_runtime *rt, const caps_conv_sizes *z, size_t n, bool backward)
{
    caps_toom_cook p;
    const caps_toom_cook_family *family = family_of(rt);
    return family->scratch && caps_toom_cook_choose(&p, z) ? family->scratch(rt, z, &p, n, backward)
                                                           : 0;
}

static void toom_cook_plan(const caps_runtime *rt, const caps_conv_sizes *z, size_t n,
    bool backward, bool needs_input_gradient)
{
    caps_toom_cook p;
    const caps_toom_cook_family *family = family_of(rt);
    if (family->plan && caps_toom_cook_choose(&p, z))
        family->plan(rt, z, &p, n, backward, needs_input_gradient);
}

static caps_status toom_cook_forward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_conv_cached cached,
    caps_error *err)
{
    caps_toom_cook p;
    if (!caps_toom_cook_choose(&p, z))
        return caps_fail(err, CAPS_ERR_INTERNAL, "conv2d: toom-cook has no points for this kernel");
    return family_of(rt)->forward(rt, z, &p, t, workspace, chunk, cached, err);
}

static caps_status toom_cook_backward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_conv_cached cached,
    caps_error *err)
{
    caps_toom_cook p;
    if (!caps_toom_cook_choose(&p, z))
        return caps_fail(err, CAPS_ERR_INTERNAL, "conv2d: toom-cook has no points for this kernel");
    return family_of(rt)->backward(rt, z, &p, t, workspace, chunk, cached, err);
}

const caps_conv_implementation caps_conv_toom_cook = {"toom-cook", toom_cook_unsupported,
    toom_cook_cost, toom_cook_workspace_of, toom_cook_cached, toom_cook_scratch, toom_cook_plan,
    toom_cook_forward, toom_cook_backward};
