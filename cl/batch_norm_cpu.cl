// batch_norm_cpu.cl: batch normalisation of [B, C, S], channel by channel (Ioffe, Szegedy 2015).
//
//     x^ = (x - mean) / sqrt(var + epsilon),  y = weight x^ + bias
//     dx = weight / sqrt(var + epsilon) (dy - mean(dy) - x^ mean(dy x^))
//
// where mean and var are constants: dx = weight / sqrt(var + epsilon) dy. dx may be dy.
// part: [P, 2, C]: of a run of images the mean of x and the sum of (x - mean)^2, or the sums of dy
// and dy x^; batch_norm.cl puts them together.
// Work-items: BATCH_NORM_RUN channels of an image, or, of the sums, of a run of images.
// Numerics: sums of at most BATCH_NORM_BLOCK vectors, sums of these, of planes, of runs.
// Determinism: fixed order, one work-item per sum.

#ifndef BATCH_NORM_BLOCK
#define BATCH_NORM_BLOCK 64 // vectors
#endif
#ifndef BATCH_NORM_RUN
#define BATCH_NORM_RUN 8 // channels, which lie one behind the other
#endif

// power 0: sum of x - mean over a plane; 1: of its square
static float batch_norm_plane_sum(
    __global const float *x, const uint s, const float mean, const uint power)
{
    float16 total = 0.0f;
    CAPS_LOOP for (uint block = 0; block < s; block += 16 * BATCH_NORM_BLOCK)
    {
        const uint end = min(s - block, 16u * BATCH_NORM_BLOCK) + block;
        float16 lanes = 0.0f;
        CAPS_LOOP for (uint i = block; i < end; i += 16)
        {
            const float16 v = caps_load16(x + i, s - i, mean) - mean;
            lanes = power ? fma(v, v, lanes) : lanes + v;
        }
        total += lanes;
    }
    return caps_sum16(total);
}

CPU_KERNEL void batch_norm_part(__global float *part, const ulong part_at, __global const float *x,
    const ulong x_at, const uint parts, const uint count, const uint channels, const uint s)
{
    const uint c = (uint)get_global_id(0) * BATCH_NORM_RUN;
    const uint run = min((uint)BATCH_NORM_RUN, channels - c);
    const ulong p = get_global_id(1), first = p * count / parts, end = (p + 1) * count / parts;
    const float all = (float)(end - first) * (float)s;
    float near[BATCH_NORM_RUN], mean[BATCH_NORM_RUN], sum[BATCH_NORM_RUN], squares[BATCH_NORM_RUN];
    x += x_at + (ulong)c * s;
    // The first values, for sums of differences that are as small as they can be.
    CAPS_LOOP for (uint i = 0; i < run; i++)
    {
        near[i] = x[(first * channels + i) * s];
        sum[i] = squares[i] = 0.0f;
    }
    CAPS_LOOP for (ulong n = first; n < end; n++) CAPS_LOOP for (uint i = 0; i < run; i++) sum[i] +=
        batch_norm_plane_sum(x + (n * channels + i) * s, s, near[i], 0);
    CAPS_LOOP for (uint i = 0; i < run; i++) mean[i] = near[i] + sum[i] / all;
    CAPS_LOOP for (ulong n = first; n < end; n++) CAPS_LOOP for (uint i = 0; i < run; i++)
        squares[i] += batch_norm_plane_sum(x + (n * channels + i) * s, s, mean[i], 1);
    part += part_at + p * 2 * channels + c;
    CAPS_LOOP for (uint i = 0; i < run; i++)
    {
        part[i] = mean[i];
        part[channels + i] = squares[i];
    }
}

CPU_KERNEL void batch_norm_forward(__global float *y, const ulong y_at, __global const float *x,
    const ulong x_at, __global const float *mean, const ulong mean_at, __global const float *var,
    const ulong var_at, __global const float *weight, const ulong weight_at,
    __global const float *bias, const ulong bias_at, const float epsilon, const uint channels,
    const uint s)
{
    const uint first = (uint)get_global_id(0) * BATCH_NORM_RUN;
    const uint end = min(first + BATCH_NORM_RUN, channels);
    const ulong at = (get_global_id(1) * channels + first) * s;
    x += x_at + at;
    y += y_at + at;
    CAPS_LOOP for (uint c = first; c < end; c++, x += s, y += s)
    {
        const float scale = weight[weight_at + c] / sqrt(var[var_at + c] + epsilon);
        const float centre = mean[mean_at + c], add = bias[bias_at + c];
        CAPS_LOOP for (uint i = 0; i < s; i += 16) caps_store16(
            fma(caps_load16(x + i, s - i, 0.0f) - centre, (float16)(scale), (float16)(add)), y + i,
            s - i);
    }
}

