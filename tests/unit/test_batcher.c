/* test_batcher.c: augmentation and batches, on sets in memory. */
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batcher.h"
#include "rng.h"

/* ---- augmentation --------------------------------------------------------------------------- */

/* A set in memory; its arrays belong to the caller. */
static caps_dataset made(size_t n, size_t c, size_t h, size_t w, uint8_t *images, uint8_t *labels)
{
    return (caps_dataset){.path = (char *)"memory",
        .n = n,
        .channels = c,
        .height = h,
        .width = w,
        .classes = 10,
        .images = images,
        .labels = labels};
}

/* Limit: the 0.999 quantile of chi-square at 24 degrees of freedom. */
START_TEST(shift2_is_uniform_over_25)
{
    enum { IMAGES_N = 2500, SIDE = 9 };
    uint8_t *images = calloc(IMAGES_N, SIDE * SIDE), *labels = calloc(IMAGES_N, 1);
    for (size_t i = 0; i < IMAGES_N; i++)
        images[i * SIDE * SIDE + 4 * SIDE + 4] = 255; /* one dot in the middle */
    caps_dataset ds = made(IMAGES_N, 1, SIDE, SIDE, images, labels);
    size_t counts[25] = {0}, moved = 0;
    for (uint64_t epoch = 0; epoch < 4; epoch++)
        for (size_t i = 0; i < IMAGES_N; i++) {
            float out[SIDE * SIDE], again[SIDE * SIDE], later[SIDE * SIDE];
            caps_dataset_image(&ds, i, CAPS_AUGMENT_SHIFT2, 3, epoch, out);
            caps_dataset_image(&ds, i, CAPS_AUGMENT_SHIFT2, 3, epoch, again);
            ck_assert_mem_eq(out, again, sizeof out);
            caps_dataset_image(&ds, i, CAPS_AUGMENT_SHIFT2, 3, epoch + 1, later);
            moved += memcmp(out, later, sizeof out) != 0;
            int dots = 0;
            for (int p = 0; p < SIDE * SIDE; p++) {
                if (out[p] == 0)
                    continue;
                ck_assert_float_eq(out[p], 1.0f);
                int dx = p % SIDE - 4, dy = p / SIDE - 4;
                ck_assert(abs(dx) <= 2 && abs(dy) <= 2);
                counts[(dy + 2) * 5 + dx + 2]++;
                dots++;
            }
            ck_assert_int_eq(dots, 1);
        }
    double sum = 0, expected = 4.0 * IMAGES_N / 25;
    for (int i = 0; i < 25; i++)
        sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
    ck_assert_double_lt(sum, 51.18);
    /* Epochs are drawn apart: 24 of 25 move. */
    ck_assert_double_eq_tol((double)moved / (4.0 * IMAGES_N), 0.96, 0.01);
    free(labels);
    free(images);
}
END_TEST

START_TEST(shift2_moves_all_channels_and_fills_with_zero)
{
    enum { C = 3, SH = 6, SW = 5, COUNT = 200 };
    uint8_t *images = malloc(COUNT * C * SH * SW), labels[COUNT] = {0};
    for (size_t i = 0; i < COUNT * C * SH * SW; i++)
        images[i] = (uint8_t)(1 + i % 255); /* never zero: a zero is filling */
    caps_dataset ds = made(COUNT, C, SH, SW, images, labels);
    for (size_t i = 0; i < COUNT; i++) {
        float out[C * SH * SW];
        caps_dataset_image(&ds, i, CAPS_AUGMENT_SHIFT2, 1, 5, out);
        int matches = 0;
        for (int dy = -2; dy <= 2; dy++)
            for (int dx = -2; dx <= 2; dx++) {
                bool same = true;
                for (int c = 0; c < C; c++)
                    for (int y = 0; y < SH; y++)
                        for (int x = 0; x < SW; x++) {
                            bool inside = y - dy >= 0 && y - dy < SH && x - dx >= 0 && x - dx < SW;
                            size_t from = ((i * C + c) * SH + (y - dy)) * SW + (x - dx);
                            float want = inside ? (float)images[from] / 255.0f : 0.0f;
                            same = same && out[(c * SH + y) * SW + x] == want;
                        }
                matches += same;
            }
        ck_assert_int_eq(matches, 1);
    }
    free(images);
}
END_TEST

