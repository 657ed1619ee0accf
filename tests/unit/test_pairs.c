/* test_pairs.c: pairs of images, and batches of them. */
#include "data_files.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batcher.h"
#include "file.h"
#include "image.h"
#include "pairs.h"
#include "rng.h"

enum { N = 40, H = 7, W = 6, CLASSES = 4 };

/* ---- pairs ---------------------------------------------------------------------------------- */

enum { PH = H + 8, PW = W + 8, PIXELS = PH * PW };

/* Whether `out` [PH, PW] is image `which` of `base` moved by (dx, dy) from the centre. */
static bool is_moved(const caps_dataset *base, size_t which, int dx, int dy, const float *out)
{
    for (int y = 0; y < PH; y++)
        for (int x = 0; x < PW; x++) {
            const int from_y = y - 4 - dy, from_x = x - 4 - dx;
            const bool inside = from_y >= 0 && from_y < H && from_x >= 0 && from_x < W;
            const unsigned pixel =
                inside ? base->images[(which * H + (size_t)from_y) * W + (size_t)from_x] : 0;
            if (out[y * PW + x] != (float)pixel / 255.0f)
                return false;
        }
    return true;
}

/* Finds which image it is and how it was moved; fails where it is none. */
static size_t recognise(const caps_dataset *base, const float *out, int most, int *dx, int *dy)
{
    for (size_t which = 0; which < base->n; which++)
        for (*dy = -most; *dy <= most; ++*dy)
            for (*dx = -most; *dx <= most; ++*dx)
                if (is_moved(base, which, *dx, *dy, out))
                    return which;
    ck_abort_msg("no image of the set, moved by up to %d", most);
    return 0;
}

/* Everything that is said of pairs, for each of both splits. */
START_TEST(pairs_are_what_they_should_be)
{
    char *dir = test_put_set(N, 1, CLASSES, H, W);
    for (int split = 0; split < 2; split++) {
        caps_dataset ds = test_open_pairs(dir, (caps_split)split, 0);
        caps_dataset base = test_open_single(dir, (caps_split)split);
        const int most = split == CAPS_SPLIT_TRAIN ? 6 : 4;
        bool farthest = false;
        ck_assert(ds.n == N && ds.channels == 1 && ds.height == PH && ds.width == PW);
        ck_assert_uint_eq(ds.classes, CLASSES);
        for (uint64_t epoch = 0; epoch < 3; epoch++)
            for (size_t i = 0; i < N; i++) {
                float image[PIXELS], targets[2][PIXELS], alone[PIXELS];
                int32_t labels[2];
                int dx, dy;
                caps_dataset_draw(&ds, i, CAPS_AUGMENT_NONE, 5, epoch, image, labels, targets[0]);
                ck_assert_uint_eq(recognise(&base, targets[0], most, &dx, &dy), i);
                farthest = farthest || abs(dx) == most || abs(dy) == most;
                ck_assert_int_eq(labels[0], base.labels[i]);
                size_t second = recognise(&base, targets[1], most, &dx, &dy);
                ck_assert_int_eq(labels[1], base.labels[second]);
                ck_assert_int_ne(labels[0], labels[1]);
                for (size_t p = 0; p < PIXELS; p++) {
                    const double sum = 255 * (double)targets[0][p] + 255 * (double)targets[1][p];
                    ck_assert_double_eq_tol(255 * (double)image[p], sum < 255 ? sum : 255, 1e-4);
                    ck_assert_float_le(image[p], 1.0f);
                }
                caps_dataset_image(&ds, i, CAPS_AUGMENT_NONE, 5, epoch, alone);
                ck_assert_mem_eq(alone, image, sizeof image);
            }
        ck_assert(farthest);
        caps_dataset_release(&base);
        caps_dataset_release(&ds);
    }
    free(dir);
}
END_TEST

/* Whoever changes how pairs are drawn changes what every published number was measured on. The
 * numbers, and those of MNIST below, are also what a program in another language gives that was
 * written from the description in docs/data.md. */
