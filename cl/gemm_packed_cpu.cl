// gemm_packed_cpu.cl: C = alpha op(A) op(B) + beta C for CPUs, in the manner of Goto and van de Geijn
// ("Anatomy of high-performance matrix multiplication", 2008).
//
// 1. gemm_pack_* copy op(A) into panels of R rows and op(B) into panels of S columns, k running
//    outside and the panel's width inside, zeros past the edge:
//        panels[(i / R) R k + l R + i % R] = op(A)[i, l]        (R = 8 or 6; S = 32 or 16 likewise)
//    so that the innermost loop reads both along memory, whatever was transposed or strided.
// 2. gemm_packed_* hold an R x S tile of C in registers. Work-item: a block of block_m x block_n of
//    one product of the batch; k runs in runs of GEMM_PACKED_RUN so that a panel of B stays near.
// Variants by the machine's vectors: 8 x 32 for 16 floats in a register (32 registers: 16 sums), 6 x 16
// for 8 floats (16 registers: 12 sums).
//
// Numerics: float32 fma along k, in runs of GEMM_PACKED_RUN whose sums are added in order; an element's
// order depends neither on m, n nor on how the work is cut.
// Determinism: one work-item owns a block. Where beta is 0, C is not read.

#ifndef GEMM_PACKED_RUN
#define GEMM_PACKED_RUN 256 // steps of k between two visits to C; the host cuts k at multiples of it
#endif
#ifndef GEMM_PACK_PANELS
#define GEMM_PACK_PANELS 4 // adjacent panels per packing item: longer reads along memory
#endif

// 16 rows of 16 become 16 columns: four rounds, each pairing rows 8 apart.
#define GEMM_ZIP_LOW(x, y)                                                                         \
    (float16)((x).s0, (y).s0, (x).s1, (y).s1, (x).s2, (y).s2, (x).s3, (y).s3, (x).s4, (y).s4,      \
        (x).s5, (y).s5, (x).s6, (y).s6, (x).s7, (y).s7)
#define GEMM_ZIP_HIGH(x, y)                                                                        \
    (float16)((x).s8, (y).s8, (x).s9, (y).s9, (x).sa, (y).sa, (x).sb, (y).sb, (x).sc, (y).sc,      \
        (x).sd, (y).sd, (x).se, (y).se, (x).sf, (y).sf)
#define GEMM_TRANSPOSE_ROUND(to, from)                                                             \
    UNROLL for (uint z = 0; z < 8; z++)                                                            \
    {                                                                                              \
        to[2 * z] = GEMM_ZIP_LOW(from[z], from[z + 8]);                                            \
        to[2 * z + 1] = GEMM_ZIP_HIGH(from[z], from[z + 8]);                                       \
    }

