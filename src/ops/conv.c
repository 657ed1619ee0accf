/* conv.c: caps_conv2d checks its tensors and hands them to one of the algorithms (conv.h). */
#include <stdio.h>
#include <string.h>

#include <capscl/ops.h>

#include "conv.h"
#include "gemm.h"
#include "require.h"
#include "fail.h"
#include "launch.h"
#include "tuning.h"

/* By caps_conv_algorithm. */
static const caps_conv_implementation *const methods[] = {&caps_conv_columns, &caps_conv_columns,
    &caps_conv_direct, &caps_conv_winograd, &caps_conv_toom_cook};
enum { METHODS = sizeof methods / sizeof methods[0] };

/* ---- sizes ---------------------------------------------------------------------------------- */

size_t caps_conv2d_output(size_t size, size_t kernel, size_t stride, size_t padding)
{
    if (size == 0 || kernel == 0 || stride == 0 || padding > (SIZE_MAX - size) / 2 ||
        size + 2 * padding < kernel)
        return 0;
    return (size + 2 * padding - kernel) / stride + 1;
}

static caps_conv_sizes sizes_of(
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

/* The most images, at most z->b, whose workspace is no larger than `room`; 0: not even one. */
static size_t most_images(
    const caps_conv_implementation *method, const caps_conv_sizes *z, size_t room, bool backward)
{
    /* The whole batch may need less than almost all of it: nothing has to outlive a chunk. */
    if (method->workspace(z, z->b, backward) <= room)
        return z->b;
    size_t low = 0, high = z->b - 1;
    while (low < high) {
        const size_t middle = low + (high - low + 1) / 2,
                     need = method->workspace(z, middle, backward);
        if (need != SIZE_MAX && need <= room)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

size_t caps_conv_chunk(
    const caps_conv_implementation *method, const caps_conv_sizes *z, size_t workspace, bool backward)
{
    const size_t most = most_images(method, z, workspace, backward);
    return most == 0 ? 0 : caps_div_up(z->b, caps_div_up(z->b, most));
}

size_t caps_conv2d_workspace(const size_t x_shape[4], const size_t w_shape[4],
    const caps_conv2d *conv, bool backward, size_t limit_bytes)
{
    const caps_conv_sizes z = sizes_of(x_shape, w_shape, conv);
    const caps_conv_implementation *method = methods[conv->algorithm];
    if (z.b == 0 || z.pixels == 0)
        return 0;
    const size_t chunk = caps_conv_chunk(method, &z, limit_bytes / sizeof(float), backward);
    return method->workspace(&z, chunk ? chunk : 1, backward);
}

size_t caps_conv2d_scratch(const caps_runtime *rt, const size_t x_shape[4], const size_t w_shape[4],
    const caps_conv2d *conv, size_t workspace, bool backward)
{
    const caps_conv_sizes z = sizes_of(x_shape, w_shape, conv);
    const caps_conv_implementation *method = methods[conv->algorithm];
    if (z.b == 0 || z.pixels == 0)
        return 0;
    size_t most = 0;
    for (int b = 0; b <= backward; b++) {
        /* Smaller batches come too, and a smaller product may take more, where a larger one is
         * cut. */
        for (size_t n = most_images(method, &z, workspace, b); n > 0;
             n -= caps_div_up(n, CAPS_SCRATCH_SIZES)) {
            const size_t bytes = method->scratch ? method->scratch(rt, &z, n, b) : 0;
            most = bytes > most ? bytes : most;
        }
    }
    return most;
}

size_t caps_conv2d_cached_elements(
    const size_t x_shape[4], const size_t w_shape[4], const caps_conv2d *conv, size_t workspace)
{
    const caps_conv_sizes z = sizes_of(x_shape, w_shape, conv);
    const caps_conv_implementation *method = methods[conv->algorithm];
    const size_t chunk =
        method->keeps && z.b && z.pixels ? caps_conv_chunk(method, &z, workspace, false) : 0;
    return chunk ? method->keeps(&z, chunk) : 0;
}

/* ---- choice --------------------------------------------------------------------------------- */

const char *caps_conv_algorithm_name(caps_conv_algorithm algorithm)
{
    return algorithm == CAPS_CONV_AUTO ? "auto" : methods[algorithm]->name;
}

bool caps_conv_algorithm_find(caps_conv_algorithm *out, const char *name)
{
    if (strcmp(name, "spectral") == 0) /* its name in runs and commands of before */
        name = caps_conv_toom_cook.name;
    for (int a = 0; a < METHODS; a++) {
        if (strcmp(caps_conv_algorithm_name((caps_conv_algorithm)a), name) == 0) {
            *out = (caps_conv_algorithm)a;
            return true;
        }
    }
    return false;
}

size_t caps_conv_candidates(
    const caps_runtime *rt, const caps_conv_problem *subject, caps_conv_algorithm *out)
{
    const caps_conv_sizes z = sizes_of(subject->x_shape, subject->w_shape, &subject->conv);
    size_t n = 0;
    for (int a = CAPS_CONV_IM2COL; a < METHODS; a++) {
        const bool needs_input_gradient = subject->backward && subject->needs_input_gradient;
        /* The first one always serves, in chunks of one image where it must. */
        if (!methods[a]->refuses(rt, &z, needs_input_gradient) &&
            (a == CAPS_CONV_IM2COL || methods[a]->workspace(&z, 1, subject->backward) <=
                                          subject->limit_bytes / sizeof(float)))
            out[n++] = (caps_conv_algorithm)a;
    }
    return n;
}

caps_status caps_conv2d_choose(caps_conv_algorithm *out, const caps_runtime *rt,
    const size_t x_shape[4], const size_t w_shape[4], const caps_conv2d *conv, bool backward,
    bool needs_input_gradient, caps_conv_algorithm requested, size_t limit_bytes, caps_error *err)
{
    const caps_conv_sizes z = sizes_of(x_shape, w_shape, conv);
    double least = 0;
    *out = requested;
    if (requested != CAPS_CONV_AUTO) {
        const char *why = methods[requested]->refuses(rt, &z, backward && needs_input_gradient);
        return why ? caps_fail(err, CAPS_ERR_ARGUMENT,
                         "%s cannot serve images of %zux%zux%zu and kernels of %zux%zu: %s",
                         methods[requested]->name, z.c, z.h, z.w, z.kh, z.kw, why)
                   : CAPS_OK;
    }
    *out = CAPS_CONV_IM2COL;
    /* In a simulator the plainest has the fewest instructions to interpret. */
    if (!rt || caps_is_simulated(rt))
        return CAPS_OK;

    char key[CAPS_TUNING_KEY];
    caps_conv_problem subject = {
        .conv = *conv, .backward = backward, .needs_input_gradient = needs_input_gradient, .limit_bytes = limit_bytes};
    memcpy(subject.x_shape, x_shape, sizeof subject.x_shape);
    memcpy(subject.w_shape, w_shape, sizeof subject.w_shape);
    snprintf(key, sizeof key, "conv %zux%zux%zux%zu %zux%zux%zu s%zu p%zu %s", z.b, z.c, z.h, z.w,
        z.m, z.kh, z.kw, z.stride, z.padding,
        !backward ? "forward"
        : needs_input_gradient  ? "training dx"
                  : "training");
    caps_conv_algorithm can[METHODS], measured;
    const size_t count = caps_conv_candidates(rt, &subject, can);
    const char *best = caps_tuning_get(rt, key);
    bool known = false;
    for (size_t i = 0; best && caps_conv_algorithm_find(&measured, best) && i < count; i++)
        known = known || can[i] == measured;
    for (size_t i = 0; i < count; i++) {
        const double cost = methods[can[i]]->cost(&z);
        if (known ? can[i] == measured : i == 0 || cost < least) {
            least = cost;
            *out = can[i];
        }
    }
    caps_tuning_record(rt, key, methods[*out]->name, known, &subject, sizeof subject);
    return CAPS_OK;
}

/* ---- checks --------------------------------------------------------------------------------- */

/* Fills *z from x, w and the workspace, and checks every size; the other tensors come after. */
static caps_status check(caps_conv_sizes *z, size_t *chunk, const caps_runtime *rt,
    const caps_tensor *x, const caps_tensor *w, const caps_conv2d *conv,
    const caps_tensor *workspace, bool backward, bool needs_input_gradient, caps_error *err)
{
    caps_status status = CAPS_OK;
    CAPS_TRY(caps_require_source("conv2d", "x", x, 4, "[B, C, H, W]", err));
    CAPS_TRY(caps_require_source("conv2d", "w", w, 4, "[M, C, kh, kw]", err));
    if (w->shape[1] != x->shape[1])
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "conv2d: w has %zu input channels, need %zu as x has", w->shape[1], x->shape[1]);
    *z = sizes_of(x->shape, w->shape, conv);
    if (z->stride < 1)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "conv2d: stride is 0, need >= 1");
    if (z->padding >= z->kh || z->padding >= z->kw)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "conv2d: padding is %zu, need less than the kernel %zux%zu", z->padding, z->kh, z->kw);
    if ((int)conv->act < CAPS_ACT_NONE || conv->act > CAPS_ACT_SIGMOID)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "conv2d: activation is %d, need 0 to %d",
            (int)conv->act, CAPS_ACT_SIGMOID);
    if ((int)conv->algorithm < 0 || (int)conv->algorithm >= METHODS)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "conv2d: algorithm is %d, need 0 to %d",
            (int)conv->algorithm, METHODS - 1);
    if (z->oh == 0 || z->ow == 0)
        return z->padding == 0
                   ? caps_fail(err, CAPS_ERR_ARGUMENT,
                         "conv2d: kernel %zux%zu is larger than its input %zux%zu", z->kh, z->kw,
                         z->h, z->w)
                   : caps_fail(err, CAPS_ERR_ARGUMENT,
                         "conv2d: kernel %zux%zu is larger than its input %zux%zu with padding %zu",
                         z->kh, z->kw, z->h, z->w, z->padding);
    const caps_conv_implementation *method = methods[conv->algorithm];
    const char *why = method->refuses(rt, z, needs_input_gradient);
    if (why)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "conv2d: %s cannot take images of %zux%zux%zu to %zux%zux%zu: %s", method->name, z->c,
            z->h, z->w, z->m, z->oh, z->ow, why);

    if (!workspace || !workspace->buffer || workspace->dtype != CAPS_F32)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "conv2d: workspace is no float32 tensor, need one");
    const size_t have = caps_tensor_count(workspace);
    *chunk = caps_conv_chunk(method, z, have, backward);
    if (*chunk < 1)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "conv2d: workspace has %zu elements, need >= %zu, one image", have,
            method->workspace(z, 1, backward));
