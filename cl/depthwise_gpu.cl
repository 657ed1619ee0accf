// depthwise_gpu.cl: convolution of every channel by a kernel of its own; the equations and shapes
// are those of depthwise_cpu.cl.
//
// Work: an item for an element of an image's y or dx (dimension 0) and an image (dimension 1); of dw
// and dbias a work-group for a tap (the k*k-th is the bias) and a channel, whose items take every
// n-th place of all images.
// Numerics: an item's sum for dw is compensated (Kahan 1965), then a tree in local memory.
// Determinism: fixed order.

__kernel void depthwise_forward(__global float *y, const ulong y_at, __global const float *x,
    const ulong x_at, __global const float *w, const ulong w_at, __global const float *bias,
    const ulong bias_at, const uint channels, const uint height, const uint width,
    const uint out_height, const uint out_width, const uint k, const uint stride)
{
    const uint e = (uint)get_global_id(0), places = out_height * out_width, c = e / places;
    const ulong n = get_global_id(1);
    if (c >= channels)
        return;
    const uint oy = e % places / out_width, ox = e % out_width;
    x += x_at + (n * channels + c) * height * width + (ulong)oy * stride * width + ox * stride;
    w += w_at + (ulong)c * k * k;
    float sum = bias[bias_at + c];
    for (uint ky = 0; ky < k; ky++)
        for (uint kx = 0; kx < k; kx++)
            sum = fma(w[ky * k + kx], x[(ulong)ky * width + kx], sum);
    y[y_at + n * channels * places + e] = sum;
}

__kernel void depthwise_dx(__global float *dx, const ulong dx_at, __global const float *dy,
    const ulong dy_at, __global const float *w, const ulong w_at, const uint channels,
    const uint height, const uint width, const uint out_height, const uint out_width, const uint k,
    const uint stride)
{
    const uint e = (uint)get_global_id(0), pixels = height * width, c = e / pixels;
    const ulong n = get_global_id(1);
    if (c >= channels)
        return;
    const uint row = e % pixels / width, column = e % width;
    dy += dy_at + (n * channels + c) * out_height * out_width;
    w += w_at + (ulong)c * k * k;
    float sum = 0.0f;
    for (uint ky = row % stride; ky < k && ky <= row; ky += stride) {
        const uint oy = (row - ky) / stride;
        for (uint kx = column % stride; oy < out_height && kx < k && kx <= column; kx += stride) {
            const uint ox = (column - kx) / stride;
            if (ox < out_width)
                sum = fma(w[ky * k + kx], dy[(ulong)oy * out_width + ox], sum);
        }
    }
    dx[dx_at + n * channels * pixels + e] = sum;
}

// partial: one float an item
__kernel void depthwise_dw(__global float *dw, const ulong dw_at, __global float *dbias,
    const ulong dbias_at, __global const float *dy, const ulong dy_at, __global const float *x,
    const ulong x_at, const uint count, const uint channels, const uint height, const uint width,
    const uint out_height, const uint out_width, const uint k, const uint stride,
    __local float *partial)
{
    const uint tap = (uint)get_group_id(0), c = (uint)get_group_id(1);
    const uint lid = (uint)get_local_id(0), items = (uint)get_local_size(0);
    const uint places = out_height * out_width, ky = tap / k, kx = tap % k;
    float sum = 0.0f, lost = 0.0f;
    for (ulong e = lid; e < (ulong)count * places; e += items) {
        const ulong plane = e / places * channels + c;
        const uint place = (uint)(e % places);
        const uint oy = place / out_width, ox = place % out_width;
        const float g = dy[dy_at + plane * places + place];
        float v = 1.0f;
        if (tap < k * k)
            v = x[x_at + plane * height * width + ((ulong)oy * stride + ky) * width + ox * stride +
                  kx];
        const float term = fma(g, v, -lost), next = sum + term;
        lost = (next - sum) - term;
        sum = next;
    }
    sum = caps_row_sum(partial, items, sum);
    if (lid == 0 && tap < k * k)
        dw[dw_at + (ulong)c * k * k + tap] = sum;
    else if (lid == 0)
        dbias[dbias_at + c] = sum;
}
