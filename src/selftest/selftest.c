/* selftest.c: runs the tables of cases; see selftest.h and cases.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"

#include "fail.h"
#include "launch.h"
#include "rng.h"
#include "trust.h"

static const double tolerances[] = {1e-5, 1e-4};
static const char *const directions[] = {"forward", "backward"};

/* ---- memory --------------------------------------------------------------------------------- */

static void *keep(caps_selftest *t, size_t bytes)
{
    void *p = NULL;
    if (t->status == CAPS_OK && t->memory_count < CAPS_SELFTEST_MOST)
        p = calloc(1, bytes ? bytes : 1);
    if (p)
        t->memory[t->memory_count++] = p;
    else if (t->status == CAPS_OK)
        t->status = caps_fail(t->err, CAPS_ERR_MEMORY, "selftest: out of memory");
    return p;
}

static void release(caps_selftest *t)
{
    for (size_t i = 0; i < t->memory_count; i++)
        free(t->memory[i]);
    for (size_t i = 0; i < t->tensor_count; i++)
        caps_tensor_release(&t->tensors[i]);
    memset(t->tensors, 0, sizeof t->tensors);
    t->memory_count = t->tensor_count = 0;
}

double *caps_selftest_zeros(caps_selftest *t, size_t n)
{
    return keep(t, n * sizeof(double));
}

double *caps_selftest_draw(caps_selftest *t, size_t n, double lo, double hi)
{
    double *x = caps_selftest_zeros(t, n);
    t->seed++;
    for (size_t i = 0; x && i < n; i++)
        x[i] = (double)(float)(lo + (hi - lo) * caps_rng_uniform(t->seed, CAPS_RNG_TEST, 0, i));
    return x;
}

int32_t *caps_selftest_labels(caps_selftest *t, size_t n, size_t classes)
{
    int32_t *x = keep(t, n * sizeof *x);
    t->seed++;
    for (size_t i = 0; x && i < n; i++)
        x[i] = (int32_t)caps_rng_below(classes, t->seed, CAPS_RNG_TEST, 0, i);
    return x;
}

static caps_tensor *add(caps_selftest *t, caps_dtype dtype, int ndim, const size_t *shape)
{
    static caps_tensor none;
    if (t->status == CAPS_OK && t->tensor_count == CAPS_SELFTEST_MOST)
        t->status = caps_fail(t->err, CAPS_ERR_INTERNAL, "selftest: a case has too many tensors");
    if (t->status != CAPS_OK)
        return &none;
    caps_tensor *tensor = &t->tensors[t->tensor_count];
    t->status = caps_tensor_init(tensor, t->rt, dtype, ndim, shape, t->err);
    if (t->status != CAPS_OK)
        return &none;
    t->tensor_count++;
    return tensor;
}

caps_tensor *caps_selftest_put(
    caps_selftest *t, const double *values, int ndim, const size_t *shape)
{
    caps_tensor *tensor = add(t, CAPS_F32, ndim, shape);
    const size_t n = t->status == CAPS_OK ? caps_tensor_count(tensor) : 0;
    float *host = keep(t, n * sizeof *host);
    if (!host)
        return tensor;
    for (size_t i = 0; i < n; i++)
        host[i] = values ? (float)values[i] : NAN;
    t->status = caps_tensor_upload(t->rt, tensor, host, t->err);
    return tensor;
}

caps_tensor *caps_selftest_put_labels(caps_selftest *t, const int32_t *values, size_t n)
{
    caps_tensor *tensor = add(t, CAPS_I32, 1, &n);
    if (t->status == CAPS_OK)
        t->status = caps_tensor_upload(t->rt, tensor, values, t->err);
    return tensor;
}

/* ---- comparing ------------------------------------------------------------------------------ */

static double relative_error(const void *have, caps_dtype dtype, const double *need, size_t n)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        const double x = dtype == CAPS_F32 ? (double)((const float *)have)[i]
                                           : (double)((const int32_t *)have)[i];
        difference += (x - need[i]) * (x - need[i]);
        norm += need[i] * need[i];
    }
    const double error = norm > 0 ? sqrt(difference / norm) : sqrt(difference);
    return isfinite(error) ? error : INFINITY;
}

caps_status caps_selftest_compare(caps_selftest *t, caps_selftest_direction direction,
    const caps_tensor *have, const double *need, caps_error *err)
{
    const size_t n = caps_tensor_count(have);
    void *host = keep(t, n * sizeof(float));
    if (!host)
        return t->status;
    caps_status status = caps_tensor_download(t->rt, have, host, err);
    if (status != CAPS_OK)
        return status;
    const double error = relative_error(host, have->dtype, need, n);
    if (!t->compared[direction] || error > t->worst[direction])
        t->worst[direction] = error;
    t->compared[direction] = true;
    return CAPS_OK;
}

bool caps_selftest_skips(const caps_selftest *t, const char *chooser)
{
    if (t->only && strcmp(t->only, t->algorithm) != 0)
        return true;
    return caps_trust_refusal(t->rt, chooser, t->algorithm) != NULL;
}

