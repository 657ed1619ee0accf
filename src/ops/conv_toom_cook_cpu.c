/* conv_toom_cook_cpu.c: the Toom-Cook convolution of the CPU family. Layouts and equations:
 * cl/toom_cook.clt.
 *
 *     forward:   W^ <- w, X^ <- x, Y^ = X^ W^ point by point, y <- Y^
 *     backward:  Y^ <- dy act'(y) twice: lanes of output channels for dW^ = X^ Y^, of images for
 *                dX^ = W^ Y^; dx <- dX^, dw <- dW^
 *
 * The workspace holds W^, X^, Y^, and for backward Y^ across, dX^ and, where the batch goes in
 * several chunks, dW^; else dW^ takes the place of W^, which is done with by then. */
#include <stdio.h>

#include "bias_act.h"
#include "conv_toom_cook.h"
#include "require.h"
#include "fail.h"
#include "launch.h"

enum {
    GAP = 80,      /* as in the kernels: floats between planes */
    SHARE = 4,     /* TOOM_COOK_SHARE: panels of W a work-item takes */
    SPAN = 128,    /* most rows of dW, dX a work-item takes */
    IN_CACHE = 200 /* rows of X^ for which that many still fit a cache beside their products */
};

/* Input channels and phases, rounded up; panels of 32 outputs. */
typedef struct plan {
    caps_toom_cook t;
    size_t kp, panels;
} plan;

static plan plan_of(const caps_conv_sizes *z, const caps_toom_cook *p)
{
    return (plan){*p, caps_round_up(p->k, 8), caps_div_up(z->m, 32)};
}

static const char *toom_cook_unsupported(const caps_conv_sizes *z, const caps_toom_cook *t)
{
    const plan p = plan_of(z, t);
    if (caps_conv_times(z->h, z->w) > CAPS_REQUIRE_LIMIT / (z->c > 32 ? z->c : 32) ||
        caps_conv_times(z->pixels, z->m) > CAPS_REQUIRE_LIMIT / 32 ||
        caps_conv_times(p.kp, p.panels) > CAPS_REQUIRE_LIMIT / 32 || z->taps > CAPS_REQUIRE_LIMIT ||
        caps_conv_times(z->m, t->tiles) > CAPS_REQUIRE_LIMIT / 32)
        return "need fewer than 2^31 elements an image";
    return NULL;
}

/* The planes of x, y and w are written and read; the products are as many as there are planes. */
static double toom_cook_cost(const caps_conv_sizes *z, const caps_toom_cook *t)
{
    const plan p = plan_of(z, t);
    const double rows = (double)t->tiles * (double)caps_round_up(z->b, 8), k = (double)p.kp;
    const double m = 16.0 * (double)caps_div_up(z->m, 16), all = (double)t->all;
    return 1.1 * all * k * m * rows +
           CAPS_CONV_BYTE * 4 * 2 * ((double)t->planes * k * m + all * rows * (k + m));
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
    const size_t blocks = caps_div_up(n, 16), rows = caps_conv_times(p->t.tiles, blocks);
    const size_t w = toom_cook_part(p->t.planes, p->panels, p->kp, 32);
    layout l = {0};
    l.w = 0;
    l.x = w;
    l.y = caps_conv_plus(l.x, toom_cook_part(p->t.all, rows, p->kp, 16));
    l.end = caps_conv_plus(l.y, toom_cook_part(p->t.all, caps_conv_times(p->panels, rows), 16, 32));
    if (!backward)
        return l;
    l.dw = l.w;
    l.y_across = l.end;
    if (needs_input_gradient) {
        l.dx = caps_conv_plus(l.y_across, toom_cook_part(p->t.all, rows, z->m, 16));
        l.end = caps_conv_plus(l.dx, toom_cook_part(p->t.planes, rows, p->kp, 16));
        if (n < z->b) {
            l.dw = l.end;
            l.end = caps_conv_plus(l.end, w);
        }
    }
    return l;
}

static size_t toom_cook_workspace_of(
    const caps_conv_sizes *z, const caps_toom_cook *t, size_t n, bool backward)
{
    const plan p = plan_of(z, t);
    const layout l = lay_out(z, &p, n, backward, true);
    const size_t images = caps_round_up(n, 16); /* kernels count rows of Y^ and lanes in 32 bits */
    if (caps_conv_times(caps_conv_times(t->tiles, images), z->m > p.kp ? z->m : p.kp) >
        CAPS_REQUIRE_LIMIT)
        return SIZE_MAX;
    return caps_conv_plus(l.end, CAPS_TOOM_COOK_ALIGN);
}

