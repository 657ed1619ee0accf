/* launcher.h: processes that mpirun or srun has started together. */
#ifndef CAPS_LAUNCHER_H
#define CAPS_LAUNCHER_H

#include "cli.h"
#include "ranks.h"

/* Of commands that do not compute on several ranks. False: this one of several is not to run it,
 * and *code is the exit code. */
bool caps_launch_allows(const caps_command *command, int *code);

/* Of processes that a launcher has numbered, only the first prints. */
void caps_launch_mute_others(void);
/* The ranks of a training, where a launcher has started several processes; else *ranks is NULL.
 * On other ranks than 0 nothing is printed from here on. Before the first OpenCL call: processor
 * threads are those that this rank may use. silence: see caps_ranks_begin. CAPS_ERR_ARGUMENT (these
 * ranks cannot train together), CAPS_ERR_RANK. */
caps_status caps_launch_begin(
    caps_ranks **ranks, const caps_texts *selectors, double silence, caps_error *err);
/* All ranks have the same command line. CAPS_ERR_ARGUMENT. */
caps_status caps_launch_compare(caps_ranks *ranks, int argc, char **argv, caps_error *err);
/* Of the devices that are named those of this rank, into list[CAPS_DEVICES_MOST]. *note: what is
 * worth saying, NULL: nothing; freed with free(). */
caps_status caps_launch_deal(caps_ranks *ranks, const caps_texts *selectors,
    caps_device_selector *list, size_t *n, char **note, caps_error *err);
/* How processor threads were divided; NULL: they were not. */
const char *caps_launch_threads_note(void);

/* The end of all ranks, and of what was opened for them; returns the exit code. */
caps_status caps_launch_end(caps_ranks *ranks, caps_status status, caps_error *err);
/* After everything else was released; does not return where a rank is lost. */
void caps_launch_part(caps_ranks *ranks, int code);

#endif
