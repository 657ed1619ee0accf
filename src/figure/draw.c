/* draw.c: see draw.h. */
#include "draw.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fail.h"

#define MOST_PIXELS 16384 /* each way: what image.h reads back */

const caps_colour caps_paper = {250, 249, 246}, caps_ink = {38, 38, 42},
                  caps_muted = {112, 110, 104}, caps_edge = {206, 203, 195},
                  caps_faint = {234, 231, 224}, caps_good = {24, 112, 72}, caps_bad = {196, 38, 32},
                  caps_first = {0, 114, 152}, caps_second = {222, 120, 20};

caps_status caps_drawing_init(
    caps_drawing *d, double width, double height, double scale, caps_error *err)
{
    const double w = ceil(width * scale), h = ceil(height * scale);
    *d = (caps_drawing){.scale = scale};
    if (!(w >= 1 && h >= 1 && w <= MOST_PIXELS && h <= MOST_PIXELS))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "a sheet of %.0fx%.0f pixels is too large, need <= %d each way", w, h, MOST_PIXELS);
    caps_status status = caps_image_init(&d->image, (size_t)w, (size_t)h, 3, err);
    if (status == CAPS_OK)
        caps_canvas_fill(&d->image, 0, 0, d->image.width, d->image.height, caps_paper);
    return status;
}

void caps_drawing_release(caps_drawing *d)
{
    caps_image_release(&d->image);
    *d = (caps_drawing){0};
}

/* ---- shapes --------------------------------------------------------------------------------- */

static long to_pixel(const caps_drawing *d, double x)
{
    x = round(x * d->scale);
    return x < -1e6 ? -1000000 : x > 1e6 ? 1000000 : (long)x;
}

void caps_draw_fill(
    caps_drawing *d, double x, double y, double width, double height, caps_colour colour)
{
    const long x0 = to_pixel(d, x), y0 = to_pixel(d, y);
    const long x1 = to_pixel(d, x + width), y1 = to_pixel(d, y + height);
    if (x1 > x0 && y1 > y0)
        caps_canvas_fill(&d->image, x0, y0, (size_t)(x1 - x0), (size_t)(y1 - y0), colour);
}

void caps_draw_frame(caps_drawing *d, double x, double y, double width, double height,
    double thickness, caps_colour colour)
{
    caps_draw_fill(d, x, y, width, thickness, colour);
    caps_draw_fill(d, x, y + height - thickness, width, thickness, colour);
    caps_draw_fill(d, x, y, thickness, height, colour);
    caps_draw_fill(d, x + width - thickness, y, thickness, height, colour);
}

void caps_draw_dot(caps_drawing *d, long x, long y, caps_colour colour, double part)
{
    if (x < 0 || y < 0 || (size_t)x >= d->image.width || (size_t)y >= d->image.height || part <= 0)
        return;
    uint8_t *p = d->image.pixels + ((size_t)y * d->image.width + (size_t)x) * 3;
    const uint8_t to[] = {colour.r, colour.g, colour.b};
    for (int c = 0; c < 3; c++)
        p[c] = (uint8_t)(p[c] + part * (to[c] - p[c]) + 0.5);
}

typedef struct stroke {
    double x0, y0, x1, y1;
} stroke;

static double distance_to(const stroke *s, double x, double y)
{
    const double dx = s->x1 - s->x0, dy = s->y1 - s->y0, length = dx * dx + dy * dy;
    double t = length > 0 ? ((x - s->x0) * dx + (y - s->y0) * dy) / length : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return hypot(x - s->x0 - t * dx, y - s->y0 - t * dy);
}

/* All strokes (in pixels) as one shape: where two meet, nothing is laid on twice. */
static void draw_strokes(
    caps_drawing *d, const stroke *strokes, size_t n, double radius, caps_colour colour)
{
    double x0 = INFINITY, y0 = INFINITY, x1 = -INFINITY, y1 = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        x0 = fmin(x0, fmin(strokes[i].x0, strokes[i].x1));
        x1 = fmax(x1, fmax(strokes[i].x0, strokes[i].x1));
        y0 = fmin(y0, fmin(strokes[i].y0, strokes[i].y1));
        y1 = fmax(y1, fmax(strokes[i].y0, strokes[i].y1));
    }
    x0 = fmax(floor(x0 - radius - 1), 0);
    y0 = fmax(floor(y0 - radius - 1), 0);
    x1 = fmin(ceil(x1 + radius + 1), (double)d->image.width);
    y1 = fmin(ceil(y1 + radius + 1), (double)d->image.height);
    for (double y = y0; y < y1; y++)
        for (double x = x0; x < x1; x++) {
            double nearest = INFINITY;
            for (size_t i = 0; i < n && nearest > radius - 0.5; i++)
                nearest = fmin(nearest, distance_to(&strokes[i], x + 0.5, y + 0.5));
            caps_draw_dot(d, (long)x, (long)y, colour, fmin(radius + 0.5 - nearest, 1));
        }
}

void caps_draw_line(caps_drawing *d, double x0, double y0, double x1, double y1, double thickness,
    caps_colour colour)
{
    const double z = d->scale;
    const stroke line = {x0 * z, y0 * z, x1 * z, y1 * z};
    draw_strokes(d, &line, 1, thickness * z / 2, colour);
}

