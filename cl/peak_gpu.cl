// peak_gpu.cl: what the device can do at most, GPU family; see peak_cpu.cl.
//
//     peak_fma:    CAPS_PEAK_SUMS independent chains of scalars an item: CAPS_PEAK_SUMS * 2 operations a round.
//     peak_stream: item i copies four neighbouring elements, then those a whole grid further on, `per_item`
//                  times: neighbouring items read neighbouring memory.

#define CAPS_PEAK_SUMS 16 // as in src/cli/bench_peak.c

__kernel void peak_fma(__global float *out, const ulong out_at, const uint rounds, const float x)
{
    float sums[CAPS_PEAK_SUMS];
    const float a = x, b = 1.0f - x;
    UNROLL for (uint s = 0; s < CAPS_PEAK_SUMS; s++) sums[s] = (float)(s + get_local_id(0));
    for (uint r = 0; r < rounds; r++)
        UNROLL for (uint s = 0; s < CAPS_PEAK_SUMS; s++) sums[s] = fma(sums[s], a, b);
    float all = 0.0f;
    UNROLL for (uint s = 0; s < CAPS_PEAK_SUMS; s++) all += sums[s];
    out[out_at + get_global_id(0)] = all;
}

__kernel void peak_stream(__global float *restrict to, const ulong to_at,
    __global const float *restrict from, const ulong from_at, const uint per_item)
{
    for (uint n = 0; n < per_item; n++) {
        const ulong at = (ulong)n * get_global_size(0) + get_global_id(0);
        vstore4(vload4(at, from + from_at), at, to + to_at);
    }
}
