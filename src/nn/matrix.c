/* matrix.c: see matrix.h. */
#include "matrix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "em.h"
#include "fail.h"

enum { MOST_ITERATIONS = 1000 };

/* Matrices begin near the identity, so that children of equal poses vote alike from the start; of
 * what was tried it makes short trainings work best (docs/results.md). */
#define WEIGHT_STDDEV 0.01

caps_status caps_matrix_add_outputs(caps_layer *layer, const size_t grid[3], caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_layer_check_array(
        layer->name, "its output", 4, (size_t[]){grid[0], grid[1], grid[2], CAPS_POSE}, err));
    const size_t shape[] = {grid[0] * grid[1] * grid[2], CAPS_POSE};
    CAPS_TRY(caps_layer_add_output(layer, CAPS_FORM_CAPSULES, 2, shape, err));
    CAPS_TRY(caps_layer_add_output(layer, CAPS_FORM_FEATURES, 1, shape, err));
    memcpy(layer->outputs[0].grid, grid, sizeof layer->outputs[0].grid);
    layer->outputs[1].name = "activation";
done:
    return status;
}

caps_status caps_matrix_require(const caps_layer *layer, caps_error *err)
{
    return layer->input_count == 2 ? CAPS_OK
                                   : caps_layer_require(layer, CAPS_FORM_MATRIX,
                                         "matrix capsules, of matrix_primary or matrix_conv", err);
}

/* ---- fields --------------------------------------------------------------------------------- */

static const char *const grads[] = {"full", "last", NULL}; /* by caps_routing_grad */

static const caps_field em_fields[] = {
    CAPS_ROW_SIZE("iterations", caps_em_layer, iterations, 3, 1, MOST_ITERATIONS),
    CAPS_ROW_CHOICE_OF("grad", caps_em_layer, grad, grads),
    CAPS_ROW_NUMBER("lambda", caps_em_layer, lambda, 0.01, 0, 1000),
    CAPS_ROW_NUMBER("cost_scale", caps_em_layer, cost_scale, 1, 0, 1000),
    CAPS_ROW_NUMBER("variance_floor", caps_em_layer, variance_floor, 5e-4, 1e-9, 1000),
    {0},
};

const caps_field_variant caps_em_routings[] = {{"em", em_fields}, {0}};

void caps_em_layer_describe_routing(const caps_em_layer *self, char *text, size_t bytes)
{
    const struct {
        const char *name;
        double value, standard;
    } rows[] = {{"lambda", self->lambda, 0.01}, {"cost scale", self->cost_scale, 1},
        {"variance floor", self->variance_floor, 5e-4}};
    int at = snprintf(
        text, bytes, "%zu EM iterations (gradient: %s)", self->iterations, grads[self->grad]);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && at >= 0 && (size_t)at < bytes; i++)
        if (fabs(rows[i].value - rows[i].standard) > 0)
            at += snprintf(text + at, bytes - (size_t)at, ", %s %g", rows[i].name, rows[i].value);
}

/* ---- shapes --------------------------------------------------------------------------------- */

static caps_em em_shape(const caps_layer *layer, size_t b)
{
    const caps_em_layer *self = (const caps_em_layer *)layer;
    const size_t *grid = layer->inputs[0]->grid;
    return (caps_em){.b = b,
        .types = grid[0],
        .height = grid[1],
        .width = grid[2],
        .parents = self->types,
        .kernel = self->kernel,
        .stride = self->stride,
        .coordinates = self->coordinates,
        .iterations = self->iterations,
        .grad = (caps_routing_grad)self->grad,
        .lambda = (float)self->lambda,
        .cost_scale = (float)self->cost_scale,
        .variance_floor = (float)self->variance_floor};
}

