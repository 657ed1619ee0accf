/* test_arrays.c: data sets from arrays in memory, and training on them. */
#include "train_support.h"

#include "formats.h"
#include "pairs.h"

enum { SIDE = 12, CLASSES = 4 };

static char *work, *data;
static caps_dataset files_train, files_test; /* as they are read from files */

static void set_up(void)
{
    caps_error err = {0};
    const caps_dataset_options test = {
        CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_TEST};
    work = test_directory();
    data = cli_make_data(work, "data", TRAIN_IMAGES, TEST_IMAGES, 1, SIDE, SIDE, CLASSES);
    test_ok(caps_dataset_open(&files_train, data, NULL, &err));
    test_ok(caps_dataset_open(&files_test, data, &test, &err));
}

static void tear_down(void)
{
    caps_dataset_release(&files_train);
    caps_dataset_release(&files_test);
    free(work);
}

/* What a set has, as arrays. */
static caps_arrays arrays_of(const caps_dataset *ds)
{
    return (caps_arrays){.split = ds->split,
        .n = ds->n,
        .channels = ds->channels,
        .height = ds->height,
        .width = ds->width,
        .images = ds->images,
        .labels = ds->labels};
}

START_TEST(a_set_of_arrays_is_like_one_of_files)
{
    caps_error err = {0};
    caps_dataset ds, copy;
    const caps_arrays a = arrays_of(&files_train);
    test_ok(caps_dataset_from_arrays(&ds, &a, &err));
    ck_assert_str_eq(ds.path, "arrays");
    ck_assert_uint_eq(ds.n, TRAIN_IMAGES);
    ck_assert_uint_eq(ds.classes, CLASSES);
    ck_assert_uint_eq(ds.labels_per_image, 1);
    ck_assert_ptr_ne(ds.images, files_train.images);
    ck_assert_uint_eq(caps_dataset_hash(&ds), caps_dataset_hash(&files_train));
    test_ok(caps_dataset_copy(&copy, &ds, 7, &err));
    ck_assert_uint_eq(copy.n, 7);
    ck_assert_uint_eq(copy.classes, CLASSES);
    ck_assert_mem_eq(copy.images, ds.images, 7 * SIDE * SIDE);
    caps_dataset_release(&copy);
    caps_dataset_release(&ds);
}
END_TEST

