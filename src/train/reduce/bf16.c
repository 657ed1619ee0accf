/* bf16.c: see bf16.h. The loops have no branches, so that compilers make vectors of them. */
#include "bf16.h"

#include <stdbool.h>
#include <string.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float value_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float widen(uint16_t half)
{
    return value_of((uint32_t)half << 16);
}

/* Bits of a number, the sign left out, compare as signed integers do: vectors have no others. */
static const int32_t infinite = 0x7f800000;

void caps_bf16_round(
    uint16_t *restrict sent, float *restrict left, const float *restrict g, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float whole = g[i] + left[i];
        const uint32_t x = bits_of(whole);
        const uint32_t nearest = x + 0x7fff + (x >> 16 & 1); /* of a NaN it may be a number */
        const bool is_nan = (int32_t)(x & 0x7fffffff) > infinite;
        const uint32_t half = (is_nan ? x | 0x400000 : nearest) & 0xffff0000;
        const uint32_t kept = (int32_t)(half & 0x7f800000) == infinite ? 0 : 0xffffffff;
        left[i] = value_of(bits_of(whole - value_of(half)) & kept);
        sent[i] = (uint16_t)(half >> 16);
    }
}

void caps_bf16_read(float *restrict to, const uint16_t *restrict from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = widen(from[i]);
}

void caps_bf16_add(float *restrict sum, const uint16_t *restrict from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum[i] += widen(from[i]);
}
