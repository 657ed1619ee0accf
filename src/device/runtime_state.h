/* runtime_state.h: what a runtime holds; seen by src/device only. */
#ifndef CAPS_RUNTIME_STATE_H
#define CAPS_RUNTIME_STATE_H

#include <capscl/experimental.h>

#include "choice.h"
#include "launch.h"
#include "slots.h"
#include "trace.h"
#include "trust.h"
#include "tuning.h"

typedef struct caps_program_slot {
    char *file, *options; /* of a template; "" and "" for the family's own program */
    cl_program program;
    char *objects; /* path of the sums of what its driver keeps (driver_objects.h); NULL: none */
} caps_program_slot;

typedef struct caps_kernel_slot {
    char *name; /* a template's: with its options behind */
    cl_kernel kernel;
    cl_uint arguments;
    size_t most;        /* items that a group of it may have */
    cl_ulong own_local; /* bytes of local memory, without its arguments' */
} caps_kernel_slot;

typedef struct caps_profile_pending {
    cl_event event;
    size_t entry; /* index into profile */
} caps_profile_pending;

typedef struct caps_warmup caps_warmup;

struct caps_runtime {
    caps_device_info device;
    cl_device_id part; /* the device's handle where it is a part of another, which is ours */
    char reason[256];
    cl_context context;
    cl_command_queue queue;
    caps_family family;
    size_t max_group;          /* items of a group, for any kernel of the family's program */
    size_t max_rows;           /* items of a group in dimension 1 */
    size_t vector_width;       /* floats in a native vector */
    char *cache_dir, *cl_path; /* NULL: none */
    char warning[512];         /* "" : none */
    caps_program_slot *programs;
    size_t program_count;
    bool compiled; /* from source: nothing of a program was on disk */
    caps_kernel_slot *kernels;
    size_t kernel_count, kernel_capacity;
    uint64_t bytes, peak_bytes;
    bool profile;
    caps_profile_entry *entries;
    size_t entry_count, entry_capacity;
    caps_profile_pending *pending;
    size_t pending_count, pending_capacity;
    cl_mem nothing; /* stands for a NULL tensor */
    caps_slots slots;
    caps_tuning *tuning;
    caps_choices choices;
    caps_trust trust;
    caps_trace *trace;   /* NULL: none */
    caps_warmup *warmup; /* NULL: launches are launches */
};

/* For caps_registry_get: kernels of the CPU family that are not part of the family's program. */
extern const caps_template caps_rarely_used_program;
/* The program of the runtime's family (NULL) or of a template: built, or loaded from the disk
 * cache, where this runtime has not got it yet. */
caps_status caps_registry_get(
    cl_program *out, caps_runtime *rt, const caps_template *template, caps_error *err);
/* The largest group that every kernel of the family's program takes, but for those that require a
 * size: which registers a kernel needs is known once it is built. Builds the program; SIZE_MAX
 * where that fails. */
size_t caps_registry_most_items(caps_runtime *rt);
/* The largest group that one kernel takes. */
size_t caps_kernel_most_items(const caps_runtime *rt, cl_kernel kernel);
/* Takes down what their drivers keep of the programs by now (driver_objects.h); then frees them. */
void caps_registry_keep(caps_runtime *rt);
void caps_registry_release(caps_runtime *rt);
/* Does the disk cache hold the family's program? */
bool caps_registry_is_cached(const caps_runtime *rt);
/* $CAPSCL_CACHE, else $XDG_CACHE_HOME/capscl, else ~/.cache/capscl (option: in place of them all);
 * NULL where there is no home. Freed with free(). */
caps_status caps_cache_directory(char **to, const char *option, caps_error *err);
/* cache.c: why the directory is not to be used, or NULL. */
const char *caps_cache_refuse(const char *directory);
/* A file of the cache, a zero byte behind it, freed with free(); NULL: there is none, or none that
 * only this user could have written. */
unsigned char *caps_cache_read(size_t *n, const char *path, size_t limit);
/* Makes the directory too. CAPS_ERR_IO, CAPS_ERR_MEMORY. */
caps_status caps_cache_write(
    const char *directory, const char *path, const void *data, size_t n, caps_error *err);
/* During a warm-up (kernel_warmup.h): is this kernel to be launched, on one work-group? */
caps_status caps_warmup_should_launch(bool *launch, caps_runtime *rt, const caps_template *template,
    const char *kernel, caps_error *err);
void caps_warmup_free(caps_warmup *r);
/* Books `event` (which it releases) under `name`. */
caps_status caps_profile_book(caps_runtime *rt, const char *name, cl_event event, caps_error *err);
void caps_profile_release(caps_runtime *rt);

#endif
