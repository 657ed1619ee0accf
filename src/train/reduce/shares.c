/* shares.c: see shares.h. */
#include "shares.h"

#include <ctype.h>
#include <stdlib.h>

#include "fail.h"

caps_status caps_shares_read(uint32_t **weights, const char *text, size_t n, caps_error *err)
{
    const char *at = text ? text : "";
    size_t count = 0;
    *weights = malloc((n ? n : 1) * sizeof **weights);
    if (!*weights)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for %zu shares", n);
    if (!*at) {
        for (size_t i = 0; i < n; i++)
            (*weights)[i] = 1;
        return CAPS_OK;
    }
    for (;; at++) {
        char *end = NULL;
        const unsigned long value = isdigit((unsigned char)*at) ? strtoul(at, &end, 10) : 0;
        if (value < 1 || value > CAPS_WEIGHT_MOST || (*end && *end != ':'))
            break;
        if (count < n)
            (*weights)[count] = (uint32_t)value;
        count++;
        at = end;
        if (*at)
            continue;
        if (count == n)
            return CAPS_OK;
        free(*weights);
        *weights = NULL;
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "split %s: %zu shares, need one for each of %zu %s", text, count, n,
            n == 1 ? "device" : "devices");
    }
    free(*weights);
    *weights = NULL;
    return caps_fail(err, CAPS_ERR_ARGUMENT,
        "split %s: need whole numbers of 1 to %d with colons between them, as 60:40", text,
        CAPS_WEIGHT_MOST);
}

void caps_share_get(
    size_t *first, size_t *count, const uint32_t *weights, size_t n, size_t which, size_t images)
{
    uint64_t all = 0, before = 0;
    for (size_t i = 0; i < n; i++) {
        before += i < which ? weights[i] : 0;
        all += weights[i];
    }
    const uint64_t end = before + weights[which];
    *first = (size_t)((2 * images * before + all) / (2 * all));
    *count = (size_t)((2 * images * end + all) / (2 * all)) - *first;
}

size_t caps_share_most(const uint32_t *weights, size_t n, size_t which, size_t images)
{
    size_t most = 0, first, count;
    for (size_t b = 0; b <= images; b++) { /* a smaller batch may round to one more */
        caps_share_get(&first, &count, weights, n, which, b);
        most = count > most ? count : most;
    }
    return most;
}
