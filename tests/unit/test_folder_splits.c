/* test_folder_splits.c: which folders are splits, what is not used, and the files of pictures. */
#include "data_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "image.h"

static caps_dataset_options of_split(caps_split split)
{
    return (caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .split = split};
}

/* Notes of what is used and what is not, one a line; others are about the pictures. */
static void keep_note(void *user, const char *text)
{
    char *notes = user;
    ck_assert_ptr_null(strchr(text, '\n'));
    if (!strstr(text, " used"))
        return;
    ck_assert_uint_lt(strlen(notes) + strlen(text) + 2, 4096);
    strcat(strcat(notes, text), "\n");
}

static void open_noting(caps_dataset *ds, const char *dir, caps_split split, char notes[4096])
{
    caps_error err = {0};
    caps_dataset_options o = of_split(split);
    o.note = keep_note;
    o.user = notes;
    notes[0] = '\0';
    test_ok(caps_dataset_open(ds, dir, &o, &err));
}

/* `split`/cat and `split`/dog with one picture each, of which the first is `which`. */
static void put_split(const char *dir, const char *split, unsigned which)
{
    static const char *const classes[] = {"cat", "dog"};
    for (unsigned c = 0; c < 2; c++) {
        char *name = caps_format("%s/%s/%u.png", split, classes[c], which);
        test_put_png(dir, name, which + c, 3, 2, 1);
        free(name);
    }
}

/* Every name of every split, in any case, with every name of the others. */
START_TEST(names_of_splits)
{
    static const char *const names[3][5] = {
        [CAPS_SPLIT_TRAIN] = {"train", "training", "Train", "TRAINING"},
        [CAPS_SPLIT_VALIDATION] = {"val", "valid", "validation", "Val", "VALIDATION"},
        [CAPS_SPLIT_TEST] = {"test", "testing", "Test", "TESTING"}};
    caps_error err = {0};
    caps_dataset ds;
    char notes[4096];
    for (size_t turn = 0; turn < 5; turn++) {
        char *dir = test_new_directory();
        const char *own[3] = {names[CAPS_SPLIT_TRAIN][turn % 4],
            names[CAPS_SPLIT_TEST][3 - turn % 4], names[CAPS_SPLIT_VALIDATION][turn]};
        for (unsigned s = 0; s < 3; s++)
            put_split(dir, own[s], 10 * s);
        for (unsigned s = 0; s < 3; s++) {
            bool has = false;
            char *file = caps_format("%s/%s/cat/%u.png", dir, own[s], 10 * s);
            test_ok(caps_dataset_has_split(&has, dir, (caps_split)s, &err));
            ck_assert(has);
            open_noting(&ds, dir, (caps_split)s, notes);
            ck_assert(ds.n == 2 && ds.classes == 2 && ds.split == (caps_split)s);
            ck_assert_uint_eq(ds.images[0], test_pixel_of(10 * s, 0));
            ck_assert_str_eq(caps_dataset_file(&ds, 0), file);
            ck_assert_str_eq(notes, "");
            caps_dataset_release(&ds);
            free(file);
        }
        free(dir);
    }
}
END_TEST

/* The first letters of a split's name, and classes that have one, are no splits. */
START_TEST(folders_that_are_no_splits)
{
    caps_error err = {0};
    caps_dataset ds;
    bool has;
    char *dir = test_new_directory();
    test_put_png(dir, "valid/1.png", 1, 3, 2, 1);
    test_put_png(dir, "invalid/1.png", 2, 3, 2, 1);
    test_put_png(dir, "Test/1.png", 3, 3, 2, 1);
    const caps_dataset_options training = of_split(CAPS_SPLIT_TRAIN);
    test_ok(caps_dataset_open(&ds, dir, &training, &err));
    ck_assert_uint_eq(ds.classes, 3);
    ck_assert_str_eq(ds.class_names[2], "valid");
    caps_dataset_release(&ds);
    test_ok(caps_dataset_has_split(&has, dir, CAPS_SPLIT_TRAIN, &err));
    ck_assert(has);
    for (caps_split s = CAPS_SPLIT_TEST; s <= CAPS_SPLIT_VALIDATION; s++) {
        const caps_dataset_options o = of_split(s);
        test_ok(caps_dataset_has_split(&has, dir, s, &err));
        ck_assert(!has);
        test_expect_refused(dir, &o, CAPS_ERR_NOT_FOUND, dir,
            s == CAPS_SPLIT_TEST ? "has no test split" : "has no validation split");
    }
    free(dir);

    dir = test_new_directory();
    put_split(dir, "training", 1);
    const caps_dataset_options validation = of_split(CAPS_SPLIT_VALIDATION);
    test_expect_refused(dir, &validation, CAPS_ERR_NOT_FOUND, dir,
        "no folder val, need val, valid or validation with folders of classes in it");
    test_put_png(dir, "valid/fox/1.png", 1, 3, 2, 1);
    test_expect_refused(dir, &validation, CAPS_ERR_FORMAT, dir, "no such class in ");
    free(dir);

    dir = test_put_set(8, 1, 4, 10, 10);
    test_ok(caps_dataset_has_split(&has, dir, CAPS_SPLIT_TEST, &err));
    ck_assert(has);
    test_ok(caps_dataset_has_split(&has, dir, CAPS_SPLIT_VALIDATION, &err));
    ck_assert(!has);
    test_expect_refused(
        dir, &validation, CAPS_ERR_NOT_FOUND, dir, "has no validation split of its own");
    free(dir);
}
END_TEST

