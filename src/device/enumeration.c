/* enumeration.c: the devices there are. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>

#include <capscl/device.h>

#include "drivers.h"
#include "fail.h"
#include "peak.h"
#include "prepare.h"
#include "text.h"
#include "textbuf.h"
#include "trust_process.h"

#define PLATFORM_NOT_FOUND_KHR (-1001)

static const char *const type_names[] = {"gpu", "cpu", "accelerator", "other"};

const char *caps_device_type_name(caps_device_type type)
{
    return type_names[type <= CAPS_DEVICE_OTHER ? type : CAPS_DEVICE_OTHER];
}

/* PoCL pins its threads only on request, and short kernels run at half speed unpinned. Read by the
 * driver when the loader opens it, so it must be set before the first OpenCL call. The user's own
 * value stays. */
void caps_prepare_drivers(void)
{
    setenv("POCL_AFFINITY", "1", 0);
    caps_driver_cache_prepare();
    caps_drivers_check();
}

enum { MOST_TEXT = 4096 }; /* bytes of a text that a driver may give */

/* Drivers pad names with blanks; tables and messages are better without. */
static void put_tidy(char *to, size_t capacity, char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        text[--n] = 0;
    for (char *c = text; *c; c++)
        if (isspace((unsigned char)*c))
            *c = ' ';
    caps_text_clean(to, capacity, text);
}

/* A text of a device, or, where `device` is NULL, of its platform. */
static cl_int ask_text(
    cl_platform_id platform, cl_device_id device, cl_uint what, size_t n, char *to, size_t *needed)
{
    return device ? clGetDeviceInfo(device, what, n, to, needed)
                  : clGetPlatformInfo(platform, what, n, to, needed);
}

/* What a driver does not say, or says in no reasonable size, is not the caller's to guess. */
static cl_int describe_text(
    cl_platform_id platform, cl_device_id device, cl_uint what, char *to, size_t capacity)
{
    char text[MOST_TEXT + 1];
    size_t n = 0;
    to[0] = 0;
    cl_int code = ask_text(platform, device, what, 0, NULL, &n);
    if (code == CL_SUCCESS && n > MOST_TEXT)
        code = CL_INVALID_VALUE;
    if (code == CL_SUCCESS && n > 0)
        code = ask_text(platform, device, what, n, text, NULL);
    if (code != CL_SUCCESS)
        return code;
    text[n] = 0;
    put_tidy(to, capacity, text);
    return CL_SUCCESS;
}

/* Beyond these a number is a driver's fault, and what is computed from it would be wrong. */
#define MOST_UNITS 1000000u
#define MOST_BYTES ((cl_ulong)1 << 50)

static caps_status describe_failed(
    caps_error *err, const caps_device_info *info, cl_int code, const char *what)
{
    return caps_fail_cl(err, code, "device %s (%s): asking its driver for the %s", info->id,
        info->name[0] ? info->name : "no name", what);
}

static caps_status describe_texts(
    caps_device_info *info, cl_platform_id platform, cl_device_id device, caps_error *err)
{
    const struct {
        const char *what;
        cl_device_info which;
        char *to;
        size_t bytes;
    } rows[] = {
        {"name", CL_DEVICE_NAME, info->name, sizeof info->name},
        {"vendor", CL_DEVICE_VENDOR, info->vendor, sizeof info->vendor},
        {"version", CL_DEVICE_VERSION, info->version, sizeof info->version},
        {"driver version", CL_DRIVER_VERSION, info->driver, sizeof info->driver},
    };
    cl_int code =
        describe_text(platform, NULL, CL_PLATFORM_NAME, info->platform, sizeof info->platform);
    if (code != CL_SUCCESS)
        return describe_failed(err, info, code, "name of its platform");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        code = describe_text(platform, device, rows[i].which, rows[i].to, rows[i].bytes);
        if (code != CL_SUCCESS)
            return describe_failed(err, info, code, rows[i].what);
    }
    if (!info->name[0])
        return caps_fail(err, CAPS_ERR_OPENCL, "device %s (%s): its driver gives no name, need one",
            info->id, info->platform);
    return CAPS_OK;
}

static caps_status describe_number(
    const caps_device_info *info, const char *what, cl_ulong value, cl_ulong most, caps_error *err)
{
    if (value >= 1 && value <= most)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_OPENCL,
        "device %s (%s): its driver says that the %s is %llu, need 1 to %llu", info->id, info->name,
        what, (unsigned long long)value, (unsigned long long)most);
}

