/* batch_norm_ref.c: x^ = (x - mean) / sqrt(var + epsilon), y = weight x^ + bias, over [B, C, S].
 *
 * Where mean and var are the batch's, dx = weight / sqrt(var + epsilon) (dy - mean(dy) - x^ mean(dy
 * x^)), the means over B and S; where they are constants, without these means. */
#include "ref.h"

#include <math.h>

void caps_ref_batch_norm_statistics(
    double *mean, double *var, const double *x, size_t b, size_t c, size_t s)
{
    const double all = (double)(b * s);
    for (size_t k = 0; k < c; k++) {
        mean[k] = var[k] = 0;
        for (size_t n = 0; n < b; n++)
            for (size_t i = 0; i < s; i++)
                mean[k] += x[(n * c + k) * s + i] / all;
        for (size_t n = 0; n < b; n++)
            for (size_t i = 0; i < s; i++)
                var[k] += pow(x[(n * c + k) * s + i] - mean[k], 2) / all;
    }
}

void caps_ref_batch_norm_forward(double *y, const double *x, const double *mean, const double *var,
    const double *weight, const double *bias, double epsilon, size_t b, size_t c, size_t s)
{
    for (size_t e = 0; e < b * c * s; e++) {
        const size_t k = e / s % c;
        y[e] = (x[e] - mean[k]) / sqrt(var[k] + epsilon) * weight[k] + bias[k];
    }
}

void caps_ref_batch_norm_backward(double *dx, double *dweight, double *dbias, const double *dy,
    const double *x, const double *mean, const double *var, const double *weight, bool of_batch,
    double epsilon, size_t b, size_t c, size_t s)
{
    const double all = (double)(b * s);
    for (size_t k = 0; k < c; k++)
        dweight[k] = dbias[k] = 0;
    for (size_t e = 0; e < b * c * s; e++) {
        const size_t k = e / s % c;
        dbias[k] += dy[e];
        dweight[k] += dy[e] * (x[e] - mean[k]) / sqrt(var[k] + epsilon);
    }
    for (size_t e = 0; e < b * c * s; e++) {
        const size_t k = e / s % c;
        const double inverse = 1 / sqrt(var[k] + epsilon), v = (x[e] - mean[k]) * inverse;
        const double means = of_batch ? (dbias[k] + v * dweight[k]) / all : 0;
        dx[e] = weight[k] * inverse * (dy[e] - means);
    }
}
