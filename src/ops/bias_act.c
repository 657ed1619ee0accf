/* bias_act.c: y = act(x + bias), dx = dy act'(y), dbias. Kernels: cl/bias_act_{cpu,gpu}.cl. */
#include "bias_act.h"

#include <stdint.h>

#include "require.h"
#include "fail.h"
#include "launch.h"

enum {
    RUN = 512,   /* BIAS_ACT_RUN of the CPU family */
    LANES = 16,  /* channels of one item of its bias_act_sum_rows */
    GROUP = 256, /* the GPU family's work-group, where the device takes it */
    WIDTH = 32,  /* channels of a group of its bias_act_backward_rows */
};

/* ---- sizes ---------------------------------------------------------------------------------- */

static caps_status check_act(caps_activation act, caps_error *err)
{
    if ((int)act < CAPS_ACT_NONE || act > CAPS_ACT_SIGMOID)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "bias_act: activation is %d, need 0 to %d",
            (int)act, CAPS_ACT_SIGMOID);
    return CAPS_OK;
}

/* [N, C, S...] as three sizes. */
static caps_status bias_act_sizes_of(caps_planes *p, const caps_tensor *t, caps_error *err)
{
    if (!t || !t->buffer || t->dtype != CAPS_F32 || t->ndim < 2)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "bias_act: input is no float32 tensor of 2 dimensions or more, need [N, C, ...]");
    *p = (caps_planes){t->shape[0], t->shape[1], 1, 0, 0};
    for (int i = 2; i < t->ndim; i++)
        p->s *= t->shape[i];
    p->c_stride = p->s;
    p->n_stride = p->c * p->s;
    return CAPS_OK;
}

static caps_status check_same(
    const caps_tensor *t, const caps_tensor *like, const char *name, caps_error *err)
{
    if (!t || !t->buffer || t->dtype != CAPS_F32)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "bias_act: %s is no float32 tensor, need one", name);
    if (caps_tensor_count(t) != caps_tensor_count(like))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "bias_act: %s has %zu elements, need %zu", name,
            caps_tensor_count(t), caps_tensor_count(like));
    return CAPS_OK;
}

static caps_status check_bias(
    const caps_tensor *bias, const char *name, size_t channels, caps_error *err)
{
    return bias ? caps_require_tensor("bias_act", name, bias, CAPS_F32, 1, &channels, err)
                : CAPS_OK;
}

/* Kernels count within a sample, and across samples, in 32 bits. */
static caps_status check_range(const caps_planes *p, caps_error *err)
{
    if (p->n > CAPS_REQUIRE_LIMIT || p->n_stride > UINT32_MAX || p->c_stride > UINT32_MAX)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "bias_act: %zu samples at strides %zu and %zu, need less than 2^31", p->n, p->n_stride,
            p->c_stride);
    return caps_require_count("bias_act", "a sample's count", 2, (size_t[]){p->c, p->s}, err);
}

/* ---- launches ------------------------------------------------------------------------------- */

/* The `_rows` kernels of the CPU family: one element a channel, channels side by side. */
static bool in_rows(const caps_runtime *rt, const caps_planes *p)
{
    return !caps_is_gpu(rt) && p->s == 1 && p->c_stride == 1;
}

/* Global and local sizes of the elementwise kernels. */
static caps_status launch_elements(caps_runtime *rt, const char *kernel, const caps_arg *args,
    size_t nargs, const caps_planes *p, caps_error *err)
{
    if (caps_is_gpu(rt)) {
        size_t group = caps_group_size(rt, GROUP);
        return caps_launch(rt, kernel, args, nargs, 2,
            (size_t[]){caps_round_up(p->c * p->s, group), p->n}, (size_t[]){group, 1}, err);
    }
    return caps_launch(rt, kernel, args, nargs, 2,
        (size_t[]){in_rows(rt, p) ? caps_div_up(p->c, RUN) : p->c, p->n}, NULL, err);
}

caps_status caps_bias_act_apply(caps_runtime *rt, const caps_tensor *y, const caps_tensor *x,
    const caps_planes *p, const caps_tensor *bias, caps_activation act, caps_error *err)
{
    caps_status status = check_range(p, err);
    if (status != CAPS_OK)
        return status;
    const caps_arg first[] = {CAPS_ARG_TENSOR(y), CAPS_ARG_TENSOR(x), CAPS_ARG_TENSOR(bias),
        CAPS_ARG_UINT(bias != NULL), CAPS_ARG_UINT(act), CAPS_ARG_UINT(p->c), CAPS_ARG_UINT(p->s),
        CAPS_ARG_UINT(p->n_stride), CAPS_ARG_UINT(p->c_stride)};
    if (!in_rows(rt, p))
        return launch_elements(rt, "bias_act_forward", CAPS_ARGS(first), p, err);
    const caps_arg rows[] = {
        first[0], first[1], first[2], first[3], first[4], first[5], CAPS_ARG_UINT(p->n_stride)};
    return launch_elements(rt, "bias_act_forward_rows", CAPS_ARGS(rows), p, err);
}

