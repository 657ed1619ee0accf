/* bench_layers.c: the operations around products, convolutions and capsules, at the shapes that a
 * network has. None of them is large; a network has them all. */
#include <stdio.h>
#include <stdlib.h>

#include "bench_problem.h"

#include "add.h"
#include "fail.h"
#include "not_finite.h"

typedef caps_bench_problem subject;

/* int32 [n]: 0, 1, .. modulo `below`. */
static caps_status add_numbers(subject *s, size_t n, size_t below, caps_error *err)
{
    caps_tensor *t = &s->t[s->count];
    caps_status status = CAPS_OK;
    int32_t *host = malloc(n * sizeof *host);
    if (!host)
        return caps_fail(err, CAPS_ERR_MEMORY, "bench: out of memory");
    for (size_t i = 0; i < n; i++)
        host[i] = (int32_t)(i % below);
    CAPS_TRY(caps_tensor_init(t, s->b->rt, CAPS_I32, 1, &n, err));
    s->count++;
    CAPS_TRY(caps_tensor_upload(s->b->rt, t, host, err));
done:
    free(host);
    return status;
}

/* ---- bias and activation: t = y, x, bias, dx, dbias, dy -------------------------------------- */

static caps_status run_bias_forward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_bias_act_forward(s->b->rt, &s->t[0], &s->t[1], &s->t[2], s->act, err);
}

static caps_status run_bias_backward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_bias_act_backward(s->b->rt, &s->t[3], &s->t[4], &s->t[5], &s->t[0], s->act, err);
}

/* As the convolutions have it where their algorithm does not apply it on the way. */
static caps_status bias(const caps_bench *b, const char *name, size_t channels, size_t pixels,
    caps_activation act, caps_error *err)
{
    subject s = {.b = b, .act = act};
    const size_t shape[] = {b->batch, channels, pixels};
    const double n = (double)(b->batch * channels) * (double)pixels;
    const double flops = act == CAPS_ACT_NONE ? 1 : 2, arrays = act == CAPS_ACT_NONE ? 2 : 3;
    caps_status status;
    char text[112];
    CAPS_TRY(caps_bench_add(&s, 3, shape, err));
    CAPS_TRY(caps_bench_add(&s, 3, shape, err));
    CAPS_TRY(caps_bench_add(&s, 1, &channels, err));
    CAPS_TRY(caps_bench_add(&s, 3, shape, err));
    CAPS_TRY(caps_bench_add(&s, 1, &channels, err));
    CAPS_TRY(caps_bench_add(&s, 3, shape, err));
    snprintf(text, sizeof text, "%s forward B=%zu C=%zu S=%zu", name, b->batch, channels, pixels);
    CAPS_TRY(caps_bench_problem_measure(
        &s, run_bias_forward, "bias", text, NULL, flops * n, 8 * n, err));
    snprintf(text, sizeof text, "%s backward B=%zu C=%zu S=%zu", name, b->batch, channels, pixels);
    CAPS_TRY(caps_bench_problem_measure(
        &s, run_bias_backward, "bias", text, NULL, flops * n, 4 * arrays * n, err));
done:
    caps_bench_problem_release(&s);
    return status;
}

caps_status caps_bench_bias(const caps_bench *b, caps_error *err)
{
    const caps_model_spec *p = b->spec;
    const caps_model_sizes *z = b->sizes;
    caps_status status;
    CAPS_TRY(bias(b, "conv1", p->conv1.channels, z->h1 * z->w1, CAPS_ACT_RELU, err));
    CAPS_TRY(
        bias(b, "primary", p->primary.types * p->primary.dim, z->h2 * z->w2, CAPS_ACT_NONE, err));
done:
    return status;
}

/* ---- linear: t = y, x, w, bias, dx, dw, dbias, dz, dy ---------------------------------------- */

static caps_status run_linear_forward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_linear_forward(s->b->rt, &s->t[0], &s->t[1], &s->t[2], &s->t[3], s->act, err);
}

static caps_status run_linear_backward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_linear_backward(s->b->rt, &s->t[4], &s->t[5], &s->t[6], &s->t[7], &s->t[8],
        &s->t[0], &s->t[1], &s->t[2], s->act, err);
}

