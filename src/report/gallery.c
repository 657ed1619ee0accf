/* show.c: see show.h. */
#include "show.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "progress.h"
#include "statistics.h"

static bool has_capsules(const caps_model_spec *spec)
{
    return strcmp(spec->kind, "cnn") != 0;
}

/* ---- opening -------------------------------------------------------------------------------- */

static caps_status out_of_memory(caps_error *err)
{
    return caps_fail(err, CAPS_ERR_MEMORY, "show: out of memory");
}

caps_status caps_show_open_model(caps_show *s, caps_runtime *rt, const char *path, bool reconstruct,
    const char *conv, size_t batch, bool smaller_batch, caps_error *err)
{
    const caps_model_options options = {
        .max_batch = batch, .reconstruct = reconstruct, .conv = conv};
    s->rt = rt;
    s->batch = batch;
    s->model_name = path;
    caps_status status =
        caps_cli_model_load(&s->model, rt, path, &options, smaller_batch ? &s->batch : NULL, err);
    if (status != CAPS_OK)
        return status;
    s->spec = caps_model_get_spec(s->model);
    s->sizes = caps_model_get_sizes(s->model);
    const size_t j = s->spec->classes;
    s->label_text = calloc(j, sizeof *s->label_text);
    s->names = calloc(j, sizeof *s->names);
    if (!s->label_text || !s->names)
        return out_of_memory(err);
    for (size_t i = 0; i < j; i++)
        s->names[i] = caps_class_name(s->spec, i, s->label_text[i]);
    return CAPS_OK;
}

caps_status caps_show_open_data(
    caps_show *s, const char *data, int split, size_t limit, caps_error *err)
{
    s->data_name = data;
    s->split_name = caps_cli_splits[split];
    return caps_cli_data_open(&s->data, data, split, s->model_name, limit, s->spec, err);
}

static void on_image(void *user, const caps_evaluated *image)
{
    caps_show *s = user;
    const size_t index = image->index, l = s->spec->labels, j = s->spec->classes;
    for (size_t t = 0; t < l; t++) {
        s->labels[index * l + t] = image->label[t];
        s->true_labels[index * l + t] = image->true_label[t];
    }
    memcpy(s->lengths + index * j, image->lengths, j * sizeof *s->lengths);
    if (caps_progress_due()) {
        char bar[32];
        const double fraction = (double)(index + 1) / (double)s->data.n;
        caps_progress_show(
            "classifying %s %3.0f %%", caps_progress_bar(bar, fraction), 100 * fraction);
    }
}

caps_status caps_show_evaluate(caps_show *s, caps_error *err)
{
    const size_t n = s->data.n;
    s->labels = calloc(n * s->spec->labels, sizeof *s->labels);
    s->true_labels = calloc(n * s->spec->labels, sizeof *s->true_labels);
    s->lengths = calloc(n * s->spec->classes, sizeof *s->lengths);
    if (!s->labels || !s->true_labels || !s->lengths)
        return out_of_memory(err);
    caps_status status = caps_evaluate(s->model, &s->data, &s->evaluation, on_image, s, err);
    caps_progress_clear();
    s->evaluated = status == CAPS_OK;
    return status;
}

caps_status caps_show_check(const caps_show *s, const caps_show_kind *kind, caps_error *err)
{
    if (kind->needs & CAPS_SHOW_CAPSULES && !has_capsules(s->spec))
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: the model is a CNN and has no capsules, need them for %s", s->model_name,
            kind->name);
    if (kind->needs & CAPS_SHOW_DECODER && !s->spec->has_decoder)
        return caps_fail(err, CAPS_ERR_MISMATCH, "%s: the model has no decoder, need one for %s",
            s->model_name, kind->name);
    if (kind->needs & CAPS_SHOW_ONE && s->spec->labels > 1)
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: the model takes pairs of images, need one of single images for %s (see overlap "
            "and couplings)",
            s->model_name, kind->name);
    if (kind->needs & CAPS_SHOW_PAIRS && s->spec->labels != 2)
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: the model takes single images, need one of pairs for %s (--arch multimnist)",
            s->model_name, kind->name);
    return CAPS_OK;
}

