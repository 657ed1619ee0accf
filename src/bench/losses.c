/* losses.c: losses, and what makes and masks the capsules that they read. */
#include <stdio.h>

#include "bench_problem.h"

#include "fail.h"

/* ---- capsules: t = v, lengths, labels, loss, dv, masked, best, totals, sse ------------------ */

static caps_status losses_lengths(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_lengths_forward(p->b->rt, &p->t[1], &p->t[0], err);
}

static caps_status losses_margin_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    const caps_margin margin = CAPS_MARGIN_DEFAULT;
    return caps_margin_forward(p->b->rt, &p->t[3], &p->t[1], &p->t[2], &margin, err);
}

static caps_status losses_margin_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    const caps_margin margin = CAPS_MARGIN_DEFAULT;
    return caps_margin_backward(
        p->b->rt, &p->t[4], &p->t[0], &p->t[1], &p->t[2], &margin, 0.01f, err);
}

static caps_status losses_argmax(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_argmax(p->b->rt, &p->t[6], &p->t[1], err);
}

static caps_status losses_mask_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_mask_forward(p->b->rt, &p->t[5], &p->t[0], &p->t[2], err);
}

static caps_status losses_mask_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_mask_backward(p->b->rt, &p->t[4], &p->t[5], &p->t[2], err);
}

static caps_status losses_totals(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_totals_add(p->b->rt, &p->t[7], &p->t[3], &p->t[8], &p->t[6], &p->t[2], err);
}

typedef struct losses_row {
    const char *name;
    caps_bench_run *run;
    double per_class, per_number; /* operations */
    double arrays, words;         /* floats: arrays of [B,J,D], words of [B,J] */
} losses_row;

/* d: 0 where there are no capsules. */
static caps_status losses_rows(
    caps_bench_problem *p, const losses_row *rows, size_t count, size_t d, caps_error *err)
{
    const size_t b = p->b->batch, j = p->b->network->info->classes;
    const double n = (double)b, classes = n * (double)j, numbers = classes * (double)d;
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < count; i++) {
        char text[CAPS_BENCH_SHAPE_TEXT], dim[32] = "";
        if (d > 0)
            snprintf(dim, sizeof dim, " D=%zu", d);
        snprintf(text, sizeof text, "%s B=%zu J=%zu%s", rows[i].name, b, j, dim);
        CAPS_TRY(caps_bench_problem_measure(p, rows[i].run, "losses", text, NULL,
            rows[i].per_class * classes + rows[i].per_number * numbers + 3 * n,
            4 * (rows[i].arrays * numbers + rows[i].words * classes + 4 * n), err));
    }
done:
    return status;
}

static caps_status losses_of_capsules(const caps_bench *b, caps_error *err)
{
    static const losses_row rows[] = {
        {"lengths", losses_lengths, 1, 2, 1, 1},
        {"margin forward", losses_margin_forward, 5, 0, 0, 1},
        {"margin backward", losses_margin_backward, 5, 1, 2, 1},
        {"argmax", losses_argmax, 1, 0, 0, 1},
        {"mask forward", losses_mask_forward, 0, 0, 1, 1}, /* one capsule of J is read */
        {"mask backward", losses_mask_backward, 0, 0, 0, 3},
        {"totals", losses_totals, 0, 0, 0, 0},
    };
    caps_bench_problem p = {.b = b};
    const size_t n = b->batch, j = b->network->info->classes, d = b->network->info->dim, three = 3;
    const size_t v[] = {n, j, d}, lengths[] = {n, j}, masked[] = {n, j * d};
    caps_status status;
    CAPS_TRY(caps_bench_add(&p, 3, v, err));
    CAPS_TRY(caps_bench_add(&p, 2, lengths, err));
    CAPS_TRY(caps_bench_add_integers(&p, n, j, err));
    CAPS_TRY(caps_bench_add(&p, 1, &n, err));
    CAPS_TRY(caps_bench_add(&p, 3, v, err));
    CAPS_TRY(caps_bench_add(&p, 2, masked, err));
    CAPS_TRY(caps_bench_add_integers(&p, n, j, err));
    CAPS_TRY(caps_bench_add(&p, 1, &three, err));
    CAPS_TRY(caps_bench_add(&p, 1, &n, err));
    CAPS_TRY(losses_rows(&p, rows, sizeof rows / sizeof *rows, d, err));
done:
    caps_bench_problem_release(&p);
    return status;
}

/* ---- cross entropies: t = p, z, labels, loss, dz, (none), best, totals ------------------------ */

static caps_status losses_softmax(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_softmax_forward(p->b->rt, &p->t[0], &p->t[1], err);
}

static caps_status losses_entropy_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_cross_entropy_forward(p->b->rt, &p->t[3], &p->t[1], &p->t[2], err);
}

