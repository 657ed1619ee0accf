/* prepare.h: enumeration.c's parts that the runtime uses too. */
#ifndef CAPS_PREPARE_H
#define CAPS_PREPARE_H
#include <capscl/device.h>
/* Sets what drivers read from the environment when the loader opens them; before any OpenCL
 * call. */
void caps_prepare_drivers(void);
void caps_device_describe(caps_device_info *info, cl_platform_id platform, cl_device_id device,
    int platform_index, int device_index);
#endif
