/* test_smallnorb.c: smallNORB's own files, written here in small. */
#include "data_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"

enum { N = 40, H = 8, W = 6, PIXELS = 2 * H * W };

#define STEM_TRAIN "smallnorb-5x46789x9x18x6x2x8x6-training"
#define STEM_TEST  "smallnorb-5x01235x9x18x6x2x8x6-testing"

/* A file in memory. */
typedef struct bytes {
    unsigned char data[8192];
    size_t n;
} bytes;

static void put_int(bytes *b, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        b->data[b->n++] = (unsigned char)(x >> (8 * i));
}

static void put_head(bytes *b, uint32_t magic, size_t ndim, const size_t *dims)
{
    b->n = 0;
    put_int(b, magic);
    put_int(b, (uint32_t)ndim);
    for (size_t d = 0; d < ndim || d < 3; d++)
        put_int(b, d < ndim ? (uint32_t)dims[d] : 1);
}

static unsigned label_of(unsigned seed, size_t i)
{
    return (unsigned)(i * 3 + seed) % 5;
}

static unsigned azimuth_of(unsigned seed, size_t i)
{
    return (unsigned)(i * 7 + seed) % 18;
}

static unsigned elevation_of(size_t i)
{
    return (unsigned)(i * 5) % 9;
}

static void make_dat(bytes *b, unsigned seed, size_t n)
{
    put_head(b, 0x1E3D4C55, 4, (size_t[]){n, 2, H, W});
    for (size_t i = 0; i < n * PIXELS; i++)
        b->data[b->n++] = test_pixel_of(seed + (unsigned)(i / PIXELS), i % PIXELS);
}

static void make_cat(bytes *b, unsigned seed, size_t n)
{
    put_head(b, 0x1E3D4C54, 1, &n);
    for (size_t i = 0; i < n; i++)
        put_int(b, label_of(seed, i));
}

static void make_info(bytes *b, unsigned seed, size_t n)
{
    put_head(b, 0x1E3D4C54, 2, (size_t[]){n, 4});
    for (size_t i = 0; i < n; i++) {
        put_int(b, (uint32_t)(i % 10));
        put_int(b, elevation_of(i));
        put_int(b, 2 * azimuth_of(seed, i));
        put_int(b, (uint32_t)(i % 6));
    }
}

static void (*const makers[])(bytes *, unsigned, size_t) = {make_dat, make_cat, make_info};
static const char *const parts[] = {"dat", "cat", "info"};

static void put_file(const char *dir, const char *stem, int part, const bytes *b, bool gz)
{
    char *name = caps_format("%s-%s.mat%s", stem, parts[part], gz ? ".gz" : "");
    size_t n = b->n;
    unsigned char *packed = gz ? test_gzipped(b->data, b->n, 6, &n) : NULL;
    test_put(dir, name, packed ? packed : b->data, n);
    free(packed);
    free(name);
}

static void put_split(const char *dir, const char *stem, unsigned seed, size_t n, bool gz)
{
    bytes b;
    for (int part = 0; part < 3; part++) {
        makers[part](&b, seed, n);
        put_file(dir, stem, part, &b, gz);
    }
}

/* Whether image `at` of the set is image `i` of the files, halved. */
static void expect_image(const caps_dataset *ds, size_t at, unsigned seed, size_t i)
{
    ck_assert_uint_eq(ds->labels[at], label_of(seed, i));
    for (size_t c = 0; c < 2; c++)
        for (size_t y = 0; y < H / 2; y++)
            for (size_t x = 0; x < W / 2; x++) {
                unsigned sum = 2;
                for (size_t k = 0; k < 4; k++)
                    sum += test_pixel_of(
                        seed + (unsigned)i, (c * H + 2 * y + k / 2) * W + 2 * x + k % 2);
                ck_assert_uint_eq(ds->images[((at * 2 + c) * (H / 2) + y) * (W / 2) + x], sum / 4);
            }
}

