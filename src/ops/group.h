/* group.h: regrouping and squash in one kernel each way: GPU family. */
#ifndef CAPS_GROUP_H
#define CAPS_GROUP_H

#include <capscl/ops.h>

/* v = squash(factor u), u as caps_group_forward gives it of z: [B, T*K, H, W] -> [B, T*H*W, K]. */
caps_status caps_group_squash_forward(caps_runtime *rt, const caps_tensor *v, const caps_tensor *z,
    float factor, caps_squash squash, caps_error *err);
/* dz: the gradient of that, by the same z, which is another tensor than dz. */
caps_status caps_group_squash_backward(caps_runtime *rt, const caps_tensor *dz,
    const caps_tensor *dv, const caps_tensor *z, float factor, caps_squash squash, caps_error *err);

#endif
