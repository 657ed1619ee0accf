/* caps.c: capsules by votes and routing, y [B, J, D] of u [B, I, K]; class capsules where they are
 * the last ones.
 *
 *     {"kind": "caps", "capsules": 10, "dim": 16, "bias": false, "squash": "paper",
 *      "routing": {"kind": "dynamic", "iterations": 3, "grad": "full", "leaky": false}}
 *     "routing": {"kind": "max_min", "iterations": 3, "grad": "full"}
 *     "routing": {"kind": "attention"}
 *     "routing": {"kind": "self"}
 *
 * Max-min is dynamic routing with another function in place of the softmax.
 *
 * Cached for backward, of dynamic routing: the state of every iteration and, where the algorithm
 * stores them, the votes; of attention and self-routing: couplings and sums. These two have a
 * parameter more: attention the prior [I, J], self-routing the routing weights `route` [I, J, K]. */
#include <stdio.h>
#include <string.h>

#include "fail.h"
#include "layer.h"

typedef struct capsule_layer {
    caps_layer base;
    size_t capsules, dim, iterations;
    bool bias, leaky;
    int routing, grad, squash;   /* positions below; caps_squash */
    caps_class_caps shape;       /* i, j, d, k, routing; batch and algorithm once it is planned */
    size_t workspace;            /* elements */
    caps_class_caps_state state; /* for the whole batch; see state_of */
    caps_attention attention;    /* the same of attention routing */
    caps_attention_state attended;
    caps_self_routing chosen; /* of self-routing */
    caps_self_routing_state chosen_state;
} capsule_layer;

enum { DYNAMIC, MAX_MIN, ATTENTION, SELF }; /* positions in caps_routings */

enum { MOST_ITERATIONS = 1000 };

static const char *const caps_grads[] = {"full", "last", NULL}; /* by caps_routing_grad */

/* Of routing with iterations. */
#define CAPS_ROWS_ITERATED                                                                         \
    {.name = "iterations",                                                                         \
        .type = CAPS_FIELD_SIZE,                                                                   \
        .offset = offsetof(capsule_layer, iterations),                                             \
        .required = true,                                                                          \
        .least = 1,                                                                                \
        .most = MOST_ITERATIONS},                                                                  \
        CAPS_ROW_CHOICE_OF("grad", capsule_layer, grad, caps_grads)

static const caps_field dynamic_fields[] = {
    CAPS_ROWS_ITERATED,
    CAPS_ROW_FLAG("leaky", capsule_layer, leaky),
    {0},
};

static const caps_field max_min_fields[] = {CAPS_ROWS_ITERATED, {0}};

static const caps_field no_fields[] = {{0}}; /* attention, self-routing */

/* How messages name a routing without iterations. */
static const char *routing_name(const capsule_layer *self)
{
    return self->routing == SELF ? "self-routing" : "attention routing";
}

static const caps_field_variant caps_routings[] = {{"dynamic", dynamic_fields},
    {"max_min", max_min_fields}, {"attention", no_fields}, {"self", no_fields}, {0}};

static const caps_field caps_fields[] = {
    CAPS_ROW_REQUIRED_SIZE("capsules", capsule_layer, capsules),
    CAPS_ROW_REQUIRED_SIZE("dim", capsule_layer, dim),
    CAPS_ROW_OBJECT("routing", capsule_layer, routing, caps_routings),
    CAPS_ROW_FLAG("bias", capsule_layer, bias),
    CAPS_ROW_CHOICE_OF("squash", capsule_layer, squash, caps_squash_names),
    {0},
};

