// conv_winograd_cpu.cl: convolution with few input channels at stride 1, rows by F(4, 3) (Winograd
// 1980): four outputs of a row and three taps of it take six products in place of twelve.
//
// A row of the kernel is cut into groups of three taps, zeros behind; a row of outputs into tiles
// of four. With points 0, 1, -1, 2, -2 and infinity, for every group
//
//     values of x: six for every tile; of w: six; y = sum over channels, rows of the kernel, groups
//     of A^T of their products; dw = G^T (sum over images and tiles of values of x times A dy
//     act'(y))
//
//     x    [image / 16][C][6][padded row][tile][group][16]   lanes: images; zeros around and behind
//     w    [m / 4][C kh groups][6][4]
//     part [image / 16][m][(C kh groups) 6 + 1], behind them the sum of dy act'(y)
//
// Determinism: products in order; gradients over tiles, bands of rows, lanes, then blocks of
// images.

#define WINOGRAD_BAND  512 // pixels of a channel in private memory
#define WINOGRAD_TILES 256 // and tiles: WINOGRAD_BAND / 4, more where rows end within a tile

// row (of C x padded rows) x block of images
CPU_ITEM void winograd_x_item(__global float *to, const ulong to_at, __global const float *x,
    const ulong x_at, const uint images, const uint channels, const uint h, const uint w,
    const uint padding, const uint tiles, const uint groups, const size_t id0, const size_t id1)
{
    const uint tall = h + 2 * padding, block = id1;
    const uint c = (uint)id0 / tall, y = (uint)id0 % tall;
    const ulong plane = (ulong)tall * tiles * groups; // vectors from one of the six to the next
    const int inside = y >= padding && y < h + padding;
    const uint wide = 4 * tiles + 3 * groups - 1; // elements that the tiles read
    float16 row[WINOGRAD_BAND + 32];
    to += to_at + ((block * (ulong)channels + c) * 6 * plane + (ulong)y * tiles * groups) * 16;
    CAPS_LOOP for (uint e = 0; e < wide; e++) row[e] = 0.0f;
    if (inside && padding < wide)
        caps_gather(row + padding, x + x_at + ((block * 16ul * channels + c) * h + y - padding) * w,
            (ulong)channels * h * w, min(16u, images - block * 16), min(w, wide - padding));
    CAPS_LOOP for (uint t = 0; t < tiles; t++)
    {
        CAPS_LOOP for (uint g = 0; g < groups; g++, to += 16)
        {
            const float16 *d = row + 4 * t + 3 * g;
            const float16 a = d[4] - 4.0f * d[2], b = d[3] - 4.0f * d[1];
            const float16 e = d[4] - d[2], f = 2.0f * (d[3] - d[1]);
            vstore16(4.0f * d[0] - 5.0f * d[2] + d[4], 0, to);
            vstore16(a + b, plane, to);
            vstore16(a - b, 2 * plane, to);
            vstore16(e + f, 3 * plane, to);
            vstore16(e - f, 4 * plane, to);
            vstore16(4.0f * d[1] - 5.0f * d[3] + d[5], 5 * plane, to);
        }
    }
}

CPU_KERNEL void winograd_x(__global float *to, const ulong to_at, __global const float *x,
    const ulong x_at, const uint images, const uint channels, const uint h, const uint w,
    const uint padding, const uint tiles, const uint groups)
{
    winograd_x_item(to, to_at, x, x_at, images, channels, h, w, padding, tiles, groups,
        get_global_id(0), get_global_id(1));
}

