/* test_pairs.c: pairs of images, places and crops, views, and validation splits. */
#include "support.h"

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
#include "state.h"

/* ---- sets ----------------------------------------------------------------------------------- */

enum { N = 40, H = 7, W = 6, CLASSES = 4 };

/* An IDX set of n images with labels i * 3 % classes and pixels 1..255, both splits. */
static char *put_set(size_t n, size_t channels, size_t classes, size_t h, size_t w)
{
    static const char *const splits[] = {"train", "t10k"};
    caps_error err = {0};
    char *dir = test_directory();
    const size_t bytes = n * channels * h * w, header = channels > 1 ? 20 : 16;
    unsigned char *b = calloc(1, 20 + bytes + n);
    for (int s = 0; s < 2; s++) {
        char *path = caps_format("%s/%s-images-idx%d-ubyte", dir, splits[s], channels > 1 ? 4 : 3);
        const size_t sizes[] = {n, channels, h, w};
        memset(b, 0, header);
        b[2] = 8;
        b[3] = channels > 1 ? 4 : 3;
        for (size_t d = 0, at = 4; d < 4; d++)
            if (d != 1 || channels > 1) {
                b[at + 2] = (unsigned char)(sizes[d] >> 8);
                b[at + 3] = (unsigned char)sizes[d];
                at += 4;
            }
        for (size_t i = 0; i < bytes; i++)
            b[header + i] = (unsigned char)(1 + caps_rng_below(255, 9, CAPS_RNG_TEST, s, i));
        test_ok(caps_file_write(path, b, header + bytes, &err));
        free(path);
        path = caps_format("%s/%s-labels-idx1-ubyte", dir, splits[s]);
        memcpy(b, (unsigned char[]){0, 0, 8, 1, 0, 0, 0, 0}, 8);
        b[6] = (unsigned char)(n >> 8);
        b[7] = (unsigned char)n;
        for (size_t i = 0; i < n; i++)
            b[8 + i] = (unsigned char)(i * 3 % classes);
        test_ok(caps_file_write(path, b, 8 + n, &err));
        free(path);
    }
    free(b);
    return dir;
}

static caps_dataset open_pairs(const char *dir, caps_split split, size_t limit)
{
    caps_error err = {0};
    caps_dataset ds;
    char *name = caps_format("multi:%s", dir);
    test_ok(test_dataset_load(&ds, name, split, limit, &err));
    ck_assert_str_eq(ds.path, name);
    ck_assert_uint_eq(ds.labels_per_image, 2);
    free(name);
    return ds;
}

