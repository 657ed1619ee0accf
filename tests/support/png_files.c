/* png_files.c: see png_files.h. */
#include "png_files.h"

#include <stdlib.h>

#include "support.h"

static size_t samples_of(int colour)
{
    return colour == PNG_COLOR_TYPE_RGB_ALPHA    ? 4
           : colour == PNG_COLOR_TYPE_RGB        ? 3
           : colour == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
                                                 : 1;
}

static void put_palette(png_structp png, png_infop info, const test_png *k)
{
    png_color colours[256];
    for (size_t i = 0; i < k->palette; i++)
        colours[i].red = colours[i].green = colours[i].blue =
            (png_byte)(i * 255 / (k->palette - 1));
    png_set_PLTE(png, info, colours, (int)k->palette);
    if (k->alphas)
        png_set_tRNS(png, info, k->alphas, (int)k->palette, NULL);
}

void test_png_write(const char *path, const test_png *k)
{
    const size_t samples = samples_of(k->colour);
    FILE *f = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_byte *row = malloc(k->width * samples * 2);
    ck_assert(f && png && info && row);
    png_init_io(png, f);
    png_set_IHDR(png, info, (png_uint_32)k->width, (png_uint_32)k->height, k->depth, k->colour,
        PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (k->colour == PNG_COLOR_TYPE_PALETTE)
        put_palette(png, info, k);
    if (k->clear)
        png_set_tRNS(png, info, NULL, 0, k->clear);
    png_write_info(png, info);
    for (size_t y = 0; y < k->height; y++) {
        png_byte *p = row;
        for (size_t i = 0; i < k->width * samples; i++) {
            const unsigned value = k->sample(i / samples, y, i % samples);
            if (k->depth == 16)
                *p++ = (png_byte)(value >> 8);
            *p++ = (png_byte)value;
        }
        png_write_row(png, row);
    }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    free(row);
    fclose(f);
}
