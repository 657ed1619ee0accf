/* bf16.c: see bf16.h. The loops have no branches, so that compilers make vectors of them. */
#include "bf16.h"

typedef union bits {
    float value;
    uint32_t bits;
} bits;

static float widen(uint16_t half)
{
    return (bits){.bits = (uint32_t)half << 16}.value;
}

void caps_bf16_round(
    uint16_t *restrict sent, float *restrict left, const float *restrict g, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float whole = g[i] + left[i];
        const uint32_t x = (bits){.value = whole}.bits, size = x & 0x7fffffff;
        const uint32_t nearest = x + 0x7fff + (x >> 16 & 1); /* of a NaN it may be a number */
        const uint32_t half = (size > 0x7f800000 ? x | 0x400000 : nearest) >> 16;
        const float rest = whole - (bits){.bits = half << 16}.value;
        sent[i] = (uint16_t)half;
        left[i] = (half & 0x7f80) == 0x7f80 ? 0 : rest;
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
