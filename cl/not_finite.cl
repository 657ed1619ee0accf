// not_finite.cl: the first of many tensors that holds a value which is no finite number, one kernel
// for both families.
//
// The host has a table of tensors, in the order in which they were computed. Row r of `table`
// [rows, 8]:
//     low and high half of the tensor's first element, of its count, of the elements before it;
//     the number of images that count and elements before are of, groups of which are rounded up
//     (0: of all); the number of its buffer.
// record [5]: words 0 and 1 are two sums (float32), word 3 a flag, word 4 the result:
//     record[4] = max(record[4], rank - r), r the first row of this buffer with a value that is not
//     finite
// Nothing is checked while flag and sums are in order (`always` 0): a training step without a fault
// costs a kernel that returns.
//
// Work: item n takes the elements n, n + items, n + 2 items, ... of every row.
// Determinism: a maximum does not depend on the order in which the items reach it.

__kernel void not_finite(volatile __global int *record, const ulong record_offset,
    __global const int *table, const ulong table_offset, __global const float *data,
    const ulong data_offset, const uint rows, const uint buffer, const uint images,
    const uint rank, const uint always)
{
    volatile __global int *own = record + record_offset;
    if (!always && own[3] == 0 && isfinite(as_float(own[0])) && isfinite(as_float(own[1])))
        return;
    for (uint r = 0; r < rows; r++) {
        __global const int *row = table + table_offset + r * 8;
        const uint group = (uint)row[6];
        if ((uint)row[7] != buffer)
            continue;
        const ulong groups = group ? (images + group - 1) / group : 1;
        const ulong first =
            upsample((uint)row[1], (uint)row[0]) + upsample((uint)row[5], (uint)row[4]) * groups;
        const ulong count = upsample((uint)row[3], (uint)row[2]) * groups;
        for (ulong x = get_global_id(0); x < count; x += get_global_size(0))
            if (!isfinite(data[data_offset + first + x])) {
                atomic_max(own + 4, (int)(rank - r));
                return;
            }
    }
}
