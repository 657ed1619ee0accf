/* warmup_process.h: a child process beside the one that trains, on a machine where nothing is
 * compiled yet. */
#ifndef CAPS_WARMUP_PROCESS_H
#define CAPS_WARMUP_PROCESS_H

#include <capscl/train.h>

/* Where the kernel cache is empty, begins a process that compiles half of the kernels that a
 * training with these settings needs, for drivers that compile at the first launch; it ends by
 * itself, or with this process. To be called before the first call of OpenCL. Whatever goes wrong
 * there, the training compiles for itself. device: as of caps_runtime_create; NULL: the default. */
void caps_warmup_process_begin(const char *device, const caps_train_config *config);
/* Call it now and then: it collects the process once it has ended. */
void caps_warmup_process_reap(void);

#endif
