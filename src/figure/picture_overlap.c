/* picture_overlap.c: overlapping digits taken apart: two reconstructions, each in its colour, over
 * the input. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fail.h"
#include "pictures.h"

enum { LINE = 18, GAP = 6, SPACE = 18, SECTION = 44 };
#define ROOM 1280.0

static const caps_colour two[] = {{255, 108, 48}, {40, 190, 255}};

static uint8_t to_byte(double x)
{
    return (uint8_t)lround(255 * fmin(fmax(x, 0), 1));
}

/* The input in dim grey, and both reconstructions as light on it: where they overlap they add up.
 */
static void overlay(caps_colour *out, const caps_overlapped *c, size_t pixels)
{
    for (size_t p = 0; p < pixels; p++) {
        const double a = c->reconstruction[0][p], b = c->reconstruction[1][p];
        const double ground = 0.22 * c->input[p] * (1 - fmin(fmax(fmax(a, b), 0), 1));
        out[p] = (caps_colour){to_byte(ground + a * two[0].r / 255 + b * two[1].r / 255),
            to_byte(ground + a * two[0].g / 255 + b * two[1].g / 255),
            to_byte(ground + a * two[0].b / 255 + b * two[1].b / 255)};
    }
}

/* The two colours as text: darker, to be read on paper. */
static const caps_colour names_of_two[] = {{204, 72, 16}, {0, 118, 176}};

static void overlap_cell(caps_drawing *d, const caps_picture_context *of, double zoom, double x,
    double y, const caps_overlapped *c, caps_colour *pixels)
{
    const double width = (double)of->width * zoom, height = (double)of->height * zoom;
    char text[128];
    caps_picture_pair(text, sizeof text, of, "", " + ", c->true_labels, 2, width, CAPS_TEXT_SMALL);
    caps_draw_label(d, x, y, width, CAPS_LEFT, text, CAPS_TEXT_SMALL, caps_ink);
    y += LINE;
    caps_draw_tile(d, x, y, c->input, 1, of->height, of->width, zoom);
    y += height + GAP;
    overlay(pixels, c, of->height * of->width);
    caps_draw_pixels(d, x, y, pixels, of->height, of->width, zoom);
    y += height + 8;
    const double half = width / 2 - 4;
    for (int k = 0; k < 2; k++)
        caps_draw_label(d, x + k * (half + 8), y, half, CAPS_LEFT,
            caps_picture_name(of, c->decoded[k]), CAPS_TEXT_BODY, names_of_two[k]);
    caps_draw_label(d, x, y + 22, width, CAPS_LEFT, c->source, CAPS_TEXT_SMALL, caps_muted);
}

caps_status caps_picture_overlap(caps_drawing *d, const caps_picture_context *of,
    const caps_overlap_group *groups, size_t count, caps_error *err)
{
    const caps_heading heading = {.title = "Overlapping digits taken apart",
        .shows =
            "Above: the image and the two digits that are in it. Below: what the decoder draws "
            "of the two capsules that it was given, each in its colour (white where both "
            "are), over the image; the classes asked for stand below.",
        .source = of->source,
        .result = of->result};
    const double zoom = caps_picture_zoom(of->height, of->width, 112);
    const double cell_width = (double)of->width * zoom + SPACE;
    const double cell_height = 2 * (double)of->height * zoom + GAP + 2 * LINE + 26 + SPACE;
    const size_t room = (size_t)fmax(floor((ROOM + SPACE) / cell_width), 1);
    size_t columns = 1;
    double height = 0;
    for (size_t g = 0; g < count; g++) {
        const size_t n = groups[g].count < room ? groups[g].count : room;
        columns = n > columns ? n : columns;
        height += SECTION + (double)((groups[g].count + room - 1) / room) * cell_height;
    }
    const double width = fmax(2 * CAPS_SHEET_MARGIN + (double)columns * cell_width - SPACE, 760);
    const double head = caps_draw_heading(NULL, &heading, width);
    caps_colour *pixels = malloc(of->height * of->width * sizeof *pixels);
    if (!pixels)
        return caps_fail(err, CAPS_ERR_MEMORY, "overlap: out of memory");
    caps_status status =
        caps_drawing_init(d, width, head + height + CAPS_SHEET_MARGIN - SPACE, of->scale, err);
    double y = head;
    if (status == CAPS_OK)
        caps_draw_heading(d, &heading, width);
    for (size_t g = 0; status == CAPS_OK && g < count; g++) {
        caps_draw_fill(d, CAPS_SHEET_MARGIN, y, width - 2 * CAPS_SHEET_MARGIN, 1, caps_edge);
        caps_draw_label(d, CAPS_SHEET_MARGIN, y + 14, width - 2 * CAPS_SHEET_MARGIN, CAPS_LEFT,
            groups[g].title, CAPS_TEXT_BODY, caps_ink);
        y += SECTION;
        for (size_t i = 0; i < groups[g].count; i++)
            overlap_cell(d, of, zoom, CAPS_SHEET_MARGIN + (double)(i % room) * cell_width,
                y + (double)(i / room) * cell_height, &groups[g].cells[i], pixels);
        y += (double)((groups[g].count + room - 1) / room) * cell_height;
    }
    free(pixels);
    return status;
}
