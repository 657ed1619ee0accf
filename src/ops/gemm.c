/* gemm.c: caps_gemm checks a product and hands it to one of the algorithms of a table. */
#include "gemm.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "launch.h"
#include "require.h"
#include "slots.h"
#include "tuning.h"

static const caps_gemm_implementation *const algorithms[] = {
    &caps_gemm_packed, &caps_gemm_clblast, &caps_gemm_direct};
enum { ALGORITHMS = sizeof algorithms / sizeof algorithms[0] };

/* Multiply-adds a product must have for CLBlast's own overhead (a call of a C++ library, a database
 * look-up, copies into padded matrices) to be worth it on a GPU. */
#define CLBLAST_LEAST_WORK ((size_t)96 * 96 * 96)
/* On a CPU, for what a panel costs. */
#define PACKED_LEAST_WORK ((size_t)32 * 32 * 32)

/* ---- choice --------------------------------------------------------------------------------- */

static const caps_gemm_implementation *by_name(const char *name)
{
    for (size_t i = 0; i < ALGORITHMS; i++)
        if (strcmp(algorithms[i]->name, name) == 0)
            return algorithms[i];
    return NULL;
}

/* A product of two sizes, or the greatest size where it does not fit. */
static size_t times(size_t a, size_t b)
{
    return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

/* The choice by rule: device and sizes decide. */
static const caps_gemm_implementation *prefer(const caps_runtime *rt, const caps_gemm_shape *s)
{
    size_t work = times(times(s->m, s->n), s->k);
    if (caps_is_simulated(rt)) /* CLBlast would take minutes, packing gains nothing */
        return &caps_gemm_direct;
    if (caps_is_gpu(rt))
        return work >= CLBLAST_LEAST_WORK ? &caps_gemm_clblast : &caps_gemm_direct;
    return times(work, s->count) >= PACKED_LEAST_WORK ? &caps_gemm_packed : &caps_gemm_direct;
}

void caps_gemm_key(char key[CAPS_TUNING_KEY], const caps_gemm_shape *s)
{
    const int n = snprintf(key, CAPS_TUNING_KEY, "gemm %zux%zux%zu %c%c", s->m, s->n, s->k,
        s->trans_a ? 't' : 'n', s->trans_b ? 't' : 'n');
    if (s->count > 1 && n > 0 && n < CAPS_TUNING_KEY)
        snprintf(key + n, (size_t)(CAPS_TUNING_KEY - n), " x%zu", s->count);
}

/* What was measured to be the best, else the rule's; noted either way. */
static const caps_gemm_implementation *choose(
    const caps_runtime *rt, const caps_gemm_shape *shape, size_t extent)
{
    char key[CAPS_TUNING_KEY];
    caps_gemm_key(key, shape);
    const char *measured = caps_tuning_get(rt, key);
    const caps_gemm_implementation *best = measured ? by_name(measured) : NULL;
    const bool use = best && !best->refuses(rt, shape, extent);
    if (!use)
        best = prefer(rt, shape);
    if (best->refuses(rt, shape, extent))
        best = caps_gemm_clblast.refuses(rt, shape, extent) || caps_is_simulated(rt)
                   ? &caps_gemm_direct
                   : &caps_gemm_clblast;
    if (extent > 0) /* a product, not a question */
        caps_tuning_record(rt, key, best->name, use, shape, sizeof *shape);
    return best;
}

const char *caps_gemm_algorithm(const caps_runtime *rt, const caps_gemm_shape *shape)
{
    const char *requested = caps_runtime_requested_gemm(rt);
    return requested ? requested : choose(rt, shape, 0)->name;
}

/* ---- for tuning ----------------------------------------------------------------------------- */

size_t caps_gemm_candidates(const caps_runtime *rt, const caps_gemm_shape *shape, size_t extent,
    const char **names, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < ALGORITHMS && n < room; i++) {
        const bool library = algorithms[i] == &caps_gemm_clblast;
        /* CLBlast is written for GPUs: on a CPU it needs ten times as long, and seconds to build.
         */
        if (library && (!caps_is_gpu(rt) || caps_is_simulated(rt)))
            continue;
        if (!algorithms[i]->refuses(rt, shape, extent))
            names[n++] = algorithms[i]->name;
    }
    return n;
}

caps_status caps_gemm_by(caps_runtime *rt, const char *variant, const caps_tensor *c,
    const caps_tensor *a, const caps_tensor *b, const caps_gemm_shape *shape, caps_error *err)
{
    const caps_gemm_implementation *method = by_name(variant);
    if (!method)
        return caps_fail(err, CAPS_ERR_INTERNAL, "gemm: no algorithm '%s'", variant);
    return method->run(rt, c, a, b, shape, NULL, err);
}

