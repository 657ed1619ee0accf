/* products.c: matrix products and linear layers, at the shapes that a network has. */
#include <stdio.h>

#include "bench_problem.h"

#include "conv.h"

#include "fail.h"

/* ---- gemm: t = c, a, b ---------------------------------------------------------------------- */

static caps_status gemm_run(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_gemm(p->b->rt, &p->t[0], &p->t[1], &p->t[2], &p->gemm, err);
}

static caps_status gemm_measure(const caps_bench *b, const char *what, bool trans_a, bool trans_b,
    size_t m, size_t n, size_t k, caps_error *err)
{
    caps_bench_problem p = {.b = b};
    caps_status status;
    char shape[CAPS_BENCH_SHAPE_TEXT];
    p.gemm = (caps_gemm_shape){.trans_a = trans_a,
        .trans_b = trans_b,
        .m = m,
        .n = n,
        .k = k,
        .lda = trans_a ? m : k,
        .ldb = trans_b ? k : n,
        .ldc = n,
        .alpha = 1,
        .count = 1};
    snprintf(shape, sizeof shape, "%s M=%zu N=%zu K=%zu%s%s", what, m, n, k, trans_a ? " A^T" : "",
        trans_b ? " B^T" : "");
    CAPS_TRY(caps_bench_add(&p, 2, (size_t[]){m, n}, err));
    CAPS_TRY(caps_bench_add(&p, 2, (size_t[]){m, k}, err));
    CAPS_TRY(caps_bench_add(&p, 2, (size_t[]){k, n}, err));
    CAPS_TRY(caps_bench_problem_measure(&p, gemm_run, "gemm", shape,
        caps_gemm_algorithm(b->rt, &p.gemm), 2.0 * (double)m * (double)n * (double)k,
        4.0 * ((double)m * (double)k + (double)k * (double)n + (double)m * (double)n), err));
done:
    caps_bench_problem_release(&p);
    return status;
}

/* The columns of as many images as an im2col convolution takes at once. */
static size_t gemm_columns(const caps_bench *b, const caps_layer_problem *p)
{
    const size_t x[] = {b->batch, p->x_shape[1], p->x_shape[2], p->x_shape[3]};
    const size_t pixels = caps_bench_conv_height(p) * caps_bench_conv_width(p);
    const size_t *w = p->w_shape, each = (w[1] * w[2] * w[3] + w[0]) * pixels;
    caps_conv2d conv = p->conv;
    conv.algorithm = CAPS_CONV_IM2COL;
    return caps_conv2d_workspace(b->rt, x, w, &conv, true, caps_conv_column_bytes(b->rt)) / each *
           pixels;
}

static caps_status gemm_of_conv(const caps_bench *b, const caps_bench_layer *layer, caps_error *err)
{
    const size_t *w = layer->problem.w_shape;
    const size_t m = w[0], taps = w[1] * w[2] * w[3], n = gemm_columns(b, &layer->problem);
    char what[CAPS_LAYER_NAME + 16];
    caps_status status;
    snprintf(what, sizeof what, "%s forward", layer->name);
    CAPS_TRY(gemm_measure(b, what, false, false, m, n, taps, err));
    snprintf(what, sizeof what, "%s dw", layer->name);
    CAPS_TRY(gemm_measure(b, what, false, true, m, taps, n, err));
    snprintf(what, sizeof what, "%s dx", layer->name);
    if (!layer->first)
        CAPS_TRY(gemm_measure(b, what, true, false, taps, n, m, err));
done:
    return status;
}

static caps_status gemm_of_linear(
    const caps_bench *b, const caps_bench_layer *layer, caps_error *err)
{
    const size_t rows = b->batch * layer->rows_per_image;
    const size_t in = layer->problem.in, out = layer->problem.out;
    char what[CAPS_LAYER_NAME + 16];
    caps_status status;
    snprintf(what, sizeof what, "%s forward", layer->name);
    CAPS_TRY(gemm_measure(b, what, false, true, rows, out, in, err));
    snprintf(what, sizeof what, "%s dw", layer->name);
    CAPS_TRY(gemm_measure(b, what, true, false, out, in, rows, err));
    snprintf(what, sizeof what, "%s dx", layer->name);
    if (!layer->first)
        CAPS_TRY(gemm_measure(b, what, false, false, rows, in, out, err));
done:
    return status;
}

