/* em.c: votes and EM routing: checks and sizes; the families: em_lanes.c and em_groups.c. */
#include "em.h"

#include <math.h>
#include <stdlib.h>

#include "fail.h"
#include "launch.h"
#include "require.h"

/* ---- sizes ---------------------------------------------------------------------------------- */

caps_em_sizes caps_em_sizes_of(const caps_em *shape)
{
    const size_t area = shape->height * shape->width;
    caps_em_sizes n = {1, 1, 1, shape->types * area, shape->types * area, shape->types, 0, 0};
    if (shape->kernel) {
        n.rows = (shape->height - shape->kernel) / shape->stride + 1;
        n.across = (shape->width - shape->kernel) / shape->stride + 1;
        n.windows = n.rows * n.across;
        n.edges = n.slots = shape->kernel * shape->kernel * shape->types;
    }
    n.earliest = shape->grad == CAPS_ROUTING_GRAD_FULL ? 0 : shape->iterations - 1;
    n.steps = shape->iterations - n.earliest;
    return n;
}

/* ---- checks --------------------------------------------------------------------------------- */

static caps_status shape_check(const caps_em *s, caps_error *err)
{
    const struct {
        size_t value;
        const char *name;
    } least[] = {{s->b, "b"}, {s->types, "types"}, {s->height, "height"}, {s->width, "width"},
        {s->parents, "parents"}, {s->iterations, "iterations"},
        {s->kernel ? s->stride : 1, "stride"}};
    for (size_t n = 0; n < sizeof least / sizeof least[0]; n++)
        if (least[n].value < 1)
            return caps_fail(err, CAPS_ERR_ARGUMENT, "em: %s is 0, need >= 1", least[n].name);
    if (s->kernel > s->height || s->kernel > s->width)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "em: kernel is %zu, need 0 to %zu", s->kernel,
            s->height < s->width ? s->height : s->width);
    if (s->kernel && s->coordinates)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "em: coordinates need kernel 0, not %zu", s->kernel);
    if (s->grad != CAPS_ROUTING_GRAD_FULL && s->grad != CAPS_ROUTING_GRAD_LAST)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "em: grad is %d, need %d (full) or %d (last)",
            (int)s->grad, CAPS_ROUTING_GRAD_FULL, CAPS_ROUTING_GRAD_LAST);
    if (!(s->variance_floor > 0) || !isfinite(s->variance_floor))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "em: variance_floor is %g, need > 0",
            (double)s->variance_floor);
    if (!isfinite(s->lambda) || !isfinite(s->cost_scale))
        return caps_fail(err, CAPS_ERR_ARGUMENT, "em: lambda %g and cost_scale %g need be finite",
            (double)s->lambda, (double)s->cost_scale);
    const size_t area[] = {16, s->types, s->height, s->width};
    caps_status status = caps_require_count("em", "16*T*H*W", 4, area, err);
    if (status != CAPS_OK)
        return status;
    const caps_em_sizes n = caps_em_sizes_of(s);
    const size_t links[] = {n.windows, n.edges, s->parents}, weights[] = {16, n.slots, s->parents};
    const size_t parents[] = {16, n.windows, s->parents}, rounds[] = {2, s->iterations};
    const size_t items[] = {n.windows, s->parents, s->b};
    CAPS_TRY(caps_require_count("em", "links of an image", 3, links, err));
    CAPS_TRY(caps_require_count("em", "elements of weight", 3, weights, err));
    CAPS_TRY(caps_require_count("em", "16*J", 3, parents, err));
    CAPS_TRY(caps_require_count("em", "2*iterations", 2, rounds, err));
    CAPS_TRY(caps_require_count("em", "J*B", 3, items, err));
done:
    return status;
}

static caps_status require_elements(
    const char *name, const caps_tensor *t, size_t need, caps_error *err)
{
    const size_t have = t && t->buffer && t->dtype == CAPS_F32 ? caps_tensor_count(t) : 0;
    return have >= need ? CAPS_OK
                        : caps_fail(err, CAPS_ERR_ARGUMENT, "em: %s has %zu float32, need >= %zu",
                              name, have, need);
}

caps_em_workspace caps_em_workspace_of(const caps_runtime *rt, const caps_em *shape, bool training)
{
    caps_error ignored = {0};
    if (shape_check(shape, &ignored) != CAPS_OK)
        return (caps_em_workspace){0, 0};
    return (rt && caps_is_gpu(rt) ? caps_em_groups_workspace : caps_em_lanes_workspace)(
        shape, training);
}

static caps_status require(
    const char *name, const caps_tensor *t, int ndim, const size_t *shape, caps_error *err)
{
    return caps_require_tensor("em", name, t, CAPS_F32, ndim, shape, err);
}

