/* test_views.c: places, crops and views of images. */
#include "data_files.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batcher.h"
#include "file.h"
#include "rng.h"

enum { N = 40, H = 7, W = 6, CLASSES = 4 };
enum { PH = H + 8, PW = W + 8, PIXELS = PH * PW }; /* of pairs */

/* ---- places, crops, views ------------------------------------------------------------------- */

/* Whether `out` [c, oh, ow] is the image moved down by dy and right by dx, the rest 0. */
static bool is_at(
    const caps_dataset *ds, size_t which, const float *out, size_t oh, size_t ow, long dy, long dx)
{
    for (size_t c = 0; c < ds->channels; c++)
        for (size_t y = 0; y < oh; y++)
            for (size_t x = 0; x < ow; x++) {
                const long from_y = (long)y - dy, from_x = (long)x - dx;
                const bool inside = from_y >= 0 && from_y < (long)ds->height && from_x >= 0 &&
                                    from_x < (long)ds->width;
                const size_t at =
                    ((which * ds->channels + c) * ds->height + (size_t)from_y) * ds->width +
                    (size_t)from_x;
                const float want = inside ? (float)ds->images[at] / 255.0f : 0.0f;
                if (out[(c * oh + y) * ow + x] != want)
                    return false;
            }
    return true;
}

/* Every place is met, equally often (0.999 quantiles of chi-square), and nothing else. */
static void expect_uniform_places(
    caps_augment augment, size_t channels, size_t h, size_t w, size_t side, double limit)
{
    caps_error err = {0};
    char *dir = test_put_set(3, channels, 2, h, w);
    caps_dataset ds = test_open_single(dir, CAPS_SPLIT_TRAIN);
    size_t chw[3];
    test_ok(caps_dataset_view_size(&ds, augment, chw, &err));
    ck_assert(chw[0] == channels && chw[1] == side && chw[2] == side);
    const size_t down = side > h ? side - h : h - side, right = side > w ? side - w : w - side;
    const size_t places = (down + 1) * (right + 1);
    const long sign = side > h || side > w ? 1 : -1;
    size_t *counts = calloc(places, sizeof *counts);
    float *out = malloc(channels * side * side * sizeof *out);
    const size_t epochs = 40 * places;
    for (uint64_t epoch = 0; epoch < epochs; epoch++) {
        int32_t label = -1;
        size_t met = 0;
        caps_dataset_draw(&ds, 1, augment, 4, epoch, out, &label, NULL);
        ck_assert_int_eq(label, 1);
        for (size_t p = 0; p < places; p++)
            if (is_at(&ds, 1, out, side, side, sign * (long)(p / (right + 1)),
                    sign * (long)(p % (right + 1)))) {
                counts[p]++;
                met++;
            }
        ck_assert_uint_eq(met, 1);
    }
    double sum = 0;
    for (size_t p = 0; p < places; p++)
        sum += ((double)counts[p] - 40) * ((double)counts[p] - 40) / 40;
    ck_assert_double_lt(sum, limit);
    free(out);
    free(counts);
    caps_dataset_release(&ds);
    free(dir);
}

START_TEST(places_and_crops_are_uniform)
{
    expect_uniform_places(CAPS_AUGMENT_PLACE40, 1, 37, 36, 40, 43.82); /* 4 x 5 */
    expect_uniform_places(CAPS_AUGMENT_PLACE40, 1, 40, 40, 40, 1);
    expect_uniform_places(CAPS_AUGMENT_CROP24, 3, 26, 27, 24, 31.26); /* 3 x 4 */
    expect_uniform_places(CAPS_AUGMENT_CROP24, 1, 24, 24, 24, 1);
    for (int i = 0; i < CAPS_AUGMENT_COUNT; i++)
        ck_assert_str_eq(caps_augment_name(i),
            ((const char *[]){"none", "shift2", "place40", "crop24", "affine", "crop"})[i]);
    ck_assert_ptr_null(caps_augment_name(CAPS_AUGMENT_COUNT));
    ck_assert_ptr_null(caps_augment_name(-1));
}
END_TEST

