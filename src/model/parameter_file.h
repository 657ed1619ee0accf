/* parameter_file.h: a network and its parameters in a safetensors file, for checkpoints and for the
 * states of runs. `flat` is the flat array of all parameters; `name` may differ from the
 * parameter's (a moment of it). Failures are CAPS_ERR_FORMAT: "path: tensor name: ...". */
#ifndef CAPS_PARAMETER_FILE_H
#define CAPS_PARAMETER_FILE_H

#include <capscl/model.h>

#include "safetensors.h"

#define CAPS_FORMAT_VERSION "1" /* capscl.format */

/* What the metadata say of a network, as text. */
typedef struct caps_network_texts {
    char *spec;
    char *classes; /* NULL: they have no names */
    char *loss;    /* NULL: the default */
} caps_network_texts;

/* CAPS_ERR_MEMORY; release it then too. */
caps_status caps_network_texts_init(caps_network_texts *t, const caps_model_spec *spec,
    const caps_loss *loss, const char *path, caps_error *err);
void caps_network_texts_release(caps_network_texts *t);

/* The most pairs that caps_network_texts_list adds to `own`. */
#define CAPS_NETWORK_PAIRS 4
/* Spec and format, own [count], then classes and loss where there are any: how many pairs there are
 * in metadata [count + CAPS_NETWORK_PAIRS], which borrow the texts. */
size_t caps_network_texts_list(
    caps_st_pair *metadata, const caps_network_texts *t, const caps_st_pair *own, size_t count);

/* Points into `flat` and at `name`. */
caps_st_tensor caps_parameter_tensor(const caps_parameter *p, const char *name, const float *flat);

/* Types of numbers that are converted to float32 as they are read. "float32", "float16",
 * "bfloat16", "float64"; NULL: another type. */
const char *caps_parameter_type_name(const char *dtype);

/* Does t have the parameter's shape? */
bool caps_parameter_fits(const caps_st_tensor *t, const caps_parameter *p);

/* t (NULL: it is missing) has the parameter's shape, and a type that can be read. */
caps_status caps_parameter_check(const caps_st_tensor *t, const char *name, const caps_parameter *p,
    const char *path, caps_error *err);

/* Copies a tensor that was checked into `values` [count], converted to float32 (rounded to nearest,
 * ties to even), and refuses numbers that are not finite or too large for float32. */
caps_status caps_parameter_read(float *values, const caps_st_tensor *t, const caps_parameter *p,
    const char *path, caps_error *err);

/* "1152, 10, 16, 8" */
void caps_shape_text(char *text, size_t bytes, int ndim, const size_t *shape);

/* caps_model_save of a file of a run directory: links are not followed (caps_atomic_init_own). */
caps_status caps_model_save_own(caps_model *m, const char *path, caps_error *err);

#endif
