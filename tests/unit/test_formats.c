/* test_formats.c: CIFAR-10 batches, EMNIST's files, and names of classes. */
#include "data_files.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "image.h"
#include "rng.h"

static const caps_dataset_options training = {
    CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_TRAIN};
static const caps_dataset_options testing = {
    CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_TEST};

/* ---- CIFAR-10 ------------------------------------------------------------------------------- */

enum { CIFAR_ROW = 3073 };

/* `rows` images with labels (first + i) modulo 10 and pixels that tell file and image. */
static unsigned char *cifar_rows(size_t rows, unsigned first)
{
    unsigned char *bytes = malloc(rows * CIFAR_ROW);
    for (size_t i = 0; i < rows; i++) {
        bytes[i * CIFAR_ROW] = (unsigned char)((first + i) % 10);
        for (size_t p = 0; p < 3072; p++)
            bytes[i * CIFAR_ROW + 1 + p] = test_pixel_of(first * 100 + (unsigned)i, p);
    }
    return bytes;
}

static void put_cifar(const char *dir, const char *name, size_t rows, unsigned first)
{
    unsigned char *bytes = cifar_rows(rows, first);
    test_put(dir, name, bytes, rows * CIFAR_ROW);
    free(bytes);
}

/* Batches of 2 to 6 images. */
static void put_cifar_set(const char *dir)
{
    for (unsigned batch = 1; batch <= 5; batch++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%u.bin", batch);
        put_cifar(dir, name, batch + 1, batch);
    }
    put_cifar(dir, "test_batch.bin", 3, 7);
}

START_TEST(cifar_batches)
{
    caps_error err = {0};
    caps_dataset ds;
    char *dir = test_new_directory();
    put_cifar_set(dir);
    test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TRAIN, 0, &err));
    ck_assert_uint_eq(ds.n, 2 + 3 + 4 + 5 + 6);
    ck_assert(ds.channels == 3 && ds.height == 32 && ds.width == 32 && ds.classes == 10);
    ck_assert_str_eq(ds.class_names[0], "airplane");
    ck_assert_str_eq(ds.class_names[9], "truck");
    size_t at = 0;
    for (unsigned batch = 1; batch <= 5; batch++)
        for (unsigned i = 0; i <= batch; i++, at++) {
            ck_assert_uint_eq(ds.labels[at], (batch + i) % 10);
            for (size_t p = 0; p < 3072; p++)
                ck_assert_uint_eq(ds.images[at * 3072 + p], test_pixel_of(batch * 100 + i, p));
        }
    caps_dataset_release(&ds);
    for (size_t limit = 1; limit <= 20; limit++) {
        test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TRAIN, limit, &err));
        ck_assert_uint_eq(ds.n, limit);
        caps_dataset_release(&ds);
    }
    test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, 0, &err));
    ck_assert_uint_eq(ds.n, 3);
    ck_assert_uint_eq(ds.labels[2], 9);
    ck_assert_uint_eq(ds.images[2 * 3072 + 3071], test_pixel_of(702, 3071));
    caps_dataset_release(&ds);

    const char names[] = "one\r\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nt\xc3\xa9n\n\n\n";
    test_put(dir, "batches.meta.txt", names, sizeof names - 1);
    test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, 0, &err));
    ck_assert_str_eq(ds.class_names[0], "one");
    ck_assert_str_eq(ds.class_names[9], "t\xc3\xa9n");
    caps_dataset_release(&ds);
    free(dir);
}
END_TEST

