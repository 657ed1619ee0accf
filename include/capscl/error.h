/* capscl/error.h: status codes and error reports.
 *
 * Every function of the library that can fail returns a `caps_status` and takes a `caps_error *err`
 * as its last argument. `err` may be NULL. On success `err` is left as it was; on failure it holds
 * one line that names the thing, the value and the need ("routing: iterations is 0, need >= 1"),
 * the OpenCL code where OpenCL failed, and the compiler's log where a kernel did not build.
 *
 * The library never prints and never exits.
 */
#ifndef CAPSCL_ERROR_H
#define CAPSCL_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(CAPSCL_BUILDING) && defined(__GNUC__)
#define CAPS_API __attribute__((visibility("default")))
#else
#define CAPS_API
#endif

#if defined(__GNUC__)
#define CAPS_PRINTF(format_index, first_argument)                                                  \
    __attribute__((format(printf, format_index, first_argument)))
#else
#define CAPS_PRINTF(format_index, first_argument)
#endif

/* X(enumerator, text). The order is stable: new codes go to the end. */
#define CAPS_STATUS_TABLE(X)                                                                       \
    X(CAPS_OK, "ok")                                                                               \
    X(CAPS_ERR_ARGUMENT, "an argument is out of range")                                            \
    X(CAPS_ERR_MEMORY, "out of host memory")                                                       \
    X(CAPS_ERR_IO, "a file cannot be written or read")                                             \
    X(CAPS_ERR_NOT_FOUND, "a file or name does not exist")                                         \
    X(CAPS_ERR_FORMAT, "a file is not what it should be")                                          \
    X(CAPS_ERR_SPEC, "a model spec cannot be built")                                               \
    X(CAPS_ERR_MISMATCH, "two inputs do not fit each other")                                       \
    X(CAPS_ERR_EXISTS, "the output exists already")                                                \
    X(CAPS_ERR_NO_DEVICE, "no OpenCL device matches")                                              \
    X(CAPS_ERR_AMBIGUOUS_DEVICE, "several OpenCL devices match")                                   \
    X(CAPS_ERR_OPENCL, "an OpenCL call failed")                                                    \
    X(CAPS_ERR_BUILD, "an OpenCL program does not build")                                          \
    X(CAPS_ERR_DEVICE_MEMORY, "the device has too little memory")                                  \
    X(CAPS_ERR_NOT_FINITE, "a loss or gradient is not finite")                                     \
    X(CAPS_ERR_INTERRUPTED, "stopped on request")                                                  \
    X(CAPS_ERR_INTERNAL, "a fault of the library")                                                 \
    X(CAPS_ERR_RANK, "another process of the run has failed")

typedef enum caps_status {
#define CAPS_STATUS_ENUM(name, text) name,
    CAPS_STATUS_TABLE(CAPS_STATUS_ENUM)
#undef CAPS_STATUS_ENUM
} caps_status;

#define CAPS_ERROR_MESSAGE_BYTES 768
#define CAPS_ERROR_LOG_BYTES     4096

/* Caller's storage, zero-initialised: `caps_error err = {0};`. Holds no heap memory. */
typedef struct caps_error {
    caps_status status;
    int cl_code;                            /* 0 where OpenCL had no part in it */
    char message[CAPS_ERROR_MESSAGE_BYTES]; /* one line, no newline */
    char build_log[CAPS_ERROR_LOG_BYTES];   /* start of the OpenCL build log, or "" */
} caps_error;

/* The enumerator's name ("CAPS_ERR_SPEC"), and one short phrase for it. Never NULL. */
CAPS_API const char *caps_status_name(caps_status status);
CAPS_API const char *caps_status_text(caps_status status);

/* The name of an OpenCL error code ("CL_OUT_OF_RESOURCES"); "CL_ERROR" for one it does not know. */
CAPS_API const char *caps_cl_error_name(int cl_code);

/* The first member of every struct of options is its size, so that the library can tell which
 * members the caller knows: one compiled against an older header works with a newer library, and
 * the members it does not know have their defaults. A struct is begun with its size:
 *     caps_runtime_options o = {CAPS_OPTIONS(caps_runtime_options), .kernels = "cpu"};
 * A size of 0, or one larger than the library knows, is CAPS_ERR_ARGUMENT. */
#define CAPS_OPTIONS(type) .size = sizeof(type)

#ifdef __cplusplus
}
#endif
#endif
