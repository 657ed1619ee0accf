/* bias_act_ref.c */
#include "ref.h"

#include <math.h>

/* act as in caps_activation: 0 none, 1 relu, 2 sigmoid. NaN stays NaN. */
static double activate(double x, int act)
{
    if (act == 1)
        return x <= 0 ? 0 : x;
    if (act == 2)
        return 1 / (1 + exp(-x));
    return x;
}

/* The derivative, from the activation's value y. */
static double activation_gradient(double y, int act)
{
    if (act == 1)
        return y <= 0 ? 0 : 1;
    if (act == 2)
        return y * (1 - y);
    return 1;
}

void caps_ref_bias_act_forward(
    double *y, const double *x, const double *bias, int act, size_t n, size_t c, size_t s)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < c; j++)
            for (size_t l = 0; l < s; l++) {
                size_t at = (i * c + j) * s + l;
                y[at] = activate(x[at] + (bias ? bias[j] : 0), act);
            }
}

void caps_ref_bias_act_backward(double *dx, double *dbias, const double *dy, const double *y,
    int act, size_t n, size_t c, size_t s)
{
    if (dbias)
        for (size_t j = 0; j < c; j++)
            dbias[j] = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < c; j++)
            for (size_t l = 0; l < s; l++) {
                size_t at = (i * c + j) * s + l;
                double d = act ? dy[at] * activation_gradient(y[at], act) : dy[at];
                dx[at] = d;
                if (dbias)
                    dbias[j] += d;
            }
}
