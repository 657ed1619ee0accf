/* page.c: the page about a run. */
#include "page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <capscl/capscl.h>

#include "fail.h"

enum { MATRIX = 20 /* classes of a matrix that is a table */ };

/* ---- head ----------------------------------------------------------------------------------- */

/* "2 h 05 min", "59 min", "3 min 12 s". */
static char *write_duration(char *text, size_t bytes, double seconds)
{
    const char *gap = "&nbsp;";
    if (seconds >= 3600)
        snprintf(text, bytes, "%.0f%sh %02.0f%smin", floor(seconds / 3600), gap,
            floor(fmod(seconds, 3600) / 60), gap);
    else if (seconds >= 600)
        snprintf(text, bytes, "%.0f%smin", round(seconds / 60), gap);
    else if (seconds >= 60)
        snprintf(text, bytes, "%.0f%smin %02.0f%ss", floor(seconds / 60), gap,
            floor(fmod(seconds, 60)), gap);
    else
        snprintf(text, bytes, "%.1f%ss", seconds, gap);
    return text;
}

static void put_card(caps_textbuf *h, const char *value, const char *about)
{
    caps_textbuf_put(h, "<div class=\"card\"><b>%s</b><span>%s</span></div>\n", value, about);
}

static void put_head(caps_textbuf *h, const caps_run_record *run, const caps_gallery *g)
{
    const caps_metric *last = run->count ? &run->rows[run->count - 1] : NULL;
    char value[96], about[160];
    double low, high;
    caps_textbuf_put(h, "<h1>");
    caps_html_text(h, run->path);
    caps_textbuf_put(h, "</h1>\n<p>");
    if (run->finished)
        caps_textbuf_put(
            h, "<span class=\"badge good\">finished</span> after %.0f steps", run->steps);
    else if (isfinite(run->all_steps))
        caps_textbuf_put(h,
            "<span class=\"badge bad\">not finished</span> %.0f of %.0f steps are logged",
            run->steps, run->all_steps);
    else
        caps_textbuf_put(h, "<span class=\"badge bad\">not finished</span> no step is logged yet");
    caps_textbuf_put(h, " &middot; network <b>");
    caps_html_text(h, run->config.arch);
    caps_textbuf_put(h, "</b>, data <b>");
    caps_html_text(h, run->config.data);
    caps_textbuf_put(h, "</b></p>\n<div class=\"cards\">\n");
    caps_wilson(g->evaluation.errors, g->evaluation.n, CAPS_Z95, &low, &high);
    snprintf(value, sizeof value, "%.2f %%", g->evaluation.error_percent);
    snprintf(about, sizeof about, "%s error%s; 95 %% interval %.2f to %.2f %%", g->subset_name,
        g->info->labels > 1 ? " (exact pair)" : "", 100 * low, 100 * high);
    put_card(h, value, about);
    if (last && isfinite(last->images_per_second)) {
        snprintf(value, sizeof value, "%.0f", last->images_per_second);
        put_card(h, value, "images/s in training steps");
    }
    put_card(h, write_duration(value, sizeof value, run->seconds),
        "of training, evaluation and saving included");
    if (last) {
        snprintf(value, sizeof value, "%.4g", run->steps / run->steps_per_epoch);
        snprintf(about, sizeof about, "epochs: %.0f steps of %zu %s", run->steps, run->config.batch,
            caps_images_name(g->info->labels));
        put_card(h, value, about);
    }
    snprintf(value, sizeof value, "%.2f M", (double)g->info->parameters * 1e-6);
    put_card(h, value, "parameters");
    caps_textbuf_put(h, "</div>\n");
}

/* ---- figures -------------------------------------------------------------------------------- */

/* Every figure that this network has; the matrix of few classes is a table already. */
static caps_status put_figures(caps_textbuf *h, caps_gallery *g, caps_error *err)
{
    caps_status status = CAPS_OK;
    caps_textbuf_put(h, "<h2>Looking inside</h2>\n");
    for (size_t i = 0; caps_gallery_figure_at(i); i++) {
        const caps_gallery_figure *figure = caps_gallery_figure_at(i);
        caps_drawing d = {0};
        char style[64];
        if (caps_gallery_check(g, figure, NULL) != CAPS_OK ||
            (strcmp(figure->name, "confusion") == 0 && g->info->classes <= MATRIX))
            continue;
        caps_error own = {0};
        status = figure->draw(g, &d, &own);
        if (status == CAPS_ERR_MISMATCH) { /* nothing to draw in these images */
            status = CAPS_OK;
            continue;
        }
        if (status != CAPS_OK) {
            if (err)
                *err = own;
            return status;
        }
        /* On a narrow screen a sheet keeps a width at which it is read, and scrolls. */
        const double width = (double)d.image.width / g->scale;
        snprintf(style, sizeof style, "width:%.0fpx", width > 1100 ? fmin(width, 1200) : width);
        caps_textbuf_put(h, "<figure class=\"sheet\"><div class=\"scroll\">");
        status = caps_html_image(h, &d.image, style, figure->summary, err);
        caps_textbuf_put(h, "</div></figure>\n");
        caps_drawing_release(&d);
        if (status != CAPS_OK)
            return status;
    }
    return status;
}

/* ---- the page ------------------------------------------------------------------------------- */

caps_status caps_page_put(
    caps_textbuf *h, const caps_run_record *run, caps_gallery *g, caps_error *err)
{
    caps_status status;
    caps_textbuf_put(h,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
        "img-src data:; style-src 'unsafe-inline'\">\n"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
        "<title>");
    caps_html_text(h, run->path);
    caps_textbuf_put(
        h, " - capscl</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n", caps_page_style);
    put_head(h, run, g);
    caps_textbuf_put(h, "<h2>Curves</h2>\n");
    caps_page_put_curves(h, run, g->info->has_decoder);
    caps_page_put_devices(h, run);
    caps_page_put_results(h, run, g);
    if (g->info->classes <= MATRIX)
        caps_page_put_matrix(h, g);
    CAPS_TRY(caps_page_put_mistakes(h, g, err));
    CAPS_TRY(put_figures(h, g, err));
    caps_page_put_network(h, g);
    caps_page_put_settings(h, run, g->info);
    caps_textbuf_put(h, "<p class=\"muted\">Made by capscl %s.</p>\n</main>\n</body>\n</html>\n",
        caps_version());
    if (h->out_of_memory)
        status = caps_fail(err, CAPS_ERR_MEMORY, "report: out of memory");
done:
    return status;
}
