// add_gpu.cl: y += x, GPU family.
//
// Flat arrays of `count` elements that do not overlap.
// Work: item n takes element n; items from `count` on do nothing.
// Numerics: one rounding an element. Elements do not meet.

__kernel void add(__global float *restrict y, const ulong y_offset,
    __global const float *restrict x,
    const ulong x_offset, const uint count)
{
    const ulong i = get_global_id(0);
    if (i < count)
        y[y_offset + i] += x[x_offset + i];
}
