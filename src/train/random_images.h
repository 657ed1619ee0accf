/* random_images.h: a batch of noise that a network of a spec takes, to run it without data. */
#ifndef CAPS_RANDOM_IMAGES_H
#define CAPS_RANDOM_IMAGES_H

#include <capscl/model.h>

typedef struct caps_random_images {
    caps_images all;
    float *images, *targets;
    int32_t *labels; /* behind the images, in their memory */
} caps_random_images;

/* b images, uniform in 0..1, with labels (and targets, where the decoder needs them).
 * CAPS_ERR_MEMORY: nothing is left to release. */
caps_status caps_random_images_init(
    caps_random_images *r, const caps_model_spec *spec, size_t b, caps_error *err);
void caps_random_images_release(caps_random_images *r); /* a zeroed one is allowed */

#endif
