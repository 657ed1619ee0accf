/* require.h (not check.h: Check, the test framework, has that name): what operations require of
 * their tensors before they enqueue anything. All failures are
 * CAPS_ERR_ARGUMENT; the message begins with the operation and has the value and the need. */
#ifndef CAPS_REQUIRE_H
#define CAPS_REQUIRE_H

#include <capscl/tensor.h>

/* Kernels count within a sample, a row or a flat array in 32 bits, with space to step past the
 * end. */
#define CAPS_REQUIRE_LIMIT ((size_t)INT32_MAX)

/* A tensor from whose shape the operation takes its sizes: float32 with `ndim` dimensions, none
 * zero. `need` is its shape in letters: "[B, I, K]". */
caps_status caps_require_source(const char *operation, const char *name, const caps_tensor *t,
    int ndim, const char *need, caps_error *err);

/* A tensor that has to be of this type and shape. */
caps_status caps_require_tensor(const char *operation, const char *name, const caps_tensor *t,
    caps_dtype dtype, int ndim, const size_t *shape, caps_error *err);

/* factors[0] * .. * factors[n-1], called `what`, is at most CAPS_REQUIRE_LIMIT. */
caps_status caps_require_count(
    const char *operation, const char *what, int n, const size_t *factors, caps_error *err);

/* The least power of two that is at least n, but at most `limit` (a power of two). */
static inline size_t caps_row_width(size_t n, size_t limit)
{
    size_t width = 1;
    while (width < n && width < limit)
        width *= 2;
    return width;
}

#endif
