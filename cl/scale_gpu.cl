// scale_gpu.cl: y = scale x, GPU family.
//
// Flat arrays of `count` elements; y may be x.
// Work: item n takes element n; items from `count` on do nothing.
// Numerics: one rounding an element.

__kernel void scale(__global float *y, const ulong y_offset, __global const float *x,
    const ulong x_offset, const float factor, const uint count)
{
    const ulong i = get_global_id(0);
    if (i < count)
        y[y_offset + i] = factor * x[x_offset + i];
}
