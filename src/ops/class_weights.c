/* class_weights.c: rows times the weights of their classes; kernel in cl/class_weights.cl. */
#include <capscl/ops.h>

#include "fail.h"
#include "launch.h"
#include "require.h"

#define CLASS_WEIGHTS_GROUP 128 /* GPU family: items in a work-group */

caps_status caps_class_weights_apply(caps_runtime *rt, const caps_tensor *x,
    const caps_tensor *weights, const caps_tensor *labels, caps_error *err)
{
    const int ndim = x && x->ndim > 0 ? x->ndim : 1;
    const bool several = labels && labels->ndim == 2;
    caps_status status;
    CAPS_TRY(caps_require_source("class weights", "x", x, ndim, "[B, ...]", err));
    CAPS_TRY(caps_require_source("class weights", "weights", weights, 1, "[J]", err));
    const size_t b = x->shape[0], l = several ? labels->shape[1] : 1;
    CAPS_TRY(caps_require_tensor("class weights", "labels", labels, CAPS_I32, several ? 2 : 1,
        (size_t[]){b, l ? l : 1}, err));
    CAPS_TRY(caps_require_count("class weights", "the size of x", ndim, x->shape, err));
    const size_t count = caps_tensor_count(x), n = count / b;
    const size_t per_item = caps_is_gpu(rt) ? 1 : n;
    size_t local = caps_is_gpu(rt) ? caps_group_size(rt, CLASS_WEIGHTS_GROUP) : 1;
    size_t global = caps_round_up(caps_div_up(count, per_item), local);
    const caps_arg args[] = {CAPS_ARG_TENSOR(x), CAPS_ARG_TENSOR(weights), CAPS_ARG_TENSOR(labels),
        CAPS_ARG_UINT(count), CAPS_ARG_UINT(n), CAPS_ARG_UINT(per_item),
        CAPS_ARG_UINT(weights->shape[0]), CAPS_ARG_UINT(l)};
    CAPS_TRY(caps_launch(rt, "class_weights", CAPS_ARGS(args), 1, &global, &local, err));
done:
    return status;
}