// four output channels; rows: C kh
CPU_KERNEL void winograd_w(__global float *to, const ulong to_at, __global const float *w,
    const ulong w_at, const uint outputs, const uint rows, const uint kw, const uint groups)
{
    const uint m = (uint)get_global_id(0) * 4;
    to += to_at + (ulong)m * rows * groups * 6;
    for (uint r = 0; r < rows; r++) {
        CAPS_LOOP for (uint g = 0; g < groups; g++, to += 24)
        {
            for (uint n = 0; n < 4; n++) {
                float tap[3];
                CAPS_LOOP for (uint i = 0; i < 3; i++) tap[i] =
                    m + n < outputs && 3 * g + i < kw
                        ? w[w_at + ((ulong)(m + n) * rows + r) * kw + 3 * g + i]
                        : 0.0f;
                const float ends = tap[0] + tap[2], wide = tap[0] / 24 + tap[2] / 6;
                to[n] = tap[0] / 4;
                to[4 + n] = -(ends + tap[1]) / 6;
                to[8 + n] = -(ends - tap[1]) / 6;
                to[12 + n] = wide + tap[1] / 12;
                to[16 + n] = wide - tap[1] / 12;
                to[20 + n] = tap[2];
            }
        }
    }
}

// Three of the six sums of COUNT tiles by four channels.
#define WINOGRAD_SUMS(COUNT, FIRST)                                                                \
    {                                                                                              \
        float16 sum[COUNT][3][4];                                                                  \
        UNROLL for (uint t = 0; t < COUNT; t++) UNROLL for (uint p = 0; p < 3; p++)                \
            UNROLL for (uint n = 0; n < 4; n++) sum[t][p][n] = 0.0f;                               \
        __global const float *pw = w + FIRST * 4;                                                  \
        for (uint c = 0; c < channels; c++) {                                                      \
            for (uint ky = 0; ky < kh; ky++) {                                                     \
                __global const float *px =                                                         \
                    x + ((c * 6 + FIRST) * plane + (ulong)(q + ky * tiles) * groups) * 16;         \
                CAPS_LOOP for (uint g = 0; g < groups; g++, px += 16, pw += 24)                    \
                {                                                                                  \
                    UNROLL for (uint p = 0; p < 3; p++) UNROLL for (uint t = 0; t < COUNT; t++)    \
                    {                                                                              \
                        const float16 v = vload16(p * plane + t * groups, px);                     \
                        UNROLL for (uint n = 0; n < 4; n++) sum[t][p][n] =                         \
                            fma((float16)(pw[p * 4 + n]), v, sum[t][p][n]);                        \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (uint t = 0; t < COUNT; t++) UNROLL for (uint p = 0; p < 3; p++)                \
            UNROLL for (uint n = 0; n < 4; n++) product[t][FIRST + p][n] = sum[t][p][n];           \
    }

#define WINOGRAD_TILE(COUNT)                                                                       \
    {                                                                                              \
        float16 product[COUNT][6][4];                                                              \
        WINOGRAD_SUMS(COUNT, 0)                                                                    \
        WINOGRAD_SUMS(COUNT, 3)                                                                    \
        CAPS_LOOP for (uint t = 0; t < COUNT; t++)                                                 \
        {                                                                                          \
            const uint row = (q + t) / tiles, column = (q + t) % tiles * 4;                        \
            const uint at = (row - y0) * ow + column;                                              \
            for (uint n = 0; n < 4; n++) {                                                         \
                const float16 a = product[t][1][n] + product[t][2][n];                             \
                const float16 b = product[t][1][n] - product[t][2][n];                             \
                const float16 c = product[t][3][n] + product[t][4][n];                             \
                const float16 d = product[t][3][n] - product[t][4][n];                             \
                const float16 y0123[4] = {product[t][0][n] + a + c, b + 2.0f * d, a + 4.0f * c,    \
                    b + 8.0f * d + product[t][5][n]};                                              \
                CAPS_LOOP for (uint i = 0; i < 4 && column + i < ow; i++) band[n][at + i] =        \
                    caps_activate16(y0123[i] + add[n], act);                                       \
            }                                                                                      \
        }                                                                                          \
    }

// four channels x block of images
CPU_ITEM void winograd_forward_item(__global float *y, const ulong y_at, __global const float *x,
    const ulong x_at, __global const float *w, const ulong w_at, __global const float *bias,
    const ulong bias_at, const uint act, const uint images, const uint channels, const uint tall,
    const uint outputs, const uint kh, const uint oh, const uint ow, const uint tiles,
    const uint groups, const size_t id0, const size_t id1)
{
    const uint m = (uint)id0 * 4, block = id1, pixels = oh * ow;
    const uint rows = min(oh, WINOGRAD_BAND / ow);
    const ulong plane = (ulong)tall * tiles * groups;
    float16 band[4][WINOGRAD_BAND], add[4];
    x += x_at + block * (ulong)channels * 6 * plane * 16;
    w += w_at + (ulong)m * channels * kh * groups * 6;
    for (uint n = 0; n < 4; n++)
        add[n] = caps_given(bias_at) && m + n < outputs ? bias[bias_at + m + n] : 0.0f;
    y += y_at + (block * 16ul * outputs + m) * pixels;
    for (uint y0 = 0; y0 < oh; y0 += rows) {
        const uint y1 = min(y0 + rows, oh);
        uint q = y0 * tiles;
        for (; q + 2 <= y1 * tiles; q += 2)
            WINOGRAD_TILE(2)
        if (q < y1 * tiles)
            WINOGRAD_TILE(1)
        for (uint n = 0; n < 4 && m + n < outputs; n++)
            caps_scatter(y + (ulong)n * pixels + y0 * ow, (ulong)outputs * pixels,
                min(16u, images - block * 16), (y1 - y0) * ow, band[n], 0);
    }
}

CPU_KERNEL void winograd_forward(__global float *y, const ulong y_at, __global const float *x,
    const ulong x_at, __global const float *w, const ulong w_at, __global const float *bias,
    const ulong bias_at, const uint act, const uint images, const uint channels, const uint tall,
    const uint outputs, const uint kh, const uint oh, const uint ow, const uint tiles,
    const uint groups)
{
    winograd_forward_item(y, y_at, x, x_at, w, w_at, bias, bias_at, act, images, channels, tall,
        outputs, kh, oh, ow, tiles, groups, get_global_id(0), get_global_id(1));
}

// COUNT of the (row of the kernel, group) at one of the six points.
#define WINOGRAD_GRADIENTS(COUNT)                                                                  \
    {                                                                                              \
        float16 sum[4][COUNT];                                                                     \
        __global const float *px[COUNT];                                                           \
        UNROLL for (uint j = 0; j < COUNT; j++)                                                    \
        {                                                                                          \
            px[j] = x + ((c * 6 + p) * plane + (ulong)(y0 + (k + j) / groups) * tiles * groups +   \
                            (k + j) % groups) *                                                    \
                            16;                                                                    \
            UNROLL for (uint n = 0; n < 4; n++) sum[n][j] = 0.0f;                                  \
        }                                                                                          \
        CAPS_LOOP for (uint q = 0; q < count; q++)                                                 \
        {                                                                                          \
            UNROLL for (uint j = 0; j < COUNT; j++)                                                \
            {                                                                                      \
                const float16 v = vload16(q * groups, px[j]);                                      \
                UNROLL for (uint n = 0; n < 4; n++)                                                \
                    sum[n][j] = fma(v, gradients[p][q][n], sum[n][j]);                             \
            }                                                                                      \
        }                                                                                          \
        for (uint n = 0; n < 4 && m + n < outputs; n++)                                            \
            UNROLL for (uint j = 0; j < COUNT; j++)                                                \
            {                                                                                      \
                __global float *to =                                                               \
                    part + (ulong)n * entries + ((c * kh * groups) + k + j) * 6 + p;               \
                *to = (y0 ? *to : 0.0f) + caps_sum16(sum[n][j]);                                   \
            }                                                                                      \
    }

// four channels x block of images
CPU_ITEM void winograd_dw_item(__global float *part, const ulong part_at, __global const float *x,
    const ulong x_at, __global const float *dy, const ulong dy_at, __global const float *y,
    const ulong y_at, const uint act, const uint images, const uint channels, const uint tall,
    const uint outputs, const uint kh, const uint oh, const uint ow, const uint tiles,
    const uint groups, const size_t id0, const size_t id1)
{
    const uint m = (uint)id0 * 4, block = id1, pixels = oh * ow;
    const uint rows = min(oh, min(WINOGRAD_BAND / ow, WINOGRAD_TILES / tiles));
    const uint used = min(16u, images - block * 16), entries = channels * kh * groups * 6 + 1;
    const ulong plane = (ulong)tall * tiles * groups;
    const ulong at = (block * 16ul * outputs + m) * pixels;
    float16 band[WINOGRAD_BAND], value[16], gradients[6][WINOGRAD_TILES][4];
    x += x_at + block * (ulong)channels * 6 * plane * 16;
    part += part_at + ((ulong)block * outputs + m) * entries;
    for (uint y0 = 0; y0 < oh; y0 += rows) {
        const uint y1 = min(y0 + rows, oh), count = (y1 - y0) * tiles, taken = (y1 - y0) * ow;
        for (uint n = 0; n < 4; n++) {
            float16 sum = 0.0f;
            if (m + n < outputs) {
                const ulong from = at + (ulong)n * pixels + y0 * ow;
                caps_gather(band, dy + dy_at + from, (ulong)outputs * pixels, used, taken);
                CAPS_LOOP for (uint e = 0; act && e < taken; e += 16)
                {
                    const uint left = min(16u, taken - e);
                    caps_gather(value, y + y_at + from + e, (ulong)outputs * pixels, used, left);
                    for (uint l = 0; l < left; l++)
                        band[e + l] = caps_act_gradient16(band[e + l], value[l], act);
                }
                CAPS_LOOP for (uint e = 0; e < taken; e++) sum += band[e];
                part[(ulong)n * entries + entries - 1] =
                    (y0 ? part[(ulong)n * entries + entries - 1] : 0.0f) + caps_sum16(sum);
            } else {
                CAPS_LOOP for (uint e = 0; e < taken; e++) band[e] = 0.0f;
            }
            CAPS_LOOP for (uint q = 0; q < count; q++)
            {
                const uint column = q % tiles * 4;
                float16 d[4];
                CAPS_LOOP for (uint i = 0; i < 4; i++) d[i] =
                    column + i < ow ? band[q / tiles * ow + column + i] : (float16)(0.0f);
                const float16 even = d[0] + d[2], odd = d[1] + d[3];
                const float16 far = d[0] + 4.0f * d[2], wide = 2.0f * d[1] + 8.0f * d[3];
                gradients[0][q][n] = d[0];
                gradients[1][q][n] = even + odd;
                gradients[2][q][n] = even - odd;
                gradients[3][q][n] = far + wide;
                gradients[4][q][n] = far - wide;
                gradients[5][q][n] = d[3];
            }
        }
        for (uint c = 0; c < channels; c++) {
            for (uint p = 0; p < 6; p++) {
                for (uint k = 0; k < kh * groups; k += 5) {
                    switch (min(5u, kh * groups - k)) {
                    case 5:
                        WINOGRAD_GRADIENTS(5)
                        break;
                    case 4:
                        WINOGRAD_GRADIENTS(4)
                        break;
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
        }
    }
}

CPU_KERNEL void winograd_dw(__global float *part, const ulong part_at, __global const float *x,
    const ulong x_at, __global const float *dy, const ulong dy_at, __global const float *y,
    const ulong y_at, const uint act, const uint images, const uint channels, const uint tall,
    const uint outputs, const uint kh, const uint oh, const uint ow, const uint tiles,
    const uint groups)
{
    winograd_dw_item(part, part_at, x, x_at, dy, dy_at, y, y_at, act, images, channels, tall,
        outputs, kh, oh, ow, tiles, groups, get_global_id(0), get_global_id(1));
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
        const float near = s[1] + s[2], far = s[3] + s[4];
        const float taps[3] = {s[0] / 4 - near / 6 + far / 24,
            (s[2] - s[1]) / 6 + (s[3] - s[4]) / 12, far / 6 - near / 6 + s[5]};
        const uint row = e / 6 / groups, first = e / 6 % groups * 3;
        CAPS_LOOP for (uint i = 0; i < 3 && first + i < kw; i++)
        {
            __global float *to = dw + (ulong)row * kw + first + i;
            *to = (added ? *to : 0.0f) + taps[i];
        }
    }
}
