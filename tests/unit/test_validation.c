/* test_validation.c: validation splits, and hashes of data sets. */
#include "data_files.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "pairs.h"
#include "rng.h"
#include "state.h"

enum { N = 40, H = 7, W = 6, CLASSES = 4 };

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
    char *dir = test_put_set(N, 1, CLASSES, H, W);
    caps_dataset original = test_open_single(dir, CAPS_SPLIT_TRAIN);
    bool of_seed[2][N];
    for (int pairs = 0; pairs < 2; pairs++)
        for (size_t n = pairs ? 8 : 1; n < N - (pairs ? 8 : 0); n += 5)
            for (uint64_t seed = 0; seed < 2; seed++) {
                caps_dataset validation, train = pairs ? test_open_pairs(dir, CAPS_SPLIT_TRAIN, 0)
                                                       : test_open_single(dir, CAPS_SPLIT_TRAIN);
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
                        ck_assert_uint_eq(test_hash_of_pairs(&validation, 3, epoch),
                            test_hash_of_pairs(&validation, 0, 0));
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
    char *dir = test_put_set(N, 1, CLASSES, H, W);
    caps_dataset original = test_open_single(dir, CAPS_SPLIT_TRAIN);
    size_t counts[N] = {0};
    enum { SEEDS = 400, TAKEN = 10 };
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        bool in[N] = {false};
        caps_dataset validation, train = test_open_single(dir, CAPS_SPLIT_TRAIN);
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
    char *dir = test_put_set(N, 1, CLASSES, H, W), *two = test_put_set(4, 1, 2, H, W);
    caps_dataset validation, train = test_open_single(dir, CAPS_SPLIT_TRAIN);
    caps_dataset test = test_open_single(dir, CAPS_SPLIT_TEST);
    caps_dataset pairs = test_open_pairs(two, CAPS_SPLIT_TRAIN, 0);
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
    char *dir = test_put_set(N, 1, CLASSES, H, W);
    caps_dataset single = test_open_single(dir, CAPS_SPLIT_TRAIN), validation;
    caps_dataset pairs = test_open_pairs(dir, CAPS_SPLIT_TRAIN, 0);
    caps_dataset again = test_open_pairs(dir, CAPS_SPLIT_TRAIN, 0);
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
Suite *suite(void)
{
    Suite *s = suite_create("validation");
    TCase *validation = tcase_create("validation");
    tcase_set_timeout(validation, 120);
    tcase_add_test(validation, validation_splits);
    tcase_add_test(validation, validation_splits_are_uniform);
    tcase_add_test(validation, validation_splits_that_cannot_be);
    tcase_add_test(validation, hashes_tell_sets_apart);
    suite_add_tcase(s, validation);
    return s;
}
