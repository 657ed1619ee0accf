/* text.c: see text.h. */
#include "text.h"

#include <stdio.h>
#include <string.h>

size_t caps_utf8_decode(uint32_t *code, const char *text, size_t n)
{
    static const struct {
        unsigned char mask, lead;
        uint32_t least; /* a smaller one has a shorter form */
    } forms[] = {{0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    const unsigned char *c = (const unsigned char *)text;
    uint32_t ignored;
    if (!code)
        code = &ignored;
    if (n == 0)
        return 0;
    *code = c[0];
    if (c[0] < 0x80)
        return 1;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if ((c[0] & forms[i].mask) != forms[i].lead)
            continue;
        if (n < i + 2)
            return 0;
        *code = c[0] & (unsigned char)~forms[i].mask;
        for (size_t k = 1; k < i + 2; k++) {
            if ((c[k] & 0xc0) != 0x80)
                return 0;
            *code = *code << 6 | (c[k] & 0x3f);
        }
        const bool whole =
            *code >= forms[i].least && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff);
        return whole ? i + 2 : 0;
    }
    return 0;
}

bool caps_is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0x2028 || code == 0x2029 ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

static bool text_check(const char *text, bool controls)
{
    uint32_t code;
    for (size_t n = strlen(text); n > 0;) {
        const size_t bytes = caps_utf8_decode(&code, text, n);
        if (bytes == 0 || (!controls && caps_is_control(code)))
            return false;
        text += bytes;
        n -= bytes;
    }
    return true;
}

bool caps_is_utf8(const char *text)
{
    return text_check(text, true);
}

bool caps_is_text(const char *text)
{
    return text_check(text, false);
}

char *caps_text_clean(char *to, size_t bytes, const char *text)
{
    char shown[8];
    size_t at = 0;
    for (size_t left = strlen(text); left > 0;) {
        uint32_t code;
        size_t used = caps_utf8_decode(&code, text, left), n = used;
        const char *piece = text;
        if (used == 0) {
            used = 1;
            code = (unsigned char)*text;
        }
        if (n == 0 || caps_is_control(code)) {
            n = (size_t)snprintf(shown, sizeof shown, code < 0x100 ? "\\x%02x" : "\\u%04x", code);
            piece = shown;
        }
        if (bytes == 0 || n > bytes - 1 - at)
            break;
        memcpy(to + at, piece, n);
        at += n;
        text += used;
        left -= used;
    }
    if (bytes > 0)
        to[at] = 0;
    return to;
}

void caps_text_each_line(const char *text, void (*each)(void *user, const char *line), void *user)
{
    char line[2048];
    while (text && *text) {
        const size_t n = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)n, text);
        each(user, line);
        text += n + (text[n] == '\n');
    }
}