// Panels from a matrix whose (i, l) lies at l ld + i: rows of the panel are contiguous.
// Items: (GEMM_PACK_PANELS panels, run of k, product). n: extent of i.
#define GEMM_PACK_ALONG(NAME, WIDTH)                                                               \
    CPU_KERNEL void NAME(__global float *restrict out, const ulong out_at,                         \
        __global const float *restrict in, const ulong in_at, const uint n, const uint k,          \
        const uint ld, const uint out_stride, const uint in_stride)                                \
    {                                                                                              \
        const uint i0 = (uint)get_global_id(0) * (GEMM_PACK_PANELS * WIDTH);                       \
        const uint i1 = i0 + min((uint)(GEMM_PACK_PANELS * WIDTH), n - i0);                        \
        const uint l0 = (uint)get_global_id(1) * GEMM_PACKED_RUN;                                  \
        const uint l1 = l0 + min((uint)GEMM_PACKED_RUN, k - l0);                                   \
        out += out_at + get_global_id(2) * (ulong)out_stride;                                      \
        in += in_at + get_global_id(2) * (ulong)in_stride;                                         \
        for (uint l = l0; l < l1; l++) {                                                           \
            for (uint i = i0; i < i1; i += WIDTH) {                                                \
                __global float *to = out + (ulong)i * k + (ulong)l * WIDTH;                        \
                __global const float *from = in + (ulong)l * ld + i;                               \
                if (i + WIDTH <= n) {                                                              \
                    UNROLL for (uint q = 0; q < WIDTH; q++) to[q] = from[q];                       \
                } else {                                                                           \
                    for (uint q = 0; q < WIDTH; q++)                                               \
                        to[q] = i + q < n ? from[q] : 0.0f;                                        \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

// Panels from a matrix whose (i, l) lies at i ld + l: columns of the panel are contiguous.
// Items: (panel, run of k, product).
#define GEMM_PACK_ACROSS(NAME, WIDTH)                                                              \
    CPU_KERNEL void NAME(__global float *restrict out, const ulong out_at,                         \
        __global const float *restrict in, const ulong in_at, const uint n, const uint k,          \
        const uint ld, const uint out_stride, const uint in_stride)                                \
    {                                                                                              \
        const uint i0 = (uint)get_global_id(0) * WIDTH;                                            \
        const uint width = min((uint)WIDTH, n - i0);                                               \
        const uint l0 = (uint)get_global_id(1) * GEMM_PACKED_RUN;                                  \
        const uint l1 = l0 + min((uint)GEMM_PACKED_RUN, k - l0);                                   \
        out += out_at + get_global_id(2) * (ulong)out_stride + (ulong)i0 * k;                      \
        in += in_at + get_global_id(2) * (ulong)in_stride + (ulong)i0 * ld;                        \
        uint l = l0;                                                                               \
        if (WIDTH % 16 == 0 && width == WIDTH) {                                                   \
            for (; l + 16 <= l1; l += 16) {                                                        \
                UNROLL for (uint p = 0; p < WIDTH / 16; p++)                                       \
                {                                                                                  \
                    float16 x[16], y[16];                                                          \
                    UNROLL for (uint z = 0; z < 16; z++)                                           \
                        x[z] = vload16(0, in + (ulong)(p * 16 + z) * ld + l);                      \
                    GEMM_TRANSPOSE_ROUND(y, x)                                                     \
                    GEMM_TRANSPOSE_ROUND(x, y)                                                     \
                    GEMM_TRANSPOSE_ROUND(y, x)                                                     \
                    GEMM_TRANSPOSE_ROUND(x, y)                                                     \
                    UNROLL for (uint z = 0; z < 16; z++)                                           \
                        vstore16(x[z], 0, out + (ulong)(l + z) * WIDTH + p * 16);                  \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        for (; l < l1; l++)                                                                        \
            for (uint q = 0; q < WIDTH; q++)                                                       \
                out[(ulong)l * WIDTH + q] = q < width ? in[(ulong)q * ld + l] : 0.0f;              \
    }

// ROWS x (16 VECTORS) tile. a, b: panels of k steps; strides between the products of a batch.
#define GEMM_PACKED(NAME, ROWS, VECTORS)                                                           \
    CPU_KERNEL void NAME(__global float *restrict c, const ulong c_at,                             \
        __global const float *restrict a, const ulong a_at, __global const float *restrict b,      \
        const ulong b_at, const uint m, const uint n, const uint k, const uint ldc,                \
        const float alpha, const float beta, const uint block_m, const uint block_n,               \
        const uint stride_a, const uint stride_b, const uint stride_c)                             \
    {                                                                                              \
        const uint i0 = (uint)get_global_id(0) * block_m, i1 = i0 + min(block_m, m - i0);          \
        const uint j0 = (uint)get_global_id(1) * block_n, j1 = j0 + min(block_n, n - j0);          \
        a += a_at + get_global_id(2) * (ulong)stride_a;                                            \
        b += b_at + get_global_id(2) * (ulong)stride_b;                                            \
        c += c_at + get_global_id(2) * (ulong)stride_c;                                            \
        for (uint l0 = 0; l0 < k; l0 += GEMM_PACKED_RUN) {                                         \
            const uint run = min((uint)GEMM_PACKED_RUN, k - l0);                                   \
            const float keep = l0 == 0 ? beta : 1.0f;                                              \
            for (uint j = j0; j < j1; j += 16 * VECTORS) {                                         \
                for (uint i = i0; i < i1; i += ROWS) {                                             \
                    __global const float *pa = a + (ulong)i * k + (ulong)l0 * ROWS;                \
                    __global const float *pb = b + (ulong)j * k + (ulong)l0 * (16 * VECTORS);      \
                    float16 sum[ROWS][VECTORS];                                                    \
                    UNROLL for (uint r = 0; r < ROWS; r++)                                         \
                        UNROLL for (uint v = 0; v < VECTORS; v++) sum[r][v] = (float16)(0.0f);     \
                    for (uint l = 0; l < run; l++) {                                               \
                        float16 y[VECTORS];                                                        \
                        UNROLL for (uint v = 0; v < VECTORS; v++) y[v] = vload16(v, pb);           \
                        UNROLL for (uint r = 0; r < ROWS; r++)                                     \
                            UNROLL for (uint v = 0; v < VECTORS; v++)                              \
                                sum[r][v] = fma((float16)(pa[r]), y[v], sum[r][v]);                \
                        pa += ROWS;                                                                \
                        pb += 16 * VECTORS;                                                        \
                    }                                                                              \
                    UNROLL for (uint r = 0; r < ROWS; r++)                                         \
                        UNROLL for (uint v = 0; v < VECTORS; v++)                                  \
                            if (i + r < m)                                                         \
                                gemm_packed_store(c + (ulong)(i + r) * ldc, j + 16 * v, n,         \
                                    alpha * sum[r][v], keep);                                      \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

// row[j .. j + 16), as far as n, becomes x + keep row.
static inline void gemm_packed_store(__global float *row, uint j, uint n, float16 x, float keep)
{
    if (j >= n)
        return;
    if (keep != 0.0f)
        x = fma((float16)(keep), caps_load16(row + j, n - j, 0.0f), x);
    caps_store16(x, row + j, n - j);
}

GEMM_PACK_ALONG(gemm_pack_along_6, 6)
GEMM_PACK_ALONG(gemm_pack_along_8, 8)
GEMM_PACK_ALONG(gemm_pack_along_16, 16)
GEMM_PACK_ALONG(gemm_pack_along_32, 32)
GEMM_PACK_ACROSS(gemm_pack_across_6, 6)
GEMM_PACK_ACROSS(gemm_pack_across_8, 8)
GEMM_PACK_ACROSS(gemm_pack_across_16, 16)
GEMM_PACK_ACROSS(gemm_pack_across_32, 32)
GEMM_PACKED(gemm_packed_6x16, 6, 1)
GEMM_PACKED(gemm_packed_8x32, 8, 2)
