/* conv_winograd_tiles.c: convolution of kernels of at most 3x3 at stride 1, tiles of 4x4 outputs by
 * F(4x4, 3x3). Kernels, equations and layouts: cl/conv_winograd_tiles_cpu.cl.
 *
 *     forward:   w^ <- w; some blocks of sixteen images at a time: x^ <- x, y <- x^ w^
 *     backward:  likewise x^ <- x, dy^ <- dy, sums += x^ dy^; dw, dbias <- sums; then as forward,
 *                dx of dy act'(y) and w turned round
 *
 * The workspace holds w^ and x^; backward sums, x^ and dy^, and in their place w^ and dy at the
 * points of a forward. Blocks go together while their values fit into an outer cache; sums are
 * added block by block, so that they are the same however many that are. */
#include "conv_lanes.h"
#include "conv_winograd.h"
#include "fail.h"
#include "launch.h"
#include "require.h"

enum { POINTS = 36, TILE = 4 };
enum { ROW = 32, HELD = 4096 }; /* TILES_ROW, TILES_HELD of the kernels */
enum { CACHE_BYTES = 8 << 20 }; /* of values of blocks that go together */
enum { MOST_OWN = 32, MOST_KERNEL = 3 };

/* A convolution that is computed: that of x, or of dy for dx. Tiles: down x across. */
typedef struct tiles {
    size_t channels, outputs, oh, ow, kh, kw;
    size_t down, across, count;
} tiles;

static tiles tiles_of(
    size_t channels, size_t outputs, size_t oh, size_t ow, const caps_conv_sizes *z)
{
    const size_t down = caps_div_up(oh, TILE), across = caps_div_up(ow, TILE);
    return (tiles){
        channels, outputs, oh, ow, z->kh, z->kw, down, across, caps_conv_times(down, across)};
}

static tiles forward_tiles(const caps_conv_sizes *z)
{
    return tiles_of(z->c, z->m, z->oh, z->ow, z);
}

static tiles back_tiles(const caps_conv_sizes *z)
{
    return tiles_of(z->m, z->c, z->h, z->w, z);
}

/* Elements of a block's values, of `channels` channels. */
static size_t block_of(const tiles *t, size_t channels)
{
    return caps_conv_times(t->count, caps_conv_times(channels, POINTS * CAPS_LANES));
}

bool caps_winograd_tiles_serve(const caps_conv_sizes *z)
{
    const tiles forward = forward_tiles(z), back = back_tiles(z);
    const size_t most = z->m > z->c ? z->m : z->c;
    return z->kh <= MOST_KERNEL && z->kw <= MOST_KERNEL && forward.across <= ROW &&
           back.across <= ROW &&
           block_of(&forward, caps_round_up(most, CAPS_LANES)) <= CAPS_REQUIRE_LIMIT &&
           block_of(&back, most) <= CAPS_REQUIRE_LIMIT &&
           caps_conv_times(z->m, z->c + CAPS_LANES) <= CAPS_REQUIRE_LIMIT / POINTS;
}

/* Turning images into values at the points, and sums of products into outputs, takes about six
 * operations a value. */
double caps_winograd_tiles_cost(const caps_conv_sizes *z)
{
    const tiles t = forward_tiles(z);
    const double images = (double)caps_round_up(z->b, CAPS_LANES);
    const double m = (double)caps_round_up(z->m, CAPS_EIGHT), c = (double)z->c;
    const double values = (double)(POINTS * t.count);
    return images * (values * (1.1 * c * m + 6 * (c + m)) +
                        CAPS_CONV_BYTE * 4 * (double)(t.count * TILE * TILE) * m);
}

/* ---- the workspace -------------------------------------------------------------------------- */

static size_t w_count(const tiles *t)
{
    return caps_conv_times(
        caps_round_up(t->outputs, CAPS_EIGHT), caps_conv_times(t->channels, POINTS));
}

