/* test_data.c: IDX files and data sets. */
#include "data_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "file.h"
#include "rng.h"

/* ---- making files --------------------------------------------------------------------------- */

typedef struct bytes {
    unsigned char *data;
    size_t n;
} bytes;

/* An IDX file whose header says `dims` and that holds `payload` bytes: fixed pseudo-random ones, or
 * for labels (one dimension) 0, 1, ... 9, 0, ... */
static bytes idx_bytes(int ndim, const uint32_t *dims, size_t payload)
{
    bytes b = {NULL, 4 + 4 * (size_t)ndim + payload};
    b.data = calloc(1, b.n);
    b.data[2] = 8;
    b.data[3] = (unsigned char)ndim;
    for (int d = 0; d < ndim; d++)
        for (int k = 0; k < 4; k++)
            b.data[4 + 4 * d + k] = (unsigned char)(dims[d] >> (24 - 8 * k));
    for (size_t i = 0; i < payload; i++) {
        unsigned char *p = b.data + 4 + 4 * (size_t)ndim + i;
        *p = ndim == 1 ? (unsigned char)(i % 10)
                       : (unsigned char)caps_rng_below(256, 11, CAPS_RNG_TEST, 0, i);
    }
    return b;
}

static bytes gzipped(bytes plain)
{
    bytes out;
    out.data = test_gzipped(plain.data, plain.n, 6, &out.n);
    return out;
}

/* A directory with a set of N images of 5x4 (and labels), for one split. */
enum { N = 23, H = 5, W = 4 };

static void put(const char *directory, const char *name, bytes b)
{
    test_put(directory, name, b.data, b.n);
}

static bytes good_images(void)
{
    return idx_bytes(3, (uint32_t[]){N, H, W}, N * H * W);
}

static bytes good_labels(void)
{
    return idx_bytes(1, (uint32_t[]){N}, N);
}

#define IMAGES "t10k-images-idx3-ubyte"
#define LABELS "t10k-labels-idx1-ubyte"

static void put_set(const char *directory, bool gz)
{
    bytes images = good_images(), labels = good_labels();
    bytes images_gz = gzipped(images), labels_gz = gzipped(labels);
    put(directory, gz ? IMAGES ".gz" : IMAGES, gz ? images_gz : images);
    put(directory, gz ? LABELS ".gz" : LABELS, gz ? labels_gz : labels);
    free(images.data);
    free(labels.data);
    free(images_gz.data);
    free(labels_gz.data);
}

static void expect_good(const caps_dataset *ds, size_t n)
{
    bytes images = good_images();
    ck_assert_uint_eq(ds->n, n);
    ck_assert_uint_eq(ds->channels, 1);
    ck_assert_uint_eq(ds->height, H);
    ck_assert_uint_eq(ds->width, W);
    ck_assert_uint_eq(ds->classes, 10); /* a limit does not change it */
    ck_assert_mem_eq(ds->images, images.data + 16, n * H * W);
    for (size_t i = 0; i < n; i++)
        ck_assert_uint_eq(ds->labels[i], i % 10);
    free(images.data);
}

/* ---- loading -------------------------------------------------------------------------------- */

START_TEST(load_plain_and_gz)
{
    caps_error err = {0};
    caps_dataset ds;
    for (int gz = 0; gz < 2; gz++) {
        char *dir = test_new_directory();
        put_set(dir, gz);
        test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, 0, &err));
        expect_good(&ds, N);
        ck_assert_str_eq(ds.path, dir);
        ck_assert_int_eq(ds.split, CAPS_SPLIT_TEST);
        caps_dataset_release(&ds);
        static const size_t limits[] = {1, 7, N - 1, N, N + 1, SIZE_MAX};
        for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
            test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, limits[i], &err));
            expect_good(&ds, limits[i] < N ? limits[i] : N);
            caps_dataset_release(&ds);
        }
        caps_dataset_release(&ds); /* again: nothing to do */
        ck_assert_int_eq(
            test_dataset_load(&ds, dir, CAPS_SPLIT_TRAIN, 0, &err), CAPS_ERR_NOT_FOUND);
        ck_assert_ptr_nonnull(strstr(err.message, "train-images-idx3-ubyte"));
        ck_assert_int_eq(test_dataset_load(&ds, dir, (caps_split)7, 0, &err), CAPS_ERR_ARGUMENT);
        free(dir);
    }
}
END_TEST

