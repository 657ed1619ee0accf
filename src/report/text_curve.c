/* text_curve.c: see text_curve.h. */
#include "text_curve.h"

#include <math.h>
#include <string.h>

enum { COLUMNS = CAPS_CURVE_COLUMNS, ROWS = CAPS_CURVE_ROWS, MOST_WIDE = 2, MOST_HIGH = 4 };

typedef struct plot {
    size_t wide, high; /* dots of a cell */
    bool logarithmic;
    double left, right, low, high_y;
    bool dots[ROWS * MOST_HIGH][COLUMNS * MOST_WIDE];
    bool marks[ROWS][COLUMNS];
} plot;

static double scaled(const plot *p, double y)
{
    return p->logarithmic ? log(y) : y;
}

/* Grows the ranges by these points. */
static void include(plot *p, const caps_points *points, double *least)
{
    for (size_t i = 0; i < points->n; i++) {
        if (points->x[i] < p->left)
            p->left = points->x[i];
        if (points->x[i] > p->right)
            p->right = points->x[i];
        if (points->y[i] < p->low)
            p->low = points->y[i];
        if (points->y[i] > p->high_y)
            p->high_y = points->y[i];
        if (points->y[i] > 0 && points->y[i] < *least)
            *least = points->y[i];
    }
}

/* Place within 0..count-1. */
static size_t place(double x, double from, double to, size_t count)
{
    const double share = to > from ? (x - from) / (to - from) : 0.5;
    const double at = share * (double)(count - 1) + 0.5;
    return at < 0 ? 0 : at >= (double)count ? count - 1 : (size_t)at;
}

static size_t column_of(const plot *p, double x, size_t wide)
{
    return place(x, p->left, p->right, COLUMNS * wide);
}

/* Rows count from the top. Zero has no logarithm: it lies at the bottom. */
static size_t dot_row(const plot *p, double y)
{
    const size_t rows = ROWS * p->high;
    const double top = scaled(p, p->high_y), bottom = scaled(p, p->low);
    const double at = scaled(p, y > p->low ? y : p->low);
    return top > bottom ? place(top - at, 0, top - bottom, rows) : rows / 2;
}

static void draw_segment(plot *p, size_t x0, size_t y0, size_t x1, size_t y1)
{
    size_t before = y0;
    for (size_t x = x0; x <= x1; x++) {
        const double share = x1 > x0 ? (double)(x - x0) / (double)(x1 - x0) : 1;
        const size_t y = (size_t)((double)y0 + share * ((double)y1 - (double)y0) + 0.5);
        for (size_t k = before < y ? before : y; k <= (before < y ? y : before); k++)
            p->dots[k][x] = true;
        before = y;
    }
}

static void put_cell(caps_textbuf *to, const plot *p, size_t row, size_t column, bool unicode)
{
    static const unsigned braille[MOST_HIGH][MOST_WIDE] = {{1, 8}, {2, 16}, {4, 32}, {64, 128}};
    static const char *const plain[] = {" ", "'", ".", ":"};
    unsigned bits = 0;
    for (size_t y = 0; y < p->high; y++)
        for (size_t x = 0; x < p->wide; x++)
            if (p->dots[row * p->high + y][column * p->wide + x])
                bits |= unicode ? braille[y][x] : 1u << y;
    if (p->marks[row][column])
        caps_textbuf_put(to, "o");
    else if (!unicode || bits == 0)
        caps_textbuf_put(to, "%s", plain[unicode ? 0 : bits]);
    else /* U+2800 and the dots, as UTF-8 */
        caps_textbuf_put(to, "\xe2%c%c", (char)(0xa0 | bits >> 6), (char)(0x80 | (bits & 0x3f)));
}

bool caps_text_curve(
    caps_textbuf *to, const caps_points *line, const caps_points *marks, bool unicode)
{
    static plot p; /* some kilobytes; one thread draws */
    double least = INFINITY;
    memset(&p, 0, sizeof p);
    p.wide = unicode ? 2 : 1;
    p.high = unicode ? 4 : 2;
    p.left = p.low = INFINITY;
    p.right = p.high_y = -INFINITY;
    include(&p, line, &least);
    include(&p, marks, &least);
    if (!(p.right > p.left) || !isfinite(p.low) || !isfinite(p.high_y))
        return false;
    p.logarithmic = isfinite(least) && p.high_y >= 5 * least && p.low >= 0;
    if (p.logarithmic)
        p.low = least;
    for (size_t i = 0; i + 1 < line->n; i++)
        draw_segment(&p, column_of(&p, line->x[i], p.wide), dot_row(&p, line->y[i]),
            column_of(&p, line->x[i + 1], p.wide), dot_row(&p, line->y[i + 1]));
    for (size_t i = 0; i < marks->n; i++)
        p.marks[dot_row(&p, marks->y[i]) / p.high][column_of(&p, marks->x[i], 1)] = true;
    for (size_t row = 0; row < ROWS; row++) {
        if (row == 0 || row == ROWS - 1)
            caps_textbuf_put(to, "%8.2f |", row == 0 ? p.high_y : p.low);
        else
            caps_textbuf_put(to, "%8s |", "");
        for (size_t column = 0; column < COLUMNS; column++)
            put_cell(to, &p, row, column, unicode);
        while (to->used > 0 && to->text[to->used - 1] == ' ')
            to->text[--to->used] = 0;
        caps_textbuf_put(to, "\n");
    }
    return true;
}
