/* sheet.c: see sheet.h. */
#include "sheet.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "canvas.h"
#include "fail.h"

static const caps_colour paper = {250, 249, 246}, ink = {38, 38, 42}, muted = {118, 116, 110},
                         edge = {206, 203, 195}, right = {24, 112, 72}, wrong = {196, 38, 32};

enum {
    MARGIN = 24,     /* around everything */
    GAP = 6,         /* between the two pictures of a cell */
    SPACE = 22,      /* between cells */
    LINE = 20,       /* height of a line of text at zoom 2 */
    GLYPH = 12,      /* width of a character at zoom 2 */
    TILE = 112,      /* small pictures are scaled up to about this */
    LEAST_TEXT = 17, /* characters of "true 12 -> 12 0.97" that a cell has room for, about */
    LEAST_COLUMNS = 3,
    LEAST_WIDTH = 760 /* room for the heading */
};

typedef struct layout {
    size_t zoom, tile_width, tile_height;
    size_t cell_width, cell_height; /* without SPACE */
    size_t columns, rows;
    size_t width, height; /* of the sheet */
    size_t head;          /* height of the heading */
} layout;

/* Writes text in lines of at most `columns` characters, broken between words; returns the number of
 * lines. canvas NULL: only counts. */
static size_t write_wrapped(
    caps_image *canvas, size_t x, size_t y, const char *text, size_t columns, caps_colour colour)
{
    size_t lines = 0;
    while (*text) {
        size_t n = strlen(text), next = n;
        if (n > columns) {
            n = columns;
            while (n > 0 && text[n] != ' ')
                n--;
            if (n == 0)
                n = columns; /* one long word */
            next = n + (text[n] == ' ');
        }
        if (canvas) {
            char piece[512];
            snprintf(piece, sizeof piece, "%.*s", (int)n, text);
            caps_canvas_text(canvas, (long)x, (long)(y + lines * LINE), piece, 2, colour);
        }
        text += next;
        lines++;
    }
    return lines;
}

/* The heading: what is seen here. Returns its height. canvas NULL: only measures. */
static size_t write_heading(caps_image *canvas, const caps_sheet *sheet, size_t width)
{
    size_t columns = (width - 2 * MARGIN) / GLYPH, y = MARGIN, right_count = 0, known = 0;
    for (size_t i = 0; i < sheet->count; i++) {
        known += sheet->cells[i].true_label >= 0;
        right_count += sheet->cells[i].true_label == sheet->cells[i].label;
    }
    if (canvas)
        caps_canvas_text(canvas, MARGIN, (long)y, "Inputs and reconstructions", 3, ink);
    y += 36;
    char text[512];
    snprintf(text, sizeof text, "model %.200s; data %.200s", sheet->model, sheet->data);
    y += 4 + LINE * write_wrapped(canvas, MARGIN, y, text, columns, ink);
    y += 4 + LINE * write_wrapped(canvas, MARGIN, y,
                        "left: input; right: what the decoder makes of the longest capsule alone",
                        columns, muted);
    if (known) {
        y += 4 + LINE * write_wrapped(canvas, MARGIN, y,
                            "below: true class -> predicted class, length of its capsule (0 to 1)",
                            columns, muted);
        snprintf(text, sizeof text, "%zu of %zu predicted right", right_count, known);
        size_t lines = write_wrapped(canvas, MARGIN, y, text, columns, right);
        if (right_count < known) {
            snprintf(text, sizeof text, "; %zu wrong, in red", known - right_count);
            char before[64];
            snprintf(before, sizeof before, "%zu of %zu predicted right", right_count, known);
            write_wrapped(
                canvas, MARGIN + caps_canvas_text_width(before, 2), y, text, columns, wrong);
        }
        y += 4 + LINE * lines;
    } else {
        y += 4 + LINE * write_wrapped(canvas, MARGIN, y,
                            "below: predicted class, length of its capsule (0 to 1)", columns,
                            muted);
    }
    return y + 12;
}

