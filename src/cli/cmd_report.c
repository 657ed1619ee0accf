/* cmd_report.c: one page about a run. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "eval_report.h"
#include "fail.h"
#include "file.h"
#include "progress.h"
#include "repeat.h"
#include "report.h"
#include "show.h"
#include "statistics.h"

#define REPORT "report.html"
#define Z95    1.959964

enum { BATCH = 100, MISTAKES = 24, MATRIX = 20 /* classes of a matrix that is a table */ };

typedef struct options {
    caps_common common;
    const char *data;
    uint64_t limit;
} options;

static const caps_flag flags[] = {
    CAPS_ROW_TEXT("--data", options, data, "D",
        "where the data set is now (default: what the run was given)"),
    CAPS_ROW_COUNT("--limit", options, limit, 1, UINT32_MAX, "N",
        "evaluate on the first N images only (default: all of the test split, or of the\n"
        "images kept with --validation where there is no test split)"),
    CAPS_ROW_DEVICE(options),
    CAPS_ROW_CONV(options),
    CAPS_ROW_QUIET(options),
    CAPS_ROW_VERBOSE(options),
    {0},
};

/* ---- head ----------------------------------------------------------------------------------- */

/* "2 h 05 min", "59 min", "3 min 12 s". */
static char *duration(char *text, size_t bytes, double seconds)
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

static void put_card(caps_html *h, const char *value, const char *about)
{
    caps_html_put(h, "<div class=\"card\"><b>%s</b><span>%s</span></div>\n", value, about);
}

static void put_head(caps_html *h, const caps_run *run, const caps_show *s)
{
    const caps_metric *last = run->count ? &run->rows[run->count - 1] : NULL;
    char value[96], about[160];
    double low, high;
    caps_html_put(h, "<h1>");
    caps_html_text(h, run->path);
    caps_html_put(h, "</h1>\n<p>");
    if (run->finished)
        caps_html_put(h, "<span class=\"badge good\">finished</span> after %.0f steps", run->steps);
    else if (isfinite(run->all_steps))
        caps_html_put(h,
            "<span class=\"badge bad\">not finished</span> %.0f of %.0f steps are logged",
            run->steps, run->all_steps);
    else
        caps_html_put(h, "<span class=\"badge bad\">not finished</span> no step is logged yet");
    caps_html_put(h, " &middot; network <b>");
    caps_html_text(h, run->config.arch);
    caps_html_put(h, "</b>, data <b>");
    caps_html_text(h, run->config.data);
    caps_html_put(h, "</b></p>\n<div class=\"cards\">\n");
    caps_wilson(s->evaluation.errors, s->evaluation.n, Z95, &low, &high);
    snprintf(value, sizeof value, "%.2f %%", s->evaluation.error_percent);
    snprintf(about, sizeof about, "%s error%s; 95 %% interval %.2f to %.2f %%", s->split_name,
        s->spec->labels > 1 ? " (exact pair)" : "", 100 * low, 100 * high);
    put_card(h, value, about);
    if (last && isfinite(last->images_per_second)) {
        snprintf(value, sizeof value, "%.0f", last->images_per_second);
        put_card(h, value, "images/s in training steps");
    }
    put_card(h, duration(value, sizeof value, run->seconds),
        "of training, evaluation and saving included");
    if (last) {
        snprintf(value, sizeof value, "%.4g", run->steps / run->steps_per_epoch);
        snprintf(about, sizeof about, "epochs: %.0f steps of %zu %s", run->steps, run->config.batch,
            caps_images_name(s->spec->labels));
        put_card(h, value, about);
    }
    snprintf(value, sizeof value, "%.2f M", (double)s->sizes->parameters * 1e-6);
    put_card(h, value, "parameters");
    caps_html_put(h, "</div>\n");
}

/* ---- numbers -------------------------------------------------------------------------------- */

static void put_row(caps_html *h, const char *name, const char *format, ...) CAPS_PRINTF(3, 4);

static void put_row(caps_html *h, const char *name, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    caps_html_put(h, "<tr><td>%s</td><td>%s</td></tr>\n", name, text);
}

/* An error with its interval, of n images (or labels: `of`); without one where it is not known how
 * many. */
static void put_error(caps_html *h, const char *name, double percent, double n, const char *of)
{
    double low, high;
    if (!isfinite(percent))
        return;
    if (!(n > 0)) {
        put_row(h, name, "%.2f %%", percent);
        return;
    }
    caps_wilson((uint64_t)llround(percent / 100 * n), (uint64_t)n, Z95, &low, &high);
    put_row(h, name, "%.2f %% (95 %%: %.2f to %.2f) over %.0f%s%s", percent, 100 * low, 100 * high,
        n, *of ? " " : "", of);
}

