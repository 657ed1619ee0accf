/* test_jpeg.c: JPEG files of every kind, EXIF, damage, memory. */
#include "support.h"

#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "file.h"
#include "jpeg_files.h"
#include "picture.h"
#include "raster.h"

static char *dir, *path;

static void set_up(void)
{
    dir = test_directory();
    path = caps_path_join(dir, "x.jpg");
}

static void tear_down(void)
{
    free(path);
    free(dir);
}

static void put(const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, n, f), n);
    fclose(f);
}

static void put_kind(const test_jpeg *kind)
{
    size_t n;
    unsigned char *file = test_jpeg_make(&n, kind);
    put(file, n);
    free(file);
}

/* Smooth, so that little is lost. */
static uint8_t slope(size_t x, size_t y, size_t c)
{
    return (uint8_t)(20 + 5 * x + 3 * y + 30 * c);
}

enum { W = 21, H = 13 };

/* What the pixel is, where stored samples are taken as they are. */
static double expected_value(const test_jpeg *k, size_t x, size_t y, size_t c)
{
    double s[4];
    for (size_t i = 0; i < 4; i++)
        s[i] = k->sample(x, y, i);
    if (k->components < 4)
        return s[c];
    return k->no_adobe ? (255 - s[c]) * (255 - s[3]) / 255 : s[c] * s[3] / 255;
}

START_TEST(every_kind_is_read)
{
    caps_error err = {0};
    int kinds = 0;
    for (size_t components = 1; components <= 4; components += components == 1 ? 2 : 1)
        for (int progressive = 0; progressive < 2; progressive++)
            for (int ycck = 0; ycck <= (components == 4); ycck++)
                for (int no_adobe = 0; no_adobe <= (components == 4 && !ycck); no_adobe++) {
                    caps_image image;
                    caps_picture_facts facts;
                    const test_jpeg k = {.width = W,
                        .height = H,
                        .components = components,
                        .sample = slope,
                        .progressive = progressive,
                        .ycck = ycck,
                        .no_adobe = no_adobe};
                    put_kind(&k);
                    test_ok(caps_picture_read(&image, path, NULL, &facts, &err));
                    ck_assert(image.width == W && image.height == H);
                    ck_assert_uint_eq(image.channels, components == 1 ? 1 : 3);
                    ck_assert(facts.cmyk == (components == 4) && !facts.turned);
                    ck_assert(facts.coloured == (components > 1) && !facts.transparent);
                    for (size_t i = 0; i < W * H * image.channels; i++) {
                        const size_t p = i / image.channels, c = i % image.channels;
                        const double want = expected_value(&k, p % W, p / W, c);
                        /* The rounding of coefficients and of colour spaces at quality 100. */
                        ck_assert_msg(fabs(image.pixels[i] - want) <= 5,
                            "%zu components, ycck %d, no Adobe %d, pixel %zu, channel %zu: %d, "
                            "need %g",
                            components, ycck, no_adobe, p, c, image.pixels[i], want);
                    }
                    caps_image_release(&image);
                    kinds++;
                }
    ck_assert_int_eq(kinds, 2 + 2 + 2 * 3);
}
END_TEST

/* ---- orientation ---------------------------------------------------------------------------- */

/* The visual sides that the stored row 0 and column 0 are, as the standard says. */
static const struct {
    bool swapped, right, bottom;
} sides[9] = {
    {0}, {0, 0, 0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 1}, {1, 0, 0}, {1, 1, 0}, {1, 1, 1}, {1, 0, 1}};
static int orientation;

/* The picture as it is seen: W x H. */
static uint8_t seen(size_t x, size_t y)
{
    return (uint8_t)(10 + 9 * x + 3 * y);
}

static uint8_t stored(size_t column, size_t row, size_t c)
{
    const size_t across = sides[orientation].swapped ? row : column;
    const size_t down = sides[orientation].swapped ? column : row;
    (void)c;
    return seen(sides[orientation].right ? W - 1 - across : across,
        sides[orientation].bottom ? H - 1 - down : down);
}

