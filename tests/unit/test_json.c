/* test_json.c: JSON that is read as jansson reads it, and built whole or not at all: under every
 * failure of an allocation of that library. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "rng.h"

/* ---- the reader beside jansson's ------------------------------------------------------------ */

static const char *const texts[] = {
    "{\"input\": [1, 28, 28], \"a\": {\"b\": [true, false, null, -1.5e-3, \"x\\u00fc\\n\"]}}",
    "[]",
    "{}",
    "[[[]], {\"\": {}}]",
    " [1 , 2\t,\n3 ]\r\n",
    "[0, -0, 0.0, -0.0, 1E+2, 1e-400, 9223372036854775807, -9223372036854775808]",
    "[\"\\ud83d\\ude42\", \"\\\"\\\\\\/\\b\\f\\r\\t\", \"\303\274\360\237\231\202\"]",
    "[0.1, 123456789.123456789, 3.4028235e38, 1.7976931348623157e308, 5e-324]",
};

static const char *const wrong[] = {"", " ", "[", "]", "{", "[1,]", "[,1]", "{\"a\":1,}", "{\"a\"}",
    "{\"a\":}", "{a:1}", "{1:2}", "[1 2]", "[01]", "[-]", "[+1]", "[.5]", "[1.]", "[1e]", "[1e+]",
    "[0x1]", "[tru]", "[True]", "[nul]", "[NaN]", "[Infinity]", "[1e999]", "[-1e999]",
    "[9223372036854775808]", "[\"a]", "[\"\\x\"]", "[\"\\u12\"]", "[\"\\u123g\"]", "[\"\\u0000\"]",
    "[\"\\ud800\"]", "[\"\\ude42\"]", "[\"\\ud83d\\u0041\"]", "[\"\n\"]", "[\"\001\"]",
    "[\"\377\"]", "[\"\303\"]", "[1]]", "[1] x", "{\"a\":1,\"a\":2}", "['a']", "[1\302\240]",
    "[\"\\\"]", "[\"a\\"};

/* Both refuse it, or both read the same. */
static void expect_alike(const char *text, size_t n)
{
    json_t *own = NULL;
    caps_error err = {0};
    const caps_status status = caps_json_parse(&own, text, n, "t", CAPS_ERR_FORMAT, &err);
    json_t *other = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    ck_assert_int_eq(status, own ? CAPS_OK : CAPS_ERR_FORMAT);
    ck_assert_msg(
        (own != NULL) == (other != NULL), "only one reads: %.*s (%s)", (int)n, text, err.message);
    ck_assert_msg(!own || json_equal(own, other), "read otherwise: %.*s", (int)n, text);
    json_decref(own);
    json_decref(other);
}

START_TEST(reads_as_jansson_reads)
{
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        json_t *value = NULL;
        caps_error err = {0};
        test_ok(caps_json_parse(&value, texts[i], strlen(texts[i]), "t", CAPS_ERR_FORMAT, &err));
        json_decref(value);
        for (size_t n = 0; n <= strlen(texts[i]); n++) /* every cut */
            expect_alike(texts[i], n);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        json_t *value = NULL;
        ck_assert_msg(caps_json_parse(&value, wrong[i], strlen(wrong[i]), "t", CAPS_ERR_FORMAT,
                          NULL) == CAPS_ERR_FORMAT,
            "%s", wrong[i]);
        expect_alike(wrong[i], strlen(wrong[i]));
    }
    json_t *value;
    ck_assert_int_eq(
        caps_json_parse(&value, "[1\0]", 4, "t", CAPS_ERR_FORMAT, NULL), CAPS_ERR_FORMAT);
    expect_alike("[\"\0\"]", 5);
}
END_TEST

/* A few bytes changed, left out or doubled. */
START_TEST(damaged_text_is_read_as_jansson_reads)
{
    static const char pieces[] = "{}[],:\"\\u0123456789eE+-. truefalsn\n\303\274\233";
    const unsigned most = getenv("CAPSCL_TEST_LONG") ? 400000 : 20000;
    char text[160];
    for (unsigned round = 0; round < most; round++) {
        const char *from = texts[_i];
        size_t n = strlen(from);
        memcpy(text, from, n + 1);
        for (unsigned k = 0; k < 1 + round % 3; k++) {
            uint32_t r[4];
            caps_rng_words(r, 7, CAPS_RNG_TEST, round, (uint64_t)_i << 8 | k);
            const size_t at = r[0] % (n ? n : 1);
            const char piece = pieces[r[1] % (sizeof pieces - 1)];
            if (r[2] % 3 == 0 && n > 0)
                memmove(text + at, text + at + 1, n-- - at);
            else if (r[2] % 3 == 1 && n + 1 < sizeof text)
                memmove(text + at + 1, text + at, ++n - at);
            if (n > 0)
                text[at] = piece;
        }
        expect_alike(text, n);
    }
}
END_TEST

