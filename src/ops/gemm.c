/* gemm.c: caps_gemm checks a product and passes it to one of the algorithms of a table. */
#include "gemm.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "gemm_tiles.h"
#include "launch.h"
#include "require.h"
#include "slots.h"

/* ---- choice --------------------------------------------------------------------------------- */

static const caps_algorithm gemm_names[] = {
    {"tiled", NULL}, {"clblast", NULL}, {"packed", NULL}, {"direct", NULL}};
static const caps_gemm_implementation *const implementations[] = {&caps_gemm_tiled,
    &caps_gemm_clblast, &caps_gemm_packed, &caps_gemm_direct}; /* in the same order */
enum { TILED, CLBLAST, PACKED, DIRECT, ALGORITHMS };

/* Multiply-adds a product must have for a program of its own, tiles of its own, to be worth it. */
#define TILED_LEAST_WORK ((size_t)32 * 32 * 32)
/* On a CPU, for what a panel costs. */
#define PACKED_LEAST_WORK ((size_t)32 * 32 * 32)

/* A product of two sizes, or the greatest size where it does not fit. */
static size_t times(size_t a, size_t b)
{
    return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

/* Device and sizes decide. */
static size_t gemm_preferred(const caps_runtime *rt, const caps_gemm_shape *s)
{
    const size_t work = times(times(s->m, s->n), s->k);
    if (caps_is_simulated(rt)) /* tiles and packing gain nothing */
        return DIRECT;
    if (caps_is_gpu(rt))
        return times(work, s->count) >= TILED_LEAST_WORK ? TILED : DIRECT;
    return times(work, s->count) >= PACKED_LEAST_WORK ? PACKED : DIRECT;
}

/* A rank: what is preferred, else the plain kernels. CLBlast is taken where it was measured. */
static double gemm_cost(const caps_runtime *rt, size_t algorithm, const void *problem)
{
    static const double ranks[ALGORITHMS] = {
        [DIRECT] = 1, [TILED] = 2, [CLBLAST] = 3, [PACKED] = 4};
    const caps_gemm_problem *p = problem;
    if (algorithm == CLBLAST && caps_clblast_has_failed(rt, &p->shape))
        return (double)INFINITY;
    return algorithm == gemm_preferred(rt, &p->shape) ? 0 : ranks[algorithm];
}

static const char *gemm_unsupported(const caps_runtime *rt, size_t algorithm, const void *problem)
{
    const caps_gemm_problem *p = problem;
    return implementations[algorithm]->unsupported_reason(rt, &p->shape, p->extent);
}

/* CLBlast is written for GPUs: on a CPU it needs ten times as long, and seconds to build. */
static bool gemm_tunable(const caps_runtime *rt, size_t algorithm, const void *problem)
{
    (void)problem;
    return algorithm != CLBLAST || (caps_is_gpu(rt) && !caps_is_simulated(rt));
}

static void gemm_key(char key[CAPS_TUNING_KEY], const void *problem)
{
    caps_gemm_key(key, &((const caps_gemm_problem *)problem)->shape);
}

static void gemm_describe(char *text, size_t bytes, const void *problem)
{
    const caps_gemm_shape *s = &((const caps_gemm_problem *)problem)->shape;
    snprintf(text, bytes, "cannot take %zux%zux%zu", s->m, s->n, s->k);
}

const caps_chooser caps_gemm_chooser = {
    .name = "gemm",
    .variable = "CAPSCL_GEMM",
    .unknown = "GEMM algorithm \"%s\" is unknown",
    .algorithms = gemm_names,
    .count = ALGORITHMS,
    .general = DIRECT,
    .problem_bytes = sizeof(caps_gemm_problem),
    .key = gemm_key,
    .describe = gemm_describe,
    .unsupported_reason = gemm_unsupported,
    .cost = gemm_cost,
    .tunable = gemm_tunable,
};

void caps_gemm_key(char key[CAPS_TUNING_KEY], const caps_gemm_shape *s)
{
    const int n = snprintf(key, CAPS_TUNING_KEY, "gemm %zux%zux%zu %c%c", s->m, s->n, s->k,
        s->trans_a ? 't' : 'n', s->trans_b ? 't' : 'n');
    if (s->count > 1 && n > 0 && n < CAPS_TUNING_KEY)
        snprintf(key + n, (size_t)(CAPS_TUNING_KEY - n), " x%zu", s->count);
}

/* The algorithm of a product that is only planned, wherever its operands will lie. */
static size_t gemm_planned(const caps_runtime *rt, const caps_gemm_shape *shape, bool record)
{
    const caps_gemm_problem problem = {.shape = *shape};
    size_t algorithm;
    (void)caps_choose(&algorithm, &caps_gemm_chooser, rt, &problem, CAPS_CHOICE_FREE, record, NULL);
    return algorithm;
}

const caps_gemm_implementation *caps_gemm_own(const caps_runtime *rt, const caps_gemm_shape *shape)
{
    if (!caps_gemm_tiled.unsupported_reason(rt, shape, 0))
        return &caps_gemm_tiled;
    return &caps_gemm_direct;
}

const char *caps_gemm_algorithm(const caps_runtime *rt, const caps_gemm_shape *shape)
{
    return implementations[gemm_planned(rt, shape, false)]->name;
}

size_t caps_gemm_scratch(const caps_runtime *rt, const caps_gemm_shape *shape)
{
    return implementations[gemm_planned(rt, shape, false)]->scratch(rt, shape);
}

size_t caps_gemm_plan(const caps_runtime *rt, const caps_gemm_shape *shape)
{
    const size_t algorithm = gemm_planned(rt, shape, true);
    if (algorithm == CLBLAST)
        caps_clblast_plan(rt);
    if (algorithm == TILED)
        caps_gemm_tiled_plan(rt, shape);
    return implementations[algorithm]->scratch(rt, shape);
}

/* ---- for tuning ----------------------------------------------------------------------------- */

size_t caps_gemm_candidates(const caps_runtime *rt, const caps_gemm_shape *shape, size_t extent,
    const char **names, size_t capacity)
{
    const caps_gemm_problem problem = {*shape, extent};
    size_t found[CAPS_ALGORITHMS], n = 0;
    const size_t count = caps_choice_candidates(&caps_gemm_chooser, rt, &problem, found);
    while (n < count && n < capacity) {
        names[n] = gemm_names[found[n]].name;
        n++;
    }
    return n;
}

caps_status caps_gemm_by(caps_runtime *rt, const char *name, const caps_tensor *c,
    const caps_tensor *a, const caps_tensor *b, const caps_gemm_shape *shape, caps_error *err)
{
    const size_t algorithm = caps_algorithm_find(&caps_gemm_chooser, name);
    if (algorithm == CAPS_CHOICE_FREE)
        return caps_fail(err, CAPS_ERR_INTERNAL, "gemm: no algorithm '%s'", name);
    return implementations[algorithm]->run(rt, c, a, b, shape, NULL, err);
}

/* ---- scratch -------------------------------------------------------------------------------- */

struct scratch {
    cl_mem buffer;
    size_t bytes;
};

static const char scratch_slot; /* its address is the slot's key */

static void scratch_release(caps_runtime *rt, void *value)
{
    struct scratch *s = value;
    if (s->buffer)
        caps_buffer_free(rt, s->buffer, s->bytes);
    free(s);
}

caps_status caps_gemm_scratch_get(caps_runtime *rt, size_t bytes, cl_mem *buffer, caps_error *err)
{
    void **slot = caps_runtime_slot(rt, &scratch_slot, scratch_release);
    struct scratch *s = slot ? *slot : NULL;
    if (!s) {
        s = slot ? calloc(1, sizeof *s) : NULL;
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

static caps_status gemm_check(const caps_tensor *c, const caps_tensor *a, const caps_tensor *b,
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
static caps_status gemm_finish(caps_runtime *rt, const caps_tensor *c, const caps_gemm_shape *s,
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
    CAPS_TRY(gemm_check(c, a, b, &s, &extent, err));
    if (epilogue && !epilogue->bias && epilogue->act == CAPS_ACT_NONE)
        epilogue = NULL;
    if (epilogue)
        CAPS_TRY(check_epilogue(epilogue, &s, err));
    if (s.count == 1) /* the strides are not used: 0 in all arithmetic */
        s.stride_a = s.stride_b = s.stride_c = 0;

    const caps_gemm_problem problem = {s, extent};
    size_t chosen;
    status = caps_choose(&chosen, &caps_gemm_chooser, rt, &problem, CAPS_CHOICE_FREE, true, err);
    if (status != CAPS_OK)
        return caps_fail_prefix(err, status, "gemm");
    const caps_gemm_implementation *algorithm = implementations[chosen];
    const caps_gemm_epilogue *with = algorithm->applies_epilogue ? epilogue : NULL;

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
        CAPS_TRY(gemm_finish(rt, c, &s, epilogue, err));
done:
    return status;
}

caps_status caps_gemm(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
    const caps_tensor *b, const caps_gemm_shape *shape, caps_error *err)
{
    return caps_gemm_finished(rt, c, a, b, shape, NULL, err);
}
