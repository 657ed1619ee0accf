// conv_direct_cpu.cl: convolution with few taps (C kh kw), summed directly.
// Program: rarely used (src/device/registry.c).
//
// lanes: x as [image / 16][C][H + 2 padding][W + 2 padding][16], images in the lanes, zeros around
// and in lanes without an image. weights: w as [m / 4][taps][4]. A work-item takes four output
// channels of sixteen images, in bands of rows, and turns images and lanes round where it meets y
// or dy.
//
//     conv2d_direct_forward   y = act(sum over taps + bias)
//     conv2d_direct_dw        part[image / 16][m][taps + 1], sums over sixteen images of x dy
//     act'(y), and
//                             behind the taps those of dy act'(y) alone
//     conv2d_direct_dw_sum    dw, dbias: the parts added up
//
// Tiles of 4 channels x 5 pixels, or 4 channels x 5 taps of a row, in registers.
// Determinism: taps in order; gradients over pixels, lanes, then blocks of images in order.

#define DIRECT_BAND 512 // pixels in private memory, for each channel
#define DIRECT_TAPS 256 // at most

// row (of C x padded rows) x block of images
CPU_ITEM void conv2d_direct_lanes_item(__global float *to, const ulong to_at,
    __global const float *x, const ulong x_at, const uint images, const uint channels, const uint h,
    const uint w, const uint padding, const size_t id0, const size_t id1, const size_t size0)
{
    const uint tall = h + 2 * padding, wide = w + 2 * padding;
    const uint c = (uint)id0 / tall, y = (uint)id0 % tall;
    const uint block = id1, lanes = min(16u, images - block * 16);
    to += to_at + (block * (ulong)size0 + id0) * wide * 16;
    if (y < padding || y >= h + padding) {
        CAPS_LOOP for (uint i = 0; i < wide; i++) vstore16((float16)(0.0f), i, to);
        return;
    }
    x += x_at + ((block * 16ul * channels + c) * h + y - padding) * w;
    CAPS_LOOP for (uint i = 0; i < padding; i++)
    {
        vstore16((float16)(0.0f), i, to);
        vstore16((float16)(0.0f), padding + w + i, to);
    }
    float16 row[16];
    CAPS_LOOP for (uint i = 0; i < w; i += 16)
    {
        const uint n = min(16u, w - i);
        caps_gather(row, x + i, (ulong)channels * h * w, lanes, n);
        CAPS_LOOP for (uint e = 0; e < n; e++) vstore16(row[e], padding + i + e, to);
    }
}

CPU_KERNEL void conv2d_direct_lanes(__global float *to, const ulong to_at, __global const float *x,
    const ulong x_at, const uint images, const uint channels, const uint h, const uint w,
    const uint padding)
{
    conv2d_direct_lanes_item(to, to_at, x, x_at, images, channels, h, w, padding, get_global_id(0),
        get_global_id(1), get_global_size(0));
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

#define DIRECT_PIXELS(COUNT)                                                                       \
    {                                                                                              \
        float16 sum[4][COUNT];                                                                     \
        UNROLL for (uint n = 0; n < 4; n++) UNROLL for (uint p = 0; p < COUNT; p++) sum[n][p] =    \
            add[n];                                                                                \
        __global const float *pw = w;                                                              \
        for (uint c = 0; c < channels; c++)                                                        \
            for (uint ky = 0; ky < kh; ky++) {                                                     \
                __global const float *px = from + ((ulong)c * tall + ky) * wide * 16;              \
                CAPS_LOOP for (uint kx = 0; kx < kw; kx++, px += 16, pw += 4)                      \
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
            band[n][at + p] = caps_activate16(sum[n][p], act);                                     \
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
    float16 band[4][DIRECT_BAND], add[4];
    lanes += lanes_at + (ulong)block * channels * tall * wide * 16;
    w += w_at + (ulong)m * channels * kh * kw;
    for (uint n = 0; n < 4; n++)
        add[n] = caps_given(bias_at) && m + n < outputs ? bias[bias_at + m + n] : 0.0f;
    y += y_at + (block * 16ul * outputs + m) * pixels;
    for (uint y0 = 0; y0 < oh; y0 += rows) {
        const uint y1 = min(y0 + rows, oh);
        for (uint oy = y0; oy < y1; oy++) {
            CAPS_LOOP for (uint ox = 0; ox < ow; ox += 5)
            {
                const uint at = (oy - y0) * ow + ox;
                __global const float *from = lanes + ((ulong)oy * stride * wide + ox * stride) * 16;
                switch (min(5u, ow - ox)) {
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

// four channels x block of images
CPU_ITEM void conv2d_direct_dw_item(__global float *part, const ulong part_at,
    __global const float *lanes, const ulong lanes_at, __global const float *dy, const ulong dy_at,
    __global const float *y, const ulong y_at, const uint act, const uint images,
    const uint channels, const uint tall, const uint wide, const uint outputs, const uint kh,
    const uint kw, const uint stride, const uint oh, const uint ow, const size_t id0,
    const size_t id1)
{
    const uint m = (uint)id0 * 4, block = id1;
    const uint rows = min(oh, DIRECT_BAND / ow), pixels = oh * ow, taps = channels * kh * kw;
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
        for (uint c = 0; c < channels; c++) {
            for (uint ky = 0; ky < kh; ky++) {
                CAPS_LOOP for (uint kx = 0; kx < kw; kx += 5)
                {
                    const uint tap = (c * kh + ky) * kw + kx;
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
    part += part_at + ((ulong)block * outputs + m) * (taps + 1);
    for (uint n = 0; n < 4 && m + n < outputs; n++)
        CAPS_LOOP for (uint t = 0; t <= taps; t++) part[(ulong)n * (taps + 1) + t] =
            caps_sum16(total[n][t]);
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
