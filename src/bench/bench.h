/* bench.h: what `capscl bench` measures, and how. Nothing here prints: rows go to a callback. */
#ifndef CAPS_BENCH_H
#define CAPS_BENCH_H

#include <jansson.h>

#include <capscl/model.h>

#include "bench_network.h"

/* ---- measuring ------------------------------------------------------------------------------ */

/* One row of the result. Counts are what the equations need: every operand moved once, no more. */
typedef struct caps_bench_row {
    const char *operation; /* "gemm" */
    char shape[112];       /* "conv1 forward M=256 N=..." */
    char algorithm[48];    /* kernel family, and the algorithm where there are several */
    double flops, bytes;   /* of one run */
    double footprint; /* bytes of memory that it touches; 0: all different, as many as `bytes` */
    size_t repeats;
    double seconds_min, seconds_median;
    double seconds_q1, seconds_q3; /* a quarter of the measurements is below, above */
    /* forward and step */
    bool whole; /* the members below count */
    size_t batch;
    const char *routing_grad;
    char conv[1024]; /* the convolutions' algorithms */
    uint64_t peak_device_bytes;
} caps_bench_row;

/* Measures `run` on rt's queue: once to warm up, then at least 5 times (2 where one takes seconds),
 * for about `enough_seconds`. Runs much shorter than a millisecond are measured several at a time.
 * */
typedef caps_status caps_bench_run(void *context, caps_error *err);
caps_status caps_bench_measure(caps_bench_row *row, caps_runtime *rt, caps_bench_run *run,
    void *context, double enough_seconds, caps_error *err);

/* The most that the device does, by kernels that do nothing else: fused multiply-adds on registers;
 * reading, or reading and writing, arrays of several sizes, for a small one may lie in a cache. */
#define CAPS_BENCH_LEAST_BYTES ((uint64_t)1 << 20)
enum { CAPS_BENCH_MEMORY_SIZES = 5, CAPS_BENCH_MEMORY_FACTOR = 4 }; /* up to 256 MiB */
typedef struct caps_bench_peak {
    double gflops;
    double gbytes_per_s[CAPS_BENCH_MEMORY_SIZES]; /* by size, from the least */
    size_t sizes;                                 /* fewer on a small device */
} caps_bench_peak;
/* seconds: of each measurement, at most */
caps_status caps_bench_peak_measure(
    caps_bench_peak *peak, caps_runtime *rt, double seconds, caps_error *err);
/* In GB/s, of what touches `bytes` of memory. */
double caps_bench_peak_memory(const caps_bench_peak *peak, double bytes);

/* ---- operations ----------------------------------------------------------------------------- */

/* A shape of the user's in place of a network's. */
enum { CAPS_BENCH_MOST_NUMBERS = 8 };
typedef struct caps_bench_shape {
    /* gemm: M, N, K; conv: B, C, H, W, M, k, stride, padding */
    size_t numbers[CAPS_BENCH_MOST_NUMBERS];
    bool trans_a, trans_b; /* gemm */
} caps_bench_shape;
/* Reads "512x512x512" or "100x512x160:nt" (gemm: how A and B are stored, n or t), and
 * "100x1x28x28x256x9x1" with a padding behind it where there is one (conv). CAPS_ERR_ARGUMENT. */
caps_status caps_bench_shape_parse(
    caps_bench_shape *shape, const char *text, bool conv, caps_error *err);

/* What an operation is measured at. */
typedef struct caps_bench {
    caps_runtime *rt;
    const caps_model_spec *spec;
    const caps_bench_network *network; /* of the spec */
    size_t batch;
    double seconds;                /* of measuring, for each row */
    const char *conv;              /* caps_model_options.conv */
    const caps_bench_shape *shape; /* NULL: the network's; else gemm and conv measure this one */
    void (*each)(void *user, const caps_bench_row *row);
    void *user;
} caps_bench;

/* Of the model that `forward` or, with `step`, `step` makes. */
caps_model_options caps_bench_model_options(const caps_bench *b, bool step);

/* One operation, or the whole network, in the order in which they are listed and measured. */
typedef struct caps_bench_operation {
    const char *name;
    /* Measures it at every layer that has it, giving each row to b->each. */
    caps_status (*run)(const caps_bench *b, caps_error *err);
    bool whole;     /* the whole network: a row has the members for it */
    bool batchless; /* the batch does not matter */
    bool shaped;    /* a shape of the user's may take the network's place */
    /* Only such layers have it, a caps_problem_type (0: any); normalised: such that are. */
    int needs;
    bool normalised;
} caps_bench_operation;
const caps_bench_operation *caps_bench_operation_at(size_t i); /* NULL past the last */
/* Whether a layer of the network has it. */
bool caps_bench_operation_applies(
    const caps_bench_operation *operation, const caps_bench_network *network);

/* ---- results -------------------------------------------------------------------------------- */

/* DIRECTORY/<device>-<kernels>[-<arch>][-<what>].json, freed with free(). Makes the directory and
 * checks that the file can be written there. */
caps_status caps_bench_results_path(char **path, const char *directory, const caps_runtime *rt,
    const char *arch, const char *what, caps_error *err);
/* Device, driver, versions, date, peaks and rows (an array, borrowed); whole or not at all. */
caps_status caps_bench_results_write(const char *path, const caps_runtime *rt, const char *arch,
    const caps_bench_peak *peak, json_t *rows, caps_error *err);

#endif
