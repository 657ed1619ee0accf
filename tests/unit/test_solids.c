/* test_solids.c: rendered solids, and the angles that they are made with. */
#include "data_files.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "angle.h"
#include "pairs.h"
#include "solids.h"
#include "viewpoints.h"

START_TEST(angles)
{
    for (int i = -3000; i <= 3000; i++) {
        const double degrees = i * 0.37, radians = degrees * acos(-1) / 180;
        ck_assert(fabs(caps_sin_degrees(degrees) - sin(radians)) < 1e-14);
        ck_assert(fabs(caps_cos_degrees(degrees) - cos(radians)) < 1e-14);
    }
    ck_assert(caps_sin_degrees(90) == 1 && caps_cos_degrees(0) == 1 && caps_sin_degrees(0) == 0);
    ck_assert(caps_cos_degrees(180) == -1 && caps_cos_degrees(90) == 0);
}
END_TEST

static caps_dataset open_solids(
    const char *name, caps_split split, size_t limit, caps_viewpoints viewpoints)
{
    const caps_dataset_options o = {CAPS_OPTIONS(caps_dataset_options), .split = split,
        .limit = limit, .viewpoints = viewpoints};
    caps_error err = {0};
    caps_dataset ds;
    test_ok(caps_dataset_open(&ds, name, &o, &err));
    return ds;
}

enum { PIXELS = 2 * 48 * 48 };

/* The bytes that every machine gives. */
START_TEST(same_bytes_everywhere)
{
    static const struct {
        const char *name;
        caps_split split;
        caps_viewpoints viewpoints;
        uint64_t hash;
    } rows[] = {{"solids:1", CAPS_SPLIT_TRAIN, CAPS_VIEWPOINTS_ALL, 0x9fb92c9a3f49dbc5ull},
        {"solids:1", CAPS_SPLIT_TEST, CAPS_VIEWPOINTS_NOVEL_ELEVATIONS, 0x28ab5c3586e6dcbfull},
        {"solids:18446744073709551615", CAPS_SPLIT_TRAIN, CAPS_VIEWPOINTS_FAMILIAR_AZIMUTHS,
            0x7899ac803687b176ull}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        caps_dataset ds = open_solids(rows[i].name, rows[i].split, 300, rows[i].viewpoints);
        ck_assert(ds.n == 300 && ds.channels == 2 && ds.height == 48 && ds.width == 48);
        ck_assert(ds.standardised && ds.classes == 5);
        ck_assert_str_eq(ds.class_names[1], "figure");
        ck_assert_msg(caps_dataset_hash(&ds) == rows[i].hash, "%s: hash is 0x%llx", rows[i].name,
            (unsigned long long)caps_dataset_hash(&ds));
        caps_dataset_release(&ds);
    }
}
END_TEST

/* A limit takes the first ones; all classes are among them, as often as others. */
START_TEST(limits_and_sizes)
{
    static const size_t sizes[CAPS_VIEWPOINTS_COUNT] = {24300, 8100, 16200, 8100, 16200};
    caps_dataset all = open_solids("solids:3", CAPS_SPLIT_TEST, 0, CAPS_VIEWPOINTS_ALL);
    size_t counts[5] = {0};
    ck_assert_uint_eq(all.n, sizes[0]);
    for (size_t i = 0; i < all.n; i++)
        counts[all.labels[i]]++;
    for (size_t c = 0; c < 5; c++)
        ck_assert_uint_eq(counts[c], 4860);
    for (size_t n = 1; n <= 60; n += 17) {
        caps_dataset few = open_solids("solids:3", CAPS_SPLIT_TEST, n, CAPS_VIEWPOINTS_ALL);
        ck_assert_uint_eq(few.n, n);
        ck_assert_mem_eq(few.images, all.images, n * PIXELS);
        ck_assert_mem_eq(few.labels, all.labels, n);
        caps_dataset_release(&few);
    }
    caps_dataset_release(&all);
    for (int v = 1; v < CAPS_VIEWPOINTS_COUNT; v++) {
        all = open_solids("solids:3", CAPS_SPLIT_TRAIN, 0, (caps_viewpoints)v);
        ck_assert_uint_eq(all.n, sizes[v]);
        caps_dataset_release(&all);
    }
}
END_TEST

