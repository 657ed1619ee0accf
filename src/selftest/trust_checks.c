/* trust_checks.c: what is checked before a variant is used on a device (trust.h), by the selftest's
 * cases and, for tiles of products, by products that are cut as no choice would cut them. */
#include <stdio.h>
#include <string.h>

#include "cases.h"
#include "conv.h"
#include "fail.h"
#include "gemm.h"
#include "gemm_tiles.h"
#include "launch.h"
#include "ref.h"
#include "trust.h"

/* Operations whose algorithms are variants of their own; all others have one algorithm in each
 * family, and are checked with it. */
static const char *const chosen[] = {"gemm", "conv", "linear", "votes", "routing", "class_caps"};

/* Products before convolutions, which are built of them. */
static const struct row {
    const caps_chooser *chooser;
    const char *operation; /* whose cases tell its algorithms apart */
} rows[] = {
    {&caps_gemm_chooser, "gemm"},
    {&caps_conv_chooser, "conv"},
    {&caps_routing_chooser, "class_caps"},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

/* ---- which ---------------------------------------------------------------------------------- */

static size_t variants_add(char variants[CAPS_TRUST_MOST][CAPS_TRUST_VARIANT], size_t n,
    const char *chooser, const char *algorithm)
{
    if (n < CAPS_TRUST_MOST)
        snprintf(variants[n++], CAPS_TRUST_VARIANT, "%s %s", chooser, algorithm);
    return n;
}

/* CLBlast takes seconds to be built, and is never chosen for a processor by itself. */
static bool is_worth_checking(const caps_runtime *rt, const char *algorithm)
{
    return strcmp(algorithm, "clblast") != 0 ||
           (caps_is_gpu(rt) && caps_runtime_device(rt)->type != CAPS_DEVICE_CPU);
}

size_t caps_trust_variants(
    const caps_runtime *rt, char variants[CAPS_TRUST_MOST][CAPS_TRUST_VARIANT])
{
    size_t n = variants_add(variants, 0, "family", caps_family_name(caps_runtime_family(rt)));
    for (size_t tile = 0; caps_is_gpu(rt) && tile < caps_gemm_tiles_count(); tile++)
        if (caps_gemm_tile_is_for(rt, tile))
            n = variants_add(variants, n, "tile", caps_gemm_tile_name(tile));
    for (size_t row = 0; row < ROWS; row++)
        for (size_t a = 0; a < rows[row].chooser->count; a++) {
            const char *algorithm = rows[row].chooser->algorithms[a].name;
            if (is_worth_checking(rt, algorithm))
                n = variants_add(variants, n, rows[row].chooser->name, algorithm);
        }
    return n;
}

bool caps_trust_is_needed(const caps_runtime *rt, const char *variant)
{
    /* Our own products are parts of other operations there. */
    if (caps_is_gpu(rt) && strncmp(variant, "gemm ", 5) == 0)
        return strcmp(variant, "gemm clblast") != 0;
    for (size_t row = 0; row < ROWS; row++) {
        const char *chooser = rows[row].chooser->name;
        const size_t n = strlen(chooser);
        if (strncmp(variant, chooser, n) == 0 && variant[n] == ' ')
            return strcmp(variant + n + 1, caps_selftest_used(rt, rows[row].operation)) == 0;
    }
    return true;
}

/* ---- tiles: tile, trans_a, trans_b, rounds of k, steps beyond them, gap, parts, count -------- */

/* Whole tiles and a rest in every direction. */
static caps_gemm_shape tile_shape(const caps_runtime *rt, const size_t *z)
{
    const size_t gap = z[5];
    caps_gemm_shape s = {.trans_a = z[1] != 0,
        .trans_b = z[2] != 0,
        .m = 10000, /* so many that the tile is not made smaller */
        .n = 1,
        .k = 1,
        .alpha = 0.75f,
        .beta = 0.5f,
        .count = z[7]};
    const caps_gemm_cut full = caps_gemm_cut_by(rt, z[0], &s, 1);
    s.m = caps_round_up(full.tm + 5, gap);
    s.n = caps_round_up(full.tn + 3, gap);
    s.k = z[3] * full.kc + z[4];
    s.lda = (s.trans_a ? s.m : s.k) + gap;
    s.ldb = (s.trans_b ? s.k : s.n) + gap;
    s.ldc = s.n + gap;
    s.stride_a = caps_round_up((s.trans_a ? s.k : s.m) * s.lda, 4);
    s.stride_b = caps_round_up((s.trans_b ? s.n : s.k) * s.ldb, 4);
    s.stride_c = caps_round_up(s.m * s.ldc, 4);
    return s;
}

static caps_status tile_product(caps_selftest *t, const size_t *z, caps_error *err)
{
    const caps_gemm_shape s = tile_shape(t->rt, z);
    const caps_gemm_cut cut = caps_gemm_cut_by(t->rt, z[0], &s, z[6]);
    const size_t na = s.stride_a * s.count, nb = s.stride_b * s.count, nc = s.stride_c * s.count;
    if (caps_gemm_tile_reason(t->rt, z[0], &s))
        return CAPS_OK;
    double *a = caps_selftest_draw(t, na, -1, 1), *b = caps_selftest_draw(t, nb, -1, 1);
    double *c = caps_selftest_draw(t, nc, -1, 1);
    const caps_tensor *ta = caps_selftest_put(t, a, 1, &na), *tb = caps_selftest_put(t, b, 1, &nb);
    const caps_tensor *tc = caps_selftest_put(t, c, 1, &nc);
    caps_status status;
    CAPS_TRY(t->status);
    CAPS_TRY(caps_gemm_tiled_run(t->rt, &cut, tc, ta, tb, &s, NULL, err));
    for (size_t i = 0; i < s.count; i++)
        caps_ref_gemm(c + i * s.stride_c, a + i * s.stride_a, b + i * s.stride_b, s.trans_a,
            s.trans_b, s.m, s.n, s.k, s.lda, s.ldb, s.ldc, (double)s.alpha, (double)s.beta);
    CAPS_TRY(caps_selftest_compare(t, CAPS_SELFTEST_FORWARD, tc, c, err));
done:
    return status;
}

/* Operands that lie along k and across it, aligned and not; k in parts and in one. */
static const caps_selftest_case tile_cases[] = {
    {"tile", tile_product, CAPS_LARGE, {0, 0, 1, 5, 3, 1, 1, 2}},
    {"tile", tile_product, CAPS_LARGE, {0, 1, 0, 8, 0, 4, 2, 1}},
};

static caps_status check_tile(
    caps_runtime *rt, const char *name, caps_selftest_worst *worst, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < sizeof tile_cases / sizeof tile_cases[0]; i++) {
        caps_selftest_case one = tile_cases[i];
        one.sizes[0] = caps_gemm_tile_find(name);
        CAPS_TRY(caps_selftest_worst_of_case(rt, &one, worst, err));
    }
done:
    return status;
}

