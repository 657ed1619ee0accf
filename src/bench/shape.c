/* shape.c: shapes from the command line. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#include "fail.h"

#define MOST_ELEMENTS 0x1p40 /* of one tensor: no device has the memory, and counts overflow */
enum { MOST_SIZE = 100000000, GEMM_NUMBERS = 3, CONV_NUMBERS = 7 };

static caps_status shape_refuse(caps_error *err, const char *text, bool conv)
{
    return caps_fail(err, CAPS_ERR_ARGUMENT, "bench: --shape: '%s' is no shape, need %s", text,
        conv ? "BxCxHxWxMxKERNELxSTRIDE or .. xPADDING, for instance 100x1x28x28x256x9x1"
             : "MxNxK, for instance 512x512x512 or 100x512x160:nt");
}

/* 1..MOST_SIZE digits up to an 'x' or the end; *text then stands behind them. */
static bool shape_read_number(size_t *out, const char **text)
{
    size_t value = 0;
    const char *at = *text;
    for (; *at >= '0' && *at <= '9' && value <= MOST_SIZE; at++)
        value = 10 * value + (size_t)(*at - '0');
    if (at == *text || value > MOST_SIZE)
        return false;
    *out = value;
    *text = at;
    return true;
}

/* ":nt" */
static bool shape_read_transposes(caps_bench_shape *shape, const char *text)
{
    if (strlen(text) != 3 || text[0] != ':' || !strchr("nt", text[1]) || !strchr("nt", text[2]))
        return false;
    shape->trans_a = text[1] == 't';
    shape->trans_b = text[2] == 't';
    return true;
}

static bool shape_is_too_large(const caps_bench_shape *shape, bool conv)
{
    const size_t *n = shape->numbers;
    const double m = (double)n[0], c = (double)n[1], k = (double)n[2];
    if (!conv)
        return m * c > MOST_ELEMENTS || m * k > MOST_ELEMENTS || c * k > MOST_ELEMENTS;
    const double pixels = (double)n[2] * (double)n[3], taps = c * (double)n[5] * (double)n[5];
    const double padded = (double)(n[2] + 2 * n[7]) * (double)(n[3] + 2 * n[7]);
    return m * c * pixels > MOST_ELEMENTS || (double)n[4] * taps > MOST_ELEMENTS ||
           m * (double)n[4] * padded > MOST_ELEMENTS || taps * padded > MOST_ELEMENTS;
}

caps_status caps_bench_shape_parse(
    caps_bench_shape *shape, const char *text, bool conv, caps_error *err)
{
    const size_t least = conv ? CONV_NUMBERS : GEMM_NUMBERS;
    const size_t most = conv ? CONV_NUMBERS + 1 : GEMM_NUMBERS;
    const char *at = text;
    size_t count = 0;
    *shape = (caps_bench_shape){0};
    while (count < most && shape_read_number(&shape->numbers[count], &at)) {
        /* Only the padding may be 0. */
        if (shape->numbers[count] == 0 && count < CONV_NUMBERS)
            return shape_refuse(err, text, conv);
        count++;
        if (*at != 'x')
            break;
        at++;
        if (count == most)
            return shape_refuse(err, text, conv);
    }
    if (count < least || at[-1] == 'x' || (*at && (conv || !shape_read_transposes(shape, at))))
        return shape_refuse(err, text, conv);
    if (shape_is_too_large(shape, conv))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "bench: --shape %s is too large", text);
    const size_t *n = shape->numbers;
    if (conv && (n[7] >= n[5] || n[5] > n[2] + 2 * n[7] || n[5] > n[3] + 2 * n[7]))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "bench: --shape %s: a kernel of %zu with padding %zu does not fit %zux%zu", text, n[5],
            n[7], n[2], n[3]);
    return CAPS_OK;
}
