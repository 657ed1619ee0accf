// gemm_direct_gpu.cl: C = act(alpha op(A) op(B) + beta C + bias) on any device.
//
// op(A)[i,l] = a[i a_i + l a_l], op(B)[l,j] = b[l b_l + j b_j]: the strides express what is
// transposed. Group dimension 2 is the product of the batch. Both inputs pass through local memory,
// and neighbours in a group read neighbours in memory whichever way a matrix lies.
// gemm_tiled_64, gemm_tiled_32: G x G items (G = 16, 8) for a tile of 4 G x 4 G, a 4 x 4 part of it
// in each item's registers: two vectors from local memory for sixteen multiply-adds. Rows of the
// local tiles are four floats longer than the tile, which spreads a column over the banks.
// gemm_direct: T x T items (T = get_local_size(0) = get_local_size(1)) for a T x T tile, an element
// each: for products of a single tile, and for devices whose groups are smaller than 64 items.
// Epilogue: bias_is 0 none, 1 of the column, 2 of the row; act 0 none, 1 relu, 2 sigmoid.
// Numerics: float32 fma along l, in runs of T or GEMM_TILED_RUN whose sums are added in order.
// Determinism: one work-item owns an element. Where beta is 0, C is not read.

#ifndef GEMM_TILED_STEPS
#define GEMM_TILED_STEPS 16 // steps of l in local memory at once
#endif
#ifndef GEMM_TILED_RUN
#define GEMM_TILED_RUN 256 // steps of l summed before they join the total: a multiple of the above
#endif

// to[l pitch + i] = from[i along + l across] for a size x GEMM_TILED_STEPS tile, 0 past n rows or k
// steps.
static inline void gemm_tiled_load(__local float *to, uint pitch, uint size,
    __global const float *from, ulong along, ulong across, uint n, uint k, uint item, uint items)
{
    for (uint e = item; e < size * GEMM_TILED_STEPS; e += items) {
        const uint i = across == 1 ? e / GEMM_TILED_STEPS : e % size;
        const uint l = across == 1 ? e % GEMM_TILED_STEPS : e / size;
        to[l * pitch + i] = i < n && l < k ? from[i * along + l * across] : 0.0f;
    }
}

// One element of C.
static inline void gemm_direct_store(__global float *to, float x, float beta, uint bias_is,
    __global const float *bias, uint i, uint j, uint act)
{
    if (beta != 0.0f)
        x = fma(beta, *to, x);
    if (bias_is != 0)
        x += bias[bias_is == 1 ? j : i];
    *to = caps_activate(x, act);
}

