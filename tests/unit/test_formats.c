/* test_formats.c: folders of pictures, CIFAR-10 batches, EMNIST's files, and names of classes. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "image.h"
#include "rng.h"

static char *fresh_directory(void)
{
    static char *root;
    static unsigned count;
    root = root ? root : test_directory();
    char *path = caps_format("%s/%u", root, count++);
    ck_assert_int_eq(mkdir(path, 0777), 0);
    return path;
}

/* Writes dir/name, making the directories on the way. */
static void put(const char *dir, const char *name, const void *data, size_t n)
{
    caps_error err = {0};
    char *path = caps_path_join(dir, name), *parent = strdup(path);
    *strrchr(parent, '/') = '\0';
    test_ok(caps_directory_make(parent, &err));
    test_ok(caps_file_write(path, data, n, &err));
    free(parent);
    free(path);
}

static void drop(const char *dir, const char *name)
{
    char *path = caps_path_join(dir, name);
    ck_assert_int_eq(unlink(path), 0);
    free(path);
}

static void make_directory(const char *dir, const char *name)
{
    caps_error err = {0};
    char *path = caps_path_join(dir, name);
    test_ok(caps_directory_make(path, &err));
    free(path);
}

/* The message of a failed open is one line that begins with `dir` (NULL: anything) and has
 * `needle`; nothing is left over. */
static void expect_refused(const char *name, const caps_dataset_options *o, caps_status expected,
    const char *dir, const char *needle)
{
    caps_error err = {0};
    caps_dataset ds;
    const caps_status status = caps_dataset_open(&ds, name, o, &err);
    ck_assert_msg(status == expected, "%s: %s, need %s: %s", name, caps_status_name(status),
        caps_status_name(expected), err.message);
    ck_assert_msg(strstr(err.message, needle) != NULL, "'%s' lacks '%s'", err.message, needle);
    ck_assert_msg(!dir || strncmp(err.message, dir, strlen(dir)) == 0, "'%s' does not begin '%s'",
        err.message, dir);
    ck_assert_ptr_null(strchr(err.message, '\n'));
    ck_assert(!ds.path && !ds.images && !ds.labels && !ds.class_names && !ds.pairs && ds.n == 0);
}

static const caps_dataset_options training = {
    CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_TRAIN};
static const caps_dataset_options testing = {
    CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_TEST};

/* ---- folders of pictures -------------------------------------------------------------------- */

/* A picture whose pixels tell which it is. */
static uint8_t pixel_of(unsigned which, size_t i)
{
    return (uint8_t)caps_rng_below(256, which, CAPS_RNG_TEST, 3, i);
}

static void put_png(
    const char *dir, const char *name, unsigned which, size_t w, size_t h, size_t channels)
{
    caps_error err = {0};
    caps_image image;
    char *path = caps_path_join(dir, name), *parent = strdup(path);
    *strrchr(parent, '/') = '\0';
    test_ok(caps_directory_make(parent, &err));
    test_ok(caps_image_init(&image, w, h, channels, &err));
    for (size_t i = 0; i < w * h * channels; i++)
        image.pixels[i] = pixel_of(which, i);
    test_ok(caps_image_write_png(&image, path, &err));
    caps_image_release(&image);
    free(parent);
    free(path);
}

/* train/: cat 3, dog 1, eel 2 pictures; test/: eel 1, cat 2. Names in another order than numbers,
 * hidden files and loose notes between them. */
static void put_animals(const char *dir)
{
    put_png(dir, "train/dog/a.png", 10, 5, 4, 1);
    put_png(dir, "train/cat/b.PNG", 2, 5, 4, 1);
    put_png(dir, "train/cat/B.png", 1, 5, 4, 1);
    put_png(dir, "train/cat/c.Png", 3, 5, 4, 1);
    put_png(dir, "train/eel/1.png", 20, 5, 4, 1);
    put_png(dir, "train/eel/2.png", 21, 5, 4, 1);
    put_png(dir, "test/eel/x.png", 30, 5, 4, 1);
    put_png(dir, "test/cat/x.png", 31, 5, 4, 1);
    put_png(dir, "test/cat/y.png", 32, 5, 4, 1);
    put(dir, "train/cat/.hidden.txt", "no picture", 10);
    put(dir, "train/.cache/x.txt", "no class", 8);
    put(dir, "train/notes.txt", "where they are from", 19);
    put(dir, "README", "animals", 7);
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
            ck_assert_uint_eq(ds->images[i * w * h + p], pixel_of(which[i], p));
    }
}