START_TEST(reads_plain_and_gzipped)
{
    caps_error err = {0};
    for (int gz = 0; gz < 2; gz++) {
        caps_dataset ds;
        bool has;
        char *dir = test_new_directory();
        put_split(dir, STEM_TRAIN, 3, N, gz);
        put_split(dir, STEM_TEST, 90, N - 7, !gz);
        test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TRAIN, 0, &err));
        ck_assert_uint_eq(ds.n, N);
        ck_assert(ds.channels == 2 && ds.height == H / 2 && ds.width == W / 2);
        ck_assert(ds.standardised && ds.classes == 5);
        ck_assert_str_eq(ds.class_names[0], "animal");
        ck_assert_str_eq(ds.class_names[4], "car");
        for (size_t i = 0; i < N; i++)
            expect_image(&ds, i, 3, i);
        caps_dataset_release(&ds);
        test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, 4, &err));
        ck_assert_uint_eq(ds.n, 4);
        for (size_t i = 0; i < 4; i++)
            expect_image(&ds, i, 90, i);
        caps_dataset_release(&ds);
        test_ok(caps_dataset_has_split(&has, dir, CAPS_SPLIT_TEST, &err));
        ck_assert(has);
        test_ok(caps_dataset_has_split(&has, dir, CAPS_SPLIT_VALIDATION, &err));
        ck_assert(!has);
        free(dir);
    }
}
END_TEST

/* The paper's two splits: azimuths of 300 to 40 degrees; the three lowest elevations. */
START_TEST(viewpoints)
{
    caps_error err = {0};
    char *dir = test_new_directory();
    put_split(dir, STEM_TRAIN, 5, N, false);
    size_t counts[CAPS_VIEWPOINTS_COUNT];
    for (int v = 0; v < CAPS_VIEWPOINTS_COUNT; v++) {
        const caps_dataset_options o = {
            CAPS_OPTIONS(caps_dataset_options), .viewpoints = (caps_viewpoints)v};
        caps_dataset ds;
        size_t at = 0;
        test_ok(caps_dataset_open(&ds, dir, &o, &err));
        for (size_t i = 0; i < N; i++) {
            const unsigned degrees = 20 * azimuth_of(5, i), height = 30 + 5 * elevation_of(i);
            const bool front = degrees >= 300 || degrees <= 40, low = height <= 40;
            const bool want[] = {true, front, !front, low, !low};
            if (want[v])
                expect_image(&ds, at++, 5, i);
        }
        ck_assert_uint_eq(ds.n, at);
        counts[v] = at;
        caps_dataset_release(&ds);
    }
    ck_assert(counts[1] > 0 && counts[3] > 0 && counts[1] != counts[3]);
    ck_assert_uint_eq(counts[1] + counts[2], N);
    ck_assert_uint_eq(counts[3] + counts[4], N);
    const caps_dataset_options two = {CAPS_OPTIONS(caps_dataset_options), .limit = 2,
        .viewpoints = CAPS_VIEWPOINTS_NOVEL_ELEVATIONS};
    caps_dataset ds;
    test_ok(caps_dataset_open(&ds, dir, &two, &err));
    ck_assert_uint_eq(ds.n, 2);
    caps_dataset_release(&ds);
    ck_assert_str_eq(caps_viewpoints_name(CAPS_VIEWPOINTS_NOVEL_AZIMUTHS), "novel-azimuths");
    ck_assert_ptr_null(caps_viewpoints_name(CAPS_VIEWPOINTS_COUNT));
    char *other = test_put_set(4, 1, 2, 5, 5);
    test_expect_refused(other, &two, CAPS_ERR_ARGUMENT, other, "need smallNORB or solids");
    free(other);
    free(dir);
}
END_TEST

/* ---- bad files ------------------------------------------------------------------------------ */

/* Opening the training split names the file and says what is wrong, plain and gzipped, also where
 * --limit needs little of it. */
static void expect_bad(int part, const bytes *b, const char *needle, const char *gz_needle)
{
    for (int gz = 0; gz < 2; gz++)
        for (size_t limit = 0; limit < 2; limit++) {
            char *dir = test_new_directory();
            put_split(dir, STEM_TRAIN, 1, N, false);
            char *name = caps_format("%s/%s-%s.mat", dir, STEM_TRAIN, parts[part]);
            if (gz)
                test_drop(dir, strrchr(name, '/') + 1);
            put_file(dir, STEM_TRAIN, part, b, gz);
            test_expect_refused(dir,
                &(caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .limit = limit},
                CAPS_ERR_FORMAT, name, gz ? gz_needle : needle);
            free(name);
            free(dir);
        }
}

START_TEST(files_that_are_cut_or_too_long)
{
    bytes b;
    for (int part = 0; part < 3; part++) {
        const size_t cuts[] = {0, 1, 7, 8, 19, 20, 100, 130};
        for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
            makers[part](&b, 1, N);
            ck_assert(cuts[i] < b.n);
            b.n = cuts[i];
            expect_bad(part, &b, " bytes", "the file is cut");
        }
        makers[part](&b, 1, N);
        b.n--;
        expect_bad(part, &b, "bytes, need", "the file is cut");
        b.n += 2;
        expect_bad(part, &b, "bytes, need", "more than the ");
    }
}
END_TEST

