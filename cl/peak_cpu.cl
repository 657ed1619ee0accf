// peak_cpu.cl: what the device can do at most, CPU family; the measure for `capscl bench`.
// Program: rarely used (src/device/registry.c).
//
//     peak_fma_*:  every item runs `rounds` times through SUMS independent fused multiply-adds of
//     sixteen
//                  lanes: SUMS * 32 operations a round, nothing from memory. Twelve sums fill most
//                  of 32
//                  registers of sixteen floats, six most of 16 registers of eight, and either hides
//                  the
//                  latency of the instruction (4 cycles, 2 units). With the wrong one of the two
//                  the sums
//                  go through memory: the host takes the faster.
//     peak_stream: x[i] = scale * x[i], sixteen at a time: 8 bytes an element. In place: a copy
//     would also
//                  fetch what it is about to overwrite, which no one counts.
//     peak_read:   sums x, four times sixteen at a time: 4 bytes an element. Written only where a
//     sum is
//                  greater than `most`, so that the compiler cannot leave the reading out.
//
// Work: item = a run of `per_item` vectors, a multiple of 4 (stream, read). Determinism: trivially.
// The numbers of sums and lanes are known to src/cli/bench_measure.c.

#define PEAK_FMA(NAME, SUMS)                                                                       \
    CPU_KERNEL void NAME(                                                                          \
        __global float *out, const ulong out_at, const uint rounds, const float x)                 \
    {                                                                                              \
        float16 sums[SUMS];                                                                        \
        const float16 a = x, b = 1.0f - x;                                                         \
        UNROLL for (uint s = 0; s < SUMS; s++) sums[s] = (float16)((float)s);                      \
        for (uint r = 0; r < rounds; r++)                                                          \
            UNROLL for (uint s = 0; s < SUMS; s++) sums[s] = fma(sums[s], a, b);                   \
        float16 all = 0.0f;                                                                        \
        UNROLL for (uint s = 0; s < SUMS; s++) all += sums[s];                                     \
        out[out_at + get_global_id(0)] = caps_sum16(all);                                          \
    }

PEAK_FMA(peak_fma_wide, 12)
PEAK_FMA(peak_fma_narrow, 6)

CPU_KERNEL void peak_stream(
    __global float *x, const ulong x_at, const uint per_item, const float scale)
{
    const ulong first = get_global_id(0) * (ulong)per_item;
    for (uint n = 0; n < per_item; n++)
        vstore16(scale * vload16(first + n, x + x_at), first + n, x + x_at);
}

CPU_KERNEL void peak_read(
    __global float *x, const ulong x_at, const uint per_item, const float most)
{
    const ulong first = get_global_id(0) * (ulong)per_item;
    float16 sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (uint n = 0; n < per_item; n += 4)
        UNROLL for (uint s = 0; s < 4; s++) sums[s] += vload16(first + n + s, x + x_at);
    const float sum = caps_sum16((sums[0] + sums[1]) + (sums[2] + sums[3]));
    if (sum > most)
        x[x_at + first * 16] = sum;
}
