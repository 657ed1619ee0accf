// routing_fused_cpu.cl: class capsules with routing by agreement, votes never stored, CPU family.
// Equations as in routing_cpu.cl, with votes[b,i,j,:] = W[i,j] u[b,i] formed anew wherever they are
// needed: at batch 100 of the paper's network they are 0.3 Gflop, but 74 MB.
//
// Sixteen samples lie in the sixteen lanes ("a group"), so that W is read in its own layout, as
// scalars that all lanes share, and everything about j and d is a loop, not a shuffle. One pass
// over the votes does dot product, softmax (or its gradient) and weighted sum.
//
// Shapes, row-major: u, du [B,I,K]; w, dw [I,J,D,K]; couplings [B,I,J] for each t; s, v, gs, dv
// [B,J,D]. "lanes" below is [.., 16], the sample within its group; N terms, S = N + 1 slots if
// there is a base:
//     partial [groups,chunks,J,D,lanes]  sums over one chunk of FUSED_CHUNK input capsules
//     x       [groups,J,D,lanes]         v_0 + .. + v_{t-1}
//     coef    [groups,I,J,N,lanes]       dvotes = base + sum_n coef_n vec_n: c_1, G_1, c_2, G_2,
//     .., vec     [groups,J,S,D,lanes]       and gs_1, v_0, gs_2, v_1, .., gs_0 c_0 (the base) z
//     [J,ceil(D/16),B,S,16]      vec once more, d in the lanes, zeros beyond D
// The couplings of constant-couplings mode are one term without a base; one iteration is a base
// only.
//
// Work: items (chunk, group) of routing_fused_first, _pass, _back, _lanes, _du; (j, group) of
//       routing_fused_reduce, _gs; item n of routing_fused_dw takes FUSED_BLOCK input capsules.
//       Each item of a pass has an area of its own: u of a tile of FUSED_TILE capsules, votes of
//       two capsules, and dot products or couplings of the tile.
// Numerics: exp is a polynomial of 1 ulp or so; the maximum is subtracted before. Sums over i:
// within a
//       chunk in order, then the chunks in order; sums over b (dw) in order. A sample's lane sees
//       no other: its bits depend on nothing else in the batch, and the lanes beyond the batch hold
//       zeros that nobody stores. Fixed order throughout.

#define FUSED_CHUNK 64 // as in src/ops/routing_fused.c; a multiple of FUSED_TILE
#define FUSED_TILE  16 // the same
#define FUSED_BLOCK 8  // the same

// Compilers that optimize: loops into the kernels, or sizes that are constants there would not be
// known here, but what is large and called often as functions, or compiling takes seconds a kernel;
// shuffles as such; and Clang's prefetch, for OpenCL's does nothing in PoCL. (Oclgrind does not
// know all of this, but it is given code that is not optimized.)
#if defined(__clang__) && defined(__OPTIMIZE__)
#define FUSED_INLINE      static inline __attribute__((always_inline))
#define FUSED_FUNCTION    static __attribute__((noinline))
#define FUSED_PREFETCH(p) __builtin_prefetch((const void *)(size_t)(p), 0, 3)
#define FUSED_LOW(a, b)                                                                            \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define FUSED_HIGH(a, b)                                                                           \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#else
#define FUSED_INLINE      static inline
#define FUSED_FUNCTION    static
#define FUSED_PREFETCH(p) (void)(p)
#define FUSED_LOW(a, b)                                                                            \
    (float16)((a).s0, (b).s0, (a).s1, (b).s1, (a).s2, (b).s2, (a).s3, (b).s3, (a).s4, (b).s4,      \
        (a).s5, (b).s5, (a).s6, (b).s6, (a).s7, (b).s7)
#define FUSED_HIGH(a, b)                                                                           \
    (float16)((a).s8, (b).s8, (a).s9, (b).s9, (a).sa, (b).sa, (a).sb, (b).sb, (a).sc, (b).sc,      \
        (a).sd, (b).sd, (a).se, (b).se, (a).sf, (b).sf)
#endif

// As vstore16, which PoCL 3.1 makes four stores of.
typedef float16 fused_loose __attribute__((aligned(4)));
FUSED_INLINE void fused_put(float16 x, ulong n, __global float *p)
{
    *(__global fused_loose *)(p + n * 16) = x;
}

// ---- samples into lanes and back
// ------------------------------------------------------------------