static caps_dataset open_single(const char *dir, caps_split split)
{
    caps_error err = {0};
    caps_dataset ds;
    test_ok(test_dataset_load(&ds, dir, split, 0, &err));
    return ds;
}

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
    char *dir = put_set(N, 1, CLASSES, H, W);
    for (int split = 0; split < 2; split++) {
        caps_dataset ds = open_pairs(dir, (caps_split)split, 0);
        caps_dataset base = open_single(dir, (caps_split)split);
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

static uint64_t hash_of_pairs(const caps_dataset *ds, uint64_t seed, uint64_t epoch)
{
    uint64_t hash = CAPS_HASH_START;
    for (size_t i = 0; i < ds->n; i++) {
        const caps_pair p = caps_pair_draw(ds, i, seed, epoch);
        unsigned char bytes[6] = {(unsigned char)p.image[0], (unsigned char)p.image[1],
            (unsigned char)(p.dx[0] + 6), (unsigned char)(p.dy[0] + 6),
            (unsigned char)(p.dx[1] + 6), (unsigned char)(p.dy[1] + 6)};
        hash = caps_hash(hash, bytes, sizeof bytes);
    }
    return hash;
}

/* Whoever changes how pairs are drawn changes what every published number was measured on. The
 * numbers, and those of MNIST below, are also what a program in another language gives that was
 * written from the description in docs/data.md. */
START_TEST(pairs_are_the_same_everywhere)
{
    char *dir = put_set(N, 1, CLASSES, H, W);
    caps_dataset train = open_pairs(dir, CAPS_SPLIT_TRAIN, 0);
    caps_dataset test = open_pairs(dir, CAPS_SPLIT_TEST, 0);
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
    ck_assert_uint_eq(hash_of_pairs(&train, 1, 0), 0x148e10a583d13d74);
    ck_assert_uint_eq(hash_of_pairs(&train, 7, 1ull << 40 | 3), 0xea194a61ed64b661);
    ck_assert_uint_eq(hash_of_pairs(&test, 0, 0), 0x2dac98ceeae4a26d);
    caps_dataset_release(&test);
    caps_dataset_release(&train);
    free(dir);
}
END_TEST

/* Limits: the 0.999 quantiles of chi-square at 29, 12 and 168 degrees of freedom. */
START_TEST(pairs_are_uniform)
{
    char *dir = put_set(N, 1, CLASSES, H, W);
    caps_dataset ds = open_pairs(dir, CAPS_SPLIT_TRAIN, 0);
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
    char *dir = put_set(N, 1, CLASSES, H, W);
    caps_dataset all = open_pairs(dir, CAPS_SPLIT_TEST, 0);
    caps_dataset few = open_pairs(dir, CAPS_SPLIT_TEST, 9);
    caps_dataset limited = open_pairs(dir, CAPS_SPLIT_TRAIN, 9);
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
    ck_assert_uint_ne(hash_of_pairs(&limited, 1, 0), hash_of_pairs(&limited, 2, 0));
    ck_assert_uint_ne(hash_of_pairs(&limited, 1, 0), hash_of_pairs(&limited, 1, 1));
    ck_assert_uint_ne(hash_of_pairs(&limited, 1, 0), hash_of_pairs(&limited, 1, 1ull << 32));
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
    char *colour = put_set(4, 3, 2, H, W), *one = put_set(4, 1, 1, H, W);
    char *good = put_set(4, 1, 2, H, W), *name;
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
    char *dir = put_set(N, 1, CLASSES, H, W);
    caps_dataset ds = open_pairs(dir, CAPS_SPLIT_TRAIN, 0);
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
    char *dir = put_set(3, channels, 2, h, w);
    caps_dataset ds = open_single(dir, CAPS_SPLIT_TRAIN);
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
        ck_assert_str_eq(
            caps_augment_name(i), ((const char *[]){"none", "shift2", "place40", "crop24"})[i]);
    ck_assert_ptr_null(caps_augment_name(CAPS_AUGMENT_COUNT));
    ck_assert_ptr_null(caps_augment_name(-1));
}
END_TEST

START_TEST(views_are_centred)
{
    caps_error err = {0};
    char *dir = put_set(4, 3, 2, 9, 6);
    caps_dataset ds = open_single(dir, CAPS_SPLIT_TEST);
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
    char *dir = put_set(N, 1, CLASSES, H, W);
    caps_dataset ds = open_pairs(dir, CAPS_SPLIT_TRAIN, 0);
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
    char *dir = put_set(2, 1, 2, 23, 41), *other = put_set(2, 1, 2, 28, 28);
    caps_dataset odd = open_single(dir, CAPS_SPLIT_TRAIN);
    caps_dataset ds = open_single(other, CAPS_SPLIT_TRAIN);
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

/* ---- validation splits ---------------------------------------------------------------------- */

/* Which of the original images are in a part, in order. */
static size_t find_in(const caps_dataset *original, const caps_dataset *part, bool *in)
{
    size_t n = 0;
    size_t nhw[3];
    caps_dataset_stored(part, nhw);
    for (size_t i = 0, at = 0; at < nhw[0]; i++) {
        ck_assert_uint_lt(i, original->n); /* else the order was not kept */
        if (memcmp(original->images + i * H * W, part->images + at * H * W, H * W) != 0)
            continue;
        ck_assert_uint_eq(original->labels[i], part->labels[at]);
        ck_assert(!in[i]);
        in[i] = true;
        at++;
        n++;
    }
    return n;
}

START_TEST(validation_splits)
{
    caps_error err = {0};
    char *dir = put_set(N, 1, CLASSES, H, W);
    caps_dataset original = open_single(dir, CAPS_SPLIT_TRAIN);
    bool of_seed[2][N];
    for (int pairs = 0; pairs < 2; pairs++)
        for (size_t n = pairs ? 8 : 1; n < N - (pairs ? 8 : 0); n += 5)
            for (uint64_t seed = 0; seed < 2; seed++) {
                caps_dataset validation, train = pairs ? open_pairs(dir, CAPS_SPLIT_TRAIN, 0)
                                                       : open_single(dir, CAPS_SPLIT_TRAIN);
                bool in[N] = {false};
                test_ok(caps_dataset_split_off(&train, n, seed, &validation, &err));
                ck_assert(validation.n == n && train.n == N - n);
                ck_assert(validation.split == CAPS_SPLIT_VALIDATION);
                ck_assert_uint_eq(validation.classes, CLASSES);
                ck_assert_str_eq(validation.path, train.path);
                ck_assert_uint_eq(find_in(&original, &validation, in), n);
                memcpy(of_seed[seed], in, sizeof in);
                ck_assert_uint_eq(find_in(&original, &train, in), N - n); /* none is in both */
                if (pairs)
                    for (uint64_t epoch = 0; epoch < 2; epoch++) {
                        /* Fixed, and moved like the test split's; drawn from its own images. */
                        ck_assert_uint_eq(
                            hash_of_pairs(&validation, 3, epoch), hash_of_pairs(&validation, 0, 0));
                        for (size_t i = 0; i < n; i++) {
                            const caps_pair p = caps_pair_draw(&validation, i, 3, epoch);
                            ck_assert_uint_lt(p.image[1], n);
                            ck_assert_int_le(labs(p.dx[1]), 4);
                            ck_assert_uint_ne(
                                validation.labels[p.image[0]], validation.labels[p.image[1]]);
                        }
                        ck_assert_uint_lt(caps_pair_draw(&train, 0, 3, epoch).image[1], N - n);
                    }
                caps_dataset_release(&train); /* both own what they have */
                ck_assert_uint_lt(validation.labels[n - 1], CLASSES);
                ck_assert_int_eq(caps_dataset_check(&validation, validation.channels,
                                     validation.height, validation.width, 1, &err),
                    n == 1 && validation.labels[0] == 0 ? CAPS_OK : CAPS_ERR_FORMAT);
                if (err.status)
                    ck_assert_ptr_nonnull(strstr(err.message, "label of validation image"));
                caps_dataset_release(&validation);
                err = (caps_error){0};
                if (seed == 1 && n > 1)
                    ck_assert_mem_ne(of_seed[0], of_seed[1], sizeof of_seed[0]);
            }
    caps_dataset_release(&original);
    free(dir);
}
END_TEST

/* Each image is as likely as any other. Limit: the 0.999 quantile of chi-square at 39 degrees of
 * freedom; drawing without replacement varies by less. */
START_TEST(validation_splits_are_uniform)
{
    caps_error err = {0};
    char *dir = put_set(N, 1, CLASSES, H, W);
    caps_dataset original = open_single(dir, CAPS_SPLIT_TRAIN);
    size_t counts[N] = {0};
    enum { SEEDS = 400, TAKEN = 10 };
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        bool in[N] = {false};
        caps_dataset validation, train = open_single(dir, CAPS_SPLIT_TRAIN);
        test_ok(caps_dataset_split_off(&train, TAKEN, seed, &validation, &err));
        find_in(&original, &validation, in);
        for (int i = 0; i < N; i++)
            counts[i] += in[i];
        caps_dataset_release(&validation);
        caps_dataset_release(&train);
    }
    double sum = 0, expected = SEEDS * TAKEN / (double)N;
    for (int i = 0; i < N; i++)
        sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
    ck_assert_double_lt(sum, 72.06);
    caps_dataset_release(&original);
    free(dir);
}
END_TEST

START_TEST(validation_splits_that_cannot_be)
{
    caps_error err = {0};
    char *dir = put_set(N, 1, CLASSES, H, W), *two = put_set(4, 1, 2, H, W);
    caps_dataset validation, train = open_single(dir, CAPS_SPLIT_TRAIN);
    caps_dataset test = open_single(dir, CAPS_SPLIT_TEST);
    caps_dataset pairs = open_pairs(two, CAPS_SPLIT_TRAIN, 0);
    static const size_t counts[] = {0, N, N + 1, SIZE_MAX};
    const uint64_t before = caps_dataset_hash(&train), of_pairs = caps_dataset_hash(&pairs);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(
            caps_dataset_split_off(&train, counts[i], 1, &validation, &err), CAPS_ERR_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(err.message, "need 1 to 39 of the 40 training images"));
        ck_assert(!validation.images && !validation.path);
    }
    ck_assert_uint_eq(caps_dataset_hash(&train), before);
    ck_assert_int_eq(caps_dataset_split_off(&test, 3, 1, &validation, &err), CAPS_ERR_ARGUMENT);
    static const size_t too_few[] = {1, 3};
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(
            caps_dataset_split_off(&pairs, too_few[i], 1, &validation, &err), CAPS_ERR_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(err.message, "leaves one part with one class"));
        ck_assert(!validation.images && !validation.path);
    }
    ck_assert_uint_eq(caps_dataset_hash(&pairs), of_pairs);
    caps_dataset_release(&pairs);
    caps_dataset_release(&test);
    caps_dataset_release(&train);
    free(two);
    free(dir);
}
END_TEST