START_TEST(pairs_are_the_same_everywhere)
{
    char *dir = test_put_set(N, 1, CLASSES, H, W);
    caps_dataset train = test_open_pairs(dir, CAPS_SPLIT_TRAIN, 0);
    caps_dataset test = test_open_pairs(dir, CAPS_SPLIT_TEST, 0);
    static const caps_pair expected[2] = {
        {{3, 37}, {0, 2}, {-6, -4}}, {{3, 10}, {3, -3}, {-2, -4}}};
    for (int split = 0; split < 2; split++) {
        const caps_pair p = caps_pair_draw(split ? &test : &train, 3, 1, 0);
        for (int i = 0; i < 2; i++) {
            ck_assert_uint_eq(p.image[i], expected[split].image[i]);
            ck_assert_int_eq(p.dx[i], expected[split].dx[i]);
            ck_assert_int_eq(p.dy[i], expected[split].dy[i]);
        }
    }
    ck_assert_uint_eq(test_hash_of_pairs(&train, 1, 0), 0x148e10a583d13d74);
    ck_assert_uint_eq(test_hash_of_pairs(&train, 7, 1ull << 40 | 3), 0xea194a61ed64b661);
    ck_assert_uint_eq(test_hash_of_pairs(&test, 0, 0), 0x2dac98ceeae4a26d);
    caps_dataset_release(&test);
    caps_dataset_release(&train);
    free(dir);
}
END_TEST

/* Limits: the 0.999 quantiles of chi-square at 29, 12 and 168 degrees of freedom. */
START_TEST(pairs_are_uniform)
{
    char *dir = test_put_set(N, 1, CLASSES, H, W);
    caps_dataset ds = test_open_pairs(dir, CAPS_SPLIT_TRAIN, 0);
    enum { EPOCHS = 20000 };
    size_t seconds[N] = {0}, moves[2][13][13] = {{{0}}}, between[13] = {0};
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        const caps_pair p = caps_pair_draw(&ds, 6, 2, epoch);
        ck_assert_uint_eq(p.image[0], 6);
        seconds[p.image[1]]++;
        for (int i = 0; i < 2; i++)
            moves[i][p.dy[i] + 6][p.dx[i] + 6]++;
        between[(p.dx[0] - p.dx[1] + 13) % 13]++; /* the two are drawn apart */
    }
    double sum = 0, expected = EPOCHS / 30.0;
    for (size_t i = 0; i < N; i++) {
        if (ds.labels[i] == ds.labels[6])
            ck_assert_uint_eq(seconds[i], 0);
        else
            sum += ((double)seconds[i] - expected) * ((double)seconds[i] - expected) / expected;
    }
    ck_assert_double_lt(sum, 58.30);
    sum = 0;
    expected = EPOCHS / 13.0;
    for (int d = 0; d < 13; d++)
        sum += ((double)between[d] - expected) * ((double)between[d] - expected) / expected;
    ck_assert_double_lt(sum, 32.91);
    expected = EPOCHS / 169.0;
    for (int i = 0; i < 2; i++) {
        sum = 0;
        for (int m = 0; m < 169; m++) {
            const double n = (double)moves[i][m / 13][m % 13];
            sum += (n - expected) * (n - expected) / expected;
        }
        ck_assert_double_lt(sum, 229.6);
    }
    caps_dataset_release(&ds);
    free(dir);
}
END_TEST

/* The test split: always the same, however much of it is taken, whatever the seed. */
START_TEST(test_pairs_are_fixed)
{
    char *dir = test_put_set(N, 1, CLASSES, H, W);
    caps_dataset all = test_open_pairs(dir, CAPS_SPLIT_TEST, 0);
    caps_dataset few = test_open_pairs(dir, CAPS_SPLIT_TEST, 9);
    caps_dataset limited = test_open_pairs(dir, CAPS_SPLIT_TRAIN, 9);
    ck_assert(all.n == N && few.n == 9 && limited.n == 9);
    ck_assert_uint_eq(limited.pairs->base_n, 9); /* training: only of the images that are taken */
    for (size_t i = 0; i < few.n; i++) {
        float a[PIXELS], b[PIXELS];
        int32_t la[2], lb[2];
        caps_dataset_draw(&all, i, CAPS_AUGMENT_NONE, 1, 2, a, la, NULL);
        caps_dataset_draw(&few, i, CAPS_AUGMENT_NONE, 33, 44, b, lb, NULL);
        ck_assert_mem_eq(a, b, sizeof a);
        ck_assert_mem_eq(la, lb, sizeof la);
    }
    ck_assert_uint_ne(test_hash_of_pairs(&limited, 1, 0), test_hash_of_pairs(&limited, 2, 0));
    ck_assert_uint_ne(test_hash_of_pairs(&limited, 1, 0), test_hash_of_pairs(&limited, 1, 1));
    ck_assert_uint_ne(
        test_hash_of_pairs(&limited, 1, 0), test_hash_of_pairs(&limited, 1, 1ull << 32));
    caps_dataset_release(&limited);
    caps_dataset_release(&few);
    caps_dataset_release(&all);
    free(dir);
}
END_TEST