/* W^ and X^. */
static size_t toom_cook_cached(const caps_conv_sizes *z, const caps_toom_cook *t, size_t n)
{
    const plan p = plan_of(z, t);
    return lay_out(z, &p, n, false, false).y + CAPS_TOOM_COOK_ALIGN;
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

static void toom_cook_begin(call *c, caps_runtime *rt, const caps_conv_sizes *z,
    const caps_toom_cook *t, const caps_tensor *workspace, size_t chunk, bool backward,
    bool needs_input_gradient)
{
    *c = (call){.rt = rt, .z = z, .p = plan_of(z, t)};
    const layout l = lay_out(z, &c->p, chunk, backward, needs_input_gradient);
    c->w = caps_toom_cook_place(workspace, l.w);
    c->x = caps_toom_cook_place(workspace, l.x);
    c->y = caps_toom_cook_place(workspace, l.y);
    c->y_across = caps_toom_cook_place(workspace, l.y_across);
    c->dx = caps_toom_cook_place(workspace, l.dx);
    c->dw = caps_toom_cook_place(workspace, l.dw);
    snprintf(c->options, sizeof c->options,
        " -DTOOM_COOK_POINTS=%zu -DTOOM_COOK_TAPS_Y=%zu -DTOOM_COOK_TAPS_X=%zu "
        "-DTOOM_COOK_OUT_Y=%zu "
        "-DTOOM_COOK_OUT_X=%zu -DTOOM_COOK_STRIDE=%zu",
        t->points, t->taps_y, t->taps_x, t->out_y, t->out_x, z->stride);
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
        CAPS_ARG_UINT(c->p.t.tiles_x), CAPS_ARG_UINT(c->blocks)};
    return transform(c, "toom_cook_x", CAPS_ARGS(args), z->c, c->p.t.tiles * c->blocks, err);
}

static caps_status to_images(const call *c, const caps_tensor *dx, caps_error *err)
{
    const caps_conv_sizes *z = c->z;
    const caps_arg args[] = {CAPS_ARG_TENSOR(dx), CAPS_ARG_TENSOR(&c->dx), CAPS_ARG_UINT(c->n),
        CAPS_ARG_UINT(z->c), CAPS_ARG_UINT(z->h), CAPS_ARG_UINT(z->w), CAPS_ARG_UINT(z->padding),
        CAPS_ARG_UINT(c->p.t.tiles_x), CAPS_ARG_UINT(c->p.t.tiles)};
    return transform(c, "toom_cook_dx", CAPS_ARGS(args), z->c, c->blocks, err);
}

static caps_status to_outputs(
    const call *c, const caps_tensor *y, const caps_tensor *bias, caps_error *err)
{
    const caps_conv_sizes *z = c->z;
    const caps_arg args[] = {CAPS_ARG_TENSOR(y), CAPS_ARG_TENSOR(&c->y), CAPS_ARG_TENSOR(bias),
        CAPS_ARG_UINT(z->act), CAPS_ARG_UINT(c->n), CAPS_ARG_UINT(z->m), CAPS_ARG_UINT(z->oh),
        CAPS_ARG_UINT(z->ow), CAPS_ARG_UINT(c->p.t.tiles_x), CAPS_ARG_UINT(c->p.t.tiles),
        CAPS_ARG_UINT(c->blocks * 16)};
    return transform(
        c, "toom_cook_y", CAPS_ARGS(args), c->p.t.tiles * c->n, caps_div_up(z->m, 16), err);
}

static caps_status from_slopes(
    const call *c, const caps_tensor *dy, const caps_tensor *y, bool across, caps_error *err)
{
    const caps_conv_sizes *z = c->z;
    const caps_arg args[] = {CAPS_ARG_TENSOR(across ? &c->y_across : &c->y), CAPS_ARG_TENSOR(dy),
        CAPS_ARG_TENSOR(y), CAPS_ARG_UINT(z->act), CAPS_ARG_UINT(c->n), CAPS_ARG_UINT(z->m),
        CAPS_ARG_UINT(z->oh), CAPS_ARG_UINT(z->ow), CAPS_ARG_UINT(c->p.t.tiles_x),
        CAPS_ARG_UINT(across ? c->blocks : c->p.t.tiles), CAPS_ARG_UINT(c->blocks * 16)};
    if (across)
        return transform(c, "toom_cook_dy_across", args, 10, z->m, c->p.t.tiles * c->blocks, err);
    return transform(c, "toom_cook_dy", args, 11, caps_div_up(z->m, 16), c->p.t.tiles * c->n, err);
}

