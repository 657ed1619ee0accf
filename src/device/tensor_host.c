/* tensor_host.c: tensors in memory of the caller. */
#include <stdint.h>
#include <string.h>

#include "fail.h"
#include "launch.h"
#include "runtime_state.h"

/* Where a device may work in the caller's memory. */
static bool is_shared(const caps_runtime *rt, const void *host)
{
    return rt->device.shares_host_memory && !caps_is_simulated(rt) &&
           (uintptr_t)host % CAPS_HOST_ALIGNMENT == 0;
}

/* On failure *t has a buffer of its own still. */
static caps_status share(caps_tensor *t, caps_runtime *rt, void *host, caps_error *err)
{
    cl_int code = CL_SUCCESS;
    cl_mem buffer = clCreateBuffer(
        rt->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, caps_tensor_bytes(t), host, &code);
    if (code != CL_SUCCESS)
        return caps_fail_cl(
            err, code, "a buffer in the caller's memory, %zu bytes", caps_tensor_bytes(t));
    t->buffer = buffer;
    t->owner = rt;
    rt->bytes += caps_tensor_bytes(t);
    return CAPS_OK;
}

caps_status caps_tensor_init_host(caps_tensor *t, caps_runtime *rt, caps_dtype dtype, int ndim,
    const size_t *shape, void *host, caps_error *err)
{
    caps_tensor made = {.ndim = ndim, .dtype = dtype};
    caps_status status;
    memset(t, 0, sizeof *t);
    if (!host)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "tensor: the host memory is NULL, need some");
    CAPS_TRY(caps_tensor_check_shape(ndim, shape, err));
    memcpy(made.shape, shape, (size_t)ndim * sizeof *shape);
    if (is_shared(rt, host)) {
        CAPS_TRY(share(&made, rt, host, err));
    } else {
        CAPS_TRY(caps_tensor_init(&made, rt, dtype, ndim, shape, err));
        CAPS_TRY(caps_tensor_upload(rt, &made, host, err));
    }
    *t = made;
    return CAPS_OK;
done:
    caps_tensor_release(&made);
    return status;
}

caps_status caps_tensor_read_host(
    caps_runtime *rt, const caps_tensor *t, void *host, caps_error *err)
{
    void *own = NULL;
    const void *mapped = NULL;
    caps_status status;
    const cl_int code = clGetMemObjectInfo(t->buffer, CL_MEM_HOST_PTR, sizeof own, &own, NULL);
    if (code != CL_SUCCESS)
        return caps_fail_cl(err, code, "tensor: its host memory");
    if (!own || (char *)own + t->offset * sizeof(float) != (char *)host)
        return caps_tensor_download(rt, t, host, err);
    CAPS_TRY(caps_tensor_map(rt, t, &mapped, err));
    CAPS_TRY(caps_tensor_unmap(rt, t, &mapped, err));
    CAPS_TRY(caps_runtime_finish(rt, err));
done:
    return status;
}
