// group_gpu.cl: channels regrouped as capsules and back, GPU family; see group_cpu.cl.
//
// Work: one group moves a tile of GROUP_TILE by GROUP_TILE elements of one matrix through local
// memory, so that reads and writes are both coalesced. Group g: matrix g / (tiles of a matrix),
// then tile row, then tile column. tile: GROUP_TILE * (GROUP_TILE + 1) floats; the extra column
// keeps the columns of the tile in different banks. Any local size. It only moves values.

#define GROUP_TILE 16 // as in src/ops/group.c

__kernel void group_transpose(__global float *restrict out, const ulong out_offset,
    __global const float *restrict in, const ulong in_offset, __local float *tile,
    const uint matrices, const uint rows, const uint columns)
{
    const uint down = (rows - 1) / GROUP_TILE + 1, across = (columns - 1) / GROUP_TILE + 1;
    const ulong group = get_group_id(0), matrix = group / ((ulong)down * across);
    const ulong within = group % ((ulong)down * across);
    const uint row0 = (uint)(within / across) * GROUP_TILE;
    const uint column0 = (uint)(within % across) * GROUP_TILE;
    __global const float *from = in + in_offset + matrix * rows * columns;
    __global float *to = out + out_offset + matrix * rows * columns;

    for (uint x = get_local_id(0); x < GROUP_TILE * GROUP_TILE; x += get_local_size(0)) {
        const uint r = x / GROUP_TILE, c = x % GROUP_TILE;
        if (r < rows - row0 && c < columns - column0)
            tile[r * (GROUP_TILE + 1) + c] = from[(ulong)(row0 + r) * columns + column0 + c];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint x = get_local_id(0); x < GROUP_TILE * GROUP_TILE; x += get_local_size(0)) {
        const uint c = x / GROUP_TILE, r = x % GROUP_TILE;
        if (r < rows - row0 && c < columns - column0)
            to[(ulong)(column0 + c) * rows + row0 + r] = tile[r * (GROUP_TILE + 1) + c];
    }
}

// ---- regrouped and squashed ---------------------------------------------------------------------
//
//     v[b,i,:] = squash(factor s),  dz = factor squash backward of dv at factor s,
//     s[k] = z[b, t K + k, p],  i = t P + p
//
// Work: item (b, i), the numbers of b running slowest: neighbours read neighbours of z, and what an
// item reads twice is in a cache. dz is not z.
// Numerics: as squash_cpu.cl: lengths by one item, in order.

// |s| times *scale, of `k` elements that are `apart`
ALWAYS_INLINE float group_length(
    __global const float *z, const uint k, const uint apart, const float factor, float *scale)
{
    float square = 0.0f;
    for (uint x = 0; x < k; x++) {
        const float s = z[(ulong)x * apart] * factor;
        square = fma(s, s, square);
    }
    *scale = 1.0f;
    if (!(square >= 0x1p-80f && square <= 0x1p100f)) {
        *scale = square < 1.0f ? 0x1p80f : 0x1p-80f;
        square = 0.0f;
        for (uint x = 0; x < k; x++) {
            const float s = z[(ulong)x * apart] * factor * *scale;
            square = fma(s, s, square);
        }
    }
    return sqrt(square);
}

__kernel void group_squash_forward(__global float *restrict v, const ulong v_offset,
    __global const float *restrict z, const ulong z_offset, const float factor, const uint matrices,
    const uint k, const uint places, const uint squash)
{
    const ulong item = get_global_id(0), matrix = item / places;
    if (matrix >= matrices)
        return;
    __global const float *from = z + z_offset + matrix * k * places + item % places;
    __global float *to = v + v_offset + item * k;
    float scale;
    const float length = group_length(from, k, places, factor, &scale) / scale;
    const float f = caps_squash_factor(length, squash);
    for (uint x = 0; x < k; x++)
        to[x] = from[(ulong)x * places] * factor * f;
}

__kernel void group_squash_backward(__global float *restrict dz, const ulong dz_offset,
    __global const float *restrict dv, const ulong dv_offset, __global const float *restrict z,
    const ulong z_offset, const float factor, const uint matrices, const uint k, const uint places,
    const uint squash)
{
    const ulong item = get_global_id(0), matrix = item / places;
    const ulong at = matrix * k * places + item % places;
    if (matrix >= matrices)
        return;
    __global const float *s = z + z_offset + at, *g = dv + dv_offset + item * k;
    __global float *to = dz + dz_offset + at;
    float scale, along = 0.0f;
    const float scaled = group_length(s, k, places, factor, &scale), length = scaled / scale;
    const float f = factor * caps_squash_factor(length, squash);
    const float inverse = scaled == 0.0f ? 0.0f : 1.0f / scaled;
    for (uint x = 0; x < k; x++)
        along = fma(s[(ulong)x * places] * factor * scale * inverse, g[x], along);
    const float bent = along * caps_squash_bend(length, squash);
    for (uint x = 0; x < k; x++)
        to[(ulong)x * places] =
            scaled == 0.0f ? 0.0f
                           : f * fma(s[(ulong)x * places] * factor * scale * inverse, bent, g[x]);
}
