// conv_winograd_cpu.cl: convolution at stride 1, rows by F(4, 3) (Winograd 1980): four outputs of a
// row and three taps of it take six products in place of twelve.
//
// A row of the kernel is cut into groups of three taps, zeros behind; a row of outputs into tiles
// of four. With points 0, 1, -1, 2, -2 and infinity, for every group
//
//     values of x: six for every tile; of w: six; y = sum over channels, rows of the kernel, groups
//     of A^T of their products; dw = G^T (sum over images and tiles of values of x times A dy
//     act'(y)); dx as y, of dy act'(y) and the kernel turned round
//
//     x    [image / 16][row][6][C][tile][group][16], or, `flat`, [image / 16][C][6][row][tile]..
//          lanes: images; zeros around and behind
//     w    [m / 8][6][C kh groups][8]
//     part [image / 16][m][(C kh groups) 6 + 1], behind them the sum of dy act'(y)
//
// An item of a product has a band of rows, so that what it reads stays in a cache while it goes
// through all output channels, eight at a time; of dw eight output and some input channels. With
// many channels rows are outermost, so that an item's are close together; flat, for few, the tiles
// of all rows are one sequence.
// Determinism: products in order; gradients over tiles, lanes, then blocks of images in order.

#define WINOGRAD_BAND    512 // pixels of a channel in private memory
#define WINOGRAD_TILES   12  // whose products are there
#define WINOGRAD_FEW     128 // that a gradient goes through at once: as many as a row may have
#define WINOGRAD_ENTRIES 384 // of a gradient, of an item

typedef struct winograd_sizes {
    uint channels, kh, tiles, groups;
    ulong channel, point, row; // floats from one to the next
    int flat;
} winograd_sizes;

static inline winograd_sizes winograd_sizes_of(
    uint channels, uint kh, uint tall, uint tiles, uint groups, uint flat)
{
    const ulong line = (ulong)tiles * groups * 16;
    const winograd_sizes s = {channels, kh, tiles, groups, flat ? 6 * tall * line : line,
        flat ? tall * line : channels * line, flat ? line : 6 * channels * line, (int)flat};
    return s;
}

// channel and part of the rows x block of images
CPU_ITEM void winograd_x_item(__global float *to, const ulong to_at, __global const float *x,
    const ulong x_at, __global const float *y, const ulong y_at, const uint act, const uint images,
    const uint channels, const uint h, const uint w, const uint top, const uint left,
    const uint rows, const uint tiles, const uint groups, const uint flat, const uint parts,
    const size_t id0, const size_t id1)
{
    const uint block = id1, c = (uint)id0 / parts, part = (uint)id0 % parts;
    const uint end = (part + 1) * rows / parts, some = WINOGRAD_BAND / w;
    const winograd_sizes s = winograd_sizes_of(channels, 0, rows, tiles, groups, flat);
    const ulong plane = s.point / 16;
    const ulong from = (block * 16ul * channels + c) * h * w, apart = (ulong)channels * h * w;
    const uint wide = 4 * tiles + 3 * groups - 1; // elements that the tiles read
    float16 band[WINOGRAD_BAND], row[WINOGRAD_BAND + 32];
    uint begun = 0, ready = 0; // rows of the image in the band
    to += to_at + (ulong)block * channels * rows * 6 * tiles * groups * 16 + c * s.channel;
    CAPS_LOOP for (uint e = 0; e < wide; e++) row[e] = 0.0f;
    for (uint line = part * rows / parts; line < end; line++) {
        const int inside = line >= top && line < h + top;
        if (inside && line - top >= ready) {
            begun = line - top;
            ready = min(begun + some, min(h, end - top));
            caps_gather_gradient(band, x + x_at + from + begun * w, y + y_at + from + begun * w,
                act, apart, min(16u, images - block * 16), (ready - begun) * w);
        }
        CAPS_LOOP for (uint e = left; e < min(left + w, wide); e++) row[e] =
            inside ? band[(line - top - begun) * w + e - left] : (float16)(0.0f);
        __global float *at = to + line * s.row;
        CAPS_LOOP for (uint t = 0; t < tiles; t++)
        {
            CAPS_LOOP for (uint g = 0; g < groups; g++, at += 16)
            {
                const float16 *d = row + 4 * t + 3 * g;
                float16 out[6];
                CAPS_WINOGRAD_INPUT(out, 1, d[0], d[1], d[2], d[3], d[4], d[5])
                UNROLL for (uint p = 0; p < 6; p++) vstore16(out[p], p * plane, at);
            }
        }
    }
}

