// conv_winograd_tiles_cpu.cl: convolution of kernels of at most 3x3 at stride 1, tiles by
// F(4x4, 3x3) (Winograd 1980; Lavin and Gray 2016): sixteen outputs and nine taps take 36 products
// in place of 144.
// Program: rarely used (src/device/registry.c).
//
// With points 0, 1, -1, 2, -2 and infinity in both directions, for every tile of outputs
//
//     values of x: B^T d B of its 6x6 elements; of w: G g G^T; y = A^T (sum over channels of their
//     products) A; dw = G^T (sum over images and tiles of values of x times A dy act'(y) A^T) G; dx
//     as y, of dy act'(y) and the kernel turned round
//
//     x    [image / 16][row of tiles][36][C][tile of the row][16], or, `flat`,
//          [image / 16][36][C][tile][16]; lanes: images; zeros around and behind
//     w    [m / 8][36][C][8]
//     dy   [image / 16][36][m / 8][tile][8][16]
//     sums [37][M][C]: of dw, by points, rows of whole sixteens; of the last one of dbias
//
// An item of a product has a row of tiles, so that its values stay in a cache while it goes through
// output channels, eight at a time. An item of dw has a point, so that the values of x and dy at it
// do; of these it takes eight output channels by three of the input.
// Determinism: products in order; gradients over tiles, lanes, then blocks of images in order.

#define TILES_POINTS 36
#define TILES_ROW    32   // tiles of a row, at most
#define TILES_BAND   512  // pixels that are turned from images to lanes at once
#define TILES_HELD   4096 // outputs of an item, of sixteen images
#define TILES_SOME   48   // input channels whose sums an item holds: three sixteens

// channel and part of the rows of tiles x block of images. x, or dy act'(y), of h x w with its first
// element at row `top` and column `left` of the tiles' elements.
CPU_ITEM void winograd_tiles_x_item(__global float *to, const ulong to_at, __global const float *x,
    const ulong x_at, __global const float *y, const ulong y_at, const uint act, const uint images,
    const uint channels, const uint h, const uint w, const uint top, const uint left,
    const uint down, const uint across, const uint flat, const uint parts, const size_t id0,
    const size_t id1)
{
    const uint block = id1, c = (uint)id0 / parts, part = (uint)id0 % parts;
    const uint first = part * down / parts, end = (part + 1) * down / parts;
    const ulong channel = (flat ? down * across : across) * 16ul, point = channels * channel;
    const ulong row_of_tiles = flat ? across * 16ul : TILES_POINTS * point;
    const ulong from = (block * 16ul * channels + c) * h * w, apart = (ulong)channels * h * w;
    const uint wide = 4 * across + 2, ends = min(left + w, wide);
    const int some = TILES_BAND / w;
    const int last = min((int)h, (int)(4 * end + 2 - top)); // rows of the image that are read
    float16 band[TILES_BAND], row[4 * TILES_ROW + 2], values[6][6][TILES_ROW];
    int begun = 0, ready = 0; // rows of the image in the band
    CAPS_LOOP for (uint e = 0; e < wide; e++) row[e] = 0.0f;
    to += to_at + (ulong)block * channels * down * TILES_POINTS * across * 16 + c * channel;
    for (uint ty = first; ty < end; ty++) {
        for (uint i = ty == first ? 0 : 2; i < 6; i++) {
            const int line = (int)(4 * ty + i - top);
            const int inside = line >= 0 && line < (int)h;
            float16(*own)[TILES_ROW] = values[(4 * ty + i) % 6];
            if (inside && line >= ready) {
                begun = line;
                ready = min(begun + some, last);
                caps_gather_gradient(band, x + x_at + from + (ulong)begun * w,
                    y + y_at + from + (ulong)begun * w, act, apart, min(16u, images - block * 16),
                    (uint)(ready - begun) * w);
            }
            // What lies beside the image stays zero.
            CAPS_LOOP for (uint e = left; e < ends; e++) row[e] =
                inside ? band[(uint)(line - begun) * w + e - left] : (float16)(0.0f);
            CAPS_LOOP for (uint t = 0; t < across; t++)
            {
                const float16 *d = row + 4 * t;
                CAPS_WINOGRAD_INPUT(&own[0][t], TILES_ROW, d[0], d[1], d[2], d[3], d[4], d[5])
            }
        }
        __global float *line_of = to + ty * row_of_tiles;
        const float16 *v[6];
        UNROLL for (uint i = 0; i < 6; i++) v[i] = values[(4 * ty + i) % 6][0];
        for (uint px = 0; px < 6; px++) {
            CAPS_LOOP for (uint t = 0; t < across; t++)
            {
                const uint e = px * TILES_ROW + t;
                float16 out[6];
                CAPS_WINOGRAD_INPUT(out, 1, v[0][e], v[1][e], v[2][e], v[3][e], v[4][e], v[5][e])
                UNROLL for (uint py = 0; py < 6; py++)
                    vstore16(out[py], t, line_of + (py * 6 + px) * point);
            }
        }
    }
}

