/* jpeg_files.h: JPEG files of every kind, made by libjpeg. */
#ifndef CAPS_TEST_JPEG_FILES_H
#define CAPS_TEST_JPEG_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct test_jpeg {
    size_t width, height;
    size_t components; /* 1 grey, 3 colour, 4 CMYK as it is stored */
    uint8_t (*sample)(size_t x, size_t y, size_t component);
    bool progressive, separate; /* separate: a scan for each component */
    bool ycck, no_adobe;        /* of CMYK */
    int orientation;            /* 0: no EXIF */
    bool big_endian;            /* EXIF's numbers */
    int quality;                /* 0: 100, colour at full resolution */
} test_jpeg;

/* The file, *n bytes, freed with free(). */
unsigned char *test_jpeg_make(size_t *n, const test_jpeg *kind);
/* EXIF data with an orientation, after an entry that is something else; returns its bytes. */
enum { TEST_EXIF_BYTES = 6 + 8 + 2 + 2 * 12 + 4 };
void test_exif_make(unsigned char exif[TEST_EXIF_BYTES], int orientation, bool big_endian);

#endif
