/* random_images.c: see random_images.h. */
#include "random_images.h"

#include <stdlib.h>

#include "fail.h"
#include "rng.h"

caps_status caps_random_images_init(
    caps_random_images *r, const caps_model_spec *spec, size_t b, caps_error *err)
{
    const caps_model_info *info = caps_model_spec_info(spec);
    const size_t count = b * info->pixels, l = info->labels;
    *r = (caps_random_images){
        .images = malloc(count * sizeof *r->images + b * l * sizeof *r->labels)};
    if (l > 1)
        r->targets = malloc(count * l * sizeof *r->targets);
    if (!r->images || (l > 1 && !r->targets)) {
        caps_random_images_release(r);
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu images", b);
    }
    r->labels = (void *)(r->images + count);
    for (size_t i = 0; i < count; i++)
        r->images[i] = (float)caps_rng_uniform(1, CAPS_RNG_TEST, 1, i);
    for (size_t i = 0; l > 1 && i < count * l; i++)
        r->targets[i] = (float)caps_rng_uniform(1, CAPS_RNG_TEST, 2, i);
    /* The labels of one image differ. */
    for (size_t i = 0; i < b * l; i++)
        r->labels[i] = (int32_t)((i / l + i % l) % info->classes);
    r->all = (caps_images){b, r->images, r->labels, r->targets};
    return CAPS_OK;
}

void caps_random_images_release(caps_random_images *r)
{
    free(r->images);
    free(r->targets);
    *r = (caps_random_images){0};
}
