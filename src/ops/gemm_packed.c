/* gemm_packed.c: products by panels of B and a register tile, cl/gemm_packed_cpu.cl.
 *
 * One launch a product, or a batch. Each work-group has a part of the runtime's scratch for the
 * panel of B that it works on. How a product is cut does not change a bit of it. */
#include "gemm.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "fail.h"
#include "launch.h"

enum {
    RUN = 256,          /* GEMM_PACKED_RUN of the kernel file */
    ROWS = 256,         /* GEMM_PACKED_ROWS of the kernel file */
    GROUPS_A_CORE = 16, /* at most: each has scratch */
    WIDEST = 512, /* columns of a group, where C is visited more than once: it stays in a cache */
    NEAR_FLOATS = 1 << 18, /* what lies in a core's caches from one group to the next */
    FEW_ROWS = 128,        /* so few uses do not pay for copying B where it can be read as it is */
    MANY_PANELS = 4,       /* of B: so many uses of a transposed A pay for a copy */
    DOT_ROWS = 4,
    DOT_COLUMNS = 4, /* GEMM_DOT_COLUMNS of the kernel file */
    DOT_GROUPS_A_CORE = 4,
};

/* A tile and the kernel that has it, by the floats of a vector register. */
struct tile {
    size_t vector;
    size_t rows, columns;
    const char *kernel;
};

static const struct tile tiles[] = {
    {16, 8, 32, "gemm_packed_8x32"},
    {0, 6, 16, "gemm_packed_6x16"},
};

static const struct tile *tile_of(const caps_runtime *rt)
{
    const struct tile *t = tiles;
    while (caps_runtime_vector_width(rt) < t->vector)
        t++;
    return t;
}

/* How a product is cut. */
struct plan {
    size_t m, n, items; /* of one group */
    bool pack_a, pack_b;
    size_t groups; /* in all */
};

/* The size of equal shares of at most `most`, in whole tiles. */
static size_t share(size_t size, size_t most, size_t tile)
{
    return caps_round_up(caps_div_up(size, caps_div_up(size, most)), tile);
}

static size_t groups_of(const struct plan *p, const caps_gemm_shape *s)
{
    return caps_div_up(s->m, p->m) * caps_div_up(s->n, p->n) * caps_div_up(s->count, p->items);
}

/* Scratch of all groups. */
static size_t floats_of(const struct plan *p, const struct tile *t)
{
    return p->groups * RUN * (t->columns + (p->pack_a ? ROWS : 0));
}

/* What a product takes when it is cut like that, in steps of a vector: a rough
 * measurement, good enough to compare cuts. */
static double packed_cost(const struct plan *p, const caps_gemm_shape *s, size_t cores)
{
    const double m = (double)p->m, n = (double)p->n, k = (double)s->k;
    const bool far_a = (double)s->m * k > NEAR_FLOATS, far_b = (double)s->n * k > NEAR_FLOATS;
    const double copies = !p->pack_b ? 0 : ceil(m / ROWS) * (far_b ? 1.5 : 0.3);
    const double group = m * n * k / 16 + copies * n * k + (far_a ? 1.0 : 0.1) * m * k + 3000;
    /* Groups do not all end at once. */
    return group * (ceil((double)groups_of(p, s) / (double)cores) + 0.25);
}

/* 1, 2, 3, 4, 6, 8, 11, ..: numbers of parts that are tried. */
static size_t more_parts(size_t parts)
{
    return parts + (parts + 2) / 3;
}

static struct plan plan_of(const caps_runtime *rt, const struct tile *t, const caps_gemm_shape *s)
{
    const size_t cores = caps_runtime_device(rt)->compute_units;
    struct plan p = {.items = 1, .pack_b = s->trans_b || s->m > FEW_ROWS};
    double best = INFINITY;
    for (size_t i = 1; i == 1 || s->m / i >= t->rows; i = more_parts(i))
        for (size_t j = 1; j == 1 || s->n / j >= t->columns; j = more_parts(j)) {
            struct plan q = p;
            q.m = share(s->m, caps_div_up(s->m, i), t->rows);
            q.n = share(s->n, caps_div_up(s->n, j), t->columns);
            if (s->k > RUN && q.n > WIDEST)
                continue;
            const double c = packed_cost(&q, s, cores);
            if (c < best) {
                best = c;
                p = q;
            }
            if (groups_of(&q, s) > GROUPS_A_CORE * cores)
                break;
        }
    while (groups_of(&p, s) > GROUPS_A_CORE * cores) {
        if (p.items < s->count)
            p.items *= 2;
        else if (p.m < s->m)
            p.m *= 2;
        else
            p.n *= 2;
    }
    p.groups = groups_of(&p, s);
    /* Rows of a transposed A lie across memory. */
    p.pack_a = s->trans_a && s->m * s->k > NEAR_FLOATS &&
               (p.n < s->n ? p.n : s->n) >= MANY_PANELS * t->columns;
    return p;
}

