/* picture_lengths.c: how long each class's capsule is, where its class is there and where not. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fail.h"
#include "pictures.h"

enum {
    BINS = 40,
    PLOT_WIDTH = 240, /* six units a bin */
    PLOT_HEIGHT = 132,
    TICKS = 46, /* room for the values at the left, */
    FEET = 30,  /* below, */
    NAMES = 24, /* and above; */
    LINE = 20,  /* a long name has a line of its own */
    SPACE = 22
};

#define PANEL_WIDTH  (TICKS + PLOT_WIDTH + SPACE)
#define PANEL_HEIGHT (NAMES + PLOT_HEIGHT + FEET + SPACE)
#define SHORT_NAME   90.0 /* has room beside both means */
#define DECADES      4    /* 0.01 % to 100 % */

typedef struct histogram {
    uint64_t counts[2][BINS]; /* of images of other classes, of the class itself */
    uint64_t n[2];
    double sum[2];
} histogram;

static void count(histogram *h, const float *lengths, const int32_t *true_labels, size_t n,
    size_t labels, size_t j, size_t classes)
{
    *h = (histogram){0};
    for (size_t i = 0; i < n; i++) {
        int own = 0;
        for (size_t t = 0; t < labels; t++)
            own = own || true_labels[i * labels + t] == (int)j;
        const double length = lengths[i * classes + j];
        const int bin = length > 0 ? (int)fmin(length * BINS, BINS - 1) : 0;
        h->counts[own][bin]++;
        h->n[own]++;
        h->sum[own] += length;
    }
}

/* A share's height: four decades, and nothing for nothing. */
static double height_of(uint64_t n, uint64_t all)
{
    if (!n)
        return 0;
    const double up = log10((double)n / (double)all) / DECADES + 1;
    return fmax(up, 0.02) * PLOT_HEIGHT;
}

static void draw_axes(caps_drawing *d, double x, double y, const double *margins)
{
    static const char *const shares[] = {"100%", "10%", "1%", "0.1%", "0.01%"};
    static const char *const lengths[] = {"0", "0.5", "1"};
    for (int i = 0; i <= DECADES; i++) {
        const double at = y + i * (double)PLOT_HEIGHT / DECADES;
        caps_draw_fill(d, x, at - 0.5, PLOT_WIDTH, 1, i == DECADES ? caps_edge : caps_faint);
        caps_draw_label(d, x - TICKS, at - 4, TICKS - 6, CAPS_RIGHT, shares[i],
            CAPS_TEXT_TINY + 0.2, caps_muted);
    }
    for (int i = 0; i < 3; i++)
        caps_draw_label(d, x + i * PLOT_WIDTH / 2.0 - 20, y + PLOT_HEIGHT + 7, 40, CAPS_CENTRE,
            lengths[i], CAPS_TEXT_SMALL, caps_muted);
    for (int i = 0; margins && i < 2; i++) {
        if (margins[i] > 1) /* beyond what is drawn */
            continue;
        const double at = x + margins[i] * PLOT_WIDTH;
        caps_draw_dashes(d, at, y, at, y + PLOT_HEIGHT, 1, caps_muted);
    }
}

static void draw_panel(caps_drawing *d, double x, double y, const char *name, double line,
    const histogram *h, const double *margins)
{
    const caps_colour colours[] = {caps_second, caps_first};
    char text[64];
    caps_draw_label(
        d, x, y, line > 0 ? PLOT_WIDTH : SHORT_NAME, CAPS_LEFT, name, CAPS_TEXT_BODY, caps_ink);
    y += line;
    double right = x + PLOT_WIDTH;
    for (int own = 0; own < 2; own++) {
        if (h->n[own])
            snprintf(text, sizeof text, "mean %.2f", h->sum[own] / (double)h->n[own]);
        else
            snprintf(text, sizeof text, "no image");
        const double width = caps_text_width(text, CAPS_TEXT_TINY + 0.2);
        right -= width;
        caps_draw_text(d, right, y + 4, text, CAPS_TEXT_TINY + 0.2, colours[own]);
        right -= 10;
    }
    y += NAMES;
    draw_axes(d, x, y, margins);
    const double bar = (double)PLOT_WIDTH / BINS;
    for (int b = 0; b < BINS; b++) {
        const double up[] = {
            height_of(h->counts[0][b], h->n[0]), height_of(h->counts[1][b], h->n[1])};
        /* The lower one in front: both are seen. */
        const int first = up[1] > up[0];
        for (int k = 0; k < 2; k++) {
            const int own = k == 0 ? first : !first;
            caps_draw_fill(
                d, x + b * bar + 0.5, y + PLOT_HEIGHT - up[own], bar - 1, up[own], colours[own]);
        }
    }
}

caps_status caps_picture_lengths(caps_drawing *d, const caps_picture_context *of,
    const float *lengths, const int32_t *true_labels, size_t n, size_t labels,
    const double margins[2], caps_error *err)
{
    const bool probabilities = !margins && !of->matrix;
    char shows[256], dashed[96] = "";
    if (margins)
        snprintf(dashed, sizeof dashed, " Dashed: the margins of the loss, %.4g and %.4g.",
            margins[0], margins[1]);
    snprintf(shows, sizeof shows,
        "A panel a class: the %s of its capsule in images of the class and in images of all "
        "others; shares on a log scale.%s",
        of->matrix ? "activation" : "length", dashed);
    size_t columns = of->classes <= 4 ? of->classes : of->classes <= 12 ? 4 : 6;
    if (of->classes == 10 || of->classes == 5)
        columns = 5;
    const size_t rows = (of->classes + columns - 1) / columns;
    const double width = fmax(2 * CAPS_SHEET_MARGIN + (double)columns * PANEL_WIDTH, 760);
    const caps_heading heading = {.title = probabilities ? "Probabilities by class"
                                           : of->matrix  ? "Activations by class"
                                                         : "Capsule lengths by class",
        .shows =
            probabilities
                ? "A panel a class: the probability that the network gives to it, in images of "
                  "the class and in images of all others; shares on a log scale."
                : shows,
        .source = of->source,
        .result = of->result};
    const double head = caps_draw_heading(NULL, &heading, width) + 32;
    const double line =
        caps_picture_names_width(of, CAPS_TEXT_BODY, PLOT_WIDTH) > SHORT_NAME ? LINE : 0;
    const double height = head + (double)rows * (PANEL_HEIGHT + line) + CAPS_SHEET_MARGIN - SPACE;
    caps_status status = caps_drawing_init(d, width, height, of->scale, err);
    if (status != CAPS_OK)
        return status;
    caps_draw_heading(d, &heading, width);
    double x = CAPS_SHEET_MARGIN;
    caps_draw_fill(d, x, head - 34, 14, 14, caps_first);
    x += 22;
    x += caps_draw_text(d, x, head - 34, "images of the class", CAPS_TEXT_BODY, caps_ink) + 30;
    caps_draw_fill(d, x, head - 34, 14, 14, caps_second);
    caps_draw_text(d, x + 22, head - 34, "images of other classes", CAPS_TEXT_BODY, caps_ink);
    for (size_t j = 0; j < of->classes; j++) {
        histogram h;
        count(&h, lengths, true_labels, n, labels, j, of->classes);
        draw_panel(d, CAPS_SHEET_MARGIN + TICKS + (double)(j % columns) * PANEL_WIDTH,
            head + (double)(j / columns) * (PANEL_HEIGHT + line), of->names[j], line, &h, margins);
    }
    return CAPS_OK;
}
