/* onnx_file.h: an ONNX graph becomes a file. */
#ifndef CAPS_ONNX_FILE_H
#define CAPS_ONNX_FILE_H

#include <capscl/export.h>
#include <capscl/version.h>

#include "onnx_graph.h"

/* Readers of Protocol Buffers take no message that is larger. */
#define CAPS_ONNX_MOST_BYTES ((uint64_t)INT32_MAX)

enum { CAPS_ONNX_GRAPH_NODE = 1 }; /* number of the field */

/* The graph of this network, with the outputs that it has. CAPS_ERR_SPEC: it would be too large.
 * CAPS_ERR_IO, CAPS_ERR_MEMORY. */
caps_status caps_onnx_file_write(
    const char *path, const caps_onnx_graph *g, const caps_model_spec *spec, caps_error *err);

#endif
