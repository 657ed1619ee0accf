/* protobuf.c: see protobuf.h. */
#include "protobuf.h"

#include <string.h>

enum { VARINT = 0, LENGTH = 2, FIXED32 = 5 }; /* kinds of values */

/* Seven bits a byte, the lowest first; the highest bit says that more follow. */
static void put_varint(caps_textbuf *t, uint64_t value)
{
    char bytes[10];
    size_t n = 0;
    do {
        const unsigned low = (unsigned)(value & 0x7f);
        value >>= 7;
        bytes[n++] = (char)(low | (value ? 0x80u : 0));
    } while (value);
    caps_textbuf_append(t, bytes, n);
}

static void put_key(caps_textbuf *t, unsigned field, unsigned kind)
{
    put_varint(t, (uint64_t)field << 3 | kind);
}

void caps_pb_number(caps_textbuf *t, unsigned field, uint64_t value)
{
    put_key(t, field, VARINT);
    put_varint(t, value);
}

void caps_pb_float(caps_textbuf *t, unsigned field, float value)
{
    uint32_t word;
    char bytes[4];
    memcpy(&word, &value, sizeof word);
    for (int i = 0; i < 4; i++)
        bytes[i] = (char)(word >> 8 * i & 0xff);
    put_key(t, field, FIXED32);
    caps_textbuf_append(t, bytes, sizeof bytes);
}

void caps_pb_length(caps_textbuf *t, unsigned field, uint64_t n)
{
    put_key(t, field, LENGTH);
    put_varint(t, n);
}

void caps_pb_bytes(caps_textbuf *t, unsigned field, const void *bytes, size_t n)
{
    caps_pb_length(t, field, n);
    if (n > 0)
        caps_textbuf_append(t, bytes, n);
}

void caps_pb_text(caps_textbuf *t, unsigned field, const char *text)
{
    caps_pb_bytes(t, field, text, strlen(text));
}

void caps_pb_message(caps_textbuf *t, unsigned field, caps_textbuf *message)
{
    caps_pb_bytes(t, field, message->text, message->used);
    t->out_of_memory |= message->out_of_memory;
    caps_textbuf_release(message);
}
