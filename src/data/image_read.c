/* image_read.c: from a file to the pixels of a picture as it is seen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "file.h"
#include "picture.h"
#include "raster.h"

#define MAX_SIZE   16384
#define MAX_PIXELS ((size_t)1 << 26)
#define MAX_FILE_BYTES                                                                             \
    (((size_t)1 << 29) + ((size_t)1 << 24)) /* 2^26 pixels of 8 bytes, unpacked */

bool caps_raster_may_be(char message[CAPS_RASTER_MESSAGE], size_t width, size_t height)
{
    if (width > MAX_SIZE || height > MAX_SIZE)
        snprintf(message, CAPS_RASTER_MESSAGE, "picture of %zux%zu, need <= %d each way", width,
            height, MAX_SIZE);
    else if (width * height > MAX_PIXELS)
        snprintf(message, CAPS_RASTER_MESSAGE, "picture of %zux%zu, need <= %zu pixels", width,
            height, MAX_PIXELS);
    else
        return true;
    return false;
}

/* ---- samples -------------------------------------------------------------------------------- */

static uint32_t sample_get(const caps_raster *r, size_t i)
{
    return r->wide ? ((const uint16_t *)r->samples)[i] : ((const uint8_t *)r->samples)[i];
}

static void sample_set(caps_raster *r, size_t i, uint32_t value)
{
    if (r->wide)
        ((uint16_t *)r->samples)[i] = (uint16_t)value;
    else
        ((uint8_t *)r->samples)[i] = (uint8_t)value;
}

static uint32_t raster_whole(const caps_raster *r)
{
    return r->wide ? 65535 : 255;
}

/* ---- turning -------------------------------------------------------------------------------- */

/* Where the picture that is seen has its pixel (x, y): EXIF's orientations 2 to 8 of a stored one
 * of width x height. */
static size_t turned_from(const caps_raster *r, size_t x, size_t y)
{
    const size_t right = r->width - 1, bottom = r->height - 1;
    switch (r->orientation) {
    case 2: /* mirrored */
        return y * r->width + right - x;
    case 3: /* upside down */
        return (bottom - y) * r->width + right - x;
    case 4: /* upside down and mirrored */
        return (bottom - y) * r->width + x;
    case 5: /* rows are columns */
        return x * r->width + y;
    case 6: /* to be turned clockwise */
        return (bottom - x) * r->width + y;
    case 7: /* rows are columns, upside down */
        return (bottom - x) * r->width + right - y;
    case 8: /* to be turned anticlockwise */
        return x * r->width + right - y;
    default:
        return y * r->width + x;
    }
}

static caps_status raster_turn(caps_raster *r, const char *path, caps_error *err)
{
    const size_t bytes = r->channels * (r->wide ? 2 : 1);
    const bool lies = r->orientation >= 5;
    const size_t width = lies ? r->height : r->width, height = lies ? r->width : r->height;
    if (r->orientation < 2)
        return CAPS_OK;
    unsigned char *turned = malloc(width * height * bytes);
    if (!turned)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory for a picture of %zux%zu", path,
            width, height);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            memcpy(turned + (y * width + x) * bytes,
                (const unsigned char *)r->samples + turned_from(r, x, y) * bytes, bytes);
    free(r->samples);
    r->samples = turned;
    r->width = width;
    r->height = height;
    return CAPS_OK;
}

/* ---- transparency --------------------------------------------------------------------------- */

/* The mean of what is drawn, 0..1, each pixel as much as it covers; 1 where nothing is. */
static double ink_mean(const caps_raster *r, bool *transparent)
{
    const size_t colours = r->channels - 1;
    const uint32_t whole = raster_whole(r);
    double sum = 0, covered = 0;
    *transparent = false;
    for (size_t i = 0; i < r->width * r->height; i++) {
        const size_t at = i * r->channels;
        const uint32_t alpha = sample_get(r, at + colours);
        const double luma = colours == 1
                                ? sample_get(r, at)
                                : 0.299 * sample_get(r, at) + 0.587 * sample_get(r, at + 1) +
                                      0.114 * sample_get(r, at + 2);
        sum += luma * alpha;
        covered += alpha;
        *transparent = *transparent || alpha < whole;
    }
    return covered > 0 ? sum / covered / whole : 1;
}

/* Colour over a ground of this grey level; alpha goes. */
static void lay_over(caps_raster *r, unsigned level)
{
    const size_t n = r->width * r->height, channels = r->channels, colours = channels - 1;
    const uint64_t whole = raster_whole(r), ground = level * (whole / 255);
    for (size_t i = 0; i < n; i++) {
        const uint64_t alpha = sample_get(r, i * channels + colours);
        for (size_t c = 0; c < colours; c++) {
            const uint64_t ink = sample_get(r, i * channels + c);
            sample_set(r, i * colours + c,
                (uint32_t)((ink * alpha + ground * (whole - alpha) + whole / 2) / whole));
        }
    }
    r->channels = colours;
}

