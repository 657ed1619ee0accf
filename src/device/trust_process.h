/* trust_process.h: checks of variants in a process of their own, which a driver may end. */
#ifndef CAPS_TRUST_PROCESS_H
#define CAPS_TRUST_PROCESS_H

#include "trust.h"

/* What is to be checked; plain bytes, so that it goes through a socket. */
typedef struct caps_trust_task {
    char selector[32]; /* "0:1" */
    uint64_t device;   /* hash of its text: it must be the same one there */
    caps_family family;
    char cl_path[1024];   /* "": the library's own kernels */
    char cache_dir[1024]; /* "": none */
} caps_trust_task;

/* Has all variants of a device checked. *n verdicts go to list (CAPS_TRUST_MOST of them at most).
 * False: there is no such process, or it was ended. */
bool caps_trust_process_check(const caps_trust_task *task, caps_verdict *list, size_t *n);

/* For that process: checks those that are not in the list yet, calling `begin` before each and
 * `end` after it. False: a check failed by an OpenCL error, and what the driver does from then on
 * means nothing. */
typedef struct caps_trust_watch {
    void (*begin)(void *user, const char *variant);
    void (*end)(void *user, const caps_verdict *verdict);
    void *user;
} caps_trust_watch;
bool caps_trust_check_rest(caps_runtime *rt, const caps_trust_watch *watch);

/* Nothing is checked: the environment says so, or this thread is one that checks. */
bool caps_trust_is_off(void);
/* Of a runtime that makes them: what is known so far. */
void caps_trust_adopt(caps_runtime *rt, const caps_verdict *list, size_t n);

#endif
