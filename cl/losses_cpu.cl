// losses_cpu.cl: squared error and totals, CPU family.
//
//     sse[b]    = sum_p (y[b,p] - x[b,p])^2           y, x: [B,P], sse: [B]
//     dy[b,p]   = scale 2 (y[b,p] - x[b,p])
//     totals[0] += sum_b margin[b]; totals[1] += sum_b sse[b]; totals[2] += #{b: best[b,:],
//     labels[b,:] are two sets}
//
// Work: sse_forward: item b. sse_backward: item n takes `per_item` elements. totals_add: one item.
// Numerics: sse sums sixteen lanes over p, then the lanes. totals_add sums the batch in order of b
// and then adds that to the total; counts are exact up to 2^24.

CPU_KERNEL void sse_forward(__global float *restrict sse, const ulong sse_offset,
    __global const float *restrict y, const ulong y_offset, __global const float *restrict x,
    const ulong x_offset, const uint p_count)
{
    const ulong b = get_global_id(0);
    __global const float *a = y + y_offset + b * p_count, *c = x + x_offset + b * p_count;
    float16 lanes = 0.0f;
    for (uint p = 0; p < p_count; p += 16) {
        const float16 e =
            caps_load16(a + p, p_count - p, 0.0f) - caps_load16(c + p, p_count - p, 0.0f);
        lanes = fma(e, e, lanes);
    }
    sse[sse_offset + b] = caps_sum16(lanes);
}

CPU_KERNEL void sse_backward(__global float *restrict dy, const ulong dy_offset,
    __global const float *restrict y, const ulong y_offset, __global const float *restrict x,
    const ulong x_offset, const float scale, const uint count, const uint per_item)
{
    const ulong first = get_global_id(0) * (ulong)per_item,
                end = min((ulong)count, first + per_item);
    for (ulong p = first; p < end; p += 16) {
        const float16 e = caps_load16(y + y_offset + p, end - p, 0.0f) -
                          caps_load16(x + x_offset + p, end - p, 0.0f);
        caps_store16(2.0f * scale * e, dy + dy_offset + p, end - p);
    }
}

// sse is optional. begins: the totals are those of a new record, whose two other words become 0.
CPU_KERNEL void totals_add(__global float *totals, const ulong totals_offset,
    __global const float *margin, const ulong margin_offset, __global const float *sse,
    const ulong sse_offset, __global const int *best, const ulong best_offset,
    __global const int *labels, const ulong labels_offset, const uint count, const uint l_count,
    const uint begins)
{
    float losses = 0.0f, squares = 0.0f;
    uint errors = 0;
    for (uint b = 0; b < count; b++) {
        losses += margin[margin_offset + b];
        const ulong row = (ulong)b * l_count;
        uint wrong = 0;
        for (uint l = 0; l < l_count; l++) {
            if (caps_given(sse_offset))
                squares += sse[sse_offset + row + l];
            wrong |=
                !caps_is_among(labels[labels_offset + row + l], best + best_offset + row, l_count);
        }
        errors += wrong;
    }
    __global float *to = totals + totals_offset;
    to[0] = (begins ? 0.0f : to[0]) + losses;
    to[1] = (begins ? 0.0f : to[1]) + squares;
    to[2] = (begins ? 0.0f : to[2]) + (float)errors;
    if (begins)
        to[3] = to[4] = 0.0f;
}