/* ---- running -------------------------------------------------------------------------------- */

static caps_status run_case(caps_selftest *t, const caps_selftest_case *c,
    void (*each)(void *user, const caps_selftest_result *result), void *user, caps_error *err)
{
    t->status = CAPS_OK;
    t->err = err;
    t->shape[0] = t->algorithm[0] = 0;
    t->compared[0] = t->compared[1] = false;
    caps_status status = c->run(t, c->sizes, err);
    release(t);
    if (status != CAPS_OK)
        return caps_fail_prefix(err, status, "selftest: %s %s", c->operation, t->shape);
    for (int d = 0; d < 2; d++) {
        if (!t->compared[d])
            continue;
        caps_selftest_result result = {.operation = c->operation,
            .direction = directions[d],
            .error = t->worst[d],
            .tolerance = tolerances[d],
            .passed = t->worst[d] <= tolerances[d],
            .done = t->done};
        memcpy(result.shape, t->shape, sizeof result.shape);
        snprintf(result.algorithm, sizeof result.algorithm, "%s%s%s",
            caps_family_name(caps_runtime_family(t->rt)), *t->algorithm ? "/" : "", t->algorithm);
        each(user, &result);
    }
    return CAPS_OK;
}

static const caps_selftest_case *const tables[] = {caps_selftest_layers, caps_selftest_capsules,
    caps_selftest_scores, caps_selftest_blocks, caps_selftest_em};

const char *caps_selftest_operation_at(size_t i)
{
    const char *last = "";
    for (size_t n = 0; n < sizeof tables / sizeof tables[0]; n++)
        for (const caps_selftest_case *c = tables[n]; c->operation; c++) {
            if (strcmp(c->operation, last) == 0)
                continue;
            last = c->operation;
            if (i-- == 0)
                return last;
        }
    return NULL;
}

static bool is_named(const char *operation, char *const *names, size_t count)
{
    bool is = count == 0;
    for (size_t i = 0; i < count; i++)
        is = is || strcmp(names[i], operation) == 0;
    return is;
}

static bool is_wanted(const caps_selftest_case *c, bool small, char *const *names, size_t count)
{
    return (c->size == CAPS_SMALL || !small) && is_named(c->operation, names, count);
}

caps_status caps_selftest_run(caps_runtime *rt, bool small, char *const *names, size_t count,
    void (*each)(void *user, const caps_selftest_result *result), void *user, caps_error *err)
{
    caps_status status = CAPS_OK;
    size_t all = 0, done = 0;
    caps_selftest *t = calloc(1, sizeof *t);
    if (!t)
        return caps_fail(err, CAPS_ERR_MEMORY, "selftest: out of memory");
    t->rt = rt;
    for (size_t n = 0; n < sizeof tables / sizeof tables[0]; n++)
        for (const caps_selftest_case *c = tables[n]; c->operation; c++)
            all += is_wanted(c, small, names, count);
    for (size_t n = 0; n < sizeof tables / sizeof tables[0]; n++)
        for (const caps_selftest_case *c = tables[n]; c->operation; c++)
            if (is_wanted(c, small, names, count)) {
                t->done = (double)++done / (double)all;
                CAPS_TRY(run_case(t, c, each, user, err));
            }
done:
    free(t);
    return status;
}

static void keep_worst(void *user, const caps_selftest_result *r)
{
    caps_selftest_worst *worst = user;
    if (worst->cases == 0 || r->error / r->tolerance > worst->error / worst->tolerance) {
        worst->error = r->error;
        worst->tolerance = r->tolerance;
    }
    worst->cases++;
}

caps_status caps_selftest_worst_of(caps_runtime *rt, const char *operation, const char *algorithm,
    caps_selftest_worst *worst, caps_error *err)
{
    caps_status status = CAPS_OK;
    const caps_selftest_size most = caps_is_simulated(rt) ? CAPS_SMALL : CAPS_LARGE;
    caps_selftest *t = calloc(1, sizeof *t);
    if (!t)
        return caps_fail(err, CAPS_ERR_MEMORY, "selftest: out of memory");
    t->rt = rt;
    t->only = algorithm;
    for (size_t n = 0; n < sizeof tables / sizeof tables[0]; n++)
        for (const caps_selftest_case *c = tables[n]; c->operation; c++)
            if (c->size <= most && strcmp(c->operation, operation) == 0)
                CAPS_TRY(run_case(t, c, keep_worst, worst, err));
done:
    free(t);
    return status;
}

caps_status caps_selftest_worst_of_case(
    caps_runtime *rt, const caps_selftest_case *one, caps_selftest_worst *worst, caps_error *err)
{
    caps_selftest *t = calloc(1, sizeof *t);
    if (!t)
        return caps_fail(err, CAPS_ERR_MEMORY, "selftest: out of memory");
    t->rt = rt;
    const caps_status status = run_case(t, one, keep_worst, worst, err);
    free(t);
    return status;
}
