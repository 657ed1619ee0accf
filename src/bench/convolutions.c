/* convolutions.c: convolutions by every algorithm, and their bias and activation. */
#include <stdio.h>
#include <string.h>

#include "bench_problem.h"

#include "conv.h"
#include "fail.h"

#define MOST_BYTES ((size_t)4 << 30) /* of the workspace of algorithms other than im2col */
enum { MOST_ALGORITHMS = 8 };

/* ---- conv: t = y, x, w, bias, workspace, dx, dw, dbias, dy ---------------------------------- */

typedef struct conv_case {
    const char *name; /* "conv1" */
    size_t x[4], w[4];
    caps_conv2d conv;
    bool needs_input_gradient;
} conv_case;

static caps_status conv_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_conv2d_forward(
        p->b->rt, &p->t[0], &p->t[1], &p->t[2], &p->t[3], &p->conv, &p->t[4], err);
}

static caps_status conv_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_conv2d_backward(p->b->rt, p->needs_input_gradient ? &p->t[5] : NULL, &p->t[6],
        &p->t[7], &p->t[8], &p->t[0], &p->t[1], &p->t[2], &p->conv, &p->t[4], err);
}

/* By the algorithm of c->conv. */
static caps_status conv_measure(const caps_bench *b, const conv_case *c, caps_error *err)
{
    caps_bench_problem p = {
        .b = b, .conv = c->conv, .needs_input_gradient = c->needs_input_gradient};
    const size_t *x = c->x, *w = c->w;
    const size_t oh = caps_conv2d_output(x[2], w[2], c->conv.stride, c->conv.padding);
    const size_t ow = caps_conv2d_output(x[3], w[3], c->conv.stride, c->conv.padding);
    const size_t y[] = {x[0], w[0], oh, ow};
    const size_t workspace = caps_conv2d_workspace(b->rt, x, w, &c->conv, true,
        c->conv.algorithm == CAPS_CONV_IM2COL ? caps_conv_column_bytes(b->rt) : MOST_BYTES);
    const double taps = (double)(w[1] * w[2] * w[3]), nw = (double)w[0] * taps;
    const double ny = (double)(x[0] * w[0]) * (double)(oh * ow);
    const double nx = (double)(x[0] * x[1]) * (double)(x[2] * x[3]);
    const double flops = 2 * ny * taps, gradients = c->needs_input_gradient ? 2 : 1;
    const double output_arrays = c->conv.act == CAPS_ACT_NONE ? 1 : 2;
    const char *algorithm = caps_conv_algorithm_name(c->conv.algorithm);
    caps_status status;
    char shape[CAPS_BENCH_SHAPE_TEXT], sizes[80], padding[32] = "";
    if (c->conv.padding)
        snprintf(padding, sizeof padding, " pad=%zu", c->conv.padding);
    snprintf(sizes, sizeof sizes, "B=%zu C=%zu %zux%zu M=%zu k=%zu stride=%zu%s", x[0], x[1], x[2],
        x[3], w[0], w[2], c->conv.stride, padding);
    CAPS_TRY(caps_bench_add(&p, 4, y, err));
    CAPS_TRY(caps_bench_add(&p, 4, x, err));
    CAPS_TRY(caps_bench_add(&p, 4, w, err));
    CAPS_TRY(caps_bench_add(&p, 1, w, err));
    CAPS_TRY(caps_bench_add(&p, 1, &workspace, err));
    CAPS_TRY(caps_bench_add(&p, 4, x, err));
    CAPS_TRY(caps_bench_add(&p, 4, w, err));
    CAPS_TRY(caps_bench_add(&p, 1, w, err));
    CAPS_TRY(caps_bench_add(&p, 4, y, err));
    snprintf(shape, sizeof shape, "%s forward %s", c->name, sizes);
    CAPS_TRY(caps_bench_problem_measure(
        &p, conv_forward, "conv", shape, algorithm, flops, 4 * (nx + nw + ny), err));
    snprintf(shape, sizeof shape, "%s backward %s", c->name, sizes);
    CAPS_TRY(caps_bench_problem_measure(&p, conv_backward, "conv", shape, algorithm,
        gradients * flops, 4 * (nx * gradients + 2 * nw + ny * output_arrays), err));
done:
    caps_bench_problem_release(&p);
    return status;
}

static bool conv_is_among(const caps_conv_algorithm *list, size_t n, caps_conv_algorithm algorithm)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == algorithm)
            return true;
    return false;
}

/* By every algorithm that can serve, or the one that is requested; where the shape is the user's,
 * those that know no dx go without it. Flops are those of the direct sum for all of them: more of
 * them in a second than the device's peak means fewer were needed. */
