/* conv.c: convolution, bias, activation, normalisation.
 *
 *     {"kind": "conv", "channels": 256, "kernel": 9, "stride": 1, "padding": 0,
 *      "activation": "relu", "norm": "none"}
 *
 * With `norm` `batch`: batch normalisation behind the activation, by the statistics of the batch in
 * a training step, else by running ones, which each backward of such a step moves. Backward needs
 * what was normalised; without training it is normalised in place. */
#include <stdio.h>

#include "convolution.h"
#include "fail.h"

typedef struct conv_layer {
    caps_layer base;
    caps_convolution convolution;
    size_t channels, kernel, stride, padding;
    int activation, norm;       /* positions below */
    caps_tensor activated;      /* [batch, M, OH, OW]: what is normalised; no buffer: y itself */
    caps_tensor mean, var;      /* [M]: the batch's */
    caps_tensor dweight, dbias; /* [M]: sums over a batch that several models compute */
    size_t workspace;           /* elements of the shared one, of normalisation */
} conv_layer;

enum { WEIGHT, BIAS, NORM_WEIGHT, NORM_BIAS, RUNNING_MEAN, RUNNING_VAR }; /* parameters */

static const char *const conv_activations[] = {"relu", "none", NULL};
static const char *const conv_norms[] = {"none", "batch", NULL};

static const caps_field conv_fields[] = {
    CAPS_ROW_REQUIRED_SIZE("channels", conv_layer, channels),
    CAPS_ROW_REQUIRED_SIZE("kernel", conv_layer, kernel),
    CAPS_ROW_SIZE("stride", conv_layer, stride, 1, 1, CAPS_FIELD_MOST_SIZE),
    CAPS_ROW_SIZE("padding", conv_layer, padding, 0, 0, CAPS_FIELD_MOST_SIZE),
    CAPS_ROW_CHOICE_OF("activation", conv_layer, activation, conv_activations),
    CAPS_ROW_CHOICE_OF("norm", conv_layer, norm, conv_norms),
    {0},
};

static bool conv_has_relu(const conv_layer *self)
{
    return self->activation == 0;
}

static bool conv_has_norm(const conv_layer *self)
{
    return self->norm == 1;
}

static caps_status conv_add_norm(
    caps_layer *layer, caps_network *n, size_t channels, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_layer_add_parameter(n, layer, "norm.weight", 1, &channels, 0, err));
    CAPS_TRY(caps_layer_add_parameter(n, layer, "norm.bias", 1, &channels, 0, err));
    layer->parameters[NORM_WEIGHT].initial = layer->parameters[NORM_WEIGHT].authors_initial = 1;
    layer->parameters[NORM_BIAS].authors_initial = 0;
    CAPS_TRY(caps_layer_add_statistic(n, layer, "norm.running_mean", channels, 0, err));
    CAPS_TRY(caps_layer_add_statistic(n, layer, "norm.running_var", channels, 1, err));
done:
    return status;
}

static caps_status conv_build(caps_layer *layer, caps_network *n, caps_error *err)
{
    conv_layer *self = (conv_layer *)layer;
    const caps_conv2d conv = {.stride = self->stride,
        .padding = self->padding,
        .act = conv_has_relu(self) ? CAPS_ACT_RELU : CAPS_ACT_NONE};
    const size_t taps = self->kernel * self->kernel, in = layer->inputs[0]->shape[0];
    const double stddev = conv_has_relu(self)
                              ? caps_stddev_he(in * taps)
                              : caps_stddev_glorot(in * taps, self->channels * taps);
    caps_status status;
    CAPS_TRY(caps_convolution_build(
        &self->convolution, n, layer, &conv, self->channels, self->kernel, stddev, err));
    if (conv_has_norm(self))
        CAPS_TRY(conv_add_norm(layer, n, self->channels, err));
    CAPS_TRY(caps_layer_add_output(layer, CAPS_FORM_MAPS, 3, self->convolution.y_shape, err));
done:
    return status;
}

