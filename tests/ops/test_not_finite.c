/* test_not_finite.c: the first of many tensors with a value that is not finite. */
#include <math.h>

#include "families.h"
#include "not_finite.h"

enum { ROWS = 4, RANK = 1000, IMAGES = 3 };

/* Of the third image on, tensor 1 is old and nobody's. */
static const size_t counts[ROWS] = {70, 5 * IMAGES, 1, 4099};

static int32_t look(caps_runtime *rt, const caps_tensor *t, const float sums[2], int32_t flag,
    size_t images, bool always, int32_t before)
{
    caps_error err = {0};
    int32_t words[CAPS_NOT_FINITE_RECORD] = {0}, table[ROWS][CAPS_NOT_FINITE_ROW];
    memcpy(words, sums, 2 * sizeof *sums);
    words[3] = flag;
    words[4] = before;
    for (size_t r = 0; r < ROWS; r++) {
        const caps_not_finite_row row = {.offset = t[r].offset,
            .count = r == 1 ? counts[r] / IMAGES : counts[r],
            .images = r == 1,
            .buffer = (uint32_t)r};
        caps_not_finite_pack(table[r], &row);
    }
    const size_t shape[] = {ROWS, CAPS_NOT_FINITE_ROW}, five = CAPS_NOT_FINITE_RECORD;
    caps_tensor record = test_tensor_i32(words, 1, &five);
    caps_tensor rows = test_tensor_i32(table[0], 2, shape);
    for (uint32_t r = 0; r < ROWS; r++)
        test_ok(caps_not_finite(rt, &record, &rows, t[r].buffer, r, images, RANK, always, &err));
    test_ok(caps_tensor_download(rt, &record, words, &err));
    test_tensor_release(&record);
    test_tensor_release(&rows);
    return words[4];
}

/* Tensors of numbers, but for one value in each where where[r] is below the count. */
static int32_t look_with(caps_runtime *rt, const size_t where[ROWS], float value,
    const float sums[2], int32_t flag, size_t images, bool always)
{
    caps_tensor t[ROWS];
    for (size_t r = 0; r < ROWS; r++) {
        double *values = test_random(counts[r], r, -1e38, 1e38);
        if (where[r] < counts[r])
            values[where[r]] = (double)value;
        t[r] = test_tensor(values, 1, &counts[r]);
        free(values);
    }
    int32_t found = look(rt, t, sums, flag, images, always, 0);
    /* What was found before in a step stays, where it has the higher rank. */
    ck_assert_int_eq(look(rt, t, sums, flag, images, always, 5000), 5000);
    for (size_t r = 0; r < ROWS; r++)
        test_tensor_release(&t[r]);
    return found;
}

static const float well[2] = {1.5f, 2.5f};
static const size_t none = SIZE_MAX;

START_TEST(the_first_is_named)
{
    caps_runtime *rt = families[_i];
    const float values[] = {NAN, INFINITY, -INFINITY};
    for (size_t v = 0; v < 3; v++) {
        const float x = values[v];
        ck_assert_int_eq(look_with(rt, (size_t[]){69, 0, 0, 4098}, x, well, 1, 3, false), RANK);
        ck_assert_int_eq(
            look_with(rt, (size_t[]){none, 14, 0, 4098}, x, well, 1, 3, false), RANK - 1);
        ck_assert_int_eq(
            look_with(rt, (size_t[]){none, none, 0, 4098}, x, well, 1, 3, false), RANK - 2);
        ck_assert_int_eq(
            look_with(rt, (size_t[]){none, none, none, 4098}, x, well, 1, 3, false), RANK - 3);
        ck_assert_int_eq(
            look_with(rt, (size_t[]){none, none, none, none}, x, well, 1, 3, false), 0);
    }
}
END_TEST

START_TEST(images_that_are_not_in_the_batch_do_not_count)
{
    caps_runtime *rt = families[_i];
    ck_assert_int_eq(look_with(rt, (size_t[]){none, 10, none, none}, NAN, well, 1, 2, false), 0);
    ck_assert_int_eq(
        look_with(rt, (size_t[]){none, 9, none, none}, NAN, well, 1, 2, false), RANK - 1);
    ck_assert_int_eq(look_with(rt, (size_t[]){none, 0, none, 7}, NAN, well, 1, 0, true), RANK - 3);
}
END_TEST

START_TEST(nothing_is_looked_at_while_all_is_well)
{
    caps_runtime *rt = families[_i];
    const size_t where[] = {3, 3, 0, 3};
    ck_assert_int_eq(look_with(rt, where, NAN, well, 0, 3, false), 0);
    ck_assert_int_eq(look_with(rt, where, NAN, well, 0, 3, true), RANK);
    ck_assert_int_eq(look_with(rt, where, NAN, (float[]){NAN, 1}, 0, 3, false), RANK);
    ck_assert_int_eq(look_with(rt, where, NAN, (float[]){1, INFINITY}, 0, 3, false), RANK);
}
END_TEST

START_TEST(bad_arguments_are_refused)
{
    caps_error err = {0};
    const size_t five = CAPS_NOT_FINITE_RECORD, shape[] = {2, CAPS_NOT_FINITE_ROW};
    caps_tensor record = test_tensor_i32((int32_t[]){0, 0, 0, 0, 0}, 1, &five);
    caps_tensor table = test_tensor_i32((int32_t[2 *CAPS_NOT_FINITE_ROW]){0}, 2, shape);
    ck_assert_int_eq(
        caps_not_finite(families[_i], &record, &table, table.buffer, 0, 1, 1, true, &err),
        CAPS_ERR_ARGUMENT);
    ck_assert_str_eq(err.message, "not_finite: rank is 1, need 2 to 2147483647");
    ck_assert_int_eq(
        caps_not_finite(families[_i], &table, &table, table.buffer, 0, 1, 9, true, &err),
        CAPS_ERR_ARGUMENT);
    ck_assert_int_eq(
        caps_not_finite(families[_i], &record, &record, table.buffer, 0, 1, 9, true, &err),
        CAPS_ERR_ARGUMENT);
    test_tensor_release(&record);
    test_tensor_release(&table);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("not finite");
    TCase *tc = families_case(s, "not finite");
    families_add(tc, the_first_is_named);
    families_add(tc, images_that_are_not_in_the_batch_do_not_count);
    families_add(tc, nothing_is_looked_at_while_all_is_well);
    families_add(tc, bad_arguments_are_refused);
    return s;
}
