/* test_changes.c: standardised images, crops, contrast, flips, affine changes. */
#include "data_files.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "batcher.h"
#include "rng.h"

enum { N = 4, H = 21, W = 17 };

/* A set in memory of random images with a black margin of `margin` pixels. */
static caps_dataset make_set(size_t channels, size_t margin, bool standardised)
{
    caps_dataset ds = {.path = "memory",
        .n = N,
        .channels = channels,
        .height = H,
        .width = W,
        .classes = 2,
        .labels_per_image = 1,
        .standardised = standardised};
    ds.images = calloc(N * channels, H * W);
    ds.labels = calloc(N, 1);
    for (size_t plane = 0; plane < N * channels; plane++)
        for (size_t y = margin; y < H - margin; y++)
            for (size_t x = margin; x < W - margin; x++)
                ds.images[(plane * H + y) * W + x] =
                    (uint8_t)(1 +
                              caps_rng_below(255, 8, CAPS_RNG_TEST, 0, (plane * H + y) * W + x));
    return ds;
}

static void free_set(caps_dataset *ds)
{
    free(ds->images);
    free(ds->labels);
}

static double pixel_of(const caps_dataset *ds, size_t i, size_t c, long y, long x)
{
    if (y < 0 || x < 0 || y >= (long)ds->height || x >= (long)ds->width)
        return 0;
    return ds->images[((i * ds->channels + c) * ds->height + (size_t)y) * ds->width + (size_t)x];
}

/* ---- standardised images -------------------------------------------------------------------- */

/* Mean and standard deviation of all values of image i. */
static void moments(const caps_dataset *ds, size_t i, double *mean, double *sd)
{
    const size_t n = ds->channels * ds->height * ds->width;
    double sum = 0, squares = 0;
    for (size_t p = 0; p < n; p++)
        sum += ds->images[i * n + p];
    *mean = sum / (double)n;
    for (size_t p = 0; p < n; p++)
        squares += pow(ds->images[i * n + p] - *mean, 2);
    *sd = sqrt(squares / (double)n);
}

START_TEST(standardised_images)
{
    caps_error err = {0};
    caps_dataset ds = make_set(2, 0, true);
    size_t chw[3];
    float whole[2 * H * W], part[2 * 9 * 8];
    for (size_t i = 0; i < N; i++) {
        double mean, sd, sum = 0, squares = 0;
        moments(&ds, i, &mean, &sd);
        caps_dataset_draw(&ds, i, CAPS_AUGMENT_NONE, 0, 0, whole, NULL, NULL);
        for (size_t p = 0; p < 2 * H * W; p++) {
            ck_assert(fabs((ds.images[i * 2 * H * W + p] - mean) / sd - whole[p]) < 1e-6);
            sum += whole[p];
            squares += whole[p] * whole[p];
        }
        ck_assert(fabs(sum) < 1e-3 && fabs(squares / (2 * H * W) - 1) < 1e-5);
        /* The view is cut from that: 12 rows and 9 columns go, the odd one below and right. */
        caps_dataset_set_view(&ds, 9, 8);
        test_ok(caps_dataset_view_size(&ds, CAPS_AUGMENT_NONE, chw, &err));
        ck_assert(chw[0] == 2 && chw[1] == 9 && chw[2] == 8);
        caps_dataset_draw(&ds, i, CAPS_AUGMENT_NONE, 0, 0, part, NULL, NULL);
        for (size_t c = 0; c < 2; c++)
            for (size_t y = 0; y < 9; y++)
                ck_assert_mem_eq(
                    part + (c * 9 + y) * 8, whole + (c * H + y + 6) * W + 4, 8 * sizeof *part);
        ds.offset[0] = 6;
        ds.offset[1] = -5;
        caps_dataset_draw(&ds, i, CAPS_AUGMENT_NONE, 0, 0, part, NULL, NULL);
        for (size_t c = 0; c < 2; c++)
            for (size_t y = 0; y < 9; y++)
                ck_assert_mem_eq(
                    part + (c * 9 + y) * 8, whole + (c * H + y) * W + 9, 8 * sizeof *part);
        ds.offset[0] = ds.offset[1] = 0;
        caps_dataset_set_view(&ds, 0, 0);
    }
    memset(ds.images, 77, 2 * H * W); /* one value: no variance */
    caps_dataset_draw(&ds, 0, CAPS_AUGMENT_NONE, 0, 0, whole, NULL, NULL);
    for (size_t p = 0; p < 2 * H * W; p++)
        ck_assert(whole[p] == 0);
    free_set(&ds);
}
END_TEST