static void conv_describe(const caps_layer *layer, char *text, size_t bytes)
{
    const conv_layer *self = (const conv_layer *)layer;
    const size_t *y = layer->outputs[0].shape;
    char padding[40] = "";
    if (self->padding > 0)
        snprintf(padding, sizeof padding, ", padding %zu", self->padding);
    snprintf(text, bytes, "%zu channels, kernel %zu, stride %zu%s%s%s: %zux%zu", self->channels,
        self->kernel, self->stride, padding, conv_has_relu(self) ? "" : ", no activation",
        conv_has_norm(self) ? ", batch normalisation" : "", y[1], y[2]);
}

static caps_status conv_plan(caps_layer *layer, caps_plan *plan, caps_error *err)
{
    conv_layer *self = (conv_layer *)layer;
    const size_t *y = self->convolution.y_shape, shape[] = {plan->batch, y[0], y[1], y[2]};
    caps_status status;
    CAPS_TRY(caps_convolution_plan(&self->convolution, layer, plan, err));
    self->workspace = 0;
    if (conv_has_norm(self) && plan->training) {
        CAPS_TRY(caps_arena_add(
            plan->arena, &self->activated, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 4, shape, err));
        CAPS_TRY(caps_arena_add(
            plan->arena, &self->mean, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 1, y, err));
        CAPS_TRY(
            caps_arena_add(plan->arena, &self->var, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 1, y, err));
        CAPS_TRY(caps_arena_add(
            plan->arena, &self->dweight, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 1, y, err));
        CAPS_TRY(caps_arena_add(
            plan->arena, &self->dbias, CAPS_PURPOSE_ACTIVATIONS, CAPS_F32, 1, y, err));
        self->workspace = caps_batch_norm_workspace(plan->batch, y[0]);
        caps_plan_transient(plan, self->workspace);
    }
done:
    return status;
}

/* What normalisation goes by: the batch's statistics or the running ones. */
static const caps_tensor *conv_statistic(
    const caps_layer *layer, const caps_pass *pass, const caps_tensor *of_batch, size_t running)
{
    return pass->by_batch ? of_batch : &layer->parameters[running].parameter.value;
}

/* Of the batch: of its images in this model, then of all. */
static caps_status conv_statistics(
    conv_layer *self, const caps_pass *pass, const caps_tensor *x, caps_error *err)
{
    const caps_tensor workspace = caps_transient_workspace(pass, &self->workspace);
    caps_status status = CAPS_OK;
    if (pass->b > 0)
        CAPS_TRY(caps_batch_norm_statistics(pass->rt, &self->mean, &self->var, x, &workspace, err));
    if (pass->share)
        CAPS_TRY(caps_batch_share_statistics(
            pass->rt, pass->share, &self->mean, &self->var, pass->b, err));
done:
    return status;
}

static caps_status conv_forward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    conv_layer *self = (conv_layer *)layer;
    const caps_tensor y = caps_batch_of(&layer->outputs[0].y, pass->b);
    const caps_tensor x = self->activated.buffer ? caps_batch_of(&self->activated, pass->b) : y;
    const caps_owned_parameter *p = layer->parameters;
    caps_status status = CAPS_OK;
    if (pass->b > 0)
        CAPS_TRY(caps_convolution_forward(
            &self->convolution, layer, pass, &x, &p[BIAS].parameter.value, err));
    if (!conv_has_norm(self))
        goto done;
    if (pass->by_batch)
        CAPS_TRY(conv_statistics(self, pass, &x, err));
    if (pass->b > 0)
        CAPS_TRY(caps_batch_norm_forward(pass->rt, &y, &x,
            conv_statistic(layer, pass, &self->mean, RUNNING_MEAN),
            conv_statistic(layer, pass, &self->var, RUNNING_VAR), &p[NORM_WEIGHT].parameter.value,
            &p[NORM_BIAS].parameter.value, CAPS_BATCH_NORM_EPSILON, err));
done:
    return status;
}

