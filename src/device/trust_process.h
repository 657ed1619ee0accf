/* trust_process.h: checks of variants in a process of their own, which a driver may end. */
#ifndef CAPS_TRUST_PROCESS_H
#define CAPS_TRUST_PROCESS_H

#include "trust.h"

/* What is to be done; plain bytes, so that it goes through a socket. */
typedef struct caps_trust_task {
    bool lists;         /* the devices are to be listed, nothing to be checked */
    char vendors[1024]; /* OCL_ICD_VENDORS; "": as it is */
    char selector[32];  /* "0:1" */
    uint64_t device;    /* hash of its text: it must be the same one there */
    caps_family family;
    char only[CAPS_TRUST_VARIANT]; /* see caps_trust_check_rest */
    size_t verdicts;               /* that there are */
    caps_verdict list[CAPS_TRUST_MOST];
    char cl_path[1024];   /* "": the library's own kernels */
    char cache_dir[1024]; /* "": none */
} caps_trust_task;

enum { CAPS_TRUST_DEVICES = 32 };

typedef struct caps_trust_answer {
    size_t verdicts; /* the task's first */
    caps_verdict list[CAPS_TRUST_MOST];
    size_t devices; /* the first so many */
    struct {
        uint64_t hash[2];   /* of their texts, by family */
        caps_family family; /* that of their type */
    } device[CAPS_TRUST_DEVICES];
    bool finished;
    char why[CAPS_TRUST_WHY]; /* the list was not finished */
} caps_trust_answer;

/* Begins the fork server that does it. False: the process has made OpenCL calls already, and there
 * will be none. */
bool caps_trust_process_begin(void);
/* False: there is no such process, or it was ended; or the device is not there. */
bool caps_trust_process_run(const caps_trust_task *task, caps_trust_answer *answer);

/* For that process: checks those that are not in the list yet, calling `begin` before each and
 * `end` after it: the one that is named, with CAPS_TRUST_ALL all, with "" those that are needed.
 * False: a check failed by an OpenCL error, and what the driver does from then on
 * means nothing. */
typedef struct caps_trust_watch {
    void (*begin)(void *user, const char *variant);
    void (*end)(void *user, const caps_verdict *verdict);
    void *user;
} caps_trust_watch;
#define CAPS_TRUST_ALL "all"
bool caps_trust_check_rest(caps_runtime *rt, const char *only, const caps_trust_watch *watch);

/* Nothing is checked: the environment says so, or this thread is one that checks. */
bool caps_trust_is_off(void);
/* Has all drivers list their devices in a child, where they are not known; those that do not
 * survive it are left out from then on. Begins the fork server where something may have to be
 * checked. */
void caps_drivers_check(void);
/* Of a runtime that makes them: what is known so far. */
void caps_trust_adopt(caps_runtime *rt, const caps_verdict *list, size_t n);

#endif
