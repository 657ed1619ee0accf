/* object_form.c: see object_form.h. What is not known of a format is taken as right. */
#include "object_form.h"

#include <elf.h>
#include <stdint.h>
#include <string.h>

/* ---- ELF ------------------------------------------------------------------------------------ */

static bool is_inside(uint64_t at, uint64_t bytes, size_t n)
{
    return at <= n && bytes <= n - at;
}

bool caps_object_is_library(const unsigned char *data, size_t n)
{
    Elf64_Ehdr head;
    if (n < sizeof(Elf32_Ehdr) || memcmp(data, ELFMAG, SELFMAG) != 0)
        return false;
    if (data[EI_CLASS] != ELFCLASS64)
        return data[EI_CLASS] == ELFCLASS32;
    if (n < sizeof head)
        return false;
    memcpy(&head, data, sizeof head);
    const uint64_t sections = (uint64_t)head.e_shnum * head.e_shentsize;
    const uint64_t segments = (uint64_t)head.e_phnum * head.e_phentsize;
    if (!is_inside(head.e_shoff, sections, n) || !is_inside(head.e_phoff, segments, n) ||
        head.e_phnum == 0 || head.e_phentsize != sizeof(Elf64_Phdr))
        return false;
    for (size_t i = 0; i < head.e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, data + head.e_phoff + i * sizeof segment, sizeof segment);
        if (!is_inside(segment.p_offset, segment.p_filesz, n))
            return false;
    }
    return true;
}

/* ---- bitcode -------------------------------------------------------------------------------- */

/* A block: 2 bits that say so, its number in pieces of 8 bits, a width in pieces of 4; from the
 * next word on its length in words, and so many. */
enum { ENTER_BLOCK = 1, WORD = 4 };

typedef struct bits {
    const unsigned char *data;
    size_t at, n; /* in bits */
} bits;

static unsigned bits_take(bits *b, unsigned count)
{
    unsigned value = 0;
    for (unsigned i = 0; i < count && b->at < b->n; i++, b->at++)
        value |= (unsigned)((b->data[b->at / 8] >> (b->at % 8)) & 1) << i;
    return value;
}

/* The highest bit of a piece says that one more follows. */
static void bits_pass(bits *b, unsigned piece)
{
    while (b->at < b->n && bits_take(b, piece) >> (piece - 1))
        ;
}

bool caps_object_is_bitcode(const unsigned char *data, size_t n)
{
    static const unsigned char magic[] = {'B', 'C', 0xc0, 0xde},
                               wrapped[] = {0xde, 0xc0, 0x17, 0xb};
    if (n < 2 * WORD)
        return false;
    if (memcmp(data, magic, sizeof magic) != 0)
        return memcmp(data, wrapped, sizeof wrapped) == 0;
    for (size_t at = WORD; at < n;) {
        bits b = {data, 8 * at, 8 * n};
        if (bits_take(&b, 2) != ENTER_BLOCK)
            return false;
        bits_pass(&b, 8);
        bits_pass(&b, 4);
        at = (b.at + 31) / 32 * WORD;
        if (!is_inside(at, WORD, n))
            return false;
        b.at = 8 * at;
        const uint64_t length = (uint64_t)WORD * bits_take(&b, 32);
        at += WORD;
        if (!is_inside(at, length, n))
            return false;
        at += (size_t)length;
    }
    return true;
}
