/* text.h: text from outside: files, drivers, arguments. It may hold any byte, and what it prints
 * may move the cursor, set a terminal's title or turn the line around. */
#ifndef CAPS_TEXT_H
#define CAPS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character of UTF-8 that `text` of `n` bytes begins with, its code in *code (NULL
 * allowed); 0: it begins with none (a wrong byte, a longer form than needed, half a surrogate pair,
 * a cut character, or the end). */
size_t caps_utf8_decode(uint32_t *code, const char *text, size_t n);

/* Does the character act on the terminal or the line rather than show? Controls (U+0000 to U+001F,
 * U+007F to U+009F), line and paragraph separators (U+2028, U+2029), and what turns the direction
 * of writing (U+202A to U+202E, U+2066 to U+2069). */
bool caps_is_control(uint32_t code);

bool caps_is_utf8(const char *text);
/* Is it UTF-8 without such characters? What a name must be. */
bool caps_is_text(const char *text);

/* Copies text so that it can be shown on one line: such a character becomes "\x1b" or "\u202e", a
 * byte that is no UTF-8 "\x9b". What does not fit into `bytes` is left out, by whole characters.
 * Returns `to`. */
char *caps_text_clean(char *to, size_t bytes, const char *text);

/* Calls `each` with every line of a text (NULL: it has none), without its '\n'; a line of more than
 * 2047 bytes is cut. */
void caps_text_each_line(const char *text, void (*each)(void *user, const char *line), void *user);

#endif