static caps_status caps_build(caps_layer *layer, caps_network *n, caps_error *err)
{
    capsule_layer *self = (capsule_layer *)layer;
    const bool attention = self->routing == ATTENTION, by_self = self->routing == SELF;
    const size_t j = self->capsules, d = self->dim;
    const size_t r = attention || by_self ? 1 : self->iterations;
    caps_status status;
    CAPS_TRY(caps_layer_require(layer, CAPS_FORM_CAPSULES, "capsules", err));
    const size_t i = layer->inputs[0]->shape[0], k = layer->inputs[0]->shape[1];
    const size_t shape[] = {j, d}, weight[] = {i, j, d, k};
    self->shape = (caps_class_caps){.i = i,
        .j = j,
        .d = d,
        .k = k,
        .routing = {r, (caps_routing_grad)self->grad, self->leaky, (caps_squash)self->squash,
            self->routing == MAX_MIN ? CAPS_NORMALIZATION_MAX_MIN : CAPS_NORMALIZATION_SOFTMAX}};
    self->attention =
        (caps_attention){.i = i, .j = j, .d = d, .k = k, .squash = (caps_squash)self->squash};
    self->chosen = (caps_self_routing){.i = i, .j = j, .d = d, .k = k};
    if ((attention || by_self) && self->bias)
        CAPS_TRY(caps_fail(err, CAPS_ERR_SPEC, "%s: bias is true, need false with %s", layer->name,
            routing_name(self)));
    if (by_self && self->squash != CAPS_SQUASH_PAPER)
        CAPS_TRY(caps_fail(err, CAPS_ERR_SPEC,
            "%s: squash is exp, need none with self-routing: nothing is squashed", layer->name));
    /* As of one linear layer from all input capsules to all output capsules. */
    CAPS_TRY(caps_layer_add_parameter(
        n, layer, "weight", 4, weight, caps_stddev_glorot(i * k, j * d), err));
    CAPS_TRY(caps_layer_check_array(layer->name, "its votes", 3, (size_t[]){i, j, d}, err));
    CAPS_TRY(caps_layer_check_array(layer->name, "its couplings", 3, (size_t[]){i, j, r}, err));
    CAPS_TRY(caps_layer_check_array(layer->name, "its output", 3, (size_t[]){j, d, r}, err));
    if (self->bias)
        CAPS_TRY(caps_layer_add_parameter(n, layer, "bias", 2, shape, 0, err));
    if (attention) {
        CAPS_TRY(caps_layer_add_parameter(n, layer, "prior", 2, (size_t[]){i, j}, 0, err));
        layer->parameters[1].authors_initial = 0;
    }
    if (by_self) {
        CAPS_TRY(caps_layer_add_parameter(n, layer, "route", 3, (size_t[]){i, j, k}, 0, err));
        layer->parameters[1].authors_initial = 0;
    }
    CAPS_TRY(caps_layer_add_output(layer, CAPS_FORM_CAPSULES, 2, shape, err));
done:
    return status;
}

static void caps_describe(const caps_layer *layer, char *text, size_t bytes)
{
    const capsule_layer *self = (const capsule_layer *)layer;
    if (self->routing == ATTENTION || self->routing == SELF) {
        snprintf(text, bytes, "%zu capsules of %zu, %s%s", self->capsules, self->dim,
            routing_name(self), self->squash == CAPS_SQUASH_EXP ? ", exponential squash" : "");
        return;
    }
    snprintf(text, bytes, "%zu capsules of %zu, %zu routing iterations (gradient: %s)%s%s%s%s",
        self->capsules, self->dim, self->iterations, caps_grads[self->grad],
        self->routing == MAX_MIN ? ", max-min" : "", self->bias ? ", bias" : "",
        self->leaky ? ", leaky" : "",
        self->squash == CAPS_SQUASH_EXP ? ", exponential squash" : "");
}

static caps_status caps_plan_attention(capsule_layer *self, caps_plan *plan, caps_error *err)
{
    caps_attention *n = &self->attention;
    caps_attention_state *state = &self->attended;
    n->b = plan->batch;
    const size_t couplings[] = {n->b, n->i, n->j}, capsules[] = {n->b, n->j, n->d};
    caps_status status;
    CAPS_TRY(caps_arena_add(
        plan->arena, &state->couplings, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 3, couplings, err));
    CAPS_TRY(caps_arena_add(
        plan->arena, &state->total, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 3, capsules, err));
    CAPS_TRY(caps_arena_add(
        plan->arena, &state->s, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 3, capsules, err));
    self->workspace = caps_attention_workspace(n, plan->training);
    caps_plan_transient(plan, self->workspace);
done:
    return status;
}

static caps_status caps_plan_self(capsule_layer *self, caps_plan *plan, caps_error *err)
{
    caps_self_routing *n = &self->chosen;
    caps_self_routing_state *state = &self->chosen_state;
    n->b = plan->batch;
    const size_t couplings[] = {n->b, n->i, n->j}, capsules[] = {n->b, n->j, n->d};
    const struct {
        caps_tensor *t;
        int ndim;
        const size_t *shape;
    } rows[] = {{&state->couplings, 3, couplings}, {&state->activation, 2, couplings},
        {&state->pose, 3, capsules}, {&state->share, 2, capsules}, {&state->total, 1, capsules}};
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        CAPS_TRY(caps_arena_add(plan->arena, rows[i].t, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32,
            rows[i].ndim, rows[i].shape, err));
    self->workspace = caps_self_routing_workspace(n, plan->training);
    caps_plan_transient(plan, self->workspace);
done:
    return status;
}

