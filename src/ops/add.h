/* add.h: y += x, y += factor x. */
#ifndef CAPS_ADD_H
#define CAPS_ADD_H

#include <capscl/tensor.h>

/* Float32 tensors of one count, of any shape, that do not overlap. Enqueues. */
caps_status caps_add(caps_runtime *rt, const caps_tensor *y, const caps_tensor *x, caps_error *err);
/* y += factor x, with one rounding an element. */
caps_status caps_add_scaled(
    caps_runtime *rt, const caps_tensor *y, const caps_tensor *x, float factor, caps_error *err);

#endif
