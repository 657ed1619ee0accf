/* batch_norm.c: batch normalisation; kernels in cl/batch_norm_cpu.cl, cl/batch_norm_gpu.cl and, for
 * both families, cl/batch_norm.cl. */
#include <capscl/ops.h>

#include "fail.h"
#include "launch.h"
#include "require.h"

#define GROUP 128 /* items of a work-group, GPU family */
#define PARTS 16  /* runs of images, whose sums are put together */
#define RUN   8   /* BATCH_NORM_RUN: channels of an item, CPU family */

typedef struct batch_norm_sizes {
    size_t b, c, s;
} batch_norm_sizes;

static size_t batch_norm_parts(size_t b)
{
    return b < PARTS ? b : PARTS;
}

size_t caps_batch_norm_workspace(size_t b, size_t c)
{
    return batch_norm_parts(b) * 2 * c;
}

/* ---- checks --------------------------------------------------------------------------------- */

/* [B, C, ...] as three sizes. */
static caps_status batch_norm_sizes_of(
    batch_norm_sizes *n, const char *name, const caps_tensor *x, caps_error *err)
{
    if (!x || !x->buffer || x->dtype != CAPS_F32 || x->ndim < 2)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "batch_norm: %s is no float32 tensor of 2 dimensions or more, need [B, C, ...]", name);
    caps_status status = caps_require_source("batch_norm", name, x, x->ndim, "[B, C, ...]", err);
    *n = (batch_norm_sizes){x->shape[0], x->shape[1], 1};
    for (int d = 2; d < x->ndim; d++)
        n->s *= x->shape[d];
    if (status == CAPS_OK)
        status = caps_require_count("batch_norm", "B", 1, &n->b, err);
    return status == CAPS_OK
               ? caps_require_count("batch_norm", "C*S", 2, (size_t[]){n->c, n->s}, err)
               : status;
}

static caps_status check_channels(
    const char *const *names, const caps_tensor *const *tensors, size_t c, caps_error *err)
{
    for (size_t i = 0; names[i]; i++) {
        caps_status status =
            caps_require_tensor("batch_norm", names[i], tensors[i], CAPS_F32, 1, &c, err);
        if (status != CAPS_OK)
            return status;
    }
    return CAPS_OK;
}

static caps_status check_workspace(
    const caps_tensor *workspace, const batch_norm_sizes *n, caps_error *err)
{
    const size_t need = caps_batch_norm_workspace(n->b, n->c);
    if (workspace && workspace->buffer && workspace->dtype == CAPS_F32 &&
        caps_tensor_count(workspace) >= need)
        return CAPS_OK;
    return caps_fail(err, CAPS_ERR_ARGUMENT, "batch_norm: workspace has %zu elements, need %zu",
        workspace && workspace->buffer ? caps_tensor_count(workspace) : 0, need);
}

/* ---- launches ------------------------------------------------------------------------------- */

/* An item for each channel. */
static caps_status launch_channels(caps_runtime *rt, const char *kernel, const caps_arg *args,
    size_t count, size_t c, caps_error *err)
{
    const size_t local = caps_is_gpu(rt) ? caps_group_size(rt, GROUP) : 1;
    const size_t global = caps_round_up(c, local);
    return caps_launch(rt, kernel, args, count, 1, &global, &local, err);
}

/* A sum for each channel and run of images; the last argument is local memory. */
static caps_status launch_parts(caps_runtime *rt, const char *kernel, const caps_arg *args,
    size_t count, const batch_norm_sizes *n, size_t group, caps_error *err)
{
    const size_t parts = batch_norm_parts(n->b);
    if (caps_is_gpu(rt))
        return caps_launch(
            rt, kernel, args, count, 2, (size_t[]){n->c * group, parts}, (size_t[]){group, 1}, err);
    return caps_launch(
        rt, kernel, args, count - 1, 2, (size_t[]){caps_div_up(n->c, RUN), parts}, NULL, err);
}

/* Every element. */
static caps_status launch_elements(caps_runtime *rt, const char *kernel, const caps_arg *args,
    size_t count, const batch_norm_sizes *n, caps_error *err)
{
    const size_t group = caps_group_size(rt, GROUP);
    if (caps_is_gpu(rt))
        return caps_launch(rt, kernel, args, count, 2,
            (size_t[]){caps_round_up(n->c * n->s, group), n->b}, (size_t[]){group, 1}, err);
    return caps_launch(
        rt, kernel, args, count, 2, (size_t[]){caps_div_up(n->c, RUN), n->b}, NULL, err);
}

