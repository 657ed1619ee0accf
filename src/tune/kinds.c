/* kinds.c: the kinds of choices that `capscl tune` measures. */
#include <stdlib.h>
#include <string.h>

#include "conv.h"
#include "fail.h"
#include "gemm_tiles.h"
#include "tune.h"

/* ---- gemm: the algorithm for a shape -------------------------------------------------------- */

typedef struct product {
    caps_runtime *rt;
    caps_gemm_shape shape;
    caps_tensor a, b, c;
} product;

/* Elements of a batch of stored matrices. */
static size_t extent(
    const caps_gemm_shape *s, size_t rows, size_t columns, size_t ld, size_t stride)
{
    return (s->count - 1) * (s->count > 1 ? stride : 0) + caps_gemm_extent(rows, columns, ld);
}

static void gemm_sizes(const caps_gemm_shape *s, size_t sizes[3])
{
    sizes[0] = extent(s, s->trans_a ? s->k : s->m, s->trans_a ? s->m : s->k, s->lda, s->stride_a);
    sizes[1] = extent(s, s->trans_b ? s->n : s->k, s->trans_b ? s->k : s->n, s->ldb, s->stride_b);
    sizes[2] = extent(s, s->m, s->n, s->ldc, s->stride_c);
}

static size_t gemm_algorithms(caps_runtime *rt, const caps_choice *choice, const char **names)
{
    const caps_gemm_shape *s = choice->problem;
    size_t sizes[3], most = 0;
    gemm_sizes(s, sizes);
    for (size_t i = 0; i < 3; i++)
        most = sizes[i] > most ? sizes[i] : most;
    return caps_gemm_candidates(rt, s, most, names, CAPS_TUNE_ALGORITHMS);
}

static void gemm_close(void *state)
{
    product *p = state;
    if (!p)
        return;
    caps_tensor_release(&p->a);
    caps_tensor_release(&p->b);
    caps_tensor_release(&p->c);
    free(p);
}

static caps_status gemm_open(
    void **state, caps_runtime *rt, const caps_choice *choice, caps_error *err)
{
    caps_status status = CAPS_OK;
    product *p = calloc(1, sizeof *p);
    *state = NULL;
    if (!p)
        return caps_fail(err, CAPS_ERR_MEMORY, "tune: out of memory");
    p->rt = rt;
    memcpy(&p->shape, choice->problem, sizeof p->shape);
    size_t sizes[3];
    gemm_sizes(&p->shape, sizes);
    caps_tensor *const tensors[] = {&p->a, &p->b, &p->c};
    for (size_t i = 0; i < 3; i++) {
        CAPS_TRY(caps_tensor_init(tensors[i], rt, CAPS_F32, 1, &sizes[i], err));
        CAPS_TRY(caps_tensor_zero(rt, tensors[i], err));
    }
    *state = p;
    p = NULL;
done:
    gemm_close(p);
    return status;
}

static caps_status gemm_run(void *state, const char *algorithm, caps_error *err)
{
    product *p = state;
    return caps_gemm_by(p->rt, algorithm, &p->c, &p->a, &p->b, &p->shape, err);
}

/* ---- tile: of the GPU family's own product, for a shape -------------------------------------- */

static size_t tile_algorithms(caps_runtime *rt, const caps_choice *choice, const char **names)
{
    return caps_gemm_tile_candidates(rt, choice->problem, names, CAPS_TUNE_ALGORITHMS);
}

static caps_status tile_run(void *state, const char *algorithm, caps_error *err)
{
    product *p = state;
    const size_t tile = caps_gemm_tile_find(algorithm);
    const caps_gemm_cut cut = caps_gemm_cut_by(p->rt, tile, &p->shape, 0);
    return caps_gemm_tiled_run(p->rt, &cut, &p->c, &p->a, &p->b, &p->shape, NULL, err);
}

/* ---- clblast: its parameters, for all products of the network ------------------------------- */

enum { MOST_PRODUCTS = 8 }; /* the largest ones: the others hardly count */

typedef struct products {
    caps_runtime *rt;
    product *list[MOST_PRODUCTS];
    size_t count;
    const char *applied;
} products;

static size_t clblast_algorithms(caps_runtime *rt, const caps_choice *choice, const char **names)
{
    (void)choice;
    return caps_clblast_candidates(rt, names, CAPS_TUNE_ALGORITHMS);
}

static void clblast_close(void *state)
{
    products *p = state;
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++)
        gemm_close(p->list[i]);
    free(p);
}

static double work_of(const caps_choice *choice)
{
    const caps_gemm_shape *s = choice->problem;
    return (double)s->m * (double)s->n * (double)s->k * (double)s->count;
}

static int by_work(const void *a, const void *b)
{
    const double x = work_of(*(const caps_choice *const *)a);
    const double y = work_of(*(const caps_choice *const *)b);
    return x > y ? -1 : x < y;
}

static caps_status clblast_open(
    void **state, caps_runtime *rt, const caps_choice *choice, caps_error *err)
{
    (void)choice;
    caps_status status = CAPS_OK;
    const caps_choice *recorded, **gemms = NULL;
    const size_t n = caps_tuning_choices(rt, &recorded);
    size_t found = 0;
    products *p = calloc(1, sizeof *p);
    *state = NULL;
    gemms = malloc((n + 1) * sizeof *gemms);
    if (!p || !gemms) {
        status = caps_fail(err, CAPS_ERR_MEMORY, "tune: out of memory");
        goto done;
    }
    p->rt = rt;
    for (size_t i = 0; i < n; i++)
        if (strncmp(recorded[i].key, "gemm ", 5) == 0 &&
            strcmp(recorded[i].algorithm, "clblast") == 0)
            gemms[found++] = &recorded[i];
    qsort(gemms, found, sizeof *gemms, by_work);
    for (size_t i = 0; i < found && p->count < MOST_PRODUCTS; i++) {
        void *one = NULL;
        CAPS_TRY(gemm_open(&one, rt, gemms[i], err));
        p->list[p->count++] = one;
    }
    *state = p;
    p = NULL;
done:
    clblast_close(p);
    free(gemms);
    return status;
}

