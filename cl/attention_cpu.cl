// attention_cpu.cl: attention routing (Efficient-CapsNet: Mazzia, Salvetti, Chiaberge 2021).
//
//     S_j  = sum_i u_ij                             attention_sum
//     c_ij = softmax_j(u_ij . S_j / sqrt(D))        attention_couplings
//     s_j  = sum_i (c_ij + prior_ij) u_ij           attention_sum
//
//     g_ij = u_ij . ds_j, a_ij = c_ij (g_ij - sum_j c_ij g_ij) / sqrt(D)   attention_slopes
//     T_j  = sum_i a_ij u_ij                                               attention_sum
//     du_ij = (c_ij + prior_ij) ds_j + a_ij S_j + T_j, in u's place        attention_dvotes
//     dprior_ij = sum_b g_ij                                               attention_dprior
//
// Shapes: votes u, du [B,I,J,D]; couplings c, gains g, slopes a [B,I,J]; S, s, ds, T [B,J,D]; prior
// [I,J]. Work-items: an output capsule of a sample (sum), a sample (couplings, slopes), an input
// capsule of a sample (dvotes), an input capsule (dprior).
// Numerics: the greatest logit is subtracted; sums over i in order, sixteen elements of D in lanes.
// Determinism: fixed order, one work-item per sum.

// out[b,j,:] = sum_i (couplings[b,i,j] + prior[i,j]) votes[b,i,j,:]; either may be absent, and
// without both every weight is 1.
CPU_KERNEL void attention_sum(__global float *out, const ulong out_at, __global const float *votes,
    const ulong votes_at, __global const float *couplings, const ulong couplings_at,
    __global const float *prior, const ulong prior_at, const uint i_count, const uint j_count,
    const uint d)
{
    const ulong j = get_global_id(0), b = get_global_id(1);
    const int coupled = caps_given(couplings_at), prejudiced = caps_given(prior_at);
    votes += votes_at + (b * i_count * j_count + j) * d;
    out += out_at + (b * j_count + j) * d;
    CAPS_LOOP for (uint e = 0; e < d; e += 16)
    {
        float16 sum = 0.0f;
        CAPS_LOOP for (uint i = 0; i < i_count; i++)
        {
            const ulong ij = (ulong)i * j_count + j;
            float weight = coupled || prejudiced ? 0.0f : 1.0f;
            if (coupled)
                weight = couplings[couplings_at + b * i_count * j_count + ij];
            if (prejudiced)
                weight += prior[prior_at + ij];
            sum = fma(caps_load16(votes + (ulong)i * j_count * d + e, d - e, 0.0f),
                (float16)(weight), sum);
        }
        caps_store16(sum, out + e, d - e);
    }
}

CPU_KERNEL void attention_couplings(__global float *couplings, const ulong couplings_at,
    __global const float *votes, const ulong votes_at, __global const float *total,
    const ulong total_at, const float scale, const uint i_count, const uint j_count, const uint d)
{
    const ulong b = get_global_id(0);
    votes += votes_at + b * i_count * j_count * d;
    total += total_at + b * j_count * d;
    couplings += couplings_at + b * i_count * j_count;
    CAPS_LOOP for (uint i = 0; i < i_count; i++)
    {
        float most = -INFINITY, sum = 0.0f;
        CAPS_LOOP for (uint j = 0; j < j_count; j++)
        {
            couplings[j] = caps_dot(votes + (ulong)j * d, total + (ulong)j * d, d) * scale;
            most = fmax(most, couplings[j]);
        }
        CAPS_LOOP for (uint j = 0; j < j_count; j++)
        {
            couplings[j] = exp(couplings[j] - most);
            sum += couplings[j];
        }
        CAPS_LOOP for (uint j = 0; j < j_count; j++) couplings[j] /= sum;
        votes += (ulong)j_count * d;
        couplings += j_count;
    }
}

CPU_KERNEL void attention_slopes(__global float *slopes, const ulong slopes_at,
    __global float *gains, const ulong gains_at, __global const float *couplings,
    const ulong couplings_at, __global const float *votes, const ulong votes_at,
    __global const float *ds, const ulong ds_at, const float scale, const uint i_count,
    const uint j_count, const uint d)
{
    const ulong b = get_global_id(0), first = b * i_count * j_count;
    votes += votes_at + first * d;
    ds += ds_at + b * j_count * d;
    slopes += slopes_at + first;
    gains += gains_at + first;
    couplings += couplings_at + first;
    CAPS_LOOP for (uint i = 0; i < i_count; i++)
    {
        float mean = 0.0f;
        CAPS_LOOP for (uint j = 0; j < j_count; j++)
        {
            gains[j] = caps_dot(votes + (ulong)j * d, ds + (ulong)j * d, d);
            mean = fma(couplings[j], gains[j], mean);
        }
        CAPS_LOOP for (uint j = 0; j < j_count; j++) slopes[j] =
            couplings[j] * (gains[j] - mean) * scale;
        votes += (ulong)j_count * d;
        slopes += j_count;
        gains += j_count;
        couplings += j_count;
    }
}

CPU_KERNEL void attention_dvotes(__global float *votes, const ulong votes_at,
    __global const float *couplings, const ulong couplings_at, __global const float *prior,
    const ulong prior_at, __global const float *slopes, const ulong slopes_at,
    __global const float *ds, const ulong ds_at, __global const float *total, const ulong total_at,
    __global const float *turn, const ulong turn_at, const uint i_count, const uint j_count,
    const uint d)
{
    const ulong i = get_global_id(0), b = get_global_id(1), first = (b * i_count + i) * j_count;
    CAPS_LOOP for (uint j = 0; j < j_count; j++)
    {
        const float weight =
            couplings[couplings_at + first + j] + prior[prior_at + i * j_count + j];
        const float slope = slopes[slopes_at + first + j];
        const ulong to = votes_at + (first + j) * d, capsule = (b * j_count + j) * d;
        CAPS_LOOP for (uint e = 0; e < d; e += 16)
        {
            const uint n = d - e;
            const float16 g = caps_load16(ds + ds_at + capsule + e, n, 0.0f);
            const float16 all = caps_load16(total + total_at + capsule + e, n, 0.0f);
            const float16 turned = caps_load16(turn + turn_at + capsule + e, n, 0.0f);
            caps_store16(
                fma(g, (float16)(weight), fma(all, (float16)(slope), turned)), votes + to + e, n);
        }
    }
}

CPU_KERNEL void attention_dprior(__global float *dprior, const ulong dprior_at,
    __global const float *gains, const ulong gains_at, const uint count, const uint pairs,
    const uint j_count)
{
    const uint first = (uint)get_global_id(0) * j_count;
    CAPS_LOOP for (uint j = first; j < first + j_count; j += 16)
    {
        const uint n = first + j_count - j;
        float16 sum = 0.0f;
        CAPS_LOOP for (uint b = 0; b < count; b++) sum +=
            caps_load16(gains + gains_at + (ulong)b * pairs + j, n, 0.0f);
        caps_store16(sum, dprior + dprior_at + j, n);
    }
}
