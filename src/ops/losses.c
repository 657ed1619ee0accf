/* losses.c: lengths, margin loss, the longest capsules, mask, squared error, totals; kernels in
 * cl/losses.cl (both families), cl/losses_cpu.cl and cl/losses_gpu.cl. */
#include "losses.h"

#include "require.h"
#include "fail.h"
#include "launch.h"

#define LOSSES_GROUP    128  /* GPU family: items in a work-group */
#define LOSSES_PER_ITEM 4096 /* CPU family: elements of an item of sse_backward */

/* v: [B, J, D], the size of everything here. */
static caps_status check_capsules(
    const char *operation, const char *name, const caps_tensor *v, caps_error *err)
{
    caps_status status = caps_require_source(operation, name, v, 3, "[B, J, D]", err);
    return status == CAPS_OK ? caps_require_count(operation, "B*J*D", 3, v->shape, err) : status;
}

/* labels: int32 [B], or [B, L]; *l is L. */
static caps_status check_labels(const char *operation, const char *name, const caps_tensor *labels,
    size_t b, size_t *l, caps_error *err)
{
    const bool several = labels && labels->ndim == 2;
    *l = several ? labels->shape[1] : 1;
    return caps_require_tensor(
        operation, name, labels, CAPS_I32, several ? 2 : 1, (size_t[]){b, *l}, err);
}

caps_status caps_lengths_forward(
    caps_runtime *rt, const caps_tensor *lengths, const caps_tensor *v, caps_error *err)
{
    caps_status status;
    CAPS_TRY(check_capsules("lengths", "v", v, err));
    CAPS_TRY(caps_require_tensor("lengths", "lengths", lengths, CAPS_F32, 2, v->shape, err));
    size_t count = v->shape[0] * v->shape[1];
    const caps_arg args[] = {CAPS_ARG_TENSOR(lengths), CAPS_ARG_TENSOR(v), CAPS_ARG_UINT(count),
        CAPS_ARG_UINT(v->shape[2])};
    CAPS_TRY(caps_launch_items(rt, "lengths_forward", CAPS_ARGS(args), count, LOSSES_GROUP, err));
done:
    return status;
}

caps_status caps_margin_forward(caps_runtime *rt, const caps_tensor *loss,
    const caps_tensor *lengths, const caps_tensor *labels, const caps_margin *margin,
    caps_error *err)
{
    size_t l;
    caps_status status;
    CAPS_TRY(caps_require_source("margin", "lengths", lengths, 2, "[B, J]", err));
    CAPS_TRY(caps_require_count("margin", "B*J", 2, lengths->shape, err));
    CAPS_TRY(caps_require_tensor("margin", "loss", loss, CAPS_F32, 1, lengths->shape, err));
    CAPS_TRY(check_labels("margin", "labels", labels, lengths->shape[0], &l, err));
    size_t count = lengths->shape[0];
    const caps_arg args[] = {CAPS_ARG_TENSOR(loss), CAPS_ARG_TENSOR(lengths),
        CAPS_ARG_TENSOR(labels), CAPS_ARG_FLOAT(margin->positive), CAPS_ARG_FLOAT(margin->negative),
        CAPS_ARG_FLOAT(margin->down), CAPS_ARG_UINT(count), CAPS_ARG_UINT(lengths->shape[1]),
        CAPS_ARG_UINT(l)};
    CAPS_TRY(caps_launch_items(rt, "margin_forward", CAPS_ARGS(args), count, LOSSES_GROUP, err));
done:
    return status;
}

