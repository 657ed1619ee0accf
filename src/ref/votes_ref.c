/* votes_ref.c: votes[b,i,j,d] = sum_k w[i,j,d,k] u[b,i,k]; the output (j, d) is one index e here.
 */
#include "ref.h"

void caps_ref_votes_forward(double *votes, const double *u, const double *w, size_t b, size_t i,
    size_t j, size_t d, size_t k)
{
    size_t outputs = j * d;
    for (size_t row = 0; row < b * i; row++)
        for (size_t e = 0; e < outputs; e++) {
            const double *weights = w + (row % i * outputs + e) * k;
            double sum = 0;
            for (size_t x = 0; x < k; x++)
                sum += weights[x] * u[row * k + x];
            votes[row * outputs + e] = sum;
        }
}

void caps_ref_votes_backward(double *du, double *dw, const double *dvotes, const double *u,
    const double *w, size_t b, size_t i, size_t j, size_t d, size_t k)
{
    size_t outputs = j * d;
    for (size_t x = 0; du && x < b * i * k; x++)
        du[x] = 0;
    for (size_t x = 0; dw && x < i * outputs * k; x++)
        dw[x] = 0;
    for (size_t row = 0; row < b * i; row++)
        for (size_t e = 0; e < outputs; e++)
            for (size_t x = 0; x < k; x++) {
                size_t weight = (row % i * outputs + e) * k + x;
                if (du)
                    du[row * k + x] += w[weight] * dvotes[row * outputs + e];
                if (dw)
                    dw[weight] += dvotes[row * outputs + e] * u[row * k + x];
            }
}