/* ---- scratch -------------------------------------------------------------------------------- */

struct scratch {
    cl_mem buffer;
    size_t bytes;
};

static void scratch_release(caps_runtime *rt, void *value)
{
    struct scratch *s = value;
    if (s->buffer)
        caps_buffer_free(rt, s->buffer, s->bytes);
    free(s);
}

caps_status caps_gemm_scratch_get(caps_runtime *rt, size_t bytes, cl_mem *buffer, caps_error *err)
{
    void **slot = caps_runtime_slot(rt, CAPS_SLOT_GEMM, scratch_release);
    struct scratch *s = *slot;
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s)
            return caps_fail(err, CAPS_ERR_MEMORY, "gemm: out of memory");
        *slot = s;
    }
    if (s->bytes < bytes) {
        /* Kernels in the queue keep the old buffer alive until they have run. */
        if (s->buffer)
            caps_buffer_free(rt, s->buffer, s->bytes);
        s->buffer = NULL;
        s->bytes = 0;
        cl_mem grown = NULL;
        caps_status status = caps_buffer_create(&grown, rt, bytes, "gemm scratch", err);
        if (status != CAPS_OK)
            return status;
        s->buffer = grown;
        s->bytes = bytes;
    }
    *buffer = s->buffer;
    return CAPS_OK;
}

size_t caps_gemm_scratch(const caps_runtime *rt, const caps_gemm_shape *shape)
{
    const char *requested = caps_runtime_requested_gemm(rt);
    const caps_gemm_implementation *algorithm = requested ? by_name(requested) : choose(rt, shape, 0);
    return algorithm ? algorithm->scratch(rt, shape) : 0;
}

/* ---- checks --------------------------------------------------------------------------------- */

/* One operand: rows x columns as stored. */
struct operand {
    const char *name;
    const caps_tensor *tensor;
    size_t rows, columns, ld, stride;
};

static caps_status check_operand(
    const struct operand *o, size_t count, size_t *extent, caps_error *err)
{
    if (!o->tensor || !o->tensor->buffer)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "gemm: %s has no buffer, need one", o->name);
    if (o->tensor->dtype != CAPS_F32)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "gemm: %s is int32, need float32", o->name);
    if (o->ld < o->columns)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "gemm: ld%c is %zu, need >= %zu, the row's length",
            o->name[0] - 'A' + 'a', o->ld, o->columns);
    size_t span = times(o->rows - 1, o->ld);
    size_t gaps = times(count - 1, count > 1 ? o->stride : 0);
    if (span > SIZE_MAX / 8 || gaps > SIZE_MAX / 8 || o->columns > SIZE_MAX / 8 ||
        o->tensor->offset > SIZE_MAX / 8)
        return caps_fail(
            err, CAPS_ERR_ARGUMENT, "gemm: %s is larger than any buffer can be", o->name);
    *extent = o->tensor->offset + gaps + span + o->columns;

    size_t bytes = 0;
    cl_int code = clGetMemObjectInfo(o->tensor->buffer, CL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    if (code != CL_SUCCESS)
        return caps_fail_cl(err, code, "gemm: size of %s's buffer", o->name);
    if (*extent > bytes / sizeof(float))
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "gemm: %s ends at element %zu of its buffer, need <= %zu, the buffer's size", o->name,
            *extent, bytes / sizeof(float));
    return CAPS_OK;
}

static caps_status check(const caps_tensor *c, const caps_tensor *a, const caps_tensor *b,
    const caps_gemm_shape *s, size_t *extent, caps_error *err)
{
    const struct {
        const char *name;
        size_t value;
    } sizes[] = {{"m", s->m}, {"n", s->n}, {"k", s->k}, {"count", s->count}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].value < 1 || sizes[i].value > INT32_MAX)
            return caps_fail(err, CAPS_ERR_ARGUMENT, "gemm: %s is %zu, need 1 to %d", sizes[i].name,
                sizes[i].value, INT32_MAX);
    if (s->count > 1 && s->stride_c == 0)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "gemm: stride_c is 0 with count %zu, need products that do not overlap", s->count);
    const struct operand operands[] = {
        {"C", c, s->m, s->n, s->ldc, s->stride_c},
        {"A", a, s->trans_a ? s->k : s->m, s->trans_a ? s->m : s->k, s->lda, s->stride_a},
        {"B", b, s->trans_b ? s->n : s->k, s->trans_b ? s->k : s->n, s->ldb, s->stride_b},
    };
    *extent = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t one = 0;
        caps_status status = check_operand(&operands[i], s->count, &one, err);
        if (status != CAPS_OK)
            return status;
        *extent = one > *extent ? one : *extent;
    }
    return CAPS_OK;
}

