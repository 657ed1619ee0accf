/* ensemble.c: several models that answer with the mean of their lengths. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/inspect.h>

#include "fail.h"

struct caps_ensemble {
    size_t n, classes, labels;
    size_t added;   /* images, over all models */
    double *sums;   /* [n, J]: of the models' lengths */
    int32_t *truth; /* [n, L] */
};

caps_status caps_ensemble_create(
    caps_ensemble **out, size_t n, const caps_model_spec *spec, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(spec);
    caps_ensemble *e = calloc(1, sizeof *e);
    if (e) {
        e->n = n;
        e->classes = info->classes;
        e->labels = info->labels;
        e->sums = calloc(n * e->classes + 1, sizeof *e->sums);
        e->truth = calloc(n * e->labels + 1, sizeof *e->truth);
    }
    *out = e;
    if (e && e->sums && e->truth)
        return CAPS_OK;
    caps_ensemble_free(e);
    *out = NULL;
    return caps_fail(err, CAPS_ERR_MEMORY, "ensemble: out of memory for %zu images", n);
}

void caps_ensemble_free(caps_ensemble *e)
{
    if (!e)
        return;
    free(e->sums);
    free(e->truth);
    free(e);
}

void caps_ensemble_add(caps_ensemble *e, const caps_evaluated *image)
{
    for (size_t j = 0; j < e->classes; j++)
        e->sums[image->index * e->classes + j] += (double)image->lengths[j];
    memcpy(e->truth + image->index * e->labels, image->true_label, e->labels * sizeof *e->truth);
    e->added++;
}

/* The L largest sums of an image, largest first. */
static void find_labels(const caps_ensemble *e, size_t i, int32_t *label)
{
    const double *sums = e->sums + i * e->classes;
    for (size_t t = 0; t < e->labels; t++) {
        label[t] = -1;
        for (size_t j = 0; j < e->classes; j++) {
            bool taken = false;
            for (size_t k = 0; k < t; k++)
                taken = taken || label[k] == (int32_t)j;
            if (!taken && (label[t] < 0 || sums[j] > sums[label[t]]))
                label[t] = (int32_t)j;
        }
    }
}

/* lengths [J]: where the means go. */
static void count_image(const caps_ensemble *e, size_t i, caps_evaluate_each *each, void *user,
    float *lengths, caps_evaluation *result)
{
    const int32_t *truth = e->truth + i * e->labels;
    const double models = (double)(e->added / e->n);
    int32_t label[CAPS_MAX_LABELS];
    find_labels(e, i, label);
    const size_t wrong = caps_labels_match(label, truth, e->labels);
    result->errors += wrong > 0;
    result->label_errors += wrong;
    for (size_t t = 0; t < e->labels; t++)
        result->confusion[(size_t)truth[t] * e->classes + (size_t)label[t]]++;
    for (size_t j = 0; j < e->classes; j++)
        lengths[j] = (float)(e->sums[i * e->classes + j] / models);
    if (each)
        each(user, &(caps_evaluated){i, label, truth, wrong == 0, lengths, NAN});
}

caps_status caps_ensemble_evaluate(const caps_ensemble *e, caps_evaluate_each *each, void *user,
    caps_evaluation *result, caps_error *err)
{
    *result = (caps_evaluation){.n = e->n,
        .classes = e->classes,
        .labels = e->labels,
        .class_loss = NAN,
        .reconstruction_sse = NAN,
        .seconds = NAN};
    if (e->added == 0 || e->added % e->n != 0)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "ensemble: %zu results of %zu images, need one of every image and model", e->added,
            e->n);
    result->confusion = calloc(e->classes * e->classes, sizeof *result->confusion);
    float *lengths = malloc(e->classes * sizeof *lengths);
    if (!result->confusion || !lengths) {
        free(lengths);
        caps_evaluation_release(result);
        return caps_fail(err, CAPS_ERR_MEMORY, "ensemble: out of memory");
    }
    for (size_t i = 0; i < e->n; i++)
        count_image(e, i, each, user, lengths, result);
    result->error_percent = 100 * (double)result->errors / (double)e->n;
    result->label_error_percent = 100 * (double)result->label_errors / (double)(e->n * e->labels);
    free(lengths);
    return CAPS_OK;
}
