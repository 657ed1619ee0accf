/* softmax_ref.c: softmax, cross entropy, dropout. */
#include "ref.h"

#include <math.h>

#include "rng.h"

void caps_ref_softmax_forward(double *p, const double *z, size_t b, size_t j)
{
    for (size_t n = 0; n < b; n++) {
        double most = z[n * j], sum = 0;
        for (size_t c = 1; c < j; c++)
            most = fmax(most, z[n * j + c]);
        for (size_t c = 0; c < j; c++)
            sum += exp(z[n * j + c] - most);
        for (size_t c = 0; c < j; c++)
            p[n * j + c] = exp(z[n * j + c] - most) / sum;
    }
}

void caps_ref_cross_entropy_forward(
    double *loss, const double *z, const int32_t *labels, size_t b, size_t j)
{
    for (size_t n = 0; n < b; n++) {
        double most = z[n * j], sum = 0;
        loss[n] = 0;
        if (labels[n] < 0 || (size_t)labels[n] >= j)
            continue;
        for (size_t c = 1; c < j; c++)
            most = fmax(most, z[n * j + c]);
        for (size_t c = 0; c < j; c++)
            sum += exp(z[n * j + c] - most);
        loss[n] = log(sum) + most - z[n * j + (size_t)labels[n]];
    }
}

void caps_ref_cross_entropy_backward(
    double *dz, const double *p, const int32_t *labels, double scale, size_t b, size_t j)
{
    for (size_t i = 0; i < b * j; i++) {
        const int32_t label = labels[i / j];
        const double truth = (int64_t)(i % j) == label ? 1 : 0;
        dz[i] = label < 0 || (size_t)label >= j ? 0 : scale * (p[i] - truth);
    }
}

void caps_ref_dropout(double *y, const double *x, double rate, uint64_t seed, uint64_t step,
    uint32_t layer, uint64_t first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint64_t e = first + i;
        uint32_t words[4];
        caps_rng_words(words, seed, (caps_rng_stream)((uint32_t)CAPS_RNG_DROPOUT | layer << 8),
            (uint32_t)step, e / 4);
        y[i] = words[e % 4] >= floor(rate * 4294967296.0) ? x[i] / (1 - rate) : 0;
    }
}
