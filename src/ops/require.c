/* require.c: see require.h. */
#include "require.h"

#include <stdio.h>

#include "fail.h"

#define SHAPE_BYTES 160

static const char *type_name(caps_dtype dtype)
{
    return dtype == CAPS_F32 ? "float32" : "int32";
}

/* "[3, 4]" */
static const char *require_shape_text(char text[SHAPE_BYTES], int ndim, const size_t *shape)
{
    size_t used = (size_t)snprintf(text, SHAPE_BYTES, "[");
    for (int n = 0; n < ndim && n < CAPS_MAX_DIMS; n++)
        used += (size_t)snprintf(text + used, SHAPE_BYTES - used, n ? ", %zu" : "%zu", shape[n]);
    snprintf(text + used, SHAPE_BYTES - used, "]");
    return text;
}

caps_status caps_require_source(const char *operation, const char *name, const caps_tensor *t,
    int ndim, const char *need, caps_error *err)
{
    char have[SHAPE_BYTES];
    if (!t || !t->buffer)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "%s: %s has no buffer, need float32 %s", operation, name, need);
    bool fits = t->ndim == ndim && t->dtype == CAPS_F32;
    for (int n = 0; fits && n < ndim; n++)
        fits = t->shape[n] > 0;
    if (!fits)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: %s is %s %s, need float32 %s", operation,
            name, type_name(t->dtype), require_shape_text(have, t->ndim, t->shape), need);
    return CAPS_OK;
}

caps_status caps_require_tensor(const char *operation, const char *name, const caps_tensor *t,
    caps_dtype dtype, int ndim, const size_t *shape, caps_error *err)
{
    char have[SHAPE_BYTES], need[SHAPE_BYTES];
    require_shape_text(need, ndim, shape);
    if (!t || !t->buffer)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: %s has no buffer, need %s %s", operation,
            name, type_name(dtype), need);
    bool fits = t->ndim == ndim && t->dtype == dtype;
    for (int n = 0; fits && n < ndim; n++)
        fits = t->shape[n] == shape[n];
    if (!fits)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: %s is %s %s, need %s %s", operation, name,
            type_name(t->dtype), require_shape_text(have, t->ndim, t->shape), type_name(dtype),
            need);
    return CAPS_OK;
}

caps_status caps_require_count(
    const char *operation, const char *what, int n, const size_t *factors, caps_error *err)
{
    size_t product = 1;
    for (int f = 0; f < n; f++) {
        if (factors[f] > 0 && product > SIZE_MAX / factors[f])
            return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: %s is beyond 2^64, need <= %zu",
                operation, what, CAPS_REQUIRE_LIMIT);
        product *= factors[f];
    }
    if (product > CAPS_REQUIRE_LIMIT)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: %s is %zu, need <= %zu", operation, what,
            product, CAPS_REQUIRE_LIMIT);
    return CAPS_OK;
}
