/* conv_toom_cook.c: convolution by evaluation at points, products, interpolation (Toom-Cook;
 * Winograd 1980), in tiles of the image, with stride by phases. Layouts and equations:
 * cl/toom_cook.clt.
 *
 *     forward:   W^ <- w, X^ <- x, Y^ = X^ W^ point by point, y <- Y^
 *     backward:  Y^ <- dy act'(y) twice: lanes of output channels for dW^ = X^ Y^, of images for
 *                dX^ = W^ Y^; dx <- dX^, dw <- dW^
 *
 * The workspace holds W^, X^, Y^, and for backward Y^ across, dX^ and, where the batch goes in
 * several chunks, dW^; else dW^ takes the place of W^, which is done with by then. */
#include <math.h>
#include <stdio.h>

#include "bias_act.h"
#include "conv.h"
#include "require.h"
#include "fail.h"
#include "launch.h"

enum {
    GAP = 80,      /* as in the kernels: floats between planes */
    SHARE = 4,     /* TOOM_COOK_SHARE: panels of W a work-item takes */
    ALIGN = 16,    /* floats: planes begin on whole cache lines */
    SPAN = 128,    /* most rows of dW, dX a work-item takes */
    IN_CACHE = 200 /* rows of X^ for which that many still fit a cache beside their products */
};

/* ---- points --------------------------------------------------------------------------------- */

/* Sets of points (scripts/make-toom-cook). A set is good to about 5e-6 of the result for at least
 * `taps` taps: with fewer, its tiles are so large that the error grows, and the next smaller set
 * does the work as well. */
static const struct set {
    size_t points, real, least_taps;
} sets[] = {{4, 4, 2}, {6, 4, 2}, {8, 6, 3}, {10, 8, 4}};
enum { SETS = sizeof sets / sizeof sets[0] };

typedef struct plan {
    size_t points, bins, planes, all; /* complex bins; planes without and with their sums */
    size_t taps_y, taps_x, out_y, out_x;
    size_t tiles_y, tiles_x, tiles;
    size_t k, kp, panels; /* input channels and phases; rounded up; panels of 32 outputs */
} plan;

static size_t taps_of(size_t kernel, size_t stride)
{
    const size_t taps = caps_div_up(kernel, stride);
    return taps < 2 ? 2 : taps;
}

