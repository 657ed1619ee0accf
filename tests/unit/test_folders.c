/* test_folders.c: folders of pictures. */
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

/* ---- folders of pictures -------------------------------------------------------------------- */

/* train/: cat 3, dog 1, eel 2 pictures; test/: eel 1, cat 2. Names in another order than numbers,
 * hidden files and loose notes between them. */
static void put_animals(const char *dir)
{
    test_put_png(dir, "train/dog/a.png", 10, 5, 4, 1);
    test_put_png(dir, "train/cat/b.PNG", 2, 5, 4, 1);
    test_put_png(dir, "train/cat/B.png", 1, 5, 4, 1);
    test_put_png(dir, "train/cat/c.Png", 3, 5, 4, 1);
    test_put_png(dir, "train/eel/1.png", 20, 5, 4, 1);
    test_put_png(dir, "train/eel/2.png", 21, 5, 4, 1);
    test_put_png(dir, "test/eel/x.png", 30, 5, 4, 1);
    test_put_png(dir, "test/cat/x.png", 31, 5, 4, 1);
    test_put_png(dir, "test/cat/y.png", 32, 5, 4, 1);
    test_put(dir, "train/cat/.hidden.txt", "no picture", 10);
    test_put(dir, "train/.cache/x.txt", "no class", 8);
    test_put(dir, "train/notes.txt", "where they are from", 19);
    test_put(dir, "README", "animals", 7);
}

static void expect_pictures(const caps_dataset *ds, const unsigned *which, const uint8_t *labels,
    size_t n, size_t w, size_t h)
{
    ck_assert_uint_eq(ds->n, n);
    ck_assert_uint_eq(ds->channels, 1);
    ck_assert_uint_eq(ds->height, h);
    ck_assert_uint_eq(ds->width, w);
    for (size_t i = 0; i < n; i++) {
        ck_assert_uint_eq(ds->labels[i], labels[i]);
        for (size_t p = 0; p < w * h; p++)
            ck_assert_uint_eq(ds->images[i * w * h + p], test_pixel_of(which[i], p));
    }
}

START_TEST(folders_with_splits)
{
    caps_error err = {0};
    caps_dataset ds;
    char *dir = test_new_directory();
    put_animals(dir);
    test_ok(caps_dataset_open(&ds, dir, NULL, &err));
    ck_assert_uint_eq(ds.classes, 3);
    ck_assert_uint_eq(ds.labels_per_image, 1);
    static const char *const names[] = {"cat", "dog", "eel"};
    for (int c = 0; c < 3; c++)
        ck_assert_str_eq(ds.class_names[c], names[c]);
    ck_assert_str_eq(ds.path, dir);
    /* The first of each class, then the second, then the third. */
    const unsigned which[] = {1, 10, 20, 2, 21, 3};
    const uint8_t labels[] = {0, 1, 2, 0, 2, 0};
    expect_pictures(&ds, which, labels, 6, 5, 4);
    caps_dataset_release(&ds);

    test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TRAIN, 4, &err));
    ck_assert_uint_eq(ds.classes, 3);
    expect_pictures(&ds, which, labels, 4, 5, 4);
    caps_dataset_release(&ds);

    test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, 0, &err));
    ck_assert_uint_eq(ds.classes, 3); /* of the training split: a class may be missing here */
    expect_pictures(&ds, (unsigned[]){31, 30, 32}, (uint8_t[]){0, 2, 0}, 3, 5, 4);
    ck_assert_str_eq(ds.class_names[1], "dog");
    caps_dataset_release(&ds);
    free(dir);
}
END_TEST

START_TEST(folders_without_splits)
{
    caps_error err = {0};
    caps_dataset ds, validation;
    char *dir = test_new_directory(), *slashed = caps_format("%s//", dir);
    test_put_png(dir, "b/1.png", 1, 3, 3, 1);
    test_put_png(dir, "a/1.png", 2, 3, 3, 1);
    test_put_png(dir, "train/1.png", 3, 3, 3, 1); /* a class of trains */
    test_put_png(dir, "train/2.png", 4, 3, 3, 1);
    test_ok(caps_dataset_open(&ds, slashed, &training, &err));
    ck_assert_uint_eq(ds.classes, 3);
    ck_assert_str_eq(ds.class_names[2], "train");
    expect_pictures(&ds, (unsigned[]){2, 1, 3, 4}, (uint8_t[]){0, 1, 2, 2}, 4, 3, 3);
    test_ok(caps_dataset_split_off(&ds, 1, 1, &validation, &err));
    ck_assert_str_eq(validation.class_names[2], "train");
    ck_assert_ptr_ne(validation.class_names, ds.class_names);
    caps_dataset_release(&validation);
    caps_dataset_release(&ds);
    test_expect_refused(dir, &testing, CAPS_ERR_NOT_FOUND, dir, "has no test split");
    test_expect_refused(dir, &testing, CAPS_ERR_NOT_FOUND, dir, "a validation split");
    free(slashed);
    free(dir);
}
END_TEST

