/* call.h: kernel arguments put in one after the other, for kernels that have many. */
#ifndef CAPS_CALL_H
#define CAPS_CALL_H

#include "launch.h"

enum { CAPS_CALL_MOST = 32 };

typedef struct caps_call {
    caps_arg args[CAPS_CALL_MOST];
    size_t count;
} caps_call;

static inline void caps_put(caps_call *c, caps_arg arg)
{
    c->args[c->count++] = arg;
}

/* NULL: an optional tensor that is not there. */
static inline void caps_put_tensor(caps_call *c, const caps_tensor *t)
{
    caps_put(c, (caps_arg)CAPS_ARG_TENSOR(t));
}

static inline void caps_put_tensors(caps_call *c, size_t n, const caps_tensor *const *tensors)
{
    for (size_t i = 0; i < n; i++)
        caps_put_tensor(c, tensors[i]);
}

/* CAPS_PUT(&c, &y, &x, NULL): tensors, one argument each. */
#define CAPS_PUT(c, ...)                                                                           \
    caps_put_tensors(c, sizeof((const caps_tensor *const[]){__VA_ARGS__}) / sizeof(caps_tensor *), \
        (const caps_tensor *const[]){__VA_ARGS__})

static inline void caps_put_uint(caps_call *c, size_t x)
{
    caps_put(c, (caps_arg)CAPS_ARG_UINT(x));
}

static inline void caps_put_float(caps_call *c, float x)
{
    caps_put(c, (caps_arg)CAPS_ARG_FLOAT(x));
}

/* n numbers, one argument each. */
static inline void caps_put_sizes(caps_call *c, const size_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        caps_put_uint(c, x[i]);
}

static inline void caps_put_local(caps_call *c, size_t floats)
{
    caps_put(c, (caps_arg)CAPS_ARG_LOCAL(floats * sizeof(float)));
}

/* One dimension. */
static inline caps_status caps_call_groups(caps_runtime *rt, const char *kernel, const caps_call *c,
    size_t groups, size_t local, caps_error *err)
{
    const size_t global = groups * local;
    return caps_launch(rt, kernel, c->args, c->count, 1, &global, &local, err);
}

#endif
