// gemm_packed_cpu.cl: C = act(alpha op(A) op(B) + beta C + bias) for CPUs, after Goto and van de
// Geijn
// ("Anatomy of high-performance matrix multiplication", 2008).
//
// An R x S tile of C stays in registers while k runs. A step reads S elements of B as vectors and R
// elements of A as broadcasts. A broadcast does not care where its neighbours lie, so A is read as
// it is stored, transposed or not; only a large transposed one that many panels read is copied, for
// each step of it is on other pages (pack_a). B is copied first, S columns and a run of k at a
// time, by the work-item that is about to use them: they are still in the nearest cache then, and
// nothing is written to memory for the purpose.
//     panel[l S + j % S] = op(B)[l, j]
// Where pack_b is 0, B is read as it is stored too, but for a panel that is cut short by the edge.
// Work-items: (blocks of block_m rows, blocks of block_n columns, runs of block_items products),
// each with its own GEMM_PACKED_RUN S floats of `scratch`, and GEMM_PACKED_RUN GEMM_PACKED_ROWS
// more with pack_a. Loops of an item, outermost first: products, GEMM_PACKED_ROWS rows,
// GEMM_PACKED_RUN steps of k, panels, tiles. What is over at the lower edge takes tiles of 4, 2 and
// 1 rows. Tiles by the machine's vectors: 8 x 32 for 16 floats in a register (32 registers: 16
// sums), 6 x 16 for fewer (16 registers of 8 floats: 12 sums; 32 of 4: 24). Epilogue: bias_is 0
// none, 1 of the column, 2 of the row; act 0 none, 1 relu, 2 sigmoid.
//
// Numerics: float32 fma along k, in runs of GEMM_PACKED_RUN whose sums are added in order; an
// element's order depends neither on m, n nor on how the work is cut. Determinism: one work-item
// owns a block. Where beta is 0, C is not read.

#ifndef GEMM_PACKED_RUN
#define GEMM_PACKED_RUN                                                                            \
    256 // steps of k between two visits to C: a panel of B fills the nearest cache
#endif
#ifndef GEMM_PACKED_ROWS
#define GEMM_PACKED_ROWS 256 // with a run: a block of A is a fourth of 1 MiB of second-level cache
#endif

// Functions that are called once in thousands of cycles: inlined, each would be compiled once more
// in every kernel.
#define GEMM_CALL __attribute__((noinline))

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

// What the tiles of one panel and one run of k have in common.
typedef struct gemm_job {
    ulong a_row, a_step; // between rows and between steps of A: one of them is 1
    ulong b_step, ldc;
    uint run;
    float alpha, beta; // C = alpha sum + beta C
    uint bias_is, act; // 0 but in the last run
} gemm_job;

// A tile of `rows` rows across the right edge: row[0 .. n) = act(sum + beta row + bias), act 2 left
// to later.
static GEMM_CALL void gemm_store_edge(__global float *c, uint n, const float *sum, uint rows,
    uint width, __global const float *bias, const gemm_job *job)
{
    CAPS_LOOP for (uint r = 0; r < rows; r++) CAPS_LOOP for (uint j = 0; j < n; j++)
    {
        __global float *to = c + r * job->ldc + j;
        float x = sum[r * width + j];
        if (job->beta != 0.0f)
            x = fma(job->beta, *to, x);
        if (job->bias_is != 0)
            x += bias[job->bias_is == 1 ? j : r];
        *to = job->act == 1 && x <= 0.0f ? 0.0f : x;
    }
}

#define GEMM_SUM(ROWS, VECTORS, A, NEXT)                                                           \
    for (uint l = 0; l < job->run; l++) {                                                          \
        float16 y[VECTORS];                                                                        \
        UNROLL for (uint v = 0; v < VECTORS; v++) y[v] = vload16(v, b);                            \
        UNROLL for (uint r = 0; r < ROWS; r++) UNROLL for (uint v = 0; v < VECTORS; v++)           \
            sum[r][v] = fma((float16)(A), y[v], sum[r][v]);                                        \
        b += job->b_step;                                                                          \
        NEXT;                                                                                      \
    }

