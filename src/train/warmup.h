/* warmup.h: the kernels of a training, compiled by a process that does nothing else. */
#ifndef CAPS_WARMUP_H
#define CAPS_WARMUP_H

#include <capscl/train.h>

/* Compiles the later part of the kernels that a training step launches, for a process that begins
 * the training at the same time (kernel_warmup.h). rt serves for nothing else afterwards. */
caps_status caps_train_warmup(caps_runtime *rt, const caps_train_config *config, caps_error *err);

#endif
