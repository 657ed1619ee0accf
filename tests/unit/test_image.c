/* test_image.c: PNG files, conversion to network inputs. */
#include "support.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "file.h"
#include "picture.h"
#include "rng.h"

/* ---- PNG of every kind, written with libpng's own classic functions ------------------------- */

enum { PW = 13, PH = 11 };

typedef struct kind {
    int colour, depth, interlace;
    bool transparency; /* a tRNS chunk: a transparent palette entry or sample value */
} kind;

static int samples_of(int colour)
{
    switch (colour) {
    case PNG_COLOR_TYPE_GRAY_ALPHA:
        return 2;
    case PNG_COLOR_TYPE_RGB:
        return 3;
    case PNG_COLOR_TYPE_RGB_ALPHA:
        return 4;
    default:
        return 1;
    }
}

/* Sample `s` of pixel (x, y): with depth 16 the two bytes differ, so that dropping one shows. */
static unsigned sample(const kind *k, int x, int y, int s)
{
    uint64_t counter = (uint64_t)((y * PW + x) * 4 + s);
    return (unsigned)caps_rng_below(
        1ull << k->depth, 5, CAPS_RNG_TEST, (uint32_t)k->colour, counter);
}

static void palette_entry(unsigned i, png_color *colour, png_byte *alpha)
{
    colour->red = (png_byte)(i * 37 + 5);
    colour->green = (png_byte)(i * 91 + 60);
    colour->blue = (png_byte)(255 - i * 13);
    *alpha = (png_byte)(i % 3 == 0 ? 0 : i % 3 == 1 ? 255 : 100 + i % 100);
}

static void write_kind(const char *path, const kind *k)
{
    FILE *f = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    ck_assert(f && png && info);
    ck_assert_int_eq(setjmp(png_jmpbuf(png)), 0);
    png_init_io(png, f);
    png_set_IHDR(png, info, PW, PH, k->depth, k->colour,
        k->interlace ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
        PNG_FILTER_TYPE_DEFAULT);
    png_color colours[256];
    png_byte alphas[256];
    for (unsigned i = 0; i < 256; i++)
        palette_entry(i, &colours[i], &alphas[i]);
    if (k->colour == PNG_COLOR_TYPE_PALETTE)
        png_set_PLTE(png, info, colours, 1 << k->depth);
    if (k->transparency && k->colour == PNG_COLOR_TYPE_PALETTE) {
        png_set_tRNS(png, info, alphas, 1 << k->depth, NULL);
    } else if (k->transparency) {
        /* The colour of pixel (3, 2) is the transparent one. */
        png_color_16 key = {.gray = (png_uint_16)sample(k, 3, 2, 0),
            .red = (png_uint_16)sample(k, 3, 2, 0),
            .green = (png_uint_16)sample(k, 3, 2, 1),
            .blue = (png_uint_16)sample(k, 3, 2, 2)};
        png_set_tRNS(png, info, NULL, 0, &key);
    }
    png_write_info(png, info);
    png_set_packing(png); /* one byte a sample below 8 bits */
    int samples = samples_of(k->colour), bytes = k->depth == 16 ? 2 : 1;
    png_byte *rows[PH];
    for (int y = 0; y < PH; y++) {
        rows[y] = malloc((size_t)(PW * samples * bytes));
        png_byte *p = rows[y];
        for (int i = 0; i < PW * samples; i++) {
            unsigned value = sample(k, i / samples, y, i % samples);
            if (bytes == 2)
                *p++ = (png_byte)(value >> 8);
            *p++ = (png_byte)value;
        }
    }
    png_write_image(png, rows);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    fclose(f);
    for (int y = 0; y < PH; y++)
        free(rows[y]);
}

/* What capscl should make of channel c (0 to 2) of pixel (x, y) on a ground of that level, 0 to
 * 255, not yet rounded. */
