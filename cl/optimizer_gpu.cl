// optimizer_gpu.cl: Adam and plain gradient descent, GPU family; equations, arguments and numerics
// as in optimizer_cpu.cl. Work: item x takes element x.

__kernel void adam_step(__global float *restrict w, const ulong w_offset,
    __global float *restrict m, const ulong m_offset, __global float *restrict v,
    const ulong v_offset, volatile __global int *flag, const ulong flag_offset,
    __global const float *restrict g, const ulong g_offset, const float rate1,
    const float correct2, const float keep1, const float keep2, const float epsilon,
    const uint count)
{
    const ulong x = get_global_id(0);
    if (x >= count)
        return;
    const float gradient = g[g_offset + x], old1 = m[m_offset + x], old2 = v[v_offset + x];
    const float mean = fma(keep1, gradient - old1, old1);
    const float square = fma(keep2, fma(gradient, gradient, -old2), old2);
    m[m_offset + x] = mean;
    v[v_offset + x] = square;
    w[w_offset + x] -= rate1 * mean / (sqrt(square * correct2) + epsilon);
    if (caps_not_finite(gradient) || caps_not_finite(square))
        atomic_or(flag + flag_offset, 1);
}

__kernel void sgd_step(__global float *restrict w, const ulong w_offset,
    volatile __global int *flag, const ulong flag_offset, __global const float *restrict g,
    const ulong g_offset, const float learning_rate, const uint count)
{
    const ulong x = get_global_id(0);
    if (x >= count)
        return;
    const float gradient = g[g_offset + x];
    w[w_offset + x] = fma(-learning_rate, gradient, w[w_offset + x]);
    if (caps_not_finite(gradient))
        atomic_or(flag + flag_offset, 1);
}

__kernel void average_step(__global float *restrict a, const ulong a_offset,
    __global const float *restrict w, const ulong w_offset, const float rate, const uint count)
{
    const ulong x = get_global_id(0);
    if (x >= count)
        return;
    const float old = a[a_offset + x];
    a[a_offset + x] = fma(rate, w[w_offset + x] - old, old);
}

__kernel void swap_elements(__global float *restrict a, const ulong a_offset,
    __global float *restrict b, const ulong b_offset, const uint count)
{
    const ulong x = get_global_id(0);
    if (x >= count)
        return;
    const float old = a[a_offset + x];
    a[a_offset + x] = b[b_offset + x];
    b[b_offset + x] = old;
}
