/* page_mistakes.c: the page's worst mistakes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fail.h"
#include "page.h"

enum { MISTAKES = 24 };

/* Image i as it is in the data. */
static caps_status stored_image(
    caps_image *image, const caps_dataset *ds, size_t i, caps_error *err)
{
    const size_t plane = ds->height * ds->width, channels = ds->channels == 3 ? 3 : 1;
    const uint8_t *from = ds->images + i * ds->channels * plane;
    caps_status status = caps_image_init(image, ds->width, ds->height, channels, err);
    for (size_t p = 0; status == CAPS_OK && p < plane; p++)
        for (size_t c = 0; c < channels; c++)
            image->pixels[p * channels + c] = from[c * plane + p];
    return status;
}

/* Pair i, which is stored nowhere, as the network sees it: of one channel. */
static caps_status pair_image(caps_image *image, const caps_gallery *g, size_t i, caps_error *err)
{
    const size_t *chw = g->info->input, pixels = g->info->pixels;
    float *drawn = malloc(pixels * sizeof *drawn);
    if (!drawn)
        return caps_fail(err, CAPS_ERR_MEMORY, "report: out of memory");
    caps_dataset_draw(&g->data, i, CAPS_AUGMENT_NONE, 0, 0, drawn, NULL, NULL);
    caps_status status = caps_image_init(image, chw[2], chw[1], 1, err);
    for (size_t p = 0; status == CAPS_OK && p < pixels; p++)
        image->pixels[p] = (uint8_t)lroundf(255 * fminf(fmaxf(drawn[p], 0), 1));
    free(drawn);
    return status;
}

/* Image i, enlarged by the browser. */
static caps_status put_small(caps_textbuf *h, const caps_gallery *g, size_t i, caps_error *err)
{
    caps_image image = {0};
    char style[96], alt[48];
    caps_status status = g->info->labels > 1 ? pair_image(&image, g, i, err)
                                             : stored_image(&image, &g->data, i, err);
    if (status != CAPS_OK)
        return status;
    const double zoom = caps_picture_zoom(image.height, image.width, 56);
    snprintf(style, sizeof style, "width:%.0fpx;height:%.0fpx", zoom * (double)image.width,
        zoom * (double)image.height);
    snprintf(alt, sizeof alt, "image %zu", i);
    caps_textbuf_put(h, "<span class=\"small\" style=\"%s\">", style);
    status =
        caps_html_image(h, &image, "width:100%;height:100%;image-rendering:pixelated", alt, err);
    caps_textbuf_put(h, "</span>");
    caps_image_release(&image);
    return status;
}

/* The names of an image's classes, "3, 8". */
static void put_names(caps_textbuf *h, const caps_gallery *g, const int32_t *labels)
{
    for (size_t t = 0; t < g->info->labels; t++) {
        caps_textbuf_put(h, t ? ", " : "");
        caps_html_text(h, g->names[labels[t]]);
    }
}

static void put_lengths(caps_textbuf *h, const caps_gallery *g, size_t i, const int32_t *labels)
{
    for (size_t t = 0; t < g->info->labels; t++)
        caps_textbuf_put(h, "%s%.2f", t ? ", " : "",
            (double)g->results.lengths[i * g->info->classes + (size_t)labels[t]]);
}

static caps_status put_mistake(caps_textbuf *h, const caps_gallery *g, size_t i, caps_error *err)
{
    const int32_t *truth = g->results.true_labels + i * g->info->labels;
    const int32_t *labels = g->results.labels + i * g->info->labels;
    caps_textbuf_put(h, "<div class=\"mistake\">");
    caps_status status = put_small(h, g, i, err);
    if (status != CAPS_OK)
        return status;
    caps_textbuf_put(h, "<div><b class=\"good\">");
    put_names(h, g, truth);
    caps_textbuf_put(h, "</b> &rarr; <b class=\"bad\">");
    put_names(h, g, labels);
    caps_textbuf_put(h, "</b><br>");
    put_lengths(h, g, i, truth);
    caps_textbuf_put(h, " &rarr; ");
    put_lengths(h, g, i, labels);
    caps_textbuf_put(h, "<br><span class=\"muted\">%zu", i);
    const char *file = caps_dataset_file(&g->data, i);
    if (file) {
        caps_textbuf_put(h, "<br>");
        caps_html_text(h, file);
    }
    caps_textbuf_put(h, "</span></div></div>\n");
    return CAPS_OK;
}

caps_status caps_page_put_mistakes(caps_textbuf *h, const caps_gallery *g, caps_error *err)
{
    size_t worst[MISTAKES];
    const size_t n = caps_image_results_worst(&g->results, worst, MISTAKES);
    caps_status status = CAPS_OK;
    caps_textbuf_put(h, "<h2>Worst mistakes</h2>\n");
    if (n == 0) {
        caps_textbuf_put(h, "<p>There is none.</p>\n");
        return status;
    }
    if (g->info->labels > 1)
        caps_textbuf_put(h,
            "<p class=\"muted\">Pairs of the %s split, those first in which the length of a class "
            "that was predicted wrongly exceeds that of a true one that was missed by most: true "
            "classes &rarr; predicted classes, their lengths, index.</p>\n"
            "<div class=\"mistakes\">\n",
            g->subset_name);
    else
        caps_textbuf_put(h,
            "<p class=\"muted\">Images of the %s split, those first in which the predicted class's "
            "%s exceeds the true one's by most: true class &rarr; predicted class, their %s, "
            "index.</p>\n<div class=\"mistakes\">\n",
            g->subset_name, g->info->score, g->info->scores);
    for (size_t k = 0; k < n; k++)
        CAPS_TRY(put_mistake(h, g, worst[k], err));
    caps_textbuf_put(h, "</div>\n");
done:
    return status;
}
