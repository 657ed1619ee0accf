/* change.c: standardised images, brightness, contrast, left and right exchanged; see draw.h. */
#include <math.h>

#include "draw.h"

void caps_draw_standardise(float table[256], const uint8_t *image, size_t n)
{
    uint64_t sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += image[i];
        squares += (uint64_t)image[i] * image[i];
    }
    const double count = (double)n, mean = (double)sum / count;
    const double variance = (double)squares / count - mean * mean, least = 1 / sqrt(count);
    double sd = variance > 0 ? sqrt(variance) : 0;
    sd = sd > least ? sd : least;
    for (int v = 0; v < 256; v++)
        table[v] = (float)((v - mean) / sd);
}

/* Uniform in -most..most. */
static double uniform(double most, caps_rng_stream stream, const caps_draw *d)
{
    return most * (2 * caps_rng_uniform(d->seed, stream, d->high, d->low) - 1);
}

void caps_draw_contrast(
    float *image, size_t n, const caps_augment_options *o, const caps_draw *draw, bool clip)
{
    const double factor = 1 + uniform(o->contrast, CAPS_RNG_CONTRAST, draw);
    const double addend = uniform(o->brightness, CAPS_RNG_BRIGHTNESS, draw);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)image[i];
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        double value = ((double)image[i] - mean) * factor + mean + addend;
        if (clip)
            value = value < 0 ? 0 : value > 1 ? 1 : value;
        image[i] = (float)value;
    }
}

void caps_draw_flip(float *image, size_t channels, size_t h, size_t w, const caps_draw *draw)
{
    if (caps_rng_uniform(draw->seed, CAPS_RNG_FLIP, draw->high, draw->low) < 0.5)
        return;
    for (size_t row = 0; row < channels * h; row++)
        for (size_t x = 0; x < w / 2; x++) {
            float *left = image + row * w + x, *right = image + row * w + (w - 1 - x);
            const float kept = *left;
            *left = *right;
            *right = kept;
        }
}
