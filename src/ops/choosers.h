/* choosers.h: the choosers of src/ops (choice.h); choosers.c lists them for the runtime. */
#ifndef CAPS_CHOOSERS_H
#define CAPS_CHOOSERS_H

#include "choice.h"

extern const caps_chooser caps_gemm_chooser;    /* gemm.c; problem: caps_gemm_problem */
extern const caps_chooser caps_conv_chooser;    /* conv.c; problem: caps_conv_problem */
extern const caps_chooser caps_routing_chooser; /* class_caps.c; problem: caps_class_caps */

#endif
