/* onnx_matrix.c: matrix capsules, routed by EM.
 *
 * Parents have a type c and a place p. What a parent sees of its S children is [N, C, P, S, h], h
 * the 16 elements of a vote, or 1. In matrix_caps all parents see all children: P = 1, S = I. In
 * matrix_conv child s of place p is one of a window, and what belongs to a child is found by tables
 * of indices. */
#include "matrix.h"

#include <string.h>

#include "fail.h"
#include "onnx.h"

caps_status caps_onnx_matrix_primary(
    caps_onnx_graph *g, const caps_layer *layer, const json_t *fields, caps_error *err)
{
    const size_t *grid = layer->outputs[0].grid;
    const int64_t t = (int64_t)grid[0], places = (int64_t)(grid[1] * grid[2]);
    const char *pose = caps_onnx_convolution(g, layer, 0, true, fields, 1);
    const char *a =
        caps_onnx_node(g, "Sigmoid", caps_onnx_convolution(g, layer, 2, true, fields, 1));
    (void)err;
    pose = caps_onnx_transpose(g, caps_onnx_reshape(g, pose, 0, t, CAPS_POSE, places), 0, 1, 3, 2);
    caps_onnx_value_set(
        g, &layer->outputs[0], caps_onnx_reshape(g, pose, 0, t * places, CAPS_POSE));
    caps_onnx_value_set(g, &layer->outputs[1], caps_onnx_reshape(g, a, 0, t * places));
    return CAPS_OK;
}

/* A layer on its way. */
typedef struct em {
    caps_onnx_graph *g;
    const caps_layer *layer;
    const json_t *routing;
    size_t kernel, stride;  /* kernel 0: of matrix_caps */
    const size_t *in, *out; /* grids: types, height, width */
    int64_t i, c, p, s;
    size_t most;           /* windows that see a child */
    const char *windows;   /* [P*S]: the children of each window */
    const char *slots;     /* [I*most]: for each child the pairs (p, s) that are it, then P*S */
    const char *places;    /* [P*S]: where among these each pair is */
    bool padded;           /* some child is seen by fewer than `most` */
    const char *votes, *a; /* [N, C, P, S, 16], [N, 1, P, S, 1] */
    const char *beta_u, *beta_a;
} em;

/* ---- windows -------------------------------------------------------------------------------- */

/* The child of place p and number s in its window: row, column, type. */
static size_t child_of(const em *e, size_t p, size_t s)
{
    const size_t t = s % e->in[0], x = s / e->in[0] % e->kernel, y = s / e->in[0] / e->kernel;
    const size_t row = p / e->out[2] * e->stride + y, column = p % e->out[2] * e->stride + x;
    return (t * e->in[1] + row) * e->in[2] + column;
}

/* Windows of one dimension that see an element. */
static size_t seen_by(size_t at, size_t kernel, size_t stride, size_t windows)
{
    size_t n = 0;
    for (size_t w = 0; w < windows; w++)
        n += w * stride <= at && at < w * stride + kernel;
    return n;
}

static size_t most_seen(size_t size, size_t kernel, size_t stride, size_t windows)
{
    size_t most = 0;
    for (size_t at = 0; at < size; at++) {
        const size_t n = seen_by(at, kernel, stride, windows);
        most = n > most ? n : most;
    }
    return most;
}

static void add_tables(em *e)
{
    caps_onnx_graph *g = e->g;
    const size_t pairs = (size_t)(e->p * e->s), children = (size_t)e->i;
    int64_t *windows, *slots, *places;
    e->most = most_seen(e->in[1], e->kernel, e->stride, e->out[1]) *
              most_seen(e->in[2], e->kernel, e->stride, e->out[2]);
    e->windows = caps_onnx_indices(g, &windows, pairs);
    e->slots = caps_onnx_indices(g, &slots, children * e->most);
    e->places = caps_onnx_indices(g, &places, pairs);
    if (!windows || !slots || !places)
        return;
    for (size_t i = 0; i < children * e->most; i++)
        slots[i] = (int64_t)pairs; /* behind the last one */
    for (size_t pair = 0; pair < pairs; pair++) {
        const size_t child = child_of(e, pair / (size_t)e->s, pair % (size_t)e->s);
        size_t at = child * e->most;
        while (slots[at] != (int64_t)pairs)
            at++;
        windows[pair] = (int64_t)child;
        slots[at] = (int64_t)pair;
        places[pair] = (int64_t)at;
    }
    for (size_t i = 0; i < children * e->most; i++)
        e->padded |= slots[i] == (int64_t)pairs;
}

