/* device_limits.c: see device_limits.h. */
#include "device_limits.h"

#include <stdlib.h>
#include <string.h>

#include "peak.h"
#include "text.h"

/* An answer of `bytes` bytes, which is 4 or 8. */
static uint64_t ask(const caps_device_info *info, cl_device_info what, size_t bytes)
{
    uint64_t value = 0; /* little-endian, as every device here: its first bytes are smaller types */
    return clGetDeviceInfo(info->handle, what, bytes, &value, NULL) == CL_SUCCESS ? value : 0;
}

void caps_device_limits_ask(caps_device_limits *limits, const caps_device_info *info)
{
    size_t sizes[16] = {0};
    caps_peak_facts facts;
    memset(limits, 0, sizeof *limits);
    limits->max_group = ask(info, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(size_t));
    if (clGetDeviceInfo(info->handle, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof sizes, sizes, NULL) ==
        CL_SUCCESS)
        for (int i = 0; i < 3; i++)
            limits->item_sizes[i] = sizes[i];
    limits->constant_bytes = ask(info, CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE, sizeof(cl_ulong));
    limits->cache_bytes = ask(info, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, sizeof(cl_ulong));
    limits->cache_line_bytes = ask(info, CL_DEVICE_GLOBAL_MEM_CACHELINE_SIZE, sizeof(cl_uint));
    limits->address_bits = ask(info, CL_DEVICE_ADDRESS_BITS, sizeof(cl_uint));
    limits->alignment_bits = ask(info, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof(cl_uint));
    limits->timer_ns = ask(info, CL_DEVICE_PROFILING_TIMER_RESOLUTION, sizeof(size_t));
    limits->local_is_own = ask(info, CL_DEVICE_LOCAL_MEM_TYPE, sizeof(cl_uint)) == CL_LOCAL;
    caps_peak_ask(&facts, info, info->handle);
    limits->float_width = facts.float_width;
    limits->lanes = caps_peak_lanes(&facts);
    limits->vendor_id = facts.vendor_id;
}

void caps_device_limits_each(const caps_device_limits *l,
    void (*each)(void *user, const char *name, uint64_t value), void *user)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"max_group", l->max_group},
        {"max_items_0", l->item_sizes[0]},
        {"max_items_1", l->item_sizes[1]},
        {"max_items_2", l->item_sizes[2]},
        {"constant_bytes", l->constant_bytes},
        {"cache_bytes", l->cache_bytes},
        {"cache_line_bytes", l->cache_line_bytes},
        {"float_width", l->float_width},
        {"lanes", l->lanes},
        {"address_bits", l->address_bits},
        {"alignment_bits", l->alignment_bits},
        {"timer_ns", l->timer_ns},
        {"local_is_own", l->local_is_own},
        {"vendor_id", l->vendor_id},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        each(user, rows[i].name, rows[i].value);
}

char *caps_device_extensions(const caps_device_info *info)
{
    enum { MOST = 1 << 16 };
    size_t bytes = 0;
    if (clGetDeviceInfo(info->handle, CL_DEVICE_EXTENSIONS, 0, NULL, &bytes) != CL_SUCCESS ||
        bytes > MOST)
        bytes = 0;
    char *raw = calloc(1, bytes + 1), *text = malloc(4 * bytes + 1); /* a byte becomes "\x9b" */
    if (raw && text) {
        if (bytes &&
            clGetDeviceInfo(info->handle, CL_DEVICE_EXTENSIONS, bytes, raw, NULL) != CL_SUCCESS)
            raw[0] = 0;
        size_t n = strlen(raw);
        while (n > 0 && raw[n - 1] == ' ')
            raw[--n] = 0;
        caps_text_clean(text, 4 * bytes + 1, raw);
    } else {
        free(text);
        text = NULL;
    }
    free(raw);
    return text;
}

const char *caps_extension_used(size_t i, const char **purpose)
{
    static const char *const used[][2] = {
        {"cl_nv_device_attribute_query", "lanes of a unit"},
        {"cl_amd_device_attribute_query", "lanes of a unit"},
        {"cl_intel_required_subgroup_size", "lanes of a unit"},
    };
    if (i >= sizeof used / sizeof *used)
        return NULL;
    *purpose = used[i][1];
    return used[i][0];
}
