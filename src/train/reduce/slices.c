/* slices.c: see slices.h. */
#include "slices.h"

#include <string.h>

#include "bf16.h"

size_t caps_slice_get(size_t *first, size_t count, int ranks, int k)
{
    const size_t each = (count / (size_t)ranks + 15) / 16 * 16;
    *first = each * (size_t)k < count ? each * (size_t)k : count;
    return k + 1 == ranks || *first + each > count ? count - *first : each;
}

size_t caps_slice_width(caps_reduce way)
{
    return way == CAPS_REDUCE_BF16 ? sizeof(uint16_t) : sizeof(float);
}

void caps_slice_add(
    caps_reduce way, const void *part, float *restrict sum, size_t at, size_t length, bool begins)
{
    if (way == CAPS_REDUCE_BF16 && begins)
        caps_bf16_read(sum, (const uint16_t *)part + at, length);
    else if (way == CAPS_REDUCE_BF16)
        caps_bf16_add(sum, (const uint16_t *)part + at, length);
    else if (begins)
        memcpy(sum, (const float *)part + at, length * sizeof *sum);
    else {
        const float *restrict from = (const float *)part + at;
        for (size_t i = 0; i < length; i++)
            sum[i] += from[i];
    }
}
