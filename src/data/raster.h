/* raster.h: a decoded picture, before it is made ready: what the readers of PNG and JPEG give. */
#ifndef CAPS_RASTER_H
#define CAPS_RASTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capscl/error.h>

typedef struct caps_raster {
    size_t width, height;
    size_t channels; /* 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; interleaved */
    bool wide;       /* samples are uint16_t, of 0..65535; else uint8_t */
    void *samples;   /* [height, width, channels]; freed with free() */
    int orientation; /* of EXIF: 1 to 8; 1: as it is */
    bool cmyk;
    bool imperfect; /* bytes that belong to nothing were skipped */
} caps_raster;

/* Both take a whole file in memory and fill a zeroed raster; `path` is for messages.
 * CAPS_ERR_FORMAT, CAPS_ERR_MEMORY. */
caps_status caps_png_decode(
    caps_raster *r, const unsigned char *file, size_t n, const char *path, caps_error *err);
caps_status caps_jpeg_decode(
    caps_raster *r, const unsigned char *file, size_t n, const char *path, caps_error *err);

bool caps_png_is(const unsigned char *file, size_t n);
bool caps_jpeg_is(const unsigned char *file, size_t n);

#define CAPS_RASTER_MESSAGE 256
/* Whether a picture may have that size; false: `message` says what it may have. Asked before memory
 * is taken for it. */
bool caps_raster_may_be(char message[CAPS_RASTER_MESSAGE], size_t width, size_t height);

/* The orientation that EXIF data (a TIFF structure, with or without "Exif\0\0" before it) states:
 * 1 to 8; 1 where it states none or is damaged. */
int caps_exif_orientation(const unsigned char *data, size_t n);

#endif
