/* capscl/export.h: networks in the formats of other programs. */
#ifndef CAPSCL_EXPORT_H
#define CAPSCL_EXPORT_H

#include <capscl/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- ONNX ----------------------------------------------------------------------------------- */

/* The operator set that the files ask for, and the version of the format. */
#define CAPS_ONNX_OPSET      17
#define CAPS_ONNX_IR_VERSION 8

/* Writes the network for inference, with its parameters, as an ONNX file (docs/onnx.md). N, the
 * number of images, is free. J classes, L labels, as in caps_model_info.
 *   input   "images"          float32 [N, C, H, W], 0 to 1
 *   output  "lengths"         [N, J]: what "lengths" of caps_model_output is
 *           "capsules"        [N, J, D], where the network ends in capsules
 *           "reconstruction"  [N, C, H, W], where it has a decoder: of the longest capsule; with
 *                             L > 1 [N, L, C, H, W], of the L longest, the longest first
 * Batch normalisation goes by the running statistics, dropout drops nothing, and the iterations of
 * routing are written out. The same network gives the same bytes.
 * parameters: flat, as caps_checkpoint.parameters and caps_model_get_parameters have them. The file
 * appears when it is whole. Needs no device.
 * CAPS_ERR_SPEC: a layer has no translation, or the file would be larger than 2 GiB, the format's
 * limit. CAPS_ERR_IO, CAPS_ERR_MEMORY. */
CAPS_API caps_status caps_onnx_write(
    const char *path, const caps_model_spec *spec, const float *parameters, caps_error *err);
/* The same of a model as it is. Blocks. */
CAPS_API caps_status caps_model_export_onnx(caps_model *m, const char *path, caps_error *err);

#ifdef __cplusplus
}
#endif
#endif
