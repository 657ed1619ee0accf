// scale_cpu.cl: y = scale x, CPU family.
//
// Flat arrays of `count` elements; y may be x.
// Work: item n takes elements n * per_item and following, sixteen at a time.
// Numerics: one rounding an element.

CPU_KERNEL void scale(__global float *y, const ulong y_offset, __global const float *x,
    const ulong x_offset, const float factor, const uint count, const uint per_item)
{
    const ulong first = get_global_id(0) * (ulong)per_item,
                end = min((ulong)count, first + per_item);
    for (ulong i = first; i < end; i += 16)
        caps_store16(
            factor * caps_load16(x + x_offset + i, end - i, 0.0f), y + y_offset + i, end - i);
}