caps_status caps_margin_backward(caps_runtime *rt, const caps_tensor *dv, const caps_tensor *v,
    const caps_tensor *lengths, const caps_tensor *labels, const caps_margin *margin, float scale,
    caps_error *err)
{
    size_t l;
    caps_status status;
    CAPS_TRY(check_capsules("margin", "v", v, err));
    CAPS_TRY(caps_require_tensor("margin", "dv", dv, CAPS_F32, 3, v->shape, err));
    CAPS_TRY(caps_require_tensor("margin", "lengths", lengths, CAPS_F32, 2, v->shape, err));
    CAPS_TRY(check_labels("margin", "labels", labels, v->shape[0], &l, err));
    size_t count = v->shape[0] * v->shape[1];
    const caps_arg args[] = {CAPS_ARG_TENSOR(dv), CAPS_ARG_TENSOR(v), CAPS_ARG_TENSOR(lengths),
        CAPS_ARG_TENSOR(labels), CAPS_ARG_FLOAT(margin->positive), CAPS_ARG_FLOAT(margin->negative),
        CAPS_ARG_FLOAT(margin->down), CAPS_ARG_FLOAT(scale), CAPS_ARG_UINT(count),
        CAPS_ARG_UINT(v->shape[1]), CAPS_ARG_UINT(v->shape[2]), CAPS_ARG_UINT(l)};
    CAPS_TRY(caps_launch_items(rt, "margin_backward", CAPS_ARGS(args), count, LOSSES_GROUP, err));
done:
    return status;
}

caps_status caps_argmax(
    caps_runtime *rt, const caps_tensor *best, const caps_tensor *lengths, caps_error *err)
{
    size_t l;
    caps_status status;
    CAPS_TRY(caps_require_source("argmax", "lengths", lengths, 2, "[B, J]", err));
    CAPS_TRY(caps_require_count("argmax", "B*J", 2, lengths->shape, err));
    CAPS_TRY(check_labels("argmax", "best", best, lengths->shape[0], &l, err));
    if (l > lengths->shape[1])
        CAPS_TRY(caps_fail(err, CAPS_ERR_ARGUMENT,
            "argmax: best has %zu of %zu capsules, need at most all", l, lengths->shape[1]));
    size_t count = lengths->shape[0];
    const caps_arg args[] = {CAPS_ARG_TENSOR(best), CAPS_ARG_TENSOR(lengths), CAPS_ARG_UINT(count),
        CAPS_ARG_UINT(lengths->shape[1]), CAPS_ARG_UINT(l)};
    CAPS_TRY(caps_launch_items(rt, "argmax", CAPS_ARGS(args), count, LOSSES_GROUP, err));
done:
    return status;
}

caps_status caps_match(caps_runtime *rt, const caps_tensor *matched, const caps_tensor *best,
    const caps_tensor *labels, caps_error *err)
{
    const size_t b = best && best->ndim > 0 ? best->shape[0] : 0;
    size_t l, other;
    caps_status status;
    CAPS_TRY(check_labels("match", "best", best, b, &l, err));
    CAPS_TRY(check_labels("match", "labels", labels, b, &other, err));
    CAPS_TRY(caps_require_tensor(
        "match", "labels", labels, CAPS_I32, best->ndim, (size_t[]){b, l}, err));
    CAPS_TRY(caps_require_tensor(
        "match", "matched", matched, CAPS_I32, best->ndim, (size_t[]){b, l}, err));
    const caps_arg args[] = {CAPS_ARG_TENSOR(matched), CAPS_ARG_TENSOR(best),
        CAPS_ARG_TENSOR(labels), CAPS_ARG_UINT(b), CAPS_ARG_UINT(l)};
    CAPS_TRY(caps_launch_items(rt, "match", CAPS_ARGS(args), b, LOSSES_GROUP, err));
done:
    return status;
}

caps_status caps_mask_forward(caps_runtime *rt, const caps_tensor *masked, const caps_tensor *v,
    const caps_tensor *chosen, caps_error *err)
{
    size_t l;
    caps_status status;
    CAPS_TRY(check_capsules("mask", "v", v, err));
    CAPS_TRY(check_labels("mask", "chosen", chosen, v->shape[0], &l, err));
    const size_t b = v->shape[0], j = v->shape[1], d = v->shape[2], count = b * l * j;
    CAPS_TRY(caps_require_count("mask", "B*L*J*D", 4, (size_t[]){b, l, j, d}, err));
    CAPS_TRY(
        caps_require_tensor("mask", "masked", masked, CAPS_F32, 2, (size_t[]){b * l, j * d}, err));
    const caps_arg args[] = {CAPS_ARG_TENSOR(masked), CAPS_ARG_TENSOR(v), CAPS_ARG_TENSOR(chosen),
        CAPS_ARG_UINT(count), CAPS_ARG_UINT(j), CAPS_ARG_UINT(d), CAPS_ARG_UINT(l)};
    CAPS_TRY(caps_launch_items(rt, "mask_forward", CAPS_ARGS(args), count, LOSSES_GROUP, err));
done:
    return status;
}