static size_t total_bins(const plan *p)
{
    return p->t.planes - p->t.bins;
}

/* Rows of dW or dX for one work-item: fewer where their other operand is long. */
static size_t span_of(const call *c)
{
    const size_t rows = c->p.t.tiles * c->blocks * 16;
    const size_t span = rows > IN_CACHE ? SPAN * IN_CACHE / rows / 8 * 8 : SPAN;
    return span < 8 ? 8 : span;
}

static caps_status multiply_y(const call *c, caps_error *err)
{
    const plan *p = &c->p;
    const caps_arg args[] = {CAPS_ARG_TENSOR(&c->y), CAPS_ARG_TENSOR(&c->x), CAPS_ARG_TENSOR(&c->w),
        CAPS_ARG_UINT(p->t.bins), CAPS_ARG_UINT(p->t.planes), CAPS_ARG_UINT(p->t.k),
        CAPS_ARG_UINT(p->kp), CAPS_ARG_UINT(c->n), CAPS_ARG_UINT(c->z->m),
        CAPS_ARG_UINT(p->t.tiles)};
    return caps_launch(c->rt, "toom_cook_product_y", CAPS_ARGS(args), 2,
        (size_t[]){caps_div_up(p->panels, SHARE), total_bins(p)}, NULL, err);
}

static caps_status multiply_dw(const call *c, bool added, caps_error *err)
{
    const plan *p = &c->p;
    const size_t span = span_of(c);
    const caps_arg args[] = {CAPS_ARG_TENSOR(&c->dw), CAPS_ARG_TENSOR(&c->x),
        CAPS_ARG_TENSOR(&c->y), CAPS_ARG_UINT(p->t.bins), CAPS_ARG_UINT(p->t.planes),
        CAPS_ARG_UINT(p->kp), CAPS_ARG_UINT(c->n), CAPS_ARG_UINT(c->z->m),
        CAPS_ARG_UINT(p->t.tiles), CAPS_ARG_UINT(span), CAPS_ARG_UINT(added)};
    return caps_launch(c->rt, "toom_cook_product_dw", CAPS_ARGS(args), 2,
        (size_t[]){caps_div_up(p->kp, span), total_bins(p)}, NULL, err);
}

static caps_status multiply_dx(const call *c, caps_error *err)
{
    const plan *p = &c->p;
    const caps_arg args[] = {CAPS_ARG_TENSOR(&c->dx), CAPS_ARG_TENSOR(&c->w),
        CAPS_ARG_TENSOR(&c->y_across), CAPS_ARG_UINT(p->t.bins), CAPS_ARG_UINT(p->t.planes),
        CAPS_ARG_UINT(p->kp), CAPS_ARG_UINT(c->n), CAPS_ARG_UINT(c->z->m),
        CAPS_ARG_UINT(p->t.tiles), CAPS_ARG_UINT(SPAN)};
    return caps_launch(c->rt, "toom_cook_product_dx", CAPS_ARGS(args), 2,
        (size_t[]){caps_div_up(p->kp, SPAN), total_bins(p)}, NULL, err);
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
    const caps_toom_cook *p, const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk,
    caps_conv_cached cached, caps_error *err)
{
    call c;
    caps_status status = CAPS_OK;
    toom_cook_begin(&c, rt, z, p, workspace, chunk, true, t->dx != NULL);
    if (t->dbias)
        CAPS_TRY(caps_bias_act_sum(rt, t->dbias, t->dy, t->y, z->act, z->b, z->m, z->pixels, err));
    if (t->dx && !cached.w)
        CAPS_TRY(from_weights(&c, t->w, err));
    for (size_t first = 0; first < z->b; first += chunk) {
        const size_t n = chunk < z->b - first ? chunk : z->b - first;
        const caps_tensor x = caps_tensor_rows(t->x, first, n);
        const caps_tensor dy = caps_tensor_rows(t->dy, first, n);
        const caps_tensor y = caps_conv_activated(z, t, first, n);
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

const caps_toom_cook_family caps_toom_cook_cpu = {toom_cook_unsupported, toom_cook_cost,
    toom_cook_workspace_of, toom_cook_cached, NULL, NULL, toom_cook_forward, toom_cook_backward};