static void expect_seen(int tolerance)
{
    caps_error err = {0};
    caps_image image;
    caps_picture_facts facts;
    test_ok(caps_picture_read(&image, path, NULL, &facts, &err));
    ck_assert(image.width == W && image.height == H);
    ck_assert(facts.width == W && facts.height == H);
    ck_assert(facts.turned == (orientation > 1));
    for (size_t i = 0; i < W * H; i++)
        for (size_t c = 0; c < image.channels; c++)
            ck_assert_msg(
                abs(image.pixels[i * image.channels + c] - seen(i % W, i / W)) <= tolerance,
                "orientation %d, pixel %zu: %d, need %d", orientation, i,
                image.pixels[i * image.channels + c], seen(i % W, i / W));
    caps_image_release(&image);
}

START_TEST(pictures_are_turned_as_exif_says)
{
    for (orientation = 1; orientation <= 8; orientation++)
        for (int big = 0; big < 2; big++) {
            const bool swapped = sides[orientation].swapped;
            put_kind(&(test_jpeg){.width = swapped ? H : W,
                .height = swapped ? W : H,
                .components = big ? 3 : 1,
                .sample = stored,
                .orientation = orientation,
                .big_endian = big});
            expect_seen(3);
        }
}
END_TEST

/* PNG of 16 bits with alpha, whose pixels are the largest that are turned. */
static void put_png(void)
{
    const bool swapped = sides[orientation].swapped;
    const size_t width = swapped ? H : W, height = swapped ? W : H;
    unsigned char exif[TEST_EXIF_BYTES];
    FILE *f = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    test_exif_make(exif, orientation, orientation % 2);
    png_init_io(png, f);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 16, PNG_COLOR_TYPE_RGB_ALPHA,
        PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_eXIf_1(png, info, TEST_EXIF_BYTES - 6, exif + 6);
    png_write_info(png, info);
    for (size_t y = 0; y < height; y++) {
        png_byte row[W * 8];
        for (size_t i = 0; i < width * 4; i++)
            row[2 * i] = row[2 * i + 1] = i % 4 == 3 ? 255 : stored(i / 4, y, 0);
        png_write_row(png, row);
    }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    fclose(f);
}

START_TEST(png_is_turned_too)
{
    for (orientation = 1; orientation <= 8; orientation++) {
        put_png();
        expect_seen(0);
    }
}
END_TEST

/* Whatever is there instead of EXIF data, nothing beyond its end is read (valgrind and the
 * sanitizer see that), and what is no orientation is 1. */
START_TEST(damaged_exif_is_no_orientation)
{
    unsigned char exif[TEST_EXIF_BYTES];
    for (int big = 0; big < 2; big++) {
        test_exif_make(exif, 6, big);
        ck_assert_int_eq(caps_exif_orientation(exif, sizeof exif), 6);
        ck_assert_int_eq(caps_exif_orientation(exif + 6, sizeof exif - 6), 6);
        for (size_t n = 0; n < sizeof exif; n++) {
            unsigned char *cut = malloc(n ? n : 1);
            memcpy(cut, exif, n);
            const int found = caps_exif_orientation(cut, n);
            ck_assert(found == 1 || (n >= 6 + 8 + 2 + 24 && found == 6));
            free(cut);
        }
        for (size_t i = 0; i < sizeof exif; i++)
            for (int bit = 0; bit < 8; bit++) {
                exif[i] ^= (unsigned char)(1 << bit);
                const int found = caps_exif_orientation(exif, sizeof exif);
                ck_assert(found >= 1 && found <= 8);
                exif[i] ^= (unsigned char)(1 << bit);
            }
        for (int value = 9; value < 300; value += 97) {
            test_exif_make(exif, value, big);
            ck_assert_int_eq(caps_exif_orientation(exif, sizeof exif), 1);
        }
    }
}
END_TEST

/* ---- faults --------------------------------------------------------------------------------- */

