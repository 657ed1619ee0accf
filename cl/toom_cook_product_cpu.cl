// toom_cook_product_cpu.cl: the products between the transforms of the Toom-Cook convolution
// (toom_cook.clt has the layouts): for every pair of points, over all channels, images and tiles,
//
//     toom_cook_product_y    Y = X^T W         sum over K
//     toom_cook_product_dw   dW = X dY         sum over images and tiles; added: to what is there
//     toom_cook_product_dx   dX = W dY         sum over output channels
//
// A complex bin is three real products: of real parts, of imaginary parts and of the sums of both;
// Y keeps the three, the others are put together in registers. Work-items: a bin x a part of its
// output; complex bins, three times as heavy, come last, because a device may hand out the first
// items in large shares. Tiles of 8 x 32 (dx: 8 x 48) accumulators. Determinism: one work-item per
// element, sums in order of k, in runs of TOOM_COOK_RUN (dx: of output channels, in blocks of 32
// TOOM_COOK_PANELS).

#define TOOM_COOK_GAP    80  // as in toom_cook.clt
#define TOOM_COOK_RUN    128 // steps of k between visits to memory
#define TOOM_COOK_ROWS   512 // rows of Y that a run of X stays in the cache for
#define TOOM_COOK_SHARE  4   // panels of W that a work-item takes
#define TOOM_COOK_PANELS 8   // panels of W whose sums of both parts are kept
#define TOOM_COOK_LANES  9   // panels of dX at once

// Plane of product p of a bin; planes: those that are no sums.
static inline uint toom_cook_plane(uint bin, uint p, uint bins, uint planes)
{
    return bin >= bins ? bins + bin : p < 2 ? 2 * bin + p : planes + bin;
}

// What a product p does to the result, 8 rows of `vectors`: the only one is it; of three, kept
// waits for the others. The sums come as a copy: what has an address stays in no register. Element
// (r, v) is at re + r row + v step, its imaginary part `im` further.
CPU_ITEM void toom_cook_finish(__global float *re, ulong row, ulong step, ulong im,
    const float16 *sum, uint vectors, float16 *kept, uint kept_row, uint p, uint products,
    uint added)
{
    CAPS_LOOP for (uint r = 0; r < 8; r++) CAPS_LOOP for (uint v = 0; v < vectors; v++)
    {
        __global float *to = re + r * row + v * step + (p == 2 ? im : 0);
        float16 x = sum[r * vectors + v], *wait = kept + r * kept_row + v;
        if (products == 3 && p == 0) {
            *wait = x;
            continue;
        }
        if (products == 3) {
            const float16 old = *wait;
            *wait = old + x;
            x = p == 1 ? old - x : x - old;
        }
        if (added)
            vstore16(vload16(0, to) + x, 0, to);
        else
            CAPS_STREAM16(x, to);
    }
}

// ---- Y ------------------------------------------------------------------------------------------

// b: the run of W's panel, 32 floats a step.
#define TOOM_COOK_TILE_Y(ROWS, VECTORS)                                                            \
    {                                                                                              \
        float16 sum[ROWS][VECTORS];                                                                \
        __global const float *pa = a;                                                              \
        UNROLL for (uint r = 0; r < ROWS; r++) UNROLL for (uint v = 0; v < VECTORS; v++)           \
            sum[r][v] = k0 ? vload16(2 * r + v, y) : (float16)(0.0f);                              \
        CAPS_LOOP for (uint l = 0; l < run; l++, pa += 16, soon += pace)                           \
        {                                                                                          \
            float16 x[VECTORS];                                                                    \
            CAPS_PREFETCH(pa + TOOM_COOK_RUN * 16);                                                \
            CAPS_PREFETCH(soon);                                                                   \
            UNROLL for (uint v = 0; v < VECTORS; v++) x[v] = vload16(2 * l + v, b);                \
            UNROLL for (uint r = 0; r < ROWS; r++) UNROLL for (uint v = 0; v < VECTORS; v++)       \
                sum[r][v] = fma((float16)(pa[r]), x[v], sum[r][v]);                                \
        }                                                                                          \
        UNROLL for (uint r = 0; r < ROWS; r++) UNROLL for (uint v = 0; v < VECTORS; v++)           \
            vstore16(sum[r][v], 2 * r + v, y);                                                     \
    }

