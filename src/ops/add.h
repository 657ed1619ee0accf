/* add.h: y += x. */
#ifndef CAPS_ADD_H
#define CAPS_ADD_H

#include <capscl/tensor.h>

/* Float32 tensors of one count, of any shape, that do not overlap. Enqueues. */
caps_status caps_add(caps_runtime *rt, const caps_tensor *y, const caps_tensor *x, caps_error *err);

#endif
