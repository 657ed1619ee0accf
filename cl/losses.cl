// losses.cl: lengths, margin loss, the longest capsules and mask: a few numbers for each capsule,
// one kernel for both families.
//
//     lengths[b,j] = |v[b,j]|
//     loss[b]      = sum_j T max(0, m+ - length_j)^2 + lambda (1 - T) max(0, length_j - m-)^2
//                    T = (j is one of labels[b,:])                                (equation 4)
//     dv[b,j,:]    = scale dloss[b]/dlength_j v[b,j,:] / length_j, zero where length_j is zero
//     best[b,:]    = the L greatest lengths' j, the greatest first, of equal ones the first j first
//     matched[b,:] = best[b,:] in another order: those that are labels stand where the label does
//     masked[b,t,j,:] = v[b,j,:] where j == chosen[b,t], else 0
//     dv[b,chosen[b,t],:] += dmasked[b,t,chosen[b,t],:]
//
// Shapes: v, dv [B,J,D]; masked, dmasked [B,L,J,D]; lengths [B,J]; loss [B]; labels, best, matched,
// chosen [B,L]; row-major. Work: item n takes capsule (b, j) = (n / J, n % J) (lengths,
// margin_backward), (b, t, j) (mask_forward), or sample b = n (all others). Items from `count` on
// do nothing. Numerics: lengths are scaled (common.clh); all sums in order by one item.

// The terms of class j, and their slope.
static float caps_margin_term(const int is_there, const float length, const float positive,
    const float negative, const float down)
{
    // Not max(0, x): a length that is not a number has to show in the loss.
    const float lack = positive - length, excess = length - negative;
    if (is_there)
        return lack < 0.0f ? 0.0f : lack * lack;
    return excess < 0.0f ? 0.0f : down * excess * excess;
}

static float caps_margin_slope(const int is_there, const float length, const float positive,
    const float negative, const float down)
{
    if (is_there)
        return positive - length < 0.0f ? 0.0f : -2.0f * (positive - length);
    return length - negative < 0.0f ? 0.0f : 2.0f * down * (length - negative);
}

static int caps_is_among(const int label, __global const int *labels, const uint l_count)
{
    for (uint l = 0; l < l_count; l++)
        if (labels[l] == label)
            return 1;
    return 0;
}

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
    const uint count, const uint j_count, const uint l_count)
{
    const ulong b = get_global_id(0);
    if (b >= count)
        return;
    float sum = 0.0f;
    for (uint j = 0; j < j_count; j++) {
        const float length = lengths[lengths_offset + b * j_count + j];
        const int is_there = caps_is_among((int)j, labels + labels_offset + b * l_count, l_count);
        sum += caps_margin_term(is_there, length, positive, negative, down);
    }
    loss[loss_offset + b] = sum;
}

__kernel void margin_backward(__global float *dv, const ulong dv_offset, __global const float *v,
    const ulong v_offset, __global const float *lengths, const ulong lengths_offset,
    __global const int *labels, const ulong labels_offset, const float positive,
    const float negative, const float down, const float scale, const uint count, const uint j_count,
    const uint d_count, const uint l_count)
{
    const ulong row = get_global_id(0), at = row * d_count;
    if (row >= count)
        return;
    __global const int *mine = labels + labels_offset + row / j_count * l_count;
    const float length = lengths[lengths_offset + row];
    const int is_there = caps_is_among((int)(row % j_count), mine, l_count);
    const float gradient = caps_margin_slope(is_there, length, positive, negative, down);
    for (uint d = 0; d < d_count; d++)
        dv[dv_offset + at + d] =
            length == 0.0f ? 0.0f : scale * gradient * (v[v_offset + at + d] / length);
}

__kernel void argmax(__global int *best, const ulong best_offset, __global const float *lengths,
    const ulong lengths_offset, const uint count, const uint j_count, const uint l_count)
{
    const ulong b = get_global_id(0);
    if (b >= count)
        return;
    __global const float *row = lengths + lengths_offset + b * j_count;
    __global int *mine = best + best_offset + b * l_count;
    for (uint l = 0; l < l_count; l++) {
        int found = -1;
        for (uint j = 0; j < j_count; j++)
            if (!caps_is_among((int)j, mine, l) && (found < 0 || row[j] > row[found]))
                found = (int)j;
        mine[l] = found;
    }
}

// A label stands for itself once; the other places get what is left of best, in its order.
static void caps_match_one(
    __global int *matched, __global const int *have, __global const int *need, const uint l_count)
{
    uint left = 0;
    for (uint l = 0; l < l_count; l++) {
        int put = need[l];
        if (!caps_is_among(put, have, l_count) || caps_is_among(put, need, l)) {
            while (caps_is_among(have[left], need, l_count))
                left++;
            put = have[left++];
        }
        matched[l] = put;
    }
}

__kernel void match(__global int *matched, const ulong matched_offset, __global const int *best,
    const ulong best_offset, __global const int *labels, const ulong labels_offset,
    const uint count, const uint l_count)
{
    const ulong b = get_global_id(0);
    if (b >= count)
        return;
    caps_match_one(matched + matched_offset + b * l_count, best + best_offset + b * l_count,
        labels + labels_offset + b * l_count, l_count);
}

__kernel void mask_forward(__global float *masked, const ulong masked_offset,
    __global const float *v, const ulong v_offset, __global const int *chosen,
    const ulong chosen_offset, const uint count, const uint j_count, const uint d_count,
    const uint l_count)
{
    const ulong row = get_global_id(0), at = row * d_count, j = row % j_count;
    if (row >= count)
        return;
    const int choice = chosen[chosen_offset + row / j_count];
    const int kept = choice >= 0 && j == (ulong)choice;
    const ulong from = (row / j_count / l_count * j_count + j) * d_count;
    for (uint d = 0; d < d_count; d++)
        masked[masked_offset + at + d] = kept ? v[v_offset + from + d] : 0.0f;
}

__kernel void mask_backward(__global float *dv, const ulong dv_offset,
    __global const float *dmasked, const ulong dmasked_offset, __global const int *chosen,
    const ulong chosen_offset, const uint count, const uint j_count, const uint d_count,
    const uint l_count)
{
    const ulong b = get_global_id(0);
    if (b >= count)
        return;
    for (uint l = 0; l < l_count; l++) {
        const int choice = chosen[chosen_offset + b * l_count + l];
        if (choice < 0 || (uint)choice >= j_count)
            continue;
        const ulong to = (b * j_count + (uint)choice) * d_count;
        const ulong from = ((b * l_count + l) * j_count + (uint)choice) * d_count;
        for (uint d = 0; d < d_count; d++)
            dv[dv_offset + to + d] += dmasked[dmasked_offset + from + d];
    }
}
