/* parts.h: a device cut into parts of equally many compute units (OpenCL's sub-devices), each of
 * which is a device. */
#ifndef CAPS_PARTS_H
#define CAPS_PARTS_H

#include <capscl/device.h>

/* What a selector says behind its last slash: "0:0/2:1". */
typedef struct caps_part {
    char base[CAPS_DEVICE_SELECTOR]; /* "0:0"; "" where the selector is nothing but a part */
    size_t count;                    /* 2; 0: the selector names a whole device */
    size_t index;                    /* 1; SIZE_MAX: none is named, all of them are meant */
} caps_part;

/* selector NULL: that of $CAPSCL_DEVICE, or "". CAPS_ERR_ARGUMENT: it is too long, or the index is
 * not below the count. */
caps_status caps_part_read(caps_part *part, const char *selector, caps_error *err);

/* *info, a whole device, becomes that of one part of it, which the caller releases with
 * clReleaseDevice. CAPS_ERR_NO_DEVICE: it has fewer compute units than parts are wanted.
 * CAPS_ERR_OPENCL. */
caps_status caps_part_take(caps_device_info *info, const caps_part *part, caps_error *err);

#endif
