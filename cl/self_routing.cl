// self_routing.cl: self-routing (Hahn, Pyeon, Kim 2019), both families. The sums of weighted votes
// are attention_sum of attention_cpu.cl and attention_gpu.cl.
//
//     a_i  = |u_i|,  c_i = softmax_j(route_ij . u_i),  w_ij = c_ij a_i       self_routing_weights
//     M_j  = sum_i w_ij votes_ij                                             attention_sum
//     T    = sum_i a_i,  p_j = sum_i w_ij / T,  v_j = p_j M_j / |M_j|        self_routing_output
//
//     e_j  = M_j / |M_j|,  x_j = e_j . dv_j                                  self_routing_gradient
//     dM_j = p_j / |M_j| (dv_j - x_j e_j),  dA_j = x_j / T
//     h_ij = votes_ij . dM_j + dA_j,  m_i = sum_j c_ij h_ij                  self_routing_slopes
//     dlogit_ij = a_i c_ij (h_ij - m_i),  da_i = m_i - sum_j p_j dA_j
//     dvotes_ij = w_ij dM_j, in the place of the votes
//     du_i = du_i + (of the logits) + da_i u_i / a_i                         self_routing_du
//
// v_j is 0, with gradient 0, where T or M_j is 0; a_i has gradient 0 at 0.
// Shapes: votes [B,I,J,D]; u, du [B,I,K]; couplings c, weights w, dlogits [B,I,J]; activation a, da
// [B,I]; v, dv, pose M, dM [B,J,D]; share p, dA [B,J]; total T [B].
// Work: an item takes an input capsule of a sample (weights, slopes, du), or an output capsule
// (output, gradient). Numerics: the greatest logit is subtracted; lengths as caps_length.
// Determinism: sums in order, one item each.

// couplings: logits on entry.
__kernel void self_routing_weights(__global float *couplings, const ulong couplings_at,
    __global float *weights, const ulong weights_at, __global float *activation,
    const ulong activation_at, __global const float *u, const ulong u_at, const uint rows,
    const uint j_count, const uint k)
{
    const ulong row = get_global_id(0);
    if (row >= rows)
        return;
    __global float *c = couplings + couplings_at + row * j_count;
    float scale, most = c[0], sum = 0.0f;
    const float scaled = caps_length(u + u_at + row * k, k, &scale), a = scaled / scale;
    activation[activation_at + row] = a;
    for (uint j = 1; j < j_count; j++)
        most = fmax(most, c[j]);
    for (uint j = 0; j < j_count; j++) {
        c[j] = exp(c[j] - most);
        sum += c[j];
    }
    for (uint j = 0; j < j_count; j++) {
        c[j] /= sum;
        weights[weights_at + row * j_count + j] = c[j] * a;
    }
}

__kernel void self_routing_output(__global float *v, const ulong v_at, __global float *share,
    const ulong share_at, __global float *total, const ulong total_at, __global const float *pose,
    const ulong pose_at, __global const float *weights, const ulong weights_at,
    __global const float *activation, const ulong activation_at, const uint rows,
    const uint i_count, const uint j_count, const uint d)
{
    const ulong row = get_global_id(0), b = row / j_count;
    const uint j = (uint)(row % j_count);
    if (row >= rows)
        return;
    float given = 0.0f, all = 0.0f, scale;
    for (uint i = 0; i < i_count; i++) {
        given += weights[weights_at + (b * i_count + i) * j_count + j];
        all += activation[activation_at + b * i_count + i];
    }
    __global const float *m = pose + pose_at + row * d;
    const float part = all == 0.0f ? 0.0f : given / all;
    const float scaled = caps_length(m, d, &scale);
    share[share_at + row] = part;
    if (j == 0)
        total[total_at + b] = all;
    for (uint e = 0; e < d; e++)
        v[v_at + row * d + e] = scaled / scale < FLT_MIN ? 0.0f : m[e] * scale / scaled * part;
}

