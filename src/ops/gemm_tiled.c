/* gemm_tiled.c: products by cl/gemm_tiled_gpu.clt, built for a tile and for how the operands
 * lie. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "fail.h"
#include "gemm_tiles.h"
#include "launch.h"

/* ---- how operands lie ----------------------------------------------------------------------- */

/* Can rows of `columns` floats be read in fours? Every row and product begins at a multiple of 16
 * bytes, and the four that hold a row's last float end where its buffer, at the latest, ends: what
 * is between the rows is read and dropped. */
static bool lies_in_fours(
    const caps_tensor *t, size_t rows, size_t columns, size_t ld, size_t stride, size_t count)
{
    size_t bytes = 0;
    if (t->offset % 4 != 0 || ld % 4 != 0 || (count > 1 && stride % 4 != 0))
        return false;
    if (columns % 4 == 0)
        return true;
    const size_t end = t->offset + (count - 1) * stride + (rows - 1) * ld;
    return ld >= caps_round_up(columns, 4) &&
           clGetMemObjectInfo(t->buffer, CL_MEM_SIZE, sizeof bytes, &bytes, NULL) == CL_SUCCESS &&
           end + caps_round_up(columns, 4) <= bytes / sizeof(float);
}

/* ---- a product ------------------------------------------------------------------------------ */

/* Registers that NVIDIA's compiler may give an item of the largest tile, so that three groups fit a
 * multiprocessor. Operands that need more registers to be read are better off with two groups.
 * Items of fewer rows mostly need no limit, and where they do the compiler spills. */
static const char *register_limit(const caps_runtime *rt, const caps_gemm_cut *c, bool plain)
{
    const bool nvidia = strstr(caps_runtime_device(rt)->platform, "NVIDIA") != NULL;
    const bool largest = c->items == 128 && c->wm * c->wn > 96;
    return nvidia && plain && largest ? " -cl-nv-maxrregcount=168" : "";
}

size_t caps_gemm_tiled_partial(const caps_gemm_cut *c, const caps_gemm_shape *s)
{
    return c->parts > 1 || c->apart ? c->parts * s->count * s->m * caps_round_up(s->n, 4) : 0;
}

static caps_status launch_tiles(caps_runtime *rt, const caps_gemm_cut *cut, const char *options,
    const caps_tensor *c, const caps_tensor *a, const caps_tensor *b, const caps_gemm_shape *s,
    const caps_gemm_epilogue *e, caps_error *err)
{
    const unsigned bias_is = !e || !e->bias ? 0 : e->bias_of_rows ? 2 : 1;
    const caps_arg args[] = {
        CAPS_ARG_TENSOR(c),
        CAPS_ARG_TENSOR(a),
        CAPS_ARG_TENSOR(b),
        CAPS_ARG_TENSOR(e ? e->bias : NULL),
        CAPS_ARG_UINT(s->m),
        CAPS_ARG_UINT(s->n),
        CAPS_ARG_UINT(s->k),
        CAPS_ARG_UINT(s->lda),
        CAPS_ARG_UINT(s->ldb),
        CAPS_ARG_UINT(s->ldc),
        CAPS_ARG_UINT(s->stride_a),
        CAPS_ARG_UINT(s->stride_b),
        CAPS_ARG_UINT(s->stride_c),
        CAPS_ARG_UINT(s->count),
        CAPS_ARG_UINT(cut->parts),
        CAPS_ARG_UINT(cut->chunk),
        CAPS_ARG_FLOAT(s->alpha),
        CAPS_ARG_FLOAT(s->beta),
        CAPS_ARG_UINT(bias_is),
        CAPS_ARG_UINT(e ? e->act : CAPS_ACT_NONE),
        CAPS_ARG_UINT(s->n % 4 == 0 && lies_in_fours(c, s->m, s->n, s->ldc, s->stride_c, s->count)),
    };
    const size_t groups = caps_div_up(s->m, cut->tm) * caps_div_up(s->n, cut->tn) * cut->parts;
    const caps_template template = {"gemm_tiled_gpu.clt", options};
    return caps_launch_template(rt, &template, "gemm_tiled", CAPS_ARGS(args), 1,
        (size_t[]){groups * s->count * cut->items}, &cut->items, err);
}

static caps_status launch_sum(caps_runtime *rt, const caps_gemm_cut *cut, const char *options,
    const caps_tensor *c, const caps_tensor *partial, const caps_gemm_shape *s,
    const caps_gemm_epilogue *e, caps_error *err)
{
    const unsigned bias_is = !e || !e->bias ? 0 : e->bias_of_rows ? 2 : 1;
    const size_t group = caps_group_size(rt, 256);
    const caps_arg args[] = {
        CAPS_ARG_TENSOR(c),
        CAPS_ARG_TENSOR(partial),
        CAPS_ARG_TENSOR(e ? e->bias : NULL),
        CAPS_ARG_UINT(s->m),
        CAPS_ARG_UINT(s->n),
        CAPS_ARG_UINT(s->ldc),
        CAPS_ARG_UINT(s->stride_c),
        CAPS_ARG_UINT(caps_round_up(s->n, 4)),
        CAPS_ARG_UINT(s->count),
        CAPS_ARG_UINT(cut->parts),
        CAPS_ARG_FLOAT(s->alpha),
        CAPS_ARG_FLOAT(s->beta),
        CAPS_ARG_UINT(bias_is),
        CAPS_ARG_UINT(e ? e->act : CAPS_ACT_NONE),
    };
    const caps_template template = {"gemm_tiled_gpu.clt", options};
    return caps_launch_template(rt, &template, "gemm_tiled_sum", CAPS_ARGS(args), 1,
        (size_t[]){caps_round_up(s->m * s->n * s->count, group)}, &group, err);
}

