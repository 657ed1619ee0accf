/* losses_ref.c: lengths, margin loss, argmax, mask, squared error. */
#include "ref.h"

#include <math.h>
#include <stdbool.h>

void caps_ref_lengths_forward(double *lengths, const double *v, size_t b, size_t j, size_t d)
{
    for (size_t row = 0; row < b * j; row++) {
        double sum = 0;
        for (size_t x = 0; x < d; x++)
            sum += v[row * d + x] * v[row * d + x];
        lengths[row] = sqrt(sum);
    }
}

static bool is_among(int64_t label, const int32_t *labels, size_t l)
{
    for (size_t t = 0; t < l; t++)
        if (labels[t] == label)
            return true;
    return false;
}

void caps_ref_margin_forward(double *loss, const double *lengths, const int32_t *labels,
    double positive, double negative, double down, size_t b, size_t j, size_t l)
{
    for (size_t n = 0; n < b; n++) {
        loss[n] = 0;
        for (size_t c = 0; c < j; c++) {
            double length = lengths[n * j + c];
            double lack = fmax(0, positive - length), excess = fmax(0, length - negative);
            loss[n] +=
                is_among((int64_t)c, labels + n * l, l) ? lack * lack : down * excess * excess;
        }
    }
}

void caps_ref_margin_backward(double *dv, const double *v, const double *lengths,
    const int32_t *labels, double positive, double negative, double down, double scale, size_t b,
    size_t j, size_t d, size_t l)
{
    for (size_t row = 0; row < b * j; row++) {
        double length = lengths[row];
        double lack = fmax(0, positive - length), excess = fmax(0, length - negative);
        bool is_there = is_among((int64_t)(row % j), labels + row / j * l, l);
        double gradient = is_there ? -2 * lack : 2 * down * excess;
        for (size_t x = 0; x < d; x++)
            dv[row * d + x] = length > 0 ? scale * gradient * v[row * d + x] / length : 0;
    }
}

void caps_ref_argmax(int32_t *best, const double *lengths, size_t b, size_t j, size_t l)
{
    for (size_t n = 0; n < b; n++)
        for (size_t t = 0; t < l; t++) {
            int32_t *mine = best + n * l;
            mine[t] = -1;
            for (size_t c = 0; c < j; c++)
                if (!is_among((int64_t)c, mine, t) &&
                    (mine[t] < 0 || lengths[n * j + c] > lengths[n * j + (size_t)mine[t]]))
                    mine[t] = (int32_t)c;
        }
}

/* First the labels that were found, each once; then the others, in order. */
void caps_ref_match(
    int32_t *matched, const int32_t *best, const int32_t *labels, size_t b, size_t l)
{
    for (size_t n = 0; n < b; n++) {
        const int32_t *have = best + n * l, *need = labels + n * l;
        int32_t *to = matched + n * l;
        for (size_t t = 0; t < l; t++)
            to[t] = is_among(need[t], have, l) && !is_among(need[t], need, t) ? need[t] : -1;
        for (size_t t = 0, k = 0; t < l; t++) {
            if (to[t] >= 0)
                continue;
            while (is_among(have[k], need, l))
                k++;
            to[t] = have[k++];
        }
    }
}

void caps_ref_mask_forward(
    double *masked, const double *v, const int32_t *chosen, size_t b, size_t j, size_t d, size_t l)
{
    for (size_t row = 0; row < b * l; row++)
        for (size_t x = 0; x < j * d; x++)
            masked[row * j * d + x] = (int64_t)(x / d) == chosen[row] ? v[row / l * j * d + x] : 0;
}

void caps_ref_mask_backward(double *dv, const double *dmasked, const int32_t *chosen, size_t b,
    size_t j, size_t d, size_t l)
{
    for (size_t row = 0; row < b * l; row++)
        for (size_t x = 0; x < j * d; x++)
            if ((int64_t)(x / d) == chosen[row])
                dv[row / l * j * d + x] += dmasked[row * j * d + x];
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
