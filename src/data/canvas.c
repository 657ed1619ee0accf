/* canvas.c: rectangles and tiles on an RGB picture. */
#include "canvas.h"

#include <assert.h>
#include <limits.h>

/* The part of start..start+length that lies in 0..size, as *begin..*end. */
static void clip(size_t *begin, size_t *end, long start, size_t length, size_t size)
{
    if (start < 0) {
        size_t outside = (size_t)(-(start + 1)) + 1; /* -LONG_MIN is no long */
        *begin = 0;
        *end = length > outside ? length - outside : 0;
    } else {
        *begin = (size_t)start < size ? (size_t)start : size;
        *end = length > size - *begin ? size : *begin + length;
    }
    if (*end > size)
        *end = size;
}

/* x + length, held within the range of long: a product of sizes may leave it. */
static long shifted(long x, size_t length)
{
    if (x < 0 && length <= (size_t)LONG_MAX)
        return x + (long)length;
    return x < 0 || length > (size_t)(LONG_MAX - x) ? LONG_MAX : x + (long)length;
}

void caps_canvas_fill(
    caps_image *canvas, long x, long y, size_t width, size_t height, caps_colour colour)
{
    assert(canvas->channels == 3);
    size_t x0, x1, y0, y1;
    clip(&x0, &x1, x, width, canvas->width);
    clip(&y0, &y1, y, height, canvas->height);
    for (size_t row = y0; row < y1; row++)
        for (size_t column = x0; column < x1; column++) {
            uint8_t *p = canvas->pixels + (row * canvas->width + column) * 3;
            p[0] = colour.r;
            p[1] = colour.g;
            p[2] = colour.b;
        }
}

void caps_canvas_frame(caps_image *canvas, long x, long y, size_t width, size_t height,
    size_t thickness, caps_colour colour)
{
    if (thickness >= width / 2 + width % 2 || thickness >= height / 2 + height % 2) {
        caps_canvas_fill(canvas, x, y, width, height, colour); /* no inside is left */
        return;
    }
    caps_canvas_fill(canvas, x, y, width, thickness, colour);
    caps_canvas_fill(canvas, x, shifted(y, height - thickness), width, thickness, colour);
    caps_canvas_fill(canvas, x, y, thickness, height, colour);
    caps_canvas_fill(canvas, shifted(x, width - thickness), y, thickness, height, colour);
}

static uint8_t canvas_to_byte(float value)
{
    if (!(value > 0)) /* NaN too */
        return 0;
    return value >= 1 ? 255 : (uint8_t)(value * 255.0f + 0.5f);
}

void caps_canvas_tile(caps_image *canvas, long x, long y, const float *pixels, size_t channels,
    size_t height, size_t width, size_t zoom)
{
    const size_t plane = height * width;
    const size_t green = channels == 3 ? plane : 0, blue = channels == 3 ? 2 * plane : 0;
    for (size_t row = 0; row < height; row++)
        for (size_t column = 0; column < width; column++) {
            const float *p = pixels + row * width + column;
            const caps_colour colour = {
                canvas_to_byte(p[0]), canvas_to_byte(p[green]), canvas_to_byte(p[blue])};
            caps_canvas_fill(
                canvas, shifted(x, column * zoom), shifted(y, row * zoom), zoom, zoom, colour);
        }
}
