/* conv.c: caps_conv2d checks its tensors and passes them to one of the algorithms (conv.h). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <capscl/ops.h>

#include "conv.h"
#include "gemm.h"
#include "require.h"
#include "fail.h"
#include "launch.h"
#include "trust.h"

/* By caps_conv_algorithm. */
static const caps_conv_implementation *const implementations[] = {&caps_conv_columns,
    &caps_conv_columns, &caps_conv_direct, &caps_conv_winograd, &caps_conv_toom_cook,
    &caps_conv_implicit};
enum { ALGORITHMS = sizeof implementations / sizeof implementations[0] };

/* See caps_conv_column_bytes. */
#define COLUMN_BYTES ((size_t)64 << 20)
enum { GPU_COLUMN_SHARE = 8 };

/* ---- sizes ---------------------------------------------------------------------------------- */

size_t caps_conv2d_output(size_t size, size_t kernel, size_t stride, size_t padding)
{
    if (size == 0 || kernel == 0 || stride == 0 || padding > (SIZE_MAX - size) / 2 ||
        size + 2 * padding < kernel)
        return 0;
    return (size + 2 * padding - kernel) / stride + 1;
}

static caps_conv_sizes conv_sizes_of(
    const size_t x_shape[4], const size_t w_shape[4], const caps_conv2d *conv)
{
    caps_conv_sizes z = {.b = x_shape[0],
        .c = x_shape[1],
        .h = x_shape[2],
        .w = x_shape[3],
        .m = w_shape[0],
        .kh = w_shape[2],
        .kw = w_shape[3],
        .stride = conv->stride,
        .padding = conv->padding,
        .act = conv->act};
    z.oh = caps_conv2d_output(z.h, z.kh, z.stride, z.padding);
    z.ow = caps_conv2d_output(z.w, z.kw, z.stride, z.padding);
    z.taps = caps_conv_times(caps_conv_times(z.c, z.kh), z.kw);
    z.pixels = caps_conv_times(z.oh, z.ow);
    return z;
}

/* ---- choice --------------------------------------------------------------------------------- */

/* The table has no row for AUTO: its positions are those of caps_conv_algorithm less one. */
static const caps_algorithm conv_names[] = {{"im2col", NULL}, {"direct", NULL}, {"winograd", NULL},
    {"toom-cook", "spectral"}, {"implicit", NULL}};
_Static_assert(sizeof conv_names / sizeof *conv_names == ALGORITHMS - 1, "a name an algorithm");

static caps_conv_sizes problem_sizes(const void *problem)
{
    const caps_conv_problem *p = problem;
    return conv_sizes_of(p->x_shape, p->w_shape, &p->conv);
}

static const char *conv_unsupported(const caps_runtime *rt, size_t algorithm, const void *problem)
{
    const caps_conv_problem *p = problem;
    const caps_conv_sizes z = problem_sizes(p);
    return implementations[algorithm + 1]->unsupported_reason(
        rt, &z, p->backward && p->needs_input_gradient);
}

/* The first one always has the workspace, in chunks of one image where it must; and in a simulator
 * the plainest has the fewest instructions to interpret. */
static double conv_cost(const caps_runtime *rt, size_t algorithm, const void *problem)
{
    const caps_conv_problem *p = problem;
    const caps_conv_sizes z = problem_sizes(p);
    const caps_conv_implementation *i = implementations[algorithm + 1];
    const bool general = algorithm + 1 == CAPS_CONV_IM2COL;
    if (!general && (!rt || caps_is_simulated(rt) ||
                        i->workspace(rt, &z, 1, p->backward) > p->limit_bytes / sizeof(float)))
        return INFINITY;
    return i->cost(rt, &z);
}

static void conv_key(char key[CAPS_TUNING_KEY], const void *problem)
{
    const caps_conv_problem *p = problem;
    const caps_conv_sizes z = problem_sizes(p);
    snprintf(key, CAPS_TUNING_KEY, "conv %zux%zux%zux%zu %zux%zux%zu s%zu p%zu %s", z.b, z.c, z.h,
        z.w, z.m, z.kh, z.kw, z.stride, z.padding,
        !p->backward              ? "forward"
        : p->needs_input_gradient ? "training dx"
                                  : "training");
}

static void conv_describe(char *text, size_t bytes, const void *problem)
{
    const caps_conv_sizes z = problem_sizes(problem);
    snprintf(text, bytes, "cannot serve images of %zux%zux%zu and kernels of %zux%zu", z.c, z.h,
        z.w, z.kh, z.kw);
}

