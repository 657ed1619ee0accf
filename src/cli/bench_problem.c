/* bench_problem.c: see bench_problem.h. */
#include "bench_problem.h"

#include <stdio.h>

void caps_bench_problem_release(caps_bench_problem *s)
{
    for (size_t i = 0; i < s->count; i++)
        caps_tensor_release(&s->t[i]);
    s->count = 0;
}

caps_status caps_bench_add(caps_bench_problem *s, int ndim, const size_t *shape, caps_error *err)
{
    caps_status status = caps_bench_fill(&s->t[s->count], s->b->rt, ndim, shape, err);
    if (status == CAPS_OK)
        s->count++;
    return status;
}

caps_status caps_bench_problem_measure(caps_bench_problem *s, caps_bench_run *run,
    const char *operation, const char *shape, const char *algorithm, double flops, double bytes,
    caps_error *err)
{
    caps_bench_row row = {
        .operation = operation, .flops = flops, .bytes = bytes, .footprint = s->footprint};
    snprintf(row.shape, sizeof row.shape, "%s", shape);
    return caps_bench_row_make(s->b, &row, algorithm, run, s, err);
}
