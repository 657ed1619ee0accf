/* gemm_cases.h: products with gaps between rows, compared with the reference in double. */
#ifndef TEST_GEMM_CASES_H
#define TEST_GEMM_CASES_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gemm_tiles.h"
#include "ref.h"
#include "support.h"

/* Where C has gaps between its rows and products, this stands and must stay. */
#define SENTINEL 7.25

/* A runtime of one family and algorithm (NULL: free choice) on the context and queue of
 * test_runtime(), so that its tensors serve all of them. */
static inline caps_runtime *family_runtime(const char *kernels, const char *gemm)
{
    caps_runtime *shared = test_runtime(), *rt = NULL;
    char algorithms[32];
    snprintf(algorithms, sizeof algorithms, "gemm=%s", gemm ? gemm : "auto");
    caps_runtime_options options = {
        CAPS_OPTIONS(caps_runtime_options), .kernels = kernels, .algorithms = algorithms};
    caps_error err = {0};
    test_ok(caps_runtime_create_from(&rt, caps_runtime_context(shared),
        caps_runtime_device(shared)->handle, caps_runtime_queue(shared), &options, &err));
    return rt;
}

/* Random values of a stored matrix batch; what lies between the rows is `gap`. */
static inline double *stored(size_t rows, size_t columns, size_t ld, size_t stride, size_t count,
    double gap, uint64_t seed, size_t *total)
{
    *total = (count - 1) * stride + caps_gemm_extent(rows, columns, ld);
    double *values = test_random(*total, seed, -1, 1);
    bool *inside = calloc(*total, 1);
    for (size_t item = 0; item < count; item++)
        for (size_t i = 0; i < rows; i++)
            memset(inside + item * stride + i * ld, true, columns);
    for (size_t i = 0; i < *total; i++)
        if (!inside[i])
            values[i] = gap;
    free(inside);
    return values;
}

static inline double activated(double x, caps_activation act)
{
    return act == CAPS_ACT_RELU ? (x > 0 ? x : 0) : act == CAPS_ACT_SIGMOID ? 1 / (1 + exp(-x)) : x;
}

/* How a product is computed: by the runtime's choice, or cut in a given way; and where its operands
 * begin in their buffers. */
typedef struct product_way {
    const caps_gemm_cut *cut;
    size_t offset;
} product_way;

/* A tensor of values[0..n), `offset` elements into a buffer that ends behind it; NaN before it. */
typedef struct placed {
    caps_tensor whole, view;
} placed;

static inline placed place(const double *values, size_t n, size_t offset)
{
    const size_t all = n + offset;
    double *shifted = malloc(all * sizeof *shifted);
    ck_assert_ptr_nonnull(shifted);
    for (size_t i = 0; i < all; i++)
        shifted[i] = i < offset ? NAN : values[i - offset];
    placed p = {.whole = test_tensor(shifted, 1, &all)};
    free(shifted);
    p.view = caps_tensor_wrap(p.whole.buffer, p.whole.offset + offset, CAPS_F32, 1, &n);
    return p;
}

/* bias: 0 none, 1 one element a column, 2 one a row. */
static inline void check_way(caps_runtime *rt, const product_way *way, const caps_gemm_shape *s,
    int bias, caps_activation act, const char *name)
{
    caps_error err = {0};
    char what[200];
    snprintf(what, sizeof what,
        "%s %zux%zux%zu%s%s alpha %g beta %g count %zu bias %d act %d offset %zu parts %zu", name,
        s->m, s->n, s->k, s->trans_a ? " A^T" : "", s->trans_b ? " B^T" : "", s->alpha, s->beta,
        s->count, bias, (int)act, way->offset, way->cut ? way->cut->parts : 0);
    size_t a_total, b_total, c_total, biases = bias == 2 ? s->m : s->n;
    /* Gaps of A and B are NaN, and so is C where it may not be read: any use of them shows. */
    double *a = stored(s->trans_a ? s->k : s->m, s->trans_a ? s->m : s->k, s->lda, s->stride_a,
        s->count, NAN, 1, &a_total);
    double *b = stored(s->trans_b ? s->n : s->k, s->trans_b ? s->k : s->n, s->ldb, s->stride_b,
        s->count, NAN, 2, &b_total);
    double *c = stored(s->m, s->n, s->ldc, s->stride_c, s->count, SENTINEL, 3, &c_total);
    double *added = test_random(biases, 4, -1, 1);
    if (s->beta == 0)
        for (size_t i = 0; i < c_total; i++)
            c[i] = c[i] == SENTINEL ? c[i] : NAN;
    placed ta = place(a, a_total, way->offset), tb = place(b, b_total, way->offset);
    placed tc = place(c, c_total, way->offset);
    caps_tensor tbias = test_tensor(added, 1, &biases);
    const caps_gemm_epilogue epilogue = {bias ? &tbias : NULL, bias == 2, act};
    caps_status status =
        way->cut
            ? caps_gemm_tiled_run(rt, way->cut, &tc.view, &ta.view, &tb.view, s, &epilogue, &err)
            : caps_gemm_finished(rt, &tc.view, &ta.view, &tb.view, s, &epilogue, &err);
    ck_assert_msg(status == CAPS_OK, "%s: %s", what, err.message);
    for (size_t item = 0; item < s->count; item++) {
        double *ci = c + item * s->stride_c;
        caps_ref_gemm(ci, a + item * s->stride_a, b + item * s->stride_b, s->trans_a, s->trans_b,
            s->m, s->n, s->k, s->lda, s->ldb, s->ldc, s->alpha, s->beta);
        for (size_t i = 0; i < s->m; i++)
            for (size_t j = 0; j < s->n; j++)
                ci[i * s->ldc + j] =
                    activated(ci[i * s->ldc + j] + (bias ? added[bias == 2 ? i : j] : 0), act);
    }
    test_expect(&tc.view, c, 2e-6, what);
    double *got = test_download(&tc.view);
    for (size_t i = 0; i < c_total; i++)
        if (c[i] == SENTINEL)
            ck_assert_msg(got[i] == SENTINEL, "%s: wrote %g between the rows", what, got[i]);
    free(got);
    free(added);
    free(a);
    free(b);
    free(c);
    test_tensor_release(&ta.whole);
    test_tensor_release(&tb.whole);
    test_tensor_release(&tc.whole);
    test_tensor_release(&tbias);
}

/* Strides for a shape: `gap` elements between rows, and 3 * gap between products. */
static inline caps_gemm_shape shaped(
    size_t m, size_t n, size_t k, bool trans_a, bool trans_b, size_t count, size_t gap)
{
    caps_gemm_shape s = {.trans_a = trans_a,
        .trans_b = trans_b,
        .m = m,
        .n = n,
        .k = k,
        .alpha = 1,
        .beta = 0,
        .count = count};
    s.lda = (trans_a ? m : k) + gap;
    s.ldb = (trans_b ? k : n) + 2 * gap;
    s.ldc = n + gap;
    s.stride_a = (trans_a ? k : m) * s.lda + 3 * gap;
    s.stride_b = (trans_b ? n : k) * s.ldb + 3 * gap;
    s.stride_c = m * s.ldc + 3 * gap;
    return s;
}

#endif
