/* em.h: votes and EM routing (caps_em_*): what em.c, which checks, asks of a kernel family. */
#ifndef CAPS_EM_H
#define CAPS_EM_H

#include <math.h>

#include <capscl/ops.h>

#include "call.h"
#include "not_finite.h"

/* Sizes that follow from a shape. An edge is one of the children of a window. */
typedef struct caps_em_sizes {
    size_t rows, across, windows;  /* of parents of a type */
    size_t edges, children, slots; /* slots: 4x4 weights of a type of parent */
    size_t earliest, steps;        /* iterations that the gradient goes through */
} caps_em_sizes;

/* What a call was given; of a forward the second half is NULL. */
typedef struct caps_em_call {
    const caps_em *shape; /* b: that of the call */
    caps_em_sizes n;
    const caps_tensor *state, *workspace, *pose, *activation, *weight, *beta_u, *beta_a;
    const caps_tensor *pose_out, *activation_out; /* of a backward their gradients */
    const caps_tensor *dpose, *dactivation, *dweight, *dbeta_u, *dbeta_a;
} caps_em_call;

caps_em_sizes caps_em_sizes_of(const caps_em *shape);

/* z of an iteration, wherever it lies in a state of how many images; buffer: 0. It is not finite
 * where mu or var is not. */
caps_not_finite_row caps_em_row(
    const caps_runtime *rt, const caps_tensor *state, const caps_em *shape, size_t iteration);

/* a of an iteration (0 is the first), [images, C], into a host array, from the state of a forward
 * of so many images; kernel 0 only. Waits for the queue. */
caps_status caps_em_activations(caps_runtime *rt, float *out, const caps_tensor *state,
    size_t images, const caps_em *shape, size_t iteration, caps_error *err);

/* Part n of those of `count` floats that lie one behind the other, an iteration's. */
static inline caps_tensor caps_em_nth(const caps_tensor *t, size_t n, size_t count)
{
    return caps_tensor_wrap(t->buffer, t->offset + n * count, CAPS_F32, 1, &count);
}

/* Arguments of kernels: the shape, and what iteration t goes by. */
static inline void caps_em_put_shape(caps_call *c, const caps_em *s)
{
    caps_put_sizes(c,
        (size_t[]){s->types, s->height, s->width, s->kernel, s->stride, s->parents, s->coordinates},
        7);
}

static inline void caps_em_put_step(caps_call *c, const caps_em *s, size_t t)
{
    caps_put_float(c, (float)((double)s->lambda * (1 - pow(0.95, (double)t + 1))));
    caps_put_float(c, s->cost_scale);
    caps_put_float(c, s->variance_floor);
}

enum { CAPS_EM_LANES = 16 };

/* The CPU family: em_lanes.c, sixteen images in the lanes of a vector. `results`: mu and z of an
 * iteration, in whatever order. */
caps_em_workspace caps_em_lanes_workspace(const caps_em *shape, bool training);
caps_status caps_em_lanes_forward(caps_runtime *rt, const caps_em_call *call, caps_error *err);
caps_status caps_em_lanes_backward(caps_runtime *rt, const caps_em_call *call, caps_error *err);
caps_status caps_em_lanes_assignment(caps_runtime *rt, const caps_tensor *out,
    const caps_tensor *state, const caps_em *shape, size_t iteration, caps_error *err);
void caps_em_lanes_results(caps_tensor *mu, caps_tensor *z, const caps_tensor *state,
    const caps_em *shape, size_t iteration);

/* The GPU family: em_groups.c, a work-group for a parent. */
caps_em_workspace caps_em_groups_workspace(const caps_em *shape, bool training);
caps_status caps_em_groups_forward(caps_runtime *rt, const caps_em_call *call, caps_error *err);
caps_status caps_em_groups_backward(caps_runtime *rt, const caps_em_call *call, caps_error *err);
caps_status caps_em_groups_assignment(caps_runtime *rt, const caps_tensor *out,
    const caps_tensor *state, const caps_em *shape, size_t iteration, caps_error *err);
void caps_em_groups_results(caps_tensor *mu, caps_tensor *z, const caps_tensor *state,
    const caps_em *shape, size_t iteration);

#endif
