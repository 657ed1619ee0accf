/* bench_measure.c: timing, and the device's peaks. */
#include <stdlib.h>

#include "bench.h"
#include "clock.h"
#include "launch.h"

#include "fail.h"

enum { MOST_REPEATS = 1000, LEAST_REPEATS = 5, LEAST_SLOW = 2 };
#define ENOUGH_SECONDS 1.0  /* in all */
#define SLOW_SECONDS   2.0  /* one run that takes longer is slow */
#define LEAST_SECONDS  2e-3 /* of one measurement: the queue's latency is some 1e-5 */

static caps_status timed(double *seconds, size_t inner, caps_runtime *rt, caps_bench_run *run,
    void *context, caps_error *err)
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

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

caps_status caps_bench_measure(
    caps_bench_row *row, caps_runtime *rt, caps_bench_run *run, void *context, caps_error *err)
{
    static double times[MOST_REPEATS];
    caps_status status;
    double once = 0, total = 0;
    size_t n = 0;
    CAPS_TRY(timed(&once, 1, rt, run, context, err)); /* kernels are compiled here */
    CAPS_TRY(timed(&once, 1, rt, run, context, err));
    const size_t inner =
        once >= LEAST_SECONDS ? 1 : (size_t)(LEAST_SECONDS / (once > 1e-6 ? once : 1e-6)) + 1;
    const size_t least = once > SLOW_SECONDS ? LEAST_SLOW : LEAST_REPEATS;
    while (n < MOST_REPEATS && (n < least || total < ENOUGH_SECONDS)) {
        CAPS_TRY(timed(&times[n], inner, rt, run, context, err));
        total += times[n++] * (double)inner;
    }
    qsort(times, n, sizeof *times, ascending);
    row->repeats = n;
    row->seconds_min = times[0];
    row->seconds_median = n % 2 ? times[n / 2] : (times[n / 2 - 1] + times[n / 2]) / 2;
done:
    return status;
}

/* ---- peaks ---------------------------------------------------------------------------------- */

enum {
    CPU_SUMS = 12 * 16, /* chains of an item: CAPS_PEAK_SUMS of cl/peak_cpu.cl, times lanes */
    GPU_SUMS = 16,      /* of cl/peak_gpu.cl */
    CPU_ROUNDS = 200000,
    GPU_ROUNDS = 2000,
    GPU_GROUP = 256
};
#define STREAM_BYTES ((uint64_t)256 << 20) /* of either array: no cache holds it */

typedef struct peak_run {
    caps_runtime *rt;
    caps_tensor a, b;
    size_t items, group;
    uint32_t rounds, per_item;
} peak_run;

static caps_status run_fma(void *context, caps_error *err)
{
    const peak_run *p = context;
    const caps_arg args[] = {
        CAPS_ARG_TENSOR(&p->a), CAPS_ARG_UINT(p->rounds), CAPS_ARG_FLOAT(0.999f)};
    return caps_launch(
        p->rt, "peak_fma", CAPS_ARGS(args), 1, &p->items, p->group ? &p->group : NULL, err);
}

static caps_status run_stream(void *context, caps_error *err)
{
    const peak_run *p = context;
    const caps_arg args[] = {
        CAPS_ARG_TENSOR(&p->a), CAPS_ARG_TENSOR(&p->b), CAPS_ARG_UINT(p->per_item)};
    return caps_launch(
        p->rt, "peak_stream", CAPS_ARGS(args), 1, &p->items, p->group ? &p->group : NULL, err);
}

caps_status caps_bench_peak_measure(caps_bench_peak *peak, caps_runtime *rt, caps_error *err)
{
    const caps_device_info *device = caps_runtime_device(rt);
    const bool gpu = caps_is_gpu(rt);
    const size_t units = device->compute_units ? device->compute_units : 1;
    peak_run p = {.rt = rt, .group = gpu ? caps_group_size(rt, GPU_GROUP) : 0};
    caps_bench_row row = {0};
    caps_status status;
    /* Arithmetic: as many items as keep every unit busy. */
    p.items = gpu ? units * 16 * p.group : units * 4;
    p.rounds = gpu ? GPU_ROUNDS : CPU_ROUNDS;
    CAPS_TRY(caps_tensor_init(&p.a, rt, CAPS_F32, 1, &p.items, err));
    CAPS_TRY(caps_bench_measure(&row, rt, run_fma, &p, err));
    peak->gflops =
        2.0 * (double)p.items * (gpu ? GPU_SUMS : CPU_SUMS) * p.rounds / row.seconds_min / 1e9;
    caps_tensor_release(&p.a);

    /* Memory: two arrays, smaller where the device is. */
    uint64_t bytes = STREAM_BYTES;
    if (bytes > device->max_alloc_bytes)
        bytes = device->max_alloc_bytes;
    if (bytes > device->global_mem_bytes / 8)
        bytes = device->global_mem_bytes / 8;
    const size_t lanes = gpu ? 4 : 16;
    p.items = gpu ? units * 8 * p.group : units * 16;
    p.per_item = (uint32_t)(bytes / sizeof(float) / (p.items * lanes));
    if (p.per_item == 0)
        p.per_item = 1;
    const size_t count = p.items * lanes * p.per_item;
    CAPS_TRY(caps_tensor_init(&p.a, rt, CAPS_F32, 1, &count, err));
    CAPS_TRY(caps_tensor_init(&p.b, rt, CAPS_F32, 1, &count, err));
    CAPS_TRY(caps_tensor_zero(rt, &p.b, err));
    CAPS_TRY(caps_bench_measure(&row, rt, run_stream, &p, err));
    peak->gbytes_per_s = 2.0 * (double)count * sizeof(float) / row.seconds_min / 1e9;
done:
    caps_tensor_release(&p.a);
    caps_tensor_release(&p.b);
    return status;
}