/* Images smaller than the shift: nothing outside is read or written. */
START_TEST(shift2_of_tiny_images)
{
    for (size_t h = 1; h < 4; h++)
        for (size_t w = 1; w < 4; w++) {
            uint8_t *image = malloc(h * w), label = 0;
            float *out = malloc(h * w * sizeof *out);
            memset(image, 255, h * w);
            caps_dataset ds = made(1, 1, h, w, image, &label);
            bool blank = false;
            for (uint64_t epoch = 0; epoch < 200; epoch++) {
                caps_dataset_image(&ds, 0, CAPS_AUGMENT_SHIFT2, 1, epoch, out);
                bool any = false;
                for (size_t i = 0; i < h * w; i++) {
                    ck_assert(out[i] == 0.0f || out[i] == 1.0f);
                    any = any || out[i] == 1.0f;
                }
                blank = blank || !any;
            }
            ck_assert(
                blank == (h <= 2 || w <= 2)); /* moved out altogether, where that is possible */
            free(out);
            free(image);
        }
}
END_TEST

/* ---- batcher -------------------------------------------------------------------------------- */

enum { BN = 23, BH = 5, BW = 4 };

static caps_dataset batch_set(void)
{
    static uint8_t images[BN * BH * BW], labels[BN];
    for (size_t i = 0; i < sizeof images; i++)
        images[i] = (uint8_t)caps_rng_below(256, 2, CAPS_RNG_TEST, 0, i);
    for (size_t i = 0; i < BN; i++)
        labels[i] = (uint8_t)(i * 7 % 10);
    return made(BN, 1, BH, BW, images, labels);
}

/* Compares the next `count` batches with what batcher.h says they are. */
static void expect_batches(const caps_dataset *ds, const caps_batcher_options *o, uint64_t epoch,
    uint64_t index, int count)
{
    caps_error err = {0};
    caps_batcher *b = NULL;
    uint32_t order[BN];
    float image[BH * BW];
    test_ok(caps_batcher_create(&b, ds, o, &err));
    while (count-- > 0) {
        const caps_batch *batch = caps_batcher_next(b);
        size_t first = (size_t)index * o->batch;
        size_t n = BN - first < o->batch ? BN - first : o->batch;
        ck_assert_uint_eq(batch->n, n);
        ck_assert_uint_eq(batch->epoch, epoch);
        ck_assert_uint_eq(batch->index, index);
        ck_assert_ptr_eq(batch->labels, (const void *)(batch->images + n * BH * BW));
        caps_rng_shuffle(order, BN, o->seed, (uint32_t)epoch);
        for (size_t i = 0; i < n; i++) {
            size_t which = o->shuffle ? order[first + i] : first + i;
            caps_dataset_image(ds, which, o->augment, o->seed, epoch, image);
            ck_assert_mem_eq(batch->images + i * BH * BW, image, sizeof image);
            ck_assert_int_eq(batch->labels[i], ds->labels[which]);
        }
        if (first + n == BN) {
            index = 0;
            epoch++;
        } else {
            index++;
        }
    }
    caps_batcher_free(b);
}

START_TEST(batches_are_what_they_should_be)
{
    caps_dataset ds = batch_set();
    static const size_t sizes[] = {1, 4, 7, 22, 23, 24, 1000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int shuffle = 0; shuffle < 2; shuffle++)
            for (int augment = 0; augment < 2; augment++) {
                caps_batcher_options o = {.batch = sizes[i],
                    .augment = augment ? CAPS_AUGMENT_SHIFT2 : CAPS_AUGMENT_NONE,
                    .shuffle = shuffle,
                    .seed = 99};
                expect_batches(&ds, &o, 0, 0, sizes[i] == 1 ? 60 : 20);
            }
}
END_TEST

START_TEST(batches_go_on_from_anywhere)
{
    caps_dataset ds = batch_set();
    caps_batcher_options o = {.batch = 5, .augment = CAPS_AUGMENT_SHIFT2, .shuffle = 1, .seed = 4};
    for (o.first_epoch = 0; o.first_epoch < 3; o.first_epoch++)
        for (o.first_batch = 0; o.first_batch < 5; o.first_batch++)
            expect_batches(&ds, &o, o.first_epoch, o.first_batch, 12);
    /* After the last of an epoch: the next one's first. */
    o.first_epoch = 2;
    o.first_batch = 5;
    expect_batches(&ds, &o, 3, 0, 7);
    o.first_epoch = 70000000000u; /* more than 32 bits count */
    o.first_batch = 0;
    expect_batches(&ds, &o, o.first_epoch, 0, 7);
}
END_TEST

