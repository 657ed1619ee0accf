/* fault.h: which call fails. Shared by the two libraries that are loaded before the others
 * (LD_PRELOAD) and stand in front of OpenCL and the C library.
 *
 *   FAULT=name:n[:code]    the n-th call of `name` fails; name:+n: that one and all that follow
 *   FAULT_MARK=FILE        is made when a call was failed
 *   FAULT_PROGRAM=NAME     only in processes of this name: not in what a driver starts
 *   FAULT_COUNT=FILE       gets "name calls" for each function at the end
 *
 * Only the first process counts: a child (the warm-up) runs as it is. */
#ifndef CAPS_FAULT_H
#define CAPS_FAULT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct fault_counter {
    const char *name;
    long calls;
} fault_counter;

/* Reads FAULT; default_code: where it names none. */
void fault_begin(fault_counter *counters, size_t count, int default_code);
/* Counts a call of counters[i]; true: it is to fail, with fault_code. */
bool fault_hit(size_t i);
int fault_code(void);

/* The function behind ours: `to` points to a pointer to a function. */
void fault_find(void *to, const char *name);

#endif