static size_t sums_count(const caps_conv_sizes *z)
{
    const size_t rows = caps_conv_times(z->m, caps_round_up(z->c, CAPS_LANES));
    return caps_round_up(caps_conv_plus(caps_conv_times(rows, POINTS), z->m), CAPS_LANES);
}

/* x^ and dy^ of a block. */
static size_t pair_of(const tiles *t)
{
    return caps_conv_plus(
        block_of(t, t->channels), block_of(t, caps_round_up(t->outputs, CAPS_EIGHT)));
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Of n images, how many blocks of sixteen go together, no fewer for more images; a block has `each`
 * elements. */
static size_t together(size_t n, size_t each)
{
    const size_t blocks = caps_div_up(n, CAPS_LANES), fit = CACHE_BYTES / sizeof(float) / each;
    return least(blocks, fit > 1 ? fit : 1);
}

size_t caps_winograd_tiles_workspace(const caps_conv_sizes *z, size_t n, bool backward)
{
    const tiles forward = forward_tiles(z), back = back_tiles(z);
    const size_t x = block_of(&forward, forward.channels), dy = block_of(&back, back.channels);
    const size_t pair = pair_of(&forward);
    if (!backward)
        return caps_conv_plus(w_count(&forward), caps_conv_times(together(n, x), x));
    const size_t dw = caps_conv_plus(sums_count(z), caps_conv_times(together(n, pair), pair));
    const size_t dx = caps_conv_plus(w_count(&back), caps_conv_times(together(n, dy), dy));
    return dw > dx ? dw : dx;
}

/* ---- launches ------------------------------------------------------------------------------- */

/* n images of h x w at the points of tiles that begin `top` rows and `left` columns before them. */
typedef struct picture {
    caps_activation act;
    size_t h, w, top, left, n;
    bool flat;
} picture;

static caps_status from_images(caps_runtime *rt, const tiles *t, const caps_tensor *to,
    const caps_tensor *x, const caps_tensor *y, const picture *p, caps_error *err)
{
    const size_t blocks = caps_div_up(p->n, CAPS_LANES);
    const size_t parts = caps_conv_parts(rt, t->channels * blocks, t->down);
    const caps_arg args[] = {CAPS_ARG_TENSOR(to), CAPS_ARG_TENSOR(x), CAPS_ARG_TENSOR(y),
        CAPS_ARG_UINT(p->act), CAPS_ARG_UINT(p->n), CAPS_ARG_UINT(t->channels), CAPS_ARG_UINT(p->h),
        CAPS_ARG_UINT(p->w), CAPS_ARG_UINT(p->top), CAPS_ARG_UINT(p->left), CAPS_ARG_UINT(t->down),
        CAPS_ARG_UINT(t->across), CAPS_ARG_UINT(p->flat), CAPS_ARG_UINT(parts)};
    return caps_launch(rt, "winograd_tiles_x", CAPS_ARGS(args), 2,
        (size_t[]){t->channels * parts, blocks}, NULL, err);
}

static caps_status from_gradients(caps_runtime *rt, const tiles *t, const caps_tensor *to,
    const caps_tensor *dy, const caps_tensor *y, caps_activation act, size_t n, caps_error *err)
{
    const size_t blocks = caps_div_up(n, CAPS_LANES);
    const size_t eights = caps_div_up(t->outputs, CAPS_EIGHT);
    const size_t parts = caps_conv_parts(rt, eights * blocks, t->down);
    const caps_arg args[] = {CAPS_ARG_TENSOR(to), CAPS_ARG_TENSOR(dy), CAPS_ARG_TENSOR(y),
        CAPS_ARG_UINT(act), CAPS_ARG_UINT(n), CAPS_ARG_UINT(t->outputs), CAPS_ARG_UINT(t->oh),
        CAPS_ARG_UINT(t->ow), CAPS_ARG_UINT(parts)};
    return caps_launch(
        rt, "winograd_tiles_dy", CAPS_ARGS(args), 2, (size_t[]){eights * parts, blocks}, NULL, err);
}

static caps_status from_weights(caps_runtime *rt, const tiles *t, const caps_tensor *to,
    const caps_tensor *w, bool back, caps_error *err)
{
    const size_t eights = caps_div_up(t->outputs, CAPS_EIGHT);
    const caps_arg args[] = {CAPS_ARG_TENSOR(to), CAPS_ARG_TENSOR(w), CAPS_ARG_UINT(t->outputs),
        CAPS_ARG_UINT(t->channels), CAPS_ARG_UINT(t->kh), CAPS_ARG_UINT(t->kw),
        CAPS_ARG_UINT(back)};
    return caps_launch(rt, "winograd_tiles_w", CAPS_ARGS(args), 2,
        (size_t[]){eights, caps_conv_parts(rt, eights, t->channels)}, NULL, err);
}

static caps_status products(caps_runtime *rt, const tiles *t, const caps_tensor *y,
    const caps_tensor *x, const caps_tensor *w, const caps_tensor *bias, caps_activation act,
    size_t n, caps_error *err)
{
    const size_t blocks = caps_div_up(n, CAPS_LANES), eights = caps_div_up(t->outputs, CAPS_EIGHT);
    const size_t most = least(HELD / (TILE * t->ow), MOST_OWN);
    const size_t fewest = caps_div_up(eights * CAPS_EIGHT, most - most % CAPS_EIGHT);
    const size_t wanted = caps_conv_parts(rt, t->down * blocks, eights);
    const size_t own = caps_div_up(eights, wanted > fewest ? wanted : fewest) * CAPS_EIGHT;
    const caps_arg args[] = {CAPS_ARG_TENSOR(y), CAPS_ARG_TENSOR(x), CAPS_ARG_TENSOR(w),
        CAPS_ARG_TENSOR(bias), CAPS_ARG_UINT(act), CAPS_ARG_UINT(n), CAPS_ARG_UINT(t->channels),
        CAPS_ARG_UINT(t->outputs), CAPS_ARG_UINT(t->oh), CAPS_ARG_UINT(t->ow), CAPS_ARG_UINT(own)};
    return caps_launch(rt, "winograd_tiles_product", CAPS_ARGS(args), 2,
        (size_t[]){t->down * caps_div_up(t->outputs, own), blocks}, NULL, err);
}

/* sums, of n images more; new: of these alone. */
static caps_status add_up(caps_runtime *rt, const tiles *t, const caps_tensor *sums,
    const caps_tensor *x, const caps_tensor *dy, size_t n, bool new, caps_error *err)
{
    const size_t eights = caps_div_up(t->outputs, CAPS_EIGHT);
    const size_t parts = caps_conv_parts(rt, POINTS, eights);
    const caps_arg args[] = {CAPS_ARG_TENSOR(sums), CAPS_ARG_TENSOR(x), CAPS_ARG_TENSOR(dy),
        CAPS_ARG_UINT(t->channels), CAPS_ARG_UINT(t->outputs), CAPS_ARG_UINT(t->count),
        CAPS_ARG_UINT(caps_div_up(n, CAPS_LANES)), CAPS_ARG_UINT(new), CAPS_ARG_UINT(parts)};
    return caps_launch(
        rt, "winograd_tiles_dw", CAPS_ARGS(args), 1, (size_t[]){POINTS * parts}, NULL, err);
}

/* ---- the algorithm -------------------------------------------------------------------------- */

/* Images that go together: of `chunk`, `each` elements a block. */
static size_t step_of(size_t chunk, size_t each)
{
    return together(chunk, each) * CAPS_LANES;
}

/* to = act(products + bias) of the images `from`: y of x, or dx of dy act'(y). */
static caps_status convolve(caps_runtime *rt, const caps_conv_sizes *z, const tiles *t,
    const caps_tensor *workspace, const caps_conv_tensors *given, size_t chunk, caps_error *err)
{
    const bool back = given->dx != NULL;
    const caps_tensor w = caps_conv_place(workspace, 0),
                      values = caps_conv_place(workspace, w_count(t));
    const size_t step = step_of(chunk, block_of(t, t->channels));
    picture p = back ? (picture){z->act, z->oh, z->ow, z->kh - 1 - z->padding,
                           z->kw - 1 - z->padding, 0, false}
                     : (picture){CAPS_ACT_NONE, z->h, z->w, z->padding, z->padding, 0, false};
    caps_status status;
    CAPS_TRY(from_weights(rt, t, &w, given->w, back, err));
    for (size_t first = 0; first < z->b; first += p.n) {
        p.n = least(step, z->b - first);
        const caps_tensor from = caps_tensor_rows(back ? given->dy : given->x, first, p.n);
        const caps_tensor y = back ? caps_conv_activated(z, given, first, p.n) : from;
        const caps_tensor to = caps_tensor_rows(back ? given->dx : given->y, first, p.n);
        CAPS_TRY(from_images(rt, t, &values, &from, &y, &p, err));
        CAPS_TRY(products(rt, t, &to, &values, &w, back ? NULL : given->bias,
            back ? CAPS_ACT_NONE : z->act, p.n, err));
    }
done:
    return status;
}

caps_status caps_winograd_tiles_forward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_error *err)
{
    const tiles forward = forward_tiles(z);
    return convolve(rt, z, &forward, workspace, t, chunk, err);
}

