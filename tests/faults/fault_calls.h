/* fault_calls.h: the functions of OpenCL that can fail and are used. Those that only take a reference
 * away are left out: nothing can be done about their failure but to go on. */
#ifndef CAPS_FAULT_CALLS_H
#define CAPS_FAULT_CALLS_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

typedef void (*context_callback)(const char *, const void *, size_t, void *);
typedef void (*build_callback)(cl_program, void *);

/* X(name, parameters, arguments): gives back its code. */
#define RETURN_TABLE(X)                                                                            \
    X(clBuildProgram,                                                                              \
        (cl_program a, cl_uint b, const cl_device_id *c, const char *d, build_callback e,          \
            void *f),                                                                              \
        (a, b, c, d, e, f))                                                                        \
    X(clEnqueueBarrierWithWaitList,                                                                \
        (cl_command_queue a, cl_uint b, const cl_event *c, cl_event *d), (a, b, c, d))             \
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

#endif
