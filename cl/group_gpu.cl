// group_gpu.cl: channels regrouped as capsules and back, GPU family; see group_cpu.cl.
//
// Work: one group moves a tile of GROUP_TILE by GROUP_TILE elements of one matrix through local memory,
// so that reads and writes are both coalesced. Group g: matrix g / (tiles of a matrix), then tile row,
// then tile column. tile: GROUP_TILE * (GROUP_TILE + 1) floats; the extra column keeps the columns of
// the tile in different banks. The local size is a multiple of GROUP_TILE. It only moves values.

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
    const uint lane = get_local_id(0) % GROUP_TILE, first = get_local_id(0) / GROUP_TILE;
    const uint step = (uint)get_local_size(0) / GROUP_TILE;
    __global const float *from = in + in_offset + matrix * rows * columns;
    __global float *to = out + out_offset + matrix * rows * columns;

    for (uint n = first; n < GROUP_TILE; n += step)
        if (n < rows - row0 && lane < columns - column0)
            tile[n * (GROUP_TILE + 1) + lane] = from[(ulong)(row0 + n) * columns + column0 + lane];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint n = first; n < GROUP_TILE; n += step)
        if (n < columns - column0 && lane < rows - row0)
            to[(ulong)(column0 + n) * rows + row0 + lane] = tile[lane * (GROUP_TILE + 1) + n];
}