/* More than the reader's first piece of memory and more than a chunk of zlib's. */
START_TEST(load_large_gz)
{
    caps_error err = {0};
    caps_dataset ds;
    char *dir = test_new_directory();
    const uint32_t n = 150, side = 256; /* 9.8 MB */
    bytes images = idx_bytes(3, (uint32_t[]){n, side, side}, (size_t)n * side * side);
    bytes packed = gzipped(images), labels = idx_bytes(1, (uint32_t[]){n}, n);
    put(dir, IMAGES ".gz", packed);
    put(dir, LABELS, labels);
    test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, 0, &err));
    ck_assert_mem_eq(ds.images, images.data + 16, images.n - 16);
    caps_dataset_release(&ds);
    free(images.data);
    free(packed.data);
    free(labels.data);
    free(dir);
}
END_TEST

START_TEST(plain_goes_before_gz_and_gz_may_have_members)
{
    caps_error err = {0};
    caps_dataset ds;
    char *dir = test_new_directory();
    put_set(dir, false);
    put(dir, IMAGES ".gz", (bytes){(unsigned char *)"nonsense", 8});
    test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, 0, &err));
    expect_good(&ds, N);
    caps_dataset_release(&ds);

    /* Two gzip files one after the other are one, as gzip has it. */
    test_drop(dir, IMAGES);
    bytes images = good_images();
    bytes a = gzipped((bytes){images.data, 100}),
          b = gzipped((bytes){images.data + 100, images.n - 100});
    unsigned char *both = malloc(a.n + b.n);
    memcpy(both, a.data, a.n);
    memcpy(both + a.n, b.data, b.n);
    put(dir, IMAGES ".gz", (bytes){both, a.n + b.n});
    test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, 0, &err));
    expect_good(&ds, N);
    caps_dataset_release(&ds);
    free(both);
    free(a.data);
    free(b.data);
    free(images.data);
    free(dir);
}
END_TEST

START_TEST(load_colour)
{
    caps_error err = {0};
    caps_dataset ds;
    char *dir = test_new_directory();
    bytes images = idx_bytes(4, (uint32_t[]){6, 3, 8, 7}, 6 * 3 * 8 * 7);
    bytes labels = idx_bytes(1, (uint32_t[]){6}, 6);
    put(dir, "train-images-idx4-ubyte", images);
    put(dir, "train-labels-idx1-ubyte", labels);
    test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TRAIN, 5, &err));
    ck_assert_uint_eq(ds.n, 5);
    ck_assert_uint_eq(ds.channels, 3);
    ck_assert_uint_eq(ds.height, 8);
    ck_assert_uint_eq(ds.width, 7);
    ck_assert_mem_eq(ds.images, images.data + 20, 5 * 3 * 8 * 7);
    float out[3 * 8 * 7];
    caps_dataset_image(&ds, 2, CAPS_AUGMENT_NONE, 0, 0, out);
    for (size_t i = 0; i < 3 * 8 * 7; i++)
        ck_assert_float_eq(out[i], (float)images.data[20 + 2 * 3 * 8 * 7 + i] / 255.0f);
    caps_dataset_release(&ds);
    free(images.data);
    free(labels.data);
    free(dir);
}
END_TEST

/* ---- bad files: each is put in place of one file of a good set ------------------------------ */

