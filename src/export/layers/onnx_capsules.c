/* onnx_capsules.c: primary capsules, and capsules with dynamic, max-min, attention and self-routing.
 *
 * Votes are [N, J, I, D], couplings and logits [N, J, I, 1], so that both sums of routing are matrix
 * products: s_j = sum_i c_ij u_ij and u_ij . v_j. */
#include <string.h>

#include "fail.h"
#include "onnx.h"

/* s |s| / (1 + |s|^2); exponential: (1 - exp(-|s|)) s / |s|, of which the first factor is 2 t / (1 +
 * t) with t = tanh(|s| / 2), which is exact for short ones too. */
const char *caps_onnx_squash(caps_onnx_graph *g, const char *s, bool exponential)
{
    const char *factor;
    if (exponential) {
        const char *length = caps_onnx_reduce(g, "ReduceL2", s, -1);
        const char *t =
            caps_onnx_node(g, "Tanh", caps_onnx_node(g, "Mul", length, caps_onnx_float(g, 0.5)));
        const char *above = caps_onnx_node(g, "Mul", t, caps_onnx_float(g, 2));
        const char *below =
            caps_onnx_node(g, "Mul", caps_onnx_node(g, "Add", t, caps_onnx_float(g, 1)),
                caps_onnx_node(g, "Max", length, caps_onnx_float(g, CAPS_ONNX_LEAST_LENGTH)));
        factor = caps_onnx_node(g, "Div", above, below);
    } else {
        const char *square = caps_onnx_reduce(g, "ReduceSumSquare", s, -1);
        factor = caps_onnx_node(g, "Div", caps_onnx_node(g, "Sqrt", square),
            caps_onnx_node(g, "Add", square, caps_onnx_float(g, 1)));
    }
    return caps_onnx_node(g, "Mul", s, factor);
}

/* With `average`: the convolution by T, then the bias. */
static const char *averaged(caps_onnx_graph *g, const caps_layer *layer, const json_t *fields,
    int64_t groups, int64_t types, int64_t channels)
{
    const char *y = caps_onnx_convolution(g, layer, 0, false, fields, groups);
    const char *bias = caps_onnx_reshape(g, caps_onnx_parameter(g, layer, 1), 1, channels, 1, 1);
    return caps_onnx_node(
        g, "Add", caps_onnx_node(g, "Div", y, caps_onnx_float(g, (double)types)), bias);
}

caps_status caps_onnx_primary_caps(
    caps_onnx_graph *g, const caps_layer *layer, const json_t *fields, caps_error *err)
{
    const caps_value *out = &layer->outputs[0];
    const int64_t t = (int64_t)out->grid[0], places = (int64_t)(out->grid[1] * out->grid[2]);
    const int64_t k = (int64_t)out->shape[1],
                  groups = caps_onnx_flag(fields, "depthwise") ? t * k : 1;
    (void)err;
    const char *z = caps_onnx_flag(fields, "average")
                        ? averaged(g, layer, fields, groups, t, t * k)
                        : caps_onnx_convolution(g, layer, 0, true, fields, groups);
    const char *s = caps_onnx_transpose(g, caps_onnx_reshape(g, z, 0, t, k, places), 0, 1, 3, 2);
    caps_onnx_value_set(g, out,
        caps_onnx_squash(
            g, caps_onnx_reshape(g, s, 0, t * places, k), caps_onnx_is(fields, "squash", "exp")));
    return CAPS_OK;
}

/* ---- routing -------------------------------------------------------------------------------- */

/* What the kinds of routing share. */
typedef struct routed {
    caps_onnx_graph *g;
    const caps_layer *layer;
    const json_t *fields, *routing;
    int64_t i, j, d, k;
    const char *u;     /* [N, I, K] */
    const char *by_in; /* the same as [I, N, K] */
    const char *votes; /* [N, J, I, D] */
    bool exponential;
} routed;

