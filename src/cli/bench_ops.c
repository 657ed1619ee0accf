/* bench_ops.c: single operations at the shapes that a network has. */
#include <stdio.h>
#include <string.h>

#include "bench_problem.h"

#include "conv.h"
#include "fail.h"

#define MOST_BYTES   ((size_t)4 << 30)  /* of the others */
#define COLUMN_BYTES ((size_t)64 << 20) /* of im2col, as models have it */

typedef caps_bench_problem subject;

/* ---- gemm ----------------------------------------------------------------------------------- */

static caps_status run_gemm(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_gemm(s->b->rt, &s->t[0], &s->t[1], &s->t[2], &s->gemm, err);
}

static caps_status gemm(const caps_bench *b, const char *what, bool trans_a, bool trans_b, size_t m,
    size_t n, size_t k, caps_error *err)
{
    subject s = {.b = b};
    caps_status status;
    char shape[112];
    s.gemm = (caps_gemm_shape){.trans_a = trans_a,
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
    CAPS_TRY(caps_bench_add(&s, 2, (size_t[]){m, n}, err));
    CAPS_TRY(caps_bench_add(&s, 2, (size_t[]){m, k}, err));
    CAPS_TRY(caps_bench_add(&s, 2, (size_t[]){k, n}, err));
    CAPS_TRY(caps_bench_problem_measure(&s, run_gemm, "gemm", shape,
        caps_gemm_algorithm(b->rt, &s.gemm), 2.0 * (double)m * (double)n * (double)k,
        4.0 * ((double)m * (double)k + (double)k * (double)n + (double)m * (double)n), err));
done:
    caps_bench_problem_release(&s);
    return status;
}

/* Shapes of input and weight of the two convolutions. */
typedef struct layers {
    size_t x1[4], w1[4], x2[4], w2[4];
} layers;

static layers layers_of(const caps_bench *b)
{
    const caps_model_spec *p = b->spec;
    return (layers){
        .x1 = {b->batch, p->input[0], p->input[1], p->input[2]},
        .w1 = {p->conv1.channels, p->input[0], p->conv1.kernel, p->conv1.kernel},
        .x2 = {b->batch, p->conv1.channels, b->sizes->h1, b->sizes->w1},
        .w2 = {p->primary.types * p->primary.dim, p->conv1.channels, p->primary.kernel,
            p->primary.kernel},
    };
}

/* The columns of as many images as a convolution takes at once. */
static size_t chunk_columns(const size_t x_shape[4], const size_t w_shape[4], size_t stride)
{
    const caps_conv2d conv = {.stride = stride};
    const size_t pixels = caps_conv2d_output(x_shape[2], w_shape[2], stride, 0) *
                          caps_conv2d_output(x_shape[3], w_shape[3], stride, 0);
    const size_t each = (w_shape[1] * w_shape[2] * w_shape[3] + w_shape[0]) * pixels;
    return caps_conv2d_workspace(x_shape, w_shape, &conv, true, COLUMN_BYTES) / each * pixels;
}

caps_status caps_bench_gemm(const caps_bench *b, caps_error *err)
{
    if (b->shape)
        return gemm(b, "given", b->shape->trans_a, b->shape->trans_b, b->shape->numbers[0],
            b->shape->numbers[1], b->shape->numbers[2], err);
    const caps_model_spec *p = b->spec;
    const caps_model_sizes *z = b->sizes;
    const layers c = layers_of(b);
    const size_t taps1 = c.w1[1] * c.w1[2] * c.w1[3], taps2 = c.w2[1] * c.w2[2] * c.w2[3];
    const size_t n1 = chunk_columns(c.x1, c.w1, p->conv1.stride);
    const size_t n2 = chunk_columns(c.x2, c.w2, p->primary.stride);
    caps_status status;
    CAPS_TRY(gemm(b, "conv1 forward", false, false, c.w1[0], n1, taps1, err));
    CAPS_TRY(gemm(b, "conv1 dw", false, true, c.w1[0], taps1, n1, err));
    CAPS_TRY(gemm(b, "primary forward", false, false, c.w2[0], n2, taps2, err));
    CAPS_TRY(gemm(b, "primary dw", false, true, c.w2[0], taps2, n2, err));
    CAPS_TRY(gemm(b, "primary dx", true, false, taps2, n2, c.w2[0], err));
    size_t in = p->classes * p->class_caps.dim;
    for (size_t l = 0; p->has_decoder && l <= p->decoder_hidden_count; l++) {
        const size_t out = l < p->decoder_hidden_count ? p->decoder_hidden[l] : z->pixels;
        char what[32];
        snprintf(what, sizeof what, "fc%zu forward", l + 1);
        CAPS_TRY(gemm(b, what, false, true, b->batch, out, in, err));
        snprintf(what, sizeof what, "fc%zu dw", l + 1);
        CAPS_TRY(gemm(b, what, true, false, out, in, b->batch, err));
        snprintf(what, sizeof what, "fc%zu dx", l + 1);
        CAPS_TRY(gemm(b, what, false, false, b->batch, in, out, err));
        in = out;
    }
done:
    return status;
}

/* ---- conv: t = y, x, w, bias, workspace, dx, dw, dbias, dy ----------------------------------- */

static caps_status run_conv_forward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_conv2d_forward(
        s->b->rt, &s->t[0], &s->t[1], &s->t[2], &s->t[3], &s->conv, &s->t[4], err);
}

