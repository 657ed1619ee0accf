/* problem.c: see bench_problem.h. */
#include "bench_problem.h"

#include <stdio.h>
#include <stdlib.h>

#include "fail.h"
#include "rng.h"

void caps_bench_problem_release(caps_bench_problem *p)
{
    for (size_t i = 0; i < p->count; i++)
        caps_tensor_release(&p->t[i]);
    p->count = 0;
}

static caps_status problem_add(
    caps_bench_problem *p, int ndim, const size_t *shape, float least, caps_error *err)
{
    enum { DRAWN = 4096 }; /* the others repeat them */
    caps_runtime *rt = p->b->rt;
    caps_tensor *t = &p->t[p->count];
    caps_status status = caps_tensor_init(t, rt, CAPS_F32, ndim, shape, err);
    if (status != CAPS_OK)
        return status;
    p->count++;
    const size_t n = caps_tensor_count(t);
    float *host = malloc(n * sizeof *host);
    if (!host)
        return caps_fail(err, CAPS_ERR_MEMORY, "bench: out of memory");
    for (size_t i = 0; i < n; i++) {
        uint32_t words[4];
        if (i < DRAWN)
            caps_rng_words(words, 1, CAPS_RNG_TEST, 0, i);
        host[i] = i < DRAWN ? (float)words[0] / 4294967296.0f + least : host[i % DRAWN];
    }
    status = caps_tensor_upload(rt, t, host, err);
    free(host);
    return status;
}

caps_status caps_bench_add(caps_bench_problem *p, int ndim, const size_t *shape, caps_error *err)
{
    return problem_add(p, ndim, shape, -0.5f, err);
}

caps_status caps_bench_add_positive(
    caps_bench_problem *p, int ndim, const size_t *shape, caps_error *err)
{
    return problem_add(p, ndim, shape, 0, err);
}

caps_status caps_bench_add_integers(caps_bench_problem *p, size_t n, size_t below, caps_error *err)
{
    caps_tensor *t = &p->t[p->count];
    caps_status status = CAPS_OK;
    int32_t *host = malloc(n * sizeof *host);
    if (!host)
        return caps_fail(err, CAPS_ERR_MEMORY, "bench: out of memory");
    for (size_t i = 0; i < n; i++)
        host[i] = (int32_t)(i % below);
    CAPS_TRY(caps_tensor_init(t, p->b->rt, CAPS_I32, 1, &n, err));
    p->count++;
    CAPS_TRY(caps_tensor_upload(p->b->rt, t, host, err));
done:
    free(host);
    return status;
}

caps_status caps_bench_problem_measure(caps_bench_problem *p, caps_bench_run *run,
    const char *operation, const char *shape, const char *algorithm, double flops, double bytes,
    caps_error *err)
{
    const caps_bench *b = p->b;
    caps_bench_row row = {
        .operation = operation, .flops = flops, .bytes = bytes, .footprint = p->footprint};
    snprintf(row.shape, sizeof row.shape, "%s", shape);
    snprintf(row.algorithm, sizeof row.algorithm, "%s%s%s",
        caps_family_name(caps_runtime_family(b->rt)), algorithm ? "/" : "",
        algorithm ? algorithm : "");
    caps_status status = caps_bench_measure(&row, b->rt, run, p, b->seconds, err);
    if (status == CAPS_OK)
        b->each(b->user, &row);
    return status;
}

const char *caps_bench_prefix(char *text, const caps_bench_layer *layer, size_t layers)
{
    snprintf(
        text, CAPS_LAYER_NAME + 1, "%s%s", layers > 1 ? layer->name : "", layers > 1 ? " " : "");
    return text;
}

caps_status caps_bench_walk(
    const caps_bench *b, caps_problem_type type, caps_bench_layer_measure *measure, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < b->network->count; i++)
        if (b->network->layers[i].problem.type == type)
            CAPS_TRY(measure(b, &b->network->layers[i], err));
done:
    return status;
}