/* Pictures of other sizes and colours are converted, to what is requested for or to the first
 * training picture, in both splits. */
START_TEST(folders_are_converted)
{
    caps_error err = {0};
    caps_dataset ds;
    char *dir = test_new_directory();
    test_put_png(dir, "train/a/1.png", 1, 6, 4, 3);
    test_put_png(dir, "train/a/2.png", 2, 9, 9, 1);
    test_put_png(dir, "train/b/1.png", 3, 40, 2, 3);
    test_put_png(dir, "test/b/1.png", 4, 8, 8, 1);
    static const caps_dataset_options requested[] = {
        {CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_TRAIN},
        {CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_TEST},
        {CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_TRAIN, .channels = 1},
        {CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_TRAIN, .channels = 3, .height = 7,
            .width = 5},
        {CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_TEST, .channels = 1, .height = 3},
    };
    static const size_t sizes[][3] = {{3, 4, 6}, {3, 4, 6}, {1, 4, 6}, {3, 7, 5}, {1, 3, 6}};
    static const char *const files[2][3] = {
        {"train/a/1.png", "train/b/1.png", "train/a/2.png"}, {"test/b/1.png"}};
    for (size_t k = 0; k < sizeof requested / sizeof requested[0]; k++) {
        const size_t *s = sizes[k], n = requested[k].split == CAPS_SPLIT_TRAIN ? 3 : 1;
        test_ok(caps_dataset_open(&ds, dir, &requested[k], &err));
        ck_assert_uint_eq(ds.n, n);
        ck_assert(ds.channels == s[0] && ds.height == s[1] && ds.width == s[2]);
        for (size_t i = 0; i < n; i++) {
            caps_image image;
            float values[3 * 7 * 7];
            char *path = caps_path_join(dir, files[requested[k].split][i]);
            test_ok(caps_image_read(&image, path, &err));
            test_ok(caps_image_convert(values, &image, s[0], s[1], s[2], false, &err));
            for (size_t p = 0; p < s[0] * s[1] * s[2]; p++)
                ck_assert_double_le(
                    fabs(ds.images[i * s[0] * s[1] * s[2] + p] - 255.0 * (double)values[p]),
                    0.5001);
            caps_image_release(&image);
            free(path);
        }
        caps_dataset_release(&ds);
    }
    test_expect_refused(dir,
        &(caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .channels = 4},
        CAPS_ERR_MISMATCH, dir, "the model takes 4 channels, a picture gives 1 or 3");
    free(dir);
}
END_TEST

typedef struct counted {
    size_t calls, last, total;
    bool ascends;
} counted;

static void count(void *user, size_t done, size_t total)
{
    counted *c = user;
    c->ascends = c->ascends && done == c->last + 1 && total == c->total;
    c->last = done;
    c->calls++;
}

/* Enough for several threads: the result, the progress, and which of two faults is told. */
START_TEST(folders_in_parallel)
{
    enum { EACH = 60 };
    caps_error err = {0};
    caps_dataset ds;
    char *dir = test_new_directory(), name[64];
    unsigned which[2 * EACH];
    uint8_t labels[2 * EACH];
    for (unsigned i = 0; i < 2 * EACH; i++) {
        snprintf(name, sizeof name, "train/%c/%03u.png", i % 2 ? 'b' : 'a', i);
        test_put_png(dir, name, i, 4, 4, 1);
        which[i] = i;
        labels[i] = i % 2;
    }
    counted c = {.total = 2 * EACH, .ascends = true};
    const caps_dataset_options o = {
        CAPS_OPTIONS(caps_dataset_options), .progress = count, .user = &c};
    test_ok(caps_dataset_open(&ds, dir, &o, &err));
    expect_pictures(&ds, which, labels, 2 * EACH, 4, 4);
    ck_assert(c.ascends && c.calls == 2 * EACH && c.last == 2 * EACH);
    caps_dataset_release(&ds);

    test_put(dir, "train/a/110.png", "not a picture", 13);
    test_expect_refused(
        dir, &training, CAPS_ERR_FORMAT, NULL, "a/110.png: is neither a PNG nor a JPEG file");
    test_put(dir, "train/b/041.png", "", 0);
    for (int i = 0; i < 5; i++)
        test_expect_refused(
            dir, &training, CAPS_ERR_FORMAT, NULL, "b/041.png: is neither a PNG nor a JPEG file");
    free(dir);
}
END_TEST

