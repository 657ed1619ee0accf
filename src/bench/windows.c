/* windows.c: what passes over maps channel by channel: depthwise convolution, max pooling, batch
 * normalisation. */
#include <stdio.h>

#include "bench_problem.h"

#include "fail.h"

/* ---- depthwise: t = y, x, w, bias, dx, dw, dbias, dy ---------------------------------------- */

static caps_status depthwise_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_depthwise_forward(p->b->rt, &p->t[0], &p->t[1], &p->t[2], &p->t[3], p->stride, err);
}

static caps_status depthwise_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_depthwise_backward(
        p->b->rt, &p->t[4], &p->t[5], &p->t[6], &p->t[7], &p->t[1], &p->t[2], p->stride, err);
}

static caps_status depthwise_measure(
    const caps_bench *b, const caps_bench_layer *layer, caps_error *err)
{
    const caps_layer_problem *l = &layer->problem;
    caps_bench_problem p = {.b = b, .stride = l->conv.stride};
    const size_t c = l->x_shape[1], k = l->w_shape[2];
    const size_t x[] = {b->batch, c, l->x_shape[2], l->x_shape[3]}, w[] = {c, 1, k, k};
    const size_t y[] = {b->batch, c, caps_bench_conv_height(l), caps_bench_conv_width(l)};
    const double nx = (double)(x[0] * x[1]) * (double)(x[2] * x[3]), nw = (double)(c * k * k);
    const double ny = (double)(y[0] * y[1]) * (double)(y[2] * y[3]);
    const double flops = 2 * ny * (double)(k * k);
    caps_status status;
    char text[CAPS_BENCH_SHAPE_TEXT], name[CAPS_LAYER_NAME + 1];
    caps_bench_prefix(name, layer, b->network->of_type[CAPS_PROBLEM_DEPTHWISE]);
    CAPS_TRY(caps_bench_add(&p, 4, y, err));
    CAPS_TRY(caps_bench_add(&p, 4, x, err));
    CAPS_TRY(caps_bench_add(&p, 4, w, err));
    CAPS_TRY(caps_bench_add(&p, 1, &c, err));
    CAPS_TRY(caps_bench_add(&p, 4, x, err));
    CAPS_TRY(caps_bench_add(&p, 4, w, err));
    CAPS_TRY(caps_bench_add(&p, 1, &c, err));
    CAPS_TRY(caps_bench_add(&p, 4, y, err));
    snprintf(text, sizeof text, "%sforward B=%zu C=%zu %zux%zu k=%zu s=%zu", name, b->batch, c,
        x[2], x[3], k, p.stride);
    CAPS_TRY(caps_bench_problem_measure(
        &p, depthwise_forward, "depthwise", text, NULL, flops, 4 * (nx + ny + nw), err));
    snprintf(text, sizeof text, "%sbackward B=%zu C=%zu %zux%zu k=%zu s=%zu", name, b->batch, c,
        x[2], x[3], k, p.stride);
    CAPS_TRY(caps_bench_problem_measure(&p, depthwise_backward, "depthwise", text, NULL, 2 * flops,
        4 * (2 * nx + ny + 2 * nw), err));
done:
    caps_bench_problem_release(&p);
    return status;
}

caps_status caps_bench_depthwise(const caps_bench *b, caps_error *err)
{
    return caps_bench_walk(b, CAPS_PROBLEM_DEPTHWISE, depthwise_measure, err);
}

/* ---- max pooling: t = y, x, dy, dx, place ---------------------------------------------------- */

static caps_status max_pool_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_max_pool_forward(p->b->rt, &p->t[0], &p->t[4], &p->t[1], p->kernel, p->stride, err);
}

static caps_status max_pool_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_max_pool_backward(
        p->b->rt, &p->t[3], &p->t[2], &p->t[4], p->kernel, p->stride, err);
}