const caps_chooser caps_conv_chooser = {
    .name = "conv",
    .variable = "CAPSCL_CONV",
    .unknown = "conv: algorithm '%s' is unknown",
    .by_layer = true,
    .algorithms = conv_names,
    .count = ALGORITHMS - 1,
    .general = CAPS_CONV_IM2COL - 1,
    .problem_bytes = sizeof(caps_conv_problem),
    .key = conv_key,
    .describe = conv_describe,
    .unsupported_reason = conv_unsupported,
    .cost = conv_cost,
};

const char *caps_conv_algorithm_name(caps_conv_algorithm algorithm)
{
    return algorithm == CAPS_CONV_AUTO ? "auto" : conv_names[algorithm - 1].name;
}

bool caps_conv_algorithm_find(caps_conv_algorithm *out, const char *name)
{
    const size_t found = caps_algorithm_find(&caps_conv_chooser, name);
    const bool automatic = strcmp(name, "auto") == 0;
    if (found == CAPS_CHOICE_FREE && !automatic)
        return false;
    *out = automatic ? CAPS_CONV_AUTO : (caps_conv_algorithm)(found + 1);
    return true;
}

size_t caps_conv_candidates(
    const caps_runtime *rt, const caps_conv_problem *problem, caps_conv_algorithm *out)
{
    size_t found[CAPS_ALGORITHMS];
    const size_t n = caps_choice_candidates(&caps_conv_chooser, rt, problem, found);
    for (size_t i = 0; i < n; i++)
        out[i] = (caps_conv_algorithm)(found[i] + 1);
    return n;
}

caps_status caps_conv2d_choose(caps_conv_algorithm *out, const caps_runtime *rt,
    const size_t x_shape[4], const size_t w_shape[4], const caps_conv2d *conv, bool backward,
    bool needs_input_gradient, caps_conv_algorithm requested, size_t limit_bytes, caps_error *err)
{
    const bool automatic = requested == CAPS_CONV_AUTO;
    caps_conv_problem problem = {.conv = *conv,
        .backward = backward,
        .needs_input_gradient = needs_input_gradient,
        .limit_bytes = limit_bytes};
    size_t chosen;
    memcpy(problem.x_shape, x_shape, sizeof problem.x_shape);
    memcpy(problem.w_shape, w_shape, sizeof problem.w_shape);
    const caps_status status = caps_choose(&chosen, &caps_conv_chooser, rt, &problem,
        automatic ? CAPS_CHOICE_FREE : (size_t)requested - 1, true, automatic ? NULL : err);
    *out = (caps_conv_algorithm)(chosen + 1);
    /* Where none can serve it is left to the operation to report that. */
    return automatic ? CAPS_OK : status;
}

/* ---- workspace ------------------------------------------------------------------------------ */

