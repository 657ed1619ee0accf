/* shares.h: which images of a batch each of several devices computes. */
#ifndef CAPS_SHARES_H
#define CAPS_SHARES_H

#include <capscl/error.h>
#include <stddef.h>
#include <stdint.h>

enum { CAPS_SHARES_MOST = 65536, CAPS_WEIGHT_MOST = 1000000 };

/* The weights of n shares, from "60:40"; "" or NULL: all are 1. *weights is freed with free().
 * CAPS_ERR_ARGUMENT: not n whole numbers of 1 to CAPS_WEIGHT_MOST. CAPS_ERR_MEMORY. */
caps_status caps_shares_read(uint32_t **weights, const char *text, size_t n, caps_error *err);

/* Images of share `which` in a batch of `images`: [*first, *first + *count). The shares lie side by
 * side in their order, their ends at the nearest whole image; some may be empty. */
void caps_share_get(
    size_t *first, size_t *count, const uint32_t *weights, size_t n, size_t which, size_t images);
/* The most images that it has in a batch of at most `images`. */
size_t caps_share_most(const uint32_t *weights, size_t n, size_t which, size_t images);

#endif
