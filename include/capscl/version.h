/* capscl/version.h: the version of the library. */
#ifndef CAPSCL_VERSION_H
#define CAPSCL_VERSION_H

#include <capscl/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of these headers. */
#define CAPSCL_VERSION "0.1.0"

/* The number behind .so in the name of the library's file. From version 1.0 on it changes whenever
 * a program would have to be built again, and not otherwise; until then a minor version may change
 * functions and structs without it. */
#define CAPSCL_SOVERSION 1

/* The version of the library that runs. */
CAPS_API const char *caps_version(void);

#ifdef __cplusplus
}
#endif
#endif
