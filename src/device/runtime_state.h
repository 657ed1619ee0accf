/* runtime_state.h: what a runtime holds; seen by src/device only. */
#ifndef CAPS_RUNTIME_STATE_H
#define CAPS_RUNTIME_STATE_H

#include "launch.h"
#include "slots.h"

typedef struct caps_kernel_slot {
    char *name;
    cl_kernel kernel;
    cl_uint arguments;
} caps_kernel_slot;

typedef struct caps_profile_pending {
    cl_event event;
    size_t entry; /* index into profile */
} caps_profile_pending;

struct caps_runtime {
    caps_device_info device;
    char reason[256];
    cl_context context;
    cl_command_queue queue;
    caps_family family;
    size_t max_group;
    char *gemm, *routing, *cache_dir, *cl_path; /* NULL: none */
    char warning[512];                /* "" : none */
    cl_program program;
    caps_kernel_slot *kernels;
    size_t kernel_count, kernel_room;
    uint64_t bytes, peak_bytes;
    bool profile;
    caps_profile_entry *entries;
    size_t entry_count, entry_room;
    caps_profile_pending *pending;
    size_t pending_count, pending_room;
    cl_mem nothing; /* stands for a NULL tensor */
    caps_slots slots;
};

/* Builds, or loads from the disk cache, the program of the runtime's family. */
caps_status caps_registry_build(caps_runtime *rt, caps_error *err);
/* Books `event` (which it releases) under `name`. */
caps_status caps_profile_book(caps_runtime *rt, const char *name, cl_event event, caps_error *err);
void caps_profile_release(caps_runtime *rt);

#endif
