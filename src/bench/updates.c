/* updates.c: what a step does over all parameters. */
#include <stdio.h>

#include "bench_problem.h"

#include "add.h"
#include "fail.h"
#include "not_finite.h"

/* ---- adam: t = w, m, v, g, flag ------------------------------------------------------------- */

static caps_status update_adam(void *context, caps_error *err)
{
    caps_bench_problem *p = context;
    p->adam.t++;
    return caps_adam_step(
        p->b->rt, &p->t[0], &p->t[1], &p->t[2], &p->t[4], &p->t[3], &p->adam, err);
}

caps_status caps_bench_adam(const caps_bench *b, caps_error *err)
{
    caps_bench_problem p = {.b = b, .adam = {1e-3f, 0.9f, 0.999f, 1e-8f, 0}};
    const size_t n = (size_t)b->network->info->parameters, one = 1;
    caps_status status = CAPS_OK;
    char text[CAPS_BENCH_SHAPE_TEXT];
    for (int t = 0; t < 4; t++)
        CAPS_TRY(caps_bench_add(&p, 1, &n, err));
    CAPS_TRY(caps_tensor_zero(b->rt, &p.t[2], err)); /* a mean of squares */
    CAPS_TRY(caps_tensor_init(&p.t[4], b->rt, CAPS_I32, 1, &one, err));
    p.count++;
    snprintf(text, sizeof text, "N=%zu", n);
    CAPS_TRY(caps_bench_problem_measure(
        &p, update_adam, "adam", text, NULL, 12 * (double)n, 28 * (double)n, err));
done:
    caps_bench_problem_release(&p);
    return status;
}

/* ---- sgd: t = w, g, flag, record, table ----------------------------------------------------- */

static caps_status update_sgd(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_sgd_step(p->b->rt, &p->t[0], &p->t[2], &p->t[1], 1e-3f, err);
}

static caps_status update_add(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_add(p->b->rt, &p->t[0], &p->t[1], err);
}

static caps_status update_finite(void *context, caps_error *err)
{
    const caps_bench_problem *p = context;
    return caps_not_finite(p->b->rt, &p->t[3], &p->t[4], p->t[1].buffer, 0, 1, 1, true, err);
}

/* Plain gradient descent; the accumulation of gradients over micro-batches; the search for the
 * first tensor that is not finite. */
caps_status caps_bench_sgd(const caps_bench *b, caps_error *err)
{
    caps_bench_problem p = {.b = b};
    const size_t n = (size_t)b->network->info->parameters;
    const caps_not_finite_row row = {.count = n};
    int32_t packed[CAPS_NOT_FINITE_ROW];
    caps_status status;
    char text[CAPS_BENCH_SHAPE_TEXT];
    CAPS_TRY(caps_bench_add(&p, 1, &n, err));
    CAPS_TRY(caps_bench_add(&p, 1, &n, err));
    CAPS_TRY(caps_bench_add_integers(&p, 1, 1, err));
    CAPS_TRY(caps_bench_add_integers(&p, CAPS_NOT_FINITE_RECORD, 1, err));
    CAPS_TRY(caps_bench_add_integers(&p, CAPS_NOT_FINITE_ROW, 1, err));
    p.t[4].ndim = 2;
    p.t[4].shape[0] = 1;
    p.t[4].shape[1] = CAPS_NOT_FINITE_ROW;
    caps_not_finite_pack(packed, &row);
    CAPS_TRY(caps_tensor_upload(b->rt, &p.t[4], packed, err));
    snprintf(text, sizeof text, "N=%zu", n);
    CAPS_TRY(caps_bench_problem_measure(
        &p, update_sgd, "sgd", text, NULL, 2 * (double)n, 12 * (double)n, err));
    snprintf(text, sizeof text, "add N=%zu", n);
    CAPS_TRY(caps_bench_problem_measure(
        &p, update_add, "sgd", text, NULL, (double)n, 12 * (double)n, err));
    snprintf(text, sizeof text, "finite N=%zu", n);
    CAPS_TRY(
        caps_bench_problem_measure(&p, update_finite, "sgd", text, NULL, 0, 4 * (double)n, err));
done:
    caps_bench_problem_release(&p);
    return status;
}