static caps_status max_pool_measure(
    const caps_bench *b, const caps_bench_layer *layer, caps_error *err)
{
    const caps_layer_problem *l = &layer->problem;
    caps_bench_problem p = {.b = b, .kernel = l->w_shape[2], .stride = l->conv.stride};
    const size_t x[] = {b->batch, l->x_shape[1], l->x_shape[2], l->x_shape[3]};
    const size_t y[] = {b->batch, x[1], caps_bench_conv_height(l), caps_bench_conv_width(l)};
    const double nx = (double)(x[0] * x[1]) * (double)(x[2] * x[3]);
    const double ny = (double)(y[0] * y[1]) * (double)(y[2] * y[3]);
    caps_status status;
    char text[CAPS_BENCH_SHAPE_TEXT], name[CAPS_LAYER_NAME + 1];
    caps_bench_prefix(name, layer, b->network->of_type[CAPS_PROBLEM_POOL]);
    CAPS_TRY(caps_bench_add(&p, 4, y, err));
    CAPS_TRY(caps_bench_add(&p, 4, x, err));
    CAPS_TRY(caps_bench_add(&p, 4, y, err));
    CAPS_TRY(caps_bench_add(&p, 4, x, err));
    CAPS_TRY(caps_tensor_init(&p.t[p.count], b->rt, CAPS_I32, 4, y, err));
    p.count++;
    snprintf(text, sizeof text, "%sforward B=%zu C=%zu %zux%zu k=%zu s=%zu", name, b->batch, x[1],
        x[2], x[3], p.kernel, p.stride);
    CAPS_TRY(caps_bench_problem_measure(&p, max_pool_forward, "max-pool", text, NULL,
        ny * (double)(p.kernel * p.kernel), 4 * (nx + 2 * ny), err));
    snprintf(text, sizeof text, "%sbackward B=%zu C=%zu %zux%zu k=%zu s=%zu", name, b->batch, x[1],
        x[2], x[3], p.kernel, p.stride);
    CAPS_TRY(caps_bench_problem_measure(
        &p, max_pool_backward, "max-pool", text, NULL, ny, 4 * (nx + 2 * ny), err));
done:
    caps_bench_problem_release(&p);
    return status;
}

caps_status caps_bench_max_pool(const caps_bench *b, caps_error *err)
{
    return caps_bench_walk(b, CAPS_PROBLEM_POOL, max_pool_measure, err);
}

/* ---- batch normalisation: t = y, x, dy, workspace; of channels: mean, var, weight, bias, dweight,
 * dbias ---------------------------------------------------------------------------------------- */

static caps_status batch_norm_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    const caps_tensor *t = p->t;
    caps_status status = caps_batch_norm_statistics(p->b->rt, &t[4], &t[5], &t[1], &t[3], err);
    return status == CAPS_OK ? caps_batch_norm_forward(p->b->rt, &t[0], &t[1], &t[4], &t[5], &t[6],
                                   &t[7], CAPS_BATCH_NORM_EPSILON, err)
                             : status;
}

static caps_status batch_norm_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    const caps_tensor *t = p->t;
    return caps_batch_norm_backward(p->b->rt, &t[0], &t[8], &t[9], &t[2], &t[1], &t[4], &t[5],
        &t[6], true, CAPS_BATCH_NORM_EPSILON, &t[3], err);
}

static caps_status batch_norm_measure(
    const caps_bench *b, const caps_bench_layer *layer, caps_error *err)
{
    const caps_layer_problem *l = &layer->problem;
    caps_bench_problem p = {.b = b};
    const size_t c = l->w_shape[0], workspace = caps_batch_norm_workspace(b->batch, c);
    const size_t y[] = {b->batch, c, caps_bench_conv_height(l), caps_bench_conv_width(l)};
    const double n = (double)(y[0] * y[1]) * (double)(y[2] * y[3]);
    caps_status status = CAPS_OK;
    char text[CAPS_BENCH_SHAPE_TEXT], name[CAPS_LAYER_NAME + 1];
    if (!l->normalised)
        return CAPS_OK;
    caps_bench_prefix(name, layer, b->network->normalised);
    for (int t = 0; t < 3; t++)
        CAPS_TRY(caps_bench_add(&p, 4, y, err));
    CAPS_TRY(caps_bench_add(&p, 1, &workspace, err));
    for (int t = 0; t < 6; t++)
        CAPS_TRY(caps_bench_add_positive(&p, 1, &c, err));
    /* The mean, the variance about it, the output: x is read once for the sums, once for y. */
    snprintf(text, sizeof text, "%sforward B=%zu C=%zu %zux%zu", name, b->batch, c, y[2], y[3]);
    CAPS_TRY(caps_bench_problem_measure(
        &p, batch_norm_forward, "batch-norm", text, NULL, 6 * n, 12 * n, err));
    snprintf(text, sizeof text, "%sbackward B=%zu C=%zu %zux%zu", name, b->batch, c, y[2], y[3]);
    CAPS_TRY(caps_bench_problem_measure(
        &p, batch_norm_backward, "batch-norm", text, NULL, 9 * n, 20 * n, err));
done:
    caps_bench_problem_release(&p);
    return status;
}

caps_status caps_bench_batch_norm(const caps_bench *b, caps_error *err)
{
    return caps_bench_walk(b, CAPS_PROBLEM_CONV, batch_norm_measure, err);
}
