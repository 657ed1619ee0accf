/* losses_ref.c: lengths, margin loss, argmax, mask, squared error. */
#include "ref.h"

#include <math.h>

void caps_ref_lengths_forward(double *lengths, const double *v, size_t b, size_t j, size_t d)
{
    for (size_t row = 0; row < b * j; row++) {
        double sum = 0;
        for (size_t x = 0; x < d; x++)
            sum += v[row * d + x] * v[row * d + x];
        lengths[row] = sqrt(sum);
    }
}

void caps_ref_margin_forward(double *loss, const double *lengths, const int32_t *labels,
    double positive, double negative, double down, size_t b, size_t j)
{
    for (size_t n = 0; n < b; n++) {
        loss[n] = 0;
        for (size_t c = 0; c < j; c++) {
            double length = lengths[n * j + c];
            double lack = fmax(0, positive - length), excess = fmax(0, length - negative);
            loss[n] += (int64_t)c == labels[n] ? lack * lack : down * excess * excess;
        }
    }
}

void caps_ref_margin_backward(double *dv, const double *v, const double *lengths,
    const int32_t *labels, double positive, double negative, double down, double scale, size_t b,
    size_t j, size_t d)
{
    for (size_t row = 0; row < b * j; row++) {
        double length = lengths[row];
        double lack = fmax(0, positive - length), excess = fmax(0, length - negative);
        double slope = (int64_t)(row % j) == labels[row / j] ? -2 * lack : 2 * down * excess;
        for (size_t x = 0; x < d; x++)
            dv[row * d + x] = length > 0 ? scale * slope * v[row * d + x] / length : 0;
    }
}

void caps_ref_argmax(int32_t *best, const double *lengths, size_t b, size_t j)
{
    for (size_t n = 0; n < b; n++) {
        best[n] = 0;
        for (size_t c = 1; c < j; c++)
            if (lengths[n * j + c] > lengths[n * j + (size_t)best[n]])
                best[n] = (int32_t)c;
    }
}

void caps_ref_mask_forward(
    double *masked, const double *v, const int32_t *chosen, size_t b, size_t j, size_t d)
{
    for (size_t x = 0; x < b * j * d; x++)
        masked[x] = (int64_t)(x / d % j) == chosen[x / (j * d)] ? v[x] : 0;
}

void caps_ref_mask_backward(
    double *dv, const double *dmasked, const int32_t *chosen, size_t b, size_t j, size_t d)
{
    for (size_t x = 0; x < b * j * d; x++)
        if ((int64_t)(x / d % j) == chosen[x / (j * d)])
            dv[x] += dmasked[x];
}

void caps_ref_sse_forward(double *sse, const double *y, const double *x, size_t b, size_t p)
{
    for (size_t n = 0; n < b; n++) {
        sse[n] = 0;
        for (size_t i = n * p; i < (n + 1) * p; i++)
            sse[n] += (y[i] - x[i]) * (y[i] - x[i]);
    }
}

void caps_ref_sse_backward(
    double *dy, const double *y, const double *x, double scale, size_t b, size_t p)
{
    for (size_t i = 0; i < b * p; i++)
        dy[i] = scale * 2 * (y[i] - x[i]);
}
