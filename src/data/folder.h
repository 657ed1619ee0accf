/* folder.h: folders of pictures, one for each class: what folder.c finds, folder_read.c reads. */
#ifndef CAPS_FOLDER_H
#define CAPS_FOLDER_H

#include "formats.h"

/* The names in a directory that are not hidden, in byte order. */
typedef struct caps_listing {
    char **names;
    size_t n;
} caps_listing;

/* One split: a directory of class folders. */
typedef struct caps_folder {
    char *path;
    caps_listing classes;
    caps_listing *files; /* [classes.n] */
    size_t total;
} caps_folder;

typedef struct caps_folder_picture {
    uint32_t folder, file; /* class folder of its split, picture in it */
} caps_folder_picture;

/* folder.c. The path of a picture, freed with free(); NULL: out of memory. */
char *caps_folder_file(const caps_folder *f, caps_folder_picture picture);

/* folder_read.c. The sizes of ds as the options request them; one that is not requested is that of
 * the picture `first`. CAPS_ERR_MISMATCH, and the errors of reading it. */
caps_status caps_pictures_size(
    caps_dataset *ds, const char *first, const caps_dataset_options *o, caps_error *err);
/* Reads and converts pictures [ds->n] to ds->images, which it allocates, in several threads. Of
 * several faults the one that a single thread would have met is reported. */
caps_status caps_pictures_read(caps_dataset *ds, const caps_folder *f,
    const caps_folder_picture *pictures, const caps_dataset_options *o, caps_error *err);

#endif