/* `expected` stands in the message after the path. */
static void expect_bad(const char *name, bytes b, const char *expected)
{
    caps_error err = {0};
    caps_dataset ds;
    char *dir = test_new_directory();
    put_set(dir, false);
    bool images = strncmp(name, IMAGES, strlen(IMAGES)) == 0;
    test_drop(dir, images ? IMAGES : LABELS);
    put(dir, name, b);
    char *start = caps_format("%s/%s: %s", dir, name, expected);
    /* A limit changes nothing: what is not kept is checked too. */
    for (size_t limit = 0; limit < 3; limit += 2) {
        ck_assert_int_eq(
            test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, limit, &err), CAPS_ERR_FORMAT);
        ck_assert_msg(strncmp(err.message, start, strlen(start)) == 0, "'%s' does not begin '%s'",
            err.message, start);
        ck_assert_ptr_null(strchr(err.message, '\n'));
        ck_assert_ptr_null(ds.images);
        ck_assert_ptr_null(ds.labels);
        ck_assert_ptr_null(ds.path);
    }
    free(start);
    free(dir);
}

/* The same content plain and compressed. */
static void expect_bad_content(
    const char *plain_name, bytes b, const char *expected, const char *expected_gz)
{
    char *gz_name = caps_format("%s.gz", plain_name);
    bytes packed = gzipped(b);
    expect_bad(plain_name, b, expected);
    expect_bad(gz_name, packed, expected_gz ? expected_gz : expected);
    free(packed.data);
    free(gz_name);
    free(b.data);
}

START_TEST(bad_sizes)
{
    const size_t pixels = N * H * W; /* 460 */
    expect_bad_content(IMAGES, idx_bytes(3, (uint32_t[]){N, H, W}, pixels - 1),
        "475 bytes, need 476 for 23 images of 5x4",
        "475 bytes uncompressed, need 476 for 23 images of 5x4");
    expect_bad_content(IMAGES, idx_bytes(3, (uint32_t[]){N, H, W}, 0),
        "16 bytes, need 476 for 23 images of 5x4",
        "16 bytes uncompressed, need 476 for 23 images of 5x4");
    expect_bad_content(IMAGES, idx_bytes(3, (uint32_t[]){N, H, W}, pixels + 1),
        "477 bytes, need 476 for 23 images of 5x4",
        "more than 476 bytes uncompressed, need 476 for 23 images of 5x4");
    expect_bad_content(IMAGES, idx_bytes(3, (uint32_t[]){0, H, W}, 0), "0 images, need >= 1", NULL);
    expect_bad_content(IMAGES, idx_bytes(3, (uint32_t[]){N, 0, W}, 0),
        "23 images of 0x4, need every size >= 1", NULL);
    expect_bad_content(LABELS, idx_bytes(1, (uint32_t[]){N}, N - 1),
        "30 bytes, need 31 for 23 labels", "30 bytes uncompressed, need 31 for 23 labels");
    expect_bad_content(LABELS, idx_bytes(1, (uint32_t[]){N}, N + 3),
        "34 bytes, need 31 for 23 labels",
        "more than 31 bytes uncompressed, need 31 for 23 labels");
    expect_bad_content(LABELS, idx_bytes(1, (uint32_t[]){0}, 0), "0 labels, need >= 1", NULL);
}
END_TEST

/* A few bytes that promise gigabytes, or more than 2^64, claim no memory. */
START_TEST(absurd_sizes)
{
    const uint32_t most = UINT32_MAX;
    expect_bad_content(IMAGES, idx_bytes(3, (uint32_t[]){most, most, most}, 100),
        "4294967295 images of 4294967295x4294967295 in the header", NULL);
    /* Wraps around to 0, and to exactly the payload, in 64 bits. */
    expect_bad_content(IMAGES, idx_bytes(3, (uint32_t[]){1u << 31, 1u << 31, 4}, 0),
        "2147483648 images of 2147483648x4 in the header", NULL);
    expect_bad_content(IMAGES, idx_bytes(3, (uint32_t[]){most, 1024, 1024}, 100),
        "116 bytes, need 4503599626321936 for 4294967295 images of 1024x1024",
        "116 bytes uncompressed, need 4503599626321936 for 4294967295 images of 1024x1024");
    expect_bad_content(LABELS, idx_bytes(1, (uint32_t[]){most}, N),
        "31 bytes, need 4294967303 for 4294967295 labels",
        "31 bytes uncompressed, need 4294967303 for 4294967295 labels");
}
END_TEST