/* ---- crops ---------------------------------------------------------------------------------- */

/* Every part is met, equally often (0.999 quantile of chi-square with 129 degrees of freedom), as
 * it is where brightness and contrast are off. */
static void expect_parts(bool standardised)
{
    enum { VH = 9, VW = 8, DOWN = H - VH + 1, RIGHT = W - VW + 1, EPOCHS = 40 * DOWN * RIGHT };
    caps_dataset ds = make_set(2, 0, standardised);
    static float whole[2 * H * W];
    size_t counts[DOWN * RIGHT] = {0};
    float out[2 * VH * VW];
    caps_dataset_draw(&ds, 1, CAPS_AUGMENT_NONE, 0, 0, whole, NULL, NULL);
    caps_dataset_set_view(&ds, VH, VW);
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        size_t met = 0;
        caps_dataset_draw(&ds, 1, CAPS_AUGMENT_CROP, 4, epoch, out, NULL, NULL);
        for (size_t at = 0; at < DOWN * RIGHT; at++) {
            bool same = true;
            for (size_t row = 0; row < 2 * VH && same; row++) {
                const size_t c = row / VH, y = row % VH + at / RIGHT, x = at % RIGHT;
                for (size_t k = 0; k < VW && same; k++)
                    same = fabsf(out[row * VW + k] - whole[(c * H + y) * W + x + k]) < 1e-6f;
            }
            counts[at] += same;
            met += same;
        }
        ck_assert_uint_eq(met, 1);
    }
    double chi = 0;
    for (size_t at = 0; at < DOWN * RIGHT; at++)
        chi += pow((double)counts[at] - 40, 2) / 40;
    ck_assert(chi < 185);
    free_set(&ds);
}

START_TEST(crops_are_uniform)
{
    expect_parts(false);
    expect_parts(true);
}
END_TEST

/* a + b x of the part as it is, with the mean moved by at most `brightness` and the factor within
 * 1 - contrast..1 + contrast; both ends are met. */
START_TEST(brightness_and_contrast)
{
    caps_dataset ds = make_set(2, 0, true);
    ds.augment = (caps_augment_options){.brightness = 0.75, .contrast = 0.4};
    float plain[2 * H * W], out[2 * H * W], again[2 * H * W];
    double least[2] = {9, 9}, most[2] = {-9, -9};
    caps_dataset_draw(&ds, 2, CAPS_AUGMENT_NONE, 0, 0, plain, NULL, NULL);
    for (uint64_t epoch = 0; epoch < 400; epoch++) {
        caps_dataset_draw(&ds, 2, CAPS_AUGMENT_CROP, 6, epoch, out, NULL, NULL);
        caps_dataset_draw(&ds, 2, CAPS_AUGMENT_CROP, 6, epoch, again, NULL, NULL);
        ck_assert_mem_eq(out, again, sizeof out);
        double mean = 0;
        for (size_t p = 0; p < 2 * H * W; p++)
            mean += out[p] / (2.0 * H * W);
        const double factor = (out[5] - mean) / plain[5]; /* the mean of `plain` is 0 */
        for (size_t p = 0; p < 2 * H * W; p++)
            ck_assert(fabs(mean + factor * plain[p] - out[p]) < 1e-4);
        const double values[2] = {mean, factor};
        for (int k = 0; k < 2; k++) {
            least[k] = fmin(least[k], values[k]);
            most[k] = fmax(most[k], values[k]);
        }
    }
    ck_assert(least[0] > -0.7501 && least[0] < -0.7 && most[0] < 0.7501 && most[0] > 0.7);
    ck_assert(least[1] > 0.5999 && least[1] < 0.63 && most[1] < 1.4001 && most[1] > 1.37);
    /* Pixels of 0..1 stay so. */
    ds.standardised = false;
    ds.augment.brightness = 3;
    bool zero = false, one = false;
    for (uint64_t epoch = 0; epoch < 20; epoch++) {
        caps_dataset_draw(&ds, 2, CAPS_AUGMENT_CROP, 6, epoch, out, NULL, NULL);
        for (size_t p = 0; p < 2 * H * W; p++) {
            ck_assert(out[p] >= 0 && out[p] <= 1);
            zero = zero || out[p] == 0;
            one = one || out[p] == 1;
        }
    }
    ck_assert(zero && one);
    free_set(&ds);
}
END_TEST

