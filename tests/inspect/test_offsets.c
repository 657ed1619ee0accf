/* test_offsets.c: evaluation by the mean over parts of images, and over shifted copies. */
#include <math.h>
#include <stdlib.h>

#include <capscl/inspect.h>

#include "model_support.h"

/* Larger than SPEC takes: 5 rows and 6 columns are free. */
enum { IMAGES = 13, H = 16, W = 15 };

typedef struct data {
    caps_dataset set;
    uint8_t images[IMAGES * 2 * H * W], labels[IMAGES];
    char path[8];
} data;

static void make_data(data *d)
{
    uint32_t noise = 7;
    *d = (data){.path = "noise"};
    for (size_t i = 0; i < IMAGES * 2 * H * W; i++) {
        noise = noise * 1664525u + 1013904223u;
        d->images[i] = (uint8_t)(noise >> 24);
    }
    for (size_t i = 0; i < IMAGES; i++)
        d->labels[i] = (uint8_t)(i * 3 % CLASSES);
    d->set = (caps_dataset){.path = d->path,
        .split = CAPS_SPLIT_TEST,
        .n = IMAGES,
        .channels = 2,
        .height = H,
        .width = W,
        .classes = CLASSES,
        .labels_per_image = 1,
        .images = d->images,
        .labels = d->labels,
        .standardised = true};
}

/* Where the view may begin: a crop's row and column. */
static void expect_crops(size_t n, const size_t (*begin)[2])
{
    caps_error err = {0};
    caps_offset at[CAPS_CROPS_MOST];
    data d;
    make_data(&d);
    caps_dataset_set_view(&d.set, 11, 9);
    test_ok(caps_offsets_crops(at, n, &d.set, &err));
    for (size_t i = 0; i < n; i++) {
        float plain[2 * H * W], part[PIXELS];
        caps_dataset_set_view(&d.set, 0, 0);
        d.set.offset[0] = d.set.offset[1] = 0;
        caps_dataset_image(&d.set, 3, CAPS_AUGMENT_NONE, 0, 0, plain);
        caps_dataset_set_view(&d.set, 11, 9);
        d.set.offset[0] = at[i].down;
        d.set.offset[1] = at[i].right;
        caps_dataset_image(&d.set, 3, CAPS_AUGMENT_NONE, 0, 0, part);
        for (size_t p = 0; p < PIXELS; p++) {
            const size_t c = p / 99, y = p / 9 % 11 + begin[i][0], x = p % 9 + begin[i][1];
            ck_assert(part[p] == plain[(c * H + y) * W + x]);
        }
    }
}

START_TEST(crops_are_where_they_should_be)
{
    static const size_t begin[][2] = {{2, 3}, {1, 1}, {1, 4}, {3, 1}, {3, 4}, {0, 3}, {2, 0},
        {2, 6}, {5, 3}, {0, 0}, {0, 6}, {5, 0}, {5, 6}};
    expect_crops(1, begin);
    expect_crops(5, begin);
    expect_crops(9, begin);
    expect_crops(13, begin);
}
END_TEST

/* The first n shifts are those nearest to no shift, each once. */
START_TEST(shifts_are_the_nearest)
{
    static const size_t numbers[] = {1, 5, 9, 13, 25};
    caps_error err = {0};
    for (size_t k = 0; k < 5; k++) {
        caps_offset at[CAPS_SHIFTS_MOST];
        ptrdiff_t farthest = 0, down = 0, right = 0;
        size_t nearer = 0;
        test_ok(caps_offsets_shifts(at, numbers[k], &err));
        for (size_t i = 0; i < numbers[k]; i++) {
            const ptrdiff_t far = at[i].down * at[i].down + at[i].right * at[i].right;
            ck_assert(labs(at[i].down) <= 2 && labs(at[i].right) <= 2 && far >= farthest);
            farthest = far;
            down += at[i].down;
            right += at[i].right;
            for (size_t j = 0; j < i; j++)
                ck_assert(at[i].down != at[j].down || at[i].right != at[j].right);
        }
        for (int y = -2; y <= 2; y++)
            for (int x = -2; x <= 2; x++)
                nearer += y * y + x * x <= farthest;
        ck_assert_uint_eq(nearer, numbers[k]);
        ck_assert(down == 0 && right == 0);
    }
}
END_TEST

static void keep_image(void *user, const caps_evaluated *image)
{
    caps_image_results_set(user, image);
}

typedef struct steps {
    size_t calls, last, total, stop_at;
} steps;

static bool on_step(void *user, size_t done, size_t total)
{
    steps *s = user;
    ck_assert(done >= s->last);
    s->last = done;
    s->total = total;
    return ++s->calls == s->stop_at;
}

/* Lengths are the means of the predictions of each part, labels the longest of these, losses those
 * of the first part; several devices and other batches give the same. */
