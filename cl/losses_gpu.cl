// losses_gpu.cl: squared error and totals, GPU family; equations and shapes as in losses_cpu.cl.
//
// Work: sse_forward: group b, its L items take every L-th element, then a tree. sse_backward: item
// n takes element n. totals_add: one group fetches L samples at a time, and its first item adds
// them. Numerics: fixed order; totals_add adds in the order of b as the CPU family does.

// scratch: L floats
__kernel void sse_forward(__global float *restrict sse, const ulong sse_offset,
    __global const float *restrict y, const ulong y_offset, __global const float *restrict x,
    const ulong x_offset, __local float *scratch, const uint p_count)
{
    const ulong b = get_group_id(0);
    const uint item = get_local_id(0), size = get_local_size(0);
    __global const float *a = y + y_offset + b * p_count, *c = x + x_offset + b * p_count;
    float sum = 0.0f;
    for (uint p = item; p < p_count; p += size) {
        const float e = a[p] - c[p];
        sum = fma(e, e, sum);
    }
    sum = caps_row_sum(scratch, size, sum);
    if (item == 0)
        sse[sse_offset + b] = sum;
}

__kernel void sse_backward(__global float *restrict dy, const ulong dy_offset,
    __global const float *restrict y, const ulong y_offset, __global const float *restrict x,
    const ulong x_offset, const float scale, const uint count)
{
    const ulong p = get_global_id(0);
    if (p < count)
        dy[dy_offset + p] = 2.0f * scale * (y[y_offset + p] - x[x_offset + p]);
}

// tile: 3 L floats. sse is optional.
__kernel void totals_add(__global float *totals, const ulong totals_offset,
    __global const float *margin, const ulong margin_offset, __global const float *sse,
    const ulong sse_offset, __global const int *best, const ulong best_offset,
    __global const int *labels, const ulong labels_offset, __local float *tile, const uint count,
    const uint l_count)
{
    const uint item = get_local_id(0), size = get_local_size(0);
    float losses = 0.0f, squares = 0.0f, errors = 0.0f;
    for (uint first = 0; first < count; first += size) {
        const uint n = min(size, count - first), b = first + item;
        if (item < n) {
            tile[item] = margin[margin_offset + b];
            const ulong row = (ulong)b * l_count;
            float sum = 0.0f, wrong = 0.0f;
            for (uint l = 0; l < l_count; l++) {
                sum += caps_given(sse_offset) ? sse[sse_offset + row + l] : 0.0f;
                if (!caps_is_among(
                        labels[labels_offset + row + l], best + best_offset + row, l_count))
                    wrong = 1.0f;
            }
            tile[size + item] = sum;
            tile[2 * size + item] = wrong;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint l = 0; item == 0 && l < n; l++) {
            losses += tile[l];
            squares += tile[size + l];
            errors += tile[2 * size + l];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (item == 0) {
        totals[totals_offset] += losses;
        totals[totals_offset + 1] += squares;
        totals[totals_offset + 2] += errors;
    }
}
