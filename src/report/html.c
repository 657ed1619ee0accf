/* html.c: see html.h. */
#include "html.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "text.h"

void caps_html_text(caps_textbuf *h, const char *text)
{
    for (const char *c = text, *end = text + strlen(text); c < end;) {
        uint32_t code;
        const size_t n = caps_utf8_decode(&code, c, (size_t)(end - c));
        if (n == 0 || (caps_is_control(code) && *c != '\n'))
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
            caps_textbuf_append(h, c, n);
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