// All images of the tiles t0 .. t1 - 1 with one run of a panel.
#define TOOM_COOK_TILES_Y                                                                          \
    for (uint t = t0; t < t1; t++) {                                                               \
        for (uint i = 0; i < images; i += 8) {                                                     \
            __global const float *a = x + (((ulong)t * blocks + i / 16) * kp + k0) * 16 + i % 16;  \
            __global float *y = whole + (((ulong)panel * tiles + t) * rounded + i) * 32;           \
            if (wide && images - i > 4)                                                            \
                TOOM_COOK_TILE_Y(8, 2)                                                             \
            else if (wide)                                                                         \
                TOOM_COOK_TILE_Y(4, 2)                                                             \
            else if (images - i > 4)                                                               \
                TOOM_COOK_TILE_Y(8, 1)                                                             \
            else                                                                                   \
                TOOM_COOK_TILE_Y(4, 1)                                                             \
        }                                                                                          \
    }

// share of W's panels x bin
CPU_ITEM void toom_cook_product_y_item(__global float *restrict to, const ulong to_at,
    __global const float *restrict xs, const ulong x_at, __global const float *restrict ws,
    const ulong w_at, const uint bins, const uint planes, const uint k, const uint kp,
    const uint images, const uint outputs, const uint tiles, const size_t id0, const size_t id1,
    const size_t size1)
{
    const uint bin = (uint)(size1 - 1 - id1);
    const uint blocks = (images + 15) / 16, rounded = blocks * 16, panels = (outputs + 31) / 32;
    const uint from = (uint)id0 * TOOM_COOK_SHARE;
    const uint past = min(from + TOOM_COOK_SHARE, panels);
    const ulong y_plane = (ulong)panels * tiles * rounded * 32 + TOOM_COOK_GAP;
    const ulong x_plane = (ulong)tiles * blocks * kp * 16 + TOOM_COOK_GAP;
    const ulong other = (ulong)panels * kp * 32 + TOOM_COOK_GAP; // from real to imaginary W
    const uint together = max(1u, TOOM_COOK_ROWS / rounded);     // tiles
    // Bytes from one hint to the next, so that the next panel's run is in by then.
    const uint steps = (images + 7) / 8 * min(together, tiles), pace = (127 + steps) / steps;
    for (uint p = 0; p < (bin < bins ? 3 : 1); p++) {
        __global const float *x = xs + x_at + toom_cook_plane(bin, p, bins, planes) * x_plane;
        __global const float *w =
            ws + w_at + toom_cook_plane(bin, p < 2 ? p : 0, bins, planes) * other;
        __global float *whole = to + to_at + toom_cook_plane(bin, p, bins, planes) * y_plane;
        for (uint t0 = 0; t0 < tiles; t0 += together) {
            const uint t1 = min(t0 + together, tiles);
            for (uint k0 = 0; k0 < k; k0 += TOOM_COOK_RUN) {
                const uint run = min((uint)TOOM_COOK_RUN, k - k0);
                for (uint panel = from; panel < past; panel++) {
                    const int wide = outputs - panel * 32 > 16;
                    __global const float *own = w + ((ulong)panel * kp + k0) * 32;
                    __global const float *next =
                        panel + 1 < past ? own + (ulong)kp * 32
                                         : w + ((ulong)from * kp + k0 + TOOM_COOK_RUN) * 32;
                    __global const char *soon = (__global const char *)next;
                    if (p < 2) {
                        __global const float *b = own;
                        TOOM_COOK_TILES_Y
                    } else {
                        float both[TOOM_COOK_RUN * 32];
                        const float *b = both;
                        CAPS_LOOP for (uint v = 0; v < 2 * run; v++)
                        {
                            CAPS_PREFETCH(next + other + v * 16);
                            vstore16(vload16(v, own) + vload16(v, own + other), v, both);
                        }
                        TOOM_COOK_TILES_Y
                    }
                }
            }
        }
    }
}

