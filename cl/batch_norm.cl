// batch_norm.cl: what both families do once for each channel in batch normalisation: parts' sums put
// together, and running statistics.
//
//     mean, var of all parts from means and squares' sums of each (Chan, Golub, LeVeque 1983)
//     dweight[c] = sum of the parts' sums of dy x^, dbias[c] = sum of the parts' sums of dy
//     running = (1 - momentum) running + momentum statistic
//
// parts: [P, 2, C] for means and sums of squares, or for sums of dy and of dy x^.
// Work: item c takes a channel; items from `channels` on do nothing.
// Numerics: no sum of squares of values whose mean is not 0, so that nothing cancels.
// Determinism: parts in order.

// Values of a channel in part p of `parts`: those of images [p B / P, (p + 1) B / P).
static float batch_norm_part_count(const uint p, const uint parts, const uint count, const uint s)
{
    const ulong first = (ulong)p * count / parts, end = (ulong)(p + 1) * count / parts;
    return (float)(end - first) * (float)s;
}

__kernel void batch_norm_statistics(__global float *mean, const ulong mean_at, __global float *var,
    const ulong var_at, __global const float *part, const ulong part_at, const uint parts,
    const uint count, const uint channels, const uint s)
{
    const uint c = (uint)get_global_id(0);
    if (c >= channels)
        return;
    part += part_at + c;
    float all = batch_norm_part_count(0, parts, count, s), centre = part[0],
          squares = part[channels];
    for (uint p = 1; p < parts; p++) {
        const float n = batch_norm_part_count(p, parts, count, s), sum = all + n;
        const float apart = part[(ulong)p * 2 * channels] - centre;
        squares += part[((ulong)p * 2 + 1) * channels] + apart * apart * (all * (n / sum));
        centre = fma(apart, n / sum, centre);
        all = sum;
    }
    mean[mean_at + c] = centre;
    var[var_at + c] = squares / all;
}

__kernel void batch_norm_sums(__global float *dweight, const ulong dweight_at,
    __global float *dbias, const ulong dbias_at, __global const float *part, const ulong part_at,
    const uint parts, const uint channels)
{
    const uint c = (uint)get_global_id(0);
    if (c >= channels)
        return;
    part += part_at + c;
    float plain = 0.0f, weighted = 0.0f;
    for (uint p = 0; p < parts; p++) {
        plain += part[(ulong)p * 2 * channels];
        weighted += part[((ulong)p * 2 + 1) * channels];
    }
    dbias[dbias_at + c] = plain;
    dweight[dweight_at + c] = weighted;
}

__kernel void batch_norm_update(__global float *running, const ulong running_at,
    __global const float *statistic, const ulong statistic_at, const float momentum,
    const uint channels)
{
    const uint c = (uint)get_global_id(0);
    if (c >= channels)
        return;
    const float old = running[running_at + c];
    running[running_at + c] = fma(statistic[statistic_at + c], momentum, old * (1.0f - momentum));
}
