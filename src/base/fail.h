/* fail.h: how the library's own functions report failure. */
#ifndef CAPS_FAIL_H
#define CAPS_FAIL_H

#include <capscl/error.h>

/* Fills *err (NULL allowed) and returns `status`, so that `return caps_fail(err, ...)` is one line.
 */
caps_status caps_fail(caps_error *err, caps_status status, const char *format, ...)
    CAPS_PRINTF(3, 4);

/* For a failed OpenCL call: "what: CL_OUT_OF_RESOURCES (-5)". Memory codes give
 * CAPS_ERR_DEVICE_MEMORY, all others CAPS_ERR_OPENCL. */
caps_status caps_fail_cl(caps_error *err, int cl_code, const char *format, ...) CAPS_PRINTF(3, 4);

/* For a failed system call: "what: No space left on device". */
caps_status caps_fail_errno(caps_error *err, caps_status status, const char *format, ...)
    CAPS_PRINTF(3, 4);

/* Puts "prefix: " before a message that is there already. Returns err's status given. */
caps_status caps_fail_prefix(caps_error *err, caps_status status, const char *format, ...)
    CAPS_PRINTF(3, 4);

/* Within a function that has `caps_status status` and a label `done`. */
#define CAPS_TRY(call)                                                                             \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != CAPS_OK)                                                                     \
            goto done;                                                                             \
    } while (0)

#endif