/* ---- votes ---------------------------------------------------------------------------------- */

/* Children of a type have the same matrices: [N, T, H*W*4, 4] times [T, 4, J*4]. */
static void add_votes(em *e)
{
    caps_onnx_graph *g = e->g;
    const int64_t t = (int64_t)e->in[0], rows = (int64_t)(e->in[1] * e->in[2]) * CAPS_POSE_SIDE;
    const char *w = caps_onnx_transpose(g, caps_onnx_parameter(g, e->layer, 0), 0, 2, 1, 3);
    w = caps_onnx_reshape(g, w, t, CAPS_POSE_SIDE, e->c * CAPS_POSE_SIDE);
    const char *m =
        caps_onnx_reshape(g, caps_onnx_read(g, e->layer, 0), 0, t, rows, CAPS_POSE_SIDE);
    const char *v = caps_onnx_node(g, "MatMul", m, w);
    v = caps_onnx_reshape(g, v, 0, e->i, CAPS_POSE_SIDE, e->c, CAPS_POSE_SIDE);
    v = caps_onnx_transpose(g, v, 0, 3, 1, 2, 4); /* [N, J, I, 4, 4] */
    e->votes = caps_onnx_reshape(g, v, 0, e->c, 1, e->i, CAPS_POSE);
    e->a = caps_onnx_reshape(g, caps_onnx_read(g, e->layer, 1), 0, 1, 1, e->i, 1);
}

/* To V[0][3] and V[1][3] the child's place. */
static void add_coordinates(em *e)
{
    const size_t height = e->in[1], width = e->in[2];
    float *values;
    const char *name =
        caps_onnx_floats(e->g, &values, 5, (const size_t[]){1, 1, 1, (size_t)e->i, CAPS_POSE});
    for (size_t i = 0; values && i < (size_t)e->i; i++) {
        float *at = values + i * CAPS_POSE;
        memset(at, 0, CAPS_POSE * sizeof *at);
        at[3] = (float)(((double)(i / width % height) + 0.5) / (double)height);
        at[7] = (float)(((double)(i % width) + 0.5) / (double)width);
    }
    e->votes = caps_onnx_node(e->g, "Add", e->votes, name);
}

/* Children at the same place of a window: [S, N*P*4, 4] times [S, 4, C*4]. */
static void add_window_votes(em *e)
{
    caps_onnx_graph *g = e->g;
    const int64_t side = CAPS_POSE_SIDE;
    const char *w =
        caps_onnx_reshape(g, caps_onnx_parameter(g, e->layer, 0), e->s, e->c, side, side);
    w = caps_onnx_reshape(g, caps_onnx_transpose(g, w, 0, 2, 1, 3), e->s, side, e->c * side);
    const char *m = caps_onnx_gather(g, caps_onnx_read(g, e->layer, 0), e->windows, 1);
    m = caps_onnx_transpose(g, caps_onnx_reshape(g, m, 0, e->p, e->s, side, side), 2, 0, 1, 3, 4);
    const char *v = caps_onnx_node(g, "MatMul", caps_onnx_reshape(g, m, e->s, -1, side), w);
    v = caps_onnx_reshape(g, v, e->s, -1, e->p, side, e->c, side);
    v = caps_onnx_transpose(g, v, 1, 4, 2, 0, 3, 5); /* [N, C, P, S, 4, 4] */
    e->votes = caps_onnx_reshape(g, v, 0, e->c, e->p, e->s, CAPS_POSE);
    e->a = caps_onnx_reshape(
        g, caps_onnx_gather(g, caps_onnx_read(g, e->layer, 1), e->windows, 1), 0, 1, e->p, e->s, 1);
}

