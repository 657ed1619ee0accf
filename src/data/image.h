/* image.h: pictures in memory: read from files, written as PNG, converted for a model. */
#ifndef CAPS_IMAGE_H
#define CAPS_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capscl/error.h>

typedef struct caps_image {
    size_t width, height, channels; /* 1 grey or 3 RGB, interleaved rows */
    uint8_t *pixels;                /* [height, width, channels] */
} caps_image;

/* A PNG or JPEG file, by its first bytes: caps_picture_read (picture.h) with its defaults. */
caps_status caps_image_read(caps_image *image, const char *path, caps_error *err);
/* A PNG file in memory: *n bytes, freed with free(). */
caps_status caps_image_encode_png(
    unsigned char **data, size_t *n, const caps_image *image, caps_error *err);
/* Atomic (file.h). CAPS_ERR_IO. */
caps_status caps_image_write_png(const caps_image *image, const char *path, caps_error *err);
caps_status caps_image_init(
    caps_image *image, size_t width, size_t height, size_t channels, caps_error *err);
void caps_image_release(caps_image *image);

/* Picture to network input [C,H,W], 0..1: colour to grey by Rec. 601 luma or grey to colour by
 * repeating; inverted where requested; scaled with its proportions kept (area average when
 * shrinking, bilinear when growing), centred, the rest 0. channels 1 or 3 (others:
 * CAPS_ERR_MISMATCH). An image of the right size passes unscaled. */
caps_status caps_image_convert(float *out, const caps_image *image, size_t channels, size_t height,
    size_t width, bool invert, caps_error *err);

#endif
