// add_gpu.cl: y += x, and y += factor x, GPU family.
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

// y += factor x
__kernel void add_scaled(__global float *restrict y, const ulong y_offset,
    __global const float *restrict x, const ulong x_offset, const float factor, const uint count)
{
    const ulong i = get_global_id(0);
    if (i < count)
        y[y_offset + i] = fma(factor, x[x_offset + i], y[y_offset + i]);
}