START_TEST(views_are_centred)
{
    caps_error err = {0};
    char *dir = test_put_set(4, 3, 2, 9, 6);
    caps_dataset ds = test_open_single(dir, CAPS_SPLIT_TEST);
    /* View, and where the image's corner lies in it. */
    static const struct {
        size_t h, w;
        long dy, dx;
    } views[] = {
        {9, 6, 0, 0}, {13, 11, 2, 2}, {14, 6, 2, 0}, {4, 3, -2, -1}, {5, 9, -2, 1}, {12, 1, 1, -2}};
    for (size_t k = 0; k < sizeof views / sizeof views[0]; k++) {
        const size_t h = views[k].h, w = views[k].w;
        float out[3 * 14 * 11], target[3 * 14 * 11];
        size_t chw[3];
        caps_dataset_set_view(&ds, h, w);
        test_ok(caps_dataset_check(&ds, 3, h, w, 2, &err));
        test_ok(caps_dataset_view_size(&ds, CAPS_AUGMENT_NONE, chw, &err));
        ck_assert(chw[0] == 3 && chw[1] == h && chw[2] == w);
        caps_dataset_draw(&ds, 2, CAPS_AUGMENT_NONE, 0, 0, out, NULL, target);
        ck_assert(is_at(&ds, 2, out, h, w, views[k].dy, views[k].dx));
        ck_assert_mem_eq(out, target, 3 * h * w * sizeof *out);

        caps_batcher *b = NULL;
        test_ok(caps_batcher_create(&b, &ds, &(caps_batcher_options){.batch = 4}, &err));
        const caps_batch *batch = caps_batcher_next(b);
        ck_assert_mem_eq(batch->images + 2 * 3 * h * w, out, 3 * h * w * sizeof *out);
        ck_assert_ptr_null(batch->targets);
        ck_assert_uint_eq(batch->labels_per_image, 1);
        caps_batcher_free(b);
    }
    ck_assert_int_eq(caps_dataset_check(&ds, 3, 9, 6, 2, &err), CAPS_ERR_MISMATCH);
    ck_assert_ptr_nonnull(
        strstr(err.message, "images are 3x9x6, cut to or centred on 12x1, the model takes"));
    caps_dataset_set_view(&ds, 0, 0);
    test_ok(caps_dataset_check(&ds, 3, 9, 6, 2, &err));
    caps_dataset_release(&ds);
    free(dir);
}
END_TEST

/* A pair is cut off at its own border, not at that of a larger view. */
START_TEST(views_of_pairs)
{
    char *dir = test_put_set(N, 1, CLASSES, H, W);
    caps_dataset ds = test_open_pairs(dir, CAPS_SPLIT_TRAIN, 0);
    enum { VH = PH + 3, VW = PW - 5 };
    for (size_t i = 0; i < N; i++) {
        float own[3 * PIXELS], viewed[3 * VH * VW];
        caps_dataset_set_view(&ds, 0, 0);
        caps_dataset_draw(&ds, i, CAPS_AUGMENT_NONE, 1, 0, own, NULL, own + PIXELS);
        caps_dataset_set_view(&ds, VH, VW);
        caps_dataset_draw(&ds, i, CAPS_AUGMENT_NONE, 1, 0, viewed, NULL, viewed + VH * VW);
        for (int plane = 0; plane < 3; plane++)
            for (int y = 0; y < VH; y++)
                for (int x = 0; x < VW; x++) {
                    const bool inside = y >= 1 && y < PH + 1;
                    const float want = inside ? own[(plane * PH + y - 1) * PW + x + 2] : 0.0f;
                    ck_assert_float_eq(viewed[(plane * VH + y) * VW + x], want);
                }
    }
    caps_dataset_release(&ds);
    free(dir);
}
END_TEST

START_TEST(augmentations_that_do_not_fit)
{
    caps_error err = {0};
    size_t chw[3];
    char *dir = test_put_set(2, 1, 2, 23, 41), *other = test_put_set(2, 1, 2, 28, 28);
    caps_dataset odd = test_open_single(dir, CAPS_SPLIT_TRAIN);
    caps_dataset ds = test_open_single(other, CAPS_SPLIT_TRAIN);
    ck_assert_int_eq(
        caps_dataset_view_size(&odd, CAPS_AUGMENT_PLACE40, chw, &err), CAPS_ERR_MISMATCH);
    ck_assert_ptr_nonnull(strstr(err.message, "images are 1x23x41, need at most 40x40"));
    ck_assert_int_eq(
        caps_dataset_view_size(&odd, CAPS_AUGMENT_CROP24, chw, &err), CAPS_ERR_MISMATCH);
    ck_assert_ptr_nonnull(strstr(err.message, "images are 1x23x41, need at least 24x24"));
    ck_assert_int_eq(
        caps_dataset_view_size(&odd, CAPS_AUGMENT_COUNT, chw, &err), CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(caps_dataset_view_size(&odd, (caps_augment)-1, chw, &err), CAPS_ERR_ARGUMENT);

    caps_dataset_set_view(&ds, 40, 40);
    test_ok(caps_dataset_view_size(&ds, CAPS_AUGMENT_PLACE40, chw, &err));
    test_ok(caps_dataset_view_size(&ds, CAPS_AUGMENT_NONE, chw, &err));
    static const caps_augment others[] = {CAPS_AUGMENT_SHIFT2, CAPS_AUGMENT_CROP24};
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(caps_dataset_view_size(&ds, others[i], chw, &err), CAPS_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "crop24 gives images of 24x24, need 40x40"));
    caps_dataset_set_view(&ds, 24, 24);
    test_ok(caps_dataset_view_size(&ds, CAPS_AUGMENT_CROP24, chw, &err));
    caps_dataset_set_view(&ds, 28, 28);
    test_ok(caps_dataset_view_size(&ds, CAPS_AUGMENT_SHIFT2, chw, &err));
    caps_dataset_release(&ds);
    caps_dataset_release(&odd);
    free(other);
    free(dir);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("views");
    TCase *views = tcase_create("views");
    tcase_set_timeout(views, 120);
    tcase_add_test(views, places_and_crops_are_uniform);
    tcase_add_test(views, views_are_centred);
    tcase_add_test(views, views_of_pairs);
    tcase_add_test(views, augmentations_that_do_not_fit);
    suite_add_tcase(s, views);
    return s;
}