static plan plan_of(const caps_conv_sizes *z, const struct set *set)
{
    plan p = {.points = set->points,
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
    p.kp = caps_round_up(p.k, 8);
    p.panels = caps_div_up(z->m, 32);
    return p;
}

/* The set with the fewest products; false: none can serve. */
static bool toom_cook_choose(plan *best, const caps_conv_sizes *z)
{
    size_t least = SIZE_MAX;
    const size_t taps_y = taps_of(z->kh, z->stride), taps_x = taps_of(z->kw, z->stride);
    for (size_t i = 0; i < SETS; i++) {
        const struct set *set = &sets[i];
        const size_t taps = taps_y > taps_x ? taps_y : taps_x;
        if (taps >= set->points || taps < set->least_taps)
            continue;
        const plan p = plan_of(z, set);
        const size_t products = caps_conv_times(p.all, p.tiles);
        if (products < least) {
            least = products;
            *best = p;
        }
    }
    return least < SIZE_MAX;
}

static const char *toom_cook_unsupported(
    const caps_runtime *rt, const caps_conv_sizes *z, bool needs_input_gradient)
{
    plan p;
    (void)needs_input_gradient;
    if (rt && caps_is_gpu(rt))
        return "it is written for the CPU family";
    if (z->stride > 4 || !toom_cook_choose(&p, z))
        return "need a stride of at most 4 and a kernel of at most 9 taps a phase of it";
    if (caps_conv_times(z->h, z->w) > CAPS_REQUIRE_LIMIT / (z->c > 32 ? z->c : 32) ||
        caps_conv_times(z->pixels, z->m) > CAPS_REQUIRE_LIMIT / 32 ||
        caps_conv_times(p.kp, p.panels) > CAPS_REQUIRE_LIMIT / 32 || z->taps > CAPS_REQUIRE_LIMIT ||
        caps_conv_times(z->m, p.tiles) > CAPS_REQUIRE_LIMIT / 32)
        return "need fewer than 2^31 elements an image";
    return NULL;
}

/* The planes of x, y and w are written and read; the products are as many as there are planes. */
static double toom_cook_cost(const caps_conv_sizes *z)
{
    plan p;
    if (!toom_cook_choose(&p, z))
        return INFINITY;
    const double rows = (double)p.tiles * (double)caps_round_up(z->b, 8), k = (double)p.kp;
    const double m = 16.0 * (double)caps_div_up(z->m, 16), all = (double)p.all;
    return 1.1 * all * k * m * rows +
           CAPS_CONV_BYTE * 4 * 2 * ((double)p.planes * k * m + all * rows * (k + m));
}

/* ---- workspace ------------------------------------------------------------------------------ */

/* Where the parts lie, in floats from its aligned beginning. */
typedef struct layout {
    size_t w, x, y, y_across, dx, dw, end;
} layout;

/* planes x (rows of lanes + GAP) */
static size_t toom_cook_part(size_t planes, size_t a, size_t b, size_t c)
{
    return caps_conv_times(planes, caps_conv_plus(caps_conv_times(caps_conv_times(a, b), c), GAP));
}

static layout lay_out(
    const caps_conv_sizes *z, const plan *p, size_t n, bool backward, bool needs_input_gradient)
{
    const size_t blocks = caps_div_up(n, 16), rows = caps_conv_times(p->tiles, blocks);
    const size_t w = toom_cook_part(p->planes, p->panels, p->kp, 32);
    layout l = {0};
    l.w = 0;
    l.x = w;
    l.y = caps_conv_plus(l.x, toom_cook_part(p->all, rows, p->kp, 16));
    l.end = caps_conv_plus(l.y, toom_cook_part(p->all, caps_conv_times(p->panels, rows), 16, 32));
    if (!backward)
        return l;
    l.dw = l.w;
    l.y_across = l.end;
    if (needs_input_gradient) {
        l.dx = caps_conv_plus(l.y_across, toom_cook_part(p->all, rows, z->m, 16));
        l.end = caps_conv_plus(l.dx, toom_cook_part(p->planes, rows, p->kp, 16));
        if (n < z->b) {
            l.dw = l.end;
            l.end = caps_conv_plus(l.end, w);
        }
    }
    return l;
}

static size_t toom_cook_workspace_of(const caps_conv_sizes *z, size_t n, bool backward)
{
    plan p;
    if (!toom_cook_choose(&p, z))
        return SIZE_MAX;
    const layout l = lay_out(z, &p, n, backward, true);
    const size_t images = caps_round_up(n, 16); /* kernels count rows of Y^ and lanes in 32 bits */
    if (caps_conv_times(caps_conv_times(p.tiles, images), z->m > p.kp ? z->m : p.kp) >
        CAPS_REQUIRE_LIMIT)
        return SIZE_MAX;
    return caps_conv_plus(l.end, ALIGN);
}

/* W^ and X^. */
static size_t toom_cook_cached(const caps_conv_sizes *z, size_t n)
{
    plan p;
    return toom_cook_choose(&p, z) ? lay_out(z, &p, n, false, false).y + ALIGN : 0;
}

/* ---- launches ------------------------------------------------------------------------------- */

typedef struct call {
    caps_runtime *rt;
    const caps_conv_sizes *z;
    plan p;
    size_t n, blocks; /* images of the chunk; sixteens of them */
    char options[160];
    caps_tensor w, x, y, y_across, dx, dw; /* the parts of the workspace */
} call;

static caps_tensor place(const caps_tensor *workspace, size_t first)
{
    const size_t one = 1;
    return caps_tensor_wrap(
        workspace->buffer, caps_round_up(workspace->offset, ALIGN) + first, CAPS_F32, 1, &one);
}

static bool toom_cook_begin(call *c, caps_runtime *rt, const caps_conv_sizes *z,
    const caps_tensor *workspace, size_t chunk, bool backward, bool needs_input_gradient)
{
    *c = (call){.rt = rt, .z = z};
    if (!toom_cook_choose(&c->p, z))
        return false;
    const layout l = lay_out(z, &c->p, chunk, backward, needs_input_gradient);
    c->w = place(workspace, l.w);
    c->x = place(workspace, l.x);
    c->y = place(workspace, l.y);
    c->y_across = place(workspace, l.y_across);
    c->dx = place(workspace, l.dx);
    c->dw = place(workspace, l.dw);
    snprintf(c->options, sizeof c->options,
        " -DTOOM_COOK_POINTS=%zu -DTOOM_COOK_TAPS_Y=%zu -DTOOM_COOK_TAPS_X=%zu "
        "-DTOOM_COOK_OUT_Y=%zu "
        "-DTOOM_COOK_OUT_X=%zu -DTOOM_COOK_STRIDE=%zu",
        c->p.points, c->p.taps_y, c->p.taps_x, c->p.out_y, c->p.out_x, z->stride);
    return true;
}

static void set_images(call *c, size_t n)
{
    c->n = n;
    c->blocks = caps_div_up(n, 16);
}

static caps_status transform(const call *c, const char *kernel, const caps_arg *args, size_t nargs,
    size_t first, size_t second, caps_error *err)
{
    const caps_template template = {"toom_cook.clt", c->options};
    return caps_launch_template(
        c->rt, &template, kernel, args, nargs, 2, (size_t[]){first, second}, NULL, err);
}

static caps_status from_weights(const call *c, const caps_tensor *w, caps_error *err)
{
    const caps_conv_sizes *z = c->z;
    const caps_arg args[] = {CAPS_ARG_TENSOR(&c->w), CAPS_ARG_TENSOR(w), CAPS_ARG_UINT(z->c),
        CAPS_ARG_UINT(z->m), CAPS_ARG_UINT(z->kh), CAPS_ARG_UINT(z->kw)};
    return transform(c, "toom_cook_w", CAPS_ARGS(args), z->c, c->p.panels, err);
}

static caps_status to_weights(const call *c, const caps_tensor *dw, caps_error *err)
{
    const caps_conv_sizes *z = c->z;
    const caps_arg args[] = {CAPS_ARG_TENSOR(dw), CAPS_ARG_TENSOR(&c->dw), CAPS_ARG_UINT(z->c),
        CAPS_ARG_UINT(z->m), CAPS_ARG_UINT(z->kh), CAPS_ARG_UINT(z->kw)};
    return transform(c, "toom_cook_dw", CAPS_ARGS(args), z->c, c->p.panels, err);
}

static caps_status from_images(const call *c, const caps_tensor *x, caps_error *err)
{
    const caps_conv_sizes *z = c->z;
    const caps_arg args[] = {CAPS_ARG_TENSOR(&c->x), CAPS_ARG_TENSOR(x), CAPS_ARG_UINT(c->n),
        CAPS_ARG_UINT(z->c), CAPS_ARG_UINT(z->h), CAPS_ARG_UINT(z->w), CAPS_ARG_UINT(z->padding),
        CAPS_ARG_UINT(c->p.tiles_x), CAPS_ARG_UINT(c->blocks)};
    return transform(c, "toom_cook_x", CAPS_ARGS(args), z->c, c->p.tiles * c->blocks, err);
}

static caps_status to_images(const call *c, const caps_tensor *dx, caps_error *err)
{
    const caps_conv_sizes *z = c->z;
    const caps_arg args[] = {CAPS_ARG_TENSOR(dx), CAPS_ARG_TENSOR(&c->dx), CAPS_ARG_UINT(c->n),
        CAPS_ARG_UINT(z->c), CAPS_ARG_UINT(z->h), CAPS_ARG_UINT(z->w), CAPS_ARG_UINT(z->padding),
        CAPS_ARG_UINT(c->p.tiles_x), CAPS_ARG_UINT(c->p.tiles)};
    return transform(c, "toom_cook_dx", CAPS_ARGS(args), z->c, c->blocks, err);
}

static caps_status to_outputs(
    const call *c, const caps_tensor *y, const caps_tensor *bias, caps_error *err)
{
    const caps_conv_sizes *z = c->z;
    const caps_arg args[] = {CAPS_ARG_TENSOR(y), CAPS_ARG_TENSOR(&c->y), CAPS_ARG_TENSOR(bias),
        CAPS_ARG_UINT(z->act), CAPS_ARG_UINT(c->n), CAPS_ARG_UINT(z->m), CAPS_ARG_UINT(z->oh),
        CAPS_ARG_UINT(z->ow), CAPS_ARG_UINT(c->p.tiles_x), CAPS_ARG_UINT(c->p.tiles),
        CAPS_ARG_UINT(c->blocks * 16)};
    return transform(
        c, "toom_cook_y", CAPS_ARGS(args), c->p.tiles * c->n, caps_div_up(z->m, 16), err);
}

static caps_status from_slopes(
    const call *c, const caps_tensor *dy, const caps_tensor *y, bool across, caps_error *err)
{
    const caps_conv_sizes *z = c->z;
    const caps_arg args[] = {CAPS_ARG_TENSOR(across ? &c->y_across : &c->y), CAPS_ARG_TENSOR(dy),
        CAPS_ARG_TENSOR(y), CAPS_ARG_UINT(z->act), CAPS_ARG_UINT(c->n), CAPS_ARG_UINT(z->m),
        CAPS_ARG_UINT(z->oh), CAPS_ARG_UINT(z->ow), CAPS_ARG_UINT(c->p.tiles_x),
        CAPS_ARG_UINT(across ? c->blocks : c->p.tiles), CAPS_ARG_UINT(c->blocks * 16)};
    if (across)
        return transform(c, "toom_cook_dy_across", args, 10, z->m, c->p.tiles * c->blocks, err);
    return transform(c, "toom_cook_dy", args, 11, caps_div_up(z->m, 16), c->p.tiles * c->n, err);
}

static size_t total_bins(const plan *p)
{
    return p->planes - p->bins;
}

/* Rows of dW or dX for one work-item: fewer where their other operand is long. */
static size_t span_of(const call *c)
{
    const size_t rows = c->p.tiles * c->blocks * 16;
    const size_t span = rows > IN_CACHE ? SPAN * IN_CACHE / rows / 8 * 8 : SPAN;
    return span < 8 ? 8 : span;
}

static caps_status multiply_y(const call *c, caps_error *err)
{
    const plan *p = &c->p;
    const caps_arg args[] = {CAPS_ARG_TENSOR(&c->y), CAPS_ARG_TENSOR(&c->x), CAPS_ARG_TENSOR(&c->w),
        CAPS_ARG_UINT(p->bins), CAPS_ARG_UINT(p->planes), CAPS_ARG_UINT(p->k), CAPS_ARG_UINT(p->kp),
        CAPS_ARG_UINT(c->n), CAPS_ARG_UINT(c->z->m), CAPS_ARG_UINT(p->tiles)};
    return caps_launch(c->rt, "toom_cook_product_y", CAPS_ARGS(args), 2,
        (size_t[]){caps_div_up(p->panels, SHARE), total_bins(p)}, NULL, err);
}

static caps_status multiply_dw(const call *c, bool added, caps_error *err)
{
    const plan *p = &c->p;
    const size_t span = span_of(c);
    const caps_arg args[] = {CAPS_ARG_TENSOR(&c->dw), CAPS_ARG_TENSOR(&c->x),
        CAPS_ARG_TENSOR(&c->y), CAPS_ARG_UINT(p->bins), CAPS_ARG_UINT(p->planes),
        CAPS_ARG_UINT(p->kp), CAPS_ARG_UINT(c->n), CAPS_ARG_UINT(c->z->m), CAPS_ARG_UINT(p->tiles),
        CAPS_ARG_UINT(span), CAPS_ARG_UINT(added)};
    return caps_launch(c->rt, "toom_cook_product_dw", CAPS_ARGS(args), 2,
        (size_t[]){caps_div_up(p->kp, span), total_bins(p)}, NULL, err);
}

static caps_status multiply_dx(const call *c, caps_error *err)
{
    const plan *p = &c->p;
    const caps_arg args[] = {CAPS_ARG_TENSOR(&c->dx), CAPS_ARG_TENSOR(&c->w),
        CAPS_ARG_TENSOR(&c->y_across), CAPS_ARG_UINT(p->bins), CAPS_ARG_UINT(p->planes),
        CAPS_ARG_UINT(p->kp), CAPS_ARG_UINT(c->n), CAPS_ARG_UINT(c->z->m), CAPS_ARG_UINT(p->tiles),
        CAPS_ARG_UINT(SPAN)};
    return caps_launch(c->rt, "toom_cook_product_dx", CAPS_ARGS(args), 2,
        (size_t[]){caps_div_up(p->kp, SPAN), total_bins(p)}, NULL, err);
}

/* ---- the algorithm -------------------------------------------------------------------------- */

static caps_status toom_cook_forward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_conv_cached cached,
    caps_error *err)
{
    call c;
    caps_status status = CAPS_OK;
    if (!toom_cook_begin(&c, rt, z, workspace, chunk, false, false))
        return caps_fail(err, CAPS_ERR_INTERNAL, "conv2d: toom-cook has no points for this kernel");
    if (!cached.w)
        CAPS_TRY(from_weights(&c, t->w, err));
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        const caps_tensor x = caps_tensor_rows(t->x, first, n),
                          y = caps_tensor_rows(t->y, first, n);
        set_images(&c, n);
        CAPS_TRY(from_images(&c, &x, err));
        CAPS_TRY(multiply_y(&c, err));
        CAPS_TRY(to_outputs(&c, &y, t->bias, err));
    }
