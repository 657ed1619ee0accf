/* letters.c: see letters.h. */
#include "letters.h"

#include <stddef.h>
#include <stdint.h>

enum { FIRST = 0xA0, LAST = 0x17F };

/* Latin-1 and Latin Extended-A. */
/* clang-format off */
static const char plain[LAST - FIRST + 1][4] = {
    /* U+00A0 */ " ", "!", "?", "?", "?", "?", "|", "?", "?", "?", "a", "<<", "?", "", "?", "?",
    /* U+00B0 */ "?", "+-", "2", "3", "'", "u", "?", ".", ",", "1", "o", ">>", "1/4", "1/2", "3/4",
    "?",
    /* U+00C0 */ "A", "A", "A", "A", "Ae", "A", "AE", "C", "E", "E", "E", "E", "I", "I", "I", "I",
    /* U+00D0 */ "D", "N", "O", "O", "O", "O", "Oe", "x", "O", "U", "U", "U", "Ue", "Y", "Th", "ss",
    /* U+00E0 */ "a", "a", "a", "a", "ae", "a", "ae", "c", "e", "e", "e", "e", "i", "i", "i", "i",
    /* U+00F0 */ "d", "n", "o", "o", "o", "o", "oe", "/", "o", "u", "u", "u", "ue", "y", "th", "y",
    /* U+0100 */ "A", "a", "A", "a", "A", "a", "C", "c", "C", "c", "C", "c", "C", "c", "D", "d",
    /* U+0110 */ "D", "d", "E", "e", "E", "e", "E", "e", "E", "e", "E", "e", "G", "g", "G", "g",
    /* U+0120 */ "G", "g", "G", "g", "H", "h", "H", "h", "I", "i", "I", "i", "I", "i", "I", "i",
    /* U+0130 */ "I", "i", "IJ", "ij", "J", "j", "K", "k", "k", "L", "l", "L", "l", "L", "l", "L",
    /* U+0140 */ "l", "L", "l", "N", "n", "N", "n", "N", "n", "'n", "N", "n", "O", "o", "O", "o",
    /* U+0150 */ "O", "o", "OE", "oe", "R", "r", "R", "r", "R", "r", "S", "s", "S", "s", "S", "s",
    /* U+0160 */ "S", "s", "T", "t", "T", "t", "T", "t", "U", "u", "U", "u", "U", "u", "U", "u",
    /* U+0170 */ "U", "u", "U", "u", "W", "w", "Y", "y", "Y", "Z", "z", "Z", "z", "Z", "z", "s",
};
/* clang-format on */

/* Punctuation that names and paths of other languages have. */
static const struct {
    uint32_t first, last;
    const char *plain;
} ranges[] = {{0x300, 0x36F, ""}, /* accents that stand behind their letter */
    {0x2010, 0x2015, "-"}, {0x2018, 0x201B, "'"}, {0x201C, 0x201F, "\""}, {0x2026, 0x2026, "..."},
    {0x2212, 0x2212, "-"}};

static const char *plain_of(uint32_t c)
{
    if (c >= FIRST && c <= LAST)
        return plain[c - FIRST];
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return ranges[i].plain;
    return "?";
}

const char *caps_letters_next(const char **text, char one[2])
{
    const unsigned char c = (unsigned char)*(*text)++;
    one[0] = c >= 32 && c <= 126 ? (char)c : '?';
    one[1] = 0;
    if (c < 0xC0)
        return one;
    uint32_t code = c < 0xE0 ? c & 0x1Fu : c & 0x0Fu;
    int more = 0;
    for (; ((unsigned char)**text & 0xC0) == 0x80; more++, (*text)++)
        code = more < 2 ? code << 6 | ((unsigned char)**text & 0x3Fu) : code;
    return more == (c < 0xE0 ? 1 : 2) && c < 0xF0 ? plain_of(code) : one;
}