CPU_KERNEL void winograd_tiles_x(__global float *to, const ulong to_at, __global const float *x,
    const ulong x_at, __global const float *y, const ulong y_at, const uint act, const uint images,
    const uint channels, const uint h, const uint w, const uint top, const uint left,
    const uint down, const uint across, const uint flat, const uint parts)
{
    winograd_tiles_x_item(to, to_at, x, x_at, y, y_at, act, images, channels, h, w, top, left, down,
        across, flat, parts, get_global_id(0), get_global_id(1));
}

// eight of m and some channels c. The kernel of output channel m and channel c, or, `back`, of input
// channel m and output channel c, turned round. channels: those of c; all: those of m.
CPU_KERNEL void winograd_tiles_w(__global float *to, const ulong to_at, __global const float *w,
    const ulong w_at, const uint all, const uint channels, const uint kh, const uint kw,
    const uint back)
{
    const uint m = (uint)get_global_id(0) * 8, parts = get_global_size(1);
    const uint c0 = (uint)get_global_id(1) * channels / parts;
    const uint c1 = ((uint)get_global_id(1) + 1) * channels / parts;
    const ulong point = channels * 8ul;
    to += to_at + get_global_id(0) * TILES_POINTS * point;
    w += w_at;
    for (uint c = c0; c < c1; c++) {
        float8 tap[9], half_way[18], out[6];
        for (uint i = 0; i < 9; i++) {
            const uint ky = i / 3, kx = i % 3;
            float lanes[8];
            for (uint n = 0; n < 8; n++) {
                const ulong kernel_ = back ? (ulong)c * all + m + n : (ulong)(m + n) * channels + c;
                lanes[n] = m + n < all && ky < kh && kx < kw
                               ? w[(kernel_ * kh + (back ? kh - 1 - ky : ky)) * kw +
                                     (back ? kw - 1 - kx : kx)]
                               : 0.0f;
            }
            tap[i] = vload8(0, lanes);
        }
        CAPS_LOOP for (uint x = 0; x < 3; x++)
            CAPS_WINOGRAD_KERNEL(float8, half_way + x, 3, tap[x], tap[3 + x], tap[6 + x]);
        CAPS_LOOP for (uint py = 0; py < 6; py++)
        {
            CAPS_WINOGRAD_KERNEL(
                float8, out, 1, half_way[py * 3], half_way[py * 3 + 1], half_way[py * 3 + 2])
            UNROLL for (uint px = 0; px < 6; px++) vstore8(out[px], c, to + (py * 6 + px) * point);
        }
    }
}

