/* dataset.c: labelled images from a directory of IDX files. */
#include <capscl/dataset.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "idx.h"
#include "rng.h"

static const char *prefix_of(caps_split split)
{
    return split == CAPS_SPLIT_TRAIN ? "train" : "t10k";
}

/* Path of directory/<prefix>-<kind>-ubyte, or of its .gz where only that exists; *path is NULL
 * where neither does. */
static caps_status pick_file(
    char **path, const char *directory, caps_split split, const char *kind, caps_error *err)
{
    for (int gz = 0; gz < 2; gz++) {
        *path = caps_format("%s%s%s-%s-ubyte%s", directory,
            directory[strlen(directory) - 1] == '/' ? "" : "/", prefix_of(split), kind,
            gz ? ".gz" : "");
        if (!*path)
            return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", directory);
        if (caps_path_exists(*path))
            return CAPS_OK;
        free(*path);
    }
    *path = NULL;
    return CAPS_OK;
}

/* Images of one channel (three dimensions) before colour (four). *ndim is 0 where there are none.
 */
static caps_status pick_images(
    char **path, int *ndim, const char *directory, caps_split split, caps_error *err)
{
    caps_status status;
    *ndim = 3;
    CAPS_TRY(pick_file(path, directory, split, "images-idx3", err));
    if (!*path) {
        *ndim = 4;
        CAPS_TRY(pick_file(path, directory, split, "images-idx4", err));
    }
    if (!*path)
        *ndim = 0;
done:
    return status;
}

/* ---- names ------------------------------------------------------------------------------------
 */

#define MAX_PLACES 4

typedef struct places {
    char *path[MAX_PLACES];
    size_t n;
} places;

static caps_status places_add(
    places *p, const char *a, const char *b, const char *name, caps_error *err)
{
    char *path = caps_format("%s%s/%s", a, b, name);
    if (!path)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", name);
    p->path[p->n++] = path;
    return CAPS_OK;
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static caps_status list_places(places *p, const char *name, caps_error *err)
{
    caps_status status = CAPS_OK;
    const char *data = environment("CAPSCL_DATA"), *xdg = environment("XDG_DATA_HOME");
    const char *home = environment("HOME");
    CAPS_TRY(places_add(p, ".", "", name, err));
    if (data)
        CAPS_TRY(places_add(p, data, "", name, err));
    if (xdg)
        CAPS_TRY(places_add(p, xdg, "/capscl", name, err));
    else if (home)
        CAPS_TRY(places_add(p, home, "/.local/share/capscl", name, err));
    CAPS_TRY(places_add(p, "/usr/share/datasets", "", name, err));
done:
    return status;
}

static caps_status holds_images(bool *holds, const char *directory, caps_error *err)
{
    caps_status status = CAPS_OK;
    *holds = false;
    for (int split = CAPS_SPLIT_TRAIN; split <= CAPS_SPLIT_TEST && !*holds; split++) {
        char *path = NULL;
        int ndim;
        CAPS_TRY(pick_images(&path, &ndim, directory, (caps_split)split, err));
        *holds = path != NULL;
        free(path);
    }
done:
    return status;
}

static caps_status find_name(char **path, const char *name, caps_error *err)
{
    caps_status status = CAPS_OK;
    places p = {{NULL}, 0};
    const char *directory = NULL, *found = NULL;
    char *listed = NULL;

    CAPS_TRY(list_places(&p, name, err));
    /* The first place with IDX files; without any, the first directory of that name, so that the
     * message is about the file it lacks. */
    for (size_t i = 0; i < p.n && !found; i++) {
        bool holds;
        if (!caps_path_is_directory(p.path[i]))
            continue;
        CAPS_TRY(holds_images(&holds, p.path[i], err));
        if (holds)
            found = p.path[i];
        if (!directory)
            directory = p.path[i];
    }
    if (!found)
        found = directory;
    if (!found) {
        listed = caps_format("%s, %s%s%s%s%s", p.path[0], p.path[1], p.n > 2 ? ", " : "",
            p.n > 2 ? p.path[2] : "", p.n > 3 ? ", " : "", p.n > 3 ? p.path[3] : "");
        CAPS_TRY(caps_fail(err, CAPS_ERR_NOT_FOUND, "%s: no data set of this name; looked for %s",
            name, listed ? listed : "it"));
    }
    *path = strdup(found == p.path[0] ? name : found);
    if (!*path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", name));
done:
    free(listed);
    for (size_t i = 0; i < p.n; i++)
        free(p.path[i]);
    return status;
}

caps_status caps_dataset_find(char **path, const char *name_or_dir, caps_error *err)
{
    *path = NULL;
    if (!name_or_dir || !*name_or_dir)
        return caps_fail(err, CAPS_ERR_NOT_FOUND, "data set: the name is empty");
    if (!strchr(name_or_dir, '/'))
        return find_name(path, name_or_dir, err);
    if (!caps_path_exists(name_or_dir))
        return caps_fail(err, CAPS_ERR_NOT_FOUND, "%s: no such directory", name_or_dir);
    if (!caps_path_is_directory(name_or_dir))
        return caps_fail(
            err, CAPS_ERR_FORMAT, "%s: is a file, need a directory of IDX files", name_or_dir);
    *path = strdup(name_or_dir);
    return *path ? CAPS_OK : caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", name_or_dir);
}

/* ---- loading ----------------------------------------------------------------------------------
 */

caps_status caps_dataset_load(
    caps_dataset *ds, const char *name_or_dir, caps_split split, size_t limit, caps_error *err)
{
    caps_status status = CAPS_OK;
    char *image_path = NULL, *label_path = NULL;
    caps_idx images = {0}, labels = {0};
    int ndim = 0;
    memset(ds, 0, sizeof *ds);
    if (split != CAPS_SPLIT_TRAIN && split != CAPS_SPLIT_TEST)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "data set: split is %d, need 0 (train) or 1 (test)", (int)split);

    CAPS_TRY(caps_dataset_find(&ds->path, name_or_dir, err));
    CAPS_TRY(pick_images(&image_path, &ndim, ds->path, split, err));
    CAPS_TRY(pick_file(&label_path, ds->path, split, "labels-idx1", err));
    if (!image_path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_NOT_FOUND,
            "%s: no %s-images-idx3-ubyte (nor images-idx4, nor either as .gz)", ds->path,
            prefix_of(split)));
    if (!label_path)
        CAPS_TRY(caps_fail(err, CAPS_ERR_NOT_FOUND, "%s: no %s-labels-idx1-ubyte (nor as .gz)",
            ds->path, prefix_of(split)));
    /* The small file first: a fault in it is found at once. */
    CAPS_TRY(caps_idx_load(&labels, label_path, 1, "labels", limit, err));
    CAPS_TRY(caps_idx_load(&images, image_path, ndim, "images", limit, err));
    if (labels.dims[0] != images.dims[0])
        CAPS_TRY(
            caps_fail(err, CAPS_ERR_FORMAT, "%s: %zu labels, need %zu as there are images in %s",
                label_path, labels.dims[0], images.dims[0], image_path));

    ds->split = split;
    ds->n = images.kept;
    ds->channels = ndim == 4 ? images.dims[1] : 1;
    ds->height = images.dims[ndim - 2];
    ds->width = images.dims[ndim - 1];
    ds->images = images.data;
    ds->labels = labels.data;
    images.data = labels.data = NULL;
    for (size_t i = 0; i < ds->n; i++)
        if (ds->labels[i] >= ds->classes)
            ds->classes = (size_t)ds->labels[i] + 1;
done:
    caps_idx_release(&images);
    caps_idx_release(&labels);
    free(image_path);
    free(label_path);
    if (status != CAPS_OK)
        caps_dataset_release(ds);
    return status;
}

