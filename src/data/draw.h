/* draw.h: what is done to one image that is drawn.
 *
 * Same bits everywhere: but for the normal draws, which are rounded to float, everything is +, -, *,
 * / and sqrt in double, in a fixed order (these files are compiled without contraction). */
#ifndef CAPS_DRAW_H
#define CAPS_DRAW_H

#include <stdint.h>

#include <capscl/dataset.h>

#include "rng.h"

/* Where the draws of one image come from. */
typedef struct caps_draw {
    uint64_t seed;
    uint32_t high; /* of the epoch, as caps_rng_below takes it, */
    uint64_t low;  /* with the image's index */
} caps_draw;

/* What every grey level becomes where images are standardised: (v - mean) / sd of these n values,
 * with sd at least 1 / sqrt(n) grey levels, so that an image of one value becomes 0. (change.c) */
void caps_draw_standardise(float table[256], const uint8_t *image, size_t n);

/* [n] in place: a factor about the mean, then an addend; within 0..1 with `clip`. (change.c) */
void caps_draw_contrast(
    float *image, size_t n, const caps_augment_options *o, const caps_draw *draw, bool clip);

/* [channels, h, w] in place: left and right exchanged, or not. (change.c) */
void caps_draw_flip(float *image, size_t channels, size_t h, size_t w, const caps_draw *draw);

/* The image [channels, h, w] into out, of the same size, turned, squeezed, shifted, erased. Its
 * ground is black. (affine.c) */
void caps_draw_affine(float *out, const uint8_t *image, size_t channels, size_t h, size_t w,
    const caps_augment_options *o, const caps_draw *draw);

#endif
