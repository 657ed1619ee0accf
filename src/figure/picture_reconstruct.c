/* picture_reconstruct.c: inputs beside what the decoder makes of a class's capsule. */
#include <math.h>
#include <stdio.h>

#include "pictures.h"

enum { LINE = 20, GAP = 5, SPACE = 18, SECTION = 44 };
#define ROOM     1390.0 /* what the cells of a row may take */
#define MOST_AS  150.0  /* of a tile's heading: names longer than 13 characters are cut */
#define MOST_TWO 220.0  /* of the text below two tiles */

typedef struct grid {
    double zoom, tile_width, tile_height;
    double step;                    /* from a tile to the next */
    double cell_width, cell_height; /* SPACE included */
    size_t columns, rows;
} grid;

/* tiles: in a cell, side by side. */
static grid make_grid(const caps_picture_context *of, size_t count, size_t tiles, double target)
{
    grid g = {.zoom = caps_picture_zoom(of->height, of->width, target)};
    g.tile_width = (double)of->width * g.zoom;
    g.tile_height = (double)of->height * g.zoom;
    /* As wide as the longest name, so that it is read. */
    const double name = caps_picture_names_width(of, CAPS_TEXT_SMALL, ROOM);
    double as = 0, below = 0;
    if (tiles == 3)
        as = fmin(caps_text_width("as ", CAPS_TEXT_SMALL) + CAPS_TEXT_SMALL + name, MOST_AS);
    else
        below = fmin(name + 8 + caps_text_width("0.97", CAPS_TEXT_SMALL), MOST_TWO);
    g.step = fmax(g.tile_width, as) + GAP;
    g.cell_width = fmax((double)tiles * g.step - GAP, below) + SPACE;
    g.cell_height = g.tile_height + (tiles == 3 ? 3 * LINE + 8 : 34) + SPACE;
    g.columns = (size_t)fmax(floor((ROOM + SPACE) / g.cell_width), 1);
    if (g.columns > count)
        g.columns = count;
    g.rows = g.columns ? (count + g.columns - 1) / g.columns : 0;
    return g;
}

static void draw_tile(caps_drawing *d, const caps_picture_context *of, const grid *g, double x,
    double y, size_t at, const float *pixels)
{
    caps_draw_tile(
        d, x + (double)at * g->step, y, pixels, of->channels, of->height, of->width, g->zoom);
}

static void draw_right(caps_drawing *d, const caps_picture_context *of, const grid *g, double x,
    double y, const caps_reconstructed *s)
{
    char text[96];
    draw_tile(d, of, g, x, y, 0, s->input);
    draw_tile(d, of, g, x, y, 1, s->as_label);
    const double width = g->cell_width - SPACE;
    y += g->tile_height + 8;
    snprintf(text, sizeof text, "%.2f", (double)s->length);
    const double value = caps_text_width(text, CAPS_TEXT_SMALL);
    caps_draw_text(d, x + width - value, y, text, CAPS_TEXT_SMALL, caps_muted);
    caps_draw_label(d, x, y, width - value - 8, CAPS_LEFT, caps_picture_name(of, s->label),
        CAPS_TEXT_SMALL, caps_good);
    caps_draw_label(d, x, y + 16, width, CAPS_LEFT, s->source, CAPS_TEXT_SMALL, caps_muted);
}

static void draw_wrong(caps_drawing *d, const caps_picture_context *of, const grid *g, double x,
    double y, const caps_reconstructed *s)
{
    char text[256];
    const double width = g->cell_width - SPACE, room = g->step - GAP;
    const int labels[] = {s->label, s->true_label}, way[] = {s->true_label, s->label};
    const caps_colour colours[] = {caps_bad, caps_good};
    caps_draw_label(d, x, y, room, CAPS_LEFT, s->source, CAPS_TEXT_SMALL, caps_muted);
    for (int k = 0; k < 2; k++) {
        caps_text_name(
            text, sizeof text, "as ", caps_picture_name(of, labels[k]), "", room, CAPS_TEXT_SMALL);
        caps_draw_label(
            d, x + (k + 1) * g->step, y, room, CAPS_LEFT, text, CAPS_TEXT_SMALL, colours[k]);
    }
    y += LINE - 2;
    draw_tile(d, of, g, x, y, 0, s->input);
    draw_tile(d, of, g, x, y, 1, s->as_label);
    draw_tile(d, of, g, x, y, 2, s->as_true);
    y += g->tile_height + 8;
    caps_picture_pair(text, sizeof text, of, "true ", " -> ", way, 2, width, CAPS_TEXT_SMALL);
    caps_draw_label(d, x, y, width, CAPS_LEFT, text, CAPS_TEXT_SMALL, caps_ink);
    snprintf(text, sizeof text, "%s %.2f -> %.2f", of->matrix ? "activations" : "lengths",
        (double)s->true_length, (double)s->length);
    caps_draw_label(d, x, y + 17, width, CAPS_LEFT, text, CAPS_TEXT_SMALL, caps_muted);
}

