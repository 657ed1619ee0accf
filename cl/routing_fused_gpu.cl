// routing_fused_gpu.cl: class capsules with routing by agreement, votes never stored, GPU family.
// Equations as in routing_cpu.cl, with votes[b,i,j,d] = sum_k w[i,j,d,k] u[b,i,k] formed anew
// wherever they are needed. routing_reduce, routing_gs and routing_dbias of routing_gpu.cl complete
// them.
//
// Shapes, row-major: u, du [B,I,K]; w, dw [I,J,D,K]; couplings, G [B,I,J] for each t; x, s, v, gs
// [B,J,D]; partial [B,chunks,J,D]: sums over one chunk of FUSED_CHUNK input capsules.
//
// Work (groups of L items along one dimension; FUSED_SAMPLES samples share what is read of w):
//   routing_fused_pass, _back: group p * chunks + chunk takes a chunk of block p of samples, in
//   three
//     steps: dot products (rows of `width` lanes over d; `tile` turns lanes into rows, and an item
//     adds
//     one row up), softmax or its gradient (an item a capsule), weighted sum (an item an output).
//   routing_fused_du: group p * ceil(I / C) + n takes C = L / width capsules; a row of `width`
//   lanes is a
//     capsule's k. dvotes of FUSED_STEP outputs at a time lie in `tile`, for all k.
//   routing_fused_dw: an item takes one (i,j,d) and eight k; groups of eight k one after the other.
// Numerics: as in routing_gpu.cl: lanes of a dot product are d, d + width, ..; their sums are added
// in order; dw in blocks of samples. A fixed order throughout, no assumption about warps.

#define FUSED_CHUNK   32 // as in src/ops/routing_fused_gpu.c
#define FUSED_SAMPLES 4  // the same
#define FUSED_STEP    16 // the same
#define FUSED_BLOCK   64

// votes[s] = w[0..K) . u of sample s, for the samples at hand.
static inline void fused_votes(float *votes, __global const float *w, __global const float *u,
    ulong u_step, uint samples, uint k_count)
{
    UNROLL for (uint s = 0; s < FUSED_SAMPLES; s++)
        votes[s] = 0.0f;
    for (uint k = 0; k < k_count; k++) {
        const float weight = w[k];
        UNROLL for (uint s = 0; s < FUSED_SAMPLES; s++)
            if (s < samples)
                votes[s] = fma(weight, u[s * u_step + k], votes[s]);
    }
}

// A work-group's chunk of capsules of its block of samples.
typedef struct fused_chunk {
    ulong b;    // the first sample
    ulong part; // the first sample's partial sums, counted in chunks
    uint samples, i, capsules;
} fused_chunk;

static inline fused_chunk fused_chunk_of(uint chunks, uint b_count, uint i_count)
{
    fused_chunk it;
    const uint chunk = (uint)(get_group_id(0) % chunks);
    it.b = get_group_id(0) / chunks * FUSED_SAMPLES;
    it.part = it.b * chunks + chunk;
    it.samples = min((uint)FUSED_SAMPLES, b_count - (uint)it.b);
    it.i = chunk * FUSED_CHUNK;
    it.capsules = min((uint)FUSED_CHUNK, i_count - it.i);
    return it;
}