/* ---- EM ------------------------------------------------------------------------------------- */

/* R at first: a child's share of all parents that see it. [], or [1, 1, P, S, 1]. */
static const char *first_shares(em *e)
{
    float *values;
    if (e->kernel == 0)
        return caps_onnx_float(e->g, 1.0 / (double)e->c);
    const size_t p = (size_t)e->p, s = (size_t)e->s;
    const char *name = caps_onnx_floats(e->g, &values, 5, (const size_t[]){1, 1, p, s, 1});
    for (size_t pair = 0; values && pair < p * s; pair++) {
        const size_t child = child_of(e, pair / s, pair % s);
        const size_t y = child / e->in[2] % e->in[1], x = child % e->in[2];
        const size_t seen = seen_by(y, e->kernel, e->stride, e->out[1]) *
                            seen_by(x, e->kernel, e->stride, e->out[2]);
        values[pair] = (float)(1.0 / ((double)e->c * (double)seen));
    }
    return name;
}

/* Softmax over all parents of each child, types and places, of [N, C, P, S, 1]. */
static const char *shares(const em *e, const char *logits)
{
    caps_onnx_graph *g = e->g;
    const int64_t most = (int64_t)e->most;
    if (e->kernel == 0)
        return caps_onnx_softmax(g, logits, 1);
    const char *x = caps_onnx_reshape(g, logits, 0, e->c, e->p * e->s);
    if (e->padded) /* exp of it is 0 */
        x = caps_onnx_node(g, "Pad", x,
            caps_onnx_numbers(g, 6, (const int64_t[]){0, 0, 0, 0, 0, 1}),
            caps_onnx_float(g, -1e38));
    x = caps_onnx_reshape(g, caps_onnx_gather(g, x, e->slots, 2), 0, e->c, e->i, most);
    x = caps_onnx_reshape(g, caps_onnx_transpose(g, x, 0, 2, 1, 3), 0, e->i, e->c * most);
    x = caps_onnx_reshape(g, caps_onnx_softmax(g, x, 2), 0, e->i, e->c, most);
    x = caps_onnx_reshape(g, caps_onnx_transpose(g, x, 0, 2, 1, 3), 0, e->c, e->i * most);
    return caps_onnx_reshape(g, caps_onnx_gather(g, x, e->places, 2), 0, e->c, e->p, e->s, 1);
}

/* What an iteration finds of each parent. */
typedef struct found {
    const char *mean, *z;       /* [N, C, P, 1, 16], [N, C, P, 1, 1] */
    const char *square;         /* (V - mean)^2, [N, C, P, S, 16] */
    const char *variance, *log; /* [N, C, P, 1, 16]; sum of its logarithms, [N, C, P, 1, 1] */
} found;

static found maximise(const em *e, const char *shares_of, int64_t t)
{
    caps_onnx_graph *g = e->g;
    const double cost_scale = (float)caps_onnx_real(e->routing, "cost_scale");
    const double lambda = (float)caps_onnx_real(e->routing, "lambda");
    found f;
    const char *r = caps_onnx_node(g, "Mul", shares_of, e->a);
    const char *sum = caps_onnx_sum(g, r, 3), *by = caps_onnx_transpose(g, r, 0, 1, 2, 4, 3);
    const char *total = caps_onnx_node(g, "Add", sum, caps_onnx_float(g, 1e-7));
    f.mean = caps_onnx_node(g, "Div", caps_onnx_node(g, "MatMul", by, e->votes), total);
    const char *off = caps_onnx_node(g, "Sub", e->votes, f.mean);
    f.square = caps_onnx_node(g, "Mul", off, off);
    f.variance = caps_onnx_node(g, "Add",
        caps_onnx_node(g, "Div", caps_onnx_node(g, "MatMul", by, f.square), total),
        caps_onnx_float(g, caps_onnx_real(e->routing, "variance_floor")));
    f.log = caps_onnx_sum(g, caps_onnx_node(g, "Log", f.variance), 4);
    /* cost_scale * (16 beta_u + 0.5 sum_h ln var_h) S */
    const char *cost = caps_onnx_node(g, "Add",
        caps_onnx_node(g, "Mul", e->beta_u, caps_onnx_float(g, CAPS_POSE * cost_scale)),
        caps_onnx_node(g, "Mul", f.log, caps_onnx_float(g, 0.5 * cost_scale)));
    cost = caps_onnx_node(g, "Mul", cost, sum);
    f.z = caps_onnx_node(g, "Mul", caps_onnx_node(g, "Sub", e->beta_a, cost),
        caps_onnx_float(g, lambda * (1 - pow(0.95, (double)t + 1))));
    return f;
}

