/* picture_couplings.c: which primary capsules vote for which class, iteration by iteration. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fail.h"
#include "pictures.h"

enum { MOST_COLUMNS = 12, BARS = 34, GAP = 16, ROWS = 70, SPACE = 40, LEGEND = 64, TEXT_LINE = 18 };
#define NO_PARENT       "no parent"
#define PRIMARY_LENGTHS "primary lengths"
#define ACTIVATIONS     "activations"
#define MOST_UP         150.0 /* of a column's name that stands upright */
#define MOST_LEFT       230.0 /* of the text below the image */

typedef struct sizes {
    size_t iterations, types, height, width, classes;
    size_t chosen, columns; /* classes that are shown; and, leaky, the share of no parent */
    double zoom, map_width, map_height;
    double step_x, step_y;
    double left; /* the image's column */
    double name; /* size of the columns' names */
    bool names_up;
    double names_height, head; /* of them; of all that stands over the maps */
    double equal;              /* what all begin with: 1 / J, leaky 1 / (J + 1), max-min 1 */
    bool matrix;               /* assignments and activations, see caps_picture_context */
    double most;               /* furthest from that of all maps */
    double above, below;       /* and of all bars */
} sizes;

/* Below the image: a gap, three lines of text, and the lengths of the primary capsules, a map with
 * a line above and one below it. */
enum { BELOW = 10, MAP_BELOW = 6, PRIMARY = 3 * TEXT_LINE + 14 };

/* The coupling of capsule i in iteration t; j = classes: to no parent. */
static double coupling(const sizes *n, const float *c, size_t t, size_t i, size_t j)
{
    const float *row = c + (t * n->types * n->height * n->width + i) * n->classes;
    double rest = 1;
    if (j < n->classes)
        return row[j];
    for (size_t k = 0; k < n->classes; k++)
        rest -= row[k];
    return rest;
}

/* Mean coupling to class j at a place, over the types; or of a type, over the places. */
static double at_place(const sizes *n, const float *c, size_t t, size_t place, size_t j)
{
    const size_t places = n->height * n->width;
    double sum = 0;
    for (size_t k = 0; k < n->types; k++)
        sum += coupling(n, c, t, k * places + place, j);
    return sum / (double)n->types;
}

static double of_type(const sizes *n, const float *c, size_t t, size_t type, size_t j)
{
    const size_t places = n->height * n->width;
    double sum = 0;
    for (size_t p = 0; p < places; p++)
        sum += coupling(n, c, t, type * places + p, j);
    return sum / (double)places;
}

/* Mean length of the primary capsules at a place. */
static double length_at(const sizes *n, const caps_coupled *b, size_t place)
{
    const size_t places = n->height * n->width;
    double sum = 0;
    for (size_t k = 0; k < n->types; k++)
        sum += (double)b->primary[k * places + place];
    return sum / (double)n->types;
}

static bool among(const int32_t *labels, size_t count, size_t j)
{
    for (size_t t = 0; t < count; t++)
        if (labels[t] == (int)j)
            return true;
    return false;
}

/* The columns: all classes; or of many the true and the predicted ones, which the sheet is about,
 * and the longest capsules; in the order of the classes. */
static void choose(size_t *shown, const sizes *n, const caps_coupled *b)
{
    bool taken[MOST_COLUMNS * 32] = {false};
    size_t count = 0;
    for (size_t j = 0; j < n->classes && j < sizeof taken; j++) {
        taken[j] = among(b->true_labels, b->count, j) || among(b->labels, b->count, j);
        count += taken[j];
    }
    for (; count < n->chosen; count++) {
        size_t best = n->classes;
        for (size_t j = 0; j < n->classes && j < sizeof taken; j++)
            if (!taken[j] && (best == n->classes || b->lengths[j] > b->lengths[best]))
                best = j;
        taken[best] = true;
    }
    size_t k = 0;
    for (size_t j = 0; j < n->classes && k < n->chosen; j++)
        if (taken[j])
            shown[k++] = j;
    if (n->columns > n->chosen)
        shown[k] = n->classes;
}

