/* capscl/device.h: OpenCL devices, their selection, and the runtime (context + in-order queue). */
#ifndef CAPSCL_DEVICE_H
#define CAPSCL_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>

#include <capscl/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum caps_device_type {
    CAPS_DEVICE_GPU,
    CAPS_DEVICE_CPU,
    CAPS_DEVICE_ACCELERATOR,
    CAPS_DEVICE_OTHER,
} caps_device_type;

typedef struct caps_device_info {
    cl_platform_id platform_handle;
    cl_device_id handle;
    int platform_index; /* position among the platforms, from 0 */
    int device_index;   /* position among the platform's devices, from 0 */
    char id[24];        /* "platform:device", e.g. "0:1" */
    char platform[160]; /* CL_PLATFORM_NAME */
    char vendor[160];   /* CL_DEVICE_VENDOR */
    char name[160];     /* CL_DEVICE_NAME */
    char version[160];  /* CL_DEVICE_VERSION */
    char driver[160];   /* CL_DRIVER_VERSION */
    caps_device_type type;
    uint32_t compute_units;
    uint64_t global_mem_bytes;
    uint64_t max_alloc_bytes;
    uint64_t local_mem_bytes;
    bool available;          /* the device can be used */
    char unusable[200];      /* why it cannot, as one phrase; "" where it can */
    bool shares_host_memory; /* CL_DEVICE_HOST_UNIFIED_MEMORY: a processor, an integrated GPU */
    uint32_t clock_mhz;      /* CL_DEVICE_MAX_CLOCK_FREQUENCY; 0: its driver does not say */
    /* What it could compute in float32 at most, by clock, units and their lanes (by vendor);
     * computed, not measured. For comparing devices. */
    double peak_gflops;
} caps_device_info;

/* "gpu", "cpu", "accelerator" or "other". */
CAPS_API const char *caps_device_type_name(caps_device_type type);

/* All devices of all platforms, in the loader's order. *list is freed with caps_device_list_free.
 * A machine without a platform gives CAPS_OK and *n = 0. */
CAPS_API caps_status caps_device_list(caps_device_info **list, size_t *n, caps_error *err);
CAPS_API void caps_device_list_free(caps_device_info *list);

/* Chooses from list[0..n) by `selector`:
 *   "0:1"               platform : device, as in caps_device_info.id
 *   "gpu" "cpu" "accelerator"   the best of that type: one with memory of its own before one that
 *                       shares the host's, then by peak_gflops, compute units, memory, order
 *   any other text      part of a platform's or a device's name, case ignored; must fit exactly one
 *   "S/N:k"             part k (from 0) of the device that S names, cut into N parts of equally
 *                       many compute units; the choice is the whole device, the runtime cuts it
 *   NULL or ""          $CAPSCL_DEVICE if set, else the best GPU, else the CPU, else what there is
 * *index is the choice; `reason` (at least 256 bytes, NULL allowed) says in one phrase why.
 * Errors: CAPS_ERR_NO_DEVICE (also: no platform at all), CAPS_ERR_AMBIGUOUS_DEVICE (the message
 * lists the devices that fit). */
CAPS_API caps_status caps_device_select(const caps_device_info *list, size_t n,
    const char *selector, size_t *index, char *reason, caps_error *err);

/* The selector of one device, as caps_device_info.id has it. */
enum { CAPS_DEVICES_MOST = 64, CAPS_DEVICE_SELECTOR = 256 };
typedef struct caps_device_selector {
    char text[CAPS_DEVICE_SELECTOR];
} caps_device_selector;

/* The devices that n selectors name together, in their order: each as above, or
 *   "all"               every device that can be used
 *   "S/N"               all N parts of the device that S names
 * into out[0..*count). Errors: those of caps_device_select; CAPS_ERR_ARGUMENT (a device is named
 * twice, or there are too many). */
CAPS_API caps_status caps_device_select_several(caps_device_selector out[CAPS_DEVICES_MOST],
    size_t *count, const char *const *selectors, size_t n, caps_error *err);

/* Kernel families: variants of the same operations written for different machines. */
typedef enum caps_family {
    CAPS_FAMILY_CPU, /* one work-item per tile, explicit vectors, no local memory */
    CAPS_FAMILY_GPU, /* work-groups, coalesced access, local-memory reductions */
} caps_family;

