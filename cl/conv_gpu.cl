// conv_gpu.cl: images to columns, and columns' gradients back to images.
//
// x, dx: [N,C,H,W]. col: [C*kh*kw, N*OH*OW],
//     col[(c kh + ky) kw + kx, (n OH + oy) OW + ox] = x[n, c, oy stride + ky - padding,
//                                                          ox stride + kx - padding]
// and zero where that lies outside; conv2d_from_columns is the transpose of this linear map.
// Work-items: to columns, a place in the rows of one channel's taps, all of which it writes; from
// columns, a pixel of a plane. Neighbours write neighbours. Groups of both are counted in dimension
// 0, `blocks` of them a channel or plane. Divisions, which GPUs do in some forty instructions, are
// before the loops.
// Determinism: every dx element gathers its own contributions in the order (ky, kx); no atomics.

__kernel void conv2d_to_columns(__global float *col, const ulong col_at, __global const float *x,
    const ulong x_at, const uint channels, const uint h, const uint w, const uint kh,
    const uint kw, const uint oh, const uint ow, const uint stride, const uint padding,
    const uint images, const uint blocks)
{
    const uint group = (uint)get_group_id(0), c = group / blocks, pixels = oh * ow;
    const uint at = (group - c * blocks) * (uint)get_local_size(0) + (uint)get_local_id(0);
    if (at >= images * pixels)
        return;
    const uint n = at / pixels, p = at - n * pixels, oy = p / ow, ox = p - oy * ow;
    const uint top = oy * stride - padding, left = ox * stride - padding; // may wrap
    const ulong pitch = (ulong)images * pixels;
    x += x_at + ((ulong)n * channels + c) * h * w;
    col += col_at + (ulong)c * kh * kw * pitch + at;
    for (uint ky = 0; ky < kh; ky++)
        for (uint kx = 0; kx < kw; kx++) {
            const uint iy = top + ky, ix = left + kx;
            *col = iy < h && ix < w ? x[iy * w + ix] : 0.0f;
            col += pitch;
        }
}

__kernel void conv2d_from_columns(__global float *dx, const ulong dx_at, __global const float *col,
    const ulong col_at, const uint channels, const uint h, const uint w, const uint kh,
    const uint kw, const uint oh, const uint ow, const uint stride, const uint padding,
    const uint images, const uint blocks)
{
    const uint group = (uint)get_group_id(0), plane = group / blocks;
    const uint at = (group - plane * blocks) * (uint)get_local_size(0) + (uint)get_local_id(0);
    if (at >= h * w)
        return;
    const uint n = plane / channels, c = plane - n * channels;
    const uint y = at / w + padding, x = at - at / w * w + padding; // in the padded image
    const uint last_y = y / stride, last_x = x / stride; // outputs that meet it by their first taps
    const ulong pitch = (ulong)images * oh * ow;
    col += col_at + (ulong)c * kh * kw * pitch + (ulong)n * oh * ow;
    float sum = 0.0f;
    // Tap (ky, kx) met this pixel where y - ky and x - kx are multiples of the stride.
    for (uint ky = y - last_y * stride, oy = last_y; ky < kh && ky <= y; ky += stride, oy--) {
        if (oy >= oh)
            continue;
        for (uint kx = x - last_x * stride, ox = last_x; kx < kw && kx <= x; kx += stride, ox--)
            if (ox < ow)
                sum += col[((ulong)ky * kw + kx) * pitch + (ulong)oy * ow + ox];
    }
    dx[dx_at + (ulong)plane * h * w + at] = sum;
}
