// bias_act_cpu.cl: y = act(x + bias), dx = dy act'(y), dbias = sum of dx.
//
// y, dy: dense [N,C,S]. x and dx: element (n, c, s) at n x_n + c x_c + s, which is the dense layout
// or the one a matrix product leaves ([C, N*S]). `_rows` kernels are for S = 1 with channels
// contiguous. act: 0 none, 1 relu, 2 sigmoid; y is not read where it is 0.
// Work-items: one plane of S elements, or a run of BIAS_ACT_RUN channels of a row; sums: one
// channel, or 16 of them.
// Numerics: sums are float32, 16 lanes over at most BIAS_ACT_BLOCK vectors, then compensated (Kahan
// 1965) from block to block, so the error does not grow with N or S.
// Determinism: fixed order, one work-item per sum.

#ifndef BIAS_ACT_RUN
#define BIAS_ACT_RUN 512 // channels of a row per work-item
#endif
#ifndef BIAS_ACT_BLOCK
#define BIAS_ACT_BLOCK 32 // vectors summed before the compensated total takes them
#endif

// min(n, 16) elements of dy act'(y); the other lanes are 0.
static inline float16 bias_act_gradient_16(
    __global const float *dy, __global const float *y, uint act, uint n)
{
    const float16 d = caps_load16(dy, n, 0.0f);
    return act == 0 ? d : caps_act_gradient16(d, caps_load16(y, n, 0.0f), act);
}

CPU_KERNEL void bias_act_forward(__global float *y, const ulong y_at, __global const float *x,
    const ulong x_at, __global const float *bias, const ulong bias_at, const uint biased,
    const uint act, const uint channels, const uint s, const uint x_n, const uint x_c)
{
    const ulong c = get_global_id(0), n = get_global_id(1);
    const float add = biased ? bias[bias_at + c] : 0.0f;
    y += y_at + (n * channels + c) * s;
    x += x_at + n * x_n + c * x_c;
    for (uint i = 0; i < s; i += 16)
        caps_store16(caps_activate16(caps_load16(x + i, s - i, 0.0f) + add, act), y + i, s - i);
}

CPU_KERNEL void bias_act_forward_rows(__global float *y, const ulong y_at, __global const float *x,
    const ulong x_at, __global const float *bias, const ulong bias_at, const uint biased,
    const uint act, const uint channels, const uint x_n)
{
    const uint c0 = (uint)get_global_id(0) * BIAS_ACT_RUN;
    const uint c1 = c0 + min((uint)BIAS_ACT_RUN, channels - c0);
    const ulong n = get_global_id(1);
    y += y_at + n * channels;
    x += x_at + n * x_n;
    bias += bias_at;
    for (uint c = c0; c < c1; c += 16) {
        float16 v = caps_load16(x + c, c1 - c, 0.0f);
        if (biased)
            v += caps_load16(bias + c, c1 - c, 0.0f);
        caps_store16(caps_activate16(v, act), y + c, c1 - c);
    }
}

CPU_KERNEL void bias_act_gradient(__global float *dx, const ulong dx_at, __global const float *dy,
    const ulong dy_at, __global const float *y, const ulong y_at, const uint act,
    const uint channels, const uint s, const uint dx_n, const uint dx_c)
{
    const ulong c = get_global_id(0), n = get_global_id(1), at = (n * channels + c) * s;
    dx += dx_at + n * dx_n + c * dx_c;
    dy += dy_at + at;
    y += y_at + at;
    for (uint i = 0; i < s; i += 16)
        caps_store16(bias_act_gradient_16(dy + i, y + i, act, s - i), dx + i, s - i);
}

CPU_KERNEL void bias_act_gradient_rows(__global float *dx, const ulong dx_at,
    __global const float *dy, const ulong dy_at, __global const float *y, const ulong y_at,
    const uint act, const uint channels, const uint dx_n)
{
    const uint c0 = (uint)get_global_id(0) * BIAS_ACT_RUN;
    const uint c1 = c0 + min((uint)BIAS_ACT_RUN, channels - c0);
    const ulong n = get_global_id(1);
    dx += dx_at + n * dx_n;
    dy += dy_at + n * channels;
    y += y_at + n * channels;
    for (uint c = c0; c < c1; c += 16)
        caps_store16(bias_act_gradient_16(dy + c, y + c, act, c1 - c), dx + c, c1 - c);
}

CPU_KERNEL void bias_act_sum(__global float *dbias, const ulong dbias_at,
    __global const float *dy, const ulong dy_at, __global const float *y, const ulong y_at,
    const uint act, const uint count, const uint channels, const uint s)
{
    const ulong c = get_global_id(0);
    float total = 0.0f, lost = 0.0f;
    for (uint n = 0; n < count; n++) {
        const ulong at = ((ulong)n * channels + c) * s;
        __global const float *d = dy + dy_at + at;
        __global const float *v = y + y_at + at;
        for (uint i0 = 0; i0 < s; i0 += 16 * BIAS_ACT_BLOCK) {
            const uint i1 = i0 + min(16u * BIAS_ACT_BLOCK, s - i0);
            float16 lanes = (float16)(0.0f);
            for (uint i = i0; i < i1; i += 16)
                lanes += bias_act_gradient_16(d + i, v + i, act, i1 - i);
            const float term = caps_sum16(lanes) - lost, next = total + term;
            lost = (next - total) - term;
            total = next;
        }
    }
    dbias[dbias_at + c] = total;
}

CPU_KERNEL void bias_act_sum_rows(__global float *dbias, const ulong dbias_at,
    __global const float *dy, const ulong dy_at, __global const float *y, const ulong y_at,
    const uint act, const uint count, const uint channels)
{
    const uint c0 = (uint)get_global_id(0) * 16, width = channels - c0;
    dy += dy_at + c0;
    y += y_at + c0;
    float16 total = (float16)(0.0f), lost = (float16)(0.0f);
    for (uint n = 0; n < count; n++) {
        const ulong at = (ulong)n * channels;
        const float16 term = bias_act_gradient_16(dy + at, y + at, act, width) - lost;
        const float16 next = total + term;
        lost = (next - total) - term;
        total = next;
    }
    caps_store16(total, dbias + dbias_at + c0, width);
}