done:
    return status;
}

/* ---- the operation -------------------------------------------------------------------------- */

caps_status caps_conv2d_forward_cached(caps_runtime *rt, const caps_conv_tensors *t,
    const caps_conv2d *conv, const caps_tensor *workspace, caps_conv_cached kept, caps_error *err)
{
    caps_conv_sizes z;
    size_t chunk;
    caps_status status = CAPS_OK;
    CAPS_TRY(check(&z, &chunk, rt, t->x, t->w, conv, workspace, false, false, err));
    CAPS_TRY(caps_require_tensor(
        "conv2d", "y", t->y, CAPS_F32, 4, (size_t[]){z.b, z.m, z.oh, z.ow}, err));
    if (t->bias)
        CAPS_TRY(caps_require_tensor("conv2d", "bias", t->bias, CAPS_F32, 1, &z.m, err));
    CAPS_TRY(methods[conv->algorithm]->forward(rt, &z, t, workspace, chunk, kept, err));
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
    const caps_conv2d *conv, const caps_tensor *workspace, caps_conv_cached kept, caps_error *err)
{
    caps_conv_sizes z;
    size_t chunk;
    caps_status status = CAPS_OK;
    CAPS_TRY(check(&z, &chunk, rt, t->x, t->w, conv, workspace, true, t->dx != NULL, err));
    const size_t outputs[] = {z.b, z.m, z.oh, z.ow};
    CAPS_TRY(caps_require_tensor("conv2d", "dy", t->dy, CAPS_F32, 4, outputs, err));
    if (conv->act != CAPS_ACT_NONE)
        CAPS_TRY(caps_require_tensor("conv2d", "y", t->y, CAPS_F32, 4, outputs, err));
    CAPS_TRY(caps_require_tensor("conv2d", "dw", t->dw, CAPS_F32, 4, t->w->shape, err));
    if (t->dx)
        CAPS_TRY(caps_require_tensor("conv2d", "dx", t->dx, CAPS_F32, 4, t->x->shape, err));
    if (t->dbias)
        CAPS_TRY(caps_require_tensor("conv2d", "dbias", t->dbias, CAPS_F32, 1, &z.m, err));
    CAPS_TRY(methods[conv->algorithm]->backward(rt, &z, t, workspace, chunk, kept, err));
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
