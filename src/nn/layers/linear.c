/* linear.c: y = act(x w^T + bias), of its input flattened. dy's memory takes dy act'(y).
 *
 *     {"kind": "linear", "out": 328, "activation": "relu"} */
#include "linear.h"

#include <stdio.h>

#include "layer.h"

typedef struct linear_layer {
    caps_layer base;
    size_t out;
    int activation; /* position below */
} linear_layer;

static const char *const linear_activations[] = {"relu", "none", "sigmoid", NULL};
static const caps_activation linear_acts[] = {CAPS_ACT_RELU, CAPS_ACT_NONE, CAPS_ACT_SIGMOID};

static const caps_field linear_fields[] = {
    CAPS_ROW_REQUIRED_SIZE("out", linear_layer, out),
    CAPS_ROW_CHOICE_OF("activation", linear_layer, activation, linear_activations),
    {0},
};

static caps_activation linear_act(const caps_layer *layer)
{
    return linear_acts[((const linear_layer *)layer)->activation];
}

static caps_status linear_build(caps_layer *layer, caps_network *n, caps_error *err)
{
    const linear_layer *self = (const linear_layer *)layer;
    const size_t out = self->out, in = caps_value_elements(layer->inputs[0]);
    const double stddev =
        linear_act(layer) == CAPS_ACT_RELU ? caps_stddev_he(in) : caps_stddev_glorot(in, out);
    caps_status status = caps_layer_add_output(layer, CAPS_FORM_FEATURES, 1, &out, err);
    if (status == CAPS_OK)
        status = caps_layer_add_parameter(n, layer, "weight", 2, (size_t[]){out, in}, stddev, err);
    return status == CAPS_OK ? caps_layer_add_parameter(n, layer, "bias", 1, &out, 0, err) : status;
}

static void linear_describe(const caps_layer *layer, char *text, size_t bytes)
{
    const linear_layer *self = (const linear_layer *)layer;
    const bool relu = linear_act(layer) == CAPS_ACT_RELU;
    snprintf(text, bytes, "%zu -> %zu%s%s", caps_value_elements(layer->inputs[0]), self->out,
        relu ? "" : ", activation ", relu ? "" : linear_activations[self->activation]);
}

static caps_status linear_plan(caps_layer *layer, caps_plan *plan, caps_error *err)
{
    (void)err;
    if (!plan->rt)
        return CAPS_OK;
    const size_t *w = layer->parameters[0].parameter.shape;
    const size_t bytes =
        caps_linear_plan(plan->rt, plan->batch * layer->outputs[0].rows_per_image, w[1], w[0],
            plan->training, layer->inputs[0]->layer->input_count > 0 || plan->input_gradient);
    if (bytes > plan->scratch_bytes)
        plan->scratch_bytes = bytes;
    return CAPS_OK;
}

static caps_status linear_forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const caps_tensor x = caps_flat_of(layer->inputs[0], &layer->inputs[0]->y, pass->b);
    const caps_tensor y = caps_flat_of(&layer->outputs[0], &layer->outputs[0].y, pass->b);
    return caps_linear_forward(pass->rt, &y, &x, &layer->parameters[0].parameter.value,
        &layer->parameters[1].parameter.value, linear_act(layer), err);
}

static caps_status linear_backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const caps_value *in = layer->inputs[0], *out = &layer->outputs[0];
    const bool needs_dx = in->dy.buffer != NULL;
    const caps_tensor x = caps_flat_of(in, &in->y, pass->b);
    const caps_tensor dx = needs_dx ? caps_flat_of(in, &in->dy, pass->b) : x;
    const caps_tensor y = caps_flat_of(out, &out->y, pass->b);
    const caps_tensor dy = caps_flat_of(out, &out->dy, pass->b);
    const caps_parameter *w = &layer->parameters[0].parameter, *b = &layer->parameters[1].parameter;
    return caps_linear_backward(pass->rt, needs_dx ? &dx : NULL, &w->gradient, &b->gradient, &dy,
        &dy, &y, &x, &w->value, linear_act(layer), err);
}

static void linear_problem(const caps_layer *layer, caps_layer_problem *p)
{
    const size_t *w = layer->parameters[0].parameter.shape;
    p->type = CAPS_PROBLEM_LINEAR;
    p->out = w[0];
    p->in = w[1];
    p->act = linear_act(layer);
    p->flops = 2 * (double)layer->outputs[0].rows_per_image * (double)w[0] * (double)w[1];
}

const caps_layer_kind caps_layer_linear = {
    .name = "linear",
    .bytes = sizeof(linear_layer),
    .fields = linear_fields,
    .classes_field = "out",
    .build = linear_build,
    .describe = linear_describe,
    .plan = linear_plan,
    .forward = linear_forward,
    .backward = linear_backward,
    .problem = linear_problem,
};
