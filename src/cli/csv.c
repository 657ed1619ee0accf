/* csv.c: see csv.h. */
#include "csv.h"

#include <string.h>

void caps_csv_put(caps_textbuf *to, const char *text)
{
    const char *const quote = strpbrk(text, ",\"\r\n") ? "\"" : "";
    caps_textbuf_put(to, "%s", quote);
    for (const char *c = text; *c; c++) {
        if (*c == '"')
            caps_textbuf_append(to, c, 1);
        caps_textbuf_append(to, c, 1);
    }
    caps_textbuf_put(to, "%s", quote);
}