/* ---- the operation -------------------------------------------------------------------------- */

/* The epilogue by a kernel of its own, on C as it lies. */
static caps_status finish(caps_runtime *rt, const caps_tensor *c, const caps_gemm_shape *s,
    const caps_gemm_epilogue *e, caps_error *err)
{
    caps_status status = CAPS_OK;
    /* Rows that follow each other go at once. */
    const size_t rows = s->ldc == s->n ? s->m : 1;
    for (size_t item = 0; item < s->count; item++)
        for (size_t i = 0; i < s->m && status == CAPS_OK; i += rows) {
            const size_t channels = e->bias_of_rows ? rows : s->n;
            const size_t places = e->bias_of_rows ? s->n : 1;
            const caps_tensor part =
                caps_tensor_wrap(c->buffer, c->offset + item * s->stride_c + i * s->ldc, CAPS_F32,
                    3, (size_t[]){rows * s->n / (channels * places), channels, places});
            caps_tensor bias = {0};
            if (e->bias)
                bias = caps_tensor_wrap(e->bias->buffer,
                    e->bias->offset + (e->bias_of_rows ? i : 0), CAPS_F32, 1, &channels);
            status = caps_bias_act_forward(rt, &part, &part, e->bias ? &bias : NULL, e->act, err);
        }
    return status;
}

static caps_status check_epilogue(
    const caps_gemm_epilogue *e, const caps_gemm_shape *s, caps_error *err)
{
    const size_t need = e->bias_of_rows ? s->m : s->n;
    if ((int)e->act < CAPS_ACT_NONE || e->act > CAPS_ACT_SIGMOID)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "gemm: activation is %d, need 0 to %d",
            (int)e->act, CAPS_ACT_SIGMOID);
    if (e->bias)
        return caps_require_tensor("gemm", "bias", e->bias, CAPS_F32, 1, &need, err);
    return CAPS_OK;
}

caps_status caps_gemm_finished(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
    const caps_tensor *b, const caps_gemm_shape *shape, const caps_gemm_epilogue *epilogue,
    caps_error *err)
{
    caps_gemm_shape s = *shape;
    size_t extent = 0;
    caps_status status = CAPS_OK;
    CAPS_TRY(check(c, a, b, &s, &extent, err));
    if (epilogue && !epilogue->bias && epilogue->act == CAPS_ACT_NONE)
        epilogue = NULL;
    if (epilogue)
        CAPS_TRY(check_epilogue(epilogue, &s, err));
    if (s.count == 1) /* the strides mean nothing: keep them out of everybody's arithmetic */
        s.stride_a = s.stride_b = s.stride_c = 0;

    const char *requested = caps_runtime_requested_gemm(rt);
    const caps_gemm_implementation *algorithm = requested ? by_name(requested) : choose(rt, &s, extent);
    if (!algorithm)
        return caps_fail(err, CAPS_ERR_ARGUMENT,
            "gemm: algorithm is '%s', need auto, packed, clblast or direct", requested);
    const char *why = algorithm->refuses(rt, &s, extent);
    if (why)
        return caps_fail(err, CAPS_ERR_ARGUMENT, "gemm: %s cannot take %zux%zux%zu: %s",
            algorithm->name, s.m, s.n, s.k, why);
    const caps_gemm_epilogue *with = algorithm->finishes ? epilogue : NULL;

    /* Kernels take strides as 32 bits; what is farther apart goes one by one. */
    if (s.stride_a <= UINT32_MAX && s.stride_b <= UINT32_MAX && s.stride_c <= UINT32_MAX) {
        CAPS_TRY(algorithm->run(rt, c, a, b, &s, with, err));
    } else {
        caps_gemm_shape one = s;
        one.count = 1;
        one.stride_a = one.stride_b = one.stride_c = 0;
        for (size_t i = 0; i < s.count; i++) {
            caps_tensor ci = *c, ai = *a, bi = *b;
            ci.offset += i * s.stride_c;
            ai.offset += i * s.stride_a;
            bi.offset += i * s.stride_b;
            CAPS_TRY(algorithm->run(rt, &ci, &ai, &bi, &one, with, err));
        }
    }
    if (epilogue && !with)
        CAPS_TRY(finish(rt, c, &s, epilogue, err));
done:
    return status;
}

caps_status caps_gemm(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
    const caps_tensor *b, const caps_gemm_shape *shape, caps_error *err)
{
    return caps_gemm_finished(rt, c, a, b, shape, NULL, err);
}
