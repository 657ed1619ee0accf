/* png_files.h: PNG files of kinds that caps_image_write_png does not write, made by libpng. */
#ifndef CAPS_TEST_PNG_FILES_H
#define CAPS_TEST_PNG_FILES_H

#include <png.h>
#include <stddef.h>

typedef struct test_png {
    size_t width, height;
    int colour, depth; /* PNG_COLOR_TYPE_*; 8 or 16 bits */
    unsigned (*sample)(size_t x, size_t y, size_t s);
    const png_color_16 *clear; /* NULL, or the one colour that is transparent */
    size_t palette;            /* entries of grey i * 255 / (palette - 1), */
    const png_byte *alphas;    /* NULL, or what they cover */
} test_png;

void test_png_write(const char *path, const test_png *kind);

#endif
