/* picture_perturb.c: what each dimension of a capsule means, by changing it. */
#include <math.h>
#include <stdio.h>

#include "pictures.h"

enum { LABEL = 34, HEAD = 78, TICKS = 22, GAP = 2, SPACE = 34 };

typedef struct layout {
    double zoom, step_x, step_y; /* of a tile */
    double input_zoom;
    double block_width, block_height; /* SPACE included */
    size_t columns, rows;
    double width, height, head;
} layout;

static layout perturb_layout(const caps_picture_context *of, const caps_heading *heading,
    size_t count, size_t dim, size_t steps)
{
    layout l = {0};
    l.zoom = caps_picture_zoom(of->height, of->width, count <= 2 ? 56 : 30);
    l.step_x = (double)of->width * l.zoom + GAP;
    l.step_y = (double)of->height * l.zoom + GAP;
    l.input_zoom = caps_picture_zoom(of->height, of->width, 56);
    l.block_width = LABEL + (double)steps * l.step_x - GAP + SPACE;
    l.block_height = HEAD + fmax((double)of->height * l.input_zoom - 56, 0) + TICKS +
                     (double)dim * l.step_y + SPACE;
    /* A sheet of about 3 : 2. */
    const double area = (double)count * l.block_height / l.block_width;
    l.columns = (size_t)fmax(round(sqrt(area * 1.5)), 1);
    if (l.columns > count)
        l.columns = count;
    l.rows = (count + l.columns - 1) / l.columns;
    l.columns = (count + l.rows - 1) / l.rows; /* no hole that a narrower sheet would not have */
    l.width = fmax(2 * CAPS_SHEET_MARGIN + (double)l.columns * l.block_width - SPACE, 700);
    l.head = caps_draw_heading(NULL, heading, l.width);
    l.height = l.head + (double)l.rows * l.block_height - SPACE + CAPS_SHEET_MARGIN;
    return l;
}

static void draw_block(caps_drawing *d, const caps_picture_context *of, const layout *l, double x,
    double y, const caps_perturbed *b, size_t dim, const double *deltas, size_t steps)
{
    const size_t pixels = of->channels * of->height * of->width;
    char text[160];
    caps_draw_tile(
        d, x + LABEL, y, b->image.input, of->channels, of->height, of->width, l->input_zoom);
    const double tx = x + LABEL + (double)of->width * l->input_zoom + 12;
    const double room = l->block_width - SPACE - (tx - x);
    caps_text_name(text, sizeof text, "capsule of ", caps_picture_name(of, (int)b->chosen), "",
        room, CAPS_TEXT_BODY);
    caps_draw_label(d, tx, y + 2, room, CAPS_LEFT, text, CAPS_TEXT_BODY, caps_ink);
    snprintf(text, sizeof text, "%s %.3f", of->matrix ? "activation" : "length",
        (double)b->image.length);
    caps_draw_label(d, tx, y + 22, room, CAPS_LEFT, text, CAPS_TEXT_SMALL, caps_muted);
    char before[64];
    snprintf(before, sizeof before, "%.40s, true ", b->image.source);
    if (b->image.true_label >= 0 && (size_t)b->image.true_label != b->chosen)
        caps_text_name(text, sizeof text, before, caps_picture_name(of, b->image.true_label), "",
            room, CAPS_TEXT_SMALL);
    else
        snprintf(text, sizeof text, "%.120s", b->image.source);
    caps_draw_label(d, tx, y + 38, room, CAPS_LEFT, text, CAPS_TEXT_SMALL, caps_muted);
    y += HEAD + fmax((double)of->height * l->input_zoom - 56, 0);

    /* Values over the outermost, the middle and the two between, where they have room. */
    for (size_t s = 0; s < steps; s++) {
        const bool middle = 2 * s + 1 == steps;
        if (s != 0 && s + 1 != steps && !middle && (l->step_x < 50 || s % 2 == steps / 2 % 2))
            if (l->step_x < 50 || steps > 15)
                continue;
        snprintf(text, sizeof text, middle ? "0" : "%+.2f", deltas[s]);
        caps_draw_label(d, x + LABEL + (double)s * l->step_x - 12, y, l->step_x + 24 - GAP,
            CAPS_CENTRE, text, l->step_x < 50 ? CAPS_TEXT_TINY + 0.2 : CAPS_TEXT_SMALL, caps_muted);
    }
    caps_draw_label(d, x - 6, y, LABEL - 2, CAPS_RIGHT, "dim", CAPS_TEXT_TINY + 0.2, caps_muted);
    y += TICKS;
    for (size_t k = 0; k < dim; k++) {
        const double row = y + (double)k * l->step_y;
        snprintf(text, sizeof text, "%zu", k + 1);
        caps_draw_label(d, x, row + (l->step_y - GAP) / 2 - caps_text_height(CAPS_TEXT_SMALL) / 2,
            LABEL - 8, CAPS_RIGHT, text, CAPS_TEXT_SMALL, caps_muted);
        for (size_t s = 0; s < steps; s++)
            caps_draw_tile(d, x + LABEL + (double)s * l->step_x, row,
                b->images + (k * steps + s) * pixels, of->channels, of->height, of->width, l->zoom);
    }
    /* The column in which nothing is changed: its frame lies in the gaps. */
    caps_draw_frame(d, x + LABEL + (double)(steps / 2) * l->step_x - GAP, y - GAP, l->step_x + GAP,
        (double)dim * l->step_y + GAP, GAP, caps_second);
}

caps_status caps_picture_perturb(caps_drawing *d, const caps_picture_context *of,
    const caps_perturbed *blocks, size_t count, size_t dim, const double *deltas, size_t steps,
    caps_error *err)
{
    char shows[320];
    snprintf(shows, sizeof shows,
        "What the %zu %s of a class capsule mean: each row changes one of them by %+.2f to "
        "%+.2f and lets the decoder draw; the marked column is unchanged.",
        dim, of->matrix ? "elements of the pose, row by row," : "dimensions", deltas[0],
        deltas[steps - 1]);
    const caps_heading heading = {
        .title = "Perturbed capsules", .shows = shows, .source = of->source, .result = of->result};
    const layout l = perturb_layout(of, &heading, count, dim, steps);
    caps_status status = caps_drawing_init(d, l.width, l.height, of->scale, err);
    if (status != CAPS_OK)
        return status;
    caps_draw_heading(d, &heading, l.width);
    for (size_t i = 0; i < count; i++)
        draw_block(d, of, &l, CAPS_SHEET_MARGIN + (double)(i % l.columns) * l.block_width,
            l.head + (double)(i / l.columns) * l.block_height, &blocks[i], dim, deltas, steps);
    return CAPS_OK;
}
