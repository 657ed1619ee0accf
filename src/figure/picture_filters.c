/* picture_filters.c: the weights of the first convolution. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fail.h"
#include "pictures.h"

enum { GAP = 5, INDEX = 46, LEGEND = 60, LEAST_WIDTH = 700 };

/* One filter as colours: RGB where it has three channels, else the mean over them, diverging. */
static void filter_colours(
    caps_colour *out, const float *w, size_t channels, size_t area, double most)
{
    for (size_t p = 0; p < area; p++) {
        double part[3] = {0};
        if (channels == 3) {
            for (size_t c = 0; c < 3; c++)
                part[c] = fmin(fmax(0.5 + w[c * area + p] / (2 * most), 0), 1);
            out[p] = (caps_colour){(uint8_t)lround(255 * part[0]), (uint8_t)lround(255 * part[1]),
                (uint8_t)lround(255 * part[2])};
            continue;
        }
        double sum = 0;
        for (size_t c = 0; c < channels; c++)
            sum += w[c * area + p];
        out[p] = caps_ramp_colour(CAPS_RAMP_DIVERGING, 0.5 + sum / (double)channels / (2 * most));
    }
}

/* The greatest magnitude that a colour stands for. */
static double greatest(const float *weights, size_t count, size_t channels, size_t area)
{
    double most = 0;
    for (size_t f = 0; f < count; f++)
        for (size_t p = 0; p < area; p++) {
            double sum = 0;
            for (size_t c = 0; c < channels; c++) {
                const double w = weights[(f * channels + c) * area + p];
                if (channels == 3)
                    most = fmax(most, fabs(w));
                sum += w;
            }
            if (channels != 3)
                most = fmax(most, fabs(sum / (double)channels));
        }
    return most > 0 ? most : 1;
}

/* Columns of a rectangle without a hole, if there is one near 8 : 5. */
static size_t columns_for(size_t count)
{
    size_t best = (size_t)ceil(sqrt((double)count * 1.6));
    double off = 1.2; /* at most about three times as wide or as high */
    for (size_t columns = 1; columns <= count; columns++) {
        const double rows = (double)(count / columns);
        const double distance = fabs(log((double)columns / rows / 1.6));
        if (count % columns == 0 && distance < off) {
            off = distance;
            best = columns;
        }
    }
    return best;
}

caps_status caps_picture_filters(caps_drawing *d, const caps_picture_context *of, const char *name,
    const float *weights, size_t count, size_t channels, size_t kernel, caps_error *err)
{
    const size_t area = kernel * kernel;
    const double most = greatest(weights, count, channels, area);
    const double zoom = caps_picture_zoom(kernel, kernel, count < 100 ? 80 : 52);
    const double tile = (double)kernel * zoom + GAP;
    const size_t columns = columns_for(count);
    const size_t rows = (count + columns - 1) / columns;
    char shows[320], low[32], high[32];
    snprintf(shows, sizeof shows,
        "The %zu filters of %s, %zux%zu weights each%s, in the order of the file; one scale of "
        "colours for all.",
        count, name, kernel, kernel,
        channels == 3   ? " in red, green and blue (grey is 0)"
        : channels == 1 ? ""
                        : " (mean over its input channels)");
    const caps_heading heading = {
        .title = "Filters", .shows = shows, .source = of->source, .result = of->result};
    const double width =
        fmax(2 * CAPS_SHEET_MARGIN + INDEX + (double)columns * tile, (double)LEAST_WIDTH);
    const double head = caps_draw_heading(NULL, &heading, width);
    const double height = head + (double)rows * tile + LEGEND + CAPS_SHEET_MARGIN;
    caps_colour *colours = malloc(area * sizeof *colours);
    if (!colours)
        return caps_fail(err, CAPS_ERR_MEMORY, "filters: out of memory");
    caps_status status = caps_drawing_init(d, width, height, of->scale, err);
    if (status == CAPS_OK) {
        caps_draw_heading(d, &heading, width);
        for (size_t f = 0; f < count; f++) {
            const double x = CAPS_SHEET_MARGIN + INDEX + (double)(f % columns) * tile;
            const double y = head + (double)(f / columns) * tile;
            if (f % columns == 0) {
                char index[24];
                snprintf(index, sizeof index, "%zu", f);
                caps_draw_label(d, CAPS_SHEET_MARGIN, y + tile / 2 - 8, INDEX - 12, CAPS_RIGHT,
                    index, CAPS_TEXT_SMALL, caps_muted);
            }
            filter_colours(colours, weights + f * channels * area, channels, area, most);
            caps_draw_pixels(d, x, y, colours, kernel, kernel, zoom);
        }
        snprintf(low, sizeof low, "-%.3g", most);
        snprintf(high, sizeof high, "+%.3g", most);
        const double y = head + (double)rows * tile + 16;
        double x = CAPS_SHEET_MARGIN + INDEX;
        x += caps_draw_text(d, x, y, "weight", CAPS_TEXT_BODY, caps_ink) + 14;
        caps_draw_legend(
            d, x, y, 320, channels == 3 ? CAPS_RAMP_GREY : CAPS_RAMP_DIVERGING, low, "0", high);
    }
    free(colours);
    return status;
}
