// squash_gpu.cl: squash and its gradient, GPU family; equations and shapes as in squash_cpu.cl.
//
// Work: a group of L items is L / width rows of `width` lanes; lane l takes elements l, l + width,
// ... of its row. width: a power of two, at least k where the group permits. scratch: L floats.
// Numerics as in squash_cpu.cl. Lanes are added as a tree: a fixed order.

__kernel void squash_forward(__global float *restrict v, const ulong v_offset,
    __global const float *restrict s, const ulong s_offset, __local float *scratch, const uint rows,
    const uint k, const uint width, const uint squash)
{
    const uint per_group = (uint)get_local_size(0) / width, item = get_local_id(0);
    const ulong row = (ulong)get_group_id(0) * per_group + item / width;
    const uint lane = item & (width - 1), n = row < rows ? k : 0;
    __global const float *from = s + s_offset + row * k;
    __global float *to = v + v_offset + row * k;

    float top = 0.0f, square = 0.0f;
    for (uint x = lane; x < n; x += width)
        top = fmax(top, fabs(from[x]));
    const float scale = caps_length_scale(caps_row_max(scratch, width, top));
    for (uint x = lane; x < n; x += width)
        square = fma(from[x] * scale, from[x] * scale, square);
    const float length = sqrt(caps_row_sum(scratch, width, square)) / scale;
    const float factor = caps_squash_factor(length, squash);
    for (uint x = lane; x < n; x += width)
        to[x] = from[x] * factor;
}

__kernel void squash_backward(__global float *ds, const ulong ds_offset, __global const float *dv,
    const ulong dv_offset, __global const float *s, const ulong s_offset, __local float *scratch,
    const uint rows, const uint k, const uint width, const uint squash)
{
    const uint per_group = (uint)get_local_size(0) / width, item = get_local_id(0);
    const ulong row = (ulong)get_group_id(0) * per_group + item / width;
    const uint n = row < rows ? k : 0;
    caps_squash_gradient_row(ds + ds_offset + row * k, dv + dv_offset + row * k,
        s + s_offset + row * k, scratch, n, width, squash);
}