/* dy becomes that of what was normalised, where the statistics are those of several models. */
static caps_status conv_backward_share(
    caps_layer *layer, const caps_pass *pass, const caps_tensor *dy, caps_error *err)
{
    conv_layer *self = (conv_layer *)layer;
    const size_t *y = self->convolution.y_shape;
    const caps_tensor x = caps_batch_of(&self->activated, pass->b);
    const caps_tensor workspace = caps_transient_workspace(pass, &self->workspace);
    const caps_owned_parameter *p = layer->parameters;
    const caps_tensor *dweight = &p[NORM_WEIGHT].parameter.gradient;
    const caps_tensor *dbias = &p[NORM_BIAS].parameter.gradient;
    caps_status status = CAPS_OK;
    if (pass->b > 0)
        CAPS_TRY(caps_batch_norm_sums(pass->rt, dweight, dbias, dy, &x, &self->mean, &self->var,
            CAPS_BATCH_NORM_EPSILON, &workspace, err));
    CAPS_TRY(caps_batch_share_sums(
        pass->rt, pass->share, &self->dweight, &self->dbias, dweight, dbias, pass->b, err));
    if (pass->b > 0)
        CAPS_TRY(caps_batch_norm_input(pass->rt, dy, dy, &x, &self->mean, &self->var,
            &p[NORM_WEIGHT].parameter.value, &self->dweight, &self->dbias,
            (double)pass->share->total * (double)y[1] * (double)y[2], CAPS_BATCH_NORM_EPSILON,
            err));
done:
    return status;
}

/* Likewise, where the batch is this model's alone, or the statistics are the running ones. */
static caps_status conv_backward_alone(
    caps_layer *layer, const caps_pass *pass, const caps_tensor *dy, caps_error *err)
{
    conv_layer *self = (conv_layer *)layer;
    const caps_tensor x = caps_batch_of(&self->activated, pass->b);
    const caps_tensor workspace = caps_transient_workspace(pass, &self->workspace);
    const caps_owned_parameter *p = layer->parameters;
    return caps_batch_norm_backward(pass->rt, dy, &p[NORM_WEIGHT].parameter.gradient,
        &p[NORM_BIAS].parameter.gradient, dy, &x,
        conv_statistic(layer, pass, &self->mean, RUNNING_MEAN),
        conv_statistic(layer, pass, &self->var, RUNNING_VAR), &p[NORM_WEIGHT].parameter.value,
        pass->by_batch, CAPS_BATCH_NORM_EPSILON, &workspace, err);
}

static caps_status conv_backward_norm(
    caps_layer *layer, const caps_pass *pass, const caps_tensor *dy, caps_error *err)
{
    conv_layer *self = (conv_layer *)layer;
    const caps_owned_parameter *p = layer->parameters;
    caps_status status;
    CAPS_TRY(pass->share && pass->by_batch ? conv_backward_share(layer, pass, dy, err)
                                           : conv_backward_alone(layer, pass, dy, err));
    if (!pass->by_batch)
        goto done;
    CAPS_TRY(caps_batch_norm_update(
        pass->rt, &p[RUNNING_MEAN].parameter.value, &self->mean, CAPS_BATCH_NORM_MOMENTUM, err));
    CAPS_TRY(caps_batch_norm_update(
        pass->rt, &p[RUNNING_VAR].parameter.value, &self->var, CAPS_BATCH_NORM_MOMENTUM, err));
done:
    return status;
}

static caps_status conv_backward(caps_layer *layer, const caps_pass *pass, caps_error *err)
{
    conv_layer *self = (conv_layer *)layer;
    const bool norm = conv_has_norm(self);
    const caps_tensor y = caps_batch_of(norm ? &self->activated : &layer->outputs[0].y, pass->b);
    const caps_tensor dy = caps_batch_of(&layer->outputs[0].dy, pass->b);
    caps_status status = norm ? conv_backward_norm(layer, pass, &dy, err) : CAPS_OK;
    return status == CAPS_OK && pass->b > 0 ? caps_convolution_backward(&self->convolution, layer,
                                                  pass, &dy, conv_has_relu(self) ? &y : NULL, err)
                                            : status;
}

static void conv_problem(const caps_layer *layer, caps_layer_problem *p)
{
    const conv_layer *self = (const conv_layer *)layer;
    caps_convolution_problem(&self->convolution, layer, p);
    p->normalised = conv_has_norm(self);
}

const caps_layer_kind caps_layer_conv = {
    .name = "conv",
    .bytes = sizeof(conv_layer),
    .fields = conv_fields,
    .build = conv_build,
    .describe = conv_describe,
    .plan = conv_plan,
    .forward = conv_forward,
    .backward = conv_backward,
    .problem = conv_problem,
};
