/* profile.c: device time by kernel. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fail.h"
#include "file.h"
#include "runtime_state.h"

#define PENDING_MOST 4096 /* events held before they are read; each takes driver memory */

static caps_status get_entry(size_t *out, caps_runtime *rt, const char *name, caps_error *err)
{
    for (size_t i = 0; i < rt->entry_count; i++) {
        if (strcmp(rt->entries[i].kernel, name) == 0) {
            *out = i;
            return CAPS_OK;
        }
    }
    if (rt->entry_count == rt->entry_capacity) {
        size_t capacity = rt->entry_capacity ? 2 * rt->entry_capacity : 32;
        caps_profile_entry *grown = realloc(rt->entries, capacity * sizeof *grown);
        if (!grown)
            return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for the profile");
        rt->entries = grown;
        rt->entry_capacity = capacity;
    }
    char *copy = caps_format("%s", name);
    if (!copy)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for the profile");
    *out = rt->entry_count++;
    rt->entries[*out] = (caps_profile_entry){.kernel = copy};
    return CAPS_OK;
}

/* Reads the times of the events held, and releases them. */
static caps_status drain(caps_runtime *rt, caps_error *err)
{
    caps_status status = caps_runtime_finish(rt, err);
    for (size_t i = 0; i < rt->pending_count; i++) {
        cl_ulong start = 0, end = 0;
        cl_event event = rt->pending[i].event;
        caps_profile_entry *entry = &rt->entries[rt->pending[i].entry];
        if (status == CAPS_OK &&
            clGetEventProfilingInfo(
                event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL) == CL_SUCCESS &&
            clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) ==
                CL_SUCCESS &&
            end >= start) {
            entry->calls++;
            entry->time_ns += end - start;
        }
        clReleaseEvent(event);
    }
    rt->pending_count = 0;
    return status;
}

caps_status caps_profile_book(caps_runtime *rt, const char *name, cl_event event, caps_error *err)
{
    size_t entry;
    caps_status status = get_entry(&entry, rt, name, err);
    if (status == CAPS_OK && rt->pending_count == rt->pending_capacity) {
        size_t capacity = rt->pending_capacity ? 2 * rt->pending_capacity : 256;
        caps_profile_pending *grown = realloc(rt->pending, capacity * sizeof *grown);
        if (grown) {
            rt->pending = grown;
            rt->pending_capacity = capacity;
        } else {
            status = caps_fail(err, CAPS_ERR_MEMORY, "out of memory for the profile");
        }
    }
    if (status != CAPS_OK) {
        clReleaseEvent(event);
        return status;
    }
    rt->pending[rt->pending_count++] = (caps_profile_pending){event, entry};
    return rt->pending_count >= PENDING_MOST ? drain(rt, err) : CAPS_OK;
}

caps_status caps_profile_begin(caps_runtime *rt, uint64_t *start_ns, caps_error *err)
{
    caps_status status = CAPS_OK;
    *start_ns = 0;
    if (rt->profile) {
        status = caps_runtime_finish(rt, err);
        *start_ns = caps_clock_ns();
    }
    caps_trace_library_begin(rt);
    return status;
}

caps_status caps_profile_end(caps_runtime *rt, const char *name, uint64_t start_ns, caps_error *err)
{
    size_t entry;
    caps_trace_library_end(rt, name);
    if (!rt->profile)
        return CAPS_OK;
    caps_status status = caps_runtime_finish(rt, err);
    uint64_t end = caps_clock_ns();
    if (status == CAPS_OK)
        status = get_entry(&entry, rt, name, err);
    if (status == CAPS_OK) {
        rt->entries[entry].calls++;
        rt->entries[entry].time_ns += end - start_ns;
    }
    return status;
}

static int longer(const void *a, const void *b)
{
    const caps_profile_entry *x = a, *y = b;
    return (x->time_ns < y->time_ns) - (x->time_ns > y->time_ns);
}

caps_status caps_runtime_profile_get(
    caps_runtime *rt, const caps_profile_entry **entries, size_t *n, caps_error *err)
{
    *entries = NULL;
    *n = 0;
    caps_status status = drain(rt, err);
    if (status != CAPS_OK)
        return status;
    if (rt->entry_count)
        qsort(rt->entries, rt->entry_count, sizeof *rt->entries, longer);
    *entries = rt->entries;
    *n = rt->entry_count;
    return CAPS_OK;
}

void caps_runtime_profile_reset(caps_runtime *rt)
{
    if (rt->pending_count)
        drain(rt, NULL);
    for (size_t i = 0; i < rt->entry_count; i++)
        free((char *)(uintptr_t)rt->entries[i].kernel);
    rt->entry_count = 0;
}

void caps_profile_release(caps_runtime *rt)
{
    if (rt->queue)
        caps_runtime_profile_reset(rt);
    free(rt->entries);
    free(rt->pending);
    rt->entries = NULL;
    rt->pending = NULL;
}
