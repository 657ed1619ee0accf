/* max_pool_ref.c: y = the greatest value of every window of k x k; of equal ones the first in row
 * order gets the gradient. */
#include "ref.h"

#include <string.h>

/* Where in x the window's greatest value lies whose first one is x[corner]. */
static size_t greatest(const double *x, size_t corner, size_t w, size_t k)
{
    size_t best = corner;
    for (size_t ky = 0; ky < k; ky++)
        for (size_t kx = 0; kx < k; kx++)
            if (x[corner + ky * w + kx] > x[best])
                best = corner + ky * w + kx;
    return best;
}

void caps_ref_max_pool_forward(
    double *y, const double *x, size_t planes, size_t h, size_t w, size_t k, size_t stride)
{
    for (size_t n = 0; n < planes; n++)
        for (size_t oy = 0; oy + k <= h; oy += stride)
            for (size_t ox = 0; ox + k <= w; ox += stride)
                *y++ = x[greatest(x, (n * h + oy) * w + ox, w, k)];
}

void caps_ref_max_pool_backward(double *dx, const double *dy, const double *x, size_t planes,
    size_t h, size_t w, size_t k, size_t stride)
{
    memset(dx, 0, planes * h * w * sizeof *dx);
    for (size_t n = 0; n < planes; n++)
        for (size_t oy = 0; oy + k <= h; oy += stride)
            for (size_t ox = 0; ox + k <= w; ox += stride)
                dx[greatest(x, (n * h + oy) * w + ox, w, k)] += *dy++;
}
