/* capscl/tensor.h: a dense row-major array in a device buffer.
 *
 * A caps_tensor is a small value: buffer, offset and shape. A *view* shares another tensor's buffer
 * (or a cl_mem of the caller's) and is never released; a tensor made by caps_tensor_init owns its
 * buffer and is. Elements are 4 bytes wide: float32 or int32.
 */
#ifndef CAPSCL_TENSOR_H
#define CAPSCL_TENSOR_H

#include <capscl/device.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CAPS_MAX_DIMS 6

typedef enum caps_dtype {
    CAPS_F32,
    CAPS_I32,
} caps_dtype;

typedef struct caps_tensor {
    cl_mem buffer;
    size_t offset; /* of the first element, counted in elements, not bytes */
    int ndim;
    size_t shape[CAPS_MAX_DIMS];
    caps_dtype dtype;
    caps_runtime *owner; /* set where this tensor owns its buffer, else NULL */
} caps_tensor;

/* Number of elements: the product of the shape. */
CAPS_API size_t caps_tensor_count(const caps_tensor *t);
CAPS_API size_t caps_tensor_bytes(const caps_tensor *t);

/* Allocates. The content is undefined. Errors: CAPS_ERR_ARGUMENT (a zero dimension, too many
 * dimensions), CAPS_ERR_DEVICE_MEMORY (more than the device gives; the message has both sizes). */
CAPS_API caps_status caps_tensor_init(caps_tensor *t, caps_runtime *rt, caps_dtype dtype, int ndim,
    const size_t *shape, caps_error *err);
CAPS_API void caps_tensor_release(caps_tensor *t); /* zeroed tensors and views are allowed */

/* A tensor in memory of the caller: `host` has the elements, and stays as it is until the tensor is
 * released. A device that shares the host's memory works in it, without a copy, where it begins at
 * a multiple of CAPS_HOST_ALIGNMENT bytes; else the tensor has a buffer of its own, and the
 * elements are copied into it. Meanwhile the caller neither reads nor writes them. Errors: those of
 * caps_tensor_init, CAPS_ERR_ARGUMENT (host is NULL). */
enum { CAPS_HOST_ALIGNMENT = 64 };
CAPS_API caps_status caps_tensor_init_host(caps_tensor *t, caps_runtime *rt, caps_dtype dtype,
    int ndim, const size_t *shape, void *host, caps_error *err);
/* Waits for the queue; then `host`, the memory that the tensor was made with, has its elements.
 * Without a copy where there was none. */
CAPS_API caps_status caps_tensor_read_host(
    caps_runtime *rt, const caps_tensor *t, void *host, caps_error *err);

/* A view of `buffer` from element `offset` on. The buffer stays the caller's. */
CAPS_API caps_tensor caps_tensor_wrap(
    cl_mem buffer, size_t offset, caps_dtype dtype, int ndim, const size_t *shape);

/* Views of `t`: with another shape of the same count; or rows first .. first + rows of the leading
 * dimension. Sizes that do not fit are a fault of the caller (assert). */
CAPS_API caps_tensor caps_tensor_reshape(const caps_tensor *t, int ndim, const size_t *shape);
CAPS_API caps_tensor caps_tensor_rows(const caps_tensor *t, size_t first, size_t rows);

/* Host to device and back; `host` has caps_tensor_count(t) elements. Both block. */
CAPS_API caps_status caps_tensor_upload(
    caps_runtime *rt, const caps_tensor *t, const void *host, caps_error *err);
CAPS_API caps_status caps_tensor_download(
    caps_runtime *rt, const caps_tensor *t, void *host, caps_error *err);

/* Enqueued only. zero sets every element to 0. */
CAPS_API caps_status caps_tensor_zero(caps_runtime *rt, const caps_tensor *t, caps_error *err);
CAPS_API caps_status caps_tensor_copy(
    caps_runtime *rt, const caps_tensor *to, const caps_tensor *from, caps_error *err);

#ifdef __cplusplus
}
#endif
#endif
