/* fault_opencl.c: stands before the OpenCL library; see fault.h. Besides `FAULT`:
 *
 *   FAULT_DEVICE=units:0    what clGetDeviceInfo says of the units, type, memory, buffer, local,
 *                           name, vendor: a number, or a text
 *
 * Functions that only take a reference away are left out: nothing can be done about their failure
 * but to go on. */
#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include <stdlib.h>
#include <string.h>

#include "fault.h"

typedef void (*context_callback)(const char *, const void *, size_t, void *);
typedef void (*build_callback)(cl_program, void *);

/* X(name, parameters, arguments): gives back its code. */
#define RETURN_TABLE(X)                                                                            \
    X(clBuildProgram,                                                                              \
        (cl_program a, cl_uint b, const cl_device_id *c, const char *d, build_callback e,          \
            void *f),                                                                              \
        (a, b, c, d, e, f))                                                                        \
    X(clEnqueueCopyBuffer,                                                                         \
        (cl_command_queue a, cl_mem b, cl_mem c, size_t d, size_t e, size_t f, cl_uint g,          \
            const cl_event *h, cl_event *i),                                                       \
        (a, b, c, d, e, f, g, h, i))                                                               \
    X(clEnqueueFillBuffer,                                                                         \
        (cl_command_queue a, cl_mem b, const void *c, size_t d, size_t e, size_t f, cl_uint g,     \
            const cl_event *h, cl_event *i),                                                       \
        (a, b, c, d, e, f, g, h, i))                                                               \
    X(clEnqueueMarkerWithWaitList,                                                                 \
        (cl_command_queue a, cl_uint b, const cl_event *c, cl_event *d), (a, b, c, d))             \
    X(clEnqueueNDRangeKernel,                                                                      \
        (cl_command_queue a, cl_kernel b, cl_uint c, const size_t *d, const size_t *e,             \
            const size_t *f, cl_uint g, const cl_event *h, cl_event *i),                           \
        (a, b, c, d, e, f, g, h, i))                                                               \
    X(clEnqueueReadBuffer,                                                                         \
        (cl_command_queue a, cl_mem b, cl_bool c, size_t d, size_t e, void *f, cl_uint g,          \
            const cl_event *h, cl_event *i),                                                       \
        (a, b, c, d, e, f, g, h, i))                                                               \
    X(clEnqueueUnmapMemObject,                                                                     \
        (cl_command_queue a, cl_mem b, void *c, cl_uint d, const cl_event *e, cl_event *f),        \
        (a, b, c, d, e, f))                                                                        \
    X(clEnqueueWriteBuffer,                                                                        \
        (cl_command_queue a, cl_mem b, cl_bool c, size_t d, size_t e, const void *f, cl_uint g,    \
            const cl_event *h, cl_event *i),                                                       \
        (a, b, c, d, e, f, g, h, i))                                                               \
    X(clFinish, (cl_command_queue a), (a))                                                         \
    X(clFlush, (cl_command_queue a), (a))                                                          \
    X(clGetCommandQueueInfo,                                                                       \
        (cl_command_queue a, cl_command_queue_info b, size_t c, void *d, size_t *e),               \
        (a, b, c, d, e))                                                                           \
    X(clGetDeviceIDs,                                                                              \
        (cl_platform_id a, cl_device_type b, cl_uint c, cl_device_id * d, cl_uint * e),            \
        (a, b, c, d, e))                                                                           \
    X(clGetEventInfo, (cl_event a, cl_event_info b, size_t c, void *d, size_t *e),                 \
        (a, b, c, d, e))                                                                           \
    X(clGetEventProfilingInfo, (cl_event a, cl_profiling_info b, size_t c, void *d, size_t *e),    \
        (a, b, c, d, e))                                                                           \
    X(clGetKernelInfo, (cl_kernel a, cl_kernel_info b, size_t c, void *d, size_t *e),              \
        (a, b, c, d, e))                                                                           \
    X(clGetMemObjectInfo, (cl_mem a, cl_mem_info b, size_t c, void *d, size_t *e),                 \
        (a, b, c, d, e))                                                                           \
    X(clGetPlatformIDs, (cl_uint a, cl_platform_id * b, cl_uint * c), (a, b, c))                   \
    X(clGetPlatformInfo, (cl_platform_id a, cl_platform_info b, size_t c, void *d, size_t *e),     \
        (a, b, c, d, e))                                                                           \
    X(clGetProgramBuildInfo,                                                                       \
        (cl_program a, cl_device_id b, cl_program_build_info c, size_t d, void *e, size_t *f),     \
        (a, b, c, d, e, f))                                                                        \
    X(clGetProgramInfo, (cl_program a, cl_program_info b, size_t c, void *d, size_t *e),           \
        (a, b, c, d, e))                                                                           \
    X(clRetainEvent, (cl_event a), (a))                                                            \
    X(clSetKernelArg, (cl_kernel a, cl_uint b, size_t c, const void *d), (a, b, c, d))             \
    X(clWaitForEvents, (cl_uint a, const cl_event *b), (a, b))

