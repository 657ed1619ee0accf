/* capscl/dataset.h: labelled images in host memory. */
#ifndef CAPSCL_DATASET_H
#define CAPSCL_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capscl/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum caps_split {
    CAPS_SPLIT_TRAIN,
    CAPS_SPLIT_TEST,
    CAPS_SPLIT_VALIDATION, /* a folder val/ of pictures, or what caps_dataset_split_off makes */
} caps_split;

/* How far an augmentation goes, and what is beside it. */
typedef struct caps_augment_options {
    /* affine: */
    double rotate;  /* half of the images: normal, standard deviation in degrees; 0: none */
    double squeeze; /* to a width of 1 - squeeze at the most, 0 <= squeeze < 1; 0: none */
    size_t erase;   /* side of the square that is made black; 0: none */
    bool shift;     /* by whole pixels, within the black margin */
    /* crop: */
    double brightness; /* added to each pixel, uniform in -brightness..brightness */
    double contrast;   /* factor about the mean, uniform in 1 - contrast..1 + contrast; 0..1 */
    /* any, and none: */
    bool flip; /* half of the images: left and right exchanged */
} caps_augment_options;

#define CAPS_AUGMENT_DEFAULTS                                                                      \
    {                                                                                              \
        10, 0.25, 4, true, 0.5, 0.5, false                                                         \
    }

/* Caller's storage; init by caps_dataset_open, freed by caps_dataset_release. */
typedef struct caps_dataset {
    char *path; /* the directory it came from, for pairs after "multi:" */
    caps_split split;
    size_t n; /* images, or pairs */
    size_t channels, height, width;
    size_t classes; /* as many as there are names, else the greatest label of the split + 1 */
    size_t labels_per_image; /* 1, or 2: pairs */
    char **class_names;      /* [classes], or NULL; one allocation, freed with free() */
    /* 0..255; /255 is what the network sees: [n, channels, height, width]. Pairs: the single images
     * that they are made of, [base images, 1, height - 8, width - 8]. */
    uint8_t *images;
    uint8_t *labels;          /* [n]; pairs: [base images] */
    struct caps_pairs *pairs; /* NULL, or how pairs are drawn */
    size_t view[2];           /* height and width of caps_dataset_set_view, or 0, 0 */
    char **files;             /* [n] or NULL, see caps_dataset_file; one allocation */
    /* What the network sees of each image has mean 0 and variance 1, over all its channels, as it is
     * stored, not as it is cropped. smallNORB and solids. */
    bool standardised;
    ptrdiff_t offset[2]; /* of images drawn without augmentation: so far below and to the right of
                            where the view has them. 0, 0 after caps_dataset_open */
    caps_augment_options augment; /* CAPS_AUGMENT_DEFAULTS after caps_dataset_open */
} caps_dataset;

/* Turns a name into the place of a data set. With a '/' in it, it is a path and taken as it is. A
 * name is searched in ./<name>, $CAPSCL_DATA/<name>, capscl/<name> below $XDG_DATA_HOME (or
 * ~/.local/share), and /usr/share/datasets/<name>: the first of them that holds a data set, else
 * the first that is a directory. "emnist-letters" and the like are also searched as
 * emnist/emnist-letters, which stands for those files of the directory emnist that begin
 * "emnist-letters-"; "cifar10" and "cifar-10" also as cifar-10-batches-bin. "multi:NAME" gives
 * "multi:PLACE". *path is freed with free(), and may be given to caps_dataset_open.
 * Errors: CAPS_ERR_NOT_FOUND (the message lists the places), CAPS_ERR_FORMAT (a path to a file;
 * pairs of pairs). */
CAPS_API caps_status caps_dataset_find(char **path, const char *name_or_dir, caps_error *err);

/* Of sets whose images are of known viewpoints, smallNORB and solids: those that a network is
 * trained on, and those that are new to it. */
typedef enum caps_viewpoints {
    CAPS_VIEWPOINTS_ALL,
    CAPS_VIEWPOINTS_FAMILIAR_AZIMUTHS,   /* 300, 320, 340, 0, 20, 40 degrees */
    CAPS_VIEWPOINTS_NOVEL_AZIMUTHS,      /* 60 to 280 degrees */
    CAPS_VIEWPOINTS_FAMILIAR_ELEVATIONS, /* the three lowest, 30, 35, 40 degrees */
    CAPS_VIEWPOINTS_NOVEL_ELEVATIONS,    /* 45 to 70 degrees */
    CAPS_VIEWPOINTS_COUNT
} caps_viewpoints;

/* "all", "familiar-azimuths", ...; NULL from CAPS_VIEWPOINTS_COUNT on. */
CAPS_API const char *caps_viewpoints_name(int viewpoints);