static caps_status conv_by_all(const caps_bench *b, const conv_case *c, caps_error *err)
{
    caps_conv_problem problem = {.conv = c->conv,
        .backward = true,
        .needs_input_gradient = c->needs_input_gradient,
        .limit_bytes = MOST_BYTES};
    caps_conv_algorithm can[MOST_ALGORITHMS], full[MOST_ALGORITHMS], requested = CAPS_CONV_AUTO;
    caps_status status = CAPS_OK;
    memcpy(problem.x_shape, c->x, sizeof problem.x_shape);
    memcpy(problem.w_shape, c->w, sizeof problem.w_shape);
    if (b->conv && !caps_conv_algorithm_find(&requested, b->conv))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "bench conv: algorithm '%s' is unknown, need auto, im2col, direct, winograd, "
            "toom-cook or implicit",
            b->conv);
    const size_t n_full = caps_conv_candidates(b->rt, &problem, full);
    problem.needs_input_gradient = c->needs_input_gradient && !b->shape;
    const size_t n = caps_conv_candidates(b->rt, &problem, can);
    if (b->shape && requested != CAPS_CONV_AUTO && !conv_is_among(can, n, requested))
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "bench conv: %s cannot serve the shape that is given", b->conv);
    for (size_t i = 0; i < n; i++) {
        conv_case by = *c;
        by.conv.algorithm = can[i];
        by.needs_input_gradient = c->needs_input_gradient && conv_is_among(full, n_full, can[i]);
        if (requested == CAPS_CONV_AUTO || requested == can[i])
            CAPS_TRY(conv_measure(b, &by, err));
    }
done:
    return status;
}

static caps_status conv_of_layer(
    const caps_bench *b, const caps_bench_layer *layer, caps_error *err)
{
    const caps_layer_problem *p = &layer->problem;
    conv_case c = {.name = layer->name, .conv = p->conv, .needs_input_gradient = !layer->first};
    memcpy(c.x, p->x_shape, sizeof c.x);
    memcpy(c.w, p->w_shape, sizeof c.w);
    c.x[0] = b->batch;
    return conv_by_all(b, &c, err);
}

caps_status caps_bench_conv(const caps_bench *b, caps_error *err)
{
    if (!b->shape)
        return caps_bench_walk(b, CAPS_PROBLEM_CONV, conv_of_layer, err);
    const size_t *n = b->shape->numbers;
    const conv_case given = {.name = "given",
        .x = {n[0], n[1], n[2], n[3]},
        .w = {n[4], n[1], n[5], n[5]},
        .conv = {.stride = n[6], .padding = n[7], .act = CAPS_ACT_NONE},
        .needs_input_gradient = true};
    return conv_by_all(b, &given, err);
}

/* ---- bias and activation: t = y, x, bias, dx, dbias, dy ------------------------------------- */

static caps_status bias_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_bias_act_forward(p->b->rt, &p->t[0], &p->t[1], &p->t[2], p->act, err);
}

static caps_status bias_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_bias_act_backward(p->b->rt, &p->t[3], &p->t[4], &p->t[5], &p->t[0], p->act, err);
}

/* As the convolutions have it where their algorithm does not apply it on the way. */
static caps_status bias_measure(const caps_bench *b, const caps_bench_layer *layer, caps_error *err)
{
    const caps_layer_problem *conv = &layer->problem;
    caps_bench_problem p = {.b = b, .act = conv->conv.act};
    const size_t channels = conv->w_shape[0];
    const size_t pixels = caps_bench_conv_height(conv) * caps_bench_conv_width(conv);
    const size_t shape[] = {b->batch, channels, pixels};
    const double n = (double)(b->batch * channels) * (double)pixels;
    const double flops = p.act == CAPS_ACT_NONE ? 1 : 2, arrays = p.act == CAPS_ACT_NONE ? 2 : 3;
    caps_status status;
    char text[CAPS_BENCH_SHAPE_TEXT];
    CAPS_TRY(caps_bench_add(&p, 3, shape, err));
    CAPS_TRY(caps_bench_add(&p, 3, shape, err));
    CAPS_TRY(caps_bench_add(&p, 1, &channels, err));
    CAPS_TRY(caps_bench_add(&p, 3, shape, err));
    CAPS_TRY(caps_bench_add(&p, 1, &channels, err));
    CAPS_TRY(caps_bench_add(&p, 3, shape, err));
    snprintf(
        text, sizeof text, "%s forward B=%zu C=%zu S=%zu", layer->name, b->batch, channels, pixels);
    CAPS_TRY(
        caps_bench_problem_measure(&p, bias_forward, "bias", text, NULL, flops * n, 8 * n, err));
    snprintf(text, sizeof text, "%s backward B=%zu C=%zu S=%zu", layer->name, b->batch, channels,
        pixels);
    CAPS_TRY(caps_bench_problem_measure(
        &p, bias_backward, "bias", text, NULL, flops * n, 4 * arrays * n, err));
done:
    caps_bench_problem_release(&p);
    return status;
}

caps_status caps_bench_bias(const caps_bench *b, caps_error *err)
{
    return caps_bench_walk(b, CAPS_PROBLEM_CONV, bias_measure, err);
}
