/* runtime.c: a context, an in-order queue, and what hangs on them. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "drivers.h"
#include "fail.h"
#include "file.h"
#include "options.h"
#include "parts.h"
#include "prepare.h"
#include "runtime_state.h"

static const char *const family_names[] = {"cpu", "gpu"};

const char *caps_family_name(caps_family family)
{
    return family_names[family == CAPS_FAMILY_GPU];
}

/* The option, else the environment variable, else NULL; empty counts as absent. */
static const char *option_or_environment(const char *option, const char *variable)
{
    if (option && *option)
        return option;
    option = getenv(variable);
    return option && *option ? option : NULL;
}

static caps_status copy_text(char **to, const char *text, caps_error *err)
{
    *to = NULL;
    if (!text)
        return CAPS_OK;
    *to = caps_format("%s", text);
    return *to ? CAPS_OK : caps_fail(err, CAPS_ERR_MEMORY, "out of memory");
}

caps_status caps_cache_directory(char **to, const char *option, caps_error *err)
{
    const char *place = option_or_environment(option, "CAPSCL_CACHE");
    *to = NULL;
    if (place)
        return copy_text(to, place, err);
    const char *below = "capscl";
    caps_driver_cache_prepare(); /* a child that is forked after this shares its directory */
    place = option_or_environment(NULL, "XDG_CACHE_HOME");
    if (!place) {
        place = option_or_environment(NULL, "HOME");
        below = ".cache/capscl";
    }
    if (place) {
        *to = caps_path_join(place, below);
        if (!*to)
            return caps_fail(err, CAPS_ERR_MEMORY, "out of memory");
        if (caps_cache_is_writable(*to))
            return CAPS_OK;
    }
    const char *own = caps_cache_fallback(*to, "CAPSCL_CACHE");
    free(*to);
    *to = NULL;
    if (!own)
        return CAPS_OK;
    *to = caps_path_join(own, "capscl");
    return *to ? CAPS_OK : caps_fail(err, CAPS_ERR_MEMORY, "out of memory");
}

static caps_status choose_family(
    caps_runtime *rt, bool *is_requested, const char *option, caps_error *err)
{
    const char *requested = option_or_environment(option, "CAPSCL_KERNELS");
    *is_requested = false;
    rt->family = rt->device.type == CAPS_DEVICE_CPU ? CAPS_FAMILY_CPU : CAPS_FAMILY_GPU;
    /* A simulator calls itself a device of every type. */
    if (!requested || strcmp(requested, "auto") == 0)
        return CAPS_OK;
    for (int f = 0; f < 2; f++) {
        if (strcmp(requested, family_names[f]) == 0) {
            rt->family = (caps_family)f;
            *is_requested = true;
            return CAPS_OK;
        }
    }
    return caps_fail(err, CAPS_ERR_ARGUMENT,
        "%skernel family \"%s\" is unknown, need auto, cpu or gpu",
        requested == option ? "" : "CAPSCL_KERNELS: ", requested);
}

/* Everything after context and queue are there. */
static caps_status set_up(caps_runtime *rt, const caps_runtime_options *o, caps_error *err)
{
    caps_status status = CAPS_OK;
    rt->tuning = caps_tuning_create();
    if (!rt->tuning)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for a runtime");
    bool requested = false;
    CAPS_TRY(choose_family(rt, &requested, o->kernels, err));
    CAPS_TRY(caps_choices_init(&rt->choices, o->algorithms, err));
    CAPS_TRY(caps_cache_directory(&rt->cache_dir, o->cache_dir, err));
    const char *refusal = rt->cache_dir ? caps_cache_refuse(rt->cache_dir) : NULL;
    if (refusal) {
        caps_runtime_warn(rt,
            "the cache %.200s is not used, kernels are built at every start: %s; or set "
            "CAPSCL_CACHE to a directory of your own",
            rt->cache_dir, refusal);
        free(rt->cache_dir);
        rt->cache_dir = NULL;
    }
    CAPS_TRY(copy_text(&rt->cl_path, option_or_environment(o->cl_path, "CAPSCL_CL_PATH"), err));
    size_t group = 1;
    cl_int code = clGetDeviceInfo(
        rt->device.handle, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof group, &group, NULL);
    if (code != CL_SUCCESS) {
        status = caps_fail_cl(err, code, "reading the largest work-group");
        goto done;
    }
    if (group < 1)
        CAPS_TRY(caps_fail(err, CAPS_ERR_OPENCL,
            "device %s (%s): its driver says that its largest work-group is 0, need >= 1",
            rt->device.id, rt->device.name));
    /* Most groups have one dimension, the first. */
    size_t sizes[16] = {0};
    if (clGetDeviceInfo(rt->device.handle, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof sizes, sizes,
            NULL) == CL_SUCCESS &&
        sizes[0] > 0 && sizes[0] < group)
        group = sizes[0];
    rt->max_group = group;
    rt->max_rows = sizes[1] > 0 ? sizes[1] : 1;
    cl_uint width = 0;
    code = clGetDeviceInfo(
        rt->device.handle, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width, NULL);
    if (code != CL_SUCCESS)
        CAPS_TRY(caps_fail_cl(err, code, "reading the width of the native vectors"));
    rt->vector_width = width;
    CAPS_TRY(caps_trust_establish(rt, requested, err));
    if (o->trace)
        CAPS_TRY(caps_trace_open(rt, o->trace, o->trace_events, err));
done:
    return status;
}

