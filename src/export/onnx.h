/* onnx.h: how layers and heads become nodes of an ONNX graph.
 *
 * A kind of layer has one function, in layers/, and a row of the table in onnx.c. It reads the
 * layer's fields as a spec has them, by their names, so that it needs nothing of the layer's own
 * struct. */
#ifndef CAPS_ONNX_H
#define CAPS_ONNX_H

#include <string.h>

#include <capscl/export.h>

#include "head.h"
#include "onnx_graph.h"

/* Adds the layer's nodes and names its outputs (caps_onnx_value_set). fields: all that its kind has,
 * with their values; an object without members where it has none. CAPS_ERR_SPEC: "conv1: ...". */
typedef caps_status caps_onnx_translation(
    caps_onnx_graph *g, const caps_layer *layer, const json_t *fields, caps_error *err);

caps_onnx_translation caps_onnx_input, caps_onnx_mask, caps_onnx_conv, caps_onnx_linear,
    caps_onnx_same, caps_onnx_max_pool, caps_onnx_primary_caps, caps_onnx_caps,
    caps_onnx_matrix_primary, caps_onnx_matrix;

/* The translation of a kind by its name; NULL: there is none. */
caps_onnx_translation *caps_onnx_find(const char *kind);

/* Translates a layer by the table. CAPS_ERR_SPEC: the kind has no translation. */
caps_status caps_onnx_translate(caps_onnx_graph *g, const caps_layer *layer, caps_error *err);

/* From the head's input, scores [N, J] of the classes. CAPS_ERR_SPEC: the head has no translation. */
caps_status caps_onnx_scores(caps_onnx_graph *g, const caps_head *head, caps_error *err);

/* ---- fields --------------------------------------------------------------------------------- */

static inline int64_t caps_onnx_size(const json_t *fields, const char *name)
{
    return (int64_t)json_integer_value(json_object_get(fields, name));
}

static inline double caps_onnx_real(const json_t *fields, const char *name)
{
    return json_number_value(json_object_get(fields, name));
}

static inline bool caps_onnx_flag(const json_t *fields, const char *name)
{
    return json_is_true(json_object_get(fields, name));
}

static inline bool caps_onnx_is(const json_t *fields, const char *name, const char *value)
{
    const char *text = json_string_value(json_object_get(fields, name));
    return text && strcmp(text, value) == 0;
}

/* ---- capsules ------------------------------------------------------------------------------- */

/* Length of a capsule where it is divided by: its square is still a normal number. */
#define CAPS_ONNX_LEAST_LENGTH 1e-19

/* squash over the last dimension; exponential: that of Efficient-CapsNet. */
const char *caps_onnx_squash(caps_onnx_graph *g, const char *s, bool exponential);

/* Input of the layer; a convolution of it by parameters weight and weight + 1 (bias false: without
 * the latter). */
const char *caps_onnx_read(const caps_onnx_graph *g, const caps_layer *layer, size_t i);
const char *caps_onnx_convolution(caps_onnx_graph *g, const caps_layer *layer, size_t weight,
    bool bias, const json_t *fields, int64_t groups);

#endif
