/* canvas.h: drawing labelled sheets: rectangles and scaled tiles. */
#ifndef CAPS_CANVAS_H
#define CAPS_CANVAS_H

#include "image.h"

typedef struct caps_colour {
    uint8_t r, g, b;
} caps_colour;

/* Drawing outside the picture is clipped. `canvas` is an RGB caps_image. */
void caps_canvas_fill(
    caps_image *canvas, long x, long y, size_t width, size_t height, caps_colour colour);
void caps_canvas_frame(caps_image *canvas, long x, long y, size_t width, size_t height,
    size_t thickness, caps_colour colour);
/* pixels [C,H,W] (C = 1 or 3, others show the first channel), 0..1 clamped, each pixel `zoom` wide.
 */
void caps_canvas_tile(caps_image *canvas, long x, long y, const float *pixels, size_t channels,
    size_t height, size_t width, size_t zoom);

#endif