static caps_status read_options(
    caps_runtime_options *o, const caps_runtime_options *options, caps_error *err)
{
    return caps_options_read(
        o, sizeof *o, options, options ? options->size : 0, "caps_runtime_options", err);
}

/* A device that its driver does not describe might have been the better choice. */
static void warn_of_silent(caps_runtime *rt, const caps_device_info *list, size_t n)
{
    for (size_t i = 0; i < n && !rt->warning[0]; i++) {
        caps_error err = {0};
        if (!list[i].available && caps_device_explain(&list[i], &err) == CAPS_ERR_OPENCL)
            caps_runtime_warn(rt, "%.400s; it is passed over", err.message);
    }
}

/* On a device of the list, or part of it; *distrusted: its checks are the reason why not. */
static caps_status create_on(caps_runtime **out, const caps_device_info *list, size_t n,
    size_t index, const caps_part *part, const char *reason, const caps_runtime_options *o,
    bool *distrusted, caps_error *err)
{
    cl_int code = CL_SUCCESS;
    caps_status status = CAPS_OK;
    caps_runtime *rt = calloc(1, sizeof *rt);
    *distrusted = false;
    if (!rt)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for a runtime");
    memcpy(rt->reason, reason, sizeof rt->reason);
    warn_of_silent(rt, list, n);
    rt->device = list[index];
    rt->profile = o->profile;
    if (part->count > 0) {
        CAPS_TRY(caps_part_take(&rt->device, part, err));
        rt->part = rt->device.handle;
    }
    const cl_context_properties properties[] = {
        CL_CONTEXT_PLATFORM, (cl_context_properties)rt->device.platform_handle, 0};
    rt->context = clCreateContext(properties, 1, &rt->device.handle, NULL, NULL, &code);
    if (code != CL_SUCCESS) {
        status = caps_fail_cl(
            err, code, "device %s (%s): making a context", rt->device.id, rt->device.name);
        goto done;
    }
    rt->queue = clCreateCommandQueue(rt->context, rt->device.handle,
        o->profile || o->trace ? CL_QUEUE_PROFILING_ENABLE : 0, &code);
    if (code != CL_SUCCESS) {
        status = caps_fail_cl(
            err, code, "device %s (%s): making a queue", rt->device.id, rt->device.name);
        goto done;
    }
    CAPS_TRY(set_up(rt, o, err));
    *out = rt;
    rt = NULL;
done:
    *distrusted = rt && rt->trust.hopeless;
    caps_runtime_free(rt);
    return status;
}

caps_status caps_runtime_create(
    caps_runtime **out, const char *selector, const caps_runtime_options *options, caps_error *err)
{
    caps_device_info *list = NULL;
    size_t n = 0, index = 0;
    char reason[256] = "";
    bool distrusted, passed_over = false;
    caps_error first = {0};
    caps_runtime_options o;
    caps_part part;
    *out = NULL;
    caps_status status = read_options(&o, options, err);
    if (status != CAPS_OK)
        return status;
    CAPS_TRY(caps_part_read(&part, selector, err));
    CAPS_TRY(caps_device_list(&list, &n, err));
    CAPS_TRY(caps_device_select(list, n, selector, &index, reason, err));
    status = create_on(out, list, n, index, &part, reason, &o, &distrusted, &first);
    /* Where nobody asked for this device, the next best one takes its place. */
    while (distrusted && !option_or_environment(selector, "CAPSCL_DEVICE")) {
        caps_error next = {0};
        passed_over = true;
        list[index].available = false;
        if (caps_device_select(list, n, NULL, &index, reason, NULL) != CAPS_OK)
            break;
        status = create_on(out, list, n, index, &part, reason, &o, &distrusted, &next);
    }
    if (status != CAPS_OK && err)
        *err = first;
    if (status == CAPS_OK && passed_over)
        caps_runtime_warn(*out, "%.300s; it is passed over", first.message);
done:
    caps_device_list_free(list);
    return status;
}