static caps_status run_conv_backward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_conv2d_backward(s->b->rt, s->needs_input_gradient ? &s->t[5] : NULL, &s->t[6], &s->t[7], &s->t[8],
        &s->t[0], &s->t[1], &s->t[2], &s->conv, &s->t[4], err);
}

/* By one algorithm. */
static caps_status convolve(const caps_bench *b, const char *name, const size_t x[4],
    const size_t w[4], const caps_conv2d *p, bool needs_input_gradient, caps_error *err)
{
    subject s = {.b = b, .conv = *p, .needs_input_gradient = needs_input_gradient};
    const size_t oh = caps_conv2d_output(x[2], w[2], p->stride, p->padding);
    const size_t ow = caps_conv2d_output(x[3], w[3], p->stride, p->padding);
    const size_t y[] = {x[0], w[0], oh, ow};
    const size_t room = caps_conv2d_workspace(
        x, w, p, true, p->algorithm == CAPS_CONV_IM2COL ? COLUMN_BYTES : MOST_BYTES);
    const double taps = (double)(w[1] * w[2] * w[3]), nw = (double)w[0] * taps;
    const double ny = (double)(x[0] * w[0]) * (double)(oh * ow);
    const double nx = (double)(x[0] * x[1]) * (double)(x[2] * x[3]);
    const double flops = 2 * ny * taps;
    const char *algorithm = caps_conv_algorithm_name(p->algorithm);
    caps_status status;
    char shape[112], sizes[80], padding[32] = "";
    if (p->padding)
        snprintf(padding, sizeof padding, " pad=%zu", p->padding);
    snprintf(sizes, sizeof sizes, "B=%zu C=%zu %zux%zu M=%zu k=%zu stride=%zu%s", x[0], x[1], x[2],
        x[3], w[0], w[2], p->stride, padding);
    CAPS_TRY(caps_bench_add(&s, 4, y, err));
    CAPS_TRY(caps_bench_add(&s, 4, x, err));
    CAPS_TRY(caps_bench_add(&s, 4, w, err));
    CAPS_TRY(caps_bench_add(&s, 1, w, err));
    CAPS_TRY(caps_bench_add(&s, 1, &room, err));
    CAPS_TRY(caps_bench_add(&s, 4, x, err));
    CAPS_TRY(caps_bench_add(&s, 4, w, err));
    CAPS_TRY(caps_bench_add(&s, 1, w, err));
    CAPS_TRY(caps_bench_add(&s, 4, y, err));
    snprintf(shape, sizeof shape, "%s forward %s", name, sizes);
    CAPS_TRY(caps_bench_problem_measure(
        &s, run_conv_forward, "conv", shape, algorithm, flops, 4 * (nx + nw + ny), err));
    snprintf(shape, sizeof shape, "%s backward %s", name, sizes);
    CAPS_TRY(caps_bench_problem_measure(&s, run_conv_backward, "conv", shape, algorithm,
        (needs_input_gradient ? 2 : 1) * flops,
        4 * (nx * (needs_input_gradient ? 2 : 1) + 2 * nw + ny * (p->act == CAPS_ACT_NONE ? 1 : 2)), err));
done:
    caps_bench_problem_release(&s);
    return status;
}