done:
    return status;
}

static caps_status toom_cook_backward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_conv_cached cached,
    caps_error *err)
{
    call c;
    caps_status status = CAPS_OK;
    if (!toom_cook_begin(&c, rt, z, workspace, chunk, true, t->dx != NULL))
        return caps_fail(err, CAPS_ERR_INTERNAL, "conv2d: toom-cook has no points for this kernel");
    if (t->dbias)
        CAPS_TRY(caps_bias_act_sum(rt, t->dbias, t->dy, t->y, z->act, z->b, z->m, z->pixels, err));
    if (t->dx && !cached.w)
        CAPS_TRY(from_weights(&c, t->w, err));
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        const caps_tensor x = caps_tensor_rows(t->x, first, n);
        const caps_tensor dy = caps_tensor_rows(t->dy, first, n);
        caps_tensor y = dy;
        if (z->act != CAPS_ACT_NONE)
            y = caps_tensor_rows(t->y, first, n);
        set_images(&c, n);
        if (!cached.x || chunk < z->b)
            CAPS_TRY(from_images(&c, &x, err));
        if (t->dx) {
            const caps_tensor dx = caps_tensor_rows(t->dx, first, n);
            CAPS_TRY(from_slopes(&c, &dy, &y, true, err));
            CAPS_TRY(multiply_dx(&c, err));
            CAPS_TRY(to_images(&c, &dx, err));
        }
        CAPS_TRY(from_slopes(&c, &dy, &y, false, err));
        CAPS_TRY(multiply_dw(&c, first > 0, err));
    }
    CAPS_TRY(to_weights(&c, t->dw, err));
done:
    return status;
}

const caps_conv_implementation caps_conv_toom_cook = {"toom-cook", toom_cook_unsupported,
    toom_cook_cost, toom_cook_workspace_of, toom_cook_cached, NULL, NULL, toom_cook_forward,
    toom_cook_backward};
