// conv_direct_cpu.cl: convolution summed directly, for few taps or few channels.
// Program: rarely used (src/device/registry.c).
//
// lanes: images as [image / 16][C][rows][columns][16], images in the lanes, zeros around and in
// lanes without an image. weights: w as [m / 8][taps][8]. An item has a band of rows of sixteen
// images, so that what it reads stays in a cache while it goes through all channels of its output,
// eight at a time, and turns images and lanes round where it meets y, dy or dx.
//
//     conv2d_direct_forward   y = act(sum over taps + bias)
//     conv2d_direct_dx        dx = sum over taps of w dy act'(y): pixels whose place modulo the
//                             stride is the same have the same taps, and are a convolution of
//                             stride 1; weights: [c / 8][phase][m][taps of the phase, reversed][8]
//     conv2d_direct_dw        part[image / 16][m][taps + 1], sums over sixteen images of x dy
//                             act'(y), and behind the taps those of dy act'(y) alone; an item has
//                             eight output and some of the input channels
//     conv2d_direct_dw_sum    dw, dbias: the parts added up
//
// Tiles of 8 channels x 3 pixels, or 8 channels x 3 taps of a row, in registers.
// Determinism: taps in order; gradients over pixels, lanes, then blocks of images in order.

#define DIRECT_BAND 512 // pixels in private memory, for each channel
#define DIRECT_FEW  96  // pixels that a gradient goes through at once, where a row has no more
#define DIRECT_TAPS 256 // of an item of a gradient, at most

// x, or x act'(y), to rows x columns, with the image `top` and `left` of the first ones.
// row (of C x rows) x block of images
CPU_ITEM void conv2d_direct_lanes_item(__global float *to, const ulong to_at,
    __global const float *x, const ulong x_at, __global const float *y, const ulong y_at,
    const uint act, const uint images, const uint channels, const uint h, const uint w,
    const uint top, const uint left, const uint rows, const uint columns, const size_t id0,
    const size_t id1, const size_t size0)
{
    const uint c = (uint)id0 / rows, line = (uint)id0 % rows;
    const uint block = id1, lanes = min(16u, images - block * 16);
    to += to_at + (block * (ulong)size0 + id0) * columns * 16;
    if (line < top || line >= h + top) {
        CAPS_LOOP for (uint i = 0; i < columns; i++) vstore16((float16)(0.0f), i, to);
        return;
    }
    const ulong from = ((block * 16ul * channels + c) * h + line - top) * w;
    x += x_at + from;
    CAPS_LOOP for (uint i = 0; i < left; i++) vstore16((float16)(0.0f), i, to);
    CAPS_LOOP for (uint i = left + w; i < columns; i++) vstore16((float16)(0.0f), i, to);
    float16 row[16];
    CAPS_LOOP for (uint i = 0; i < w; i += 16)
    {
        const uint n = min(16u, w - i);
        caps_gather_gradient(
            row, x + i, y + y_at + from + i, act, (ulong)channels * h * w, lanes, n);
        CAPS_LOOP for (uint e = 0; e < n; e++) vstore16(row[e], left + i + e, to);
    }
}

CPU_KERNEL void conv2d_direct_lanes(__global float *to, const ulong to_at, __global const float *x,
    const ulong x_at, __global const float *y, const ulong y_at, const uint act, const uint images,
    const uint channels, const uint h, const uint w, const uint top, const uint left,
    const uint rows, const uint columns)
{
    conv2d_direct_lanes_item(to, to_at, x, x_at, y, y_at, act, images, channels, h, w, top, left,
        rows, columns, get_global_id(0), get_global_id(1), get_global_size(0));
}

// eight output channels
CPU_KERNEL void conv2d_direct_weights(__global float *to, const ulong to_at,
    __global const float *w, const ulong w_at, const uint outputs, const uint taps)
{
    const uint m = (uint)get_global_id(0) * 8;
    to += to_at + (ulong)m * taps;
    w += w_at + (ulong)m * taps;
    CAPS_LOOP for (uint t = 0; t < taps; t++) for (uint n = 0; n < 8; n++) to[t * 8 + n] =
        m + n < outputs ? w[(ulong)n * taps + t] : 0.0f;
}