static void find_most(sizes *n, const caps_coupled *b)
{
    const size_t all = n->classes + (n->columns > n->chosen);
    for (size_t t = 0; t < n->iterations; t++)
        for (size_t j = 0; j < all; j++) {
            for (size_t p = 0; p < n->height * n->width; p++)
                n->most = fmax(n->most, fabs(at_place(n, b->couplings, t, p, j) - n->equal));
            for (size_t k = 0; k < n->types; k++) {
                const double off = of_type(n, b->couplings, t, k, j) - n->equal;
                n->above = fmax(n->above, off);
                n->below = fmax(n->below, -off);
            }
        }
    /* Less is rounding. */
    const double least = 1e-5 * n->equal;
    n->most = n->most < least ? 0 : n->most;
    n->above = n->above < least ? 0 : n->above;
    n->below = n->below < least ? 0 : n->below;
}

/* "3.4%", two digits however small. */
static const char *percent(char *text, size_t bytes, double share)
{
    const double x = 100 * share;
    const int digits = x > 0 ? (int)fmin(fmax(1 - floor(log10(x)), 0), 6) : 0;
    snprintf(text, bytes, "%.*f%%", digits, x);
    return text;
}

static caps_colour colour_of(const sizes *n, double value)
{
    const double off = n->most > 0 ? (value - n->equal) / n->most : 0;
    return caps_ramp_colour(CAPS_RAMP_DIVERGING, 0.5 + 0.5 * off);
}

static void couplings_cell(caps_drawing *d, const sizes *n, const float *couplings,
    caps_colour *map, double x, double y, size_t t, size_t j)
{
    for (size_t p = 0; p < n->height * n->width; p++)
        map[p] = colour_of(n, at_place(n, couplings, t, p, j));
    caps_draw_pixels(d, x, y, map, n->height, n->width, n->zoom);
    y += n->map_height + 5;
    /* Bars stand on the line of equal shares, or hang from it. */
    const double range = n->above + n->below, unit = range > 0 ? BARS / range : 0;
    const double line = y + (range > 0 ? n->above * unit : BARS / 2.0);
    const double bar = n->map_width / (double)n->types;
    for (size_t k = 0; k < n->types; k++) {
        const double up = (of_type(n, couplings, t, k, j) - n->equal) * unit;
        caps_draw_fill(d, x + (double)k * bar, up > 0 ? line - up : line,
            fmax(bar - 1 / d->scale, 0.5), fabs(up),
            caps_ramp_colour(CAPS_RAMP_DIVERGING, up > 0 ? 0.85 : 0.2));
    }
    caps_draw_fill(d, x, line, n->map_width, 1, caps_edge);
}

/* The name over a column; `marked`: it is a true class. */
static void draw_name(caps_drawing *d, const sizes *n, const char *name, double x, double y,
    caps_colour colour, bool marked)
{
    const double high = caps_text_height(n->name), foot = y + n->names_height;
    if (n->names_up)
        caps_draw_label_up(
            d, x + (n->map_width - high) / 2, foot, n->names_height, name, n->name, colour);
    else
        caps_draw_label(d, x, foot - high, n->map_width, CAPS_CENTRE, name, n->name, colour);
    if (marked)
        caps_draw_fill(d, x, foot + 3, n->map_width, 2, colour);
}