START_TEST(folders_with_splits)
{
    caps_error err = {0};
    caps_dataset ds;
    char *dir = fresh_directory();
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
    char *dir = fresh_directory(), *slashed = caps_format("%s//", dir);
    put_png(dir, "b/1.png", 1, 3, 3, 1);
    put_png(dir, "a/1.png", 2, 3, 3, 1);
    put_png(dir, "train/1.png", 3, 3, 3, 1); /* a class of trains */
    put_png(dir, "train/2.png", 4, 3, 3, 1);
    test_ok(caps_dataset_open(&ds, slashed, &training, &err));
    ck_assert_uint_eq(ds.classes, 3);
    ck_assert_str_eq(ds.class_names[2], "train");
    expect_pictures(&ds, (unsigned[]){2, 1, 3, 4}, (uint8_t[]){0, 1, 2, 2}, 4, 3, 3);
    test_ok(caps_dataset_split_off(&ds, 1, 1, &validation, &err));
    ck_assert_str_eq(validation.class_names[2], "train");
    ck_assert_ptr_ne(validation.class_names, ds.class_names);
    caps_dataset_release(&validation);
    caps_dataset_release(&ds);
    expect_refused(dir, &testing, CAPS_ERR_NOT_FOUND, dir, "has no test split");
    expect_refused(dir, &testing, CAPS_ERR_NOT_FOUND, dir, "a validation split");
    free(slashed);
    free(dir);
}
END_TEST

/* Pictures of other sizes and colours are converted, to what is requested for or to the first training
 * picture, in both splits. */
