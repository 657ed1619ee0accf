/* arena.h: device memory planned first, allocated once.
 *
 * The owner requests every tensor it will need (caps_arena_add), then caps_arena_commit lays them
 * out in as few buffers as the device's largest allocation permits and fills in their buffers and
 * offsets. Nothing is allocated after that. Tensors that belong together in one flat buffer
 * (parameters) are one request. */
#ifndef CAPS_ARENA_H
#define CAPS_ARENA_H

#include <capscl/tensor.h>

typedef enum caps_purpose {
    CAPS_PURPOSE_PARAMETERS,
    CAPS_PURPOSE_GRADIENTS,
    CAPS_PURPOSE_MOMENTS,
    CAPS_PURPOSE_ACTIVATIONS,
    CAPS_PURPOSE_WORKSPACE,
    CAPS_PURPOSE_COUNT,
} caps_purpose;

typedef struct caps_arena caps_arena;

caps_status caps_arena_create(caps_arena **out, caps_error *err);
void caps_arena_free(caps_arena *a); /* releases the buffers; NULL allowed */

/* *t gets its shape now, its buffer and offset at commit. t must stay where it is until then. */
caps_status caps_arena_add(caps_arena *a, caps_tensor *t, caps_purpose purpose, caps_dtype dtype,
    int ndim, const size_t *shape, caps_error *err);

/* Bytes planned so far for a purpose (alignment included); CAPS_PURPOSE_COUNT: in all. */
uint64_t caps_arena_bytes(const caps_arena *a, caps_purpose purpose);

/* Bytes of the largest tensor planned so far. */
uint64_t caps_arena_largest(const caps_arena *a);

/* Allocates: CAPS_ERR_DEVICE_MEMORY, before anything is allocated, where the plan is larger than
 * the device's memory or one tensor larger than its largest allocation; the message has both
 * numbers. */
caps_status caps_arena_commit(caps_arena *a, caps_runtime *rt, caps_error *err);

#endif
