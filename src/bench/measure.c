/* measure.c: timing. */
#include <stdlib.h>

#include "bench.h"
#include "clock.h"

#include "fail.h"

enum { MOST_REPEATS = 1000, LEAST_REPEATS = 5, LEAST_SLOW = 2 };
#define SLOW_SECONDS  2.0  /* one run that takes longer is slow */
#define LEAST_SECONDS 2e-3 /* of one measurement: the queue's latency is some 1e-5 */

static caps_status measure_once(double *seconds, size_t inner, caps_runtime *rt,
    caps_bench_run *run, void *context, caps_error *err)
{
    caps_status status = CAPS_OK;
    const double start = caps_clock_seconds();
    for (size_t i = 0; i < inner; i++)
        CAPS_TRY(run(context, err));
    CAPS_TRY(caps_runtime_finish(rt, err));
    *seconds = (caps_clock_seconds() - start) / (double)inner;
done:
    return status;
}

static int measure_ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Of n sorted numbers, between neighbours by proportion. */
static double quantile(const double *sorted, size_t n, double share)
{
    const double at = share * (double)(n - 1);
    const size_t below = (size_t)at;
    const double next = below + 1 < n ? sorted[below + 1] : sorted[below];
    return sorted[below] + (at - (double)below) * (next - sorted[below]);
}

caps_status caps_bench_measure(caps_bench_row *row, caps_runtime *rt, caps_bench_run *run,
    void *context, double enough_seconds, caps_error *err)
{
    static double times[MOST_REPEATS];
    caps_status status;
    double once = 0, total = 0;
    size_t n = 0;
    CAPS_TRY(measure_once(&once, 1, rt, run, context, err)); /* kernels are compiled here */
    CAPS_TRY(measure_once(&once, 1, rt, run, context, err));
    const size_t inner =
        once >= LEAST_SECONDS ? 1 : (size_t)(LEAST_SECONDS / (once > 1e-6 ? once : 1e-6)) + 1;
    const size_t least = once > SLOW_SECONDS ? LEAST_SLOW : LEAST_REPEATS;
    while (n < MOST_REPEATS && (n < least || total < enough_seconds)) {
        CAPS_TRY(measure_once(&times[n], inner, rt, run, context, err));
        total += times[n++] * (double)inner;
    }
    qsort(times, n, sizeof *times, measure_ascending);
    row->repeats = n;
    row->seconds_min = times[0];
    row->seconds_median = quantile(times, n, 0.5);
    row->seconds_q1 = quantile(times, n, 0.25);
    row->seconds_q3 = quantile(times, n, 0.75);
done:
    return status;
}
