/* vendor.h: who made a device. Its kernels' tiles and its peak depend on it. */
#ifndef CAPS_VENDOR_H
#define CAPS_VENDOR_H

#include <capscl/device.h>

typedef enum caps_vendor {
    CAPS_VENDOR_OTHER,
    CAPS_VENDOR_NVIDIA,
    CAPS_VENDOR_AMD,
    CAPS_VENDOR_INTEL,
    CAPS_VENDOR_APPLE,
    CAPS_VENDOR_ARM,
    CAPS_VENDOR_QUALCOMM,
    CAPS_VENDORS
} caps_vendor;

/* By CL_DEVICE_VENDOR_ID where that is one of PCI (0: not known), else by CL_DEVICE_VENDOR. A driver
 * that others wrote (Mesa's) may have either. */
caps_vendor caps_vendor_find(const char *name, uint32_t id);

/* Of a GPU or an accelerator, by its names; a processor has no vendor that matters here. */
caps_vendor caps_vendor_of(const caps_device_info *info);

#endif
