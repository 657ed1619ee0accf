// softmax.cl: softmax and cross entropy over a few classes, one kernel for both families.
//
//     p[b,j]  = exp(z[b,j] - m) / sum_k exp(z[b,k] - m),  m = max_k z[b,k]
//     loss[b] = log sum_k exp(z[b,k] - m) + m - z[b,label]
//     dz[b,j] = scale (p[b,j] - (j == label))
//
// A label that is no class gives no loss and no gradient.
// Shapes: z, p, dz [B,J]; loss, labels [B].
// Work: item b takes a sample; softmax_backward: item n takes element n. Items from `count` on do
// nothing. Numerics: sums in order by one item; the loss comes from the logits, so that a small p
// costs no digits.

static float caps_logits_max(__global const float *row, const uint n)
{
    float most = row[0];
    for (uint j = 1; j < n; j++)
        most = row[j] > most ? row[j] : most;
    return most;
}

__kernel void softmax_forward(__global float *p, const ulong p_offset, __global const float *z,
    const ulong z_offset, const uint count, const uint j_count)
{
    const ulong b = get_global_id(0);
    if (b >= count)
        return;
    __global const float *row = z + z_offset + b * j_count;
    __global float *to = p + p_offset + b * j_count;
    const float most = caps_logits_max(row, j_count);
    float sum = 0.0f;
    for (uint j = 0; j < j_count; j++)
        sum += exp(row[j] - most);
    for (uint j = 0; j < j_count; j++)
        to[j] = exp(row[j] - most) / sum;
}

__kernel void cross_entropy_forward(__global float *loss, const ulong loss_offset,
    __global const float *z, const ulong z_offset, __global const int *labels,
    const ulong labels_offset, const uint count, const uint j_count)
{
    const ulong b = get_global_id(0);
    if (b >= count)
        return;
    __global const float *row = z + z_offset + b * j_count;
    const int label = labels[labels_offset + b];
    const float most = caps_logits_max(row, j_count);
    float sum = 0.0f;
    for (uint j = 0; j < j_count; j++)
        sum += exp(row[j] - most);
    const int is_class = label >= 0 && (uint)label < j_count;
    loss[loss_offset + b] = is_class ? log(sum) + (most - row[label]) : 0.0f;
}

__kernel void cross_entropy_backward(__global float *dz, const ulong dz_offset,
    __global const float *p, const ulong p_offset, __global const int *labels,
    const ulong labels_offset, const float scale, const uint count, const uint j_count)
{
    const ulong n = get_global_id(0);
    if (n >= count)
        return;
    const int label = labels[labels_offset + n / j_count];
    const int is_class = label >= 0 && (uint)label < j_count;
    const float truth = n % j_count == (ulong)label ? 1.0f : 0.0f;
    dz[dz_offset + n] = is_class ? scale * (p[p_offset + n] - truth) : 0.0f;
}
