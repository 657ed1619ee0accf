/* idx_set.c: data sets of IDX files: MNIST and those that were made in its likeness. */
#include "formats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "idx.h"

/* ---- files ---------------------------------------------------------------------------------- */

/* EMNIST calls the test files "test", the others "t10k". */
static const char *idx_set_name_of(const char *prefix, caps_split split)
{
    return split == CAPS_SPLIT_TRAIN ? "train" : *prefix ? "test" : "t10k";
}

caps_status caps_idx_set_pick(char **path, const char *directory, const char *prefix,
    caps_split split, const char *file, caps_error *err)
{
    for (int gz = 0; gz < 2; gz++) {
        *path = caps_format("%s%s%s%s-%s-ubyte%s", directory,
            directory[strlen(directory) - 1] == '/' ? "" : "/", prefix,
            idx_set_name_of(prefix, split), file, gz ? ".gz" : "");
        if (!*path)
            return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", directory);
        if (caps_path_exists(*path))
            return CAPS_OK;
        free(*path);
    }
    *path = NULL;
    return CAPS_OK;
}

/* ---- names of classes ----------------------------------------------------------------------- */

static const char *const characters[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "A", "B",
    "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S", "T", "U",
    "V", "W", "X", "Y", "Z", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n",
    "o", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z"};
/* EMNIST puts small letters that look like their capitals together with them. */
static const char *const merged[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "A", "B",
    "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S", "T", "U",
    "V", "W", "X", "Y", "Z", "a", "b", "d", "e", "f", "g", "h", "n", "q", "r", "t"};
static const char *const clothes[] = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"};
static const char *const hiragana[] = {"o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"};

/* Sets known by the last part of their path, or by the prefix of their files. */
static const struct known_set {
    const char *name;
    const char *const *classes;
    size_t count;
    unsigned first_label;
} known_sets[] = {
    {"fashion-mnist", clothes, 10, 0},
    {"kmnist", hiragana, 10, 0},
    {"emnist-letters", characters + 10, 26, 1},
    {"emnist-balanced", merged, 47, 0},
    {"emnist-bymerge", merged, 47, 0},
    {"emnist-byclass", characters, 62, 0},
    {"emnist-digits", characters, 10, 0},
    {"emnist-mnist", characters, 10, 0},
};

static const struct known_set *known_set_of(const caps_location *l)
{
    size_t n = strlen(l->prefix);
    const char *name = l->prefix;
    if (n)
        n--; /* its last '-' */
    else
        name = caps_path_last(l->path, &n);
    for (size_t i = 0; i < sizeof known_sets / sizeof known_sets[0]; i++)
        if (strlen(known_sets[i].name) == n && strncmp(known_sets[i].name, name, n) == 0)
            return &known_sets[i];
    return NULL;
}

caps_status caps_idx_set_name(caps_dataset *ds, const caps_location *l, caps_error *err)
{
    const struct known_set *known = known_set_of(l);
    if (!known || (known->first_label && !l->prefix[0]))
        return CAPS_OK;
    ds->class_names = caps_class_names_copy(known->classes, known->count);
    if (!ds->class_names)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", l->path);
    ds->classes = known->count;
    return CAPS_OK;
}

/* Labels from 0 on, and the names. A set of a known name with labels that have none is another set:
 * it goes without names. */
static caps_status idx_set_name_classes(
    caps_dataset *ds, const caps_location *l, const char *label_path, caps_error *err)
{
    const struct known_set *known = known_set_of(l);
    const unsigned first = known && l->prefix[0] ? known->first_label : 0;
    for (size_t i = 0; i < ds->n; i++) {
        if (ds->labels[i] < first)
            return caps_fail(err, CAPS_ERR_FORMAT, "%s: label %zu is %u, need >= %u", label_path, i,
                (unsigned)ds->labels[i], first);
        ds->labels[i] = (uint8_t)(ds->labels[i] - first);
        if (ds->labels[i] >= ds->classes)
            ds->classes = (size_t)ds->labels[i] + 1;
    }
    return known && ds->classes <= known->count ? caps_idx_set_name(ds, l, err) : CAPS_OK;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* EMNIST's files hold columns where others hold rows. */
static caps_status turn_upright(caps_dataset *ds, caps_error *err)
{
    const size_t h = ds->width, w = ds->height; /* of the result */
    uint8_t *turned = malloc(h * w);
    if (!turned)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", ds->path);
    for (size_t i = 0; i < ds->n * ds->channels; i++) {
        uint8_t *image = ds->images + i * h * w;
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w; x++)
                turned[y * w + x] = image[x * h + y];
        memcpy(image, turned, h * w);
    }
    free(turned);
    ds->height = h;
    ds->width = w;
    return CAPS_OK;
}

caps_status caps_idx_set_read(
    caps_dataset *ds, const caps_location *l, const caps_dataset_options *o, caps_error *err)
{
    caps_status status = CAPS_OK;
    char *image_path = NULL, *label_path = NULL;
    caps_idx images = {0}, labels = {0};
    const char *directory = l->directory, *prefix = l->prefix;
    const char *name = idx_set_name_of(prefix, o->split);
    int ndim = 3;

    /* Images of one channel (three dimensions) before colour (four). */
    CAPS_TRY(caps_idx_set_pick(&image_path, directory, prefix, o->split, "images-idx3", err));
    if (!image_path) {
        ndim = 4;
        CAPS_TRY(caps_idx_set_pick(&image_path, directory, prefix, o->split, "images-idx4", err));
    }
    CAPS_TRY(caps_idx_set_pick(&label_path, directory, prefix, o->split, "labels-idx1", err));
    if (!image_path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_NOT_FOUND,
            "%s: no %s%s-images-idx3-ubyte (nor images-idx4, nor either as .gz)", directory, prefix,
            name));
    if (!label_path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_NOT_FOUND, "%s: no %s%s-labels-idx1-ubyte (nor as .gz)",
            directory, prefix, name));
    /* The small file first: a fault in it is found at once. */
    CAPS_TRY(caps_idx_load(&labels, label_path, 1, "labels", o->limit, err));
    CAPS_TRY(caps_idx_load(&images, image_path, ndim, "images", o->limit, err));
    if (labels.dims[0] != images.dims[0])
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_FORMAT, "%s: %zu labels, need %zu as there are images in %s",
                label_path, labels.dims[0], images.dims[0], image_path));

    ds->n = images.stored;
    ds->channels = ndim == 4 ? images.dims[1] : 1;
    ds->height = images.dims[ndim - 2];
    ds->width = images.dims[ndim - 1];
    ds->images = images.data;
    ds->labels = labels.data;
    images.data = labels.data = NULL;
    CAPS_TRY(idx_set_name_classes(ds, l, label_path, err));
    if (*prefix)
        CAPS_TRY(turn_upright(ds, err));
done:
    caps_idx_release(&images);
    caps_idx_release(&labels);
    free(image_path);
    free(label_path);
    return status;
}
