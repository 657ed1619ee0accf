/* gemm_packed.c: products by packed panels and a register tile, cl/gemm_packed_cpu.cl.
 *
 * The panels live in the runtime's scratch, at most SCRATCH_FLOATS of them: a larger product goes
 * in pieces, k first (C then takes the later pieces by addition), and n and m where even the least
 * run of k does not fit. Pieces end at multiples of RUN, where the kernel pauses anyway, so how a
 * product is cut does not change a bit of it. */
#include "gemm.h"

#include <stdint.h>
#include <string.h>

#include "fail.h"
#include "launch.h"

enum {
    RUN = 256,       /* GEMM_PACKED_RUN of the kernel file */
    PACK_PANELS = 4, /* GEMM_PACK_PANELS of the kernel file */
    BLOCK_M = 96,    /* with RUN: a block of A stays in a core's L2 cache */
    BLOCK_N = 512,
    BLOCKS_A_CORE = 8, /* blocks of C a core should have at least, so that all end together */
    ALIGN = 16,        /* floats: panels begin at cache lines */
};
#define SCRATCH_FLOATS                                                                             \
    ((size_t)8 << 20) /* 32 MiB: large against any cache, small against a model */

/* A tile's sizes and the kernels that have it. */
struct variant {
    size_t rows, columns;
    const char *multiply;
    const char *pack_a[2],
        *pack_b[2]; /* [0]: the panel's width is contiguous in memory; [1]: k is */
};

static const struct variant variants[] = {
    {8, 32, "gemm_packed_8x32", {"gemm_pack_along_8", "gemm_pack_across_8"},
        {"gemm_pack_along_32", "gemm_pack_across_32"}},
    {6, 16, "gemm_packed_6x16", {"gemm_pack_along_6", "gemm_pack_across_6"},
        {"gemm_pack_along_16", "gemm_pack_across_16"}},
};

static const struct variant *variant_of(const caps_runtime *rt)
{
    cl_uint width = 0;
    clGetDeviceInfo(caps_runtime_device(rt)->handle, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT,
        sizeof width, &width, NULL);
    return &variants[width >= 16 ? 0 : 1];
}

/* How a product is cut. */
struct plan {
    size_t m, n, k, items;     /* of one piece */
    size_t a_floats, b_floats; /* panels of one item of one piece */
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static struct plan plan_of(const struct variant *v, const caps_gemm_shape *s)
{
    struct plan p = {s->m, s->n, s->k, 1, 0, 0};
    size_t wide = caps_round_up(s->m, v->rows) + caps_round_up(s->n, v->columns);
    size_t shortest = least(s->k, RUN);
    size_t widest = SCRATCH_FLOATS / shortest - 2 * v->columns;
    if (wide > widest) {
        /* Half of the room for each side; what one leaves is the other's. */
        size_t room = s->n < widest / 2 ? widest - s->n : widest / 2;
        if (p.m > room)
            p.m = room / v->rows * v->rows;
        room = widest - p.m;
        if (p.n > room)
            p.n = room / v->columns * v->columns;
        wide = caps_round_up(p.m, v->rows) + caps_round_up(p.n, v->columns);
    }
    size_t longest = SCRATCH_FLOATS / wide;
    if (s->k > longest) {
        size_t pieces = caps_div_up(s->k, longest / RUN * RUN);
        p.k = caps_round_up(caps_div_up(s->k, pieces), RUN);
    }
    p.a_floats = caps_round_up(caps_round_up(p.m, v->rows) * p.k, ALIGN);
    p.b_floats = caps_round_up(caps_round_up(p.n, v->columns) * p.k, ALIGN);
    if (p.m == s->m && p.n == s->n && p.k == s->k) {
        size_t fit = SCRATCH_FLOATS / (p.a_floats + p.b_floats);
        p.items = least(s->count, fit > 1 ? fit : 1);
    }
    return p;
}

static size_t plan_bytes(const struct plan *p)
{
    return p->items * (p->a_floats + p->b_floats) * sizeof(float);
}

static const char *refuses(const caps_runtime *rt, const caps_gemm_shape *s, size_t extent)
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

static size_t scratch(const caps_gemm_shape *s)
{
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        struct plan p = plan_of(&variants[i], s);
        if (plan_bytes(&p) > bytes)
            bytes = plan_bytes(&p);
    }
    return bytes;
}

