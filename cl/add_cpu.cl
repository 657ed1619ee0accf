// add_cpu.cl: y += x, and y += factor x, CPU family.
//
// Flat arrays of `count` elements that do not overlap.
// Work: item n takes elements n * per_item and following, sixteen at a time.
// Numerics: one rounding an element. Elements do not meet.

CPU_KERNEL void add(__global float *restrict y, const ulong y_offset,
    __global const float *restrict x, const ulong x_offset, const uint count, const uint per_item)
{
    const ulong first = get_global_id(0) * (ulong)per_item;
    const ulong end = min((ulong)count, first + per_item);
    for (ulong i = first; i < end; i += 16) {
        const ulong n = end - i;
        caps_store16(
            caps_load16(y + y_offset + i, n, 0.0f) + caps_load16(x + x_offset + i, n, 0.0f),
            y + y_offset + i, n);
    }
}

// y += factor x
CPU_KERNEL void add_scaled(__global float *restrict y, const ulong y_offset,
    __global const float *restrict x, const ulong x_offset, const float factor, const uint count,
    const uint per_item)
{
    const ulong first = get_global_id(0) * (ulong)per_item;
    const ulong end = min((ulong)count, first + per_item);
    for (ulong i = first; i < end; i += 16) {
        const ulong n = end - i;
        caps_store16(fma((float16)(factor), caps_load16(x + x_offset + i, n, 0.0f),
                         caps_load16(y + y_offset + i, n, 0.0f)),
            y + y_offset + i, n);
    }
}
