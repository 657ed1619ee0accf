/* results.c: every image's result of an evaluation, and which of them are worth a look. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/inspect.h>

#include "fail.h"

caps_status caps_image_results_init(
    caps_image_results *r, size_t n, const caps_model_spec *spec, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(spec);
    *r = (caps_image_results){.n = n, .labels_per_image = info->labels, .classes = info->classes};
    r->labels = calloc(n * info->labels + 1, sizeof *r->labels);
    r->true_labels = calloc(n * info->labels + 1, sizeof *r->true_labels);
    r->lengths = calloc(n * info->classes + 1, sizeof *r->lengths);
    if (r->labels && r->true_labels && r->lengths)
        return CAPS_OK;
    caps_image_results_release(r);
    return caps_fail(err, CAPS_ERR_MEMORY, "evaluate: out of memory for %zu images", n);
}

void caps_image_results_set(caps_image_results *r, const caps_evaluated *image)
{
    const size_t labels = r->labels_per_image, at = image->index * labels;
    memcpy(r->labels + at, image->label, labels * sizeof *r->labels);
    memcpy(r->true_labels + at, image->true_label, labels * sizeof *r->true_labels);
    memcpy(r->lengths + image->index * r->classes, image->lengths, r->classes * sizeof *r->lengths);
}

void caps_image_results_release(caps_image_results *r)
{
    free(r->labels);
    free(r->true_labels);
    free(r->lengths);
    *r = (caps_image_results){0};
}

bool caps_image_results_is_right(const caps_image_results *r, size_t i)
{
    /* What was found stands where the true label does: see caps_evaluated. */
    const size_t labels = r->labels_per_image;
    return memcmp(r->labels + i * labels, r->true_labels + i * labels,
               labels * sizeof *r->labels) == 0;
}

float caps_image_results_sureness(const caps_image_results *r, size_t i)
{
    float least = INFINITY;
    for (size_t t = 0; t < r->labels_per_image; t++) {
        const size_t class = (size_t)r->true_labels[i * r->labels_per_image + t];
        least = fminf(least, r->lengths[i * r->classes + class]);
    }
    return least;
}

float caps_image_results_mistake(const caps_image_results *r, size_t i)
{
    const float *lengths = r->lengths + i * r->classes;
    const int32_t *labels = r->labels + i * r->labels_per_image;
    const int32_t *truth = r->true_labels + i * r->labels_per_image;
    float longest = -1, shortest = 2; /* lengths are 0 to 1 */
    for (size_t t = 0; t < r->labels_per_image; t++) {
        if (labels[t] == truth[t])
            continue;
        longest = fmaxf(longest, lengths[labels[t]]);
        shortest = fminf(shortest, lengths[truth[t]]);
    }
    return longest < 0 ? 0 : longest - shortest;
}

size_t caps_image_results_worst(const caps_image_results *r, size_t *index, size_t most)
{
    size_t count = 0;
    for (size_t i = 0; i < r->n && most > 0; i++) {
        if (caps_image_results_is_right(r, i))
            continue;
        const float mistake = caps_image_results_mistake(r, i);
        if (count == most && !(mistake > caps_image_results_mistake(r, index[most - 1])))
            continue;
        size_t at = count < most ? count++ : most - 1;
        for (; at > 0 && mistake > caps_image_results_mistake(r, index[at - 1]); at--)
            index[at] = index[at - 1];
        index[at] = i;
    }
    return count;
}

bool caps_image_results_best(const caps_image_results *r, size_t j, size_t *index)
{
    bool found = false;
    float longest = 0;
    for (size_t i = 0; i < r->n; i++) {
        const size_t at = i * r->labels_per_image;
        const float length = r->lengths[i * r->classes + j];
        if ((size_t)r->true_labels[at] != j || (size_t)r->labels[at] != j ||
            (found && !(length > longest)))
            continue;
        found = true;
        longest = length;
        *index = i;
    }
    return found;
}