static void expect_refused(const char *name, caps_status status, const char *text)
{
    caps_error err = {0};
    caps_dataset ds;
    char *path = NULL;
    ck_assert_int_eq(test_dataset_load(&ds, name, CAPS_SPLIT_TRAIN, 0, &err), status);
    ck_assert_msg(strstr(err.message, text) != NULL, "'%s' lacks '%s'", err.message, text);
    ck_assert(!ds.path && !ds.images && !ds.labels && !ds.pairs);
    if (status == CAPS_ERR_NOT_FOUND) {
        ck_assert_int_eq(caps_dataset_find(&path, name, &err), status);
        ck_assert_ptr_null(path);
    }
}

START_TEST(pairs_that_cannot_be)
{
    caps_error err = {0};
    caps_dataset ds;
    char *colour = test_put_set(4, 3, 2, H, W), *one = test_put_set(4, 1, 1, H, W);
    char *good = test_put_set(4, 1, 2, H, W), *name;
    expect_refused("multi:", CAPS_ERR_NOT_FOUND, "multi: is followed by nothing");
    expect_refused("multi:no-such-set", CAPS_ERR_NOT_FOUND, "no-such-set: no data set of this");
    expect_refused("multi:/nonexistent/x", CAPS_ERR_NOT_FOUND, "/nonexistent/x: no such directory");
    expect_refused("multi:multi:mnist", CAPS_ERR_FORMAT, "multi:multi:mnist: pairs of pairs");
    name = caps_format("multi:%s", colour);
    expect_refused(name, CAPS_ERR_FORMAT, "its images have 3 channels, need 1 to make pairs");
    free(name);
    name = caps_format("multi:%s", one);
    expect_refused(name, CAPS_ERR_FORMAT, "all 4 images are of class 0, need at least two classes");
    free(name);
    name = caps_format("multi:%s", good);
    ck_assert_int_eq(
        caps_dataset_open(&ds, name,
            &(caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .channels = 3}, &err),
        CAPS_ERR_MISMATCH);
    ck_assert_int_eq(
        caps_dataset_open(&ds, name,
            &(caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .height = 8, .width = 20},
            &err),
        CAPS_ERR_MISMATCH);
    ck_assert_ptr_nonnull(strstr(err.message, "need more than 8 each way"));
    /* The first image alone has no other class. */
    expect_refused("multi:", CAPS_ERR_NOT_FOUND, "multi:");
    ck_assert_int_eq(test_dataset_load(&ds, name, CAPS_SPLIT_TRAIN, 1, &err), CAPS_ERR_FORMAT);

    test_ok(test_dataset_load(&ds, name, CAPS_SPLIT_TRAIN, 0, &err));
    test_ok(caps_dataset_check(&ds, 1, PH, PW, 2, &err));
    ck_assert_int_eq(caps_dataset_check(&ds, 1, H, W, 2, &err), CAPS_ERR_MISMATCH);
    ck_assert_int_eq(caps_dataset_check(&ds, 1, PH, PW, 1, &err), CAPS_ERR_FORMAT);
    test_ok(caps_dataset_check_labels(&ds, 2, &err));
    ck_assert_int_eq(caps_dataset_check_labels(&ds, 1, &err), CAPS_ERR_MISMATCH);
    ck_assert_ptr_nonnull(strstr(err.message, ": an image has 2 labels, the model gives 1"));
    char *path = NULL;
    test_ok(caps_dataset_find(&path, name, &err));
    ck_assert_str_eq(path, name);
    free(path);
    caps_dataset_release(&ds);
    free(name);
    free(good);
    free(one);
    free(colour);
}
END_TEST

/* Pairs of pictures: converted to what makes pairs of the size that is asked for. */
START_TEST(pairs_of_other_kinds)
{
    caps_error err = {0};
    caps_dataset ds;
    char *dir = test_directory();
    static const char *const files[] = {"b/1.png", "a/1.png"};
    for (int i = 0; i < 2; i++) {
        char *path = caps_path_join(dir, files[i]), *parent = strdup(path);
        caps_image image;
        *strrchr(parent, '/') = '\0';
        test_ok(caps_directory_make(parent, &err));
        test_ok(caps_image_init(&image, 10, 10, 3, &err));
        memset(image.pixels, 100, 300);
        test_ok(caps_image_write_png(&image, path, &err));
        caps_image_release(&image);
        free(parent);
        free(path);
    }
    char *name = caps_format("multi:%s", dir);
    const caps_dataset_options o = {
        CAPS_OPTIONS(caps_dataset_options), .channels = 1, .height = 20, .width = 13};
    test_ok(caps_dataset_open(&ds, name, &o, &err));
    ck_assert(ds.channels == 1 && ds.height == 20 && ds.width == 13 && ds.n == 2);
    ck_assert_str_eq(ds.class_names[1], "b");
    caps_dataset_release(&ds);
    test_ok(test_dataset_load(&ds, name, CAPS_SPLIT_TRAIN, 0, &err));
    ck_assert(ds.channels == 1 && ds.height == 18 && ds.width == 18);
    caps_dataset_release(&ds);
    free(name);
    free(dir);
}
END_TEST

