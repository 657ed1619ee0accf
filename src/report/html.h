/* html.h: pieces of an HTML page. Markup of our own is put with caps_textbuf_put. */
#ifndef CAPS_HTML_H
#define CAPS_HTML_H

#include "image.h"
#include "textbuf.h"

/* Whatever comes from outside: escaped, for text and for attributes in double quotes; what is no
 * UTF-8 or no printable character becomes '?'. */
void caps_html_text(caps_textbuf *h, const char *text);
/* An <img> whose PNG is in it; `style` is its attribute, `alt` is escaped. CAPS_ERR_MEMORY. */
caps_status caps_html_image(
    caps_textbuf *h, const caps_image *image, const char *style, const char *alt, caps_error *err);

#endif