static caps_status clblast_run(void *state, const char *algorithm, caps_error *err)
{
    products *p = state;
    caps_status status = CAPS_OK;
    if (p->applied != algorithm)
        CAPS_TRY(caps_clblast_apply(p->rt, algorithm, err));
    p->applied = algorithm;
    for (size_t i = 0; i < p->count; i++)
        CAPS_TRY(gemm_run(p->list[i], "clblast", err));
done:
    return status;
}

/* ---- conv: the algorithm for a shape, forward or both ways ---------------------------------- */

/* By what a convolution has: input, weight, bias, output, their gradients, workspace. */
enum { X, W, BIAS, Y, DX, DW, DBIAS, DY, WORKSPACE, TENSORS };

typedef struct convolution {
    caps_runtime *rt;
    caps_conv_problem problem;
    caps_tensor t[TENSORS];
} convolution;

static size_t conv_algorithms(caps_runtime *rt, const caps_choice *choice, const char **names)
{
    caps_conv_algorithm can[CAPS_TUNE_ALGORITHMS];
    const size_t n = caps_conv_candidates(rt, choice->problem, can);
    for (size_t i = 0; i < n; i++)
        names[i] = caps_conv_algorithm_name(can[i]);
    return n;
}

static void conv_close(void *state)
{
    convolution *c = state;
    for (size_t i = 0; c && i < TENSORS; i++)
        caps_tensor_release(&c->t[i]);
    free(c);
}

static caps_status conv_open(
    void **state, caps_runtime *rt, const caps_choice *choice, caps_error *err)
{
    caps_status status = CAPS_OK;
    caps_conv_algorithm can[CAPS_TUNE_ALGORITHMS];
    convolution *c = calloc(1, sizeof *c);
    *state = NULL;
    if (!c)
        return caps_fail(err, CAPS_ERR_MEMORY, "tune: out of memory");
    c->rt = rt;
    memcpy(&c->problem, choice->problem, sizeof c->problem);
    caps_conv_problem *s = &c->problem;
    size_t workspace = 0;
    for (size_t i = caps_conv_candidates(rt, s, can); i-- > 0;) {
        s->conv.algorithm = can[i];
        const size_t need = caps_conv2d_workspace(
            rt, s->x_shape, s->w_shape, &s->conv, s->backward, s->limit_bytes);
        workspace = need > workspace ? need : workspace;
    }
    const size_t y[] = {s->x_shape[0], s->w_shape[0],
        caps_conv2d_output(s->x_shape[2], s->w_shape[2], s->conv.stride, s->conv.padding),
        caps_conv2d_output(s->x_shape[3], s->w_shape[3], s->conv.stride, s->conv.padding)};
    const struct {
        int ndim;
        const size_t *shape;
        bool needed;
    } rows[TENSORS] = {[X] = {4, s->x_shape, true},
        [W] = {4, s->w_shape, true},
        [BIAS] = {1, s->w_shape, true},
        [Y] = {4, y, true},
        [DX] = {4, s->x_shape, s->backward && s->needs_input_gradient},
        [DW] = {4, s->w_shape, s->backward},
        [DBIAS] = {1, s->w_shape, s->backward},
        [DY] = {4, y, s->backward},
        [WORKSPACE] = {1, &workspace, true}};
    for (size_t i = 0; i < TENSORS; i++) {
        if (!rows[i].needed)
            continue;
        CAPS_TRY(caps_tensor_init(&c->t[i], rt, CAPS_F32, rows[i].ndim, rows[i].shape, err));
        CAPS_TRY(caps_tensor_zero(rt, &c->t[i], err));
    }
    *state = c;
    c = NULL;
done:
    conv_close(c);
    return status;
}

static caps_status conv_run(void *state, const char *algorithm, caps_error *err)
{
    convolution *c = state;
    const caps_conv_problem *s = &c->problem;
    caps_tensor *t = c->t;
    caps_conv2d conv = s->conv;
    caps_status status = CAPS_OK;
    if (!caps_conv_algorithm_find(&conv.algorithm, algorithm))
        return caps_fail(err, CAPS_ERR_INTERNAL, "tune: no convolution '%s'", algorithm);
    CAPS_TRY(caps_conv2d_forward(c->rt, &t[Y], &t[X], &t[W], &t[BIAS], &conv, &t[WORKSPACE], err));
    if (s->backward)
        CAPS_TRY(caps_conv2d_backward(c->rt, s->needs_input_gradient ? &t[DX] : NULL, &t[DW],
            &t[DBIAS], &t[DY], &t[Y], &t[X], &t[W], &conv, &t[WORKSPACE], err));
done:
    return status;
}

const caps_tune_kind caps_tune_kinds[] = {
    {"clblast", clblast_algorithms, clblast_open, clblast_run, clblast_close, true},
    {"tile", tile_algorithms, gemm_open, tile_run, gemm_close, false},
    {"gemm", gemm_algorithms, gemm_open, gemm_run, gemm_close, false},
    {"conv", conv_algorithms, conv_open, conv_run, conv_close, false},
    {0},
};
