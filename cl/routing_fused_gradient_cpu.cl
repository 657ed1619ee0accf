// routing_fused_gradient_cpu.cl: backward of routing_fused_cpu.cl, which has equations, shapes,
// order of sums and the helpers used here: programs are put together in the order of the files'
// names.

// ---- backward: gradients of s and of the logits
// ---------------------------------------------------

// g[j] holds dc on entry and G_t on return. coef: the terms of each j, beginning with those of
// iteration t, of which the first becomes c and the second G_t; the fourth is G_{t+1} where there
// is `later`.
FUSED_FUNCTION void fused_softmax_gradient(__global float *g, __global float *coef,
    __global const float *c, uint terms, uint j_count, uint later)
{
    float16 mean = 0.0f;
    for (uint j = 0; j < j_count; j++)
        mean = fma(vload16(j, c), vload16(j, g), mean);
    for (uint j = 0; j < j_count; j++) {
        const ulong at = (ulong)j * terms;
        const float16 coupling = vload16(j, c);
        const float16 next = later ? vload16(at + 3, coef) : (float16)0.0f;
        const float16 value = fma(coupling, vload16(j, g) - mean, next);
        fused_put(coupling, at, coef);
        fused_put(value, at + 1, coef);
        fused_put(value, j, g);
    }
}

// One iteration back: partial = sums of G_t times votes, which are gv_{t-1}. coef and vec begin
// with the terms of iteration t; `later`: there is a G_{t+1}.
CPU_ITEM void routing_fused_back_item(__global float *partial, const ulong partial_offset,
    __global float *coef, const ulong coef_offset, __global float *areas, const ulong areas_offset,
    __global const float *couplings, const ulong couplings_offset, __global const float *u,
    const ulong u_offset, __global const float *w, const ulong w_offset, __global const float *vec,
    const ulong vec_offset, const uint b_count, const uint i_count, const uint j_count,
    const uint d_count, const uint k_count, const uint area, const uint terms, const uint later)
{
    const fused_item it = fused_item_of(b_count, i_count);
    const uint e_count = j_count * d_count;
    __global float *sum = partial + partial_offset + it.number * e_count * 16;
    __global float *lanes = areas + areas_offset + it.number * area;
    __global float *votes = lanes + FUSED_TILE * k_count * 16, *c = votes + 2 * e_count * 16;
    __global float *g = c + FUSED_TILE * j_count * 16;
    const ulong x_step = (ulong)(terms + 1) * d_count; // full gradients have a base
    __global const float *target = vec + vec_offset + it.group * j_count * x_step * 16;
    fused_clear(sum, e_count);
    for (uint i = it.first; i < it.end; i += FUSED_TILE) {
        const uint capsules = min((uint)FUSED_TILE, it.end - i);
        const ulong at = it.group * 16 * i_count + i;
        __global const float *weights = w + w_offset + (ulong)i * e_count * k_count;
        __global float *links =
            coef + coef_offset + (it.group * i_count + i) * j_count * terms * 16;
        fused_load_lanes(lanes, u + u_offset + at * k_count, (ulong)i_count * k_count,
            capsules * k_count, it.samples);
        fused_load_lanes(c, couplings + couplings_offset + at * j_count, (ulong)i_count * j_count,
            capsules * j_count, it.samples);
        for (uint n = 0; n < capsules; n++) {
            __global float *row = g + (n % 2) * j_count * 16;
            __global float *terms_of = links + (ulong)n * j_count * terms * 16;
            for (uint j = 0; j < j_count; j++) { // what the softmax's gradient will write
                FUSED_PREFETCH(terms_of + (ulong)j * terms * 16);
                FUSED_PREFETCH(terms_of + ((ulong)j * terms + 1) * 16);
                if (later)
                    FUSED_PREFETCH(terms_of + ((ulong)j * terms + 3) * 16);
            }
            fused_dots(row, votes + (n % 2) * e_count * 16, weights + (ulong)n * e_count * k_count,
                lanes + n * k_count * 16, target, x_step, j_count, d_count, k_count);
            fused_softmax_gradient(row, terms_of, c + n * j_count * 16, terms, j_count, later);
            if (n % 2)
                fused_add_two(sum, g, votes, j_count, d_count);
            else if (n + 1 == capsules)
                fused_add(sum, row, votes, j_count, d_count);
        }
    }
}