static void draw_columns(caps_drawing *d, const caps_picture_context *of, const sizes *n,
    const caps_coupled *b, caps_colour *map, double x, double y)
{
    size_t shown[MOST_COLUMNS + 1];
    char text[32];
    choose(shown, n, b);
    for (size_t k = 0; k < n->columns; k++) {
        const size_t j = shown[k];
        const double cx = x + (double)k * n->step_x;
        const bool is_true = among(b->true_labels, b->count, j);
        const caps_colour colour = is_true                         ? caps_good
                                   : among(b->labels, b->count, j) ? caps_bad
                                   : j < n->classes                ? caps_ink
                                                                   : caps_muted;
        draw_name(d, n, j < n->classes ? caps_picture_name(of, (int)j) : NO_PARENT, cx, y, colour,
            is_true);
        if (j < n->classes) {
            snprintf(text, sizeof text, "%.2f", (double)b->lengths[j]);
            caps_draw_label(d, cx, y + n->names_height + 10, n->map_width, CAPS_CENTRE, text,
                CAPS_TEXT_SMALL, caps_muted);
        }
        for (size_t t = 0; t < n->iterations; t++)
            couplings_cell(d, n, b->couplings, map, cx, y + n->head + (double)t * n->step_y, t, j);
    }
}

/* Capsules of a layer that is not the first of capsules have no places in the image. */
static bool has_places(const sizes *n)
{
    return n->height * n->width > 1;
}

/* Where the primary capsules are long: the longest place is white. */
static void draw_primary(
    caps_drawing *d, const sizes *n, const caps_coupled *b, caps_colour *map, double x, double y)
{
    char text[32];
    double least = INFINITY, most = 0;
    for (size_t p = 0; p < n->height * n->width; p++) {
        const double length = length_at(n, b, p);
        least = fmin(least, length);
        most = fmax(most, length);
    }
    for (size_t p = 0; p < n->height * n->width; p++)
        map[p] = caps_ramp_colour(CAPS_RAMP_GREY, most > 0 ? length_at(n, b, p) / most : 0);
    caps_draw_label(d, x, y, n->left, CAPS_LEFT,
        n->matrix       ? ACTIVATIONS
        : has_places(n) ? PRIMARY_LENGTHS
                        : "mean length",
        CAPS_TEXT_SMALL, caps_muted);
    caps_draw_pixels(d, x, y + TEXT_LINE, map, n->height, n->width, n->zoom);
    snprintf(text, sizeof text, has_places(n) ? "%.2f to %.2f" : "%.2f", least, most);
    caps_draw_label(d, x, y + TEXT_LINE + n->map_height + MAP_BELOW, n->left, CAPS_LEFT, text,
        CAPS_TEXT_SMALL, caps_muted);
}

static void draw_block(caps_drawing *d, const caps_picture_context *of, const sizes *n,
    const caps_coupled *b, caps_colour *map, double y)
{
    char text[256];
    const double zoom = caps_picture_zoom(of->height, of->width, 112);
    const double x = CAPS_SHEET_MARGIN + n->left + ROWS;
    bool right = true;
    for (size_t t = 0; t < b->count; t++)
        right = right && among(b->true_labels, b->count, (size_t)b->labels[t]);
    caps_draw_tile(
        d, CAPS_SHEET_MARGIN, y + n->head, b->input, of->channels, of->height, of->width, zoom);
    const double ty = y + n->head + (double)of->height * zoom + BELOW;
    caps_draw_label(
        d, CAPS_SHEET_MARGIN, ty, n->left, CAPS_LEFT, b->source, CAPS_TEXT_SMALL, caps_muted);
    caps_picture_pair(
        text, sizeof text, of, "true ", " + ", b->true_labels, b->count, n->left, CAPS_TEXT_SMALL);
    caps_draw_label(
        d, CAPS_SHEET_MARGIN, ty + TEXT_LINE, n->left, CAPS_LEFT, text, CAPS_TEXT_SMALL, caps_ink);
    caps_picture_pair(
        text, sizeof text, of, "-> ", " + ", b->labels, b->count, n->left, CAPS_TEXT_SMALL);
    caps_draw_label(d, CAPS_SHEET_MARGIN, ty + 2 * TEXT_LINE, n->left, CAPS_LEFT, text,
        CAPS_TEXT_SMALL, right ? caps_good : caps_bad);
    draw_primary(d, n, b, map, CAPS_SHEET_MARGIN, ty + PRIMARY);
    draw_columns(d, of, n, b, map, x, y);
    caps_draw_label(d, x - 76, y + n->names_height + 10, 66, CAPS_RIGHT,
        n->matrix ? "active" : "length", CAPS_TEXT_SMALL, caps_muted);
    for (size_t t = 0; t < n->iterations; t++) {
        const double ry = y + n->head + (double)t * n->step_y;
        snprintf(text, sizeof text, "%zu", t + 1);
        caps_draw_label(
            d, x - 44, ry + n->map_height / 2 - 8, 30, CAPS_RIGHT, text, CAPS_TEXT_BODY, caps_ink);
    }
    /* Beside the row numbers, upwards. */
    const double all = (double)n->iterations * n->step_y - GAP;
    const double length = caps_text_width("iteration", CAPS_TEXT_SMALL);
    caps_draw_label_up(d, x - 58, y + n->head + (all + fmin(length, all)) / 2, all, "iteration",
        CAPS_TEXT_SMALL, caps_muted);
}

