/* letters.h: text in the letters that the built-in font has. */
#ifndef CAPS_LETTERS_H
#define CAPS_LETTERS_H

/* The next character of UTF-8 as ASCII 32..126: "e" for one with an accent, "ss" for a sharp s, ""
 * for an accent that stands apart, "?" for what has no such letters. *text, not at its end, moves
 * behind the character; `one` may be where the answer lies. */
const char *caps_letters_next(const char **text, char one[2]);

#endif
