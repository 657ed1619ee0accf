/* bench_problem.h: the tensors of one measurement, and how to run it. */
#ifndef CAPS_BENCH_PROBLEM_H
#define CAPS_BENCH_PROBLEM_H

#include "bench.h"

enum { CAPS_BENCH_MOST_TENSORS = 16 };

/* Begin with {.b = ...}; the other members are for the functions that run it. */
typedef struct caps_bench_problem {
    const caps_bench *b;
    caps_tensor t[CAPS_BENCH_MOST_TENSORS];
    size_t count;
    caps_gemm_shape gemm;
    caps_conv2d conv;
    caps_routing routing;
    caps_routing_state state;
    caps_class_caps class_caps;
    caps_class_caps_state class_state;
    caps_adam adam;
    caps_activation act;
    bool needs_input_gradient;      /* the gradient of x is wanted */
    double footprint; /* as in caps_bench_row */
} caps_bench_problem;

void caps_bench_problem_release(caps_bench_problem *s);

/* One more tensor, as caps_bench_fill makes it. */
caps_status caps_bench_add(caps_bench_problem *s, int ndim, const size_t *shape, caps_error *err);

/* Measures `run` on s and gives the row. algorithm: as for caps_bench_row_make. */
caps_status caps_bench_problem_measure(caps_bench_problem *s, caps_bench_run *run,
    const char *operation, const char *shape, const char *algorithm, double flops, double bytes,
    caps_error *err);

#endif
