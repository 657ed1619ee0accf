/* gallery.c: see gallery.h. */
#include "gallery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

static caps_status gallery_out_of_memory(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "show: out of memory");
}

static void report_progress(
    const caps_gallery *g, caps_gallery_phase phase, size_t done, size_t total)
{
    if (g->progress)
        g->progress(g->user, phase, done, total);
}

/* ---- opening -------------------------------------------------------------------------------- */

caps_status caps_gallery_open_model(caps_gallery *g, caps_runtime *rt, const char *path,
    const caps_model_options *options, const caps_open_options *how, caps_error *err)
{
    g->model_name = path;
    caps_status status = caps_model_open(&g->model, rt, path, options, how, err);
    if (status != CAPS_OK)
        return status;
    g->spec = caps_model_get_spec(g->model);
    g->info = caps_model_get_info(g->model);
    const size_t j = g->info->classes;
    g->name_texts = calloc(j, sizeof *g->name_texts);
    g->names = calloc(j, sizeof *g->names);
    if (!g->name_texts || !g->names)
        return gallery_out_of_memory(err);
    for (size_t i = 0; i < j; i++)
        g->names[i] = caps_class_name(g->spec, i, g->name_texts[i]);
    return CAPS_OK;
}

static void gallery_on_pictures(void *user, size_t done, size_t total)
{
    report_progress(user, CAPS_GALLERY_READING, done, total);
}

static void gallery_on_note(void *user, const char *text)
{
    const caps_gallery *g = user;
    g->note(g->user, text);
}

caps_status caps_gallery_open_data(
    caps_gallery *g, const char *data, caps_subset subset, size_t limit, caps_error *err)
{
    const caps_dataset_options options = {CAPS_OPTIONS(caps_dataset_options), .limit = limit,
        .progress = gallery_on_pictures, .user = g, .note = g->note ? gallery_on_note : NULL,
        .background = g->pictures.background, .invert = g->pictures.invert,
        .stretch = g->pictures.stretch, .ground = g->pictures.ground,
        .viewpoints = g->pictures.viewpoints};
    g->data_name = data;
    g->subset_name = caps_subset_name(subset);
    return caps_subset_open(&g->data, data, subset, g->model_name, &options, g->spec, err);
}

static void gallery_on_image(void *user, const caps_evaluated *image)
{
    caps_gallery *g = user;
    caps_image_results_set(&g->results, image);
    report_progress(g, CAPS_GALLERY_CLASSIFYING, image->index + 1, g->data.n);
}

caps_status caps_gallery_evaluate(caps_gallery *g, caps_error *err)
{
    const caps_evaluate_options options = {
        CAPS_OPTIONS(caps_evaluate_options), .each = gallery_on_image, .each_user = g};
    caps_status status = caps_image_results_init(&g->results, g->data.n, g->spec, err);
    if (status == CAPS_OK)
        status = caps_evaluate(g->model, &g->data, &options, &g->evaluation, err);
    g->evaluated = status == CAPS_OK;
    return status;
}

void caps_gallery_release(caps_gallery *g)
{
    caps_dataset_release(&g->data);
    caps_evaluation_release(&g->evaluation);
    caps_image_results_release(&g->results);
    caps_model_free(g->model);
    free(g->name_texts);
    free(g->names);
    *g = (caps_gallery){0};
}

/* ---- headings ------------------------------------------------------------------------------- */

/* "mnist" of "/data/mnist/": what is enough in a heading. */
static const char *last_name(const char *path, int *length)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t first = n;
    while (first > 0 && path[first - 1] != '/')
        first--;
    *length = (int)(n - first);
    return path + first;
}

/* Model and data. */
static void write_source(const caps_gallery *g, char *text, size_t bytes)
{
    int length = 0;
    const char *data = g->data_name ? last_name(g->data_name, &length) : "";
    if (g->data.n)
        snprintf(text, bytes, "model %.200s; data %.*s, %s split, %zu %s%s", g->model_name,
            length < 200 ? length : 200, data, g->subset_name, g->data.n,
            g->info->labels > 1 ? "pair" : "image", g->data.n == 1 ? "" : "s");
    else
        snprintf(text, bytes, "model %.200s", g->model_name);
}

