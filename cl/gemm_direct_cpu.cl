// gemm_direct_cpu.cl: C = act(alpha op(A) op(B) + beta C + bias), without packing.
// Program: rarely used (src/device/registry.c).
//
// op(A)[i,l] = a[i a_i + l a_l], op(B)[l,j] = b[l b_l + j b_j]: the strides express what is
// transposed.
// Epilogue: bias_is 0 none, 1 of the column, 2 of the row; act 0 none, 1 relu, 2 sigmoid.
// Work-items: (16 columns, GEMM_DIRECT_ROWS rows, product of the batch), one tile each.
// Numerics: float32 fma along l, in runs of GEMM_DIRECT_RUN whose sums are added in order.
// Determinism: one work-item owns a tile. Where beta is 0, C is not read.
// Meant for small products and for simulators; large ones go to gemm_packed_cpu.cl.

#ifndef GEMM_DIRECT_ROWS
#define GEMM_DIRECT_ROWS 4 // rows of a tile: registers against loads of B
#endif
#ifndef GEMM_DIRECT_RUN
#define GEMM_DIRECT_RUN 256 // terms summed before they join the total
#endif

CPU_ITEM void gemm_direct_item(__global float *c, const ulong c_at, __global const float *a,
    const ulong a_at, __global const float *b, const ulong b_at, __global const float *bias,
    const ulong bias_at, const uint m, const uint n, const uint k, const uint a_i, const uint a_l,
    const uint b_l, const uint b_j, const uint ldc, const float alpha, const float beta,
    const uint bias_is, const uint act, const uint stride_a, const uint stride_b,
    const uint stride_c, const size_t id0, const size_t id1, const size_t id2)
{
    const uint j0 = (uint)id0 * 16;
    const uint i0 = (uint)id1 * GEMM_DIRECT_ROWS;
    const ulong item = id2;
    const uint rows = min((uint)GEMM_DIRECT_ROWS, m - i0);
    const uint columns = min(16u, n - j0);
    a += a_at + item * stride_a;
    b += b_at + item * stride_b + (ulong)j0 * b_j;
    c += c_at + item * stride_c + (ulong)i0 * ldc + j0;

    // Rows past the end repeat the last one, so that the loop has no condition; they are not
    // stored.
    ulong row[GEMM_DIRECT_ROWS];
    float16 total[GEMM_DIRECT_ROWS];
    UNROLL for (uint r = 0; r < GEMM_DIRECT_ROWS; r++)
    {
        row[r] = (ulong)min(i0 + r, m - 1) * a_i;
        total[r] = (float16)(0.0f);
    }
    for (uint l0 = 0; l0 < k; l0 += GEMM_DIRECT_RUN) {
        const uint l1 = l0 + min((uint)GEMM_DIRECT_RUN, k - l0);
        float16 sum[GEMM_DIRECT_ROWS];
        UNROLL for (uint r = 0; r < GEMM_DIRECT_ROWS; r++) sum[r] = (float16)(0.0f);
        for (uint l = l0; l < l1; l++) {
            __global const float *from = b + (ulong)l * b_l;
            float16 y;
            if (b_j == 1) {
                y = caps_load16(from, columns, 0.0f);
            } else {
                float t[16];
                for (uint q = 0; q < 16; q++)
                    t[q] = from[(ulong)min(q, columns - 1) * b_j];
                y = vload16(0, t);
            }
            UNROLL for (uint r = 0; r < GEMM_DIRECT_ROWS; r++) sum[r] =
                fma((float16)(a[row[r] + (ulong)l * a_l]), y, sum[r]);
        }
        UNROLL for (uint r = 0; r < GEMM_DIRECT_ROWS; r++) total[r] += sum[r];
    }
    float16 finished[GEMM_DIRECT_ROWS];
    UNROLL for (uint r = 0; r < GEMM_DIRECT_ROWS; r++) finished[r] = total[r];
    for (uint r = 0; r < rows; r++) {
        __global float *to = c + (ulong)r * ldc;
        float16 x = alpha * finished[r];
        if (beta != 0.0f)
            x = fma((float16)(beta), caps_load16(to, columns, 0.0f), x);
        if (bias_is == 1)
            x += caps_load16(bias + bias_at + j0, columns, 0.0f);
        else if (bias_is == 2)
            x += bias[bias_at + i0 + r];
        caps_store16(caps_activate16(x, act), to, columns);
    }
}

CPU_KERNEL void gemm_direct(__global float *c, const ulong c_at, __global const float *a,
    const ulong a_at, __global const float *b, const ulong b_at, __global const float *bias,
    const ulong bias_at, const uint m, const uint n, const uint k, const uint a_i, const uint a_l,
    const uint b_l, const uint b_j, const uint ldc, const float alpha, const float beta,
    const uint bias_is, const uint act, const uint stride_a, const uint stride_b,
    const uint stride_c)
{
    gemm_direct_item(c, c_at, a, a_at, b, b_at, bias, bias_at, m, n, k, a_i, a_l, b_l, b_j, ldc,
        alpha, beta, bias_is, act, stride_a, stride_b, stride_c, get_global_id(0), get_global_id(1),
        get_global_id(2));
}
