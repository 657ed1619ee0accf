/* vendor.c: see vendor.h. */
#include "vendor.h"

#include <string.h>

static const struct {
    const char *name; /* in CL_DEVICE_VENDOR */
    uint32_t id;      /* 0: there is none of PCI */
    caps_vendor vendor;
} vendors[] = {
    {"NVIDIA", 0x10de, CAPS_VENDOR_NVIDIA},
    {"Advanced Micro Devices", 0x1002, CAPS_VENDOR_AMD},
    {"AMD", 0x1002, CAPS_VENDOR_AMD},
    {"Intel", 0x8086, CAPS_VENDOR_INTEL},
    {"Apple", 0, CAPS_VENDOR_APPLE},
    {"ARM", 0, CAPS_VENDOR_ARM},
    {"QUALCOMM", 0, CAPS_VENDOR_QUALCOMM},
};

caps_vendor caps_vendor_find(const char *name, uint32_t id)
{
    for (size_t i = 0; i < sizeof vendors / sizeof *vendors; i++)
        if ((id && vendors[i].id == id) || strstr(name, vendors[i].name))
            return vendors[i].vendor;
    return CAPS_VENDOR_OTHER;
}

caps_vendor caps_vendor_of(const caps_device_info *info)
{
    if (info->type == CAPS_DEVICE_CPU)
        return CAPS_VENDOR_OTHER;
    const caps_vendor vendor = caps_vendor_find(info->vendor, 0);
    return vendor == CAPS_VENDOR_OTHER ? caps_vendor_find(info->name, 0) : vendor;
}