/* Less than these, and not even a small network would fit. */
#define LEAST_MEMORY ((uint64_t)64 << 20)
#define LEAST_BUFFER ((uint64_t)16 << 20)

/* Whether a device that is well described can be used, and if not, why. */
static void describe_use(caps_device_info *info, bool available, bool compiler)
{
    char *why = info->unusable, size[32];
    const size_t bytes = sizeof info->unusable;
    int major = 1, minor = 2;
    (void)sscanf(info->version, "OpenCL %d.%d", &major, &minor); /* else: as if it were 1.2 */
    if (!available)
        snprintf(why, bytes, "its driver says that it is not available");
    else if (!compiler)
        snprintf(why, bytes, "its driver has no compiler for OpenCL C");
    else if (major < 1 || (major == 1 && minor < 2))
        snprintf(why, bytes, "it has OpenCL %d.%d, need 1.2 or newer", major, minor);
    else if (info->global_mem_bytes < LEAST_MEMORY)
        snprintf(why, bytes, "its memory is %s, need >= 64 MiB",
            caps_bytes_text(size, info->global_mem_bytes));
    else if (info->max_alloc_bytes < LEAST_BUFFER)
        snprintf(why, bytes, "its largest buffer is %s, need >= 16 MiB",
            caps_bytes_text(size, info->max_alloc_bytes));
    info->available = !why[0];
}

static caps_status describe_numbers(caps_device_info *info, cl_device_id device, caps_error *err)
{
    cl_device_type type = 0;
    cl_uint units = 0;
    cl_ulong global = 0, alloc = 0, local = 0;
    cl_bool available = CL_FALSE, compiler = CL_FALSE;
    const struct {
        const char *what;
        cl_device_info which;
        void *to;
        size_t bytes;
    } rows[] = {
        {"type", CL_DEVICE_TYPE, &type, sizeof type},
        {"number of compute units", CL_DEVICE_MAX_COMPUTE_UNITS, &units, sizeof units},
        {"size of its memory", CL_DEVICE_GLOBAL_MEM_SIZE, &global, sizeof global},
        {"size of its largest buffer", CL_DEVICE_MAX_MEM_ALLOC_SIZE, &alloc, sizeof alloc},
        {"size of its local memory", CL_DEVICE_LOCAL_MEM_SIZE, &local, sizeof local},
        {"state", CL_DEVICE_AVAILABLE, &available, sizeof available},
        {"compiler", CL_DEVICE_COMPILER_AVAILABLE, &compiler, sizeof compiler},
    };
    caps_status status;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const cl_int code = clGetDeviceInfo(device, rows[i].which, rows[i].bytes, rows[i].to, NULL);
        if (code != CL_SUCCESS)
            return describe_failed(err, info, code, rows[i].what);
    }
    info->type = type & CL_DEVICE_TYPE_GPU           ? CAPS_DEVICE_GPU
                 : type & CL_DEVICE_TYPE_CPU         ? CAPS_DEVICE_CPU
                 : type & CL_DEVICE_TYPE_ACCELERATOR ? CAPS_DEVICE_ACCELERATOR
                                                     : CAPS_DEVICE_OTHER;
    info->compute_units = units;
    info->global_mem_bytes = global;
    info->max_alloc_bytes = alloc;
    info->local_mem_bytes = local;
    if (type == 0)
        return caps_fail(err, CAPS_ERR_OPENCL,
            "device %s (%s): its driver says that its type is 0, need a type", info->id,
            info->name);
    CAPS_TRY(describe_number(info, rows[1].what, units, MOST_UNITS, err));
    CAPS_TRY(describe_number(info, rows[2].what, global, MOST_BYTES, err));
    CAPS_TRY(describe_number(info, rows[3].what, alloc, MOST_BYTES, err));
    CAPS_TRY(describe_number(info, rows[4].what, local, MOST_BYTES, err));
    describe_use(info, available, compiler);
done:
    return status;
}

