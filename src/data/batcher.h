/* batcher.h: batches made ahead of need by a thread of their own.
 *
 * The sequence is a pure function of the arguments: epoch e takes the images in the order of
 * caps_rng_shuffle(seed, e) (or 0..n-1), cut into batches of `batch`, the last one partial, each
 * image as caps_dataset_draw gives it. Threads and timing have no part in it. */
#ifndef CAPS_BATCHER_H
#define CAPS_BATCHER_H

#include <capscl/dataset.h>

typedef struct caps_batch {
    size_t n;                /* images in it, 1..batch; of a part, 0.. */
    size_t total;            /* of the whole batch, where this is a part of it; else n */
    size_t labels_per_image; /* 1, or 2: pairs */
    const float *images;     /* [n, C*H*W], of caps_dataset_view_size when the batcher was made */
    const int32_t *labels;   /* [n, labels_per_image]; they begin where the images end */
    const float *targets;    /* [n, labels_per_image, C*H*W], or NULL: the images themselves */
    uint64_t epoch;          /* from 0 */
    uint64_t index;          /* of the batch within its epoch, from 0 */
} caps_batch;

/* Where the arrays of all batches lie, one block: what a device likes to read from. */
typedef struct caps_batch_memory {
    void *user;
    void *(*take)(void *user, size_t bytes); /* aligned for any type; NULL: malloc's does */
    void (*give)(void *user);                /* what take gave */
} caps_batch_memory;

typedef struct caps_batcher_options {
    size_t batch;
    caps_augment augment;
    int shuffle;
    uint64_t seed;
    uint64_t first_epoch, first_batch; /* where to begin */
    uint64_t every;                    /* n: each n-th batch of the sequence alone; 0: each */
    /* Of a batch of `total` images only [*first, *first + *count) are made; NULL: all. From the
     * batcher's thread. */
    void (*part)(void *user, size_t total, size_t *first, size_t *count);
    void *part_user;
    caps_batch_memory memory; /* take NULL: malloc's; `user` outlives the batcher */
} caps_batcher_options;

typedef struct caps_batcher caps_batcher;

/* ds must outlive it. Starts the thread; a few batches are made ahead. */
caps_status caps_batcher_create(caps_batcher **out, const caps_dataset *ds,
    const caps_batcher_options *options, caps_error *err);
/* The next batch, without end; blocks until it is ready. Valid until CAPS_BATCHES_HELD calls later:
 * a device may still read the batch of before while this one is given to it. */
enum { CAPS_BATCHES_HELD = 2 };
const caps_batch *caps_batcher_next(caps_batcher *b);
/* Ends the thread; there is no next batch. Those that were given stay, as does all memory. NULL
 * allowed. */
void caps_batcher_stop(caps_batcher *b);
void caps_batcher_free(caps_batcher *b); /* stops it, and frees all; NULL allowed */

#endif
