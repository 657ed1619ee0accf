/* numbers.c: numbers as JSON, fast: the couplings of an image are tens of thousands. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "explorer.h"

/* Nine significant digits of a number of at least 1e-6 and less than 1e9: a whole number below 1e9
 * (2^30), scaled by a power of ten that a double holds exactly, is off by less than the ninth
 * digit, and float32 needs no more. Returns the end. */
static char *put_digits(char *to, double x)
{
    static const double powers[] = {
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};
    int decimals = 8;
    char digits[20];
    int n = 0;
    while (decimals > 0 && x >= powers[9 - decimals])
        decimals--;
    while (decimals < 14 && x * powers[decimals] < powers[8])
        decimals++;
    unsigned long long value = (unsigned long long)(x * powers[decimals] + 0.5);
    while (decimals > 0 && value % 10 == 0) {
        value /= 10;
        decimals--;
    }
    while (value > 0 || n <= decimals) {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    }
    while (n > 0) {
        *to++ = digits[--n];
        if (n == decimals && n > 0)
            *to++ = '.';
    }
    return to;
}

/* Into at least 32 bytes; returns the end. */
static char *format_number(char *to, float x)
{
    const double size = fabs((double)x);
    if (!isfinite(x)) {
        memcpy(to, "null", 4);
        return to + 4;
    }
    if (size <= 0) {
        *to = '0';
        return to + 1;
    }
    if (size < 1e-6 || size >= 1e9)
        return to + snprintf(to, 32, "%.9g", (double)x);
    if (x < 0)
        *to++ = '-';
    return put_digits(to, size);
}

void caps_put_number(caps_textbuf *t, float x)
{
    char text[32];
    caps_textbuf_append(t, text, (size_t)(format_number(text, x) - text));
}

void caps_put(caps_textbuf *t, const char *text)
{
    caps_textbuf_append(t, text, strlen(text));
}

void caps_put_numbers(caps_textbuf *t, const float *x, size_t n)
{
    char text[40];
    caps_put(t, "[");
    for (size_t i = 0; i < n; i++) {
        char *to = text;
        if (i > 0)
            *to++ = ',';
        caps_textbuf_append(t, text, (size_t)(format_number(to, x[i]) - text));
    }
    caps_put(t, "]");
}

void caps_put_rows(caps_textbuf *t, const float *x, size_t rows, size_t n)
{
    caps_put(t, "[");
    for (size_t i = 0; i < rows; i++) {
        if (i > 0)
            caps_put(t, ",");
        caps_put_numbers(t, x + i * n, n);
    }
    caps_put(t, "]");
}

void caps_put_blocks(caps_textbuf *t, const float *x, size_t blocks, size_t rows, size_t n)
{
    caps_put(t, "[");
    for (size_t i = 0; i < blocks; i++) {
        if (i > 0)
            caps_put(t, ",");
        caps_put_rows(t, x + i * rows * n, rows, n);
    }
    caps_put(t, "]");
}

void caps_put_labels(caps_textbuf *t, const int32_t *labels, size_t n)
{
    caps_put(t, "[");
    for (size_t i = 0; i < n; i++)
        caps_textbuf_put(t, "%s%d", i ? "," : "", (int)labels[i]);
    caps_put(t, "]");
}
