/* spec.h: bounds that parsing and checking of a spec share. */
#ifndef CAPS_SPEC_H
#define CAPS_SPEC_H

#include <capscl/model.h>

#define CAPS_SPEC_MOST_SIZE ((size_t)INT32_MAX)

#endif