// c: the tile's first element; n: columns from there to the edge; bias: of the tile's first column,
// or row.
#define GEMM_TILE(ROWS, VECTORS)                                                                   \
    static GEMM_CALL void gemm_tile_##ROWS##_##VECTORS(__global float *c, uint n,                  \
        __global const float *a, __global const float *b, __global const float *bias,              \
        const gemm_job *job)                                                                       \
    {                                                                                              \
        float16 sum[ROWS][VECTORS];                                                                \
        UNROLL for (uint r = 0; r < ROWS; r++) UNROLL for (uint v = 0; v < VECTORS; v++)           \
            sum[r][v] = (float16)(0.0f);                                                           \
        if (job->a_row == 1) {                                                                     \
            GEMM_SUM(ROWS, VECTORS, a[r], a += job->a_step)                                        \
        } else {                                                                                   \
            GEMM_SUM(ROWS, VECTORS, a[r * job->a_row + l], (void)0)                                \
        }                                                                                          \
        if (job->alpha != 1.0f)                                                                    \
            UNROLL for (uint r = 0; r < ROWS; r++) UNROLL for (uint v = 0; v < VECTORS; v++)       \
                sum[r][v] *= job->alpha;                                                           \
        if (n < 16 * VECTORS) {                                                                    \
            float edge[ROWS * VECTORS * 16];                                                       \
            UNROLL for (uint r = 0; r < ROWS; r++) UNROLL for (uint v = 0; v < VECTORS; v++)       \
                vstore16(sum[r][v], r *VECTORS + v, edge);                                         \
            gemm_store_edge(c, n, edge, ROWS, 16 * VECTORS, bias, job);                            \
            return;                                                                                \
        }                                                                                          \
        if (job->beta != 0.0f)                                                                     \
            UNROLL for (uint r = 0; r < ROWS; r++) UNROLL for (uint v = 0; v < VECTORS; v++)       \
                sum[r][v] = fma((float16)(job->beta), vload16(v, c + r * job->ldc), sum[r][v]);    \
        if (job->bias_is == 1)                                                                     \
            UNROLL for (uint v = 0; v < VECTORS; v++)                                              \
            {                                                                                      \
                const float16 add = vload16(v, bias);                                              \
                UNROLL for (uint r = 0; r < ROWS; r++) sum[r][v] += add;                           \
            }                                                                                      \
        if (job->bias_is == 2)                                                                     \
            UNROLL for (uint r = 0; r < ROWS; r++) UNROLL for (uint v = 0; v < VECTORS; v++)       \
                sum[r][v] += bias[r];                                                              \
        if (job->act == 1)                                                                         \
            UNROLL for (uint r = 0; r < ROWS; r++) UNROLL for (uint v = 0; v < VECTORS; v++)       \
                sum[r][v] = caps_activate16(sum[r][v], 1);                                         \
        UNROLL for (uint r = 0; r < ROWS; r++) UNROLL for (uint v = 0; v < VECTORS; v++)           \
            vstore16(sum[r][v], v, c + r * job->ldc);                                              \
    }
GEMM_TILE(8, 2)
GEMM_TILE(4, 2)
GEMM_TILE(2, 2)
GEMM_TILE(1, 2)
GEMM_TILE(8, 1)
GEMM_TILE(6, 1)
GEMM_TILE(4, 1)
GEMM_TILE(2, 1)
GEMM_TILE(1, 1)

// Steps l0 .. l0 + run of a panel of op(B). b: op(B)[l0, j]; n: columns from j to the edge. Lanes
// past the edge hold what they like: no sum that is stored has them. next: another panel of b
// follows.
static GEMM_CALL void gemm_pack_b(__global float *panel, uint width, __global const float *b,
    ulong ldb, uint n, uint run, uint transposed, uint next)
{
    uint l = 0;
    if (!transposed) {
        if (n >= width)
            CAPS_LOOP for (; l < run; l++)
            {
                CAPS_LOOP for (uint v = 0; v < width; v += 16)
                {
                    if (next)
                        CAPS_PREFETCH(b + l * ldb + width + v);
                    vstore16(vload16(0, b + l * ldb + v), 0, panel + l * width + v);
                }
            }
        CAPS_LOOP for (; l < run; l++) CAPS_LOOP for (uint q = 0; q < n; q++) panel[l * width + q] =
            b[l * ldb + q];
        return;
    }
    CAPS_LOOP for (; l + 16 <= run; l += 16) CAPS_LOOP for (uint v = 0; v < width; v += 16)
    {
        float16 x[16], y[16];
        UNROLL for (uint z = 0; z < 16; z++)
        {
            if (next)
                CAPS_PREFETCH(b + (width + v + z) * ldb + l);
            x[z] = vload16(0, b + min(v + z, n - 1) * ldb + l);
        }
        GEMM_TRANSPOSE_ROUND(y, x)
        GEMM_TRANSPOSE_ROUND(x, y)
        GEMM_TRANSPOSE_ROUND(y, x)
        GEMM_TRANSPOSE_ROUND(x, y)
        UNROLL for (uint z = 0; z < 16; z++) vstore16(x[z], 0, panel + (l + z) * width + v);
    }
    CAPS_LOOP for (; l < run; l++) CAPS_LOOP for (uint q = 0; q < width; q++) panel[l * width + q] =
        b[min(q, n - 1) * ldb + l];
}

