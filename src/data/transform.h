/* transform.h: images moved, turned, scaled, bent or made noisy, to see how a network bears it.
 * docs/robustness.md has the distributions. */
#ifndef CAPS_TRANSFORM_H
#define CAPS_TRANSFORM_H

#include <stddef.h>
#include <stdint.h>

typedef enum caps_transform {
    CAPS_TRANSFORM_SHIFT,  /* whole pixels, -S..S each way */
    CAPS_TRANSFORM_ROTATE, /* -S..S degrees about the centre */
    CAPS_TRANSFORM_SCALE,  /* by 1/(1+S)..1+S, uniform in the logarithm */
    CAPS_TRANSFORM_AFFINE, /* turned, sheared, scaled by axis and shifted */
    CAPS_TRANSFORM_NOISE,  /* normal with standard deviation S, cut at 0..1 */
    CAPS_TRANSFORM_COUNT
} caps_transform;

/* "shift", ...; NULL from CAPS_TRANSFORM_COUNT on. */
const char *caps_transform_name(int kind);
/* The greatest severity; the least is 0, which leaves an image as it is. */
double caps_transform_most(caps_transform kind);

/* What image `index` becomes: a pure function of its arguments. Severities of one kind share their
 * draws: an image that is turned to the left by one is turned to the left by all of them. in and
 * out, [C,H,W] with values in 0..1, must not overlap; 0 <= severity <= caps_transform_most(kind).
 * Shifts go by whole pixels: the fraction of their severity is cut off. */
void caps_transform_apply(caps_transform kind, double severity, uint64_t seed, uint64_t index,
    const float *in, float *out, size_t channels, size_t height, size_t width);

#endif