caps_status caps_mask_backward(caps_runtime *rt, const caps_tensor *dv, const caps_tensor *dmasked,
    const caps_tensor *chosen, caps_error *err)
{
    size_t l;
    caps_status status;
    CAPS_TRY(check_capsules("mask", "dv", dv, err));
    CAPS_TRY(check_labels("mask", "chosen", chosen, dv->shape[0], &l, err));
    const size_t b = dv->shape[0], j = dv->shape[1], d = dv->shape[2];
    CAPS_TRY(caps_require_count("mask", "B*L*J*D", 4, (size_t[]){b, l, j, d}, err));
    CAPS_TRY(caps_require_tensor(
        "mask", "dmasked", dmasked, CAPS_F32, 2, (size_t[]){b * l, j * d}, err));
    const caps_arg args[] = {CAPS_ARG_TENSOR(dv), CAPS_ARG_TENSOR(dmasked), CAPS_ARG_TENSOR(chosen),
        CAPS_ARG_UINT(b), CAPS_ARG_UINT(j), CAPS_ARG_UINT(d), CAPS_ARG_UINT(l)};
    CAPS_TRY(caps_launch_items(rt, "mask_backward", CAPS_ARGS(args), b, LOSSES_GROUP, err));
done:
    return status;
}

/* dy NULL: not wanted. */
static caps_status sse_launch(caps_runtime *rt, const caps_tensor *sse, const caps_tensor *dy,
    const caps_tensor *y, const caps_tensor *x, float scale, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_require_source("sse", "y", y, 2, "[B, P]", err));
    CAPS_TRY(caps_require_count("sse", "B*P", 2, y->shape, err));
    CAPS_TRY(caps_require_tensor("sse", "x", x, CAPS_F32, 2, y->shape, err));
    CAPS_TRY(caps_require_tensor("sse", "sse", sse, CAPS_F32, 1, y->shape, err));
    if (dy)
        CAPS_TRY(caps_require_tensor("sse", "dy", dy, CAPS_F32, 2, y->shape, err));
    const size_t local = caps_is_gpu(rt) ? caps_group_size(rt, LOSSES_GROUP) : 1;
    const size_t global = y->shape[0] * local;
    const caps_arg plain[] = {
        CAPS_ARG_TENSOR(sse), CAPS_ARG_TENSOR(y), CAPS_ARG_TENSOR(x), CAPS_ARG_UINT(y->shape[1])};
    const caps_arg args[] = {plain[0], CAPS_ARG_TENSOR(dy), plain[1], plain[2],
        CAPS_ARG_LOCAL(local * sizeof(float)), CAPS_ARG_FLOAT(scale), plain[3]};
    status = caps_is_gpu(rt)
                 ? caps_launch(rt, "sse_forward", CAPS_ARGS(args), 1, &global, &local, err)
                 : caps_launch(rt, "sse_forward", CAPS_ARGS(plain), 1, &global, &local, err);
done:
    return status;
}

caps_status caps_sse_forward(caps_runtime *rt, const caps_tensor *sse, const caps_tensor *y,
    const caps_tensor *x, caps_error *err)
{
    return sse_launch(rt, sse, NULL, y, x, 0, err);
}

caps_status caps_sse_gradient(caps_runtime *rt, const caps_tensor *sse, const caps_tensor *dy,
    const caps_tensor *y, const caps_tensor *x, float scale, caps_error *err)
{
    return sse_launch(rt, sse, dy, y, x, scale, err);
}

