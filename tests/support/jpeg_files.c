/* jpeg_files.c: see jpeg_files.h. */
#include "jpeg_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "support.h"

static void put_number(unsigned char *at, size_t bytes, unsigned value, bool big)
{
    for (size_t i = 0; i < bytes; i++)
        at[big ? bytes - 1 - i : i] = (unsigned char)(value >> (8 * i));
}

static void put_entry(unsigned char *at, unsigned tag, unsigned type, unsigned value, bool big)
{
    put_number(at, 2, tag, big);
    put_number(at + 2, 2, type, big);
    put_number(at + 4, 4, 1, big);
    put_number(at + 8, type == 3 ? 2 : 4, value, big);
}

void test_exif_make(unsigned char exif[TEST_EXIF_BYTES], int orientation, bool big)
{
    unsigned char *tiff = exif + 6;
    memset(exif, 0, TEST_EXIF_BYTES);
    memcpy(exif, "Exif\0\0", 6);
    memcpy(tiff, big ? "MM" : "II", 2);
    put_number(tiff + 2, 2, 42, big);
    put_number(tiff + 4, 4, 8, big);
    put_number(tiff + 8, 2, 2, big);
    put_entry(tiff + 10, 0x0100, 4, 640, big);
    put_entry(tiff + 22, 0x0112, 3, (unsigned)orientation, big);
}

static void set_colours(j_compress_ptr jpeg, const test_jpeg *k)
{
    jpeg->input_components = (int)k->components;
    jpeg->in_color_space = k->components == 1   ? JCS_GRAYSCALE
                           : k->components == 3 ? JCS_RGB
                                                : JCS_CMYK;
    jpeg_set_defaults(jpeg);
    if (k->components == 4) {
        jpeg_set_colorspace(jpeg, k->ycck ? JCS_YCCK : JCS_CMYK);
        jpeg->write_Adobe_marker = !k->no_adobe;
    }
    jpeg_set_quality(jpeg, k->quality ? k->quality : 100, TRUE);
    for (int c = 0; !k->quality && c < jpeg->num_components; c++)
        jpeg->comp_info[c].h_samp_factor = jpeg->comp_info[c].v_samp_factor = 1;
}

unsigned char *test_jpeg_make(size_t *n, const test_jpeg *k)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    jpeg_scan_info scans[4];
    unsigned char *file = NULL;
    unsigned long bytes = 0;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &file, &bytes);
    jpeg.image_width = (JDIMENSION)k->width;
    jpeg.image_height = (JDIMENSION)k->height;
    set_colours(&jpeg, k);
    for (int c = 0; c < 4; c++)
        scans[c] = (jpeg_scan_info){.comps_in_scan = 1, .component_index = {c}, .Se = 63};
    if (k->progressive)
        jpeg_simple_progression(&jpeg);
    if (k->separate) {
        jpeg.scan_info = scans;
        jpeg.num_scans = jpeg.num_components;
    }
    jpeg_start_compress(&jpeg, TRUE);
    if (k->orientation) {
        unsigned char exif[TEST_EXIF_BYTES];
        test_exif_make(exif, k->orientation, k->big_endian);
        jpeg_write_marker(&jpeg, JPEG_APP0 + 1, exif, sizeof exif);
    }
    JSAMPROW row = malloc(k->width * k->components);
    for (size_t y = 0; y < k->height; y++) {
        for (size_t i = 0; i < k->width * k->components; i++)
            row[i] = k->sample(i / k->components, y, i % k->components);
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    free(row);
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    *n = bytes;
    return file;
}