/* ---- checks --------------------------------------------------------------------------------- */

static bool is_chosen(const char *operation)
{
    for (size_t i = 0; i < sizeof chosen / sizeof chosen[0]; i++)
        if (strcmp(chosen[i], operation) == 0)
            return true;
    return false;
}

static caps_status check_family(caps_runtime *rt, caps_selftest_worst *worst, caps_error *err)
{
    caps_status status = CAPS_OK;
    const char *operation;
    for (size_t i = 0; (operation = caps_selftest_operation_at(i)) != NULL; i++)
        if (!is_chosen(operation))
            CAPS_TRY(caps_selftest_worst_of(rt, operation, NULL, worst, err));
done:
    return status;
}

static caps_status check_algorithm(caps_runtime *rt, const char *chooser, const char *algorithm,
    caps_selftest_worst *worst, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].chooser->name, chooser) == 0)
            CAPS_TRY(caps_selftest_worst_of(rt, rows[i].operation, algorithm, worst, err));
    if (strcmp(chooser, "routing") == 0 && strcmp(algorithm, "stored") == 0) {
        CAPS_TRY(caps_selftest_worst_of(rt, "votes", NULL, worst, err));
        CAPS_TRY(caps_selftest_worst_of(rt, "routing", NULL, worst, err));
    }
done:
    return status;
}

caps_status caps_trust_check(
    caps_runtime *rt, const char *variant, double *error, double *tolerance, caps_error *err)
{
    caps_selftest_worst worst = {0};
    char chooser[CAPS_TRUST_VARIANT];
    const size_t n = strcspn(variant, " ");
    const char *algorithm = variant + n + (variant[n] == ' ');
    snprintf(chooser, sizeof chooser, "%.*s", (int)n, variant);
    const caps_status status = strcmp(chooser, "family") == 0 ? check_family(rt, &worst, err)
                               : strcmp(chooser, "tile") == 0
                                   ? check_tile(rt, algorithm, &worst, err)
                                   : check_algorithm(rt, chooser, algorithm, &worst, err);
    *error = worst.error;
    *tolerance = worst.tolerance;
    return status;
}

const char *caps_trust_missing(const caps_runtime *rt, const char **why)
{
    const caps_verdict *list;
    const size_t n = caps_runtime_verdicts(rt, &list);
    for (size_t row = 0; row < ROWS; row++) {
        const char *chooser = rows[row].chooser->name;
        const size_t length = strlen(chooser);
        bool left = false;
        *why = "there is none";
        for (size_t i = 0; i < n && !left; i++) {
            if (strncmp(list[i].variant, chooser, length) != 0 || list[i].variant[length] != ' ')
                continue;
            left = list[i].passed && list[i].tolerance > 0;
            if (!list[i].passed)
                *why = list[i].why;
        }
        if (!left)
            return chooser;
    }
    return NULL;
}