static caps_status losses_entropy_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_cross_entropy_backward(p->b->rt, &p->t[4], &p->t[0], &p->t[2], 0.01f, err);
}

static caps_status losses_sigmoid(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_sigmoid_forward(p->b->rt, &p->t[0], &p->t[1], err);
}

static caps_status losses_binary_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_binary_cross_entropy_forward(p->b->rt, &p->t[3], &p->t[1], &p->t[2], err);
}

static caps_status losses_binary_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_binary_cross_entropy_backward(p->b->rt, &p->t[4], &p->t[1], &p->t[2], 0.01f, err);
}

static caps_status losses_totals_without_sse(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_totals_add(p->b->rt, &p->t[7], &p->t[3], NULL, &p->t[6], &p->t[2], err);
}

static caps_status losses_of_logits(const caps_bench *b, caps_error *err)
{
    enum { ROWS = 5 };
    static const losses_row rows[2][ROWS] = {
        {
            {"softmax", losses_softmax, 4, 0, 0, 2},
            {"cross entropy forward", losses_entropy_forward, 3, 0, 0, 1},
            {"cross entropy backward", losses_entropy_backward, 2, 0, 0, 2},
            {"argmax", losses_argmax, 1, 0, 0, 1},
            {"totals", losses_totals_without_sse, 0, 0, 0, 0},
        },
        {
            {"sigmoid", losses_sigmoid, 4, 0, 0, 2},
            {"binary cross entropy forward", losses_binary_forward, 4, 0, 0, 1},
            {"binary cross entropy backward", losses_binary_backward, 2, 0, 0, 2},
            {"argmax", losses_argmax, 1, 0, 0, 1},
            {"totals", losses_totals_without_sse, 0, 0, 0, 0},
        },
    }; /* one label an image; several */
    caps_bench_problem p = {.b = b};
    const size_t n = b->batch, j = b->network->info->classes, three = 3, scores[] = {n, j};
    caps_status status;
    CAPS_TRY(caps_bench_add(&p, 2, scores, err));
    CAPS_TRY(caps_bench_add(&p, 2, scores, err));
    CAPS_TRY(caps_bench_add_integers(&p, n, j, err));
    CAPS_TRY(caps_bench_add(&p, 1, &n, err));
    CAPS_TRY(caps_bench_add(&p, 2, scores, err));
    CAPS_TRY(caps_bench_add(&p, 1, &n, err));
    CAPS_TRY(caps_bench_add_integers(&p, n, j, err));
    CAPS_TRY(caps_bench_add(&p, 1, &three, err));
    CAPS_TRY(losses_rows(&p, rows[b->network->info->labels > 1], ROWS, 0, err));
done:
    caps_bench_problem_release(&p);
    return status;
}

/* ---- reconstruction: t = y, x, sse, dy ------------------------------------------------------ */

static caps_status losses_sse_forward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_sse_forward(p->b->rt, &p->t[2], &p->t[0], &p->t[1], err);
}

static caps_status losses_sse_backward(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_sse_backward(p->b->rt, &p->t[3], &p->t[0], &p->t[1], 5e-6f, err);
}

static caps_status losses_of_decoder(const caps_bench *b, caps_error *err)
{
    caps_bench_problem p = {.b = b};
    const size_t shape[] = {b->batch, b->network->info->pixels};
    const double n = (double)shape[0] * (double)shape[1];
    caps_status status;
    char text[CAPS_BENCH_SHAPE_TEXT];
    CAPS_TRY(caps_bench_add(&p, 2, shape, err));
    CAPS_TRY(caps_bench_add(&p, 2, shape, err));
    CAPS_TRY(caps_bench_add(&p, 1, shape, err));
    CAPS_TRY(caps_bench_add(&p, 2, shape, err));
    snprintf(text, sizeof text, "sse forward B=%zu P=%zu", shape[0], shape[1]);
    CAPS_TRY(caps_bench_problem_measure(
        &p, losses_sse_forward, "losses", text, NULL, 3 * n, 8 * n, err));
    snprintf(text, sizeof text, "sse backward B=%zu P=%zu", shape[0], shape[1]);
    CAPS_TRY(caps_bench_problem_measure(
        &p, losses_sse_backward, "losses", text, NULL, 2 * n, 12 * n, err));
done:
    caps_bench_problem_release(&p);
    return status;
}

caps_status caps_bench_losses(const caps_bench *b, caps_error *err)
{
    caps_status status =
        b->network->info->dim > 0 ? losses_of_capsules(b, err) : losses_of_logits(b, err);
    if (status == CAPS_OK && b->network->info->has_decoder)
        status = losses_of_decoder(b, err);
    return status;
}
