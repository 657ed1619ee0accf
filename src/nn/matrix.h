/* matrix.h: what the layers of matrix capsules share (Hinton, Sabour, Frosst 2018).
 *
 * A layer of matrix capsules gives two values: its poses [I, 16], 4x4 matrices by rows, in the form
 * of capsules with a grid; and its activations [I], from 0 to 1. */
#ifndef CAPS_MATRIX_H
#define CAPS_MATRIX_H

#include "layer.h"

enum { CAPS_POSE = 16, CAPS_POSE_SIDE = 4 };

/* Both outputs of types * height * width capsules. CAPS_ERR_SPEC. */
caps_status caps_matrix_add_outputs(caps_layer *layer, const size_t grid[3], caps_error *err);

/* The layer reads matrix capsules. CAPS_ERR_SPEC names what it reads. */
caps_status caps_matrix_require(const caps_layer *layer, caps_error *err);

/* ---- EM routing ------------------------------------------------------------------------------ */

/* Both kinds of layers that route by EM are this struct. */
typedef struct caps_em_layer {
    caps_layer base;
    size_t types; /* C: of the parents; `capsules` of matrix_caps */
    size_t kernel, stride;
    bool coordinates;
    int routing, grad; /* positions of the choices */
    size_t iterations;
    double lambda, cost_scale, variance_floor;
    size_t workspace;        /* elements, for the time of a call */
    caps_tensor state;       /* that forward leaves for backward */
    caps_tensor assignment;  /* [r, batch, I, C], of kernel 0; see caps_em_layer_result */
    caps_tensor activations; /* [r, batch, C], likewise */
    caps_runtime *rt;        /* of the last forward */
} caps_em_layer;

/* The variants of the field `routing`. */
extern const caps_field_variant caps_em_routings[];

/* "3 EM iterations (gradient: full)" and what is not the default, into text[bytes]. */
void caps_em_layer_describe_routing(const caps_em_layer *self, char *text, size_t bytes);
/* The rest of a build: parameters and outputs, once the inputs are known to fit. */
caps_status caps_em_layer_build(caps_em_layer *self, caps_network *n, const size_t grid[3],
    int ndim, const size_t *weight, caps_error *err);

/* Of the kinds' structs. */
caps_status caps_em_layer_plan(caps_layer *layer, caps_plan *plan, caps_error *err);
caps_status caps_em_layer_forward(caps_layer *layer, const caps_pass *pass, caps_error *err);
caps_status caps_em_layer_backward(caps_layer *layer, const caps_pass *pass, caps_error *err);
/* "assignment" [b, I, C]: R of the last iteration, "assignment.iterations" [r, b, I, C];
 * "activation.iterations" [r, b, C]; of layers whose parents see all children. They are computed
 * when they are requested. */
caps_tensor caps_em_layer_result(const caps_layer *layer, const char *name, size_t b);
/* z of an iteration. */
const caps_tensor *caps_em_layer_round(
    const caps_layer *layer, const caps_runtime *rt, size_t n, caps_not_finite_row *row);
void caps_em_layer_problem(const caps_layer *layer, caps_layer_problem *problem);

#endif
