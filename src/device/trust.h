/* trust.h: which variants of kernels a device computes right.
 *
 * A variant is a family of kernels ("family gpu"), or an algorithm of a chooser (choice.h: "conv
 * toom-cook", "tile 64x64"). Before any is used on a device that is not known, each is checked
 * there against the reference, on small odd sizes, forward and backward; what fails is set aside,
 * and the choosers take the next. The verdicts lie in the cache directory, one file for each
 * device, driver and family ("trust-HASH.json", beside what was tuned), and count only for the
 * kernels that they were made with.
 *
 * The checks run in a child process (trust_process.h), so that a driver which ends the process,
 * crashes or hangs costs a verdict. Where the process has made OpenCL calls of its own before ours,
 * no child can be had, and they run in the process itself.
 *
 * CAPSCL_TRUST=off checks nothing and trusts everything: for tests and measurements. */
#ifndef CAPS_TRUST_H
#define CAPS_TRUST_H

#include <capscl/device.h>

enum { CAPS_TRUST_VARIANT = 64, CAPS_TRUST_WHY = 240, CAPS_TRUST_MOST = 64 };

typedef struct caps_verdict {
    char variant[CAPS_TRUST_VARIANT];
    bool passed;
    /* Relative, of the case that was the farthest off for its tolerance. tolerance 0: there was
     * none; it is refused unseen, or serves nothing here. */
    double error, tolerance;
    char why[CAPS_TRUST_WHY]; /* it is refused; "": it passed */
    size_t group; /* of a family: items that its kernels' groups may have; 0: of no other variant */
} caps_verdict;

/* What is kept for a device (of caps_device_list) and a family, in the order of the checks; *n 0:
 * nothing yet, or nothing that counts. *list is freed with free(), NULL where *n is 0. It reads one
 * small file and asks the driver for two numbers; no kernel is built. Errors: CAPS_ERR_MEMORY. */
caps_status caps_verdicts_read(caps_verdict **list, size_t *n, const caps_device_info *device,
    caps_family family, caps_error *err);

/* Those in force for a runtime; the runtime's own. */
size_t caps_runtime_verdicts(const caps_runtime *rt, const caps_verdict **list);

/* Why an algorithm of a chooser is refused on the runtime's device; NULL: it is not. The text is
 * the runtime's. */
const char *caps_trust_refusal(const caps_runtime *rt, const char *chooser, const char *algorithm);

/* Before an algorithm of a chooser is used: has it checked, where that was left for when it is
 * chosen. Why it is refused, the runtime's text, or NULL. */
const char *caps_trust_admit(const caps_runtime *rt, const char *chooser, const char *algorithm);
/* The same as a status: "what: algorithm is refused: why", CAPS_ERR_OPENCL. For an operation that
 * runs an algorithm which it did not choose. */
caps_status caps_trust_require(const caps_runtime *rt, const char *chooser, const char *algorithm,
    const char *what, caps_error *err);
/* Whether this thread chooses what will not run, and has nothing checked for that. Returns what it
 * was before. */
bool caps_trust_postpone(bool postpone);
/* Has all checked that was left. */
void caps_trust_complete(caps_runtime *rt);

/* What is said while a check that takes time begins, as one line: what cannot wait until the
 * runtime is there. NULL (at first): nothing. For the program; before its threads begin. */
void caps_trust_on_check(void (*tell)(const char *text));

/* From now on this thread trusts everything: it checks, or what it computes is thrown away. */
void caps_trust_suspend(void);

/* ---- defined above this layer, which knows no operation ------------------------------------- */

/* The variants that may be chosen for the runtime, in the order in which they are to be checked (at
 * most CAPS_TRUST_MOST; their number). The first is the family itself. */
size_t caps_trust_variants(
    const caps_runtime *rt, char variants[CAPS_TRUST_MOST][CAPS_TRUST_VARIANT]);
/* Is it to be checked before the runtime is there? It is what the runtime would choose, as far as it
 * is checked by now. The others are checked when they are chosen. */
bool caps_trust_is_needed(const caps_runtime *rt, const char *variant);
/* Checks one of them. CAPS_OK: *error and *tolerance tell how far off it was. Any other status: the
 * device or its driver failed. */
caps_status caps_trust_check(
    caps_runtime *rt, const char *variant, double *error, double *tolerance, caps_error *err);
/* An operation of which every variant is refused, and what refused the last one; NULL: none. */
const char *caps_trust_missing(const caps_runtime *rt, const char **why);

/* ---- for runtime.c -------------------------------------------------------------------------- */

/* What a runtime holds. */
typedef struct caps_trust {
    caps_verdict *list;
    size_t count, refused;
    bool hopeless; /* no family is left */
} caps_trust;

/* Reads the verdicts for the runtime's device and family, or has them made and keeps them. A family
 * that cannot be trusted is exchanged for the other one, unless `requested`; where neither can be,
 * CAPS_ERR_OPENCL. */
caps_status caps_trust_establish(caps_runtime *rt, bool requested, caps_error *err);
void caps_trust_release(caps_runtime *rt);
/* "gemm=auto,conv=auto,...": caps_runtime_options.algorithms of a runtime that checks. */
const char *caps_trust_algorithms(void);

#endif