static void put_results(caps_html *h, const caps_run *run, const caps_show *s)
{
    const caps_evaluation *e = &s->evaluation;
    const caps_metric *epoch = caps_run_last_epoch(run);
    const char *file = strrchr(run->model, '/');
    const bool cnn = strcmp(s->spec->kind, "cnn") == 0;
    const char *images = caps_images_name(e->labels);
    double low, high;
    char text[48];
    caps_wilson(e->errors, e->n, Z95, &low, &high);
    caps_html_put(h,
        "<h2>Results</h2>\n<div class=\"columns\">\n<div><h3>%s, evaluated for this "
        "report</h3>\n<table class=\"pair\">\n",
        file ? file + 1 : run->model);
    snprintf(text, sizeof text, "%s error%s", s->split_name, e->labels > 1 ? ", exact pair" : "");
    put_row(h, text, "%.2f %% (%zu of %zu %s)", e->error_percent, e->errors, e->n, images);
    put_row(h, "95 % interval (Wilson)", "%.2f to %.2f %%", 100 * low, 100 * high);
    if (e->labels > 1) {
        const size_t labels = e->n * e->labels;
        put_row(h, "of single digits", "%.2f %% (%zu of %zu)",
            100 * (double)e->label_errors / (double)labels, e->label_errors, labels);
        caps_wilson(e->label_errors, labels, Z95, &low, &high);
        put_row(h, "95 % interval (Wilson)", "%.2f to %.2f %%", 100 * low, 100 * high);
    }
    put_row(h, cnn ? "cross entropy" : "margin loss", "%.5f an image", e->margin_loss);
    if (isfinite(e->reconstruction_sse))
        put_row(h, "squared reconstruction error", "%.3f an image", e->reconstruction_sse);
    caps_html_put(h, "</table></div>\n<div><h3>Training, as logged</h3>\n");
    if (epoch) {
        caps_html_put(h, "<table class=\"pair\">\n");
        put_row(
            h, "last line of an epoch", "epoch %.0f, step %.0f", epoch->epoch_number, epoch->step);
        const double kept = (double)run->config.validation, labels = (double)e->labels;
        put_error(h, "training error", epoch->train_error, epoch->images_done, images);
        put_error(h, "validation error", epoch->validation_error, kept, images);
        put_error(h, "of single digits", epoch->validation_label_error, kept * labels, "");
        put_error(h, "test error", epoch->test_error, epoch->test_images, images);
        put_error(h, "of single digits", epoch->test_label_error, epoch->test_images * labels, "");
        put_row(h, "loss", "%.5f an image", epoch->loss);
        if (isfinite(epoch->peak_bytes))
            put_row(
                h, "peak device memory", "%s", caps_cli_bytes(text, (uint64_t)epoch->peak_bytes));
        caps_html_put(h, "</table>\n");
    } else {
        caps_html_put(h, "<p class=\"muted\">No epoch has ended yet.</p>\n");
    }
    caps_html_put(h, "</div>\n</div>\n");
}

static void put_matrix(caps_html *h, const caps_show *s)
{
    const size_t classes = s->spec->classes;
    const uint64_t *counts = s->evaluation.confusion;
    const bool pairs = s->spec->labels > 1;
    caps_html_put(h,
        "<h2>Confusion</h2>\n<p class=\"muted\">Rows: true class; columns: predicted "
        "class; colours: share of the row, on a log scale.%s</p>\n"
        "<div class=\"scroll\"><table class=\"matrix\"><tr><th></th>",
        pairs ? " Each pair counts twice, once for each of its two digits: one that was missed "
                "stands with the class predicted in its place."
              : "");
    for (size_t j = 0; j < classes; j++) {
        caps_html_put(h, "<th>");
        caps_html_text(h, s->names[j]);
        caps_html_put(h, "</th>");
    }
    caps_html_put(h, "<th>%s</th><th>error</th></tr>\n", pairs ? "digits" : "images");
    for (size_t i = 0; i < classes; i++) {
        uint64_t all = 0;
        caps_html_put(h, "<tr><th>");
        caps_html_text(h, s->names[i]);
        caps_html_put(h, "</th>");
        for (size_t j = 0; j < classes; j++)
            all += counts[i * classes + j];
        for (size_t j = 0; j < classes; j++) {
            const uint64_t n = counts[i * classes + j];
            if (!n) {
                caps_html_put(h, "<td class=\"zero\">0</td>");
                continue;
            }
            const double t = fmax(log10((double)n / (double)all) / 4 + 1, 0.04);
            const caps_colour c = caps_ramp_colour(i == j ? CAPS_RAMP_GREEN : CAPS_RAMP_RED, t);
            const caps_colour text = caps_readable_on(c);
            caps_html_put(h, "<td style=\"background:rgb(%d,%d,%d);color:rgb(%d,%d,%d)\">%llu</td>",
                c.r, c.g, c.b, text.r, text.g, text.b, (unsigned long long)n);
        }
        caps_html_put(h, "<td>%llu</td>", (unsigned long long)all);
        if (all)
            caps_html_put(h, "<td>%.2f %%</td></tr>\n",
                100 * (double)(all - counts[i * classes + i]) / (double)all);
        else
            caps_html_put(h, "<td>-</td></tr>\n");
    }
    caps_html_put(h, "</table></div>\n");
}

