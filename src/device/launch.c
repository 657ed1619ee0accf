/* launch.c: kernels by name, arguments, enqueueing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "runtime_state.h"

/* The slot of `name`, where `found`, else where it belongs (kernels are sorted by name). */
static size_t position(const caps_runtime *rt, const char *name, bool *found)
{
    size_t low = 0, high = rt->kernel_count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(rt->kernels[middle].name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

caps_status caps_runtime_build(caps_runtime *rt, caps_error *err)
{
    cl_program program;
    return caps_registry_get(&program, rt, NULL, err);
}

static cl_ulong own_local(const caps_runtime *rt, cl_kernel kernel)
{
    cl_ulong bytes = 0;
    const cl_int code = clGetKernelWorkGroupInfo(
        kernel, rt->device.handle, CL_KERNEL_LOCAL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    return code == CL_SUCCESS ? bytes : 0;
}

static caps_status get_kernel(caps_kernel_slot *out, caps_runtime *rt,
    const caps_template *template, const char *kernel, caps_error *err)
{
    char full[384];
    bool found;
    cl_int code = CL_SUCCESS;
    cl_program program;
    const char *name = kernel;
    if (template) {
        int n = snprintf(full, sizeof full, "%s%s", kernel, template->options);
        if (n < 0 || (size_t)n >= sizeof full)
            return caps_fail(err, CAPS_ERR_INTERNAL, "kernel %s: too many options", kernel);
        name = full;
    }
    size_t at = position(rt, name, &found);
    if (found) {
        *out = rt->kernels[at];
        return CAPS_OK;
    }
    caps_status status = caps_registry_get(&program, rt, template, err);
    if (status != CAPS_OK)
        return status;
    if (rt->kernel_count == rt->kernel_capacity) {
        size_t capacity = rt->kernel_capacity ? 2 * rt->kernel_capacity : 64;
        caps_kernel_slot *grown = realloc(rt->kernels, capacity * sizeof *grown);
        if (!grown)
            return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu kernels", capacity);
        rt->kernels = grown;
        rt->kernel_capacity = capacity;
    }
    caps_kernel_slot slot = {.name = caps_format("%s", name)};
    if (!slot.name)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for a kernel's name");
    slot.kernel = clCreateKernel(program, kernel, &code);
    if (code == CL_INVALID_KERNEL_NAME && !template && rt->family == CAPS_FAMILY_CPU) {
        status = caps_registry_get(&program, rt, &caps_rarely_used_program, err);
        if (status != CAPS_OK) {
            free(slot.name);
            return status;
        }
        slot.kernel = clCreateKernel(program, kernel, &code);
    }
    if (code == CL_SUCCESS)
        code = clGetKernelInfo(
            slot.kernel, CL_KERNEL_NUM_ARGS, sizeof slot.arguments, &slot.arguments, NULL);
    if (code == CL_SUCCESS) {
        slot.most = caps_kernel_most_items(rt, slot.kernel);
        slot.own_local = own_local(rt, slot.kernel);
    }
    if (code != CL_SUCCESS) {
        if (slot.kernel)
            clReleaseKernel(slot.kernel);
        free(slot.name);
        return caps_fail_cl(
            err, code, "kernel %s of family %s", kernel, caps_family_name(rt->family));
    }
    memmove(rt->kernels + at + 1, rt->kernels + at, (rt->kernel_count - at) * sizeof slot);
    rt->kernels[at] = slot;
    rt->kernel_count++;
    *out = slot;
    return CAPS_OK;
}

size_t caps_kernel_most_items(const caps_runtime *rt, cl_kernel kernel)
{
    size_t most = 0;
    const cl_int code = clGetKernelWorkGroupInfo(
        kernel, rt->device.handle, CL_KERNEL_WORK_GROUP_SIZE, sizeof most, &most, NULL);
    return code == CL_SUCCESS && most > 0 ? most : SIZE_MAX;
}

size_t caps_registry_most_items(caps_runtime *rt)
{
    cl_program program;
    cl_kernel kernels[256];
    cl_uint n = 0;
    size_t least = SIZE_MAX;
    if (caps_registry_get(&program, rt, NULL, NULL) != CAPS_OK ||
        clCreateKernelsInProgram(program, sizeof kernels / sizeof kernels[0], kernels, &n) !=
            CL_SUCCESS)
        return SIZE_MAX;
    for (cl_uint i = 0; i < n; i++) {
        size_t required[3] = {0};
        const size_t most = caps_kernel_most_items(rt, kernels[i]);
        clGetKernelWorkGroupInfo(kernels[i], rt->device.handle, CL_KERNEL_COMPILE_WORK_GROUP_SIZE,
            sizeof required, required, NULL);
        if (required[0] == 0 && most < least)
            least = most;
        clReleaseKernel(kernels[i]);
    }
    return least;
}

size_t caps_group_size(const caps_runtime *rt, size_t requested)
{
    size_t size = 1;
    while (size * 2 <= requested && size * 2 <= rt->max_group)
        size *= 2;
    return size;
}

size_t caps_group_side(const caps_runtime *rt, size_t requested)
{
    size_t side = 1;
    while (side * 2 <= requested && side * side * 4 <= rt->max_group && side * 2 <= rt->max_rows)
        side *= 2;
    return side;
}

/* Bytes of a group, as the driver counts the kernel's own. */
static unsigned long long local_of(const caps_kernel_slot *slot, const caps_arg *args, size_t nargs)
{
    cl_ulong bytes = slot->own_local;
    for (size_t i = 0; i < nargs; i++)
        bytes += args[i].type == CAPS_ARG_TYPE_LOCAL ? args[i].value.size : 0;
    return bytes;
}

/* Why a driver refuses a launch. It judges the sizes of groups and local memory, not the numbers
 * that it gives before: rusticl says 32 items of kernels that it runs in groups of 256, and counts
 * their local memory twice. */
static caps_status launch_fail(const caps_runtime *rt, const caps_kernel_slot *slot,
    unsigned long long local_bytes, int ndim, const size_t *local, cl_int code, caps_error *err)
{
    size_t items = 1;
    for (int d = 0; local && d < ndim; d++)
        items *= local[d];
    if (code == CL_INVALID_WORK_GROUP_SIZE && items > slot->most)
        return caps_fail(err, CAPS_ERR_OPENCL,
            "kernel %.60s: groups of %zu items, need <= %zu, what the device takes of it",
            slot->name, items, slot->most);
    if (local_bytes > rt->device.local_mem_bytes)
        return caps_fail(err, CAPS_ERR_OPENCL,
            "kernel %.60s: %llu bytes of local memory a group, need <= %llu, what the device has",
            slot->name, local_bytes, (unsigned long long)rt->device.local_mem_bytes);
    return caps_fail_cl(err, code, "kernel %.60s", slot->name);
}

/* A NULL tensor: drivers differ in what they make of a NULL buffer, so a small one stands for
 * it. */
static caps_status get_nothing(caps_runtime *rt, cl_mem *out, caps_error *err)
{
    cl_int code = CL_SUCCESS;
    if (!rt->nothing)
        rt->nothing = clCreateBuffer(rt->context, CL_MEM_READ_WRITE, 64, NULL, &code);
    *out = rt->nothing;
    return code == CL_SUCCESS ? CAPS_OK : caps_fail_cl(err, code, "a buffer of 64 bytes");
}

bool caps_is_simulated(const caps_runtime *rt)
{
    return strstr(rt->device.platform, "Oclgrind") || strstr(rt->device.name, "Oclgrind");
}

static caps_status set_arguments(caps_runtime *rt, const caps_kernel_slot *slot,
    const caps_arg *args, size_t nargs, caps_error *err)
{
    cl_uint at = 0;
    for (size_t i = 0; i < nargs; i++) {
        cl_int code;
        cl_mem buffer;
        cl_ulong offset;
        if (at >= slot->arguments)
            return caps_fail(err, CAPS_ERR_INTERNAL, "kernel %s takes %u arguments, more are given",
                slot->name, slot->arguments);
        switch (args[i].type) {
        case CAPS_ARG_TYPE_TENSOR:
            if (args[i].tensor && args[i].tensor->buffer) {
                buffer = args[i].tensor->buffer;
                offset = args[i].tensor->offset;
            } else {
                caps_status status = get_nothing(rt, &buffer, err);
                if (status != CAPS_OK)
                    return status;
                offset = UINT64_MAX; /* CAPS_NONE of cl/common.clh */
            }
            code = clSetKernelArg(slot->kernel, at++, sizeof buffer, &buffer);
            if (code == CL_SUCCESS)
                code = clSetKernelArg(slot->kernel, at++, sizeof offset, &offset);
            break;
        case CAPS_ARG_TYPE_LOCAL:
            code = clSetKernelArg(slot->kernel, at++, args[i].value.size, NULL);
            break;
        case CAPS_ARG_TYPE_UINT:
        case CAPS_ARG_TYPE_INT:
        case CAPS_ARG_TYPE_FLOAT:
        default:
            code = clSetKernelArg(slot->kernel, at++, sizeof(cl_uint), &args[i].value.u);
            break;
        }
        if (code != CL_SUCCESS)
            return caps_fail_cl(err, code, "kernel %s: argument %u", slot->name, at - 1);
    }
    if (at != slot->arguments)
        return caps_fail(err, CAPS_ERR_INTERNAL, "kernel %s takes %u arguments, %u are given",
            slot->name, slot->arguments, at);
    return CAPS_OK;
}

caps_status caps_launch_template(caps_runtime *rt, const caps_template *template,
    const char *kernel, const caps_arg *args, size_t nargs, int ndim, const size_t *global,
    const size_t *local, caps_error *err)
{
    static const size_t ones[3] = {1, 1, 1};
    caps_kernel_slot slot = {0};
    cl_event event = NULL;
    for (int d = 0; d < ndim; d++)
        if (global[d] == 0)
            return CAPS_OK;
    caps_status status;
    if (rt->warmup) {
        bool wanted;
        status = caps_warmup_should_launch(&wanted, rt, template, kernel, err);
        if (status != CAPS_OK || !wanted)
            return status;
        global = local ? local : ones;
    }
    status = get_kernel(&slot, rt, template, kernel, err);
    if (status != CAPS_OK)
        return status;
    status = set_arguments(rt, &slot, args, nargs, err);
    if (status != CAPS_OK)
        return status;
    if (!local && rt->family == CAPS_FAMILY_CPU)
        local = ones;
    cl_event *traced = caps_trace_request(rt, &event);
    cl_int code = clEnqueueNDRangeKernel(rt->queue, slot.kernel, (cl_uint)ndim, NULL, global, local,
        0, NULL, rt->profile ? &event : traced);
    if (code != CL_SUCCESS)
        return launch_fail(rt, &slot, local_of(&slot, args, nargs), ndim, local, code, err);
    if (traced)
        caps_trace_book(rt, slot.name, 0, event);
    if (rt->profile)
        return caps_profile_book(rt, kernel, event, err);
    if (event)
        clReleaseEvent(event);
    return CAPS_OK;
}

caps_status caps_launch(caps_runtime *rt, const char *kernel, const caps_arg *args, size_t nargs,
    int ndim, const size_t *global, const size_t *local, caps_error *err)
{
    return caps_launch_template(rt, NULL, kernel, args, nargs, ndim, global, local, err);
}

caps_status caps_launch_items(caps_runtime *rt, const char *kernel, const caps_arg *args,
    size_t nargs, size_t count, size_t group, caps_error *err)
{
    const size_t local = caps_is_gpu(rt) ? caps_group_size(rt, group) : 1;
    const size_t global = caps_round_up(count, local);
    return caps_launch(rt, kernel, args, nargs, 1, &global, &local, err);
}
