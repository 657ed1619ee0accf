/* squash_ref.c: v = f(n) s with n = |s|, f(n) = n / (1 + n^2) or (1 - exp(-n)) / n.
 *
 * ds = f dv + (f'/n) (s . dv) s, with f' = (1 - n^2) / (1 + n^2)^2 or (exp(-n) - f) / n; zero where
 * n is zero. */
#include "ref.h"

#include <math.h>

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* f(n) and f'(n), n > 0. */
static void squash_factor(double n, bool exponential, double *f, double *derivative)
{
    const double below = 1 + n * n;
    *f = exponential ? -expm1(-n) / n : n / below;
    *derivative = exponential ? (exp(-n) - *f) / n : (1 - n * n) / (below * below);
}

void caps_ref_squash_forward(double *v, const double *s, bool exponential, size_t n, size_t k)
{
    for (size_t row = 0; row < n; row++, v += k, s += k) {
        double length = sqrt(dot(s, s, k)), f = 0, derivative;
        if (length > 0)
            squash_factor(length, exponential, &f, &derivative);
        for (size_t i = 0; i < k; i++)
            v[i] = f * s[i];
    }
}

void caps_ref_squash_backward(
    double *ds, const double *dv, const double *s, bool exponential, size_t n, size_t k)
{
    for (size_t row = 0; row < n; row++, ds += k, dv += k, s += k) {
        double length = sqrt(dot(s, s, k)), along = dot(s, dv, k), f = 0, derivative = 0;
        if (length > 0)
            squash_factor(length, exponential, &f, &derivative);
        for (size_t i = 0; i < k; i++)
            ds[i] = length > 0 ? dv[i] * f + s[i] * along * derivative / length : 0;
    }
}
