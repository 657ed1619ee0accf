// votes_cpu.cl: the votes of input capsules for output capsules, CPU family.
// Program: rarely used (src/device/registry.c).
//
//     votes[b,i,e] = sum_k w[i,e,k] u[b,i,k]           e = j D + d, of E = J D
//     du[b,i,k]    = sum_e w[i,e,k] dvotes[b,i,e]
//     dw[i,e,k]    = sum_b dvotes[b,i,e] u[b,i,k]
//
// u: [B,I,K], w: [I,E,K], votes: [B,I,E], row-major.
// A tile is VOTES_TILE vectors of sixteen outputs by eight k: the weights of one input capsule,
// transposed so that outputs are the lanes, or as many sums of dw. It fits the first-level cache,
// and one row of votes is read or written in one go. Work: forward, du: item (i, n) takes input
// capsule i and samples n * VOTES_BATCH and following.
//       dw: item (i, n) takes input capsule i and the n-th tile of outputs, for all samples.
// Numerics: a vote is a chain of K fma; du sums sixteen lanes over e, then the lanes; dw sums
// VOTES_BATCH samples at a time, then those sums in order. Fixed order throughout.

#ifndef VOTES_TILE
#define VOTES_TILE 16 // 16 * 8 vectors of 64 bytes: 8 KB of stack
#endif
#define VOTES_BATCH 64 // as in src/ops/votes.c

// tile[n][k] lane l = w[16 n + l, k]; zero beyond `outputs` and `terms`. w: [.., K] at the tile's
// corner.
static inline void votes_load_weights(
    float16 (*tile)[8], __global const float *w, uint outputs, uint terms, uint k)
{
    float *lanes = (float *)tile;
    const uint vectors = (outputs + 15) / 16;
    for (uint n = 0; n < vectors * 8; n++)
        tile[n / 8][n % 8] = 0.0f;
    for (uint e = 0; e < outputs; e++)
        for (uint x = 0; x < terms; x++)
            lanes[(e / 16 * 8 + x) * 16 + e % 16] = w[(ulong)e * k + x];
}

static inline void votes_load_inputs(float *inputs, __global const float *u, uint terms)
{
    for (uint x = 0; x < 8; x++)
        inputs[x] = x < terms ? u[x] : 0.0f;
}

CPU_ITEM void votes_forward_item(__global float *restrict votes, const ulong votes_offset,
    __global const float *restrict u, const ulong u_offset, __global const float *restrict w,
    const ulong w_offset, const uint b_count, const uint i_count, const uint e_count,
    const uint k_count, const size_t id0, const size_t id1)
{
    const uint i = id0, first = (uint)id1 * VOTES_BATCH;
    const uint samples = min((uint)VOTES_BATCH, b_count - first);
    float16 tile[VOTES_TILE][8];
    float inputs[8];
    for (uint e0 = 0; e0 < e_count; e0 += 16 * VOTES_TILE) {
        const uint outputs = min((uint)(16 * VOTES_TILE), e_count - e0);
        for (uint k0 = 0; k0 < k_count; k0 += 8) {
            const uint terms = min(8u, k_count - k0);
            votes_load_weights(tile, w + w_offset + ((ulong)i * e_count + e0) * k_count + k0,
                outputs, terms, k_count);
            for (uint n = 0; n < samples; n++) {
                const ulong row = (ulong)(first + n) * i_count + i;
                __global float *to = votes + votes_offset + row * e_count + e0;
                votes_load_inputs(inputs, u + u_offset + row * k_count + k0, terms);
                for (uint e = 0; e < outputs; e += 16) {
                    float16 sum = k0 > 0 ? caps_load16(to + e, outputs - e, 0.0f) : (float16)0.0f;
                    UNROLL for (uint x = 0; x < 8; x++) sum =
                        fma(tile[e / 16][x], (float16)inputs[x], sum);
                    caps_store16(sum, to + e, outputs - e);
                }
            }
        }
    }
}

CPU_KERNEL void votes_forward(__global float *restrict votes, const ulong votes_offset,
    __global const float *restrict u, const ulong u_offset, __global const float *restrict w,
    const ulong w_offset, const uint b_count, const uint i_count, const uint e_count,
    const uint k_count)
{
    votes_forward_item(votes, votes_offset, u, u_offset, w, w_offset, b_count, i_count, e_count,
        k_count, get_global_id(0), get_global_id(1));
}

