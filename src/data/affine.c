/* affine.c: an image turned, squeezed, shifted within its black margin, and a part of it erased;
 * see draw.h. docs/data.md has every distribution. */
#include <math.h>
#include <string.h>

#include "angle.h"
#include "draw.h"

/* What is drawn of an image, a number of its own for each. */
typedef enum affine_draw {
    DRAW_TURNED,
    DRAW_ANGLE,
    DRAW_SQUEEZE,
    DRAW_SIDE_X,
    DRAW_SHIFT_X,
    DRAW_SIDE_Y,
    DRAW_SHIFT_Y,
} affine_draw;

static caps_rng_stream stream_of(affine_draw what)
{
    return (caps_rng_stream)((unsigned)CAPS_RNG_AFFINE | (unsigned)what << 8);
}

static double uniform(affine_draw what, const caps_draw *d)
{
    return caps_rng_uniform(d->seed, stream_of(what), d->high, d->low);
}

static double normal(affine_draw what, const caps_draw *d)
{
    return (double)caps_rng_normal(d->seed, stream_of(what), d->high, d->low);
}

/* The absolute value of a third of a normal draw: 0..1, below 1. */
static double share(affine_draw what, const caps_draw *d)
{
    const double x = fabs(normal(what, d)) / 3;
    return x < 0.9999 ? x : 0.9999;
}

/* ---- turned and squeezed -------------------------------------------------------------------- */

static double pixel(const uint8_t *plane, size_t h, size_t w, double y, double x)
{
    const bool inside = y >= 0 && x >= 0 && y < (double)h && x < (double)w;
    return inside ? (double)plane[(size_t)y * w + (size_t)x] : 0;
}

/* Between the four pixels around it; outside is black. */
static float bilinear(const uint8_t *plane, size_t h, size_t w, double y, double x)
{
    const double y0 = floor(y), x0 = floor(x), fy = y - y0, fx = x - x0;
    const double above =
        (1 - fx) * pixel(plane, h, w, y0, x0) + fx * pixel(plane, h, w, y0, x0 + 1);
    const double below =
        (1 - fx) * pixel(plane, h, w, y0 + 1, x0) + fx * pixel(plane, h, w, y0 + 1, x0 + 1);
    return (float)(((1 - fy) * above + fy * below) / 255);
}

/* Turned about the centre by so many degrees, then squeezed to a width of `width`, 0..1. */
static void warp(float *out, const uint8_t *image, size_t channels, size_t h, size_t w,
    double degrees, double width)
{
    const double c = caps_cos_degrees(degrees), s = caps_sin_degrees(degrees);
    const double cy = (double)(h - 1) / 2, cx = (double)(w - 1) / 2;
    for (size_t plane = 0; plane < channels; plane++)
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w; x++) {
                const double dy = (double)y - cy, dx = ((double)x - cx) / width;
                out[(plane * h + y) * w + x] = bilinear(
                    image + plane * h * w, h, w, s * dx + c * dy + cy, c * dx - s * dy + cx);
            }
}

/* ---- shifted -------------------------------------------------------------------------------- */

/* Whether a row (step 1) or a column (step w) of every channel is black. */
static bool is_black(
    const float *out, size_t channels, size_t plane, size_t first, size_t count, size_t step)
{
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < count; i++)
            if (out[c * plane + first + i * step] > 0)
                return false;
    return true;
}

/* How many pixels may be left free before and after what is not black, of `n` rows or columns. */
static void margins(
    size_t margin[2], const float *out, size_t channels, size_t h, size_t w, bool columns)
{
    const size_t n = columns ? w : h, count = columns ? h : w;
    const size_t next = columns ? 1 : w, step = columns ? w : 1;
    margin[0] = margin[1] = 0;
    while (margin[0] < n && is_black(out, channels, h * w, margin[0] * next, count, step))
        margin[0]++;
    if (margin[0] == n) { /* all black: nothing to move */
        margin[0] = 0;
        return;
    }
    while (is_black(out, channels, h * w, (n - 1 - margin[1]) * next, count, step))
        margin[1]++;
}

