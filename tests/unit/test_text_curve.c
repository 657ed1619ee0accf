/* Small curves of text: where lines and marks lie, scales, widths, what gives none. */
#include <math.h>
#include <string.h>

#include "support.h"
#include "text_curve.h"

/* Row r of the text, without its end. */
static char *row_of(const caps_textbuf *t, int r)
{
    const char *at = t->text;
    for (; r > 0; r--)
        at = strchr(at, '\n') + 1;
    return strndup(at, strcspn(at, "\n"));
}

/* Columns on a terminal: bytes that begin a letter. */
static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

enum { FRONT = 10 }; /* of a row: the value and the axis */

START_TEST(a_falling_line)
{
    const bool unicode = _i == 1;
    const double x[] = {0, 50, 100}, y[] = {9, 6, 3};
    const double mark_x[] = {100}, mark_y[] = {6};
    caps_textbuf t = {0};
    ck_assert(
        caps_text_curve(&t, &(caps_points){x, y, 3}, &(caps_points){mark_x, mark_y, 1}, unicode));
    size_t rows = 0;
    for (const char *c = t.text; *c; c++)
        rows += *c == '\n';
    ck_assert_uint_eq(rows, CAPS_CURVE_ROWS);
    char *first = row_of(&t, 0), *last = row_of(&t, CAPS_CURVE_ROWS - 1);
    ck_assert_msg(strncmp(first, "    9.00 |", FRONT) == 0, "%s", first);
    ck_assert_msg(strncmp(last, "    3.00 |", FRONT) == 0, "%s", last);
    /* It begins at the top on the left and ends at the bottom on the right. */
    ck_assert(first[FRONT] != ' ');
    ck_assert_uint_lt(width_of(first), FRONT + CAPS_CURVE_COLUMNS / 4);
    ck_assert(last[FRONT] == ' ');
    ck_assert_uint_eq(width_of(last), FRONT + CAPS_CURVE_COLUMNS);
    /* The mark lies in the middle of the last column. */
    bool found = false;
    for (int r = 3; r <= 4; r++) {
        char *row = row_of(&t, r);
        ck_assert_uint_le(width_of(row), FRONT + CAPS_CURVE_COLUMNS);
        found =
            found || (row[strlen(row) - 1] == 'o' && width_of(row) == FRONT + CAPS_CURVE_COLUMNS);
        free(row);
    }
    ck_assert_msg(found, "%s", t.text);
    for (const char *c = t.text; !unicode && *c; c++)
        ck_assert(((unsigned char)*c & 0x80) == 0);
    free(first);
    free(last);
    caps_textbuf_release(&t);
}
END_TEST

/* 100, 10, 1: a straight line where the scale is logarithmic; zero lies at its bottom. */
START_TEST(a_logarithmic_scale)
{
    const double x[] = {0, 50, 100}, y[] = {100, 10, 1}, zero[] = {100, 1, 0};
    const caps_points none = {0};
    caps_textbuf t = {0};
    ck_assert(caps_text_curve(&t, &(caps_points){x, y, 3}, &none, false));
    char *middle = row_of(&t, CAPS_CURVE_ROWS / 2);
    const char *at = strpbrk(middle + FRONT, ".:'");
    ck_assert_ptr_nonnull(at);
    ck_assert_int_le(labs((at - middle) - FRONT - CAPS_CURVE_COLUMNS / 2), 8);
    free(middle);
    caps_textbuf_release(&t);
    ck_assert(caps_text_curve(&t, &(caps_points){x, zero, 3}, &none, true));
    char *last = row_of(&t, CAPS_CURVE_ROWS - 1);
    ck_assert_msg(strncmp(last, "    1.00 |", FRONT) == 0, "%s", last);
    free(last);
    caps_textbuf_release(&t);
}
END_TEST

START_TEST(what_gives_none)
{
    const double x[] = {5, 5}, y[] = {1, 2}, nan_y[] = {NAN, NAN}, wide[] = {1, 2}, same[] = {3, 3};
    const caps_points none = {0};
    caps_textbuf t = {0};
    ck_assert(!caps_text_curve(&t, &none, &none, true));
    ck_assert(!caps_text_curve(&t, &(caps_points){x, y, 1}, &none, true));
    ck_assert(!caps_text_curve(&t, &(caps_points){x, y, 2}, &none, true));
    ck_assert(!caps_text_curve(&t, &(caps_points){wide, nan_y, 2}, &none, true));
    ck_assert_uint_eq(t.used, 0);
    /* All the same, all zero: a line in the middle. */
    const double zeros[] = {0, 0};
    ck_assert(caps_text_curve(&t, &(caps_points){wide, same, 2}, &none, false));
    ck_assert(caps_text_curve(&t, &(caps_points){wide, zeros, 2}, &none, true));
    caps_textbuf_release(&t);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("curves of text");
    TCase *t = tcase_create("curves");
    tcase_add_loop_test(t, a_falling_line, 0, 2);
    tcase_add_test(t, a_logarithmic_scale);
    tcase_add_test(t, what_gives_none);
    suite_add_tcase(s, t);
    return s;
}
