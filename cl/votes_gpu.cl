// votes_gpu.cl: votes and their gradients, GPU family; equations and shapes as in votes_cpu.cl.
//
// Work (groups numbered along one dimension, L items in each):
//   forward: item x of a row of I E outputs, (i, e) = (x / E, x % E), for VOTES_SAMPLES samples;
//            consecutive items write consecutive votes. Groups of a row first, then the next
//            samples.
//   du: item x of a row of I K, (i, k) = (x / K, x % K), for VOTES_SAMPLES samples, likewise.
//   dw: item x of the I E outputs, for eight k; groups of the outputs first, then the next eight k.
// A weight is read once for VOTES_SAMPLES samples; u and dvotes of an item's neighbours share cache
// lines. I E and I K are below 2^32 (checked by the host); rows of the batch are counted in ulong.
// Numerics: sums by one item, in order of k, e, or b; dw in blocks of VOTES_BLOCK samples.

#ifndef VOTES_SAMPLES
#define VOTES_SAMPLES 8 // as in src/ops/votes.c
#endif
#define VOTES_BLOCK 64

__kernel void votes_forward(__global float *restrict votes, const ulong votes_offset,
    __global const float *restrict u, const ulong u_offset, __global const float *restrict w,
    const ulong w_offset, const uint b_count, const uint i_count, const uint e_count,
    const uint k_count)
{
    const uint outputs = i_count * e_count, size = get_local_size(0);
    const uint across = (outputs - 1) / size + 1, group = get_group_id(0) % across;
    const ulong x = (ulong)group * size + get_local_id(0);
    const uint first = (uint)(get_group_id(0) / across) * VOTES_SAMPLES;
    const uint samples = min((uint)VOTES_SAMPLES, b_count - first);
    if (x >= outputs)
        return;
    const uint i = (uint)x / e_count;
    __global const float *weights = w + w_offset + x * k_count;
    __global const float *from = u + u_offset + ((ulong)first * i_count + i) * k_count;
    __global float *to = votes + votes_offset + (ulong)first * outputs + x;
    float sums[VOTES_SAMPLES];
    UNROLL for (uint n = 0; n < VOTES_SAMPLES; n++)
        sums[n] = 0.0f;
    for (uint k = 0; k < k_count; k++) {
        const float weight = weights[k];
        UNROLL for (uint n = 0; n < VOTES_SAMPLES; n++)
            if (n < samples)
                sums[n] = fma(weight, from[(ulong)n * i_count * k_count + k], sums[n]);
    }
    UNROLL for (uint n = 0; n < VOTES_SAMPLES; n++)
        if (n < samples)
            to[(ulong)n * outputs] = sums[n];
}

__kernel void votes_backward_u(__global float *restrict du, const ulong du_offset,
    __global const float *restrict dvotes, const ulong dvotes_offset,
    __global const float *restrict w,
    const ulong w_offset, const uint b_count, const uint i_count, const uint e_count,
    const uint k_count)
{
    const uint inputs = i_count * k_count, size = get_local_size(0);
    const uint across = (inputs - 1) / size + 1, group = get_group_id(0) % across;
    const ulong x = (ulong)group * size + get_local_id(0);
    const uint first = (uint)(get_group_id(0) / across) * VOTES_SAMPLES;
    const uint samples = min((uint)VOTES_SAMPLES, b_count - first);
    if (x >= inputs)
        return;
    const uint i = (uint)x / k_count, k = (uint)x % k_count;
    __global const float *weights = w + w_offset + (ulong)i * e_count * k_count + k;
    __global const float *from = dvotes + dvotes_offset + ((ulong)first * i_count + i) * e_count;
    __global float *to = du + du_offset + (ulong)first * inputs + x;
    float sums[VOTES_SAMPLES];
    UNROLL for (uint n = 0; n < VOTES_SAMPLES; n++)
        sums[n] = 0.0f;
    for (uint e = 0; e < e_count; e++) {
        const float weight = weights[(ulong)e * k_count];
        UNROLL for (uint n = 0; n < VOTES_SAMPLES; n++)
            if (n < samples)
                sums[n] = fma(weight, from[(ulong)n * i_count * e_count + e], sums[n]);
    }
    UNROLL for (uint n = 0; n < VOTES_SAMPLES; n++)
        if (n < samples)
            to[(ulong)n * inputs] = sums[n];
}

__kernel void votes_backward_w(__global float *restrict dw, const ulong dw_offset,
    __global const float *restrict dvotes, const ulong dvotes_offset,
    __global const float *restrict u,
    const ulong u_offset, const uint b_count, const uint i_count, const uint e_count,
    const uint k_count)
{
    const uint outputs = i_count * e_count, size = get_local_size(0);
    const uint across = (outputs - 1) / size + 1, group = get_group_id(0) % across;
    const ulong x = (ulong)group * size + get_local_id(0);
    const uint k0 = (uint)(get_group_id(0) / across) * 8, terms = min(8u, k_count - k0);
    if (x >= outputs)
        return;
    const uint i = (uint)x / e_count;
    __global const float *from = dvotes + dvotes_offset + x;
    __global const float *inputs = u + u_offset + (ulong)i * k_count + k0;
    __global float *to = dw + dw_offset + x * k_count + k0;
    float totals[8], sums[8];
    UNROLL for (uint n = 0; n < 8; n++)
        totals[n] = 0.0f;
    for (uint first = 0; first < b_count; first += VOTES_BLOCK) {
        const uint end = first + min((uint)VOTES_BLOCK, b_count - first);
        UNROLL for (uint n = 0; n < 8; n++)
            sums[n] = 0.0f;
        for (uint b = first; b < end; b++) {
            const float g = from[(ulong)b * outputs];
            UNROLL for (uint n = 0; n < 8; n++)
                if (n < terms)
                    sums[n] = fma(g, inputs[(ulong)b * i_count * k_count + n], sums[n]);
        }
        UNROLL for (uint n = 0; n < 8; n++)
            totals[n] += sums[n];
    }
    UNROLL for (uint n = 0; n < 8; n++)
        if (n < terms)
            to[n] = totals[n];
}
