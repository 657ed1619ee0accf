/* linear_ref.c */
#include "ref.h"

#include <stdlib.h>

void caps_ref_linear_forward(double *y, const double *x, const double *w, const double *bias,
    int act, size_t b, size_t in, size_t out)
{
    for (size_t i = 0; i < b; i++)
        for (size_t o = 0; o < out; o++) {
            double sum = 0;
            for (size_t j = 0; j < in; j++)
                sum += x[i * in + j] * w[o * in + j];
            y[i * out + o] = sum;
        }
    caps_ref_bias_act_forward(y, y, bias, act, b, out, 1);
}

void caps_ref_linear_backward(double *dx, double *dw, double *dbias, const double *dy,
    const double *y, const double *x, const double *w, int act, size_t b, size_t in, size_t out)
{
    double *dz = malloc(b * out * sizeof *dz);
    if (!dz)
        abort(); /* the reference has no way to report it, and a wrong result would hide it */
    caps_ref_bias_act_backward(dz, dbias, dy, y, act, b, out, 1);
    for (size_t i = 0; dx && i < b; i++)
        for (size_t j = 0; j < in; j++) {
            double sum = 0;
            for (size_t o = 0; o < out; o++)
                sum += dz[i * out + o] * w[o * in + j];
            dx[i * in + j] = sum;
        }
    for (size_t o = 0; dw && o < out; o++)
        for (size_t j = 0; j < in; j++) {
            double sum = 0;
            for (size_t i = 0; i < b; i++)
                sum += dz[i * out + o] * x[i * in + j];
            dw[o * in + j] = sum;
        }
    free(dz);
}
