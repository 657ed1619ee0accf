/* version.c: the version of the library that runs. */
#include <capscl/version.h>

const char *caps_version(void)
{
    return CAPSCL_VERSION;
}