START_TEST(bad_headers)
{
    for (int byte = 0; byte < 4; byte++) {
        bytes b = good_images();
        b.data[byte] ^= 0x05;
        char expected[80];
        snprintf(expected, sizeof expected,
            "magic number is 0x%02x%02x%02x%02x, need 0x00000803 (IDX", b.data[0], b.data[1],
            b.data[2], b.data[3]);
        expect_bad_content(IMAGES, b, expected, NULL);
    }
    expect_bad_content(IMAGES, good_labels(), "magic number is 0x00000801, need 0x00000803", NULL);
    expect_bad_content(LABELS, good_images(), "magic number is 0x00000803, need 0x00000801", NULL);
    for (size_t n = 0; n < 16; n++) {
        bytes b = good_images();
        char expected[80], expected_gz[80];
        snprintf(expected, sizeof expected, "%zu bytes, need at least 16", n);
        snprintf(expected_gz, sizeof expected_gz, "%zu bytes uncompressed, need at least 16", n);
        b.n = n;
        expect_bad_content(IMAGES, b, expected, expected_gz);
    }
    /* Compressed, but not named so. */
    bytes plain = good_images(), packed = gzipped(plain);
    expect_bad(IMAGES, packed, "magic number is 0x1f8b0800, need 0x00000803");
    /* Named so, but not compressed. */
    expect_bad(IMAGES ".gz", plain, "damaged gzip file: incorrect header check");
    free(packed.data);
    free(plain.data);
}
END_TEST

START_TEST(damaged_gz)
{
    bytes plain = good_images(), good = gzipped(plain);
    bytes b = {malloc(good.n + 8), good.n};
    const char *const expected = "damaged gzip file: ";

    /* Cut at any length. */
    for (size_t n = 0; n < good.n; n++)
        expect_bad(IMAGES ".gz", (bytes){good.data, n},
            "damaged gzip file: it ends before the compressed data does");
    /* Each byte of the trailer: four of the checksum, four of the length. */
    for (size_t i = good.n - 8; i < good.n; i++) {
        memcpy(b.data, good.data, good.n);
        b.data[i] ^= 0x40;
        b.n = good.n;
        expect_bad(IMAGES ".gz", b,
            i < good.n - 4 ? "damaged gzip file: incorrect data check"
                           : "damaged gzip file: incorrect length check");
    }
    /* Any bit of the compressed data changes what comes out, or breaks it: the checksum tells. */
    for (size_t i = 10; i < good.n - 8; i += 7) {
        caps_error err = {0};
        caps_dataset ds;
        char *dir = test_new_directory();
        put_set(dir, false);
        test_drop(dir, IMAGES);
        memcpy(b.data, good.data, good.n);
        b.data[i] ^= (unsigned char)(1u << i % 8);
        put(dir, IMAGES ".gz", b);
        ck_assert_int_eq(test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, 0, &err), CAPS_ERR_FORMAT);
        free(dir);
    }
    /* The header, and something after the end. */
    memcpy(b.data, good.data, good.n);
    b.data[0] ^= 0xff;
    expect_bad(IMAGES ".gz", b, expected);
    memcpy(b.data, good.data, good.n);
    memcpy(b.data + good.n, "trailing", 8);
    b.n = good.n + 8;
    expect_bad(IMAGES ".gz", b, expected);
    free(b.data);
    free(good.data);
    free(plain.data);
}
END_TEST

