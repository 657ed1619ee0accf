/* statistics.c: how sure a measured share is. */
#include <math.h>

#include <capscl/inspect.h>

void caps_wilson(uint64_t errors, uint64_t n, double z, double *low, double *high)
{
    if (n == 0) {
        *low = 0;
        *high = 1;
        return;
    }
    const double count = (double)n, share = (double)errors / count, z2 = z * z / count;
    const double centre = (share + z2 / 2) / (1 + z2);
    const double half = z / (1 + z2) * sqrt(share * (1 - share) / count + z2 / (4 * count));
    /* At the ends rounding must not leave a trace of what is exactly 0 or 1. */
    *low = errors == 0 ? 0 : centre - half;
    *high = errors == n ? 1 : centre + half;
}

void caps_mean_sd(const double *x, size_t n, double *mean, double *sd)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - *mean) * (x[i] - *mean);
    *sd = n > 1 ? sqrt(squares / (double)(n - 1)) : NAN;
}