START_TEST(messages_say_where_and_what)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"[1,\n2 3]", "f: line 2: not valid JSON: need ',' or ']' near '3'"},
        {"{\"a\": 1,\n \"a\": 2}", "f: line 2: not valid JSON: duplicate object key 'a'"},
        {"{\"a\" 1}", "f: line 1: not valid JSON: need ':' near '1'"},
        {"{a: 1}", "f: line 1: not valid JSON: need a name in quotes near 'a:'"},
        {"[1,", "f: line 1: not valid JSON: it ends where a value is needed"},
        {"[1]\n]", "f: line 2: not valid JSON: need the end near ']'"},
        {"[\"a", "f: line 1: not valid JSON: a text without its closing quote"},
        {"[\"\033\"]", "f: line 1: not valid JSON: control character 0x1b in a text"},
        {"[\"\233\"]", "f: line 1: not valid JSON: byte 0x9b is not UTF-8"},
        {"[\233]", "f: line 1: not valid JSON: byte 0x9b is not UTF-8"},
        {"[99999999999999999999]", "f: line 1: not valid JSON: a whole number beyond 64 bits"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_t *value = NULL;
        caps_error err = {0};
        caps_json_parse(&value, rows[i].text, strlen(rows[i].text), "f", CAPS_ERR_FORMAT, &err);
        ck_assert_str_eq(err.message, rows[i].message);
    }
}
END_TEST

/* ---- memory --------------------------------------------------------------------------------- */

static long failing, allocations; /* the allocation that fails, from 1; 0: none */
static bool from_there_on;

static void *counted_malloc(size_t n)
{
    allocations++;
    const bool fails = failing && (from_there_on ? allocations >= failing : allocations == failing);
    return fails ? NULL : malloc(n);
}

/* The program may replace jansson's functions: this test is one. */
static void memory_setup(void)
{
    json_set_alloc_funcs(counted_malloc, free);
}

static void memory_begin(long fail, bool on)
{
    failing = fail;
    from_there_on = on;
    allocations = 0;
}

START_TEST(a_text_is_read_whole_or_told_as_memory)
{
    const char *text = texts[_i / 2];
    json_t *whole = NULL, *value = NULL;
    bool ended = false;
    caps_error err = {0};
    memory_begin(0, false);
    test_ok(caps_json_parse(&whole, text, strlen(text), "t", CAPS_ERR_FORMAT, &err));
    for (long k = 1; !ended; k++) {
        memory_begin(k, _i % 2 == 1);
        const caps_status status =
            caps_json_parse(&value, text, strlen(text), "t", CAPS_ERR_FORMAT, &err);
        ended = allocations < k;
        memory_begin(0, false);
        ck_assert_int_eq(status, ended ? CAPS_OK : CAPS_ERR_MEMORY);
        if (ended)
            ck_assert(json_equal(value, whole));
        else
            ck_assert_str_eq(err.message, "t: out of memory while reading JSON");
        json_decref(value);
    }
    json_decref(whole);
}
END_TEST

static char *build(void)
{
    json_t *all = json_object(), *list = json_array();
    for (int i = 0; i < 12; i++) {
        json_t *row = json_pack("{s:s, s:o}", "name", "x", "value", caps_json_double(i / 3.0));
        caps_json_set(&row, "again", json_integer(i));
        caps_json_append(&list, row);
    }
    caps_json_set(&all, "text", caps_json_text("\377gr\303\274n"));
    caps_json_set(&all, "list", list);
    caps_json_set(&all, "nothing", json_null());
    char *text = caps_json_format_exact(all, 0);
    json_decref(all);
    return text;
}

START_TEST(a_text_is_written_whole_or_not_at_all)
{
    memory_begin(0, false);
    char *whole = build();
    ck_assert_ptr_nonnull(whole);
    bool ended = false;
    for (long k = 1; !ended; k++) {
        memory_begin(k, _i == 1);
        char *text = build();
        ended = allocations < k;
        if (text)
            ck_assert_str_eq(text, whole);
        ck_assert(ended == (text != NULL));
        free(text);
    }
    memory_begin(0, false);
    free(whole);
}
END_TEST

START_TEST(numbers_are_written_with_the_digits_they_need)
{
    static const double rows[] = {0.5, 0.1, 1.0 / 3, 1e-4, 123456789.0, 0x1.fffffep0, 5e-324, -0.0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_t *value = json_pack("[[f]]", rows[i]), *again = NULL;
        char *text = caps_json_format_exact(value, 0);
        caps_error err = {0};
        test_ok(caps_json_parse(&again, text, strlen(text), "t", CAPS_ERR_FORMAT, &err));
        ck_assert(json_equal(value, again));
        ck_assert_uint_le(strlen(text), i == 0 ? 7 : 30);
        free(text);
        json_decref(value);
        json_decref(again);
    }
    ck_assert_ptr_null(caps_json_format_exact(NULL, 0));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("json");
    TCase *reader = tcase_create("reader");
    tcase_set_timeout(reader, 120);
    tcase_add_test(reader, reads_as_jansson_reads);
    tcase_add_loop_test(
        reader, damaged_text_is_read_as_jansson_reads, 0, sizeof texts / sizeof texts[0]);
    tcase_add_test(reader, messages_say_where_and_what);
    tcase_add_test(reader, numbers_are_written_with_the_digits_they_need);
    suite_add_tcase(s, reader);
    TCase *memory = tcase_create("memory");
    tcase_add_checked_fixture(memory, memory_setup, NULL);
    tcase_add_loop_test(memory, a_text_is_read_whole_or_told_as_memory, 0,
        2 * (int)(sizeof texts / sizeof texts[0]));
    tcase_add_loop_test(memory, a_text_is_written_whole_or_not_at_all, 0, 2);
    suite_add_tcase(s, memory);
    return s;
}