// The sums of dy and of dy (x - centre) over a plane, added to to[0] and to[BATCH_NORM_RUN].
static void batch_norm_plane_sums(
    float *to, __global const float *dy, __global const float *x, const uint s, const float centre)
{
    float16 plain = 0.0f, weighted = 0.0f;
    CAPS_LOOP for (uint block = 0; block < s; block += 16 * BATCH_NORM_BLOCK)
    {
        const uint stop = min(s - block, 16u * BATCH_NORM_BLOCK) + block;
        float16 sum = 0.0f, products = 0.0f;
        CAPS_LOOP for (uint i = block; i < stop; i += 16)
        {
            const float16 g = caps_load16(dy + i, s - i, 0.0f);
            const float16 v = caps_load16(x + i, s - i, centre) - centre;
            sum += g;
            products = fma(g, v, products);
        }
        plain += sum;
        weighted += products;
    }
    to[0] += caps_sum16(plain);
    to[BATCH_NORM_RUN] += caps_sum16(weighted);
}

CPU_KERNEL void batch_norm_gradient_part(__global float *part, const ulong part_at,
    __global const float *dy, const ulong dy_at, __global const float *x, const ulong x_at,
    __global const float *mean, const ulong mean_at, __global const float *var, const ulong var_at,
    const float epsilon, const uint parts, const uint count, const uint channels, const uint s)
{
    const uint c = (uint)get_global_id(0) * BATCH_NORM_RUN;
    const uint run = min((uint)BATCH_NORM_RUN, channels - c);
    const ulong p = get_global_id(1), first = p * count / parts, end = (p + 1) * count / parts;
    float sums[2 * BATCH_NORM_RUN];
    dy += dy_at + (ulong)c * s;
    x += x_at + (ulong)c * s;
    CAPS_LOOP for (uint i = 0; i < 2 * BATCH_NORM_RUN; i++) sums[i] = 0.0f;
    CAPS_LOOP for (ulong n = first; n < end; n++) CAPS_LOOP for (uint i = 0; i < run; i++)
    {
        const ulong at = (n * channels + i) * s;
        batch_norm_plane_sums(sums + i, dy + at, x + at, s, mean[mean_at + c + i]);
    }
    part += part_at + p * 2 * channels + c;
    CAPS_LOOP for (uint i = 0; i < run; i++)
    {
        part[i] = sums[i];
        part[channels + i] =
            sums[BATCH_NORM_RUN + i] * (1.0f / sqrt(var[var_at + c + i] + epsilon));
    }
}

// share: 1 / (B S), or 0 where mean and var are constants
CPU_KERNEL void batch_norm_backward(__global float *dx, const ulong dx_at, __global const float *dy,
    const ulong dy_at, __global const float *x, const ulong x_at, __global const float *mean,
    const ulong mean_at, __global const float *var, const ulong var_at,
    __global const float *weight, const ulong weight_at, __global const float *dweight,
    const ulong dweight_at, __global const float *dbias, const ulong dbias_at, const float epsilon,
    const float share, const uint channels, const uint s)
{
    const uint first = (uint)get_global_id(0) * BATCH_NORM_RUN;
    const uint end = min(first + BATCH_NORM_RUN, channels);
    const ulong at = (get_global_id(1) * channels + first) * s;
    dx += dx_at + at;
    dy += dy_at + at;
    x += x_at + at;
    CAPS_LOOP for (uint c = first; c < end; c++, dx += s, dy += s, x += s)
    {
        const float inverse = 1.0f / sqrt(var[var_at + c] + epsilon), centre = mean[mean_at + c];
        const float scale = weight[weight_at + c] * inverse, plain = dbias[dbias_at + c] * share;
        const float along = dweight[dweight_at + c] * share * inverse;
        CAPS_LOOP for (uint i = 0; i < s; i += 16)
        {
            const float16 v = caps_load16(x + i, s - i, centre) - centre;
            const float16 g = caps_load16(dy + i, s - i, 0.0f) - plain;
            caps_store16(fma(v, (float16)(-along), g) * scale, dx + i, s - i);
        }
    }
}
