// max_pool_gpu.cl: the greatest value of every window; the equations and shapes are those of
// max_pool_cpu.cl.
//
// Work: an item for a value of a plane's y or dx (dimension 0) and a plane (dimension 1).
// Determinism: the windows of a value in order.

__kernel void max_pool_forward(__global float *y, const ulong y_at, __global int *place,
    const ulong place_at, __global const float *x, const ulong x_at, const uint height,
    const uint width, const uint out_height, const uint out_width, const uint k, const uint stride)
{
    const uint e = (uint)get_global_id(0), places = out_height * out_width;
    const ulong plane = get_global_id(1);
    if (e >= places)
        return;
    x += x_at + plane * height * width;
    const uint corner = e / out_width * stride * width + e % out_width * stride;
    uint best = corner;
    float most = x[corner];
    for (uint ky = 0; ky < k; ky++)
        for (uint kx = 0; kx < k; kx++) {
            const float v = x[corner + ky * width + kx];
            if (v > most || (isnan(v) && !isnan(most))) {
                most = v;
                best = corner + ky * width + kx;
            }
        }
    y[y_at + plane * places + e] = most;
    if (caps_given(place_at))
        place[place_at + plane * places + e] = (int)best;
}

__kernel void max_pool_backward(__global float *dx, const ulong dx_at, __global const float *dy,
    const ulong dy_at, __global const int *place, const ulong place_at, const uint height,
    const uint width, const uint out_height, const uint out_width, const uint k, const uint stride)
{
    const uint e = (uint)get_global_id(0), row = e / width, column = e % width;
    const ulong plane = get_global_id(1), places = (ulong)out_height * out_width;
    if (e >= height * width)
        return;
    dy += dy_at + plane * places;
    place += place_at + plane * places;
    // The windows that see this value: from the first whose last row is not above it on.
    const uint top = row < k ? 0 : (row - k) / stride + 1;
    const uint left = column < k ? 0 : (column - k) / stride + 1;
    float sum = 0.0f;
    for (uint oy = top; oy < out_height && oy * stride <= row; oy++)
        for (uint ox = left; ox < out_width && ox * stride <= column; ox++)
            if (place[(ulong)oy * out_width + ox] == (int)e)
                sum += dy[(ulong)oy * out_width + ox];
    dx[dx_at + plane * height * width + e] = sum;
}