/* What helps to compare devices; no driver has to say it. */
static void describe_speed(caps_device_info *info, cl_device_id device)
{
    cl_bool shared = CL_FALSE;
    caps_peak_facts facts;
    if (clGetDeviceInfo(device, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof shared, &shared, NULL) ==
        CL_SUCCESS)
        info->shares_host_memory = shared;
    caps_peak_ask(&facts, info, device);
    info->clock_mhz = facts.clock_mhz;
    info->peak_gflops = caps_peak_gflops(&facts);
}

caps_status caps_device_describe(caps_device_info *info, cl_platform_id platform,
    cl_device_id device, int platform_index, int device_index, caps_error *err)
{
    caps_status status;
    memset(info, 0, sizeof *info);
    info->platform_handle = platform;
    info->handle = device;
    info->platform_index = platform_index;
    info->device_index = device_index;
    snprintf(info->id, sizeof info->id, "%d:%d", platform_index, device_index);
    CAPS_TRY(describe_texts(info, platform, device, err));
    CAPS_TRY(describe_numbers(info, device, err));
    describe_speed(info, device);
done:
    return status;
}

/* A device that gives no answer is listed as one that cannot be used: others may serve. */
static void describe_listed(caps_device_info *info, cl_platform_id platform, cl_device_id device,
    int platform_index, int device_index)
{
    caps_error err = {0};
    if (caps_device_describe(info, platform, device, platform_index, device_index, &err) == CAPS_OK)
        return;
    /* Without "device 0:1 (NAME): ". */
    const char *why = strstr(err.message, "): ");
    snprintf(info->unusable, sizeof info->unusable, "%.199s", why ? why + 3 : err.message);
    info->available = false;
}

caps_status caps_device_list(caps_device_info **list, size_t *n, caps_error *err)
{
    cl_uint platforms = 0;
    cl_platform_id *handles = NULL;
    cl_device_id *devices = NULL;
    caps_status status = CAPS_OK;
    *list = NULL;
    *n = 0;
    caps_prepare_drivers();
    cl_int code = clGetPlatformIDs(0, NULL, &platforms);
    if (code == PLATFORM_NOT_FOUND_KHR || (code == CL_SUCCESS && platforms == 0))
        return CAPS_OK;
    if (code != CL_SUCCESS)
        return caps_fail_cl(err, code, "listing the OpenCL platforms");
    handles = calloc(platforms, sizeof(cl_platform_id));
    if (!handles)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %u platforms", platforms);
    code = clGetPlatformIDs(platforms, handles, NULL);
    if (code != CL_SUCCESS) {
        status = caps_fail_cl(err, code, "listing the OpenCL platforms");
        goto done;
    }
    for (cl_uint p = 0; p < platforms; p++) {
        cl_uint count = 0;
        /* A platform that is broken, or has no device, is passed over: others may serve. */
        if (clGetDeviceIDs(handles[p], CL_DEVICE_TYPE_ALL, 0, NULL, &count) != CL_SUCCESS ||
            count == 0)
            continue;
        free(devices);
        devices = calloc(count, sizeof(cl_device_id));
        caps_device_info *grown = realloc(*list, (*n + count) * sizeof **list);
        if (grown)
            *list = grown;
        if (!devices || !grown) {
            status = caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %u devices", count);
            goto done;
        }
        if (clGetDeviceIDs(handles[p], CL_DEVICE_TYPE_ALL, count, devices, NULL) != CL_SUCCESS)
            continue;
        for (cl_uint d = 0; d < count; d++)
            describe_listed(*list + (*n)++, handles[p], devices[d], (int)p, (int)d);
    }
done:
    free(devices);
    free(handles);
    if (status != CAPS_OK) {
        free(*list);
        *list = NULL;
        *n = 0;
    }
    return status;
}

caps_status caps_device_explain(const caps_device_info *info, caps_error *err)
{
    caps_device_info again;
    caps_status status = CAPS_OK;
    if (info->handle) /* else it is of a list that no driver made */
        status = caps_device_describe(&again, info->platform_handle, info->handle,
            info->platform_index, info->device_index, err);
    if (status != CAPS_OK)
        return status;
    const char *why = "it is not available or has no OpenCL compiler";
    if (info->unusable[0])
        why = info->unusable;
    return caps_fail(err, CAPS_ERR_NO_DEVICE, "device %s (%s) cannot be used: %s", info->id,
        info->name[0] ? info->name : "no name", why);
}

void caps_device_list_free(caps_device_info *list)
{
    free(list);
}
