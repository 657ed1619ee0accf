/* pairs.c: see pairs.h. */
#include "pairs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "rng.h"

void caps_dataset_stored(const caps_dataset *ds, size_t nhw[3])
{
    const size_t border = ds->pairs ? CAPS_PAIR_BORDER : 0;
    nhw[0] = ds->pairs ? ds->pairs->base_n : ds->n;
    nhw[1] = ds->height - border;
    nhw[2] = ds->width - border;
}

uint64_t caps_dataset_hash(const caps_dataset *ds)
{
    size_t nhw[3];
    caps_dataset_stored(ds, nhw);
    const uint64_t sizes[] = {nhw[0], ds->channels, nhw[1], nhw[2]};
    uint64_t hash = CAPS_HASH_START;
    for (size_t i = 0; i < 4; i++)
        for (size_t byte = 0; byte < 8; byte++) {
            unsigned char part = (unsigned char)(sizes[i] >> (8 * byte));
            hash = caps_hash(hash, &part, 1);
        }
    hash = caps_hash(hash, ds->images, nhw[0] * ds->channels * nhw[1] * nhw[2]);
    hash = caps_hash(hash, ds->labels, nhw[0]);
    return ds->pairs ? caps_hash(hash, "pairs", 5) : hash;
}

struct caps_pairs *caps_pairs_index(const uint8_t *labels, size_t n)
{
    struct caps_pairs *p = malloc(sizeof *p + n * sizeof p->by_class[0]);
    uint32_t next[256];
    if (!p)
        return NULL;
    p->base_n = n;
    memset(p->first_of_class, 0, sizeof p->first_of_class);
    for (size_t i = 0; i < n; i++)
        p->first_of_class[labels[i] + 1]++;
    for (size_t c = 0; c < 256; c++)
        p->first_of_class[c + 1] += p->first_of_class[c];
    memcpy(next, p->first_of_class, sizeof next);
    for (size_t i = 0; i < n; i++)
        p->by_class[next[labels[i]]++] = (uint32_t)i;
    return p;
}

int caps_pairs_possible(const struct caps_pairs *pairs)
{
    int classes = 0;
    for (size_t c = 0; c < 256; c++)
        classes += pairs->first_of_class[c + 1] > pairs->first_of_class[c];
    return classes >= 2;
}

caps_status caps_pairs_make(caps_dataset *ds, caps_error *err)
{
    if (ds->channels != 1)
        return caps_fail(err, CAPS_ERR_FORMAT,
            "multi:%s: its images have %zu channels, need 1 to make pairs", ds->path, ds->channels);
    if (ds->n > UINT32_MAX)
        return caps_fail(err, CAPS_ERR_FORMAT, "multi:%s: %zu images, need <= %u to make pairs",
            ds->path, ds->n, UINT32_MAX);
    char *path = caps_format("multi:%s", ds->path);
    struct caps_pairs *pairs = caps_pairs_index(ds->labels, ds->n);
    caps_status status = CAPS_OK;
    if (!path || !pairs)
        CAPS_TRY(caps_fail(
            err, CAPS_ERR_MEMORY, "multi:%s: out of memory for %zu pairs", ds->path, ds->n));
    if (!caps_pairs_possible(pairs))
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
            "multi:%s: all %zu images are of class %u, need at least two classes to make pairs",
            ds->path, ds->n, (unsigned)ds->labels[0]));
    free(ds->path);
    ds->path = path;
    ds->pairs = pairs;
    ds->labels_per_image = 2;
    ds->height += CAPS_PAIR_BORDER;
    ds->width += CAPS_PAIR_BORDER;
    path = NULL;
    pairs = NULL;
done:
    free(path);
    free(pairs);
    return status;
}

caps_pair caps_pair_draw(const caps_dataset *ds, size_t index, uint64_t seed, uint64_t epoch)
{
    const struct caps_pairs *p = ds->pairs;
    const int training = ds->split == CAPS_SPLIT_TRAIN;
    if (!training)
        seed = epoch = 0;
    const uint64_t low = (epoch >> 32) << 32 | (uint64_t)index;

    /* Uniform among all that are not of the first one's class: those are one run of by_class. */
    const size_t label = ds->labels[index];
    const uint32_t first = p->first_of_class[label], own = p->first_of_class[label + 1] - first;
    assert(own < p->base_n);
    uint64_t pick = caps_rng_below(p->base_n - own, seed, CAPS_RNG_SECOND, (uint32_t)epoch, low);
    caps_pair pair = {.image = {index, p->by_class[pick < first ? pick : pick + own]}};

    /* One draw for all four moves. */
    const int64_t most = training ? CAPS_PAIR_MOVE_TRAIN : CAPS_PAIR_MOVE_FIXED;
    const uint64_t places = (uint64_t)(2 * most + 1);
    uint64_t move = caps_rng_below(
        places * places * places * places, seed, CAPS_RNG_MOVE, (uint32_t)epoch, low);
    for (int i = 0; i < 2; i++) {
        pair.dx[i] = (ptrdiff_t)((int64_t)(move % places) - most);
        move /= places;
        pair.dy[i] = (ptrdiff_t)((int64_t)(move % places) - most);
        move /= places;
    }
    return pair;
}
