/* routing_fused.h: class capsules whose votes are never stored; the half of caps_class_caps_* that
 * class_caps.c takes for CAPS_ROUTING_FUSED. Tensors are checked before. */
#ifndef CAPS_ROUTING_FUSED_H
#define CAPS_ROUTING_FUSED_H

#include <capscl/ops.h>

/* A launch's sizes: shape's, with the batch at hand. */
typedef caps_class_caps caps_fused;

/* GPU family: rows of `width` items of a work-group that share the sum of `chunks` partial sums; a
 * power of two. */
static inline size_t caps_routing_parts(size_t group, size_t width, size_t chunks)
{
    size_t parts = 1;
    while (parts * width * 2 <= group && parts * 2 <= chunks)
        parts *= 2;
    return parts;
}

/* Can the runtime's kernels take capsules of these sizes, whatever the batch? */
bool caps_routing_fused_fits(const caps_runtime *rt, const caps_fused *n);

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
