/* csv.h: fields of comma-separated values. */
#ifndef CAPS_CSV_H
#define CAPS_CSV_H

#include "textbuf.h"

/* A text as one field: in quotes where it needs them. */
void caps_csv_put(caps_textbuf *to, const char *text);

#endif