void caps_dataset_release(caps_dataset *ds)
{
    if (!ds)
        return;
    free(ds->path);
    free(ds->images);
    free(ds->labels);
    memset(ds, 0, sizeof *ds);
}

caps_status caps_dataset_check(const caps_dataset *ds, size_t channels, size_t height, size_t width,
    size_t classes, caps_error *err)
{
    if (ds->channels != channels || ds->height != height || ds->width != width)
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "%s: images are %zux%zux%zu, the model takes %zux%zux%zu", ds->path, ds->channels,
            ds->height, ds->width, channels, height, width);
    for (size_t i = 0; i < ds->n; i++)
        if (ds->labels[i] >= classes)
            return caps_fail(err, CAPS_ERR_FORMAT, "%s: label of %s image %zu is %u, need < %zu",
                ds->path, ds->split == CAPS_SPLIT_TRAIN ? "training" : "test", i,
                (unsigned)ds->labels[i], classes);
    return CAPS_OK;
}

/* ---- what the network sees --------------------------------------------------------------------
 */

void caps_dataset_image(const caps_dataset *ds, size_t index, caps_augment augment, uint64_t seed,
    uint64_t epoch, float *out)
{
    assert(index < ds->n);
    const size_t h = ds->height, w = ds->width, image_bytes = ds->channels * h * w;
    const uint8_t *pixels = ds->images + index * image_bytes;
    if (augment == CAPS_AUGMENT_NONE) {
        for (size_t i = 0; i < image_bytes; i++)
            out[i] = (float)pixels[i] / 255.0f;
        return;
    }
    /* One draw gives both: 25 equally likely shifts. The counter has 96 bits for epoch and index;
     * an index fits in 32 (the format's sizes do). */
    uint64_t draw = caps_rng_below(
        25, seed, CAPS_RNG_SHIFT, (uint32_t)epoch, (epoch >> 32) << 32 | (uint64_t)index);
    const ptrdiff_t dx = (ptrdiff_t)(draw % 5) - 2, dy = (ptrdiff_t)(draw / 5) - 2;
    /* Columns x of the output that come from inside the image: 0 <= x - dx < w. */
    const ptrdiff_t iw = (ptrdiff_t)w, ih = (ptrdiff_t)h;
    const ptrdiff_t x_begin = dx > 0 ? (dx < iw ? dx : iw) : 0, x_end = dx < 0 ? iw + dx : iw;
    for (size_t c = 0; c < ds->channels; c++)
        for (ptrdiff_t y = 0; y < ih; y++) {
            float *row = out + (c * h + (size_t)y) * w;
            memset(row, 0, w * sizeof *row);
            if (y - dy < 0 || y - dy >= ih)
                continue;
            const uint8_t *from = pixels + (c * h + (size_t)(y - dy)) * w;
            for (ptrdiff_t x = x_begin; x < x_end; x++)
                row[x] = (float)from[x - dx] / 255.0f;
        }
}
