/* exif.c: the one tag of EXIF data that changes how a picture is seen. */
#include <string.h>

#include "raster.h"

/* A TIFF structure: numbers in the byte order that it states. */
typedef struct tiff {
    const unsigned char *at;
    size_t n;
    bool big; /* big-endian */
} tiff;

/* The number of `bytes` bytes at `offset`, or 0 past the end. */
static uint32_t tiff_number(const tiff *t, size_t offset, size_t bytes)
{
    uint32_t value = 0;
    if (offset > t->n || bytes > t->n - offset)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | t->at[offset + (t->big ? i : bytes - 1 - i)];
    return value;
}

int caps_exif_orientation(const unsigned char *data, size_t n)
{
    enum { TAG = 0x0112, SHORT = 3, ENTRY = 12 };
    tiff t = {.at = data, .n = n};
    if (n >= 6 && memcmp(data, "Exif\0\0", 6) == 0) {
        t.at += 6;
        t.n -= 6;
    }
    if (t.n < 8 || (memcmp(t.at, "II", 2) != 0 && memcmp(t.at, "MM", 2) != 0))
        return 1;
    t.big = t.at[0] == 'M';
    if (tiff_number(&t, 2, 2) != 42)
        return 1;
    const size_t directory = tiff_number(&t, 4, 4);
    const uint32_t count = tiff_number(&t, directory, 2);
    for (uint32_t i = 0; i < count; i++) {
        const size_t entry = directory + 2 + (size_t)i * ENTRY;
        if (entry + ENTRY > t.n)
            break;
        if (tiff_number(&t, entry, 2) != TAG)
            continue;
        const uint32_t value = tiff_number(&t, entry + 8, 2);
        const bool right = tiff_number(&t, entry + 2, 2) == SHORT &&
                           tiff_number(&t, entry + 4, 4) == 1 && value >= 1 && value <= 8;
        return right ? (int)value : 1;
    }
    return 1;
}
