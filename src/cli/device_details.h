/* device_details.h: what is known of a device, for `devices --verbose` and `devices --report`. */
#ifndef CAPS_DEVICE_DETAILS_H
#define CAPS_DEVICE_DETAILS_H

#include <jansson.h>

#include <capscl/device.h>

/* The row of `devices --json`; NULL: out of memory. */
json_t *caps_device_row(const caps_device_info *device, bool selected);

/* What was tuned for a family, by key; {} where nothing was. NULL: out of memory. */
json_t *caps_device_tuned(const caps_device_info *device, caps_family family);

/* Lines below the row of the table, on standard output. */
void caps_device_details_print(const caps_device_info *device);

/* One document about all devices, with a small selftest of each in both families, every one in a
 * process of its own; takes a minute or two. `selected` is n where there is none. NULL: out of
 * memory. */
json_t *caps_device_report(const caps_device_info *list, size_t n, size_t selected);

#endif
