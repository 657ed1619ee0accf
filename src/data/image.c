/* image.c: pictures in memory, and writing them as PNG. */
#include "image.h"

#include <png.h>
#include <stdlib.h>

#include "fail.h"
#include "file.h"

#define MAX_SIZE 16384

caps_status caps_image_init(
    caps_image *image, size_t width, size_t height, size_t channels, caps_error *err)
{
    *image = (caps_image){0};
    if (width < 1 || width > MAX_SIZE || height < 1 || height > MAX_SIZE)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "image: size is %zux%zu, need 1..%d each way",
            width, height, MAX_SIZE);
    if (channels != 1 && channels != 3)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "image: %zu channels, need 1 (grey) or 3 (RGB)", channels);
    image->pixels = calloc(width * height, channels);
    if (!image->pixels)
        return caps_fail(err, CAPS_ERR_MEMORY, "image: out of memory for %zux%zu", width, height);
    image->width = width;
    image->height = height;
    image->channels = channels;
    return CAPS_OK;
}

void caps_image_release(caps_image *image)
{
    if (!image)
        return;
    free(image->pixels);
    *image = (caps_image){0};
}

caps_status caps_image_encode_png(
    unsigned char **data, size_t *n, const caps_image *image, caps_error *err)
{
    caps_status status = CAPS_OK;
    png_image png = {.version = PNG_IMAGE_VERSION};
    *data = NULL;
    if (image->width > MAX_SIZE || image->height > MAX_SIZE)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "picture of %zux%zu, need <= %d each way",
            image->width, image->height, MAX_SIZE);
    png.width = (png_uint_32)image->width;
    png.height = (png_uint_32)image->height;
    png.format = image->channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(png);
    *data = malloc(bytes);
    if (!*data)
        return caps_fail(err, CAPS_ERR_MEMORY, "out of memory for a picture of %zux%zu",
            image->width, image->height);
    if (!png_image_write_to_memory(&png, *data, &bytes, 0, image->pixels, 0, NULL)) {
        status = caps_fail(err, CAPS_ERR_MEMORY, "cannot make a PNG: %s", png.message);
        free(*data);
        *data = NULL;
    }
    *n = bytes;
    png_image_free(&png);
    return status;
}

caps_status caps_image_write_png(const caps_image *image, const char *path, caps_error *err)
{
    unsigned char *file = NULL;
    size_t n = 0;
    caps_status status = caps_image_encode_png(&file, &n, image, err);
    if (status != CAPS_OK)
        return caps_fail_prefix(err, status, "%s", path);
    status = caps_file_write(path, file, n, err);
    free(file);
    return status;
}
