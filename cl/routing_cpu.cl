// routing_cpu.cl: routing by agreement over stored votes, CPU family. Procedure 1 of Sabour,
// Frosst, Hinton 2017.
// Program: rarely used (src/device/registry.c).
//
// Forward, for t = 0 .. r-1 (x_t = v_0 + .. + v_{t-1}, so that no logit needs to be stored):
//     c_t[b,i,:] = softmax over j of (votes[b,i,j,:] . x_t[b,j,:]);  c_0 = 1/J
//     s_t[b,j,:] = sum_i c_t[b,i,j] votes[b,i,j,:] + bias[j,:]
//     v_t[b,j,:] = squash(s_t[b,j,:])
// Leaky: each softmax has one more logit, always 0, whose coupling goes nowhere; c_0 = 1/(J + 1).
// Max-min: c_t = (l - min l) / (max l - min l) of the logits l, 1 where these differ by less than
// the smallest normal number; c_0 = 1.
// Backward, for t = r-1 .. 0, with G_r = 0 and gv_{r-1} = dv:
//     gs_t       = squash backward of gv_t at s_t
//     dc_t       = votes . gs_t
//     G_t        = G_{t+1} + c_t (dc_t - sum_j c_t dc_t)         not for t = 0: c_0 is constant
//     gv_{t-1}   = sum_i G_t votes
// (leaky too: nothing here needs couplings that sum to 1, and the leak's logit takes no gradient)
// max-min: G_t = G_{t+1} + dc_t / range, less sum_j c_t dc_t / range at the greatest logit and
// sum_j (1 - c_t) dc_t / range at the least, the first of each; nothing where all are 1
// and dvotes = sum_t c_t gs_t + sum_{t < r-1} G_{t+1} v_t, dbias = sum_b sum_t gs_t. With constant
// couplings only t = r-1 counts, and no G.
//
// Shapes, row-major: votes, dvotes [B,I,J,D]; couplings, G [B,I,J] for each t; x, s, v, gs [B,J,D];
// partial [B,chunks,J,D], chunks = ceil(I / ROUTING_CHUNK): sums over one chunk of input capsules.
//
// Work: routing_pass, routing_back, and these with _max_min: item (chunk, b). One pass over the
//       votes does the dot products, the softmax (or its gradient) and the weighted sum, a row of
//       votes being still in the first-level cache for the sum. The row of couplings (or of G) holds
//       the dot products meanwhile. routing_reduce, routing_gs: item n takes (b, j) = (n / J, n % J).
//       routing_dvotes: item (chunk, b). routing_dbias: item j.
// Numerics: the maximum is subtracted before exp. Sums over i: within a chunk in order, then the
// chunks in order; nothing depends on B but dbias. Fixed order throughout.

#define ROUTING_CHUNK 32 // as in src/ops/routing.c
#define ROUTING_BLOCK 64

// sum[j,:] += weights[j] votes[j,:], one row of votes.
static inline void routing_add_votes(__global float *restrict sum, __global const float *weights,
    __global const float *restrict votes, uint j_count, uint d_count)
{
    for (uint j = 0; j < j_count; j++) {
        const float weight = weights[j];
        __global const float *from = votes + (ulong)j * d_count;
        __global float *to = sum + (ulong)j * d_count;
        uint d = 0;
        for (; d_count - d >= 16; d += 16)
            vstore16(fma((float16)weight, vload16(0, from + d), vload16(0, to + d)), 0, to + d);
        if (d_count - d >= 8) {
            vstore8(fma((float8)weight, vload8(0, from + d), vload8(0, to + d)), 0, to + d);
            d += 8;
        }
        for (; d < d_count; d++)
            to[d] = fma(weight, from[d], to[d]);
    }
}

static inline float routing_max16(float16 x)
{
    const float8 eight = fmax(x.lo, caps_high(x));
    const float4 four = fmax(eight.lo, eight.hi);
    const float2 two = fmax(four.lo, four.hi);
    return fmax(two.x, two.y);
}

