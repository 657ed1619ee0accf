// gemm_direct_gpu.cl: C = alpha op(A) op(B) + beta C for small products on any device.
//
// op(A)[i,l] = a[i a_i + l a_l], op(B)[l,j] = b[l b_l + j b_j]: the strides say what is transposed.
// Work-groups: T x T items (T = get_local_size(0) = get_local_size(1)) for a T x T tile of C; group
// dimension 2 is the product of the batch. Both inputs pass through local memory in T x T tiles, and
// neighbours in a group read neighbours in memory whichever way a matrix lies.
// Numerics: float32 fma along l, in runs of T whose sums are added in order.
// Determinism: one work-item owns an element. Where beta is 0, C is not read.

__kernel void gemm_direct(__global float *c, const ulong c_at, __global const float *a,
    const ulong a_at, __global const float *b, const ulong b_at, const uint m, const uint n,
    const uint k, const uint a_i, const uint a_l, const uint b_l, const uint b_j, const uint ldc,
    const float alpha, const float beta, const uint stride_a, const uint stride_b,
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
        a_tile[ai * pitch + al] = i0 + ai < m && l0 + al < k
                                      ? a[(ulong)(i0 + ai) * a_i + (ulong)(l0 + al) * a_l]
                                      : 0.0f;
        b_tile[bl * pitch + bj] = l0 + bl < k && j0 + bj < n
                                      ? b[(ulong)(l0 + bl) * b_l + (ulong)(j0 + bj) * b_j]
                                      : 0.0f;
        barrier(CLK_LOCAL_MEM_FENCE);
        float sum = 0.0f;
        for (uint l = 0; l < t; l++)
            sum = fma(a_tile[y * pitch + l], b_tile[l * pitch + x], sum);
        total += sum;
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (i0 + y < m && j0 + x < n) {
        __global float *to = c + (ulong)(i0 + y) * ldc + j0 + x;
        *to = beta != 0.0f ? fma(beta, *to, alpha * total) : alpha * total;
    }
}