void caps_show_release(caps_show *s)
{
    caps_dataset_release(&s->data);
    caps_evaluation_release(&s->evaluation);
    caps_model_free(s->model);
    free(s->labels);
    free(s->true_labels);
    free(s->lengths);
    free(s->label_text);
    free(s->names);
    *s = (caps_show){0};
}

/* ---- some images ---------------------------------------------------------------------------- */

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

caps_picture_of caps_show_of(const caps_show *s, char *text)
{
    int length = 0;
    const char *data = s->data_name ? last_name(s->data_name, &length) : "";
    char *result = text + 512;
    const bool pairs = s->spec->labels > 1;
    if (s->data.n)
        snprintf(text, 512, "model %.200s; data %.*s, %s split, %zu %s%s", s->model_name,
            length < 200 ? length : 200, data, s->split_name, s->data.n, pairs ? "pair" : "image",
            s->data.n == 1 ? "" : "s");
    else
        snprintf(text, 512, "model %.200s", s->model_name);
    if (s->evaluated) {
        double low, high;
        caps_wilson(s->evaluation.errors, s->evaluation.n, CAPS_Z95, &low, &high);
        const int used =
            snprintf(result, 512, "error %.2f%% (95%% interval %.2f to %.2f%%): %zu of %zu %swrong",
                s->evaluation.error_percent, 100 * low, 100 * high, s->evaluation.errors,
                s->evaluation.n, pairs ? "pairs " : "");
        if (pairs)
            snprintf(result + used, 512 - (size_t)used, "; of single digits %.2f%% (%zu of %zu)",
                s->evaluation.label_error_percent, s->evaluation.label_errors,
                s->evaluation.n * s->evaluation.labels);
    }
    return (caps_picture_of){.source = text,
        .result = s->evaluated ? result : NULL,
        .names = s->names,
        .classes = s->spec->classes,
        .labels = s->spec->labels,
        .channels = s->spec->input[0],
        .height = s->spec->input[1],
        .width = s->spec->input[2],
        .scale = s->scale};
}

caps_status caps_seen_init(caps_seen_set *set, const caps_show *s, size_t n, caps_error *err)
{
    const size_t j = s->spec->classes;
    *set = (caps_seen_set){.n = n};
    if (n == 0)
        return CAPS_OK;
    set->index = calloc(n, sizeof *set->index);
    set->sources = calloc(n, sizeof *set->sources);
    set->inputs = calloc(n * s->sizes->pixels, sizeof *set->inputs);
    set->labels = calloc(n * s->spec->labels, sizeof *set->labels);
    set->true_labels = calloc(n * s->spec->labels, sizeof *set->true_labels);
    set->lengths = calloc(n * j, sizeof *set->lengths);
    set->capsules = calloc(n * j * s->spec->class_caps.dim, sizeof *set->capsules);
    if (set->index && set->sources && set->inputs && set->labels && set->true_labels &&
        set->lengths && set->capsules)
        return CAPS_OK;
    caps_seen_release(set);
    return out_of_memory(err);
}

void caps_seen_release(caps_seen_set *set)
{
    free(set->index);
    free(set->sources);
    free(set->inputs);
    free(set->labels);
    free(set->true_labels);
    free(set->lengths);
    free(set->capsules);
    *set = (caps_seen_set){0};
}

/* The device has [r, b, I, J]; an image's own are [r, I, J]. */
static caps_status take_couplings(caps_show *s, const caps_tensor *all, float *out, caps_error *err)
{
    const size_t r = all->shape[0], b = all->shape[1], each = all->shape[2] * all->shape[3];
    float *host = malloc(r * b * each * sizeof *host);
    if (!host)
        return out_of_memory(err);
    caps_status status = caps_tensor_download(s->rt, all, host, err);
    for (size_t i = 0; status == CAPS_OK && i < b; i++)
        for (size_t t = 0; t < r; t++)
            memcpy(out + (i * r + t) * each, host + (t * b + i) * each, each * sizeof *host);
    free(host);
    return status;
}

/* Lengths of the primary capsules u [b, I, K]. */
static caps_status take_primary(caps_show *s, const caps_tensor *u, float *out, caps_error *err)
{
    const size_t rows = u->shape[0] * u->shape[1], k = u->shape[2];
    float *host = malloc(rows * k * sizeof *host);
    if (!host)
        return out_of_memory(err);
    caps_status status = caps_tensor_download(s->rt, u, host, err);
    for (size_t row = 0; status == CAPS_OK && row < rows; row++) {
        double sum = 0;
        for (size_t e = row * k; e < (row + 1) * k; e++)
            sum += (double)host[e] * (double)host[e];
        out[row] = (float)sqrt(sum);
    }
    free(host);
    return status;
}

