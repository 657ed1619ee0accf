/* image.c: PNG pictures and their conversion to network inputs. */
#include "image.h"

#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"

#define MAX_SIZE       16384
#define MAX_FILE_BYTES ((size_t)1 << 31)

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

/* ---- PNG ------------------------------------------------------------------------------------ */

/* libpng's classic interface: the simplified one of 1.6.39 mixes up the pixels of interlaced
 * pictures of 16 bits, and blends in linear light, which other picture tools do not. Errors leave
 * by longjmp, so that all that must survive one lives in this struct, outside the function that
 * calls setjmp. */
typedef struct decoder {
    png_structp png;
    png_infop info;
    const unsigned char *file;
    size_t n, at;
    size_t width, height, channels; /* channels with alpha: 1 to 4 */
    uint8_t *pixels;
    png_bytep *rows;
    caps_status status;
    char message[160];
} decoder;

static void on_error(png_structp png, png_const_charp message)
{
    decoder *d = png_get_error_ptr(png);
    d->status = CAPS_ERR_FORMAT;
    snprintf(d->message, sizeof d->message, "damaged PNG file: %s", message);
    png_longjmp(png, 1);
}

/* Without this libpng would print. What it warns of (a damaged comment) is no matter for the
 * picture. */
static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void on_read(png_structp png, png_bytep data, size_t n)
{
    decoder *d = png_get_io_ptr(png);
    if (n > d->n - d->at)
        png_error(png, "it ends before the picture does");
    memcpy(data, d->file + d->at, n);
    d->at += n;
}

/* deflate gives at most 1032 bytes for one: a header that promises more was damaged or made to
 * harm, and is refused before memory is taken for it. */
static bool file_can_hold(const decoder *d, unsigned bits_per_pixel)
{
    uint64_t row_bytes = ((uint64_t)d->width * bits_per_pixel + 7) / 8;
    return row_bytes * d->height / 1032 <= d->n;
}

static caps_status image_unsupported(
    decoder *d, caps_status status, const char *what, const char *need)
{
    snprintf(d->message, sizeof d->message, "%s of %zux%zu%s", what, d->width, d->height, need);
    return status;
}

/* Fills d->pixels [height, width, channels], or d->status and d->message. */
static void image_decode(decoder *d)
{
    if (setjmp(png_jmpbuf(d->png)))
        return;
    png_set_read_fn(d->png, d, on_read);
    png_read_info(d->png, d->info);
    d->width = png_get_image_width(d->png, d->info);
    d->height = png_get_image_height(d->png, d->info);
    unsigned bits =
        (unsigned)png_get_channels(d->png, d->info) * png_get_bit_depth(d->png, d->info);
    if (d->width > MAX_SIZE || d->height > MAX_SIZE) {
        d->status = image_unsupported(d, CAPS_ERR_FORMAT, "picture", ", need <= 16384 each way");
        return;
    }
    if (!file_can_hold(d, bits)) {
        d->status = image_unsupported(
            d, CAPS_ERR_FORMAT, "damaged PNG file: it is too small for a picture", "");
        return;
    }
    png_set_expand(d->png);   /* palettes to RGB, grey to 8 bits, tRNS to alpha */
    png_set_scale_16(d->png); /* 16 bits to 8, rounded */
    png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    d->channels = png_get_channels(d->png, d->info);
    const size_t row_bytes = d->width * d->channels;
    if (png_get_rowbytes(d->png, d->info) != row_bytes)
        png_error(d->png, "a colour type that it should not have");
    d->pixels = malloc(d->height * row_bytes);
    d->rows = malloc(d->height * sizeof(png_bytep));
    if (!d->pixels || !d->rows) {
        d->status = image_unsupported(d, CAPS_ERR_MEMORY, "out of memory for a picture", "");
        return;
    }
    for (size_t y = 0; y < d->height; y++)
        d->rows[y] = d->pixels + y * row_bytes;
    png_read_image(d->png, d->rows);
    png_read_end(d->png, NULL);
}

