// optimizer_cpu.cl: Adam and plain gradient descent, CPU family.
//
// Adam (Kingma and Ba 2015), with state m and v, zero before the first step:
//     m += (1 - beta1) (g - m)                      = beta1 m + (1 - beta1) g
//     v += (1 - beta2) (g^2 - v)                    = beta2 v + (1 - beta2) g^2
//     w -= learning_rate / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + epsilon)
// sgd: w -= learning_rate g.
// average: a += rate (w - a), the exponential moving average of w.  swap: a and b change places.
//
// Flat arrays of `count` elements. The host gives, from double precision: rate1 = learning_rate /
// (1 - beta1^t), correct2 = 1 / (1 - beta2^t), keep1 = 1 - beta1, keep2 = 1 - beta2. flag[0]
// becomes 1 where a g is not finite, or where v leaves the range of float32; it is never cleared.
// Work: item n takes elements n * per_item and following, sixteen at a time. Elements do not meet.
// Numerics: float32 state; one step rounds each of m, v, w a few times. v of a |g| below 1e-19
// vanishes: its square root would be far below epsilon. The flag is set atomically, by an or.

CPU_ITEM void adam_step_item(__global float *restrict w, const ulong w_offset,
    __global float *restrict m, const ulong m_offset, __global float *restrict v,
    const ulong v_offset, volatile __global int *flag, const ulong flag_offset,
    __global const float *restrict g, const ulong g_offset, const float rate1, const float correct2,
    const float keep1, const float keep2, const float epsilon, const uint count,
    const uint per_item, const size_t id0)
{
    const ulong first = id0 * (ulong)per_item, end = min((ulong)count, first + per_item);
    int16 spoilt = 0;
    for (ulong x = first; x < end; x += 16) {
        const ulong n = end - x;
        const float16 gradient = caps_load16(g + g_offset + x, n, 0.0f);
        const float16 old1 = caps_load16(m + m_offset + x, n, 0.0f);
        const float16 old2 = caps_load16(v + v_offset + x, n, 0.0f);
        const float16 mean = fma((float16)keep1, gradient - old1, old1);
        const float16 square = fma((float16)keep2, fma(gradient, gradient, -old2), old2);
        const float16 step = rate1 * mean / (sqrt(square * correct2) + epsilon);
        spoilt |= ~isfinite(gradient) | ~isfinite(square);
        caps_store16(mean, m + m_offset + x, n);
        caps_store16(square, v + v_offset + x, n);
        caps_store16(caps_load16(w + w_offset + x, n, 0.0f) - step, w + w_offset + x, n);
    }
    if (any(spoilt))
        atomic_or(flag + flag_offset, 1);
}

CPU_KERNEL void adam_step(__global float *restrict w, const ulong w_offset,
    __global float *restrict m, const ulong m_offset, __global float *restrict v,
    const ulong v_offset, volatile __global int *flag, const ulong flag_offset,
    __global const float *restrict g, const ulong g_offset, const float rate1, const float correct2,
    const float keep1, const float keep2, const float epsilon, const uint count,
    const uint per_item)
{
    adam_step_item(w, w_offset, m, m_offset, v, v_offset, flag, flag_offset, g, g_offset, rate1,
        correct2, keep1, keep2, epsilon, count, per_item, get_global_id(0));
}

CPU_ITEM void sgd_step_item(__global float *restrict w, const ulong w_offset,
    volatile __global int *flag, const ulong flag_offset, __global const float *restrict g,
    const ulong g_offset, const float learning_rate, const uint count, const uint per_item,
    const size_t id0)
{
    const ulong first = id0 * (ulong)per_item, end = min((ulong)count, first + per_item);
    int16 spoilt = 0;
    for (ulong x = first; x < end; x += 16) {
        const ulong n = end - x;
        const float16 gradient = caps_load16(g + g_offset + x, n, 0.0f);
        spoilt |= ~isfinite(gradient);
        const float16 weight = caps_load16(w + w_offset + x, n, 0.0f);
        caps_store16(fma((float16)(-learning_rate), gradient, weight),
            w + w_offset + x, n);
    }
    if (any(spoilt))
        atomic_or(flag + flag_offset, 1);
}

CPU_KERNEL void sgd_step(__global float *restrict w, const ulong w_offset,
    volatile __global int *flag, const ulong flag_offset, __global const float *restrict g,
    const ulong g_offset, const float learning_rate, const uint count, const uint per_item)
{
    sgd_step_item(
        w, w_offset, flag, flag_offset, g, g_offset, learning_rate, count, per_item,
        get_global_id(0));
}

CPU_ITEM void average_step_item(__global float *restrict a, const ulong a_offset,
    __global const float *restrict w, const ulong w_offset, const float rate, const uint count,
    const uint per_item, const size_t id0)
{
    const ulong first = id0 * (ulong)per_item, end = min((ulong)count, first + per_item);
    for (ulong x = first; x < end; x += 16) {
        const ulong n = end - x;
        const float16 old = caps_load16(a + a_offset + x, n, 0.0f);
        const float16 value = caps_load16(w + w_offset + x, n, 0.0f);
        caps_store16(fma((float16)rate, value - old, old), a + a_offset + x, n);
    }
}

CPU_KERNEL void average_step(__global float *restrict a, const ulong a_offset,
    __global const float *restrict w, const ulong w_offset, const float rate, const uint count,
    const uint per_item)
{
    average_step_item(a, a_offset, w, w_offset, rate, count, per_item, get_global_id(0));
}

CPU_ITEM void swap_elements_item(__global float *restrict a, const ulong a_offset,
    __global float *restrict b, const ulong b_offset, const uint count, const uint per_item,
    const size_t id0)
{
    const ulong first = id0 * (ulong)per_item, end = min((ulong)count, first + per_item);
    for (ulong x = first; x < end; x += 16) {
        const ulong n = end - x;
        const float16 old = caps_load16(a + a_offset + x, n, 0.0f);
        caps_store16(caps_load16(b + b_offset + x, n, 0.0f), a + a_offset + x, n);
        caps_store16(old, b + b_offset + x, n);
    }
}

CPU_KERNEL void swap_elements(__global float *restrict a, const ulong a_offset,
    __global float *restrict b, const ulong b_offset, const uint count, const uint per_item)
{
    swap_elements_item(a, a_offset, b, b_offset, count, per_item, get_global_id(0));
}