caps_status caps_gemm_tiled_run(caps_runtime *rt, const caps_gemm_cut *cut, const caps_tensor *c,
    const caps_tensor *a, const caps_tensor *b, const caps_gemm_shape *s,
    const caps_gemm_epilogue *e, caps_error *err)
{
    char options[256];
    caps_status status;
    const bool finished = s->beta != 0 || (e && (e->bias || e->act != CAPS_ACT_NONE));
    const bool parts = cut->parts > 1 || (cut->apart && finished), tail = s->k % cut->kc != 0;
    const bool a_fours = lies_in_fours(
        a, s->trans_a ? s->k : s->m, s->trans_a ? s->m : s->k, s->lda, s->stride_a, s->count);
    const bool b_fours = lies_in_fours(
        b, s->trans_b ? s->n : s->k, s->trans_b ? s->k : s->n, s->ldb, s->stride_b, s->count);
    caps_gemm_cut fewer = *cut;
    if (caps_gemm_cut_limit(&fewer, rt, s, a_fours && b_fours))
        cut = &fewer;
    snprintf(options, sizeof options,
        " -DTILED_LM=%zu -DTILED_LN=%zu -DTILED_WM=%zu -DTILED_WN=%zu -DTILED_V=%zu -DTILED_KC=%zu "
        "-DTILED_FIRST=%zu -DTILED_A_ALONG=%d -DTILED_B_ALONG=%d -DTILED_A_FOURS=%d "
        "-DTILED_B_FOURS=%d -DTILED_TAIL=%d -DTILED_FINISH=%d%s",
        cut->lm, cut->ln, cut->wm, cut->wn, cut->vector, cut->kc, cut->first, !s->trans_a,
        s->trans_b, a_fours, b_fours, tail, !parts && finished,
        register_limit(rt, cut, a_fours && b_fours && !tail));
    if (!parts)
        return launch_tiles(rt, cut, options, c, a, b, s, e, err);

    /* Partial sums as a product whose C is the scratch, whatever becomes of them after. */
    const size_t floats = caps_gemm_tiled_partial(cut, s);
    cl_mem buffer;
    CAPS_TRY(caps_gemm_scratch_get(rt, floats * sizeof(float), &buffer, err));
    const caps_tensor partial = caps_tensor_wrap(buffer, 0, CAPS_F32, 1, &floats);
    caps_gemm_shape plain = *s;
    plain.alpha = 1;
    plain.beta = 0;
    plain.ldc = caps_round_up(s->n, 4);
    plain.stride_c = s->m * plain.ldc;
    CAPS_TRY(launch_tiles(rt, cut, options, &partial, a, b, &plain, NULL, err));
    status = launch_sum(rt, cut, options, c, &partial, s, e, err);
done:
    return status;
}

/* ---- the algorithm -------------------------------------------------------------------------- */

static const char *tiled_unsupported(
    const caps_runtime *rt, const caps_gemm_shape *s, size_t extent)
{
    (void)extent;
    if (!rt || !caps_is_gpu(rt))
        return "its kernels are of the GPU family";
    const char *reason = "the device has no tile of its own";
    for (size_t tile = 0; tile < caps_gemm_tiles_count(); tile++) {
        if (!caps_gemm_tile_is_for(rt, tile))
            continue;
        const char *why = caps_gemm_tile_reason(rt, tile, s);
        if (!why)
            return NULL;
        reason = why;
    }
    return reason;
}

static size_t tiled_scratch(const caps_runtime *rt, const caps_gemm_shape *s)
{
    caps_gemm_cut cut;
    if (caps_gemm_cut_choose(&cut, rt, s, false, NULL) != CAPS_OK)
        return 0;
    return caps_gemm_tiled_partial(&cut, s) * sizeof(float);
}

static caps_status tiled_run(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
    const caps_tensor *b, const caps_gemm_shape *s, const caps_gemm_epilogue *e, caps_error *err)
{
    caps_gemm_cut cut;
    caps_status status = caps_gemm_cut_choose(&cut, rt, s, true, err);
    if (status == CAPS_OK)
        status = caps_gemm_tiled_run(rt, &cut, c, a, b, s, e, err);
    return status;
}

const caps_gemm_implementation caps_gemm_tiled = {
    "tiled", true, tiled_unsupported, tiled_run, tiled_scratch};