CAPS_API const char *caps_family_name(caps_family family);

typedef struct caps_runtime caps_runtime;

/* Members that are 0 or NULL have their defaults. Strings are copied. */
typedef struct caps_runtime_options {
    size_t size;         /* CAPS_OPTIONS(caps_runtime_options) */
    const char *kernels; /* "auto", "cpu", "gpu"; NULL: $CAPSCL_KERNELS, else auto by device type */
    /* Algorithms to use where more than one could serve: "gemm=direct,routing=stored,conv=im2col",
     * or "auto" for one of them. What is not named here, or NULL: $CAPSCL_GEMM, $CAPSCL_ROUTING,
     * $CAPSCL_CONV, else auto. capscl/ops.h has the names. */
    const char *algorithms;
    const char *cache_dir; /* NULL: $CAPSCL_CACHE, else capscl in the user's cache directory */
    const char *cl_path;   /* kernel sources from this directory; NULL: $CAPSCL_CL_PATH, else the
                              sources embedded in the library */
    bool profile;          /* time every kernel (slower); see capscl/experimental.h */
    const char *trace;     /* write what queue and host do to this file, in the Trace Event Format;
                              NULL: do not; see caps_runtime_trace_end */
    uint64_t trace_events; /* in the file; those that come later are left out; 0: 400,000 */
} caps_runtime_options;

/* Opens the device that `selector` chooses (see caps_device_select), with a context and an in-order
 * queue of our own. Kernels are built at first use and kept on disk. A runtime, and everything made
 * from it, is used by one thread at a time.
 * Errors: those of caps_device_select, CAPS_ERR_OPENCL, CAPS_ERR_ARGUMENT (an unknown family). */
CAPS_API caps_status caps_runtime_create(
    caps_runtime **out, const char *selector, const caps_runtime_options *options, caps_error *err);

/* The same on a context, device and queue that the caller has. They are retained, and released with
 * the runtime. The queue must be in-order (CAPS_ERR_ARGUMENT otherwise); a profile or
 * a trace needs one made with CL_QUEUE_PROFILING_ENABLE. */
CAPS_API caps_status caps_runtime_create_from(caps_runtime **out, cl_context context,
    cl_device_id device, cl_command_queue queue, const caps_runtime_options *options,
    caps_error *err);

/* Waits for the queue, then frees kernels, programs and handles. NULL is allowed. */
CAPS_API void caps_runtime_free(caps_runtime *rt);

CAPS_API const caps_device_info *caps_runtime_device(const caps_runtime *rt);
CAPS_API const char *caps_runtime_reason(const caps_runtime *rt); /* why this device was chosen */
CAPS_API caps_family caps_runtime_family(const caps_runtime *rt);
CAPS_API cl_context caps_runtime_context(const caps_runtime *rt);
CAPS_API cl_command_queue caps_runtime_queue(const caps_runtime *rt);

/* A one-line warning the runtime wants shown (for instance an unwritable cache directory), or NULL.
 * Each is returned once. */
CAPS_API const char *caps_runtime_take_warning(caps_runtime *rt);

/* Builds the kernels now (or loads them from the cache) that would be built at first use. A program
 * that has them already does nothing. Errors: CAPS_ERR_BUILD, CAPS_ERR_OPENCL. */
CAPS_API caps_status caps_runtime_build(caps_runtime *rt, caps_error *err);

/* Blocks until everything enqueued so far has run. */
CAPS_API caps_status caps_runtime_finish(caps_runtime *rt, caps_error *err);

/* Bytes of device buffers that this runtime has now, and the most it had at one time. */
CAPS_API uint64_t caps_runtime_bytes(const caps_runtime *rt);
CAPS_API uint64_t caps_runtime_peak_bytes(const caps_runtime *rt);

/* Waits for the queue and puts the trace (options.trace) under its name; until then, and where the
 * process is killed, what stood there is untouched. caps_runtime_free does it too, and says nothing
 * of a failure. A trace that cannot be written never fails another call. NULL is allowed.
 * Errors: CAPS_ERR_IO. */
CAPS_API caps_status caps_runtime_trace_end(caps_runtime *rt, caps_error *err);

#ifdef __cplusplus
}
#endif
#endif