START_TEST(flips)
{
    caps_dataset ds = make_set(3, 0, false);
    float plain[3 * H * W], out[3 * H * W];
    size_t flipped = 0;
    for (uint64_t epoch = 0; epoch < 1000; epoch++) {
        ds.augment.flip = false;
        caps_dataset_draw(&ds, 3, CAPS_AUGMENT_SHIFT2, 6, epoch, plain, NULL, NULL);
        ds.augment.flip = true;
        caps_dataset_draw(&ds, 3, CAPS_AUGMENT_SHIFT2, 6, epoch, out, NULL, NULL);
        const bool same = memcmp(plain, out, sizeof out) == 0;
        flipped += !same;
        for (size_t row = 0; row < 3 * H && !same; row++)
            for (size_t x = 0; x < W; x++)
                ck_assert(out[row * W + x] == plain[row * W + W - 1 - x]);
    }
    ck_assert(flipped > 440 && flipped < 560); /* 3.8 standard deviations */
    free_set(&ds);
}
END_TEST

/* ---- affine --------------------------------------------------------------------------------- */

START_TEST(affine_of_nothing_is_the_image)
{
    caps_dataset ds = make_set(2, 0, false);
    float plain[2 * H * W], out[2 * H * W];
    for (uint64_t epoch = 0; epoch < 50; epoch++) {
        caps_dataset_draw(&ds, 1, CAPS_AUGMENT_NONE, 6, epoch, plain, NULL, NULL);
        caps_dataset_draw(&ds, 1, CAPS_AUGMENT_AFFINE, 6, epoch, out, NULL, NULL);
        ck_assert_mem_eq(plain, out, sizeof out);
    }
    free_set(&ds);
}
END_TEST

/* Every place within the margin is met, each way by itself, and nothing is cut off. */
START_TEST(affine_shifts_within_the_margin)
{
    enum { MARGIN = 3, PLACES = 2 * MARGIN + 1 };
    caps_dataset ds = make_set(2, MARGIN, false);
    ds.augment.shift = true;
    size_t counts[PLACES * PLACES] = {0};
    float out[2 * H * W];
    for (uint64_t epoch = 0; epoch < 4000; epoch++) {
        size_t met = 0;
        caps_dataset_draw(&ds, 0, CAPS_AUGMENT_AFFINE, 6, epoch, out, NULL, NULL);
        for (long at = 0; at < PLACES * PLACES; at++) {
            const long dy = at / PLACES - MARGIN, dx = at % PLACES - MARGIN;
            bool same = true;
            for (size_t p = 0; p < 2 * H * W && same; p++) {
                const long y = (long)(p / W % H) - dy, x = (long)(p % W) - dx;
                same = out[p] == (float)pixel_of(&ds, 0, p / (H * W), y, x) / 255.0f;
            }
            counts[at] += same;
            met += same;
        }
        ck_assert_uint_eq(met, 1);
    }
    for (size_t k = 0; k < PLACES; k++) {
        size_t rows = 0, columns = 0;
        for (size_t i = 0; i < PLACES; i++) {
            rows += counts[k * PLACES + i];
            columns += counts[i * PLACES + k];
        }
        ck_assert(rows > 20 && columns > 20);
    }
    /* |normal / 3| < 1 / 4 with probability 0.547: no shift one way. */
    size_t still = 0;
    for (size_t x = 0; x < PLACES; x++)
        still += counts[MARGIN * PLACES + x];
    ck_assert(still > 2060 && still < 2310);
    free_set(&ds);
}
END_TEST

