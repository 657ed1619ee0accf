/* picture_files.h: pictures that are named, one after the other, as a network takes them. */
#ifndef CAPS_CLI_PICTURE_FILES_H
#define CAPS_CLI_PICTURE_FILES_H

#include "cli_inspect.h"
#include "picture.h"

/* Names that the notes at the end may need: the first picture's, and the first few of each of three
 * kinds. */
enum { CAPS_PICTURE_NAMES = 1 + 3 * CAPS_PICTURES_NAMED };

typedef struct caps_picture_reader {
    const caps_model_info *info;
    caps_picture_options how;
    caps_picture_counts counts; /* of those that were read */
    size_t failed;              /* those that could not be */
    struct {
        size_t index;
        char *name;
    } names[CAPS_PICTURE_NAMES];
    size_t names_count;
} caps_picture_reader;

/* CAPS_ERR_ARGUMENT: the background. */
caps_status caps_picture_reader_init(caps_picture_reader *r, const caps_model_info *info,
    const caps_subset_pictures *chosen, caps_error *err);
void caps_picture_reader_release(caps_picture_reader *r); /* a zeroed one is allowed */

/* Reads the files, on all processors, into inputs [*n, C*H*W]. One that cannot be read, or is no
 * picture, has its line on stderr and is taken out of paths (its name is freed) and of *n; other
 * errors are errors. alone: it is the only one, which a note at the end tells about. */
caps_status caps_picture_reader_take(
    caps_picture_reader *r, float *inputs, char **paths, size_t *n, bool alone, caps_error *err);

/* What was done to all of them, as notes. */
void caps_picture_reader_note(const caps_picture_reader *r);

#endif