void caps_draw_dashes(caps_drawing *d, double x0, double y0, double x1, double y1, double thickness,
    caps_colour colour)
{
    const double length = hypot(x1 - x0, y1 - y0), dash = 4;
    for (double at = 0; at < length; at += 2 * dash) {
        const double n = fmin(dash, length - at);
        if (fabs(x1 - x0) > fabs(y1 - y0))
            caps_draw_fill(d, x0 + at, y0 - thickness / 2, n, thickness, colour);
        else
            caps_draw_fill(d, x0 - thickness / 2, y0 + at, thickness, n, colour);
    }
}

/* ---- values as colours ---------------------------------------------------------------------- */

static caps_colour mix(caps_colour a, caps_colour b, double t)
{
    return (caps_colour){(uint8_t)lround(a.r + t * (b.r - a.r)),
        (uint8_t)lround(a.g + t * (b.g - a.g)), (uint8_t)lround(a.b + t * (b.b - a.b))};
}

caps_colour caps_ramp_colour(caps_ramp ramp, double t)
{
    static const caps_colour stops[][5] = {
        [CAPS_RAMP_GREY] = {{0, 0, 0}, {64, 64, 64}, {128, 128, 128}, {191, 191, 191},
            {255, 255, 255}},
        [CAPS_RAMP_GREEN] = {{246, 248, 240}, {196, 228, 200}, {118, 190, 146}, {46, 138, 96},
            {12, 84, 56}},
        [CAPS_RAMP_RED] = {{252, 244, 234}, {252, 208, 172}, {246, 150, 104}, {216, 76, 52},
            {148, 20, 28}},
        [CAPS_RAMP_DIVERGING] = {{20, 70, 150}, {116, 170, 216}, {250, 250, 248}, {240, 158, 116},
            {168, 24, 40}},
    };
    if (!(t > 0)) /* NaN too */
        t = 0;
    t = fmin(t, 1) * 4;
    const int i = t >= 4 ? 3 : (int)t;
    return mix(stops[ramp][i], stops[ramp][i + 1], t - i);
}

caps_colour caps_readable_on(caps_colour ground)
{
    const double luma = 0.299 * ground.r + 0.587 * ground.g + 0.114 * ground.b;
    return luma < 140 ? (caps_colour){255, 255, 255} : caps_ink;
}

static uint8_t to_byte(float value)
{
    if (!(value > 0)) /* NaN too */
        return 0;
    return value >= 1 ? 255 : (uint8_t)(value * 255.0f + 0.5f);
}

void caps_draw_tile(caps_drawing *d, double x, double y, const float *pixels, size_t channels,
    size_t height, size_t width, double zoom)
{
    const size_t plane = height * width;
    const size_t green = channels == 3 ? plane : 0, blue = channels == 3 ? 2 * plane : 0;
    const double edge = 1;
    caps_draw_fill(d, x - edge, y - edge, (double)width * zoom + 2 * edge,
        (double)height * zoom + 2 * edge, caps_edge);
    for (size_t row = 0; row < height; row++)
        for (size_t column = 0; column < width; column++) {
            const float *p = pixels + row * width + column;
            const caps_colour colour = {to_byte(p[0]), to_byte(p[green]), to_byte(p[blue])};
            caps_draw_fill(
                d, x + (double)column * zoom, y + (double)row * zoom, zoom, zoom, colour);
        }
}

void caps_draw_pixels(caps_drawing *d, double x, double y, const caps_colour *pixels, size_t height,
    size_t width, double zoom)
{
    const double edge = 1;
    caps_draw_fill(d, x - edge, y - edge, (double)width * zoom + 2 * edge,
        (double)height * zoom + 2 * edge, caps_edge);
    for (size_t row = 0; row < height; row++)
        for (size_t column = 0; column < width; column++)
            caps_draw_fill(d, x + (double)column * zoom, y + (double)row * zoom, zoom, zoom,
                pixels[row * width + column]);
}

void caps_draw_legend(caps_drawing *d, double x, double y, double width, caps_ramp ramp,
    const char *low, const char *middle, const char *high)
{
    const double height = 14, step = 1 / d->scale;
    for (double at = 0; at < width; at += step)
        caps_draw_fill(d, x + at, y, step, height, caps_ramp_colour(ramp, at / (width - step)));
    caps_draw_frame(d, x - 1, y - 1, width + 2, height + 2, 1, caps_edge);
    y += height + 6;
    const double side = fmax(width / 2, 60);
    if (low)
        caps_draw_label(d, x, y, side, CAPS_LEFT, low, CAPS_TEXT_SMALL, caps_muted);
    if (high)
        caps_draw_label(
            d, x + width - side, y, side, CAPS_RIGHT, high, CAPS_TEXT_SMALL, caps_muted);
    if (middle)
        caps_draw_label(d, x, y, width, CAPS_CENTRE, middle, CAPS_TEXT_SMALL, caps_muted);
}

/* ---- headings ------------------------------------------------------------------------------- */

double caps_draw_heading(caps_drawing *d, const caps_heading *heading, double width)
{
    const double room = width - 2 * CAPS_SHEET_MARGIN, x = CAPS_SHEET_MARGIN;
    double y = CAPS_SHEET_MARGIN;
    y += caps_draw_paragraph(d, x, y, room, heading->title, CAPS_TEXT_TITLE, caps_ink) + 4;
    y += caps_draw_paragraph(d, x, y, room, heading->shows, CAPS_TEXT_BODY, caps_ink) + 4;
    y += caps_draw_paragraph(d, x, y, room, heading->source, CAPS_TEXT_BODY, caps_muted) + 4;
    if (heading->result)
        y += caps_draw_paragraph(d, x, y, room, heading->result, CAPS_TEXT_BODY, caps_ink) + 4;
    return y + 14;
}
