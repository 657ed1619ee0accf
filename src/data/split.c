/* split.c: a validation set held out from a training set. */
#include <capscl/dataset.h>

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "formats.h"
#include "pairs.h"
#include "rng.h"

/* Marks n of `total` images, each choice of n equally likely: the first n places of Fisher and
 * Yates' permutation. NULL: out of memory. */
static bool *split_choose(size_t n, size_t total, uint64_t seed)
{
    bool *chosen = calloc(total, sizeof *chosen);
    size_t *order = malloc(total * sizeof *order);
    if (chosen && order) {
        for (size_t i = 0; i < total; i++)
            order[i] = i;
        for (size_t i = 0; i < n; i++) {
            size_t pick = i + (size_t)caps_rng_below(total - i, seed, CAPS_RNG_VALIDATION, 0, i);
            chosen[order[pick]] = true;
            order[pick] = order[i];
        }
    } else {
        free(chosen);
        chosen = NULL;
    }
    free(order);
    return chosen;
}

/* What one of the two sets will own. */
typedef struct split_part {
    size_t n;
    uint8_t *images, *labels;
    struct caps_pairs *pairs;
    char **files;
} split_part;

static void split_part_release(split_part *p)
{
    free(p->images);
    free(p->labels);
    free(p->pairs);
    free(p->files);
}

/* The files of the images that are chosen. */
static char **split_files(const caps_dataset *from, const bool *chosen, bool which, size_t n)
{
    const char **paths = malloc(n * sizeof *paths);
    char **files = NULL;
    size_t at = 0;
    for (size_t i = 0; paths && at < n; i++)
        if (chosen[i] == which)
            paths[at++] = from->files[i];
    if (paths)
        files = caps_class_names_copy(paths, n);
    free(paths);
    return files;
}

static bool split_part_init(
    split_part *p, const caps_dataset *from, const bool *chosen, bool which, size_t n, size_t bytes)
{
    p->images = malloc(n * bytes);
    p->labels = malloc(n);
    if (!p->images || !p->labels)
        return false;
    for (size_t i = 0; p->n < n; i++) {
        if (chosen[i] != which)
            continue;
        memcpy(p->images + p->n * bytes, from->images + i * bytes, bytes);
        p->labels[p->n++] = from->labels[i];
    }
    if (from->pairs)
        p->pairs = caps_pairs_index(p->labels, n);
    if (from->files)
        p->files = split_files(from, chosen, which, n);
    return (!from->pairs || p->pairs) && (!from->files || p->files);
}

/* Exchanges a set's arrays with those of a part. */
static void split_swap(caps_dataset *ds, split_part *p)
{
    const split_part before = {ds->n, ds->images, ds->labels, ds->pairs, ds->files};
    ds->n = p->n;
    ds->images = p->images;
    ds->labels = p->labels;
    ds->pairs = p->pairs;
    ds->files = p->files;
    *p = before;
}

caps_status caps_dataset_split_off(
    caps_dataset *train, size_t n, uint64_t seed, caps_dataset *validation, caps_error *err)
{
    caps_status status = CAPS_OK;
    split_part rest = {0}, held_out = {0};
    bool *chosen = NULL;
    char *path = NULL, **names = NULL;
    size_t nhw[3];
    memset(validation, 0, sizeof *validation);
    if (train->split != CAPS_SPLIT_TRAIN)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "%s: a validation split is part of the training split, not of another", train->path);
    if (n < 1 || n >= train->n)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "%s: validation split of %zu images, need 1 to %zu of the %zu training images",
            train->path, n, train->n ? train->n - 1 : 0, train->n);

    caps_dataset_stored(train, nhw);
    const size_t bytes = train->channels * nhw[1] * nhw[2];
    chosen = split_choose(n, train->n, seed);
    path = strdup(train->path);
    if (train->class_names)
        names = caps_class_names_copy((const char *const *)train->class_names, train->classes);
    if (!chosen || !path || (train->class_names && !names) ||
        !split_part_init(&rest, train, chosen, false, train->n - n, bytes) ||
        !split_part_init(&held_out, train, chosen, true, n, bytes))
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY,
            "%s: out of memory for a validation split of %zu images", train->path, n));
    if (train->pairs && (!caps_pairs_possible(rest.pairs) || !caps_pairs_possible(held_out.pairs)))
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT,
            "%s: validation split of %zu of %zu images leaves one part with one class, need two in "
            "each to make pairs",
            train->path, n, train->n));

    *validation = *train;
    validation->path = path;
    validation->class_names = names;
    validation->split = CAPS_SPLIT_VALIDATION;
    path = NULL;
    names = NULL;
    split_swap(train, &rest);          /* rest: the old arrays, which go */
    split_swap(validation, &held_out); /* held_out: the same old arrays */
    held_out = (split_part){0};
done:
    free(chosen);
    free(path);
    free(names);
    split_part_release(&rest);
    split_part_release(&held_out);
    return status;
}
