/* picture_couplings.c: which primary capsules vote for which class, iteration by iteration. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fail.h"
#include "pictures.h"

enum { MOST_COLUMNS = 12, BARS = 34, GAP = 16, LEFT = 190, HEAD = 44, SPACE = 40, LEGEND = 64 };

typedef struct sizes {
    size_t iterations, types, height, width, classes, columns;
    double zoom, map_width, map_height;
    double step_x, step_y;
    double equal;        /* what all begin with: 1 / J, leaky 1 / (J + 1) */
    double most;         /* furthest from that of all maps */
    double above, below; /* and of all bars */
} sizes;

/* Mean coupling to class j at a place, over the types; or of a type, over the places. */
static double at_place(const sizes *n, const float *c, size_t t, size_t place, size_t j)
{
    const size_t places = n->height * n->width;
    double sum = 0;
    for (size_t k = 0; k < n->types; k++)
        sum += c[((t * n->types + k) * places + place) * n->classes + j];
    return sum / (double)n->types;
}

static double of_type(const sizes *n, const float *c, size_t t, size_t type, size_t j)
{
    const size_t places = n->height * n->width;
    double sum = 0;
    for (size_t p = 0; p < places; p++)
        sum += c[((t * n->types + type) * places + p) * n->classes + j];
    return sum / (double)places;
}

/* The columns: all classes, or the longest capsules of many, in the order of the classes. */
static void choose(size_t *shown, const sizes *n, const caps_coupled *b)
{
    bool taken[MOST_COLUMNS * 32] = {false};
    for (size_t k = 0; k < n->columns; k++) {
        size_t best = n->classes;
        for (size_t j = 0; j < n->classes && j < sizeof taken; j++)
            if (!taken[j] && (best == n->classes || b->lengths[j] > b->lengths[best]))
                best = j;
        taken[best] = true;
    }
    for (size_t j = 0, k = 0; j < n->classes && k < n->columns; j++)
        if (taken[j])
            shown[k++] = j;
}

static void find_most(sizes *n, const caps_coupled *b)
{
    for (size_t t = 0; t < n->iterations; t++)
        for (size_t j = 0; j < n->classes; j++) {
            for (size_t p = 0; p < n->height * n->width; p++)
                n->most = fmax(n->most, fabs(at_place(n, b->couplings, t, p, j) - n->equal));
            for (size_t k = 0; k < n->types; k++) {
                const double off = of_type(n, b->couplings, t, k, j) - n->equal;
                n->above = fmax(n->above, off);
                n->below = fmax(n->below, -off);
            }
        }
}

static caps_colour colour_of(const sizes *n, double value)
{
    return caps_ramp_colour(CAPS_RAMP_DIVERGING, 0.5 + 0.5 * (value - n->equal) / n->most);
}

static void draw_cell(caps_drawing *d, const sizes *n, const float *couplings, caps_colour *map,
    double x, double y, size_t t, size_t j)
{
    for (size_t p = 0; p < n->height * n->width; p++)
        map[p] = colour_of(n, at_place(n, couplings, t, p, j));
    caps_draw_pixels(d, x, y, map, n->height, n->width, n->zoom);
    y += n->map_height + 5;
    /* Bars stand on the line of equal shares, or hang from it. */
    const double unit = BARS / (n->above + n->below), line = y + n->above * unit;
    const double bar = n->map_width / (double)n->types;
    for (size_t k = 0; k < n->types; k++) {
        const double up = (of_type(n, couplings, t, k, j) - n->equal) * unit;
        caps_draw_fill(d, x + (double)k * bar, up > 0 ? line - up : line,
            fmax(bar - 1 / d->scale, 0.5), fabs(up),
            caps_ramp_colour(CAPS_RAMP_DIVERGING, up > 0 ? 0.85 : 0.2));
    }
    caps_draw_fill(d, x, line, n->map_width, 1, caps_edge);
}