CPU_KERNEL void routing_fused_back(__global float *partial, const ulong partial_offset,
    __global float *coef, const ulong coef_offset, __global float *areas, const ulong areas_offset,
    __global const float *couplings, const ulong couplings_offset, __global const float *u,
    const ulong u_offset, __global const float *w, const ulong w_offset, __global const float *vec,
    const ulong vec_offset, const uint b_count, const uint i_count, const uint j_count,
    const uint d_count, const uint k_count, const uint area, const uint terms, const uint later)
{
    routing_fused_back_item(partial, partial_offset, coef, coef_offset, areas, areas_offset,
        couplings, couplings_offset, u, u_offset, w, w_offset, vec, vec_offset, b_count, i_count,
        j_count, d_count, k_count, area, terms, later);
}

// coef = couplings in lanes: constant couplings' one term.
CPU_ITEM void routing_fused_lanes_item(__global float *coef, const ulong coef_offset,
    __global const float *couplings, const ulong couplings_offset, const uint b_count,
    const uint i_count, const uint j_count)
{
    const fused_item it = fused_item_of(b_count, i_count);
    fused_load_lanes(coef + coef_offset + (it.group * i_count + it.first) * j_count * 16,
        couplings + couplings_offset + (it.group * 16 * i_count + it.first) * j_count,
        (ulong)i_count * j_count, (it.end - it.first) * j_count, it.samples);
}

CPU_KERNEL void routing_fused_lanes(__global float *coef, const ulong coef_offset,
    __global const float *couplings, const ulong couplings_offset, const uint b_count,
    const uint i_count, const uint j_count)
{
    routing_fused_lanes_item(
        coef, coef_offset, couplings, couplings_offset, b_count, i_count, j_count);
}

// Rows of lanes [D][16] of (group, j) to z [J, ceil(D/16), B, S, 16], times scale.
FUSED_FUNCTION void fused_store_z(__global float *z, __global const float *rows, ulong group,
    uint j, uint b_count, uint d_count, uint slots, uint slot, uint samples)
{
    for (uint d0 = 0; d0 < d_count; d0 += 16) {
        float16 x[16];
        UNROLL for (uint m = 0; m < 16; m++) x[m] =
            d0 + m < d_count ? vload16(d0 + m < d_count ? d0 + m : 0, rows) : (float16)0.0f;
        fused_transpose(x);
        const ulong block = (ulong)j * ((d_count - 1) / 16 + 1) + d0 / 16;
        __global float *to = z + ((block * b_count + group * 16) * slots + slot) * 16;
        UNROLL for (uint l = 0; l < 16; l++) if (l < samples)
            fused_put(x[l], 0, to + (ulong)l * slots * 16);
    }
}

// caps_squash_bend, lane by lane.
FUSED_INLINE float16 fused_squash_bend(float16 n, uint squash)
{
    if (squash != 0) {
        const float16 square = n * n, e = exp(-n);
        float16 small = fma(square, (float16)(1.0f / 30240.0f), (float16)(-1.0f / 720.0f));
        small = fma(square, fma(square, small, (float16)(1.0f / 12.0f)), -0.5f * n);
        return n > CAPS_SQUASH_SERIES ? n * e / (1.0f - e) - 1.0f : small;
    }
    const float16 r = n > 1.0f ? 1.0f / n : n;
    const float16 bend = (1.0f - r * r) / (1.0f + r * r);
    return n > 1.0f ? -bend : bend;
}

