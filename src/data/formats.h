/* formats.h: where a data set lies, its format, and a reader for each format. */
#ifndef CAPS_FORMATS_H
#define CAPS_FORMATS_H

#include <stdbool.h>

#include <capscl/dataset.h>

#include "file.h"

typedef enum caps_data_format {
    CAPS_DATA_NONE, /* nothing known is there */
    CAPS_DATA_IDX,
    CAPS_DATA_CIFAR,
    CAPS_DATA_FOLDER,
    CAPS_DATA_SMALLNORB,
    CAPS_DATA_SOLIDS, /* made, not read */
} caps_data_format;

#define CAPS_PREFIX_BYTES 48

typedef struct caps_location {
    char *path; /* what was requested, without "multi:", or the folder in it; may be requested */
    char *directory; /* that holds the files */
    bool pairs;
    caps_path_kind kind; /* of what lies at `path` */
    char *within; /* what was requested, where the set lies in the one folder in it; or NULL */
    caps_data_format format;
    char prefix[CAPS_PREFIX_BYTES]; /* of IDX files: "" or "emnist-letters-" and the like */
    uint64_t seed;                  /* of solids */
} caps_location;

/* find.c. CAPS_ERR_NOT_FOUND, CAPS_ERR_FORMAT, CAPS_ERR_MEMORY. */
caps_status caps_location_init(caps_location *l, const char *name_or_dir, caps_error *err);
void caps_location_release(caps_location *l);
/* find_reason.c. Why a file, and what a directory holds, is no data set: CAPS_ERR_FORMAT and
 * CAPS_ERR_NOT_FOUND. */
caps_status caps_location_explain_file(const char *path, caps_error *err);
caps_status caps_location_explain_nothing(
    const caps_location *l, caps_split split, caps_error *err);
/* Whether a file that is there is one of that data set's: of its IDX files, of CIFAR-10's, or a
 * picture below one of its folders. False where no such data set is found. */
bool caps_dataset_owns(const char *name_or_dir, const char *file);
/* Whether a data set is files of pictures; false where there is none (find.c). */
bool caps_dataset_is_pictures(const char *name_or_dir);
/* Whether its images have viewpoints and are standardised; false where there is none (find.c). */
bool caps_dataset_has_viewpoints(const char *name_or_dir);
/* Single images in memory (arrays.c): the first `limit` of them, 0: all. CAPS_ERR_ARGUMENT (pairs,
 * files of pictures, standardised images), CAPS_ERR_MEMORY. */
caps_status caps_dataset_copy(
    caps_dataset *to, const caps_dataset *from, size_t limit, caps_error *err);
/* The last part of a path, without slashes at its end: *n bytes. */
const char *caps_path_last(const char *path, size_t *n);

/* Readers: fill sizes, classes, images, labels and, where known, class_names of a zeroed *ds that
 * has its path and split. What they leave behind on failure is the caller's to release. */
caps_status caps_idx_set_read(
    caps_dataset *ds, const caps_location *l, const caps_dataset_options *o, caps_error *err);
caps_status caps_cifar_read(
    caps_dataset *ds, const caps_location *l, const caps_dataset_options *o, caps_error *err);
caps_status caps_folder_read(
    caps_dataset *ds, const caps_location *l, const caps_dataset_options *o, caps_error *err);
caps_status caps_smallnorb_read(
    caps_dataset *ds, const caps_location *l, const caps_dataset_options *o, caps_error *err);
caps_status caps_solids_read(
    caps_dataset *ds, const caps_location *l, const caps_dataset_options *o, caps_error *err);

/* Whether the set has files of its own for a split; of folders also where they lack pictures. */
caps_status caps_idx_set_has(bool *has, const caps_location *l, caps_split split, caps_error *err);
caps_status caps_cifar_has(bool *has, const caps_location *l, caps_split split, caps_error *err);
caps_status caps_folder_has(bool *has, const caps_location *l, caps_split split, caps_error *err);
caps_status caps_smallnorb_has(
    bool *has, const caps_location *l, caps_split split, caps_error *err);
caps_status caps_solids_has(bool *has, const caps_location *l, caps_split split, caps_error *err);

/* Count and name classes without reading images; as above. IDX: names are left out where the
 * training split has more classes than names. */
caps_status caps_idx_set_name(caps_dataset *ds, const caps_location *l, caps_error *err);
caps_status caps_cifar_name(caps_dataset *ds, const caps_location *l, caps_error *err);
caps_status caps_folder_name(caps_dataset *ds, const caps_location *l, caps_error *err);
caps_status caps_smallnorb_name(caps_dataset *ds, const caps_location *l, caps_error *err);
caps_status caps_solids_name(caps_dataset *ds, const caps_location *l, caps_error *err);

/* Whether a directory holds files of smallNORB, and whether one is that of the set (smallnorb.c). */
caps_status caps_smallnorb_holds(bool *holds, const char *directory, caps_error *err);
bool caps_smallnorb_owns(const caps_location *l, const char *file);

/* Whether a directory holds pictures of classes, at either depth (folder.c). */
caps_status caps_folder_holds_pictures(bool *holds, const char *directory, caps_error *err);
/* Whether a directory holds a directory, one whose name begins with '.' aside. */
caps_status caps_folder_holds_directory(bool *holds, const char *directory, caps_error *err);
/* Whether a name ends in .png, .jpg or .jpeg, case ignored, and is not hidden. */
bool caps_is_picture_name(const char *name);
/* The files of a split of an IDX set. */
typedef enum caps_idx_part {
    CAPS_IDX_GREY,   /* images-idx3 */
    CAPS_IDX_COLOUR, /* images-idx4 */
    CAPS_IDX_LABELS, /* labels-idx1 */
    CAPS_IDX_PARTS
} caps_idx_part;
/* The file of directory/<prefix>{train,t10k|test}-<part>-ubyte in the first of its forms that is
 * there; NULL in *path where none is (idx_set.c). */
caps_status caps_idx_set_pick(char **path, const char *directory, const char *prefix,
    caps_split split, caps_idx_part part, caps_error *err);
/* The prefix "emnist-<set>-" of the name of a file of images; false for other names. */
bool caps_idx_set_prefix(char prefix[CAPS_PREFIX_BYTES], const char *file);

/* The files of CIFAR-10: training batches 1 to 5, the test batch, the names of the classes. The
 * path is freed with free(); NULL: out of memory (cifar.c). */
enum { CAPS_CIFAR_TEST = 6, CAPS_CIFAR_NAMES };
char *caps_cifar_path(const char *directory, int part);

/* A copy of n names in one allocation, freed with free(). NULL: out of memory. */
char **caps_class_names_copy(const char *const *names, size_t n);

#endif
