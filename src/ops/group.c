/* group.c: channels regrouped as capsules; kernels in cl/group_cpu.cl and cl/group_gpu.cl. */
#include "group.h"

#include "require.h"
#include "fail.h"
#include "launch.h"

#define GROUP_TILE   16 /* as in cl/group_gpu.cl */
#define SQUASH_GROUP 64 /* items of a work-group, a capsule each */

/* out[m] = transpose of in[m], which is rows x columns, for each of `matrices`. */
static caps_status transpose(caps_runtime *rt, const caps_tensor *out, const caps_tensor *in,
    size_t matrices, size_t rows, size_t columns, caps_error *err)
{
    caps_arg args[6] = {CAPS_ARG_TENSOR(out), CAPS_ARG_TENSOR(in)};
    size_t n = 2, local = 1, global = matrices;
    if (caps_is_gpu(rt)) {
        local = caps_group_size(rt, GROUP_TILE * GROUP_TILE);
        global =
            matrices * caps_div_up(rows, GROUP_TILE) * caps_div_up(columns, GROUP_TILE) * local;
        args[n++] = (caps_arg)CAPS_ARG_LOCAL(GROUP_TILE * (GROUP_TILE + 1) * sizeof(float));
    }
    args[n++] = (caps_arg)CAPS_ARG_UINT(matrices);
    args[n++] = (caps_arg)CAPS_ARG_UINT(rows);
    args[n++] = (caps_arg)CAPS_ARG_UINT(columns);
    return caps_launch(rt, "group_transpose", args, n, 1, &global, &local, err);
}

/* z: [B, T*K, H, W], u: [B, T*H*W, K] */
static caps_status group_check(
    const caps_tensor *z, const caps_tensor *u, bool forward, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_require_source("group", forward ? "z" : "dz", z, 4, "[B, T*K, H, W]", err));
    CAPS_TRY(caps_require_source("group", forward ? "u" : "du", u, 3, "[B, T*H*W, K]", err));
    size_t channels = z->shape[1], area = z->shape[2] * z->shape[3], k = u->shape[2];
    if (channels % k != 0) {
        status = caps_fail(err, CAPS_ERR_ARGUMENT,
            "group: z has %zu channels, need a multiple of the capsule dimension %zu", channels, k);
        goto done;
    }
    const size_t u_shape[] = {z->shape[0], channels / k * area, k};
    CAPS_TRY(caps_require_tensor("group", forward ? "u" : "du", u, CAPS_F32, 3, u_shape, err));
    CAPS_TRY(caps_require_count(
        "group", "T*K*H*W", 3, (size_t[]){channels, z->shape[2], z->shape[3]}, err));
    CAPS_TRY(caps_require_count("group", "B*T", 2, (size_t[]){z->shape[0], channels / k}, err));
done:
    return status;
}

caps_status caps_group_forward(
    caps_runtime *rt, const caps_tensor *u, const caps_tensor *z, caps_error *err)
{
    caps_status status = group_check(z, u, true, err);
    if (status != CAPS_OK)
        return status;
    size_t k = u->shape[2], area = z->shape[2] * z->shape[3];
    return transpose(rt, u, z, z->shape[0] * z->shape[1] / k, k, area, err);
}

caps_status caps_group_backward(
    caps_runtime *rt, const caps_tensor *dz, const caps_tensor *du, caps_error *err)
{
    caps_status status = group_check(dz, du, false, err);
    if (status != CAPS_OK)
        return status;
    size_t k = du->shape[2], area = dz->shape[2] * dz->shape[3];
    return transpose(rt, dz, du, dz->shape[0] * dz->shape[1] / k, area, k, err);
}

/* ---- with squash ---------------------------------------------------------------------------- */

/* tensors: the two or three that come first; u and z: those of group_check. */
static caps_status squash_launch(caps_runtime *rt, const char *kernel, const caps_arg *tensors,
    size_t n, const caps_tensor *z, const caps_tensor *u, float factor, caps_squash squash,
    caps_error *err)
{
    const size_t k = u->shape[2], places = z->shape[2] * z->shape[3];
    const size_t matrices = z->shape[0] * z->shape[1] / k;
    const size_t local = caps_group_size(rt, SQUASH_GROUP);
    const size_t global = caps_round_up(matrices * places, local);
    caps_arg args[8];
    for (size_t i = 0; i < n; i++)
        args[i] = tensors[i];
    args[n++] = (caps_arg)CAPS_ARG_FLOAT(factor);
    args[n++] = (caps_arg)CAPS_ARG_UINT(matrices);
    args[n++] = (caps_arg)CAPS_ARG_UINT(k);
    args[n++] = (caps_arg)CAPS_ARG_UINT(places);
    args[n++] = (caps_arg)CAPS_ARG_UINT(squash);
    return caps_launch(rt, kernel, args, n, 1, &global, &local, err);
}

caps_status caps_group_squash_forward(caps_runtime *rt, const caps_tensor *v, const caps_tensor *z,
    float factor, caps_squash squash, caps_error *err)
{
    const caps_arg tensors[] = {CAPS_ARG_TENSOR(v), CAPS_ARG_TENSOR(z)};
    caps_status status = group_check(z, v, true, err);
    if (status != CAPS_OK)
        return status;
    return squash_launch(rt, "group_squash_forward", tensors, 2, z, v, factor, squash, err);
}

caps_status caps_group_squash_backward(caps_runtime *rt, const caps_tensor *dz,
    const caps_tensor *dv, const caps_tensor *z, float factor, caps_squash squash, caps_error *err)
{
    const caps_arg tensors[] = {CAPS_ARG_TENSOR(dz), CAPS_ARG_TENSOR(dv), CAPS_ARG_TENSOR(z)};
    caps_status status = group_check(dz, dv, false, err);
    if (status == CAPS_OK)
        status = caps_require_tensor("group", "z", z, CAPS_F32, 4, dz->shape, err);
    if (status != CAPS_OK)
        return status;
    return squash_launch(rt, "group_squash_backward", tensors, 3, z, dv, factor, squash, err);
}
