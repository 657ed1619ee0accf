/* drivers.h: the OpenCL drivers that are registered, why they offer no device, and a place where
 * they and the program can keep what they compile. */
#ifndef CAPS_DRIVERS_H
#define CAPS_DRIVERS_H

#include <stdbool.h>
#include <stddef.h>

#include <capscl/error.h>

enum { CAPS_MOST_DRIVERS = 16, CAPS_DRIVER_TEXT = 256 };

typedef struct caps_driver {
    char file[CAPS_DRIVER_TEXT];    /* "pocl.icd"; "" where a variable names the library itself */
    char library[CAPS_DRIVER_TEXT]; /* "libpocl.so.2" */
} caps_driver;

/* The drivers that the loader looks at: the files *.icd of /etc/OpenCL/vendors, or what
 * $OCL_ICD_VENDORS (or $OPENCL_VENDOR_PATH) names in its place. */
size_t caps_drivers_list(caps_driver *list, size_t most);
/* The path of its file, freed with free(); NULL: it has none. */
char *caps_driver_path(const caps_driver *driver);
/* Has this process loaded its library? */
bool caps_driver_is_loaded(const caps_driver *driver);
/* Is PoCL among them? */
bool caps_drivers_have_pocl(void);

/* There is no device: why. Always CAPS_ERR_NO_DEVICE. May load the drivers' libraries. */
caps_status caps_drivers_explain(caps_error *err);

/* ---- driver_check.c ------------------------------------------------------------------------- */

/* One line on drivers that were left out because they do not survive being asked for their devices,
 * at the first call after it; NULL: none (more). */
const char *caps_drivers_take_note(void);
/* The same line at every call. */
const char *caps_drivers_left_out(void);

/* ---- driver_cache.c ------------------------------------------------------------------------- */

/* Before the first OpenCL call: where PoCL could not write its cache (and then offers no device, or
 * fails to build), POCL_CACHE_DIR becomes a directory of this process, which is removed at its end.
 * Sets the environment once; threads that read it at this time are the caller's care, as with
 * every OpenCL loader. */
void caps_driver_cache_prepare(void);
/* Where PoCL keeps what it compiles. Freed with free(); NULL: out of memory. */
char *caps_driver_cache_place(void);
/* PoCL's cache, whose place goes into text, cannot be written. */
bool caps_driver_cache_is_bad(char *text, size_t bytes);
/* Files can be made in the directory, or in it once it was made. */
bool caps_cache_is_writable(const char *directory);
/* The directory of this process, made at the first call; NULL: it cannot be made. `place`, which
 * cannot be written (NULL: HOME is not set), and the variable that would name another are for the
 * note. */
const char *caps_cache_fallback(const char *place, const char *variable);
/* One line on what was done, at the first call after it; NULL: nothing (more). */
const char *caps_cache_take_note(void);

#endif