/* How images are drawn. */
typedef enum caps_ground {
    CAPS_GROUND_ANY,
    CAPS_GROUND_DARK,  /* light on dark */
    CAPS_GROUND_LIGHT, /* dark on light */
} caps_ground;

/* Begin with {CAPS_OPTIONS(caps_dataset_options), ...}. */
typedef struct caps_dataset_options {
    size_t size;      /* of this struct: CAPS_OPTIONS */
    caps_split split; /* validation: only of sets that have it (caps_dataset_has_split) */
    size_t limit;     /* 0: all, else the first `limit` images */
    /* What pictures of a folder are converted to (see docs/data.md); 0: as the first training
     * picture has it. Of pairs this is the size of a pair. Images of other formats have
     * the size that they have. */
    size_t channels, height, width;
    /* NULL, or called now and then while pictures are read, from one thread at a time, not always
     * the same. */
    void (*progress)(void *user, size_t done, size_t total);
    void *user;
    /* NULL, or called for what is worth saying of the images that were read and is no failure: one
     * line of text a call, after reading, from the thread that opens the set; with `user`. */
    void (*note)(void *user, const char *text);
    /* Of files of pictures, and of those only: any other format is refused with one of them.
     * What transparent ones are laid on: NULL, "" or "auto": white where the ink is dark, else
     * black; or "black", "white", or a grey level "0" to "255". */
    const char *background;
    bool invert;  /* dark becomes light */
    bool stretch; /* the range of values in each picture, least to greatest, becomes the whole */
    /* What a network that these images are for was trained on. A transparent picture whose
     * background nobody chose is turned round to it; and notes compare with it. Any format. */
    caps_ground ground;
    caps_viewpoints viewpoints; /* any but ALL only of sets that have them; limit counts these */
} caps_dataset_options;

/* Reads a data set (options NULL: all of the training split). Its format is recognised by what the
 * directory holds (docs/data.md has the details):
 * - IDX: {train,t10k}-{images-idx3|images-idx4,labels-idx1}-ubyte, with a dash or a dot before
 *   idx, plain or .gz; EMNIST's file names too, whose images are turned upright;
 * - CIFAR-10's binary version: data_batch_1.bin to data_batch_5.bin, test_batch.bin;
 * - pictures (PNG, JPEG): train/<class>/<name>.png, test/<class>/<name>.png and, where it is
 *   there, val/<class>/<name>.png; or <class>/<name>.png alone, which has no test split. Also
 *   training, testing, valid and validation, in any case. Label = place of the class among the
 *   names of the training split in byte order. The set begins with the first picture of every
 *   class, then the second of every class, and so on, so that its first images are of all classes;
 * - smallNORB: smallnorb-*-{training,testing}-{dat,cat,info}.mat, plain or .gz, halved each way;
 * - "solids:SEED": nothing is read: shaded solids are rendered, the same ones for the same seed;
 * - "multi:D" for any D with one channel: pairs (see caps_dataset_draw).
 * On failure *ds is released. Errors: CAPS_ERR_NOT_FOUND, CAPS_ERR_FORMAT (damaged, truncated, too
 * long, no images, counts that disagree, one class only), CAPS_ERR_MISMATCH (channels of a
 * picture), CAPS_ERR_ARGUMENT, CAPS_ERR_MEMORY. */
CAPS_API caps_status caps_dataset_open(caps_dataset *ds, const char *name_or_dir,
    const caps_dataset_options *options, caps_error *err);
CAPS_API void caps_dataset_release(caps_dataset *ds);

/* Images and labels in memory, to be a data set. Begin with zeros. */
typedef struct caps_arrays {
    const char *name; /* what messages and records call the set; NULL: "arrays" */
    caps_split split;
    size_t n; /* >= 1 */
    size_t channels, height, width;
    const uint8_t *images; /* [n, channels, height, width], 0..255; /255 is what the network sees */
    const uint8_t *labels; /* [n] */
} caps_arrays;

/* A data set of arrays, which are copied. It has as many classes as the greatest label + 1, without
 * names. On failure *ds is released. Errors: CAPS_ERR_ARGUMENT (no images, a size of 0 or above
 * 65535, no such split), CAPS_ERR_MEMORY. */
CAPS_API caps_status caps_dataset_from_arrays(
    caps_dataset *ds, const caps_arrays *arrays, caps_error *err);

/* The file that an image was read from: a path that can be opened from where the program stands, as
 * the set's own path can. Borrowed. NULL for sets that keep many images in a file, for pairs, and
 * for an index that is not there. */
CAPS_API const char *caps_dataset_file(const caps_dataset *ds, size_t index);

/* Whether the set has files of its own for a split: only folders of pictures have some for
 * validation. Errors as those of caps_dataset_open. */
