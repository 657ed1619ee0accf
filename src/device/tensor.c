/* tensor.c: see capscl/tensor.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "trace.h"

#define ELEMENT_BYTES 4

size_t caps_tensor_count(const caps_tensor *t)
{
    size_t count = 1;
    for (int d = 0; d < t->ndim; d++)
        count *= t->shape[d];
    return count;
}

size_t caps_tensor_bytes(const caps_tensor *t)
{
    return caps_tensor_count(t) * ELEMENT_BYTES;
}

caps_status caps_tensor_check_shape(int ndim, const size_t *shape, caps_error *err)
{
    size_t count = 1;
    if (ndim < 1 || ndim > CAPS_MAX_DIMS)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "tensor: %d dimensions, need 1 to %d", ndim, CAPS_MAX_DIMS);
    for (int d = 0; d < ndim; d++) {
        if (shape[d] == 0)
            return caps_fail(err, CAPS_ERR_ARGUMENT, "tensor: dimension %d is 0, need >= 1", d);
        if (count > SIZE_MAX / ELEMENT_BYTES / shape[d])
            return caps_fail(err, CAPS_ERR_DEVICE_MEMORY,
                "tensor: dimension %d of %zu makes it larger than memory can be", d, shape[d]);
        count *= shape[d];
    }
    return CAPS_OK;
}

caps_status caps_tensor_init(caps_tensor *t, caps_runtime *rt, caps_dtype dtype, int ndim,
    const size_t *shape, caps_error *err)
{
    memset(t, 0, sizeof *t);
    caps_status status = caps_tensor_check_shape(ndim, shape, err);
    if (status != CAPS_OK)
        return status;
    caps_tensor made = {.ndim = ndim, .dtype = dtype};
    memcpy(made.shape, shape, (size_t)ndim * sizeof *shape);
    status = caps_buffer_create(&made.buffer, rt, caps_tensor_bytes(&made), "a tensor", err);
    if (status != CAPS_OK)
        return status;
    made.owner = rt;
    *t = made;
    return CAPS_OK;
}

void caps_tensor_release(caps_tensor *t)
{
    if (t->owner)
        caps_buffer_free(t->owner, t->buffer, caps_tensor_bytes(t));
    memset(t, 0, sizeof *t);
}

caps_tensor caps_tensor_wrap(
    cl_mem buffer, size_t offset, caps_dtype dtype, int ndim, const size_t *shape)
{
    assert(ndim >= 1 && ndim <= CAPS_MAX_DIMS);
    caps_tensor t = {.buffer = buffer, .offset = offset, .ndim = ndim, .dtype = dtype};
    memcpy(t.shape, shape, (size_t)ndim * sizeof *shape);
    return t;
}

caps_tensor caps_tensor_reshape(const caps_tensor *t, int ndim, const size_t *shape)
{
    caps_tensor view = caps_tensor_wrap(t->buffer, t->offset, t->dtype, ndim, shape);
    assert(caps_tensor_count(&view) == caps_tensor_count(t));
    return view;
}

caps_tensor caps_tensor_rows(const caps_tensor *t, size_t first, size_t rows)
{
    assert(first <= t->shape[0] && rows <= t->shape[0] - first);
    caps_tensor view = *t;
    view.owner = NULL;
    view.shape[0] = 1;
    view.offset += first * caps_tensor_count(&view);
    view.shape[0] = rows;
    return view;
}

/* For Oclgrind, which takes all of a buffer for uninitialised after the host wrote a part of it
 * that is not its beginning: writes the whole buffer again. host NULL: zeros. */
static cl_int rewrite(caps_runtime *rt, const caps_tensor *t, const void *host)
{
    size_t all = 0;
    cl_int code = clGetMemObjectInfo(t->buffer, CL_MEM_SIZE, sizeof all, &all, NULL);
    if (code != CL_SUCCESS)
        return code;
    unsigned char *content = malloc(all);
    if (!content)
        return CL_OUT_OF_HOST_MEMORY;
    cl_command_queue queue = caps_runtime_queue(rt);
    code = clEnqueueReadBuffer(queue, t->buffer, CL_TRUE, 0, all, content, 0, NULL, NULL);
    if (host)
        memcpy(content + t->offset * ELEMENT_BYTES, host, caps_tensor_bytes(t));
    else
        memset(content + t->offset * ELEMENT_BYTES, 0, caps_tensor_bytes(t));
    if (code == CL_SUCCESS)
        code = clEnqueueWriteBuffer(queue, t->buffer, CL_TRUE, 0, all, content, 0, NULL, NULL);
    free(content);
    return code;
}

static caps_status upload(
    caps_runtime *rt, const caps_tensor *t, const void *host, cl_bool wait, caps_error *err)
{
    cl_event event = NULL;
    cl_int code = caps_is_simulated(rt) ? rewrite(rt, t, host)
                                        : clEnqueueWriteBuffer(caps_runtime_queue(rt), t->buffer,
                                              wait, t->offset * ELEMENT_BYTES, caps_tensor_bytes(t),
                                              host, 0, NULL, caps_trace_request(rt, &event));
    caps_trace_take(rt, "upload", caps_tensor_bytes(t), event);
    return code == CL_SUCCESS
               ? CAPS_OK
               : caps_fail_cl(err, code, "upload of %zu bytes", caps_tensor_bytes(t));
}

