/* transform.c: images moved, turned, scaled, bent or made noisy.
 *
 * Every map but noise is affine: a point p of the image goes to A (p - c) + c + t, with c the
 * centre. The result's pixels are looked up at the inverse of it. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include <capscl/inspect.h>

#include "rng.h"

/* What affine has at severity 1. */
#define AFFINE_DEGREES 20.0
#define AFFINE_SHEAR   0.2
#define AFFINE_SCALE   0.2
#define AFFINE_PIXELS  8.0

static const struct {
    const char *name;
    double max_severity;
} transforms[CAPS_TRANSFORM_COUNT] = {
    [CAPS_TRANSFORM_SHIFT] = {"shift", 64},
    [CAPS_TRANSFORM_ROTATE] = {"rotate", 180},
    [CAPS_TRANSFORM_SCALE] = {"scale", 4},
    [CAPS_TRANSFORM_AFFINE] = {"affine", 1},
    [CAPS_TRANSFORM_NOISE] = {"noise", 10},
};

const char *caps_transform_name(int transform)
{
    const bool known = transform >= 0 && transform < CAPS_TRANSFORM_COUNT;
    return known ? transforms[transform].name : NULL;
}

double caps_transform_max_severity(caps_transform transform)
{
    return transforms[transform].max_severity;
}

/* The draws of one image. */
typedef struct draws {
    uint64_t seed, index;
    caps_rng_stream stream;
    uint32_t next;
} draws;

/* Uniform in -1..1. */
static double draw(draws *d)
{
    return 2 * caps_rng_uniform(d->seed, d->stream, d->next++, d->index) - 1;
}

/* Uniform among the whole numbers -most..most. */
static double draw_whole(draws *d, double most)
{
    const double u = caps_rng_uniform(d->seed, d->stream, d->next++, d->index);
    return floor(u * (2 * most + 1)) - most;
}

/* x and y to the right and downwards from the centre: (xx x + xy y + x, yx x + yy y + y). */
typedef struct affine {
    double xx, xy, yx, yy, x, y;
} affine;

static const affine identity = {1, 0, 0, 1, 0, 0};

/* Turned counter-clockwise, as y points downwards. */
static affine turned(double degrees)
{
    const double angle = degrees * (3.14159265358979323846 / 180);
    const double c = cos(angle), s = sin(angle);
    return (affine){c, s, -s, c, 0, 0};
}

static affine draw_affine(draws *d, double severity)
{
    const affine r = turned(draw(d) * AFFINE_DEGREES * severity);
    const double shear = draw(d) * AFFINE_SHEAR * severity;
    const double sx = 1 + draw(d) * AFFINE_SCALE * severity;
    const double sy = 1 + draw(d) * AFFINE_SCALE * severity;
    affine a;
    /* scaled, then sheared along x, then turned */
    a.xx = r.xx * sx;
    a.xy = (r.xx * shear + r.xy) * sy;
    a.yx = r.yx * sx;
    a.yy = (r.yx * shear + r.yy) * sy;
    a.x = draw(d) * AFFINE_PIXELS * severity;
    a.y = draw(d) * AFFINE_PIXELS * severity;
    return a;
}

static affine draw_map(caps_transform transform, double severity, draws *d)
{
    affine a = identity;
    switch (transform) {
    case CAPS_TRANSFORM_SHIFT:
        a.x = draw_whole(d, floor(severity));
        a.y = draw_whole(d, floor(severity));
        break;
    case CAPS_TRANSFORM_ROTATE:
        a = turned(draw(d) * severity);
        break;
    case CAPS_TRANSFORM_SCALE:
        a.xx = a.yy = exp(draw(d) * log(1 + severity));
        break;
    case CAPS_TRANSFORM_AFFINE:
        a = draw_affine(d, severity);
        break;
    default:
        break;
    }
    return a;
}

static affine inverse(const affine *a)
{
    const double det = a->xx * a->yy - a->xy * a->yx; /* 0.04 or more: see the ranges */
    affine i = {a->yy / det, -a->xy / det, -a->yx / det, a->xx / det, 0, 0};
    i.x = -(i.xx * a->x + i.xy * a->y);
    i.y = -(i.yx * a->x + i.yy * a->y);
    return i;
}

/* A pixel, black outside. */
static double pixel(const float *plane, double y, double x, size_t height, size_t width)
{
    const bool inside = y >= 0 && y < (double)height && x >= 0 && x < (double)width;
    return inside ? (double)plane[(size_t)y * width + (size_t)x] : 0;
}

static double bilinear(const float *plane, double y, double x, size_t height, size_t width)
{
    const double y0 = floor(y), x0 = floor(x), fy = y - y0, fx = x - x0;
    const double top = (1 - fx) * pixel(plane, y0, x0, height, width) +
                       fx * pixel(plane, y0, x0 + 1, height, width);
    const double bottom = (1 - fx) * pixel(plane, y0 + 1, x0, height, width) +
                          fx * pixel(plane, y0 + 1, x0 + 1, height, width);
    return (1 - fy) * top + fy * bottom;
}

static void warp(
    const affine *map, const float *in, float *out, size_t channels, size_t height, size_t width)
{
    const affine back = inverse(map);
    const double cy = ((double)height - 1) / 2, cx = ((double)width - 1) / 2;
    const size_t plane = height * width;
    for (size_t i = 0; i < plane; i++) {
        const double y = (double)(i / width) - cy, x = (double)(i % width) - cx;
        const double from_x = back.xx * x + back.xy * y + back.x + cx;
        const double from_y = back.yx * x + back.yy * y + back.y + cy;
        for (size_t c = 0; c < channels; c++)
            out[c * plane + i] = (float)bilinear(in + c * plane, from_y, from_x, height, width);
    }
}

void caps_transform_apply(caps_transform transform, double severity, uint64_t seed, uint64_t index,
    const float *in, float *out, size_t channels, size_t height, size_t width)
{
    const size_t elements = channels * height * width;
    const caps_rng_stream stream =
        (caps_rng_stream)((uint32_t)CAPS_RNG_TRANSFORM | (uint32_t)transform << 8);
    if (severity <= 0) {
        memcpy(out, in, elements * sizeof *out);
    } else if (transform == CAPS_TRANSFORM_NOISE) {
        for (size_t i = 0; i < elements; i++) {
            const float z = caps_rng_normal(seed, stream, (uint32_t)i, index);
            const double value = (double)in[i] + severity * (double)z;
            out[i] = (float)fmin(fmax(value, 0), 1);
        }
    } else {
        draws d = {.seed = seed, .index = index, .stream = stream};
        const affine map = draw_map(transform, severity, &d);
        warp(&map, in, out, channels, height, width);
    }
}

void caps_placement_apply(const caps_placement *placement, const float *in, float *out,
    size_t channels, size_t height, size_t width)
{
    affine map = turned(placement->degrees);
    map.xx *= placement->scale;
    map.xy *= placement->scale;
    map.yx *= placement->scale;
    map.yy *= placement->scale;
    map.x = placement->right;
    map.y = placement->down;
    warp(&map, in, out, channels, height, width);
}