// Steps l0 .. l0 + run of rows of a transposed A, whose elements lie side by side: a tile's rows of
// one step side by side, and one step after the other, so that what many panels read comes as a
// stream.
static GEMM_CALL void gemm_pack_a(
    __global float *to, uint tile, __global const float *a, ulong lda, uint rows, uint run)
{
    uint i = 0;
    if (tile == 8)
        CAPS_LOOP for (; rows - i >= 16; i += 16)
        {
            __global float *even = to + i * run, *odd = even + 8 * run;
            CAPS_LOOP for (uint l = 0; l < run; l++)
            {
                const float16 x = vload16(0, a + l * lda + i);
                vstore8(x.lo, l, even);
                vstore8(caps_high(x), l, odd);
            }
        }
    CAPS_LOOP for (; i < rows; i++) CAPS_LOOP for (uint l = 0; l < run; l++)
        to[i / tile * tile * run + l * tile + i % tile] = a[l * lda + i];
}

// The activations that take more than a register or two, on a panel's part of C while it is still
// in cache.
static GEMM_CALL void gemm_activate(__global float *c, ulong ldc, uint rows, uint columns, uint act)
{
    CAPS_LOOP for (uint r = 0; r < rows; r++) CAPS_LOOP for (uint j = 0; j < columns; j += 16)
        caps_store16(caps_activate16(caps_load16(c + r * ldc + j, columns - j, 0.0f), act),
            c + r * ldc + j, columns - j);
}

// Rows from i on by one kind of tile.
#define GEMM_TILES(ROWS, VECTORS)                                                                  \
    for (; ie - i >= ROWS; i += ROWS)                                                              \
        gemm_tile_##ROWS##_##VECTORS(c + i * job.ldc + j, n - j,                                   \
            pack_a ? near_a + (i - ib) / tile * tile * run + (i - ib) % tile                       \
                   : a + i * a_row + l0 * a_step,                                                  \
            pb, bias + (bias_is == 2 ? i : j), &job);
#define GEMM_PANEL(ROWS, VECTORS)                                                                  \
    GEMM_TILES(ROWS, VECTORS)                                                                      \
    GEMM_TILES(4, VECTORS)                                                                         \
    GEMM_TILES(2, VECTORS)                                                                         \
    GEMM_TILES(1, VECTORS)

#define GEMM_PACKED_PARAMETERS                                                                     \
    __global float *restrict c, const ulong c_at, __global float *restrict scratch,                \
        const ulong scratch_at, __global const float *restrict a, const ulong a_at,                \
        __global const float *restrict b, const ulong b_at, __global const float *restrict bias,   \
        const ulong bias_at, const uint m, const uint n, const uint k, const uint lda,             \
        const uint ldb, const uint ldc, const uint trans_a, const uint trans_b, const uint pack_a, \
        const uint pack_b, const float alpha, const float beta, const uint bias_is,                \
        const uint act, const uint count, const uint stride_a, const uint stride_b,                \
        const uint stride_c, const uint block_m, const uint block_n, const uint block_items

