/* test_text.c: text from outside, as it is recognised and shown. */
#include "support.h"

#include <string.h>

#include "fail.h"
#include "text.h"

START_TEST(characters_of_utf8)
{
    static const struct {
        const char *text;
        size_t bytes;
        uint32_t code;
    } rows[] = {{"a", 1, 'a'}, {"\303\274", 2, 0xfc}, {"\342\202\254", 3, 0x20ac},
        {"\360\237\231\202", 4, 0x1f642}, {"\302\233", 2, 0x9b}, {"\200", 0, 0}, {"\377", 0, 0},
        {"\303", 0, 0}, {"\342\202", 0, 0}, {"\300\200", 0, 0}, {"\340\200\200", 0, 0},
        {"\355\240\200", 0, 0}, {"\364\220\200\200", 0, 0}, {"", 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t code = 0;
        ck_assert_uint_eq(
            caps_utf8_decode(&code, rows[i].text, strlen(rows[i].text)), rows[i].bytes);
        if (rows[i].bytes)
            ck_assert_uint_eq(code, rows[i].code);
    }
    /* Never past the end that was given. */
    ck_assert_uint_eq(caps_utf8_decode(NULL, "\342\202\254", 2), 0);
}
END_TEST

/* A terminal's escapes in every spelling, and what turns a line around. */
static const struct {
    const char *text, *shown;
} hostile[] = {
    {"\033[2J", "\\x1b[2J"},
    {"\033]0;title\a", "\\x1b]0;title\\x07"},
    {"\302\2332J", "\\x9b2J"}, /* U+009B: CSI in one character */
    {"\2332J", "\\x9b2J"},     /* the same as a bare byte */
    {"\302\220q\302\234", "\\x90q\\x9c"},
    {"a\nb\rc\td", "a\\x0ab\\x0dc\\x09d"},
    {"a\177b", "a\\x7fb"},
    {"\342\200\256gnp.exe", "\\u202egnp.exe"},
    {"\342\201\246x\342\201\251", "\\u2066x\\u2069"},
    {"a\342\200\250b\342\200\251c", "a\\u2028b\\u2029c"},
    {"\377\376", "\\xff\\xfe"},
};

START_TEST(what_acts_on_a_terminal_is_spelled_out)
{
    char text[64];
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        ck_assert_str_eq(caps_text_clean(text, sizeof text, hostile[i].text), hostile[i].shown);
        ck_assert_msg(!caps_is_text(hostile[i].text), "%s", hostile[i].shown);
        /* What is clean stays as it is, and a message says it too. */
        char again[64];
        ck_assert_str_eq(caps_text_clean(again, sizeof again, text), text);
        caps_error err = {0};
        caps_fail(&err, CAPS_ERR_IO, "%s: cannot open", hostile[i].text);
        ck_assert_int_eq(strncmp(err.message, text, strlen(text)), 0);
    }
    static const char *const plain[] = {"", "cat", "gr\303\274n", "\346\227\245\346\234\254",
        "\327\251\327\234\327\225\327\235", "\360\237\231\202", "a\342\200\215b"};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        ck_assert_str_eq(caps_text_clean(text, sizeof text, plain[i]), plain[i]);
        ck_assert(caps_is_text(plain[i]));
    }
    ck_assert(caps_is_utf8("\302\233"));
    ck_assert(!caps_is_utf8("\233"));
}
END_TEST

START_TEST(what_has_no_room_is_left_out_whole)
{
    char text[16];
    for (size_t bytes = 1; bytes <= sizeof text; bytes++) {
        memset(text, '#', sizeof text);
        caps_text_clean(text, bytes, "\303\274\033\342\202\254x");
        ck_assert_uint_lt(strlen(text), bytes);
        ck_assert(caps_is_text(text));
        for (size_t i = bytes; i < sizeof text; i++)
            ck_assert_int_eq(text[i], '#');
    }
    caps_text_clean(text, 0, "abc");
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("text");
    TCase *t = tcase_create("text");
    tcase_add_test(t, characters_of_utf8);
    tcase_add_test(t, what_acts_on_a_terminal_is_spelled_out);
    tcase_add_test(t, what_has_no_room_is_left_out_whole);
    suite_add_tcase(s, t);
    return s;
}