static void check_means(const caps_offset *at, size_t n)
{
    caps_error err = {0};
    data d;
    make_data(&d);
    caps_dataset_set_view(&d.set, 11, 9);
    float *images = malloc(IMAGES * PIXELS * sizeof *images);
    double *mean = calloc(IMAGES * CLASSES, sizeof *mean);
    const caps_model_options small = {CAPS_OPTIONS(caps_model_options), .max_batch = 5};
    const caps_runtime_options own = {CAPS_OPTIONS(caps_runtime_options)};
    caps_runtime *other = NULL;
    test_ok(caps_runtime_create(&other, caps_runtime_device(test_runtime())->id, &own, &err));
    caps_model *m = make(test_runtime(), &small), *second = make(other, &small);
    for (size_t k = 0; k < n; k++) {
        caps_predictions p;
        caps_dataset moved = d.set;
        moved.offset[0] = at[k].down;
        moved.offset[1] = at[k].right;
        for (size_t i = 0; i < IMAGES; i++)
            caps_dataset_image(&moved, i, CAPS_AUGMENT_NONE, 0, 0, images + i * PIXELS);
        test_ok(caps_predict(m, images, IMAGES, 0, NULL, &p, &err));
        for (size_t i = 0; i < IMAGES * CLASSES; i++)
            mean[i] += (double)p.lengths[i] / (double)n;
        caps_predictions_release(&p);
    }
    for (size_t devices = 1; devices <= 2; devices++) {
        caps_image_results r;
        caps_evaluation e, first;
        steps s = {0};
        size_t errors = 0;
        test_ok(caps_image_results_init(&r, IMAGES, caps_model_get_spec(m), &err));
        caps_evaluate_options o = {CAPS_OPTIONS(caps_evaluate_options), .each = keep_image,
            .each_user = &r, .progress = {on_step, &s}, .others = &second,
            .others_count = devices - 1, .offsets = at, .offsets_count = n};
        test_ok(caps_evaluate(m, &d.set, &o, &e, &err));
        ck_assert_uint_eq(s.total, n * IMAGES);
        ck_assert_uint_ge(s.last, (n - 1) * IMAGES);
        for (size_t i = 0; i < IMAGES; i++) {
            size_t best = 0;
            for (size_t j = 0; j < CLASSES; j++) {
                ck_assert_msg(fabs(r.lengths[i * CLASSES + j] - mean[i * CLASSES + j]) < 1e-6,
                    "%zu places, %zu devices: image %zu, class %zu: %g, need %g", n, devices, i, j,
                    (double)r.lengths[i * CLASSES + j], mean[i * CLASSES + j]);
                best = mean[i * CLASSES + j] > mean[i * CLASSES + best] ? j : best;
            }
            ck_assert_int_eq(r.labels[i], (int)best);
            errors += best != d.labels[i];
        }
        ck_assert_uint_eq(e.n, IMAGES);
        ck_assert_uint_eq(e.errors, errors);
        caps_dataset moved = d.set;
        moved.offset[0] = at[0].down;
        moved.offset[1] = at[0].right;
        test_ok(caps_evaluate(m, &moved, NULL, &first, &err));
        ck_assert(e.class_loss == first.class_loss);
        caps_evaluation_release(&e);
        caps_evaluation_release(&first);
        s = (steps){.stop_at = 2};
        ck_assert_int_eq(caps_evaluate(m, &d.set, &o, &e, &err), CAPS_ERR_INTERRUPTED);
        caps_image_results_release(&r);
    }
    caps_model_free(m);
    caps_model_free(second);
    caps_runtime_free(other);
    free(images);
    free(mean);
}

START_TEST(means_over_parts_and_shifts)
{
    caps_error err = {0};
    caps_offset at[CAPS_SHIFTS_MOST];
    data d;
    make_data(&d);
    caps_dataset_set_view(&d.set, 11, 9);
    test_ok(caps_offsets_crops(at, 13, &d.set, &err));
    check_means(at, 13);
    test_ok(caps_offsets_shifts(at, 5, &err));
    check_means(at, 5);
    check_means(at, 1);
}
END_TEST

START_TEST(bad_numbers)
{
    caps_error err = {0};
    caps_offset at[CAPS_SHIFTS_MOST];
    data d;
    make_data(&d);
    ck_assert_int_eq(caps_offsets_crops(at, 5, &d.set, &err), CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(
        err.message, "noise: images are 16x15, need more than the network's 16x15 for crops");
    caps_dataset_set_view(&d.set, 20, 9);
    ck_assert_int_eq(caps_offsets_crops(at, 5, &d.set, &err), CAPS_ERR_ARGUMENT);
    caps_dataset_set_view(&d.set, 11, 9);
    static const size_t bad[] = {0, 2, 12, 14, 25, 100};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_int_eq(caps_offsets_crops(at, bad[i], &d.set, &err), CAPS_ERR_ARGUMENT);
        if (bad[i] != 25)
            ck_assert_int_eq(caps_offsets_shifts(at, bad[i], &err), CAPS_ERR_ARGUMENT);
    }
    /* Changed images are within 0 to 1, which these are not. */
    const caps_model_options small = {CAPS_OPTIONS(caps_model_options), .max_batch = 5};
    caps_model *m = make(test_runtime(), &small);
    const double level = 1;
    caps_robustness_cell cell;
    ck_assert_int_eq(
        caps_robustness(&m, 1, &d.set, &level, 1, NULL, &cell, &err), CAPS_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(err.message, "its images are standardised"));
    caps_model_free(m);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("evaluation from several places");
    TCase *offsets = tcase_create("offsets");
    tcase_set_timeout(offsets, 120);
    tcase_add_test(offsets, crops_are_where_they_should_be);
    tcase_add_test(offsets, shifts_are_the_nearest);
    tcase_add_test(offsets, means_over_parts_and_shifts);
    tcase_add_test(offsets, bad_numbers);
    suite_add_tcase(s, offsets);
    return s;
}
