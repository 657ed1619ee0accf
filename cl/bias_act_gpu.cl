// bias_act_gpu.cl: y = act(x + bias), dx = dy act'(y), dbias = sum of dx.
//
// y, dy: dense [N,C,S]. x and dx: element (n, c, s) at n x_n + c x_c + s, which is the dense layout
// or the one a matrix product leaves ([C, N*S]).
// act: 0 none, 1 relu, 2 sigmoid; y is not read where it is 0.
// Work-items: elementwise, dimension 0 over C*S (neighbours are neighbours in memory), 1 over N.
// Sums: a work-group a channel, whose items take every L-th of its N*S terms, then a tree in local
// memory (L a power of two); for S = 1 an item a channel, so that reads stay coalesced.
// bias_act_backward_rows, S = 1: dx and dbias in one kernel: a work-group of rows of `width` items
// has as many channels; row r takes samples r, r + rows, .., then the rows are added as a tree.
// Numerics: float32, every item's own sum compensated (Kahan 1965).
// Determinism: fixed order for a given work-group size.

static inline float bias_act_gradient_1(float dy, __global const float *y, uint act)
{
    if (act == 0)
        return dy;
    if (act == 1)
        return *y <= 0.0f ? 0.0f : dy;
    return dy * (*y * (1.0f - *y));
}

__kernel void bias_act_forward(__global float *y, const ulong y_at, __global const float *x,
    const ulong x_at, __global const float *bias, const ulong bias_at, const uint biased,
    const uint act, const uint channels, const uint s, const uint x_n, const uint x_c)
{
    const uint at = (uint)get_global_id(0);
    const ulong n = get_global_id(1);
    if (at >= channels * s)
        return;
    const uint c = at / s, i = at - c * s;
    const float v = x[x_at + n * x_n + (ulong)c * x_c + i];
    y[y_at + n * channels * s + at] = caps_activate(v + (biased ? bias[bias_at + c] : 0.0f), act);
}

__kernel void bias_act_gradient(__global float *dx, const ulong dx_at, __global const float *dy,
    const ulong dy_at, __global const float *y, const ulong y_at, const uint act,
    const uint channels, const uint s, const uint dx_n, const uint dx_c)
{
    const uint at = (uint)get_global_id(0);
    const ulong n = get_global_id(1), dense = n * channels * s + at;
    if (at >= channels * s)
        return;
    const uint c = at / s, i = at - c * s;
    dx[dx_at + n * dx_n + (ulong)c * dx_c + i] =
        bias_act_gradient_1(dy[dy_at + dense], y + y_at + dense, act);
}

__kernel void bias_act_sum(__global float *dbias, const ulong dbias_at, __global const float *dy,
    const ulong dy_at, __global const float *y, const ulong y_at, const uint act, const uint count,
    const uint channels, const uint s, __local float *partial)
{
    const uint lid = (uint)get_local_id(0), items = (uint)get_local_size(0);
    const ulong c = get_group_id(0);
    const uint n_step = items / s, i_step = items % s;
    float total = 0.0f, lost = 0.0f;
    uint n = lid / s, i = lid % s;
    while (n < count) {
        const ulong at = ((ulong)n * channels + c) * s + i;
        const float term = bias_act_gradient_1(dy[dy_at + at], y + y_at + at, act) - lost;
        const float next = total + term;
        lost = (next - total) - term;
        total = next;
        n += n_step;
        i += i_step;
        if (i >= s) {
            i -= s;
            n++;
        }
    }
    total = caps_row_sum(partial, items, total);
    if (lid == 0)
        dbias[dbias_at + c] = total;
}

__kernel void bias_act_sum_rows(__global float *dbias, const ulong dbias_at,
    __global const float *dy, const ulong dy_at, __global const float *y, const ulong y_at,
    const uint act, const uint count, const uint channels)
{
    const uint c = (uint)get_global_id(0);
    if (c >= channels)
        return;
    float total = 0.0f, lost = 0.0f;
    for (uint n = 0; n < count; n++) {
        const ulong at = (ulong)n * channels + c;
        const float term = bias_act_gradient_1(dy[dy_at + at], y + y_at + at, act) - lost;
        const float next = total + term;
        lost = (next - total) - term;
        total = next;
    }
    dbias[dbias_at + c] = total;
}

// partial: one float an item; dx may be dy
__kernel void bias_act_backward_rows(__global float *dx, const ulong dx_at, __global float *dbias,
    const ulong dbias_at, __global const float *dy, const ulong dy_at, __global const float *y,
    const ulong y_at, const uint act, const uint count, const uint channels, const uint width,
    __local float *partial)
{
    const uint lid = (uint)get_local_id(0), items = (uint)get_local_size(0);
    const uint c = (uint)get_group_id(0) * width + lid % width, rows = items / width;
    float total = 0.0f, lost = 0.0f;
    for (uint n = lid / width; n < count && c < channels; n += rows) {
        const ulong at = (ulong)n * channels + c;
        const float slope = bias_act_gradient_1(dy[dy_at + at], y + y_at + at, act);
        const float term = slope - lost, next = total + term;
        dx[dx_at + at] = slope;
        lost = (next - total) - term;
        total = next;
    }
    total = caps_column_sum(partial, width, total);
    if (lid < width && c < channels)
        dbias[dbias_at + c] = total;
}
