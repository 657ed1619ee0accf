// conv_gpu.cl: images to columns, and columns' gradients back to images.
//
// x, dx: [N,C,H,W]. col: [C*kh*kw, N*OH*OW],
//     col[(c kh + ky) kw + kx, (n OH + oy) OW + ox] = x[n, c, oy stride + ky - padding,
//                                                          ox stride + kx - padding]
// and zero where that lies outside; conv2d_from_columns is the transpose of this linear map.
// Work-items: to columns, element of a row x row; from columns, pixel x plane. Neighbours write
// neighbours.
// Determinism: every dx element gathers its own contributions in the order (ky, kx); no atomics.

__kernel void conv2d_to_columns(__global float *col, const ulong col_at, __global const float *x,
    const ulong x_at, const uint channels, const uint h, const uint w, const uint kh,
    const uint kw, const uint oh, const uint ow, const uint stride, const uint padding,
    const uint images)
{
    const uint at = (uint)get_global_id(0), row = (uint)get_global_id(1);
    const uint pixels = oh * ow;
    if (at >= images * pixels)
        return;
    const uint n = at / pixels, p = at - n * pixels, oy = p / ow, ox = p - oy * ow;
    const uint c = row / (kh * kw), tap = row - c * (kh * kw), ky = tap / kw, kx = tap - ky * kw;
    const uint iy = oy * stride + ky - padding, ix = ox * stride + kx - padding; // may wrap
    const ulong from = x_at + (((ulong)n * channels + c) * h + iy) * w + ix;
    const float v = iy < h && ix < w ? x[from] : 0.0f;
    col[col_at + (ulong)row * images * pixels + at] = v;
}

__kernel void conv2d_from_columns(__global float *dx, const ulong dx_at, __global const float *col,
    const ulong col_at, const uint channels, const uint h, const uint w, const uint kh,
    const uint kw, const uint oh, const uint ow, const uint stride, const uint padding,
    const uint images)
{
    const uint at = (uint)get_global_id(0), plane = (uint)get_global_id(1);
    if (at >= h * w)
        return;
    const uint n = plane / channels, c = plane - n * channels;
    const uint y = at / w + padding, x = at - at / w * w + padding; // in the padded image
    const ulong pitch = (ulong)images * oh * ow;
    col += col_at + (ulong)c * kh * kw * pitch + (ulong)n * oh * ow;
    float sum = 0.0f;
    // Tap (ky, kx) met this pixel where y - ky and x - kx are multiples of the stride.
    for (uint ky = y % stride; ky < kh && ky <= y; ky += stride) {
        const uint oy = (y - ky) / stride;
        if (oy >= oh)
            continue;
        for (uint kx = x % stride; kx < kw && kx <= x; kx += stride) {
            const uint ox = (x - kx) / stride;
            if (ox < ow)
                sum += col[((ulong)ky * kw + kx) * pitch + (ulong)oy * ow + ox];
        }
    }
    dx[dx_at + (ulong)plane * h * w + at] = sum;
}
