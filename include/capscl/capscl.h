/* capscl.h: capsule networks on any OpenCL device.
 *
 *     #include <capscl/capscl.h>
 *     caps_error err = {0};
 *     caps_runtime *rt = NULL;
 *     caps_tensor s = {0}, v = {0};
 *     float x[2][3] = {{3, 0, 4}, {0, 0, 0}};
 *     if (caps_runtime_create(&rt, NULL, NULL, &err) ||                  // the best device here
 *         caps_tensor_init(&s, rt, CAPS_F32, 2, (size_t[]){2, 3}, &err) ||
 *         caps_tensor_init(&v, rt, CAPS_F32, 2, (size_t[]){2, 3}, &err) ||
 *         caps_tensor_upload(rt, &s, x, &err) ||
 *         caps_squash_forward(rt, &v, &s, CAPS_SQUASH_PAPER, &err) ||
 *         caps_tensor_download(rt, &v, x, &err))
 *         fprintf(stderr, "%s\n", err.message);                          // one line, always
 *     printf("%g %g %g\n", x[0][0], x[0][1], x[0][2]);                   // 0.576923 0 0.769231
 *
 * Headers: error.h, device.h, tensor.h, ops.h (operations), dataset.h, model.h, inspect.h
 * (predictions, evaluation), train.h, export.h (ONNX).
 */
#ifndef CAPSCL_CAPSCL_H
#define CAPSCL_CAPSCL_H

#include <capscl/dataset.h>
#include <capscl/device.h>
#include <capscl/error.h>
#include <capscl/export.h>
#include <capscl/inspect.h>
#include <capscl/model.h>
#include <capscl/ops.h>
#include <capscl/tensor.h>
#include <capscl/train.h>
#include <capscl/version.h>

#endif
