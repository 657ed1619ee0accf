/* statistics.h: how sure a measured share is. */
#ifndef CAPS_STATISTICS_H
#define CAPS_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

/* The interval of E. B. Wilson (1927) for a share of `errors` in `n` independent trials: *low and
 * *high in 0..1. z: 1.959964 for 95 %. With n = 0 nothing is known: 0..1. */
void caps_wilson(uint64_t errors, uint64_t n, double z, double *low, double *high);

/* z of 95 %. */
#define CAPS_Z95 1.959963984540054

/* Mean, and the standard deviation of a sample (n - 1 in the denominator; NaN for one value). */
void caps_mean_sd(const double *x, size_t n, double *mean, double *sd);

#endif
