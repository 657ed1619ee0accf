/* gemm_tiles.h: the tiles of cl/gemm_tiled_gpu.clt, and which of them serves a product best. */
#ifndef CAPS_GEMM_TILES_H
#define CAPS_GEMM_TILES_H

#include "gemm.h"

/* What a product of a shape is built and launched with on a device. */
typedef struct caps_gemm_cut {
    size_t tile;                   /* row of the table */
    size_t lm, ln, wm, wn, vector; /* work-items, and elements of each */
    size_t kc, first;              /* steps of a round, and those before its loads */
    size_t items, tm, tn;          /* of a group */
    size_t chunk, parts;           /* steps of a part of k, and how many parts */
    bool apart;                    /* what becomes of sums is for a kernel of its own */
    double cycles;                 /* what it should take: a model, for comparisons alone */
} caps_gemm_cut;

/* Rows of the table, and that of a name (their number, where there is none). A name says how large
 * a tile of C is. */
size_t caps_gemm_tiles_count(void);
const char *caps_gemm_tile_name(size_t tile);
size_t caps_gemm_tile_find(const char *name);

/* Why the device cannot run a tile, or the tile not this shape; NULL: it can. */
const char *caps_gemm_tile_reason(
    const caps_runtime *rt, size_t tile, const caps_gemm_shape *shape);

/* May the tile be chosen on the device, for some shape? */
bool caps_gemm_tile_is_for(const caps_runtime *rt, size_t tile);

/* The shape cut by one tile; parts 0: as many parts of k as should be fastest. */
caps_gemm_cut caps_gemm_cut_by(
    const caps_runtime *rt, size_t tile, const caps_gemm_shape *shape, size_t parts);

/* Fewer rows an item, where operands that are not read in fours, or a rest of k, would need more
 * registers than the device's compiler has; false: the cut stays as it is. */
bool caps_gemm_cut_limit(
    caps_gemm_cut *cut, const caps_runtime *rt, const caps_gemm_shape *shape, bool fours);

/* caps_gemm_cut_by with the tile that was measured to be the fastest for the shape, else by the one
 * that should be. `record`: the choice is recorded (choice.h), under the key "tile 100x512x160
 * nt". */
caps_status caps_gemm_cut_choose(caps_gemm_cut *cut, const caps_runtime *rt,
    const caps_gemm_shape *shape, bool record, caps_error *err);

/* May the tile be chosen for the shape, by the model or by a measurement? */
bool caps_gemm_tile_may_serve(const caps_runtime *rt, size_t tile, const caps_gemm_shape *shape);

/* Records that choice. */
void caps_gemm_tiled_plan(const caps_runtime *rt, const caps_gemm_shape *shape);

/* For tuning: the tiles that are worth measuring (at most `capacity`; their number). */
size_t caps_gemm_tile_candidates(
    const caps_runtime *rt, const caps_gemm_shape *shape, const char **names, size_t capacity);

/* A product as it was cut. */
caps_status caps_gemm_tiled_run(caps_runtime *rt, const caps_gemm_cut *cut, const caps_tensor *c,
    const caps_tensor *a, const caps_tensor *b, const caps_gemm_shape *shape,
    const caps_gemm_epilogue *epilogue, caps_error *err);
/* Elements of scratch that it takes: partial sums. */
size_t caps_gemm_tiled_partial(const caps_gemm_cut *cut, const caps_gemm_shape *shape);

#endif
