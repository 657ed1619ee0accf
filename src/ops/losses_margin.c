/* losses_margin.c: the margin loss of a training step in one kernel each way, GPU family; kernels
 * in cl/losses_gpu.cl. */
#include "losses.h"

#include <assert.h>

#include "call.h"
#include "require.h"
#include "fail.h"

#define SCORES_GROUP   64 /* items of a sample's work-group */
#define GRADIENT_GROUP 128

bool caps_margin_scores_fit(const caps_runtime *rt, size_t j)
{
    return j <= caps_runtime_device(rt)->local_mem_bytes / sizeof(float) / 2;
}

/* Shapes of everything, as v [B, J, D] and the labels' number L have it. */
static caps_status scores_check(const caps_margin_scores *s, size_t *l, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_require_source("margin", "v", s->v, 3, "[B, J, D]", err));
    const size_t b = s->v->shape[0], j = s->v->shape[1], d = s->v->shape[2];
    const int ndim = s->best && s->best->ndim == 2 ? 2 : 1;
    *l = ndim == 2 ? s->best->shape[1] : 1;
    const size_t labels[] = {b, *l}, masked[] = {b * *l, j * d};
    CAPS_TRY(caps_require_count("margin", "B*L*J*D", 4, (size_t[]){b, *l, j, d}, err));
    CAPS_TRY(caps_require_tensor("margin", "lengths", s->lengths, CAPS_F32, 2, s->v->shape, err));
    CAPS_TRY(caps_require_tensor("margin", "best", s->best, CAPS_I32, ndim, labels, err));
    if (s->labels || s->matched || s->loss || s->by_labels)
        CAPS_TRY(caps_require_tensor("margin", "labels", s->labels, CAPS_I32, ndim, labels, err));
    if (s->matched)
        CAPS_TRY(caps_require_tensor("margin", "matched", s->matched, CAPS_I32, ndim, labels, err));
    if (s->loss)
        CAPS_TRY(caps_require_tensor("margin", "loss", s->loss, CAPS_F32, 1, &b, err));
    if (s->masked)
        CAPS_TRY(caps_require_tensor("margin", "masked", s->masked, CAPS_F32, 2, masked, err));
    if (*l > j)
        status = caps_fail(err, CAPS_ERR_ARGUMENT,
            "argmax: best has %zu of %zu capsules, need at most all", *l, j);
done:
    return status;
}

caps_status caps_margin_scores_run(
    caps_runtime *rt, const caps_margin_scores *s, const caps_margin *margin, caps_error *err)
{
    size_t l;
    caps_status status = scores_check(s, &l, err);
    if (status != CAPS_OK)
        return status;
    const size_t *shape = s->v->shape, local = caps_group_size(rt, SCORES_GROUP);
    const size_t global = shape[0] * local;
    const caps_arg args[] = {CAPS_ARG_TENSOR(s->lengths), CAPS_ARG_TENSOR(s->best),
        CAPS_ARG_TENSOR(s->matched), CAPS_ARG_TENSOR(s->loss), CAPS_ARG_TENSOR(s->masked),
        CAPS_ARG_TENSOR(s->v), CAPS_ARG_TENSOR(s->labels), CAPS_ARG_LOCAL(shape[1] * sizeof(float)),
        CAPS_ARG_FLOAT(margin->positive), CAPS_ARG_FLOAT(margin->negative),
        CAPS_ARG_FLOAT(margin->down), CAPS_ARG_UINT(shape[1]), CAPS_ARG_UINT(shape[2]),
        CAPS_ARG_UINT(l), CAPS_ARG_UINT(s->by_labels)};
    return caps_launch(rt, "margin_scores", CAPS_ARGS(args), 1, &global, &local, err);
}

caps_status caps_margin_gradient(caps_runtime *rt, const caps_tensor *dv, const caps_tensor *v,
    const caps_tensor *lengths, const caps_tensor *labels, const caps_tensor *dmasked,
    const caps_tensor *chosen, const caps_margin *margin, float scale, const caps_totals *totals,
    caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_require_source("margin", "v", v, 3, "[B, J, D]", err));
    const size_t b = v->shape[0], j = v->shape[1], d = v->shape[2];
    const int ndim = labels && labels->ndim == 2 ? 2 : 1;
    const size_t l = ndim == 2 ? labels->shape[1] : 1, masked[] = {b * l, j * d};
    CAPS_TRY(caps_require_count("margin", "B*L*J*D", 4, (size_t[]){b, l, j, d}, err));
    CAPS_TRY(caps_require_tensor("margin", "dv", dv, CAPS_F32, 3, v->shape, err));
    CAPS_TRY(caps_require_tensor("margin", "lengths", lengths, CAPS_F32, 2, v->shape, err));
    CAPS_TRY(
        caps_require_tensor("margin", "labels", labels, CAPS_I32, ndim, (size_t[]){b, l}, err));
    if (dmasked) {
        CAPS_TRY(caps_require_tensor("margin", "dmasked", dmasked, CAPS_F32, 2, masked, err));
        CAPS_TRY(
            caps_require_tensor("margin", "chosen", chosen, CAPS_I32, ndim, (size_t[]){b, l}, err));
    }
    size_t l_totals = l;
    if (totals)
        CAPS_TRY(caps_totals_check(totals, &l_totals, err));
    assert(!totals || (totals->margin.shape[0] == b && l_totals == l));
    const size_t count = b * j * d, local = caps_group_size(rt, GRADIENT_GROUP);
    const bool squares = totals && totals->sse.buffer;
    caps_call c = {0};
    caps_put_tensor(&c, dv);
    caps_put_tensor(&c, totals ? &totals->to : NULL);
    caps_put_tensor(&c, v);
    caps_put_tensor(&c, lengths);
    caps_put_tensor(&c, labels);
    caps_put_tensor(&c, dmasked);
    caps_put_tensor(&c, dmasked ? chosen : NULL);
    caps_put_tensor(&c, totals ? &totals->margin : NULL);
    caps_put_tensor(&c, squares ? &totals->sse : NULL);
    caps_put_tensor(&c, totals ? &totals->best : NULL);
    caps_put_local(&c, 3 * local);
    caps_put_float(&c, margin->positive);
    caps_put_float(&c, margin->negative);
    caps_put_float(&c, margin->down);
    caps_put_float(&c, scale);
    caps_put_sizes(&c, (size_t[]){count, j, d, l, totals && totals->begins}, 5);
    status = caps_call_groups(rt, "margin_gradient", &c, caps_div_up(count, local), local, err);
done:
    return status;
}
