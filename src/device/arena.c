/* arena.c: see arena.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "fail.h"
#include "launch.h"

#define ELEMENT_BYTES 4
/* Every tensor begins on a multiple of this: whole cache lines and vectors on all devices we
 * know. */
#define ALIGN_BYTES 256

typedef struct request {
    caps_tensor *tensor;
    uint64_t bytes; /* aligned */
    caps_purpose purpose;
} request;

typedef struct block {
    cl_mem buffer;
    uint64_t bytes;
} block;

struct caps_arena {
    caps_runtime *rt; /* set by commit */
    request *requests;
    size_t count, capacity;
    block *blocks;
    size_t block_count;
};

caps_status caps_arena_create(caps_arena **out, caps_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? CAPS_OK : caps_fail(err, CAPS_ERR_MEMORY, "out of memory for an arena");
}

void caps_arena_free(caps_arena *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->block_count; i++)
        caps_buffer_free(a->rt, a->blocks[i].buffer, (size_t)a->blocks[i].bytes);
    free(a->blocks);
    free(a->requests);
    free(a);
}

caps_status caps_arena_add(caps_arena *a, caps_tensor *t, caps_purpose purpose, caps_dtype dtype,
    int ndim, const size_t *shape, caps_error *err)
{
    uint64_t count = 1;
    assert(!a->rt && ndim >= 1 && ndim <= CAPS_MAX_DIMS);
    for (int d = 0; d < ndim; d++) {
        if (shape[d] == 0)
            return caps_fail(err, CAPS_ERR_ARGUMENT, "arena: dimension %d is 0, need >= 1", d);
        if (count > ((uint64_t)1 << 56) / ELEMENT_BYTES / shape[d])
            return caps_fail(err, CAPS_ERR_DEVICE_MEMORY,
                "a tensor with a dimension of %zu is larger than any memory", shape[d]);
        count *= shape[d];
    }
    if (a->count == a->capacity) {
        size_t capacity = a->capacity ? 2 * a->capacity : 32;
        request *grown = realloc(a->requests, capacity * sizeof *grown);
        if (!grown)
            return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for an arena's plan");
        a->requests = grown;
        a->capacity = capacity;
    }
    memset(t, 0, sizeof *t);
    t->ndim = ndim;
    t->dtype = dtype;
    memcpy(t->shape, shape, (size_t)ndim * sizeof *shape);
    uint64_t bytes = (count * ELEMENT_BYTES + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    a->requests[a->count++] = (request){t, bytes, purpose};
    return CAPS_OK;
}

uint64_t caps_arena_bytes(const caps_arena *a, caps_purpose purpose)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < a->count; i++)
        if (purpose == CAPS_PURPOSE_COUNT || a->requests[i].purpose == purpose)
            bytes += a->requests[i].bytes;
    return bytes;
}

uint64_t caps_arena_largest(const caps_arena *a)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < a->count; i++)
        if (a->requests[i].bytes > bytes)
            bytes = a->requests[i].bytes;
    return bytes;
}

static caps_status check_fit(const caps_arena *a, caps_runtime *rt, caps_error *err)
{
    const caps_device_info *device = caps_runtime_device(rt);
    const double mib = 1.0 / (1024 * 1024);
    uint64_t total = caps_arena_bytes(a, CAPS_PURPOSE_COUNT);
    if (total > device->global_mem_bytes)
        return caps_fail(err, CAPS_ERR_DEVICE_MEMORY,
            "%.1f MiB of device memory needed, device %s (%s) has %.1f MiB", (double)total * mib,
            device->id, device->name, (double)device->global_mem_bytes * mib);
    for (size_t i = 0; i < a->count; i++)
        if (a->requests[i].bytes > device->max_alloc_bytes)
            return caps_fail(err, CAPS_ERR_DEVICE_MEMORY,
                "one tensor of %.1f MiB needed, the largest that device %s (%s) gives is %.1f MiB",
                (double)a->requests[i].bytes * mib, device->id, device->name,
                (double)device->max_alloc_bytes * mib);
    return CAPS_OK;
}

caps_status caps_arena_commit(caps_arena *a, caps_runtime *rt, caps_error *err)
{
    uint64_t most = caps_runtime_device(rt)->max_alloc_bytes;
    size_t *of_block = NULL; /* [count] block of each request */
    caps_status status = check_fit(a, rt, err);
    if (status != CAPS_OK || a->count == 0)
        return status;
    a->rt = rt;
    of_block = malloc(a->count * sizeof *of_block);
    a->blocks = calloc(a->count, sizeof *a->blocks);
    if (!of_block || !a->blocks) {
        status = caps_fail(err, CAPS_ERR_MEMORY, "out of memory for an arena's blocks");
        goto done;
    }
    /* First fit, in the order of the requests. */
    for (size_t i = 0; i < a->count; i++) {
        size_t b = 0;
        while (b < a->block_count && a->blocks[b].bytes + a->requests[i].bytes > most)
            b++;
        if (b == a->block_count)
            a->block_count++;
        of_block[i] = b;
        a->requests[i].tensor->offset = (size_t)(a->blocks[b].bytes / ELEMENT_BYTES);
        a->blocks[b].bytes += a->requests[i].bytes;
    }
    for (size_t b = 0; b < a->block_count; b++)
        CAPS_TRY(caps_buffer_create(
            &a->blocks[b].buffer, rt, (size_t)a->blocks[b].bytes, "the model's memory", err));
    for (size_t i = 0; i < a->count; i++)
        a->requests[i].tensor->buffer = a->blocks[of_block[i]].buffer;
done:
    free(of_block);
    return status;
}
