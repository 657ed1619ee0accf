/* words.h: words that texts and pages share. */
#ifndef CAPS_WORDS_H
#define CAPS_WORDS_H

#include <stddef.h>

/* What is counted of a data set with so many labels an image: "images", or "pairs" (of which those
 * are right whose digits are both found). */
const char *caps_images_name(size_t labels);

#endif