#define GEMM_PACKED(NAME, ROWS, VECTORS)                                                           \
    CPU_ITEM void NAME##_item(GEMM_PACKED_PARAMETERS, const size_t id0, const size_t id1,          \
        const size_t id2, const size_t size0, const size_t size1)                                  \
    {                                                                                              \
        const uint width = 16 * VECTORS;                                                           \
        const uint i0 = (uint)id0 * block_m, i1 = i0 + min(block_m, m - i0);                       \
        const uint j0 = (uint)id1 * block_n, j1 = j0 + min(block_n, n - j0);                       \
        const uint t0 = (uint)id2 * block_items;                                                   \
        const uint t1 = t0 + min(block_items, count - t0);                                         \
        const ulong a_row = trans_a ? 1 : lda, a_step = trans_a ? lda : 1;                         \
        const ulong group = id0 + size0 * (id1 + size1 * id2);                                     \
        __global float *panel =                                                                    \
            scratch + scratch_at +                                                                 \
            group * (GEMM_PACKED_RUN * (width + (pack_a ? GEMM_PACKED_ROWS : 0)));                 \
        __global float *near_a = panel + GEMM_PACKED_RUN * width;                                  \
        const uint tile = ROWS;                                                                    \
        if (bias_is != 0)                                                                          \
            bias += bias_at;                                                                       \
        a += a_at + t0 * (ulong)stride_a;                                                          \
        b += b_at + t0 * (ulong)stride_b;                                                          \
        c += c_at + t0 * (ulong)stride_c;                                                          \
        for (uint t = t0; t < t1; t++, a += stride_a, b += stride_b, c += stride_c) {              \
            for (uint ib = i0; ib < i1; ib += GEMM_PACKED_ROWS) {                                  \
                const uint ie = ib + min((uint)GEMM_PACKED_ROWS, i1 - ib);                         \
                for (uint l0 = 0; l0 < k; l0 += GEMM_PACKED_RUN) {                                 \
                    const uint run = min((uint)GEMM_PACKED_RUN, k - l0);                           \
                    const uint last = l0 + run == k;                                               \
                    gemm_job job = {pack_a ? 1 : a_row, pack_a ? ROWS : a_step, width, ldc, run,   \
                        alpha, l0 == 0 ? beta : 1.0f, last ? bias_is : 0, last ? act : 0};         \
                    if (pack_a)                                                                    \
                        gemm_pack_a(near_a, ROWS, a + ib + l0 * a_step, a_step, ie - ib, run);     \
                    for (uint j = j0; j < j1; j += width) {                                        \
                        __global const float *pb = panel;                                          \
                        uint i = ib;                                                               \
                        if (pack_b || n - j < width) {                                             \
                            gemm_pack_b(panel, width,                                              \
                                b + (trans_b ? (ulong)j * ldb + l0 : (ulong)l0 * ldb + j), ldb,    \
                                n - j, run, trans_b, n - j >= 2 * width);                          \
                            job.b_step = width;                                                    \
                        } else {                                                                   \
                            pb = b + (ulong)l0 * ldb + j;                                          \
                            job.b_step = ldb;                                                      \
                        }                                                                          \
                        if (VECTORS > 1 && n - j <= 16) {                                          \
                            GEMM_PANEL(ROWS, 1)                                                    \
                        } else {                                                                   \
                            GEMM_PANEL(ROWS, VECTORS)                                              \
                        }                                                                          \
                        if (job.act > 1)                                                           \
                            gemm_activate(c + ib * job.ldc + j, job.ldc, ie - ib,                  \
                                min(width, n - j), job.act);                                       \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }                                                                                              \
    CPU_KERNEL void NAME(GEMM_PACKED_PARAMETERS)                                                   \
    {                                                                                              \
        NAME##_item(c, c_at, scratch, scratch_at, a, a_at, b, b_at, bias, bias_at, m, n, k, lda,   \
            ldb, ldc, trans_a, trans_b, pack_a, pack_b, alpha, beta, bias_is, act, count,          \
            stride_a, stride_b, stride_c, block_m, block_n, block_items, get_global_id(0),         \
            get_global_id(1), get_global_id(2), get_global_size(0), get_global_size(1));           \
    }
GEMM_PACKED(gemm_packed_6x16, 6, 1)
GEMM_PACKED(gemm_packed_8x32, 8, 2)

// ---- few rows
// -------------------------------------------------------------------------------------
//
// gemm_dots: M is 4 at most and both matrices lie with k along memory, so every element of C is the
// dot of two rows, and what it takes is the reading of B, once. Work-items: (blocks of `block`
// columns, products). Numerics: 16 lanes of float32 fma along k, added in a fixed order.

#ifndef GEMM_DOT_COLUMNS
#define GEMM_DOT_COLUMNS 4 // rows of B at a time: each element of A is read once for so many
#endif

typedef struct gemm_dot_job {
    ulong lda, ldb, ldc;
    uint k;
    float alpha, beta;
    uint bias_is, act;
} gemm_dot_job;

// n columns of M rows; bias: of the first column, or of the first row.
#define GEMM_DOTS(M)                                                                               \
    static GEMM_CALL void gemm_dots_##M(__global float *c, uint n, __global const float *a,        \
        __global const float *b, __global const float *bias, const gemm_dot_job *job)              \
    {                                                                                              \
        float16 sum[M][GEMM_DOT_COLUMNS];                                                          \
        float dots[M][GEMM_DOT_COLUMNS];                                                           \
        UNROLL for (uint r = 0; r < M; r++) UNROLL for (uint q = 0; q < GEMM_DOT_COLUMNS; q++)     \
            sum[r][q] = (float16)(0.0f);                                                           \
        uint l = 0;                                                                                \
        for (; l + 16 <= job->k; l += 16) {                                                        \
            float16 x[M];                                                                          \
            UNROLL for (uint r = 0; r < M; r++) x[r] = vload16(0, a + r * job->lda + l);           \
            UNROLL for (uint q = 0; q < GEMM_DOT_COLUMNS; q++)                                     \
            {                                                                                      \
                const float16 y = vload16(0, b + min(q, n - 1) * job->ldb + l);                    \
                UNROLL for (uint r = 0; r < M; r++) sum[r][q] = fma(x[r], y, sum[r][q]);           \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (uint r = 0; r < M; r++) UNROLL for (uint q = 0; q < GEMM_DOT_COLUMNS; q++)     \
            dots[r][q] = caps_sum16(sum[r][q]);                                                    \
        CAPS_LOOP for (; l < job->k; l++) CAPS_LOOP for (uint r = 0; r < M; r++)                   \
            CAPS_LOOP for (uint q = 0; q < n; q++) dots[r][q] =                                    \
                fma(a[r * job->lda + l], b[q * job->ldb + l], dots[r][q]);                         \
        CAPS_LOOP for (uint r = 0; r < M; r++) CAPS_LOOP for (uint q = 0; q < n; q++)              \
        {                                                                                          \
            __global float *to = c + r * job->ldc + q;                                             \
            float x = job->alpha * dots[r][q];                                                     \
            if (job->beta != 0.0f)                                                                 \
                x = fma(job->beta, *to, x);                                                        \
            if (job->bias_is != 0)                                                                 \
                x += bias[job->bias_is == 1 ? q : r];                                              \
            *to = caps_activate(x, job->act);                                                      \
        }                                                                                          \
    }
GEMM_DOTS(1)
GEMM_DOTS(2)
GEMM_DOTS(4)

CPU_ITEM void gemm_dots_item(__global float *restrict c, const ulong c_at,
    __global const float *restrict a, const ulong a_at, __global const float *restrict b,
    const ulong b_at, __global const float *restrict bias, const ulong bias_at, const uint m,
    const uint n, const uint k, const uint lda, const uint ldb, const uint ldc, const float alpha,
    const float beta, const uint bias_is, const uint act, const uint stride_a, const uint stride_b,
    const uint stride_c, const uint block, const size_t id0, const size_t id1)
{
    const uint j0 = (uint)id0 * block, j1 = j0 + min(block, n - j0);
    const gemm_dot_job job = {lda, ldb, ldc, k, alpha, beta, bias_is, act};
    a += a_at + id1 * (ulong)stride_a;
    b += b_at + id1 * (ulong)stride_b;
    c += c_at + id1 * (ulong)stride_c;
    if (bias_is != 0)
        bias += bias_at;
    for (uint j = j0; j < j1; j += GEMM_DOT_COLUMNS) {
        const uint columns = min((uint)GEMM_DOT_COLUMNS, j1 - j);
        __global const float *from = b + (ulong)j * ldb;
        uint i = 0;
        for (; m - i >= 4; i += 4)
            gemm_dots_4(c + (ulong)i * ldc + j, columns, a + (ulong)i * lda, from,
                bias + (bias_is == 2 ? i : j), &job);
        for (; m - i >= 2; i += 2)
            gemm_dots_2(c + (ulong)i * ldc + j, columns, a + (ulong)i * lda, from,
                bias + (bias_is == 2 ? i : j), &job);
        for (; i < m; i++)
            gemm_dots_1(c + (ulong)i * ldc + j, columns, a + (ulong)i * lda, from,
                bias + (bias_is == 2 ? i : j), &job);
    }
}

CPU_KERNEL void gemm_dots(__global float *restrict c, const ulong c_at,
    __global const float *restrict a, const ulong a_at, __global const float *restrict b,
    const ulong b_at, __global const float *restrict bias, const ulong bias_at, const uint m,
    const uint n, const uint k, const uint lda, const uint ldb, const uint ldc, const float alpha,
    const float beta, const uint bias_is, const uint act, const uint stride_a, const uint stride_b,
    const uint stride_c, const uint block)
{
    gemm_dots_item(c, c_at, a, a_at, b, b_at, bias, bias_at, m, n, k, lda, ldb, ldc, alpha, beta,
        bias_is, act, stride_a, stride_b, stride_c, block, get_global_id(0), get_global_id(1));
}
