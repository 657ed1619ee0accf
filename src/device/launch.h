/* launch.h: how operations enqueue kernels.
 *
 * A kernel argument list is an array of caps_arg. A tensor becomes two kernel arguments, the buffer
 * and a `const ulong` offset in elements:
 *
 *     __kernel void squash_forward(__global float *v, const ulong v_offset, ..., const uint n)
 *
 *     const caps_arg args[] = {CAPS_ARG_TENSOR(v), CAPS_ARG_TENSOR(s), CAPS_ARG_UINT(n)};
 *     return caps_launch(rt, "squash_forward", CAPS_ARGS(args), 1, (size_t[]){n}, NULL, err);
 */
#ifndef CAPS_LAUNCH_H
#define CAPS_LAUNCH_H

#include <capscl/tensor.h>

typedef enum caps_arg_type {
    CAPS_ARG_TYPE_TENSOR, /* buffer, ulong offset; a NULL tensor gives CAPS_NONE for the offset */
    CAPS_ARG_TYPE_UINT,
    CAPS_ARG_TYPE_INT,
    CAPS_ARG_TYPE_FLOAT,
    CAPS_ARG_TYPE_LOCAL, /* local memory of `size` bytes */
} caps_arg_type;

typedef struct caps_arg {
    caps_arg_type type;
    const caps_tensor *tensor;
    union {
        cl_uint u;
        cl_int i;
        cl_float f;
        size_t size;
    } value;
} caps_arg;

#define CAPS_ARG_TENSOR(t)                                                                         \
    {                                                                                              \
        .type = CAPS_ARG_TYPE_TENSOR, .tensor = (t)                                                \
    }
#define CAPS_ARG_UINT(x)                                                                           \
    {                                                                                              \
        .type = CAPS_ARG_TYPE_UINT, .value.u = (cl_uint)(x)                                        \
    }
#define CAPS_ARG_INT(x)                                                                            \
    {                                                                                              \
        .type = CAPS_ARG_TYPE_INT, .value.i = (cl_int)(x)                                          \
    }
#define CAPS_ARG_FLOAT(x)                                                                          \
    {                                                                                              \
        .type = CAPS_ARG_TYPE_FLOAT, .value.f = (cl_float)(x)                                      \
    }
#define CAPS_ARG_LOCAL(n)                                                                          \
    {                                                                                              \
        .type = CAPS_ARG_TYPE_LOCAL, .value.size = (n)                                             \
    }
#define CAPS_ARGS(array) (array), (sizeof(array) / sizeof((array)[0]))

/* Enqueues `kernel` of the runtime's family program. global: ndim sizes; local: ndim sizes or NULL.
 * For the GPU family, local must divide global: see caps_round_up. local NULL: the CPU family runs
 * work-groups of one item (its kernels say reqd_work_group_size(1,1,1)). Any global size of 0
 * enqueues nothing. Fails with the kernel's name. */
caps_status caps_launch(caps_runtime *rt, const char *kernel, const caps_arg *args, size_t nargs,
    int ndim, const size_t *global, const size_t *local, caps_error *err);
/* The same of `count` independent items in one dimension, rounded up to whole work-groups: of
 * `group` items, or as many as fit, in the GPU family; of one in the CPU's. */
caps_status caps_launch_items(caps_runtime *rt, const char *kernel, const caps_arg *args,
    size_t nargs, size_t count, size_t group, caps_error *err);

/* A file cl/x.clt with the macros (" -DA=1 -DB=2") that it is built with: a program of its own. */
typedef struct caps_template {
    const char *file, *options;
} caps_template;

/* The same for a kernel of a template. */
caps_status caps_launch_template(caps_runtime *rt, const caps_template *template,
    const char *kernel, const caps_arg *args, size_t nargs, int ndim, const size_t *global,
    const size_t *local, caps_error *err);

/* caps_tensor_upload that only enqueues: `host` must stay as it is until the queue has passed. (A
 * simulator waits.) */
caps_status caps_tensor_put(
    caps_runtime *rt, const caps_tensor *t, const void *host, caps_error *err);

/* What caps_tensor_init refuses. */
caps_status caps_tensor_check_shape(int ndim, const size_t *shape, caps_error *err);
/* The tensor's elements for the host to read, until they are given back; waits for the queue, which
 * may not write to them meanwhile. Where the device is the processor nothing is copied. */
caps_status caps_tensor_map(
    caps_runtime *rt, const caps_tensor *t, const void **host, caps_error *err);
/* *host becomes NULL; NULL is allowed. */
caps_status caps_tensor_unmap(
    caps_runtime *rt, const caps_tensor *t, const void **host, caps_error *err);

static inline size_t caps_round_up(size_t n, size_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

static inline size_t caps_div_up(size_t n, size_t by)
{
    return (n + by - 1) / by;
}

static inline bool caps_is_gpu(const caps_runtime *rt)
{
    return caps_runtime_family(rt) == CAPS_FAMILY_GPU;
}

/* A simulator (Oclgrind): every instruction is interpreted, and what takes long takes minutes. */
bool caps_is_simulated(const caps_runtime *rt);

/* Largest work-group (a power of two, at most `requested`) that the device takes for any kernel. */
size_t caps_group_size(const caps_runtime *rt, size_t requested);
/* The side of the largest square group (a power of two, at most `requested`). */
size_t caps_group_side(const caps_runtime *rt, size_t requested);
/* Floats in a vector of the device; 0: it has none. */
size_t caps_runtime_vector_width(const caps_runtime *rt);

/* One more line for caps_runtime_take_warning; what waits to be shown is not lost to it. */
void caps_runtime_warn(caps_runtime *rt, const char *format, ...) CAPS_PRINTF(2, 3);

/* For time spent in a library that enqueues kernels of its own (CLBlast): begin waits for the queue
 * where profiling is on, and end waits again and books the time under `name`. For a trace they
 * enqueue a marker each. Without either both do nothing. */
caps_status caps_profile_begin(caps_runtime *rt, uint64_t *start_ns, caps_error *err);
caps_status caps_profile_end(
    caps_runtime *rt, const char *name, uint64_t start_ns, caps_error *err);

/* A device buffer of `bytes`, counted in caps_runtime_bytes; released with caps_buffer_free. Before
 * it calls the driver it checks max_alloc_bytes and global_mem_bytes (CAPS_ERR_DEVICE_MEMORY names
 * `what`, need and have). */
caps_status caps_buffer_create(
    cl_mem *out, caps_runtime *rt, size_t bytes, const char *what, caps_error *err);
void caps_buffer_free(caps_runtime *rt, cl_mem buffer, size_t bytes);

#endif
