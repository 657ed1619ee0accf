// conv_cpu.cl: images to columns, and columns' gradients back to images.
//
// x, dx: [N,C,H,W]. col: [C*kh*kw, N*OH*OW],
//     col[(c kh + ky) kw + kx, (n OH + oy) OW + ox] = x[n, c, oy stride + ky - padding,
//                                                          ox stride + kx - padding]
// and zero where that lies outside; conv2d_from_columns is the transpose of this linear map.
// Work-items: to columns, (c, ky) x image: kw rows of OH*OW; from columns, channel x image: a whole plane,
// which stays in the L1 cache while every row of columns is added to it.
// Determinism: one work-item owns what it writes; contributions are added in the order (ky, kx, oy).

// Outputs ox0 .. ox1 - 1 read inside the row for tap kx.
static inline uint2 conv2d_inside(uint kx, uint w, uint ow, uint stride, uint padding)
{
    const uint from = kx < padding ? (padding - kx + stride - 1) / stride : 0;
    const uint past = w + padding > kx ? (w + padding - kx + stride - 1) / stride : 0;
    const uint ox0 = min(from, ow);
    return (uint2)(ox0, max(min(past, ow), ox0));
}

CPU_KERNEL void conv2d_to_columns(__global float *restrict col, const ulong col_at,
    __global const float *restrict x, const ulong x_at, const uint channels, const uint h,
    const uint w, const uint kh, const uint kw, const uint oh, const uint ow, const uint stride,
    const uint padding)
{
    const uint row = get_global_id(0), c = row / kh, ky = row - c * kh; // (c, ky)
    const ulong n = get_global_id(1), pitch = (ulong)get_global_size(1) * oh * ow;
    x += x_at + (n * channels + c) * h * w;
    col += col_at + (ulong)row * kw * pitch + n * oh * ow;
    for (uint kx = 0; kx < kw; kx++) {
        const uint2 inside = conv2d_inside(kx, w, ow, stride, padding);
        for (uint oy = 0; oy < oh; oy++) {
            __global float *to = col + kx * pitch + (ulong)oy * ow;
            const uint iy = oy * stride + ky - padding; // wraps where it is negative
            if (iy >= h) {
                for (uint ox = 0; ox < ow; ox++)
                    to[ox] = 0.0f;
                continue;
            }
            __global const float *from = x + (ulong)iy * w;
            for (uint ox = 0; ox < inside.x; ox++)
                to[ox] = 0.0f;
            uint ox = inside.x;
            if (stride == 1) {
                from += kx - padding + ox;
                to += ox;
                const uint run = inside.y - ox;
                uint i = 0;
                for (; i + 16 <= run; i += 16)
                    vstore16(vload16(0, from + i), 0, to + i);
                for (; i + 4 <= run; i += 4)
                    vstore4(vload4(0, from + i), 0, to + i);
                for (; i < run; i++)
                    to[i] = from[i];
                to -= ox;
            } else {
                for (; ox < inside.y; ox++)
                    to[ox] = from[ox * stride + kx - padding];
            }
            for (ox = inside.y; ox < ow; ox++)
                to[ox] = 0.0f;
        }
    }
}

CPU_KERNEL void conv2d_from_columns(__global float *restrict dx, const ulong dx_at,
    __global const float *restrict col, const ulong col_at, const uint channels, const uint h,
    const uint w, const uint kh, const uint kw, const uint oh, const uint ow, const uint stride,
    const uint padding)
{
    const ulong c = get_global_id(0), n = get_global_id(1);
    const ulong pitch = (ulong)get_global_size(1) * oh * ow;
    const uint pixels = h * w;
    dx += dx_at + (n * channels + c) * pixels;
    col += col_at + c * kh * kw * pitch + n * oh * ow;
    for (uint i = 0; i < pixels; i++)
        dx[i] = 0.0f;
    for (uint ky = 0; ky < kh; ky++) {
        for (uint kx = 0; kx < kw; kx++) {
            const uint2 inside = conv2d_inside(kx, w, ow, stride, padding);
            for (uint oy = 0; oy < oh; oy++) {
                const uint iy = oy * stride + ky - padding;
                if (iy >= h)
                    continue;
                __global const float *from = col + ((ulong)ky * kw + kx) * pitch + (ulong)oy * ow;
                __global float *to = dx + (ulong)iy * w;
                if (stride == 1) {
                    from += inside.x;
                    to += kx - padding + inside.x;
                    const uint run = inside.y - inside.x;
                    uint i = 0;
                    for (; i + 16 <= run; i += 16)
                        vstore16(vload16(0, to + i) + vload16(0, from + i), 0, to + i);
                    for (; i + 4 <= run; i += 4)
                        vstore4(vload4(0, to + i) + vload4(0, from + i), 0, to + i);
                    for (; i < run; i++)
                        to[i] += from[i];
                } else {
                    for (uint ox = inside.x; ox < inside.y; ox++)
                        to[ox * stride + kx - padding] += from[ox];
                }
            }
        }
    }
}