CPU_KERNEL void winograd_x(__global float *to, const ulong to_at, __global const float *x,
    const ulong x_at, __global const float *y, const ulong y_at, const uint act, const uint images,
    const uint channels, const uint h, const uint w, const uint top, const uint left,
    const uint rows, const uint tiles, const uint groups, const uint flat, const uint parts)
{
    winograd_x_item(to, to_at, x, x_at, y, y_at, act, images, channels, h, w, top, left, rows,
        tiles, groups, flat, parts, get_global_id(0), get_global_id(1));
}

// The kernel of output channel m and channel c, or, `back`, of input channel m and output channel
// c, turned round. channels: those of c; all: those of m. Eight of m.
CPU_KERNEL void winograd_w(__global float *to, const ulong to_at, __global const float *w,
    const ulong w_at, const uint all, const uint channels, const uint kh, const uint kw,
    const uint groups, const uint back)
{
    const uint m = (uint)get_global_id(0) * 8;
    const ulong plane = (ulong)channels * kh * groups * 8;
    to += to_at + (ulong)get_global_id(0) * 6 * plane;
    for (uint r = 0; r < channels * kh; r++) {
        const uint c = r / kh, ky = back ? kh - 1 - r % kh : r % kh;
        for (uint g = 0; g < groups; g++, to += 8) {
            for (uint n = 0; n < 8; n++) {
                const ulong kernel_ = back ? (ulong)c * all + m + n : (ulong)(m + n) * channels + c;
                float tap[3];
                CAPS_LOOP for (uint i = 0; i < 3; i++)
                {
                    const uint kx = 3 * g + i;
                    tap[i] = m + n < all && kx < kw
                                 ? w[w_at + (kernel_ * kh + ky) * kw + (back ? kw - 1 - kx : kx)]
                                 : 0.0f;
                }
                CAPS_WINOGRAD_KERNEL(float, to + n, plane, tap[0], tap[1], tap[2])
            }
        }
    }
}

