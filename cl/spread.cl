// spread.cl: the spread loss of activations (equation 3 of Hinton, Sabour, Frosst 2018), one kernel
// for both families.
//
//     loss[b] = sum over t, i of max(0, m - (a[b,t] - a[b,i]))^2
//     da[b,i] += scale 2 max(0, ...),  da[b,t] -= scale 2 max(0, ...)
//
// t runs over the labels of b that are classes, each once, i over the classes that are no label of
// b.
//
// Shapes: a, da [B,J]; loss [B]; labels [B,L]; row-major. Work: item n takes sample b = n
// (spread_forward) or class (b, j) = (n / J, n % J) (spread_backward). Items from `count` on do
// nothing. Numerics: sums in the order of t, then i, by one item; activations that are not numbers
// give a loss that is none.

static int caps_spread_is_among(const int label, __global const int *labels, const uint l_count)
{
    for (uint l = 0; l < l_count; l++)
        if (labels[l] == label)
            return 1;
    return 0;
}

// Is place l of the labels a class, and the first of its kind?
static int caps_spread_counts(__global const int *labels, const uint l, const uint j_count)
{
    return labels[l] >= 0 && (uint)labels[l] < j_count &&
           !caps_spread_is_among(labels[l], labels, l);
}

// max(0, x), which lets through what is no number.
static float caps_spread_lack(const float margin, const float right, const float wrong)
{
    const float lack = margin - (right - wrong);
    return lack < 0.0f ? 0.0f : lack;
}

__kernel void spread_forward(__global float *loss, const ulong loss_offset,
    __global const float *a, const ulong a_offset, __global const int *labels,
    const ulong labels_offset, const float margin, const uint count, const uint j_count,
    const uint l_count)
{
    const ulong b = get_global_id(0);
    if (b >= count)
        return;
    __global const float *row = a + a_offset + b * j_count;
    __global const int *mine = labels + labels_offset + b * l_count;
    float sum = 0.0f;
    for (uint l = 0; l < l_count; l++) {
        if (!caps_spread_counts(mine, l, j_count))
            continue;
        for (uint i = 0; i < j_count; i++) {
            const float lack = caps_spread_lack(margin, row[mine[l]], row[i]);
            sum += caps_spread_is_among((int)i, mine, l_count) ? 0.0f : lack * lack;
        }
    }
    loss[loss_offset + b] = sum;
}

__kernel void spread_backward(__global float *da, const ulong da_offset, __global const float *a,
    const ulong a_offset, __global const int *labels, const ulong labels_offset,
    const float margin, const float scale, const uint count, const uint j_count,
    const uint l_count)
{
    const ulong at = get_global_id(0);
    if (at >= count)
        return;
    const ulong b = at / j_count;
    const uint j = (uint)(at % j_count);
    __global const float *row = a + a_offset + b * j_count;
    __global const int *mine = labels + labels_offset + b * l_count;
    float sum = 0.0f;
    if (caps_spread_is_among((int)j, mine, l_count)) {
        for (uint i = 0; i < j_count; i++)
            sum -= caps_spread_is_among((int)i, mine, l_count)
                       ? 0.0f
                       : caps_spread_lack(margin, row[j], row[i]);
    } else {
        for (uint l = 0; l < l_count; l++)
            sum += caps_spread_counts(mine, l, j_count)
                       ? caps_spread_lack(margin, row[mine[l]], row[j])
                       : 0.0f;
    }
    da[da_offset + at] = 2.0f * scale * sum;
}
