/* colour.h: a few words in colour, on terminals alone: nothing where the stream is none, where
 * NO_COLOR is set to something, or where TERM is "dumb" or not set. */
#ifndef CAPS_COLOUR_H
#define CAPS_COLOUR_H

#include <stdio.h>

typedef enum caps_tint {
    CAPS_TINT_BAD,  /* red: errors, what is wrong */
    CAPS_TINT_GOOD, /* green: what is right */
    CAPS_TINT_WARN, /* yellow: warnings */
    CAPS_TINT_NOTE, /* blue: notes */
} caps_tint;

/* What begins and what ends a colour on the stream (stdout or stderr); "" where there is none. They
 * have no width: print them beside what is padded. */
const char *caps_colour(FILE *stream, caps_tint tint);
const char *caps_colour_end(FILE *stream);

#endif