/* ---- pictures ------------------------------------------------------------------------------- */

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
static caps_status pair_image(caps_image *image, const caps_show *s, size_t i, caps_error *err)
{
    const size_t *chw = s->spec->input, pixels = s->sizes->pixels;
    float *drawn = malloc(pixels * sizeof *drawn);
    if (!drawn)
        return caps_fail(err, CAPS_ERR_MEMORY, "report: out of memory");
    caps_dataset_draw(&s->data, i, CAPS_AUGMENT_NONE, 0, 0, drawn, NULL, NULL);
    caps_status status = caps_image_init(image, chw[2], chw[1], 1, err);
    for (size_t p = 0; status == CAPS_OK && p < pixels; p++)
        image->pixels[p] = (uint8_t)lroundf(255 * fminf(fmaxf(drawn[p], 0), 1));
    free(drawn);
    return status;
}

/* Image i, enlarged by the browser. */
static caps_status put_small(caps_html *h, const caps_show *s, size_t i, caps_error *err)
{
    caps_image image = {0};
    char style[96], alt[48];
    caps_status status = s->spec->labels > 1 ? pair_image(&image, s, i, err)
                                             : stored_image(&image, &s->data, i, err);
    if (status != CAPS_OK)
        return status;
    const double zoom = caps_picture_zoom(image.height, image.width, 56);
    snprintf(style, sizeof style, "width:%.0fpx;height:%.0fpx", zoom * (double)image.width,
        zoom * (double)image.height);
    snprintf(alt, sizeof alt, "image %zu", i);
    caps_html_put(h, "<span class=\"small\" style=\"%s\">", style);
    status =
        caps_html_image(h, &image, "width:100%;height:100%;image-rendering:pixelated", alt, err);
    caps_html_put(h, "</span>");
    caps_image_release(&image);
    return status;
}

/* The names of an image's classes, "3, 8". */
static void put_names(caps_html *h, const caps_show *s, const int *labels)
{
    for (size_t t = 0; t < s->spec->labels; t++) {
        caps_html_put(h, t ? ", " : "");
        caps_html_text(h, s->names[labels[t]]);
    }
}

static void put_lengths(caps_html *h, const caps_show *s, size_t i, const int *labels)
{
    for (size_t t = 0; t < s->spec->labels; t++)
        caps_html_put(h, "%s%.2f", t ? ", " : "",
            (double)s->lengths[i * s->spec->classes + (size_t)labels[t]]);
}

