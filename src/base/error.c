/* error.c: names of codes, and the writing of error reports. */
#include "fail.h"
#include "text.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

const char *caps_status_name(caps_status status)
{
    switch (status) {
#define CAPS_STATUS_NAME(name, text)                                                               \
    case name:                                                                                     \
        return #name;
        CAPS_STATUS_TABLE(CAPS_STATUS_NAME)
#undef CAPS_STATUS_NAME
    }
    return "CAPS_ERR_UNKNOWN";
}

const char *caps_status_text(caps_status status)
{
    switch (status) {
#define CAPS_STATUS_TEXT(name, text)                                                               \
    case name:                                                                                     \
        return text;
        CAPS_STATUS_TABLE(CAPS_STATUS_TEXT)
#undef CAPS_STATUS_TEXT
    }
    return "an unknown status";
}

/* Numbers in place of CL/cl.h: this layer knows no OpenCL, and a name that a newer header has must
 * not depend on the header at hand. */
static const struct {
    int code;
    const char *name;
} cl_names[] = {
    {0, "CL_SUCCESS"},
    {-1, "CL_DEVICE_NOT_FOUND"},
    {-2, "CL_DEVICE_NOT_AVAILABLE"},
    {-3, "CL_COMPILER_NOT_AVAILABLE"},
    {-4, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
    {-5, "CL_OUT_OF_RESOURCES"},
    {-6, "CL_OUT_OF_HOST_MEMORY"},
    {-7, "CL_PROFILING_INFO_NOT_AVAILABLE"},
    {-8, "CL_MEM_COPY_OVERLAP"},
    {-9, "CL_IMAGE_FORMAT_MISMATCH"},
    {-10, "CL_IMAGE_FORMAT_NOT_SUPPORTED"},
    {-11, "CL_BUILD_PROGRAM_FAILURE"},
    {-12, "CL_MAP_FAILURE"},
    {-13, "CL_MISALIGNED_SUB_BUFFER_OFFSET"},
    {-14, "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST"},
    {-15, "CL_COMPILE_PROGRAM_FAILURE"},
    {-16, "CL_LINKER_NOT_AVAILABLE"},
    {-17, "CL_LINK_PROGRAM_FAILURE"},
    {-18, "CL_DEVICE_PARTITION_FAILED"},
    {-19, "CL_KERNEL_ARG_INFO_NOT_AVAILABLE"},
    {-30, "CL_INVALID_VALUE"},
    {-31, "CL_INVALID_DEVICE_TYPE"},
    {-32, "CL_INVALID_PLATFORM"},
    {-33, "CL_INVALID_DEVICE"},
    {-34, "CL_INVALID_CONTEXT"},
    {-35, "CL_INVALID_QUEUE_PROPERTIES"},
    {-36, "CL_INVALID_COMMAND_QUEUE"},
    {-37, "CL_INVALID_HOST_PTR"},
    {-38, "CL_INVALID_MEM_OBJECT"},
    {-39, "CL_INVALID_IMAGE_FORMAT_DESCRIPTOR"},
    {-40, "CL_INVALID_IMAGE_SIZE"},
    {-41, "CL_INVALID_SAMPLER"},
    {-42, "CL_INVALID_BINARY"},
    {-43, "CL_INVALID_BUILD_OPTIONS"},
    {-44, "CL_INVALID_PROGRAM"},
    {-45, "CL_INVALID_PROGRAM_EXECUTABLE"},
    {-46, "CL_INVALID_KERNEL_NAME"},
    {-47, "CL_INVALID_KERNEL_DEFINITION"},
    {-48, "CL_INVALID_KERNEL"},
    {-49, "CL_INVALID_ARG_INDEX"},
    {-50, "CL_INVALID_ARG_VALUE"},
    {-51, "CL_INVALID_ARG_SIZE"},
    {-52, "CL_INVALID_KERNEL_ARGS"},
    {-53, "CL_INVALID_WORK_DIMENSION"},
    {-54, "CL_INVALID_WORK_GROUP_SIZE"},
    {-55, "CL_INVALID_WORK_ITEM_SIZE"},
    {-56, "CL_INVALID_GLOBAL_OFFSET"},
    {-57, "CL_INVALID_EVENT_WAIT_LIST"},
    {-58, "CL_INVALID_EVENT"},
    {-59, "CL_INVALID_OPERATION"},
    {-60, "CL_INVALID_GL_OBJECT"},
    {-61, "CL_INVALID_BUFFER_SIZE"},
    {-62, "CL_INVALID_MIP_LEVEL"},
    {-63, "CL_INVALID_GLOBAL_WORK_SIZE"},
    {-64, "CL_INVALID_PROPERTY"},
    {-65, "CL_INVALID_IMAGE_DESCRIPTOR"},
    {-66, "CL_INVALID_COMPILER_OPTIONS"},
    {-67, "CL_INVALID_LINKER_OPTIONS"},
    {-68, "CL_INVALID_DEVICE_PARTITION_COUNT"},
    {-69, "CL_INVALID_PIPE_SIZE"},
    {-70, "CL_INVALID_DEVICE_QUEUE"},
    {-71, "CL_INVALID_SPEC_ID"},
    {-72, "CL_MAX_SIZE_RESTRICTION_EXCEEDED"},
    {-1001, "CL_PLATFORM_NOT_FOUND_KHR"},
};

const char *caps_cl_error_name(int cl_code)
{
    for (size_t i = 0; i < sizeof cl_names / sizeof cl_names[0]; i++)
        if (cl_names[i].code == cl_code)
            return cl_names[i].name;
    return "CL_ERROR";
}

/* Long enough for two paths of PATH_MAX in one message before it is shortened. */
#define SCRATCH_BYTES 9000

static int is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Stores `from` as the message: one line that can be shown (a path may hold any byte, and a parser
 * may quote a line break), and where it is too long the middle goes, because the thing stands at
 * the start and the need at the end. */
static void message_set(caps_error *err, const char *from)
{
    char text[SCRATCH_BYTES];
    caps_text_clean(text, sizeof text, from);
    size_t n = strlen(text);
    if (n < sizeof err->message) {
        memcpy(err->message, text, n + 1);
        return;
    }
    const char *gap = " ... ";
    size_t space = sizeof err->message - 1 - strlen(gap);
    size_t head = space / 2, tail = n - (space - head);
    while (head > 0 && is_continuation(text[head]))
        head--;
    while (is_continuation(text[tail]))
        tail++;
    snprintf(err->message, sizeof err->message, "%.*s%s%s", (int)head, text, gap, text + tail);
}

caps_status caps_fail(caps_error *err, caps_status status, const char *format, ...)
{
    if (!err)
        return status;
    /* Formatted aside first: an argument may point into *err. */
    char text[SCRATCH_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    err->status = status;
    err->cl_code = 0;
    err->build_log[0] = '\0';
    message_set(err, text);
    return status;
}

caps_status caps_fail_cl(caps_error *err, int cl_code, const char *format, ...)
{
    enum { ALLOCATION_FAILURE = -4, OUT_OF_HOST_MEMORY = -6, INVALID_BUFFER_SIZE = -61 };
    /* CL_OUT_OF_RESOURCES is not among them: drivers give it for any fault of a kernel. */
    caps_status status = cl_code == ALLOCATION_FAILURE || cl_code == OUT_OF_HOST_MEMORY ||
                                 cl_code == INVALID_BUFFER_SIZE
                             ? CAPS_ERR_DEVICE_MEMORY
                             : CAPS_ERR_OPENCL;
    if (!err)
        return status;
    char text[SCRATCH_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    caps_fail(err, status, "%s: %s (%d)", text, caps_cl_error_name(cl_code), cl_code);
    err->cl_code = cl_code;
    return status;
}

caps_status caps_fail_errno(caps_error *err, caps_status status, const char *format, ...)
{
    int code = errno;
    if (!err)
        return status;
    char text[SCRATCH_BYTES], reason[128];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (strerror_r(code, reason, sizeof reason) != 0)
        snprintf(reason, sizeof reason, "system error %d", code);
    return caps_fail(err, status, "%s: %s", text, reason);
}

caps_status caps_fail_prefix(caps_error *err, caps_status status, const char *format, ...)
{
    if (!err)
        return status;
    char text[SCRATCH_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t used = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    snprintf(text + used, sizeof text - used, ": %s", err->message);
    err->status = status;
    message_set(err, text);
    return status;
}
