/* gemm_direct.c: products by the plain kernels of cl/gemm_direct_{cpu,gpu}.cl. */
#include "gemm.h"

#include <stdint.h>

#include "fail.h"
#include "launch.h"

/* Tile of the CPU family's work-item; cl/gemm_direct_cpu.cl has the same numbers. */
enum { TILE_ROWS = 4, TILE_COLUMNS = 16 };
/* Of 64 x 64, for each compute unit: with fewer the tiles are made smaller. */
enum { LARGE_TILES_A_UNIT = 2 };

static const char *direct_unsupported(
    const caps_runtime *rt, const caps_gemm_shape *s, size_t extent)
{
    (void)rt;
    (void)extent;
    if (s->lda > UINT32_MAX || s->ldb > UINT32_MAX || s->ldc > UINT32_MAX)
        return "a row stride has more than 32 bits";
    return NULL;
}

static size_t direct_scratch(const caps_runtime *rt, const caps_gemm_shape *s)
{
    (void)rt;
    (void)s;
    return 0;
}

static caps_status direct_run(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
    const caps_tensor *b, const caps_gemm_shape *s, const caps_gemm_epilogue *e, caps_error *err)
{
    const size_t t = caps_group_side(rt, 16);
    const unsigned bias_is = !e || !e->bias ? 0 : e->bias_of_rows ? 2 : 1;
    const caps_arg args[] = {
        CAPS_ARG_TENSOR(c),
        CAPS_ARG_TENSOR(a),
        CAPS_ARG_TENSOR(b),
        CAPS_ARG_TENSOR(e ? e->bias : NULL),
        CAPS_ARG_UINT(s->m),
        CAPS_ARG_UINT(s->n),
        CAPS_ARG_UINT(s->k),
        CAPS_ARG_UINT(s->trans_a ? 1 : s->lda),
        CAPS_ARG_UINT(s->trans_a ? s->lda : 1),
        CAPS_ARG_UINT(s->trans_b ? 1 : s->ldb),
        CAPS_ARG_UINT(s->trans_b ? s->ldb : 1),
        CAPS_ARG_UINT(s->ldc),
        CAPS_ARG_FLOAT(s->alpha),
        CAPS_ARG_FLOAT(s->beta),
        CAPS_ARG_UINT(bias_is),
        CAPS_ARG_UINT(e ? e->act : CAPS_ACT_NONE),
        CAPS_ARG_UINT(s->stride_a),
        CAPS_ARG_UINT(s->stride_b),
        CAPS_ARG_UINT(s->stride_c),
        CAPS_ARG_LOCAL(t * (t + 1) * sizeof(float)),
        CAPS_ARG_LOCAL(t * (t + 1) * sizeof(float)),
    };
    const size_t nargs = sizeof args / sizeof args[0];
    if (!caps_is_gpu(rt))
        return caps_launch(rt, "gemm_direct", args, nargs - 2, 3,
            (size_t[]){caps_div_up(s->n, TILE_COLUMNS), caps_div_up(s->m, TILE_ROWS), s->count},
            NULL, err);
    /* A product of one small tile has more items when each has one element. */
    if (t < 8 || (s->m <= t && s->n <= t))
        return caps_launch(rt, "gemm_direct", args, nargs, 3,
            (size_t[]){caps_round_up(s->n, t), caps_round_up(s->m, t), s->count},
            (size_t[]){t, t, 1}, err);
    /* Large tiles read less, small ones keep more of the device busy. */
    const size_t groups = caps_div_up(s->m, 64) * caps_div_up(s->n, 64) * s->count;
    const size_t units = caps_runtime_device(rt)->compute_units;
    const bool large = t == 16 && groups >= LARGE_TILES_A_UNIT * units;
    const size_t g = large ? 16 : 8;
    return caps_launch(rt, large ? "gemm_tiled_64" : "gemm_tiled_32", args, nargs - 2, 3,
        (size_t[]){caps_div_up(s->n, 4 * g) * g, caps_div_up(s->m, 4 * g) * g, s->count},
        (size_t[]){g, g, 1}, err);
}

const caps_gemm_implementation caps_gemm_direct = {
    "direct", true, direct_unsupported, direct_run, direct_scratch};
