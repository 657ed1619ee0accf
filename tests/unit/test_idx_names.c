/* test_idx_names.c: IDX files under the names that distributions give them, and how many classes
 * they have. */
#include "data_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "formats.h"

static const caps_dataset_options training = {
    CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_TRAIN};

/* ---- names of IDX files --------------------------------------------------------------------- */

/* One file of a set of `n` grey images of 2x3 and labels i % 10 + `first`, as bytes of its own. */
static void put_idx_file(const char *dir, const char *name, bool images, size_t n, unsigned first)
{
    unsigned char bytes[16 + 64 * 6] = {0, 0, 8, images ? 3 : 1, 0, 0, 0, (unsigned char)n};
    const size_t head = images ? 16 : 8, length = head + n * (images ? 6 : 1);
    size_t packed_bytes;
    ck_assert_uint_le(n, 64);
    if (images)
        bytes[11] = 2, bytes[15] = 3;
    for (size_t i = head; i < length; i++)
        bytes[i] = (unsigned char)(first + (images ? 0 : (i - head) % 10));
    unsigned char *packed = test_gzipped(bytes, length, 6, &packed_bytes);
    const bool gz = strlen(name) > 3 && strcmp(name + strlen(name) - 3, ".gz") == 0;
    test_put(dir, name, gz ? packed : bytes, gz ? packed_bytes : length);
    free(packed);
}

/* Every form that distributions have: a dash or a dot, plain or .gz, in a folder of the name; one
 * form for the images and another for the labels. */
START_TEST(names_of_idx_files)
{
    static const char *const images[] = {"train-images-idx3-ubyte", "train-images.idx3-ubyte",
        "train-images-idx3-ubyte.gz", "train-images.idx3-ubyte.gz",
        "train-images-idx3-ubyte/train-images-idx3-ubyte",
        "train-images-idx3-ubyte/train-images.idx3-ubyte",
        "train-images.idx3-ubyte/train-images.idx3-ubyte.gz"};
    static const char *const labels[] = {"train-labels-idx1-ubyte", "train-labels.idx1-ubyte",
        "train-labels-idx1-ubyte.gz", "train-labels.idx1-ubyte.gz",
        "train-labels-idx1-ubyte/train-labels-idx1-ubyte",
        "train-labels-idx1-ubyte/train-labels.idx1-ubyte",
        "train-labels.idx1-ubyte/train-labels.idx1-ubyte.gz"};
    enum { NAMES = sizeof images / sizeof images[0] };
    caps_error err = {0};
    caps_dataset ds;
    for (size_t prefix = 0; prefix < 2; prefix++)
        for (size_t i = 0; i < NAMES; i++)
            for (size_t turn = 0; turn < 2; turn++) {
                const size_t j = (i + 3 * turn) % NAMES;
                const char *before = prefix ? "emnist-some-" : "";
                char *dir = test_new_directory(), *file[2];
                for (int k = 0; k < 2; k++) {
                    const char *name = k ? labels[j] : images[i], *slash = strchr(name, '/');
                    file[k] = slash ? caps_format("%s%.*s/%s%s", before, (int)(slash - name), name,
                                          before, slash + 1)
                                    : caps_format("%s%s", before, name);
                    put_idx_file(dir, file[k], k == 0, 12, k == 0 ? 77 : 0);
                    char *path = caps_path_join(dir, file[k]);
                    ck_assert(caps_dataset_owns(dir, path));
                    free(path);
                }
                test_ok(caps_dataset_open(&ds, dir, &training, &err));
                ck_assert_uint_eq(ds.n, 12);
                ck_assert_uint_eq(ds.images[5], 77);
                ck_assert_uint_eq(ds.labels[11], 1);
                caps_dataset_release(&ds);
                free(file[0]);
                free(file[1]);
                free(dir);
            }
}
END_TEST

/* Of several forms the first of the table counts: plain before .gz, then dash before dot, then the
 * file itself before one in a folder. */