static void expect_bad(caps_status status, const char *needle)
{
    caps_error err = {0};
    caps_image image;
    ck_assert_int_eq(caps_image_read(&image, path, &err), status);
    ck_assert_ptr_null(image.pixels);
    ck_assert_msg(strncmp(err.message, path, strlen(path)) == 0 && strstr(err.message, needle),
        "'%s' lacks '%s'", err.message, needle);
    ck_assert_ptr_null(strchr(err.message, '\n'));
}

/* The first marker FF `kind`. */
static size_t find_marker(const unsigned char *file, size_t n, unsigned char kind)
{
    for (size_t i = 0; i + 1 < n; i++)
        if (file[i] == 0xff && file[i + 1] == kind)
            return i;
    ck_abort_msg("no marker %02x", kind);
    return 0;
}

START_TEST(a_file_that_ends_early_is_damaged)
{
    for (int progressive = 0; progressive < 2; progressive++) {
        const test_jpeg k = {.width = W,
            .height = H,
            .components = 3,
            .sample = slope,
            .progressive = progressive,
            .orientation = 3};
        size_t n;
        unsigned char *file = test_jpeg_make(&n, &k);
        for (size_t cut = 3; cut < n; cut++) {
            put(file, cut);
            expect_bad(CAPS_ERR_FORMAT, "damaged JPEG file: ");
        }
        put(file, 2);
        expect_bad(CAPS_ERR_FORMAT, "is neither a PNG nor a JPEG file (2 bytes");
        free(file);
    }
}
END_TEST

START_TEST(sizes_are_compared_before_memory_is_taken)
{
    const test_jpeg k = {.width = W, .height = H, .components = 1, .sample = slope};
    static const struct {
        unsigned width, height;
        const char *said;
    } cases[] = {{16385, 1, "picture of 16385x1, need <= 16384 each way"},
        {65500, 65500, "picture of 65500x65500, need <= 16384 each way"},
        {8192, 8193, "picture of 8192x8193, need <= 67108864 pixels"},
        {8192, 8192, "damaged JPEG file: it is too small for a picture of 8192x8192"},
        {0, 5, "damaged JPEG file: "}};
    size_t n;
    unsigned char *file = test_jpeg_make(&n, &k);
    const size_t at = find_marker(file, n, 0xc0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        file[at + 5] = (unsigned char)(cases[i].height >> 8);
        file[at + 6] = (unsigned char)cases[i].height;
        file[at + 7] = (unsigned char)(cases[i].width >> 8);
        file[at + 8] = (unsigned char)cases[i].width;
        put(file, n);
        expect_bad(CAPS_ERR_FORMAT, cases[i].said);
    }
    file[at + 5] = file[at + 7] = 0;
    file[at + 6] = H;
    file[at + 8] = W;
    file[at + 4] = 12; /* bits of a sample */
    put(file, n);
    expect_bad(CAPS_ERR_FORMAT, "of a kind that is not read, need baseline or progressive");
    free(file);
}
END_TEST

/* A picture whose last scan comes again and again. */
START_TEST(a_file_of_many_scans_is_refused)
{
    const test_jpeg k = {
        .width = W, .height = H, .components = 3, .sample = slope, .separate = true};
    size_t n, last = 0;
    unsigned char *file = test_jpeg_make(&n, &k);
    for (size_t i = 0; i + 1 < n; i++)
        if (file[i] == 0xff && file[i + 1] == 0xda)
            last = i;
    const size_t scan = n - 2 - last;
    for (int times = 1; times <= 601; times += 600) {
        unsigned char *many = malloc(n + scan * (size_t)times);
        memcpy(many, file, n - 2);
        for (int i = 0; i < times; i++)
            memcpy(many + n - 2 + scan * (size_t)i, file + last, scan);
        memcpy(many + n - 2 + scan * (size_t)times, "\xff\xd9", 2);
        put(many, n + scan * (size_t)times);
        if (times > 500) {
            expect_bad(CAPS_ERR_FORMAT, "damaged JPEG file: it has too many scans");
        } else {
            caps_error err = {0};
            caps_image image;
            test_ok(caps_image_read(&image, path, &err));
            caps_image_release(&image);
        }
        free(many);
    }
    free(file);
}
END_TEST

