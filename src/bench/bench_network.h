/* bench_network.h: a network's layers as problems of operations, which benchmarks walk. */
#ifndef CAPS_BENCH_NETWORK_H
#define CAPS_BENCH_NETWORK_H

#include <capscl/model.h>

#include "layer.h"

typedef struct caps_bench_layer {
    char name[CAPS_LAYER_NAME]; /* "conv1"; of a decoder without "decoder." */
    bool first;                 /* it reads the images, which need no gradient */
    size_t rows_per_image;      /* of its output: 1, or an image's labels in a decoder */
    caps_layer_problem problem;
} caps_bench_layer;

typedef struct caps_bench_network {
    caps_bench_layer layers[CAPS_MOST_LAYERS];
    size_t count;
    size_t of_type[CAPS_PROBLEM_TYPES]; /* how many layers of each type */
    size_t with_types;                  /* how many are primary capsules */
    size_t normalised;                  /* how many are normalised over the batch */
    const caps_model_info *info;        /* the spec's */
} caps_bench_network;

/* Of a spec that outlives it. CAPS_ERR_SPEC, CAPS_ERR_MEMORY. */
caps_status caps_bench_network_init(
    caps_bench_network *n, const caps_model_spec *spec, caps_error *err);

/* An output's height or width. */
size_t caps_bench_conv_height(const caps_layer_problem *p);
size_t caps_bench_conv_width(const caps_layer_problem *p);

#endif