/* now: the sizes at hand. prefix: "d" of the gradients of the results. */
static caps_status call_check(
    const caps_runtime *rt, caps_em_call *c, caps_em *now, bool training, caps_error *err)
{
    const caps_em *s = c->shape;
    caps_status status;
    CAPS_TRY(shape_check(s, err));
    CAPS_TRY(caps_require_source("em", "pose", c->pose, 3, "[B, I, 16]", err));
    *now = *s;
    now->b = c->pose->shape[0];
    c->n = caps_em_sizes_of(now);
    if (now->b > s->b || c->pose->shape[1] != c->n.children || c->pose->shape[2] != 16) {
        status = caps_fail(err, CAPS_ERR_ARGUMENT,
            "em: pose is float32 [%zu, %zu, %zu], need float32 [1 to %zu, %zu, 16]",
            c->pose->shape[0], c->pose->shape[1], c->pose->shape[2], s->b, c->n.children);
        goto done;
    }
    c->shape = now;
    const size_t parents = now->parents, results = c->n.windows * parents;
    CAPS_TRY(require("activation", c->activation, 2, (size_t[]){now->b, c->n.children}, err));
    const size_t weight[] = {now->kernel, now->kernel, now->types, parents, 4, 4};
    const size_t skip = now->kernel ? 0 : 2;
    CAPS_TRY(require("weight", c->weight, 6 - (int)skip, weight + skip, err));
    CAPS_TRY(require("beta_u", c->beta_u, 1, &parents, err));
    CAPS_TRY(require("beta_a", c->beta_a, 1, &parents, err));
    CAPS_TRY(require(
        training ? "dpose_out" : "pose_out", c->pose_out, 3, (size_t[]){now->b, results, 16}, err));
    CAPS_TRY(require(training ? "dactivation_out" : "activation_out", c->activation_out, 2,
        (size_t[]){now->b, results}, err));
    if (c->dpose)
        CAPS_TRY(require("dpose", c->dpose, 3, c->pose->shape, err));
    if (c->dactivation)
        CAPS_TRY(require("dactivation", c->dactivation, 2, c->activation->shape, err));
    if (training) {
        CAPS_TRY(require("dweight", c->dweight, 6 - (int)skip, weight + skip, err));
        CAPS_TRY(require("dbeta_u", c->dbeta_u, 1, &parents, err));
        CAPS_TRY(require("dbeta_a", c->dbeta_a, 1, &parents, err));
    }
    const caps_em_workspace need = caps_em_workspace_of(rt, now, training);
    CAPS_TRY(require_elements("state", c->state, need.state, err));
    CAPS_TRY(require_elements("workspace", c->workspace, need.workspace, err));
done:
    return status;
}

/* ---- the operation -------------------------------------------------------------------------- */

caps_status caps_em_forward(caps_runtime *rt, const caps_tensor *pose_out,
    const caps_tensor *activation_out, const caps_tensor *state, const caps_tensor *pose,
    const caps_tensor *activation, const caps_tensor *weight, const caps_tensor *beta_u,
    const caps_tensor *beta_a, const caps_em *shape, const caps_tensor *workspace, caps_error *err)
{
    caps_em now;
    caps_em_call c = {.shape = shape,
        .state = state,
        .workspace = workspace,
        .pose = pose,
        .activation = activation,
        .weight = weight,
        .beta_u = beta_u,
        .beta_a = beta_a,
        .pose_out = pose_out,
        .activation_out = activation_out};
    const caps_status status = call_check(rt, &c, &now, false, err);
    if (status != CAPS_OK)
        return status;
    return (caps_is_gpu(rt) ? caps_em_groups_forward : caps_em_lanes_forward)(rt, &c, err);
}

caps_status caps_em_backward(caps_runtime *rt, const caps_tensor *dpose,
    const caps_tensor *dactivation, const caps_tensor *dweight, const caps_tensor *dbeta_u,
    const caps_tensor *dbeta_a, const caps_tensor *dpose_out, const caps_tensor *dactivation_out,
    const caps_tensor *state, const caps_tensor *pose, const caps_tensor *activation,
    const caps_tensor *weight, const caps_tensor *beta_u, const caps_tensor *beta_a,
    const caps_em *shape, const caps_tensor *workspace, caps_error *err)
{
    caps_em now;
    caps_em_call c = {.shape = shape,
        .state = state,
        .workspace = workspace,
        .pose = pose,
        .activation = activation,
        .weight = weight,
        .beta_u = beta_u,
        .beta_a = beta_a,
        .pose_out = dpose_out,
        .activation_out = dactivation_out,
        .dpose = dpose,
        .dactivation = dactivation,
        .dweight = dweight,
        .dbeta_u = dbeta_u,
        .dbeta_a = dbeta_a};
    const caps_status status = call_check(rt, &c, &now, true, err);
    if (status != CAPS_OK)
        return status;
    return (caps_is_gpu(rt) ? caps_em_groups_backward : caps_em_lanes_backward)(rt, &c, err);
}

/* ---- what a forward left -------------------------------------------------------------------- */

/* now: the shape for as many images. */
static caps_status left_check(const caps_runtime *rt, caps_em *now, const caps_tensor *state,
    size_t images, const caps_em *shape, caps_error *err)
{
    caps_status status;
    CAPS_TRY(shape_check(shape, err));
    *now = *shape;
    now->b = images;
    if (images < 1 || images > shape->b)
        status = caps_fail(err, CAPS_ERR_ARGUMENT, "em: the number of images is %zu, need 1 to %zu",
            images, shape->b);
    else
        status = require_elements("state", state, caps_em_workspace_of(rt, now, false).state, err);
done:
    return status;
}