CAPS_API caps_status caps_dataset_has_split(
    bool *has, const char *name_or_dir, caps_split split, caps_error *err);

/* The names of a set's classes, where it has some, without reading its images: *names [*count],
 * freed with free(), or NULL and 0. Errors as those of caps_dataset_open. */
CAPS_API caps_status caps_dataset_names(
    char ***names, size_t *count, const char *name_or_dir, caps_error *err);

/* How many classes the whole training split has, whatever limit it is opened with, without reading
 * its images: as many as there are names, else the greatest label + 1. 0: nothing known is there.
 * Errors as those of caps_dataset_open. */
CAPS_API caps_status caps_dataset_count_classes(
    size_t *classes, const char *name_or_dir, caps_error *err);

/* Holds out n images for validation: moves them, drawn without replacement from `seed` alone, from
 * the training set to *validation. Both stay in the order they had. Of pairs the single images are
 * divided, so that none is in both. On failure *train is as it was. Errors: CAPS_ERR_ARGUMENT (n is
 * not 1..train->n - 1, not a training split, or pairs for which a part lacks a second class),
 * CAPS_ERR_MEMORY. */
CAPS_API caps_status caps_dataset_split_off(
    caps_dataset *train, size_t n, uint64_t seed, caps_dataset *validation, caps_error *err);

/* From now on images drawn without augmentation are height x width: centred on black where that is
 * larger, cut at the centre where it is smaller, with the odd pixel below and on the right. 0, 0:
 * as they are. */
CAPS_API void caps_dataset_set_view(caps_dataset *ds, size_t height, size_t width);

/* Checks that the set (its view, where one is set) can feed a network of these sizes:
 * CAPS_ERR_MISMATCH names both sides; a label that is no class is CAPS_ERR_FORMAT with its index.
 */
CAPS_API caps_status caps_dataset_check(const caps_dataset *ds, size_t channels, size_t height,
    size_t width, size_t classes, caps_error *err);
/* Checks that an image has `labels` labels: CAPS_ERR_MISMATCH. */
CAPS_API caps_status caps_dataset_check_labels(
    const caps_dataset *ds, size_t labels, caps_error *err);

typedef enum caps_augment {
    CAPS_AUGMENT_NONE,
    CAPS_AUGMENT_SHIFT2,  /* dx, dy uniform in -2..2, zero fill */
    CAPS_AUGMENT_PLACE40, /* at a uniformly random place on 40x40 black */
    CAPS_AUGMENT_CROP24,  /* a uniformly random part of 24x24 */
    CAPS_AUGMENT_AFFINE,  /* turned, squeezed, shifted, a part erased: caps_augment_options */
    CAPS_AUGMENT_CROP,    /* a uniformly random part of the view's size, brighter or darker, with
                             more or less contrast; 0..1, unless images are standardised */
    CAPS_AUGMENT_COUNT
} caps_augment;

/* "none", "shift2", "place40", "crop24", "affine", "crop"; NULL from CAPS_AUGMENT_COUNT on. */
CAPS_API const char *caps_augment_name(int augment);

/* The size that the network sees: channels, height, width. Errors: CAPS_ERR_ARGUMENT (an unknown
 * augmentation; any but none, or flip, for pairs; one whose size is not that of the view that is
 * set; affine for standardised images), CAPS_ERR_MISMATCH (images too large for place40, too small
 * for crop24 or for the view that crop takes). */
CAPS_API caps_status caps_dataset_view_size(
    const caps_dataset *ds, caps_augment augment, size_t chw[3], caps_error *err);

/* What the network sees of `index` in epoch `epoch` (from 0): image [C,H,W] of
 * caps_dataset_view_size (which must succeed), 0..1 unless the set is standardised; labels [labels_per_image]; targets
 * [labels_per_image, C,H,W], the images that a decoder should give. labels and targets may be NULL.
 * Whatever is random is drawn from (seed, epoch, index) alone.
 *
 * Pairs (MultiMNIST): the first digit is image `index`, the second is drawn uniformly from all
 * images of other classes, and each is moved by dx, dy uniform in -6..6 (training) or -4..4 from
 * the centre of (height + 8) x (width + 8) black, what leaves it cut off. The image is the sum, at
 * most 255; the targets are the two moved digits. Splits other than the training split have one
 * fixed set of pairs, that of seed 0 and epoch 0. */
CAPS_API void caps_dataset_draw(const caps_dataset *ds, size_t index, caps_augment augment,
    uint64_t seed, uint64_t epoch, float *image, int32_t *labels, float *targets);
/* The image alone. */
CAPS_API void caps_dataset_image(const caps_dataset *ds, size_t index, caps_augment augment,
    uint64_t seed, uint64_t epoch, float *out);

#ifdef __cplusplus
}
#endif
#endif
