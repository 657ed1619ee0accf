/* picture_confusion.c: true classes against predicted ones. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pictures.h"

double caps_picture_zoom(size_t height, size_t width, double target)
{
    const size_t larger = height > width ? height : width;
    return fmax(floor(target / (double)larger + 0.25), 1);
}

const char *caps_picture_name(const caps_picture_context *of, int j)
{
    return j >= 0 && (size_t)j < of->classes ? of->names[j] : "?";
}

char *caps_picture_pair(char *out, size_t bytes, const caps_picture_context *of, const char *before,
    const char *joint, const int32_t *labels, size_t count, double width, double size)
{
    if (count == 1)
        return caps_text_name(
            out, bytes, before, caps_picture_name(of, labels[0]), "", width, size);
    /* What the first leaves of its half is the second's. */
    const char *second = caps_picture_name(of, labels[1]);
    const double words = caps_text_width(before, size) + caps_text_width(joint, size);
    const double taken = fmin(caps_text_width(second, size), fmax(width - words, 0) / 2);
    caps_text_name(
        out, bytes / 2, before, caps_picture_name(of, labels[0]), joint, width - taken, size);
    const size_t used = strlen(out);
    caps_text_name(
        out + used, bytes - used, "", second, "", width - caps_text_width(out, size), size);
    return out;
}

double caps_picture_names_width(const caps_picture_context *of, double size, double most)
{
    double width = 0;
    for (size_t j = 0; j < of->classes; j++)
        width = fmax(width, caps_text_width(of->names[j], size));
    return fmin(width, most);
}

/* How a matrix of so many classes is drawn. */
static const struct {
    size_t most; /* classes */
    double width, height;
    double text;  /* size of the counts; 0: there is no room for them */
    double names; /* size of the names */
} sizes[] = {{10, 66, 40, CAPS_TEXT_BODY, CAPS_TEXT_BODY},
    {20, 48, 32, CAPS_TEXT_SMALL, CAPS_TEXT_BODY}, {40, 30, 22, CAPS_TEXT_TINY, CAPS_TEXT_SMALL},
    {SIZE_MAX, 12, 12, 0, CAPS_TEXT_TINY}};

/* Share of a row, in four decades. */
static double decades(double share)
{
    return share > 0 ? fmax(log10(share) / 4 + 1, 0.04) : 0;
}

typedef struct layout {
    double cell_width, cell_height, text, names;
    double x, y;         /* of the first cell */
    double names_width;  /* of the rows' names */
    bool names_up;       /* the columns' */
    double names_height; /* of them */
    double width, height;
} layout;

enum { AXIS = 30, PAD = 10, COUNTS = 78, ERRORS = 92, LEGEND = 70 };

static layout confusion_layout(const caps_picture_context *of, const caps_heading *heading)
{
    layout l = {0};
    size_t i = 0;
    while (of->classes > sizes[i].most)
        i++;
    l.cell_width = sizes[i].width;
    l.cell_height = sizes[i].height;
    l.text = sizes[i].text;
    l.names = sizes[i].names;
    l.names_width = caps_picture_names_width(of, l.names, 180);
    const double widest = caps_picture_names_width(of, l.names, 1000);
    l.names_up = widest > l.cell_width - 4;
    l.names_height = l.names_up ? fmin(widest, 140) : caps_text_height(l.names);
    l.x = CAPS_SHEET_MARGIN + AXIS + l.names_width + PAD;
    l.width = l.x + (double)of->classes * l.cell_width + COUNTS + ERRORS + CAPS_SHEET_MARGIN;
    l.width = fmax(l.width, 760);
    l.y = caps_draw_heading(NULL, heading, l.width) + AXIS + l.names_height + PAD;
    l.height = l.y + (double)of->classes * l.cell_height + 28 + LEGEND + CAPS_SHEET_MARGIN - 20;
    return l;
}