// x becomes its transpose: four perfect shuffles of rows and lanes.
FUSED_INLINE void fused_transpose(float16 *x)
{
    float16 y[16];
    UNROLL for (uint stage = 0; stage < 2; stage++)
    {
        UNROLL for (uint n = 0; n < 8; n++)
        {
            y[2 * n] = FUSED_LOW(x[n], x[n + 8]);
            y[2 * n + 1] = FUSED_HIGH(x[n], x[n + 8]);
        }
        UNROLL for (uint n = 0; n < 8; n++)
        {
            x[2 * n] = FUSED_LOW(y[n], y[n + 8]);
            x[2 * n + 1] = FUSED_HIGH(y[n], y[n + 8]);
        }
    }
}

// to[n][lane] = from[lane * stride + n] for n < count; zero where lane >= samples.
FUSED_FUNCTION void fused_load_lanes(
    __global float *to, __global const float *from, ulong stride, uint count, uint samples)
{
    uint n = 0;
    for (; count - n >= 16; n += 16) {
        float16 x[16];
        if (samples == 16) {
            UNROLL for (uint l = 0; l < 16; l++) x[l] = vload16(0, from + l * stride + n);
        } else {
            UNROLL for (uint l = 0; l < 16; l++) x[l] =
                l < samples ? vload16(0, from + (l < samples ? l : 0) * stride + n) : 0.0f;
        }
        fused_transpose(x);
        UNROLL for (uint m = 0; m < 16; m++) fused_put(x[m], 0, to + (ulong)(n + m) * 16);
    }
    for (; n < count; n++) {
        float lanes[16];
        for (uint l = 0; l < 16; l++)
            lanes[l] = l < samples ? from[l * stride + n] : 0.0f;
        fused_put(vload16(0, lanes), 0, to + (ulong)n * 16);
    }
}

// to[lane * stride + n] = from[n][lane] for n < count and lane < samples.
FUSED_FUNCTION void fused_store_lanes(
    __global float *to, ulong stride, __global const float *from, uint count, uint samples)
{
    uint n = 0;
    for (; count - n >= 16; n += 16) {
        float16 x[16];
        UNROLL for (uint m = 0; m < 16; m++) x[m] = vload16(n + m, from);
        fused_transpose(x);
        UNROLL for (uint l = 0; l < 16; l++) if (l < samples)
            fused_put(x[l], 0, to + l * stride + n);
    }
    for (; n < count; n++)
        for (uint l = 0; l < samples; l++)
            to[l * stride + n] = from[(ulong)n * 16 + l];
}

FUSED_INLINE uint fused_samples(ulong group, uint b_count)
{
    return min(16u, b_count - (uint)group * 16);
}

// ---- votes of one input capsule
// -------------------------------------------------------------------

// A block of n values of d for one (i, j): the votes, and their part of the dot product with x.
// k_count is a constant or the argument `any`.
#define FUSED_VOTES(n, name, k_count, unroll)                                                      \
    FUSED_INLINE float16 fused_votes_##name(__global float *votes, __global const float *w,        \
        __global const float *u, __global const float *x, const uint any)                          \
    {                                                                                              \
        float16 o[n], part[4] = {0.0f, 0.0f, 0.0f, 0.0f};                                          \
        const float16 head = vload16(0, u);                                                        \
        UNROLL for (uint d = 0; d < n; d++) o[d] = (float16)w[d * k_count] * head;                 \
        unroll for (uint k = 1; k < k_count; k++)                                                  \
        {                                                                                          \
            const float16 value = vload16(k, u);                                                   \
            UNROLL for (uint d = 0; d < n; d++) o[d] =                                             \
                fma((float16)w[d * k_count + k], value, o[d]);                                     \
        }                                                                                          \
        UNROLL for (uint d = 0; d < n; d++)                                                        \
        {                                                                                          \
            fused_put(o[d], d, votes);                                                             \
            part[d % 4] = fma(o[d], vload16(d, x), part[d % 4]);                                   \
        }                                                                                          \
        return (part[0] + part[1]) + (part[2] + part[3]);                                          \
    }
FUSED_VOTES(16, 16_8, 8, UNROLL)
FUSED_VOTES(16, 16, any, )
FUSED_VOTES(8, 8, any, )
FUSED_VOTES(4, 4, any, )
FUSED_VOTES(1, 1, any, )

// Calls step(name, n) for one block of n after the other until d is d_count; blocks of 16 have code
// of their own where K is 8.
#define FUSED_BLOCKS(step, k_count)                                                                \
    if (k_count == 8)                                                                              \
        while (d_count - d >= 16)                                                                  \
    step(16_8, 16) while (d_count - d >= 16) step(16, 16) if (d_count - d >= 8)                    \
        step(8, 8) if (d_count - d >= 4) step(4, 4) while (d < d_count) step(1, 1)

