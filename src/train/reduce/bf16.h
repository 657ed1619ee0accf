/* bf16.h: gradients as bfloat16 (the upper half of a float) on their way between ranks.
 *
 * Rounding is to the nearest, ties to even. What it leaves out is not lost: it is kept, and added to
 * the next step's gradient before that is rounded (error feedback), so that over many steps the sum
 * of what was sent differs from that of the gradients by what one rounding leaves.
 *
 *     sent = bf16(g + left),    left = g + left - sent
 *
 * Infinities and NaN are sent as they are, and leave 0. A number that rounds past the largest
 * bfloat16 (3.39e38) is sent as infinity: it stops the training as any other one. */
#ifndef CAPS_BF16_H
#define CAPS_BF16_H

#include <stddef.h>
#include <stdint.h>

/* sent [n]; g [n]; left [n] from the step before, at first 0. No two overlap. */
void caps_bf16_round(uint16_t *sent, float *left, const float *g, size_t n);
/* to [n] = from [n] */
void caps_bf16_read(float *to, const uint16_t *from, size_t n);
/* sum [n] += from [n] */
void caps_bf16_add(float *sum, const uint16_t *from, size_t n);

#endif