/* Platform and device numbers of a caller's device, as caps_device_list has them; -1 for one that
 * is not there (a sub-device). */
static caps_status describe_own(caps_device_info *info, cl_device_id device, caps_error *err)
{
    caps_device_info *list = NULL;
    size_t n = 0;
    cl_platform_id platform = NULL;
    caps_status status = caps_device_list(&list, &n, err);
    if (status != CAPS_OK)
        return status;
    for (size_t i = 0; i < n; i++) {
        if (list[i].handle == device) {
            *info = list[i];
            caps_device_list_free(list);
            return CAPS_OK;
        }
    }
    caps_device_list_free(list);
    cl_int code = clGetDeviceInfo(device, CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL);
    if (code != CL_SUCCESS)
        return caps_fail_cl(err, code, "reading the platform of the caller's device");
    return caps_device_describe(info, platform, device, -1, -1, err);
}

caps_status caps_runtime_create_from(caps_runtime **out, cl_context context, cl_device_id device,
    cl_command_queue queue, const caps_runtime_options *options, caps_error *err)
{
    caps_runtime_options o;
    cl_command_queue_properties properties = 0;
    *out = NULL;
    caps_status status = read_options(&o, options, err);
    if (status != CAPS_OK)
        return status;
    if (!context || !device || !queue)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "runtime: context, device and queue are needed");
    cl_int code =
        clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL);
    if (code != CL_SUCCESS)
        return caps_fail_cl(err, code, "reading the properties of the caller's queue");
    if (properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "runtime: the queue is out-of-order, need in-order");
    if ((o.profile || o.trace) && !(properties & CL_QUEUE_PROFILING_ENABLE))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "runtime: %s needs a queue made with CL_QUEUE_PROFILING_ENABLE",
            o.profile ? "profiling" : "a trace");
    caps_runtime *rt = calloc(1, sizeof *rt);
    if (!rt)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for a runtime");
    CAPS_TRY(describe_own(&rt->device, device, err));
    snprintf(rt->reason, sizeof rt->reason, "the caller's own");
    rt->profile = o.profile;
    if ((code = clRetainContext(context)) != CL_SUCCESS) {
        status = caps_fail_cl(err, code, "retaining the caller's context");
        goto done;
    }
    rt->context = context;
    if ((code = clRetainCommandQueue(queue)) != CL_SUCCESS) {
        status = caps_fail_cl(err, code, "retaining the caller's queue");
        goto done;
    }
    rt->queue = queue;
    CAPS_TRY(set_up(rt, &o, err));
    *out = rt;
    rt = NULL;
done:
    caps_runtime_free(rt);
    return status;
}

void caps_runtime_free(caps_runtime *rt)
{
    if (!rt)
        return;
    if (rt->queue)
        clFinish(rt->queue);
    (void)caps_trace_close(rt, NULL);
    caps_runtime_slots_release(rt);
    caps_profile_release(rt);
    for (size_t i = 0; i < rt->kernel_count; i++) {
        clReleaseKernel(rt->kernels[i].kernel);
        free(rt->kernels[i].name);
    }
    free(rt->kernels);
    if (rt->nothing)
        clReleaseMemObject(rt->nothing);
    caps_registry_release(rt);
    if (rt->queue)
        clReleaseCommandQueue(rt->queue);
    if (rt->context)
        clReleaseContext(rt->context);
    if (rt->part)
        clReleaseDevice(rt->part);
    caps_tuning_free(rt->tuning);
    caps_warmup_free(rt->warmup);
    caps_choices_release(&rt->choices);
    caps_trust_release(rt);
    free(rt->cache_dir);
    free(rt->cl_path);
    free(rt);
}

const caps_device_info *caps_runtime_device(const caps_runtime *rt)
{
    return &rt->device;
}

const char *caps_runtime_reason(const caps_runtime *rt)
{
    return rt->reason;
}

caps_family caps_runtime_family(const caps_runtime *rt)
{
    return rt->family;
}

cl_context caps_runtime_context(const caps_runtime *rt)
{
    return rt->context;
}

cl_command_queue caps_runtime_queue(const caps_runtime *rt)
{
    return rt->queue;
}

size_t caps_runtime_vector_width(const caps_runtime *rt)
{
    return rt->vector_width;
}

void caps_runtime_warn(caps_runtime *rt, const char *format, ...)
{
    va_list arguments;
    size_t at = strlen(rt->warning);
    if (at > 0)
        at += (size_t)snprintf(rt->warning + at, sizeof rt->warning - at, "; ");
    if (at >= sizeof rt->warning)
        return;
    va_start(arguments, format);
    vsnprintf(rt->warning + at, sizeof rt->warning - at, format, arguments);
    va_end(arguments);
}