caps_status caps_seen_compute(
    caps_seen_set *set, caps_show *s, const caps_inside *inside, caps_error *err)
{
    const size_t pixels = s->sizes->pixels, j = s->spec->classes, dim = s->spec->class_caps.dim;
    const size_t links = s->spec->class_caps.iterations * s->sizes->i * j;
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < set->n; i++) {
        caps_dataset_draw(&s->data, set->index[i], CAPS_AUGMENT_NONE, 0, 0,
            set->inputs + i * pixels, set->true_labels + i * s->spec->labels, NULL);
        /* The split stands in the heading: in a small cell its name would leave no room. */
        snprintf(set->sources[i], sizeof set->sources[i], "#%zu", set->index[i]);
    }
    for (size_t first = 0; first < set->n; first += s->batch) {
        const size_t n = set->n - first < s->batch ? set->n - first : s->batch;
        CAPS_TRY(caps_model_set_batch(s->model, n, set->inputs + first * pixels, NULL, err));
        CAPS_TRY(caps_model_forward(s->model, CAPS_MASK_LONGEST, err));
        const caps_model_outputs out = caps_model_get_outputs(s->model);
        CAPS_TRY(
            caps_tensor_download(s->rt, &out.best, set->labels + first * s->spec->labels, err));
        CAPS_TRY(caps_tensor_download(s->rt, &out.lengths, set->lengths + first * j, err));
        CAPS_TRY(caps_tensor_download(s->rt, &out.capsules, set->capsules + first * j * dim, err));
        if (!inside)
            continue;
        CAPS_TRY(take_couplings(s, &out.all_couplings, inside->couplings + first * links, err));
        CAPS_TRY(take_primary(s, &out.primary, inside->primary + first * s->sizes->i, err));
    }
done:
    return status;
}

caps_status caps_show_decode(
    caps_show *s, const float *capsules, size_t n, float *images, caps_error *err)
{
    const size_t row = s->spec->classes * s->spec->class_caps.dim;
    caps_status status = CAPS_OK;
    for (size_t first = 0; first < n; first += s->batch) {
        const size_t b = n - first < s->batch ? n - first : s->batch;
        CAPS_TRY(caps_model_decode(s->model, capsules + first * row, b, err));
        const caps_model_outputs out = caps_model_get_outputs(s->model);
        CAPS_TRY(caps_tensor_download(
            s->rt, &out.reconstruction, images + first * s->sizes->pixels, err));
        if (caps_progress_due())
            caps_progress_show("drawing %zu of %zu", first + b, n);
    }
done:
    caps_progress_clear();
    return status;
}

/* ---- which images --------------------------------------------------------------------------- */

bool caps_show_is_right(const caps_show *s, size_t i)
{
    /* What was found stands where the true label does: see caps_evaluated. */
    const size_t l = s->spec->labels;
    for (size_t t = 0; t < l; t++)
        if (s->labels[i * l + t] != s->true_labels[i * l + t])
            return false;
    return true;
}

float caps_show_mistake(const caps_show *s, size_t i)
{
    const size_t l = s->spec->labels;
    const float *lengths = s->lengths + i * s->spec->classes;
    const int *labels = s->labels + i * l, *truth = s->true_labels + i * l;
    float longest = -1, shortest = 2; /* lengths are 0 to 1 */
    for (size_t t = 0; t < l; t++) {
        if (labels[t] == truth[t])
            continue;
        longest = fmaxf(longest, lengths[labels[t]]);
        shortest = fminf(shortest, lengths[truth[t]]);
    }
    return longest < 0 ? 0 : longest - shortest;
}

size_t caps_show_worst(const caps_show *s, size_t *index, size_t most)
{
    size_t count = 0;
    for (size_t i = 0; i < s->data.n && most > 0; i++) {
        if (caps_show_is_right(s, i))
            continue;
        if (count == most && !(caps_show_mistake(s, i) > caps_show_mistake(s, index[most - 1])))
            continue;
        size_t at = count < most ? count++ : most - 1;
        for (; at > 0 && caps_show_mistake(s, i) > caps_show_mistake(s, index[at - 1]); at--)
            index[at] = index[at - 1];
        index[at] = i;
    }
    return count;
}

