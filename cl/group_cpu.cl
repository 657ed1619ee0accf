// group_cpu.cl: channels regrouped as capsules and back, CPU family.
//
//     u[b, t P + p, k] = z[b, t K + k, p]          P = H W
//
// For each of the B T capsule types this is the transpose of a matrix, [K, P] to [P, K]; backward
// is the same with the sizes exchanged. Both are row-major, matrix m at m * rows * columns. Work:
// item m takes matrix m, in blocks of eight by eight with scalar edges. It only moves values.

static inline void group_interleave(float8 *x, float8 *y)
{
    const float8 a = *x, b = *y;
    *x = (float8)(a.s0, b.s0, a.s1, b.s1, a.s2, b.s2, a.s3, b.s3);
    *y = (float8)(a.s4, b.s4, a.s5, b.s5, a.s6, b.s6, a.s7, b.s7);
}

CPU_ITEM void group_transpose_item(__global float *restrict out, const ulong out_offset,
    __global const float *restrict in, const ulong in_offset, const uint matrices, const uint rows,
    const uint columns, const size_t id0)
{
    const ulong matrix = (ulong)id0 * rows * columns;
    __global const float *from = in + in_offset + matrix;
    __global float *to = out + out_offset + matrix;
    const uint row_blocks = rows & ~7u, column_blocks = columns & ~7u;
    for (uint r = 0; r < row_blocks; r += 8) {
        for (uint c = 0; c < column_blocks; c += 8) {
            float8 x[8];
            UNROLL for (uint n = 0; n < 8; n++) x[n] =
                vload8(0, from + (ulong)(r + n) * columns + c);
            // Three rounds: each interleaves row n with row n + 4 and lays the halves side by side.
            UNROLL for (uint round = 0; round < 3; round++)
            {
                float8 y[8];
                UNROLL for (uint n = 0; n < 4; n++)
                {
                    y[2 * n] = x[n];
                    y[2 * n + 1] = x[n + 4];
                    group_interleave(&y[2 * n], &y[2 * n + 1]);
                }
                UNROLL for (uint n = 0; n < 8; n++) x[n] = y[n];
            }
            UNROLL for (uint n = 0; n < 8; n++) vstore8(x[n], 0, to + (ulong)(c + n) * rows + r);
        }
        for (uint c = column_blocks; c < columns; c++)
            for (uint n = 0; n < 8; n++)
                to[(ulong)c * rows + r + n] = from[(ulong)(r + n) * columns + c];
    }
    for (uint r = row_blocks; r < rows; r++)
        for (uint c = 0; c < columns; c++)
            to[(ulong)c * rows + r] = from[(ulong)r * columns + c];
}

CPU_KERNEL void group_transpose(__global float *restrict out, const ulong out_offset,
    __global const float *restrict in, const ulong in_offset, const uint matrices, const uint rows,
    const uint columns)
{
    group_transpose_item(out, out_offset, in, in_offset, matrices, rows, columns, get_global_id(0));
}
