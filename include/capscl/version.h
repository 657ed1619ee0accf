/* capscl/version.h: the version of the library. */
#ifndef CAPSCL_VERSION_H
#define CAPSCL_VERSION_H

#include <capscl/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of these headers. The library's file is libcapscl.so.0 as long as this begins with 0: until 1.0 a
 * later version may change functions and structs, so that programs are to be built again. From 1.0
 * on the number behind .so changes whenever a program would have to be built again, and not
 * otherwise. */
#define CAPSCL_VERSION "0.1.0"

/* The version of the library that runs. */
CAPS_API const char *caps_version(void);

#ifdef __cplusplus
}
#endif
#endif
