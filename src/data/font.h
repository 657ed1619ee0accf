/* font.h: the glyphs of canvas.h's text. */
#ifndef CAPS_FONT_H
#define CAPS_FONT_H

#include <stdbool.h>

#define CAPS_FONT_WIDTH       5
#define CAPS_FONT_HEIGHT      7
#define CAPS_FONT_CELL_WIDTH  6
#define CAPS_FONT_CELL_HEIGHT 9

/* Whether glyph `c` (ASCII 32..126, others as '?') has ink at column x in 0..4, row y in 0..6. */
bool caps_font_pixel(unsigned char c, int x, int y);

/* Rows that the glyph stands lower in its cell than others: 2 for those that reach below the line.
 */
int caps_font_drop(unsigned char c);

#endif