START_TEST(bad_cifar)
{
    char *dir = test_new_directory(), *third = caps_path_join(dir, "data_batch_3.bin");
    char *test = caps_path_join(dir, "test_batch.bin");
    char *meta = caps_path_join(dir, "batches.meta.txt");
    put_cifar_set(dir);
    unsigned char *bytes = cifar_rows(4, 3);
    static const struct {
        size_t n;
        const char *needle;
    } sizes[] = {{4 * CIFAR_ROW - 1, "12291 bytes, need images of 3073 bytes each"},
        {0, "0 bytes, need"}, {1, "1 bytes, need"}, {CIFAR_ROW + 1, "3074 bytes, need"}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (size_t limit = 0; limit < 3; limit += 2) { /* what is not kept is checked too */
            test_put(dir, "data_batch_3.bin", bytes, sizes[i].n);
            test_expect_refused(dir,
                &(caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .limit = limit},
                CAPS_ERR_FORMAT, third, sizes[i].needle);
        }
    bytes[2 * CIFAR_ROW] = 10;
    test_put(dir, "data_batch_3.bin", bytes, 4 * CIFAR_ROW);
    test_expect_refused(
        dir, &training, CAPS_ERR_FORMAT, third, "label of image 2 is 10, need < 10");
    test_drop(dir, "data_batch_3.bin");
    test_expect_refused(dir, &training, CAPS_ERR_NOT_FOUND, third,
        "need data_batch_1.bin to data_batch_5.bin for training");
    test_make_directory(dir, "data_batch_3.bin");
    test_expect_refused(dir, &training, CAPS_ERR_FORMAT, third, "is a directory");
    test_drop(dir, "test_batch.bin");
    test_expect_refused(dir, &testing, CAPS_ERR_NOT_FOUND, test, "need it for the test split");
    test_put(dir, "batches.meta.txt", "one\ntwo\n", 8);
    test_expect_refused(dir, &training, CAPS_ERR_FORMAT, meta, "2 names, need 10, one a line");
    test_put(dir, "batches.meta.txt", "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11", 23);
    test_expect_refused(dir, &training, CAPS_ERR_FORMAT, meta, "11 names, need 10");
    test_put(dir, "batches.meta.txt", "1\n2\n3\x01\n4", 8);
    test_expect_refused(dir, &training, CAPS_ERR_FORMAT, meta, "name 3 is not printable");
    test_expect_refused(dir, &(caps_dataset_options){.split = CAPS_SPLIT_TEST}, CAPS_ERR_ARGUMENT,
        "caps_dataset_options", "size is 0");
    test_expect_refused(dir,
        &(caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .split = (caps_split)3},
        CAPS_ERR_ARGUMENT, "data set: split is 3", "need 0 (train), 1 (test) or 2 (validation)");
    test_expect_refused(dir,
        &(caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_VALIDATION},
        CAPS_ERR_NOT_FOUND, dir, "has no validation split of its own");
    free(bytes);
    free(meta);
    free(test);
    free(third);
    free(dir);
}
END_TEST

/* ---- IDX with names ------------------------------------------------------------------------- */

enum { IH = 3, IW = 2 }; /* as stored */

/* n images whose pixels tell which they are, with labels first, first + 1, ... modulo `classes`
 * from `first`. */
static void put_idx(const char *dir, const char *prefix, size_t n, unsigned first, unsigned classes)
{
    char *name = caps_format("%simages-idx3-ubyte", prefix);
    unsigned char *b = calloc(1, 16 + n * IH * IW);
    memcpy(
        b, (unsigned char[]){0, 0, 8, 3, 0, 0, 0, (unsigned char)n, 0, 0, 0, IH, 0, 0, 0, IW}, 16);
    for (size_t i = 0; i < n * IH * IW; i++)
        b[16 + i] = test_pixel_of((unsigned)(i / (IH * IW)), i % (IH * IW));
    test_put(dir, name, b, 16 + n * IH * IW);
    free(name);
    name = caps_format("%slabels-idx1-ubyte", prefix);
    memcpy(b, (unsigned char[]){0, 0, 8, 1, 0, 0, 0, (unsigned char)n}, 8);
    for (size_t i = 0; i < n; i++)
        b[8 + i] = (unsigned char)(first + i % classes);
    test_put(dir, name, b, 8 + n);
    free(name);
    free(b);
}

static void expect_classes(
    const char *name, caps_split split, size_t classes, const char *first, const char *last)
{
    caps_error err = {0};
    caps_dataset ds;
    test_ok(test_dataset_load(&ds, name, split, 0, &err));
    ck_assert_uint_eq(ds.classes, classes);
    if (first) {
        ck_assert_ptr_nonnull(ds.class_names);
        ck_assert_str_eq(ds.class_names[0], first);
        ck_assert_str_eq(ds.class_names[classes - 1], last);
    } else {
        ck_assert_ptr_null(ds.class_names);
    }
    caps_dataset_release(&ds);
}

START_TEST(names_of_known_sets)
{
    char *dir = test_new_directory();
    static const struct {
        const char *name, *first, *last;
        size_t classes;
    } sets[] = {{"fashion-mnist", "T-shirt/top", "Ankle boot", 10}, {"kmnist", "o", "wo", 10},
        {"mnist", NULL, NULL, 4}, {"other", NULL, NULL, 4}};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        char *path = caps_path_join(dir, sets[i].name), *slashed = caps_format("%s/", path);
        put_idx(path, "train-", 4, 0, 4);
        expect_classes(path, CAPS_SPLIT_TRAIN, sets[i].classes, sets[i].first, sets[i].last);
        expect_classes(slashed, CAPS_SPLIT_TRAIN, sets[i].classes, sets[i].first, sets[i].last);
        free(slashed);
        free(path);
    }
    /* Labels without a name: another set of the same name. */
    char *path = caps_path_join(dir, "kmnist");
    put_idx(path, "train-", 12, 0, 12);
    expect_classes(path, CAPS_SPLIT_TRAIN, 12, NULL, NULL);
    free(path);
    free(dir);
}
END_TEST

