/* votes.c: kernels in cl/votes_cpu.cl and cl/votes_gpu.cl. */
#include <capscl/ops.h>

#include "require.h"
#include "fail.h"
#include "launch.h"
#include "trust.h"

#define VOTES_TILE    256 /* as in cl/votes_cpu.cl: outputs of a tile, */
#define VOTES_BATCH   64  /* and samples of an item */
#define VOTES_SAMPLES 8   /* as in cl/votes_gpu.cl: samples of an item */
#define VOTES_GROUP   128 /* GPU family: items in a work-group */

typedef struct sizes {
    size_t b, i, j, d, k;
} sizes;

static caps_status votes_check(sizes *n, const caps_tensor *u, const caps_tensor *w,
    const char *votes_name, const caps_tensor *votes, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_require_source("votes", "u", u, 3, "[B, I, K]", err));
    CAPS_TRY(caps_require_source("votes", "w", w, 4, "[I, J, D, K]", err));
    *n = (sizes){u->shape[0], u->shape[1], w->shape[1], w->shape[2], u->shape[2]};
    CAPS_TRY(
        caps_require_tensor("votes", "w", w, CAPS_F32, 4, (size_t[]){n->i, n->j, n->d, n->k}, err));
    CAPS_TRY(caps_require_tensor(
        "votes", votes_name, votes, CAPS_F32, 4, (size_t[]){n->b, n->i, n->j, n->d}, err));
    CAPS_TRY(caps_require_count("votes", "B", 1, &n->b, err));
    CAPS_TRY(caps_require_count("votes", "I*J*D", 3, (size_t[]){n->i, n->j, n->d}, err));
    CAPS_TRY(caps_require_count("votes", "I*K", 2, (size_t[]){n->i, n->k}, err));
done:
    return status;
}

/* The kernel's three tensors and its sizes. GPU family: `items` of a row, for `repeats` blocks of
 * the batch or of k. CPU family: (i, tiles). */
static caps_status votes_launch(caps_runtime *rt, const char *kernel, const caps_tensor *out,
    const caps_tensor *a, const caps_tensor *b, const sizes *n, size_t items, size_t repeats,
    size_t tiles, caps_error *err)
{
    const caps_arg args[] = {CAPS_ARG_TENSOR(out), CAPS_ARG_TENSOR(a), CAPS_ARG_TENSOR(b),
        CAPS_ARG_UINT(n->b), CAPS_ARG_UINT(n->i), CAPS_ARG_UINT(n->j * n->d), CAPS_ARG_UINT(n->k)};
    if (!caps_is_gpu(rt))
        return caps_launch(
            rt, kernel, CAPS_ARGS(args), 2, (size_t[]){n->i, tiles}, (size_t[]){1, 1}, err);
    size_t local = caps_group_size(rt, VOTES_GROUP), global = caps_round_up(items, local) * repeats;
    return caps_launch(rt, kernel, CAPS_ARGS(args), 1, &global, &local, err);
}

caps_status caps_votes_forward(caps_runtime *rt, const caps_tensor *votes, const caps_tensor *u,
    const caps_tensor *w, caps_error *err)
{
    sizes n;
    caps_status status;
    CAPS_TRY(votes_check(&n, u, w, "votes", votes, err));
    CAPS_TRY(caps_trust_require(rt, "routing", "stored", "votes", err));
    CAPS_TRY(votes_launch(rt, "votes_forward", votes, u, w, &n, n.i * n.j * n.d,
        caps_div_up(n.b, VOTES_SAMPLES), caps_div_up(n.b, VOTES_BATCH), err));
done:
    return status;
}

caps_status caps_votes_backward(caps_runtime *rt, const caps_tensor *du, const caps_tensor *dw,
    const caps_tensor *dvotes, const caps_tensor *u, const caps_tensor *w, caps_error *err)
{
    sizes n;
    caps_status status;
    CAPS_TRY(votes_check(&n, u, w, "dvotes", dvotes, err));
    CAPS_TRY(caps_trust_require(rt, "routing", "stored", "votes", err));
    if (du)
        CAPS_TRY(caps_require_tensor("votes", "du", du, CAPS_F32, 3, u->shape, err));
    if (dw)
        CAPS_TRY(caps_require_tensor("votes", "dw", dw, CAPS_F32, 4, w->shape, err));
    if (du)
        CAPS_TRY(votes_launch(rt, "votes_backward_u", du, dvotes, w, &n, n.i * n.k,
            caps_div_up(n.b, VOTES_SAMPLES), caps_div_up(n.b, VOTES_BATCH), err));
    if (dw)
        CAPS_TRY(votes_launch(rt, "votes_backward_w", dw, dvotes, u, &n, n.i * n.j * n.d,
            caps_div_up(n.k, 8), caps_div_up(n.j * n.d, VOTES_TILE), err));
done:
    return status;
}