// gs_t from gv_t, which is dv (optional) or the sum of partial; times scale into slot `slot` of vec
// and z. v: v_{t-1}, which goes into the slot after it (optional). gs [B,J,D] without the scale.
CPU_ITEM void routing_fused_gs_item(__global float *gs, const ulong gs_offset, __global float *vec,
    const ulong vec_offset, __global float *z, const ulong z_offset, __global float *partial,
    const ulong partial_offset, __global const float *dv, const ulong dv_offset,
    __global const float *s, const ulong s_offset, __global const float *v, const ulong v_offset,
    const uint b_count, const uint chunks, const uint j_count, const uint d_count, const uint slots,
    const uint slot, const float scale, const uint squash, const size_t id0, const size_t id1)
{
    const uint j = id0, samples = fused_samples(id1, b_count);
    const ulong group = id1, e_count = (ulong)j_count * d_count;
    const ulong at = group * 16 * e_count + (ulong)j * d_count;
    __global float *to =
        vec + vec_offset + ((group * j_count + j) * slots + slot) * (ulong)d_count * 16;
    __global float *spare =
        partial + partial_offset + (group * chunks * e_count + (ulong)j * d_count) * 16;
    if (caps_given(dv_offset)) {
        fused_load_lanes(to, dv + dv_offset + at, e_count, d_count, samples);
    } else {
        fused_sum_chunks(partial + partial_offset, group, j, chunks, j_count, d_count);
        for (uint d = 0; d < d_count; d++)
            fused_put(vload16(d, spare), d, to);
    }

    // As caps_squash_gradient, lane by lane.
    fused_load_lanes(spare, s + s_offset + at, e_count, d_count, samples);
    float16 length_scale, along = 0.0f;
    const float16 scaled = fused_length(spare, d_count, &length_scale);
    const float16 length = scaled / length_scale, factor = fused_squash_factor(length, squash);
    const float16 inverse = scaled == 0.0f ? (float16)0.0f : 1.0f / scaled;
    for (uint d = 0; d < d_count; d++)
        along = fma(vload16(d, spare) * length_scale * inverse, vload16(d, to), along);
    const float16 bent = along * fused_squash_bend(length, squash);
    for (uint d = 0; d < d_count; d++) {
        const float16 unit = vload16(d, spare) * length_scale * inverse;
        const float16 value = factor * fma(unit, bent, vload16(d, to));
        fused_put(scaled == 0.0f ? (float16)0.0f : value, d, to);
    }
    fused_store_lanes(gs + gs_offset + at, e_count, to, d_count, samples);
    for (uint d = 0; d < d_count; d++)
        fused_put(vload16(d, to) * scale, d, to);
    fused_store_z(z + z_offset, to, group, j, b_count, d_count, slots, slot, samples);
    if (caps_given(v_offset)) {
        to += d_count * 16;
        fused_load_lanes(to, v + v_offset + at, e_count, d_count, samples);
        fused_store_z(z + z_offset, to, group, j, b_count, d_count, slots, slot + 1, samples);
    }
}

CPU_KERNEL void routing_fused_gs(__global float *gs, const ulong gs_offset, __global float *vec,
    const ulong vec_offset, __global float *z, const ulong z_offset, __global float *partial,
    const ulong partial_offset, __global const float *dv, const ulong dv_offset,
    __global const float *s, const ulong s_offset, __global const float *v, const ulong v_offset,
    const uint b_count, const uint chunks, const uint j_count, const uint d_count, const uint slots,
    const uint slot, const float scale, const uint squash)
{
    routing_fused_gs_item(gs, gs_offset, vec, vec_offset, z, z_offset, partial, partial_offset, dv,
        dv_offset, s, s_offset, v, v_offset, b_count, chunks, j_count, d_count, slots, slot, scale,
        squash, get_global_id(0), get_global_id(1));
}

// ---- backward: du and dw
// --------------------------------------------------------------------------

// t[0..n) = base + sum over the terms of coef vec: dvotes of one (i, j), n values of d. vec: slot 0
// at the first d; slot_step: rows from one slot to the next.
FUSED_INLINE void fused_dvotes(float16 *t, __global const float *coef, __global const float *vec,
    const ulong slot_step, const uint terms, const uint based, const uint n)
{
    UNROLL for (uint d = 0; d < n; d++) t[d] =
        based ? vload16(terms * slot_step + d, vec) : (float16)0.0f;
    for (uint m = 0; m < terms; m++) {
        const float16 weight = vload16(m, coef);
        UNROLL for (uint d = 0; d < n; d++) t[d] =
            fma(weight, vload16(m * slot_step + d, vec), t[d]);
    }
}

// du[0..n) += sum over d < count of w[d, k] t[d], n values of k. k_count is a constant or the
// argument `any`.
#define FUSED_DU(n, name, k_count)                                                                 \
    FUSED_INLINE void fused_du_##name(__global float *du, __global const float *w,                 \
        const float16 *t, const uint count, const uint any)                                        \
    {                                                                                              \
        float16 sum[n];                                                                            \
        UNROLL for (uint k = 0; k < n; k++) sum[k] = vload16(k, du);                               \
        for (uint d = 0; d < count; d++)                                                           \
            UNROLL for (uint k = 0; k < n; k++) sum[k] =                                           \
                fma((float16)w[d * k_count + k], t[d], sum[k]);                                    \
        UNROLL for (uint k = 0; k < n; k++) fused_put(sum[k], k, du);                              \
    }