caps_status caps_em_assignment(caps_runtime *rt, const caps_tensor *out, const caps_tensor *state,
    const caps_em *shape, size_t iteration, caps_error *err)
{
    caps_em now;
    caps_status status;
    CAPS_TRY(shape_check(shape, err));
    const caps_em_sizes n = caps_em_sizes_of(shape);
    CAPS_TRY(caps_require_source("em", "out", out, shape->kernel ? 4 : 3,
        shape->kernel ? "[B, H2 W2, kernel kernel T, C]" : "[B, I, C]", err));
    const size_t need[] = {out->shape[0], n.windows, n.edges, shape->parents};
    const size_t shared[] = {out->shape[0], n.edges, shape->parents};
    CAPS_TRY(require("out", out, shape->kernel ? 4 : 3, shape->kernel ? need : shared, err));
    CAPS_TRY(left_check(rt, &now, state, out->shape[0], shape, err));
    if (iteration >= shape->iterations) {
        status = caps_fail(err, CAPS_ERR_ARGUMENT, "em: iteration is %zu, need 0 to %zu", iteration,
            shape->iterations - 1);
        goto done;
    }
    CAPS_TRY((caps_is_gpu(rt) ? caps_em_groups_assignment : caps_em_lanes_assignment)(
        rt, out, state, &now, iteration, err));
done:
    return status;
}

caps_not_finite_row caps_em_row(
    const caps_runtime *rt, const caps_tensor *state, const caps_em *shape, size_t iteration)
{
    const size_t images = caps_is_gpu(rt) ? 1 : CAPS_EM_LANES;
    caps_em one = *shape, two = *shape;
    caps_tensor mu, z, next;
    one.b = images;
    two.b = 2 * images;
    const caps_em *shapes[] = {&one, &two};
    caps_tensor *to[] = {&z, &next};
    for (int n = 0; n < 2; n++)
        (caps_is_gpu(rt) ? caps_em_groups_results : caps_em_lanes_results)(
            &mu, to[n], state, shapes[n], iteration);
    const size_t before = next.offset - z.offset;
    return (caps_not_finite_row){.offset = z.offset - before,
        .count = caps_tensor_count(&z),
        .before = before,
        .images = (uint32_t)images};
}

static caps_status all_finite(caps_runtime *rt, bool *finite, const caps_tensor *t, caps_error *err)
{
    const size_t count = caps_tensor_count(t);
    float *values = malloc(count * sizeof *values);
    if (!values)
        return caps_fail(err, CAPS_ERR_MEMORY, "em: out of memory for %zu values", count);
    const caps_status status = caps_tensor_download(rt, t, values, err);
    for (size_t n = 0; status == CAPS_OK && n < count && *finite; n++)
        *finite = isfinite(values[n]) != 0;
    free(values);
    return status;
}

caps_status caps_em_first_not_finite(caps_runtime *rt, size_t *iteration, const caps_tensor *state,
    size_t images, const caps_em *shape, caps_error *err)
{
    caps_em now;
    caps_status status;
    bool finite = true;
    CAPS_TRY(left_check(rt, &now, state, images, shape, err));
    for (*iteration = 0; *iteration < now.iterations; ++*iteration) {
        caps_tensor mu, z;
        (caps_is_gpu(rt) ? caps_em_groups_results : caps_em_lanes_results)(
            &mu, &z, state, &now, *iteration);
        CAPS_TRY(all_finite(rt, &finite, &mu, err));
        CAPS_TRY(all_finite(rt, &finite, &z, err));
        if (!finite)
            break;
    }
done:
    return status;
}

/* With one window z is [B, C] on the GPU, and on the CPU [B / 16, C, 16]. */
caps_status caps_em_activations(caps_runtime *rt, float *out, const caps_tensor *state,
    size_t images, const caps_em *shape, size_t iteration, caps_error *err)
{
    const size_t parents = shape->parents, lanes = caps_is_gpu(rt) ? 1 : CAPS_EM_LANES;
    float *values = NULL;
    caps_tensor mu, z;
    caps_em now;
    caps_status status;
    CAPS_TRY(left_check(rt, &now, state, images, shape, err));
    (caps_is_gpu(rt) ? caps_em_groups_results : caps_em_lanes_results)(
        &mu, &z, state, &now, iteration);
    values = malloc(caps_tensor_bytes(&z));
    if (!values)
        return caps_fail(err, CAPS_ERR_MEMORY, "em: out of memory for the activations");
    CAPS_TRY(caps_tensor_download(rt, &z, values, err));
    for (size_t b = 0; b < images; b++)
        for (size_t c = 0; c < parents; c++) {
            const float at = values[(b / lanes * parents + c) * lanes + b % lanes];
            out[b * parents + c] = (float)(1 / (1 + exp(-(double)at)));
        }
done:
    free(values);
    return status;
}