// Taps of a phase: of those at offsets phase, phase + stride, .. below `taps`.
#define DIRECT_PHASE(taps, phase, stride)                                                          \
    ((phase) < (taps) ? ((taps) - (phase) + (stride)-1) / (stride) : 0)

// eight input channels
CPU_KERNEL void conv2d_direct_weights_back(__global float *to, const ulong to_at,
    __global const float *w, const ulong w_at, const uint channels, const uint outputs,
    const uint kh, const uint kw, const uint stride)
{
    const uint c = (uint)get_global_id(0) * 8;
    to += to_at + (ulong)c * outputs * kh * kw;
    for (uint py = 0; py < stride; py++)
        for (uint px = 0; px < stride; px++) {
            const uint ny = DIRECT_PHASE(kh, py, stride), nx = DIRECT_PHASE(kw, px, stride);
            for (uint m = 0; m < outputs; m++)
                for (uint t = 0; t < ny * nx; t++, to += 8) {
                    const uint ky = py + stride * (ny - 1 - t / nx);
                    const uint kx = px + stride * (nx - 1 - t % nx);
                    for (uint n = 0; n < 8; n++)
                        to[n] = c + n < channels
                                    ? w[w_at + (((ulong)m * channels + c + n) * kh + ky) * kw + kx]
                                    : 0.0f;
                }
        }
}