caps_status caps_bias_act_gradient(caps_runtime *rt, const caps_tensor *dx, const caps_planes *p,
    const caps_tensor *dy, const caps_tensor *y, caps_activation act, caps_error *err)
{
    caps_status status = check_range(p, err);
    if (status != CAPS_OK)
        return status;
    const caps_arg planes[] = {CAPS_ARG_TENSOR(dx), CAPS_ARG_TENSOR(dy),
        CAPS_ARG_TENSOR(y ? y : dy), CAPS_ARG_UINT(act), CAPS_ARG_UINT(p->c), CAPS_ARG_UINT(p->s),
        CAPS_ARG_UINT(p->n_stride), CAPS_ARG_UINT(p->c_stride)};
    if (!in_rows(rt, p))
        return launch_elements(rt, "bias_act_gradient", CAPS_ARGS(planes), p, err);
    const caps_arg rows[] = {
        planes[0], planes[1], planes[2], planes[3], planes[4], CAPS_ARG_UINT(p->n_stride)};
    return launch_elements(rt, "bias_act_gradient_rows", CAPS_ARGS(rows), p, err);
}

caps_status caps_bias_act_sum(caps_runtime *rt, const caps_tensor *dbias, const caps_tensor *dy,
    const caps_tensor *y, caps_activation act, size_t n, size_t c, size_t s, caps_error *err)
{
    caps_status status = check_range(&(caps_planes){n, c, s, 0, 0}, err);
    if (status != CAPS_OK)
        return status;
    const size_t group = caps_group_size(rt, GROUP);
    const caps_arg args[] = {CAPS_ARG_TENSOR(dbias), CAPS_ARG_TENSOR(dy),
        CAPS_ARG_TENSOR(y ? y : dy), CAPS_ARG_UINT(act), CAPS_ARG_UINT(n), CAPS_ARG_UINT(c),
        CAPS_ARG_UINT(s), CAPS_ARG_LOCAL(group * sizeof(float))};
    if (s == 1) {
        const size_t all = caps_is_gpu(rt) ? caps_round_up(c, group) : caps_div_up(c, LANES);
        return caps_launch(
            rt, "bias_act_sum_rows", args, 6, 1, &all, caps_is_gpu(rt) ? &group : NULL, err);
    }
    if (caps_is_gpu(rt))
        return caps_launch(rt, "bias_act_sum", args, 8, 1, (size_t[]){c * group}, &group, err);
    return caps_launch(rt, "bias_act_sum", args, 7, 1, &c, NULL, err);
}

/* dx and dbias of the GPU family for S = 1. */
static caps_status backward_rows(caps_runtime *rt, const caps_tensor *dx, const caps_tensor *dbias,
    const caps_tensor *dy, const caps_tensor *y, caps_activation act, const caps_planes *p,
    caps_error *err)
{
    const size_t group = caps_group_size(rt, GROUP), width = group < WIDTH ? group : WIDTH;
    const size_t all = caps_div_up(p->c, width) * group;
    caps_status status = check_range(p, err);
    if (status != CAPS_OK)
        return status;
    const caps_arg args[] = {CAPS_ARG_TENSOR(dx), CAPS_ARG_TENSOR(dbias), CAPS_ARG_TENSOR(dy),
        CAPS_ARG_TENSOR(y ? y : dy), CAPS_ARG_UINT(act), CAPS_ARG_UINT(p->n), CAPS_ARG_UINT(p->c),
        CAPS_ARG_UINT(width), CAPS_ARG_LOCAL(group * sizeof(float))};
    return caps_launch(rt, "bias_act_backward_rows", CAPS_ARGS(args), 1, &all, &group, err);
}

/* ---- the operation -------------------------------------------------------------------------- */

caps_status caps_bias_act_forward(caps_runtime *rt, const caps_tensor *y, const caps_tensor *x,
    const caps_tensor *bias, caps_activation act, caps_error *err)
{
    caps_status status = CAPS_OK;
    caps_planes p;
    CAPS_TRY(check_act(act, err));
    CAPS_TRY(bias_act_sizes_of(&p, x, err));
    CAPS_TRY(check_same(y, x, "y", err));
    CAPS_TRY(check_bias(bias, "bias", p.c, err));
    status = caps_bias_act_apply(rt, y, x, &p, bias, act, err);
done:
    return status;
}

caps_status caps_bias_act_backward(caps_runtime *rt, const caps_tensor *dx,
    const caps_tensor *dbias, const caps_tensor *dy, const caps_tensor *y, caps_activation act,
    caps_error *err)
{
    caps_status status = CAPS_OK;
    caps_planes p;
    CAPS_TRY(check_act(act, err));
    CAPS_TRY(bias_act_sizes_of(&p, dy, err));
    CAPS_TRY(check_same(dx, dy, "dx", err));
    if (act != CAPS_ACT_NONE)
        CAPS_TRY(check_same(y, dy, "y", err));
    CAPS_TRY(check_bias(dbias, "dbias", p.c, err));
    if (dbias && caps_is_gpu(rt) && p.s == 1) {
        status = backward_rows(rt, dx, dbias, dy, y, act, &p, err);
        goto done;
    }
    /* The sum first: dx may be dy, and then overwrites what the sum reads. */
    if (dbias)
        CAPS_TRY(caps_bias_act_sum(rt, dbias, dy, y, act, p.n, p.c, p.s, err));
    status = caps_bias_act_gradient(rt, dx, &p, dy, y, act, err);
done:
    return status;
}