/* Bytes between the picture and its end, as some cameras write them: readable, and noticed. */
START_TEST(stray_bytes_are_skipped)
{
    enum { STRAY = 50 };
    caps_error err = {0};
    caps_image image, plain;
    caps_picture_facts facts;
    const test_jpeg k = {.width = W, .height = H, .components = 3, .sample = slope};
    size_t n;
    unsigned char *file = test_jpeg_make(&n, &k), *longer = malloc(n + STRAY);
    put(file, n);
    test_ok(caps_picture_read(&plain, path, NULL, &facts, &err));
    ck_assert(!facts.imperfect);
    memcpy(longer, file, n - 2);
    memset(longer + n - 2, 'a', STRAY); /* more than the decoder reads ahead */
    memcpy(longer + n - 2 + STRAY, "\xff\xd9", 2);
    put(longer, n + STRAY);
    test_ok(caps_picture_read(&image, path, NULL, &facts, &err));
    ck_assert(facts.imperfect);
    ck_assert_mem_eq(image.pixels, plain.pixels, W * H * 3);
    caps_image_release(&image);
    caps_image_release(&plain);
    free(longer);
    free(file);
}
END_TEST

/* The sanitizer reserves the address space that this takes away. */
#ifndef __SANITIZE_ADDRESS__
static uint8_t grey(size_t x, size_t y, size_t c)
{
    (void)x;
    (void)y;
    (void)c;
    return 128;
}

/* libjpeg's own memory, and libpng's: what is told is that there was none, not that the file is
 * damaged. */
START_TEST(out_of_memory_is_no_damage)
{
    enum { SIDE = 4000 };
    caps_error err = {0};
    caps_image image;
    for (int kind = 0; kind < 3; kind++) {
        struct rlimit before, limit;
        if (kind < 2) {
            put_kind(&(test_jpeg){.width = SIDE,
                .height = SIDE,
                .components = 3,
                .sample = grey,
                .progressive = kind == 1,
                .quality = 50});
        } else {
            test_ok(caps_image_init(&image, SIDE, SIDE, 3, &err));
            test_ok(caps_image_write_png(&image, path, &err));
            caps_image_release(&image);
        }
        FILE *statm = fopen("/proc/self/statm", "r");
        unsigned long pages;
        ck_assert_int_eq(fscanf(statm, "%lu", &pages), 1);
        fclose(statm);
        ck_assert_int_eq(getrlimit(RLIMIT_AS, &before), 0);
        limit = before;
        limit.rlim_cur = pages * 4096 + (16u << 20); /* less than the 46 MB of the picture */
        ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
        const caps_status status = caps_image_read(&image, path, &err);
        ck_assert_int_eq(setrlimit(RLIMIT_AS, &before), 0);
        ck_assert_msg(status == CAPS_ERR_MEMORY, "kind %d: %s", kind, err.message);
        ck_assert_ptr_nonnull(strstr(err.message, "out of memory for a picture"));
    }
}
END_TEST
#endif

Suite *suite(void)
{
    Suite *s = suite_create("jpeg");
    TCase *t = tcase_create("jpeg");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, every_kind_is_read);
    tcase_add_test(t, pictures_are_turned_as_exif_says);
    tcase_add_test(t, png_is_turned_too);
    tcase_add_test(t, damaged_exif_is_no_orientation);
    tcase_add_test(t, a_file_that_ends_early_is_damaged);
    tcase_add_test(t, sizes_are_compared_before_memory_is_taken);
    tcase_add_test(t, a_file_of_many_scans_is_refused);
    tcase_add_test(t, stray_bytes_are_skipped);
#ifndef __SANITIZE_ADDRESS__
    tcase_add_test(t, out_of_memory_is_no_damage);
#endif
    suite_add_tcase(s, t);
    return s;
}
