/* text_curve.h: a small curve of a few lines of text, for a terminal. */
#ifndef CAPS_TEXT_CURVE_H
#define CAPS_TEXT_CURVE_H

#include <stdbool.h>
#include <stddef.h>

#include "textbuf.h"

/* Points (x, y) with x ascending. */
typedef struct caps_points {
    const double *x, *y; /* [n] */
    size_t n;
} caps_points;

enum { CAPS_CURVE_COLUMNS = 60, CAPS_CURVE_ROWS = 8 };

/* Appends rows of text with values of y in front: `line` as a line, of Braille dots or, without
 * `unicode`, of ASCII; `marks` as the letter o. The scale is logarithmic where the greatest y is five
 * times the least or more. False, and nothing: there are fewer than two different x. */
bool caps_text_curve(
    caps_textbuf *to, const caps_points *line, const caps_points *marks, bool unicode);

#endif
