/* squash_ref.c: v = f(n) s with n = |s|, f(n) = n / (1 + n^2).
 *
 * ds = f dv + (f'/n) (s . dv) s, with f' = (1 - n^2) / (1 + n^2)^2; both zero where n is zero: f(0)
 * = 0 and (f'/n) (s . dv) s has the size of n there. */
#include "ref.h"

#include <math.h>

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

void caps_ref_squash_forward(double *v, const double *s, size_t n, size_t k)
{
    for (size_t row = 0; row < n; row++, v += k, s += k) {
        double length = sqrt(dot(s, s, k));
        for (size_t i = 0; i < k; i++)
            v[i] = s[i] * length / (1 + length * length);
    }
}

void caps_ref_squash_backward(double *ds, const double *dv, const double *s, size_t n, size_t k)
{
    for (size_t row = 0; row < n; row++, ds += k, dv += k, s += k) {
        double length = sqrt(dot(s, s, k)), below = 1 + length * length;
        double along = dot(s, dv, k);
        double derivative = (1 - length * length) / (below * below);
        for (size_t i = 0; i < k; i++)
            ds[i] = length > 0 ? dv[i] * length / below + s[i] * along * derivative / length : 0;
    }
}