caps_status caps_sse_backward(caps_runtime *rt, const caps_tensor *dy, const caps_tensor *y,
    const caps_tensor *x, float scale, caps_error *err)
{
    caps_status status;
    CAPS_TRY(caps_require_source("sse", "y", y, 2, "[B, P]", err));
    CAPS_TRY(caps_require_count("sse", "B*P", 2, y->shape, err));
    CAPS_TRY(caps_require_tensor("sse", "x", x, CAPS_F32, 2, y->shape, err));
    CAPS_TRY(caps_require_tensor("sse", "dy", dy, CAPS_F32, 2, y->shape, err));
    size_t count = y->shape[0] * y->shape[1], n = 5;
    caps_arg args[6] = {CAPS_ARG_TENSOR(dy), CAPS_ARG_TENSOR(y), CAPS_ARG_TENSOR(x),
        CAPS_ARG_FLOAT(scale), CAPS_ARG_UINT(count)};
    if (!caps_is_gpu(rt)) {
        args[n++] = (caps_arg)CAPS_ARG_UINT(LOSSES_PER_ITEM);
        count = caps_div_up(count, LOSSES_PER_ITEM);
    }
    CAPS_TRY(caps_launch_items(rt, "sse_backward", args, n, count, LOSSES_GROUP, err));
done:
    return status;
}

caps_status caps_totals_check(const caps_totals *t, size_t *l, caps_error *err)
{
    const caps_dtype dtype = t->begins ? CAPS_I32 : CAPS_F32;
    const size_t words = t->begins ? 5 : 3;
    caps_status status;
    CAPS_TRY(caps_require_tensor(
        "totals", t->begins ? "record" : "totals", &t->to, dtype, 1, &words, err));
    CAPS_TRY(caps_require_source("totals", "margin", &t->margin, 1, "[B]", err));
    const size_t b = t->margin.shape[0];
    CAPS_TRY(check_labels("totals", "labels", &t->labels, b, l, err));
    CAPS_TRY(caps_require_tensor(
        "totals", "best", &t->best, CAPS_I32, t->labels.ndim, (size_t[]){b, *l}, err));
    CAPS_TRY(caps_require_count("totals", "B*L", 2, (size_t[]){b, *l}, err));
    if (t->sse.buffer)
        CAPS_TRY(
            caps_require_tensor("totals", "sse", &t->sse, CAPS_F32, 1, (size_t[]){b * *l}, err));
done:
    return status;
}

caps_status caps_totals_enqueue(caps_runtime *rt, const caps_totals *t, caps_error *err)
{
    size_t l, local = 1, n = 5;
    caps_status status;
    CAPS_TRY(caps_totals_check(t, &l, err));
    caps_arg args[9] = {CAPS_ARG_TENSOR(&t->to), CAPS_ARG_TENSOR(&t->margin),
        CAPS_ARG_TENSOR(t->sse.buffer ? &t->sse : NULL), CAPS_ARG_TENSOR(&t->best),
        CAPS_ARG_TENSOR(&t->labels)};
    if (caps_is_gpu(rt)) {
        local = caps_group_size(rt, LOSSES_GROUP);
        args[n++] = (caps_arg)CAPS_ARG_LOCAL(3 * local * sizeof(float));
    }
    args[n++] = (caps_arg)CAPS_ARG_UINT(t->margin.shape[0]);
    args[n++] = (caps_arg)CAPS_ARG_UINT(l);
    args[n++] = (caps_arg)CAPS_ARG_UINT(t->begins);
    CAPS_TRY(caps_launch(rt, "totals_add", args, n, 1, &local, &local, err));
done:
    return status;
}

caps_status caps_totals_add(caps_runtime *rt, const caps_tensor *totals, const caps_tensor *margin,
    const caps_tensor *sse, const caps_tensor *best, const caps_tensor *labels, caps_error *err)
{
    const caps_tensor none = {0};
    const caps_tensor *given[] = {totals, margin, sse, best, labels};
    for (size_t i = 0; i < 5; i++)
        given[i] = given[i] ? given[i] : &none;
    const caps_totals t = {.to = *given[0],
        .margin = *given[1],
        .sse = *given[2],
        .best = *given[3],
        .labels = *given[4]};
    return caps_totals_enqueue(rt, &t, err);
}