/* X(type, name, parameters, arguments): gives its code in the last argument, `code`. */
#define OUT_TABLE(X)                                                                               \
    X(cl_mem, clCreateBuffer, (cl_context a, cl_mem_flags b, size_t c, void *d, cl_int *code),     \
        (a, b, c, d, code))                                                                        \
    X(cl_command_queue, clCreateCommandQueue,                                                      \
        (cl_context a, cl_device_id b, cl_command_queue_properties c, cl_int * code),              \
        (a, b, c, code))                                                                           \
    X(cl_context, clCreateContext,                                                                 \
        (const cl_context_properties *a, cl_uint b, const cl_device_id *c, context_callback d,     \
            void *e, cl_int *code),                                                                \
        (a, b, c, d, e, code))                                                                     \
    X(cl_kernel, clCreateKernel, (cl_program a, const char *b, cl_int *code), (a, b, code))        \
    X(cl_program, clCreateProgramWithBinary,                                                       \
        (cl_context a, cl_uint b, const cl_device_id *c, const size_t *d, const unsigned char **e, \
            cl_int *f, cl_int *code),                                                              \
        (a, b, c, d, e, f, code))                                                                  \
    X(cl_program, clCreateProgramWithSource,                                                       \
        (cl_context a, cl_uint b, const char **c, const size_t *d, cl_int *code),                  \
        (a, b, c, d, code))                                                                        \
    X(void *, clEnqueueMapBuffer,                                                                  \
        (cl_command_queue a, cl_mem b, cl_bool c, cl_map_flags d, size_t e, size_t f, cl_uint g,   \
            const cl_event *h, cl_event *i, cl_int *code),                                         \
        (a, b, c, d, e, f, g, h, i, code))

enum {
#define RETURN_PLACE(name, parameters, arguments)    place_##name,
#define OUT_PLACE(type, name, parameters, arguments) place_##name,
    RETURN_TABLE(RETURN_PLACE) OUT_TABLE(OUT_PLACE) place_clGetDeviceInfo,
    PLACES
};

static fault_counter counters[PLACES] = {
#define RETURN_NAME(name, parameters, arguments)    {#name, 0},
#define OUT_NAME(type, name, parameters, arguments) {#name, 0},
    RETURN_TABLE(RETURN_NAME) OUT_TABLE(OUT_NAME){"clGetDeviceInfo", 0}};

__attribute__((constructor)) static void begin(void)
{
    fault_begin(counters, PLACES, CL_OUT_OF_RESOURCES);
}

#define RETURN_FUNCTION(name, parameters, arguments)                                               \
    cl_int name parameters                                                                         \
    {                                                                                              \
        static cl_int(*real) parameters;                                                           \
        if (!real)                                                                                 \
            fault_find(&real, #name);                                                              \
        return fault_hit(place_##name) ? fault_code() : real arguments;                            \
    }
#define OUT_FUNCTION(type, name, parameters, arguments)                                            \
    type name parameters                                                                           \
    {                                                                                              \
        static type(*real) parameters;                                                             \
        if (!real)                                                                                 \
            fault_find(&real, #name);                                                              \
        if (!fault_hit(place_##name))                                                              \
            return real arguments;                                                                 \
        if (code)                                                                                  \
            *code = fault_code();                                                                  \
        return NULL;                                                                               \
    }
RETURN_TABLE(RETURN_FUNCTION)
OUT_TABLE(OUT_FUNCTION)

/* ---- devices that say odd things ------------------------------------------------------------ */

static const struct {
    const char *name;
    cl_device_info what;
    size_t bytes; /* 0: a text */
} answers[] = {{"units", CL_DEVICE_MAX_COMPUTE_UNITS, sizeof(cl_uint)},
    {"type", CL_DEVICE_TYPE, sizeof(cl_device_type)},
    {"memory", CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(cl_ulong)},
    {"buffer", CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(cl_ulong)},
    {"local", CL_DEVICE_LOCAL_MEM_SIZE, sizeof(cl_ulong)},
    {"group", CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(size_t)}, {"name", CL_DEVICE_NAME, 0},
    {"vendor", CL_DEVICE_VENDOR, 0}};

/* The answer that was asked for, or NULL; *n its bytes. */
static const void *odd_answer(cl_device_info what, size_t *n)
{
    static cl_ulong number;
    const char *text = getenv("FAULT_DEVICE"), *colon = text ? strchr(text, ':') : NULL;
    for (size_t i = 0; colon && i < sizeof answers / sizeof answers[0]; i++) {
        const size_t length = (size_t)(colon - text);
        if (answers[i].what != what || strlen(answers[i].name) != length ||
            strncmp(answers[i].name, text, length) != 0)
            continue;
        number =
            strtoull(colon + 1, NULL, 0); /* little-endian: its first bytes are smaller types */
        *n = answers[i].bytes ? answers[i].bytes : strlen(colon + 1) + 1;
        return answers[i].bytes ? (const void *)&number : colon + 1;
    }
    return NULL;
}

cl_int clGetDeviceInfo(cl_device_id a, cl_device_info b, size_t c, void *d, size_t *e)
{
    static cl_int (*real)(cl_device_id, cl_device_info, size_t, void *, size_t *);
    size_t n;
    if (!real)
        fault_find(&real, "clGetDeviceInfo");
    if (fault_hit(place_clGetDeviceInfo))
        return fault_code();
    const void *answer = odd_answer(b, &n);
    if (!answer)
        return real(a, b, c, d, e);
    if (e)
        *e = n;
    if (d && c < n)
        return CL_INVALID_VALUE;
    if (d)
        memcpy(d, answer, n);
    return CL_SUCCESS;
}