/* ln a_j + ln p_ij: [N, C, P, S, 1]. */
static const char *expect(const em *e, const found *f)
{
    static const double log_2_pi = 1.8378770664093454836;
    caps_onnx_graph *g = e->g;
    const char *activation =
        caps_onnx_node(g, "Neg", caps_onnx_node(g, "Softplus", caps_onnx_node(g, "Neg", f->z)));
    const char *half = caps_onnx_node(g, "Div", caps_onnx_float(g, 0.5), f->variance);
    const char *distance =
        caps_onnx_node(g, "MatMul", f->square, caps_onnx_transpose(g, half, 0, 1, 2, 4, 3));
    const char *normal =
        caps_onnx_node(g, "Add", caps_onnx_node(g, "Mul", f->log, caps_onnx_float(g, 0.5)),
            caps_onnx_float(g, 0.5 * CAPS_POSE * log_2_pi));
    return caps_onnx_node(g, "Sub", caps_onnx_node(g, "Sub", activation, normal), distance);
}

static void route(em *e)
{
    caps_onnx_graph *g = e->g;
    const int64_t iterations = caps_onnx_size(e->routing, "iterations");
    const char *r = first_shares(e);
    found f = {0};
    e->beta_u = caps_onnx_reshape(g, caps_onnx_parameter(g, e->layer, 1), e->c, 1, 1, 1);
    e->beta_a = caps_onnx_reshape(g, caps_onnx_parameter(g, e->layer, 2), e->c, 1, 1, 1);
    for (int64_t t = 0; t < iterations; t++) {
        caps_onnx_scope(g, "%s/iteration%d", e->layer->name, (int)t + 1);
        f = maximise(e, r, t);
        if (t + 1 < iterations)
            r = shares(e, expect(e, &f));
    }
    caps_onnx_value_set(
        g, &e->layer->outputs[0], caps_onnx_reshape(g, f.mean, 0, e->c * e->p, CAPS_POSE));
    caps_onnx_value_set(g, &e->layer->outputs[1],
        caps_onnx_reshape(g, caps_onnx_node(g, "Sigmoid", f.z), 0, e->c * e->p));
}

caps_status caps_onnx_matrix(
    caps_onnx_graph *g, const caps_layer *layer, const json_t *fields, caps_error *err)
{
    em e = {.g = g, .layer = layer, .routing = json_object_get(fields, "routing")};
    e.in = layer->inputs[0]->grid;
    e.out = layer->outputs[0].grid;
    e.kernel = (size_t)caps_onnx_size(fields, "kernel");
    e.stride = (size_t)caps_onnx_size(fields, "stride");
    e.i = (int64_t)layer->inputs[0]->shape[0];
    e.c = (int64_t)e.out[0];
    e.p = (int64_t)(e.out[1] * e.out[2]);
    e.s = e.kernel ? (int64_t)(e.in[0] * e.kernel * e.kernel) : e.i;
    if (!caps_onnx_is(e.routing, "kind", "em"))
        return caps_fail(err, CAPS_ERR_SPEC, "%s: routing %s has no translation to ONNX",
            layer->name, json_string_value(json_object_get(e.routing, "kind")));
    if (e.kernel) {
        add_tables(&e);
        add_window_votes(&e);
    } else {
        add_votes(&e);
        if (caps_onnx_flag(fields, "coordinates"))
            add_coordinates(&e);
    }
    route(&e);
    return CAPS_OK;
}
