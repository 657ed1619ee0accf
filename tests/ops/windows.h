/* windows.h: what the tests of operations on windows of maps share. */
#ifndef CAPS_TEST_WINDOWS_H
#define CAPS_TEST_WINDOWS_H

#include "families.h"
#include "ref.h"

typedef struct sizes {
    size_t b, c, h, w, k, stride;
} sizes;

/* Windows along an axis of n. */
static inline size_t out(size_t n, const sizes *z)
{
    return caps_conv2d_output(n, z->k, z->stride, 0);
}

/* Values of a batch of results. */
static inline size_t out_count(const sizes *z)
{
    return z->b * z->c * out(z->h, z) * out(z->w, z);
}

/* The results y [out_count] weighed with their gradients g; y is freed. */
static inline double weigh(double *y, const double *g, const sizes *z)
{
    double sum = 0;
    for (size_t i = 0; i < out_count(z); i++)
        sum += g[i] * y[i];
    free(y);
    return sum;
}

#define FREE_ALL(...)                                                                              \
    do {                                                                                           \
        double *const arrays[] = {__VA_ARGS__};                                                    \
        for (size_t one = 0; one < sizeof arrays / sizeof *arrays; one++)                          \
            free(arrays[one]);                                                                     \
    } while (0)
#define RELEASE_ALL(...)                                                                           \
    do {                                                                                           \
        caps_tensor *const tensors[] = {__VA_ARGS__};                                              \
        for (size_t one = 0; one < sizeof tensors / sizeof *tensors; one++)                        \
            test_tensor_release(tensors[one]);                                                     \
    } while (0)

#endif
