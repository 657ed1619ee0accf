/* group_ref.c: channels regrouped as capsules. u[b, t P + p, k] = z[b, t K + k, p]. */
#include "ref.h"

void caps_ref_group_forward(double *u, const double *z, size_t b, size_t t, size_t k, size_t p)
{
    for (size_t bt = 0; bt < b * t; bt++)
        for (size_t x = 0; x < p; x++)
            for (size_t n = 0; n < k; n++)
                u[(bt * p + x) * k + n] = z[(bt * k + n) * p + x];
}

void caps_ref_group_backward(double *dz, const double *du, size_t b, size_t t, size_t k, size_t p)
{
    for (size_t bt = 0; bt < b * t; bt++)
        for (size_t x = 0; x < p; x++)
            for (size_t n = 0; n < k; n++)
                dz[(bt * k + n) * p + x] = du[(bt * p + x) * k + n];
}
