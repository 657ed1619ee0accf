/* device_limits.h: more of what a driver says of its device, for those who look into one. Nothing
 * is computed by it. */
#ifndef CAPS_DEVICE_LIMITS_H
#define CAPS_DEVICE_LIMITS_H

#include <capscl/device.h>

/* What a driver does not say is 0. */
typedef struct caps_device_limits {
    uint64_t max_group;     /* work-items of a work-group */
    uint64_t item_sizes[3]; /* the same by dimension */
    uint64_t constant_bytes, cache_bytes;
    uint64_t cache_line_bytes;
    uint64_t float_width; /* floats in a native vector */
    uint64_t lanes;       /* float32 multiply-adds of a unit in a cycle; see peak.h */
    uint64_t address_bits, alignment_bits;
    uint64_t timer_ns;     /* resolution of the times of commands */
    uint64_t local_is_own; /* 1: local memory is memory of its own, not a part of the global one */
    uint64_t vendor_id;
} caps_device_limits;

void caps_device_limits_ask(caps_device_limits *limits, const caps_device_info *info);

/* Calls each with the name of a limit and its value, in the order of the struct. */
void caps_device_limits_each(const caps_device_limits *limits,
    void (*each)(void *user, const char *name, uint64_t value), void *user);

/* CL_DEVICE_EXTENSIONS without blanks around, cleaned for showing; freed with free(), NULL: out of
 * memory. "" where the driver does not say. */
char *caps_device_extensions(const caps_device_info *info);

/* The extensions that this program asks for, and what for: the i-th name, NULL past the last. None
 * is needed. */
const char *caps_extension_used(size_t i, const char **purpose);

#endif