static caps_status caps_plan_layer(caps_layer *layer, caps_plan *plan, caps_error *err)
{
    capsule_layer *self = (capsule_layer *)layer;
    if (self->routing == ATTENTION)
        return caps_plan_attention(self, plan, err);
    if (self->routing == SELF)
        return caps_plan_self(self, plan, err);
    caps_class_caps *shape = &self->shape;
    shape->b = plan->batch;
    shape->algorithm = caps_class_caps_choose(plan->rt, shape, plan->routing_requested);
    plan->routing_chosen = shape->algorithm;
    const caps_class_caps_workspace need =
        caps_class_caps_workspace_of(plan->rt, shape, plan->training);
    const size_t r = shape->routing.iterations;
    const size_t couplings[] = {r, shape->b, shape->i, shape->j};
    const size_t capsules[] = {r, shape->b, shape->j, shape->d};
    caps_status status;
    if (need.votes)
        CAPS_TRY(caps_arena_add(plan->arena, &self->state.votes, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32,
            1, &need.votes, err));
    CAPS_TRY(caps_arena_add(plan->arena, &self->state.couplings, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32,
        4, couplings, err));
    CAPS_TRY(caps_arena_add(
        plan->arena, &self->state.s, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 4, capsules, err));
    CAPS_TRY(caps_arena_add(
        plan->arena, &self->state.v, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 4, capsules, err));
    self->workspace = need.workspace;
    caps_plan_transient(plan, need.workspace);
done:
    return status;
}

/* The state of a batch that may be smaller than the greatest: iterations lie closer together. */
static caps_class_caps_state caps_state_of(const capsule_layer *self, size_t b)
{
    caps_class_caps_state state = self->state;
    state.couplings.shape[1] = state.s.shape[1] = state.v.shape[1] = b;
    return state;
}

static caps_attention_state caps_attended_of(const capsule_layer *self, size_t b)
{
    return (caps_attention_state){caps_batch_of(&self->attended.couplings, b),
        caps_batch_of(&self->attended.total, b), caps_batch_of(&self->attended.s, b)};
}

static caps_self_routing_state caps_chosen_of(const capsule_layer *self, size_t b)
{
    const caps_self_routing_state *s = &self->chosen_state;
    return (caps_self_routing_state){caps_batch_of(&s->couplings, b),
        caps_batch_of(&s->activation, b), caps_batch_of(&s->pose, b), caps_batch_of(&s->share, b),
        caps_batch_of(&s->total, b)};
}

static caps_status caps_forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const capsule_layer *self = (const capsule_layer *)layer;
    const caps_tensor u = caps_batch_of(&layer->inputs[0]->y, pass->b);
    const caps_tensor y = caps_batch_of(&layer->outputs[0].y, pass->b);
    const caps_tensor workspace = caps_transient_workspace(pass, &self->workspace);
    if (self->routing == ATTENTION) {
        caps_attention_state attended = caps_attended_of(self, pass->b);
        return caps_attention_forward(pass->rt, &y, &attended, &u,
            &layer->parameters[0].parameter.value, &layer->parameters[1].parameter.value,
            &self->attention, &workspace, err);
    }
    if (self->routing == SELF) {
        caps_self_routing_state chosen = caps_chosen_of(self, pass->b);
        return caps_self_routing_forward(pass->rt, &y, &chosen, &u,
            &layer->parameters[0].parameter.value, &layer->parameters[1].parameter.value,
            &self->chosen, &workspace, err);
    }
    caps_class_caps_state state = caps_state_of(self, pass->b);
    return caps_class_caps_forward(pass->rt, &y, &state, &u, &layer->parameters[0].parameter.value,
        self->bias ? &layer->parameters[1].parameter.value : NULL, &self->shape, &workspace, err);
}

