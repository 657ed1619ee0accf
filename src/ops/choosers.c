/* choosers.c: the choices that can be requested for a runtime, by caps_runtime_options.algorithms
 * or an environment variable. */
#include "choosers.h"

#include <stddef.h>

const caps_chooser *const caps_choosers[] = {
    &caps_gemm_chooser, &caps_conv_chooser, &caps_routing_chooser, NULL};
_Static_assert(sizeof caps_choosers / sizeof *caps_choosers <= CAPS_CHOOSERS, "choice.h: too few");