// COUNT pixels, `stride` apart in the lanes at `from`, of `channels` planes of `plane` floats whose
// rows are `line` floats apart, to band[n][at], band[n][at + step], ...
#define DIRECT_PIXELS(COUNT)                                                                       \
    {                                                                                              \
        float16 sum[8][COUNT];                                                                     \
        UNROLL for (uint n = 0; n < 8; n++) UNROLL for (uint p = 0; p < COUNT; p++) sum[n][p] =    \
            s->add[n];                                                                             \
        __global const float *pw = w, *pc = from;                                                  \
        for (uint c = 0; c < s->channels; c++, pc += s->plane) {                                   \
            __global const float *row = pc;                                                        \
            for (uint ky = 0; ky < taps_y; ky++, row += s->line) {                                 \
                __global const float *px = row;                                                    \
                CAPS_LOOP for (uint kx = 0; kx < taps_x; kx++, px += 16, pw += 8)                  \
                {                                                                                  \
                    float16 v[COUNT];                                                              \
                    UNROLL for (uint p = 0; p < COUNT; p++) v[p] = vload16(p * stride, px);        \
                    UNROLL for (uint n = 0; n < 8; n++)                                            \
                    {                                                                              \
                        const float16 by = pw[n];                                                  \
                        UNROLL for (uint p = 0; p < COUNT; p++) sum[n][p] =                        \
                            fma(by, v[p], sum[n][p]);                                              \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (uint n = 0; n < 8; n++) UNROLL for (uint p = 0; p < COUNT; p++)                \
            band[n * DIRECT_BAND + p * step] = caps_activate16(sum[n][p], s->act);                 \
    }

typedef struct direct_planes {
    uint channels, act;
    ulong plane, line;
    float16 add[8];
} direct_planes;

// A row of `count` pixels of eight channels. w: [channels][taps_y][taps_x][8].
ALWAYS_INLINE void direct_row(float16 *band, const direct_planes *s, __global const float *from,
    __global const float *w, uint taps_y, uint taps_x, uint stride, uint step, uint count)
{
    uint some;
    CAPS_LOOP for (uint at = 0; at < count;
                   at += some, from += some * 16 * stride, band += some * step)
    {
        some = caps_threes(count - at);
        switch (some) {
        case 3:
            DIRECT_PIXELS(3)
            break;
        case 2:
            DIRECT_PIXELS(2)
            break;
        default:
            DIRECT_PIXELS(1)
        }
    }
}

// band of rows and part of the output channels x block of images
CPU_ITEM void conv2d_direct_forward_item(__global float *y, const ulong y_at,
    __global const float *lanes, const ulong lanes_at, __global const float *w, const ulong w_at,
    __global const float *bias, const ulong bias_at, const uint act, const uint images,
    const uint channels, const uint tall, const uint wide, const uint outputs, const uint kh,
    const uint kw, const uint stride, const uint oh, const uint ow, const uint rows,
    const uint parts, const size_t id0, const size_t id1)
{
    const uint block = id1, y0 = (uint)id0 / parts * rows, y1 = min(y0 + rows, oh);
    const uint own = (uint)id0 % parts, eights = (outputs + 7) / 8, pixels = oh * ow;
    float16 band[8][DIRECT_BAND];
    direct_planes s = {channels, act, (ulong)tall * wide * 16, (ulong)wide * 16, {0.0f}};
    lanes += lanes_at + (ulong)block * channels * tall * wide * 16;
    for (uint m = own * eights / parts * 8; m < min(outputs, (own + 1) * eights / parts * 8);
         m += 8) {
        for (uint n = 0; n < 8; n++)
            s.add[n] = caps_given(bias_at) && m + n < outputs ? bias[bias_at + m + n] : 0.0f;
        for (uint oy = y0; oy < y1; oy++)
            direct_row(band[0] + (oy - y0) * ow, &s, lanes + (ulong)oy * stride * wide * 16,
                w + w_at + (ulong)m * channels * kh * kw, kh, kw, stride, 1, ow);
        for (uint n = 0; n < 8 && m + n < outputs; n++)
            caps_scatter(y + y_at + (block * 16ul * outputs + m + n) * pixels + y0 * ow,
                (ulong)outputs * pixels, min(16u, images - block * 16), (y1 - y0) * ow, band[n], 0);
    }
}

CPU_KERNEL void conv2d_direct_forward(__global float *y, const ulong y_at,
    __global const float *lanes, const ulong lanes_at, __global const float *w, const ulong w_at,
    __global const float *bias, const ulong bias_at, const uint act, const uint images,
    const uint channels, const uint tall, const uint wide, const uint outputs, const uint kh,
    const uint kw, const uint stride, const uint oh, const uint ow, const uint rows,
    const uint parts)
{
    conv2d_direct_forward_item(y, y_at, lanes, lanes_at, w, w_at, bias, bias_at, act, images,
        channels, tall, wide, outputs, kh, kw, stride, oh, ow, rows, parts, get_global_id(0),
        get_global_id(1));
}

// band of rows and part of the input channels x block of images. lanes: dy act'(y), rows and columns
// as many above and left as a phase has taps, less one.
CPU_ITEM void conv2d_direct_dx_item(__global float *dx, const ulong dx_at,
    __global const float *lanes, const ulong lanes_at, __global const float *w, const ulong w_at,
    const uint images, const uint channels, const uint h, const uint width, const uint outputs,
    const uint kh, const uint kw, const uint stride, const uint padding, const uint tall,
    const uint wide, const uint rows, const uint parts, const size_t id0, const size_t id1)
{
    const uint block = id1, y0 = (uint)id0 / parts * rows, y1 = min(y0 + rows, h);
    const uint own = (uint)id0 % parts, eights = (channels + 7) / 8, pixels = h * width;
    const uint top = (kh + stride - 1) / stride - 1, left = (kw + stride - 1) / stride - 1;
    float16 band[8][DIRECT_BAND];
    const direct_planes s = {outputs, 0, (ulong)tall * wide * 16, (ulong)wide * 16, {0.0f}};
    lanes += lanes_at + (ulong)block * outputs * tall * wide * 16;
    for (uint c = own * eights / parts * 8; c < min(channels, (own + 1) * eights / parts * 8);
         c += 8) {
        __global const float *by = w + w_at + (ulong)c * outputs * kh * kw;
        for (uint y = y0; y < y1; y++) {
            const uint py = (y + padding) % stride, ny = DIRECT_PHASE(kh, py, stride);
            __global const float *line =
                lanes + (ulong)((y + padding) / stride + top + 1 - ny) * wide * 16;
            for (uint first = 0; first < min(stride, width); first++) {
                const uint px = (first + padding) % stride, nx = DIRECT_PHASE(kw, px, stride);
                // Before this phase: whole rows of earlier ones, and this one's part of a row.
                uint before = 0;
                for (uint p = 0; p < py; p++)
                    before += DIRECT_PHASE(kh, p, stride) * kw;
                for (uint p = 0; p < px; p++)
                    before += ny * DIRECT_PHASE(kw, p, stride);
                direct_row(band[0] + (y - y0) * width + first, &s,
                    line + ((first + padding) / stride + left + 1 - nx) * 16,
                    by + (ulong)before * outputs * 8, ny, nx, 1, stride,
                    (width - first + stride - 1) / stride);
            }
        }
        for (uint n = 0; n < 8 && c + n < channels; n++)
            caps_scatter(dx + dx_at + (block * 16ul * channels + c + n) * pixels + y0 * width,
                (ulong)channels * pixels, min(16u, images - block * 16), (y1 - y0) * width, band[n],
                0);
    }
}

CPU_KERNEL void conv2d_direct_dx(__global float *dx, const ulong dx_at, __global const float *lanes,
    const ulong lanes_at, __global const float *w, const ulong w_at, const uint images,
    const uint channels, const uint h, const uint width, const uint outputs, const uint kh,
    const uint kw, const uint stride, const uint padding, const uint tall, const uint wide,
    const uint rows, const uint parts)
{
    conv2d_direct_dx_item(dx, dx_at, lanes, lanes_at, w, w_at, images, channels, h, width, outputs,
        kh, kw, stride, padding, tall, wide, rows, parts, get_global_id(0), get_global_id(1));
}

#define DIRECT_GRADIENTS(COUNT)                                                                    \
    {                                                                                              \
        float16 sum[8][COUNT];                                                                     \
        UNROLL for (uint n = 0; n < 8; n++) UNROLL for (uint k = 0; k < COUNT; k++) sum[n][k] =    \
            total[n][tap + k];                                                                     \
        const float16 *d = band[0];                                                                \
        for (uint oy = y0; oy < y1; oy++) {                                                        \
            __global const float *px =                                                             \
                lanes + (((ulong)c * tall + oy * stride + ky) * wide + kx) * 16;                   \
            CAPS_LOOP for (uint ox = 0; ox < ow; ox++, px += 16 * stride, d += 8)                  \
            {                                                                                      \
                float16 v[COUNT];                                                                  \
                UNROLL for (uint k = 0; k < COUNT; k++) v[k] = vload16(k, px);                     \
                UNROLL for (uint n = 0; n < 8; n++)                                                \
                {                                                                                  \
                    const float16 by = d[n];                                                       \
                    UNROLL for (uint k = 0; k < COUNT; k++) sum[n][k] = fma(v[k], by, sum[n][k]);  \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (uint n = 0; n < 8; n++) UNROLL for (uint k = 0; k < COUNT; k++)                \
            total[n][tap + k] = sum[n][k];                                                         \
    }

// Rows of dy act'(y) of one of eight channels, to every eighth of `to`.
static __attribute__((noinline)) void direct_gradient(float16 *to, __global const float *dy,
    __global const float *y, uint act, ulong apart, uint images, uint count)
{
    float16 band[DIRECT_BAND];
    caps_gather_gradient(band, dy, y, act, apart, images, count);
    CAPS_LOOP for (uint e = 0; e < count; e++) to[e * 8] = band[e];
}

// some of the input and eight output channels x block of images
CPU_ITEM void conv2d_direct_dw_item(__global float *part, const ulong part_at,
    __global const float *lanes, const ulong lanes_at, __global const float *dy, const ulong dy_at,
    __global const float *y, const ulong y_at, const uint act, const uint images,
    const uint channels, const uint tall, const uint wide, const uint outputs, const uint kh,
    const uint kw, const uint stride, const uint oh, const uint ow, const uint some,
    const size_t id0, const size_t id1)
{
    const uint eights = (outputs + 7) / 8, m = (uint)id0 % eights * 8, block = id1;
    const uint c0 = (uint)id0 / eights * some, c1 = min(c0 + some, channels);
    const uint taps = (c1 - c0) * kh * kw, all = channels * kh * kw, outs = min(8u, outputs - m);
    const uint rows = min(oh, max(1u, DIRECT_FEW / ow)), pixels = oh * ow;
    const ulong at = (block * 16ul * outputs + m) * pixels;
    float16 band[DIRECT_BAND][8], total[8][DIRECT_TAPS + 1];
    for (uint n = 0; n < 8; n++)
        CAPS_LOOP for (uint t = 0; t <= taps; t++) total[n][t] = 0.0f;
    for (uint n = outs; n < 8; n++)
        CAPS_LOOP for (uint e = 0; e < rows * ow; e++) band[e][n] = 0.0f;
    lanes += lanes_at + (ulong)block * channels * tall * wide * 16;
    for (uint y0 = 0; y0 < oh; y0 += rows) {
        const uint y1 = min(y0 + rows, oh), count = (y1 - y0) * ow;
        for (uint n = 0; n < outs; n++) {
            const ulong from = at + (ulong)n * pixels + y0 * ow;
            direct_gradient(&band[0][n], dy + dy_at + from, y + y_at + from, act,
                (ulong)outputs * pixels, min(16u, images - block * 16), count);
        }
        CAPS_LOOP for (uint e = 0; e < count; e++) for (uint n = 0; n < 8; n++) total[n][taps] +=
            band[e][n];
        for (uint c = c0; c < c1; c++) {
            for (uint ky = 0; ky < kh; ky++) {
                uint some;
                CAPS_LOOP for (uint kx = 0; kx < kw; kx += some)
                {
                    const uint tap = ((c - c0) * kh + ky) * kw + kx;
                    some = caps_threes(kw - kx);
                    switch (some) {
                    case 3:
                        DIRECT_GRADIENTS(3)
                        break;
                    case 2:
                        DIRECT_GRADIENTS(2)
                        break;
                    default:
                        DIRECT_GRADIENTS(1)
                    }
                }
            }
        }
    }
    part += part_at + ((ulong)block * outputs + m) * (all + 1);
    for (uint n = 0; n < outs; n++, part += all + 1) {
        CAPS_LOOP for (uint t = 0; t < taps; t++) part[c0 * kh * kw + t] = caps_sum16(total[n][t]);
        if (c1 == channels)
            part[all] = caps_sum16(total[n][taps]);
    }
}

CPU_KERNEL void conv2d_direct_dw(__global float *part, const ulong part_at,
    __global const float *lanes, const ulong lanes_at, __global const float *dy, const ulong dy_at,
    __global const float *y, const ulong y_at, const uint act, const uint images,
    const uint channels, const uint tall, const uint wide, const uint outputs, const uint kh,
    const uint kw, const uint stride, const uint oh, const uint ow, const uint some)
{
    conv2d_direct_dw_item(part, part_at, lanes, lanes_at, dy, dy_at, y, y_at, act, images, channels,
        tall, wide, outputs, kh, kw, stride, oh, ow, some, get_global_id(0), get_global_id(1));
}

// output channel
CPU_KERNEL void conv2d_direct_dw_sum(__global float *dw, const ulong dw_at, __global float *dbias,
    const ulong dbias_at, __global const float *part, const ulong part_at, const uint blocks,
    const uint taps, const uint added)
{
    const uint m = get_global_id(0), outputs = get_global_size(0);
    CAPS_LOOP for (uint t = 0; t <= taps; t++)
    {
        float sum = 0.0f;
        for (uint b = 0; b < blocks; b++)
            sum += part[part_at + ((ulong)b * outputs + m) * (taps + 1) + t];
        if (t < taps) {
            __global float *to = dw + dw_at + (ulong)m * taps + t;
            *to = added ? *to + sum : sum;
        } else if (caps_given(dbias_at)) {
            __global float *to = dbias + dbias_at + m;
            *to = added ? *to + sum : sum;
        }
    }
}
