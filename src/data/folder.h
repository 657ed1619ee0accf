/* folder.h: folders of pictures, one for each class.
 *
 *     folder_list.c     what a directory holds, and what of it is not used
 *     folder_splits.c   which of the folders in it are splits
 *     folder.c          classes, labels and order
 *     folder_read.c     reads the pictures
 */
#ifndef CAPS_FOLDER_H
#define CAPS_FOLDER_H

#include "formats.h"

/* ---- folder_list.c -------------------------------------------------------------------------- */

/* The names in a directory that are not hidden, in byte order. */
typedef struct caps_listing {
    char **names;
    size_t n;
} caps_listing;

caps_status caps_listing_read(caps_listing *l, const char *path, caps_error *err);
void caps_listing_release(caps_listing *l);

/* Whether path/name is a directory. CAPS_ERR_NOT_FOUND: it cannot be looked at. */
caps_status caps_folder_is_directory(bool *is, const char *path, const char *name, caps_error *err);
/* Whether a directory holds something that is not hidden and passes the test. */
typedef caps_status caps_folder_test(
    bool *passes, const char *path, const char *name, caps_error *err);
caps_status caps_folder_holds(
    bool *holds, const char *path, caps_folder_test *test, caps_error *err);
/* Tests: a picture by its name; a folder that holds pictures. */
caps_folder_test caps_folder_is_picture, caps_folder_is_class;

/* What lies in a folder and is not used: how much, and the first names of it. */
typedef struct caps_unused {
    size_t count, shown;
    size_t pictures; /* in folders among it */
    char names[256]; /* "a, b" */
} caps_unused;

void caps_unused_add(caps_unused *u, const char *folder, const char *name);
/* What stands after the names: "", or ", ..." where there are more. */
const char *caps_unused_rest(const caps_unused *u);
/* The pictures in a folder and in those within it, `depth` deep, as far as they can be looked at.
 */
size_t caps_folder_count_pictures(const char *path, int depth);

/* ---- folder_splits.c ------------------------------------------------------------------------ */

#define CAPS_FOLDER_SPLITS 3 /* caps_split */

typedef struct caps_folder_splits {
    bool any;                        /* false: the directory itself holds the folders of classes */
    char *names[CAPS_FOLDER_SPLITS]; /* of the folders by caps_split; NULL: it has none */
    caps_unused others;              /* what lies beside them */
} caps_folder_splits;

/* CAPS_ERR_FORMAT: two folders are one split. */
caps_status caps_folder_splits_find(caps_folder_splits *s, const char *directory, caps_error *err);
void caps_folder_splits_release(caps_folder_splits *s);
/* The usual name of a split's folder, and all of them: "val, valid or validation". */
const char *caps_folder_split_name(caps_split split);
const char *caps_folder_split_names(caps_split split);

/* ---- folder.c ------------------------------------------------------------------------------- */

/* One split: a directory of class folders. */
typedef struct caps_folder {
    char *path;
    caps_listing classes;
    caps_listing *files; /* [classes.n] */
    size_t total;
    caps_unused loose, folders; /* files that are no pictures; folders within those of classes */
} caps_folder;

typedef struct caps_folder_picture {
    uint32_t folder, file; /* class folder of its split, picture in it */
} caps_folder_picture;

/* The path of a picture, freed with free(); NULL: out of memory. */
char *caps_folder_file(const caps_folder *f, caps_folder_picture picture);

/* ---- folder_read.c -------------------------------------------------------------------------- */

/* The sizes of ds as the options request them; one that is not requested is that of the picture
 * `first`. CAPS_ERR_MISMATCH, and the errors of reading it. */
caps_status caps_pictures_size(
    caps_dataset *ds, const char *first, const caps_dataset_options *o, caps_error *err);
/* Reads and converts pictures [ds->n] to ds->images, which it allocates, in several threads. Of
 * several faults the one that a single thread would have met is reported. */
caps_status caps_pictures_read(caps_dataset *ds, const caps_folder *f,
    const caps_folder_picture *pictures, const caps_dataset_options *o, caps_error *err);

#endif