/* Colour and alpha, n pixels of `channels` + 1 bytes each, to colour alone over black, in place. */
static void lay_over_black(uint8_t *pixels, size_t n, size_t channels)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *from = pixels + i * (channels + 1);
        unsigned alpha = from[channels];
        for (size_t c = 0; c < channels; c++)
            pixels[i * channels + c] = (uint8_t)((from[c] * alpha + 127) / 255);
    }
}

caps_status caps_image_read(caps_image *image, const char *path, caps_error *err)
{
    caps_status status = CAPS_OK;
    unsigned char *file = NULL;
    size_t n = 0;
    decoder d = {.status = CAPS_OK};
    *image = (caps_image){0};

    CAPS_TRY(caps_file_read(&file, &n, path, MAX_FILE_BYTES, err));
    if (n < 8 || png_sig_cmp(file, 0, 8) != 0)
        CAPS_TRY(caps_fail(err, CAPS_ERR_FORMAT,
            "%s: is not a PNG file (%zu bytes, without its signature)", path, n));
    d.file = file;
    d.n = n;
    d.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &d, on_error, on_warning);
    d.info = d.png ? png_create_info_struct(d.png) : NULL;
    if (!d.info)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory", path));
    image_decode(&d);
    if (d.status != CAPS_OK)
        CAPS_TRY(caps_fail(err, d.status, "%s: %s", path, d.message));

    image->width = d.width;
    image->height = d.height;
    image->channels = d.channels >= 3 ? 3 : 1;
    if (d.channels != image->channels)
        lay_over_black(d.pixels, d.width * d.height, image->channels);
    image->pixels = realloc(d.pixels, d.width * d.height * image->channels);
    if (!image->pixels)
        image->pixels = d.pixels; /* the larger one does as well */
    d.pixels = NULL;
done:
    png_destroy_read_struct(&d.png, &d.info, NULL);
    free(d.rows);
    free(d.pixels);
    free(file);
    return status;
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

/* ---- conversion ----------------------------------------------------------------------------- */

/* Adds to out[0..out_n), stride out_step, the resampled in[0..in_n), stride in_step. */
static void resample(
    float *out, size_t out_n, size_t out_step, const float *in, size_t in_n, size_t in_step)
{
    const double ratio = (double)in_n / (double)out_n;
    for (size_t o = 0; o < out_n; o++) {
        double sum = 0;
        if (out_n == in_n) {
            sum = in[o * in_step];
        } else if (out_n < in_n) {
            /* The mean over [o, o + 1) * ratio; pixels at its ends count by their part in it. */
            double begin = (double)o * ratio, end = (double)(o + 1) * ratio;
            for (size_t i = (size_t)begin; i < in_n && (double)i < end; i++) {
                double from = (double)i > begin ? (double)i : begin;
                double to = (double)(i + 1) < end ? (double)(i + 1) : end;
                sum += (to - from) * in[i * in_step];
            }
            sum /= ratio;
        } else {
            /* Between the two nearest pixel centres; the outermost go on to the edge. */
            double at = ((double)o + 0.5) * ratio - 0.5;
            at = at < 0 ? 0 : at;
            size_t i = (size_t)at;
            size_t next = i + 1 < in_n ? i + 1 : i;
            double part = at - (double)i;
            sum = (1 - part) * in[i * in_step] + part * in[next * in_step];
        }
        out[o * out_step] = (float)(sum < 0 ? 0 : sum > 1 ? 1 : sum);
    }
}

/* Row y of channel c of what the network should see, unscaled. */
static void read_row(
    float *row, const caps_image *image, size_t y, size_t c, size_t channels, bool invert)
{
    const uint8_t *p = image->pixels + y * image->width * image->channels;
    for (size_t x = 0; x < image->width; x++, p += image->channels) {
        float value;
        if (image->channels == channels)
            value = p[c];
        else if (image->channels == 3)
            value = (float)((299 * p[0] + 587 * p[1] + 114 * p[2]) / 1000.0);
        else
            value = p[0];
        row[x] = (invert ? 255.0f - value : value) / 255.0f;
    }
}