/* Each makes one thing wrong in a good set; the message begins with the path `at` in it. */
static void expect_bad_folder(void (*spoil)(const char *dir), const caps_dataset_options *o,
    caps_status status, const char *at, const char *needle)
{
    char *dir = test_new_directory(), *path = caps_format("%s%s", dir, at);
    put_animals(dir);
    spoil(dir);
    test_expect_refused(dir, o, status, path, needle);
    free(path);
    free(dir);
}

static void spoil_with_nested_class(const char *dir)
{
    test_put_png(dir, "train/fox/2024/1.png", 1, 2, 2, 1);
    test_put_png(dir, "train/fox/2024/12/2.png", 1, 2, 2, 1);
}

static void spoil_with_two_names(const char *dir)
{
    test_put_png(dir, "Training/fox/1.png", 1, 2, 2, 1);
}

static void spoil_with_two_names_of_test(const char *dir)
{
    test_make_directory(dir, "testing");
}

static void loop_link(const char *dir, const char *name)
{
    char *path = caps_path_join(dir, name);
    const char *last = strrchr(name, '/');
    ck_assert_int_eq(symlink(last ? last + 1 : name, path), 0);
    free(path);
}

static void spoil_with_loop_of_split(const char *dir)
{
    loop_link(dir, "val");
}

static void spoil_with_loop_of_class(const char *dir)
{
    loop_link(dir, "train/fox");
}

static void spoil_with_loop_in_class(const char *dir)
{
    loop_link(dir, "train/cat/notes");
}

static void spoil_with_loose_picture(const char *dir)
{
    test_put_png(dir, "test/loose.png", 1, 2, 2, 1);
}

static void spoil_with_empty_class(const char *dir)
{
    test_make_directory(dir, "train/fox");
}

static void spoil_with_hidden_class(const char *dir)
{
    test_put(dir, "train/fox/.x.png", "a", 1);
}

static void spoil_with_new_class(const char *dir)
{
    test_put_png(dir, "test/fox/1.png", 1, 2, 2, 1);
}

static void spoil_test(const char *dir)
{
    test_drop(dir, "test/eel/x.png");
}

static void spoil_picture(const char *dir)
{
    size_t n;
    unsigned char *bytes;
    caps_error err = {0};
    char *path = caps_path_join(dir, "test/cat/y.png");
    test_ok(caps_file_read(&bytes, &n, path, 1000000, &err));
    test_put(dir, "test/cat/y.png", bytes, n - 20);
    free(bytes);
    free(path);
}

static void spoil_first_picture(const char *dir)
{
    test_put(dir, "train/cat/B.png", "hello", 5);
}

static void spoil_with_dangling_link(const char *dir)
{
    char *path = caps_path_join(dir, "train/dog/z.png");
    ck_assert_int_eq(symlink("nowhere", path), 0);
    free(path);
}

static void spoil_with_directory_named_png(const char *dir)
{
    test_make_directory(dir, "train/dog/z.png");
}

static void spoil_name(const char *dir)
{
    test_put_png(dir, "train/two\nlines/1.png", 1, 2, 2, 1);
}

static void spoil_utf8(const char *dir)
{
    test_put_png(dir, "train/\xff\xfe/1.png", 1, 2, 2, 1);
}