static double expected_value(const kind *k, int x, int y, int c, double ground)
{
    double most = (double)((1u << k->depth) - 1), alpha = 1, value;
    if (k->colour == PNG_COLOR_TYPE_PALETTE) {
        png_color colour;
        png_byte a;
        palette_entry(sample(k, x, y, 0), &colour, &a);
        value = (c == 0 ? colour.red : c == 1 ? colour.green : colour.blue) / 255.0;
        alpha = k->transparency ? a / 255.0 : 1;
    } else {
        bool colours = k->colour & PNG_COLOR_MASK_COLOR;
        value = sample(k, x, y, colours ? c : 0) / most;
        if (k->colour & PNG_COLOR_MASK_ALPHA)
            alpha = sample(k, x, y, colours ? 3 : 1) / most;
        if (k->transparency) {
            bool same = true;
            for (int s = 0; s < samples_of(k->colour); s++)
                same = same && sample(k, x, y, s) == sample(k, 3, 2, s);
            alpha = same ? 0 : 1;
        }
    }
    return value * alpha * 255 + ground * (1 - alpha);
}

START_TEST(read_every_kind)
{
    static const struct {
        int colour, depths[6];
    } kinds[] = {
        {PNG_COLOR_TYPE_GRAY, {1, 2, 4, 8, 16, 0}},
        {PNG_COLOR_TYPE_RGB, {8, 16, 0}},
        {PNG_COLOR_TYPE_PALETTE, {1, 2, 4, 8, 0}},
        {PNG_COLOR_TYPE_GRAY_ALPHA, {8, 16, 0}},
        {PNG_COLOR_TYPE_RGB_ALPHA, {8, 16, 0}},
    };
    char *dir = test_directory(), *path = caps_path_join(dir, "x.png");
    int pictures = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        for (const int *depth = kinds[i].depths; *depth; depth++)
            for (int interlace = 0; interlace < 2; interlace++)
                for (int transparency = 0; transparency < 2; transparency++) {
                    kind k = {kinds[i].colour, *depth, interlace, transparency};
                    if (transparency && k.colour & PNG_COLOR_MASK_ALPHA)
                        continue; /* such a file has no tRNS */
                    caps_error err = {0};
                    caps_image image;
                    write_kind(path, &k);
                    const unsigned ground = (unsigned)pictures * 37 % 256;
                    const caps_picture_options o = {.background = 1 + (int)ground};
                    test_ok(caps_picture_read(&image, path, &o, NULL, &err));
                    ck_assert_uint_eq(image.width, PW);
                    ck_assert_uint_eq(image.height, PH);
                    bool colours = k.colour & PNG_COLOR_MASK_COLOR;
                    ck_assert_uint_eq(image.channels, colours ? 3 : 1);
                    /* Rounded once; of 16 bits to 16 and then to 8. */
                    double tolerance = k.depth == 16 ? 0.503 : 0.501;
                    for (int y = 0; y < PH; y++)
                        for (int x = 0; x < PW; x++)
                            for (int c = 0; c < (int)image.channels; c++) {
                                int got = image.pixels[((size_t)y * PW + x) * image.channels + c];
                                double want = expected_value(&k, x, y, c, ground);
                                ck_assert_msg(fabs(got - want) <= tolerance,
                                    "colour type %d, depth %d, interlace %d, tRNS %d, (%d, %d) "
                                    "channel %d: %d, need %g",
                                    k.colour, k.depth, interlace, transparency, x, y, c, got, want);
                            }
                    caps_image_release(&image);
                    pictures++;
                }
    ck_assert_int_eq(pictures, (5 + 2 + 4) * 4 + (2 + 2) * 2);
    free(path);
    free(dir);
}
END_TEST

