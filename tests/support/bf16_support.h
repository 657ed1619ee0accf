/* bf16_support.h: bfloat16 by its definition, for comparison. */
#ifndef BF16_SUPPORT_H
#define BF16_SUPPORT_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float test_bf16_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float test_bf16_value(uint16_t sent)
{
    return test_bf16_bits((uint32_t)sent << 16);
}

/* The bfloat16 nearest to x, found among its neighbours in double; of two the even one. */
static inline uint16_t test_bf16_nearest(double x)
{
    const float value = (float)x; /* exact */
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t below = (uint16_t)(bits >> 16), above = (uint16_t)(below + 1); /* in size */
    const double large =
        (above & 0x7f80) == 0x7f80 ? copysign(ldexp(1, 128), x) : (double)test_bf16_value(above);
    const double down = fabs(x - (double)test_bf16_value(below)), up = fabs(large - x);
    return down < up || (down == up && below % 2 == 0) ? below : above;
}

#endif