static ptrdiff_t draw_shift(
    const size_t margin[2], affine_draw side, affine_draw amount, const caps_draw *d)
{
    const bool after = uniform(side, d) >= 0.5;
    const ptrdiff_t by = (ptrdiff_t)(share(amount, d) * (double)(margin[after] + 1));
    return after ? by : -by;
}

static void move(float *out, size_t channels, size_t h, size_t w, ptrdiff_t dy, ptrdiff_t dx)
{
    /* Rows and columns are taken in the order in which none is overwritten before it is read. */
    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < h; i++) {
            const size_t y = dy > 0 ? h - 1 - i : i;
            const ptrdiff_t from_y = (ptrdiff_t)y - dy;
            float *row = out + (c * h + y) * w;
            for (size_t j = 0; j < w; j++) {
                const size_t x = dx > 0 ? w - 1 - j : j;
                const ptrdiff_t from_x = (ptrdiff_t)x - dx;
                const bool inside =
                    from_y >= 0 && from_y < (ptrdiff_t)h && from_x >= 0 && from_x < (ptrdiff_t)w;
                row[x] = inside ? out[(c * h + (size_t)from_y) * w + (size_t)from_x] : 0;
            }
        }
}

static void shift(float *out, size_t channels, size_t h, size_t w, const caps_draw *draw)
{
    size_t beside[2], above[2];
    margins(beside, out, channels, h, w, true);
    margins(above, out, channels, h, w, false);
    const ptrdiff_t dx = draw_shift(beside, DRAW_SIDE_X, DRAW_SHIFT_X, draw);
    const ptrdiff_t dy = draw_shift(above, DRAW_SIDE_Y, DRAW_SHIFT_Y, draw);
    if (dx != 0 || dy != 0)
        move(out, channels, h, w, dy, dx);
}

/* ---- erased --------------------------------------------------------------------------------- */

/* Where it may begin: four pixels from the borders, or as far as there is room. */
static size_t erased_from(size_t side, size_t size, size_t *places)
{
    const size_t border = size - side < 8 ? (size - side) / 2 : 4;
    *places = size - side - 2 * border + 1;
    return border;
}

static void erase(
    float *out, size_t channels, size_t h, size_t w, size_t side, const caps_draw *draw)
{
    const size_t eh = side < h ? side : h, ew = side < w ? side : w;
    size_t down, right;
    size_t top = erased_from(eh, h, &down), left = erased_from(ew, w, &right);
    const uint64_t place =
        caps_rng_below(down * right, draw->seed, CAPS_RNG_ERASE, draw->high, draw->low);
    top += (size_t)place / right;
    left += (size_t)place % right;
    for (size_t c = 0; c < channels; c++)
        for (size_t y = 0; y < eh; y++)
            memset(out + (c * h + top + y) * w + left, 0, ew * sizeof *out);
}

/* ---- all of it ------------------------------------------------------------------------------ */

void caps_draw_affine(float *out, const uint8_t *image, size_t channels, size_t h, size_t w,
    const caps_augment_options *o, const caps_draw *draw)
{
    double degrees = 0, width = 1;
    if (o->rotate > 0 && uniform(DRAW_TURNED, draw) < 0.5) {
        const double x = normal(DRAW_ANGLE, draw);
        degrees = (x < -3 ? -3 : x > 3 ? 3 : x) * o->rotate;
    }
    if (o->squeeze > 0)
        width = 1 - o->squeeze * share(DRAW_SQUEEZE, draw);
    if (degrees < 0 || degrees > 0 || width < 1)
        warp(out, image, channels, h, w, degrees, width);
    else
        for (size_t i = 0; i < channels * h * w; i++)
            out[i] = (float)image[i] / 255.0f;
    if (o->shift)
        shift(out, channels, h, w, draw);
    if (o->erase > 0)
        erase(out, channels, h, w, o->erase, draw);
}
