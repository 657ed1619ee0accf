/* image_jpeg.c: reading JPEG. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "fail.h"
#include "raster.h"

/* A progressive file takes a few scans, ten or so. One of thousands was made to take hours. */
enum { MOST_SCANS = 500 };

/* Errors leave by longjmp, so that all that must survive one lives in this struct, outside the
 * function that calls setjmp. */
typedef struct decoder {
    struct jpeg_error_mgr errors; /* first: libjpeg gives its address back */
    struct jpeg_progress_mgr progress;
    struct jpeg_decompress_struct jpeg;
    jmp_buf leave;
    size_t n;
    caps_raster *to;
    uint8_t *row; /* of CMYK */
    caps_status status;
    char message[CAPS_RASTER_MESSAGE];
} decoder;

static void jpeg_leave(decoder *d, caps_status status, const char *what, const char *why)
{
    d->status = status;
    snprintf(d->message, sizeof d->message, "%s%s", what, why);
    longjmp(d->leave, 1);
}

static void on_error(j_common_ptr jpeg)
{
    decoder *d = (decoder *)jpeg->err;
    char why[JMSG_LENGTH_MAX];
    const int code = jpeg->err->msg_code;
    jpeg->err->format_message(jpeg, why);
    if (code == JERR_OUT_OF_MEMORY)
        jpeg_leave(d, CAPS_ERR_MEMORY, "out of memory for a picture", "");
    if (code == JERR_BAD_PRECISION || code == JERR_SOF_UNSUPPORTED ||
        code == JERR_CONVERSION_NOTIMPL)
        jpeg_leave(d, CAPS_ERR_FORMAT,
            "JPEG file of a kind that is not read, need baseline or progressive of 8 bits: ", why);
    jpeg_leave(d, CAPS_ERR_FORMAT, "damaged JPEG file: ", why);
}

/* What libjpeg warns of is damage: it would go on with grey where the picture is lost. Only bytes
 * between two parts, which many cameras and tools leave, do no harm. */
static void on_message(j_common_ptr jpeg, int level)
{
    decoder *d = (decoder *)jpeg->err;
    const int code = jpeg->err->msg_code;
    if (level >= 0 || code == JWRN_JFIF_MAJOR)
        return;
    if (code == JWRN_EXTRANEOUS_DATA)
        d->to->imperfect = true;
    else
        on_error(jpeg);
}

static void on_progress(j_common_ptr jpeg)
{
    decoder *d = (decoder *)jpeg->err;
    if (d->jpeg.input_scan_number > MOST_SCANS)
        jpeg_leave(d, CAPS_ERR_FORMAT, "damaged JPEG file: ", "it has too many scans");
}

/* A block of 8x8 pixels takes a bit at least: a header that promises more than the file can hold is
 * refused before memory is taken for it. With arithmetic coding, which nobody uses, it may take
 * less. */
static bool file_can_hold(const decoder *d)
{
    const uint64_t blocks = (uint64_t)((d->to->width + 7) / 8) * ((d->to->height + 7) / 8);
    return d->jpeg.arith_code || blocks / 8 <= d->n;
}

static void read_orientation(decoder *d)
{
    for (jpeg_saved_marker_ptr m = d->jpeg.marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 &&
            memcmp(m->data, "Exif\0\0", 6) == 0) {
            d->to->orientation = caps_exif_orientation(m->data, m->data_length);
            return;
        }
}

/* Header and memory; leaves by longjmp where the picture cannot be read. */
static void jpeg_begin(decoder *d)
{
    caps_raster *r = d->to;
    char message[CAPS_RASTER_MESSAGE];
    jpeg_save_markers(&d->jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&d->jpeg, TRUE);
    r->width = d->jpeg.image_width;
    r->height = d->jpeg.image_height;
    if (!caps_raster_may_be(message, r->width, r->height))
        jpeg_leave(d, CAPS_ERR_FORMAT, message, "");
    if (!file_can_hold(d)) {
        snprintf(message, sizeof message, "it is too small for a picture of %zux%zu", r->width,
            r->height);
        jpeg_leave(d, CAPS_ERR_FORMAT, "damaged JPEG file: ", message);
    }
    const J_COLOR_SPACE space = d->jpeg.jpeg_color_space;
    r->cmyk = space == JCS_CMYK || space == JCS_YCCK;
    if (space == JCS_UNKNOWN)
        jpeg_leave(d, CAPS_ERR_FORMAT, "JPEG file",
            " of an unknown number of channels, need grey, colour or CMYK");
    r->channels = space == JCS_GRAYSCALE ? 1 : 3;
    d->jpeg.out_color_space = r->cmyk ? JCS_CMYK : r->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    read_orientation(d);
    jpeg_start_decompress(&d->jpeg);
    r->samples = malloc(r->height * r->width * r->channels);
    d->row = r->cmyk ? malloc(r->width * 4) : NULL;
    if (!r->samples || (r->cmyk && !d->row))
        jpeg_leave(d, CAPS_ERR_MEMORY, "out of memory for a picture", "");
}

/* Light is what cyan, magenta or yellow and black leave. Adobe's programs store what they leave,
 * others what they take away. */
static void cmyk_to_rgb(uint8_t *to, const uint8_t *from, size_t width, bool left)
{
    for (size_t x = 0; x < width; x++)
        for (size_t c = 0; c < 3; c++) {
            const unsigned ink = left ? from[4 * x + c] : 255u - from[4 * x + c];
            const unsigned black = left ? from[4 * x + 3] : 255u - from[4 * x + 3];
            to[3 * x + c] = (uint8_t)((ink * black + 127) / 255);
        }
}

/* Fills the raster, or d->status and d->message. */
static void jpeg_decode(decoder *d, const unsigned char *file)
{
    caps_raster *r = d->to;
    if (setjmp(d->leave))
        return;
    jpeg_create_decompress(&d->jpeg);
    d->jpeg.progress = &d->progress;
    jpeg_mem_src(&d->jpeg, file, (unsigned long)d->n);
    jpeg_begin(d);
    while (d->jpeg.output_scanline < d->jpeg.output_height) {
        uint8_t *to = (uint8_t *)r->samples + d->jpeg.output_scanline * r->width * r->channels;
        JSAMPROW row = r->cmyk ? d->row : to;
        jpeg_read_scanlines(&d->jpeg, &row, 1);
        if (r->cmyk)
            cmyk_to_rgb(to, d->row, r->width, d->jpeg.saw_Adobe_marker);
    }
    jpeg_finish_decompress(&d->jpeg);
}

bool caps_jpeg_is(const unsigned char *file, size_t n)
{
    return n >= 3 && memcmp(file, "\xff\xd8\xff", 3) == 0;
}

caps_status caps_jpeg_decode(
    caps_raster *r, const unsigned char *file, size_t n, const char *path, caps_error *err)
{
    decoder d = {.n = n, .to = r, .progress = {.progress_monitor = on_progress}};
    r->orientation = 1;
    d.jpeg.err = jpeg_std_error(&d.errors);
    d.errors.error_exit = on_error;
    d.errors.emit_message = on_message;
    jpeg_decode(&d, file);
    jpeg_destroy_decompress(&d.jpeg);
    free(d.row);
    if (d.status == CAPS_OK)
        return CAPS_OK;
    free(r->samples);
    r->samples = NULL;
    return caps_fail(err, d.status, "%s: %s", path, d.message);
}