START_TEST(arrays_are_refused)
{
    caps_error err = {0};
    caps_dataset ds;
    caps_arrays a = arrays_of(&files_train);
    a.n = 0;
    ck_assert_int_eq(caps_dataset_from_arrays(&ds, &a, &err), CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(err.message,
        "arrays: 0 images, split 0, need at least one image, labels and a split of 0 to 2");
    a = arrays_of(&files_train);
    a.labels = NULL;
    ck_assert_int_eq(caps_dataset_from_arrays(&ds, &a, &err), CAPS_ERR_ARGUMENT);
    a = arrays_of(&files_train);
    a.height = 0;
    ck_assert_int_eq(caps_dataset_from_arrays(&ds, &a, &err), CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(err.message, "arrays: images of 1x0x12, need 1 to 65535");
    a = arrays_of(&files_train);
    a.n = SIZE_MAX / 2;
    ck_assert_int_eq(caps_dataset_from_arrays(&ds, &a, &err), CAPS_ERR_MEMORY);
    ck_assert_ptr_null(ds.images);
    files_train.standardised = true;
    ck_assert_int_eq(caps_dataset_copy(&ds, &files_train, 0, &err), CAPS_ERR_ARGUMENT);
    files_train.standardised = false;
}
END_TEST

/* Trains on the sets in memory, or on files where train is NULL. */
static caps_status run(const char *out, const caps_train_config *config, const caps_dataset *train,
    const caps_dataset *test, bool resume, train_watch *w)
{
    const caps_train_control control = {CAPS_OPTIONS(caps_train_control), .out = out,
        .resume = resume, .stop = &w->stop, .event = train_event, .user = w, .train = train,
        .test = test};
    return caps_train_run(test_runtime(), config, &control, &w->end, &w->m, &w->err);
}

static void run_ok(const char *out, const caps_train_config *config, const caps_dataset *train,
    const caps_dataset *test, bool resume, train_watch *w)
{
    const caps_status status = run(out, config, train, test, resume, w);
    ck_assert_msg(status == CAPS_OK, "%s: %s", out, w->err.message);
}

START_TEST(training_on_arrays_gives_the_bits_of_files)
{
    train_watch files = {0}, arrays = {0}, stopped = {.stop_at = 3}, rest = {0}, other = {0};
    char *a = cli_path(work, "files"), *b = cli_path(work, "arrays"), *c = cli_path(work, "cut");
    caps_train_config config = train_tiny(data);
    config.validation = 10;
    run_ok(a, &config, NULL, NULL, false, &files);
    snprintf(config.data, sizeof config.data, "arrays");
    run_ok(b, &config, &files_train, &files_test, false, &arrays);
    train_expect_same(&files.m, &arrays.m);
    ck_assert(!isnan(arrays.m.test_error_percent) && !isnan(arrays.m.validation_error_percent));
    ck_assert(cli_same_file(cli_path(a, "model.safetensors"), cli_path(b, "model.safetensors")));
    run_ok(c, &config, &files_train, &files_test, false, &stopped);
    ck_assert_int_eq(stopped.end, CAPS_TRAIN_STOPPED);
    /* Other images are no way to go on. */
    files_train.images[0] ^= 1;
    ck_assert_int_eq(run(c, &config, &files_train, &files_test, true, &other), CAPS_ERR_MISMATCH);
    files_train.images[0] ^= 1;
    run_ok(c, &config, &files_train, &files_test, true, &rest);
    ck_assert(cli_same_file(cli_path(b, "model.safetensors"), cli_path(c, "model.safetensors")));
    caps_train_config_release(&config);
}
END_TEST

START_TEST(without_a_test_split_nothing_is_evaluated)
{
    train_watch w = {0}, again = {0};
    char *out = cli_path(work, "untested");
    caps_train_config config = train_tiny("arrays");
    run_ok(out, &config, &files_train, NULL, false, &w);
    ck_assert_int_eq(w.end, CAPS_TRAIN_FINISHED);
    ck_assert(isnan(w.m.test_error_percent) && isnan(w.m.validation_error_percent));
    ck_assert(!isnan(w.epoch.loss));
    run_ok(out, &config, &files_train, NULL, true, &again);
    ck_assert_int_eq(again.end, CAPS_TRAIN_WAS_FINISHED);
    caps_train_config_release(&config);
}
END_TEST

START_TEST(arrays_that_do_not_fit_the_network)
{
    caps_error err = {0};
    train_watch w = {0};
    caps_dataset ds;
    caps_arrays a = arrays_of(&files_train);
    caps_train_config config = train_tiny("arrays");
    a.name = "mine";
    a.height = SIDE / 2;
    test_ok(caps_dataset_from_arrays(&ds, &a, &err));
    ck_assert_int_eq(
        run(cli_path(work, "misfit"), &config, &ds, NULL, false, &w), CAPS_ERR_MISMATCH);
    ck_assert_str_eq(w.err.message, "mine: images are 1x6x12, the model takes 1x12x12");
    caps_dataset_release(&ds);
    caps_train_config_release(&config);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("arrays");
    TCase *tc = tcase_create("arrays");
    tcase_set_timeout(tc, 0);
    tcase_add_unchecked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, a_set_of_arrays_is_like_one_of_files);
    tcase_add_test(tc, arrays_are_refused);
    tcase_add_test(tc, training_on_arrays_gives_the_bits_of_files);
    tcase_add_test(tc, without_a_test_split_nothing_is_evaluated);
    tcase_add_test(tc, arrays_that_do_not_fit_the_network);
    suite_add_tcase(s, tc);
    return s;
}