static void draw_block(caps_drawing *d, const caps_picture_of *of, const sizes *n,
    const caps_coupled *b, caps_colour *map, double y)
{
    size_t shown[MOST_COLUMNS];
    char text[96];
    choose(shown, n, b);
    const double zoom = caps_picture_zoom(of->height, of->width, 112);
    const double x = CAPS_SHEET_MARGIN + LEFT;
    const bool right = b->seen.label == b->seen.true_label;
    caps_draw_tile(
        d, CAPS_SHEET_MARGIN, y + HEAD, b->seen.input, of->channels, of->height, of->width, zoom);
    double ty = y + HEAD + (double)of->height * zoom + 10;
    caps_draw_label(d, CAPS_SHEET_MARGIN, ty, LEFT - 70, CAPS_LEFT, b->seen.source, CAPS_TEXT_SMALL,
        caps_muted);
    snprintf(text, sizeof text, "true %.40s", caps_picture_name(of, b->seen.true_label));
    caps_draw_label(
        d, CAPS_SHEET_MARGIN, ty + 18, LEFT - 70, CAPS_LEFT, text, CAPS_TEXT_SMALL, caps_ink);
    snprintf(text, sizeof text, "-> %.40s", caps_picture_name(of, b->seen.label));
    caps_draw_label(d, CAPS_SHEET_MARGIN, ty + 36, LEFT - 70, CAPS_LEFT, text, CAPS_TEXT_SMALL,
        right ? caps_good : caps_bad);
    for (size_t k = 0; k < n->columns; k++) {
        const int j = (int)shown[k];
        const double cx = x + (double)k * n->step_x;
        const caps_colour colour = j == b->seen.true_label ? caps_good
                                   : j == b->seen.label    ? caps_bad
                                                           : caps_ink;
        caps_draw_label(
            d, cx, y, n->map_width, CAPS_CENTRE, caps_picture_name(of, j), CAPS_TEXT_BODY, colour);
        snprintf(text, sizeof text, "%.2f", (double)b->lengths[j]);
        caps_draw_label(
            d, cx, y + 20, n->map_width, CAPS_CENTRE, text, CAPS_TEXT_SMALL, caps_muted);
        for (size_t t = 0; t < n->iterations; t++)
            draw_cell(d, n, b->couplings, map, cx, y + HEAD + (double)t * n->step_y, t, shown[k]);
    }
    caps_draw_label(d, x - 76, y + 20, 66, CAPS_RIGHT, "length", CAPS_TEXT_SMALL, caps_muted);
    for (size_t t = 0; t < n->iterations; t++) {
        const double ry = y + HEAD + (double)t * n->step_y;
        snprintf(text, sizeof text, "%zu", t + 1);
        caps_draw_label(
            d, x - 44, ry + n->map_height / 2 - 8, 30, CAPS_RIGHT, text, CAPS_TEXT_BODY, caps_ink);
    }
    /* Beside the row numbers, upwards. */
    const double all = (double)n->iterations * n->step_y - GAP;
    const double length = caps_text_width("iteration", CAPS_TEXT_SMALL);
    caps_draw_label_up(d, x - 58, y + HEAD + (all + fmin(length, all)) / 2, all, "iteration",
        CAPS_TEXT_SMALL, caps_muted);
}

caps_status caps_picture_couplings(caps_drawing *d, const caps_picture_of *of,
    const caps_coupled *blocks, size_t count, size_t iterations, size_t types, size_t height,
    size_t width, bool leaky, caps_error *err)
{
    sizes n = {iterations, types, height, width, of->classes,
        of->classes < MOST_COLUMNS ? of->classes : MOST_COLUMNS,
        caps_picture_zoom(height, width, 84), 0, 0, 0, 0, 1.0 / (double)(of->classes + leaky), 0, 0,
        0};
    n.map_width = (double)width * n.zoom;
    n.map_height = (double)height * n.zoom;
    n.step_x = n.map_width + GAP;
    n.step_y = n.map_height + 5 + BARS + GAP;
    n.most = n.above = n.below =
        0.01 * n.equal; /* less is rounding: with one iteration, all there is */
    for (size_t i = 0; i < count; i++)
        find_most(&n, &blocks[i]);
    char shows[512], only[96] = "", low[32], middle[32], high[32];
    if (n.columns < n.classes)
        snprintf(only, sizeof only, " The %zu classes with the longest capsules.", n.columns);
    snprintf(shows, sizeof shows,
        "Which primary capsules vote for which class. Maps: coupling at each of the %zux%zu "
        "places, mean over the %zu types; bars: of each type, mean over the places, up to %.3f "
        "above "
        "equal shares or %.3f below.%s%s",
        height, width, types, n.above, n.below,
        leaky ? " Leaky: what no class gets is the share of no parent." : "", only);
    const caps_heading heading = {
        .title = "Couplings", .shows = shows, .source = of->source, .result = of->result};
    const double sheet =
        fmax(2 * CAPS_SHEET_MARGIN + LEFT + (double)n.columns * n.step_x - GAP, 760);
    const double head = caps_draw_heading(NULL, &heading, sheet);
    const double input =
        HEAD + (double)of->height * caps_picture_zoom(of->height, of->width, 112) + 64;
    const double block = fmax(HEAD + (double)iterations * n.step_y - GAP, input) + SPACE;
    caps_colour *map = malloc(height * width * sizeof *map);
    if (!map)
        return caps_fail(err, CAPS_ERR_MEMORY, "couplings: out of memory");
    caps_status status =
        caps_drawing_init(d, sheet, head + (double)count * block + LEGEND, of->scale, err);
    if (status == CAPS_OK) {
        caps_draw_heading(d, &heading, sheet);
        for (size_t i = 0; i < count; i++)
            draw_block(d, of, &n, &blocks[i], map, head + (double)i * block);
        snprintf(low, sizeof low, "%.3f", fmax(n.equal - n.most, 0));
        snprintf(middle, sizeof middle, "%.3f equal", n.equal);
        snprintf(high, sizeof high, "%.3f", n.equal + n.most);
        const double y = head + (double)count * block - 4;
        const double x = CAPS_SHEET_MARGIN + caps_draw_text(d, CAPS_SHEET_MARGIN, y,
                                                 "mean coupling", CAPS_TEXT_BODY, caps_ink);
        caps_draw_legend(d, x + 16, y, 320, CAPS_RAMP_DIVERGING, low, middle, high);
    }
    free(map);
    return status;
}