caps_status caps_bench_gemm(const caps_bench *b, caps_error *err)
{
    const caps_bench_shape *s = b->shape;
    caps_status status = CAPS_OK;
    if (s)
        return gemm_measure(
            b, "given", s->trans_a, s->trans_b, s->numbers[0], s->numbers[1], s->numbers[2], err);
    for (size_t i = 0; i < b->network->count; i++) {
        const caps_bench_layer *layer = &b->network->layers[i];
        if (layer->problem.type == CAPS_PROBLEM_CONV)
            CAPS_TRY(gemm_of_conv(b, layer, err));
        if (layer->problem.type == CAPS_PROBLEM_LINEAR)
            CAPS_TRY(gemm_of_linear(b, layer, err));
    }
done:
    return status;
}

/* ---- linear: t = y, x, w, bias, dx, dw, dbias, dz, dy --------------------------------------- */

static caps_status linear_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_linear_forward(p->b->rt, &p->t[0], &p->t[1], &p->t[2], &p->t[3], p->act, err);
}

static caps_status linear_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_linear_backward(p->b->rt, &p->t[4], &p->t[5], &p->t[6], &p->t[7], &p->t[8],
        &p->t[0], &p->t[1], &p->t[2], p->act, err);
}

static caps_status linear_measure(
    const caps_bench *b, const caps_bench_layer *layer, caps_error *err)
{
    caps_bench_problem p = {.b = b, .act = layer->problem.act};
    const size_t rows = b->batch * layer->rows_per_image;
    const size_t in = layer->problem.in, out = layer->problem.out;
    const size_t x[] = {rows, in}, w[] = {out, in}, y[] = {rows, out};
    const caps_gemm_shape product = {.trans_b = true,
        .m = rows,
        .n = out,
        .k = in,
        .lda = in,
        .ldb = in,
        .ldc = out,
        .alpha = 1,
        .count = 1};
    const char *algorithm = caps_gemm_algorithm(b->rt, &product);
    const double nx = (double)rows * (double)in, ny = (double)rows * (double)out;
    const double nw = (double)in * (double)out, flops = 2 * nx * (double)out;
    caps_status status;
    char text[CAPS_BENCH_SHAPE_TEXT];
    CAPS_TRY(caps_bench_add(&p, 2, y, err));
    CAPS_TRY(caps_bench_add(&p, 2, x, err));
    CAPS_TRY(caps_bench_add(&p, 2, w, err));
    CAPS_TRY(caps_bench_add(&p, 1, &out, err));
    CAPS_TRY(caps_bench_add(&p, 2, x, err));
    CAPS_TRY(caps_bench_add(&p, 2, w, err));
    CAPS_TRY(caps_bench_add(&p, 1, &out, err));
    CAPS_TRY(caps_bench_add(&p, 2, y, err));
    CAPS_TRY(caps_bench_add(&p, 2, y, err));
    snprintf(text, sizeof text, "%s forward B=%zu in=%zu out=%zu", layer->name, rows, in, out);
    CAPS_TRY(caps_bench_problem_measure(
        &p, linear_forward, "linear", text, algorithm, flops, 4 * (nx + nw + ny), err));
    snprintf(text, sizeof text, "%s backward B=%zu in=%zu out=%zu", layer->name, rows, in, out);
    CAPS_TRY(caps_bench_problem_measure(&p, linear_backward, "linear", text, algorithm, 2 * flops,
        4 * (2 * nx + 2 * nw + 2 * ny), err));
done:
    caps_bench_problem_release(&p);
    return status;
}

caps_status caps_bench_linear(const caps_bench *b, caps_error *err)
{
    return caps_bench_walk(b, CAPS_PROBLEM_LINEAR, linear_measure, err);
}