CPU_ITEM void votes_backward_u_item(__global float *restrict du, const ulong du_offset,
    __global const float *restrict dvotes, const ulong dvotes_offset,
    __global const float *restrict w, const ulong w_offset, const uint b_count, const uint i_count,
    const uint e_count, const uint k_count, const size_t id0, const size_t id1)
{
    const uint i = id0, first = (uint)id1 * VOTES_BATCH;
    const uint samples = min((uint)VOTES_BATCH, b_count - first);
    float16 tile[VOTES_TILE][8];
    for (uint e0 = 0; e0 < e_count; e0 += 16 * VOTES_TILE) {
        const uint outputs = min((uint)(16 * VOTES_TILE), e_count - e0);
        for (uint k0 = 0; k0 < k_count; k0 += 8) {
            const uint terms = min(8u, k_count - k0);
            votes_load_weights(tile, w + w_offset + ((ulong)i * e_count + e0) * k_count + k0,
                outputs, terms, k_count);
            for (uint n = 0; n < samples; n++) {
                const ulong row = (ulong)(first + n) * i_count + i;
                __global const float *from = dvotes + dvotes_offset + row * e_count + e0;
                __global float *to = du + du_offset + row * k_count + k0;
                float16 sums[8];
                UNROLL for (uint x = 0; x < 8; x++) sums[x] = 0.0f;
                for (uint e = 0; e < outputs; e += 16) {
                    const float16 g = caps_load16(from + e, outputs - e, 0.0f);
                    UNROLL for (uint x = 0; x < 8; x++) sums[x] = fma(tile[e / 16][x], g, sums[x]);
                }
                for (uint x = 0; x < terms; x++)
                    to[x] = e0 > 0 ? to[x] + caps_sum16(sums[x]) : caps_sum16(sums[x]);
            }
        }
    }
}

CPU_KERNEL void votes_backward_u(__global float *restrict du, const ulong du_offset,
    __global const float *restrict dvotes, const ulong dvotes_offset,
    __global const float *restrict w, const ulong w_offset, const uint b_count, const uint i_count,
    const uint e_count, const uint k_count)
{
    votes_backward_u_item(du, du_offset, dvotes, dvotes_offset, w, w_offset, b_count, i_count,
        e_count, k_count, get_global_id(0), get_global_id(1));
}

CPU_ITEM void votes_backward_w_item(__global float *restrict dw, const ulong dw_offset,
    __global const float *restrict dvotes, const ulong dvotes_offset,
    __global const float *restrict u, const ulong u_offset, const uint b_count, const uint i_count,
    const uint e_count, const uint k_count, const size_t id0, const size_t id1)
{
    const uint i = id0, e0 = (uint)id1 * 16 * VOTES_TILE;
    const uint outputs = min((uint)(16 * VOTES_TILE), e_count - e0), vectors = (outputs + 15) / 16;
    float16 tile[VOTES_TILE][8];
    float inputs[8];
    for (uint k0 = 0; k0 < k_count; k0 += 8) {
        const uint terms = min(8u, k_count - k0);
        __global float *to = dw + dw_offset + ((ulong)i * e_count + e0) * k_count + k0;
        for (uint first = 0; first < b_count; first += VOTES_BATCH) {
            const uint samples = min((uint)VOTES_BATCH, b_count - first);
            for (uint n = 0; n < vectors * 8; n++)
                tile[n / 8][n % 8] = 0.0f;
            for (uint n = 0; n < samples; n++) {
                const ulong row = (ulong)(first + n) * i_count + i;
                __global const float *from = dvotes + dvotes_offset + row * e_count + e0;
                votes_load_inputs(inputs, u + u_offset + row * k_count + k0, terms);
                for (uint e = 0; e < outputs; e += 16) {
                    const float16 g = caps_load16(from + e, outputs - e, 0.0f);
                    UNROLL for (uint x = 0; x < 8; x++) tile[e / 16][x] =
                        fma(g, (float16)inputs[x], tile[e / 16][x]);
                }
            }
            const float *lanes = (const float *)tile;
            for (uint e = 0; e < outputs; e++)
                for (uint x = 0; x < terms; x++) {
                    const float sum = lanes[(e / 16 * 8 + x) * 16 + e % 16];
                    const ulong at = (ulong)e * k_count + x;
                    to[at] = first > 0 ? to[at] + sum : sum;
                }
        }
    }
}

CPU_KERNEL void votes_backward_w(__global float *restrict dw, const ulong dw_offset,
    __global const float *restrict dvotes, const ulong dvotes_offset,
    __global const float *restrict u, const ulong u_offset, const uint b_count, const uint i_count,
    const uint e_count, const uint k_count)
{
    votes_backward_w_item(dw, dw_offset, dvotes, dvotes_offset, u, u_offset, b_count, i_count,
        e_count, k_count, get_global_id(0), get_global_id(1));
}
