/* pictures.h: labelled sheets of what a network sees, drawn from plain arrays.
 *
 * Each function makes a whole sheet in *d, which the caller releases: heading, rows, columns and
 * values are in the picture, so that it stands alone. CAPS_ERR_MEMORY, CAPS_ERR_ARGUMENT (larger
 * than a picture may be). */
#ifndef CAPS_PICTURES_H
#define CAPS_PICTURES_H

#include <stdbool.h>
#include <stdint.h>

#include "draw.h"

/* What all sheets need to know. */
typedef struct caps_picture_context {
    const char *source;       /* where it comes from: model and data */
    const char *result;       /* one line of numbers; NULL: none */
    const char *const *names; /* [classes] */
    size_t classes;
    size_t labels;                  /* of an image: 2 of a pair; 0 as 1 */
    size_t channels, height, width; /* of images */
    double scale;                   /* pixels a unit */
    bool matrix;  /* class capsules are matrix capsules: activations in the place of lengths, and
                    assignments in that of couplings */
    bool max_min; /* couplings are by max-min normalisation: from 0 to 1, and begin with 1 */
} caps_picture_context;

/* counts: [true][predicted]. */
caps_status caps_picture_confusion(
    caps_drawing *d, const caps_picture_context *of, const uint64_t *counts, caps_error *err);

/* lengths [n, J] and the true classes [n, labels] of each image; margins: m- and m+ of the loss;
 * NULL: lengths are probabilities, and there are no margins to show. */
caps_status caps_picture_lengths(caps_drawing *d, const caps_picture_context *of,
    const float *lengths, const int32_t *true_labels, size_t n, size_t labels,
    const double margins[2], caps_error *err);

/* weights [count, channels, kernel, kernel] of the layer `name`. */
caps_status caps_picture_filters(caps_drawing *d, const caps_picture_context *of, const char *name,
    const float *weights, size_t count, size_t channels, size_t kernel, caps_error *err);

/* An image with one label, and what the decoder makes of it. */
typedef struct caps_reconstructed {
    const char *source;    /* "#12" */
    const float *input;    /* [C,H,W] */
    const float *as_label; /* reconstruction from the predicted class's capsule */
    const float *as_true;  /* from the true class's; used where the two differ */
    int label, true_label;
    float length, true_length; /* of these two capsules */
} caps_reconstructed;

/* right: images that are predicted right; wrong: mistakes, the worst first. Either may be empty. */
caps_status caps_picture_reconstruct(caps_drawing *d, const caps_picture_context *of,
    const caps_reconstructed *right, size_t right_count, const caps_reconstructed *wrong,
    size_t wrong_count, caps_error *err);

/* One image's capsule with one dimension at a time changed by `deltas`. */
typedef struct caps_perturbed {
    caps_reconstructed image;
    size_t chosen;        /* the class whose capsule it is */
    const float *capsule; /* [D] */
    const float *images;  /* [D, steps, C,H,W] */
} caps_perturbed;

caps_status caps_picture_perturb(caps_drawing *d, const caps_picture_context *of,
    const caps_perturbed *blocks, size_t count, size_t dim, const double *deltas, size_t steps,
    caps_error *err);

/* The couplings of one image's routing. */
typedef struct caps_coupled {
    const char *source;
    const float *input;                  /* [C,H,W] */
    const int32_t *labels, *true_labels; /* [count]: predicted, and what is there; in any order */
    size_t count;                        /* 1, or 2 of a pair */
    const float *lengths;                /* [J] */
    const float *couplings;              /* [r, T*h*w, J], capsule i = (type * h + y) * w + x */
    const float *primary;                /* [T*h*w]: lengths of the capsules below */
} caps_coupled;

/* leaky: what the couplings of a capsule lack of 1 is shown as the share of no parent. */
caps_status caps_picture_couplings(caps_drawing *d, const caps_picture_context *of,
    const caps_coupled *blocks, size_t count, size_t iterations, size_t types, size_t height,
    size_t width, bool leaky, caps_error *err);

/* Two digits over each other, and what the decoder makes of two capsules. */
typedef struct caps_overlapped {
    const char *source;
    const float *input;             /* [H,W] */
    const float *reconstruction[2]; /* [H,W] each */
    int32_t true_labels[2];
    int32_t decoded[2]; /* the classes whose capsules were decoded */
} caps_overlapped;

typedef struct caps_overlap_group {
    const char *title; /* "right: both digits found" */
    const caps_overlapped *cells;
    size_t count;
} caps_overlap_group;

caps_status caps_picture_overlap(caps_drawing *d, const caps_picture_context *of,
    const caps_overlap_group *groups, size_t count, caps_error *err);

/* ---- for the functions above ---------------------------------------------------------------- */

/* Whole units a pixel so that the larger side is about `target`, at least 1. */
double caps_picture_zoom(size_t height, size_t width, double target);
/* The name of class j; "?" for none. */
const char *caps_picture_name(const caps_picture_context *of, int j);
/* "before A joint B" of `count` classes (1 or 2), at most `width` wide: names are
 * cut. `out` of `bytes`, returned. */
char *caps_picture_pair(char *out, size_t bytes, const caps_picture_context *of, const char *before,
    const char *joint, const int32_t *labels, size_t count, double width, double size);
/* The longest name's width at that size, at most `most`. */
double caps_picture_names_width(const caps_picture_context *of, double size, double most);

#endif
