// losses_gpu.cl: what the margin loss needs of a sample in one kernel each way, squared error and
// totals, GPU family; equations and shapes as in losses.cl and losses_cpu.cl.
//
// Work: margin_scores: group b; an item a capsule, its first item the sample, then all its items
// what is masked. margin_gradient: item n takes element n of dv. sse_forward: group b, its L items
// take every L-th element, then a tree. sse_backward: item n takes element n. totals_add: one group
// fetches L samples at a time, and its first item adds them; so does the first group of
// margin_gradient.
// Numerics: as in losses.cl, in the same order; totals_add adds in the order of b as the CPU family
// does.

// lengths_forward, argmax, match, margin_forward and mask_forward. matched, loss, labels and masked
// are optional; masked takes the capsules of the labels (by_labels), else of those matched, else of
// the best. own: J floats
__kernel void margin_scores(__global float *lengths, const ulong lengths_offset, __global int *best,
    const ulong best_offset, __global int *matched, const ulong matched_offset,
    __global float *loss, const ulong loss_offset, __global float *masked,
    const ulong masked_offset, __global const float *v, const ulong v_offset,
    __global const int *labels, const ulong labels_offset, __local float *own, const float positive,
    const float negative, const float down, const uint j_count, const uint d_count,
    const uint l_count, const uint by_labels)
{
    const ulong b = get_group_id(0);
    const uint item = get_local_id(0), size = get_local_size(0);
    __global const float *mine = v + v_offset + b * j_count * d_count;
    __global const int *need =
        labels + (caps_given(labels_offset) ? labels_offset + b * l_count : 0);
    __global int *found = best + best_offset + b * l_count;
    __global int *met = matched + (caps_given(matched_offset) ? matched_offset + b * l_count : 0);
    for (uint j = item; j < j_count; j += size) {
        float scale;
        const float scaled = caps_length(mine + (ulong)j * d_count, d_count, &scale);
        own[j] = scaled / scale;
        lengths[lengths_offset + b * j_count + j] = own[j];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item == 0) {
        for (uint l = 0; l < l_count; l++) {
            int most = -1;
            for (uint j = 0; j < j_count; j++)
                if (!caps_is_among((int)j, found, l) && (most < 0 || own[j] > own[most]))
                    most = (int)j;
            found[l] = most;
        }
        if (caps_given(matched_offset))
            caps_match_one(met, found, need, l_count);
        float sum = 0.0f;
        for (uint j = 0; j < j_count && caps_given(loss_offset); j++)
            sum += caps_margin_term(
                caps_is_among((int)j, need, l_count), own[j], positive, negative, down);
        if (caps_given(loss_offset))
            loss[loss_offset + b] = sum;
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
    if (!caps_given(masked_offset))
        return;
    const uint row = j_count * d_count;
    for (uint e = item; e < l_count * row; e += size) {
        const uint l = e / row, j = e % row / d_count;
        const int choice = by_labels ? need[l] : caps_given(matched_offset) ? met[l] : found[l];
        masked[masked_offset + b * l_count * row + e] =
            choice >= 0 && j == (uint)choice ? mine[e % row] : 0.0f;
    }
}

// What a batch adds to the totals, by one group. tile: 3 L floats. sse is optional (NULL). begins:
// the totals are those of a new record, whose two other words become 0.
static inline void caps_add_totals(__global float *to, __global const float *margin,
    __global const float *sse, __global const int *best, __global const int *labels,
    __local float *tile, const uint count, const uint l_count, const uint begins)
{
    const uint item = get_local_id(0), size = get_local_size(0);
    float losses = 0.0f, squares = 0.0f, errors = 0.0f;
    for (uint first = 0; first < count; first += size) {
        const uint n = min(size, count - first), b = first + item;
        if (item < n) {
            tile[item] = margin[b];
            const ulong row = (ulong)b * l_count;
            float sum = 0.0f, wrong = 0.0f;
            for (uint l = 0; l < l_count; l++) {
                sum += sse ? sse[row + l] : 0.0f;
                if (!caps_is_among(labels[row + l], best + row, l_count))
                    wrong = 1.0f;
            }
            tile[size + item] = sum;
            tile[2 * size + item] = wrong;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint l = 0; item == 0 && l < n; l++) {
            losses += tile[l];
            squares += tile[size + l];
            errors += tile[2 * size + l];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (item == 0) {
        to[0] = (begins ? 0.0f : to[0]) + losses;
        to[1] = (begins ? 0.0f : to[1]) + squares;
        to[2] = (begins ? 0.0f : to[2]) + errors;
        if (begins)
            to[3] = to[4] = 0.0f;
    }
}

// margin_backward, then mask_backward where dmasked is given; totals_add, by the first group, where
// totals are
__kernel void margin_gradient(__global float *dv, const ulong dv_offset, __global float *totals,
    const ulong totals_offset, __global const float *v, const ulong v_offset,
    __global const float *lengths, const ulong lengths_offset, __global const int *labels,
    const ulong labels_offset, __global const float *dmasked, const ulong dmasked_offset,
    __global const int *chosen, const ulong chosen_offset, __global const float *margin,
    const ulong margin_offset, __global const float *sse, const ulong sse_offset,
    __global const int *best, const ulong best_offset, __local float *tile, const float positive,
    const float negative, const float down, const float scale, const uint count, const uint j_count,
    const uint d_count, const uint l_count, const uint begins)
{
    const ulong at = get_global_id(0), row = at / d_count, b = row / j_count;
    if (get_group_id(0) == 0 && caps_given(totals_offset))
        caps_add_totals(totals + totals_offset, margin + margin_offset,
            caps_given(sse_offset) ? sse + sse_offset : 0, best + best_offset,
            labels + labels_offset, tile, count / (j_count * d_count), l_count, begins);
    if (at >= count)
        return;
    const uint j = (uint)(row % j_count);
    const float length = lengths[lengths_offset + row];
    const int is_there = caps_is_among((int)j, labels + labels_offset + b * l_count, l_count);
    const float slope = caps_margin_slope(is_there, length, positive, negative, down);
    float sum = length == 0.0f ? 0.0f : scale * slope * (v[v_offset + at] / length);
    for (uint l = 0; l < l_count && caps_given(dmasked_offset); l++)
        if (chosen[chosen_offset + b * l_count + l] == (int)j)
            sum += dmasked[dmasked_offset + ((b * l_count + l) * j_count + j) * d_count +
                           at % d_count];
    dv[dv_offset + at] = sum;
}

// dy, optional: sse_backward. scratch: L floats
__kernel void sse_forward(__global float *restrict sse, const ulong sse_offset,
    __global float *restrict dy, const ulong dy_offset, __global const float *restrict y,
    const ulong y_offset, __global const float *restrict x, const ulong x_offset,
    __local float *scratch, const float scale, const uint p_count)
{
    const ulong b = get_group_id(0);
    const uint item = get_local_id(0), size = get_local_size(0);
    __global const float *a = y + y_offset + b * p_count, *c = x + x_offset + b * p_count;
    float sum = 0.0f;
    for (uint p = item; p < p_count; p += size) {
        const float e = a[p] - c[p];
        sum = fma(e, e, sum);
        if (caps_given(dy_offset))
            dy[dy_offset + b * p_count + p] = 2.0f * scale * e;
    }
    sum = caps_row_sum(scratch, size, sum);
    if (item == 0)
        sse[sse_offset + b] = sum;
}

__kernel void sse_backward(__global float *restrict dy, const ulong dy_offset,
    __global const float *restrict y, const ulong y_offset, __global const float *restrict x,
    const ulong x_offset, const float scale, const uint count)
{
    const ulong p = get_global_id(0);
    if (p < count)
        dy[dy_offset + p] = 2.0f * scale * (y[y_offset + p] - x[x_offset + p]);
}

// sse is optional
__kernel void totals_add(__global float *totals, const ulong totals_offset,
    __global const float *margin, const ulong margin_offset, __global const float *sse,
    const ulong sse_offset, __global const int *best, const ulong best_offset,
    __global const int *labels, const ulong labels_offset, __local float *tile, const uint count,
    const uint l_count, const uint begins)
{
    caps_add_totals(totals + totals_offset, margin + margin_offset,
        caps_given(sse_offset) ? sse + sse_offset : 0, best + best_offset, labels + labels_offset,
        tile, count, l_count, begins);
}
