// bias_act_cpu.cl: y = act(x + bias), dx = dy act'(y), dbias = sum of dx.
//
// y, dy: dense [N,C,S]. x and dx: element (n, c, s) at n x_n + c x_c + s, which is the dense layout or
// the one a matrix product leaves ([C, N*S]). `_rows` kernels are for S = 1 with channels contiguous.
// act: 0 none, 1 relu, 2 sigmoid; y is not read where it is 0.
// Work-items: one plane of S elements, or a run of BIAS_ACT_RUN channels of a row; sums: one channel, or
// 16 of them.
// Numerics: sums are float32, 16 lanes over at most BIAS_ACT_BLOCK vectors, then compensated (Kahan 1965)
// from block to block, so the error does not grow with N or S.
// Determinism: fixed order, one work-item per sum.

#ifndef BIAS_ACT_RUN
#define BIAS_ACT_RUN 512 // channels of a row per work-item
#endif
#ifndef BIAS_ACT_BLOCK
#define BIAS_ACT_BLOCK 32 // vectors summed before the compensated total takes them
#endif

static inline float16 bias_act_16(float16 x, uint act)
{
    if (act == 1)
        return select(x, (float16)(0.0f), x <= (float16)(0.0f));
    if (act == 2)
        return (float16)(1.0f) / ((float16)(1.0f) + exp(-x));
    return x;
}

static inline float bias_act_1(float x, uint act)
{
    if (act == 1)
        return x <= 0.0f ? 0.0f : x;
    if (act == 2)
        return 1.0f / (1.0f + exp(-x));
    return x;
}

static inline float16 bias_act_slope_16(float16 dy, __global const float *y, uint act)
{
    if (act == 0)
        return dy;
    const float16 v = vload16(0, y);
    if (act == 1)
        return select(dy, (float16)(0.0f), v <= (float16)(0.0f));
    return dy * (v * ((float16)(1.0f) - v));
}

static inline float bias_act_slope_1(float dy, __global const float *y, uint act)
{
    if (act == 0)
        return dy;
    if (act == 1)
        return *y <= 0.0f ? 0.0f : dy;
    return dy * (*y * (1.0f - *y));
}

CPU_KERNEL void bias_act_forward(__global float *y, const ulong y_at, __global const float *x,
    const ulong x_at, __global const float *bias, const ulong bias_at, const uint biased,
    const uint act, const uint channels, const uint s, const uint x_n, const uint x_c)
{
    const ulong c = get_global_id(0), n = get_global_id(1);
    const float add = biased ? bias[bias_at + c] : 0.0f;
    y += y_at + (n * channels + c) * s;
    x += x_at + n * x_n + c * x_c;
    uint i = 0;
    for (; i + 16 <= s; i += 16)
        vstore16(bias_act_16(vload16(0, x + i) + add, act), 0, y + i);
    for (; i < s; i++)
        y[i] = bias_act_1(x[i] + add, act);
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
    uint c = c0;
    for (; c + 16 <= c1; c += 16) {
        float16 v = vload16(0, x + c);
        if (biased)
            v += vload16(0, bias + c);
        vstore16(bias_act_16(v, act), 0, y + c);
    }
    for (; c < c1; c++)
        y[c] = bias_act_1(x[c] + (biased ? bias[c] : 0.0f), act);
}

CPU_KERNEL void bias_act_slope(__global float *dx, const ulong dx_at, __global const float *dy,
    const ulong dy_at, __global const float *y, const ulong y_at, const uint act,
    const uint channels, const uint s, const uint dx_n, const uint dx_c)
{
    const ulong c = get_global_id(0), n = get_global_id(1), at = (n * channels + c) * s;
    dx += dx_at + n * dx_n + c * dx_c;
    dy += dy_at + at;
    y += y_at + at;
    uint i = 0;
    for (; i + 16 <= s; i += 16)
        vstore16(bias_act_slope_16(vload16(0, dy + i), y + i, act), 0, dx + i);
    for (; i < s; i++)
        dx[i] = bias_act_slope_1(dy[i], y + i, act);
}

CPU_KERNEL void bias_act_slope_rows(__global float *dx, const ulong dx_at,
    __global const float *dy, const ulong dy_at, __global const float *y, const ulong y_at,
    const uint act, const uint channels, const uint dx_n)
{
    const uint c0 = (uint)get_global_id(0) * BIAS_ACT_RUN;
    const uint c1 = c0 + min((uint)BIAS_ACT_RUN, channels - c0);
    const ulong n = get_global_id(1);
    dx += dx_at + n * dx_n;
    dy += dy_at + n * channels;
    y += y_at + n * channels;
    uint c = c0;
    for (; c + 16 <= c1; c += 16)
        vstore16(bias_act_slope_16(vload16(0, dy + c), y + c, act), 0, dx + c);
    for (; c < c1; c++)
        dx[c] = bias_act_slope_1(dy[c], y + c, act);
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
        uint i = 0;
        while (i < s) {
            float16 lanes = (float16)(0.0f);
            const uint end = i + min(16u * BIAS_ACT_BLOCK, s - i);
            for (; i + 16 <= end; i += 16)
                lanes += bias_act_slope_16(vload16(0, d + i), v + i, act);
            float sum = 0.0f;
            for (; i < end; i++)
                sum += bias_act_slope_1(d[i], v + i, act);
            const float8 l8 = lanes.lo + lanes.hi;
            const float4 l4 = l8.lo + l8.hi;
            sum += (l4.x + l4.z) + (l4.y + l4.w);
            const float term = sum - lost, next = total + term;
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
    const uint c0 = (uint)get_global_id(0) * 16, width = min(16u, channels - c0);
    dbias += dbias_at + c0;
    dy += dy_at + c0;
    y += y_at + c0;
    if (width == 16) {
        float16 total = (float16)(0.0f), lost = (float16)(0.0f);
        for (uint n = 0; n < count; n++) {
            const ulong at = (ulong)n * channels;
            const float16 term = bias_act_slope_16(vload16(0, dy + at), y + at, act) - lost;
            const float16 next = total + term;
            lost = (next - total) - term;
            total = next;
        }
        vstore16(total, 0, dbias);
        return;
    }
    for (uint q = 0; q < width; q++) {
        float total = 0.0f, lost = 0.0f;
        for (uint n = 0; n < count; n++) {
            const ulong at = (ulong)n * channels + q;
            const float term = bias_act_slope_1(dy[at], y + at, act) - lost;
            const float next = total + term;
            lost = (next - total) - term;
            total = next;
        }
        dbias[q] = total;
    }
}
