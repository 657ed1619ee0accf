/* picture.h: files of pictures (PNG, JPEG) as they are found, read for a network: what is done to
 * each, and the notes that say so. */
#ifndef CAPS_PICTURE_H
#define CAPS_PICTURE_H

#include <capscl/dataset.h>

#include "image.h"

/* ---- options -------------------------------------------------------------------------------- */

/* How pictures are read; zeroed: the defaults. */
typedef struct caps_picture_options {
    /* What transparent ones are laid on. 0: on white where the ink is dark, else on black; else
     * 1 + a grey level 0..255. */
    int background;
    bool stretch; /* the range of values found in each becomes the whole one */
    bool invert;
    /* What the network was trained on. Where the ground of a transparent picture may be chosen, it
     * is turned round to that; ANY: nothing is. */
    caps_ground ground;
} caps_picture_options;

/* "auto" (or NULL), "black", "white" or a grey level "0".."255". False: none of them. */
bool caps_background_parse(int *background, const char *text);
/* The options within those of a data set; CAPS_ERR_ARGUMENT: the background. */
caps_status caps_picture_options_of(
    caps_picture_options *to, const caps_dataset_options *from, caps_error *err);

/* ---- facts ---------------------------------------------------------------------------------- */

/* What was found in a picture and done to it. */
typedef struct caps_picture_facts {
    size_t width, height; /* as it is seen: after turning */
    bool coloured;        /* some pixel's channels differ visibly */
    bool cmyk, imperfect; /* JPEG: was CMYK; bytes that belong to nothing were skipped */
    bool turned;          /* as EXIF says */
    bool transparent;     /* somewhere; then it was laid on */
    unsigned laid_on;     /* this grey level */
    bool flipped;         /* and turned round to the network's ground */
    bool stretched;
    uint32_t low, high, whole; /* the range found, before stretching, of 0..whole */
    /* Of caps_image_convert: */
    bool to_grey, to_colour, inverted;
    size_t fit_width, fit_height;     /* the size it was scaled to */
    size_t above, below, left, right; /* rows and columns of black */
    bool flat;                        /* one colour: nothing can be seen in it */
    bool other_ground;                /* than the network was trained on */
} caps_picture_facts;

/* Whether less than half of the whole range is used, and the picture is not of one value. */
bool caps_picture_is_narrow(const caps_picture_facts *facts);

/* Reads a PNG or JPEG file, whichever its first bytes say, whatever its name. Up to 16384 pixels
 * each way and 2^26 in all; PNG of any colour type and depth, JPEG baseline or progressive of 8
 * bits; turned as EXIF says, transparency laid on a ground, 16 bits rounded to 8. options, facts:
 * NULL allowed. image->channels is that of the file: 1 or 3. CAPS_ERR_NOT_FOUND, CAPS_ERR_FORMAT
 * (neither, damaged, cut short, too large), CAPS_ERR_MEMORY. */
caps_status caps_picture_read(caps_image *image, const char *path,
    const caps_picture_options *options, caps_picture_facts *facts, caps_error *err);

/* caps_image_convert of what was read so: inverted where options or facts say so. */
caps_status caps_picture_convert(float *out, const caps_image *image, size_t channels,
    size_t height, size_t width, const caps_picture_options *options, caps_picture_facts *facts,
    caps_error *err);

#define CAPS_PICTURE_TEXT 512
/* One line of what was done: "colour to grey, 100x80 to 28x22, 3 rows of black above and below";
 * "28x28 as it is" where nothing was. */
void caps_picture_describe(char text[CAPS_PICTURE_TEXT], const caps_picture_facts *facts);
/* Whether anything was done. */
bool caps_picture_is_changed(const caps_picture_facts *facts);

/* The ground of an image [C,H,W], with row_step values from one row to the next and plane_step from
 * one channel to the next: DARK where its border is dark and what is within lighter, LIGHT where it
 * is the other way round, else ANY. */
caps_ground caps_ground_find(const float *image, size_t channels, size_t height, size_t width,
    size_t row_step, size_t plane_step);
/* Of a data set: of three in four of its first images, else ANY. */
caps_ground caps_dataset_ground(const caps_dataset *ds);
/* "any", "dark", "light"; NULL past the last. */
const char *caps_ground_name(int ground);

/* ---- notes ---------------------------------------------------------------------------------- */

enum { CAPS_PICTURES_NAMED = 3 };

/* Facts of many pictures. Zeroed: none. The result does not depend on the order of counting. */
typedef struct caps_picture_counts {
    size_t n;
    size_t coloured, repeated, scaled, bordered, cmyk, turned, transparent, on_white, on_black,
        flipped, narrow, stretched, imperfect, flat, other_ground;
    size_t least[2], most[2]; /* width and height of the smallest and the largest that was scaled */
    uint32_t low, high, whole; /* the narrowest range */
    size_t flat_ones[CAPS_PICTURES_NAMED], imperfect_ones[CAPS_PICTURES_NAMED],
        other_ones[CAPS_PICTURES_NAMED]; /* the first */
    caps_picture_facts only;             /* of the last that was counted */
} caps_picture_counts;

/* Counts the picture `index`. */
void caps_picture_count(caps_picture_counts *counts, const caps_picture_facts *facts, size_t index);

/* What notes are about. */
typedef struct caps_picture_noting {
    const char *what; /* "training pictures" */
    size_t channels, height, width;
    const caps_picture_options *options;
    char *(*file)(void *of, size_t index); /* a picture's path, freed with free(), or NULL */
    void *of;
    void (*note)(void *user, const char *text);
    void *user;
} caps_picture_noting;

/* One line for each kind of change: how many pictures, and what would do otherwise. Of a single
 * picture one line says what was done. */
void caps_picture_notes(const caps_picture_counts *counts, const caps_picture_noting *noting);

#endif