/* The sizes of the scaled picture within width x height, proportions kept, at least 1. */
static void image_fit(
    size_t *fit_width, size_t *fit_height, const caps_image *image, size_t height, size_t width)
{
    double by_width = (double)width / (double)image->width;
    double by_height = (double)height / (double)image->height;
    double scale = by_width < by_height ? by_width : by_height;
    size_t w = (size_t)floor((double)image->width * scale + 0.5);
    size_t h = (size_t)floor((double)image->height * scale + 0.5);
    *fit_width = w < 1 ? 1 : w > width ? width : w;
    *fit_height = h < 1 ? 1 : h > height ? height : h;
}

/* Adds ", "-separated text to changes[0..256). */
CAPS_PRINTF(2, 3) static void image_note(char *changes, const char *format, ...)
{
    const size_t bytes = 256;
    if (!changes)
        return;
    size_t used = strlen(changes);
    if (used)
        used += (size_t)snprintf(changes + used, bytes - used, ", ");
    if (used >= bytes)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(changes + used, bytes - used, format, args);
    va_end(args);
}

static void image_note_border(char *changes, size_t first, size_t second, const char *one,
    const char *many, const char *where, const char *where_second)
{
    if (first == second && first > 0)
        image_note(changes, "%zu %s of black %s and %s", first, first == 1 ? one : many, where,
            where_second);
    else if (first > 0)
        image_note(changes, "%zu %s of black %s and %zu %s", first, first == 1 ? one : many, where,
            second, where_second);
    else if (second > 0)
        image_note(changes, "%zu %s of black %s", second, second == 1 ? one : many, where_second);
}

caps_status caps_image_convert(float *out, const caps_image *image, size_t channels, size_t height,
    size_t width, bool invert, char *changes, caps_error *err)
{
    caps_status status = CAPS_OK;
    float *row = NULL, *narrowed = NULL;
    if (changes)
        changes[0] = '\0';
    if (channels != 1 && channels != 3)
        return caps_fail(err, CAPS_ERR_MISMATCH,
            "image: the model takes %zu channels, a picture gives 1 or 3", channels);

    size_t w, h;
    image_fit(&w, &h, image, height, width);
    const size_t left = (width - w) / 2, above = (height - h) / 2;
    row = malloc(image->width * sizeof *row);
    narrowed = malloc(image->height * w * sizeof *narrowed); /* [image->height, w] */
    if (!row || !narrowed)
        CAPS_TRY(caps_fail(err, CAPS_ERR_MEMORY, "image: out of memory to scale %zux%zu to %zux%zu",
            image->width, image->height, w, h));

    memset(out, 0, channels * height * width * sizeof *out);
    for (size_t c = 0; c < channels; c++) {
        for (size_t y = 0; y < image->height; y++) {
            read_row(row, image, y, c, channels, invert);
            resample(narrowed + y * w, w, 1, row, image->width, 1);
        }
        float *corner = out + (c * height + above) * width + left;
        for (size_t x = 0; x < w; x++)
            resample(corner + x, h, width, narrowed + x, image->height, w);
    }

    if (image->channels != channels)
        image_note(changes, channels == 1 ? "colour to grey" : "grey to colour");
    if (invert)
        image_note(changes, "inverted");
    if (w != image->width || h != image->height)
        image_note(changes, "%zux%zu to %zux%zu", image->width, image->height, w, h);
    image_note_border(changes, above, height - h - above, "row", "rows", "above", "below");
    image_note_border(
        changes, left, width - w - left, "column", "columns", "on the left", "on the right");
    if (changes && !*changes)
        image_note(changes, "%zux%zu as it is", width, height);
done:
    free(row);
    free(narrowed);
    return status;
}