static caps_status put_mistakes(caps_html *h, const caps_show *s, caps_error *err)
{
    size_t worst[MISTAKES];
    const bool cnn = strcmp(s->spec->kind, "cnn") == 0;
    const size_t n = caps_show_worst(s, worst, MISTAKES);
    caps_status status = CAPS_OK;
    caps_html_put(h, "<h2>Worst mistakes</h2>\n");
    if (n == 0) {
        caps_html_put(h, "<p>There is none.</p>\n");
        return status;
    }
    if (s->spec->labels > 1)
        caps_html_put(h,
            "<p class=\"muted\">Pairs of the %s split, those first in which the length of a class "
            "that was predicted wrongly exceeds that of a true one that was missed by most: true "
            "classes &rarr; predicted classes, their lengths, index.</p>\n"
            "<div class=\"mistakes\">\n",
            s->split_name);
    else
        caps_html_put(h,
            "<p class=\"muted\">Images of the %s split, those first in which the predicted class's "
            "%s exceeds the true one's by most: true class &rarr; predicted class, their %s, "
            "index.</p>\n<div class=\"mistakes\">\n",
            s->split_name, cnn ? "probability" : "length", cnn ? "probabilities" : "lengths");
    for (size_t k = 0; k < n; k++) {
        const size_t i = worst[k];
        const int *truth = s->true_labels + i * s->spec->labels;
        const int *labels = s->labels + i * s->spec->labels;
        caps_html_put(h, "<div class=\"mistake\">");
        CAPS_TRY(put_small(h, s, i, err));
        caps_html_put(h, "<div><b class=\"good\">");
        put_names(h, s, truth);
        caps_html_put(h, "</b> &rarr; <b class=\"bad\">");
        put_names(h, s, labels);
        caps_html_put(h, "</b><br>");
        put_lengths(h, s, i, truth);
        caps_html_put(h, " &rarr; ");
        put_lengths(h, s, i, labels);
        caps_html_put(h, "<br><span class=\"muted\">%zu</span></div></div>\n", i);
    }
    caps_html_put(h, "</div>\n");
done:
    return status;
}

/* Every kind that this network has; the matrix of few classes is a table already. */
static caps_status put_pictures(caps_html *h, caps_show *s, caps_error *err)
{
    caps_status status = CAPS_OK;
    caps_html_put(h, "<h2>Looking inside</h2>\n");
    for (size_t i = 0; caps_show_kind_at(i); i++) {
        const caps_show_kind *kind = caps_show_kind_at(i);
        caps_drawing d = {0};
        char style[64];
        if (caps_show_check(s, kind, NULL) != CAPS_OK ||
            (strcmp(kind->name, "confusion") == 0 && s->spec->classes <= MATRIX))
            continue;
        caps_error own = {0};
        status = kind->draw(s, &d, &own);
        if (status == CAPS_ERR_MISMATCH) { /* nothing of the kind in these images */
            status = CAPS_OK;
            continue;
        }
        if (status != CAPS_OK) {
            if (err)
                *err = own;
            return status;
        }
        /* On a narrow screen a sheet keeps a width at which it is read, and scrolls. */
        const double width = (double)d.image.width / s->scale;
        snprintf(style, sizeof style, "width:%.0fpx", width > 1100 ? fmin(width, 1200) : width);
        caps_html_put(h, "<figure class=\"sheet\"><div class=\"scroll\">");
        status = caps_html_image(h, &d.image, style, kind->summary, err);
        caps_html_put(h, "</div></figure>\n");
        caps_drawing_release(&d);
        if (status != CAPS_OK)
            return status;
    }
    return status;
}

static void put_network(caps_html *h, const caps_show *s)
{
    size_t decoder = 0, all = 0;
    caps_html_put(h,
        "<h2>Network</h2>\n<div class=\"scroll\"><table><tr><th>parameter</th><th>shape"
        "</th><th class=\"n\">numbers</th></tr>\n");
    for (size_t i = 0; i < caps_model_parameter_count(s->model); i++) {
        const caps_parameter *p = caps_model_parameter(s->model, i);
        caps_html_put(h, "<tr><td>");
        caps_html_text(h, p->name);
        caps_html_put(h, "</td><td>");
        for (int d = 0; d < p->ndim; d++)
            caps_html_put(h, "%s%zu", d ? " &times; " : "", p->shape[d]);
        caps_html_put(h, "</td><td class=\"n\">%zu</td></tr>\n", p->count);
        all += p->count;
        decoder += strncmp(p->name, "decoder.", 8) == 0 ? p->count : 0;
    }
    caps_html_put(h, "<tr><th>all</th><td></td><th class=\"n\">%zu</th></tr>\n", all);
    if (decoder)
        caps_html_put(h, "<tr><td>without the decoder</td><td></td><td class=\"n\">%zu</td></tr>\n",
            all - decoder);
    caps_html_put(h, "</table></div>\n");
}

/* ---- the page ------------------------------------------------------------------------------- */

