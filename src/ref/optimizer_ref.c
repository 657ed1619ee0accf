/* optimizer_ref.c: Adam (Kingma and Ba 2015, algorithm 1) and plain gradient descent. */
#include "ref.h"

#include <math.h>

void caps_ref_adam_step(double *w, double *m, double *v, const double *g, double learning_rate,
    double beta1, double beta2, double epsilon, uint64_t t, size_t n)
{
    double correct1 = 1 - pow(beta1, (double)t), correct2 = 1 - pow(beta2, (double)t);
    for (size_t i = 0; i < n; i++) {
        m[i] = beta1 * m[i] + (1 - beta1) * g[i];
        v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
        w[i] -= learning_rate * (m[i] / correct1) / (sqrt(v[i] / correct2) + epsilon);
    }
}

void caps_ref_sgd_step(double *w, const double *g, double learning_rate, size_t n)
{
    for (size_t i = 0; i < n; i++)
        w[i] -= learning_rate * g[i];
}

void caps_ref_average_step(double *average, const double *w, double rate, size_t n)
{
    for (size_t i = 0; i < n; i++)
        average[i] = (1 - rate) * average[i] + rate * w[i];
}
