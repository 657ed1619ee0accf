/* draw_text.c: the text of sheets; see draw.h. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "draw.h"
#include "letters.h"
#include "type.h"

/* A text as the glyphs that are drawn of it. */
typedef struct reader {
    const char *text, *glyphs; /* what is still to read; what is read and not yet drawn */
    char one[2];
} reader;

/* The next one, or 0 at the end. */
static unsigned char next_glyph(reader *r)
{
    while (!r->glyphs || !*r->glyphs) {
        if (!*r->text)
            return 0;
        r->glyphs = caps_letters_next(&r->text, r->one);
    }
    return (unsigned char)*r->glyphs++;
}

size_t caps_text_length(const char *text)
{
    reader r = {.text = text};
    size_t n = 0;
    while (next_glyph(&r))
        n++;
    return n;
}

/* ---- sizes ---------------------------------------------------------------------------------- */

static const caps_typeface *face_of(double size)
{
    return size >= CAPS_TEXT_TITLE ? &caps_type_title : &caps_type_text;
}

/* Units of an em. */
static double em_of(double size)
{
    return CAPS_TEXT_CAPITAL * size * CAPS_TYPE_EM / face_of(size)->capital;
}

static double advance_of(unsigned char c, double size)
{
    return face_of(size)->advances[c - CAPS_TYPE_FIRST] * em_of(size) / CAPS_TYPE_EM;
}

double caps_text_width(const char *text, double size)
{
    reader r = {.text = text};
    double width = 0;
    for (unsigned char c; (c = next_glyph(&r)) != 0;)
        width += advance_of(c, size);
    return width;
}

double caps_text_height(double size)
{
    return CAPS_TEXT_CAPITAL * size;
}

/* ---- drawing -------------------------------------------------------------------------------- */

/* Few shades, and letters at few places within a pixel: a PNG that repeats itself is a smaller one. */
enum { SHADES = 16, PLACES = 4 };

typedef struct pen {
    caps_drawing *d;
    long x, y; /* where the text begins, on the line that letters stand on */
    bool up;   /* it goes upwards from there */
    caps_colour colour;
} pen;

static void pen_ink(void *to, long along, long across, double part)
{
    pen *p = to;
    part = round(part * SHADES) / SHADES;
    if (p->up)
        caps_draw_dot(p->d, p->x + across, p->y - 1 - along, p->colour, part);
    else
        caps_draw_dot(p->d, p->x + along, p->y + across, p->colour, part);
}

static void draw_text(
    caps_drawing *d, double x, double y, const char *text, double size, bool up, caps_colour colour)
{
    const double em = em_of(size) * d->scale, far = 1e6;
    const double left = round(x * d->scale), top = round(y * d->scale);
    if (!(fabs(left) < far && fabs(top) < far))
        return;
    const long capital = caps_type_capital(face_of(size), em);
    pen p = {d, (long)left + (up ? capital : 0), (long)top + (up ? 0 : capital), up, colour};
    double along = 0, word = 0; /* in units; where the word begins */
    reader r = {.text = text};
    for (unsigned char c; (c = next_glyph(&r)) != 0; along += advance_of(c, size)) {
        if (c == ' ') {
            word = along + advance_of(c, size);
            continue;
        }
        /* Words begin on whole pixels, so that each looks the same wherever it stands. */
        const double at =
            round(word * d->scale) + round((along - word) * d->scale * PLACES) / PLACES;
        caps_type_draw(face_of(size), c, em, at, pen_ink, &p);
    }
}

double caps_draw_text(
    caps_drawing *d, double x, double y, const char *text, double size, caps_colour colour)
{
    draw_text(d, x, y, text, size, false, colour);
    return caps_text_width(text, size);
}

/* ---- what fits ------------------------------------------------------------------------------ */

char *caps_text_cut(char *out, const char *text, size_t most)
{
    const size_t n = caps_text_length(text), room = most > 2 ? most - 2 : 0;
    /* Names that begin alike often end in a number. */
    const size_t tail = room / 3, head = room - tail;
    reader r = {.text = text};
    char *to = out;
    for (size_t i = 0; i < n; i++) {
        const char glyph = (char)next_glyph(&r);
        if (n > most && i == head) {
            *to++ = '.';
            *to++ = '.';
        }
        if (n <= most || i < head || i >= n - tail)
            *to++ = glyph;
    }
    *to = 0;
    return out;
}

/* The text, cut until it is at most `width` wide or has only `least` characters. */
static char *cut_to_width(
    char *out, size_t bytes, const char *text, double width, double size, size_t least)
{
    const double rounding = 1e-6; /* a place may be measured with this very text */
    const size_t n = caps_text_length(text);
    size_t most = n < bytes ? n : bytes - 1;
    caps_text_cut(out, text, most);
    while (most > least && caps_text_width(out, size) > width + rounding)
        caps_text_cut(out, text, --most);
    return out;
}

char *caps_text_fit(char *out, size_t bytes, const char *text, double width, double size)
{
    return cut_to_width(out, bytes, text, width, size, 2);
}

char *caps_text_name(char *out, size_t bytes, const char *before, const char *name,
    const char *after, double width, double size)
{
    const size_t words = strlen(before) + strlen(after), least = 3;
    assert(bytes > words + least);
    memcpy(out, before, strlen(before));
    cut_to_width(out + strlen(before), bytes - words, name,
        width - caps_text_width(before, size) - caps_text_width(after, size), size, least);
    return strcat(out, after);
}

void caps_draw_label(caps_drawing *d, double x, double y, double width, caps_align align,
    const char *text, double size, caps_colour colour)
{
    char cut[512];
    caps_text_fit(cut, sizeof cut, text, width, size);
    const double spare = width - caps_text_width(cut, size);
    x += align == CAPS_LEFT ? 0 : align == CAPS_RIGHT ? spare : spare / 2;
    draw_text(d, x, y, cut, size, false, colour);
}

void caps_draw_label_up(caps_drawing *d, double x, double y, double length, const char *text,
    double size, caps_colour colour)
{
    char cut[512];
    draw_text(d, x, y, caps_text_fit(cut, sizeof cut, text, length, size), size, true, colour);
}

/* How many of the characters at `text` stand in a line, and where the next begins: between words where
 * one is at most `width` wide. */
static size_t line_end(const char *text, double width, double size, size_t *next)
{
    double at = 0;
    size_t n = 0, space = 0;
    for (; text[n]; n++) {
        at += advance_of((unsigned char)text[n], size);
        if (text[n] == ' ')
            space = n;
        else if (at > width && n > 0)
            break;
    }
    if (!text[n])
        return *next = n;
    *next = space ? space + 1 : n; /* a long word is broken */
    return space ? space : n;
}

double caps_draw_paragraph(caps_drawing *d, double x, double y, double width, const char *text,
    double size, caps_colour colour)
{
    const double line = ceil(10.5 * size);
    char plain[2048]; /* in the font's letters */
    caps_text_cut(plain, text, sizeof plain - 1);
    double height = 0;
    size_t next;
    for (char *at = plain; *at; at += next) {
        const size_t n = line_end(at, width, size, &next);
        const char behind = at[n];
        at[n] = 0;
        if (d)
            draw_text(d, x, y + height, at, size, false, colour);
        at[n] = behind;
        height += line;
    }
    return height;
}