static caps_status put_page(caps_html *h, const caps_run *run, caps_show *s, caps_error *err)
{
    caps_status status;
    caps_html_put(h, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                     "img-src data:; style-src 'unsafe-inline'\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                     "<title>");
    caps_html_text(h, run->path);
    caps_html_put(
        h, " - capscl</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n", caps_report_style);
    put_head(h, run, s);
    caps_html_put(h, "<h2>Curves</h2>\n");
    caps_report_curves(h, run);
    put_results(h, run, s);
    if (s->spec->classes <= MATRIX)
        put_matrix(h, s);
    CAPS_TRY(put_mistakes(h, s, err));
    CAPS_TRY(put_pictures(h, s, err));
    put_network(h, s);
    caps_report_settings(h, run);
    caps_html_put(h, "<p class=\"muted\">Made by capscl %s.</p>\n</main>\n</body>\n</html>\n",
        caps_version());
    if (h->out_of_memory)
        status = caps_fail(err, CAPS_ERR_MEMORY, "report: out of memory");
done:
    return status;
}

/* The test split, or, where there is none, what the run kept from training. */
static caps_status open_images(caps_show *s, const caps_run *run, const options *o, caps_error *err)
{
    const char *data = o->data ? o->data : run->config.data;
    caps_error why = {0};
    caps_status status = caps_show_open_data(s, data, CAPS_CLI_TEST, (size_t)o->limit, &why);
    if (status == CAPS_ERR_NOT_FOUND && run->config.validation > 0 &&
        caps_show_open_data(s, data, CAPS_CLI_VALIDATION, (size_t)o->limit, NULL) == CAPS_OK) {
        caps_cli_log("report: %s has no test split: this is about the validation split", data);
        return CAPS_OK;
    }
    if (status != CAPS_OK)
        *err = why;
    return status;
}

static int run_report(const caps_command *command, int argc, char **argv)
{
    options o = {0};
    caps_args args;
    int code;
    if (!caps_cli_begin(command, &args, &o, &o.common, argc, argv, &code))
        return code;
    caps_error err = {0};
    caps_status status = CAPS_OK;
    caps_runtime *rt = NULL;
    caps_run run = {0};
    caps_show s = {0};
    caps_html page = {0};
    char *path = NULL;

    if (args.positional_count == 0) {
        status = caps_cli_usage(&err, "report: no run given, need its directory (report RUN)");
        goto done;
    }
    uint64_t seed;
    if (caps_repeat_first(args.positional[0], &seed))
        CAPS_TRY(caps_fail(&err, CAPS_ERR_NOT_FOUND,
            "%s: holds repeated runs, need one of them (report %s/seed-%llu)", args.positional[0],
            args.positional[0], (unsigned long long)seed));
    CAPS_TRY(caps_run_read(&run, args.positional[0], &err));
    path = caps_path_join(run.path, REPORT);
    if (!path)
        CAPS_TRY(caps_fail(&err, CAPS_ERR_MEMORY, "report: out of memory"));
    CAPS_TRY(caps_cli_check_apart(REPORT, path, run.model, &err));
    CAPS_TRY(caps_file_check_output(path, &err));
    CAPS_TRY(caps_cli_open(&rt, &o.common, false, &err));
    CAPS_TRY(caps_show_open_model(
        &s, rt, run.model, run.config.spec.has_decoder, o.common.conv, BATCH, true, &err));
    s.scale = 2;
    CAPS_TRY(open_images(&s, &run, &o, &err));
    CAPS_TRY(caps_show_evaluate(&s, &err));
    CAPS_TRY(put_page(&page, &run, &s, &err));
    CAPS_TRY(caps_file_write(path, page.text, page.used, &err));
    caps_cli_log("report: %s", path);
done:
    caps_progress_clear();
    caps_cli_show_warnings(rt);
    caps_html_release(&page);
    caps_show_release(&s);
    caps_run_release(&run);
    caps_runtime_free(rt);
    free(path);
    caps_args_release(&args);
    return caps_cli_end(status, &err);
}

const caps_command caps_command_report = {
    .name = "report",
    .run = run_report,
    .summary = "one HTML page about a run: curves, numbers, pictures, how to repeat it",
    .usage = "capscl report RUN [--data D] [--limit N] [--device S] [flags]",
    .about =
        "Writes RUN/report.html: settings, device, curves of loss and error, throughput, the test\n"
        "error with its interval, confusion, the worst mistakes, all pictures of 'capscl show', "
        "and\n"
        "the command that repeats the run. The page is one file that needs no network. A run that\n"
        "is not finished gives a page that says so.\n",
    .flags = flags,
    .notes =
        "exit codes: 0 done, 1 the page cannot be written, 2 wrong usage, 3 no run there, a bad\n"
        "file in it, or no data, 4 device.\n"
        "\n"
        "examples:\n"
        "  capscl report run1\n"
        "  capscl report run1 --data /mnt/mnist\n",
    .positional_max = 1,
};