// c[0..n) = exp(c - max c) / sum; leaky: maximum and sum of these and of one more logit, 0. A logit
// that is not a number spoils the row, as it should.
ALWAYS_INLINE void routing_softmax(__global float *c, uint n, const uint leaky)
{
    float top = leaky ? 0.0f : -INFINITY;
    for (uint j = 0; j < n; j += 16)
        top = fmax(top, routing_max16(caps_load16(c + j, n - j, -INFINITY)));
    float sum = leaky ? exp(-top) : 0.0f;
    for (uint j = 0; j < n; j += 16) {
        const float16 e = exp(caps_load16(c + j, n - j, -INFINITY) - top);
        sum += caps_sum16(e);
        caps_store16(e, c + j, n - j);
    }
    const float scale = 1.0f / sum;
    for (uint j = 0; j < n; j++)
        c[j] *= scale;
}

// c[0..n) = (c - min c) / (max c - min c), 1 where these are equal. A logit that is not a number
// spoils its own coupling.
static inline void routing_max_min(__global float *c, uint n)
{
    float16 greatest = -INFINITY, least = INFINITY;
    for (uint j = 0; j < n; j += 16) {
        greatest = fmax(greatest, caps_load16(c + j, n - j, -INFINITY));
        least = fmin(least, caps_load16(c + j, n - j, INFINITY));
    }
    const float top = routing_max16(greatest), bottom = -routing_max16(-least);
    const float range = top - bottom;
    const int even = range >= 0.0f && range < FLT_MIN;
    for (uint j = 0; j < n; j++)
        c[j] = even || c[j] == top ? 1.0f : fmin((c[j] - bottom) / range, 1.0f);
}

// first: t = 0, where x is not read. leaky, max_min: 0 or 1, known when this is compiled: a branch
// in the loop over capsules costs those that are not leaky 4 %.
ALWAYS_INLINE void routing_pass_chunk(__global float *partial, const ulong partial_offset,
    __global float *couplings, const ulong couplings_offset, __global const float *votes,
    const ulong votes_offset, __global const float *x, const ulong x_offset, const uint i_count,
    const uint j_count, const uint d_count, const uint first, const uint leaky, const uint max_min,
    const size_t id0, const size_t id1, const size_t size0)
{
    const uint chunk = id0, e_count = j_count * d_count;
    const ulong b = id1, chunks = size0;
    const uint i0 = chunk * ROUTING_CHUNK, i1 = i0 + min((uint)ROUTING_CHUNK, i_count - i0);
    __global float *sum = partial + partial_offset + (b * chunks + chunk) * e_count;
    __global const float *target = x + x_offset + b * e_count;
    for (uint e = 0; e < e_count; e++)
        sum[e] = 0.0f;
    for (uint i = i0; i < i1; i++) {
        __global const float *row = votes + votes_offset + (b * i_count + i) * e_count;
        __global float *c = couplings + couplings_offset + (b * i_count + i) * j_count;
        if (first) {
            for (uint j = 0; j < j_count; j++)
                c[j] = max_min ? 1.0f : 1.0f / (float)(j_count + leaky);
        } else {
            for (uint j = 0; j < j_count; j++)
                c[j] = caps_dot(row + (ulong)j * d_count, target + (ulong)j * d_count, d_count);
            if (max_min)
                routing_max_min(c, j_count);
            else
                routing_softmax(c, j_count, leaky);
        }
        routing_add_votes(sum, c, row, j_count, d_count);
    }
}

#define ROUTING_PASS_ITEM(name, leaky, max_min)                                                    \
    CPU_ITEM void name(__global float *partial, const ulong partial_offset,                        \
        __global float *couplings, const ulong couplings_offset, __global const float *votes,      \
        const ulong votes_offset, __global const float *x, const ulong x_offset,                   \
        const uint i_count, const uint j_count, const uint d_count, const uint first,              \
        const size_t id0, const size_t id1, const size_t size0)                                    \
    {                                                                                              \
        routing_pass_chunk(partial, partial_offset, couplings, couplings_offset, votes,            \
            votes_offset, x, x_offset, i_count, j_count, d_count, first, leaky, max_min, id0, id1, \
            size0);                                                                                \
    }
ROUTING_PASS_ITEM(routing_pass_item, 0, 0)
ROUTING_PASS_ITEM(routing_pass_leaky_item, 1, 0)
ROUTING_PASS_ITEM(routing_pass_max_min_item, 0, 1)