const char *caps_runtime_take_warning(caps_runtime *rt)
{
    static _Thread_local char taken[sizeof rt->warning];
    if (!rt->warning[0])
        return NULL;
    memcpy(taken, rt->warning, sizeof taken);
    rt->warning[0] = 0;
    return taken;
}

caps_status caps_runtime_finish(caps_runtime *rt, caps_error *err)
{
    cl_int code = clFinish(rt->queue);
    return code == CL_SUCCESS ? CAPS_OK : caps_fail_cl(err, code, "waiting for the queue");
}

uint64_t caps_runtime_bytes(const caps_runtime *rt)
{
    return rt->bytes;
}

uint64_t caps_runtime_peak_bytes(const caps_runtime *rt)
{
    return rt->peak_bytes;
}

/* For Oclgrind, whose check for uninitialised values loses track of a buffer that is made without
 * content. All bits set: as float32 NaN, so that an element that is read before it is written still
 * shows. */
static cl_mem create_filled(const caps_runtime *rt, size_t bytes, cl_int *code)
{
    void *content = malloc(bytes);
    if (!content) {
        *code = CL_OUT_OF_HOST_MEMORY;
        return NULL;
    }
    memset(content, 0xff, bytes);
    cl_mem buffer =
        clCreateBuffer(rt->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, bytes, content, code);
    free(content);
    return buffer;
}

enum { HUGE_BYTES = 4 << 20 }; /* of a buffer that is worth it */

/* Where the device is the processor its buffers are memory of this process, and of large ones every
 * first touch of 4 KiB and every stride over them costs: in huge pages, where the system gives
 * them, steps are 3 % faster and the first one starts 0.1 s sooner. It is advice: whatever fails
 * changes nothing. */
static void advise_huge_pages(const caps_runtime *rt, cl_mem buffer, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    const size_t page = 4096;
    cl_int code = CL_SUCCESS;
    if (rt->device.type != CAPS_DEVICE_CPU || caps_is_simulated(rt) || bytes < HUGE_BYTES)
        return;
    char *at = clEnqueueMapBuffer(
        rt->queue, buffer, CL_TRUE, CL_MAP_WRITE_INVALIDATE_REGION, 0, bytes, 0, NULL, NULL, &code);
    if (code != CL_SUCCESS || !at)
        return;
    const size_t skipped = (page - (uintptr_t)at % page) % page;
    madvise(at + skipped, (bytes - skipped) / page * page, MADV_HUGEPAGE);
    clEnqueueUnmapMemObject(rt->queue, buffer, at, 0, NULL, NULL);
#else
    (void)rt;
    (void)buffer;
    (void)bytes;
#endif
}

caps_status caps_buffer_create(
    cl_mem *out, caps_runtime *rt, size_t bytes, const char *what, caps_error *err)
{
    cl_int code = CL_SUCCESS;
    const double mib = 1.0 / (1024 * 1024);
    *out = NULL;
    if (bytes == 0)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: 0 bytes, need at least 1", what);
    if (bytes > rt->device.max_alloc_bytes)
        return caps_fail(err, CAPS_ERR_DEVICE_MEMORY,
            "%s needs one buffer of %.1f MiB; the largest that device %s gives is %.1f MiB", what,
            (double)bytes * mib, rt->device.id, (double)rt->device.max_alloc_bytes * mib);
    if (rt->bytes + bytes > rt->device.global_mem_bytes)
        return caps_fail(err, CAPS_ERR_DEVICE_MEMORY,
            "%s needs %.1f MiB beside %.1f MiB in use; device %s has %.1f MiB", what,
            (double)bytes * mib, (double)rt->bytes * mib, rt->device.id,
            (double)rt->device.global_mem_bytes * mib);
    *out = caps_is_simulated(rt)
               ? create_filled(rt, bytes, &code)
               : clCreateBuffer(rt->context, CL_MEM_READ_WRITE, bytes, NULL, &code);
    if (code != CL_SUCCESS) {
        *out = NULL;
        return caps_fail_cl(
            err, code, "%s: a device buffer of %.1f MiB", what, (double)bytes * mib);
    }
    advise_huge_pages(rt, *out, bytes);
    rt->bytes += bytes;
    if (rt->bytes > rt->peak_bytes)
        rt->peak_bytes = rt->bytes;
    return CAPS_OK;
}

void caps_buffer_free(caps_runtime *rt, cl_mem buffer, size_t bytes)
{
    if (!buffer)
        return;
    clReleaseMemObject(buffer);
    rt->bytes -= bytes;
}
