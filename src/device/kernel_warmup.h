/* kernel_warmup.h: compiling what a program will launch without computing anything, for drivers
 * that compile a kernel when it is first launched (PoCL) and cache the result on disk.
 *
 * A child process that warms up beside the one that computes halves the time to its first result on
 * a machine where nothing is compiled yet: PoCL compiles one kernel at a time in a process. */
#ifndef CAPS_KERNEL_WARMUP_H
#define CAPS_KERNEL_WARMUP_H

#include <capscl/device.h>

/* Is there no program in the user's cache directory, that of a process which has no runtime yet? */
bool caps_cache_is_cold(void);

/* Does the device's driver compile a kernel when it is first launched, and cache it for others? */
bool caps_warmup_is_useful(const caps_runtime *rt);

/* From now on kernels are only listed, in the order of their first launch; programs of templates
 * are built. */
caps_status caps_warmup_list(caps_runtime *rt, caps_error *err);

/* From now on each kernel of a template is launched once, on one work-group, and no other. */
void caps_warmup_compile_templates(caps_runtime *rt);

/* From now on each kernel of the list's later part that was not yet launched is, in the same way.
 * Waits first, for a while, until the family's program is in the disk cache: the process that
 * computes builds it at the same time. */
caps_status caps_warmup_compile(caps_runtime *rt, caps_error *err);

#endif