// dots[s, n] = votes . x for the links n = i J + j of a chunk and its samples. u, w, dots: of the
// first capsule; dots_step, u_step, x_step: elements from one sample to the next. tile:
// FUSED_SAMPLES * max(1, L / FUSED_SAMPLES) * (width + 1).
static inline void fused_dots(__global float *dots, ulong dots_step, __global const float *u,
    ulong u_step, __global const float *w, __global const float *x, __local float *tile,
    const fused_chunk *it, uint j_count, uint d_count, uint k_count, uint width)
{
    const uint item = get_local_id(0), size = get_local_size(0), lane = item & (width - 1);
    const uint round = max(1u, size / FUSED_SAMPLES), links = it->capsules * j_count;
    const ulong x_step = (ulong)j_count * d_count;
    for (uint first = 0; first < links; first += round) {
        for (uint n = item / width; n < round; n += size / width) {
            const uint link = first + n, i = link / j_count, j = link % j_count;
            float votes[FUSED_SAMPLES], sums[FUSED_SAMPLES];
            UNROLL for (uint s = 0; s < FUSED_SAMPLES; s++)
                sums[s] = 0.0f;
            if (link < links) {
                for (uint d = lane; d < d_count; d += width) {
                    fused_votes(votes, w + ((ulong)link * d_count + d) * k_count,
                        u + (ulong)i * k_count, u_step, it->samples, k_count);
                    UNROLL for (uint s = 0; s < FUSED_SAMPLES; s++)
                        if (s < it->samples)
                            sums[s] =
                                fma(votes[s], x[s * x_step + (ulong)j * d_count + d], sums[s]);
                }
            }
            UNROLL for (uint s = 0; s < FUSED_SAMPLES; s++)
                tile[(s * round + n) * (width + 1) + lane] = sums[s];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint n = item; n < round * it->samples; n += size) {
            const uint s = n / round, link = first + n % round;
            float sum = 0.0f;
            for (uint l = 0; l < width; l++)
                sum += tile[n * (width + 1) + l];
            if (link < links)
                dots[s * dots_step + link] = sum;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
}

// partial[s, e] = sum over the chunk's capsules of weights[s, i, j] votes[s, i, e]
static inline void fused_add_votes(__global float *partial, ulong partial_step,
    __global const float *weights, ulong weights_step, __global const float *u, ulong u_step,
    __global const float *w, const fused_chunk *it, uint j_count, uint d_count, uint k_count)
{
    const uint e_count = j_count * d_count;
    for (uint e = get_local_id(0); e < e_count; e += get_local_size(0)) {
        float votes[FUSED_SAMPLES], sums[FUSED_SAMPLES];
        UNROLL for (uint s = 0; s < FUSED_SAMPLES; s++)
            sums[s] = 0.0f;
        for (uint i = 0; i < it->capsules; i++) {
            fused_votes(votes, w + ((ulong)i * e_count + e) * k_count, u + (ulong)i * k_count,
                u_step, it->samples, k_count);
            UNROLL for (uint s = 0; s < FUSED_SAMPLES; s++)
                if (s < it->samples)
                    sums[s] = fma(weights[s * weights_step + (ulong)i * j_count + e / d_count],
                        votes[s], sums[s]);
        }
        UNROLL for (uint s = 0; s < FUSED_SAMPLES; s++)
            if (s < it->samples)
                partial[s * partial_step + e] = sums[s];
    }
}

// first: t = 0, where x is not read. leaky: 0 or 1.
__kernel void routing_fused_pass(__global float *partial, const ulong partial_offset,
    __global float *couplings, const ulong couplings_offset, __global const float *u,
    const ulong u_offset, __global const float *w, const ulong w_offset, __global const float *x,
    const ulong x_offset, __local float *tile, const uint chunks, const uint b_count,
    const uint i_count, const uint j_count, const uint d_count, const uint k_count,
    const uint width, const uint first, const uint leaky)
{
    const fused_chunk it = fused_chunk_of(chunks, b_count, i_count);
    const uint item = get_local_id(0), size = get_local_size(0), e_count = j_count * d_count;
    const ulong u_step = (ulong)i_count * k_count, c_step = (ulong)i_count * j_count;
    __global const float *inputs = u + u_offset + it.b * u_step + (ulong)it.i * k_count;
    __global const float *weights = w + w_offset + (ulong)it.i * e_count * k_count;
    __global float *c = couplings + couplings_offset + it.b * c_step + (ulong)it.i * j_count;
    if (first) {
        for (uint s = 0; s < it.samples; s++)
            for (uint n = item; n < it.capsules * j_count; n += size)
                c[s * c_step + n] = 1.0f / (float)(j_count + leaky);
    } else {
        fused_dots(c, c_step, inputs, u_step, weights, x + x_offset + it.b * e_count, tile, &it,
            j_count, d_count, k_count, width);
        for (uint n = item; n < it.samples * it.capsules; n += size) {
            __global float *row =
                c + n / it.capsules * c_step + (ulong)(n % it.capsules) * j_count;
            float top = leaky ? fmax(row[0], 0.0f) : row[0];
            for (uint j = 1; j < j_count; j++)
                top = fmax(top, row[j]);
            float sum = leaky ? exp(-top) : 0.0f;
            for (uint j = 0; j < j_count; j++) {
                const float e = exp(row[j] - top);
                row[j] = e;
                sum += e;
            }
            const float scale = 1.0f / sum;
            for (uint j = 0; j < j_count; j++)
                row[j] *= scale;
        }
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
    fused_add_votes(partial + partial_offset + it.part * e_count, (ulong)chunks * e_count, c,
        c_step, inputs, u_step, weights, &it, j_count, d_count, k_count);
}

// couplings: c_t; next: G_{t+1}, optional.
__kernel void routing_fused_back(__global float *partial, const ulong partial_offset,
    __global float *g, const ulong g_offset, __global const float *u, const ulong u_offset,
    __global const float *w, const ulong w_offset, __global const float *gs, const ulong gs_offset,
    __global const float *couplings, const ulong couplings_offset, __global const float *next,
    const ulong next_offset, __local float *tile, const uint chunks, const uint b_count,
    const uint i_count, const uint j_count, const uint d_count, const uint k_count,
    const uint width)
{
    const fused_chunk it = fused_chunk_of(chunks, b_count, i_count);
    const uint item = get_local_id(0), size = get_local_size(0), e_count = j_count * d_count;
    const ulong u_step = (ulong)i_count * k_count, c_step = (ulong)i_count * j_count;
    const ulong at = it.b * c_step + (ulong)it.i * j_count;
    __global const float *inputs = u + u_offset + it.b * u_step + (ulong)it.i * k_count;
    __global const float *weights = w + w_offset + (ulong)it.i * e_count * k_count;
    fused_dots(g + g_offset + at, c_step, inputs, u_step, weights, gs + gs_offset + it.b * e_count,
        tile, &it, j_count, d_count, k_count, width);
    for (uint n = item; n < it.samples * it.capsules; n += size) {
        const ulong row = at + n / it.capsules * c_step + (ulong)(n % it.capsules) * j_count;
        float mean = 0.0f;
        for (uint j = 0; j < j_count; j++)
            mean = fma(couplings[couplings_offset + row + j], g[g_offset + row + j], mean);
        for (uint j = 0; j < j_count; j++) {
            const float later = caps_given(next_offset) ? next[next_offset + row + j] : 0.0f;
            g[g_offset + row + j] =
                fma(couplings[couplings_offset + row + j], g[g_offset + row + j] - mean, later);
        }
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
    fused_add_votes(partial + partial_offset + it.part * e_count, (ulong)chunks * e_count,
        g + g_offset + at, c_step, inputs, u_step, weights, &it, j_count, d_count, k_count);
}

// What the gradient of a vote is made of: see routing_dvotes.
typedef struct fused_terms {
    __global const float *couplings, *gs, *g, *v;
    ulong links, capsules; // elements of an iteration
    uint steps;
} fused_terms;

// dvotes of one link, (b I + i) J + j, and output, b J D + j D + d.
static inline float fused_dvote(const fused_terms *p, ulong link, ulong out)
{
    float sum = 0.0f;
    for (uint t = 0; t < p->steps; t++) {
        sum = fma(p->couplings[t * p->links + link], p->gs[t * p->capsules + out], sum);
        if (t + 1 < p->steps)
            sum = fma(p->g[t * p->links + link], p->v[t * p->capsules + out], sum);
    }
    return sum;
}

// tile: FUSED_SAMPLES * C * FUSED_STEP floats.
__kernel void routing_fused_du(__global float *restrict du, const ulong du_offset,
    __global const float *restrict couplings, const ulong couplings_offset,
    __global const float *restrict gs, const ulong gs_offset, __global const float *restrict g,
    const ulong g_offset, __global const float *restrict v, const ulong v_offset,
    __global const float *restrict w, const ulong w_offset, __local float *tile,
    const uint b_count, const uint i_count, const uint j_count, const uint d_count,
    const uint k_count, const uint steps, const uint width)
{
    const uint item = get_local_id(0), size = get_local_size(0), lane = item & (width - 1);
    const uint capsules = size / width, across = (i_count - 1) / capsules + 1;
    const uint e_count = j_count * d_count, i0 = (uint)(get_group_id(0) % across) * capsules;
    const uint n = item / width, i = i0 + n;
    const ulong b = get_group_id(0) / across * FUSED_SAMPLES;
    const uint samples = min((uint)FUSED_SAMPLES, b_count - (uint)b);
    const fused_terms p = {couplings + couplings_offset, gs + gs_offset, g + g_offset,
        v + v_offset, (ulong)b_count * i_count * j_count, (ulong)b_count * e_count, steps};
    for (uint k0 = 0; k0 < k_count; k0 += width) {
        const uint k = k0 + lane;
        const int mine = i < i_count && k < k_count;
        float sums[FUSED_SAMPLES];
        UNROLL for (uint s = 0; s < FUSED_SAMPLES; s++)
            sums[s] = 0.0f;
        for (uint e0 = 0; e0 < e_count; e0 += FUSED_STEP) {
            const uint count = min((uint)FUSED_STEP, e_count - e0);
            for (uint x = item; x < samples * capsules * FUSED_STEP; x += size) {
                const uint e = e0 + x % FUSED_STEP, row = x / FUSED_STEP;
                const uint from = i0 + row % capsules;
                const ulong sample = b + row / capsules;
                if (e < e_count && from < i_count)
                    tile[x] = fused_dvote(&p, (sample * i_count + from) * j_count + e / d_count,
                        sample * e_count + e);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            if (mine) {
                __global const float *weights =
                    w + w_offset + ((ulong)i * e_count + e0) * k_count + k;
                for (uint e = 0; e < count; e++) {
                    const float weight = weights[(ulong)e * k_count];
                    UNROLL for (uint s = 0; s < FUSED_SAMPLES; s++)
                        if (s < samples)
                            sums[s] = fma(
                                weight, tile[(s * capsules + n) * FUSED_STEP + e], sums[s]);
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (mine)
            for (uint s = 0; s < samples; s++)
                du[du_offset + ((b + s) * i_count + i) * k_count + k] = sums[s];
    }
}

__kernel void routing_fused_dw(__global float *restrict dw, const ulong dw_offset,
    __global const float *restrict couplings, const ulong couplings_offset,
    __global const float *restrict gs, const ulong gs_offset, __global const float *restrict g,
    const ulong g_offset, __global const float *restrict v, const ulong v_offset,
    __global const float *restrict u, const ulong u_offset, const uint b_count,
    const uint i_count, const uint j_count, const uint d_count, const uint k_count,
    const uint steps)
{
    const uint e_count = j_count * d_count, outputs = i_count * e_count, size = get_local_size(0);
    const uint across = (outputs - 1) / size + 1;
    const ulong x = (get_group_id(0) % across) * (ulong)size + get_local_id(0);
    const uint k0 = (uint)(get_group_id(0) / across) * 8, count = min(8u, k_count - k0);
    if (x >= outputs)
        return;
    const uint i = (uint)x / e_count, e = (uint)x % e_count;
    const ulong links = (ulong)i_count * j_count, u_step = (ulong)i_count * k_count;
    const fused_terms p = {couplings + couplings_offset, gs + gs_offset, g + g_offset,
        v + v_offset, b_count * links, (ulong)b_count * e_count, steps};
    __global const float *inputs = u + u_offset + (ulong)i * k_count + k0;
    __global float *to = dw + dw_offset + x * k_count + k0;
    float totals[8], sums[8];
    UNROLL for (uint n = 0; n < 8; n++)
        totals[n] = 0.0f;
    for (uint first = 0; first < b_count; first += FUSED_BLOCK) {
        const uint end = first + min((uint)FUSED_BLOCK, b_count - first);
        UNROLL for (uint n = 0; n < 8; n++)
            sums[n] = 0.0f;
        for (uint b = first; b < end; b++) {
            const float value =
                fused_dvote(&p, b * links + (uint)x / d_count, (ulong)b * e_count + e);
            UNROLL for (uint n = 0; n < 8; n++)
                if (n < count)
                    sums[n] = fma(value, inputs[b * u_step + n], sums[n]);
        }
        UNROLL for (uint n = 0; n < 8; n++)
            totals[n] += sums[n];
    }
    UNROLL for (uint n = 0; n < 8; n++)
        if (n < count)
            to[n] = totals[n];
}