// dots[j] = votes[j,:] . x[j,:], with the votes stored. w: [J,D,K] of this capsule; x_step: rows of
// x from one j to the next.
FUSED_FUNCTION void fused_dots(__global float *dots, __global float *votes, __global const float *w,
    __global const float *u, __global const float *x, ulong x_step, uint j_count, uint d_count,
    uint k_count)
{
#define FUSED_STEP(name, n)                                                                        \
    {                                                                                              \
        const ulong e = (ulong)j * d_count + d;                                                    \
        dot += fused_votes_##name(                                                                 \
            votes + e * 16, w + e * k_count, u, x + (j * x_step + d) * 16, k_count);               \
        d += n;                                                                                    \
    }
    for (uint j = 0; j < j_count; j++) {
        float16 dot = 0.0f;
        uint d = 0;
        FUSED_BLOCKS(FUSED_STEP, k_count)
        fused_put(dot, j, dots);
    }
#undef FUSED_STEP
}

// sum[j,:] += a[j] votes[j,:]
FUSED_FUNCTION void fused_add(__global float *sum, __global const float *a,
    __global const float *votes, uint j_count, uint d_count)
{
    for (uint j = 0; j < j_count; j++) {
        const float16 weight = vload16(j, a);
        for (uint d = 0; d < d_count; d++) {
            const ulong e = (ulong)j * d_count + d;
            fused_put(fma(weight, vload16(e, votes), vload16(e, sum)), e, sum);
        }
    }
}

// sum[j,:] += a[j] votes[j,:] + a[J + j] votes[J + j,:]: two capsules at once halve what the sum
// costs.
FUSED_FUNCTION void fused_add_two(__global float *sum, __global const float *a,
    __global const float *votes, uint j_count, uint d_count)
{
    const ulong e_count = (ulong)j_count * d_count;
    __global const float *second_votes = votes + e_count * 16;
    for (uint j = 0; j < j_count; j++) {
        const float16 first = vload16(j, a), second = vload16(j_count + j, a);
        ulong e = (ulong)j * d_count;
        const ulong end = e + d_count;
        for (; end - e >= 8; e += 8)
            UNROLL for (uint d = 0; d < 8; d++)
            {
                const float16 more = fma(first, vload16(e + d, votes), vload16(e + d, sum));
                fused_put(fma(second, vload16(e + d, second_votes), more), e + d, sum);
            }
        for (; e < end; e++) {
            const float16 more = fma(first, vload16(e, votes), vload16(e, sum));
            fused_put(fma(second, vload16(e, second_votes), more), e, sum);
        }
    }
}

// ---- softmax
// --------------------------------------------------------------------------------------

// exp(x) for x <= 0: 2^n p(r) with r = x - n ln 2, Cephes' polynomial. Below -87 as at -87, where
// the result is all but 0; not a number stays that.
FUSED_INLINE float16 fused_exp(float16 x)
{
    x = x < -87.0f ? (float16)-87.0f : x;
    // Adding and taking away 1.5 * 2^23 rounds to a whole number.
    const float16 n = fma(x, (float16)1.44269504f, (float16)0x1.8p23f) - 0x1.8p23f;
    float16 r = fma(n, (float16)-0.693359375f, x);
    r = fma(n, (float16)2.12194440e-4f, r);
    float16 p = fma(r, (float16)1.9875691500e-4f, (float16)1.3981999507e-3f);
    p = fma(p, r, (float16)8.3334519073e-3f);
    p = fma(p, r, (float16)4.1665795894e-2f);
    p = fma(p, r, (float16)1.6666665459e-1f);
    p = fma(p, r, (float16)0.5f);
    p = fma(p, r * r, r + 1.0f);
    return p * as_float16((convert_int16(n) + 127) << 23);
}

// leaky: maximum and sum of these logits and of one more, 0.
FUSED_FUNCTION void fused_softmax(__global float *c, uint j_count, uint leaky)
{
    float16 top = vload16(0, c), sum = 0.0f;
    for (uint j = 1; j < j_count; j++)
        top = top > vload16(j, c) ? top : vload16(j, c);
    if (leaky) {
        top = top > 0.0f ? top : (float16)0.0f;
        sum = fused_exp(-top);
    }
    for (uint j = 0; j < j_count; j++) {
        const float16 e = fused_exp(vload16(j, c) - top);
        fused_put(e, j, c);
        sum += e;
    }
    const float16 scale = 1.0f / sum;
    for (uint j = 0; j < j_count; j++)
        fused_put(vload16(j, c) * scale, j, c);
}