/* Names lie over their maps, smaller where they must; or stand upright. */
static void place_names(sizes *n, const caps_picture_context *of)
{
    n->name = CAPS_TEXT_BODY;
    double widest = 0;
    for (int small = 0; small < 2; small++) {
        n->name = small ? CAPS_TEXT_SMALL : CAPS_TEXT_BODY;
        widest = caps_picture_names_width(of, n->name, 1e6);
        if (n->columns > n->chosen)
            widest = fmax(widest, caps_text_width(NO_PARENT, n->name));
        if (widest <= n->map_width)
            break;
    }
    n->names_up = widest > n->map_width;
    n->names_height = n->names_up ? fmin(widest, MOST_UP) : caps_text_height(n->name);
    n->head = n->names_height + 30;
    /* "true NAME" below the image. */
    const double zoom = caps_picture_zoom(of->height, of->width, 112);
    const double text = caps_picture_names_width(of, CAPS_TEXT_SMALL, MOST_LEFT) +
                        caps_text_width("true ", CAPS_TEXT_SMALL) + CAPS_TEXT_SMALL;
    const double caption = caps_text_width(PRIMARY_LENGTHS, CAPS_TEXT_SMALL) + CAPS_TEXT_SMALL;
    n->left = fmax(fmax((double)of->width * zoom + 8, caption), fmin(text, MOST_LEFT));
}

/* The sheet's explanation. */
static void write_shows(
    const caps_picture_context *of, const sizes *n, bool leaky, char *text, size_t bytes)
{
    char only[96] = "", range[160], low[32], high[32];
    if (n->chosen < n->classes)
        snprintf(only, sizeof only,
            " %zu classes: the true and the predicted, and the %s capsules.", n->chosen,
            n->matrix ? "most active" : "longest");
    if (of->max_min)
        snprintf(range, sizeof range,
            ", down to %.2g. Max-min: all begin with 1, and each class "
            "gets from 0 to 1 whatever the others get",
            1 - n->below);
    else if (n->most > 0 || n->above > 0 || n->below > 0)
        snprintf(range, sizeof range, ", up to %s above an equal share (%.3g) or %s below",
            percent(high, sizeof high, n->above / n->equal), n->equal,
            percent(low, sizeof low, n->below / n->equal));
    else
        snprintf(range, sizeof range, ". All are equal: %.3g", n->equal);
    const char *no_parent = leaky ? " Leaky: what no class gets is the share of no parent." : "";
    if (n->matrix) {
        snprintf(text, bytes,
            "Which capsules of the layer before are assigned to which class; true classes are "
            "underlined. Maps: assignment R at each of the %zux%zu places, mean over the %zu "
            "types; bars: of each type, mean over the places%s.%s Left: mean activation of these "
            "capsules at each place, the greatest white.",
            n->height, n->width, n->types, range, only);
        return;
    }
    if (!has_places(n)) {
        snprintf(text, bytes,
            "Which capsules of the layer before vote for which class; true classes are underlined. "
            "Squares: coupling, mean over the %zu capsules; bars: of each capsule%s.%s%s Left: "
            "mean "
            "length of these capsules.",
            n->types, range, no_parent, only);
        return;
    }
    snprintf(text, bytes,
        "Which primary capsules vote for which class; true classes are underlined. Maps: coupling "
        "at each of the %zux%zu places, mean over the %zu types; bars: of each type, mean over the "
        "places%s.%s%s Left: mean length of the primary capsules at each place, the longest white.",
        n->height, n->width, n->types, range, no_parent, only);
}