static bool holds(const caps_conv_algorithm *list, size_t n, caps_conv_algorithm what)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == what)
            return true;
    return false;
}

/* By every algorithm that can serve, or the one that is wanted; where the shape is the user's,
 * those that know no dx go without it. Flops are those of the direct sum for all of them: more of
 * them in a second than the device's peak means fewer were needed. */
static caps_status conv(const caps_bench *b, const char *name, const size_t x[4], const size_t w[4],
    const caps_conv2d *p, bool needs_input_gradient, caps_error *err)
{
    caps_conv_problem problem = {
        .conv = *p, .backward = true, .needs_input_gradient = needs_input_gradient, .limit_bytes = MOST_BYTES};
    caps_conv_algorithm can[8], full[8], requested = CAPS_CONV_AUTO;
    caps_status status = CAPS_OK;
    memcpy(problem.x_shape, x, sizeof problem.x_shape);
    memcpy(problem.w_shape, w, sizeof problem.w_shape);
    if (b->conv && !caps_conv_algorithm_find(&requested, b->conv))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "bench conv: algorithm '%s' is unknown, need auto, im2col, direct, winograd or "
            "toom-cook",
            b->conv);
    const size_t n_full = caps_conv_candidates(b->rt, &problem, full);
    problem.needs_input_gradient = needs_input_gradient && !b->shape;
    const size_t n = caps_conv_candidates(b->rt, &problem, can);
    if (b->shape && requested != CAPS_CONV_AUTO && !holds(can, n, requested))
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "bench conv: %s cannot serve the shape that is given", b->conv);
    for (size_t i = 0; i < n; i++) {
        caps_conv2d by = *p;
        by.algorithm = can[i];
        if (requested == CAPS_CONV_AUTO || requested == can[i])
            CAPS_TRY(convolve(b, name, x, w, &by, needs_input_gradient && holds(full, n_full, can[i]), err));
    }
done:
    return status;
}

caps_status caps_bench_conv(const caps_bench *b, caps_error *err)
{
    const caps_model_spec *p = b->spec;
    if (b->shape) {
        const size_t *n = b->shape->numbers;
        const size_t x[] = {n[0], n[1], n[2], n[3]}, w[] = {n[4], n[1], n[5], n[5]};
        const caps_conv2d given = {.stride = n[6], .padding = n[7], .act = CAPS_ACT_NONE};
        return conv(b, "given", x, w, &given, true, err);
    }
    const layers c = layers_of(b);
    const caps_conv2d conv1 = {.stride = p->conv1.stride, .act = CAPS_ACT_RELU};
    const caps_conv2d primary = {.stride = p->primary.stride, .act = CAPS_ACT_NONE};
    caps_status status;
    CAPS_TRY(conv(b, "conv1", c.x1, c.w1, &conv1, false, err));
    CAPS_TRY(conv(b, "primary", c.x2, c.w2, &primary, true, err));
done:
    return status;
}

/* ---- squash: t = v, s, ds, dv --------------------------------------------------------------- */

static caps_status run_squash_forward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_squash_forward(s->b->rt, &s->t[0], &s->t[1], CAPS_SQUASH_PAPER, err);
}

static caps_status run_squash_backward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_squash_backward(s->b->rt, &s->t[2], &s->t[3], &s->t[1], CAPS_SQUASH_PAPER, err);
}

