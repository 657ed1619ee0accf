/* peak.c: the most that a device does. */
#include "bench.h"

#include "fail.h"
#include "launch.h"

/* Sums an item keeps, as CAPS_PEAK_SUMS of the kernel says, times the lanes of each. */
static const struct peak_kernel {
    const char *name;
    size_t sums;
    uint32_t rounds;
} cpu_fma[] = {{"peak_fma_wide", 12 * 16, 100000}, {"peak_fma_narrow", 6 * 16, 200000}},
  gpu_fma[] = {{"peak_fma", 16, 2000}};

enum { GPU_GROUP = 256, CPU_LANES = 16, GPU_LANES = 4, CPU_UNROLLED = 4 };
#define PEAK_SECONDS 0.2 /* of each measurement at most */

typedef struct peak_run {
    caps_runtime *rt;
    const struct peak_kernel *kernel;
    caps_tensor x;
    size_t items, group;
    uint32_t per_item;
    double seconds;
} peak_run;

static caps_status peak_fma(void *context, caps_error *err)
{
    const peak_run *p = context;
    const caps_arg args[] = {
        CAPS_ARG_TENSOR(&p->x), CAPS_ARG_UINT(p->kernel->rounds), CAPS_ARG_FLOAT(0.999f)};
    return caps_launch(
        p->rt, p->kernel->name, CAPS_ARGS(args), 1, &p->items, p->group ? &p->group : NULL, err);
}

static caps_status peak_memory(void *context, const char *kernel, caps_error *err)
{
    const peak_run *p = context;
    const caps_arg args[] = {
        CAPS_ARG_TENSOR(&p->x), CAPS_ARG_UINT(p->per_item), CAPS_ARG_FLOAT(1.0f)};
    return caps_launch(
        p->rt, kernel, CAPS_ARGS(args), 1, &p->items, p->group ? &p->group : NULL, err);
}

static caps_status peak_stream(void *context, caps_error *err)
{
    return peak_memory(context, "peak_stream", err);
}

static caps_status peak_read(void *context, caps_error *err)
{
    return peak_memory(context, "peak_read", err);
}

/* Arithmetic: as many items as keep every unit busy. Which kernel is the faster depends on the
 * machine's registers. */
static caps_status peak_measure_fma(
    caps_bench_peak *peak, peak_run *p, size_t units, caps_error *err)
{
    const bool gpu = p->group != 0;
    const size_t kernels =
        gpu ? sizeof gpu_fma / sizeof *gpu_fma : sizeof cpu_fma / sizeof *cpu_fma;
    caps_bench_row row = {0};
    caps_status status;
    p->items = gpu ? units * 16 * p->group : units * 4;
    CAPS_TRY(caps_tensor_init(&p->x, p->rt, CAPS_F32, 1, &p->items, err));
    for (size_t n = 0; n < kernels; n++) {
        p->kernel = gpu ? &gpu_fma[n] : &cpu_fma[n];
        CAPS_TRY(caps_bench_measure(&row, p->rt, peak_fma, p, p->seconds, err));
        const double gflops = 2.0 * (double)p->items * (double)p->kernel->sums * p->kernel->rounds /
                              row.seconds_min / 1e9;
        if (gflops > peak->gflops)
            peak->gflops = gflops;
    }
done:
    caps_tensor_release(&p->x);
    return status;
}

/* Memory: an array of about `bytes`, read, or read and written; some machines do more of one, some
 * of the other. */
static caps_status peak_measure_memory(
    double *gbytes_per_s, peak_run *p, size_t units, uint64_t bytes, caps_error *err)
{
    const bool gpu = p->group != 0;
    const size_t vectors = (size_t)(bytes / sizeof(float)) / (gpu ? GPU_LANES : CPU_LANES);
    caps_bench_row stream = {0}, read = {0};
    caps_status status;
    p->items = gpu ? caps_round_up(vectors, p->group) : units * 16;
    p->per_item = gpu ? 1 : (uint32_t)caps_round_up(caps_div_up(vectors, p->items), CPU_UNROLLED);
    const size_t count = p->items * p->per_item * (gpu ? GPU_LANES : CPU_LANES);
    const double once = (double)count * sizeof(float) / 1e9;
    CAPS_TRY(caps_tensor_init(&p->x, p->rt, CAPS_F32, 1, &count, err));
    CAPS_TRY(caps_tensor_zero(p->rt, &p->x, err)); /* peak_read must find no sum over 1 */
    CAPS_TRY(caps_bench_measure(&stream, p->rt, peak_stream, p, p->seconds, err));
    CAPS_TRY(caps_bench_measure(&read, p->rt, peak_read, p, p->seconds, err));
    *gbytes_per_s = 2 * once / stream.seconds_min;
    if (once / read.seconds_min > *gbytes_per_s)
        *gbytes_per_s = once / read.seconds_min;
done:
    caps_tensor_release(&p->x);
    return status;
}

caps_status caps_bench_peak_measure(
    caps_bench_peak *peak, caps_runtime *rt, double seconds, caps_error *err)
{
    const caps_device_info *device = caps_runtime_device(rt);
    const size_t units = device->compute_units ? device->compute_units : 1;
    peak_run p = {.rt = rt,
        .group = caps_is_gpu(rt) ? caps_group_size(rt, GPU_GROUP) : 0,
        .seconds = seconds < PEAK_SECONDS ? seconds : PEAK_SECONDS};
    caps_status status;
    *peak = (caps_bench_peak){0};
    CAPS_TRY(peak_measure_fma(peak, &p, units, err));
    for (uint64_t bytes = CAPS_BENCH_LEAST_BYTES; peak->sizes < CAPS_BENCH_MEMORY_SIZES;
         bytes *= CAPS_BENCH_MEMORY_FACTOR) {
        if (peak->sizes > 0 &&
            (bytes > device->max_alloc_bytes || bytes > device->global_mem_bytes / 8))
            break;
        CAPS_TRY(peak_measure_memory(&peak->gbytes_per_s[peak->sizes], &p, units, bytes, err));
        peak->sizes++;
    }
done:
    return status;
}

double caps_bench_peak_memory(const caps_bench_peak *peak, double bytes)
{
    /* The greatest size that is not larger: what fits no cache there may still fit one here. Where
     * starting a kernel takes longer than its work, a larger array shows more. */
    size_t n = 0;
    double size = (double)CAPS_BENCH_LEAST_BYTES;
    while (n + 1 < peak->sizes && (size *= CAPS_BENCH_MEMORY_FACTOR) <= bytes)
        n++;
    double best = 0;
    for (; n < peak->sizes; n++)
        if (peak->gbytes_per_s[n] > best)
            best = peak->gbytes_per_s[n];
    return best;
}
