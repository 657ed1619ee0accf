/* rehearse.h: the kernels of a training, compiled by a process that does nothing else. */
#ifndef CAPS_REHEARSE_H
#define CAPS_REHEARSE_H

#include <capscl/train.h>

/* Compiles the later part of the kernels that a training step launches, for a process that begins
 * the training at the same time (rehearsal.h). rt serves for nothing else afterwards. */
caps_status caps_train_rehearse(caps_runtime *rt, const caps_train_config *config, caps_error *err);

#endif