caps_status caps_bench_squash(const caps_bench *b, caps_error *err)
{
    subject s = {.b = b};
    const size_t shape[] = {b->batch, b->sizes->i, b->spec->primary.dim};
    const double n = (double)(shape[0] * shape[1]) * (double)shape[2];
    caps_status status = CAPS_OK;
    char text[112];
    for (int t = 0; t < 4; t++)
        CAPS_TRY(caps_bench_add(&s, 3, shape, err));
    snprintf(text, sizeof text, "forward B=%zu I=%zu K=%zu", shape[0], shape[1], shape[2]);
    CAPS_TRY(caps_bench_problem_measure(
        &s, run_squash_forward, "squash", text, NULL, 3 * n, 8 * n, err));
    snprintf(text, sizeof text, "backward B=%zu I=%zu K=%zu", shape[0], shape[1], shape[2]);
    CAPS_TRY(caps_bench_problem_measure(
        &s, run_squash_backward, "squash", text, NULL, 7 * n, 12 * n, err));
done:
    caps_bench_problem_release(&s);
    return status;
}

/* ---- votes: t = votes, u, w, du, dw, dvotes ------------------------------------------------- */

static caps_status run_votes_forward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_votes_forward(s->b->rt, &s->t[0], &s->t[1], &s->t[2], err);
}

static caps_status run_votes_backward(void *context, caps_error *err)
{
    const subject *s = context;
    return caps_votes_backward(s->b->rt, &s->t[3], &s->t[4], &s->t[5], &s->t[1], &s->t[2], err);
}

caps_status caps_bench_votes(const caps_bench *b, caps_error *err)
{
    subject s = {.b = b};
    const size_t i = b->sizes->i, j = b->spec->classes, d = b->spec->class_caps.dim,
                 k = b->spec->primary.dim;
    const size_t votes[] = {b->batch, i, j, d}, u[] = {b->batch, i, k}, w[] = {i, j, d, k};
    const double nv = (double)(b->batch * i) * (double)(j * d), nu = (double)(b->batch * i * k);
    const double nw = (double)(i * j) * (double)(d * k), flops = 2 * nv * (double)k;
    caps_status status;
    char text[112];
    CAPS_TRY(caps_bench_add(&s, 4, votes, err));
    CAPS_TRY(caps_bench_add(&s, 3, u, err));
    CAPS_TRY(caps_bench_add(&s, 4, w, err));
    CAPS_TRY(caps_bench_add(&s, 3, u, err));
    CAPS_TRY(caps_bench_add(&s, 4, w, err));
    CAPS_TRY(caps_bench_add(&s, 4, votes, err));
    snprintf(text, sizeof text, "forward B=%zu I=%zu J=%zu D=%zu K=%zu", b->batch, i, j, d, k);
    CAPS_TRY(caps_bench_problem_measure(
        &s, run_votes_forward, "votes", text, NULL, flops, 4 * (nv + nu + nw), err));
    snprintf(text, sizeof text, "backward B=%zu I=%zu J=%zu D=%zu K=%zu", b->batch, i, j, d, k);
    CAPS_TRY(caps_bench_problem_measure(
        &s, run_votes_backward, "votes", text, NULL, 2 * flops, 4 * (nv + 2 * nu + 2 * nw), err));
done:
    caps_bench_problem_release(&s);
    return status;
}

/* ---- class capsules: t = v, u, w, dv, du, dw, couplings, s, v_t, workspace, votes ------------ */

static caps_status run_class_caps_forward(void *context, caps_error *err)
{
    subject *s = context;
    return caps_class_caps_forward(s->b->rt, &s->t[0], &s->class_state, &s->t[1], &s->t[2], NULL,
        &s->class_caps, &s->t[9], err);
}

static caps_status run_class_caps_backward(void *context, caps_error *err)
{
    subject *s = context;
    return caps_class_caps_backward(s->b->rt, &s->t[4], &s->t[5], NULL, &s->t[3], &s->class_state,
        &s->t[1], &s->t[2], &s->class_caps, &s->t[9], err);
}