/* ---- the operation -------------------------------------------------------------------------- */

caps_status caps_batch_norm_statistics(caps_runtime *rt, const caps_tensor *mean,
    const caps_tensor *var, const caps_tensor *x, const caps_tensor *workspace, caps_error *err)
{
    batch_norm_sizes n;
    caps_status status;
    CAPS_TRY(batch_norm_sizes_of(&n, "x", x, err));
    CAPS_TRY(check_channels((const char *const[]){"mean", "var", NULL},
        (const caps_tensor *const[]){mean, var}, n.c, err));
    CAPS_TRY(check_workspace(workspace, &n, err));
    const size_t parts = batch_norm_parts(n.b), group = caps_group_size(rt, GROUP);
    const caps_arg part[] = {CAPS_ARG_TENSOR(workspace), CAPS_ARG_TENSOR(x), CAPS_ARG_UINT(parts),
        CAPS_ARG_UINT(n.b), CAPS_ARG_UINT(n.c), CAPS_ARG_UINT(n.s),
        CAPS_ARG_LOCAL(group * sizeof(float))};
    const caps_arg all[] = {CAPS_ARG_TENSOR(mean), CAPS_ARG_TENSOR(var), CAPS_ARG_TENSOR(workspace),
        CAPS_ARG_UINT(parts), CAPS_ARG_UINT(n.b), CAPS_ARG_UINT(n.c), CAPS_ARG_UINT(n.s)};
    CAPS_TRY(launch_parts(rt, "batch_norm_part", CAPS_ARGS(part), &n, group, err));
    CAPS_TRY(launch_channels(rt, "batch_norm_statistics", CAPS_ARGS(all), n.c, err));
done:
    return status;
}

caps_status caps_batch_norm_forward(caps_runtime *rt, const caps_tensor *y, const caps_tensor *x,
    const caps_tensor *mean, const caps_tensor *var, const caps_tensor *weight,
    const caps_tensor *bias, float epsilon, caps_error *err)
{
    batch_norm_sizes n;
    caps_status status;
    CAPS_TRY(batch_norm_sizes_of(&n, "x", x, err));
    CAPS_TRY(caps_require_tensor("batch_norm", "y", y, CAPS_F32, x->ndim, x->shape, err));
    CAPS_TRY(check_channels((const char *const[]){"mean", "var", "weight", "bias", NULL},
        (const caps_tensor *const[]){mean, var, weight, bias}, n.c, err));
    const caps_arg args[] = {CAPS_ARG_TENSOR(y), CAPS_ARG_TENSOR(x), CAPS_ARG_TENSOR(mean),
        CAPS_ARG_TENSOR(var), CAPS_ARG_TENSOR(weight), CAPS_ARG_TENSOR(bias),
        CAPS_ARG_FLOAT(epsilon), CAPS_ARG_UINT(n.c), CAPS_ARG_UINT(n.s)};
    CAPS_TRY(launch_elements(rt, "batch_norm_forward", CAPS_ARGS(args), &n, err));
done:
    return status;
}

caps_status caps_batch_norm_sums(caps_runtime *rt, const caps_tensor *dweight,
    const caps_tensor *dbias, const caps_tensor *dy, const caps_tensor *x, const caps_tensor *mean,
    const caps_tensor *var, float epsilon, const caps_tensor *workspace, caps_error *err)
{
    batch_norm_sizes n;
    caps_status status;
    CAPS_TRY(batch_norm_sizes_of(&n, "x", x, err));
    CAPS_TRY(caps_require_tensor("batch_norm", "dy", dy, CAPS_F32, x->ndim, x->shape, err));
    CAPS_TRY(check_channels((const char *const[]){"dweight", "dbias", "mean", "var", NULL},
        (const caps_tensor *const[]){dweight, dbias, mean, var}, n.c, err));
    CAPS_TRY(check_workspace(workspace, &n, err));
    const size_t parts = batch_norm_parts(n.b), group = caps_group_size(rt, GROUP);
    const caps_arg part[] = {CAPS_ARG_TENSOR(workspace), CAPS_ARG_TENSOR(dy), CAPS_ARG_TENSOR(x),
        CAPS_ARG_TENSOR(mean), CAPS_ARG_TENSOR(var), CAPS_ARG_FLOAT(epsilon), CAPS_ARG_UINT(parts),
        CAPS_ARG_UINT(n.b), CAPS_ARG_UINT(n.c), CAPS_ARG_UINT(n.s),
        CAPS_ARG_LOCAL(group * sizeof(float))};
    const caps_arg sums[] = {CAPS_ARG_TENSOR(dweight), CAPS_ARG_TENSOR(dbias),
        CAPS_ARG_TENSOR(workspace), CAPS_ARG_UINT(parts), CAPS_ARG_UINT(n.c)};
    CAPS_TRY(launch_parts(rt, "batch_norm_gradient_part", CAPS_ARGS(part), &n, group, err));
    CAPS_TRY(launch_channels(rt, "batch_norm_sums", CAPS_ARGS(sums), n.c, err));
done:
    return status;
}

