/* cases.h: what the selftest's cases share. A case draws inputs, runs the device and the
 * reference, and compares; memory belongs to the context and is freed after the case. */
#ifndef CAPS_SELFTEST_CASES_H
#define CAPS_SELFTEST_CASES_H

#include "selftest.h"

enum { CAPS_SELFTEST_SIZES = 11, CAPS_SELFTEST_MOST = 48 };

typedef enum caps_selftest_direction {
    CAPS_SELFTEST_FORWARD,
    CAPS_SELFTEST_BACKWARD,
} caps_selftest_direction;

typedef struct caps_selftest {
    caps_runtime *rt;
    uint64_t seed;      /* moves on with every draw */
    caps_status status; /* of draws and tensors; the cases look at it before they use them */
    caps_error *err;
    const char *only;              /* the algorithm whose cases are to be run; NULL: all */
    char shape[96], algorithm[24]; /* set by the case */
    double worst[2];               /* by direction */
    bool compared[2];
    double done; /* caps_selftest_result.done */
    void *memory[CAPS_SELFTEST_MOST];
    caps_tensor tensors[CAPS_SELFTEST_MOST];
    size_t memory_count, tensor_count;
} caps_selftest;

/* Where a case is run. */
typedef enum caps_selftest_size {
    CAPS_SMALL, /* everywhere */
    CAPS_LARGE, /* not on simulators */
    CAPS_LATE,  /* nor before a device is first used: its kernels are built anew for each shape, in
                   seconds */
} caps_selftest_size;

typedef struct caps_selftest_case {
    const char *operation;
    caps_status (*run)(caps_selftest *t, const size_t *sizes, caps_error *err);
    caps_selftest_size size;
    size_t sizes[CAPS_SELFTEST_SIZES]; /* their meaning is the case's */
} caps_selftest_case;

extern const caps_selftest_case caps_selftest_layers[]; /* gemm to linear; ends with an empty row */
extern const caps_selftest_case caps_selftest_capsules[];
extern const caps_selftest_case caps_selftest_scores[];
extern const caps_selftest_case caps_selftest_blocks[];
extern const caps_selftest_case caps_selftest_em[];

/* After a case has set t->algorithm: it is none of those that are to be run, or it is refused on
 * the device. */
bool caps_selftest_skips(const caps_selftest *t, const char *chooser);

/* n numbers in lo..hi, each exactly a float32; zeros; or NULL, with t->status set. */
double *caps_selftest_draw(caps_selftest *t, size_t n, double lo, double hi);
double *caps_selftest_zeros(caps_selftest *t, size_t n);
int32_t *caps_selftest_labels(caps_selftest *t, size_t n, size_t classes);

/* A device tensor with these values (NULL: NaN, so that what is not written shows). Never NULL;
 * with t->status set it has no buffer. */
caps_tensor *caps_selftest_put(
    caps_selftest *t, const double *values, int ndim, const size_t *shape);
caps_tensor *caps_selftest_put_labels(caps_selftest *t, const int32_t *values, size_t n);

/* Relative error of the tensor, in norm; the worst of a direction is kept. */
caps_status caps_selftest_compare(caps_selftest *t, caps_selftest_direction direction,
    const caps_tensor *have, const double *need, caps_error *err);

/* caps_selftest_worst_of for one case that stands in no table. */
caps_status caps_selftest_worst_of_case(
    caps_runtime *rt, const caps_selftest_case *one, caps_selftest_worst *worst, caps_error *err);

#endif