START_TEST(wrong_headers)
{
    bytes b;
    for (int part = 0; part < 3; part++) {
        makers[part](&b, 1, N);
        b.data[0] ^= 1; /* bytes for integers, and the reverse */
        expect_bad(part, &b, part ? "need 0x1E3D4C54" : "need 0x1E3D4C55", "magic number is 0x");
        makers[part](&b, 1, N);
        const unsigned char big[] = {0x1E, 0x3D, 0x4C, 0x55};
        memcpy(b.data, big, 4);
        expect_bad(part, &b, "magic number is 0x554C3D1E", "little-endian");
        makers[part](&b, 1, N);
        b.data[4] = 3;
        expect_bad(part, &b, "3 dimensions, need", "3 dimensions, need");
        makers[part](&b, 1, N);
        memset(b.data + 8, 0, 4);
        expect_bad(part, &b, "0 images", "0 images");
        makers[part](&b, 1, N);
        memset(b.data + 8, 0xff, 4); /* more than memory has */
        expect_bad(part, &b, "need", part ? "the file is cut" : "images, need 40");
    }
    makers[0](&b, 1, N);
    b.data[12] = 3;
    expect_bad(0, &b, "images of 3x8x6, need 2 cameras", "need 2 cameras");
    makers[0](&b, 1, N);
    b.data[16] = 7;
    expect_bad(0, &b, "images of 2x7x6", "even sides");
    makers[0](&b, 1, N);
    memset(b.data + 16, 0xff, 8);
    expect_bad(0, &b, "even sides", "even sides");
    makers[2](&b, 1, N);
    b.data[12] = 5;
    expect_bad(2, &b, "5 numbers an image, need 4", "5 numbers an image, need 4");
}
END_TEST

START_TEST(counts_that_differ)
{
    bytes b;
    for (int more = -1; more <= 1; more += 2) {
        make_dat(&b, 1, (size_t)(N + more));
        expect_bad(0, &b, "images, need 40, as ", "-cat.mat has");
        make_info(&b, 1, (size_t)(N + more));
        expect_bad(2, &b, "images, need 40, as ", "-cat.mat has");
    }
}
END_TEST

START_TEST(numbers_out_of_range)
{
    static const struct {
        int part;
        size_t at;
        unsigned value;
        const char *needle;
    } rows[] = {{1, 20 + 4 * 7, 5, "label of image 7 is 5, need 0 to 4"},
        {2, 20 + 16 * 9 + 4, 9, "elevation of image 9 is 9, need 0 to 8"},
        {2, 20 + 16 * 9 + 8, 36, "azimuth of image 9 is 36, need 0 to 34"},
        {2, 20 + 16 * 9 + 8, 3, "azimuth of image 9 is 3, need an even number"},
        {2, 20 + 16 * 39 + 12, 6, "light of image 39 is 6, need 0 to 5"}};
    bytes b;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        makers[rows[i].part](&b, 1, N);
        b.data[rows[i].at] = (unsigned char)rows[i].value;
        expect_bad(rows[i].part, &b, rows[i].needle, rows[i].needle);
    }
    make_cat(&b, 1, N);
    memset(b.data + 20, 0xff, 4);
    expect_bad(1, &b, "label of image 0 is -1", "label of image 0 is -1");
}
END_TEST

START_TEST(files_that_are_missing)
{
    for (int part = 0; part < 3; part++) {
        char *dir = test_new_directory();
        put_split(dir, STEM_TRAIN, 1, N, false);
        char *name = caps_format("%s-%s.mat", STEM_TRAIN, parts[part]);
        char *path = caps_path_join(dir, name);
        test_drop(dir, name);
        test_expect_refused(dir, NULL, CAPS_ERR_NOT_FOUND, path, "does not exist");
        test_expect_refused(dir,
            &(caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_TEST},
            CAPS_ERR_NOT_FOUND, dir, "has no smallnorb-...-testing-dat.mat");
        free(path);
        free(name);
        free(dir);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("smallNORB");
    TCase *files = tcase_create("files");
    tcase_set_timeout(files, 60);
    tcase_add_test(files, reads_plain_and_gzipped);
    tcase_add_test(files, viewpoints);
    tcase_add_test(files, files_that_are_cut_or_too_long);
    tcase_add_test(files, wrong_headers);
    tcase_add_test(files, counts_that_differ);
    tcase_add_test(files, numbers_out_of_range);
    tcase_add_test(files, files_that_are_missing);
    suite_add_tcase(s, files);
    return s;
}
