/* bias_act.h: bias and activation between layouts, for operations that end in them. */
#ifndef CAPS_BIAS_ACT_H
#define CAPS_BIAS_ACT_H

#include <capscl/ops.h>

/* [N,C,S] elsewhere than in a dense tensor: element (n, c, s) lies at n * n_stride + c * c_stride +
 * s. */
typedef struct caps_planes {
    size_t n, c, s;
    size_t n_stride, c_stride;
} caps_planes;

/* y[n,c,s] = act(x at (n,c,s) of `planes` + bias[c]). y is dense [N,C,S]; bias NULL: none. */
caps_status caps_bias_act_apply(caps_runtime *rt, const caps_tensor *y, const caps_tensor *x,
    const caps_planes *planes, const caps_tensor *bias, caps_activation act, caps_error *err);

/* dx at (n,c,s) of `planes` = dy[n,c,s] act'(y[n,c,s]). dy and y are dense; y is read only where
 * act is not NONE, and may then be NULL. */
caps_status caps_bias_act_gradient(caps_runtime *rt, const caps_tensor *dx,
    const caps_planes *planes, const caps_tensor *dy, const caps_tensor *y, caps_activation act,
    caps_error *err);

/* dbias[c] = sum over n, s of dy act'(y); all dense, y as above. */
caps_status caps_bias_act_sum(caps_runtime *rt, const caps_tensor *dbias, const caps_tensor *dy,
    const caps_tensor *y, caps_activation act, size_t n, size_t c, size_t s, caps_error *err);

#endif
