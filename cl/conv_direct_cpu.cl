// conv_direct_cpu.cl: convolution summed directly, for few taps or few channels.
// Program: rarely used (src/device/registry.c).
//
// lanes: images as [image / 16][C][rows][columns][16], images in the lanes, zeros around and in
// lanes without an image. weights: w as [m / 4][taps][4]. A work-item takes four channels of
// sixteen images, in bands of rows, and turns images and lanes round where it meets y, dy or dx.
//
//     conv2d_direct_forward   y = act(sum over taps + bias)
//     conv2d_direct_dx        dx = sum over taps of w dy act'(y): pixels whose place modulo the
//                             stride is the same have the same taps, and are a convolution of
//                             stride 1; weights: [c / 4][phase][m][taps of the phase, reversed][4]
//     conv2d_direct_dw        part[image / 16][m][taps + 1], sums over sixteen images of x dy
//                             act'(y), and behind the taps those of dy act'(y) alone; an item has
//                             some of the input channels
//     conv2d_direct_dw_sum    dw, dbias: the parts added up
//
// Tiles of 4 channels x 5 pixels, or 4 channels x 5 taps of a row, in registers.
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
    float16 row[16], value[16];
    CAPS_LOOP for (uint i = 0; i < w; i += 16)
    {
        const uint n = min(16u, w - i);
        caps_gather(row, x + i, (ulong)channels * h * w, lanes, n);
        if (act) {
            caps_gather(value, y + y_at + from + i, (ulong)channels * h * w, lanes, n);
            CAPS_LOOP for (uint e = 0; e < n; e++) row[e] =
                caps_act_gradient16(row[e], value[e], act);
        }
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

// four channels
CPU_KERNEL void conv2d_direct_weights(__global float *to, const ulong to_at,
    __global const float *w, const ulong w_at, const uint outputs, const uint taps)
{
    const uint m = (uint)get_global_id(0) * 4;
    to += to_at + (ulong)m * taps;
    w += w_at + (ulong)m * taps;
    CAPS_LOOP for (uint t = 0; t < taps; t++) for (uint n = 0; n < 4; n++) to[t * 4 + n] =
        m + n < outputs ? w[(ulong)n * taps + t] : 0.0f;
}

// Taps of a phase: of those at offsets phase, phase + stride, .. below `taps`.
#define DIRECT_PHASE(taps, phase, stride)                                                          \
    ((phase) < (taps) ? ((taps) - (phase) + (stride) - 1) / (stride) : 0)

// four input channels
CPU_KERNEL void conv2d_direct_weights_back(__global float *to, const ulong to_at,
    __global const float *w, const ulong w_at, const uint channels, const uint outputs,
    const uint kh, const uint kw, const uint stride)
{
    const uint c = (uint)get_global_id(0) * 4;
    to += to_at + (ulong)c * outputs * kh * kw;
    for (uint py = 0; py < stride; py++)
        for (uint px = 0; px < stride; px++) {
            const uint ny = DIRECT_PHASE(kh, py, stride), nx = DIRECT_PHASE(kw, px, stride);
            for (uint m = 0; m < outputs; m++)
                for (uint t = 0; t < ny * nx; t++, to += 4) {
                    const uint ky = py + stride * (ny - 1 - t / nx);
                    const uint kx = px + stride * (nx - 1 - t % nx);
                    for (uint n = 0; n < 4; n++)
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
        float16 sum[4][COUNT];                                                                     \
        UNROLL for (uint n = 0; n < 4; n++) UNROLL for (uint p = 0; p < COUNT; p++) sum[n][p] =    \
            s->add[n];                                                                             \
        __global const float *pw = w;                                                              \
        for (uint c = 0; c < s->channels; c++)                                                     \
            for (uint ky = 0; ky < taps_y; ky++) {                                                 \
                __global const float *px = from + c * s->plane + ky * s->line;                     \
                CAPS_LOOP for (uint kx = 0; kx < taps_x; kx++, px += 16, pw += 4)                  \
                {                                                                                  \
                    UNROLL for (uint p = 0; p < COUNT; p++)                                        \
                    {                                                                              \
                        const float16 v = vload16(p * stride, px);                                 \
                        UNROLL for (uint n = 0; n < 4; n++) sum[n][p] =                            \
                            fma((float16)(pw[n]), v, sum[n][p]);                                   \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        UNROLL for (uint n = 0; n < 4; n++) UNROLL for (uint p = 0; p < COUNT; p++)                \
            band[n * DIRECT_BAND + p * step] = caps_activate16(sum[n][p], s->act);                 \
    }

typedef struct direct_planes {
    uint channels, act;
    ulong plane, line;
    float16 add[4];
} direct_planes;

// A row of `count` pixels of four channels. w: [channels][taps_y][taps_x][4].
ALWAYS_INLINE void direct_row(float16 *band, const direct_planes *s, __global const float *from,
    __global const float *w, uint taps_y, uint taps_x, uint stride, uint step, uint count)
{
    CAPS_LOOP for (uint at = 0; at < count; at += 5, from += 80 * stride, band += 5 * step)
    {
        switch (min(5u, count - at)) {
        case 5:
            DIRECT_PIXELS(5)
            break;
        case 4:
            DIRECT_PIXELS(4)
            break;
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

// four channels x block of images
CPU_ITEM void conv2d_direct_forward_item(__global float *y, const ulong y_at,
    __global const float *lanes, const ulong lanes_at, __global const float *w, const ulong w_at,
    __global const float *bias, const ulong bias_at, const uint act, const uint images,
    const uint channels, const uint tall, const uint wide, const uint outputs, const uint kh,
    const uint kw, const uint stride, const uint oh, const uint ow, const size_t id0,
    const size_t id1)
{
    const uint m = (uint)id0 * 4, block = id1;
    const uint rows = min(oh, DIRECT_BAND / ow), pixels = oh * ow;
    float16 band[4][DIRECT_BAND];
    direct_planes s = {channels, act, (ulong)tall * wide * 16, (ulong)wide * 16, {0.0f}};
    lanes += lanes_at + (ulong)block * channels * tall * wide * 16;
    w += w_at + (ulong)m * channels * kh * kw;
    for (uint n = 0; n < 4; n++)
        s.add[n] = caps_given(bias_at) && m + n < outputs ? bias[bias_at + m + n] : 0.0f;
    y += y_at + (block * 16ul * outputs + m) * pixels;
    for (uint y0 = 0; y0 < oh; y0 += rows) {
        const uint y1 = min(y0 + rows, oh);
        for (uint oy = y0; oy < y1; oy++)
            direct_row(band[0] + (oy - y0) * ow, &s, lanes + (ulong)oy * stride * wide * 16, w, kh,
                kw, stride, 1, ow);
        for (uint n = 0; n < 4 && m + n < outputs; n++)
            caps_scatter(y + (ulong)n * pixels + y0 * ow, (ulong)outputs * pixels,
                min(16u, images - block * 16), (y1 - y0) * ow, band[n], 0);
    }
}

CPU_KERNEL void conv2d_direct_forward(__global float *y, const ulong y_at,
    __global const float *lanes, const ulong lanes_at, __global const float *w, const ulong w_at,
    __global const float *bias, const ulong bias_at, const uint act, const uint images,
    const uint channels, const uint tall, const uint wide, const uint outputs, const uint kh,
    const uint kw, const uint stride, const uint oh, const uint ow)
{
    conv2d_direct_forward_item(y, y_at, lanes, lanes_at, w, w_at, bias, bias_at, act, images,
        channels, tall, wide, outputs, kh, kw, stride, oh, ow, get_global_id(0), get_global_id(1));
}

// four input channels x block of images. lanes: dy act'(y), rows and columns as many above and left
// as a phase has taps, less one.
CPU_ITEM void conv2d_direct_dx_item(__global float *dx, const ulong dx_at,
    __global const float *lanes, const ulong lanes_at, __global const float *w, const ulong w_at,
    const uint images, const uint channels, const uint h, const uint width, const uint outputs,
    const uint kh, const uint kw, const uint stride, const uint padding, const uint tall,
    const uint wide, const size_t id0, const size_t id1)
{
    const uint c = (uint)id0 * 4, block = id1;
    const uint rows = min(h, DIRECT_BAND / width), pixels = h * width;
    const uint top = (kh + stride - 1) / stride - 1, left = (kw + stride - 1) / stride - 1;
    float16 band[4][DIRECT_BAND];
    const direct_planes s = {outputs, 0, (ulong)tall * wide * 16, (ulong)wide * 16, {0.0f}};
    lanes += lanes_at + (ulong)block * outputs * tall * wide * 16;
    w += w_at + (ulong)c * outputs * kh * kw;
    dx += dx_at + (block * 16ul * channels + c) * pixels;
    for (uint y0 = 0; y0 < h; y0 += rows) {
        const uint y1 = min(y0 + rows, h);
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
                    w + (ulong)before * outputs * 4, ny, nx, 1, stride,
                    (width - first + stride - 1) / stride);
            }
        }
        for (uint n = 0; n < 4 && c + n < channels; n++)
            caps_scatter(dx + (ulong)n * pixels + y0 * width, (ulong)channels * pixels,
                min(16u, images - block * 16), (y1 - y0) * width, band[n], 0);
    }
}

CPU_KERNEL void conv2d_direct_dx(__global float *dx, const ulong dx_at, __global const float *lanes,
    const ulong lanes_at, __global const float *w, const ulong w_at, const uint images,
    const uint channels, const uint h, const uint width, const uint outputs, const uint kh,
    const uint kw, const uint stride, const uint padding, const uint tall, const uint wide)
{
    conv2d_direct_dx_item(dx, dx_at, lanes, lanes_at, w, w_at, images, channels, h, width, outputs,
        kh, kw, stride, padding, tall, wide, get_global_id(0), get_global_id(1));
}

#define DIRECT_GRADIENTS(COUNT)                                                                    \
    {                                                                                              \
        float16 sum[4][COUNT];                                                                     \
        UNROLL for (uint n = 0; n < 4; n++) UNROLL for (uint k = 0; k < COUNT; k++) sum[n][k] =    \
            total[n][tap + k];                                                                     \
        for (uint oy = y0; oy < y1; oy++) {                                                        \
            __global const float *px =                                                             \
                lanes + (((ulong)c * tall + oy * stride + ky) * wide + kx) * 16;                   \
            const float16 *d = band[0] + (oy - y0) * ow;                                           \
            CAPS_LOOP for (uint ox = 0; ox < ow; ox++, px += 16 * stride, d++)                     \
            {                                                                                      \
                UNROLL for (uint k = 0; k < COUNT; k++)                                            \
                {                                                                                  \
                    const float16 v = vload16(k, px);                                              \
                    UNROLL for (uint n = 0; n < 4; n++) sum[n][k] =                                \
                        fma(v, d[n * DIRECT_BAND], sum[n][k]);                                     \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (uint n = 0; n < 4; n++) UNROLL for (uint k = 0; k < COUNT; k++)                \
            total[n][tap + k] = sum[n][k];                                                         \
    }

// four channels and a part of the input channels x block of images
CPU_ITEM void conv2d_direct_dw_item(__global float *part, const ulong part_at,
    __global const float *lanes, const ulong lanes_at, __global const float *dy, const ulong dy_at,
    __global const float *y, const ulong y_at, const uint act, const uint images,
    const uint channels, const uint tall, const uint wide, const uint outputs, const uint kh,
    const uint kw, const uint stride, const uint oh, const uint ow, const size_t id0,
    const size_t id1)
{
    const uint some = min(channels, DIRECT_TAPS / (kh * kw)), chunks = (channels + some - 1) / some;
    const uint m = (uint)id0 / chunks * 4, block = id1, c0 = (uint)id0 % chunks * some;
    const uint c1 = min(c0 + some, channels), taps = (c1 - c0) * kh * kw;
    const uint rows = min(oh, max(1u, DIRECT_FEW / ow)), pixels = oh * ow;
    const uint used = min(16u, images - block * 16);
    const ulong at = (block * 16ul * outputs + m) * pixels;
    float16 band[4][DIRECT_BAND], total[4][DIRECT_TAPS + 1], value[16];
    for (uint n = 0; n < 4; n++)
        CAPS_LOOP for (uint t = 0; t <= taps; t++) total[n][t] = 0.0f;
    lanes += lanes_at + (ulong)block * channels * tall * wide * 16;
    for (uint y0 = 0; y0 < oh; y0 += rows) {
        const uint y1 = min(y0 + rows, oh), count = (y1 - y0) * ow;
        for (uint n = 0; n < 4; n++) {
            if (m + n >= outputs) {
                CAPS_LOOP for (uint e = 0; e < count; e++) band[n][e] = 0.0f;
                continue;
            }
            const ulong from = at + (ulong)n * pixels + y0 * ow;
            caps_gather(band[n], dy + dy_at + from, (ulong)outputs * pixels, used, count);
            CAPS_LOOP for (uint e = 0; act && e < count; e += 16)
            {
                const uint left = min(16u, count - e);
                caps_gather(value, y + y_at + from + e, (ulong)outputs * pixels, used, left);
                for (uint l = 0; l < left; l++)
                    band[n][e + l] = caps_act_gradient16(band[n][e + l], value[l], act);
            }
            CAPS_LOOP for (uint e = 0; e < count; e++) total[n][taps] += band[n][e];
        }
        for (uint c = c0; c < c1; c++) {
            for (uint ky = 0; ky < kh; ky++) {
                CAPS_LOOP for (uint kx = 0; kx < kw; kx += 5)
                {
                    const uint tap = ((c - c0) * kh + ky) * kw + kx;
                    switch (min(5u, kw - kx)) {
                    case 5:
                        DIRECT_GRADIENTS(5)
                        break;
                    case 4:
                        DIRECT_GRADIENTS(4)
                        break;
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
    const uint all = channels * kh * kw;
    part += part_at + ((ulong)block * outputs + m) * (all + 1) + c0 * kh * kw;
    for (uint n = 0; n < 4 && m + n < outputs; n++) {
        CAPS_LOOP for (uint t = 0; t < taps; t++) part[(ulong)n * (all + 1) + t] =
            caps_sum16(total[n][t]);
        if (c1 == channels)
            part[(ulong)n * (all + 1) + taps] = caps_sum16(total[n][taps]);
    }
}

CPU_KERNEL void conv2d_direct_dw(__global float *part, const ulong part_at,
    __global const float *lanes, const ulong lanes_at, __global const float *dy, const ulong dy_at,
    __global const float *y, const ulong y_at, const uint act, const uint images,
    const uint channels, const uint tall, const uint wide, const uint outputs, const uint kh,
    const uint kw, const uint stride, const uint oh, const uint ow)
{
    conv2d_direct_dw_item(part, part_at, lanes, lanes_at, dy, dy_at, y, y_at, act, images, channels,
        tall, wide, outputs, kh, kw, stride, oh, ow, get_global_id(0), get_global_id(1));
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