bool caps_show_best(const caps_show *s, size_t j, size_t *index)
{
    bool found = false;
    float longest = 0;
    for (size_t i = 0; i < s->data.n; i++) {
        const float length = s->lengths[i * s->spec->classes + j];
        if ((size_t)s->true_labels[i] != j || (size_t)s->labels[i] != j ||
            (found && !(length > longest)))
            continue;
        found = true;
        longest = length;
        *index = i;
    }
    return found;
}

/* ---- kinds ---------------------------------------------------------------------------------- */

static caps_status draw_filters(caps_show *s, caps_drawing *d, caps_error *err)
{
    char text[1024];
    const caps_picture_of of = caps_show_of(s, text);
    const caps_parameter *p = NULL;
    for (size_t i = 0; i < caps_model_parameter_count(s->model) && !p; i++)
        if (strcmp(caps_model_parameter(s->model, i)->name, "conv1.weight") == 0)
            p = caps_model_parameter(s->model, i);
    if (!p)
        return caps_fail(
            err, CAPS_ERR_MISMATCH, "%s: the model has no conv1.weight, need one", s->model_name);
    float *weights = malloc(p->count * sizeof *weights);
    if (!weights)
        return out_of_memory(err);
    caps_status status = caps_tensor_download(s->rt, &p->value, weights, err);
    if (status == CAPS_OK)
        status = caps_picture_filters(
            d, &of, "conv1", weights, p->shape[0], p->shape[1], p->shape[2], err);
    free(weights);
    return status;
}

static caps_status draw_lengths(caps_show *s, caps_drawing *d, caps_error *err)
{
    char text[1024];
    const caps_picture_of of = caps_show_of(s, text);
    const caps_margin *margin = &caps_model_get_loss(s->model)->margin;
    const double margins[] = {(double)margin->negative, (double)margin->positive};
    return caps_picture_lengths(d, &of, s->lengths, s->true_labels, s->data.n, s->spec->labels,
        has_capsules(s->spec) ? margins : NULL, err);
}

static caps_status draw_confusion(caps_show *s, caps_drawing *d, caps_error *err)
{
    char text[1024];
    const caps_picture_of of = caps_show_of(s, text);
    return caps_picture_confusion(d, &of, s->evaluation.confusion, err);
}

enum { ALL = CAPS_SHOW_DATA | CAPS_SHOW_EVALUATION };

static const caps_show_kind kinds[] = {
    {"reconstruct", "images beside what the decoder makes of them: right ones, worst mistakes",
        ALL | CAPS_SHOW_ONE | CAPS_SHOW_CAPSULES | CAPS_SHOW_DECODER | CAPS_SHOW_INDEX,
        caps_show_reconstruct},
    {"perturb", "what each dimension of a class capsule means, by changing it",
        ALL | CAPS_SHOW_ONE | CAPS_SHOW_CAPSULES | CAPS_SHOW_DECODER | CAPS_SHOW_INDEX,
        caps_show_perturb},
    {"couplings", "which primary capsules vote for which class, at each iteration",
        ALL | CAPS_SHOW_CAPSULES | CAPS_SHOW_INDEX, caps_show_couplings},
    {"filters", "the weights of the first convolution (needs no data)", 0, draw_filters},
    {"lengths", "how long each class's capsule is, in its own images and in others", ALL,
        draw_lengths},
    {"confusion", "true classes against predicted ones", ALL, draw_confusion},
    {"overlap", "overlapping digits taken apart: right, wrong, and digits that are not there",
        ALL | CAPS_SHOW_CAPSULES | CAPS_SHOW_DECODER | CAPS_SHOW_PAIRS | CAPS_SHOW_INDEX,
        caps_show_overlap},
};

const caps_show_kind *caps_show_kind_at(size_t i)
{
    return i < sizeof kinds / sizeof kinds[0] ? &kinds[i] : NULL;
}

const char *caps_show_kind_name(size_t i, const void *context)
{
    (void)context;
    return i < sizeof kinds / sizeof kinds[0] ? kinds[i].name : NULL;
}

const caps_show_kind *caps_show_kind_find(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}