// COUNT tiles by eight channels at one point. to: [8][3].
#define TILES_PRODUCTS(COUNT)                                                                      \
    {                                                                                              \
        float16 sum[8][COUNT];                                                                     \
        UNROLL for (uint n = 0; n < 8; n++) UNROLL for (uint t = 0; t < COUNT; t++) sum[n][t] =    \
            0.0f;                                                                                  \
        CAPS_LOOP for (uint c = 0; c < channels; c++, x += channel, w += 8)                        \
        {                                                                                          \
            float16 v[COUNT];                                                                      \
            UNROLL for (uint t = 0; t < COUNT; t++) v[t] = vload16(t, x);                          \
            UNROLL for (uint n = 0; n < 8; n++)                                                    \
            {                                                                                      \
                const float16 by = w[n];                                                           \
                UNROLL for (uint t = 0; t < COUNT; t++) sum[n][t] = fma(by, v[t], sum[n][t]);      \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (uint n = 0; n < 8; n++) UNROLL for (uint t = 0; t < COUNT; t++)                \
            to[n * 3 + t] = sum[n][t];                                                             \
    }

ALWAYS_INLINE void winograd_tiles_products(float16 *to, __global const float *x,
    __global const float *w, uint channels, ulong channel, uint count)
{
    switch (count) {
    case 3:
        TILES_PRODUCTS(3)
        break;
    case 2:
        TILES_PRODUCTS(2)
        break;
    default:
        TILES_PRODUCTS(1)
    }
}

// The outputs of a tile, `lines` rows of `count`, ow apart. product: a point every 24.
static __attribute__((noinline)) void winograd_tiles_outputs(
    float16 *to, const float16 *product, uint lines, uint count, uint ow, float add, uint act)
{
    float16 half_way[4][6], out[4];
    CAPS_LOOP for (uint px = 0; px < 6; px++)
    {
        const float16 *s = product + px * 24;
        CAPS_WINOGRAD_OUTPUT(&half_way[0][px], 6, , s[0], s[144], s[288], s[432], s[576], s[720])
    }
    CAPS_LOOP for (uint line = 0; line < lines; line++, to += ow)
    {
        const float16 *s = half_way[line];
        CAPS_WINOGRAD_OUTPUT(out, 1, +add, s[0], s[1], s[2], s[3], s[4], s[5])
        CAPS_LOOP for (uint i = 0; i < count; i++) to[i] = caps_activate16(out[i], act);
    }
}

// row of tiles and `own` output channels x block of images
CPU_ITEM void winograd_tiles_product_item(__global float *y, const ulong y_at,
    __global const float *x, const ulong x_at, __global const float *w, const ulong w_at,
    __global const float *bias, const ulong bias_at, const uint act, const uint images,
    const uint channels, const uint outputs, const uint oh, const uint ow, const uint own,
    const size_t id0, const size_t id1)
{
    const uint down = (oh + 3) / 4, across = (ow + 3) / 4, block = id1;
    const uint ty = (uint)id0 % down, m0 = (uint)id0 / down * own, m1 = min(m0 + own, outputs);
    const uint lines = min(4u, oh - 4 * ty), pixels = 4 * ow;
    const ulong channel = across * 16ul, point = channels * channel;
    float16 held[TILES_HELD], product[TILES_POINTS * 24];
    x += x_at + ((ulong)block * down + ty) * TILES_POINTS * point;
    w += w_at;
    uint count;
    for (uint t = 0; t < across; t += count) {
        count = caps_threes(across - t);
        for (uint m = m0; m < m1; m += 8) {
            for (uint p = 0; p < TILES_POINTS; p++)
                winograd_tiles_products(product + p * 24, x + p * point + t * 16ul,
                    w + ((ulong)m / 8 * TILES_POINTS + p) * channels * 8, channels, channel, count);
            for (uint n = 0; n < 8 && m + n < m1; n++)
                for (uint i = 0; i < count; i++)
                    winograd_tiles_outputs(held + (m - m0 + n) * pixels + 4 * (t + i),
                        product + n * 3 + i, lines, min(4u, ow - 4 * (t + i)), ow,
                        caps_given(bias_at) ? bias[bias_at + m + n] : 0.0f, act);
        }
    }
    for (uint m = m0; m < m1; m++)
        caps_scatter(y + y_at + (block * 16ul * outputs + m) * oh * ow + (ulong)ty * pixels,
            (ulong)outputs * oh * ow, min(16u, images - block * 16), lines * ow,
            held + (m - m0) * pixels, 0);
}

// y = act(products + bias), and dx.
CPU_KERNEL void winograd_tiles_product(__global float *y, const ulong y_at, __global const float *x,
    const ulong x_at, __global const float *w, const ulong w_at, __global const float *bias,
    const ulong bias_at, const uint act, const uint images, const uint channels, const uint outputs,
    const uint oh, const uint ow, const uint own)
{
    winograd_tiles_product_item(y, y_at, x, x_at, w, w_at, bias, bias_at, act, images, channels,
        outputs, oh, ow, own, get_global_id(0), get_global_id(1));
}

// eight output channels and part of the rows of tiles x block of images
CPU_ITEM void winograd_tiles_dy_item(__global float *to, const ulong to_at,
    __global const float *dy, const ulong dy_at, __global const float *y, const ulong y_at,
    const uint act, const uint images, const uint outputs, const uint oh, const uint ow,
    const uint parts, const size_t id0, const size_t id1)
{
    const uint down = (oh + 3) / 4, across = (ow + 3) / 4, tiles = down * across, block = id1;
    const uint m = (uint)id0 / parts * 8, part = (uint)id0 % parts, some = min(8u, outputs - m);
    const ulong panel = tiles * 128ul, point = (outputs + 7) / 8 * panel;
    float16 band[8][TILES_BAND], d[4][4], half_way[6][4], out[6];
    to += to_at + block * TILES_POINTS * point + m / 8 * panel;
    for (uint ty = part * down / parts; ty < (part + 1) * down / parts; ty++) {
        const uint lines = min(4u, oh - 4 * ty);
        for (uint n = 0; n < some; n++) {
            const ulong from = ((block * 16ul * outputs + m + n) * oh + 4 * ty) * ow;
            caps_gather_gradient(band[n], dy + dy_at + from, y + y_at + from, act,
                (ulong)outputs * oh * ow, min(16u, images - block * 16), lines * ow);
        }
        for (uint t = 0; t < across; t++) {
            __global float *tile = to + (ty * across + t) * 128ul;
            for (uint n = 0; n < 8; n++, tile += 16) {
                CAPS_LOOP for (uint i = 0; i < 16; i++) d[i / 4][i % 4] =
                    n < some && i / 4 < lines && 4 * t + i % 4 < ow
                        ? band[n][i / 4 * ow + 4 * t + i % 4]
                        : (float16)(0.0f);
                CAPS_LOOP for (uint x = 0; x < 4; x++)
                    CAPS_WINOGRAD_GRADIENT(&half_way[0][x], 4, d[0][x], d[1][x], d[2][x], d[3][x]);
                CAPS_LOOP for (uint py = 0; py < 6; py++)
                {
                    const float16 *s = half_way[py];
                    CAPS_WINOGRAD_GRADIENT(out, 1, s[0], s[1], s[2], s[3])
                    UNROLL for (uint px = 0; px < 6; px++)
                        vstore16(out[px], 0, tile + (py * 6 + px) * point);
                }
            }
        }
    }
}

// dy act'(y) at all points, for dw.
CPU_KERNEL void winograd_tiles_dy(__global float *to, const ulong to_at, __global const float *dy,
    const ulong dy_at, __global const float *y, const ulong y_at, const uint act, const uint images,
    const uint outputs, const uint oh, const uint ow, const uint parts)
{
    winograd_tiles_dy_item(to, to_at, dy, dy_at, y, y_at, act, images, outputs, oh, ow, parts,
        get_global_id(0), get_global_id(1));
}

// a and b, sums of lanes that differ in bit BIT of their number: of a where it is 0, of b where 1
#define TILES_HALVES(BIT, a, b)                                                                    \
    (select((a), (b), ((int16)(BIT)&lane) != 0) +                                                  \
        select(TILES_TURNED##BIT(a), TILES_TURNED##BIT(b), ((int16)(BIT)&lane) != 0))
#define TILES_TURNED8(v) (v).s89abcdef01234567
#define TILES_TURNED4(v) (v).s45670123cdef89ab
#define TILES_TURNED2(v) (v).s23016745ab89efcd
#define TILES_TURNED1(v) (v).s1032547698badcfe

// Lane i: the sum of the lanes of x[i].
ALWAYS_INLINE float16 winograd_tiles_sums(float16 *x)
{
    const int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    UNROLL for (uint i = 0; i < 8; i++) x[i] = TILES_HALVES(8, x[i], x[i + 8]);
    UNROLL for (uint i = 0; i < 4; i++) x[i] = TILES_HALVES(4, x[i], x[i + 4]);
    UNROLL for (uint i = 0; i < 2; i++) x[i] = TILES_HALVES(2, x[i], x[i + 2]);
    return TILES_HALVES(1, x[0], x[1]);
}

// Eight output channels by COUNT of the input, all tiles. to: [8][TILES_SOME].
#define TILES_GRADIENTS(COUNT)                                                                     \
    {                                                                                              \
        float16 sum[8][COUNT];                                                                     \
        UNROLL for (uint n = 0; n < 8; n++) UNROLL for (uint j = 0; j < COUNT; j++) sum[n][j] =    \
            0.0f;                                                                                  \
        __global const float *d = dy;                                                              \
        CAPS_LOOP for (uint t = 0; t < tiles; t++, d += 128, x += 16)                              \
        {                                                                                          \
            float16 v[COUNT];                                                                      \
            UNROLL for (uint j = 0; j < COUNT; j++) v[j] = vload16(0, x + j * channel);            \
            UNROLL for (uint n = 0; n < 8; n++)                                                    \
            {                                                                                      \
                const float16 by = vload16(n, d);                                                  \
                UNROLL for (uint j = 0; j < COUNT; j++) sum[n][j] = fma(v[j], by, sum[n][j]);      \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (uint n = 0; n < 8; n++) UNROLL for (uint j = 0; j < COUNT; j++)                \
            to[n * TILES_SOME + j] = sum[n][j];                                                    \
    }

ALWAYS_INLINE void winograd_tiles_gradients(float16 *to, __global const float *x,
    __global const float *dy, uint tiles, ulong channel, uint count)
{
    switch (count) {
    case 3:
        TILES_GRADIENTS(3)
        break;
    case 2:
        TILES_GRADIENTS(2)
        break;
    default:
        TILES_GRADIENTS(1)
    }
}

// point and part of the output channels; blocks of sixteen images, one after the other, added to
// the sums unless they are the `first`.
CPU_ITEM void winograd_tiles_dw_item(__global float *sums, const ulong sums_at,
    __global const float *x, const ulong x_at, __global const float *dy, const ulong dy_at,
    const uint channels, const uint outputs, const uint tiles, const uint blocks, const uint first,
    const uint parts, const size_t id0)
{
    const uint p = (uint)id0 / parts, part = (uint)id0 % parts, eights = (outputs + 7) / 8;
    const uint row = (channels + 15) / 16 * 16;
    const ulong channel = tiles * 16ul, panel = tiles * 128ul;
    float16 held[8][TILES_SOME];
    x += x_at + p * channels * channel;
    dy += dy_at + p * eights * panel;
    sums += sums_at;
    for (uint block = 0; block < blocks; block++) {
        const int new = first &&block == 0;
        for (uint m = part * eights / parts; m < (part + 1) * eights / parts; m++) {
            for (uint c0 = 0; c0 < channels; c0 += TILES_SOME) {
                const uint end = min(channels - c0, (uint)TILES_SOME), some = (end + 15) / 16 * 16;
                uint count;
                for (uint c = 0; c < end; c += count) {
                    count = caps_threes(end - c);
                    winograd_tiles_gradients(
                        &held[0][c], x + (c0 + c) * channel, dy + m * panel, tiles, channel, count);
                }
                for (uint n = 0; n < 8 && m * 8 + n < outputs; n++) {
                    __global float *to = sums + ((ulong)p * outputs + m * 8 + n) * row + c0;
                    for (uint c = end; c < some; c++)
                        held[n][c] = 0.0f;
                    CAPS_LOOP for (uint c = 0; c < some; c += 16)
                    {
                        const float16 sum = winograd_tiles_sums(&held[n][c]);
                        vstore16(new ? sum : vload16(0, to + c) + sum, 0, to + c);
                    }
                }
            }
            // At the point 1, 1 there is the sum of a tile.
            for (uint n = 0; p == 7 && n < 8 && m * 8 + n < outputs; n++) {
                __global float *to = sums + (ulong)TILES_POINTS * outputs * row + m * 8 + n;
                float16 sum = 0.0f;
                CAPS_LOOP for (uint t = 0; t < tiles; t++) sum +=
                    vload16(0, dy + m * panel + t * 128ul + n * 16);
                *to = (new ? 0.0f : *to) + caps_sum16(sum);
            }
        }
        x += TILES_POINTS * channels * channel;
        dy += TILES_POINTS * eights * panel;
    }
}

CPU_KERNEL void winograd_tiles_dw(__global float *sums, const ulong sums_at,
    __global const float *x, const ulong x_at, __global const float *dy, const ulong dy_at,
    const uint channels, const uint outputs, const uint tiles, const uint blocks, const uint first,
    const uint parts)
{
    winograd_tiles_dw_item(sums, sums_at, x, x_at, dy, dy_at, channels, outputs, tiles, blocks,
        first, parts, get_global_id(0));
}

// dw and dbias of output channel m
CPU_KERNEL void winograd_tiles_dw_sum(__global float *dw, const ulong dw_at, __global float *dbias,
    const ulong dbias_at, __global const float *sums, const ulong sums_at, const uint channels,
    const uint kh, const uint kw)
{
    const uint m = get_global_id(0), outputs = get_global_size(0);
    const uint row = (channels + 15) / 16 * 16;
    const ulong point = (ulong)outputs * row;
    sums += sums_at;
    dw += dw_at + (ulong)m * channels * kh * kw;
    if (caps_given(dbias_at))
        dbias[dbias_at + m] = sums[TILES_POINTS * point + m];
    for (uint c = 0; c < channels; c += 16) {
        __global const float *s = sums + m * (ulong)row + c;
        float16 half_way[3][6], taps[3];
        float lanes[16];
        CAPS_LOOP for (uint px = 0; px < 6; px++)
            CAPS_WINOGRAD_TAPS(float16, &half_way[0][px], 6, vload16(0, s + px * point),
                vload16(0, s + (6 + px) * point), vload16(0, s + (12 + px) * point),
                vload16(0, s + (18 + px) * point), vload16(0, s + (24 + px) * point),
                vload16(0, s + (30 + px) * point)) for (uint ky = 0; ky < kh; ky++)
        {
            const float16 *h = half_way[ky];
            CAPS_WINOGRAD_TAPS(float16, taps, 1, h[0], h[1], h[2], h[3], h[4], h[5])
            for (uint kx = 0; kx < kw; kx++) {
                vstore16(taps[kx], 0, lanes);
                CAPS_LOOP for (uint l = 0; l < 16 && c + l < channels; l++)
                    dw[((ulong)(c + l) * kh + ky) * kw + kx] = lanes[l];
            }
        }
    }
}