static layout make_layout(const caps_sheet *sheet)
{
    layout l = {0};
    size_t larger = sheet->height > sheet->width ? sheet->height : sheet->width;
    l.zoom = larger < TILE ? TILE / larger : 1;
    l.tile_width = sheet->width * l.zoom;
    l.tile_height = sheet->height * l.zoom;
    l.cell_width = 2 * l.tile_width + GAP;
    if (l.cell_width < (size_t)LEAST_TEXT * GLYPH)
        l.cell_width = (size_t)LEAST_TEXT * GLYPH;
    l.cell_height = LINE + l.tile_height + 8 + 2 * LINE;
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

static void draw_tile(caps_image *canvas, const caps_sheet *sheet, const layout *l, size_t x,
    size_t y, const float *pixels, const char *name)
{
    /* The name stands at zoom 1 where the picture is too narrow for 2. */
    size_t zoom = caps_canvas_text_width(name, 2) <= l->tile_width ? 2 : 1;
    caps_canvas_text(canvas, (long)x, (long)(y + (zoom == 2 ? 0 : 8)), name, zoom, muted);
    y += LINE;
    caps_canvas_frame(
        canvas, (long)x - 1, (long)y - 1, l->tile_width + 2, l->tile_height + 2, 1, edge);
    caps_canvas_tile(
        canvas, (long)x, (long)y, pixels, sheet->channels, sheet->height, sheet->width, l->zoom);
}

static void draw_cell(caps_image *canvas, const caps_sheet *sheet, const layout *l, size_t i)
{
    const caps_sheet_cell *cell = &sheet->cells[i];
    size_t x = MARGIN + i % l->columns * (l->cell_width + SPACE);
    size_t y = l->head + i / l->columns * (l->cell_height + SPACE);
    draw_tile(canvas, sheet, l, x, y, cell->input, "input");
    draw_tile(canvas, sheet, l, x + l->tile_width + GAP, y, cell->reconstruction, "rebuilt");

    bool known = cell->true_label >= 0, good = cell->true_label == cell->label;
    if (known && !good)
        caps_canvas_frame(canvas, (long)x - 3, (long)(y + LINE) - 3, 2 * l->tile_width + GAP + 6,
            l->tile_height + 6, 2, wrong);
    char text[64];
    size_t at = 0;
    if (known)
        at = (size_t)snprintf(text, sizeof text, "true %d ", cell->true_label);
    snprintf(text + at, sizeof text - at, "-> %d  %.2f", cell->label, (double)cell->length);
    y += LINE + l->tile_height + 8;
    caps_canvas_text(canvas, (long)x, (long)y, text, 2, !known ? ink : good ? right : wrong);

    /* The end of a name tells more than its start. */
    size_t room = l->cell_width / GLYPH, n = strlen(cell->source);
    char source[128];
    if (room > sizeof source - 1)
        room = sizeof source - 1;
    if (n <= room)
        snprintf(source, sizeof source, "%s", cell->source);
    else
        snprintf(source, sizeof source, "..%s", cell->source + (n - (room - 2)));
    caps_canvas_text(canvas, (long)x, (long)(y + LINE), source, 2, muted);
}

caps_status caps_sheet_write(const caps_sheet *sheet, const char *path, caps_error *err)
{
    layout l = make_layout(sheet);
    caps_image canvas = {0};
    caps_status status = caps_image_init(&canvas, l.width, l.height, 3, err);
    if (status != CAPS_OK)
        return status;
    caps_canvas_fill(&canvas, 0, 0, l.width, l.height, paper);
    write_heading(&canvas, sheet, l.width);
    for (size_t i = 0; i < sheet->count; i++)
        draw_cell(&canvas, sheet, &l, i);
    status = caps_image_write_png(&canvas, path, err);
    caps_image_release(&canvas);
    return status;
}
