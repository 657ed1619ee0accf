/* bench_problem.h: the tensors of one measurement, and how to run it. For the files of this
 * folder. */
#ifndef CAPS_BENCH_PROBLEM_H
#define CAPS_BENCH_PROBLEM_H

#include "bench.h"

enum { CAPS_BENCH_MOST_TENSORS = 16, CAPS_BENCH_SHAPE_TEXT = 112 };

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
    caps_attention attention;
    caps_attention_state attention_state;
    caps_em em;
    size_t kernel, stride; /* of a layer without weights of its own, or depthwise */
    caps_adam adam;
    caps_activation act;
    caps_squash squash;
    bool needs_input_gradient;
    double footprint; /* as in caps_bench_row */
} caps_bench_problem;

void caps_bench_problem_release(caps_bench_problem *p);

/* One more tensor, filled with numbers in -0.5..0.5: zeros would be faster than what occurs. */
caps_status caps_bench_add(caps_bench_problem *p, int ndim, const size_t *shape, caps_error *err);
/* One more, in 0..1. */
caps_status caps_bench_add_positive(
    caps_bench_problem *p, int ndim, const size_t *shape, caps_error *err);
/* One more: int32 [n], 0, 1, .. modulo `below`. */
caps_status caps_bench_add_integers(caps_bench_problem *p, size_t n, size_t below, caps_error *err);

/* Measures `run` on p and gives the row. algorithm: NULL where there is but one. */
caps_status caps_bench_problem_measure(caps_bench_problem *p, caps_bench_run *run,
    const char *operation, const char *shape, const char *algorithm, double flops, double bytes,
    caps_error *err);

/* "conv1 ": what a row's shape begins with where several layers have the operation; else "". text
 * of at least CAPS_LAYER_NAME + 1 bytes, returned. */
const char *caps_bench_prefix(char *text, const caps_bench_layer *layer, size_t layers);

/* Measures an operation at each layer of a type, in forward order. */
typedef caps_status caps_bench_layer_measure(
    const caps_bench *b, const caps_bench_layer *layer, caps_error *err);
caps_status caps_bench_walk(const caps_bench *b, caps_problem_type type,
    caps_bench_layer_measure *measure, caps_error *err);

/* ---- the operations of operations.c --------------------------------------------------------- */

caps_status caps_bench_gemm(const caps_bench *b, caps_error *err);
caps_status caps_bench_conv(const caps_bench *b, caps_error *err);
caps_status caps_bench_bias(const caps_bench *b, caps_error *err);
caps_status caps_bench_linear(const caps_bench *b, caps_error *err);
caps_status caps_bench_group(const caps_bench *b, caps_error *err);
caps_status caps_bench_squash(const caps_bench *b, caps_error *err);
caps_status caps_bench_votes(const caps_bench *b, caps_error *err);
caps_status caps_bench_routing(const caps_bench *b, caps_error *err);
caps_status caps_bench_attention(const caps_bench *b, caps_error *err);
caps_status caps_bench_em(const caps_bench *b, caps_error *err);
caps_status caps_bench_batch_norm(const caps_bench *b, caps_error *err);
caps_status caps_bench_depthwise(const caps_bench *b, caps_error *err);
caps_status caps_bench_max_pool(const caps_bench *b, caps_error *err);
caps_status caps_bench_losses(const caps_bench *b, caps_error *err);
caps_status caps_bench_adam(const caps_bench *b, caps_error *err);
caps_status caps_bench_sgd(const caps_bench *b, caps_error *err);
caps_status caps_bench_forward(const caps_bench *b, caps_error *err);
caps_status caps_bench_step(const caps_bench *b, caps_error *err);

#endif
