/* object_form.h: is a file of a compiler as long as it says? */
#ifndef CAPS_OBJECT_FORM_H
#define CAPS_OBJECT_FORM_H

#include <stdbool.h>
#include <stddef.h>

/* A shared library (ELF): its head, and all that its tables speak of is there. */
bool caps_object_is_library(const unsigned char *data, size_t n);
/* LLVM bitcode: blocks from the beginning to the end. */
bool caps_object_is_bitcode(const unsigned char *data, size_t n);

#endif