START_TEST(what_is_not_used_is_named)
{
    caps_dataset ds;
    char *dir = test_new_directory(), notes[4096], *expected;
    put_split(dir, "train", 1);
    put_split(dir, "test", 5);
    test_put(dir, "labels.csv", "x", 1);
    test_put_png(dir, "unlabelled/1.png", 1, 2, 2, 1);
    test_put(dir, ".hidden", "x", 1);
    test_put(dir, "train/list.txt", "x", 1);
    test_put(dir, "train/cat/Thumbs.db", "x", 1);
    test_put(dir, "train/dog/.DS_Store", "x", 1);
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "train/dog/%d.gif", i);
        test_put(dir, name, "GIF89a", 6);
    }
    test_put(dir, "test/cat/two\nlines", "x", 1);
    test_put_png(dir, "train/dog/more/1.png", 1, 2, 2, 1);
    test_put_png(dir, "train/dog/more/deep/2.jpg", 1, 2, 2, 1);
    open_noting(&ds, dir, CAPS_SPLIT_TRAIN, notes);
    ck_assert_uint_eq(ds.n, 2);
    expected = caps_format(
        "%s: 2 entries beside the folders of the splits are not used: labels.csv, unlabelled\n"
        "%s/train: 7 files that are no PNG or JPEG by their names are not used: list.txt, "
        "cat/Thumbs.db, dog/0.gif, dog/1.gif, ...\n"
        "%s/train: 1 folder within a class folder is not used, with 2 pictures in all: dog/more\n",
        dir, dir, dir);
    ck_assert_str_eq(notes, expected);
    caps_dataset_release(&ds);
    free(expected);
    open_noting(&ds, dir, CAPS_SPLIT_TEST, notes);
    expected = caps_format(
        "%s: 2 entries beside the folders of the splits are not used: labels.csv, unlabelled\n"
        "%s/test: 1 file that is no PNG or JPEG by its name is not used: ...\n",
        dir, dir);
    ck_assert_str_eq(notes, expected);
    caps_dataset_release(&ds);
    free(expected);
    free(dir);

    /* Without splits, what lies beside the classes. */
    dir = test_new_directory();
    put_split(dir, ".", 1);
    test_put(dir, "README", "x", 1);
    open_noting(&ds, dir, CAPS_SPLIT_TRAIN, notes);
    ck_assert_ptr_nonnull(strstr(notes, "1 file that is no PNG or JPEG by its name is not used: "
                                        "README\n"));
    caps_dataset_release(&ds);
    free(dir);
}
END_TEST

