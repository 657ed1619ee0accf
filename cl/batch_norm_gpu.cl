// batch_norm_gpu.cl: batch normalisation of [B, C, S], channel by channel; the equations are those
// of batch_norm_cpu.cl.
//
// Work: of the sums, a work-group for a channel c and a run p of images, whose items take every
// n-th value; else an item for an element of an image (dimension 0) and an image (dimension 1).
// Numerics: an item's sum is compensated (Kahan 1965), then a tree in local memory.
// Determinism: fixed order.

// The e-th value of a channel in images that lie `step` apart.
static inline ulong batch_norm_place(const ulong e, const uint s, const ulong step)
{
    return e / s * step + e % s;
}

// partial: one float an item
__kernel void batch_norm_part(__global float *part, const ulong part_at, __global const float *x,
    const ulong x_at, const uint parts, const uint count, const uint channels, const uint s,
    __local float *partial)
{
    const uint c = (uint)get_group_id(0), p = (uint)get_group_id(1);
    const uint lid = (uint)get_local_id(0), items = (uint)get_local_size(0);
    const ulong first = (ulong)p * count / parts, end = (ulong)(p + 1) * count / parts;
    const ulong all = (end - first) * s, step = (ulong)channels * s;
    x += x_at + (first * channels + c) * s;
    const float near = x[0];
    float sum = 0.0f, lost = 0.0f;
    for (ulong e = lid; e < all; e += items) {
        const float term = x[batch_norm_place(e, s, step)] - near - lost, next = sum + term;
        lost = (next - sum) - term;
        sum = next;
    }
    const float mean = near + caps_row_sum(partial, items, sum) / (float)all;
    sum = lost = 0.0f;
    for (ulong e = lid; e < all; e += items) {
        const float v = x[batch_norm_place(e, s, step)] - mean;
        const float term = fma(v, v, -lost), next = sum + term;
        lost = (next - sum) - term;
        sum = next;
    }
    const float squares = caps_row_sum(partial, items, sum);
    if (lid == 0) {
        part[part_at + (ulong)p * 2 * channels + c] = mean;
        part[part_at + ((ulong)p * 2 + 1) * channels + c] = squares;
    }
}

__kernel void batch_norm_forward(__global float *y, const ulong y_at, __global const float *x,
    const ulong x_at, __global const float *mean, const ulong mean_at, __global const float *var,
    const ulong var_at, __global const float *weight, const ulong weight_at,
    __global const float *bias, const ulong bias_at, const float epsilon, const uint channels,
    const uint s)
{
    const uint e = (uint)get_global_id(0), c = e / s;
    if (c >= channels)
        return;
    const ulong at = (ulong)get_global_id(1) * channels * s + e;
    const float scale = weight[weight_at + c] / sqrt(var[var_at + c] + epsilon);
    y[y_at + at] = fma(x[x_at + at] - mean[mean_at + c], scale, bias[bias_at + c]);
}

__kernel void batch_norm_gradient_part(__global float *part, const ulong part_at,
    __global const float *dy, const ulong dy_at, __global const float *x, const ulong x_at,
    __global const float *mean, const ulong mean_at, __global const float *var, const ulong var_at,
    const float epsilon, const uint parts, const uint count, const uint channels, const uint s,
    __local float *partial)
{
    const uint c = (uint)get_group_id(0), p = (uint)get_group_id(1);
    const uint lid = (uint)get_local_id(0), items = (uint)get_local_size(0);
    const ulong first = (ulong)p * count / parts, end = (ulong)(p + 1) * count / parts;
    const ulong all = (end - first) * s, step = (ulong)channels * s;
    const float centre = mean[mean_at + c], inverse = 1.0f / sqrt(var[var_at + c] + epsilon);
    dy += dy_at + (first * channels + c) * s;
    x += x_at + (first * channels + c) * s;
    float plain = 0.0f, plain_lost = 0.0f, weighted = 0.0f, weighted_lost = 0.0f;
    for (ulong e = lid; e < all; e += items) {
        const ulong at = batch_norm_place(e, s, step);
        const float term = dy[at] - plain_lost, next = plain + term;
        const float product = fma(dy[at], x[at] - centre, -weighted_lost);
        const float more = weighted + product;
        plain_lost = (next - plain) - term;
        plain = next;
        weighted_lost = (more - weighted) - product;
        weighted = more;
    }
    plain = caps_row_sum(partial, items, plain);
    weighted = caps_row_sum(partial, items, weighted) * inverse;
    if (lid == 0) {
        part[part_at + (ulong)p * 2 * channels + c] = plain;
        part[part_at + ((ulong)p * 2 + 1) * channels + c] = weighted;
    }
}

// share: 1 / (B S), or 0 where mean and var are constants; dx may be dy
__kernel void batch_norm_backward(__global float *dx, const ulong dx_at, __global const float *dy,
    const ulong dy_at, __global const float *x, const ulong x_at, __global const float *mean,
    const ulong mean_at, __global const float *var, const ulong var_at,
    __global const float *weight, const ulong weight_at, __global const float *dweight,
    const ulong dweight_at, __global const float *dbias, const ulong dbias_at, const float epsilon,
    const float share, const uint channels, const uint s)
{
    const uint e = (uint)get_global_id(0), c = e / s;
    if (c >= channels)
        return;
    const ulong at = (ulong)get_global_id(1) * channels * s + e;
    const float inverse = 1.0f / sqrt(var[var_at + c] + epsilon);
    const float v = (x[x_at + at] - mean[mean_at + c]) * inverse;
    const float g = dy[dy_at + at] - dbias[dbias_at + c] * share;
    dx[dx_at + at] = fma(v, -dweight[dweight_at + c] * share, g) * weight[weight_at + c] * inverse;
}
