/* routing_fused_gpu.h: GPU family of routing_fused.h. */
#ifndef CAPS_ROUTING_FUSED_GPU_H
#define CAPS_ROUTING_FUSED_GPU_H

#include "routing_fused.h"

/* Can the runtime's kernels take capsules of these sizes, whatever the batch? */
bool caps_routing_fused_gpu_fits(const caps_runtime *rt, const caps_fused *n);

size_t caps_routing_fused_gpu_workspace(const caps_fused *n, bool training);

caps_status caps_routing_fused_gpu_forward(caps_runtime *rt, const caps_tensor *v,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_tensor *bias, const caps_fused *n, const caps_tensor *workspace, caps_error *err);
caps_status caps_routing_fused_gpu_backward(caps_runtime *rt, const caps_tensor *du,
    const caps_tensor *dw, const caps_tensor *dbias, const caps_tensor *dv,
    const caps_class_caps_state *state, const caps_tensor *u, const caps_tensor *w,
    const caps_fused *n, const caps_tensor *workspace, caps_error *err);

#endif