CPU_KERNEL void routing_pass(__global float *partial, const ulong partial_offset,
    __global float *couplings, const ulong couplings_offset, __global const float *votes,
    const ulong votes_offset, __global const float *x, const ulong x_offset, const uint i_count,
    const uint j_count, const uint d_count, const uint first, const uint leaky)
{
    if (leaky)
        routing_pass_leaky_item(partial, partial_offset, couplings, couplings_offset, votes,
            votes_offset, x, x_offset, i_count, j_count, d_count, first, get_global_id(0),
            get_global_id(1), get_global_size(0));
    else
        routing_pass_item(partial, partial_offset, couplings, couplings_offset, votes, votes_offset,
            x, x_offset, i_count, j_count, d_count, first, get_global_id(0), get_global_id(1),
            get_global_size(0));
}

CPU_KERNEL void routing_pass_max_min(__global float *partial, const ulong partial_offset,
    __global float *couplings, const ulong couplings_offset, __global const float *votes,
    const ulong votes_offset, __global const float *x, const ulong x_offset, const uint i_count,
    const uint j_count, const uint d_count, const uint first)
{
    routing_pass_max_min_item(partial, partial_offset, couplings, couplings_offset, votes,
        votes_offset, x, x_offset, i_count, j_count, d_count, first, get_global_id(0),
        get_global_id(1), get_global_size(0));
}

// g[0..J) holds dc on entry and G_t on return. next: G_{t+1}, or NULL where that is zero.
static inline void routing_softmax_gradient(
    __global float *g, __global const float *c, __global const float *next, uint n)
{
    const float mean = caps_dot(c, g, n);
    for (uint j = 0; j < n; j++)
        g[j] = fma(c[j], g[j] - mean, next ? next[j] : 0.0f);
}

// couplings: c_t; next: G_{t+1}, optional.
CPU_ITEM void routing_back_item(__global float *partial, const ulong partial_offset,
    __global float *g, const ulong g_offset, __global const float *votes, const ulong votes_offset,
    __global const float *gs, const ulong gs_offset, __global const float *couplings,
    const ulong couplings_offset, __global const float *next, const ulong next_offset,
    const uint i_count, const uint j_count, const uint d_count, const size_t id0, const size_t id1,
    const size_t size0)
{
    const uint chunk = id0, e_count = j_count * d_count;
    const ulong b = id1, chunks = size0;
    const uint i0 = chunk * ROUTING_CHUNK, i1 = i0 + min((uint)ROUTING_CHUNK, i_count - i0);
    __global float *sum = partial + partial_offset + (b * chunks + chunk) * e_count;
    __global const float *target = gs + gs_offset + b * e_count;
    for (uint e = 0; e < e_count; e++)
        sum[e] = 0.0f;
    for (uint i = i0; i < i1; i++) {
        const ulong capsule = b * i_count + i;
        __global const float *row = votes + votes_offset + capsule * e_count;
        __global float *to = g + g_offset + capsule * j_count;
        for (uint j = 0; j < j_count; j++)
            to[j] = caps_dot(row + (ulong)j * d_count, target + (ulong)j * d_count, d_count);
        routing_softmax_gradient(to, couplings + couplings_offset + capsule * j_count,
            caps_given(next_offset) ? next + next_offset + capsule * j_count : 0, j_count);
        routing_add_votes(sum, to, row, j_count, d_count);
    }
}

CPU_KERNEL void routing_back(__global float *partial, const ulong partial_offset, __global float *g,
    const ulong g_offset, __global const float *votes, const ulong votes_offset,
    __global const float *gs, const ulong gs_offset, __global const float *couplings,
    const ulong couplings_offset, __global const float *next, const ulong next_offset,
    const uint i_count, const uint j_count, const uint d_count)
{
    routing_back_item(partial, partial_offset, g, g_offset, votes, votes_offset, gs, gs_offset,
        couplings, couplings_offset, next, next_offset, i_count, j_count, d_count, get_global_id(0),
        get_global_id(1), get_global_size(0));
}

