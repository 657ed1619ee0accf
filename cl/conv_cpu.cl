// conv_cpu.cl: images to columns, and columns' gradients back to images.
// Program: rarely used (src/device/registry.c).
//
// x, dx: [N,C,H,W]. col: [C*kh*kw, N*OH*OW],
//     col[(c kh + ky) kw + kx, (n OH + oy) OW + ox] = x[n, c, oy stride + ky - padding,
//                                                          ox stride + kx - padding]
// and zero where that lies outside; conv2d_from_columns is the transpose of this linear map.
// Work-items: to columns, (c, ky) x image: kw rows of OH*OW; from columns, channel x image: a whole
// plane. Determinism: one work-item owns what it writes; contributions are added in the order (ky,
// kx).
//
// A row of the image, its zeros included, lies in private memory cut by stride: element t of the
// padded row (t = x + padding) at [t % stride][t / stride]. Then what tap kx reads for ox = 0, 1,
// .. is contiguous, from [kx % stride][kx / stride] on, whatever the stride. Rows too long for that
// go element by element.

#ifndef CONV2D_ROW
#define CONV2D_ROW                                                                                 \
    640 // floats of a padded row with its gaps: 512 pixels at stride 1, and more than most
#endif

// Floats of one phase of the row: its elements, and eight more so that vectors may read past the
// end.
static inline uint conv2d_phase(uint w, uint stride, uint padding)
{
    return (w + 2 * padding + stride - 1) / stride + 8;
}

// Outputs ox0 .. ox1 - 1 read inside the row for tap kx.
static inline uint2 conv2d_inside(uint kx, uint w, uint ow, uint stride, uint padding)
{
    const uint from = kx < padding ? (padding - kx + stride - 1) / stride : 0;
    const uint past = w + padding > kx ? (w + padding - kx + stride - 1) / stride : 0;
    const uint ox0 = min(from, ow);
    return (uint2)(ox0, max(min(past, ow), ox0));
}

// The row's elements to their places; the zeros are there already.
static inline void conv2d_take_row(
    float *row, __global const float *from, uint w, uint stride, uint padding, uint phase)
{
    if (stride == 1) {
        uint x = 0;
        for (; x + 8 <= w; x += 8)
            vstore8(vload8(0, from + x), 0, row + padding + x);
        for (; x < w; x++)
            row[padding + x] = from[x];
        return;
    }
    if (stride == 2) {
        const uint odd = padding & 1; // the phase of from[0]
        float *first = row + odd * phase + padding / 2,
              *second = row + (1 - odd) * phase + (padding + 1) / 2;
        uint x = 0;
        for (; x + 16 <= w; x += 16) {
            const float16 v = vload16(0, from + x); // .even and .odd: see caps_high in common.clh
            vstore8((float8)(v.s0, v.s2, v.s4, v.s6, v.s8, v.sa, v.sc, v.se), 0, first + x / 2);
            vstore8((float8)(v.s1, v.s3, v.s5, v.s7, v.s9, v.sb, v.sd, v.sf), 0, second + x / 2);
        }
        for (; x + 2 <= w; x += 2) {
            first[x / 2] = from[x];
            second[x / 2] = from[x + 1];
        }
        if (x < w)
            first[x / 2] = from[x];
        return;
    }
    uint at = padding % stride, place = padding / stride;
    for (uint x = 0; x < w; x++) {
        row[at * phase + place] = from[x];
        if (++at == stride) {
            at = 0;
            place++;
        }
    }
}

// to[0 .. n) = from; `capacity` elements from to[0] on may be overwritten: what lies behind is
// written later.
static inline void conv2d_copy(__global float *to, const float *from, uint n, uint capacity)
{
    uint x = 0;
    for (; x < n && x + 8 <= capacity; x += 8)
        vstore8(vload8(0, from + x), 0, to + x);
    for (; x < n; x++)
        to[x] = from[x];
}

// to += from[0 .. n).
static inline void conv2d_add(float *to, __global const float *from, uint n)
{
    uint x = 0;
    for (; x + 8 <= n; x += 8)
        vstore8(vload8(0, to + x) + vload8(0, from + x), 0, to + x);
    if (x + 4 <= n) {
        vstore4(vload4(0, to + x) + vload4(0, from + x), 0, to + x);
        x += 4;
    }
    for (; x < n; x++)
        to[x] += from[x];
}

