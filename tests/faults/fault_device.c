/* fault_device.c: a device that fails, hangs or becomes slow while others go on. It stands before
 * the OpenCL library; see fault.h. Calls are counted by device, in the order in which contexts are
 * made for them: device0, device1, ...
 *
 *   FAULT=device1:250       the second device's 250th call fails
 *   FAULT=device1:+250      it is gone: that call fails, and all that follow
 *   FAULT_HOW=hang          what waits for it never comes back, other calls go well
 *   FAULT_HOW=slow:20       what waits for it comes back 20 ms later */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "fault_calls.h"

enum { DEVICES = 8 };

static fault_counter counters[DEVICES] = {{"device0", 0}, {"device1", 0}, {"device2", 0},
    {"device3", 0}, {"device4", 0}, {"device5", 0}, {"device6", 0}, {"device7", 0}};
static cl_device_id devices[DEVICES];
static size_t count;
static bool hangs;
static useconds_t slow_us;

__attribute__((constructor)) static void begin(void)
{
    const char *how = getenv("FAULT_HOW");
    fault_begin(counters, DEVICES, CL_OUT_OF_RESOURCES);
    hangs = how && strcmp(how, "hang") == 0;
    if (how && strncmp(how, "slow:", 5) == 0)
        slow_us = (useconds_t)(1000 * atoi(how + 5));
}

/* ---- whose call it is ----------------------------------------------------------------------- */

/* What `ask`, the library's own, says of an object; NULL: it does not. */
typedef cl_int (*ask_function)(const void *object, cl_uint what, size_t n, void *to, size_t *used);

static void *answer(const char *ask, const void *object, cl_uint what)
{
    ask_function real;
    void *found = NULL;
    fault_find(&real, ask);
    return object && real(object, what, sizeof found, &found, NULL) == CL_SUCCESS ? found : NULL;
}

static cl_device_id of_context(cl_context a)
{
    return answer("clGetContextInfo", a, CL_CONTEXT_DEVICES);
}

static cl_device_id of_queue(cl_command_queue a)
{
    return answer("clGetCommandQueueInfo", a, CL_QUEUE_DEVICE);
}

static cl_device_id of_memory(cl_mem a)
{
    return of_context(answer("clGetMemObjectInfo", a, CL_MEM_CONTEXT));
}

static cl_device_id of_program(cl_program a)
{
    return of_context(answer("clGetProgramInfo", a, CL_PROGRAM_CONTEXT));
}

static cl_device_id of_kernel(cl_kernel a)
{
    return of_context(answer("clGetKernelInfo", a, CL_KERNEL_CONTEXT));
}

static cl_device_id of_event(cl_event a)
{
    return of_queue(answer("clGetEventInfo", a, CL_EVENT_COMMAND_QUEUE)); /* of a part its own */
}

static cl_device_id of_platform(cl_platform_id a)
{
    (void)a;
    return NULL;
}

static cl_device_id of_number(cl_uint a)
{
    (void)a;
    return NULL;
}

static cl_device_id of_properties(const cl_context_properties *a)
{
    (void)a;
    return NULL;
}

#define DEVICE_OF(a)                                                                               \
    _Generic((a), cl_context: of_context, cl_command_queue: of_queue, cl_mem: of_memory,           \
        cl_program: of_program, cl_kernel: of_kernel, cl_event: of_event,                          \
        cl_platform_id: of_platform, cl_uint: of_number,                                           \
        const cl_context_properties *: of_properties)(a)

/* ---- what becomes of it --------------------------------------------------------------------- */

/* waits: the call comes back when the device has done something. True: it fails. */
static bool strike(cl_device_id device, bool waits)
{
    size_t i = 0;
    while (i < count && devices[i] != device)
        i++;
    if (!device || i == count || !fault_hit(i))
        return false;
    while (hangs && waits)
        pause();
    if (slow_us && waits)
        usleep(slow_us);
    return !hangs && !slow_us;
}

/* Arguments of a call, 0 where it has fewer. */
#define SECOND_OF(x, y, ...)   y
#define THIRD_OF(x, y, z, ...) z
#define SECOND(...)            SECOND_OF(__VA_ARGS__, 0, 0)
#define THIRD(...)             THIRD_OF(__VA_ARGS__, 0, 0, 0)

enum {
#define RETURN_PLACE(name, parameters, arguments)    place_##name,
#define OUT_PLACE(type, name, parameters, arguments) place_##name,
    RETURN_TABLE(RETURN_PLACE) OUT_TABLE(OUT_PLACE) PLACES
};

static bool strike_call(int place, cl_device_id device, uintptr_t second, uintptr_t third)
{
    if (place == place_clWaitForEvents)
        return strike(of_event(*(const cl_event *)second), true);
    if (place == place_clEnqueueReadBuffer || place == place_clEnqueueWriteBuffer ||
        place == place_clEnqueueMapBuffer) /* the third argument: it blocks */
        return strike(device, third != CL_FALSE);
    return strike(device, place == place_clFinish);
}

static void keep_device(int place, uintptr_t third)
{
    if (place == place_clCreateContext && count < DEVICES)
        devices[count++] = *(const cl_device_id *)third;
}

#define STRIKE(name, arguments)                                                                    \
    strike_call(                                                                                   \
        place_##name, DEVICE_OF(a), (uintptr_t)(SECOND arguments), (uintptr_t)(THIRD arguments))
#define RETURN_FUNCTION(name, parameters, arguments)                                               \
    cl_int name parameters                                                                         \
    {                                                                                              \
        static cl_int(*real) parameters;                                                           \
        if (!real)                                                                                 \
            fault_find(&real, #name);                                                              \
        return STRIKE(name, arguments) ? fault_code() : real arguments;                            \
    }
#define OUT_FUNCTION(type, name, parameters, arguments)                                            \
    type name parameters                                                                           \
    {                                                                                              \
        static type(*real) parameters;                                                             \
        if (!real)                                                                                 \
            fault_find(&real, #name);                                                              \
        keep_device(place_##name, (uintptr_t)(THIRD arguments));                                   \
        if (!STRIKE(name, arguments))                                                              \
            return real arguments;                                                                 \
        if (code)                                                                                  \
            *code = fault_code();                                                                  \
        return NULL;                                                                               \
    }
RETURN_TABLE(RETURN_FUNCTION)
OUT_TABLE(OUT_FUNCTION)