static void draw_scale(caps_drawing *d, const sizes *n, double y)
{
    char low[32], middle[32], high[32], most[24];
    percent(most, sizeof most, n->most / n->equal);
    snprintf(low, sizeof low, "-%s", most);
    snprintf(middle, sizeof middle, "%.3g equal", n->equal);
    snprintf(high, sizeof high, "+%s", most);
    const double x = CAPS_SHEET_MARGIN + caps_draw_text(d, CAPS_SHEET_MARGIN, y,
                                             n->matrix ? "mean assignment" : "mean coupling",
                                             CAPS_TEXT_BODY, caps_ink);
    caps_draw_legend(d, x + 16, y, 320, CAPS_RAMP_DIVERGING, low, middle, high);
}

caps_status caps_picture_couplings(caps_drawing *d, const caps_picture_context *of,
    const caps_coupled *blocks, size_t count, size_t iterations, size_t types, size_t height,
    size_t width, bool leaky, caps_error *err)
{
    sizes n = {.iterations = iterations,
        .types = types,
        .height = height,
        .width = width,
        .classes = of->classes,
        .chosen = of->classes < MOST_COLUMNS ? of->classes : MOST_COLUMNS,
        .zoom = caps_picture_zoom(height, width, 84),
        .equal = of->max_min ? 1 : 1.0 / (double)(of->classes + leaky),
        .matrix = of->matrix};
    char shows[768];
    n.columns = n.chosen + leaky;
    n.map_width = (double)width * n.zoom;
    n.map_height = (double)height * n.zoom;
    n.step_x = n.map_width + GAP;
    n.step_y = n.map_height + 5 + BARS + GAP;
    place_names(&n, of);
    for (size_t i = 0; i < count; i++)
        find_most(&n, &blocks[i]);
    write_shows(of, &n, leaky, shows, sizeof shows);
    const caps_heading heading = {.title = of->matrix ? "Assignment" : "Couplings",
        .shows = shows,
        .source = of->source,
        .result = of->result};
    const double sheet =
        fmax(2 * CAPS_SHEET_MARGIN + n.left + ROWS + (double)n.columns * n.step_x - GAP, 760);
    const double head = caps_draw_heading(NULL, &heading, sheet);
    const double input = n.head +
                         (double)of->height * caps_picture_zoom(of->height, of->width, 112) +
                         BELOW + PRIMARY + TEXT_LINE + n.map_height + MAP_BELOW + TEXT_LINE;
    const double block = fmax(n.head + (double)iterations * n.step_y - GAP, input) + SPACE;
    const double end = head + (double)count * block; /* of the blocks */
    caps_colour *map = malloc(height * width * sizeof *map);
    if (!map)
        return caps_fail(err, CAPS_ERR_MEMORY, "couplings: out of memory");
    caps_status status =
        caps_drawing_init(d, sheet, end + (n.most > 0 ? LEGEND : 0), of->scale, err);
    if (status == CAPS_OK) {
        caps_draw_heading(d, &heading, sheet);
        for (size_t i = 0; i < count; i++)
            draw_block(d, of, &n, &blocks[i], map, head + (double)i * block);
        if (n.most > 0)
            draw_scale(d, &n, end - 4);
    }
    free(map);
    return status;
}