// votes_j . (v_0 + .. + v_{steps-1}) of one link, added up as the forward did; v: of the first
// iteration, apart: to the next one.
static inline float routing_logit(__global const float *vote, __global const float *v,
    const ulong apart, const uint steps, const uint d_count)
{
    float logit = 0.0f;
    uint d = 0;
    if (d_count >= 16) {
        float16 lanes = 0.0f;
        for (; d_count - d >= 16; d += 16) {
            float16 x = vload16(0, v + d);
            for (uint t = 1; t < steps; t++)
                x += vload16(0, v + t * apart + d);
            lanes = fma(vload16(0, vote + d), x, lanes);
        }
        logit = caps_sum16(lanes);
    }
    if (d_count - d >= 8) {
        float8 x = vload8(0, v + d);
        for (uint t = 1; t < steps; t++)
            x += vload8(0, v + t * apart + d);
        logit += caps_sum8(vload8(0, vote + d) * x);
        d += 8;
    }
    for (; d < d_count; d++) {
        float x = v[d];
        for (uint t = 1; t < steps; t++)
            x += v[t * apart + d];
        logit = fma(vote[d], x, logit);
    }
    return logit;
}

// As routing_softmax_gradient. row: the capsule's votes; v, apart, steps: see routing_logit.
static inline void routing_max_min_gradient(__global float *g, __global const float *c,
    __global const float *next, __global const float *row, __global const float *v,
    const ulong apart, const uint steps, const uint n, const uint d_count)
{
    uint top = 0, bottom = 0;
    float sum = 0.0f;
    for (uint j = 0; j < n; j++) {
        top = c[j] > c[top] ? j : top;
        bottom = c[j] < c[bottom] ? j : bottom;
        sum += g[j];
    }
    const float mean = caps_dot(c, g, n);
    float inverse = 0.0f;
    if (c[bottom] != 1.0f) {
        const ulong high = (ulong)top * d_count, low = (ulong)bottom * d_count;
        const float range = routing_logit(row + high, v + high, apart, steps, d_count) -
                            routing_logit(row + low, v + low, apart, steps, d_count);
        inverse = range >= FLT_MIN || isnan(range) ? 1.0f / range : 0.0f;
    }
    for (uint j = 0; j < n; j++) {
        const float extreme = j == top ? mean : j == bottom ? sum - mean : 0.0f;
        g[j] = fma(g[j] - extreme, inverse, next ? next[j] : 0.0f);
    }
}

// As routing_back, with max-min normalisation. v: of the first iteration, of which there are
// `steps` before this one; samples: B.
CPU_ITEM void routing_back_max_min_item(__global float *partial, const ulong partial_offset,
    __global float *g, const ulong g_offset, __global const float *votes, const ulong votes_offset,
    __global const float *gs, const ulong gs_offset, __global const float *couplings,
    const ulong couplings_offset, __global const float *next, const ulong next_offset,
    __global const float *v, const ulong v_offset, const uint i_count, const uint j_count,
    const uint d_count, const uint steps, const uint samples, const size_t id0, const size_t id1,
    const size_t size0)
{
    const uint chunk = id0, e_count = j_count * d_count;
    const ulong b = id1, chunks = size0;
    const uint i0 = chunk * ROUTING_CHUNK, i1 = i0 + min((uint)ROUTING_CHUNK, i_count - i0);
    __global float *sum = partial + partial_offset + (b * chunks + chunk) * e_count;
    __global const float *target = gs + gs_offset + b * e_count;
    for (uint e = 0; e < e_count; e++)
        sum[e] = 0.0f;
    for (uint i = i0; i < i1; i++) {
        const ulong capsule = b * i_count + i;
        __global const float *row = votes + votes_offset + capsule * e_count;
        __global float *to = g + g_offset + capsule * j_count;
        for (uint j = 0; j < j_count; j++)
            to[j] = caps_dot(row + (ulong)j * d_count, target + (ulong)j * d_count, d_count);
        routing_max_min_gradient(to, couplings + couplings_offset + capsule * j_count,
            caps_given(next_offset) ? next + next_offset + capsule * j_count : 0, row,
            v + v_offset + b * e_count, (ulong)samples * e_count, steps, j_count, d_count);
        routing_add_votes(sum, to, row, j_count, d_count);
    }
}

