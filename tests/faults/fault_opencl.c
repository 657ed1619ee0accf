/* fault_opencl.c: stands before the OpenCL library; see fault.h. Besides `FAULT`:
 *
 *   FAULT_DEVICE=units:0    what clGetDeviceInfo says of the units, type, memory, buffer, local,
 *                           name, vendor: a number, or a text */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "fault_calls.h"

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
