// losses.cl: lengths, margin loss, argmax and mask: a few numbers for each capsule, one kernel for both
// families.
//
//     lengths[b,j] = |v[b,j]|
//     loss[b]      = sum_j T max(0, m+ - length_j)^2 + lambda (1 - T) max(0, length_j - m-)^2
//                    T = (j == labels[b])                                         (equation 4)
//     dv[b,j,:]    = scale dloss[b]/dlength_j v[b,j,:] / length_j, zero where length_j is zero
//     best[b]      = the first j with the greatest length
//     masked[b,j,:] = v[b,j,:] where j == chosen[b], else 0;  dv[b,chosen[b],:] += dmasked[b,chosen[b],:]
//
// Shapes: v, dv, masked, dmasked [B,J,D]; lengths [B,J]; loss, labels, best, chosen [B]; row-major.
// Work: item n takes capsule (b, j) = (n / J, n % J) (lengths, margin_backward, mask_forward), or sample
// b = n (margin_forward, argmax, mask_backward). Items from `count` on do nothing.
// Numerics: lengths are scaled (common.clh); all sums in order by one item.

__kernel void lengths_forward(__global float *lengths, const ulong lengths_offset,
    __global const float *v, const ulong v_offset, const uint count, const uint d_count)
{
    const ulong row = get_global_id(0);
    if (row >= count)
        return;
    float scale;
    const float scaled = caps_length(v + v_offset + row * d_count, d_count, &scale);
    lengths[lengths_offset + row] = scaled / scale;
}

__kernel void margin_forward(__global float *loss, const ulong loss_offset,
    __global const float *lengths, const ulong lengths_offset, __global const int *labels,
    const ulong labels_offset, const float positive, const float negative, const float down,
    const uint count, const uint j_count)
{
    const ulong b = get_global_id(0);
    if (b >= count)
        return;
    const int label = labels[labels_offset + b];
    float sum = 0.0f;
    for (uint j = 0; j < j_count; j++) {
        const float length = lengths[lengths_offset + b * j_count + j];
        // Not max(0, x): a length that is not a number has to show in the loss.
        const float lack = positive - length, excess = length - negative;
        if (label >= 0 && j == (uint)label)
            sum += lack < 0.0f ? 0.0f : lack * lack;
        else
            sum += excess < 0.0f ? 0.0f : down * excess * excess;
    }
    loss[loss_offset + b] = sum;
}

__kernel void margin_backward(__global float *dv, const ulong dv_offset, __global const float *v,
    const ulong v_offset, __global const float *lengths, const ulong lengths_offset,
    __global const int *labels, const ulong labels_offset, const float positive,
    const float negative, const float down, const float scale, const uint count,
    const uint j_count, const uint d_count)
{
    const ulong row = get_global_id(0), at = row * d_count;
    if (row >= count)
        return;
    const int label = labels[labels_offset + row / j_count];
    const float length = lengths[lengths_offset + row];
    float slope;
    if (label >= 0 && (uint)(row % j_count) == (uint)label)
        slope = positive - length < 0.0f ? 0.0f : -2.0f * (positive - length);
    else
        slope = length - negative < 0.0f ? 0.0f : 2.0f * down * (length - negative);
    for (uint d = 0; d < d_count; d++)
        dv[dv_offset + at + d] =
            length == 0.0f ? 0.0f : scale * slope * (v[v_offset + at + d] / length);
}

__kernel void argmax(__global int *best, const ulong best_offset, __global const float *lengths,
    const ulong lengths_offset, const uint count, const uint j_count)
{
    const ulong b = get_global_id(0);
    if (b >= count)
        return;
    __global const float *row = lengths + lengths_offset + b * j_count;
    uint found = 0;
    for (uint j = 1; j < j_count; j++)
        if (row[j] > row[found])
            found = j;
    best[best_offset + b] = (int)found;
}

__kernel void mask_forward(__global float *masked, const ulong masked_offset,
    __global const float *v, const ulong v_offset, __global const int *chosen,
    const ulong chosen_offset, const uint count, const uint j_count, const uint d_count)
{
    const ulong row = get_global_id(0), at = row * d_count;
    if (row >= count)
        return;
    const int choice = chosen[chosen_offset + row / j_count];
    const int kept = choice >= 0 && (uint)(row % j_count) == (uint)choice;
    for (uint d = 0; d < d_count; d++)
        masked[masked_offset + at + d] = kept ? v[v_offset + at + d] : 0.0f;
}

__kernel void mask_backward(__global float *dv, const ulong dv_offset,
    __global const float *dmasked, const ulong dmasked_offset, __global const int *chosen,
    const ulong chosen_offset, const uint count, const uint j_count, const uint d_count)
{
    const ulong b = get_global_id(0);
    if (b >= count)
        return;
    const int choice = chosen[chosen_offset + b];
    if (choice < 0 || (uint)choice >= j_count)
        return;
    const ulong at = (b * j_count + (uint)choice) * d_count;
    for (uint d = 0; d < d_count; d++)
        dv[dv_offset + at + d] += dmasked[dmasked_offset + at + d];
}