START_TEST(bad_folders)
{
    expect_bad_folder(spoil_with_nested_class, &training, CAPS_ERR_FORMAT, "/train/fox",
        "the folders in it hold 2, need them in the folder of the class itself (fox/2024)");
    for (int split = 0; split < 2; split++) {
        const caps_dataset_options *o = split ? &testing : &training;
        expect_bad_folder(spoil_with_two_names, o, CAPS_ERR_FORMAT, "",
            "holds Training and train, need one of them");
        expect_bad_folder(spoil_with_two_names_of_test, o, CAPS_ERR_FORMAT, "",
            "holds test and testing, need one of them");
        expect_bad_folder(
            spoil_with_loop_of_split, o, CAPS_ERR_NOT_FOUND, "/val", "cannot look there: Too many");
        expect_bad_folder(spoil_with_loop_of_class, o, CAPS_ERR_NOT_FOUND, "/train/fox",
            "cannot look there: Too many");
    }
    expect_bad_folder(spoil_with_loop_in_class, &training, CAPS_ERR_NOT_FOUND, "/train/cat/notes",
        "cannot look there: Too many");
    expect_bad_folder(spoil_with_loose_picture, &testing, CAPS_ERR_FORMAT, "/test/loose.png",
        "a picture outside the folders of classes");
    expect_bad_folder(spoil_with_empty_class, &training, CAPS_ERR_FORMAT, "/train/fox",
        "no PNG or JPEG files, need at least one");
    expect_bad_folder(spoil_with_hidden_class, &training, CAPS_ERR_FORMAT, "/train/fox",
        "no PNG or JPEG files, need at least one");
    expect_bad_folder(
        spoil_with_new_class, &testing, CAPS_ERR_FORMAT, "/test/fox", "no such class in ");
    expect_bad_folder(spoil_test, &testing, CAPS_ERR_FORMAT, "/test/eel", "no PNG or JPEG files");
    expect_bad_folder(
        spoil_picture, &testing, CAPS_ERR_FORMAT, "/test/cat/y.png", "damaged PNG file");
    for (int split = 0; split < 2; split++)
        expect_bad_folder(spoil_first_picture, split ? &testing : &training, CAPS_ERR_FORMAT,
            "/train/cat/B.png", "is neither a PNG nor a JPEG file");
    expect_bad_folder(
        spoil_with_dangling_link, &training, CAPS_ERR_NOT_FOUND, "/train/dog/z.png", "cannot open");
    expect_bad_folder(spoil_with_directory_named_png, &training, CAPS_ERR_FORMAT,
        "/train/dog/z.png", "is a directory, need a file");
    expect_bad_folder(spoil_name, &training, CAPS_ERR_FORMAT, "/train", "need text");
    expect_bad_folder(spoil_utf8, &training, CAPS_ERR_FORMAT, "/train", "need text");
}
END_TEST

START_TEST(folders_of_too_few_classes)
{
    char *dir = test_new_directory(), *train = caps_path_join(dir, "train");
    test_expect_refused(dir, &training, CAPS_ERR_NOT_FOUND, dir, "holds no data set");
    test_make_directory(dir, "train");
    test_expect_refused(dir, &training, CAPS_ERR_FORMAT, train, "no folders of classes");
    test_expect_refused(dir, &testing, CAPS_ERR_NOT_FOUND, dir, "no folder test");
    test_put_png(dir, "train/a/1.png", 1, 2, 2, 1);
    test_expect_refused(dir, &training, CAPS_ERR_FORMAT, train, "one folder of a class, a, need");
    test_put_png(dir, "train/b/1.png", 1, 2, 2, 1);
    test_make_directory(dir, "test");
    char *test = caps_path_join(dir, "test");
    test_expect_refused(dir, &testing, CAPS_ERR_FORMAT, test, "no folders of classes");
    free(test);
    free(train);
    free(dir);

    dir = test_new_directory();
    test_put_png(dir, "a/1.png", 1, 2, 2, 1);
    test_expect_refused(dir, &training, CAPS_ERR_FORMAT, dir, "one folder of a class, a, need");
    free(dir);

    dir = test_new_directory();
    test_put_png(dir, "test/a/1.png", 1, 2, 2, 1);
    test_expect_refused(dir, &training, CAPS_ERR_NOT_FOUND, dir, "no folder train");
    test_expect_refused(dir, &testing, CAPS_ERR_NOT_FOUND, dir, "no folder train");
    free(dir);

    dir = test_new_directory();
    for (int i = 0; i < 257; i++) {
        char name[32];
        snprintf(name, sizeof name, "class %d/1.png", i);
        test_put_png(dir, name, 1, 1, 1, 1);
    }
    test_expect_refused(
        dir, &training, CAPS_ERR_FORMAT, dir, "257 folders of classes, need <= 256");
    free(dir);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("folders");
    TCase *folders = tcase_create("folders");
    tcase_set_timeout(folders, 120);
    tcase_add_test(folders, folders_with_splits);
    tcase_add_test(folders, folders_without_splits);
    tcase_add_test(folders, folders_are_converted);
    tcase_add_test(folders, folders_in_parallel);
    tcase_add_test(folders, bad_folders);
    tcase_add_test(folders, folders_of_too_few_classes);
    suite_add_tcase(s, folders);
    return s;
}
