// peak_cpu.cl: what the device can do at most, CPU family; the measure for `capscl bench`.
//
//     peak_fma:    every item runs `rounds` times through CAPS_PEAK_SUMS independent fused multiply-adds of
//                  sixteen lanes: CAPS_PEAK_SUMS * 32 operations a round, nothing from memory. As many
//                  chains as hide the latency of the instruction (4 cycles, 2 units) and fit the registers.
//     peak_stream: to[i] = from[i], sixteen at a time: 8 bytes an element.
//
// Work: item = a run of `per_item` vectors (stream). Determinism: trivially.

#define CAPS_PEAK_SUMS 12 // as in src/cli/bench_peak.c

CPU_KERNEL void peak_fma(__global float *out, const ulong out_at, const uint rounds, const float x)
{
    float16 sums[CAPS_PEAK_SUMS];
    const float16 a = x, b = 1.0f - x;
    UNROLL for (uint s = 0; s < CAPS_PEAK_SUMS; s++) sums[s] = (float16)((float)s);
    for (uint r = 0; r < rounds; r++)
        UNROLL for (uint s = 0; s < CAPS_PEAK_SUMS; s++) sums[s] = fma(sums[s], a, b);
    float16 all = 0.0f;
    UNROLL for (uint s = 0; s < CAPS_PEAK_SUMS; s++) all += sums[s];
    out[out_at + get_global_id(0)] = caps_sum16(all);
}

CPU_KERNEL void peak_stream(__global float *restrict to, const ulong to_at,
    __global const float *restrict from, const ulong from_at, const uint per_item)
{
    const ulong first = get_global_id(0) * (ulong)per_item;
    for (uint n = 0; n < per_item; n++)
        vstore16(vload16(first + n, from + from_at), first + n, to + to_at);
}
