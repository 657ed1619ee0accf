/* json_parse.c: reading JSON.
 *
 * The values are jansson's, the reader is not: up to version 2.14 its lexer ignores that a piece of
 * memory could not be had, and then aborts, or reads past the end of what it has
 * (github.com/akheron/jansson/issues/362). Nothing outside can prevent that: the allocation
 * functions of jansson are global, and belong to the program that uses the library. */
#include "json.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "text.h"

enum { MOST_DEPTH = 2048, NUMBER_BYTES = 64 };

typedef struct json_reader {
    const char *at, *end;
    size_t depth;
    bool out_of_memory;
    char problem[160]; /* "" as long as there is none */
} json_reader;

/* Returns NULL, for `return reader_refuse(...)`. */
static void *reader_refuse(json_reader *r, const char *format, ...) CAPS_PRINTF(2, 3);

static void *reader_refuse(json_reader *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->problem, sizeof r->problem, format, arguments);
    va_end(arguments);
    return NULL;
}

static void *reader_out_of_memory(json_reader *r)
{
    r->out_of_memory = true;
    return NULL;
}

static json_t *reader_checked(json_reader *r, json_t *value)
{
    return value ? value : reader_out_of_memory(r);
}

static void reader_skip_space(json_reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
        r->at++;
}

static bool reader_take(json_reader *r, char c)
{
    reader_skip_space(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

/* "need `what` near 'abc'", for a place where something else stands. */
static void *reader_expect(json_reader *r, const char *what)
{
    size_t n = 0;
    while (r->at + n < r->end && n < 24) {
        const size_t bytes = caps_utf8_decode(NULL, r->at + n, (size_t)(r->end - r->at) - n);
        if (bytes == 0 || strchr(" \t\r\n,]}", r->at[n]))
            break;
        n += bytes;
    }
    if (r->at == r->end)
        return reader_refuse(r, "it ends where %s is needed", what);
    if (n == 0 && caps_utf8_decode(NULL, r->at, (size_t)(r->end - r->at)) == 0)
        return reader_refuse(r, "byte 0x%02x is not UTF-8", (unsigned char)*r->at);
    return reader_refuse(r, "need %s near '%.*s'", what, (int)(n ? n : 1), r->at);
}

/* ---- text ----------------------------------------------------------------------------------- */

/* The four digits behind "\u"; -1: they are none. */
static long reader_hex(const json_reader *r, const char *at)
{
    long code = 0;
    if (r->end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        const char c = at[i] >= 'A' && at[i] <= 'F' ? (char)(at[i] - 'A' + 'a') : at[i];
        const char *digit = c ? strchr(digits, c) : NULL;
        if (!digit)
            return -1;
        code = code * 16 + (digit - digits);
    }
    return code;
}

static char *put_utf8(char *to, unsigned long code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

/* What stands behind a backslash: never more bytes than it is written with. NULL: wrong. */
static char *reader_escape(json_reader *r, char *to)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *letter = r->at < r->end && *r->at ? strchr(letters, *r->at) : NULL;
    if (letter) {
        r->at++;
        *to = meant[letter - letters];
        return to + 1;
    }
    long code = r->at < r->end && *r->at == 'u' ? reader_hex(r, r->at + 1) : -1;
    if (code < 0)
        return reader_refuse(r, "no such escape in a text");
    r->at += 5;
    if (code == 0)
        return reader_refuse(r, "\\u0000 in a text");
    if (code >= 0xd800 && code <= 0xdfff) {
        const bool pair =
            code < 0xdc00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u';
        const long low = pair ? reader_hex(r, r->at + 2) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return reader_refuse(r, "\\u%04lX is half of a pair, need both", code);
        r->at += 6;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    return put_utf8(to, (unsigned long)code);
}

/* A text, decoded; freed with free(). */
static char *reader_text(json_reader *r)
{
    const char *close = ++r->at;
    while (close < r->end && *close != '"')
        close += *close == '\\' && close + 1 < r->end ? 2 : 1;
    if (close >= r->end)
        return reader_refuse(r, "a text without its closing quote");
    char *text = malloc((size_t)(close - r->at) + 1), *to = text;
    if (!text)
        return reader_out_of_memory(r);
    while (to && r->at < close) {
        const size_t bytes = caps_utf8_decode(NULL, r->at, (size_t)(close - r->at));
        if (bytes == 0) {
            to = reader_refuse(r, "byte 0x%02x is not UTF-8", (unsigned char)*r->at);
        } else if ((unsigned char)*r->at < 0x20) {
            to = reader_refuse(r, "control character 0x%02x in a text", (unsigned char)*r->at);
        } else if (*r->at == '\\') {
            r->at++;
            to = reader_escape(r, to);
        } else {
            memcpy(to, r->at, bytes);
            to += bytes;
            r->at += bytes;
        }
    }
    if (!to) {
        free(text);
        return NULL;
    }
    *to = 0;
    r->at++;
    return text;
}

static json_t *reader_string(json_reader *r)
{
    char *text = reader_text(r);
    json_t *value = text ? reader_checked(r, json_string_nocheck(text)) : NULL;
    free(text);
    return value;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* The end of the number that begins at r->at, NULL where none does. */
static const char *number_end(const json_reader *r, bool *whole)
{
    const char *first = r->at + (*r->at == '-'), *at = skip_digits(first, r->end);
    *whole = true;
    if (at == first || (*first == '0' && at > first + 1))
        return NULL;
    if (at < r->end && *at == '.') {
        const char *digits = at + 1;
        at = skip_digits(digits, r->end);
        *whole = false;
        if (at == digits)
            return NULL;
    }
    if (at < r->end && (*at == 'e' || *at == 'E')) {
        const char *digits = at + 1;
        digits += digits < r->end && (*digits == '+' || *digits == '-');
        at = skip_digits(digits, r->end);
        *whole = false;
        if (at == digits)
            return NULL;
    }
    return at;
}

/* `text` is the number, to be changed: strtod reads the point of the program's locale. */
static json_t *number_value(json_reader *r, char *text, bool whole)
{
    errno = 0;
    if (whole) {
        const long long n = strtoll(text, NULL, 10);
        return errno == ERANGE ? reader_refuse(r, "a whole number beyond 64 bits")
                               : reader_checked(r, json_integer(n));
    }
    char *point = strchr(text, '.');
    if (point)
        *point = *localeconv()->decimal_point;
    const double x = strtod(text, NULL);
    return isfinite(x) ? reader_checked(r, json_real(x))
                       : reader_refuse(r, "a number beyond what a double holds");
}

static json_t *reader_number(json_reader *r)
{
    char near[NUMBER_BYTES];
    bool whole;
    const char *end = number_end(r, &whole);
    if (!end)
        return reader_expect(r, "a number");
    const size_t n = (size_t)(end - r->at);
    char *text = n < sizeof near ? near : malloc(n + 1);
    if (!text)
        return reader_out_of_memory(r);
    memcpy(text, r->at, n);
    text[n] = 0;
    json_t *value = number_value(r, text, whole);
    if (text != near)
        free(text);
    if (value)
        r->at = end;
    return value;
}

/* ---- values --------------------------------------------------------------------------------- */

static json_t *reader_value(json_reader *r);

static bool reader_member(json_reader *r, json_t *object)
{
    reader_skip_space(r);
    if (r->at == r->end || *r->at != '"')
        return reader_expect(r, "a name in quotes") != NULL;
    json_t *value = NULL;
    char *key = reader_text(r);
    if (key && json_object_get(object, key))
        reader_refuse(r, "duplicate object key '%.64s'", key);
    else if (key && !reader_take(r, ':'))
        reader_expect(r, "':'");
    else if (key)
        value = reader_value(r);
    const bool stored = value && json_object_set_new_nocheck(object, key, value) == 0;
    if (value && !stored)
        reader_out_of_memory(r);
    free(key);
    return stored;
}

static bool reader_element(json_reader *r, json_t *array)
{
    json_t *value = reader_value(r);
    const bool stored = value && json_array_append_new(array, value) == 0;
    if (value && !stored)
        reader_out_of_memory(r);
    return stored;
}

/* An object or a list, behind its opening bracket. */
static json_t *reader_container(json_reader *r, bool is_object)
{
    const char close = is_object ? '}' : ']';
    json_t *container = reader_checked(r, is_object ? json_object() : json_array());
    bool good = container != NULL, ended = good && reader_take(r, close);
    while (good && !ended) {
        good = is_object ? reader_member(r, container) : reader_element(r, container);
        ended = good && reader_take(r, close);
        if (good && !ended && !reader_take(r, ','))
            good = reader_expect(r, is_object ? "',' or '}'" : "',' or ']'") != NULL;
    }
    if (good)
        return container;
    json_decref(container);
    return NULL;
}

static json_t *reader_word(json_reader *r)
{
    static const struct {
        const char *word;
        json_t *(*make)(void);
    } words[] = {{"true", json_true}, {"false", json_false}, {"null", json_null}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const size_t n = strlen(words[i].word);
        if ((size_t)(r->end - r->at) < n || memcmp(r->at, words[i].word, n) != 0)
            continue;
        r->at += n;
        return words[i].make();
    }
    return reader_expect(r, "a value");
}

static json_t *reader_value(json_reader *r)
{
    json_t *value;
    reader_skip_space(r);
    if (r->at == r->end)
        return reader_expect(r, "a value");
    switch (*r->at) {
    case '{':
    case '[':
        if (r->depth == MOST_DEPTH)
            return reader_refuse(r, "more than %d lists or objects in each other", MOST_DEPTH);
        r->depth++;
        r->at++;
        value = reader_container(r, r->at[-1] == '{');
        r->depth--;
        return value;
    case '"':
        return reader_string(r);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return reader_number(r);
    default:
        return reader_word(r);
    }
}

caps_status caps_json_parse(json_t **out, const char *text, size_t n, const char *where,
    caps_status failure, caps_error *err)
{
    json_reader r = {.at = text, .end = text + n};
    json_t *value = reader_value(&r);
    reader_skip_space(&r);
    if (value && r.at < r.end) {
        json_decref(value);
        value = reader_expect(&r, "the end");
    }
    *out = value;
    if (value)
        return CAPS_OK;
    if (r.out_of_memory)
        return caps_fail(err, CAPS_ERR_MEMORY, "%s: out of memory while reading JSON", where);
    size_t line = 1;
    for (const char *c = text; c < r.at; c++)
        line += *c == '\n';
    return caps_fail(err, failure, "%s: line %zu: not valid JSON: %s", where, line, r.problem);
}
