/* sweep.c: what scripts/offline-gpus needs to know of the library. It launches the GPU family's
 * products in every way that the device's tiles may be chosen, so that driver.c, which stands for
 * the device, writes down the programs; then class capsules of sizes that no network here has.
 *
 *     sweep [--all | --archs | --spec NAME]
 *
 * For every tile that may be chosen: all four layouts of the operands; everything aligned and
 * without a rest of k, the same with a rest and an epilogue, and nothing aligned with both. With
 * --all for every number of rows that an item may have, not only the tile's own. With --archs it
 * only prints the names of the built-in networks, with --spec one of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capscl/network.h>

#include "gemm_tiles.h"
#include "launch.h"
#include "routing_fused.h"

/* Rows come in TILES of an item's, and are then as many in tiles of fewer rows, too: the device's
 * compiler may call for that (caps_gemm_cut_limit). */
enum { K = 512, N = 512, FLOATS = 1 << 22, TILES = 15 };

/* ---- products ------------------------------------------------------------------------------- */

/* A product's operands: aligned or not, a rest of k or not, an epilogue or none. */
typedef struct way {
    bool aligned, rest, finished;
} way;

static const way ways[] = {{true, false, false}, {true, true, true}, {false, true, true}};

static caps_status launch_way(caps_runtime *rt, const caps_tensor *memory, size_t tile, size_t m,
    bool trans_a, bool trans_b, const way *w, caps_error *err)
{
    const size_t odd = w->aligned ? 0u : 1u;
    caps_gemm_shape s = {.trans_a = trans_a, .trans_b = trans_b, .m = m, .alpha = 1, .count = 1};
    s.n = N + odd;
    s.k = K + (w->rest ? 4u : 0u) + odd;
    const size_t least = FLOATS / 2048, ld = least + odd;
    s.lda = s.ldb = s.ldc = ld;
    caps_tensor part = *memory;
    part.offset = odd;
    const caps_gemm_epilogue e = {.bias = memory, .act = CAPS_ACT_RELU};
    if (!caps_gemm_tile_may_serve(rt, tile, &s))
        return CAPS_OK;
    const caps_gemm_cut cut = caps_gemm_cut_by(rt, tile, &s, 1);
    return caps_gemm_tiled_run(rt, &cut, &part, &part, &part, &s, w->finished ? &e : NULL, err);
}

static caps_status sweep(caps_runtime *rt, const caps_tensor *memory, bool all, caps_error *err)
{
    const caps_gemm_shape tall = {
        .m = 1024, .n = N, .k = K, .lda = K, .ldb = N, .ldc = N, .count = 1, .alpha = 1};
    for (size_t tile = 0; tile < caps_gemm_tiles_count(); tile++) {
        if (!caps_gemm_tile_may_serve(rt, tile, &tall))
            continue;
        const caps_gemm_cut full = caps_gemm_cut_by(rt, tile, &tall, 1);
        const size_t rows = full.tm / full.lm;
        for (size_t row = all ? 1 : rows; row <= rows; row++)
            for (size_t layout = 0; layout < 4; layout++)
                for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
                    const size_t m = full.lm * row * (row == rows ? TILES : 1);
                    const caps_status status =
                        launch_way(rt, memory, tile, m, layout & 1, layout & 2, &ways[w], err);
                    if (status != CAPS_OK)
                        return status;
                }
    }
    return CAPS_OK;
}

/* ---- class capsules ------------------------------------------------------------------------- */

/* Output capsules, their elements, and those of an input capsule. */
static const struct sizes {
    size_t j, d, k;
} capsules[] = {
    {10, 16, 8},
    {10, 16, 16},
    {10, 32, 8},
    {10, 64, 8},
    {10, 32, 32},
    {10, 32, 17},
    {10, 16, 64},
    {1, 16, 8},
    {5, 8, 4},
    {11, 19, 13},
    {16, 16, 16},
    {17, 12, 6},
    {26, 16, 8},
    {43, 16, 8},
    {64, 16, 16},
    {100, 16, 8},
    {200, 8, 8},
};
/* Few samples have other tiles than many. */
static const size_t batches[] = {1, 8, 100};
enum { ITERATIONS = 3, INPUTS = 16 };

static caps_tensor wrap(const caps_tensor *memory, const size_t shape[4])
{
    return caps_tensor_wrap(memory->buffer, 0, CAPS_F32, 4, shape);
}

/* Both directions; every tensor lies at the beginning of memory. */
static caps_status route(
    caps_runtime *rt, const caps_tensor *memory, const caps_fused *n, caps_error *err)
{
    const size_t links[] = {ITERATIONS, n->b, n->i, n->j},
                 outputs[] = {ITERATIONS, n->b, n->j, n->d};
    const caps_class_caps_state state = {
        .couplings = wrap(memory, links), .s = wrap(memory, outputs), .v = wrap(memory, outputs)};
    if (!caps_routing_fused_fits(rt, n))
        return CAPS_OK;
    const caps_status status =
        caps_routing_fused_forward(rt, memory, &state, memory, memory, memory, n, memory, err);
    return status != CAPS_OK ? status
                             : caps_routing_fused_backward(rt, memory, memory, memory, memory,
                                   &state, memory, memory, n, memory, err);
}

static caps_status sweep_capsules(caps_runtime *rt, const caps_tensor *memory, caps_error *err)
{
    caps_status status = CAPS_OK;
    for (size_t x = 0; x < sizeof capsules / sizeof capsules[0]; x++)
        for (size_t y = 0; y < sizeof batches / sizeof batches[0] && status == CAPS_OK; y++) {
            caps_fused n = {batches[y], INPUTS, capsules[x].j, capsules[x].d, capsules[x].k,
                {.iterations = ITERATIONS}, CAPS_ROUTING_FUSED};
            status = route(rt, memory, &n, err);
            n.routing.grad = CAPS_ROUTING_GRAD_LAST;
            if (status == CAPS_OK && y == 0)
                status = route(rt, memory, &n, err);
        }
    return status;
}

static int print_spec(const char *name)
{
    caps_error err = {0};
    caps_model_spec *spec = NULL;
    if (caps_model_spec_load(&spec, name, &err) != CAPS_OK) {
        fprintf(stderr, "sweep: %s\n", err.message);
        return 1;
    }
    char *text = caps_model_spec_format(spec);
    puts(text ? text : "");
    free(text);
    caps_model_spec_free(spec);
    return text == NULL;
}

int main(int argc, char **argv)
{
    caps_error err = {0};
    caps_runtime *rt = NULL;
    caps_tensor memory = {0};
    const size_t floats = FLOATS;
    if (argc > 1 && strcmp(argv[1], "--archs") == 0) {
        for (size_t i = 0; caps_model_spec_builtin(i); i++)
            puts(caps_model_spec_builtin(i));
        return 0;
    }
    if (argc > 2 && strcmp(argv[1], "--spec") == 0)
        return print_spec(argv[2]);
    caps_status status = caps_runtime_create(&rt, NULL, NULL, &err);
    if (status == CAPS_OK)
        status = caps_tensor_init(&memory, rt, CAPS_F32, 1, &floats, &err);
    if (status == CAPS_OK)
        status = sweep(rt, &memory, argc > 1 && strcmp(argv[1], "--all") == 0, &err);
    if (status == CAPS_OK)
        status = sweep_capsules(rt, &memory, &err);
    if (status != CAPS_OK)
        fprintf(stderr, "sweep: %s\n", err.message);
    caps_tensor_release(&memory);
    caps_runtime_free(rt);
    return status != CAPS_OK;
}
