/* layer_class_caps.c: votes and routing by agreement, y [B, J, D] of u [B, I, K].
 *
 * Kept for backward: the state of every iteration and, where the variant stores them, the votes. */
#include "layer.h"

#include "fail.h"

typedef struct class_caps_layer {
    caps_layer base;
    caps_class_caps shape;
    bool bias;
    size_t workspace;            /* elements */
    caps_class_caps_state state; /* for the whole batch; see state_of */
} class_caps_layer;

static caps_status plan(caps_layer *layer, caps_plan *plan, caps_error *err)
{
    class_caps_layer *self = (class_caps_layer *)layer;
    caps_class_caps *shape = &self->shape;
    shape->b = plan->batch;
    shape->algorithm = caps_class_caps_choose(plan->rt, shape, plan->routing_algorithm);
    plan->routing_algorithm = shape->algorithm;
    const caps_class_caps_workspace room = caps_class_caps_workspace_of(plan->rt, shape, plan->training);
    const size_t r = shape->routing.iterations;
    const size_t couplings[] = {r, shape->b, shape->i, shape->j};
    const size_t capsules[] = {r, shape->b, shape->j, shape->d};
    caps_status status;
    if (room.votes)
        CAPS_TRY(caps_arena_add(plan->arena, &self->state.votes, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32,
            1, &room.votes, err));
    CAPS_TRY(caps_arena_add(plan->arena, &self->state.couplings, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32,
        4, couplings, err));
    CAPS_TRY(caps_arena_add(
        plan->arena, &self->state.s, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 4, capsules, err));
    CAPS_TRY(caps_arena_add(
        plan->arena, &self->state.v, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 4, capsules, err));
    self->workspace = room.workspace;
    caps_plan_transient(plan, room.workspace);
done:
    return status;
}

/* The state of a batch that may be smaller than the greatest: iterations lie closer together. */
static caps_class_caps_state state_of(const class_caps_layer *self, size_t b)
{
    caps_class_caps_state state = self->state;
    state.couplings.shape[1] = state.s.shape[1] = state.v.shape[1] = b;
    return state;
}

static caps_status forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const class_caps_layer *self = (const class_caps_layer *)layer;
    const caps_tensor u = caps_batch_of(&layer->input->y, pass->b);
    const caps_tensor y = caps_batch_of(&layer->y, pass->b);
    const caps_tensor workspace = caps_transient_workspace(pass, &self->workspace);
    caps_class_caps_state state = state_of(self, pass->b);
    return caps_class_caps_forward(pass->rt, &y, &state, &u, &layer->parameters[0].parameter.value,
        self->bias ? &layer->parameters[1].parameter.value : NULL, &self->shape, &workspace, err);
}

static caps_status backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const class_caps_layer *self = (const class_caps_layer *)layer;
    const caps_tensor u = caps_batch_of(&layer->input->y, pass->b);
    const caps_tensor du = caps_batch_of(&layer->input->dy, pass->b);
    const caps_tensor dy = caps_batch_of(&layer->dy, pass->b);
    const caps_tensor workspace = caps_transient_workspace(pass, &self->workspace);
    const caps_parameter *w = &layer->parameters[0].parameter;
    const caps_class_caps_state state = state_of(self, pass->b);
    return caps_class_caps_backward(pass->rt, &du, &w->gradient,
        self->bias ? &layer->parameters[1].parameter.gradient : NULL, &dy, &state, &u, &w->value,
        &self->shape, &workspace, err);
}

static const caps_layer_class class = {
    "class_caps", sizeof(class_caps_layer), plan, forward, backward};

caps_status caps_layer_class_caps(caps_network *n, const char *name, size_t classes, size_t dim,
    const caps_routing *routing, bool bias, caps_error *err)
{
    caps_layer *input = n->layers[n->layer_count - 1], *layer;
    const size_t shape[] = {classes, dim};
    const size_t weight[] = {input->shape[0], classes, dim, input->shape[1]};
    caps_status status = caps_network_add(&layer, n, &class, name, input, 2, shape, err);
    if (status != CAPS_OK)
        return status;
    class_caps_layer *self = (class_caps_layer *)layer;
    self->shape = (caps_class_caps){
        .i = input->shape[0], .j = classes, .d = dim, .k = input->shape[1], .routing = *routing};
    self->bias = bias;
    /* As of one linear layer from all input capsules to all classes. */
    caps_network_add_parameter(n, layer, "weight", 4, weight,
        caps_stddev_glorot(input->shape[0] * input->shape[1], classes * dim));
    if (bias)
        caps_network_add_parameter(n, layer, "bias", 2, shape, 0);
    n->capsules = layer;
    n->couplings = &self->state.couplings;
    return CAPS_OK;
}