/* Ink darker than a third of white shows on white; on black shows what is lighter. Then the picture
 * is dark on light, or light on dark: where the network was trained on the other, and nobody chose
 * a ground, it is turned round. */
static void raster_lay(caps_raster *r, const caps_picture_options *o, caps_picture_facts *facts)
{
    if (r->channels != 2 && r->channels != 4)
        return;
    const bool dark_ink = ink_mean(r, &facts->transparent) < 1.0 / 3;
    facts->laid_on = o->background ? (unsigned)o->background - 1 : dark_ink ? 255 : 0;
    facts->flipped = facts->transparent && !o->background && !o->invert &&
                     o->ground == (dark_ink ? CAPS_GROUND_DARK : CAPS_GROUND_LIGHT);
    lay_over(r, facts->laid_on);
}

/* ---- values --------------------------------------------------------------------------------- */

static void raster_find_range(const caps_raster *r, caps_picture_facts *facts)
{
    const size_t n = r->width * r->height * r->channels;
    uint32_t low = UINT32_MAX, high = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t value = sample_get(r, i);
        low = value < low ? value : low;
        high = value > high ? value : high;
    }
    facts->low = low;
    facts->high = high;
    facts->whole = raster_whole(r);
}

/* To 0..255, in place: of the range found or of the whole one, rounded. */
static void raster_narrow(caps_raster *r, bool stretch, caps_picture_facts *facts)
{
    const size_t n = r->width * r->height * r->channels;
    facts->stretched =
        stretch && facts->high > facts->low && (facts->low > 0 || facts->high < facts->whole);
    const uint32_t low = facts->stretched ? facts->low : 0;
    const uint32_t range = facts->stretched ? facts->high - facts->low : facts->whole;
    if (!r->wide && !facts->stretched)
        return;
    uint8_t *to = r->samples;
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(((sample_get(r, i) - low) * 255 + range / 2) / range);
    r->wide = false;
}

/* Colour that would be missed: JPEG gives grey pictures a shade of it. */
static bool image_is_coloured(const caps_image *image)
{
    enum { VISIBLE = 8 };
    for (size_t i = 0; image->channels == 3 && i < image->width * image->height; i++) {
        const uint8_t *p = image->pixels + 3 * i;
        if (abs(p[0] - p[1]) > VISIBLE || abs(p[1] - p[2]) > VISIBLE || abs(p[0] - p[2]) > VISIBLE)
            return true;
    }
    return false;
}

/* ---- files ---------------------------------------------------------------------------------- */

static caps_status picture_decode(caps_raster *r, const char *path, caps_error *err)
{
    unsigned char *file = NULL;
    size_t n = 0;
    caps_status status = caps_file_read(&file, &n, path, MAX_FILE_BYTES, err);
    if (status != CAPS_OK)
        return status;
    if (caps_png_is(file, n))
        status = caps_png_decode(r, file, n, path, err);
    else if (caps_jpeg_is(file, n))
        status = caps_jpeg_decode(r, file, n, path, err);
    else
        status = caps_fail(err, CAPS_ERR_FORMAT,
            "%s: is neither a PNG nor a JPEG file (%zu bytes, without their signatures)", path, n);
    free(file);
    return status;
}

caps_status caps_picture_read(caps_image *image, const char *path,
    const caps_picture_options *options, caps_picture_facts *facts, caps_error *err)
{
    static const caps_picture_options defaults = {0};
    const caps_picture_options *o = options ? options : &defaults;
    caps_picture_facts found = {0};
    caps_raster r = {0};
    caps_status status;
    *image = (caps_image){0};
    CAPS_TRY(picture_decode(&r, path, err));
    CAPS_TRY(raster_turn(&r, path, err));
    raster_lay(&r, o, &found);
    raster_find_range(&r, &found);
    raster_narrow(&r, o->stretch, &found);
    *image = (caps_image){.width = r.width, .height = r.height, .channels = r.channels};
    image->pixels = realloc(r.samples, r.width * r.height * r.channels);
    if (!image->pixels)
        image->pixels = r.samples; /* the larger one does as well */
    r.samples = NULL;
    found.width = r.width;
    found.height = r.height;
    found.turned = r.orientation > 1;
    found.cmyk = r.cmyk;
    found.imperfect = r.imperfect;
    found.coloured = image_is_coloured(image);
    if (facts)
        *facts = found;
done:
    free(r.samples);
    return status;
}

caps_status caps_image_read(caps_image *image, const char *path, caps_error *err)
{
    return caps_picture_read(image, path, NULL, NULL, err);
}
