/* pairs.h: pairs of overlapping images made of single ones, as in MultiMNIST. */
#ifndef CAPS_PAIRS_H
#define CAPS_PAIRS_H

#include <capscl/dataset.h>

/* How much larger a pair is than its images, and the farthest that they are moved. */
#define CAPS_PAIR_BORDER     8
#define CAPS_PAIR_MOVE_TRAIN 6
#define CAPS_PAIR_MOVE_FIXED 4

struct caps_pairs {
    size_t base_n;                /* single images */
    uint32_t first_of_class[257]; /* where each class begins in by_class */
    uint32_t by_class[];          /* [base_n]: images sorted by class, then by index */
};

/* Turns a set of single images into one of pairs. CAPS_ERR_FORMAT: several channels, or one class
 * only; CAPS_ERR_MEMORY. *ds is as it was on failure. */
caps_status caps_pairs_make(caps_dataset *ds, caps_error *err);

/* An index for images with these labels; NULL: out of memory. */
struct caps_pairs *caps_pairs_index(const uint8_t *labels, size_t n);
/* Whether images of at least two classes are there. */
int caps_pairs_possible(const struct caps_pairs *pairs);

/* The sizes of what lies in ds->images, of pairs or not: images, height, width. */
void caps_dataset_stored(const caps_dataset *ds, size_t nhw[3]);
/* Hash of all that decides what is drawn from the set: sizes, pixels, labels, pairs or not. */
uint64_t caps_dataset_hash(const caps_dataset *ds);

/* What pair `index` is made of: two images, and how far right and down each is moved. */
typedef struct caps_pair {
    size_t image[2];
    ptrdiff_t dx[2], dy[2];
} caps_pair;

caps_pair caps_pair_draw(const caps_dataset *ds, size_t index, uint64_t seed, uint64_t epoch);

#endif
