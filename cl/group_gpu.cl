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