START_TEST(first_form_of_an_idx_file)
{
    static const char *const order[] = {"train-images-idx3-ubyte", "train-images.idx3-ubyte",
        "train-images-idx3-ubyte.gz", "train-images.idx3-ubyte.gz"};
    caps_error err = {0};
    caps_dataset ds;
    char *dir = test_new_directory();
    put_idx_file(dir, "train-labels-idx1-ubyte", false, 5, 0);
    for (unsigned i = 4; i-- > 0;) {
        put_idx_file(dir, order[i], true, 5, i + 1);
        test_ok(caps_dataset_open(&ds, dir, &training, &err));
        ck_assert_uint_eq(ds.images[0], i + 1);
        caps_dataset_release(&ds);
    }
    free(dir);

    dir = test_new_directory();
    put_idx_file(dir, "train-labels-idx1-ubyte", false, 5, 0);
    test_make_directory(dir, "train-images-idx3-ubyte");
    test_expect_refused(dir, &training, CAPS_ERR_FORMAT, dir, "is a directory, need a file");
    put_idx_file(dir, "train-images.idx3-ubyte", true, 5, 9); /* an empty folder is in no way */
    test_ok(caps_dataset_open(&ds, dir, &training, &err));
    ck_assert_uint_eq(ds.images[0], 9);
    caps_dataset_release(&ds);
    free(dir);
}
END_TEST

static void keep_note(void *user, const char *text)
{
    char *notes = user;
    ck_assert_ptr_null(strchr(text, '\n'));
    ck_assert_uint_lt(strlen(notes) + strlen(text) + 2, 4096);
    strcat(strcat(notes, text), "\n");
}

/* Of the whole training split: a limit changes nothing. Classes without an image are named. */
START_TEST(classes_are_counted)
{
    caps_error err = {0};
    caps_dataset ds;
    size_t classes = 99, n;
    char *dir = test_new_directory(), **names, notes[4096] = "";
    put_idx_file(dir, "train-images.idx3-ubyte", true, 12, 0);
    put_idx_file(dir, "train-labels.idx1-ubyte", false, 12, 1);
    test_ok(caps_dataset_count_classes(&classes, dir, &err));
    ck_assert_uint_eq(classes, 11);
    test_ok(caps_dataset_names(&names, &n, dir, &err));
    ck_assert(!names && n == 0);
    const caps_dataset_options two = {
        CAPS_OPTIONS(caps_dataset_options), .limit = 2, .note = keep_note, .user = notes};
    test_ok(caps_dataset_open(&ds, dir, &two, &err));
    ck_assert(ds.n == 2 && ds.classes == 11);
    ck_assert_ptr_nonnull(strstr(notes, ": 1 of 11 classes have no training image: 0\n"));
    caps_dataset_release(&ds);

    put_idx_file(dir, "train-labels.idx1-ubyte", false, 12, 200);
    notes[0] = '\0';
    test_ok(caps_dataset_open(&ds, dir, &two, &err));
    ck_assert_uint_eq(ds.classes, 210);
    ck_assert_ptr_nonnull(strstr(notes, ": 200 of 210 classes have no training image: 0, 1, 2, 3, "
                                        "4, ...\n"));
    caps_dataset_release(&ds);

    /* A set of a known name with more labels than names is another set. */
    char *known = caps_path_join(dir, "kmnist");
    put_idx_file(known, "train-images-idx3-ubyte", true, 12, 0);
    put_idx_file(known, "train-labels-idx1-ubyte", false, 12, 0);
    test_ok(caps_dataset_names(&names, &n, known, &err));
    ck_assert_uint_eq(n, 10);
    free(names);
    put_idx_file(known, "train-labels-idx1-ubyte", false, 12, 3);
    test_ok(caps_dataset_names(&names, &n, known, &err));
    ck_assert(!names && n == 0);
    test_ok(caps_dataset_count_classes(&classes, known, &err));
    ck_assert_uint_eq(classes, 13);
    free(known);
    free(dir);
}
END_TEST

