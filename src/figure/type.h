/* type.h: the letters of pictures: outlines of a typeface, drawn smooth at any size. */
#ifndef CAPS_TYPE_H
#define CAPS_TYPE_H

#include <stdbool.h>
#include <stdint.h>

enum { CAPS_TYPE_FIRST = 32, CAPS_TYPE_LAST = 126, CAPS_TYPE_EM = 1000 };

/* Lengths are in thousandths of the em; y goes upwards from the line that letters stand on. */
typedef struct caps_typeface {
    /* Of all glyphs one after the other, contours of quadratic curves: {2 x + 1 on the curve,
     * 2 y + 1 where a contour ends}. Between two points off the curve lies one on it. */
    const int16_t (*points)[2];
    const uint16_t *ends; /* [glyphs]: where each one's points end */
    const uint16_t *advances;
    int x_height, capital; /* heights of x and of X */
} caps_typeface;

/* Made by scripts/make-font. */
extern const caps_typeface caps_type_text, caps_type_title;

/* Gets how much of a pixel is covered, above 0 and at most 1. `along` counts to the right of where the
 * glyph's first one begins, `across` down from the line that letters stand on: -1 is above it. */
typedef void (*caps_type_ink)(void *to, long along, long across, double part);

/* Height of a capital in pixels, a whole number, where the em has `em` pixels: letters are fitted
 * between whole rows, so that their tops and feet are sharp. */
long caps_type_capital(const caps_typeface *face, double em);

/* Draws c (ASCII 32 to 126), which begins `x` pixels to the right. */
void caps_type_draw(
    const caps_typeface *face, unsigned char c, double em, double x, caps_type_ink ink, void *to);

#endif
