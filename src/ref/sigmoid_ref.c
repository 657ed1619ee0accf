/* sigmoid_ref.c: sigmoid and binary cross entropy. */
#include "ref.h"

#include <math.h>

static double is_label(size_t j, const int32_t *labels, size_t l)
{
    for (size_t t = 0; t < l; t++)
        if (labels[t] >= 0 && (size_t)labels[t] == j)
            return 1;
    return 0;
}

void caps_ref_sigmoid_forward(double *p, const double *z, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = 1 / (1 + exp(-z[i]));
}

void caps_ref_binary_cross_entropy_forward(
    double *loss, const double *z, const int32_t *labels, size_t b, size_t j, size_t l)
{
    for (size_t n = 0; n < b; n++) {
        loss[n] = 0;
        for (size_t c = 0; c < j; c++) {
            const double x = z[n * j + c];
            loss[n] += fmax(x, 0) - x * is_label(c, labels + n * l, l) + log1p(exp(-fabs(x)));
        }
    }
}

void caps_ref_binary_cross_entropy_backward(
    double *dz, const double *z, const int32_t *labels, double scale, size_t b, size_t j, size_t l)
{
    for (size_t i = 0; i < b * j; i++)
        dz[i] = scale * (1 / (1 + exp(-z[i])) - is_label(i % j, labels + i / j * l, l));
}