/* A path that the system cannot look at is not taken for one where nothing is. */
START_TEST(what_cannot_be_looked_at)
{
    char *dir = test_new_directory(), *loop = caps_path_join(dir, "loop");
    char *below = caps_format("%s/file/set", dir), *images, *link;
    ck_assert_int_eq(symlink("loop", loop), 0);
    test_put(dir, "file", "x", 1);
    test_expect_refused(
        loop, &training, CAPS_ERR_NOT_FOUND, loop, "cannot look there: Too many levels");
    test_expect_refused(
        below, &training, CAPS_ERR_NOT_FOUND, below, "cannot look there: Not a directory");
    /* Nor a file of the set: the dotted one beside it is no substitute. */
    put_idx_file(dir, "train-images.idx3-ubyte", true, 12, 0);
    put_idx_file(dir, "train-labels.idx1-ubyte", false, 12, 0);
    images = caps_path_join(dir, "train-images-idx3-ubyte");
    link = caps_path_join(dir, "train-labels-idx1-ubyte");
    ck_assert_int_eq(symlink("train-images-idx3-ubyte", images), 0);
    test_expect_refused(dir, &training, CAPS_ERR_NOT_FOUND, images, "Too many levels");
    ck_assert_int_eq(unlink(images), 0);
    ck_assert_int_eq(symlink("train-labels-idx1-ubyte", link), 0);
    test_expect_refused(dir, &training, CAPS_ERR_NOT_FOUND, link, "Too many levels");
    free(images);
    free(link);
    free(below);
    free(loop);
    free(dir);
}
END_TEST

/* A home that is closed, or no directory, is passed over; a place that somebody chose is not. */
START_TEST(places_that_cannot_be_looked_at)
{
    static const char *const variables[] = {"HOME", "XDG_DATA_HOME", "CAPSCL_DATA"};
    char *dir = test_new_directory(), *file = caps_path_join(dir, "file"), *old[3], *path = NULL;
    caps_error err = {0};
    test_put(dir, "file", "x", 1);
    for (int i = 0; i < 3; i++) {
        old[i] = getenv(variables[i]) ? strdup(getenv(variables[i])) : NULL;
        unsetenv(variables[i]);
    }
    setenv("HOME", file, 1);
    ck_assert_int_eq(caps_dataset_find(&path, "no-set-here", &err), CAPS_ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(
        strstr(err.message, "file/.local/share/capscl/no-set-here (no directory)"));
    char *own = caps_path_join(dir, "data"), *set = caps_path_join(own, "some-set");
    put_idx_file(set, "train-labels-idx1-ubyte", false, 3, 0);
    setenv("CAPSCL_DATA", own, 1);
    test_ok(caps_dataset_find(&path, "some-set", &err));
    ck_assert_str_eq(path, set);
    free(path);
    char *wrong = caps_path_join(file, "data");
    setenv("CAPSCL_DATA", wrong, 1);
    ck_assert_int_eq(caps_dataset_find(&path, "some-set", &err), CAPS_ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.message, "file/data: cannot look for data sets there: Not a"));
    for (int i = 0; i < 3; i++) {
        old[i] ? setenv(variables[i], old[i], 1) : unsetenv(variables[i]);
        free(old[i]);
    }
    free(wrong);
    free(set);
    free(own);
    free(file);
    free(dir);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("names of IDX files");
    TCase *names = tcase_create("names");
    tcase_add_test(names, names_of_idx_files);
    tcase_add_test(names, first_form_of_an_idx_file);
    tcase_add_test(names, classes_are_counted);
    tcase_add_test(names, what_cannot_be_looked_at);
    tcase_add_test(names, places_that_cannot_be_looked_at);
    suite_add_tcase(s, names);
    return s;
}