#define GEMM_TILED(NAME, G)                                                                        \
    __kernel __attribute__((reqd_work_group_size(G, G, 1))) void NAME(__global float *c,           \
        const ulong c_at, __global const float *a, const ulong a_at, __global const float *b,      \
        const ulong b_at, __global const float *bias, const ulong bias_at, const uint m,           \
        const uint n, const uint k, const uint a_i, const uint a_l, const uint b_l,                \
        const uint b_j, const uint ldc, const float alpha, const float beta, const uint bias_is,   \
        const uint act, const uint stride_a, const uint stride_b, const uint stride_c)             \
    {                                                                                              \
        const uint size = 4 * G, pitch = 4 * G + 4;                                                \
        __local float a_tile[GEMM_TILED_STEPS * (4 * G + 4)];                                      \
        __local float b_tile[GEMM_TILED_STEPS * (4 * G + 4)];                                      \
        const uint x = (uint)get_local_id(0), y = (uint)get_local_id(1), item = y * G + x;         \
        const uint i0 = (uint)get_group_id(1) * size, j0 = (uint)get_group_id(0) * size;           \
        const ulong product = get_global_id(2);                                                    \
        a += a_at + product * stride_a + (ulong)i0 * a_i;                                          \
        b += b_at + product * stride_b + (ulong)j0 * b_j;                                          \
        c += c_at + product * stride_c;                                                            \
        if (bias_is != 0)                                                                          \
            bias += bias_at;                                                                       \
        float4 sum[4], total[4];                                                                   \
        UNROLL for (uint r = 0; r < 4; r++) sum[r] = total[r] = (float4)(0.0f);                    \
        for (uint l0 = 0; l0 < k; l0 += GEMM_TILED_STEPS) {                                        \
            if (l0 % GEMM_TILED_RUN == 0)                                                          \
                UNROLL for (uint r = 0; r < 4; r++)                                                \
                {                                                                                  \
                    total[r] += sum[r];                                                            \
                    sum[r] = (float4)(0.0f);                                                       \
                }                                                                                  \
            gemm_tiled_load(                                                                       \
                a_tile, pitch, size, a + (ulong)l0 * a_l, a_i, a_l, m - i0, k - l0, item, G * G);  \
            gemm_tiled_load(                                                                       \
                b_tile, pitch, size, b + (ulong)l0 * b_l, b_j, b_l, n - j0, k - l0, item, G * G);  \
            barrier(CLK_LOCAL_MEM_FENCE);                                                          \
            UNROLL for (uint l = 0; l < GEMM_TILED_STEPS; l++)                                     \
            {                                                                                      \
                const float4 p = vload4(0, a_tile + l * pitch + 4 * y);                            \
                const float4 q = vload4(0, b_tile + l * pitch + 4 * x);                            \
                sum[0] = fma((float4)(p.x), q, sum[0]);                                            \
                sum[1] = fma((float4)(p.y), q, sum[1]);                                            \
                sum[2] = fma((float4)(p.z), q, sum[2]);                                            \
                sum[3] = fma((float4)(p.w), q, sum[3]);                                            \
            }                                                                                      \
            barrier(CLK_LOCAL_MEM_FENCE);                                                          \
        }                                                                                          \
        for (uint r = 0; r < 4; r++) {                                                             \
            const uint i = i0 + 4 * y + r;                                                         \
            float row[4];                                                                          \
            vstore4(alpha *(total[r] + sum[r]), 0, row);                                           \
            for (uint q = 0; q < 4; q++) {                                                         \
                const uint j = j0 + 4 * x + q;                                                     \
                if (i < m && j < n)                                                                \
                    gemm_direct_store(                                                             \
                        c + (ulong)i * ldc + j, row[q], beta, bias_is, bias, i, j, act);           \
            }                                                                                      \
        }                                                                                          \
    }
GEMM_TILED(gemm_tiled_64, 16)
GEMM_TILED(gemm_tiled_32, 8)

__kernel void gemm_direct(__global float *c, const ulong c_at, __global const float *a,
    const ulong a_at, __global const float *b, const ulong b_at, __global const float *bias,
    const ulong bias_at, const uint m, const uint n, const uint k, const uint a_i, const uint a_l,
    const uint b_l, const uint b_j, const uint ldc, const float alpha, const float beta,
    const uint bias_is, const uint act, const uint stride_a, const uint stride_b,
    const uint stride_c, __local float *a_tile, __local float *b_tile)
{
    const uint t = (uint)get_local_size(0), pitch = t + 1; // + 1 spreads a column over the banks
    const uint x = (uint)get_local_id(0), y = (uint)get_local_id(1);
    const uint i0 = (uint)get_group_id(1) * t, j0 = (uint)get_group_id(0) * t;
    const ulong item = get_global_id(2);
    a += a_at + item * stride_a;
    b += b_at + item * stride_b;
    c += c_at + item * stride_c;

    // x runs along the dimension that is contiguous in memory.
    const uint ai = a_l == 1 ? y : x, al = a_l == 1 ? x : y;
    const uint bl = b_j == 1 ? y : x, bj = b_j == 1 ? x : y;
    float total = 0.0f;
    for (uint l0 = 0; l0 < k; l0 += t) {
        a_tile[ai * pitch + al] =
            i0 + ai < m && l0 + al < k ? a[(ulong)(i0 + ai) * a_i + (ulong)(l0 + al) * a_l] : 0.0f;
        b_tile[bl * pitch + bj] =
            l0 + bl < k && j0 + bj < n ? b[(ulong)(l0 + bl) * b_l + (ulong)(j0 + bj) * b_j] : 0.0f;
        barrier(CLK_LOCAL_MEM_FENCE);
        float sum = 0.0f;
        for (uint l = 0; l < t; l++)
            sum = fma(a_tile[y * pitch + l], b_tile[l * pitch + x], sum);
        total += sum;
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (i0 + y < m && j0 + x < n)
        gemm_direct_store(c + (ulong)(i0 + y) * ldc + j0 + x, alpha * total, beta, bias_is,
            bias_is ? bias + bias_at : bias, i0 + y, j0 + x, act);
}
