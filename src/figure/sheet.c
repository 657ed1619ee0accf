/* sheet.c: see sheet.h. */
#include "sheet.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "draw.h"

enum {
    MARGIN = 24,     /* around everything */
    GAP = 6,         /* between the two pictures of a cell */
    SPACE = 22,      /* between cells */
    LINE = 20,       /* height of a line of text */
    TILE = 112,      /* small pictures are scaled up to about this */
    MOST_TEXT = 430, /* where names are long: in two lines */
    LEAST_COLUMNS = 3,
    LEAST_WIDTH = 760 /* room for the heading */
};

#define REBUILT "rebuilt"
#define WIDEST  "true 12 -> 12  0.97" /* what a cell has room for at least */

typedef struct layout {
    size_t zoom, tile_width, tile_height;
    size_t step; /* from a picture to its reconstruction, of which the names are as wide as room */
    bool long_names;                /* the true class has a line of its own */
    size_t cell_width, cell_height; /* without SPACE */
    size_t columns, rows;
    size_t width, height; /* of the sheet */
    size_t head;          /* height of the heading */
} layout;

/* The heading: what is seen here. Returns its height. d NULL: only measures. */
static size_t write_heading(caps_drawing *d, const caps_sheet *sheet, size_t width)
{
    const double room = (double)(width - 2 * MARGIN);
    size_t right_count = 0, known = 0;
    for (size_t i = 0; i < sheet->count; i++) {
        known += sheet->cells[i].true_label >= 0;
        right_count += sheet->cells[i].true_label == sheet->cells[i].label;
    }
    char text[512];
    double y = MARGIN;
    y += 4 + caps_draw_paragraph(
                 d, MARGIN, y, room, "Inputs and reconstructions", CAPS_TEXT_TITLE, caps_ink);
    snprintf(text, sizeof text, "model %.200s; data %.200s", sheet->model, sheet->data);
    y += 4 + caps_draw_paragraph(d, MARGIN, y, room, text, CAPS_TEXT_BODY, caps_ink);
    y += 4 + caps_draw_paragraph(d, MARGIN, y, room,
                 "left: input; right: what the decoder makes of the longest capsule alone",
                 CAPS_TEXT_BODY, caps_muted);
    y += 4 + caps_draw_paragraph(d, MARGIN, y, room,
                 known ? "below: true class -> predicted class, length of its capsule (0 to 1)"
                       : "below: predicted class, length of its capsule (0 to 1)",
                 CAPS_TEXT_BODY, caps_muted);
    if (known) {
        snprintf(text, sizeof text, "%zu of %zu predicted right", right_count, known);
        const double lines =
            caps_draw_paragraph(d, MARGIN, y, room, text, CAPS_TEXT_BODY, caps_good);
        const double before = caps_text_width(text, CAPS_TEXT_BODY);
        snprintf(text, sizeof text, "; %zu wrong, in red", known - right_count);
        if (d && right_count < known)
            caps_draw_text(d, MARGIN + before, y, text, CAPS_TEXT_BODY, caps_bad);
        y += 4 + lines;
    }
    return (size_t)y + 12;
}

static layout sheet_layout(const caps_sheet *sheet)
{
    layout l = {0};
    size_t larger = sheet->height > sheet->width ? sheet->height : sheet->width;
    l.zoom = larger < TILE ? TILE / larger : 1;
    l.tile_width = sheet->width * l.zoom;
    l.tile_height = sheet->height * l.zoom;
    const size_t rebuilt = (size_t)ceil(caps_text_width(REBUILT, CAPS_TEXT_BODY));
    l.step = (l.tile_width > rebuilt ? l.tile_width : rebuilt) + GAP;
    const double least = caps_text_width(WIDEST, CAPS_TEXT_BODY);
    double longest = 0, text = least;
    for (size_t i = 0; i < sheet->count; i++) {
        const int labels[] = {sheet->cells[i].label, sheet->cells[i].true_label};
        for (int k = 0; k < 2; k++)
            if (labels[k] >= 0)
                longest = fmax(longest, caps_text_width(sheet->names[labels[k]], CAPS_TEXT_BODY));
    }
    l.long_names = caps_text_width("true  ->   0.97", CAPS_TEXT_BODY) + 2 * longest > least;
    if (l.long_names)
        text = fmax(text, caps_text_width("->   0.97", CAPS_TEXT_BODY) + longest);
    text = ceil(fmin(text, MOST_TEXT));
    l.cell_width = l.step + (l.tile_width > rebuilt ? l.tile_width : rebuilt);
    if (l.cell_width < (size_t)text)
        l.cell_width = (size_t)text;
    l.cell_height = LINE + l.tile_height + 8 + (l.long_names ? (size_t)3 : 2) * LINE;
    /* Columns for a sheet of about 4 : 3. */
    double area = (double)sheet->count * (double)(l.cell_height + SPACE);
    l.columns = (size_t)lround(sqrt(area / (double)(l.cell_width + SPACE) * 4 / 3));
    if (l.columns < LEAST_COLUMNS)
        l.columns = LEAST_COLUMNS;
    if (l.columns > sheet->count)
        l.columns = sheet->count;
    l.rows = (sheet->count + l.columns - 1) / l.columns;
    l.width = 2 * MARGIN + l.columns * (l.cell_width + SPACE) - SPACE;
    if (l.width < LEAST_WIDTH)
        l.width = LEAST_WIDTH;
    l.head = write_heading(NULL, sheet, l.width);
    l.height = l.head + l.rows * (l.cell_height + SPACE) - SPACE + MARGIN;
    return l;
}

