/* capscl/experimental.h: what may change in any version, unlike the other headers.
 *
 * It is for looking at the library from outside: names of kernels are its own affair, and what is
 * one kernel today may be two tomorrow. capscl.h does not include this header; do not build a
 * program that has to last on it. */
#ifndef CAPSCL_EXPERIMENTAL_H
#define CAPSCL_EXPERIMENTAL_H

#include <capscl/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Profiling (options.profile): time by kernel since the start or the last reset. The time of a
 * library that enqueues kernels of its own stands under the name of the call. */
typedef struct caps_profile_entry {
    const char *kernel;
    uint64_t calls;
    uint64_t time_ns; /* on the device, between start and end */
} caps_profile_entry;

/* Waits for the queue; *entries (sorted by time, longest first) belongs to the runtime and is valid
 * until the next call on it. n is 0 where profiling is off. */
CAPS_API caps_status caps_runtime_profile_get(
    caps_runtime *rt, const caps_profile_entry **entries, size_t *n, caps_error *err);
CAPS_API void caps_runtime_profile_reset(caps_runtime *rt);

#ifdef __cplusplus
}
#endif
#endif