/* A square of that side is black, everything else as it was; it goes everywhere but to the border
 * of 4 pixels. */
START_TEST(affine_erases_a_square)
{
    enum { SIDE = 3 };
    caps_dataset ds = make_set(2, 0, false);
    ds.augment.erase = SIDE;
    float plain[2 * H * W], out[2 * H * W];
    bool met[H * W] = {0};
    caps_dataset_draw(&ds, 2, CAPS_AUGMENT_NONE, 0, 0, plain, NULL, NULL);
    for (uint64_t epoch = 0; epoch < 2000; epoch++) {
        size_t first = H * W, count = 0;
        caps_dataset_draw(&ds, 2, CAPS_AUGMENT_AFFINE, 6, epoch, out, NULL, NULL);
        for (size_t p = 0; p < 2 * H * W; p++) {
            ck_assert(out[p] == 0 || out[p] == plain[p]);
            count += out[p] == 0;
            first = out[p] == 0 && p < first ? p : first;
        }
        ck_assert_uint_eq(count, 2 * SIDE * SIDE);
        for (size_t k = 0; k < 2 * SIDE * SIDE; k++)
            ck_assert(out[(k / SIDE / SIDE * H + first / W + k / SIDE % SIDE) * W + first % W +
                          k % SIDE] == 0);
        met[first] = true;
    }
    for (size_t p = 0; p < H * W; p++)
        ck_assert_int_eq(
            met[p], p / W >= 4 && p / W <= H - 4 - SIDE && p % W >= 4 && p % W <= W - 4 - SIDE);
    ds.augment.erase = 1000; /* more than there is */
    caps_dataset_draw(&ds, 2, CAPS_AUGMENT_AFFINE, 6, 0, out, NULL, NULL);
    for (size_t p = 0; p < 2 * H * W; p++)
        ck_assert(out[p] == 0);
    free_set(&ds);
}
END_TEST

/* The image turned by `degrees` about the centre and squeezed to `width`, bilinear, in another way
 * than the library: sums over the four neighbours with libm's functions. */
static double turned_pixel(
    const caps_dataset *ds, size_t i, size_t c, size_t y, size_t x, double degrees, double width)
{
    const double a = degrees * acos(-1) / 180;
    const double v = (double)y - (H - 1) / 2.0, u = ((double)x - (W - 1) / 2.0) / width;
    const double sy = sin(a) * u + cos(a) * v + (H - 1) / 2.0;
    const double sx = cos(a) * u - sin(a) * v + (W - 1) / 2.0;
    double sum = 0;
    for (long ny = (long)floor(sy); ny <= (long)floor(sy) + 1; ny++)
        for (long nx = (long)floor(sx); nx <= (long)floor(sx) + 1; nx++)
            sum += (1 - fabs(sy - (double)ny)) * (1 - fabs(sx - (double)nx)) *
                   pixel_of(ds, i, c, ny, nx);
    return sum / 255;
}

static double normal(unsigned what, uint64_t seed, uint64_t epoch, size_t i)
{
    return caps_rng_normal(
        seed, (caps_rng_stream)(CAPS_RNG_AFFINE | what << 8), (uint32_t)epoch, i);
}

