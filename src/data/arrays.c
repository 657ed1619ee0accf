/* arrays.c: data sets from arrays in memory. */
#include <capscl/dataset.h>

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "formats.h"
#include "pairs.h"

static size_t greatest(const uint8_t *labels, size_t n)
{
    size_t most = 0;
    for (size_t i = 0; i < n; i++)
        most = labels[i] > most ? labels[i] : most;
    return most;
}

caps_status caps_dataset_from_arrays(caps_dataset *ds, const caps_arrays *arrays, caps_error *err)
{
    const caps_arrays *a = arrays;
    const size_t bytes = a->channels * a->height * a->width;
    caps_status status = CAPS_OK;
    memset(ds, 0, sizeof *ds);
    if (a->n == 0 || !a->images || !a->labels || (int)a->split < 0 ||
        a->split > CAPS_SPLIT_VALIDATION)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "arrays: %zu images, split %d, need at least one image, labels and a split of 0 to 2",
            a->n, (int)a->split);
    if (a->channels - 1 >= UINT16_MAX || a->height - 1 >= UINT16_MAX || a->width - 1 >= UINT16_MAX)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "arrays: images of %zux%zux%zu, need 1 to %d",
            a->channels, a->height, a->width, UINT16_MAX);
    if (a->n > SIZE_MAX / bytes)
        return caps_fail(err, CAPS_ERR_MEMORY, "arrays: out of memory for %zu images", a->n);
    ds->path = strdup(a->name ? a->name : "arrays");
    ds->images = malloc(a->n * bytes);
    ds->labels = malloc(a->n);
    if (!ds->path || !ds->images || !ds->labels)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "arrays: out of memory for %zu images", a->n));
    memcpy(ds->images, a->images, a->n * bytes);
    memcpy(ds->labels, a->labels, a->n);
    ds->split = a->split;
    ds->n = a->n;
    ds->channels = a->channels;
    ds->height = a->height;
    ds->width = a->width;
    ds->classes = greatest(a->labels, a->n) + 1;
    ds->labels_per_image = 1;
    ds->augment = (caps_augment_options)CAPS_AUGMENT_DEFAULTS;
done:
    if (status != CAPS_OK)
        caps_dataset_release(ds);
    return status;
}

caps_status caps_dataset_copy(
    caps_dataset *to, const caps_dataset *from, size_t limit, caps_error *err)
{
    caps_status status;
    if (from->pairs || from->files || from->standardised)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "%s: pairs, pictures in files and standardised images cannot be trained on from memory",
            from->path);
    const caps_arrays a = {.name = from->path,
        .split = from->split,
        .n = limit && limit < from->n ? limit : from->n,
        .channels = from->channels,
        .height = from->height,
        .width = from->width,
        .images = from->images,
        .labels = from->labels};
    CAPS_TRY(caps_dataset_from_arrays(to, &a, err));
    to->classes = from->classes;
    if (!from->class_names)
        return CAPS_OK;
    to->class_names = caps_class_names_copy((const char *const *)from->class_names, from->classes);
    if (!to->class_names)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", from->path));
done:
    if (status != CAPS_OK)
        caps_dataset_release(to);
    return status;
}