/* The most images, at most z->b, whose workspace is no larger than `capacity`; 0: not even one. */
static size_t most_images(const caps_conv_implementation *algorithm, const caps_runtime *rt,
    const caps_conv_sizes *z, size_t capacity, bool backward)
{
    /* The whole batch may need less than almost all of it: nothing has to outlive a chunk. */
    if (algorithm->workspace(rt, z, z->b, backward) <= capacity)
        return z->b;
    size_t low = 0, high = z->b - 1;
    while (low < high) {
        const size_t middle = low + (high - low + 1) / 2,
                     need = algorithm->workspace(rt, z, middle, backward);
        if (need != SIZE_MAX && need <= capacity)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

size_t caps_conv_chunk(const caps_conv_implementation *algorithm, const caps_runtime *rt,
    const caps_conv_sizes *z, size_t workspace, bool backward)
{
    const size_t most = most_images(algorithm, rt, z, workspace, backward);
    return most == 0 ? 0 : caps_div_up(z->b, caps_div_up(z->b, most));
}

size_t caps_conv_column_bytes(const caps_runtime *rt)
{
    if (!rt || !caps_is_gpu(rt))
        return COLUMN_BYTES;
    const caps_device_info *device = caps_runtime_device(rt);
    uint64_t bytes = device->global_mem_bytes / GPU_COLUMN_SHARE;
    bytes = bytes < device->max_alloc_bytes ? bytes : device->max_alloc_bytes;
    bytes = bytes > COLUMN_BYTES ? bytes : COLUMN_BYTES;
    return bytes < SIZE_MAX ? (size_t)bytes : SIZE_MAX;
}

size_t caps_conv2d_workspace(const caps_runtime *rt, const size_t x_shape[4],
    const size_t w_shape[4], const caps_conv2d *conv, bool backward, size_t limit_bytes)
{
    const caps_conv_sizes z = conv_sizes_of(x_shape, w_shape, conv);
    const caps_conv_implementation *algorithm = implementations[conv->algorithm];
    if (z.b == 0 || z.pixels == 0)
        return 0;
    const size_t chunk = caps_conv_chunk(algorithm, rt, &z, limit_bytes / sizeof(float), backward);
    return algorithm->workspace(rt, &z, chunk ? chunk : 1, backward);
}

/* Records what the chunks of the whole batch will choose. Whether the gradient of x is among it is
 * known from the choice of the convolution itself; where there was none, it is taken to be. */
static void conv_plan(const caps_runtime *rt, const caps_conv_problem *problem,
    const caps_conv_sizes *z, size_t workspace, bool backward)
{
    const caps_conv_implementation *algorithm = implementations[problem->conv.algorithm];
    const size_t chunk = caps_conv_chunk(algorithm, rt, z, workspace, backward);
    caps_conv_problem without = *problem, with = *problem;
    without.backward = with.backward = true;
    without.needs_input_gradient = false;
    with.needs_input_gradient = true;
    if (!algorithm->plan || chunk == 0)
        return;
    const bool dx = caps_choice_is_recorded(&caps_conv_chooser, rt, &with) ||
                    !caps_choice_is_recorded(&caps_conv_chooser, rt, &without);
    algorithm->plan(rt, z, chunk, backward, dx);
    if (z->b % chunk > 0)
        algorithm->plan(rt, z, z->b % chunk, backward, dx);
}

size_t caps_conv2d_scratch(const caps_runtime *rt, const size_t x_shape[4], const size_t w_shape[4],
    const caps_conv2d *conv, size_t workspace, bool backward)
{
    const caps_conv_sizes z = conv_sizes_of(x_shape, w_shape, conv);
    const caps_conv_implementation *algorithm = implementations[conv->algorithm];
    if (z.b == 0 || z.pixels == 0)
        return 0;
    size_t most = 0;
    caps_conv_problem problem = {.conv = *conv};
    memcpy(problem.x_shape, x_shape, sizeof problem.x_shape);
    memcpy(problem.w_shape, w_shape, sizeof problem.w_shape);
    for (int b = 0; b <= backward; b++) {
        conv_plan(rt, &problem, &z, workspace, b);
        /* Smaller batches come too, and a smaller product may take more, where a larger one is
         * cut. */
        for (size_t n = most_images(algorithm, rt, &z, workspace, b); n > 0;
             n -= caps_div_up(n, CAPS_SCRATCH_SIZES)) {
            const size_t bytes = algorithm->scratch ? algorithm->scratch(rt, &z, n, b) : 0;
            most = bytes > most ? bytes : most;
        }
    }
    return most;
}

size_t caps_conv2d_cached_elements(const caps_runtime *rt, const size_t x_shape[4],
    const size_t w_shape[4], const caps_conv2d *conv, size_t workspace)
{
    const caps_conv_sizes z = conv_sizes_of(x_shape, w_shape, conv);
    const caps_conv_implementation *algorithm = implementations[conv->algorithm];
    const size_t chunk = algorithm->cached && z.b && z.pixels
                             ? caps_conv_chunk(algorithm, rt, &z, workspace, false)
                             : 0;
    return chunk ? algorithm->cached(rt, &z, chunk) : 0;
}

/* ---- checks --------------------------------------------------------------------------------- */

/* Fills *z from x, w and the workspace, and checks every size; the other tensors come after. */
static caps_status conv_check(caps_conv_sizes *z, size_t *chunk, const caps_runtime *rt,
    const caps_tensor *x, const caps_tensor *w, const caps_conv2d *conv,
    const caps_tensor *workspace, bool backward, bool needs_input_gradient, caps_error *err)
{
    caps_status status = CAPS_OK;
    CAPS_TRY(caps_require_source("conv2d", "x", x, 4, "[B, C, H, W]", err));
    CAPS_TRY(caps_require_source("conv2d", "w", w, 4, "[M, C, kh, kw]", err));
    if (w->shape[1] != x->shape[1])
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "conv2d: w has %zu input channels, need %zu as x has", w->shape[1], x->shape[1]);
    *z = conv_sizes_of(x->shape, w->shape, conv);
    if (z->stride < 1)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "conv2d: stride is 0, need >= 1");
    if (z->padding >= z->kh || z->padding >= z->kw)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "conv2d: padding is %zu, need less than the kernel %zux%zu", z->padding, z->kh, z->kw);
    if ((int)conv->act < CAPS_ACT_NONE || conv->act > CAPS_ACT_SIGMOID)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "conv2d: activation is %d, need 0 to %d",
            (int)conv->act, CAPS_ACT_SIGMOID);
    if ((int)conv->algorithm < 0 || (int)conv->algorithm >= ALGORITHMS)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "conv2d: algorithm is %d, need 0 to %d",
            (int)conv->algorithm, ALGORITHMS - 1);
    if (z->oh == 0 || z->ow == 0)
        return z->padding == 0
                   ? caps_fail(err, CAPS_ERR_ARGUMENT,
                         "conv2d: kernel %zux%zu is larger than its input %zux%zu", z->kh, z->kw,
                         z->h, z->w)
                   : caps_fail(err, CAPS_ERR_ARGUMENT,
                         "conv2d: kernel %zux%zu is larger than its input %zux%zu with padding %zu",
                         z->kh, z->kw, z->h, z->w, z->padding);
    const caps_conv_implementation *algorithm = implementations[conv->algorithm];
    const char *why = algorithm->unsupported_reason(rt, z, needs_input_gradient);
    if (why)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "conv2d: %s cannot take images of %zux%zux%zu to %zux%zux%zu: %s", algorithm->name,
            z->c, z->h, z->w, z->m, z->oh, z->ow, why);
    CAPS_TRY(caps_trust_require(rt, "conv", algorithm->name, "conv2d", err));

    if (!workspace || !workspace->buffer || workspace->dtype != CAPS_F32)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "conv2d: workspace is no float32 tensor, need one");
    const size_t have = caps_tensor_count(workspace);
    *chunk = caps_conv_chunk(algorithm, rt, z, have, backward);
    if (*chunk < 1)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "conv2d: workspace has %zu elements, need >= %zu, one image", have,
            algorithm->workspace(rt, z, 1, backward));
