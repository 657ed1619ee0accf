/* image_png.c: reading PNG. */
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "raster.h"

/* libpng's classic interface: the simplified one of 1.6.39 mixes up the pixels of interlaced
 * pictures of 16 bits, and blends in linear light, which other picture tools do not. Errors leave
 * by longjmp, so that all that must survive one lives in this struct, outside the function that
 * calls setjmp. */
typedef struct decoder {
    png_structp png;
    png_infop info;
    const unsigned char *file;
    size_t n, at;
    caps_raster *to;
    png_bytep *rows;
    bool out_of_memory;
    caps_status status;
    char message[CAPS_RASTER_MESSAGE];
} decoder;

static void on_error(png_structp png, png_const_charp message)
{
    decoder *d = png_get_error_ptr(png);
    d->status = d->out_of_memory ? CAPS_ERR_MEMORY : CAPS_ERR_FORMAT;
    if (d->out_of_memory)
        snprintf(d->message, sizeof d->message, "out of memory for a picture");
    else
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

/* libpng's own message for what failed here cannot be told from one about the file. */
static png_voidp on_malloc(png_structp png, png_alloc_size_t bytes)
{
    decoder *d = png_get_mem_ptr(png);
    void *memory = malloc(bytes);
    if (!memory)
        d->out_of_memory = true;
    return memory;
}

static void on_free(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
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
    uint64_t row_bytes = ((uint64_t)d->to->width * bits_per_pixel + 7) / 8;
    return row_bytes * d->to->height / 1032 <= d->n;
}

static void png_fail(decoder *d, caps_status status, const char *what)
{
    d->status = status;
    snprintf(d->message, sizeof d->message, "%s of %zux%zu", what, d->to->width, d->to->height);
}

static bool png_begin(decoder *d)
{
    png_set_read_fn(d->png, d, on_read);
    png_read_info(d->png, d->info);
    d->to->width = png_get_image_width(d->png, d->info);
    d->to->height = png_get_image_height(d->png, d->info);
    unsigned bits =
        (unsigned)png_get_channels(d->png, d->info) * png_get_bit_depth(d->png, d->info);
    if (!caps_raster_may_be(d->message, d->to->width, d->to->height))
        d->status = CAPS_ERR_FORMAT;
    else if (!file_can_hold(d, bits))
        png_fail(d, CAPS_ERR_FORMAT, "damaged PNG file: it is too small for a picture");
    return d->status == CAPS_OK;
}

/* Both byte orders are in use. */
static bool host_is_little_endian(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

/* Fills the raster, or d->status and d->message. */
static void png_decode(decoder *d)
{
    caps_raster *r = d->to;
    if (setjmp(png_jmpbuf(d->png)))
        return;
    if (!png_begin(d))
        return;
    png_set_expand(d->png); /* palettes to RGB, grey to 8 bits, tRNS to alpha */
    if (host_is_little_endian())
        png_set_swap(d->png);
    png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    r->channels = png_get_channels(d->png, d->info);
    r->wide = png_get_bit_depth(d->png, d->info) == 16;
    const size_t row_bytes = r->width * r->channels * (r->wide ? 2 : 1);
    if (png_get_rowbytes(d->png, d->info) != row_bytes)
        png_error(d->png, "a colour type that it should not have");
    r->samples = malloc(r->height * row_bytes);
    d->rows = malloc(r->height * sizeof(png_bytep));
    if (!r->samples || !d->rows) {
        png_fail(d, CAPS_ERR_MEMORY, "out of memory for a picture");
        return;
    }
    for (size_t y = 0; y < r->height; y++)
        d->rows[y] = (png_bytep)r->samples + y * row_bytes;
    png_read_image(d->png, d->rows);
    png_read_end(d->png, d->info);
#ifdef PNG_eXIf_SUPPORTED
    png_bytep exif = NULL;
    png_uint_32 n = 0;
    if (png_get_eXIf_1(d->png, d->info, &n, &exif) && exif)
        r->orientation = caps_exif_orientation(exif, n);
#endif
}

bool caps_png_is(const unsigned char *file, size_t n)
{
    return n >= 8 && png_sig_cmp(file, 0, 8) == 0;
}

caps_status caps_png_decode(
    caps_raster *r, const unsigned char *file, size_t n, const char *path, caps_error *err)
{
    decoder d = {.file = file, .n = n, .to = r};
    r->orientation = 1;
    d.png = png_create_read_struct_2(
        PNG_LIBPNG_VER_STRING, &d, on_error, on_warning, &d, on_malloc, on_free);
    d.info = d.png ? png_create_info_struct(d.png) : NULL;
    if (d.info)
        png_decode(&d);
    else
        d.status = CAPS_ERR_MEMORY;
    png_destroy_read_struct(&d.png, &d.info, NULL);
    free(d.rows);
    if (d.status == CAPS_OK)
        return CAPS_OK;
    free(r->samples);
    r->samples = NULL;
    return caps_fail(
        err, d.status, "%s: %s", path, d.message[0] ? d.message : "out of memory for a picture");
}
