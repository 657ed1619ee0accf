/* spread_ref.c: spread loss. */
#include "ref.h"

#include <math.h>
#include <stdbool.h>

static bool is_among(int64_t label, const int32_t *labels, size_t l)
{
    for (size_t t = 0; t < l; t++)
        if (labels[t] == label)
            return true;
    return false;
}

/* The sum over right classes t and wrong ones i; da NULL: not wanted. */
static double spread(double *da, const double *a, const int32_t *labels, double margin,
    double scale, size_t j, size_t l)
{
    double sum = 0;
    for (size_t t = 0; t < j; t++)
        for (size_t i = 0; i < j; i++) {
            if (!is_among((int64_t)t, labels, l) || is_among((int64_t)i, labels, l))
                continue;
            const double lack = fmax(0, margin - (a[t] - a[i]));
            sum += lack * lack;
            if (da) {
                da[t] -= 2 * scale * lack;
                da[i] += 2 * scale * lack;
            }
        }
    return sum;
}

void caps_ref_spread_forward(double *loss, const double *a, const int32_t *labels, double margin,
    size_t b, size_t j, size_t l)
{
    for (size_t n = 0; n < b; n++)
        loss[n] = spread(NULL, a + n * j, labels + n * l, margin, 0, j, l);
}

void caps_ref_spread_backward(double *da, const double *a, const int32_t *labels, double margin,
    double scale, size_t b, size_t j, size_t l)
{
    for (size_t n = 0; n < b * j; n++)
        da[n] = 0;
    for (size_t n = 0; n < b; n++)
        (void)spread(da + n * j, a + n * j, labels + n * l, margin, scale, j, l);
}
