/* optimizer.c: Adam, plain gradient descent, moving averages; kernels in cl/optimizer_cpu.cl and
 * cl/optimizer_gpu.cl. */
#include <capscl/ops.h>

#include <math.h>

#include "require.h"
#include "fail.h"
#include "launch.h"

#define OPTIMIZER_GROUP    128  /* GPU family: items in a work-group */
#define OPTIMIZER_ITEMS    1024 /* CPU family: work-items to aim for, */
#define OPTIMIZER_PER_ITEM 1024 /* of at least so many elements */

/* Tensors of any shape but one count: parameters lie in flat buffers. */
static caps_status check_flat(
    const char *operation, const char *name, const caps_tensor *t, size_t count, caps_error *err)
{
    if (!t || !t->buffer || t->dtype != CAPS_F32 || caps_tensor_count(t) != count)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "%s: %s has %zu float32, need %zu", operation,
            name, t && t->buffer && t->dtype == CAPS_F32 ? caps_tensor_count(t) : 0, count);
    return CAPS_OK;
}

/* The weights and the flag, and how many weights. */
static caps_status optimizer_check(const char *operation, const caps_tensor *w,
    const caps_tensor *flag, const caps_tensor *g, float learning_rate, size_t *count,
    caps_error *err)
{
    caps_status status;
    *count = w && w->buffer ? caps_tensor_count(w) : 0;
    if (*count < 1) {
        status = caps_fail(err, CAPS_ERR_ARGUMENT, "%s: w has 0 float32, need >= 1", operation);
        goto done;
    }
    CAPS_TRY(caps_require_count(operation, "the number of weights", 1, count, err));
    CAPS_TRY(check_flat(operation, "w", w, *count, err));
    CAPS_TRY(check_flat(operation, "g", g, *count, err));
    CAPS_TRY(caps_require_tensor(operation, "flag", flag, CAPS_I32, 1, (size_t[]){1}, err));
    if (!isfinite(learning_rate))
        status = caps_fail(err, CAPS_ERR_ARGUMENT, "%s: rate is %g, need a finite number",
            operation, (double)learning_rate);
done:
    return status;
}

/* Enqueues after n arguments in args, which has space for two more. */
static caps_status optimizer_launch(
    caps_runtime *rt, const char *kernel, caps_arg *args, size_t n, size_t count, caps_error *err)
{
    size_t local = 1, global;
    args[n++] = (caps_arg)CAPS_ARG_UINT(count);
    if (caps_is_gpu(rt)) {
        local = caps_group_size(rt, OPTIMIZER_GROUP);
        global = caps_round_up(count, local);
    } else {
        size_t per_item = caps_round_up(caps_div_up(count, OPTIMIZER_ITEMS), 16);
        if (per_item < OPTIMIZER_PER_ITEM)
            per_item = OPTIMIZER_PER_ITEM;
        args[n++] = (caps_arg)CAPS_ARG_UINT(per_item);
        global = caps_div_up(count, per_item);
    }
    return caps_launch(rt, kernel, args, n, 1, &global, &local, err);
}