/* W_ij u_i, for all images of an i at once. */
static void add_votes(routed *r)
{
    caps_onnx_graph *g = r->g;
    const char *w = caps_onnx_parameter(g, r->layer, 0);
    r->by_in = caps_onnx_transpose(g, r->u, 1, 0, 2);
    w = caps_onnx_transpose(g, caps_onnx_reshape(g, w, r->i, r->j * r->d, r->k), 0, 2, 1);
    const char *all = caps_onnx_node(g, "MatMul", r->by_in, w); /* [I, N, J*D] */
    r->votes = caps_onnx_transpose(g, caps_onnx_reshape(g, all, 0, 0, r->j, r->d), 1, 2, 0, 3);
}

static const char *swapped(caps_onnx_graph *g, const char *x)
{
    return caps_onnx_transpose(g, x, 0, 1, 3, 2);
}

/* sum_i c_ij u_ij: [N, J, 1, D]. */
static const char *weighted(const routed *r, const char *c)
{
    return caps_onnx_node(r->g, "MatMul", swapped(r->g, c), r->votes);
}

/* u_ij . v_j: [N, J, I, 1], of v [N, J, 1, D]. */
static const char *agreement(const routed *r, const char *v)
{
    return caps_onnx_node(r->g, "MatMul", r->votes, swapped(r->g, v));
}

/* exp(b_j) / (1 + sum_j exp(b_j)). */
static const char *leaky(caps_onnx_graph *g, const char *b)
{
    const char *top = caps_onnx_reduce(g, "ReduceMax", caps_onnx_node(g, "Relu", b), 1);
    const char *e = caps_onnx_node(g, "Exp", caps_onnx_node(g, "Sub", b, top));
    const char *zero = caps_onnx_node(g, "Exp", caps_onnx_node(g, "Neg", top));
    return caps_onnx_node(g, "Div", e, caps_onnx_node(g, "Add", caps_onnx_sum(g, e, 1), zero));
}

/* (b_j - min_j) / (max_j - min_j), 1 where these are equal. */
static const char *max_min(caps_onnx_graph *g, const char *b)
{
    const char *least = caps_onnx_reduce(g, "ReduceMin", b, 1);
    const char *range = caps_onnx_node(g, "Sub", caps_onnx_reduce(g, "ReduceMax", b, 1), least);
    const char *one = caps_onnx_float(g, 1);
    const char *equal = caps_onnx_node(g, "Equal", range, caps_onnx_float(g, 0));
    const char *c = caps_onnx_node(g, "Div", caps_onnx_node(g, "Sub", b, least),
        caps_onnx_node(g, "Where", equal, one, range));
    return caps_onnx_node(g, "Where", equal, one, c);
}

/* Dynamic and max-min routing. The logits of the first iteration are 0. */
static const char *iterated(const routed *r)
{
    caps_onnx_graph *g = r->g;
    const bool by_range = caps_onnx_is(r->routing, "kind", "max_min");
    const bool leak = caps_onnx_flag(r->routing, "leaky");
    const double first = by_range ? 1 : 1.0 / (double)(r->j + leak);
    const int64_t iterations = caps_onnx_size(r->routing, "iterations");
    const char *logits = NULL, *v = NULL;
    const char *bias =
        caps_onnx_flag(r->fields, "bias")
            ? caps_onnx_reshape(g, caps_onnx_parameter(g, r->layer, 1), 1, r->j, 1, r->d)
            : NULL;
    for (int64_t t = 0; t < iterations; t++) {
        const char *s;
        caps_onnx_scope(g, "%s/iteration%d", r->layer->name, (int)t + 1);
        if (t == 0) {
            s = caps_onnx_node(g, "Mul", caps_onnx_sum(g, r->votes, 2), caps_onnx_float(g, first));
        } else {
            const char *more = agreement(r, v);
            logits = logits ? caps_onnx_node(g, "Add", logits, more) : more;
            s = weighted(r, by_range ? max_min(g, logits)
                            : leak   ? leaky(g, logits)
                                     : caps_onnx_softmax(g, logits, 1));
        }
        if (bias)
            s = caps_onnx_node(g, "Add", s, bias);
        v = caps_onnx_squash(g, s, r->exponential);
    }
    return v;
}

