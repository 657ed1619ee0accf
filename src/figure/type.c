/* type.c: see type.h. An outline becomes straight lines; of each row of pixels, what every line covers
 * to its right is summed, and the sum from the left is how much of a pixel lies within. */
#include "type.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    MOST_LINES = 1024, /* of a glyph: '@' has 120 curves */
    MOST_PIECES = 8,   /* of a curve */
    MOST_COLUMNS = 1024,
};

typedef struct spot {
    double x, y; /* pixels, y downwards */
} spot;

typedef struct outline {
    const caps_typeface *face;
    double em, left;
    spot lines[MOST_LINES][2];
    size_t count;
    spot least, most;
} outline;

long caps_type_capital(const caps_typeface *face, double em)
{
    return lround(face->capital * em / CAPS_TYPE_EM);
}

/* Heights between the line, x and X are stretched so that x and X end on whole rows. */
static double fitted_height(const outline *o, double y)
{
    const double unit = o->em / CAPS_TYPE_EM, x_height = o->face->x_height;
    const double x_rows = round(x_height * unit), rows = (double)caps_type_capital(o->face, o->em);
    if (y <= 0)
        return y * unit;
    if (y <= x_height)
        return y * x_rows / x_height;
    if (y <= o->face->capital)
        return x_rows + (y - x_height) * (rows - x_rows) / (o->face->capital - x_height);
    return rows + (y - o->face->capital) * unit;
}

static spot spot_of(const outline *o, double x, double y)
{
    return (spot){o->left + x * o->em / CAPS_TYPE_EM, -fitted_height(o, y)};
}

static void add_line(outline *o, spot from, spot to)
{
    assert(o->count < MOST_LINES);
    o->lines[o->count][0] = from;
    o->lines[o->count++][1] = to;
    o->least = (spot){fmin(o->least.x, fmin(from.x, to.x)), fmin(o->least.y, fmin(from.y, to.y))};
    o->most = (spot){fmax(o->most.x, fmax(from.x, to.x)), fmax(o->most.y, fmax(from.y, to.y))};
}

/* From `from` (in the em's units) by the control point to `to`. */
static void add_curve(outline *o, spot from, spot by, spot to)
{
    const int pieces = o->em < 40 ? 4 : MOST_PIECES;
    spot last = spot_of(o, from.x, from.y);
    for (int i = 1; i <= pieces; i++) {
        const double t = (double)i / pieces, s = 1 - t;
        const spot next = spot_of(o, s * s * from.x + 2 * s * t * by.x + t * t * to.x,
            s * s * from.y + 2 * s * t * by.y + t * t * to.y);
        add_line(o, last, next);
        last = next;
    }
}

/* The point in the em's units; *on, *last: see type.h. */
static spot read_point(const int16_t point[2], bool *on, bool *last)
{
    *on = point[0] & 1;
    *last = point[1] & 1;
    return (spot){(point[0] - *on) / 2, (point[1] - *last) / 2};
}

static void read_outline(outline *o, size_t begin, size_t end)
{
    spot first = {0}, at = {0}, by = {0};
    bool starts = true, curve = false;
    for (size_t i = begin; i < end; i++) {
        bool on, last;
        const spot next = read_point(o->face->points[i], &on, &last);
        if (starts) { /* always on the curve */
            first = at = next;
            starts = false;
            continue;
        }
        const spot target = on ? next : (spot){(by.x + next.x) / 2, (by.y + next.y) / 2};
        if (curve)
            add_curve(o, at, by, target);
        else if (on)
            add_line(o, spot_of(o, at.x, at.y), spot_of(o, next.x, next.y));
        if (curve || on)
            at = target;
        curve = !on;
        by = next;
        if (!last)
            continue;
        if (curve)
            add_curve(o, at, by, first);
        else
            add_line(o, spot_of(o, at.x, at.y), spot_of(o, first.x, first.y));
        starts = true;
        curve = false;
    }
}

/* Adds what a line within one row covers: its height, in the pixel that it crosses the part to its
 * right, and all of it in those behind. x from the buffer's first column. */
static void cover(double *sums, double x0, double x1, double height)
{
    const double low = fmin(x0, x1), high = fmax(x0, x1);
    for (long column = (long)floor(low); column <= (long)floor(high); column++) {
        if (column < 0 || column >= MOST_COLUMNS)
            continue;
        const double from = fmax(low, (double)column), to = fmin(high, (double)column + 1);
        const double here = high > low ? height * (to - from) / (high - low) : height;
        const double left = (from + to) / 2 - (double)column;
        sums[column] += here * (1 - left);
        sums[column + 1] += here * left;
    }
}

static void cover_row(const outline *o, double row, double first, double *sums)
{
    for (size_t i = 0; i < o->count; i++) {
        const spot a = o->lines[i][0], b = o->lines[i][1];
        const double top = fmax(fmin(a.y, b.y), row), bottom = fmin(fmax(a.y, b.y), row + 1);
        if (bottom <= top)
            continue;
        const double slope = (b.x - a.x) / (b.y - a.y);
        cover(sums, a.x + (top - a.y) * slope - first, a.x + (bottom - a.y) * slope - first,
            b.y > a.y ? bottom - top : top - bottom);
    }
}

void caps_type_draw(
    const caps_typeface *face, unsigned char c, double em, double x, caps_type_ink ink, void *to)
{
    assert(c >= CAPS_TYPE_FIRST && c <= CAPS_TYPE_LAST);
    const size_t glyph = (size_t)(c - CAPS_TYPE_FIRST);
    outline o = {.face = face,
        .em = em,
        .left = x,
        .least = {INFINITY, INFINITY},
        .most = {-INFINITY, -INFINITY}};
    read_outline(&o, glyph ? face->ends[glyph - 1] : 0, face->ends[glyph]);
    if (o.count == 0)
        return;
    const double first = floor(o.least.x);
    const long columns = (long)fmin(ceil(o.most.x) - first, MOST_COLUMNS);
    for (long row = (long)floor(o.least.y); row < (long)ceil(o.most.y); row++) {
        double sums[MOST_COLUMNS + 2], sum = 0;
        memset(sums, 0, sizeof sums[0] * (size_t)(columns + 2));
        cover_row(&o, (double)row, first, sums);
        for (long column = 0; column < columns; column++) {
            sum += sums[column];
            const double part = fmin(fabs(sum), 1);
            if (part > 1.0 / 512)
                ink(to, (long)first + column, row, part);
        }
    }
}
