/* enumeration.c: the devices there are. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>

#include <capscl/device.h>

#include "fail.h"
#include "prepare.h"

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
}

/* Drivers pad names with blanks; tables and messages are better without. */
static void tidy(char *text)
{
    size_t first = 0, n;
    while (isspace((unsigned char)text[first]))
        first++;
    n = strlen(text + first);
    memmove(text, text + first, n + 1);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        text[--n] = 0;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ')
            text[i] = ' ';
}

static void device_text(cl_device_id device, cl_device_info what, char *to, size_t capacity)
{
    size_t n = 0;
    to[0] = 0;
    if (clGetDeviceInfo(device, what, 0, NULL, &n) != CL_SUCCESS || n == 0)
        return;
    char *text = malloc(n + 1);
    if (!text)
        return;
    if (clGetDeviceInfo(device, what, n, text, NULL) == CL_SUCCESS) {
        text[n] = 0;
        snprintf(to, capacity, "%s", text);
        tidy(to);
    }
    free(text);
}

void caps_device_describe(caps_device_info *info, cl_platform_id platform, cl_device_id device,
    int platform_index, int device_index)
{
    memset(info, 0, sizeof *info);
    info->platform_handle = platform;
    info->handle = device;
    info->platform_index = platform_index;
    info->device_index = device_index;
    snprintf(info->id, sizeof info->id, "%d:%d", platform_index, device_index);
    if (clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof info->platform - 1, info->platform,
            NULL) != CL_SUCCESS)
        info->platform[0] = 0;
    tidy(info->platform);
    device_text(device, CL_DEVICE_VENDOR, info->vendor, sizeof info->vendor);
    device_text(device, CL_DEVICE_NAME, info->name, sizeof info->name);
    device_text(device, CL_DEVICE_VERSION, info->version, sizeof info->version);
    device_text(device, CL_DRIVER_VERSION, info->driver, sizeof info->driver);
    cl_device_type type = 0;
    cl_uint units = 0;
    cl_ulong global = 0, alloc = 0, local = 0;
    cl_bool available = CL_FALSE, compiler = CL_FALSE;
    clGetDeviceInfo(device, CL_DEVICE_TYPE, sizeof type, &type, NULL);
    clGetDeviceInfo(device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL);
    clGetDeviceInfo(device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof global, &global, NULL);
    clGetDeviceInfo(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof alloc, &alloc, NULL);
    clGetDeviceInfo(device, CL_DEVICE_LOCAL_MEM_SIZE, sizeof local, &local, NULL);
    clGetDeviceInfo(device, CL_DEVICE_AVAILABLE, sizeof available, &available, NULL);
    clGetDeviceInfo(device, CL_DEVICE_COMPILER_AVAILABLE, sizeof compiler, &compiler, NULL);
    info->type = type & CL_DEVICE_TYPE_GPU           ? CAPS_DEVICE_GPU
                 : type & CL_DEVICE_TYPE_CPU         ? CAPS_DEVICE_CPU
                 : type & CL_DEVICE_TYPE_ACCELERATOR ? CAPS_DEVICE_ACCELERATOR
                                                     : CAPS_DEVICE_OTHER;
    info->compute_units = units;
    info->global_mem_bytes = global;
    info->max_alloc_bytes = alloc;
    info->local_mem_bytes = local;
    info->available = available && compiler;
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
            caps_device_describe(*list + (*n)++, handles[p], devices[d], (int)p, (int)d);
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

void caps_device_list_free(caps_device_info *list)
{
    free(list);
}