START_TEST(affine_turns_half_and_squeezes)
{
    caps_dataset ds = make_set(2, 1, false);
    float out[2 * H * W];
    size_t turned = 0;
    double angles = 0, least = 1;
    for (uint64_t epoch = 0; epoch < 1500; epoch++) {
        const size_t i = epoch % N;
        const bool does = caps_rng_uniform(9, CAPS_RNG_AFFINE, (uint32_t)epoch, i) < 0.5;
        const bool squeezes = epoch % 3 != 0;
        const double degrees = does ? fmax(-3, fmin(3, normal(1, 9, epoch, i))) * 12 : 0;
        const double width =
            squeezes ? 1 - 0.3 * fmin(0.9999, fabs(normal(2, 9, epoch, i)) / 3) : 1;
        ds.augment = (caps_augment_options){.rotate = 12, .squeeze = squeezes ? 0.3 : 0};
        caps_dataset_draw(&ds, i, CAPS_AUGMENT_AFFINE, 9, epoch, out, NULL, NULL);
        for (size_t p = 0; p < 2 * H * W; p++)
            ck_assert(fabs(out[p] - turned_pixel(&ds, i, p / (H * W), p / W % H, p % W, degrees,
                                        width)) < 1e-6);
        turned += does;
        angles += degrees * degrees;
        least = fmin(least, width);
    }
    ck_assert(turned > 676 && turned < 824); /* 3.8 standard deviations */
    ck_assert(sqrt(angles / (double)turned) > 10.8 && sqrt(angles / (double)turned) < 13.2);
    ck_assert(least < 0.73 && least >= 0.7);
    free_set(&ds);
}
END_TEST

START_TEST(changes_that_do_not_fit)
{
    caps_error err = {0};
    size_t chw[3];
    caps_dataset ds = make_set(2, 0, true);
    ck_assert_int_eq(
        caps_dataset_view_size(&ds, CAPS_AUGMENT_AFFINE, chw, &err), CAPS_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "no black margin"));
    caps_dataset_set_view(&ds, H + 1, W);
    ck_assert_int_eq(caps_dataset_view_size(&ds, CAPS_AUGMENT_CROP, chw, &err), CAPS_ERR_MISMATCH);
    ck_assert_ptr_nonnull(strstr(err.message, "need at least 22x17 for crop"));
    ds.pairs = (struct caps_pairs *)ds.labels; /* only whether there are some counts */
    ds.augment.flip = true;
    ck_assert_int_eq(caps_dataset_view_size(&ds, CAPS_AUGMENT_NONE, chw, &err), CAPS_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "augment is flip, need none"));
    free_set(&ds);
}
END_TEST

/* The same images for every size of batch. */
START_TEST(changes_do_not_depend_on_the_batch)
{
    caps_error err = {0};
    static const caps_augment all[] = {CAPS_AUGMENT_CROP, CAPS_AUGMENT_AFFINE};
    caps_dataset ds = make_set(2, 2, false);
    ds.augment = (caps_augment_options)CAPS_AUGMENT_DEFAULTS;
    ds.augment.flip = true;
    for (size_t k = 0; k < 2; k++)
        for (size_t size = 1; size <= N; size++) {
            const caps_batcher_options o = {.batch = size, .augment = all[k], .seed = 3};
            caps_batcher *b;
            float want[2 * H * W];
            test_ok(caps_batcher_create(&b, &ds, &o, &err));
            for (size_t done = 0; done < 3 * N;) {
                const caps_batch *batch = caps_batcher_next(b);
                for (size_t i = 0; i < batch->n; i++, done++) {
                    caps_dataset_draw(&ds, done % N, all[k], 3, done / N, want, NULL, NULL);
                    ck_assert_mem_eq(want, batch->images + i * 2 * H * W, sizeof want);
                }
            }
            caps_batcher_free(b);
        }
    free_set(&ds);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("changes of images");
    TCase *changes = tcase_create("changes");
    tcase_set_timeout(changes, 120);
    tcase_add_test(changes, standardised_images);
    tcase_add_test(changes, crops_are_uniform);
    tcase_add_test(changes, brightness_and_contrast);
    tcase_add_test(changes, flips);
    tcase_add_test(changes, affine_of_nothing_is_the_image);
    tcase_add_test(changes, affine_shifts_within_the_margin);
    tcase_add_test(changes, affine_erases_a_square);
    tcase_add_test(changes, affine_turns_half_and_squeezes);
    tcase_add_test(changes, changes_that_do_not_fit);
    tcase_add_test(changes, changes_do_not_depend_on_the_batch);
    suite_add_tcase(s, changes);
    return s;
}
