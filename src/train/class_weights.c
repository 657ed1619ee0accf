/* class_weights.c: see class_weights.h. */
#include "class_weights.h"

#include <errno.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

static bool is_balanced(const char *text)
{
    return strcmp(text, "balanced") == 0;
}

/* "w0,w1,...": as many as there are classes. weights NULL: only checked. */
static caps_status class_weights_read(
    float *weights, const char *text, size_t classes, caps_error *err)
{
    size_t n = 0;
    double sum = 0;
    for (const char *at = text;; at++, n++) {
        char *end;
        errno = 0;
        const double x = strtod(at, &end);
        const bool plain = *at && strchr("0123456789.", *at);
        if (!plain || end == at || (*end && *end != ',') || !(x >= 0 && x <= (double)FLT_MAX))
            return caps_fail(err, CAPS_ERR_ARGUMENT,
                "'%.*s' is no number from 0 on, need balanced, none or a number for "
                "each of the %zu classes: 1,2.5,...",
                (int)(strcspn(at, ",") < 32 ? strcspn(at, ",") : 32), at, classes);
        if (weights && n < classes)
            weights[n] = (float)x;
        sum += x;
        at = end;
        if (!*at)
            break;
    }
    if (++n != classes)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "%zu number%s, need one for each of the %zu classes", n, n == 1 ? "" : "s", classes);
    if (!(sum > 0))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "all are 0, need one above it");
    return CAPS_OK;
}

caps_status caps_class_weights_check(const char *text, size_t classes, caps_error *err)
{
    return !*text || is_balanced(text) ? CAPS_OK : class_weights_read(NULL, text, classes, err);
}

caps_status caps_class_images_count(
    uint64_t **images, const caps_dataset *ds, size_t classes, caps_error *err)
{
    *images = calloc(classes, sizeof **images);
    if (!*images)
        return caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for %zu classes", classes);
    for (size_t i = 0; i < ds->n; i++)
        if (ds->labels[i] < classes)
            (*images)[ds->labels[i]]++;
    return CAPS_OK;
}

bool caps_class_images_uneven(const uint64_t *images, size_t classes)
{
    uint64_t least = UINT64_MAX, most = 0;
    for (size_t c = 0; c < classes; c++) {
        if (images[c] == 0)
            continue;
        least = images[c] < least ? images[c] : least;
        most = images[c] > most ? images[c] : most;
    }
    return most > 0 && most / 2 >= least;
}

caps_status caps_class_weights_make(
    float **weights, const char *text, const uint64_t *images, size_t classes, caps_error *err)
{
    uint64_t n = 0, present = 0;
    *weights = NULL;
    if (!*text)
        return CAPS_OK;
    *weights = malloc(classes * sizeof **weights);
    if (!*weights)
        return caps_fail(err, CAPS_ERR_MEMORY, "train: out of memory for %zu classes", classes);
    if (!is_balanced(text))
        return class_weights_read(*weights, text, classes, err);
    for (size_t c = 0; c < classes; c++) {
        n += images[c];
        present += images[c] > 0;
    }
    for (size_t c = 0; c < classes; c++)
        (*weights)[c] =
            images[c] > 0 ? (float)((double)n / ((double)present * (double)images[c])) : 1;
    return CAPS_OK;
}
