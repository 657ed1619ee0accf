/* statistics.h: how sure a measured share is. */
#ifndef CAPS_STATISTICS_H
#define CAPS_STATISTICS_H

#include <stdint.h>

/* The interval of E. B. Wilson (1927) for a share of `errors` in `n` independent trials: *low and
 * *high in 0..1. z: 1.959964 for 95 %. With n = 0 nothing is known: 0..1. */
void caps_wilson(uint64_t errors, uint64_t n, double z, double *low, double *high);

#endif