/* Splits and seeds have other objects; both cameras see the same one from two places. */
START_TEST(pictures_differ)
{
    caps_object a, b;
    uint8_t left[96 * 96], right[96 * 96], other[96 * 96];
    for (unsigned class = 0; class < 5; class ++)
        for (unsigned instance = 0; instance < 10; instance++) {
            size_t covered = 0, differ = 0;
            caps_object_make(&a, 5, class, instance);
            ck_assert(a.n >= 4 && a.n <= CAPS_SOLIDS_MOST);
            caps_object_render(left, &a, 3, 2, 1, 0);
            caps_object_render(right, &a, 3, 2, 1, 1);
            caps_object_make(&b, 5, class, (instance + 1) % 10);
            caps_object_render(other, &b, 3, 2, 1, 0);
            ck_assert_mem_ne(left, right, sizeof left);
            ck_assert_mem_ne(left, other, sizeof left);
            for (size_t p = 0; p < 96 * 96; p++) {
                covered += left[p] != left[0];
                differ += left[p] != right[p];
                /* the object lies within what the centre crop of 32 of 48 shows, or nearly */
                const size_t y = p / 96, x = p % 96;
                if (y < 6 || y >= 90 || x < 6 || x >= 90)
                    ck_assert_uint_eq(left[p], left[0]);
            }
            ck_assert(covered > 250 && covered < 4500);
            ck_assert(differ > covered / 10);
        }
}
END_TEST

/* A ball of radius r in the middle is a disc, lit from the lamp's side, with the brightness of the
 * formula at its middle. */
START_TEST(a_ball)
{
    caps_object o = {.n = 1};
    o.solids[0] = (caps_solid){.kind = CAPS_SOLID_BALL,
        .radius = 0.5,
        .shade = 0.8,
        .to_own = {{2, 0, 0}, {0, 2, 0}, {0, 0, 2}}};
    uint8_t out[96 * 96];
    size_t covered = 0;
    caps_object_render(out, &o, 7, 4, 3, 0);
    for (size_t p = 0; p < 96 * 96; p++)
        covered += out[p] != out[0];
    /* radius in pixels: tan(asin(0.5 / d)) d / 1.5 * 48 with d = 6, nearly 16.06 */
    ck_assert(fabs((double)covered - acos(-1) * 16.06 * 16.06) < 20);
    const double lit = 1 / sqrt(1 + 0.15 * 0.15);
    ck_assert(fabs(out[48 * 96 + 48] - 255 * 0.8 * (0.2 + 0.7 * lit)) < 3);
    ck_assert(out[40 * 96 + 48] > out[56 * 96 + 48]); /* it is a little above the camera */
}
END_TEST

START_TEST(names_that_are_none)
{
    static const char *const bad[] = {"solids:", "solids:x", "solids:-1", "solids:1x", "solids: 1",
        "solids:18446744073709551616", "solids:1/2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        test_expect_refused(bad[i], NULL, CAPS_ERR_FORMAT, bad[i], "is no seed, need");
    test_expect_refused("multi:solids:1",
        &(caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .limit = 2}, CAPS_ERR_FORMAT,
        "multi:solids:1", "2 channels");
    test_expect_refused("solids:1",
        &(caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .split = CAPS_SPLIT_VALIDATION},
        CAPS_ERR_NOT_FOUND, "solids:1", "no validation split of its own");
    test_expect_refused("solids:1",
        &(caps_dataset_options){CAPS_OPTIONS(caps_dataset_options), .viewpoints = 9},
        CAPS_ERR_ARGUMENT, "solids:1", "viewpoints are 9");
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("solids");
    TCase *solids = tcase_create("solids");
    tcase_set_timeout(solids, 120);
    tcase_add_test(solids, angles);
    tcase_add_test(solids, same_bytes_everywhere);
    tcase_add_test(solids, limits_and_sizes);
    tcase_add_test(solids, pictures_differ);
    tcase_add_test(solids, a_ball);
    tcase_add_test(solids, names_that_are_none);
    suite_add_tcase(s, solids);
    return s;
}
