// routing_gpu.cl: routing by agreement over stored votes, GPU family; equations, shapes and the
// meaning of every argument as in routing_cpu.cl.
//
// Work (groups of L items along one dimension):
//   routing_pass, routing_back, and these with _max_min: group b * chunks + chunk takes
//     ROUTING_CHUNK input capsules of a sample, in three steps with the votes of the chunk (20 KB
//     for the paper's network) in the cache after the first: dot products, softmax or its gradient
//     (an item a capsule), weighted sum (an item an output, coalesced). Local memory holds a tile
//     of L * (width + 1) floats whatever J and D.
//   routing_reduce, routing_gs: `parts` rows of `width` lanes for each (b, j), see caps_row_sum. A
//     row adds up its part of the chunks; the first row adds up the parts and does what follows.
//   routing_dvotes: an item a vote; groups of a sample first, then the next sample.
//   routing_dbias: a group takes `columns` of the J D columns, L / columns rows at a time.
// Numerics: as in routing_cpu.cl, but lanes of a dot product are d, d + width, ..; their sums are
// added in order. A fixed order throughout, no assumption about warps.

#define ROUTING_CHUNK 32 // as in src/ops/routing.c

// dots[n] = votes[n,:] . x[n % J,:] for the n = i J + j of a chunk. Rows of `width` lanes multiply,
// so that reads are coalesced; the tile turns lanes into rows, and an item adds one row of lanes
// up.
static inline void routing_dots(__global float *dots, __global const float *votes,
    __global const float *x, __local float *tile, uint links, uint j_count, uint d_count,
    uint width)
{
    const uint item = get_local_id(0), size = get_local_size(0), lane = item & (width - 1);
    for (uint first = 0; first < links; first += size) {
        for (uint n = item / width; n < size; n += size / width) {
            const uint link = first + n;
            float sum = 0.0f;
            if (link < links) {
                __global const float *a = votes + (ulong)link * d_count;
                __global const float *b = x + (ulong)(link % j_count) * d_count;
                for (uint d = lane; d < d_count; d += width)
                    sum = fma(a[d], b[d], sum);
            }
            tile[n * (width + 1) + lane] = sum;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (first + item < links) {
            float sum = 0.0f;
            for (uint l = 0; l < width; l++)
                sum += tile[item * (width + 1) + l];
            dots[first + item] = sum;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
}

// sum[e] = sum over the chunk's capsules i of weights[i, e / D] votes[i, e]
static inline void routing_add_votes(__global float *sum, __global const float *weights,
    __global const float *votes, uint capsules, uint j_count, uint d_count)
{
    const uint e_count = j_count * d_count;
    for (uint e = get_local_id(0); e < e_count; e += get_local_size(0)) {
        const uint j = e / d_count;
        float total = 0.0f;
        for (uint i = 0; i < capsules; i++)
            total = fma(weights[(ulong)i * j_count + j], votes[(ulong)i * e_count + e], total);
        sum[e] = total;
    }
}

__kernel void routing_pass(__global float *partial, const ulong partial_offset,
    __global float *couplings, const ulong couplings_offset, __global const float *votes,
    const ulong votes_offset, __global const float *x, const ulong x_offset, __local float *tile,
    const uint chunks, const uint i_count, const uint j_count, const uint d_count, const uint width,
    const uint first, const uint leaky)
{
    const ulong group = get_group_id(0), b = group / chunks;
    const uint e_count = j_count * d_count, size = get_local_size(0), item = get_local_id(0);
    const uint i0 = (uint)(group % chunks) * ROUTING_CHUNK;
    const uint capsules = min((uint)ROUTING_CHUNK, i_count - i0);
    __global const float *chunk_votes = votes + votes_offset + (b * i_count + i0) * e_count;
    __global float *c = couplings + couplings_offset + (b * i_count + i0) * j_count;
    if (first) {
        for (ulong n = item; n < (ulong)capsules * j_count; n += size)
            c[n] = 1.0f / (float)(j_count + leaky);
    } else {
        routing_dots(c, chunk_votes, x + x_offset + b * e_count, tile, capsules * j_count, j_count,
            d_count, width);
        for (uint i = item; i < capsules; i += size) {
            __global float *row = c + (ulong)i * j_count;
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
    routing_add_votes(
        partial + partial_offset + group * e_count, c, chunk_votes, capsules, j_count, d_count);
}

__kernel void routing_back(__global float *partial, const ulong partial_offset, __global float *g,
    const ulong g_offset, __global const float *votes, const ulong votes_offset,
    __global const float *gs, const ulong gs_offset, __global const float *couplings,
    const ulong couplings_offset, __global const float *next, const ulong next_offset,
    __local float *tile, const uint chunks, const uint i_count, const uint j_count,
    const uint d_count, const uint width)
{
    const ulong group = get_group_id(0), b = group / chunks;
    const uint e_count = j_count * d_count, size = get_local_size(0), item = get_local_id(0);
    const uint i0 = (uint)(group % chunks) * ROUTING_CHUNK;
    const uint capsules = min((uint)ROUTING_CHUNK, i_count - i0);
    const ulong at = (b * i_count + i0) * j_count;
    __global const float *chunk_votes = votes + votes_offset + (b * i_count + i0) * e_count;
    __global float *to = g + g_offset + at;
    routing_dots(to, chunk_votes, gs + gs_offset + b * e_count, tile, capsules * j_count, j_count,
        d_count, width);
    for (uint i = item; i < capsules; i += size) {
        __global const float *c = couplings + couplings_offset + at + (ulong)i * j_count;
        __global float *row = to + (ulong)i * j_count;
        float mean = 0.0f;
        for (uint j = 0; j < j_count; j++)
            mean = fma(c[j], row[j], mean);
        for (uint j = 0; j < j_count; j++) {
            const ulong slot = at + (ulong)i * j_count + j;
            const float later = caps_given(next_offset) ? next[next_offset + slot] : 0.0f;
            row[j] = fma(c[j], row[j] - mean, later);
        }
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
    routing_add_votes(
        partial + partial_offset + group * e_count, to, chunk_votes, capsules, j_count, d_count);
}

// c[0..n) = (c - min c) / (max c - min c), 1 where these are equal. first: all are 1, and c is not
// read.
static inline void routing_max_min(__global float *c, uint n, uint first)
{
    float top = first ? 0.0f : c[0], bottom = top;
    for (uint j = 1; j < n && !first; j++) {
        top = fmax(top, c[j]);
        bottom = fmin(bottom, c[j]);
    }
    const float range = top - bottom;
    const int even = range < FLT_MIN;
    for (uint j = 0; j < n; j++)
        c[j] = even || c[j] == top ? 1.0f : fmin((c[j] - bottom) / range, 1.0f);
}

__kernel void routing_pass_max_min(__global float *partial, const ulong partial_offset,
    __global float *couplings, const ulong couplings_offset, __global const float *votes,
    const ulong votes_offset, __global const float *x, const ulong x_offset, __local float *tile,
    const uint chunks, const uint i_count, const uint j_count, const uint d_count, const uint width,
    const uint first)
{
    const ulong group = get_group_id(0), b = group / chunks;
    const uint e_count = j_count * d_count, size = get_local_size(0), item = get_local_id(0);
    const uint i0 = (uint)(group % chunks) * ROUTING_CHUNK;
    const uint capsules = min((uint)ROUTING_CHUNK, i_count - i0);
    __global const float *chunk_votes = votes + votes_offset + (b * i_count + i0) * e_count;
    __global float *c = couplings + couplings_offset + (b * i_count + i0) * j_count;
    // No branch for the first iteration: PoCL 3.1 made of one code that wrote where it must not.
    routing_dots(c, chunk_votes, x + x_offset + b * e_count, tile, first ? 0 : capsules * j_count,
        j_count, d_count, width);
    for (uint i = item; i < capsules; i += size)
        routing_max_min(c + (ulong)i * j_count, j_count, first);
    barrier(CLK_GLOBAL_MEM_FENCE);
    routing_add_votes(
        partial + partial_offset + group * e_count, c, chunk_votes, capsules, j_count, d_count);
}

// votes_j . (v_0 + .. + v_{steps-1}) of one link, added up as routing_dots does; v: of the first
// iteration, apart: to the next one.
static inline float routing_logit(__global const float *vote, __global const float *v,
    const ulong apart, uint steps, uint d_count, uint width)
{
    float logit = 0.0f;
    for (uint lane = 0; lane < width; lane++) {
        float sum = 0.0f;
        for (uint d = lane; d < d_count; d += width) {
            float x = v[d];
            for (uint t = 1; t < steps; t++)
                x += v[t * apart + d];
            sum = fma(vote[d], x, sum);
        }
        logit += sum;
    }
    return logit;
}

// g[0..n) holds dc on entry, and on return dc's part of G_t.
static inline void routing_max_min_gradient(__global float *g, __global const float *c,
    __global const float *votes, __global const float *v, const ulong apart, uint steps, uint n,
    uint d_count, uint width)
{
    uint top = 0, bottom = 0;
    float sum = 0.0f, mean = 0.0f, inverse = 0.0f;
    for (uint j = 0; j < n; j++) {
        top = c[j] > c[top] ? j : top;
        bottom = c[j] < c[bottom] ? j : bottom;
        sum += g[j];
        mean = fma(c[j], g[j], mean);
    }
    if (c[bottom] != 1.0f) {
        const ulong high = (ulong)top * d_count, low = (ulong)bottom * d_count;
        const float range = routing_logit(votes + high, v + high, apart, steps, d_count, width) -
                            routing_logit(votes + low, v + low, apart, steps, d_count, width);
        inverse = range >= FLT_MIN || isnan(range) ? 1.0f / range : 0.0f;
    }
    for (uint j = 0; j < n; j++) {
        const float extreme = j == top ? mean : j == bottom ? sum - mean : 0.0f;
        g[j] = (g[j] - extreme) * inverse;
    }
}

__kernel void routing_back_max_min(__global float *partial, const ulong partial_offset,
    __global float *g, const ulong g_offset, __global const float *votes, const ulong votes_offset,
    __global const float *gs, const ulong gs_offset, __global const float *couplings,
    const ulong couplings_offset, __global const float *next, const ulong next_offset,
    __global const float *v, const ulong v_offset, __local float *tile, const uint chunks,
    const uint i_count, const uint j_count, const uint d_count, const uint width, const uint steps,
    const uint samples)
{
    const ulong group = get_group_id(0), b = group / chunks;
    const uint e_count = j_count * d_count, size = get_local_size(0), item = get_local_id(0);
    const uint i0 = (uint)(group % chunks) * ROUTING_CHUNK;
    const uint capsules = min((uint)ROUTING_CHUNK, i_count - i0);
    const ulong at = (b * i_count + i0) * j_count;
    __global const float *chunk_votes = votes + votes_offset + (b * i_count + i0) * e_count;
    __global float *to = g + g_offset + at;
    routing_dots(to, chunk_votes, gs + gs_offset + b * e_count, tile, capsules * j_count, j_count,
        d_count, width);
    for (uint i = item; i < capsules; i += size) {
        __global float *row = to + (ulong)i * j_count;
        routing_max_min_gradient(row, couplings + couplings_offset + at + (ulong)i * j_count,
            chunk_votes + (ulong)i * e_count, v + v_offset + b * e_count, (ulong)samples * e_count,
            steps, j_count, d_count, width);
        for (uint j = 0; caps_given(next_offset) && j < j_count; j++)
            row[j] += next[next_offset + at + (ulong)i * j_count + j];
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
    routing_add_votes(
        partial + partial_offset + group * e_count, to, chunk_votes, capsules, j_count, d_count);
}

// Where an item of routing_reduce and routing_gs stands.
typedef struct routing_row {
    ulong row;              // b J + j
    uint lane, part, count; // count: D; 0 past the last row
} routing_row;

static inline routing_row routing_row_of(uint rows, uint d_count, uint width, uint parts)
{
    const uint per_group = (uint)get_local_size(0) / (width * parts), item = get_local_id(0);
    routing_row it;
    it.row = (ulong)get_group_id(0) * per_group + item / (width * parts);
    it.lane = item & (width - 1);
    it.part = item / width % parts;
    it.count = it.row < rows ? d_count : 0;
    return it;
}

// The sum of output d over the chunks, for the row's first part; all items of the group call. from:
// of the first chunk and d = 0; step: from one chunk to the next.
static inline float routing_total(const routing_row *it, __global const float *from, uint step,
    uint chunks, uint d, __local float *scratch, uint width, uint parts)
{
    const uint item = get_local_id(0), size = (chunks + parts - 1) / parts;
    const uint end = min((it->part + 1) * size, chunks);
    float total = 0.0f;
    if (d < it->count) {
        __global const float *at = from + d + (ulong)it->part * size * step;
        for (uint n = it->part * size; n < end; n++, at += step)
            total += *at;
    }
    scratch[item] = total;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint n = 1; n < parts && it->part == 0; n++)
        total += scratch[item + n * width];
    barrier(CLK_LOCAL_MEM_FENCE);
    return total;
}

__kernel void routing_reduce(__global float *s, const ulong s_offset, __global float *v,
    const ulong v_offset, __global float *x, const ulong x_offset, __global float *v_last,
    const ulong v_last_offset, __global const float *partial, const ulong partial_offset,
    __global const float *bias, const ulong bias_offset, __local float *scratch, const uint rows,
    const uint chunks, const uint j_count, const uint d_count, const uint width, const uint parts,
    const uint squash, const uint first)
{
    const routing_row it = routing_row_of(rows, d_count, width, parts);
    const uint j = (uint)(it.row % j_count), e_count = j_count * d_count;
    const uint count = it.part == 0 ? it.count : 0;
    const ulong at = it.row * d_count;
    const ulong from = partial_offset + it.row / j_count * chunks * e_count + (ulong)j * d_count;

    float top = 0.0f, square = 0.0f;
    for (uint d0 = 0; d0 < d_count; d0 += width) {
        const uint d = d0 + it.lane;
        float total = routing_total(&it, partial + from, e_count, chunks, d, scratch, width, parts);
        if (d < count) {
            if (caps_given(bias_offset))
                total += bias[bias_offset + (ulong)j * d_count + d];
            s[s_offset + at + d] = total;
            top = fmax(top, fabs(total));
        }
    }
    const float scale = caps_length_scale(caps_row_max(scratch, width, top));
    for (uint d = it.lane; d < count; d += width) {
        const float scaled = s[s_offset + at + d] * scale;
        square = fma(scaled, scaled, square);
    }
    const float length = sqrt(caps_row_sum(scratch, width, square)) / scale;
    const float factor = caps_squash_factor(length, squash);
    for (uint d = it.lane; d < count; d += width) {
        const float value = s[s_offset + at + d] * factor;
        v[v_offset + at + d] = value;
        if (caps_given(x_offset))
            x[x_offset + at + d] = first ? value : x[x_offset + at + d] + value;
        if (caps_given(v_last_offset))
            v_last[v_last_offset + at + d] = value;
    }
}

__kernel void routing_gs(__global float *gs, const ulong gs_offset, __global const float *partial,
    const ulong partial_offset, __global const float *s, const ulong s_offset,
    __local float *scratch, const uint rows, const uint chunks, const uint j_count,
    const uint d_count, const uint width, const uint parts, const uint squash)
{
    const routing_row it = routing_row_of(rows, d_count, width, parts);
    const uint j = (uint)(it.row % j_count), e_count = j_count * d_count;
    const uint count = it.part == 0 ? it.count : 0;
    const ulong at = it.row * d_count;
    const ulong from = partial_offset + it.row / j_count * chunks * e_count + (ulong)j * d_count;
    __global float *to = gs + gs_offset + at;
    for (uint d0 = 0; d0 < d_count; d0 += width) {
        const uint d = d0 + it.lane;
        const float total =
            routing_total(&it, partial + from, e_count, chunks, d, scratch, width, parts);
        if (d < count)
            to[d] = total;
    }
    caps_squash_gradient_row(to, to, s + s_offset + at, scratch, count, width, squash);
}

__kernel void routing_dvotes(__global float *restrict dvotes, const ulong dvotes_offset,
    __global const float *restrict couplings, const ulong couplings_offset,
    __global const float *restrict gs, const ulong gs_offset, __global const float *restrict g,
    const ulong g_offset, __global const float *restrict v, const ulong v_offset,
    const uint b_count, const uint i_count, const uint j_count, const uint d_count,
    const uint steps)
{
    const uint e_count = j_count * d_count, votes = i_count * e_count, size = get_local_size(0);
    const uint across = (votes - 1) / size + 1;
    const ulong b = get_group_id(0) / across;
    const ulong x = (get_group_id(0) % across) * (ulong)size + get_local_id(0);
    if (x >= votes)
        return;
    const ulong links = (ulong)b_count * i_count * j_count, capsules = (ulong)b_count * e_count;
    const ulong link = b * i_count * j_count + (uint)x / d_count;
    const ulong out = b * e_count + (uint)x % e_count;
    float sum = 0.0f;
    for (uint t = 0; t < steps; t++) {
        sum = fma(couplings[couplings_offset + t * links + link],
            gs[gs_offset + t * capsules + out], sum);
        if (t + 1 < steps)
            sum = fma(g[g_offset + t * links + link], v[v_offset + t * capsules + out], sum);
    }
    dvotes[dvotes_offset + b * votes + x] = sum;
}

// columns: a power of two that divides L. scratch: L floats. Each item adds up its rows in order,
// then the items of a column as a tree.
__kernel void routing_dbias(__global float *restrict dbias, const ulong dbias_offset,
    __global const float *restrict gs, const ulong gs_offset, __local float *scratch,
    const uint rows, const uint j_count, const uint d_count, const uint columns)
{
    const uint item = get_local_id(0), step = (uint)get_local_size(0) / columns;
    const uint e_count = j_count * d_count;
    const ulong e = (ulong)get_group_id(0) * columns + item % columns;
    float sum = 0.0f;
    if (e < e_count)
        for (uint row = item / columns; row < rows; row += step)
            sum += gs[gs_offset + (ulong)row * e_count + e];
    sum = caps_column_sum(scratch, columns, sum);
    if (item < columns && e < e_count)
        dbias[dbias_offset + e] = sum;
}