START_TEST(emnist)
{
    caps_error err = {0};
    caps_dataset ds;
    char *root = test_new_directory(), *dir = caps_path_join(root, "emnist");
    put_idx(dir, "emnist-letters-train-", 26, 1, 26);
    put_idx(dir, "emnist-letters-test-", 2, 25, 2);
    char *letters = caps_path_join(dir, "emnist-letters");
    for (int only = 1; only >= 0; only--) { /* the only set of the directory, then one of three */
        expect_classes(letters, CAPS_SPLIT_TRAIN, 26, "A", "Z");
        expect_classes(letters, CAPS_SPLIT_TEST, 26, "A", "Z");
        if (only) {
            expect_classes(dir, CAPS_SPLIT_TRAIN, 26, "A", "Z");
            put_idx(dir, "emnist-balanced-train-", 47, 0, 47);
            put_idx(dir, "emnist-byclass-test-", 62, 0, 62);
        } else {
            test_expect_refused(
                dir, &training, CAPS_ERR_FORMAT, dir, "holds several sets, emnist-");
        }
    }
    /* Upright: what was stored as columns are rows; labels from 0 on. */
    test_ok(test_dataset_load(&ds, letters, CAPS_SPLIT_TEST, 0, &err));
    ck_assert(ds.height == IW && ds.width == IH && ds.n == 2);
    ck_assert(ds.labels[0] == 24 && ds.labels[1] == 25);
    for (size_t i = 0; i < 2; i++)
        for (size_t y = 0; y < IW; y++)
            for (size_t x = 0; x < IH; x++)
                ck_assert_uint_eq(
                    ds.images[i * IH * IW + y * IH + x], test_pixel_of(i, x * IW + y));
    caps_dataset_release(&ds);

    /* By name, and the other sets' classes. */
    char *old = getenv("CAPSCL_DATA") ? strdup(getenv("CAPSCL_DATA")) : NULL;
    setenv("CAPSCL_DATA", root, 1);
    expect_classes("emnist-letters", CAPS_SPLIT_TRAIN, 26, "A", "Z");
    expect_classes("emnist-balanced", CAPS_SPLIT_TRAIN, 47, "0", "t");
    expect_classes("emnist-byclass", CAPS_SPLIT_TEST, 62, "0", "z");
    char *path = NULL;
    test_ok(caps_dataset_find(&path, "emnist-letters", &err));
    ck_assert_str_eq(path, letters);
    free(path);
    test_expect_refused(
        "emnist-digits", &training, CAPS_ERR_NOT_FOUND, "emnist-digits: ", "looked for");
    test_expect_refused("emnist-byclass", &training, CAPS_ERR_NOT_FOUND, dir,
        "no emnist-byclass-train-images-idx3-ubyte");

    /* Letters count from 1. */
    put_idx(dir, "emnist-letters-train-", 4, 0, 4);
    test_expect_refused("emnist-letters", &training, CAPS_ERR_FORMAT, dir,
        "emnist-letters-train-labels-idx1-ubyte: label 0 is 0, need >= 1");
    /* A directory of the set's own name wins over another set that it holds too. */
    char *own = caps_path_join(root, "emnist-digits");
    put_idx(own, "emnist-digits-train-", 10, 0, 10);
    put_idx(own, "emnist-mnist-train-", 3, 0, 3);
    expect_classes("emnist-digits", CAPS_SPLIT_TRAIN, 10, "0", "9");
    free(own);

    if (old)
        setenv("CAPSCL_DATA", old, 1);
    else
        unsetenv("CAPSCL_DATA");
    free(old);
    free(letters);
    free(dir);
    free(root);
}
END_TEST

/* CIFAR-10 goes by several names, and by the folder that its archive makes. */
START_TEST(names_of_cifar)
{
    static const char *const names[] = {"cifar10", "cifar-10", "cifar-10-batches-bin"};
    char *root = test_new_directory(), *cifar = caps_path_join(root, "cifar-10-batches-bin");
    char *old = getenv("CAPSCL_DATA") ? strdup(getenv("CAPSCL_DATA")) : NULL;
    put_cifar_set(cifar);
    setenv("CAPSCL_DATA", root, 1);
    for (int i = 0; i < 3; i++)
        expect_classes(names[i], CAPS_SPLIT_TRAIN, 10, "airplane", "truck");
    expect_classes(root, CAPS_SPLIT_TEST, 10, "airplane", "truck");
    if (old)
        setenv("CAPSCL_DATA", old, 1);
    else
        unsetenv("CAPSCL_DATA");
    free(old);
    free(cifar);
    free(root);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("formats");
    TCase *files = tcase_create("files");
    tcase_set_timeout(files, 120);
    tcase_add_test(files, cifar_batches);
    tcase_add_test(files, bad_cifar);
    tcase_add_test(files, names_of_known_sets);
    tcase_add_test(files, emnist);
    tcase_add_test(files, names_of_cifar);
    suite_add_tcase(s, files);
    return s;
}