caps_status caps_tensor_upload(
    caps_runtime *rt, const caps_tensor *t, const void *host, caps_error *err)
{
    return upload(rt, t, host, CL_TRUE, err);
}

caps_status caps_tensor_put(
    caps_runtime *rt, const caps_tensor *t, const void *host, caps_error *err)
{
    return upload(rt, t, host, CL_FALSE, err);
}

caps_status caps_tensor_download(
    caps_runtime *rt, const caps_tensor *t, void *host, caps_error *err)
{
    cl_event event = NULL;
    cl_int code =
        clEnqueueReadBuffer(caps_runtime_queue(rt), t->buffer, CL_TRUE, t->offset * ELEMENT_BYTES,
            caps_tensor_bytes(t), host, 0, NULL, caps_trace_request(rt, &event));
    caps_trace_take(rt, "download", caps_tensor_bytes(t), event);
    return code == CL_SUCCESS
               ? CAPS_OK
               : caps_fail_cl(err, code, "download of %zu bytes", caps_tensor_bytes(t));
}

caps_status caps_tensor_map(
    caps_runtime *rt, const caps_tensor *t, const void **host, caps_error *err)
{
    cl_event event = NULL;
    cl_int code = CL_SUCCESS;
    *host = clEnqueueMapBuffer(caps_runtime_queue(rt), t->buffer, CL_TRUE, CL_MAP_READ,
        t->offset * ELEMENT_BYTES, caps_tensor_bytes(t), 0, NULL, caps_trace_request(rt, &event),
        &code);
    caps_trace_take(rt, "map", caps_tensor_bytes(t), event);
    if (code == CL_SUCCESS && *host)
        return CAPS_OK;
    *host = NULL;
    return caps_fail_cl(err, code, "mapping of %zu bytes", caps_tensor_bytes(t));
}

caps_status caps_tensor_unmap(
    caps_runtime *rt, const caps_tensor *t, const void **host, caps_error *err)
{
    if (!*host)
        return CAPS_OK;
    cl_int code =
        clEnqueueUnmapMemObject(caps_runtime_queue(rt), t->buffer, (void *)*host, 0, NULL, NULL);
    *host = NULL;
    return code == CL_SUCCESS
               ? CAPS_OK
               : caps_fail_cl(err, code, "giving back %zu mapped bytes", caps_tensor_bytes(t));
}

caps_status caps_tensor_zero(caps_runtime *rt, const caps_tensor *t, caps_error *err)
{
    const cl_uint zero = 0;
    cl_event event = NULL;
    cl_int code = caps_is_simulated(rt)
                      ? rewrite(rt, t, NULL)
                      : clEnqueueFillBuffer(caps_runtime_queue(rt), t->buffer, &zero, sizeof zero,
                            t->offset * ELEMENT_BYTES, caps_tensor_bytes(t), 0, NULL,
                            caps_trace_request(rt, &event));
    caps_trace_take(rt, "zero", caps_tensor_bytes(t), event);
    return code == CL_SUCCESS
               ? CAPS_OK
               : caps_fail_cl(err, code, "zeroing of %zu bytes", caps_tensor_bytes(t));
}

/* For Oclgrind, which takes what a buffer is copied to for uninitialised. */
static cl_int copy_by_host(caps_runtime *rt, const caps_tensor *to, const caps_tensor *from)
{
    void *content = malloc(caps_tensor_bytes(from));
    if (!content)
        return CL_OUT_OF_HOST_MEMORY;
    cl_int code = clEnqueueReadBuffer(caps_runtime_queue(rt), from->buffer, CL_TRUE,
        from->offset * ELEMENT_BYTES, caps_tensor_bytes(from), content, 0, NULL, NULL);
    if (code == CL_SUCCESS)
        code = rewrite(rt, to, content);
    free(content);
    return code;
}

caps_status caps_tensor_copy(
    caps_runtime *rt, const caps_tensor *to, const caps_tensor *from, caps_error *err)
{
    if (caps_tensor_count(to) != caps_tensor_count(from))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "copy: %zu elements into %zu",
            caps_tensor_count(from), caps_tensor_count(to));
    cl_event event = NULL;
    cl_int code = caps_is_simulated(rt)
                      ? copy_by_host(rt, to, from)
                      : clEnqueueCopyBuffer(caps_runtime_queue(rt), from->buffer, to->buffer,
                            from->offset * ELEMENT_BYTES, to->offset * ELEMENT_BYTES,
                            caps_tensor_bytes(to), 0, NULL, caps_trace_request(rt, &event));
    caps_trace_take(rt, "copy", caps_tensor_bytes(to), event);
    return code == CL_SUCCESS ? CAPS_OK
                              : caps_fail_cl(err, code, "copy of %zu bytes", caps_tensor_bytes(to));
}
