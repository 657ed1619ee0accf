// attention_gpu.cl: attention routing; the equations and shapes are those of attention_cpu.cl.
//
// Work: dimension 1 is the sample; an item of dimension 0 takes an element of an output capsule
// (sum), an input capsule (couplings, slopes), an element of a vote (dvotes). attention_dprior: an
// item for a pair of capsules. Items beyond the last do nothing.
// Numerics: the greatest logit is subtracted; sums in order by one item.
// Determinism: fixed order.

static inline float attention_dot(__global const float *a, __global const float *b, const uint n)
{
    float sum = 0.0f;
    for (uint i = 0; i < n; i++)
        sum = fma(a[i], b[i], sum);
    return sum;
}

__kernel void attention_sum(__global float *out, const ulong out_at, __global const float *votes,
    const ulong votes_at, __global const float *couplings, const ulong couplings_at,
    __global const float *prior, const ulong prior_at, const uint i_count, const uint j_count,
    const uint d)
{
    const uint e = (uint)get_global_id(0), row = j_count * d, j = e / d;
    const ulong b = get_global_id(1);
    const int coupled = caps_given(couplings_at), prejudiced = caps_given(prior_at);
    if (e >= row)
        return;
    votes += votes_at + b * i_count * row + e;
    float sum = 0.0f;
    for (uint i = 0; i < i_count; i++) {
        const ulong ij = (ulong)i * j_count + j;
        float weight = coupled || prejudiced ? 0.0f : 1.0f;
        if (coupled)
            weight = couplings[couplings_at + b * i_count * j_count + ij];
        if (prejudiced)
            weight += prior[prior_at + ij];
        sum = fma(weight, votes[(ulong)i * row], sum);
    }
    out[out_at + b * row + e] = sum;
}

__kernel void attention_couplings(__global float *couplings, const ulong couplings_at,
    __global const float *votes, const ulong votes_at, __global const float *total,
    const ulong total_at, const float scale, const uint i_count, const uint j_count, const uint d)
{
    const uint i = (uint)get_global_id(0);
    const ulong b = get_global_id(1);
    if (i >= i_count)
        return;
    votes += votes_at + (b * i_count + i) * j_count * d;
    total += total_at + b * j_count * d;
    couplings += couplings_at + (b * i_count + i) * j_count;
    float most = -INFINITY, sum = 0.0f;
    for (uint j = 0; j < j_count; j++) {
        const float logit = attention_dot(votes + (ulong)j * d, total + (ulong)j * d, d) * scale;
        couplings[j] = logit;
        most = fmax(most, logit);
    }
    for (uint j = 0; j < j_count; j++) {
        const float power = exp(couplings[j] - most);
        couplings[j] = power;
        sum += power;
    }
    for (uint j = 0; j < j_count; j++)
        couplings[j] /= sum;
}

__kernel void attention_slopes(__global float *slopes, const ulong slopes_at, __global float *gains,
    const ulong gains_at, __global const float *couplings, const ulong couplings_at,
    __global const float *votes, const ulong votes_at, __global const float *ds, const ulong ds_at,
    const float scale, const uint i_count, const uint j_count, const uint d)
{
    const uint i = (uint)get_global_id(0);
    const ulong b = get_global_id(1), first = (b * i_count + i) * j_count;
    if (i >= i_count)
        return;
    votes += votes_at + first * d;
    ds += ds_at + b * j_count * d;
    slopes += slopes_at + first;
    gains += gains_at + first;
    couplings += couplings_at + first;
    float mean = 0.0f;
    for (uint j = 0; j < j_count; j++) {
        const float gain = attention_dot(votes + (ulong)j * d, ds + (ulong)j * d, d);
        gains[j] = gain;
        mean = fma(couplings[j], gain, mean);
    }
    for (uint j = 0; j < j_count; j++)
        slopes[j] = couplings[j] * (gains[j] - mean) * scale;
}

__kernel void attention_dvotes(__global float *votes, const ulong votes_at,
    __global const float *couplings, const ulong couplings_at, __global const float *prior,
    const ulong prior_at, __global const float *slopes, const ulong slopes_at,
    __global const float *ds, const ulong ds_at, __global const float *total, const ulong total_at,
    __global const float *turn, const ulong turn_at, const uint i_count, const uint j_count,
    const uint d)
{
    const uint e = (uint)get_global_id(0), pair = e / d, capsule = e % (j_count * d);
    const ulong b = get_global_id(1), ij = b * i_count * j_count + pair;
    const ulong at = b * j_count * d + capsule;
    if (pair >= i_count * j_count)
        return;
    const float weight = couplings[couplings_at + ij] + prior[prior_at + pair];
    const float rest = fma(slopes[slopes_at + ij], total[total_at + at], turn[turn_at + at]);
    votes[votes_at + b * i_count * j_count * d + e] = fma(weight, ds[ds_at + at], rest);
}

__kernel void attention_dprior(__global float *dprior, const ulong dprior_at,
    __global const float *gains, const ulong gains_at, const uint count, const uint pairs,
    const uint j_count)
{
    const uint pair = (uint)get_global_id(0);
    if (pair >= pairs)
        return;
    float sum = 0.0f;
    for (uint b = 0; b < count; b++)
        sum += gains[gains_at + (ulong)b * pairs + pair];
    dprior[dprior_at + pair] = sum;
}