/* What a resumed run compares: the kind counts, and what is in the set. */
START_TEST(hashes_tell_sets_apart)
{
    caps_error err = {0};
    char *dir = put_set(N, 1, CLASSES, H, W);
    caps_dataset single = open_single(dir, CAPS_SPLIT_TRAIN), validation;
    caps_dataset pairs = open_pairs(dir, CAPS_SPLIT_TRAIN, 0);
    caps_dataset again = open_pairs(dir, CAPS_SPLIT_TRAIN, 0);
    const uint64_t hash = caps_dataset_hash(&pairs);
    ck_assert_uint_ne(caps_dataset_hash(&single), hash);
    ck_assert_uint_eq(caps_dataset_hash(&again), hash);
    again.labels[N - 1] ^= 1;
    ck_assert_uint_ne(caps_dataset_hash(&again), hash);
    again.labels[N - 1] ^= 1;
    again.images[N * H * W - 1] ^= 1;
    ck_assert_uint_ne(caps_dataset_hash(&again), hash);
    test_ok(caps_dataset_split_off(&pairs, 9, 1, &validation, &err));
    ck_assert_uint_ne(caps_dataset_hash(&pairs), hash);
    caps_dataset_release(&validation);
    caps_dataset_release(&again);
    caps_dataset_release(&pairs);
    caps_dataset_release(&single);
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
    caps_dataset ds = open_pairs(path, CAPS_SPLIT_TEST, 0);
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
    TCase *views = tcase_create("views");
    tcase_set_timeout(views, 120);
    tcase_add_test(views, places_and_crops_are_uniform);
    tcase_add_test(views, views_are_centred);
    tcase_add_test(views, views_of_pairs);
    tcase_add_test(views, augmentations_that_do_not_fit);
    suite_add_tcase(s, views);
    TCase *validation = tcase_create("validation");
    tcase_set_timeout(validation, 120);
    tcase_add_test(validation, validation_splits);
    tcase_add_test(validation, validation_splits_are_uniform);
    tcase_add_test(validation, validation_splits_that_cannot_be);
    tcase_add_test(validation, hashes_tell_sets_apart);
    suite_add_tcase(s, validation);
    return s;
}
