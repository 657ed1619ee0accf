/* protobuf.h: writing messages of Protocol Buffers: a field is its number with the kind of value,
 * then the value. A message inside another is made in a text of its own, and put as bytes.
 * https://protobuf.dev/programming-guides/encoding/ */
#ifndef CAPS_PROTOBUF_H
#define CAPS_PROTOBUF_H

#include "textbuf.h"

/* Of whole numbers; a negative one as its two's complement of 64 bits. */
void caps_pb_number(caps_textbuf *t, unsigned field, uint64_t value);
void caps_pb_float(caps_textbuf *t, unsigned field, float value);
void caps_pb_bytes(caps_textbuf *t, unsigned field, const void *bytes, size_t n);
void caps_pb_text(caps_textbuf *t, unsigned field, const char *text);
/* A message, which is released. Where memory was lacking for it, it is lacking for t. */
void caps_pb_message(caps_textbuf *t, unsigned field, caps_textbuf *message);
/* What stands before n bytes of a field that the caller writes. */
void caps_pb_length(caps_textbuf *t, unsigned field, uint64_t n);

#endif
