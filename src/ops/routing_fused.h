/* routing_fused.h: class capsules whose votes are never stored; the half of caps_class_caps_* that
 * class_caps.c takes for CAPS_ROUTING_FUSED. Tensors are checked before. */
#ifndef CAPS_ROUTING_FUSED_H
#define CAPS_ROUTING_FUSED_H

#include <capscl/ops.h>

/* A launch's sizes: shape's, with the batch at hand. */
typedef caps_class_caps caps_fused;

/* Elements of workspace; gpu: for the GPU family. */
size_t caps_routing_fused_workspace(const caps_fused *n, bool gpu, bool training);

caps_status caps_routing_fused_forward(caps_runtime *rt, const caps_tensor *v,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *bias, const caps_fused *n, const caps_tensor *workspace, caps_error *err);
caps_status caps_routing_fused_backward(caps_runtime *rt, const caps_tensor *du,
    const caps_tensor *dw, const caps_tensor *dbias, const caps_tensor *dv,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_fused *n, const caps_tensor *workspace, caps_error *err);

#endif
