/* elementwise.h: what operations on flat arrays share. */
#ifndef CAPS_ELEMENTWISE_H
#define CAPS_ELEMENTWISE_H

#include <capscl/tensor.h>

/* Both are float32 of one count, given in *count, which kernels can count in 32 bits. */
caps_status caps_elementwise_check(const char *operation, const char *to_name,
    const caps_tensor *to, const char *from_name, const caps_tensor *from, size_t *count,
    caps_error *err);

#endif