START_TEST(write_and_read_back)
{
    caps_error err = {0};
    char *dir = test_directory(), *path = caps_path_join(dir, "x.png");
    for (size_t channels = 1; channels <= 3; channels += 2)
        for (size_t width = 1; width < 200; width = width * 3 + 1) {
            caps_image image, back;
            test_ok(caps_image_init(&image, width, 7, channels, &err));
            for (size_t i = 0; i < width * 7 * channels; i++) {
                ck_assert_uint_eq(image.pixels[i], 0);
                image.pixels[i] = (uint8_t)caps_rng_below(256, 1, CAPS_RNG_TEST, 3, i);
            }
            test_ok(caps_image_write_png(&image, path, &err));
            test_ok(caps_image_read(&back, path, &err));
            ck_assert_uint_eq(back.width, width);
            ck_assert_uint_eq(back.height, 7);
            ck_assert_uint_eq(back.channels, channels);
            ck_assert_mem_eq(back.pixels, image.pixels, width * 7 * channels);
            caps_image_release(&back);
            caps_image_release(&image);
            caps_image_release(&image);
        }
    /* Writing is atomic: nothing but the file, and a clear line where it cannot be. */
    caps_image image;
    test_ok(caps_image_init(&image, 2, 2, 1, &err));
    ck_assert_int_eq(caps_image_write_png(&image, dir, &err), CAPS_ERR_IO);
    ck_assert_ptr_nonnull(strstr(err.message, ": cannot write: Is a directory"));
    caps_image_release(&image);
    ck_assert_int_eq(caps_image_init(&image, 0, 2, 1, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(caps_image_init(&image, 2, 20000, 1, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(caps_image_init(&image, 2, 2, 4, &err), CAPS_ERR_ARGUMENT);
    free(path);
    free(dir);
}
END_TEST

static void put(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, n, f), n);
    fclose(f);
}

static void expect_bad(const char *path, caps_status status, const char *expected)
{
    caps_error err = {0};
    caps_image image;
    ck_assert_int_eq(caps_image_read(&image, path, &err), status);
    char *start = caps_format("%s: %s", path, expected);
    ck_assert_msg(strncmp(err.message, start, strlen(start)) == 0, "'%s' does not begin '%s'",
        err.message, start);
    ck_assert_ptr_null(strchr(err.message, '\n'));
    ck_assert_ptr_null(image.pixels);
    free(start);
}

/* Puts other sizes into a PNG's header, with the checksum that belongs to them. */
static void patch_header(unsigned char *file, uint32_t width, uint32_t height)
{
    for (int k = 0; k < 4; k++) {
        file[16 + k] = (unsigned char)(width >> (24 - 8 * k));
        file[20 + k] = (unsigned char)(height >> (24 - 8 * k));
    }
    uint32_t crc = (uint32_t)crc32(0, file + 12, 17);
    for (int k = 0; k < 4; k++)
        file[29 + k] = (unsigned char)(crc >> (24 - 8 * k));
}

START_TEST(bad_pictures_are_refused_in_silence)
{
    caps_error err = {0};
    char *dir = test_directory(), *path = caps_path_join(dir, "x.png");
    char *said = caps_path_join(dir, "said");
    /* The library never prints, nor may libpng for it. */
    fflush(NULL);
    int kept_out = dup(1), kept_err = dup(2);
    int capture = open(said, O_RDWR | O_CREAT | O_TRUNC, 0600);
    ck_assert(kept_out >= 0 && kept_err >= 0 && capture >= 0);
    dup2(capture, 1);
    dup2(capture, 2);

    expect_bad(path, CAPS_ERR_NOT_FOUND, "cannot open: No such file or directory");
    expect_bad(dir, CAPS_ERR_FORMAT, "is a directory, need a file");
    put(path, "", 0);
    expect_bad(path, CAPS_ERR_FORMAT, "is neither a PNG nor a JPEG file (0 bytes");
    put(path, "GIF89a and so on", 16);
    expect_bad(path, CAPS_ERR_FORMAT, "is neither a PNG nor a JPEG file (16 bytes");

    kind k = {PNG_COLOR_TYPE_RGB, 8, 0, false};
    unsigned char *file;
    size_t n;
    write_kind(path, &k);
    test_ok(caps_file_read(&file, &n, path, 1 << 20, &err));
    for (size_t cut = 8; cut < n; cut++) {
        put(path, file, cut);
        expect_bad(path, CAPS_ERR_FORMAT, "damaged PNG file: ");
    }
    /* Any byte: the checksums tell. */
    for (size_t i = 8; i < n; i++) {
        file[i] ^= 0x21;
        put(path, file, n);
        expect_bad(path, CAPS_ERR_FORMAT, "");
        file[i] ^= 0x21;
    }
    static const uint32_t sizes[][2] = {{16385, 1}, {1, 16385}, {999999, 999999}};
    for (size_t i = 0; i < 3; i++) {
        char text[80];
        patch_header(file, sizes[i][0], sizes[i][1]);
        put(path, file, n);
        snprintf(text, sizeof text, "picture of %ux%u, need <= 16384 each way", sizes[i][0],
            sizes[i][1]);
        expect_bad(path, CAPS_ERR_FORMAT, text);
    }
    patch_header(file, 8192, 8193);
    put(path, file, n);
    expect_bad(path, CAPS_ERR_FORMAT, "picture of 8192x8193, need <= 67108864 pixels");
    patch_header(file, 8192, 8192); /* 192 MB out of a few hundred bytes */
    put(path, file, n);
    expect_bad(path, CAPS_ERR_FORMAT, "damaged PNG file: it is too small for a picture");
    static const uint32_t none[][2] = {{0, 5}, {5, 0}, {UINT32_MAX, 5}, {1u << 31, 1u << 31}};
    for (size_t i = 0; i < 4; i++) {
        patch_header(file, none[i][0], none[i][1]);
        put(path, file, n);
        expect_bad(path, CAPS_ERR_FORMAT, "damaged PNG file: ");
    }
    /* A taller picture than there is data for. */
    patch_header(file, PW, PH + 1);
    put(path, file, n);
    expect_bad(path, CAPS_ERR_FORMAT, "damaged PNG file: ");
    free(file);

    fflush(NULL);
    dup2(kept_out, 1);
    dup2(kept_err, 2);
    close(kept_out);
    close(kept_err);
    ck_assert_int_eq(lseek(capture, 0, SEEK_END), 0);
    close(capture);
    free(said);
    free(path);
    free(dir);
}
END_TEST

/* ---- conversion ----------------------------------------------------------------------------- */

static caps_image made(size_t width, size_t height, size_t channels)
{
    caps_error err = {0};
    caps_image image;
    test_ok(caps_image_init(&image, width, height, channels, &err));
    for (size_t i = 0; i < width * height * channels; i++)
        image.pixels[i] = (uint8_t)caps_rng_below(256, 6, CAPS_RNG_TEST, 4, i);
    return image;
}

static float *converted(
    const caps_image *image, size_t channels, size_t height, size_t width, bool invert, char *said)
{
    caps_error err = {0};
    float *out = malloc(channels * height * width * sizeof *out);
    for (size_t i = 0; i < channels * height * width; i++)
        out[i] = NAN; /* what is not written shows */
    const caps_picture_options options = {.invert = invert};
    caps_picture_facts facts = {
        .width = image->width, .height = image->height, .coloured = image->channels == 3};
    test_ok(caps_picture_convert(out, image, channels, height, width, &options, &facts, &err));
    if (said)
        caps_picture_describe(said, &facts);
    for (size_t i = 0; i < channels * height * width; i++)
        ck_assert(out[i] >= 0 && out[i] <= 1);
    return out;
}

START_TEST(right_size_passes_exactly)
{
    char said[CAPS_PICTURE_TEXT];
    for (int invert = 0; invert < 2; invert++)
        for (size_t from = 1; from <= 3; from += 2)
            for (size_t to = 1; to <= 3; to += 2) {
                caps_image image = made(9, 6, from);
                float *out = converted(&image, to, 6, 9, invert, said);
                for (size_t c = 0; c < to; c++)
                    for (size_t i = 0; i < 54; i++) {
                        const uint8_t *p = image.pixels + i * from;
                        double v = from == to  ? p[c]
                                   : from == 1 ? p[0]
                                               : 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
                        v = (invert ? 255 - v : v) / 255;
                        if (from == 3 && to == 1)
                            ck_assert_double_eq_tol(out[i], v, 1e-6);
                        else
                            ck_assert_float_eq(out[c * 54 + i], (float)v);
                    }
                ck_assert_ptr_null(strstr(said, " to 9x6"));
                if (from == to)
                    ck_assert_str_eq(said, invert ? "inverted" : "9x6 as it is");
                free(out);
                caps_image_release(&image);
            }
}
END_TEST

START_TEST(what_was_done_is_said)
{
    static const struct {
        size_t width, height, channels, to_channels, to_height, to_width;
        bool invert;
        const char *said;
    } cases[] = {
        {100, 80, 3, 1, 28, 28, false,
            "colour to grey, 100x80 to 28x22, 3 rows of black above and below"},
        {80, 100, 1, 1, 28, 28, true,
            "inverted, 80x100 to 22x28, 3 columns of black on the left and on the right"},
        {14, 14, 1, 3, 28, 28, false, "grey to colour, 14x14 to 28x28"},
        {28, 27, 1, 1, 28, 28, false, "1 row of black below"},
        {28, 25, 1, 1, 28, 28, false, "1 row of black above and 2 below"},
        {28, 26, 1, 1, 28, 28, false, "1 row of black above and below"},
        {1000, 1, 1, 1, 8, 8, false, "1000x1 to 8x1, 3 rows of black above and 4 below"},
        {32, 32, 3, 3, 32, 32, false, "32x32 as it is"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char said[CAPS_PICTURE_TEXT];
        caps_image image = made(cases[i].width, cases[i].height, cases[i].channels);
        float *out = converted(&image, cases[i].to_channels, cases[i].to_height, cases[i].to_width,
            cases[i].invert, said);
        ck_assert_str_eq(said, cases[i].said);
        float *silent = converted(&image, cases[i].to_channels, cases[i].to_height,
            cases[i].to_width, cases[i].invert, NULL);
        ck_assert_mem_eq(
            out, silent, cases[i].to_channels * cases[i].to_height * cases[i].to_width * 4);
        free(silent);
        free(out);
        caps_image_release(&image);
    }
}
END_TEST

START_TEST(shrinking_averages_areas)
{
    /* By whole factors: the mean of each block. */
    caps_image image = made(24, 12, 1);
    float *out = converted(&image, 1, 4, 8, false, NULL);
    for (size_t y = 0; y < 4; y++)
        for (size_t x = 0; x < 8; x++) {
            double sum = 0;
            for (size_t dy = 0; dy < 3; dy++)
                for (size_t dx = 0; dx < 3; dx++)
                    sum += image.pixels[(y * 3 + dy) * 24 + x * 3 + dx];
            ck_assert_double_eq_tol(out[y * 8 + x], sum / 9 / 255, 1e-6);
        }
    free(out);
    caps_image_release(&image);

    /* By any factor: the mean of the whole stays, as every pixel counts alike. */
    image = made(101, 101, 1);
    double before = 0, after = 0;
    for (size_t i = 0; i < 101 * 101; i++)
        before += image.pixels[i] / 255.0 / (101 * 101);
    out = converted(&image, 1, 28, 28, false, NULL);
    for (size_t i = 0; i < 28 * 28; i++)
        after += out[i] / (28 * 28);
    ck_assert_double_eq_tol(before, after, 1e-6);
    free(out);
    caps_image_release(&image);

    /* Three pixels into two: two thirds of the middle one's neighbours, one third of itself. */
    caps_error err = {0};
    test_ok(caps_image_init(&image, 3, 3, 1, &err));
    for (size_t y = 0; y < 3; y++)
        memcpy(image.pixels + y * 3, (uint8_t[]){0, 90, 255}, 3);
    out = converted(&image, 1, 2, 2, false, NULL);
    for (size_t y = 0; y < 2; y++) {
        ck_assert_double_eq_tol(out[y * 2], (0 * 2 + 90) / 3.0 / 255, 1e-6);
        ck_assert_double_eq_tol(out[y * 2 + 1], (90 + 255 * 2) / 3.0 / 255, 1e-6);
    }
    free(out);
    caps_image_release(&image);
}
END_TEST

START_TEST(growing_is_bilinear)
{
    caps_error err = {0};
    caps_image image;
    test_ok(caps_image_init(&image, 2, 2, 1, &err));
    memcpy(image.pixels, (uint8_t[]){0, 255, 0, 255}, 4);
    float *out = converted(&image, 1, 4, 4, false, NULL);
    static const float row[4] = {0, 0.25f, 0.75f, 1};
    for (size_t y = 0; y < 4; y++)
        for (size_t x = 0; x < 4; x++)
            ck_assert_float_eq_tol(out[y * 4 + x], row[x], 1e-6f);
    free(out);
    caps_image_release(&image);

    /* A single pixel fills what it may; a constant stays constant. */
    test_ok(caps_image_init(&image, 1, 1, 3, &err));
    memcpy(image.pixels, (uint8_t[]){51, 102, 153}, 3);
    out = converted(&image, 3, 5, 5, false, NULL);
    for (size_t i = 0; i < 75; i++)
        ck_assert_float_eq_tol(out[i], 0.2f * (float)(1 + i / 25), 1e-6f);
    free(out);
    caps_image_release(&image);
}
END_TEST

START_TEST(proportions_are_kept_and_the_rest_is_black)
{
    caps_error err = {0};
    caps_image image;
    test_ok(caps_image_init(&image, 100, 40, 1, &err)); /* black: inverted it is white */
    float *out = converted(&image, 1, 28, 28, true, NULL);
    for (size_t y = 0; y < 28; y++)
        for (size_t x = 0; x < 28; x++) /* 100x40 becomes 28x11, 8 rows above, 9 below */
            ck_assert_float_eq_tol(out[y * 28 + x], y >= 8 && y < 19 ? 1 : 0, 1e-6f);
    free(out);
    caps_image_release(&image);

    /* Not square in, not square out, and every extreme of shape. */
    static const size_t shapes[][2] = {{1, 1}, {1, 500}, {500, 1}, {3, 2}, {17, 90}, {640, 480}};
    for (size_t i = 0; i < 6; i++)
        for (size_t height = 1; height < 40; height += 13)
            for (size_t width = 1; width < 40; width += 9) {
                image = made(shapes[i][0], shapes[i][1], 3);
                free(converted(&image, 1, height, width, false, NULL));
                free(converted(&image, 3, height, width, true, NULL));
                caps_image_release(&image);
            }

    image = made(4, 4, 1);
    float unused[64];
    ck_assert_int_eq(caps_image_convert(unused, &image, 2, 4, 4, false, &err), CAPS_ERR_MISMATCH);
    ck_assert_str_eq(err.message, "image: the model takes 2 channels, a picture gives 1 or 3");
    caps_image_release(&image);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("image");
    TCase *png = tcase_create("png");
    tcase_set_timeout(png, 60);
    tcase_add_test(png, read_every_kind);
    tcase_add_test(png, write_and_read_back);
    tcase_add_test(png, bad_pictures_are_refused_in_silence);
    suite_add_tcase(s, png);
    TCase *convert = tcase_create("convert");
    tcase_set_timeout(convert, 60);
    tcase_add_test(convert, right_size_passes_exactly);
    tcase_add_test(convert, what_was_done_is_said);
    tcase_add_test(convert, shrinking_averages_areas);
    tcase_add_test(convert, growing_is_bilinear);
    tcase_add_test(convert, proportions_are_kept_and_the_rest_is_black);
    suite_add_tcase(s, convert);
    return s;
}