static void draw_names(caps_drawing *d, const caps_picture_context *of, const layout *l)
{
    const double all_width = (double)of->classes * l->cell_width;
    const double all_height = (double)of->classes * l->cell_height;
    const double text = caps_text_height(l->names);
    caps_draw_label(d, l->x, l->y - PAD - l->names_height - AXIS + 4, all_width, CAPS_CENTRE,
        "predicted class", CAPS_TEXT_BODY, caps_muted);
    const double title = caps_text_width("true class", CAPS_TEXT_BODY);
    caps_draw_label_up(d, CAPS_SHEET_MARGIN, l->y + all_height / 2 + title / 2, title, "true class",
        CAPS_TEXT_BODY, caps_muted);
    for (size_t j = 0; j < of->classes; j++) {
        const double x = l->x + (double)j * l->cell_width, y = l->y + (double)j * l->cell_height;
        caps_draw_label(d, l->x - PAD - l->names_width, y + (l->cell_height - text) / 2,
            l->names_width, CAPS_RIGHT, of->names[j], l->names, caps_ink);
        if (l->names_up)
            caps_draw_label_up(d, x + (l->cell_width - text) / 2, l->y - PAD, l->names_height,
                of->names[j], l->names, caps_ink);
        else
            caps_draw_label(d, x, l->y - PAD - text, l->cell_width, CAPS_CENTRE, of->names[j],
                l->names, caps_ink);
    }
    if (l->cell_height < 20)
        return;
    const double x = l->x + all_width;
    caps_draw_label(d, x, l->y - PAD - 14, COUNTS, CAPS_RIGHT, of->labels > 1 ? "labels" : "images",
        CAPS_TEXT_BODY, caps_muted);
    caps_draw_label(
        d, x + COUNTS, l->y - PAD - 14, ERRORS, CAPS_RIGHT, "error", CAPS_TEXT_BODY, caps_muted);
}

static void draw_row(caps_drawing *d, const caps_picture_context *of, const layout *l,
    const uint64_t *counts, size_t i)
{
    const double y = l->y + (double)i * l->cell_height;
    uint64_t all = 0;
    char text[32];
    for (size_t j = 0; j < of->classes; j++)
        all += counts[j];
    for (size_t j = 0; j < of->classes; j++) {
        const double x = l->x + (double)j * l->cell_width;
        const double share = all ? (double)counts[j] / (double)all : 0;
        const caps_colour ground =
            counts[j] ? caps_ramp_colour(i == j ? CAPS_RAMP_GREEN : CAPS_RAMP_RED, decades(share))
                      : caps_faint;
        caps_draw_fill(d, x + 1, y + 1, l->cell_width - 2, l->cell_height - 2, ground);
        if (!counts[j] || l->text == 0)
            continue;
        snprintf(text, sizeof text, "%llu", (unsigned long long)counts[j]);
        double size = l->text;
        if (caps_text_width(text, size) > l->cell_width - 6)
            size = CAPS_TEXT_TINY;
        caps_draw_label(d, x + 2, y + (l->cell_height - caps_text_height(size)) / 2,
            l->cell_width - 4, CAPS_CENTRE, text, size, caps_readable_on(ground));
    }
    if (l->cell_height < 20)
        return;
    const double x = l->x + (double)of->classes * l->cell_width;
    const double at = y + (l->cell_height - caps_text_height(CAPS_TEXT_BODY)) / 2;
    snprintf(text, sizeof text, "%llu", (unsigned long long)all);
    caps_draw_label(d, x, at, COUNTS, CAPS_RIGHT, text, CAPS_TEXT_BODY, caps_muted);
    const double error = all ? 100 * (double)(all - counts[i]) / (double)all : 0;
    snprintf(text, sizeof text, "%.2f%%", error);
    caps_draw_label(d, x + COUNTS, at, ERRORS, CAPS_RIGHT, all ? text : "-", CAPS_TEXT_BODY,
        error > 0 ? caps_bad : caps_good);
}

caps_status caps_picture_confusion(
    caps_drawing *d, const caps_picture_context *of, const uint64_t *counts, caps_error *err)
{
    const caps_heading heading = {.title = "Confusion",
        .shows = of->labels > 1
                     ? "How often each true class (row) was given each class (column); colours are "
                       "shares of the row. Each pair counts twice, once for each of its two "
                       "labels: a label that was found is on the diagonal; one that was missed "
                       "stands with the class predicted in its place. Where both were missed, the "
                       "first label stands with the longer capsule."
                     : "How many images of each true class (row) were given each class (column); "
                       "colours are shares of the row.",
        .source = of->source,
        .result = of->result};
    const layout l = confusion_layout(of, &heading);
    caps_status status = caps_drawing_init(d, l.width, l.height, of->scale, err);
    if (status != CAPS_OK)
        return status;
    caps_draw_heading(d, &heading, l.width);
    draw_names(d, of, &l);
    for (size_t i = 0; i < of->classes; i++)
        draw_row(d, of, &l, counts + i * of->classes, i);
    const double y = l.y + (double)of->classes * l.cell_height + 28;
    double x = CAPS_SHEET_MARGIN + AXIS;
    x += caps_draw_text(d, x, y, "right", CAPS_TEXT_BODY, caps_ink) + 12;
    caps_draw_legend(d, x, y, 200, CAPS_RAMP_GREEN, "0.01%", "1%", "100%");
    x += 240;
    x += caps_draw_text(d, x, y, "wrong", CAPS_TEXT_BODY, caps_ink) + 12;
    caps_draw_legend(d, x, y, 200, CAPS_RAMP_RED, "0.01%", "1%", "100%");
    return CAPS_OK;
}