CPU_KERNEL void toom_cook_product_y(__global float *restrict to, const ulong to_at,
    __global const float *restrict xs, const ulong x_at, __global const float *restrict ws,
    const ulong w_at, const uint bins, const uint planes, const uint k, const uint kp,
    const uint images, const uint outputs, const uint tiles)
{
    toom_cook_product_y_item(to, to_at, xs, x_at, ws, w_at, bins, planes, k, kp, images, outputs,
        tiles, get_global_id(0), get_global_id(1), get_global_size(1));
}

// ---- dW -----------------------------------------------------------------------------------------

#define TOOM_COOK_TILE_DW(VECTORS)                                                                 \
    {                                                                                              \
        float16 kept[8][VECTORS];                                                                  \
        for (uint p = 0; p < products; p++) {                                                      \
            const uint plane = toom_cook_plane(bin, p, bins, planes);                              \
            __global const float *b =                                                              \
                ys + y_at + plane * y_plane + (ulong)panel * tiles * blocks * 512;                 \
            __global const float *a = xs + x_at + plane * x_plane + (ulong)i * 16;                 \
            float16 sum[8][VECTORS];                                                               \
            UNROLL for (uint r = 0; r < 8; r++) UNROLL for (uint v = 0; v < VECTORS; v++)          \
                sum[r][v] = (float16)(0.0f);                                                       \
            for (uint t = 0; t < tiles; t++) {                                                     \
                for (uint block = 0; block < blocks; block++, a += (ulong)kp * 16, b += 512) {     \
                    const uint lanes = min(16u, images - block * 16);                              \
                    CAPS_LOOP for (uint l = 0; l < lanes; l++)                                     \
                    {                                                                              \
                        float16 y[VECTORS];                                                        \
                        UNROLL for (uint v = 0; v < VECTORS; v++) y[v] = vload16(2 * l + v, b);    \
                        UNROLL for (uint r = 0; r < 8; r++)                                        \
                            UNROLL for (uint v = 0; v < VECTORS; v++) sum[r][v] =                  \
                                fma((float16)(a[r * 16 + l]), y[v], sum[r][v]);                    \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
            float16 done[8][VECTORS];                                                              \
            UNROLL for (uint r = 0; r < 8; r++) UNROLL for (uint v = 0; v < VECTORS; v++)          \
                done[r][v] = sum[r][v];                                                            \
            toom_cook_finish(to + to_at + toom_cook_plane(bin, 0, bins, planes) * w_plane +        \
                                ((ulong)panel * kp + i) * 32,                                      \
                32, 16, w_plane, done[0], VECTORS, kept[0], VECTORS, p, products, added);          \
        }                                                                                          \
    }

// span rows of dW x bin
CPU_ITEM void toom_cook_product_dw_item(__global float *restrict to, const ulong to_at,
    __global const float *restrict xs, const ulong x_at, __global const float *restrict ys,
    const ulong y_at, const uint bins, const uint planes, const uint kp, const uint images,
    const uint outputs, const uint tiles, const uint span, const uint added, const size_t id0,
    const size_t id1, const size_t size1)
{
    const uint bin = (uint)(size1 - 1 - id1);
    const uint blocks = (images + 15) / 16, panels = (outputs + 31) / 32;
    const uint products = bin < bins ? 3 : 1;
    const uint from = (uint)id0 * span, past = min(from + span, kp);
    const ulong y_plane = (ulong)panels * tiles * blocks * 512 + TOOM_COOK_GAP;
    const ulong x_plane = (ulong)tiles * blocks * kp * 16 + TOOM_COOK_GAP;
    const ulong w_plane = (ulong)panels * kp * 32 + TOOM_COOK_GAP;
    for (uint panel = 0; panel < panels; panel++) {
        const int wide = outputs - panel * 32 > 16;
        for (uint i = from; i < past; i += 8) {
            if (wide)
                TOOM_COOK_TILE_DW(2)
            else
                TOOM_COOK_TILE_DW(1)
        }
    }
}

CPU_KERNEL void toom_cook_product_dw(__global float *restrict to, const ulong to_at,
    __global const float *restrict xs, const ulong x_at, __global const float *restrict ys,
    const ulong y_at, const uint bins, const uint planes, const uint kp, const uint images,
    const uint outputs, const uint tiles, const uint span, const uint added)
{
    toom_cook_product_dw_item(to, to_at, xs, x_at, ys, y_at, bins, planes, kp, images, outputs,
        tiles, span, added, get_global_id(0), get_global_id(1), get_global_size(1));
}

// ---- dX -----------------------------------------------------------------------------------------

// a: 8 rows of 32 lanes for every panel of output channels.
// hint.
#define TOOM_COOK_TILE_DX(VECTORS)                                                                 \
    {                                                                                              \
        float16 sum[8][VECTORS];                                                                   \
        UNROLL for (uint r = 0; r < 8; r++) UNROLL for (uint v = 0; v < VECTORS; v++) sum[r][v] =  \
            (float16)(0.0f);                                                                       \
        __global const float *pb = b + (ulong)lane * outputs * 16;                                 \
        for (uint m = m0; m < m1; m += 32) {                                                       \
            const uint n = min(32u, m1 - m);                                                       \
            CAPS_LOOP for (uint l = 0; l < n; l++, pb += 16)                                       \
            {                                                                                      \
                float16 x[VECTORS];                                                                \
                UNROLL for (uint v = 0; v < VECTORS; v++) x[v] = vload16(v * outputs, pb);         \
                UNROLL for (uint r = 0; r < 8; r++) UNROLL for (uint v = 0; v < VECTORS; v++)      \
                    sum[r][v] = fma((float16)(a[(m - m0) * 8 + r * 32 + l]), x[v], sum[r][v]);     \
            }                                                                                      \
        }                                                                                          \
        float16 done[8][VECTORS];                                                                  \
        UNROLL for (uint r = 0; r < 8; r++) UNROLL for (uint v = 0; v < VECTORS; v++) done[r][v] = \
            sum[r][v];                                                                             \
        toom_cook_finish(out + (ulong)lane * kp * 16, 16, (ulong)kp * 16, x_plane, done[0],        \
            VECTORS, kept[0] + lane - lane0, TOOM_COOK_LANES, p, products, m0 > 0);                \
    }

// One panel of which only the first four lanes have an image: the others stay as they are.
#define TOOM_COOK_FEW_DX                                                                           \
    {                                                                                              \
        float4 sum[8];                                                                             \
        UNROLL for (uint r = 0; r < 8; r++) sum[r] = 0.0f;                                         \
        __global const float *pb = b + (ulong)lane * outputs * 16;                                 \
        for (uint m = m0; m < m1; m += 32) {                                                       \
            const uint n = min(32u, m1 - m);                                                       \
            CAPS_LOOP for (uint l = 0; l < n; l++, pb += 16)                                       \
            {                                                                                      \
                const float4 x = vload4(0, pb);                                                    \
                UNROLL for (uint r = 0; r < 8; r++) sum[r] =                                       \
                    fma((float4)(a[(m - m0) * 8 + r * 32 + l]), x, sum[r]);                        \
            }                                                                                      \
        }                                                                                          \
        CAPS_LOOP for (uint r = 0; r < 8; r++)                                                     \
        {                                                                                          \
            __global float *re = out + ((ulong)lane * kp + r) * 16, *im = re + x_plane;            \
            const float4 x = sum[r];                                                               \
            if (products == 1) {                                                                   \
                toom_cook_put4(re, x, m0 > 0);                                                     \
            } else if (p == 0) {                                                                   \
                few[r] = x;                                                                        \
            } else if (p == 1) {                                                                   \
                toom_cook_put4(re, few[r] - x, m0 > 0);                                            \
                few[r] += x;                                                                       \
            } else {                                                                               \
                toom_cook_put4(im, x - few[r], m0 > 0);                                            \
            }                                                                                      \
        }                                                                                          \
    }

static inline void toom_cook_put4(__global float *to, float4 x, uint added)
{
    vstore4(added ? vload4(0, to) + x : x, 0, to);
}

// span rows of dX x bin
CPU_ITEM void toom_cook_product_dx_item(__global float *restrict to, const ulong to_at,
    __global const float *restrict ws, const ulong w_at, __global const float *restrict ys,
    const ulong y_at, const uint bins, const uint planes, const uint kp, const uint images,
    const uint outputs, const uint tiles, const uint span, const size_t id0, const size_t id1,
    const size_t size1)
{
    const uint bin = (uint)(size1 - 1 - id1);
    const uint lanes = tiles * ((images + 15) / 16), panels = (outputs + 31) / 32;
    const uint products = bin < bins ? 3 : 1;
    const uint from = (uint)id0 * span, past = min(from + span, kp);
    const ulong y_plane = (ulong)lanes * outputs * 16 + TOOM_COOK_GAP;
    const ulong x_plane = (ulong)lanes * kp * 16 + TOOM_COOK_GAP;
    const ulong w_plane = (ulong)panels * kp * 32 + TOOM_COOK_GAP;
    const ulong first = toom_cook_plane(bin, 0, bins, planes);
    for (uint lane0 = 0; lane0 < lanes; lane0 += TOOM_COOK_LANES) {
        const uint lane1 = min(lane0 + TOOM_COOK_LANES, lanes);
        for (uint i = from; i < past; i += 8) {
            __global float *out = to + to_at + first * x_plane + (ulong)i * 16;
            for (uint m0 = 0; m0 < outputs; m0 += 32 * TOOM_COOK_PANELS) {
                const uint m1 = min(m0 + 32 * TOOM_COOK_PANELS, outputs);
                __global const float *w =
                    ws + w_at + first * w_plane + ((ulong)(m0 / 32) * kp + i) * 32;
                float4 few[8];
                float16 kept[8][TOOM_COOK_LANES], both[TOOM_COOK_PANELS * 16];
                const float *a = (const float *)both;
                for (uint p = 0; p < products; p++) {
                    __global const float *b =
                        ys + y_at + toom_cook_plane(bin, p, bins, planes) * y_plane +
                        (ulong)m0 * 16;
                    // Eight rows of W: a part of it, or the sum of both.
                    __global const float *own = w + (p < 2 ? p : 0) * w_plane;
                    for (uint m = m0; m < m1; m += 32, own += (ulong)kp * 32) {
                        float16 *to = both + (m - m0) / 2;
                        CAPS_LOOP for (uint v = 0; v < 16; v++)
                        {
                            CAPS_PREFETCH(own + 256 + v * 16);
                            to[v] = p < 2 ? vload16(v, own)
                                          : vload16(v, own) + vload16(v, own + w_plane);
                        }
                    }
                    for (uint lane = lane0; lane < lane1;) {
                        if (lane1 - lane >= 3) {
                            TOOM_COOK_TILE_DX(3)
                            lane += 3;
                        } else {
                            if (tiles == 1 && lane + 1 == lanes && images % 16 >= 1 &&
                                images % 16 <= 4)
                                TOOM_COOK_FEW_DX
                            else
                                TOOM_COOK_TILE_DX(1)
                            lane += 1;
                        }
                    }
                }
            }
        }
    }
}

CPU_KERNEL void toom_cook_product_dx(__global float *restrict to, const ulong to_at,
    __global const float *restrict ws, const ulong w_at, __global const float *restrict ys,
    const ulong y_at, const uint bins, const uint planes, const uint kp, const uint images,
    const uint outputs, const uint tiles, const uint span)
{
    toom_cook_product_dx_item(to, to_at, ws, w_at, ys, y_at, bins, planes, kp, images, outputs,
        tiles, span, get_global_id(0), get_global_id(1), get_global_size(1));
}
