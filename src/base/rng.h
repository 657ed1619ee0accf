/* rng.h: a counter-based generator, Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", 2011). A draw is a pure function of (seed, stream, counter), so it
 * depends on no order, thread or device. */
#ifndef CAPS_RNG_H
#define CAPS_RNG_H

#include <stdint.h>

/* The bare block function: counter and key in, four words out. */
void caps_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* A stream for each purpose: two streams of one seed have no draw in common. */
typedef enum caps_rng_stream {
    CAPS_RNG_SHUFFLE = 1,
    CAPS_RNG_SHIFT = 2,
    CAPS_RNG_WEIGHTS = 3,
    CAPS_RNG_TEST = 4,
    CAPS_RNG_DROPOUT = 5, /* the layer above it, from bit 8 on */
    CAPS_RNG_SECOND = 16, /* the second image of a pair */
    CAPS_RNG_MOVE = 17,   /* where the two images of a pair are */
    CAPS_RNG_PLACE = 18,
    CAPS_RNG_CROP = 19,
    CAPS_RNG_VALIDATION = 20,
    CAPS_RNG_CONTRAST = 21,
    CAPS_RNG_BRIGHTNESS = 22,
    CAPS_RNG_FLIP = 23,
    CAPS_RNG_TRANSFORM = 24, /* the kind above it, from bit 8 on */
    CAPS_RNG_AFFINE = 25,    /* what is drawn above it, from bit 8 on */
    CAPS_RNG_ERASE = 26,
    CAPS_RNG_SOLID = 27,       /* sizes of rendered solids */
    CAPS_RNG_SOLID_ORDER = 28, /* of their pictures */
} caps_rng_stream;

/* Four 32-bit words of (seed, stream, a, b): key = seed, counter = stream and a (32 bits), b. */
void caps_rng_words(uint32_t out[4], uint64_t seed, caps_rng_stream stream, uint32_t a, uint64_t b);

/* Uniform in 0..n-1 without bias, from (seed, stream, a, b). n >= 1. */
uint64_t caps_rng_below(uint64_t n, uint64_t seed, caps_rng_stream stream, uint32_t a, uint64_t b);

/* Standard normal (Box-Muller in double, rounded to float). */
float caps_rng_normal(uint64_t seed, caps_rng_stream stream, uint32_t a, uint64_t b);
/* Uniform in [0, 1). */
double caps_rng_uniform(uint64_t seed, caps_rng_stream stream, uint32_t a, uint64_t b);

/* order[0..n) becomes a permutation of 0..n-1 drawn from (seed, epoch): Fisher-Yates. */
void caps_rng_shuffle(uint32_t *order, uint32_t n, uint64_t seed, uint32_t epoch);

#endif
