/* link_load.h: the module that calls MPI, where there is one. */
#ifndef CAPS_LINK_LOAD_H
#define CAPS_LINK_LOAD_H

#include <capscl/error.h>

#include "link.h"

/* The MPI library that the module was built with: "Open MPI 4.1.4"; "": this build has none. */
const char *caps_link_built_with(void);
/* Is the module there: beside the program or the library, or where they were installed? */
bool caps_link_is_there(void);
/* Loads it: it stays until the process ends. path NULL: wherever it is. CAPS_ERR_RANK: there is
 * none, or it cannot be loaded. */
caps_status caps_link_load(const caps_link **link, const char *path, caps_error *err);

#endif