caps_status caps_adam_step(caps_runtime *rt, const caps_tensor *w, const caps_tensor *m,
    const caps_tensor *v, const caps_tensor *flag, const caps_tensor *g, const caps_adam *adam,
    caps_error *err)
{
    size_t count;
    caps_status status;
    CAPS_TRY(optimizer_check("adam", w, flag, g, adam->learning_rate, &count, err));
    CAPS_TRY(check_flat("adam", "m", m, count, err));
    CAPS_TRY(check_flat("adam", "v", v, count, err));
    double beta1 = (double)adam->beta1, beta2 = (double)adam->beta2, t = (double)adam->t;
    if (adam->t < 1) {
        status = caps_fail(err, CAPS_ERR_ARGUMENT, "adam: t is 0, need >= 1");
        goto done;
    }
    if (!(beta1 >= 0 && beta1 < 1) || !(beta2 >= 0 && beta2 < 1)) {
        status = caps_fail(err, CAPS_ERR_ARGUMENT,
            "adam: beta1, beta2 are %g, %g, need 0 <= beta < 1", beta1, beta2);
        goto done;
    }
    if (!(adam->epsilon > 0)) {
        status = caps_fail(
            err, CAPS_ERR_ARGUMENT, "adam: epsilon is %g, need > 0", (double)adam->epsilon);
        goto done;
    }
    /* The powers of beta take double: 1 - 0.999^t has two digits less than float32 at t = 1. */
    double rate1 = (double)adam->learning_rate / (1 - pow(beta1, t)),
           correct2 = 1 / (1 - pow(beta2, t));
    caps_arg args[12] = {CAPS_ARG_TENSOR(w), CAPS_ARG_TENSOR(m), CAPS_ARG_TENSOR(v),
        CAPS_ARG_TENSOR(flag), CAPS_ARG_TENSOR(g), CAPS_ARG_FLOAT(rate1), CAPS_ARG_FLOAT(correct2),
        CAPS_ARG_FLOAT(1 - beta1), CAPS_ARG_FLOAT(1 - beta2), CAPS_ARG_FLOAT(adam->epsilon)};
    CAPS_TRY(optimizer_launch(rt, "adam_step", args, 10, count, err));
done:
    return status;
}

caps_status caps_sgd_step(caps_runtime *rt, const caps_tensor *w, const caps_tensor *flag,
    const caps_tensor *g, float learning_rate, caps_error *err)
{
    size_t count;
    caps_status status;
    CAPS_TRY(optimizer_check("sgd", w, flag, g, learning_rate, &count, err));
    caps_arg args[6] = {CAPS_ARG_TENSOR(w), CAPS_ARG_TENSOR(flag), CAPS_ARG_TENSOR(g),
        CAPS_ARG_FLOAT(learning_rate)};
    CAPS_TRY(optimizer_launch(rt, "sgd_step", args, 4, count, err));
done:
    return status;
}

static caps_status pair_check(const char *operation, const char *first, const char *second,
    const caps_tensor *a, const caps_tensor *b, size_t *count, caps_error *err)
{
    caps_status status;
    *count = a && a->buffer ? caps_tensor_count(a) : 0;
    if (*count < 1)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "%s: %s has 0 float32, need >= 1", operation, first);
    CAPS_TRY(caps_require_count(operation, "the number of weights", 1, count, err));
    CAPS_TRY(check_flat(operation, first, a, *count, err));
    CAPS_TRY(check_flat(operation, second, b, *count, err));
done:
    return status;
}

caps_status caps_average_step(
    caps_runtime *rt, const caps_tensor *average, const caps_tensor *w, float rate, caps_error *err)
{
    size_t count;
    caps_status status;
    CAPS_TRY(pair_check("average", "average", "w", average, w, &count, err));
    if (!(rate >= 0 && rate <= 1)) {
        status =
            caps_fail(err, CAPS_ERR_ARGUMENT, "average: rate is %g, need 0 to 1", (double)rate);
        goto done;
    }
    caps_arg args[5] = {CAPS_ARG_TENSOR(average), CAPS_ARG_TENSOR(w), CAPS_ARG_FLOAT(rate)};
    CAPS_TRY(optimizer_launch(rt, "average_step", args, 3, count, err));
done:
    return status;
}

caps_status caps_swap(caps_runtime *rt, const caps_tensor *a, const caps_tensor *b, caps_error *err)
{
    size_t count;
    caps_status status;
    CAPS_TRY(pair_check("swap", "a", "b", a, b, &count, err));
    caps_arg args[4] = {CAPS_ARG_TENSOR(a), CAPS_ARG_TENSOR(b)};
    CAPS_TRY(optimizer_launch(rt, "swap_elements", args, 2, count, err));
done:
    return status;
}