static caps_status linear(const caps_bench *b, const char *name, size_t in, size_t out,
    caps_activation act, caps_error *err)
{
    subject s = {.b = b, .act = act};
    const size_t x[] = {b->batch, in}, w[] = {out, in}, y[] = {b->batch, out};
    const caps_gemm_shape product = {.trans_b = true,
        .m = b->batch,
        .n = out,
        .k = in,
        .lda = in,
        .ldb = in,
        .ldc = out,
        .alpha = 1,
        .count = 1};
    const char *algorithm = caps_gemm_algorithm(b->rt, &product);
    const double nx = (double)b->batch * (double)in, ny = (double)b->batch * (double)out;
    const double nw = (double)in * (double)out, flops = 2 * nx * (double)out;
    caps_status status;
    char text[112];
    CAPS_TRY(caps_bench_add(&s, 2, y, err));
    CAPS_TRY(caps_bench_add(&s, 2, x, err));
    CAPS_TRY(caps_bench_add(&s, 2, w, err));
    CAPS_TRY(caps_bench_add(&s, 1, &out, err));
    CAPS_TRY(caps_bench_add(&s, 2, x, err));
    CAPS_TRY(caps_bench_add(&s, 2, w, err));
    CAPS_TRY(caps_bench_add(&s, 1, &out, err));
    CAPS_TRY(caps_bench_add(&s, 2, y, err));
    CAPS_TRY(caps_bench_add(&s, 2, y, err));
    snprintf(text, sizeof text, "%s forward B=%zu in=%zu out=%zu", name, b->batch, in, out);
    CAPS_TRY(caps_bench_problem_measure(
        &s, run_linear_forward, "linear", text, algorithm, flops, 4 * (nx + nw + ny), err));
    snprintf(text, sizeof text, "%s backward B=%zu in=%zu out=%zu", name, b->batch, in, out);
    CAPS_TRY(caps_bench_problem_measure(&s, run_linear_backward, "linear", text, algorithm,
        2 * flops, 4 * (2 * nx + 2 * nw + 2 * ny), err));
done:
    caps_bench_problem_release(&s);
    return status;
}

caps_status caps_bench_linear(const caps_bench *b, caps_error *err)
{
    const caps_model_spec *p = b->spec;
    size_t in = p->classes * p->class_caps.dim;
    caps_status status = CAPS_OK;
    for (size_t l = 0; p->has_decoder && l <= p->decoder_hidden_count; l++) {
        const bool last = l == p->decoder_hidden_count;
        const size_t out = last ? b->sizes->pixels : p->decoder_hidden[l];
        char name[32];
        snprintf(name, sizeof name, "fc%zu", l + 1);
        CAPS_TRY(linear(b, name, in, out, last ? CAPS_ACT_SIGMOID : CAPS_ACT_RELU, err));
        in = out;
    }
done:
    return status;
}

/* ---- group: t = u, z ------------------------------------------------------------------------- */

static caps_status run_group_forward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_group_forward(s->b->rt, &s->t[0], &s->t[1], err);
}

static caps_status run_group_backward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_group_backward(s->b->rt, &s->t[1], &s->t[0], err);
}

caps_status caps_bench_group(const caps_bench *b, caps_error *err)
{
    subject s = {.b = b};
    const size_t dim = b->spec->primary.dim, types = b->spec->primary.types;
    const size_t u[] = {b->batch, b->sizes->i, dim};
    const size_t z[] = {b->batch, types * dim, b->sizes->h2, b->sizes->w2};
    const double n = (double)(b->batch * b->sizes->i) * (double)dim;
    caps_status status;
    char text[112];
    CAPS_TRY(caps_bench_add(&s, 3, u, err));
    CAPS_TRY(caps_bench_add(&s, 4, z, err));
    snprintf(
        text, sizeof text, "forward B=%zu T=%zu K=%zu %zux%zu", b->batch, types, dim, z[2], z[3]);
    CAPS_TRY(caps_bench_problem_measure(&s, run_group_forward, "group", text, NULL, 0, 8 * n, err));
    snprintf(
        text, sizeof text, "backward B=%zu T=%zu K=%zu %zux%zu", b->batch, types, dim, z[2], z[3]);
    CAPS_TRY(
        caps_bench_problem_measure(&s, run_group_backward, "group", text, NULL, 0, 8 * n, err));
done:
    caps_bench_problem_release(&s);
    return status;
}

