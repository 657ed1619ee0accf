/* child.h: this program run once more, in a process of its own, whose end it survives. */
#ifndef CAPS_CHILD_H
#define CAPS_CHILD_H

#include <stdbool.h>

#include "textbuf.h"

typedef struct caps_child {
    int exit_code; /* -1: it did not exit by itself */
    int signal;    /* that ended it; 0: none did */
    bool timed_out;
    caps_textbuf out, err;
} caps_child;

/* Runs `capscl ARGUMENTS...` (the array ends with NULL) with one variable of the environment set
 * ("NAME=VALUE"), waits at most `seconds` and then ends it. False: it could not be started. */
bool caps_child_run(
    caps_child *child, const char *const arguments[], const char *variable, unsigned seconds);
void caps_child_release(caps_child *child); /* a zeroed one is allowed */

#endif