// ---- forward
// --------------------------------------------------------------------------------------

// sum[0..n) += W u over the capsules of a tile, for n values of d of one j. w and u of the first
// capsule; i_step: elements of w from one capsule to the next.
#define FUSED_EVEN(n, name, k_count, unroll)                                                       \
    FUSED_INLINE void fused_even_##name(__global float *sum, __global const float *w,              \
        __global const float *u, ulong i_step, uint capsules, const uint any)                      \
    {                                                                                              \
        float16 total[n];                                                                          \
        UNROLL for (uint d = 0; d < n; d++) total[d] = vload16(d, sum);                            \
        for (uint i = 0; i < capsules; i++, w += i_step, u += k_count * 16)                        \
            unroll for (uint k = 0; k < k_count; k++)                                              \
            {                                                                                      \
                const float16 value = vload16(k, u);                                               \
                UNROLL for (uint d = 0; d < n; d++) total[d] =                                     \
                    fma((float16)w[d * k_count + k], value, total[d]);                             \
            }                                                                                      \
        UNROLL for (uint d = 0; d < n; d++) fused_put(total[d], d, sum);                           \
    }
FUSED_EVEN(16, 16_8, 8, UNROLL)
FUSED_EVEN(16, 16, any, )
FUSED_EVEN(8, 8, any, )
FUSED_EVEN(4, 4, any, )
FUSED_EVEN(1, 1, any, )

FUSED_FUNCTION void fused_even(__global float *sum, __global const float *w,
    __global const float *u, uint capsules, uint j_count, uint d_count, uint k_count)
{
    const ulong i_step = (ulong)j_count * d_count * k_count;
#define FUSED_STEP(name, n)                                                                        \
    {                                                                                              \
        const ulong e = (ulong)j * d_count + d;                                                    \
        fused_even_##name(sum + e * 16, w + e * k_count, u, i_step, capsules, k_count);            \
        d += n;                                                                                    \
    }
    for (uint j = 0; j < j_count; j++) {
        uint d = 0;
        FUSED_BLOCKS(FUSED_STEP, k_count)
    }
#undef FUSED_STEP
}

// Where an item's work lies: its group and chunk, and its part of the scratch.
typedef struct fused_item {
    ulong group, number;
    uint first, end, samples; // input capsules; lanes in use
} fused_item;

FUSED_INLINE fused_item fused_item_of(uint b_count, uint i_count)
{
    fused_item it;
    const uint chunk = get_global_id(1);
    it.group = get_global_id(0);
    it.number = it.group * get_global_size(1) + chunk;
    it.first = chunk * FUSED_CHUNK;
    it.end = it.first + min((uint)FUSED_CHUNK, i_count - it.first);
    it.samples = fused_samples(it.group, b_count);
    return it;
}

FUSED_INLINE void fused_clear(__global float *sum, uint rows)
{
    for (uint e = 0; e < rows; e++)
        fused_put((float16)0.0f, e, sum);
}

// Iteration 0: partial = sums of the votes, not yet times the couplings, which are 1 / J,
// leaky 1 / (J + 1). leaky: 0 or 1.
CPU_ITEM void routing_fused_first_item(__global float *partial, const ulong partial_offset,
    __global float *couplings, const ulong couplings_offset, __global float *areas,
    const ulong areas_offset, __global const float *u, const ulong u_offset,
    __global const float *w, const ulong w_offset, const uint b_count, const uint i_count,
    const uint j_count, const uint d_count, const uint k_count, const uint area, const uint leaky)
{
    const fused_item it = fused_item_of(b_count, i_count);
    const uint e_count = j_count * d_count;
    __global float *sum = partial + partial_offset + it.number * e_count * 16;
    __global float *lanes = areas + areas_offset + it.number * area;
    const float even = 1.0f / (float)(j_count + leaky);
    fused_clear(sum, e_count);
    for (uint i = it.first; i < it.end; i += FUSED_TILE) {
        const uint capsules = min((uint)FUSED_TILE, it.end - i);
        const ulong at = it.group * 16 * i_count + i;
        __global const float *weights = w + w_offset + (ulong)i * e_count * k_count;
        fused_load_lanes(lanes, u + u_offset + at * k_count, (ulong)i_count * k_count,
            capsules * k_count, it.samples);
        fused_even(sum, weights, lanes, capsules, j_count, d_count, k_count);
        for (uint l = 0; l < it.samples; l++) {
            __global float *c = couplings + couplings_offset + (at + (ulong)l * i_count) * j_count;
            uint n = 0;
            for (; capsules * j_count - n >= 16; n += 16)
                fused_put((float16)even, 0, c + n);
            for (; n < capsules * j_count; n++)
                c[n] = even;
        }
    }
}

