/* onnx_graph.h: an ONNX graph that grows node by node.
 *
 * A value is known by its name, a string that lives as long as the graph. Names begin with the scope
 * at hand, the layer's name. Where memory is lacking the graph remembers it, names become "", and it
 * is asked for once, at the end. */
#ifndef CAPS_ONNX_GRAPH_H
#define CAPS_ONNX_GRAPH_H

#include "layer.h"
#include "textbuf.h"

enum { CAPS_ONNX_MOST_DIMS = 8 };

typedef enum caps_onnx_type { CAPS_ONNX_F32 = 1, CAPS_ONNX_I64 = 7 } caps_onnx_type;

/* A parameter or a constant. */
typedef struct caps_onnx_tensor {
    const char *name;
    caps_onnx_type type;
    int ndim;
    size_t shape[CAPS_ONNX_MOST_DIMS];
    const void *data;
    uint64_t bytes;
    void *owned; /* data, where the graph frees it */
} caps_onnx_tensor;

typedef struct caps_onnx_graph {
    const float *parameters; /* flat; borrowed */
    caps_textbuf nodes;      /* fields of a GraphProto */
    size_t node_count;
    caps_textbuf attributes;   /* of the next node: fields of a NodeProto */
    caps_onnx_tensor *tensors; /* [tensor_count] */
    size_t tensor_count, tensor_size;
    uint64_t tensor_bytes;
    struct caps_onnx_text *texts; /* all names */
    char scope[CAPS_LAYER_NAME + 32];
    size_t in_scope; /* names that it has given */
    /* How the network's values are called. */
    struct {
        const caps_value *value;
        const char *name;
    } values[CAPS_MOST_LAYERS * CAPS_MOST_VALUES];
    size_t value_count;
    const char *scores; /* [N, J] of the classes */
    bool out_of_memory, too_large;
} caps_onnx_graph;

void caps_onnx_graph_release(caps_onnx_graph *g); /* a zeroed one is allowed */

/* Names of what follows begin with it: "class_caps", "class_caps/iteration1". */
void caps_onnx_scope(caps_onnx_graph *g, const char *format, ...) CAPS_PRINTF(2, 3);

const char *caps_onnx_value_name(const caps_onnx_graph *g, const caps_value *value);
void caps_onnx_value_set(caps_onnx_graph *g, const caps_value *value, const char *name);

/* ---- constants ------------------------------------------------------------------------------ */

/* Parameter i of the layer, under its own name. */
const char *caps_onnx_parameter(caps_onnx_graph *g, const caps_layer *layer, size_t i);
const char *caps_onnx_float(caps_onnx_graph *g, double value);   /* [] */
const char *caps_onnx_number(caps_onnx_graph *g, int64_t value); /* [] */
/* Numbers that the caller fills at *data: NULL where memory is lacking, or the file would be too
 * large anyway. */
const char *caps_onnx_floats(caps_onnx_graph *g, float **data, int ndim, const size_t *shape);
const char *caps_onnx_indices(caps_onnx_graph *g, int64_t **data, size_t count);
const char *caps_onnx_numbers(caps_onnx_graph *g, size_t count, const int64_t *values);

/* ---- nodes ---------------------------------------------------------------------------------- */

/* Attributes of the next node. */
void caps_onnx_set_number(caps_onnx_graph *g, const char *name, int64_t value);
void caps_onnx_set_numbers(
    caps_onnx_graph *g, const char *name, size_t count, const int64_t *values);
void caps_onnx_set_float(caps_onnx_graph *g, const char *name, double value);

/* A node with the operator and these inputs; the name of its first output. */
const char *caps_onnx_add_node(caps_onnx_graph *g, const char *operator, ...);
#define caps_onnx_node(...) caps_onnx_add_node(__VA_ARGS__, (const char *)NULL)
/* A node of one input whose output is an output of the graph. */
void caps_onnx_output(caps_onnx_graph *g, const char *name, const char *value);

/* Reshape; 0 leaves a dimension as it is, -1 takes what is left. */
#define caps_onnx_reshape(g, x, ...)                                                               \
    caps_onnx_reshape_to(                                                                          \
        g, x, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (const int64_t[]){__VA_ARGS__})
const char *caps_onnx_reshape_to(
    caps_onnx_graph *g, const char *x, size_t count, const int64_t *shape);
#define caps_onnx_transpose(g, x, ...)                                                             \
    caps_onnx_transpose_by(                                                                        \
        g, x, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (const int64_t[]){__VA_ARGS__})
const char *caps_onnx_transpose_by(
    caps_onnx_graph *g, const char *x, size_t count, const int64_t *order);
/* Over one dimension, which stays with length 1. */
const char *caps_onnx_sum(caps_onnx_graph *g, const char *x, int64_t axis);
/* ReduceMax, ReduceMin, ReduceL2, ReduceSumSquare: the same. */
const char *caps_onnx_reduce(
    caps_onnx_graph *g, const char *operator, const char * x, int64_t axis);
const char *caps_onnx_softmax(caps_onnx_graph *g, const char *x, int64_t axis);
const char *caps_onnx_gather(caps_onnx_graph *g, const char *x, const char *indices, int64_t axis);
/* Where in the last dimension the `count` greatest elements are, the greatest first. */
const char *caps_onnx_top(caps_onnx_graph *g, const char *x, int64_t count);

#endif