/* Blocks of C: as near to BLOCK_M x BLOCK_N as leaves every core BLOCKS_A_CORE of them. */
static void block_sizes(const caps_runtime *rt, const struct variant *v, size_t m, size_t n,
    size_t items, size_t *block_m, size_t *block_n)
{
    size_t wanted = (size_t)caps_runtime_device(rt)->compute_units * BLOCKS_A_CORE;
    size_t bm = BLOCK_M, bn = BLOCK_N;
    while (caps_div_up(m, bm) * caps_div_up(n, bn) * items < wanted) {
        if (bn > 2 * v->columns)
            bn /= 2;
        else if (bm > 2 * v->rows)
            bm /= 2;
        else
            break;
    }
    /* Equal shares, in whole tiles. */
    *block_m = caps_round_up(caps_div_up(m, caps_div_up(m, bm)), v->rows);
    *block_n = caps_round_up(caps_div_up(n, caps_div_up(n, bn)), v->columns);
}

/* Packs `items` matrices of extent n along the panel's width and k across it. */
static caps_status pack(caps_runtime *rt, const char *const kernels[2], bool k_contiguous,
    size_t width, const caps_tensor *panels, const caps_tensor *from, size_t n, size_t k, size_t ld,
    size_t panels_stride, size_t from_stride, size_t items, caps_error *err)
{
    const caps_arg args[] = {CAPS_ARG_TENSOR(panels), CAPS_ARG_TENSOR(from), CAPS_ARG_UINT(n),
        CAPS_ARG_UINT(k), CAPS_ARG_UINT(ld), CAPS_ARG_UINT(panels_stride),
        CAPS_ARG_UINT(from_stride)};
    size_t each = k_contiguous ? width : PACK_PANELS * width;
    return caps_launch(rt, kernels[k_contiguous ? 1 : 0], CAPS_ARGS(args), 3,
        (size_t[]){caps_div_up(n, each), caps_div_up(k, RUN), items}, NULL, err);
}

static caps_status run(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
    const caps_tensor *b, const caps_gemm_shape *s, caps_error *err)
{
    const struct variant *v = variant_of(rt);
    const struct plan p = plan_of(v, s);
    caps_status status = CAPS_OK;
    cl_mem buffer = NULL;
    CAPS_TRY(caps_gemm_scratch_get(rt, plan_bytes(&p), &buffer, err));
    const size_t floats = p.items * (p.a_floats + p.b_floats);
    const caps_tensor a_panels = caps_tensor_wrap(buffer, 0, CAPS_F32, 1, &floats);
    caps_tensor b_panels = a_panels;
    b_panels.offset = p.items * p.a_floats;

    for (size_t item = 0; item < s->count; item += p.items) {
        const size_t items = least(p.items, s->count - item);
        for (size_t l = 0; l < s->k; l += p.k) {
            const size_t k = least(p.k, s->k - l);
            for (size_t i = 0; i < s->m; i += p.m) {
                const size_t m = least(p.m, s->m - i);
                caps_tensor from_a = *a;
                from_a.offset +=
                    item * s->stride_a + (s->trans_a ? l * s->lda + i : i * s->lda + l);
                CAPS_TRY(pack(rt, v->pack_a, !s->trans_a, v->rows, &a_panels, &from_a, m, k, s->lda,
                    p.a_floats, s->stride_a, items, err));
                for (size_t j = 0; j < s->n; j += p.n) {
                    const size_t n = least(p.n, s->n - j);
                    caps_tensor from_b = *b, to = *c;
                    from_b.offset +=
                        item * s->stride_b + (s->trans_b ? j * s->ldb + l : l * s->ldb + j);
                    to.offset += item * s->stride_c + i * s->ldc + j;
                    CAPS_TRY(pack(rt, v->pack_b, s->trans_b, v->columns, &b_panels, &from_b, n, k,
                        s->ldb, p.b_floats, s->stride_b, items, err));
                    size_t block_m, block_n;
                    block_sizes(rt, v, m, n, items, &block_m, &block_n);
                    const caps_arg args[] = {CAPS_ARG_TENSOR(&to), CAPS_ARG_TENSOR(&a_panels),
                        CAPS_ARG_TENSOR(&b_panels), CAPS_ARG_UINT(m), CAPS_ARG_UINT(n),
                        CAPS_ARG_UINT(k), CAPS_ARG_UINT(s->ldc), CAPS_ARG_FLOAT(s->alpha),
                        CAPS_ARG_FLOAT(l == 0 ? s->beta : 1), CAPS_ARG_UINT(block_m),
                        CAPS_ARG_UINT(block_n), CAPS_ARG_UINT(p.a_floats),
                        CAPS_ARG_UINT(p.b_floats), CAPS_ARG_UINT(s->stride_c)};
                    CAPS_TRY(caps_launch(rt, v->multiply, CAPS_ARGS(args), 3,
                        (size_t[]){caps_div_up(m, block_m), caps_div_up(n, block_n), items}, NULL,
                        err));
                }
            }
        }
    }
done:
    return status;
}

const caps_gemm_method caps_gemm_packed = {"packed", refuses, run, scratch};