START_TEST(missing_files_and_directories_in_their_place)
{
    caps_error err = {0};
    caps_dataset ds;
    static const char *const names[] = {IMAGES, LABELS};
    for (int i = 0; i < 2; i++) {
        char *dir = test_new_directory();
        put_set(dir, false);
        test_drop(dir, names[i]);
        ck_assert_int_eq(test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, 0, &err), CAPS_ERR_NOT_FOUND);
        char *start = caps_format("%s: no %s", dir, names[i]);
        ck_assert_msg(strncmp(err.message, start, strlen(start)) == 0, "%s", err.message);
        free(start);
        char *path = caps_path_join(dir, names[i]);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        ck_assert_int_eq(test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, 0, &err), CAPS_ERR_FORMAT);
        ck_assert_ptr_nonnull(strstr(err.message, "-ubyte: is a directory, need a file"));
        free(path);
        free(dir);
    }
}
END_TEST

START_TEST(counts_that_disagree)
{
    caps_error err = {0};
    caps_dataset ds;
    char *dir = test_new_directory();
    put_set(dir, false);
    bytes fewer = idx_bytes(1, (uint32_t[]){N - 1}, N - 1);
    put(dir, LABELS, fewer);
    for (size_t limit = 0; limit < 3; limit += 2) {
        ck_assert_int_eq(
            test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, limit, &err), CAPS_ERR_FORMAT);
        ck_assert_ptr_nonnull(strstr(
            err.message, "t10k-labels-idx1-ubyte: 22 labels, need 23 as there are images in "));
    }
    free(fewer.data);
    free(dir);
}
END_TEST

START_TEST(check_against_a_model)
{
    caps_error err = {0};
    caps_dataset ds;
    char *dir = test_new_directory();
    put_set(dir, false);
    test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, 0, &err));
    test_ok(caps_dataset_check(&ds, 1, H, W, 10, &err));
    test_ok(caps_dataset_check(&ds, 1, H, W, 11, &err));
    static const size_t sizes[3][3] = {{3, H, W}, {1, H + 1, W}, {1, H, W - 1}};
    for (int i = 0; i < 3; i++) {
        char text[80];
        snprintf(text, sizeof text, ": images are 1x5x4, the model takes %zux%zux%zu", sizes[i][0],
            sizes[i][1], sizes[i][2]);
        ck_assert_int_eq(caps_dataset_check(&ds, sizes[i][0], sizes[i][1], sizes[i][2], 10, &err),
            CAPS_ERR_MISMATCH);
        ck_assert_ptr_nonnull(strstr(err.message, text));
    }
    ck_assert_int_eq(caps_dataset_check(&ds, 1, H, W, 7, &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.message, ": label of test image 7 is 7, need < 7"));
    caps_dataset_release(&ds);
    free(dir);
}
END_TEST

/* ---- names ---------------------------------------------------------------------------------- */

static void expect_found(const char *name, const char *directory)
{
    caps_error err = {0};
    char *path = NULL;
    test_ok(caps_dataset_find(&path, name, &err));
    ck_assert_str_eq(path, directory);
    free(path);
}

