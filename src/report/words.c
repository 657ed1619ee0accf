/* words.c: see words.h. */
#include "words.h"

const char *caps_images_name(size_t labels)
{
    return labels > 1 ? "pairs" : "images";
}