static caps_status caps_backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const capsule_layer *self = (const capsule_layer *)layer;
    const caps_tensor u = caps_batch_of(&layer->inputs[0]->y, pass->b);
    const caps_tensor du = caps_batch_of(&layer->inputs[0]->dy, pass->b);
    const caps_tensor dy = caps_batch_of(&layer->outputs[0].dy, pass->b);
    const caps_tensor workspace = caps_transient_workspace(pass, &self->workspace);
    const caps_parameter *w = &layer->parameters[0].parameter;
    if (self->routing == ATTENTION) {
        const caps_parameter *prior = &layer->parameters[1].parameter;
        const caps_attention_state attended = caps_attended_of(self, pass->b);
        return caps_attention_backward(pass->rt, &du, &w->gradient, &prior->gradient, &dy,
            &attended, &u, &w->value, &prior->value, &self->attention, &workspace, err);
    }
    if (self->routing == SELF) {
        const caps_parameter *route = &layer->parameters[1].parameter;
        const caps_self_routing_state chosen = caps_chosen_of(self, pass->b);
        return caps_self_routing_backward(pass->rt, &du, &w->gradient, &route->gradient, &dy,
            &chosen, &u, &w->value, &route->value, &self->chosen, &workspace, err);
    }
    const caps_class_caps_state state = caps_state_of(self, pass->b);
    return caps_class_caps_backward(pass->rt, &du, &w->gradient,
        self->bias ? &layer->parameters[1].parameter.gradient : NULL, &dy, &state, &u, &w->value,
        &self->shape, &workspace, err);
}

/* Of routing that computes them once; of attention without the prior. */
static caps_tensor caps_single_couplings(const capsule_layer *self, const char *name, size_t b)
{
    const caps_tensor *c = self->routing == SELF ? &self->chosen_state.couplings
                                                 : &self->attended.couplings; /* [batch, I, J] */
    const size_t each[] = {1, b, c->shape[1], c->shape[2]};
    if (strcmp(name, "couplings.iterations") == 0)
        return caps_tensor_wrap(c->buffer, c->offset, CAPS_F32, 4, each);
    return strcmp(name, "couplings") == 0 ? caps_batch_of(c, b) : (caps_tensor){0};
}

/* "couplings" [b, I, J] of the last iteration, "couplings.iterations" [r, b, I, J], and, of routing
 * with iterations, "capsules.iterations" [r, b, J, D], the output after each. */
static caps_tensor caps_result(const caps_layer *layer, const char *name, size_t b)
{
    const capsule_layer *self = (const capsule_layer *)layer;
    if (self->routing == ATTENTION || self->routing == SELF)
        return caps_single_couplings(self, name, b);
    const caps_tensor *c = &self->state.couplings; /* [r, batch, I, J] */
    const size_t r = c->shape[0], i = c->shape[2], j = c->shape[3];
    if (strcmp(name, "capsules.iterations") == 0)
        return caps_tensor_wrap(self->state.v.buffer, self->state.v.offset, CAPS_F32, 4,
            (size_t[]){r, b, j, self->dim});
    if (strcmp(name, "couplings.iterations") == 0)
        return caps_tensor_wrap(c->buffer, c->offset, CAPS_F32, 4, (size_t[]){r, b, i, j});
    if (strcmp(name, "couplings") == 0)
        return caps_tensor_wrap(
            c->buffer, c->offset + (r - 1) * b * i * j, CAPS_F32, 3, (size_t[]){b, i, j});
    return (caps_tensor){0};
}

static void caps_problem(const caps_layer *layer, caps_layer_problem *p)
{
    const capsule_layer *self = (const capsule_layer *)layer;
    const caps_class_caps *s = &self->shape;
    const double votes = (double)s->i * (double)s->j * (double)s->d;
    p->couplings = s->routing.iterations;
    if (self->routing == SELF) { /* votes, logits, the votes' weighted sum */
        p->flops =
            2 * votes * (double)s->k + 2 * (double)s->i * (double)s->j * (double)s->k + 2 * votes;
        return;
    }
    if (self->routing == ATTENTION) {
        p->type = CAPS_PROBLEM_ATTENTION;
        p->class_caps = *s;
        p->flops = 2 * votes * (double)s->k + 5 * votes; /* votes, their sum, logits, couplings */
        return;
    }
    p->type = CAPS_PROBLEM_CAPS;
    p->class_caps = *s;
    p->flops = 2 * votes * (double)s->k + (4 * (double)s->routing.iterations - 2) * votes;
}

const caps_layer_kind caps_layer_caps = {
    .name = "caps",
    .bytes = sizeof(capsule_layer),
    .fields = caps_fields,
    .classes_field = "capsules",
    .build = caps_build,
    .describe = caps_describe,
    .plan = caps_plan_layer,
    .forward = caps_forward,
    .backward = caps_backward,
    .result = caps_result,
    .problem = caps_problem,
};
