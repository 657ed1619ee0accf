// dropout.cl: elements set to zero by a counter-based draw, one kernel for both families.
//
//     y[i] = x[i] / (1 - rate) where word(first + i) >= threshold, else 0
//
// word(e) is word e % 4 of the Philox4x32-10 block (src/base/rng.c) of key `seed` and counter
// (stream, step, e / 4), the same on every device: forward and backward draw alike, nothing is
// stored. Shapes: flat, `count` elements; y may be x. Work: item n takes elements n * per_item and
// following.

static uint4 caps_philox(uint4 c, uint2 k)
{
    for (int round = 0; round < 10; round++) {
        const uint high0 = mul_hi(0xD2511F53u, c.x), low0 = 0xD2511F53u * c.x;
        const uint high1 = mul_hi(0xCD9E8D57u, c.z), low1 = 0xCD9E8D57u * c.z;
        c = (uint4)(high1 ^ c.y ^ k.x, low1, high0 ^ c.w ^ k.y, low0);
        k += (uint2)(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

__kernel void dropout(__global float *y, const ulong y_offset, __global const float *x,
    const ulong x_offset, const float factor, const uint threshold, const uint seed_low,
    const uint seed_high, const uint stream, const uint step, const uint first_low,
    const uint first_high, const uint count, const uint per_item)
{
    const ulong begin = get_global_id(0) * (ulong)per_item,
                end = min((ulong)count, begin + per_item);
    const uint2 key = (uint2)(seed_low, seed_high);
    const ulong first = (ulong)first_high << 32 | first_low;
    uint4 words = (uint4)(0);
    for (ulong i = begin; i < end; i++) {
        const ulong e = first + i, block = e / 4;
        if (i == begin || e % 4 == 0)
            words = caps_philox((uint4)(stream, step, (uint)block, (uint)(block >> 32)), key);
        const uint low = e % 2 ? words.y : words.x, high = e % 2 ? words.w : words.z;
        const uint word = e % 4 < 2 ? low : high;
        y[y_offset + i] = word >= threshold ? factor * x[x_offset + i] : 0.0f;
    }
}