CPU_KERNEL void routing_back_max_min(__global float *partial, const ulong partial_offset,
    __global float *g, const ulong g_offset, __global const float *votes, const ulong votes_offset,
    __global const float *gs, const ulong gs_offset, __global const float *couplings,
    const ulong couplings_offset, __global const float *next, const ulong next_offset,
    __global const float *v, const ulong v_offset, const uint i_count, const uint j_count,
    const uint d_count, const uint steps, const uint samples)
{
    routing_back_max_min_item(partial, partial_offset, g, g_offset, votes, votes_offset, gs,
        gs_offset, couplings, couplings_offset, next, next_offset, v, v_offset, i_count, j_count,
        d_count, steps, samples, get_global_id(0), get_global_id(1), get_global_size(0));
}

// sum[0..D) = bias (or 0) + the chunks' partial sums, in order.
static inline void routing_sum_chunks(__global float *sum, __global const float *bias,
    __global const float *partial, uint chunks, uint e_count, uint d_count)
{
    for (uint d = 0; d < d_count; d += 16) {
        float16 total = bias ? caps_load16(bias + d, d_count - d, 0.0f) : (float16)0.0f;
        for (uint n = 0; n < chunks; n++)
            total += caps_load16(partial + (ulong)n * e_count + d, d_count - d, 0.0f);
        caps_store16(total, sum + d, d_count - d);
    }
}

// s and v become those of iteration t; x becomes x_{t+1} (optional: not after the last);
// v_last gets a copy of v (optional). first: x is v, not added to.
CPU_ITEM void routing_reduce_item(__global float *s, const ulong s_offset, __global float *v,
    const ulong v_offset, __global float *x, const ulong x_offset, __global float *v_last,
    const ulong v_last_offset, __global const float *partial, const ulong partial_offset,
    __global const float *bias, const ulong bias_offset, const uint rows, const uint chunks,
    const uint j_count, const uint d_count, const uint squash, const uint first, const size_t id0)
{
    const ulong row = id0, b = row / j_count, at = row * d_count;
    const uint j = (uint)(row % j_count), e_count = j_count * d_count;
    __global float *sum = s + s_offset + at;
    routing_sum_chunks(sum, caps_given(bias_offset) ? bias + bias_offset + (ulong)j * d_count : 0,
        partial + partial_offset + b * chunks * e_count + (ulong)j * d_count, chunks, e_count,
        d_count);
    float scale;
    const float scaled = caps_length(sum, d_count, &scale);
    const float factor = caps_squash_factor(scaled / scale, squash);
    for (uint d = 0; d < d_count; d++) {
        const float value = sum[d] * factor;
        v[v_offset + at + d] = value;
        if (caps_given(x_offset))
            x[x_offset + at + d] = first ? value : x[x_offset + at + d] + value;
        if (caps_given(v_last_offset))
            v_last[v_last_offset + at + d] = value;
    }
}

CPU_KERNEL void routing_reduce(__global float *s, const ulong s_offset, __global float *v,
    const ulong v_offset, __global float *x, const ulong x_offset, __global float *v_last,
    const ulong v_last_offset, __global const float *partial, const ulong partial_offset,
    __global const float *bias, const ulong bias_offset, const uint rows, const uint chunks,
    const uint j_count, const uint d_count, const uint squash, const uint first)
{
    routing_reduce_item(s, s_offset, v, v_offset, x, x_offset, v_last, v_last_offset, partial,
        partial_offset, bias, bias_offset, rows, chunks, j_count, d_count, squash, first,
        get_global_id(0));
}

// gs_t from gv_t, which comes as partial sums (or as dv: one chunk).
CPU_ITEM void routing_gs_item(__global float *gs, const ulong gs_offset,
    __global const float *partial, const ulong partial_offset, __global const float *s,
    const ulong s_offset, const uint rows, const uint chunks, const uint j_count,
    const uint d_count, const uint squash, const size_t id0)
{
    const ulong row = id0, b = row / j_count, at = row * d_count;
    const uint j = (uint)(row % j_count), e_count = j_count * d_count;
    __global float *to = gs + gs_offset + at;
    routing_sum_chunks(to, 0, partial + partial_offset + b * chunks * e_count + (ulong)j * d_count,
        chunks, e_count, d_count);
    caps_squash_gradient(to, to, s + s_offset + at, d_count, squash);
}

