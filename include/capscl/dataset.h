/* capscl/dataset.h: labelled images in host memory. */
#ifndef CAPSCL_DATASET_H
#define CAPSCL_DATASET_H

#include <stddef.h>
#include <stdint.h>

#include <capscl/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum caps_split {
    CAPS_SPLIT_TRAIN,
    CAPS_SPLIT_TEST,
} caps_split;

/* Caller's storage; init by caps_dataset_load, freed by caps_dataset_release. */
typedef struct caps_dataset {
    char *path; /* the directory it came from */
    caps_split split;
    size_t n; /* images */
    size_t channels, height, width;
    size_t classes;  /* greatest label + 1 */
    uint8_t *images; /* [n, channels, height, width], 0..255; /255 is what the network sees */
    uint8_t *labels; /* [n] */
} caps_dataset;

/* Turns `name_or_dir` into a directory that holds IDX files. With a '/' in it, it is a path and
 * taken as it is. A name is looked for in ./<name>, $CAPSCL_DATA/<name>, capscl/<name> below
 * $XDG_DATA_HOME (or ~/.local/share), and /usr/share/datasets/<name>: the first of them that holds
 * an IDX file of images, else the first that is a directory. *path is freed with free().
 * Errors: CAPS_ERR_NOT_FOUND (the message lists the places), CAPS_ERR_FORMAT (a path to a file). */
CAPS_API caps_status caps_dataset_find(char **path, const char *name_or_dir, caps_error *err);

/* Reads {train,t10k}-{images-idx3|images-idx4,labels-idx1}-ubyte, plain or .gz. `limit` 0 means
 * all, else the first `limit` images. On failure *ds is released. Errors: CAPS_ERR_NOT_FOUND,
 * CAPS_ERR_FORMAT (wrong magic, truncated, too long, no images, a damaged .gz, counts that
 * disagree), CAPS_ERR_MEMORY. */
CAPS_API caps_status caps_dataset_load(
    caps_dataset *ds, const char *name_or_dir, caps_split split, size_t limit, caps_error *err);
CAPS_API void caps_dataset_release(caps_dataset *ds);

/* Checks that the set can feed a network of these sizes: CAPS_ERR_MISMATCH names both sides; a
 * label that is no class is CAPS_ERR_FORMAT with its index. */
CAPS_API caps_status caps_dataset_check(const caps_dataset *ds, size_t channels, size_t height,
    size_t width, size_t classes, caps_error *err);

typedef enum caps_augment {
    CAPS_AUGMENT_NONE,
    CAPS_AUGMENT_SHIFT2, /* dx, dy uniform in -2..2, zero fill */
} caps_augment;

/* What the network sees of image `index` in epoch `epoch` (from 0): out [C,H,W], 0..1. With
 * CAPS_AUGMENT_SHIFT2 the shift is drawn from (seed, epoch, index) alone. */
CAPS_API void caps_dataset_image(const caps_dataset *ds, size_t index, caps_augment augment,
    uint64_t seed, uint64_t epoch, float *out);

#ifdef __cplusplus
}
#endif
#endif
