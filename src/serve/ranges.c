/* ranges.c: where the values of a class's capsule lie in the data. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "explorer.h"
#include "fail.h"

enum { MOST_IMAGES = 1000 };

#define LOW  0.02
#define HIGH 0.98

/* The first images of a class in a data set, at most MOST_IMAGES. */
static size_t take_images(
    float *images, const caps_dataset *ds, size_t class, size_t labels, size_t pixels)
{
    size_t n = 0;
    for (size_t i = 0; i < ds->n && n < MOST_IMAGES; i++) {
        int32_t its[CAPS_MAX_LABELS] = {-1, -1};
        if (labels == 1 && ds->labels[i] != class)
            continue;
        caps_dataset_draw(ds, i, CAPS_AUGMENT_NONE, 0, 0, images + n * pixels, its, NULL);
        for (size_t t = 0; t < labels; t++)
            if (its[t] == (int32_t) class) {
                n++;
                break;
            }
    }
    return n;
}

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Of sorted values, linear between them. */
static float quantile(const float *sorted, size_t n, double q)
{
    const double at = q * (double)(n - 1);
    const size_t i = (size_t)at;
    const double part = at - (double)i;
    return (float)((1 - part) * (double)sorted[i] + part * (double)sorted[i + (i + 1 < n)]);
}

/* low, high, mean [D] of capsules [n, J, D]; sorted: room for n. */
static void measure(
    float *low, float *high, float *mean, const caps_predictions *p, size_t class, float *sorted)
{
    for (size_t d = 0; d < p->dim; d++) {
        double sum = 0;
        for (size_t i = 0; i < p->n; i++) {
            sorted[i] = p->capsules[(i * p->classes + class) * p->dim + d];
            sum += (double)sorted[i];
        }
        qsort(sorted, p->n, sizeof *sorted, compare);
        low[d] = quantile(sorted, p->n, LOW);
        high[d] = quantile(sorted, p->n, HIGH);
        mean[d] = (float)(sum / (double)p->n);
    }
}

static caps_status compute_ranges(caps_textbuf *out, const caps_explorer *e, const caps_explored *m,
    size_t class, const caps_inspect_progress *between, caps_error *err)
{
    const caps_serve_options *o = e->options;
    const size_t pixels = m->info->pixels, dim = m->info->dim, labels = m->info->labels;
    caps_predictions p = {0};
    caps_status status = CAPS_OK;
    size_t n = 0;
    float *images = malloc((size_t)MOST_IMAGES * pixels * sizeof *images);
    float *sorted = malloc((MOST_IMAGES + 3 * dim) * sizeof *sorted);
    if (!images || !sorted)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %d images", MOST_IMAGES));
    float *low = sorted + MOST_IMAGES, *high = low + dim, *mean = high + dim;
    if (o->test)
        n = take_images(images, o->test, class, labels, pixels);
    if (n == 0 && o->train)
        n = take_images(images, o->train, class, labels, pixels);
    if (n == 0)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_NOT_FOUND, "class: the data have no image of class %zu", class));
    CAPS_TRY(caps_predict(m->many, images, n, CAPS_PREDICT_CAPSULES, between, &p, err));
    measure(low, high, mean, &p, class, sorted);
    caps_textbuf_put(out, "{\"class\":%zu,\"n\":%zu,\"low\":", class, n);
    caps_put_numbers(out, low, dim);
    caps_put(out, ",\"high\":");
    caps_put_numbers(out, high, dim);
    caps_put(out, ",\"mean\":");
    caps_put_numbers(out, mean, dim);
    caps_put(out, "}");
done:
    caps_predictions_release(&p);
    free(images);
    free(sorted);
    return status;
}

caps_status caps_explorer_ranges(caps_explorer *e, caps_textbuf *out, size_t model, size_t class,
    const caps_inspect_progress *between, caps_error *err)
{
    caps_explored *m = &e->models[model];
    caps_status status = CAPS_OK;
    if (!e->options->test && !e->options->train)
        return caps_fail(err, CAPS_ERR_NOT_FOUND, "there are no data, need --data at the start");
    if (!m->info->dim)
        return caps_fail(err, CAPS_ERR_NOT_FOUND, "model %zu has no capsules", model);
    if (!m->ranges[class]) {
        caps_textbuf text = {0};
        status = compute_ranges(&text, e, m, class, between, err);
        if (status == CAPS_OK && text.out_of_memory)
            status = caps_fail(err, CAPS_ERR_MEMORY, "out of memory for an answer");
        if (status == CAPS_OK)
            m->ranges[class] = text.text;
        else
            caps_textbuf_release(&text);
    }
    if (status == CAPS_OK)
        caps_put(out, m->ranges[class]);
    return status;
}
