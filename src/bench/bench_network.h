/* bench_network.h: a network's layers as problems of operations, which benchmarks walk. */
#ifndef CAPS_BENCH_NETWORK_H
#define CAPS_BENCH_NETWORK_H

#include <capscl/model.h>

enum { CAPS_BENCH_MOST_LAYERS = 64, CAPS_BENCH_LAYER_NAME = 48 };

typedef enum caps_problem_type {
    CAPS_PROBLEM_NONE,
    CAPS_PROBLEM_CONV,
    CAPS_PROBLEM_LINEAR,
    CAPS_PROBLEM_CAPS,
} caps_problem_type;

/* The operation behind a layer with its sizes. */
typedef struct caps_layer_problem {
    caps_problem_type type;
    size_t x_shape[4], w_shape[4]; /* conv; x_shape[0] is 1 image */
    caps_conv2d conv;
    size_t types, dim;   /* primary capsules: the convolution's channels are types * dim; else 0 */
    size_t in, out;      /* linear */
    caps_activation act; /* linear */
    caps_class_caps class_caps; /* caps: all but its batch and algorithm */
    double flops;               /* of an image's forward: products alone */
} caps_layer_problem;

typedef struct caps_bench_layer {
    char name[CAPS_BENCH_LAYER_NAME]; /* "conv1"; of a decoder without "decoder." */
    bool first;                       /* it reads the images, which need no gradient */
    size_t rows_per_image;            /* of its output: 1, or an image's labels in a decoder */
    caps_layer_problem problem;
} caps_bench_layer;

typedef struct caps_bench_network {
    caps_bench_layer layers[CAPS_BENCH_MOST_LAYERS];
    size_t count;
    size_t of_type[CAPS_PROBLEM_CAPS + 1]; /* how many layers of each type */
    size_t with_types;                     /* how many are primary capsules */
    /* C, H, W; their product; J and D of the last capsules (0: there are none); all parameters. */
    size_t input[3], pixels, classes, dim, inputs, parameters;
    bool has_decoder;
    const char *routing_grad;
} caps_bench_network;

/* CAPS_ERR_SPEC. */
caps_status caps_bench_network_init(
    caps_bench_network *n, const caps_model_spec *spec, caps_error *err);

/* An output's height or width. */
size_t caps_bench_conv_height(const caps_layer_problem *p);
size_t caps_bench_conv_width(const caps_layer_problem *p);

#endif