CPU_KERNEL void routing_gs(__global float *gs, const ulong gs_offset, __global const float *partial,
    const ulong partial_offset, __global const float *s, const ulong s_offset, const uint rows,
    const uint chunks, const uint j_count, const uint d_count, const uint squash)
{
    routing_gs_item(gs, gs_offset, partial, partial_offset, s, s_offset, rows, chunks, j_count,
        d_count, squash, get_global_id(0));
}

// couplings, gs and v begin with the first iteration that counts, and there are `steps` of them; g
// begins with the one after it.
CPU_ITEM void routing_dvotes_item(__global float *restrict dvotes, const ulong dvotes_offset,
    __global const float *restrict couplings, const ulong couplings_offset,
    __global const float *restrict gs, const ulong gs_offset, __global const float *restrict g,
    const ulong g_offset, __global const float *restrict v, const ulong v_offset,
    const uint b_count, const uint i_count, const uint j_count, const uint d_count,
    const uint steps, const size_t id0, const size_t id1)
{
    const uint i0 = (uint)id0 * ROUTING_CHUNK, e_count = j_count * d_count;
    const uint i1 = i0 + min((uint)ROUTING_CHUNK, i_count - i0);
    const ulong b = id1;
    const ulong links = (ulong)b_count * i_count * j_count, capsules = (ulong)b_count * e_count;
    for (uint i = i0; i < i1; i++)
        for (uint j = 0; j < j_count; j++) {
            const ulong link = (b * i_count + i) * j_count + j,
                        out = b * e_count + (ulong)j * d_count;
            __global float *to = dvotes + dvotes_offset + link * d_count;
            for (uint d = 0; d < d_count; d += 16) {
                const uint n = d_count - d;
                float16 sum = 0.0f;
                for (uint t = 0; t < steps; t++) {
                    const ulong capsule = t * capsules + out + d;
                    const float c = couplings[couplings_offset + t * links + link];
                    sum = fma((float16)c, caps_load16(gs + gs_offset + capsule, n, 0.0f), sum);
                    if (t + 1 < steps) {
                        const float next = g[g_offset + t * links + link];
                        sum = fma((float16)next, caps_load16(v + v_offset + capsule, n, 0.0f), sum);
                    }
                }
                caps_store16(sum, to + d, n);
            }
        }
}

CPU_KERNEL void routing_dvotes(__global float *restrict dvotes, const ulong dvotes_offset,
    __global const float *restrict couplings, const ulong couplings_offset,
    __global const float *restrict gs, const ulong gs_offset, __global const float *restrict g,
    const ulong g_offset, __global const float *restrict v, const ulong v_offset,
    const uint b_count, const uint i_count, const uint j_count, const uint d_count,
    const uint steps)
{
    routing_dvotes_item(dvotes, dvotes_offset, couplings, couplings_offset, gs, gs_offset, g,
        g_offset, v, v_offset, b_count, i_count, j_count, d_count, steps, get_global_id(0),
        get_global_id(1));
}

// gs: [rows,J,D], rows = steps * B. Blocks of rows, then the blocks.
CPU_KERNEL void routing_dbias(__global float *restrict dbias, const ulong dbias_offset,
    __global const float *restrict gs, const ulong gs_offset, const uint rows, const uint j_count,
    const uint d_count)
{
    const ulong at = get_global_id(0) * (ulong)d_count, e_count = (ulong)j_count * d_count;
    for (uint d = 0; d < d_count; d += 16) {
        float16 total = 0.0f;
        for (uint first = 0; first < rows; first += ROUTING_BLOCK) {
            const uint end = first + min((uint)ROUTING_BLOCK, rows - first);
            float16 sum = 0.0f;
            for (uint row = first; row < end; row++)
                sum += caps_load16(gs + gs_offset + row * e_count + at + d, d_count - d, 0.0f);
            total += sum;
        }
        caps_store16(total, dbias + dbias_offset + at + d, d_count - d);
    }
}
