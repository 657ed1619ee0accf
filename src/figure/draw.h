/* draw.h: labelled sheets at any scale: shapes, maps and text, measured in units of which each is
 * `scale` pixels wide. Text is drawn from outlines (type.h), so a sheet at scale 2 has twice the
 * detail, not twice the pixels of the same. */
#ifndef CAPS_DRAW_H
#define CAPS_DRAW_H

#include "canvas.h"

typedef struct caps_drawing {
    caps_image image; /* RGB */
    double scale;     /* pixels a unit */
} caps_drawing;

/* The colours of every sheet. */
extern const caps_colour caps_paper, caps_ink, caps_muted, caps_edge, caps_faint, caps_good,
    caps_bad, caps_first, caps_second;

/* A sheet of `width` x `height` units, all paper. CAPS_ERR_MEMORY; CAPS_ERR_ARGUMENT where it
 * would be larger than a PNG may be here. */
caps_status caps_drawing_init(
    caps_drawing *d, double width, double height, double scale, caps_error *err);
void caps_drawing_release(caps_drawing *d); /* a zeroed one is allowed */

/* ---- shapes: edges fall between pixels, so nothing is blurred ------------------------------ */

void caps_draw_fill(
    caps_drawing *d, double x, double y, double width, double height, caps_colour colour);
/* The border lies inside. */
void caps_draw_frame(caps_drawing *d, double x, double y, double width, double height,
    double thickness, caps_colour colour);
/* A stroke with round ends, smooth. */
void caps_draw_line(caps_drawing *d, double x0, double y0, double x1, double y1, double thickness,
    caps_colour colour);
/* Lays `part` (0 to 1) of a colour over a pixel; outside the picture nothing. */
void caps_draw_dot(caps_drawing *d, long x, long y, caps_colour colour, double part);
/* A horizontal or vertical line of dashes. */
void caps_draw_dashes(caps_drawing *d, double x0, double y0, double x1, double y1, double thickness,
    caps_colour colour);

/* ---- text ---------------------------------------------------------------------------------- */

/* size: capitals are CAPS_TEXT_CAPITAL times as many units high. Titles are in a bolder face. */
#define CAPS_TEXT_CAPITAL 6.4
#define CAPS_TEXT_TITLE   3.0
#define CAPS_TEXT_BODY    2.0
#define CAPS_TEXT_SMALL   1.5
#define CAPS_TEXT_TINY    1.0

/* Texts are UTF-8; letters with accents are drawn as those without (u with dots as "ue"), what the
 * font has no letters for as "?". A length is in characters that are drawn. */
size_t caps_text_length(const char *text);
double caps_text_width(const char *text, double size);
double caps_text_height(double size); /* of a capital */
/* x, y: left end and top of the capitals. Returns the width. */
double caps_draw_text(
    caps_drawing *d, double x, double y, const char *text, double size, caps_colour colour);
/* Within `width` from x on, cut as by caps_text_fit where it is too long. */
typedef enum caps_align {
    CAPS_LEFT,
    CAPS_CENTRE,
    CAPS_RIGHT,
} caps_align;
void caps_draw_label(caps_drawing *d, double x, double y, double width, caps_align align,
    const char *text, double size, caps_colour colour);
/* Upwards from x, y (the left end of the text is at the bottom), cut at `length`. */
void caps_draw_label_up(caps_drawing *d, double x, double y, double length, const char *text,
    double size, caps_colour colour);
/* In lines of at most `width`, broken between words; returns their height. d NULL: only measures.
 */
double caps_draw_paragraph(caps_drawing *d, double x, double y, double width, const char *text,
    double size, caps_colour colour);
/* At most `most` characters of text as they are drawn, with ".." in place of its middle where it
 * was longer: `out`, of at least most + 1 bytes (and 3), returned. */
char *caps_text_cut(char *out, const char *text, size_t most);
/* The same of as many characters as are at most `width` wide, and fit `out` of `bytes`. */
char *caps_text_fit(char *out, size_t bytes, const char *text, double width, double size);
/* before NAME after, at most `width` wide: the name is cut, but to no less than 3 characters; the words
 * around it, which are ASCII, are not. `out` of `bytes`, returned. */
char *caps_text_name(char *out, size_t bytes, const char *before, const char *name,
    const char *after, double width, double size);

/* ---- values as colours --------------------------------------------------------------------- */

typedef enum caps_ramp {
    CAPS_RAMP_GREY,      /* 0 black to 1 white */
    CAPS_RAMP_GREEN,     /* 0 paper to 1 deep green */
    CAPS_RAMP_RED,       /* 0 paper to 1 deep red */
    CAPS_RAMP_DIVERGING, /* 0 blue, 0.5 white, 1 red */
} caps_ramp;
/* t is held within 0..1; NaN is 0. */
caps_colour caps_ramp_colour(caps_ramp ramp, double t);
/* Black or white: what is read on that ground. */
caps_colour caps_readable_on(caps_colour ground);

/* pixels [C,H,W], 0..1 (C = 3: colour, else the first channel), `zoom` units each, with a thin
 * edge around them. */
void caps_draw_tile(caps_drawing *d, double x, double y, const float *pixels, size_t channels,
    size_t height, size_t width, double zoom);
/* The same of RGB bytes [H,W]. */
void caps_draw_pixels(caps_drawing *d, double x, double y, const caps_colour *pixels, size_t height,
    size_t width, double zoom);
/* A bar of the whole ramp, with a text at each end and in the middle (NULL: none) below it. */
void caps_draw_legend(caps_drawing *d, double x, double y, double width, caps_ramp ramp,
    const char *low, const char *middle, const char *high);

/* ---- headings ------------------------------------------------------------------------------ */

/* A sheet's first lines: its title, what it shows, and where that comes from. */
typedef struct caps_heading {
    const char *title, *shows, *source;
    const char *result; /* one line in ink; NULL: none */
} caps_heading;

#define CAPS_SHEET_MARGIN 24.0
/* Returns the height that it takes, the margin above included. d NULL: only measures. */
double caps_draw_heading(caps_drawing *d, const caps_heading *heading, double width);

#endif