done:
    return status;
}

/* ---- the operation -------------------------------------------------------------------------- */

caps_status caps_conv2d_forward_cached(caps_runtime *rt, const caps_conv_tensors *t,
    const caps_conv2d *conv, const caps_tensor *workspace, caps_conv_cached cached, caps_error *err)
{
    caps_conv_sizes z;
    size_t chunk;
    caps_status status = CAPS_OK;
    CAPS_TRY(conv_check(&z, &chunk, rt, t->x, t->w, conv, workspace, false, false, err));
    CAPS_TRY(caps_require_tensor(
        "conv2d", "y", t->y, CAPS_F32, 4, (size_t[]){z.b, z.m, z.oh, z.ow}, err));
    if (t->bias)
        CAPS_TRY(caps_require_tensor("conv2d", "bias", t->bias, CAPS_F32, 1, &z.m, err));
    CAPS_TRY(implementations[conv->algorithm]->forward(rt, &z, t, workspace, chunk, cached, err));
done:
    return status;
}

caps_status caps_conv2d_forward(caps_runtime *rt, const caps_tensor *y, const caps_tensor *x,
    const caps_tensor *w, const caps_tensor *bias, const caps_conv2d *conv,
    const caps_tensor *workspace, caps_error *err)
{
    const caps_conv_tensors t = {.y = y, .x = x, .w = w, .bias = bias};
    return caps_conv2d_forward_cached(rt, &t, conv, workspace, (caps_conv_cached){0}, err);
}

caps_status caps_conv2d_backward_cached(caps_runtime *rt, const caps_conv_tensors *t,
    const caps_conv2d *conv, const caps_tensor *workspace, caps_conv_cached cached, caps_error *err)
{
    caps_conv_sizes z;
    size_t chunk;
    caps_status status = CAPS_OK;
    CAPS_TRY(conv_check(&z, &chunk, rt, t->x, t->w, conv, workspace, true, t->dx != NULL, err));
    const size_t outputs[] = {z.b, z.m, z.oh, z.ow};
    CAPS_TRY(caps_require_tensor("conv2d", "dy", t->dy, CAPS_F32, 4, outputs, err));
    if (conv->act != CAPS_ACT_NONE)
        CAPS_TRY(caps_require_tensor("conv2d", "y", t->y, CAPS_F32, 4, outputs, err));
    CAPS_TRY(caps_require_tensor("conv2d", "dw", t->dw, CAPS_F32, 4, t->w->shape, err));
    if (t->dx)
        CAPS_TRY(caps_require_tensor("conv2d", "dx", t->dx, CAPS_F32, 4, t->x->shape, err));
    if (t->dbias)
        CAPS_TRY(caps_require_tensor("conv2d", "dbias", t->dbias, CAPS_F32, 1, &z.m, err));
    CAPS_TRY(implementations[conv->algorithm]->backward(rt, &z, t, workspace, chunk, cached, err));
done:
    return status;
}

caps_status caps_conv2d_backward(caps_runtime *rt, const caps_tensor *dx, const caps_tensor *dw,
    const caps_tensor *dbias, const caps_tensor *dy, const caps_tensor *y, const caps_tensor *x,
    const caps_tensor *w, const caps_conv2d *conv, const caps_tensor *workspace, caps_error *err)
{
    const caps_conv_tensors t = {
        .y = y, .x = x, .w = w, .dx = dx, .dw = dw, .dbias = dbias, .dy = dy};
    return caps_conv2d_backward_cached(rt, &t, conv, workspace, (caps_conv_cached){0}, err);
}
