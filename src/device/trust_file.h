/* trust_file.h: the file of verdicts; see trust.h. */
#ifndef CAPS_TRUST_FILE_H
#define CAPS_TRUST_FILE_H

#include "trust.h"

/* What verdicts are kept for: the device, its driver and limits, the family. Freed with free();
 * NULL: out of memory. */
char *caps_trust_device_text(const caps_device_info *device, caps_family family);

/* A hash of it; 0: out of memory. */
uint64_t caps_trust_device_hash(const caps_device_info *device, caps_family family);
/* The file in a cache directory, by that hash. Freed with free(); NULL: out of memory. */
char *caps_trust_path(const char *directory, uint64_t hash);
/* Whether that file is there, was made with these kernels, and has all variants. */
bool caps_trust_is_kept(const char *directory, uint64_t hash, const char *cl_path);

/* Those in a cache directory that were made with these kernels; as caps_verdicts_read. `cl_path`:
 * kernel sources from there, NULL: the library's own. */
caps_status caps_trust_load(caps_verdict **list, size_t *n, const char *directory,
    const char *device, const char *cl_path, caps_error *err);
/* `complete`: all variants are there. Failing is no error: the checks will be run again. */
void caps_trust_save(const caps_verdict *list, size_t n, bool complete, const char *directory,
    const char *device, const char *cl_path);

#endif
