/* rng.c: Philox4x32-10 and draws from it. */
#include "rng.h"

#include <assert.h>
#include <math.h>

void caps_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    /* Multipliers and key increments of the paper's section 4. */
    const uint64_t m0 = 0xD2511F53u, m1 = 0xCD9E8D57u;
    const uint32_t w0 = 0x9E3779B9u, w1 = 0xBB67AE85u;
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = m0 * c0, p1 = m1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += w0;
        k1 += w1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* `first` is the counter's first word: the stream in its low byte, for rng_below the number of the
 * attempt above it. */
static void words(uint32_t out[4], uint64_t seed, uint32_t first, uint32_t a, uint64_t b)
{
    const uint32_t counter[4] = {first, a, (uint32_t)b, (uint32_t)(b >> 32)};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    caps_philox(out, counter, key);
}

void caps_rng_words(uint32_t out[4], uint64_t seed, caps_rng_stream stream, uint32_t a, uint64_t b)
{
    words(out, seed, (uint32_t)stream, a, b);
}

static uint64_t join(uint32_t low, uint32_t high)
{
    return (uint64_t)high << 32 | low;
}

uint64_t caps_rng_below(uint64_t n, uint64_t seed, caps_rng_stream stream, uint32_t a, uint64_t b)
{
    assert(n >= 1);
    /* 2^64 mod n values at the low end would make some remainders more frequent: draw again. */
    const uint64_t reject = (0 - n) % n;
    for (uint32_t attempt = 0;; attempt++) {
        uint32_t w[4];
        words(w, seed, (uint32_t)stream | attempt << 8, a, b);
        uint64_t x = join(w[0], w[1]), y = join(w[2], w[3]);
        if (x >= reject)
            return x % n;
        if (y >= reject)
            return y % n;
    }
}

double caps_rng_uniform(uint64_t seed, caps_rng_stream stream, uint32_t a, uint64_t b)
{
    uint32_t w[4];
    caps_rng_words(w, seed, stream, a, b);
    return (double)(join(w[0], w[1]) >> 11) * 0x1p-53;
}

float caps_rng_normal(uint64_t seed, caps_rng_stream stream, uint32_t a, uint64_t b)
{
    const double two_pi = 6.283185307179586476925286766559;
    uint32_t w[4];
    caps_rng_words(w, seed, stream, a, b);
    double u =
        (double)((join(w[0], w[1]) >> 11) + 1) * 0x1p-53; /* (0, 1]: the logarithm is finite */
    double angle = two_pi * ((double)(join(w[2], w[3]) >> 11) * 0x1p-53);
    return (float)(sqrt(-2 * log(u)) * cos(angle));
}

void caps_rng_shuffle(uint32_t *order, uint32_t n, uint64_t seed, uint32_t epoch)
{
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t last = i - 1;
        uint32_t pick = (uint32_t)caps_rng_below(i, seed, CAPS_RNG_SHUFFLE, epoch, last);
        uint32_t last_value = order[last];
        order[last] = order[pick];
        order[pick] = last_value;
    }
}