/* ---- batches of pairs ----------------------------------------------------------------------- */

START_TEST(batches_of_pairs)
{
    caps_error err = {0};
    char *dir = test_put_set(N, 1, CLASSES, H, W);
    caps_dataset ds = test_open_pairs(dir, CAPS_SPLIT_TRAIN, 0);
    static const size_t sizes[] = {1, 7, N, 1000};
    for (size_t k = 0; k < 4; k++) {
        caps_batcher *b = NULL;
        const caps_batcher_options o = {.batch = sizes[k], .shuffle = 1, .seed = 6};
        test_ok(caps_batcher_create(&b, &ds, &o, &err));
        for (size_t done = 0; done < 2 * N;) {
            const caps_batch *batch = caps_batcher_next(b);
            uint32_t order[N];
            caps_rng_shuffle(order, N, 6, (uint32_t)batch->epoch);
            ck_assert_uint_eq(batch->epoch, done / N);
            ck_assert_uint_eq(batch->labels_per_image, 2);
            for (size_t i = 0; i < batch->n; i++, done++) {
                float image[PIXELS], targets[2 * PIXELS];
                int32_t labels[2];
                caps_dataset_draw(&ds, order[done % N], CAPS_AUGMENT_NONE, 6, batch->epoch, image,
                    labels, targets);
                ck_assert_mem_eq(batch->images + i * PIXELS, image, sizeof image);
                ck_assert_mem_eq(batch->targets + i * 2 * PIXELS, targets, sizeof targets);
                ck_assert_mem_eq(batch->labels + i * 2, labels, sizeof labels);
            }
        }
        caps_batcher_free(b);
    }
    caps_batcher *b = NULL;
    const caps_batcher_options o = {.batch = 4, .augment = CAPS_AUGMENT_SHIFT2};
    ck_assert_int_eq(caps_batcher_create(&b, &ds, &o, &err), CAPS_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, ": augment is shift2, need none"));
    caps_dataset_release(&ds);
    free(dir);
}
END_TEST

/* The pairs of MNIST's test split that everyone measures on. */
START_TEST(pairs_of_mnist)
{
    static const char path[] = TEST_SOURCE_DIR "/../shared/data/mnist";
    if (!caps_path_is_directory(path)) {
        printf("SKIPPED: pairs of MNIST: no folder ../shared/data/mnist\n");
        return;
    }
    caps_dataset ds = test_open_pairs(path, CAPS_SPLIT_TEST, 0);
    ck_assert(ds.n == 10000 && ds.height == 36 && ds.width == 36);
    uint64_t hash = CAPS_HASH_START;
    for (size_t i = 0; i < ds.n; i++) {
        float image[36 * 36];
        int32_t labels[2];
        unsigned char bytes[36 * 36 + 2];
        caps_dataset_draw(&ds, i, CAPS_AUGMENT_NONE, 0, 0, image, labels, NULL);
        for (size_t p = 0; p < 36 * 36; p++)
            bytes[p] = (unsigned char)lrintf(image[p] * 255.0f);
        bytes[36 * 36] = (unsigned char)labels[0];
        bytes[36 * 36 + 1] = (unsigned char)labels[1];
        hash = caps_hash(hash, bytes, sizeof bytes);
    }
    ck_assert_uint_eq(hash, 0xa41c4f6349f6b4ec);
    caps_dataset_release(&ds);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("pairs");
    TCase *pairs = tcase_create("pairs");
    tcase_set_timeout(pairs, 120);
    tcase_add_test(pairs, pairs_are_what_they_should_be);
    tcase_add_test(pairs, pairs_are_the_same_everywhere);
    tcase_add_test(pairs, pairs_are_uniform);
    tcase_add_test(pairs, test_pairs_are_fixed);
    tcase_add_test(pairs, pairs_that_cannot_be);
    tcase_add_test(pairs, pairs_of_other_kinds);
    tcase_add_test(pairs, batches_of_pairs);
    tcase_add_test(pairs, pairs_of_mnist);
    suite_add_tcase(s, pairs);
    return s;
}