CPU_KERNEL void routing_fused_first(__global float *partial, const ulong partial_offset,
    __global float *couplings, const ulong couplings_offset, __global float *areas,
    const ulong areas_offset, __global const float *u, const ulong u_offset,
    __global const float *w, const ulong w_offset, const uint b_count, const uint i_count,
    const uint j_count, const uint d_count, const uint k_count, const uint area, const uint leaky)
{
    routing_fused_first_item(partial, partial_offset, couplings, couplings_offset, areas,
        areas_offset, u, u_offset, w, w_offset, b_count, i_count, j_count, d_count, k_count, area,
        leaky);
}

// Iterations but the first: couplings = softmax(votes . x), partial = sums of couplings times
// votes.
CPU_ITEM void routing_fused_pass_item(__global float *partial, const ulong partial_offset,
    __global float *couplings, const ulong couplings_offset, __global float *areas,
    const ulong areas_offset, __global const float *u, const ulong u_offset,
    __global const float *w, const ulong w_offset, __global const float *x, const ulong x_offset,
    const uint b_count, const uint i_count, const uint j_count, const uint d_count,
    const uint k_count, const uint area, const uint leaky)
{
    const fused_item it = fused_item_of(b_count, i_count);
    const uint e_count = j_count * d_count;
    __global float *sum = partial + partial_offset + it.number * e_count * 16;
    __global float *lanes = areas + areas_offset + it.number * area;
    __global float *votes = lanes + FUSED_TILE * k_count * 16, *c = votes + 2 * e_count * 16;
    __global const float *target = x + x_offset + it.group * e_count * 16;
    fused_clear(sum, e_count);
    for (uint i = it.first; i < it.end; i += FUSED_TILE) {
        const uint capsules = min((uint)FUSED_TILE, it.end - i);
        const ulong at = it.group * 16 * i_count + i;
        __global const float *weights = w + w_offset + (ulong)i * e_count * k_count;
        fused_load_lanes(lanes, u + u_offset + at * k_count, (ulong)i_count * k_count,
            capsules * k_count, it.samples);
        for (uint n = 0; n < capsules; n++) {
            __global float *row = c + n * j_count * 16;
            fused_dots(row, votes + (n % 2) * e_count * 16, weights + (ulong)n * e_count * k_count,
                lanes + n * k_count * 16, target, d_count, j_count, d_count, k_count);
            fused_softmax(row, j_count, leaky);
            if (n % 2)
                fused_add_two(sum, row - j_count * 16, votes, j_count, d_count);
            else if (n + 1 == capsules)
                fused_add(sum, row, votes, j_count, d_count);
        }
        fused_store_lanes(couplings + couplings_offset + at * j_count, (ulong)i_count * j_count, c,
            capsules * j_count, it.samples);
    }
}

CPU_KERNEL void routing_fused_pass(__global float *partial, const ulong partial_offset,
    __global float *couplings, const ulong couplings_offset, __global float *areas,
    const ulong areas_offset, __global const float *u, const ulong u_offset,
    __global const float *w, const ulong w_offset, __global const float *x, const ulong x_offset,
    const uint b_count, const uint i_count, const uint j_count, const uint d_count,
    const uint k_count, const uint area, const uint leaky)
{
    routing_fused_pass_item(partial, partial_offset, couplings, couplings_offset, areas,
        areas_offset, u, u_offset, w, w_offset, x, x_offset, b_count, i_count, j_count, d_count,
        k_count, area, leaky);
}

// The sum of the chunks' partial sums, in order, left in the first chunk's place, and its address.
FUSED_FUNCTION __global float *fused_sum_chunks(
    __global float *partial, ulong group, uint j, uint chunks, uint j_count, uint d_count)
{
    const ulong e_count = (ulong)j_count * d_count;
    __global float *to = partial + (group * chunks * e_count + (ulong)j * d_count) * 16;
    for (uint d = 0; d < d_count; d++) {
        float16 total = vload16(d, to);
        for (uint n = 1; n < chunks; n++)
            total += vload16(n * e_count + d, to);
        fused_put(total, d, to);
    }
    return to;
}

