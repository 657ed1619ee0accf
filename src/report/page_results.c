/* page_results.c: the page's numbers: errors with their intervals, and the confusion matrix. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "page.h"

static void put_row(caps_textbuf *h, const char *name, const char *format, ...) CAPS_PRINTF(3, 4);

static void put_row(caps_textbuf *h, const char *name, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    caps_textbuf_put(h, "<tr><td>%s</td><td>%s</td></tr>\n", name, text);
}

/* An error with its interval, of n images (or labels: `of`); without one where it is not known how
 * many. */
static void put_error(caps_textbuf *h, const char *name, double percent, double n, const char *of)
{
    double low, high;
    if (!(percent >= 0 && percent <= 100))
        return;
    if (!(n > 0)) {
        put_row(h, name, "%.2f %%", percent);
        return;
    }
    caps_wilson((uint64_t)llround(percent / 100 * n), (uint64_t)n, CAPS_Z95, &low, &high);
    put_row(h, name, "%.2f %% (95 %%: %.2f to %.2f) over %.0f%s%s", percent, 100 * low, 100 * high,
        n, *of ? " " : "", of);
}

/* What the evaluation for this page found. */
static void put_evaluated(caps_textbuf *h, const caps_run_record *run, const caps_gallery *g)
{
    const caps_evaluation *e = &g->evaluation;
    const char *file = strrchr(run->model, '/');
    double low, high;
    char text[48];
    caps_wilson(e->errors, e->n, CAPS_Z95, &low, &high);
    caps_textbuf_put(h, "<div><h3>%s, evaluated for this report</h3>\n<table class=\"pair\">\n",
        file ? file + 1 : run->model);
    snprintf(text, sizeof text, "%s error%s", g->subset_name, e->labels > 1 ? ", exact pair" : "");
    put_row(h, text, "%.2f %% (%zu of %zu %s)", e->error_percent, e->errors, e->n,
        caps_images_name(e->labels));
    put_row(h, "95 % interval (Wilson)", "%.2f to %.2f %%", 100 * low, 100 * high);
    if (e->labels > 1) {
        const size_t labels = e->n * e->labels;
        put_row(h, "of single digits", "%.2f %% (%zu of %zu)",
            100 * (double)e->label_errors / (double)labels, e->label_errors, labels);
        caps_wilson(e->label_errors, labels, CAPS_Z95, &low, &high);
        put_row(h, "95 % interval (Wilson)", "%.2f to %.2f %%", 100 * low, 100 * high);
    }
    put_row(h, caps_loss_name(run->config.spec, &run->config.loss), "%.5f an image", e->class_loss);
    if (isfinite(e->reconstruction_sse))
        put_row(h, "squared reconstruction error", "%.3f an image", e->reconstruction_sse);
    caps_textbuf_put(h, "</table></div>\n");
}

/* The last epoch's line of the log. */
static void put_logged(caps_textbuf *h, const caps_run_record *run, size_t labels_per_image)
{
    const caps_metric *epoch = caps_run_record_last_epoch(run);
    const char *images = caps_images_name(labels_per_image);
    const double labels = (double)labels_per_image;
    double held_out = (double)run->config.validation;
    char text[48];
    caps_textbuf_put(h, "<div><h3>Training, as logged</h3>\n");
    if (!epoch) {
        caps_textbuf_put(h, "<p class=\"muted\">No epoch has ended yet.</p>\n</div>\n");
        return;
    }
    if (isfinite(epoch->validation_images))
        held_out = epoch->validation_images;
    caps_textbuf_put(h, "<table class=\"pair\">\n");
    put_row(h, "last line of an epoch", "epoch %.0f, step %.0f", epoch->epoch_number, epoch->step);
    put_error(h, "training error", epoch->train_error, epoch->images_done, images);
    put_error(h, "validation error", epoch->validation_error, held_out, images);
    put_error(h, "of single digits", epoch->validation_label_error, held_out * labels, "");
    put_error(h, "test error", epoch->test_error, epoch->test_images, images);
    put_error(h, "of single digits", epoch->test_label_error, epoch->test_images * labels, "");
    put_row(h, "loss", "%.5f an image", epoch->loss);
    if (isfinite(epoch->peak_bytes))
        put_row(h, "peak device memory", "%s", caps_bytes_text(text, (uint64_t)epoch->peak_bytes));
    caps_textbuf_put(h, "</table>\n</div>\n");
}

void caps_page_put_results(caps_textbuf *h, const caps_run_record *run, const caps_gallery *g)
{
    caps_textbuf_put(h, "<h2>Results</h2>\n<div class=\"columns\">\n");
    put_evaluated(h, run, g);
    put_logged(h, run, g->evaluation.labels);
    caps_textbuf_put(h, "</div>\n");
}

/* ---- confusion ------------------------------------------------------------------------------ */

/* Row i of the matrix: counts of true class i. */
static void put_matrix_row(caps_textbuf *h, const caps_gallery *g, size_t i)
{
    const size_t classes = g->info->classes;
    const uint64_t *counts = g->evaluation.confusion + i * classes;
    uint64_t all = 0;
    caps_textbuf_put(h, "<tr><th>");
    caps_html_text(h, g->names[i]);
    caps_textbuf_put(h, "</th>");
    for (size_t j = 0; j < classes; j++)
        all += counts[j];
    for (size_t j = 0; j < classes; j++) {
        if (!counts[j]) {
            caps_textbuf_put(h, "<td class=\"zero\">0</td>");
            continue;
        }
        const double t = fmax(log10((double)counts[j] / (double)all) / 4 + 1, 0.04);
        const caps_colour c = caps_ramp_colour(i == j ? CAPS_RAMP_GREEN : CAPS_RAMP_RED, t);
        const caps_colour text = caps_readable_on(c);
        caps_textbuf_put(h, "<td style=\"background:rgb(%d,%d,%d);color:rgb(%d,%d,%d)\">%llu</td>",
            c.r, c.g, c.b, text.r, text.g, text.b, (unsigned long long)counts[j]);
    }
    caps_textbuf_put(h, "<td>%llu</td>", (unsigned long long)all);
    if (all)
        caps_textbuf_put(
            h, "<td>%.2f %%</td></tr>\n", 100 * (double)(all - counts[i]) / (double)all);
    else
        caps_textbuf_put(h, "<td>-</td></tr>\n");
}

void caps_page_put_matrix(caps_textbuf *h, const caps_gallery *g)
{
    const bool pairs = g->info->labels > 1;
    caps_textbuf_put(h,
        "<h2>Confusion</h2>\n<p class=\"muted\">Rows: true class; columns: predicted "
        "class; colours: share of the row, on a log scale.%s</p>\n"
        "<div class=\"scroll\"><table class=\"matrix\"><tr><th></th>",
        pairs ? " Each pair counts twice, once for each of its two digits: one that was missed "
                "stands with the class predicted in its place."
              : "");
    for (size_t j = 0; j < g->info->classes; j++) {
        caps_textbuf_put(h, "<th>");
        caps_html_text(h, g->names[j]);
        caps_textbuf_put(h, "</th>");
    }
    caps_textbuf_put(h, "<th>%s</th><th>error</th></tr>\n", pairs ? "digits" : "images");
    for (size_t i = 0; i < g->info->classes; i++)
        put_matrix_row(h, g, i);
    caps_textbuf_put(h, "</table></div>\n");
}