FUSED_DU(8, 8_8, 8)
FUSED_DU(8, 8, any)
FUSED_DU(4, 4, any)
FUSED_DU(1, 1, any)

// The same for every k.
FUSED_INLINE void fused_du_all(__global float *du, __global const float *w, const float16 *t,
    const uint count, const uint k_count)
{
    uint k = 0;
    if (k_count == 8) {
        fused_du_8_8(du, w, t, count, 8);
        return;
    }
    for (; k_count - k >= 8; k += 8)
        fused_du_8(du + k * 16, w + k, t, count, k_count);
    if (k_count - k >= 4) {
        fused_du_4(du + k * 16, w + k, t, count, k_count);
        k += 4;
    }
    for (; k < k_count; k++)
        fused_du_1(du + k * 16, w + k, t, count, k_count);
}

#define FUSED_AHEAD 4 // capsules between prefetching their coef and using it

// du of a tile: of capsule n at du + n K rows. coef, w: of the first capsule.
FUSED_FUNCTION void fused_du_tile(__global float *du, __global const float *coef,
    __global const float *vec, __global const float *w, uint capsules, uint j_count,
    const uint d_count, const uint k_count, const uint terms, const uint based)
{
    float16 t[16];
    const ulong e_count = (ulong)j_count * d_count, coef_step = (ulong)j_count * terms * 16;
    fused_clear(du, capsules * k_count);
    for (uint j = 0; j < j_count; j++) {
        __global const float *slots = vec + (ulong)j * (terms + based) * d_count * 16;
        for (uint n = 0; n < capsules; n++) {
            __global const float *c = coef + n * coef_step + j * terms * 16;
            __global const float *weights = w + (n * e_count + (ulong)j * d_count) * k_count;
            for (uint m = 0; m < terms; m++)
                FUSED_PREFETCH(c + FUSED_AHEAD * coef_step + m * 16);
            for (uint d = 0; d < d_count; d += 16) {
                const uint count = min(16u, d_count - d);
                if (count == 16)
                    fused_dvotes(t, c, slots + d * 16, d_count, terms, based, 16);
                else
                    for (uint x = 0; x < count; x++)
                        fused_dvotes(t + x, c, slots + (d + x) * 16, d_count, terms, based, 1);
                fused_du_all(du + n * k_count * 16, weights + d * k_count, t, count, k_count);
            }
        }
    }
}

// coef is not read where there are no terms. based: vec and z have a slot after the terms.
CPU_ITEM void routing_fused_du_item(__global float *du, const ulong du_offset,
    __global float *areas, const ulong areas_offset, __global const float *coef,
    const ulong coef_offset, __global const float *vec, const ulong vec_offset,
    __global const float *w, const ulong w_offset, const uint b_count, const uint i_count,
    const uint j_count, const uint d_count, const uint k_count, const uint area, const uint terms,
    const uint based)
{
    const fused_item it = fused_item_of(b_count, i_count);
    const uint e_count = j_count * d_count;
    __global float *lanes = areas + areas_offset + it.number * area;
    __global const float *slots = vec + vec_offset + it.group * e_count * (terms + based) * 16;
    for (uint i = it.first; i < it.end; i += FUSED_TILE) {
        const uint capsules = min((uint)FUSED_TILE, it.end - i);
        __global const float *links =
            coef + coef_offset + (it.group * i_count + i) * j_count * terms * 16;
        __global const float *weights = w + w_offset + (ulong)i * e_count * k_count;
        fused_du_tile(
            lanes, links, slots, weights, capsules, j_count, d_count, k_count, terms, based);
        fused_store_lanes(du + du_offset + (it.group * 16 * i_count + i) * k_count,
            (ulong)i_count * k_count, lanes, capsules * k_count, it.samples);
    }
}

CPU_KERNEL void routing_fused_du(__global float *du, const ulong du_offset, __global float *areas,
    const ulong areas_offset, __global const float *coef, const ulong coef_offset,
    __global const float *vec, const ulong vec_offset, __global const float *w,
    const ulong w_offset, const uint b_count, const uint i_count, const uint j_count,
    const uint d_count, const uint k_count, const uint area, const uint terms, const uint based)
{
    routing_fused_du_item(du, du_offset, areas, areas_offset, coef, coef_offset, vec, vec_offset, w,
        w_offset, b_count, i_count, j_count, d_count, k_count, area, terms, based);
}