/* The error with its interval. */
static void write_result(const caps_evaluation *e, char *text, size_t bytes)
{
    const bool pairs = e->labels > 1;
    double low, high;
    caps_wilson(e->errors, e->n, CAPS_Z95, &low, &high);
    const int used =
        snprintf(text, bytes, "error %.2f%% (95%% interval %.2f to %.2f%%): %zu of %zu %swrong",
            e->error_percent, 100 * low, 100 * high, e->errors, e->n, pairs ? "pairs " : "");
    if (pairs)
        snprintf(text + used, bytes - (size_t)used, "; of single digits %.2f%% (%zu of %zu)",
            e->label_error_percent, e->label_errors, e->n * e->labels);
}

caps_picture_context caps_gallery_context(const caps_gallery *g, char *text)
{
    enum { HALF = CAPS_HEADING_BYTES / 2 };
    char *result = text + HALF;
    write_source(g, text, HALF);
    if (g->evaluated)
        write_result(&g->evaluation, result, HALF);
    return (caps_picture_context){.source = text,
        .result = g->evaluated ? result : NULL,
        .names = g->names,
        .classes = g->info->classes,
        .labels = g->info->labels,
        .channels = g->info->input[0],
        .height = g->info->input[1],
        .width = g->info->input[2],
        .scale = g->scale,
        .matrix = g->info->matrix,
        .max_min = g->info->max_min};
}

/* ---- some images ---------------------------------------------------------------------------- */

static caps_status sample_init(
    caps_sample *s, const caps_gallery *g, const size_t *index, size_t n, caps_error *err)
{
    *s = (caps_sample){.n = n};
    if (n == 0)
        return CAPS_OK;
    s->index = calloc(n, sizeof *s->index);
    s->sources = calloc(n, sizeof *s->sources);
    s->inputs = calloc(n * g->info->pixels, sizeof *s->inputs);
    s->true_labels = calloc(n * g->info->labels, sizeof *s->true_labels);
    if (!s->index || !s->sources || !s->inputs || !s->true_labels) {
        caps_sample_release(s);
        return gallery_out_of_memory(err);
    }
    for (size_t i = 0; i < n; i++) {
        s->index[i] = g->index_count ? (size_t)g->index[i] : index[i];
        caps_dataset_draw(&g->data, s->index[i], CAPS_AUGMENT_NONE, 0, 0,
            s->inputs + i * g->info->pixels, s->true_labels + i * g->info->labels, NULL);
        /* The split stands in the heading: in a small cell its name would leave no room. */
        const char *file = caps_dataset_file(&g->data, s->index[i]);
        const char *slash = file ? strrchr(file, '/') : NULL;
        snprintf(s->sources[i], sizeof s->sources[i], "#%zu%s%s", s->index[i], slash ? " " : "",
            slash ? slash + 1 : "");
    }
    return CAPS_OK;
}

/* What is shown: pixels of 0 to 1 also where the network was given standardised ones. */
static void sample_show(caps_sample *s, const caps_gallery *g)
{
    caps_dataset plain = g->data;
    plain.standardised = false;
    for (size_t i = 0; g->data.standardised && i < s->n; i++)
        caps_dataset_image(
            &plain, s->index[i], CAPS_AUGMENT_NONE, 0, 0, s->inputs + i * g->info->pixels);
}

caps_status caps_sample_take(
    caps_sample *s, caps_gallery *g, const size_t *index, size_t n, unsigned what, caps_error *err)
{
    caps_status status = sample_init(s, g, index, g->index_count ? g->index_count : n, err);
    if (status == CAPS_OK)
        status = caps_predict(g->model, s->inputs, s->n, what, NULL, &s->predictions, err);
    if (status == CAPS_OK)
        sample_show(s, g);
    return status;
}

void caps_sample_release(caps_sample *s)
{
    free(s->index);
    free(s->sources);
    free(s->inputs);
    free(s->true_labels);
    caps_predictions_release(&s->predictions);
    *s = (caps_sample){0};
}

void caps_sample_mask(const caps_sample *s, size_t image, size_t j, float *to)
{
    const size_t classes = s->predictions.classes, dim = s->predictions.dim;
    memset(to, 0, classes * dim * sizeof *to);
    memcpy(to + j * dim, s->predictions.capsules + (image * classes + j) * dim, dim * sizeof *to);
}

static bool on_decoding(void *user, size_t done, size_t total)
{
    report_progress(user, CAPS_GALLERY_DECODING, done, total);
    return false;
}

caps_status caps_gallery_decode(
    caps_gallery *g, const float *capsules, size_t n, float *images, caps_error *err)
{
    return caps_decode(
        g->model, capsules, NULL, n, images, &(caps_inspect_progress){on_decoding, g}, err);
}
