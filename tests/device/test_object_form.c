/* Files of compilers that end before they say so. */
#include <string.h>

#include "file.h"
#include "object_form.h"
#include "support.h"

START_TEST(a_library_is_as_long_as_it_says)
{
    caps_error err = {0};
    unsigned char *data = NULL;
    size_t n = 0;
    test_ok(caps_file_read(&data, &n, "/proc/self/exe", (size_t)1 << 30, &err));
    ck_assert(caps_object_is_library(data, n));
    static const size_t cuts[] = {0, 1, 50, 64, 1000, 5000};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++)
        ck_assert_msg(!caps_object_is_library(data, cuts[i]), "%zu bytes", cuts[i]);
    ck_assert(!caps_object_is_library(data, n / 2));
    ck_assert(!caps_object_is_library(data, n - 1));
    data[1] = 'X';
    ck_assert(!caps_object_is_library(data, n));
    free(data);
}
END_TEST

/* The magic, and two blocks of one word and of none. */
START_TEST(bitcode_is_as_long_as_it_says)
{
    unsigned char data[] = {'B', 'C', 0xc0, 0xde, 0x35, 0x14, 0, 0, 1, 0, 0, 0, 'a', 'b', 'c', 'd',
        0x21, 0x0c, 0, 0, 0, 0, 0, 0};
    const size_t n = sizeof data;
    ck_assert(caps_object_is_bitcode(data, n));
    ck_assert(caps_object_is_bitcode(data, 16)); /* the first block alone */
    for (size_t cut = 0; cut < n; cut++)
        ck_assert_msg(cut == 16 || !caps_object_is_bitcode(data, cut), "%zu bytes", cut);
    data[8] = 200;
    ck_assert(!caps_object_is_bitcode(data, n));
    data[8] = 1;
    data[16] = 0; /* no block begins */
    ck_assert(!caps_object_is_bitcode(data, n));
    data[0] = 0;
    ck_assert(!caps_object_is_bitcode(data, n));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("object_form");
    TCase *t = tcase_create("form");
    tcase_add_test(t, a_library_is_as_long_as_it_says);
    tcase_add_test(t, bitcode_is_as_long_as_it_says);
    suite_add_tcase(s, t);
    return s;
}