/* dw and dbias. */
static caps_status weight_gradient(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *given, const caps_tensor *workspace, size_t chunk, caps_error *err)
{
    const tiles t = forward_tiles(z);
    const size_t step = step_of(chunk, pair_of(&t)), values = sums_count(z);
    const size_t own = step / CAPS_LANES * block_of(&t, t.channels);
    const caps_tensor sums = caps_conv_place(workspace, 0), x = caps_conv_place(workspace, values),
                      dy = caps_conv_place(workspace, values + own);
    picture p = {CAPS_ACT_NONE, z->h, z->w, z->padding, z->padding, 0, true};
    caps_status status;
    for (size_t first = 0; first < z->b; first += p.n) {
        p.n = least(step, z->b - first);
        const caps_tensor from = caps_tensor_rows(given->x, first, p.n);
        const caps_tensor gradient = caps_tensor_rows(given->dy, first, p.n);
        const caps_tensor y = caps_conv_activated(z, given, first, p.n);
        CAPS_TRY(from_images(rt, &t, &x, &from, &from, &p, err));
        CAPS_TRY(from_gradients(rt, &t, &dy, &gradient, &y, z->act, p.n, err));
        CAPS_TRY(add_up(rt, &t, &sums, &x, &dy, p.n, first == 0, err));
    }
    const caps_arg args[] = {CAPS_ARG_TENSOR(given->dw), CAPS_ARG_TENSOR(given->dbias),
        CAPS_ARG_TENSOR(&sums), CAPS_ARG_UINT(z->c), CAPS_ARG_UINT(z->kh), CAPS_ARG_UINT(z->kw)};
    CAPS_TRY(
        caps_launch(rt, "winograd_tiles_dw_sum", CAPS_ARGS(args), 1, (size_t[]){z->m}, NULL, err));
done:
    return status;
}

caps_status caps_winograd_tiles_backward(caps_runtime *rt, const caps_conv_sizes *z,
    const caps_conv_tensors *t, const caps_tensor *workspace, size_t chunk, caps_error *err)
{
    const tiles back = back_tiles(z);
    caps_status status;
    CAPS_TRY(weight_gradient(rt, z, t, workspace, chunk, err));
    if (t->dx)
        CAPS_TRY(convolve(rt, z, &back, workspace, t, chunk, err));
done:
    return status;
}
