/* peak.h: what a device could compute at most, from what its driver says of it.
 *
 *     peak = 2 (a multiply-add is two) * lanes of a unit * units * clock
 *
 * What a driver calls a compute unit has 8 lanes with Intel and 128 with NVIDIA, so units alone
 * cannot be compared across vendors. It serves to choose the best device, and is no measurement. */
#ifndef CAPS_PEAK_H
#define CAPS_PEAK_H

#include <capscl/device.h>

typedef struct caps_peak_facts {
    caps_device_type type;
    const char *vendor; /* CL_DEVICE_VENDOR */
    uint32_t vendor_id; /* CL_DEVICE_VENDOR_ID: of PCI, for most */
    uint32_t units, clock_mhz;
    uint32_t float_width; /* CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT */
    /* By extensions of the vendors; 0: not known. */
    uint32_t nv_major, nv_minor;      /* NVIDIA: the compute capability */
    uint32_t amd_simds, amd_width;    /* AMD: SIMDs of a unit, their lanes */
    uint32_t intel_smallest_subgroup; /* Intel: the smallest size of a sub-group */
} caps_peak_facts;

/* Float32 multiply-adds that a unit begins in a cycle. A GPU of no known vendor counts 32. */
uint32_t caps_peak_lanes(const caps_peak_facts *facts);
/* In Gflop/s. A clock that the driver does not tell counts as 1 GHz. */
double caps_peak_gflops(const caps_peak_facts *facts);

/* Asks the driver. What it does not say stays 0; `type` and `units` are of *info. */
void caps_peak_ask(caps_peak_facts *facts, const caps_device_info *info, cl_device_id device);

#endif
