/* parameter_file.h: a parameter as a tensor of a safetensors file, for checkpoints and for the
 * states of runs. `flat` is the flat array of all parameters; `name` may differ from the
 * parameter's (a moment of it). Failures are CAPS_ERR_FORMAT: "path: tensor name: ...". */
#ifndef CAPS_PARAMETER_FILE_H
#define CAPS_PARAMETER_FILE_H

#include <capscl/model.h>

#include "safetensors.h"

#define CAPS_FORMAT_VERSION "1" /* capscl.format */

/* Points into `flat` and at `name`. */
caps_st_tensor caps_parameter_tensor(const caps_parameter *p, const char *name, const float *flat);

/* t (NULL: it is missing) has the parameter's type and shape. */
caps_status caps_parameter_check(const caps_st_tensor *t, const char *name, const caps_parameter *p,
    const char *path, caps_error *err);

/* Copies a tensor that was checked, and refuses numbers that are not finite. */
caps_status caps_parameter_read(float *flat, const caps_st_tensor *t, const caps_parameter *p,
    const char *path, caps_error *err);

#endif
