/* selftest.h: every operation, forward and backward, on a device against src/ref. One table of
 * cases serves `capscl selftest` and the tests. */
#ifndef CAPS_SELFTEST_H
#define CAPS_SELFTEST_H

#include <capscl/ops.h>

typedef struct caps_selftest_result {
    const char *operation; /* "squash" */
    char shape[96];        /* "N=37 K=5" */
    const char *direction; /* "forward" or "backward" */
    char algorithm[48];    /* kernel family and algorithm: "cpu", "cpu/packed" */
    double error;          /* relative, worst of the outputs */
    double tolerance;      /* 1e-5 forward, 1e-4 backward */
    bool passed;
    double done; /* the share of all cases that have been run, 0 to 1 */
} caps_selftest_result;

/* The operations that there are cases of: the i-th, NULL past the last. */
const char *caps_selftest_operation_at(size_t i);

/* Runs all cases (`small`: only tiny shapes, for simulators), or those of the `count` operations
 * in names (0: of all), calling `each` after each. A case
 * that fails is a result, not an error; an OpenCL failure is an error. */
caps_status caps_selftest_run(caps_runtime *rt, bool small, char *const *names, size_t count,
    void (*each)(void *user, const caps_selftest_result *result), void *user, caps_error *err);

/* What computes an operation on the runtime: the algorithm that the paper's network takes at batch
 * 100, or the kernel family where there is but one. */
const char *caps_selftest_used(const caps_runtime *rt, const char *operation);

/* The case that is the farthest from the reference, for its tolerance. */
typedef struct caps_selftest_worst {
    size_t cases; /* 0: there was none */
    double error, tolerance;
} caps_selftest_worst;

/* Runs the cases of an operation but the late ones, those of one algorithm (NULL: of all); *worst
 * goes on from what it is. For trust.h. */
caps_status caps_selftest_worst_of(caps_runtime *rt, const char *operation, const char *algorithm,
    caps_selftest_worst *worst, caps_error *err);

#endif