/* ---- losses: t = v, lengths, labels, loss, dv, masked, best, totals, sse --------------------- */

static caps_status run_lengths(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_lengths_forward(s->b->rt, &s->t[1], &s->t[0], err);
}

static caps_status run_margin_forward(void *context, caps_error *err)
{
    const subject *s = context;
    const caps_margin margin = CAPS_MARGIN_DEFAULT;
    return caps_margin_forward(s->b->rt, &s->t[3], &s->t[1], &s->t[2], &margin, err);
}

static caps_status run_margin_backward(void *context, caps_error *err)
{
    const subject *s = context;
    const caps_margin margin = CAPS_MARGIN_DEFAULT;
    return caps_margin_backward(
        s->b->rt, &s->t[4], &s->t[0], &s->t[1], &s->t[2], &margin, 0.01f, err);
}

static caps_status run_argmax(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_argmax(s->b->rt, &s->t[6], &s->t[1], err);
}

static caps_status run_mask_forward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_mask_forward(s->b->rt, &s->t[5], &s->t[0], &s->t[2], err);
}

static caps_status run_mask_backward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_mask_backward(s->b->rt, &s->t[4], &s->t[5], &s->t[2], err);
}

static caps_status run_totals(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_totals_add(s->b->rt, &s->t[7], &s->t[3], &s->t[8], &s->t[6], &s->t[2], err);
}

static caps_status capsule_losses(const caps_bench *b, caps_error *err)
{
    static const struct {
        const char *name;
        caps_bench_run *run;
        double per_capsule, per_number; /* operations */
        double arrays, words;           /* floats: arrays of [B,J,D], words of [B,J] */
    } rows[] = {
        {"lengths", run_lengths, 1, 2, 1, 1},
        {"margin forward", run_margin_forward, 5, 0, 0, 1},
        {"margin backward", run_margin_backward, 5, 1, 2, 1},
        {"argmax", run_argmax, 1, 0, 0, 1},
        {"mask forward", run_mask_forward, 0, 0, 1, 1}, /* one capsule of J is read */
        {"mask backward", run_mask_backward, 0, 0, 0, 3},
        {"totals", run_totals, 0, 0, 0, 0},
    };
    subject s = {.b = b};
    const size_t n = b->batch, j = b->spec->classes, d = b->spec->class_caps.dim, three = 3;
    const size_t v[] = {n, j, d}, lengths[] = {n, j}, masked[] = {n, j * d};
    caps_status status;
    CAPS_TRY(caps_bench_add(&s, 3, v, err));
    CAPS_TRY(caps_bench_add(&s, 2, lengths, err));
    CAPS_TRY(add_numbers(&s, n, j, err));
    CAPS_TRY(caps_bench_add(&s, 1, &n, err));
    CAPS_TRY(caps_bench_add(&s, 3, v, err));
    CAPS_TRY(caps_bench_add(&s, 2, masked, err));
    CAPS_TRY(add_numbers(&s, n, j, err));
    CAPS_TRY(caps_bench_add(&s, 1, &three, err));
    CAPS_TRY(caps_bench_add(&s, 1, &n, err));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const double capsules = (double)n * (double)j, numbers = capsules * (double)d;
        char text[112];
        snprintf(text, sizeof text, "%s B=%zu J=%zu D=%zu", rows[i].name, n, j, d);
        CAPS_TRY(caps_bench_problem_measure(&s, rows[i].run, "losses", text, NULL,
            rows[i].per_capsule * capsules + rows[i].per_number * numbers + 3 * (double)n,
            4 * (rows[i].arrays * numbers + rows[i].words * capsules + 4 * (double)n), err));
    }
done:
    caps_bench_problem_release(&s);
    return status;
}