/* Votes and routing together. Counts are those of the equations with votes formed once. */
static caps_status class_caps(const caps_bench *b, caps_routing_algorithm variant, caps_error *err)
{
    subject s = {.b = b};
    const size_t n = b->batch, i = b->sizes->i, j = b->spec->classes, d = b->spec->class_caps.dim;
    const size_t k = b->spec->primary.dim, r = b->spec->class_caps.iterations;
    const size_t u[] = {n, i, k}, w[] = {i, j, d, k}, v[] = {n, j, d};
    const size_t c_shape[] = {r, n, i, j}, s_shape[] = {r, n, j, d};
    s.class_caps = (caps_class_caps){
        n, i, j, d, k, {.iterations = r, .grad = b->spec->class_caps.routing_grad}, variant};
    const bool full = s.class_caps.routing.grad == CAPS_ROUTING_GRAD_FULL;
    const caps_class_caps_workspace room = caps_class_caps_workspace_of(b->rt, &s.class_caps, true);
    const double nv = (double)(n * i) * (double)(j * d), steps = full ? (double)r : 1;
    const double nu = (double)(n * i * k), nw = (double)(i * j) * (double)(d * k);
    const double nc = (double)r * (double)(n * i * j), form = 2 * nv * (double)k;
    const char *name = caps_routing_algorithm_name(variant);
    caps_status status;
    char text[112];
    CAPS_TRY(caps_bench_add(&s, 3, v, err));
    CAPS_TRY(caps_bench_add(&s, 3, u, err));
    CAPS_TRY(caps_bench_add(&s, 4, w, err));
    CAPS_TRY(caps_bench_add(&s, 3, v, err));
    CAPS_TRY(caps_bench_add(&s, 3, u, err));
    CAPS_TRY(caps_bench_add(&s, 4, w, err));
    CAPS_TRY(caps_bench_add(&s, 4, c_shape, err));
    CAPS_TRY(caps_bench_add(&s, 4, s_shape, err));
    CAPS_TRY(caps_bench_add(&s, 4, s_shape, err));
    CAPS_TRY(caps_bench_add(&s, 1, &room.workspace, err));
    s.class_state = (caps_class_caps_state){.couplings = s.t[6], .s = s.t[7], .v = s.t[8]};
    if (room.votes) {
        CAPS_TRY(caps_bench_add(&s, 1, &room.votes, err));
        s.class_state.votes = s.t[10];
    }
    snprintf(text, sizeof text, "class_caps forward B=%zu I=%zu J=%zu D=%zu K=%zu r=%zu", n, i, j,
        d, k, r);
    CAPS_TRY(caps_bench_problem_measure(&s, run_class_caps_forward, "routing", text, name,
        form + (4 * (double)r - 2) * nv, 4 * (nu + nw + nc), err));
    snprintf(text, sizeof text, "class_caps backward B=%zu I=%zu J=%zu D=%zu K=%zu r=%zu %s", n, i,
        j, d, k, r, full ? "full" : "last");
    CAPS_TRY(caps_bench_problem_measure(&s, run_class_caps_backward, "routing", text, name,
        2 * form + (4 * (steps - 1) + 2 * (2 * steps - 1)) * nv, 4 * (2 * nu + 2 * nw + nc), err));
done:
    caps_bench_problem_release(&s);
    return status;
}

/* ---- routing: t = v, votes, dvotes, dv, couplings, s, v_t, scratch -------------------------- */

static caps_status run_routing_forward(void *context, caps_error *err)
{
    subject *s = context;
    return caps_routing_forward(s->b->rt, &s->t[0], &s->state, &s->t[1], NULL, &s->routing, err);
}

static caps_status run_routing_backward(void *context, caps_error *err)
{
    subject *s = context;
    return caps_routing_backward(
        s->b->rt, &s->t[2], NULL, &s->t[3], &s->state, &s->t[1], &s->routing, err);
}

