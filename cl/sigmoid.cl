// sigmoid.cl: sigmoid and binary cross entropy of logits, where an image has several labels; one
// kernel for both families.
//
//     p[b,j]  = 1 / (1 + exp(-z[b,j]))
//     loss[b] = sum_j max(z, 0) - z t[b,j] + log(1 + exp(-|z|)),  t[b,j] = 1 where j is a label of b
//     dz[b,j] = scale (p[b,j] - t[b,j]);  p - 1 = -1 / (1 + exp(z))
//
// A label that is no class is none of the true ones.
// Shapes: z, p, dz [B,J]; loss [B]; labels [B,L]; row-major.
// Work: item n takes element n; binary_cross_entropy_forward: item b takes a sample. Items from
// `count` on do nothing. Numerics: exp of what is not positive, so that nothing overflows; loss
// and gradient come from the logits, so that p near 0 or 1 costs no digits; sums in order by one
// item.

static float caps_is_label(const int j, __global const int *labels, const uint l_count)
{
    for (uint l = 0; l < l_count; l++)
        if (labels[l] == j)
            return 1.0f;
    return 0.0f;
}

static float caps_sigmoid(const float x)
{
    const float e = exp(-fabs(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

__kernel void sigmoid_forward(__global float *p, const ulong p_offset, __global const float *z,
    const ulong z_offset, const uint count)
{
    const ulong n = get_global_id(0);
    if (n < count)
        p[p_offset + n] = caps_sigmoid(z[z_offset + n]);
}

__kernel void binary_cross_entropy_forward(__global float *loss, const ulong loss_offset,
    __global const float *z, const ulong z_offset, __global const int *labels,
    const ulong labels_offset, const uint count, const uint j_count, const uint l_count)
{
    const ulong b = get_global_id(0);
    if (b >= count)
        return;
    __global const float *row = z + z_offset + b * j_count;
    __global const int *of = labels + labels_offset + b * l_count;
    float sum = 0.0f;
    for (uint j = 0; j < j_count; j++) {
        const float x = row[j];
        // of a true class the same with -x: no difference of large numbers
        const float y = caps_is_label((int)j, of, l_count) != 0.0f ? -x : x;
        sum += (y < 0.0f ? 0.0f : y) + log1p(exp(-fabs(y)));
    }
    loss[loss_offset + b] = sum;
}

__kernel void binary_cross_entropy_backward(__global float *dz, const ulong dz_offset,
    __global const float *z, const ulong z_offset, __global const int *labels,
    const ulong labels_offset, const float scale, const uint count, const uint j_count,
    const uint l_count)
{
    const ulong n = get_global_id(0);
    if (n >= count)
        return;
    const float truth = caps_is_label(
        (int)(n % j_count), labels + labels_offset + n / j_count * l_count, l_count);
    const float x = z[z_offset + n];
    dz[dz_offset + n] = scale * (truth != 0.0f ? -caps_sigmoid(-x) : caps_sigmoid(x));
}
