/* html.c: see html.h. */
#include "html.h"

#include <stdlib.h>

#include "fail.h"

/* Bytes of the character of UTF-8 that text begins with; 0: it is none. */
static size_t utf8_bytes(const unsigned char *text)
{
    static const struct {
        unsigned char mask, lead;
        unsigned least; /* a smaller one has a shorter form */
    } forms[] = {{0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    if (text[0] < 0x80)
        return 1;
    for (size_t i = 0; i < 3; i++) {
        if ((text[0] & forms[i].mask) != forms[i].lead)
            continue;
        unsigned code = text[0] & (unsigned char)~forms[i].mask;
        for (size_t k = 1; k <= i + 1; k++) {
            if ((text[k] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (text[k] & 0x3f);
        }
        const bool whole = code >= forms[i].least && code <= 0x10ffff &&
                           (code < 0xd800 || code > 0xdfff) && (code < 0x80 || code > 0x9f);
        return whole ? i + 2 : 0;
    }
    return 0;
}

void caps_html_text(caps_textbuf *h, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        const size_t n = utf8_bytes(c);
        if (n == 0 || (*c < 32 && *c != '\n') || *c == 127)
            caps_textbuf_append(h, "?", 1);
        else if (*c == '&')
            caps_textbuf_append(h, "&amp;", 5);
        else if (*c == '<')
            caps_textbuf_append(h, "&lt;", 4);
        else if (*c == '>')
            caps_textbuf_append(h, "&gt;", 4);
        else if (*c == '"')
            caps_textbuf_append(h, "&quot;", 6);
        else if (*c == '\'')
            caps_textbuf_append(h, "&#39;", 5);
        else
            caps_textbuf_append(h, (const char *)c, n);
        c += n ? n : 1;
    }
}

static void append_base64(caps_textbuf *h, const unsigned char *data, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = caps_textbuf_extend(h, (n + 2) / 3 * 4);
    for (size_t i = 0; out && i < n; i += 3) {
        const size_t left = n - i;
        const unsigned v = (unsigned)data[i] << 16 | (left > 1 ? (unsigned)data[i + 1] << 8 : 0) |
                           (left > 2 ? data[i + 2] : 0);
        *out++ = digits[v >> 18 & 63];
        *out++ = digits[v >> 12 & 63];
        *out++ = left > 1 ? digits[v >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[v & 63] : '=';
    }
}

caps_status caps_html_image(
    caps_textbuf *h, const caps_image *image, const char *style, const char *alt, caps_error *err)
{
    unsigned char *png;
    size_t n;
    caps_status status = caps_image_encode_png(&png, &n, image, err);
    if (status != CAPS_OK)
        return status;
    caps_textbuf_put(h, "<img style=\"%s\" width=\"%zu\" height=\"%zu\" alt=\"", style,
        image->width, image->height);
    caps_html_text(h, alt);
    caps_textbuf_put(h, "\" src=\"data:image/png;base64,");
    append_base64(h, png, n);
    caps_textbuf_put(h, "\">");
    free(png);
    return CAPS_OK;
}