caps_status caps_bench_routing(const caps_bench *b, caps_error *err)
{
    subject s = {.b = b};
    const size_t n = b->batch, i = b->sizes->i, j = b->spec->classes, d = b->spec->class_caps.dim;
    const size_t r = b->spec->class_caps.iterations, votes[] = {n, i, j, d}, v[] = {n, j, d};
    const size_t c_shape[] = {r, n, i, j}, s_shape[] = {r, n, j, d};
    s.routing = (caps_routing){.iterations = r, .grad = b->spec->class_caps.routing_grad};
    const bool full = s.routing.grad == CAPS_ROUTING_GRAD_FULL;
    const size_t room = caps_routing_scratch(n, i, j, d, &s.routing);
    const double nv = (double)(n * i) * (double)(j * d), steps = full ? (double)r : 1;
    caps_status status;
    char text[112];
    CAPS_TRY(caps_bench_add(&s, 3, v, err));
    CAPS_TRY(caps_bench_add(&s, 4, votes, err));
    CAPS_TRY(caps_bench_add(&s, 4, votes, err));
    CAPS_TRY(caps_bench_add(&s, 3, v, err));
    CAPS_TRY(caps_bench_add(&s, 4, c_shape, err));
    CAPS_TRY(caps_bench_add(&s, 4, s_shape, err));
    CAPS_TRY(caps_bench_add(&s, 4, s_shape, err));
    CAPS_TRY(caps_bench_add(&s, 1, &room, err));
    s.state =
        (caps_routing_state){.couplings = s.t[4], .s = s.t[5], .v = s.t[6], .scratch = s.t[7]};
    s.footprint = 4 * nv; /* the same votes again and again */
    /* An iteration reads the votes once: logits (but the first) and sum. Backward: the votes once
     * for each iteration but the first that counts; then dvotes, 2 steps - 1 terms. */
    snprintf(text, sizeof text, "forward B=%zu I=%zu J=%zu D=%zu r=%zu", n, i, j, d, r);
    CAPS_TRY(caps_bench_problem_measure(&s, run_routing_forward, "routing", text, NULL,
        (4 * (double)r - 2) * nv, 4 * (double)r * nv, err));
    snprintf(text, sizeof text, "backward B=%zu I=%zu J=%zu D=%zu r=%zu %s", n, i, j, d, r,
        full ? "full" : "last");
    CAPS_TRY(caps_bench_problem_measure(&s, run_routing_backward, "routing", text, NULL,
        (4 * (steps - 1) + 2 * (2 * steps - 1)) * nv, 4 * steps * nv, err));
    CAPS_TRY(class_caps(b, CAPS_ROUTING_STORED, err));
    CAPS_TRY(class_caps(b, CAPS_ROUTING_FUSED, err));
done:
    caps_bench_problem_release(&s);
    return status;
}

/* ---- adam: t = w, m, v, g, flag ------------------------------------------------------------- */

static caps_status run_adam(void *context, caps_error *err)
{
    subject *s = context;
    s->adam.t++;
    return caps_adam_step(
        s->b->rt, &s->t[0], &s->t[1], &s->t[2], &s->t[4], &s->t[3], &s->adam, err);
}

caps_status caps_bench_adam(const caps_bench *b, caps_error *err)
{
    subject s = {.b = b, .adam = {1e-3f, 0.9f, 0.999f, 1e-8f, 0}};
    const size_t n = (size_t)b->sizes->parameters, one = 1;
    caps_status status = CAPS_OK;
    char text[112];
    for (int t = 0; t < 4; t++)
        CAPS_TRY(caps_bench_add(&s, 1, &n, err));
    CAPS_TRY(caps_tensor_zero(b->rt, &s.t[2], err)); /* a mean of squares */
    CAPS_TRY(caps_tensor_init(&s.t[4], b->rt, CAPS_I32, 1, &one, err));
    s.count++;
    snprintf(text, sizeof text, "N=%zu", n);
    CAPS_TRY(caps_bench_problem_measure(
        &s, run_adam, "adam", text, NULL, 12 * (double)n, 28 * (double)n, err));
done:
    caps_bench_problem_release(&s);
    return status;
}