/* What an image looks like in an epoch does not depend on the size of the batch. */
START_TEST(images_do_not_depend_on_the_batch)
{
    caps_error err = {0};
    caps_dataset ds = batch_set();
    float epochs[2][3 * BN * BH * BW];
    static const size_t sizes[2] = {3, 16};
    for (int k = 0; k < 2; k++) {
        caps_batcher *b = NULL;
        caps_batcher_options o = {
            .batch = sizes[k], .augment = CAPS_AUGMENT_SHIFT2, .shuffle = 1, .seed = 8};
        test_ok(caps_batcher_create(&b, &ds, &o, &err));
        for (size_t done = 0; done < 3 * BN;) {
            const caps_batch *batch = caps_batcher_next(b);
            memcpy(epochs[k] + done * BH * BW, batch->images, batch->n * BH * BW * sizeof(float));
            done += batch->n;
        }
        caps_batcher_free(b);
    }
    ck_assert_mem_eq(epochs[0], epochs[1], sizeof epochs[0]);
    ck_assert_mem_ne(epochs[0], epochs[0] + BN * BH * BW, BN * BH * BW * sizeof(float));
}
END_TEST

/* A batch stays as it is while the thread fills what follows, for CAPS_BATCHES_HELD calls. */
START_TEST(batches_last_as_long_as_they_are_held)
{
    enum { FLOATS = 2 * BH * BW };
    caps_error err = {0};
    caps_dataset ds = batch_set();
    caps_batcher *b = NULL;
    caps_batcher_options o = {.batch = 2, .augment = CAPS_AUGMENT_SHIFT2, .shuffle = 1, .seed = 1};
    float copies[CAPS_BATCHES_HELD][FLOATS];
    const float *held[CAPS_BATCHES_HELD] = {0};
    size_t bytes[CAPS_BATCHES_HELD] = {0};
    test_ok(caps_batcher_create(&b, &ds, &o, &err));
    for (int i = 0; i < 20; i++) {
        const caps_batch *batch = caps_batcher_next(b);
        const int slot = i % CAPS_BATCHES_HELD;
        held[slot] = batch->images;
        bytes[slot] = batch->n * BH * BW * sizeof(float);
        memcpy(copies[slot], batch->images, bytes[slot]);
        usleep(2000); /* time in which the thread could do wrong */
        for (int k = 0; k < CAPS_BATCHES_HELD; k++)
            if (held[k])
                ck_assert_mem_eq(copies[k], held[k], bytes[k]);
    }
    caps_batcher_free(b);
}
END_TEST

START_TEST(batcher_ends_at_any_time)
{
    caps_error err = {0};
    caps_dataset ds = batch_set();
    caps_batcher_options o = {.batch = 3, .augment = CAPS_AUGMENT_SHIFT2, .shuffle = 1, .seed = 1};
    for (int taken = 0; taken < 100; taken++) {
        caps_batcher *b = NULL;
        test_ok(caps_batcher_create(&b, &ds, &o, &err));
        for (int i = 0; i < taken % 12; i++)
            caps_batcher_next(b);
        caps_batcher_free(b);
    }
    caps_batcher_free(NULL);
}
END_TEST

START_TEST(batcher_refuses_bad_options)
{
    caps_error err = {0};
    caps_dataset ds = batch_set();
    caps_batcher *b = NULL;
    caps_batcher_options o = {.batch = 0};
    ck_assert_int_eq(caps_batcher_create(&b, &ds, &o, &err), CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(err.message, "batcher: batch is 0, need >= 1");
    o = (caps_batcher_options){.batch = 1, .augment = (caps_augment)9};
    ck_assert_int_eq(caps_batcher_create(&b, &ds, &o, &err), CAPS_ERR_ARGUMENT);
    ds.n = 0;
    o = (caps_batcher_options){.batch = 1};
    ck_assert_int_eq(caps_batcher_create(&b, &ds, &o, &err), CAPS_ERR_ARGUMENT);
    ck_assert_ptr_null(b);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("batcher");
    TCase *augment = tcase_create("augment");
    tcase_set_timeout(augment, 60);
    tcase_add_test(augment, shift2_is_uniform_over_25);
    tcase_add_test(augment, shift2_moves_all_channels_and_fills_with_zero);
    tcase_add_test(augment, shift2_of_tiny_images);
    suite_add_tcase(s, augment);
    TCase *batches = tcase_create("batcher");
    tcase_set_timeout(batches, 60);
    tcase_add_test(batches, batches_are_what_they_should_be);
    tcase_add_test(batches, batches_go_on_from_anywhere);
    tcase_add_test(batches, images_do_not_depend_on_the_batch);
    tcase_add_test(batches, batches_last_as_long_as_they_are_held);
    tcase_add_test(batches, batcher_ends_at_any_time);
    tcase_add_test(batches, batcher_refuses_bad_options);
    suite_add_tcase(s, batches);
    return s;
}