typedef struct section {
    const char *title, *about;
    caps_colour colour;
} section;

/* Returns its height. d NULL: only measures. */
static double draw_section(caps_drawing *d, double y, double width, const section *s)
{
    const double before = caps_text_width(s->title, CAPS_TEXT_BODY) + 16;
    const double x = CAPS_SHEET_MARGIN + before;
    if (d) {
        caps_draw_fill(d, CAPS_SHEET_MARGIN, y, width - 2 * CAPS_SHEET_MARGIN, 1, caps_edge);
        caps_draw_text(d, CAPS_SHEET_MARGIN, y + 12, s->title, CAPS_TEXT_BODY, s->colour);
    }
    return SECTION - LINE - 1 +
           caps_draw_paragraph(
               d, x, y + 12, width - CAPS_SHEET_MARGIN - x, s->about, CAPS_TEXT_BODY, caps_muted);
}

caps_status caps_picture_reconstruct(caps_drawing *d, const caps_picture_context *of,
    const caps_reconstructed *right, size_t right_count, const caps_reconstructed *wrong,
    size_t wrong_count, caps_error *err)
{
    const caps_heading heading = {.title = "Reconstructions",
        .shows = "What the decoder draws when it is given one class's capsule alone, beside the "
                 "image that the capsule comes from.",
        .source = of->source,
        .result = of->result};
    const section sections[] = {
        {"right",
            of->matrix ? "input | drawn from the predicted class; below: class, its activation"
                       : "input | drawn from the predicted class; below: class, capsule's length",
            caps_good},
        {"wrong", "input | drawn from the predicted class | from the true class", caps_bad}};
    const grid r = make_grid(of, right_count, 2, 56), w = make_grid(of, wrong_count, 3, 84);
    double width = 760 - 2 * CAPS_SHEET_MARGIN;
    width = fmax(width, (double)r.columns * r.cell_width - SPACE);
    width = fmax(width, (double)w.columns * w.cell_width - SPACE) + 2 * CAPS_SHEET_MARGIN;
    const double head = caps_draw_heading(NULL, &heading, width);
    double height = head + CAPS_SHEET_MARGIN - SPACE;
    const double heads[] = {
        draw_section(NULL, 0, width, &sections[0]), draw_section(NULL, 0, width, &sections[1])};
    height += r.rows ? heads[0] + (double)r.rows * r.cell_height : 0;
    height += w.rows ? heads[1] + (double)w.rows * w.cell_height : 0;
    caps_status status = caps_drawing_init(d, width, height, of->scale, err);
    if (status != CAPS_OK)
        return status;
    caps_draw_heading(d, &heading, width);
    double y = head;
    if (r.rows) {
        y += draw_section(d, y, width, &sections[0]);
        for (size_t i = 0; i < right_count; i++)
            draw_right(d, of, &r, CAPS_SHEET_MARGIN + (double)(i % r.columns) * r.cell_width,
                y + (double)(i / r.columns) * r.cell_height, &right[i]);
        y += (double)r.rows * r.cell_height;
    }
    if (w.rows) {
        y += draw_section(d, y, width, &sections[1]);
        for (size_t i = 0; i < wrong_count; i++)
            draw_wrong(d, of, &w, CAPS_SHEET_MARGIN + (double)(i % w.columns) * w.cell_width,
                y + (double)(i / w.columns) * w.cell_height, &wrong[i]);
    }
    return CAPS_OK;
}