FUSED_INLINE float16 fused_length_scale(float16 top)
{
    return top < 0x1p-40f ? (float16)0x1p80f : top > 0x1p40f ? (float16)0x1p-80f : (float16)1.0f;
}

// |s| times scale, which is chosen so that no square leaves the range (see common.clh).
FUSED_FUNCTION float16 fused_length(__global const float *s, uint d_count, float16 *scale)
{
    float16 top = 0.0f, square = 0.0f;
    for (uint d = 0; d < d_count; d++)
        top = fmax(top, fabs(vload16(d, s)));
    *scale = fused_length_scale(top);
    for (uint d = 0; d < d_count; d++) {
        const float16 scaled = vload16(d, s) * *scale;
        square = fma(scaled, scaled, square);
    }
    return sqrt(square);
}

// caps_squash_factor, lane by lane.
FUSED_INLINE float16 fused_squash_factor(float16 n, uint squash)
{
    if (squash == 0)
        return 1.0f / (n + 1.0f / n);
    float16 f = fma(n, (float16)(1.0f / 5040.0f), (float16)(-1.0f / 720.0f));
    f = fma(n, f, (float16)(1.0f / 120.0f));
    f = fma(n, f, (float16)(-1.0f / 24.0f));
    f = fma(n, f, (float16)(1.0f / 6.0f));
    f = fma(n, f, (float16)(-0.5f));
    f = fma(n, f, (float16)(1.0f));
    return n > CAPS_SQUASH_SERIES ? (1.0f - exp(-n)) / n : f;
}

// s = scale times the chunks' sums + bias (optional), v = squash(s); x becomes x_{t+1} (optional);
// v_last gets a copy of v (optional). first: x is v, not added to. The partial sums are used up.
CPU_ITEM void routing_fused_reduce_item(__global float *s, const ulong s_offset, __global float *v,
    const ulong v_offset, __global float *x, const ulong x_offset, __global float *v_last,
    const ulong v_last_offset, __global float *partial, const ulong partial_offset,
    __global const float *bias, const ulong bias_offset, const uint b_count, const uint chunks,
    const uint j_count, const uint d_count, const float scale, const uint squash, const uint first,
    const size_t id0, const size_t id1)
{
    const uint j = id0, samples = fused_samples(id1, b_count);
    const ulong group = id1, e_count = (ulong)j_count * d_count;
    const ulong at = group * 16 * e_count + (ulong)j * d_count;
    __global float *sum =
        fused_sum_chunks(partial + partial_offset, group, j, chunks, j_count, d_count);
    for (uint d = 0; d < d_count; d++) {
        const float b = caps_given(bias_offset) ? bias[bias_offset + (ulong)j * d_count + d] : 0.0f;
        fused_put(fma(vload16(d, sum), (float16)scale, (float16)b), d, sum);
    }
    fused_store_lanes(s + s_offset + at, e_count, sum, d_count, samples);
    float16 length_scale;
    const float16 scaled = fused_length(sum, d_count, &length_scale);
    const float16 length = scaled / length_scale, factor = fused_squash_factor(length, squash);
    __global float *next = x + x_offset + (group * e_count + (ulong)j * d_count) * 16;
    for (uint d = 0; d < d_count; d++) {
        const float16 value = vload16(d, sum) * factor;
        fused_put(value, d, sum);
        if (caps_given(x_offset))
            fused_put(first ? value : vload16(d, next) + value, d, next);
    }
    fused_store_lanes(v + v_offset + at, e_count, sum, d_count, samples);
    if (caps_given(v_last_offset))
        fused_store_lanes(v_last + v_last_offset + at, e_count, sum, d_count, samples);
}

CPU_KERNEL void routing_fused_reduce(__global float *s, const ulong s_offset, __global float *v,
    const ulong v_offset, __global float *x, const ulong x_offset, __global float *v_last,
    const ulong v_last_offset, __global float *partial, const ulong partial_offset,
    __global const float *bias, const ulong bias_offset, const uint b_count, const uint chunks,
    const uint j_count, const uint d_count, const float scale, const uint squash, const uint first)
{
    routing_fused_reduce_item(s, s_offset, v, v_offset, x, x_offset, v_last, v_last_offset, partial,
        partial_offset, bias, bias_offset, b_count, chunks, j_count, d_count, scale, squash,
        first, get_global_id(0), get_global_id(1));
}
