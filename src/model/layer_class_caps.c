/* layer_class_caps.c: votes and routing by agreement.
 *
 *     votes [B, I, J, D] = W u;  y = routing(votes) [B, J, D]
 *
 * Kept for backward: votes, and the state of every iteration. */
#include "layer.h"

#include "fail.h"

typedef struct class_caps_layer {
    caps_layer base;
    caps_routing routing;
    bool bias;
    caps_tensor votes, dvotes;
    caps_routing_state state; /* for the whole batch; see state_of */
} class_caps_layer;

static caps_status plan(caps_layer *layer, caps_plan *plan, caps_error *err)
{
    class_caps_layer *self = (class_caps_layer *)layer;
    const size_t b = plan->batch, i = layer->input->shape[0], j = layer->shape[0],
                 d = layer->shape[1], r = self->routing.iterations;
    /* Forward is the same in both modes; without a backward take the one with less scratch. */
    if (!plan->training)
        self->routing.grad = CAPS_ROUTING_GRAD_LAST;
    const size_t votes[] = {b, i, j, d}, couplings[] = {r, b, i, j}, capsules[] = {r, b, j, d};
    const size_t scratch = caps_routing_scratch(b, i, j, d, &self->routing);
    caps_status status;
    CAPS_TRY(caps_arena_add(
        plan->arena, &self->votes, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 4, votes, err));
    if (plan->training)
        CAPS_TRY(caps_arena_add(
            plan->arena, &self->dvotes, CAPS_PURPOSE_GRADIENTS, CAPS_F32, 4, votes, err));
    CAPS_TRY(caps_arena_add(plan->arena, &self->state.couplings, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32,
        4, couplings, err));
    CAPS_TRY(caps_arena_add(
        plan->arena, &self->state.s, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 4, capsules, err));
    CAPS_TRY(caps_arena_add(
        plan->arena, &self->state.v, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 4, capsules, err));
    CAPS_TRY(caps_arena_add(
        plan->arena, &self->state.scratch, CAPS_PURPOSE_WORKSPACE, CAPS_F32, 1, &scratch, err));
done:
    return status;
}

/* The state of a batch that may be smaller than the greatest: iterations lie closer together. */
static caps_routing_state state_of(const class_caps_layer *self, size_t b)
{
    caps_routing_state state = self->state;
    state.couplings.shape[1] = state.s.shape[1] = state.v.shape[1] = b;
    return state;
}

static caps_status forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const class_caps_layer *self = (const class_caps_layer *)layer;
    const caps_tensor u = caps_batch_of(&layer->input->y, pass->b);
    const caps_tensor votes = caps_batch_of(&self->votes, pass->b);
    const caps_tensor y = caps_batch_of(&layer->y, pass->b);
    caps_routing_state state = state_of(self, pass->b);
    caps_status status;
    CAPS_TRY(caps_votes_forward(pass->rt, &votes, &u, &layer->parameters[0].parameter.value, err));
    CAPS_TRY(caps_routing_forward(pass->rt, &y, &state, &votes,
        self->bias ? &layer->parameters[1].parameter.value : NULL, &self->routing, err));
done:
    return status;
}

static caps_status backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const class_caps_layer *self = (const class_caps_layer *)layer;
    const caps_tensor u = caps_batch_of(&layer->input->y, pass->b);
    const caps_tensor du = caps_batch_of(&layer->input->dy, pass->b);
    const caps_tensor votes = caps_batch_of(&self->votes, pass->b);
    const caps_tensor dvotes = caps_batch_of(&self->dvotes, pass->b);
    const caps_tensor dy = caps_batch_of(&layer->dy, pass->b);
    const caps_parameter *w = &layer->parameters[0].parameter;
    caps_routing_state state = state_of(self, pass->b);
    caps_status status;
    CAPS_TRY(caps_routing_backward(pass->rt, &dvotes,
        self->bias ? &layer->parameters[1].parameter.gradient : NULL, &dy, &state, &votes,
        &self->routing, err));
    CAPS_TRY(caps_votes_backward(pass->rt, &du, &w->gradient, &dvotes, &u, &w->value, err));
done:
    return status;
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
    self->routing = *routing;
    self->bias = bias;
    caps_network_add_parameter(n, layer, "weight", 4, weight, 0.1);
    if (bias)
        caps_network_add_parameter(n, layer, "bias", 2, shape, 0);
    n->capsules = layer;
    n->couplings = &self->state.couplings;
    return CAPS_OK;
}
