// peak_gpu.cl: what the device can do at most, GPU family; see peak_cpu.cl.
//
//     peak_fma:    CAPS_PEAK_SUMS independent chains of scalars an item: CAPS_PEAK_SUMS * 2
//     operations a round.
//     peak_stream: item i has the elements 4 (i + n * items) to + 3, n < per_item: neighbouring
//     items read
//                  neighbouring memory.
//     peak_read:   the same elements, read only.

#define CAPS_PEAK_SUMS 16 // as in src/cli/bench_measure.c

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

__kernel void peak_stream(
    __global float *x, const ulong x_at, const uint per_item, const float scale)
{
    for (uint n = 0; n < per_item; n++) {
        const ulong at = (ulong)n * get_global_size(0) + get_global_id(0);
        vstore4(scale * vload4(at, x + x_at), at, x + x_at);
    }
}

__kernel void peak_read(__global float *x, const ulong x_at, const uint per_item, const float most)
{
    float4 sums = 0.0f;
    for (uint n = 0; n < per_item; n++)
        sums += vload4((ulong)n * get_global_size(0) + get_global_id(0), x + x_at);
    const float sum = (sums.x + sums.y) + (sums.z + sums.w);
    if (sum > most)
        x[x_at + 4 * (ulong)get_global_id(0)] = sum;
}