static void draw_tile(caps_drawing *d, const caps_sheet *sheet, const layout *l, double x, double y,
    const float *pixels, const char *name)
{
    caps_draw_text(d, x, y, name, CAPS_TEXT_BODY, caps_muted);
    caps_draw_tile(
        d, x, y + LINE, pixels, sheet->channels, sheet->height, sheet->width, (double)l->zoom);
}

static void sheet_cell_draw(caps_drawing *d, const caps_sheet *sheet, const layout *l, size_t i)
{
    const caps_sheet_cell *cell = &sheet->cells[i];
    const double x = (double)(MARGIN + i % l->columns * (l->cell_width + SPACE));
    double y = (double)(l->head + i / l->columns * (l->cell_height + SPACE));
    const double step = (double)l->step;
    draw_tile(d, sheet, l, x, y, cell->input, "input");
    draw_tile(d, sheet, l, x + step, y, cell->reconstruction, REBUILT);

    const bool known = cell->true_label >= 0, good = cell->true_label == cell->label;
    if (known && !good)
        caps_draw_frame(d, x - 3, y + LINE - 3, step + (double)l->tile_width + 6,
            (double)l->tile_height + 6, 2, caps_bad);
    const caps_colour colour = !known ? caps_ink : good ? caps_good : caps_bad;
    char text[128], length[32];
    const double room = (double)l->cell_width;
    y += (double)(LINE + l->tile_height + 8);
    if (known && l->long_names) {
        caps_text_name(
            text, sizeof text, "true ", sheet->names[cell->true_label], "", room, CAPS_TEXT_BODY);
        caps_draw_text(d, x, y, text, CAPS_TEXT_BODY, colour);
        y += LINE;
    }
    double before = 0;
    if (known && !l->long_names) {
        snprintf(text, sizeof text, "true %.20s ", sheet->names[cell->true_label]);
        before = caps_draw_text(d, x, y, text, CAPS_TEXT_BODY, colour);
    }
    snprintf(length, sizeof length, "  %.2f", (double)cell->length);
    caps_text_name(
        text, sizeof text, "-> ", sheet->names[cell->label], length, room - before, CAPS_TEXT_BODY);
    caps_draw_text(d, x + before, y, text, CAPS_TEXT_BODY, colour);
    if (!known && l->long_names)
        y += LINE; /* sources stand in one line of the sheet */

    /* The end of a name tells more than its start. */
    const char *end = cell->source;
    char source[128];
    do
        snprintf(source, sizeof source, "%s%.120s", end == cell->source ? "" : "..", end);
    while (caps_text_width(source, CAPS_TEXT_BODY) > room && *end++);
    caps_draw_text(d, x, y + LINE, source, CAPS_TEXT_BODY, caps_muted);
}

caps_status caps_sheet_write(const caps_sheet *sheet, const char *path, caps_error *err)
{
    layout l = sheet_layout(sheet);
    caps_drawing d = {0};
    caps_status status = caps_drawing_init(&d, (double)l.width, (double)l.height, 1, err);
    if (status != CAPS_OK)
        return status;
    write_heading(&d, sheet, l.width);
    for (size_t i = 0; i < sheet->count; i++)
        sheet_cell_draw(&d, sheet, &l, i);
    status = caps_image_write_png(&d.image, path, err);
    caps_drawing_release(&d);
    return status;
}