/* Logits u_ij . sum_i u_ij / sqrt(D); the prior on top of the couplings. */
static const char *attended(const routed *r)
{
    caps_onnx_graph *g = r->g;
    const char *logits = caps_onnx_node(g, "Div", agreement(r, caps_onnx_sum(g, r->votes, 2)),
        caps_onnx_float(g, sqrt((double)r->d)));
    const char *prior = caps_onnx_transpose(g, caps_onnx_parameter(g, r->layer, 1), 1, 0);
    const char *c = caps_onnx_node(
        g, "Add", caps_onnx_softmax(g, logits, 1), caps_onnx_reshape(g, prior, 1, r->j, r->i, 1));
    return caps_onnx_squash(g, weighted(r, c), r->exponential);
}

/* Each capsule gives its length a_i to the outputs, by a softmax of route_ij . u_i; an output has
 * the direction of its votes, and the share of all lengths that it is given. */
static const char *by_itself(const routed *r)
{
    caps_onnx_graph *g = r->g;
    const char *least = caps_onnx_float(g, CAPS_ONNX_LEAST_LENGTH);
    const char *route = caps_onnx_transpose(g, caps_onnx_parameter(g, r->layer, 1), 0, 2, 1);
    const char *logits = caps_onnx_node(g, "MatMul", r->by_in, route); /* [I, N, J] */
    logits = caps_onnx_reshape(g, caps_onnx_transpose(g, logits, 1, 2, 0), 0, 0, 0, 1);
    const char *a = caps_onnx_reshape(g, caps_onnx_reduce(g, "ReduceL2", r->u, 2), 0, 1, r->i, 1);
    const char *given = caps_onnx_node(g, "Mul", caps_onnx_softmax(g, logits, 1), a);
    const char *total = caps_onnx_node(g, "Max", caps_onnx_sum(g, a, 2), least);
    const char *share = caps_onnx_node(g, "Div", caps_onnx_sum(g, given, 2), total);
    const char *m = weighted(r, given);
    const char *length = caps_onnx_node(g, "Max", caps_onnx_reduce(g, "ReduceL2", m, 3), least);
    return caps_onnx_node(g, "Mul", share, caps_onnx_node(g, "Div", m, length));
}

caps_status caps_onnx_caps(
    caps_onnx_graph *g, const caps_layer *layer, const json_t *fields, caps_error *err)
{
    static const struct {
        const char *kind;
        const char *(*route)(const routed *r);
    } routings[] = {
        {"dynamic", iterated}, {"max_min", iterated}, {"attention", attended}, {"self", by_itself}};
    const size_t *w = layer->parameters[0].parameter.shape; /* I, J, D, K */
    routed r = {.g = g,
        .layer = layer,
        .fields = fields,
        .routing = json_object_get(fields, "routing"),
        .i = (int64_t)w[0],
        .j = (int64_t)w[1],
        .d = (int64_t)w[2],
        .k = (int64_t)w[3],
        .u = caps_onnx_read(g, layer, 0),
        .exponential = caps_onnx_is(fields, "squash", "exp")};
    for (size_t i = 0; i < sizeof routings / sizeof routings[0]; i++) {
        if (!caps_onnx_is(r.routing, "kind", routings[i].kind))
            continue;
        add_votes(&r);
        const char *v = routings[i].route(&r);
        caps_onnx_value_set(g, &layer->outputs[0], caps_onnx_reshape(g, v, 0, r.j, r.d));
        return CAPS_OK;
    }
    return caps_fail(err, CAPS_ERR_SPEC, "%s: routing %s has no translation to ONNX", layer->name,
        json_string_value(json_object_get(r.routing, "kind")));
}