START_TEST(folders_are_converted)
{
    caps_error err = {0};
    caps_dataset ds;
    char *dir = fresh_directory();
    put_png(dir, "train/a/1.png", 1, 6, 4, 3);
    put_png(dir, "train/a/2.png", 2, 9, 9, 1);
    put_png(dir, "train/b/1.png", 3, 40, 2, 3);
    put_png(dir, "test/b/1.png", 4, 8, 8, 1);
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
            test_ok(caps_image_read_png(&image, path, &err));
            test_ok(caps_image_convert(values, &image, s[0], s[1], s[2], false, NULL, &err));
            for (size_t p = 0; p < s[0] * s[1] * s[2]; p++)
                ck_assert_double_le(
                    fabs(ds.images[i * s[0] * s[1] * s[2] + p] - 255.0 * (double)values[p]),
                    0.5001);
            caps_image_release(&image);
            free(path);
        }
        caps_dataset_release(&ds);
    }
    expect_refused(dir, &(caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .channels = 4},
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
    char *dir = fresh_directory(), name[64];
    unsigned which[2 * EACH];
    uint8_t labels[2 * EACH];
    for (unsigned i = 0; i < 2 * EACH; i++) {
        snprintf(name, sizeof name, "train/%c/%03u.png", i % 2 ? 'b' : 'a', i);
        put_png(dir, name, i, 4, 4, 1);
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

    put(dir, "train/a/110.png", "not a picture", 13);
    expect_refused(dir, &training, CAPS_ERR_FORMAT, NULL, "a/110.png: is not a PNG file");
    put(dir, "train/b/041.png", "", 0);
    for (int i = 0; i < 5; i++)
        expect_refused(dir, &training, CAPS_ERR_FORMAT, NULL, "b/041.png: is not a PNG file");
    free(dir);
}
END_TEST

/* Each makes one thing wrong in a good set; the message begins with the path `at` in it. */
static void expect_bad_folder(void (*spoil)(const char *dir), const caps_dataset_options *o,
    caps_status status, const char *at, const char *needle)
{
    char *dir = fresh_directory(), *path = caps_format("%s%s", dir, at);
    put_animals(dir);
    spoil(dir);
    expect_refused(dir, o, status, path, needle);
    free(path);
    free(dir);
}

static void spoil_with_text(const char *dir)
{
    put(dir, "train/dog/notes.txt", "a", 1);
}

static void spoil_with_directory(const char *dir)
{
    make_directory(dir, "train/dog/more");
}

static void spoil_with_loose_picture(const char *dir)
{
    put_png(dir, "test/loose.png", 1, 2, 2, 1);
}

static void spoil_with_empty_class(const char *dir)
{
    make_directory(dir, "train/fox");
}

static void spoil_with_hidden_class(const char *dir)
{
    put(dir, "train/fox/.x.png", "a", 1);
}

static void spoil_with_new_class(const char *dir)
{
    put_png(dir, "test/fox/1.png", 1, 2, 2, 1);
}

static void spoil_test(const char *dir)
{
    drop(dir, "test/eel/x.png");
}

static void spoil_picture(const char *dir)
{
    size_t n;
    unsigned char *bytes;
    caps_error err = {0};
    char *path = caps_path_join(dir, "test/cat/y.png");
    test_ok(caps_file_read(&bytes, &n, path, 1000000, &err));
    put(dir, "test/cat/y.png", bytes, n - 20);
    free(bytes);
    free(path);
}

static void spoil_first_picture(const char *dir)
{
    put(dir, "train/cat/B.png", "hello", 5);
}

static void spoil_with_dangling_link(const char *dir)
{
    char *path = caps_path_join(dir, "train/dog/z.png");
    ck_assert_int_eq(symlink("nowhere", path), 0);
    free(path);
}

static void spoil_with_directory_named_png(const char *dir)
{
    make_directory(dir, "train/dog/z.png");
}

static void spoil_name(const char *dir)
{
    put_png(dir, "train/two\nlines/1.png", 1, 2, 2, 1);
}

static void spoil_utf8(const char *dir)
{
    put_png(dir, "train/\xff\xfe/1.png", 1, 2, 2, 1);
}

START_TEST(bad_folders)
{
    expect_bad_folder(spoil_with_text, &training, CAPS_ERR_FORMAT, "/train/dog/notes.txt",
        "is no .png file, need PNG files only");
    expect_bad_folder(spoil_with_directory, &training, CAPS_ERR_FORMAT, "/train/dog/more",
        "is a directory, need PNG files only");
    expect_bad_folder(spoil_with_loose_picture, &testing, CAPS_ERR_FORMAT, "/test/loose.png",
        "a picture outside the folders of classes");
    expect_bad_folder(spoil_with_empty_class, &training, CAPS_ERR_FORMAT, "/train/fox",
        "no PNG files, need at least one");
    expect_bad_folder(spoil_with_hidden_class, &training, CAPS_ERR_FORMAT, "/train/fox",
        "no PNG files, need at least one");
    expect_bad_folder(
        spoil_with_new_class, &testing, CAPS_ERR_FORMAT, "/test/fox", "no such class in ");
    expect_bad_folder(spoil_test, &testing, CAPS_ERR_FORMAT, "/test/eel", "no PNG files");
    expect_bad_folder(
        spoil_picture, &testing, CAPS_ERR_FORMAT, "/test/cat/y.png", "damaged PNG file");
    for (int split = 0; split < 2; split++)
        expect_bad_folder(spoil_first_picture, split ? &testing : &training, CAPS_ERR_FORMAT,
            "/train/cat/B.png", "is not a PNG file");
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
    char *dir = fresh_directory(), *train = caps_path_join(dir, "train");
    expect_refused(dir, &training, CAPS_ERR_NOT_FOUND, dir, "holds no data set");
    make_directory(dir, "train");
    expect_refused(dir, &training, CAPS_ERR_FORMAT, train, "no folders of classes");
    expect_refused(dir, &testing, CAPS_ERR_NOT_FOUND, dir, "no folder test");
    put_png(dir, "train/a/1.png", 1, 2, 2, 1);
    expect_refused(dir, &training, CAPS_ERR_FORMAT, train, "one folder of a class, a, need");
    put_png(dir, "train/b/1.png", 1, 2, 2, 1);
    make_directory(dir, "test");
    char *test = caps_path_join(dir, "test");
    expect_refused(dir, &testing, CAPS_ERR_FORMAT, test, "no folders of classes");
    free(test);
    free(train);
    free(dir);

    dir = fresh_directory();
    put_png(dir, "a/1.png", 1, 2, 2, 1);
    expect_refused(dir, &training, CAPS_ERR_FORMAT, dir, "one folder of a class, a, need");
    free(dir);

    dir = fresh_directory();
    put_png(dir, "test/a/1.png", 1, 2, 2, 1);
    expect_refused(dir, &training, CAPS_ERR_NOT_FOUND, dir, "no folder train");
    expect_refused(dir, &testing, CAPS_ERR_NOT_FOUND, dir, "no folder train");
    free(dir);

    dir = fresh_directory();
    for (int i = 0; i < 257; i++) {
        char name[32];
        snprintf(name, sizeof name, "class %d/1.png", i);
        put_png(dir, name, 1, 1, 1, 1);
    }
    expect_refused(dir, &training, CAPS_ERR_FORMAT, dir, "257 folders of classes, need <= 256");
    free(dir);
}
END_TEST

/* ---- CIFAR-10 ------------------------------------------------------------------------------- */

enum { CIFAR_ROW = 3073 };

/* `rows` images with labels (first + i) modulo 10 and pixels that tell file and image. */
static unsigned char *cifar_rows(size_t rows, unsigned first)
{
    unsigned char *bytes = malloc(rows * CIFAR_ROW);
    for (size_t i = 0; i < rows; i++) {
        bytes[i * CIFAR_ROW] = (unsigned char)((first + i) % 10);
        for (size_t p = 0; p < 3072; p++)
            bytes[i * CIFAR_ROW + 1 + p] = pixel_of(first * 100 + (unsigned)i, p);
    }
    return bytes;
}

static void put_cifar(const char *dir, const char *name, size_t rows, unsigned first)
{
    unsigned char *bytes = cifar_rows(rows, first);
    put(dir, name, bytes, rows * CIFAR_ROW);
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
    char *dir = fresh_directory();
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
                ck_assert_uint_eq(ds.images[at * 3072 + p], pixel_of(batch * 100 + i, p));
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
    ck_assert_uint_eq(ds.images[2 * 3072 + 3071], pixel_of(702, 3071));
    caps_dataset_release(&ds);

    const char names[] = "one\r\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nt\xc3\xa9n\n\n\n";
    put(dir, "batches.meta.txt", names, sizeof names - 1);
    test_ok(test_dataset_load(&ds, dir, CAPS_SPLIT_TEST, 0, &err));
    ck_assert_str_eq(ds.class_names[0], "one");
    ck_assert_str_eq(ds.class_names[9], "t\xc3\xa9n");
    caps_dataset_release(&ds);
    free(dir);
}
END_TEST

START_TEST(bad_cifar)
{
    char *dir = fresh_directory(), *third = caps_path_join(dir, "data_batch_3.bin");
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
            put(dir, "data_batch_3.bin", bytes, sizes[i].n);
            expect_refused(dir,
                &(caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .limit = limit},
                CAPS_ERR_FORMAT, third, sizes[i].needle);
        }
    bytes[2 * CIFAR_ROW] = 10;
    put(dir, "data_batch_3.bin", bytes, 4 * CIFAR_ROW);
    expect_refused(dir, &training, CAPS_ERR_FORMAT, third, "label of image 2 is 10, need < 10");
    drop(dir, "data_batch_3.bin");
    expect_refused(dir, &training, CAPS_ERR_NOT_FOUND, third,
        "need data_batch_1.bin to data_batch_5.bin for training");
    make_directory(dir, "data_batch_3.bin");
    expect_refused(dir, &training, CAPS_ERR_FORMAT, third, "is a directory");
    drop(dir, "test_batch.bin");
    expect_refused(dir, &testing, CAPS_ERR_NOT_FOUND, test, "need it for the test split");
    put(dir, "batches.meta.txt", "one\ntwo\n", 8);
    expect_refused(dir, &training, CAPS_ERR_FORMAT, meta, "2 names, need 10, one a line");
    put(dir, "batches.meta.txt", "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11", 23);
    expect_refused(dir, &training, CAPS_ERR_FORMAT, meta, "11 names, need 10");
    put(dir, "batches.meta.txt", "1\n2\n3\x01\n4", 8);
    expect_refused(dir, &training, CAPS_ERR_FORMAT, meta, "name 3 is not printable");
    expect_refused(dir, &(caps_dataset_options){.split = CAPS_SPLIT_TEST}, CAPS_ERR_ARGUMENT,
        "caps_dataset_options", "size is 0");
    expect_refused(dir,
        &(caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_VALIDATION},
        CAPS_ERR_ARGUMENT, "data set: split is 2", "need 0 (train) or 1 (test)");
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
        b[16 + i] = pixel_of((unsigned)(i / (IH * IW)), i % (IH * IW));
    put(dir, name, b, 16 + n * IH * IW);
    free(name);
    name = caps_format("%slabels-idx1-ubyte", prefix);
    memcpy(b, (unsigned char[]){0, 0, 8, 1, 0, 0, 0, (unsigned char)n}, 8);
    for (size_t i = 0; i < n; i++)
        b[8 + i] = (unsigned char)(first + i % classes);
    put(dir, name, b, 8 + n);
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
    char *dir = fresh_directory();
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
    char *root = fresh_directory(), *dir = caps_path_join(root, "emnist");
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
            expect_refused(dir, &training, CAPS_ERR_FORMAT, dir, "holds several sets, emnist-");
        }
    }
    /* Upright: what was stored as columns are rows; labels from 0 on. */
    test_ok(test_dataset_load(&ds, letters, CAPS_SPLIT_TEST, 0, &err));
    ck_assert(ds.height == IW && ds.width == IH && ds.n == 2);
    ck_assert(ds.labels[0] == 24 && ds.labels[1] == 25);
    for (size_t i = 0; i < 2; i++)
        for (size_t y = 0; y < IW; y++)
            for (size_t x = 0; x < IH; x++)
                ck_assert_uint_eq(ds.images[i * IH * IW + y * IH + x], pixel_of(i, x * IW + y));
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
    expect_refused("emnist-digits", &training, CAPS_ERR_NOT_FOUND, "emnist-digits: ", "looked for");
    expect_refused("emnist-byclass", &training, CAPS_ERR_NOT_FOUND, dir,
        "no emnist-byclass-train-images-idx3-ubyte");

    /* Letters count from 1. */
    put_idx(dir, "emnist-letters-train-", 4, 0, 4);
    expect_refused("emnist-letters", &training, CAPS_ERR_FORMAT, dir,
        "emnist-letters-train-labels-idx1-ubyte: label 0 is 0, need >= 1");
    /* A directory of the set's own name wins over another set that it holds too. */
    char *own = caps_path_join(root, "emnist-digits");
    put_idx(own, "emnist-digits-train-", 10, 0, 10);
    put_idx(own, "emnist-mnist-train-", 3, 0, 3);
    expect_classes("emnist-digits", CAPS_SPLIT_TRAIN, 10, "0", "9");
    free(own);

    /* CIFAR-10 goes by several names, and by the folder that its archive makes. */
    char *cifar = caps_path_join(root, "cifar-10-batches-bin");
    put_cifar_set(cifar);
    static const char *const names[] = {"cifar10", "cifar-10", "cifar-10-batches-bin"};
    for (int i = 0; i < 3; i++)
        expect_classes(names[i], CAPS_SPLIT_TRAIN, 10, "airplane", "truck");
    expect_classes(root, CAPS_SPLIT_TEST, 10, "airplane", "truck");
    free(cifar);

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

Suite *suite(void)
{
    Suite *s = suite_create("formats");
    TCase *folders = tcase_create("folders");
    tcase_set_timeout(folders, 120);
    tcase_add_test(folders, folders_with_splits);
    tcase_add_test(folders, folders_without_splits);
    tcase_add_test(folders, folders_are_converted);
    tcase_add_test(folders, folders_in_parallel);
    tcase_add_test(folders, bad_folders);
    tcase_add_test(folders, folders_of_too_few_classes);
    suite_add_tcase(s, folders);
    TCase *files = tcase_create("files");
    tcase_set_timeout(files, 120);
    tcase_add_test(files, cifar_batches);
    tcase_add_test(files, bad_cifar);
    tcase_add_test(files, names_of_known_sets);
    tcase_add_test(files, emnist);
    suite_add_tcase(s, files);
    return s;
}
