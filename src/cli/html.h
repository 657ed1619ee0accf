/* html.h: HTML into memory. A failure to find memory is kept until it is asked for. */
#ifndef CAPS_HTML_H
#define CAPS_HTML_H

#include <stdbool.h>
#include <stddef.h>

#include "image.h"

typedef struct caps_html {
    char *text;
    size_t used, size;
    bool out_of_memory;
} caps_html;

/* Markup of our own. */
void caps_html_put(caps_html *h, const char *format, ...) CAPS_PRINTF(2, 3);
/* Whatever comes from outside: escaped, for text and for attributes in double quotes; what is no
 * UTF-8 or no printable character becomes '?'. */
void caps_html_text(caps_html *h, const char *text);
/* An <img> whose PNG is in it; `style` is its attribute, `alt` is escaped. CAPS_ERR_MEMORY. */
caps_status caps_html_image(
    caps_html *h, const caps_image *image, const char *style, const char *alt, caps_error *err);
void caps_html_release(caps_html *h);

#endif
