/* peak.c: see peak.h. */
#include "peak.h"

#include <string.h>

#include "vendor.h"

/* Of the vendors' extensions; not every CL/cl_ext.h has them. */
enum {
    NV_COMPUTE_CAPABILITY_MAJOR = 0x4000,
    NV_COMPUTE_CAPABILITY_MINOR = 0x4001,
    AMD_SIMD_PER_COMPUTE_UNIT = 0x4040,
    AMD_SIMD_WIDTH = 0x4041,
    INTEL_SUB_GROUP_SIZES = 0x4108,
};

/* Lanes of a multiprocessor by compute capability: CUDA C++ Programming Guide, "Arithmetic
 * Instructions". */
static uint32_t nvidia_lanes(const caps_peak_facts *f)
{
    switch (f->nv_major) {
    case 2:
        return 32;
    case 3:
        return 192;
    case 6:
        return f->nv_minor == 0 ? 64 : 128;
    case 7:
        return 64;
    case 8:
        return f->nv_minor == 0 ? 64 : 128;
    default:
        return 128;
    }
}

/* Four SIMDs of 16 lanes, or two of 32. Since RDNA a driver may count pairs of units, and then says
 * so by four SIMDs of 32. Instructions that are issued in pairs do not count: compilers find
 * few. */
static uint32_t amd_lanes(const caps_peak_facts *f)
{
    return f->amd_simds && f->amd_width ? f->amd_simds * f->amd_width : 64;
}

/* A unit is an execution unit: 8 lanes, and 16 where sub-groups of 8 are no more. */
static uint32_t intel_lanes(const caps_peak_facts *f)
{
    return f->intel_smallest_subgroup >= 16 ? 16 : 8;
}

static uint32_t apple_lanes(const caps_peak_facts *f)
{
    (void)f;
    return 128;
}

static uint32_t arm_lanes(const caps_peak_facts *f)
{
    (void)f;
    return 32;
}

static uint32_t qualcomm_lanes(const caps_peak_facts *f)
{
    (void)f;
    return 128;
}

static uint32_t (*const lanes_of[CAPS_VENDORS])(const caps_peak_facts *facts) = {
    [CAPS_VENDOR_NVIDIA] = nvidia_lanes,
    [CAPS_VENDOR_AMD] = amd_lanes,
    [CAPS_VENDOR_INTEL] = intel_lanes,
    [CAPS_VENDOR_APPLE] = apple_lanes,
    [CAPS_VENDOR_ARM] = arm_lanes,
    [CAPS_VENDOR_QUALCOMM] = qualcomm_lanes,
};

uint32_t caps_peak_lanes(const caps_peak_facts *f)
{
    if (f->type != CAPS_DEVICE_GPU)
        return f->float_width ? f->float_width : 1; /* one vector unit for a thread */
    const caps_vendor vendor = caps_vendor_find(f->vendor, f->vendor_id);
    return lanes_of[vendor] ? lanes_of[vendor](f) : 32;
}

double caps_peak_gflops(const caps_peak_facts *f)
{
    const double clock_ghz = f->clock_mhz ? f->clock_mhz * 1e-3 : 1;
    return 2.0 * caps_peak_lanes(f) * f->units * clock_ghz;
}

/* A number that is no fault where it is missing. */
static uint32_t ask(cl_device_id device, cl_device_info what)
{
    cl_uint value = 0;
    return clGetDeviceInfo(device, what, sizeof value, &value, NULL) == CL_SUCCESS ? value : 0;
}

static uint32_t ask_smallest_subgroup(cl_device_id device)
{
    size_t sizes[16] = {0}, bytes = 0, least = 0;
    if (clGetDeviceInfo(device, INTEL_SUB_GROUP_SIZES, 0, NULL, &bytes) != CL_SUCCESS ||
        bytes > sizeof sizes ||
        clGetDeviceInfo(device, INTEL_SUB_GROUP_SIZES, bytes, sizes, NULL) != CL_SUCCESS)
        return 0;
    for (size_t i = 0; i < bytes / sizeof *sizes; i++)
        if (sizes[i] && (!least || sizes[i] < least))
            least = sizes[i];
    return (uint32_t)least;
}

/* CL_DEVICE_EXTENSIONS, or "". A vendor's question means what it should only where its extension is
 * there: vendors use the same numbers. */
static void ask_extensions(char *text, size_t most, cl_device_id device)
{
    size_t bytes = 0;
    if (clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, 0, NULL, &bytes) != CL_SUCCESS ||
        bytes >= most ||
        clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, bytes, text, NULL) != CL_SUCCESS)
        bytes = 0;
    text[bytes] = 0;
}

void caps_peak_ask(caps_peak_facts *f, const caps_device_info *info, cl_device_id device)
{
    char extensions[16384];
    ask_extensions(extensions, sizeof extensions, device);
    memset(f, 0, sizeof *f);
    f->type = info->type;
    f->vendor = info->vendor;
    f->units = info->compute_units;
    f->vendor_id = ask(device, CL_DEVICE_VENDOR_ID);
    f->clock_mhz = ask(device, CL_DEVICE_MAX_CLOCK_FREQUENCY);
    f->float_width = ask(device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
    if (strstr(extensions, "cl_nv_device_attribute_query")) {
        f->nv_major = ask(device, NV_COMPUTE_CAPABILITY_MAJOR);
        f->nv_minor = ask(device, NV_COMPUTE_CAPABILITY_MINOR);
    }
    if (strstr(extensions, "cl_amd_device_attribute_query")) {
        f->amd_simds = ask(device, AMD_SIMD_PER_COMPUTE_UNIT);
        f->amd_width = ask(device, AMD_SIMD_WIDTH);
    }
    if (strstr(extensions, "cl_intel_required_subgroup_size"))
        f->intel_smallest_subgroup = ask_smallest_subgroup(device);
}