static const char *packed_unsupported(
    const caps_runtime *rt, const caps_gemm_shape *s, size_t extent)
{
    (void)extent;
    if (caps_is_gpu(rt))
        return "it has kernels of the cpu family only";
    /* Mesa's llvmpipe computes the register tile wrongly. */
    if (strstr(caps_runtime_device(rt)->platform, "rusticl"))
        return "the platform rusticl miscompiles it";
    if (s->lda > UINT32_MAX || s->ldb > UINT32_MAX || s->ldc > UINT32_MAX)
        return "a row stride has more than 32 bits";
    return NULL;
}

/* A few rows times a transposed matrix: dots of rows that lie along memory, and B is read but
 * once. */
static bool few_dots(const caps_gemm_shape *s)
{
    return s->trans_b && !s->trans_a && s->m <= DOT_ROWS;
}

static size_t packed_scratch(const caps_runtime *rt, const caps_gemm_shape *s)
{
    const struct tile *t = tile_of(rt);
    if (few_dots(s))
        return 0;
    const struct plan p = plan_of(rt, t, s);
    return floats_of(&p, t) * sizeof(float);
}

static caps_status run_dots(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
    const caps_tensor *b, const caps_gemm_shape *s, const caps_gemm_epilogue *e, caps_error *err)
{
    const size_t cores = caps_runtime_device(rt)->compute_units;
    const size_t block = caps_round_up(caps_div_up(s->n, DOT_GROUPS_A_CORE * cores), DOT_COLUMNS);
    const unsigned bias_is = !e || !e->bias ? 0 : e->bias_of_rows ? 2 : 1;
    const caps_arg args[] = {CAPS_ARG_TENSOR(c), CAPS_ARG_TENSOR(a), CAPS_ARG_TENSOR(b),
        CAPS_ARG_TENSOR(e ? e->bias : NULL), CAPS_ARG_UINT(s->m), CAPS_ARG_UINT(s->n),
        CAPS_ARG_UINT(s->k), CAPS_ARG_UINT(s->lda), CAPS_ARG_UINT(s->ldb), CAPS_ARG_UINT(s->ldc),
        CAPS_ARG_FLOAT(s->alpha), CAPS_ARG_FLOAT(s->beta), CAPS_ARG_UINT(bias_is),
        CAPS_ARG_UINT(e ? e->act : 0), CAPS_ARG_UINT(s->stride_a), CAPS_ARG_UINT(s->stride_b),
        CAPS_ARG_UINT(s->stride_c), CAPS_ARG_UINT(block)};
    return caps_launch(rt, "gemm_dots", CAPS_ARGS(args), 2,
        (size_t[]){caps_div_up(s->n, block), s->count}, NULL, err);
}

static caps_status packed_run(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
    const caps_tensor *b, const caps_gemm_shape *s, const caps_gemm_epilogue *e, caps_error *err)
{
    if (few_dots(s))
        return run_dots(rt, c, a, b, s, e, err);
    const struct tile *t = tile_of(rt);
    const struct plan p = plan_of(rt, t, s);
    const size_t floats = floats_of(&p, t);
    cl_mem buffer = NULL;
    caps_status status = caps_gemm_scratch_get(rt, floats * sizeof(float), &buffer, err);
    if (status != CAPS_OK)
        return status;
    const caps_tensor parts = caps_tensor_wrap(buffer, 0, CAPS_F32, 1, &floats);
    const unsigned bias_is = !e || !e->bias ? 0 : e->bias_of_rows ? 2 : 1;
    const caps_arg args[] = {CAPS_ARG_TENSOR(c), CAPS_ARG_TENSOR(&parts), CAPS_ARG_TENSOR(a),
        CAPS_ARG_TENSOR(b), CAPS_ARG_TENSOR(e ? e->bias : NULL), CAPS_ARG_UINT(s->m),
        CAPS_ARG_UINT(s->n), CAPS_ARG_UINT(s->k), CAPS_ARG_UINT(s->lda), CAPS_ARG_UINT(s->ldb),
        CAPS_ARG_UINT(s->ldc), CAPS_ARG_UINT(s->trans_a), CAPS_ARG_UINT(s->trans_b),
        CAPS_ARG_UINT(p.pack_a), CAPS_ARG_UINT(p.pack_b), CAPS_ARG_FLOAT(s->alpha),
        CAPS_ARG_FLOAT(s->beta), CAPS_ARG_UINT(bias_is), CAPS_ARG_UINT(e ? e->act : 0),
        CAPS_ARG_UINT(s->count), CAPS_ARG_UINT(s->stride_a), CAPS_ARG_UINT(s->stride_b),
        CAPS_ARG_UINT(s->stride_c), CAPS_ARG_UINT(p.m), CAPS_ARG_UINT(p.n), CAPS_ARG_UINT(p.items)};
    return caps_launch(rt, t->kernel, CAPS_ARGS(args), 3,
        (size_t[]){caps_div_up(s->m, p.m), caps_div_up(s->n, p.n), caps_div_up(s->count, p.items)},
        NULL, err);
}

const caps_gemm_implementation caps_gemm_packed = {
    "packed", true, packed_unsupported, packed_run, packed_scratch};