caps_status caps_batch_norm_input(caps_runtime *rt, const caps_tensor *dx, const caps_tensor *dy,
    const caps_tensor *x, const caps_tensor *mean, const caps_tensor *var,
    const caps_tensor *weight, const caps_tensor *dweight, const caps_tensor *dbias, double values,
    float epsilon, caps_error *err)
{
    batch_norm_sizes n;
    caps_status status;
    CAPS_TRY(batch_norm_sizes_of(&n, "x", x, err));
    CAPS_TRY(caps_require_tensor("batch_norm", "dx", dx, CAPS_F32, x->ndim, x->shape, err));
    CAPS_TRY(caps_require_tensor("batch_norm", "dy", dy, CAPS_F32, x->ndim, x->shape, err));
    CAPS_TRY(
        check_channels((const char *const[]){"dweight", "dbias", "mean", "var", "weight", NULL},
            (const caps_tensor *const[]){dweight, dbias, mean, var, weight}, n.c, err));
    const float share = values > 0 ? (float)(1 / values) : 0;
    const caps_arg args[] = {CAPS_ARG_TENSOR(dx), CAPS_ARG_TENSOR(dy), CAPS_ARG_TENSOR(x),
        CAPS_ARG_TENSOR(mean), CAPS_ARG_TENSOR(var), CAPS_ARG_TENSOR(weight),
        CAPS_ARG_TENSOR(dweight), CAPS_ARG_TENSOR(dbias), CAPS_ARG_FLOAT(epsilon),
        CAPS_ARG_FLOAT(share), CAPS_ARG_UINT(n.c), CAPS_ARG_UINT(n.s)};
    CAPS_TRY(launch_elements(rt, "batch_norm_backward", CAPS_ARGS(args), &n, err));
done:
    return status;
}

caps_status caps_batch_norm_backward(caps_runtime *rt, const caps_tensor *dx,
    const caps_tensor *dweight, const caps_tensor *dbias, const caps_tensor *dy,
    const caps_tensor *x, const caps_tensor *mean, const caps_tensor *var,
    const caps_tensor *weight, bool of_batch, float epsilon, const caps_tensor *workspace,
    caps_error *err)
{
    batch_norm_sizes n;
    caps_status status;
    CAPS_TRY(batch_norm_sizes_of(&n, "x", x, err));
    CAPS_TRY(caps_require_tensor("batch_norm", "dx", dx, CAPS_F32, x->ndim, x->shape, err));
    CAPS_TRY(check_channels(
        (const char *const[]){"weight", NULL}, (const caps_tensor *const[]){weight}, n.c, err));
    CAPS_TRY(caps_batch_norm_sums(rt, dweight, dbias, dy, x, mean, var, epsilon, workspace, err));
    CAPS_TRY(caps_batch_norm_input(rt, dx, dy, x, mean, var, weight, dweight, dbias,
        of_batch ? (double)n.b * (double)n.s : 0, epsilon, err));
done:
    return status;
}

caps_status caps_batch_norm_update(caps_runtime *rt, const caps_tensor *running,
    const caps_tensor *statistic, float momentum, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_require_source("batch_norm", "statistic", statistic, 1, "[C]", err));
    CAPS_TRY(
        caps_require_tensor("batch_norm", "running", running, CAPS_F32, 1, statistic->shape, err));
    CAPS_TRY(caps_require_count("batch_norm", "C", 1, statistic->shape, err));
    const caps_arg args[] = {CAPS_ARG_TENSOR(running), CAPS_ARG_TENSOR(statistic),
        CAPS_ARG_FLOAT(momentum), CAPS_ARG_UINT(statistic->shape[0])};
    CAPS_TRY(launch_channels(rt, "batch_norm_update", CAPS_ARGS(args), statistic->shape[0], err));
done:
    return status;
}