CPU_ITEM void conv2d_to_columns_item(__global float *restrict col, const ulong col_at,
    __global const float *restrict x, const ulong x_at, const uint channels, const uint h,
    const uint w, const uint kh, const uint kw, const uint oh, const uint ow, const uint stride,
    const uint padding, const size_t id0, const size_t id1, const size_t size1)
{
    const uint row = id0, c = row / kh, ky = row - c * kh; // (c, ky)
    const ulong n = id1, pitch = (ulong)size1 * oh * ow;
    x += x_at + (n * channels + c) * h * w;
    col += col_at + (ulong)row * kw * pitch + n * oh * ow;
    const uint phase = conv2d_phase(w, stride, padding);
    if (stride <= CONV2D_ROW / phase) {
        float taken[CONV2D_ROW];
        for (uint i = 0; i < phase * stride; i++)
            taken[i] = 0.0f;
        for (uint oy = 0; oy < oh; oy++) {
            const uint iy = oy * stride + ky - padding; // wraps where it is negative
            if (iy < h)
                conv2d_take_row(taken, x + (ulong)iy * w, w, stride, padding, phase);
            uint at = 0, place = 0;
            for (uint kx = 0; kx < kw; kx++) {
                __global float *to = col + kx * pitch + (ulong)oy * ow;
                if (iy < h)
                    conv2d_copy(to, taken + at * phase + place, ow, (oh - oy) * ow);
                else
                    for (uint ox = 0; ox < ow; ox++)
                        to[ox] = 0.0f;
                if (++at == stride) {
                    at = 0;
                    place++;
                }
            }
        }
        return;
    }
    for (uint kx = 0; kx < kw; kx++) {
        const uint2 inside = conv2d_inside(kx, w, ow, stride, padding);
        for (uint oy = 0; oy < oh; oy++) {
            __global float *to = col + kx * pitch + (ulong)oy * ow;
            const uint iy = oy * stride + ky - padding;
            for (uint ox = 0; ox < ow; ox++)
                to[ox] = iy < h && ox >= inside.x && ox < inside.y
                             ? x[(ulong)iy * w + ox * stride + kx - padding]
                             : 0.0f;
        }
    }
}

CPU_KERNEL void conv2d_to_columns(__global float *restrict col, const ulong col_at,
    __global const float *restrict x, const ulong x_at, const uint channels, const uint h,
    const uint w, const uint kh, const uint kw, const uint oh, const uint ow, const uint stride,
    const uint padding)
{
    conv2d_to_columns_item(col, col_at, x, x_at, channels, h, w, kh, kw, oh, ow, stride, padding,
        get_global_id(0), get_global_id(1), get_global_size(1));
}

CPU_ITEM void conv2d_from_columns_item(__global float *restrict dx, const ulong dx_at,
    __global const float *restrict col, const ulong col_at, const uint channels, const uint h,
    const uint w, const uint kh, const uint kw, const uint oh, const uint ow, const uint stride,
    const uint padding, const size_t id0, const size_t id1, const size_t size1)
{
    const ulong c = id0, n = id1;
    const ulong pitch = (ulong)size1 * oh * ow;
    const uint pixels = h * w;
    dx += dx_at + (n * channels + c) * pixels;
    col += col_at + c * kh * kw * pitch + n * oh * ow;
    const uint phase = conv2d_phase(w, stride, padding);
    if (stride <= CONV2D_ROW / phase) {
        float sums[CONV2D_ROW];
        for (uint iy = 0; iy < h; iy++) {
            for (uint i = 0; i < phase * stride; i++)
                sums[i] = 0.0f;
            // Taps ky that read this row: ky = iy + padding - oy stride.
            const uint t = iy + padding;
            for (uint ky = t % stride; ky < kh && ky <= t; ky += stride) {
                const uint oy = (t - ky) / stride;
                if (oy >= oh)
                    continue;
                __global const float *from = col + (ulong)ky * kw * pitch + (ulong)oy * ow;
                uint at = 0, place = 0;
                for (uint kx = 0; kx < kw; kx++) {
                    conv2d_add(sums + at * phase + place, from + kx * pitch, ow);
                    if (++at == stride) {
                        at = 0;
                        place++;
                    }
                }
            }
            __global float *to = dx + (ulong)iy * w;
            uint at = padding % stride, place = padding / stride;
            for (uint i = 0; i < w; i++) {
                to[i] = sums[at * phase + place];
                if (++at == stride) {
                    at = 0;
                    place++;
                }
            }
        }
        return;
    }
    for (uint i = 0; i < pixels; i++)
        dx[i] = 0.0f;
    for (uint ky = 0; ky < kh; ky++)
        for (uint kx = 0; kx < kw; kx++) {
            const uint2 inside = conv2d_inside(kx, w, ow, stride, padding);
            for (uint oy = 0; oy < oh; oy++) {
                const uint iy = oy * stride + ky - padding;
                if (iy >= h)
                    continue;
                __global const float *from = col + ((ulong)ky * kw + kx) * pitch + (ulong)oy * ow;
                for (uint ox = inside.x; ox < inside.y; ox++)
                    dx[(ulong)iy * w + ox * stride + kx - padding] += from[ox];
            }
        }
}

CPU_KERNEL void conv2d_from_columns(__global float *restrict dx, const ulong dx_at,
    __global const float *restrict col, const ulong col_at, const uint channels, const uint h,
    const uint w, const uint kh, const uint kw, const uint oh, const uint ow, const uint stride,
    const uint padding)
{
    conv2d_from_columns_item(dx, dx_at, col, col_at, channels, h, w, kh, kw, oh, ow, stride,
        padding, get_global_id(0), get_global_id(1), get_global_size(1));
}