caps_status caps_em_layer_build(caps_em_layer *self, caps_network *n, const size_t grid[3],
    int ndim, const size_t *weight, caps_error *err)
{
    caps_layer *layer = &self->base;
    const size_t seen = self->kernel ? layer->inputs[0]->grid[0] * self->kernel * self->kernel
                                     : layer->inputs[0]->shape[0];
    caps_status status;
    CAPS_TRY(caps_layer_add_parameter(n, layer, "weight", ndim, weight, WEIGHT_STDDEV, err));
    layer->parameters[0].authors_stddev = WEIGHT_STDDEV;
    layer->parameters[0].identity = CAPS_POSE_SIDE;
    CAPS_TRY(caps_layer_add_parameter(n, layer, "beta_u", 1, &self->types, 0, err));
    CAPS_TRY(caps_layer_add_parameter(n, layer, "beta_a", 1, &self->types, 0, err));
    CAPS_TRY(caps_matrix_add_outputs(layer, grid, err));
    CAPS_TRY(caps_layer_check_array(
        layer->name, "its votes", 5, (size_t[]){seen, grid[0], grid[1], grid[2], CAPS_POSE}, err));
    CAPS_TRY(caps_layer_check_array(layer->name, "its assignments", 5,
        (size_t[]){seen, grid[0], grid[1], grid[2], self->iterations}, err));
done:
    return status;
}

/* ---- running -------------------------------------------------------------------------------- */

caps_status caps_em_layer_plan(caps_layer *layer, caps_plan *plan, caps_error *err)
{
    caps_em_layer *self = (caps_em_layer *)layer;
    const caps_em shape = em_shape(layer, plan->batch);
    const caps_em_workspace need = caps_em_workspace_of(plan->rt, &shape, plan->training);
    const size_t state = need.state ? need.state : 1;
    const size_t assignment[] = {
        self->iterations, plan->batch, layer->inputs[0]->shape[0], self->types};
    caps_status status;
    CAPS_TRY(caps_arena_add(
        plan->arena, &self->state, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 1, &state, err));
    const size_t activations[] = {self->iterations, plan->batch, self->types};
    if (self->kernel == 0) {
        CAPS_TRY(caps_arena_add(plan->arena, &self->assignment, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32,
            4, assignment, err));
        CAPS_TRY(caps_arena_add(plan->arena, &self->activations, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32,
            3, activations, err));
    }
    self->workspace = need.workspace ? need.workspace : 1;
    caps_plan_transient(plan, self->workspace);
done:
    return status;
}

caps_status caps_em_layer_forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    caps_em_layer *self = (caps_em_layer *)layer;
    const caps_em shape = em_shape(layer, pass->b);
    const caps_tensor pose = caps_batch_of(&layer->inputs[0]->y, pass->b);
    const caps_tensor activation = caps_batch_of(&layer->inputs[1]->y, pass->b);
    const caps_tensor pose_out = caps_batch_of(&layer->outputs[0].y, pass->b);
    const caps_tensor activation_out = caps_batch_of(&layer->outputs[1].y, pass->b);
    const caps_tensor workspace = caps_transient_workspace(pass, &self->workspace);
    self->rt = pass->rt;
    return caps_em_forward(pass->rt, &pose_out, &activation_out, &self->state, &pose, &activation,
        &layer->parameters[0].parameter.value, &layer->parameters[1].parameter.value,
        &layer->parameters[2].parameter.value, &shape, &workspace, err);
}

caps_status caps_em_layer_backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    const caps_em_layer *self = (const caps_em_layer *)layer;
    const caps_em shape = em_shape(layer, pass->b);
    const caps_value *in = layer->inputs[0], *in_activation = layer->inputs[1];
    const caps_value *out = &layer->outputs[0], *out_activation = &layer->outputs[1];
    const caps_parameter *w = &layer->parameters[0].parameter,
                         *beta_u = &layer->parameters[1].parameter,
                         *beta_a = &layer->parameters[2].parameter;
    const bool wanted = in->dy.buffer != NULL;
    const caps_tensor pose = caps_batch_of(&in->y, pass->b);
    const caps_tensor activation = caps_batch_of(&in_activation->y, pass->b);
    const caps_tensor dpose = wanted ? caps_batch_of(&in->dy, pass->b) : pose;
    const caps_tensor dactivation =
        wanted ? caps_batch_of(&in_activation->dy, pass->b) : activation;
    const caps_tensor dpose_out = caps_batch_of(&out->dy, pass->b);
    const caps_tensor dactivation_out = caps_batch_of(&out_activation->dy, pass->b);
    const caps_tensor workspace = caps_transient_workspace(pass, &self->workspace);
    return caps_em_backward(pass->rt, wanted ? &dpose : NULL, wanted ? &dactivation : NULL,
        &w->gradient, &beta_u->gradient, &beta_a->gradient, &dpose_out, &dactivation_out,
        &self->state, &pose, &activation, &w->value, &beta_u->value, &beta_a->value, &shape,
        &workspace, err);
}