__kernel void self_routing_gradient(__global float *dpose, const ulong dpose_at,
    __global float *dgiven, const ulong dgiven_at, __global const float *dv, const ulong dv_at,
    __global const float *pose, const ulong pose_at, __global const float *share,
    const ulong share_at, __global const float *total, const ulong total_at, const uint rows,
    const uint j_count, const uint d)
{
    const ulong row = get_global_id(0);
    if (row >= rows)
        return;
    __global const float *m = pose + pose_at + row * d, *g = dv + dv_at + row * d;
    __global float *to = dpose + dpose_at + row * d;
    const float all = total[total_at + row / j_count];
    float scale, along = 0.0f;
    const float scaled = caps_length(m, d, &scale), length = scaled / scale;
    if (length < FLT_MIN || all == 0.0f) {
        for (uint e = 0; e < d; e++)
            to[e] = 0.0f;
        dgiven[dgiven_at + row] = 0.0f;
        return;
    }
    for (uint e = 0; e < d; e++)
        along = fma(m[e] * scale / scaled, g[e], along);
    const float factor = share[share_at + row] / length;
    for (uint e = 0; e < d; e++)
        to[e] = factor * fma(-along, m[e] * scale / scaled, g[e]);
    dgiven[dgiven_at + row] = along / all;
}

__kernel void self_routing_slopes(__global float *votes, const ulong votes_at,
    __global float *dlogits, const ulong dlogits_at, __global float *dactivation,
    const ulong dactivation_at, __global const float *couplings, const ulong couplings_at,
    __global const float *activation, const ulong activation_at, __global const float *dpose,
    const ulong dpose_at, __global const float *dgiven, const ulong dgiven_at,
    __global const float *share, const ulong share_at, const uint rows, const uint i_count,
    const uint j_count, const uint d)
{
    const ulong row = get_global_id(0), b = row / i_count;
    if (row >= rows)
        return;
    __global const float *c = couplings + couplings_at + row * j_count;
    __global const float *dm = dpose + dpose_at + b * j_count * d;
    __global float *slopes = dlogits + dlogits_at + row * j_count;
    __global float *vote = votes + votes_at + row * j_count * d;
    const float a = activation[activation_at + row];
    float mean = 0.0f, rest = 0.0f;
    for (uint j = 0; j < j_count; j++) {
        const float da = dgiven[dgiven_at + b * j_count + j];
        const float h = caps_dot(vote + (ulong)j * d, dm + (ulong)j * d, d) + da;
        slopes[j] = h;
        mean = fma(c[j], h, mean);
        rest = fma(share[share_at + b * j_count + j], da, rest);
    }
    for (uint j = 0; j < j_count; j++) {
        const float weight = c[j] * a;
        slopes[j] = weight * (slopes[j] - mean);
        for (uint e = 0; e < d; e += 16)
            caps_store16(caps_load16(dm + (ulong)j * d + e, d - e, 0.0f) * weight,
                vote + (ulong)j * d + e, d - e);
    }
    dactivation[dactivation_at + row] = mean - rest;
}

// du: by the votes on entry; more: by the logits.
__kernel void self_routing_du(__global float *du, const ulong du_at, __global const float *more,
    const ulong more_at, __global const float *u, const ulong u_at,
    __global const float *dactivation, const ulong dactivation_at, const uint rows, const uint k)
{
    const ulong row = get_global_id(0);
    if (row >= rows)
        return;
    float scale;
    const float scaled = caps_length(u + u_at + row * k, k, &scale);
    const float factor = scaled == 0.0f ? 0.0f : dactivation[dactivation_at + row];
    const float inverse = scaled == 0.0f ? 0.0f : 1.0f / scaled;
    for (uint e = 0; e < k; e++) {
        const float unit = u[u_at + row * k + e] * scale * inverse;
        const ulong at = du_at + row * k + e;
        du[at] = fma(factor, unit, du[at] + more[more_at + row * k + e]);
    }
}