START_TEST(search_path)
{
    caps_error err = {0};
    char *path = NULL;
    char *root = test_new_directory(), *before = getcwd(NULL, 0);
    char *data = caps_format("%s/data", root), *xdg = caps_format("%s/xdg", root);
    char *home = caps_format("%s/home", root), *work = caps_format("%s/work", root);
    char *in_data = caps_format("%s/toys", data), *in_xdg = caps_format("%s/capscl/toys", xdg);
    char *in_home = caps_format("%s/.local/share/capscl/toys", home);
    char *in_work = caps_format("%s/toys", work);
    char *const all[] = {in_data, in_xdg, in_home, in_work};
    for (int i = 0; i < 4; i++)
        test_ok(caps_directory_make(all[i], &err));
    char *old_home = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    ck_assert_int_eq(chdir(root), 0);
    setenv("CAPSCL_DATA", data, 1);
    setenv("XDG_DATA_HOME", xdg, 1);
    setenv("HOME", home, 1);

    /* Only directories so far: the first is taken, and its missing file will be the message. */
    expect_found("toys", in_data);
    /* The last place that has files wins over empty directories, then each better one. */
    put_set(in_xdg, true);
    expect_found("toys", in_xdg);
    put_set(in_data, false);
    expect_found("toys", in_data);
    unsetenv("CAPSCL_DATA");
    expect_found("toys", in_xdg);
    setenv("CAPSCL_DATA", "", 1);
    expect_found("toys", in_xdg);
    put_set(in_home, false);
    expect_found("toys", in_xdg);
    unsetenv("XDG_DATA_HOME");
    expect_found("toys", in_home);

    /* A directory here comes first, unless it is one by accident (a run of the same name). */
    ck_assert_int_eq(chdir(work), 0);
    expect_found("toys", in_home);
    put_set(in_work, false);
    expect_found("toys", "toys");
    expect_found("./toys", "./toys");
    expect_found(in_work, in_work);

    setenv("CAPSCL_DATA", data, 1);
    setenv("XDG_DATA_HOME", xdg, 1);
    ck_assert_int_eq(caps_dataset_find(&path, "tyos", &err), CAPS_ERR_NOT_FOUND);
    char *expected = caps_format("tyos: no data set of this name; looked for ./tyos, %s/tyos, "
                                 "%s/capscl/tyos, /usr/share/datasets/tyos",
        data, xdg);
    ck_assert_str_eq(err.message, expected);
    free(expected);
    unsetenv("CAPSCL_DATA");
    unsetenv("XDG_DATA_HOME");
    unsetenv("HOME");
    ck_assert_int_eq(caps_dataset_find(&path, "tyos", &err), CAPS_ERR_NOT_FOUND);
    ck_assert_str_eq(
        err.message, "tyos: no data set of this name; looked for ./tyos, /usr/share/datasets/tyos");
    ck_assert_ptr_null(path);
    ck_assert_int_eq(caps_dataset_find(&path, "none/at/all", &err), CAPS_ERR_NOT_FOUND);
    ck_assert_str_eq(err.message, "none/at/all: no such directory");
    ck_assert_int_eq(caps_dataset_find(&path, "", &err), CAPS_ERR_NOT_FOUND);
    ck_assert_int_eq(caps_dataset_find(&path, "./toys/" IMAGES, &err), CAPS_ERR_FORMAT);
    ck_assert_ptr_nonnull(strstr(err.message, "is a file, need the directory of a data set"));

    if (old_home)
        setenv("HOME", old_home, 1);
    ck_assert_int_eq(chdir(before), 0);
    free(old_home);
    for (int i = 0; i < 4; i++)
        free(all[i]);
    free(work);
    free(home);
    free(xdg);
    free(data);
    free(before);
    free(root);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("data");
    TCase *load = tcase_create("load");
    tcase_set_timeout(load, 120);
    tcase_add_test(load, load_plain_and_gz);
    tcase_add_test(load, load_large_gz);
    tcase_add_test(load, plain_goes_before_gz_and_gz_may_have_members);
    tcase_add_test(load, load_colour);
    tcase_add_test(load, bad_sizes);
    tcase_add_test(load, absurd_sizes);
    tcase_add_test(load, bad_headers);
    tcase_add_test(load, damaged_gz);
    tcase_add_test(load, missing_files_and_directories_in_their_place);
    tcase_add_test(load, counts_that_disagree);
    tcase_add_test(load, check_against_a_model);
    tcase_add_test(load, search_path);
    suite_add_tcase(s, load);
    return s;
}