/* Of every iteration; no buffer where they cannot be had. */
static caps_tensor em_activations(const caps_em_layer *self, size_t b)
{
    const caps_em shape = em_shape(&self->base, b);
    const caps_tensor all = caps_tensor_wrap(self->activations.buffer, self->activations.offset,
        CAPS_F32, 3, (size_t[]){self->iterations, b, self->types});
    float *values = malloc(caps_tensor_bytes(&all));
    caps_status status = values ? CAPS_OK : CAPS_ERR_MEMORY;
    for (size_t t = 0; status == CAPS_OK && t < self->iterations; t++)
        status = caps_em_activations(
            self->rt, values + t * b * self->types, &self->state, b, &shape, t, NULL);
    if (status == CAPS_OK)
        status = caps_tensor_upload(self->rt, &all, values, NULL);
    free(values);
    return status == CAPS_OK ? all : (caps_tensor){0};
}

caps_tensor caps_em_layer_result(const caps_layer *layer, const char *name, size_t b)
{
    const caps_em_layer *self = (const caps_em_layer *)layer;
    const caps_tensor *all = &self->assignment; /* [r, batch, I, C] */
    const bool every = strcmp(name, "assignment.iterations") == 0;
    const caps_em shape = em_shape(layer, b);
    const size_t r = self->iterations, one[] = {b, all->shape[2], all->shape[3]};
    const size_t each = b * one[1] * one[2];
    if (all->buffer && self->rt && strcmp(name, "activation.iterations") == 0)
        return em_activations(self, b);
    if (!all->buffer || !self->rt || (!every && strcmp(name, "assignment") != 0))
        return (caps_tensor){0};
    for (size_t t = every ? 0 : r - 1; t < r; t++) {
        const caps_tensor to =
            caps_tensor_wrap(all->buffer, all->offset + t * each, CAPS_F32, 3, one);
        if (caps_em_assignment(self->rt, &to, &self->state, &shape, t, NULL) != CAPS_OK)
            return (caps_tensor){0};
    }
    if (every)
        return caps_tensor_wrap(
            all->buffer, all->offset, CAPS_F32, 4, (size_t[]){r, b, one[1], one[2]});
    return caps_tensor_wrap(all->buffer, all->offset + (r - 1) * each, CAPS_F32, 3, one);
}

const caps_tensor *caps_em_layer_round(
    const caps_layer *layer, const caps_runtime *rt, size_t n, caps_not_finite_row *row)
{
    const caps_em_layer *self = (const caps_em_layer *)layer;
    const caps_em shape = em_shape(layer, 1);
    if (n >= self->iterations)
        return NULL;
    if (row)
        *row = caps_em_row(rt, &self->state, &shape, n);
    return &self->state;
}

void caps_em_layer_problem(const caps_layer *layer, caps_layer_problem *p)
{
    const caps_em shape = em_shape(layer, 1);
    const size_t *grid = layer->outputs[0].grid;
    const double window = shape.kernel ? (double)(shape.kernel * shape.kernel * grid[1] * grid[2])
                                       : (double)(shape.height * shape.width);
    p->type = CAPS_PROBLEM_EM;
    p->em = shape;
    /* The votes' products alone. */
    p->flops =
        2 * window * (double)shape.types * (double)shape.parents * CAPS_POSE * CAPS_POSE_SIDE;
}
