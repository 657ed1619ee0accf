// squash_cpu.cl: squash and its gradient, CPU family. Equation 1 of Sabour, Frosst, Hinton 2017.
//
//     v = f s                          n = |s|, f = n / (1 + n^2)
//     ds = f (dv + q e (e . dv))       e = s / n, q = (1 - n^2) / (1 + n^2)
//
// or, with squash 1, f = (1 - exp(-n)) / n and q = n / (exp(n) - 1) - 1; see common.clh.
//
// v, s, ds, dv: [rows, k], element [row, x] at row * k + x. ds may be dv.
// Work: item w takes rows w * rows_per_item and following.
// Numerics: zero at s = 0, with gradient zero. The length is scaled (common.clh), so squares
// neither overflow nor vanish for any finite s; v itself is of the size of n^2 below 1, and
// underflows with it. A value that is not finite stays so. Each row is summed by itself: the same
// bits whatever the batch.

CPU_ITEM void squash_forward_item(__global float *restrict v, const ulong v_offset,
    __global const float *restrict s, const ulong s_offset, const uint rows, const uint k,
    const uint rows_per_item, const uint squash, const size_t id0)
{
    const ulong first = (ulong)id0 * rows_per_item;
    const ulong end = min((ulong)rows, first + rows_per_item);
    for (ulong row = first; row < end; row++) {
        __global const float *from = s + s_offset + row * k;
        __global float *to = v + v_offset + row * k;
        float scale;
        const float scaled = caps_length(from, k, &scale);
        const float factor = caps_squash_factor(scaled / scale, squash);
        uint x = 0;
        for (; k - x >= 8; x += 8)
            vstore8(vload8(0, from + x) * factor, 0, to + x);
        for (; x < k; x++)
            to[x] = from[x] * factor;
    }
}

CPU_KERNEL void squash_forward(__global float *restrict v, const ulong v_offset,
    __global const float *restrict s, const ulong s_offset, const uint rows, const uint k,
    const uint rows_per_item, const uint squash)
{
    squash_forward_item(v, v_offset, s, s_offset, rows, k, rows_per_item, squash,
        get_global_id(0));
}

// dv is read before ds is written, element by element, since they may be the same.
CPU_ITEM void squash_backward_item(__global float *ds, const ulong ds_offset,
    __global const float *dv, const ulong dv_offset, __global const float *s, const ulong s_offset,
    const uint rows, const uint k, const uint rows_per_item, const uint squash, const size_t id0)
{
    const ulong first = (ulong)id0 * rows_per_item;
    const ulong end = min((ulong)rows, first + rows_per_item);
    for (ulong row = first; row < end; row++) {
        __global const float *at = s + s_offset + row * k;
        __global const float *g = dv + dv_offset + row * k;
        __global float *to = ds + ds_offset + row * k;
        caps_squash_gradient(to, g, at, k, squash);
    }
}

CPU_KERNEL void squash_backward(__global float *ds, const ulong ds_offset, __global const float *dv,
    const ulong dv_offset, __global const float *s, const ulong s_offset, const uint rows,
    const uint k, const uint rows_per_item, const uint squash)
{
    squash_backward_item(
        ds, ds_offset, dv, dv_offset, s, s_offset, rows, k, rows_per_item, squash,
        get_global_id(0));
}