/* Every image has its file, also after images were held out; a limit leaves the first. */
START_TEST(files_of_images)
{
    enum { EACH = 7 };
    caps_error err = {0};
    caps_dataset ds, held_out;
    char *dir = test_new_directory(), name[64];
    for (unsigned i = 0; i < 2 * EACH; i++) {
        snprintf(name, sizeof name, "train/%s/%u.png", i % 2 ? "b" : "a", i);
        test_put_png(dir, name, i, 3, 3, 1);
    }
    const caps_dataset_options training = of_split(CAPS_SPLIT_TRAIN);
    test_ok(caps_dataset_open(&ds, dir, &training, &err));
    test_ok(caps_dataset_split_off(&ds, 5, 1, &held_out, &err));
    const caps_dataset *const sets[] = {&ds, &held_out};
    for (int s = 0; s < 2; s++)
        for (size_t i = 0; i < sets[s]->n; i++) {
            caps_image image;
            const char *file = caps_dataset_file(sets[s], i);
            test_ok(caps_image_read(&image, file, &err));
            ck_assert_mem_eq(image.pixels, sets[s]->images + i * 9, 9);
            ck_assert_ptr_nonnull(strstr(file, sets[s]->labels[i] ? "/train/b/" : "/train/a/"));
            caps_image_release(&image);
        }
    ck_assert_ptr_null(caps_dataset_file(&ds, ds.n));
    caps_dataset_release(&held_out);
    caps_dataset_release(&ds);
    char *pairs = caps_format("multi:%s", dir);
    test_ok(caps_dataset_open(&ds, pairs, &training, &err));
    ck_assert_ptr_null(caps_dataset_file(&ds, 0)); /* a pair is of two files */
    test_ok(caps_dataset_split_off(&ds, 5, 1, &held_out, &err));
    caps_dataset_release(&held_out);
    caps_dataset_release(&ds);
    free(pairs);
    free(dir);
    dir = test_put_set(8, 1, 4, 10, 10);
    test_ok(caps_dataset_open(&ds, dir, &training, &err));
    ck_assert_ptr_null(caps_dataset_file(&ds, 0));
    caps_dataset_release(&ds);
    free(dir);
}
END_TEST

/* An unpacked archive: the set is in the one folder of the directory, or in that of this one. */
START_TEST(set_in_the_only_folder)
{
    caps_dataset ds;
    char notes[4096], *expected;
    for (int depth = 1; depth <= 2; depth++) {
        char *dir = test_new_directory();
        const char *inner = depth == 1 ? "animals" : "archive/animals";
        char *train = caps_format("%s/train", inner), *at = caps_path_join(dir, inner);
        put_split(dir, train, 3);
        test_put(dir, "README.txt", "x", 1);
        test_put(dir, "__MACOSX/._x", "x", 1);
        open_noting(&ds, dir, CAPS_SPLIT_TRAIN, notes);
        ck_assert_str_eq(ds.path, at);
        expected =
            caps_format("%s: holds no data set itself, but %s does, which is used\n", dir, at);
        ck_assert_str_eq(notes, expected);
        caps_dataset_release(&ds);
        free(expected);
        /* Of two, none is chosen. */
        test_make_directory(dir, "other");
        const caps_dataset_options training = of_split(CAPS_SPLIT_TRAIN);
        test_expect_refused(dir, &training, CAPS_ERR_FORMAT, dir, "no PNG or JPEG files");
        free(at);
        free(train);
        free(dir);
    }
}
END_TEST

START_TEST(what_is_there_instead)
{
    static const struct {
        const char *name, *need;
    } files[] = {{"mnist.zip", "the one that this archive unpacks to"},
        {"mnist.tar.gz", "the one that this archive unpacks to"},
        {"train-images.idx3-ubyte", "the one that holds this file"},
        {"train-labels-idx1-ubyte.gz", "the one that holds this file"},
        {"cat.jpeg", "one with a folder of pictures for each class"},
        {"data.npz", "IDX files, CIFAR-10's binary batches, or folders of pictures"}};
    static const struct {
        const char *name, *hint;
    } inside[] = {{"mnist.zip", "; it has mnist.zip, which is to be unpacked"},
        {"data_batch_1", "; it has CIFAR-10's version for Python, need the binary version"},
        {"my-train-images-idx3-ubyte",
            "; it has my-train-images-idx3-ubyte, whose name is another"},
        {"cat.png", "; pictures in it (1) lie in no folder that names their class"}};
    const caps_dataset_options training = of_split(CAPS_SPLIT_TRAIN);
    char *dir = test_new_directory();
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char *path = caps_path_join(dir, files[i].name);
        test_put(dir, files[i].name, "x", 1);
        test_expect_refused(path, &training, CAPS_ERR_FORMAT, path, files[i].need);
        free(path);
    }
    free(dir);
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
        dir = test_new_directory();
        test_put(dir, inside[i].name, "x", 1);
        test_expect_refused(dir, &training, CAPS_ERR_NOT_FOUND, dir, inside[i].hint);
        free(dir);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("splits of folders");
    TCase *splits = tcase_create("splits");
    tcase_add_test(splits, names_of_splits);
    tcase_add_test(splits, folders_that_are_no_splits);
    tcase_add_test(splits, what_is_not_used_is_named);
    tcase_add_test(splits, files_of_images);
    tcase_add_test(splits, set_in_the_only_folder);
    tcase_add_test(splits, what_is_there_instead);
    suite_add_tcase(s, splits);
    return s;
}