// What fused_dw needs besides one (i, j, block of d).
typedef struct fused_dw_part {
    uint b_count, u_step;     // u: of the item's block, [B, u_step]
    ulong coef_i, coef_group; // elements of coef from one capsule, and from one group, to the next
} fused_dw_part;

// sum[m][k] = over the batch, dvotes[b,i+m,j,d] u[b,i+m,k]: d in the lanes, n values of k of each
// of `capsules` input capsules. coef: of (group 0, i, j), u: of (b = 0, i, k); u_capsule: from one
// capsule to the next. Prefetches the coef of j + 1 on the way.
#define FUSED_DW(n, capsules, name, terms, based, unroll)                                          \
    FUSED_INLINE void fused_dw_##name(float16 *sum, __global const float *coef,                    \
        __global const float *z, __global const float *u, const uint u_capsule,                    \
        const fused_dw_part *p, const uint any_terms, const uint any_based)                        \
    {                                                                                              \
        float16 total[n * capsules];                                                               \
        UNROLL for (uint m = 0; m < n * capsules; m++) total[m] = 0.0f;                            \
        for (uint b0 = 0; b0 < p->b_count; b0 += 16, coef += p->coef_group) {                      \
            const uint samples = min(16u, p->b_count - b0);                                        \
            UNROLL for (uint m = 0; m < capsules; m++) for (uint x = 0; x < terms; x++)            \
                FUSED_PREFETCH(coef + m * p->coef_i + (terms + x) * 16);                           \
            for (uint l = 0; l < samples; l++, z += (terms + based) * 16, u += p->u_step) {        \
                float16 t[capsules];                                                               \
                UNROLL for (uint m = 0; m < capsules; m++) t[m] =                                  \
                    based ? vload16(terms, z) : (float16)0.0f;                                     \
                unroll for (uint x = 0; x < terms; x++)                                            \
                {                                                                                  \
                    const float16 value = vload16(x, z);                                           \
                    UNROLL for (uint m = 0; m < capsules; m++) t[m] =                              \
                        fma((float16)coef[m * p->coef_i + x * 16 + l], value, t[m]);               \
                }                                                                                  \
                UNROLL for (uint m = 0; m < capsules; m++) UNROLL for (uint k = 0; k < n; k++)     \
                    total[m * n + k] = fma((float16)u[m * u_capsule + k], t[m], total[m * n + k]); \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (uint m = 0; m < n * capsules; m++) sum[m] = total[m];                          \
    }
FUSED_DW(8, 2, 8_two_4, 4, 1, UNROLL)
FUSED_DW(8, 2, 8_two, any_terms, any_based, )
FUSED_DW(8, 1, 8_one, any_terms, any_based, )
FUSED_DW(4, 2, 4_two, any_terms, any_based, )
FUSED_DW(1, 1, 1_one, any_terms, any_based, )

// dw[d, k..k+n) = sum[k][d] for d < count.
FUSED_INLINE void fused_dw_store(
    __global float *dw, float16 *sum, const uint n, uint count, uint k_count)
{
    if (n == 8 && k_count == 8 && count == 16) { // [8][16] to [16][8]: three perfect shuffles
        float16 y[8];
        UNROLL for (uint m = 0; m < 4; m++)
        {
            y[2 * m] = FUSED_LOW(sum[m], sum[m + 4]);
            y[2 * m + 1] = FUSED_HIGH(sum[m], sum[m + 4]);
        }
        UNROLL for (uint m = 0; m < 4; m++)
        {
            sum[2 * m] = FUSED_LOW(y[m], y[m + 4]);
            sum[2 * m + 1] = FUSED_HIGH(y[m], y[m + 4]);
        }
        UNROLL for (uint m = 0; m < 4; m++)
        {
            fused_put(FUSED_LOW(sum[m], sum[m + 4]), 2 * m, dw);
            fused_put(FUSED_HIGH(sum[m], sum[m + 4]), 2 * m + 1, dw);
        }
        return;
    }
    for (uint k = 0; k < n; k++) {
        float lanes[16];
        vstore16(sum[k], 0, lanes);
        for (uint d = 0; d < count; d++)
            dw[d * k_count + k] = lanes[d];
    }
}

// dw of `capsules` (one or two) capsules, one j and block of d; step: from one capsule's dw to the
// next.
FUSED_FUNCTION void fused_dw_of(__global float *dw, __global const float *coef,
    __global const float *z, __global const float *u, const fused_dw_part *p, ulong step,
    uint capsules, uint count, uint k_count, uint terms, uint based)
{
    float16 sum[16];
    uint k = 0;
    for (; k_count - k >= 8; k += 8) {
        if (capsules == 2 && terms == 4 && based)
            fused_dw_8_two_4(sum, coef, z, u + k, k_count, p, 4, 1);
        else if (capsules == 2)
            fused_dw_8_two(sum, coef, z, u + k, k_count, p, terms, based);
        else
            fused_dw_8_one(sum, coef, z, u + k, k_count, p, terms, based);
        fused_dw_store(dw + k, sum, 8, count, k_count);
        if (capsules == 2)
            fused_dw_store(dw + step + k, sum + 8, 8, count, k_count);
    }
    if (capsules == 2 && k_count - k >= 4) {
        fused_dw_4_two(sum, coef, z, u + k, k_count, p, terms, based);
        fused_dw_store(dw + k, sum, 4, count, k_count);
        fused_dw_store(dw + step + k, sum + 4, 4, count, k_count);
        k += 4;
    }
    for (; k < k_count; k++)
        for (uint m = 0; m < capsules; m++) {
            fused_dw_1_one(
                sum, coef + m * p->coef_i, z, u + m * k_count + k, k_count, p, terms, based);
            fused_dw_store(dw + m * step + k, sum, 1, count, k_count);
        }
}

CPU_ITEM void routing_fused_dw_item(__global float *dw, const ulong dw_offset,
    __global float *areas, const ulong areas_offset, __global const float *coef,
    const ulong coef_offset, __global const float *z, const ulong z_offset, __global const float *u,
    const ulong u_offset, const uint b_count, const uint i_count, const uint j_count,
    const uint d_count, const uint k_count, const uint terms, const uint based, const size_t id0)
{
    const uint first = (uint)id0 * FUSED_BLOCK;
    const uint end = first + min((uint)FUSED_BLOCK, i_count - first);
    const uint d_blocks = (d_count - 1) / 16 + 1, width = FUSED_BLOCK * k_count;
    const fused_dw_part p = {
        b_count, width, (ulong)j_count * terms * 16, (ulong)i_count * j_count * terms * 16};
    const ulong step = (ulong)j_count * d_count * k_count;

    // u of the block close together: as it lies, every sample's part falls into the same cache
    // lines.
    __global float *block = areas + areas_offset + (ulong)first * b_count * k_count;
    for (uint b = 0; b < b_count; b++) {
        __global const float *from = u + u_offset + ((ulong)b * i_count + first) * k_count;
        __global float *to = block + (ulong)b * width;
        for (uint n = 0; n < (end - first) * k_count; n++)
            to[n] = from[n];
    }
    for (uint i = first; i < end; i += 2) {
        __global const float *inputs = block + (i - first) * k_count;
        for (uint j = 0; j < j_count; j++)
            for (uint n = 0; n < d_blocks; n++)
                fused_dw_of(dw + dw_offset + i * step + ((ulong)j * d_count + n * 16) * k_count,
                    coef + coef_offset + ((ulong)i * j_count + j) * terms * 16,
                    z + z_offset + ((ulong)j * d_blocks + n) * b_count * (terms + based) * 16,
                    inputs, &p, step, min(2u, end - i), min(16u, d_count - n * 16), k_count, terms,
                    based);
    }
}

CPU_KERNEL void routing_fused_dw(__global float *dw, const ulong dw_offset, __global float *areas,
    const ulong areas_offset, __global const float *coef, const ulong coef_offset,
    __global const float *z, const ulong z_offset, __global const float *u, const ulong u_offset,
    const uint b_count, const uint i_count, const uint j_count, const uint d_count,
    const uint k_count, const uint terms, const uint based)
{
    routing_fused_dw_item(dw, dw_offset, areas, areas_offset, coef, coef_offset, z, z_offset, u,
        u_offset, b_count, i_count, j_count, d_count, k_count, terms, based, get_global_id(0));
}
