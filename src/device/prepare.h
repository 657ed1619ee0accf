/* prepare.h: enumeration.c's parts that the runtime uses too. */
#ifndef CAPS_PREPARE_H
#define CAPS_PREPARE_H
#include <capscl/device.h>
/* Sets what drivers read from the environment when the loader opens them; before any OpenCL
 * call. */
void caps_prepare_drivers(void);
/* What the driver says of a device. On failure *info is what was heard before, and not available.
 * Errors: CAPS_ERR_OPENCL, also for what cannot be (no compute units, no memory, no name). */
caps_status caps_device_describe(caps_device_info *info, cl_platform_id platform,
    cl_device_id device, int platform_index, int device_index, caps_error *err);
/* Why the device of a list cannot be used: asks its driver again. Fills *err. */
caps_status caps_device_explain(const caps_device_info *info, caps_error *err);
#endif