/* t = y, x, sse, dy */
static caps_status run_sse_forward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_sse_forward(s->b->rt, &s->t[2], &s->t[0], &s->t[1], err);
}

static caps_status run_sse_backward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_sse_backward(s->b->rt, &s->t[3], &s->t[0], &s->t[1], 5e-6f, err);
}

static caps_status reconstruction_loss(const caps_bench *b, caps_error *err)
{
    subject s = {.b = b};
    const size_t shape[] = {b->batch, b->sizes->pixels};
    const double n = (double)shape[0] * (double)shape[1];
    caps_status status;
    char text[112];
    CAPS_TRY(caps_bench_add(&s, 2, shape, err));
    CAPS_TRY(caps_bench_add(&s, 2, shape, err));
    CAPS_TRY(caps_bench_add(&s, 1, shape, err));
    CAPS_TRY(caps_bench_add(&s, 2, shape, err));
    snprintf(text, sizeof text, "sse forward B=%zu P=%zu", shape[0], shape[1]);
    CAPS_TRY(
        caps_bench_problem_measure(&s, run_sse_forward, "losses", text, NULL, 3 * n, 8 * n, err));
    snprintf(text, sizeof text, "sse backward B=%zu P=%zu", shape[0], shape[1]);
    CAPS_TRY(
        caps_bench_problem_measure(&s, run_sse_backward, "losses", text, NULL, 2 * n, 12 * n, err));
done:
    caps_bench_problem_release(&s);
    return status;
}

caps_status caps_bench_losses(const caps_bench *b, caps_error *err)
{
    caps_status status = capsule_losses(b, err);
    if (status == CAPS_OK && b->spec->has_decoder)
        status = reconstruction_loss(b, err);
    return status;
}

/* ---- over all parameters: t = w, g, flag, record, table -------------------------------------- */

static caps_status run_sgd(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_sgd_step(s->b->rt, &s->t[0], &s->t[2], &s->t[1], 1e-3f, err);
}

static caps_status run_add(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_add(s->b->rt, &s->t[0], &s->t[1], err);
}

static caps_status run_finite(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_not_finite(s->b->rt, &s->t[3], &s->t[4], s->t[1].buffer, 0, 1, 1, true, err);
}

/* Plain descent; the sum of gradients of a batch in parts; the look for what is not finite. */
caps_status caps_bench_sgd(const caps_bench *b, caps_error *err)
{
    subject s = {.b = b};
    const size_t n = (size_t)b->sizes->parameters;
    const caps_not_finite_row row = {.count = n};
    int32_t packed[CAPS_NOT_FINITE_ROW];
    caps_status status;
    char text[112];
    CAPS_TRY(caps_bench_add(&s, 1, &n, err));
    CAPS_TRY(caps_bench_add(&s, 1, &n, err));
    CAPS_TRY(add_numbers(&s, 1, 1, err));
    CAPS_TRY(add_numbers(&s, CAPS_NOT_FINITE_RECORD, 1, err));
    CAPS_TRY(add_numbers(&s, CAPS_NOT_FINITE_ROW, 1, err));
    s.t[4].ndim = 2;
    s.t[4].shape[0] = 1;
    s.t[4].shape[1] = CAPS_NOT_FINITE_ROW;
    caps_not_finite_pack(packed, &row);
    CAPS_TRY(caps_tensor_upload(b->rt, &s.t[4], packed, err));
    snprintf(text, sizeof text, "N=%zu", n);
    CAPS_TRY(caps_bench_problem_measure(
        &s, run_sgd, "sgd", text, NULL, 2 * (double)n, 12 * (double)n, err));
    snprintf(text, sizeof text, "add N=%zu", n);
    CAPS_TRY(
        caps_bench_problem_measure(&s, run_add, "sgd", text, NULL, (double)n, 12 * (double)n, err));
    snprintf(text, sizeof text, "finite N=%zu", n);
    CAPS_TRY(caps_bench_problem_measure(&s, run_finite, "sgd", text, NULL, 0, 4 * (double)n, err));
done:
    caps_bench_problem_release(&s);
    return status;
}