// COUNT tiles by eight channels at one of the six points. to: [8][WINOGRAD_TILES].
#define WINOGRAD_PRODUCTS(COUNT)                                                                   \
    {                                                                                              \
        float16 sum[8][COUNT];                                                                     \
        UNROLL for (uint n = 0; n < 8; n++) UNROLL for (uint t = 0; t < COUNT; t++) sum[n][t] =    \
            0.0f;                                                                                  \
        __global const float *pc = x, *pw = w;                                                     \
        for (uint c = 0; c < s->channels; c++, pc += s->channel) {                                 \
            __global const float *row = pc;                                                        \
            for (uint ky = 0; ky < s->kh; ky++, row += s->row) {                                   \
                __global const float *px = row;                                                    \
                CAPS_LOOP for (uint g = 0; g < s->groups; g++, px += 16, pw += 8)                  \
                {                                                                                  \
                    float16 v[COUNT];                                                              \
                    UNROLL for (uint t = 0; t < COUNT; t++) v[t] = vload16(t * s->groups, px);     \
                    UNROLL for (uint n = 0; n < 8; n++)                                            \
                    {                                                                              \
                        const float16 by = pw[n];                                                  \
                        UNROLL for (uint t = 0; t < COUNT; t++) sum[n][t] =                        \
                            fma(by, v[t], sum[n][t]);                                              \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (uint n = 0; n < 8; n++) UNROLL for (uint t = 0; t < COUNT; t++)                \
            to[n * WINOGRAD_TILES + t] = sum[n][t];                                                \
    }

ALWAYS_INLINE void winograd_products(float16 *to, const winograd_sizes *s, __global const float *x,
    __global const float *w, uint count)
{
    uint some;
    for (uint at = 0; at < count; at += some, x += some * 16 * s->groups, to += some) {
        some = caps_threes(count - at);
        switch (some) {
        case 3:
            WINOGRAD_PRODUCTS(3)
            break;
        case 2:
            WINOGRAD_PRODUCTS(2)
            break;
        default:
            WINOGRAD_PRODUCTS(1)
        }
    }
}

// The outputs of `count` tiles, the first at `column` of a row of ow.
static __attribute__((noinline)) void winograd_outputs(
    float16 *to, const float16 *product, uint column, uint ow, uint count, float add, uint act)
{
    CAPS_LOOP for (uint t = 0; t < count; t++, product++)
    {
        float16 out[4];
        CAPS_WINOGRAD_OUTPUT(out, 1, +add, product[0], product[8 * WINOGRAD_TILES],
            product[16 * WINOGRAD_TILES], product[24 * WINOGRAD_TILES],
            product[32 * WINOGRAD_TILES], product[40 * WINOGRAD_TILES])
        const uint here = min(4u, ow - column);
        CAPS_LOOP for (uint i = 0; i < here; i++) *to++ = caps_activate16(out[i], act);
        column = column + 4 < ow ? column + 4 : 0;
    }
}

// band of rows and part of the output channels x block of images
CPU_ITEM void winograd_product_item(__global float *y, const ulong y_at, __global const float *x,
    const ulong x_at, __global const float *w, const ulong w_at, __global const float *bias,
    const ulong bias_at, const uint act, const uint images, const uint channels, const uint tall,
    const uint outputs, const uint kh, const uint oh, const uint ow, const uint tiles,
    const uint groups, const uint flat, const uint rows, const uint parts, const size_t id0,
    const size_t id1)
{
    const uint block = id1, y0 = (uint)id0 / parts * rows, y1 = min(y0 + rows, oh);
    const uint own = (uint)id0 % parts, eights = (outputs + 7) / 8, pixels = oh * ow;
    const winograd_sizes s = winograd_sizes_of(channels, kh, tall, tiles, groups, flat);
    float16 band[8][WINOGRAD_BAND], product[6][8][WINOGRAD_TILES];
    x += x_at + (ulong)block * channels * tall * 6 * tiles * groups * 16;
    for (uint m = own * eights / parts * 8; m < min(outputs, (own + 1) * eights / parts * 8);
         m += 8) {
        __global const float *by = w + w_at + (ulong)m * channels * kh * groups * 6;
        for (uint q = y0 * tiles; q < y1 * tiles;) {
            const uint line = q / tiles, first = q % tiles;
            const uint count = min((uint)WINOGRAD_TILES, flat ? y1 * tiles - q : tiles - first);
            for (uint p = 0; p < 6; p++)
                winograd_products(product[p][0], &s,
                    x + line * s.row + p * s.point + (ulong)first * groups * 16,
                    by + (ulong)p * channels * kh * groups * 8, count);
            for (uint n = 0; n < 8 && m + n < outputs; n++)
                winograd_outputs(band[n] + (line - y0) * ow + first * 4, product[0][n], first * 4,
                    ow, count, caps_given(bias_at) ? bias[bias_at + m + n] : 0.0f, act);
            q += count;
        }
        for (uint n = 0; n < 8 && m + n < outputs; n++)
            caps_scatter(y + y_at + (block * 16ul * outputs + m + n) * pixels + y0 * ow,
                (ulong)outputs * pixels, min(16u, images - block * 16), (y1 - y0) * ow, band[n], 0);
    }
}

// y = act(products + bias), and dx.
CPU_KERNEL void winograd_product(__global float *y, const ulong y_at, __global const float *x,
    const ulong x_at, __global const float *w, const ulong w_at, __global const float *bias,
    const ulong bias_at, const uint act, const uint images, const uint channels, const uint tall,
    const uint outputs, const uint kh, const uint oh, const uint ow, const uint tiles,
    const uint groups, const uint flat, const uint rows, const uint parts)
{
    winograd_product_item(y, y_at, x, x_at, w, w_at, bias, bias_at, act, images, channels, tall,
        outputs, kh, oh, ow, tiles, groups, flat, rows, parts, get_global_id(0), get_global_id(1));
}

// COUNT of the (row of the kernel, group) from k on, at one of the six points, added to
// total[n][entry], total[n][entry + 6], ...
#define WINOGRAD_GRADIENTS(COUNT)                                                                  \
    {                                                                                              \
        float16 sum[8][COUNT];                                                                     \
        __global const float *px[COUNT];                                                           \
        UNROLL for (uint j = 0; j < COUNT; j++)                                                    \
        {                                                                                          \
            px[j] = from + ((k + j) / s->groups) * s->row + (ulong)((k + j) % s->groups) * 16;     \
            UNROLL for (uint n = 0; n < 8; n++) sum[n][j] =                                        \
                total[n * WINOGRAD_ENTRIES + entry + j * 6];                                       \
        }                                                                                          \
        const float16 *d = dy;                                                                     \
        for (uint y = 0; y < lines; y++) {                                                         \
            CAPS_LOOP for (uint q = 0; q < tiles; q++, d += 8)                                     \
            {                                                                                      \
                float16 v[COUNT];                                                                  \
                UNROLL for (uint j = 0; j < COUNT; j++) v[j] = vload16(q * s->groups, px[j]);      \
                UNROLL for (uint n = 0; n < 8; n++)                                                \
                {                                                                                  \
                    const float16 by = d[n];                                                       \
                    UNROLL for (uint j = 0; j < COUNT; j++) sum[n][j] = fma(v[j], by, sum[n][j]);  \
                }                                                                                  \
            }                                                                                      \
            UNROLL for (uint j = 0; j < COUNT; j++) px[j] += s->row;                               \
        }                                                                                          \
        UNROLL for (uint n = 0; n < 8; n++) UNROLL for (uint j = 0; j < COUNT; j++)                \
            total[n * WINOGRAD_ENTRIES + entry + j * 6] = sum[n][j];                               \
    }

// One input channel at one of the six points, `lines` rows of tiles.
ALWAYS_INLINE void winograd_gradients(float16 *total, __global const float *from, const float16 *dy,
    const winograd_sizes *s, uint lines, uint tiles)
{
    const uint kernels = s->kh * s->groups;
    uint some;
    for (uint k = 0, entry = 0; k < kernels; k += some, entry += some * 6) {
        some = caps_threes(kernels - k);
        switch (some) {
        case 3:
            WINOGRAD_GRADIENTS(3)
            break;
        case 2:
            WINOGRAD_GRADIENTS(2)
            break;
        default:
            WINOGRAD_GRADIENTS(1)
        }
    }
}

// dy act'(y) of `lines` rows of one channel at the six points, to to[p][tile][8].
static __attribute__((noinline)) void winograd_values(float16 *to, __global const float *dy,
    __global const float *y, uint act, ulong apart, uint images, uint lines, uint ow, uint tiles)
{
    float16 band[WINOGRAD_BAND];
    caps_gather_gradient(band, dy, y, act, apart, images, lines * ow);
    for (uint line = 0; line < lines; line++) {
        CAPS_LOOP for (uint t = 0; t < tiles; t++, to += 8)
        {
            const float16 *from = band + line * ow + t * 4;
            const uint left = ow - t * 4;
            const float16 d0 = from[0], d1 = left > 1 ? from[1] : (float16)(0.0f);
            const float16 d2 = left > 2 ? from[2] : (float16)(0.0f);
            const float16 d3 = left > 3 ? from[3] : (float16)(0.0f);
            CAPS_WINOGRAD_GRADIENT(to, WINOGRAD_FEW * 8, d0, d1, d2, d3)
        }
    }
}

// `some` input and eight output channels x block of images
CPU_ITEM void winograd_dw_item(__global float *part, const ulong part_at, __global const float *x,
    const ulong x_at, __global const float *dy, const ulong dy_at, __global const float *y,
    const ulong y_at, const uint act, const uint images, const uint channels, const uint tall,
    const uint outputs, const uint kh, const uint oh, const uint ow, const uint tiles,
    const uint groups, const uint flat, const uint some, const size_t id0, const size_t id1)
{
    const uint eights = (outputs + 7) / 8, block = id1, m = (uint)id0 % eights * 8;
    const uint c0 = (uint)id0 / eights * some, c1 = min(c0 + some, channels);
    const uint kernels = kh * groups, all = channels * kernels * 6, own = (c1 - c0) * kernels * 6;
    const uint rows = min(WINOGRAD_FEW / tiles, WINOGRAD_BAND / ow), outs = min(8u, outputs - m);
    const winograd_sizes s = winograd_sizes_of(channels, kh, tall, tiles, groups, flat);
    const ulong pixels = (ulong)oh * ow, from = (block * 16ul * outputs + m) * pixels;
    float16 total[8][WINOGRAD_ENTRIES], sum[8], values[6][WINOGRAD_FEW][8];
    x += x_at + (ulong)block * channels * tall * 6 * tiles * groups * 16;
    for (uint n = 0; n < 8; n++) {
        sum[n] = 0.0f;
        CAPS_LOOP for (uint e = 0; e < own; e++) total[n][e] = 0.0f;
    }
    for (uint p = 0; p < 6; p++)
        for (uint q = 0; outs < 8 && q < WINOGRAD_FEW; q++)
            for (uint n = outs; n < 8; n++)
                values[p][q][n] = 0.0f;
    for (uint y0 = 0; y0 < oh; y0 += rows) {
        const uint lines = min(rows, oh - y0);
        for (uint n = 0; n < outs; n++) {
            const ulong at = from + n * pixels + y0 * ow;
            winograd_values(&values[0][0][n], dy + dy_at + at, y + y_at + at, act, outputs * pixels,
                min(16u, images - block * 16), lines, ow, tiles);
        }
        for (uint p = 0; p < 6; p++)
            for (uint c = c0; c < c1; c++)
                winograd_gradients(&total[0][(c - c0) * kernels * 6 + p],
                    x + y0 * s.row + p * s.point + c * s.channel, values[p][0], &s,
                    flat ? 1 : lines, flat ? lines * tiles : tiles);
        // At the point 1 there is the sum of a tile.
        for (uint q = 0; c1 == channels && q < lines * tiles; q++)
            for (uint n = 0; n < 8; n++)
                sum[n] += values[1][q][n];
    }
    part += part_at + ((ulong)block * outputs + m) * (all + 1);
    for (uint n = 0; n < outs; n++, part += all + 1) {
        CAPS_LOOP for (uint e = 0; e < own; e++) part[c0 * kernels * 6 + e] =
            caps_sum16(total[n][e]);
        if (c1 == channels)
            part[all] = caps_sum16(sum[n]);
    }
}

CPU_KERNEL void winograd_dw(__global float *part, const ulong part_at, __global const float *x,
    const ulong x_at, __global const float *dy, const ulong dy_at, __global const float *y,
    const ulong y_at, const uint act, const uint images, const uint channels, const uint tall,
    const uint outputs, const uint kh, const uint oh, const uint ow, const uint tiles,
    const uint groups, const uint flat, const uint some)
{
    winograd_dw_item(part, part_at, x, x_at, dy, dy_at, y, y_at, act, images, channels, tall,
        outputs, kh, oh, ow, tiles, groups, flat, some, get_global_id(0), get_global_id(1));
}

// output channel; rows: C kh
CPU_KERNEL void winograd_dw_sum(__global float *dw, const ulong dw_at, __global float *dbias,
    const ulong dbias_at, __global const float *part, const ulong part_at, const uint blocks,
    const uint rows, const uint kw, const uint groups, const uint added)
{
    const uint m = get_global_id(0), outputs = get_global_size(0);
    const uint entries = rows * groups * 6 + 1;
    dw += dw_at + (ulong)m * rows * kw;
    part += part_at + (ulong)m * entries;
    CAPS_LOOP for (uint e = 0; e < entries; e += 6)
    {
        float s[6] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
        for (uint b = 0; b < blocks; b++)
            for (uint p = 0; p < 6 && e + p < entries; p++)
                s[p] += part[(ulong)b * outputs * entries + e + p];
        if (e == entries - 1) {
            if (caps_given(dbias_at))
                dbias[dbias_at + m] = (added ? dbias[dbias_at + m] : 0.0f) + s[0];
            break;
        }
        float taps[3];
        CAPS_WINOGRAD_TAPS(float, taps, 1, s[0], s[1], s[2], s[3], s[4], s[5])
        const uint row = e / 6 / groups, first = e / 6 % groups * 3;
        CAPS_LOOP for (uint i = 0; i < 3 && first + i < kw; i++)
        {
            __global float *to = dw + (ulong)row * kw + first + i;
            *to = (added ? *to : 0.0f) + taps[i];
        }
    }
}
