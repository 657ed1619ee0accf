/* gemm.h: the algorithms behind caps_gemm. */
#ifndef CAPS_GEMM_H
#define CAPS_GEMM_H

#include <capscl/ops.h>

#include "choosers.h"

/* What becomes of a product on its way to C: C = act(alpha op(A) op(B) + beta C + bias). */
typedef struct caps_gemm_epilogue {
    const caps_tensor *bias; /* NULL: none; else as many elements as C has columns (or rows) */
    bool bias_of_rows;       /* one element a row of C, not a column */
    caps_activation act;
} caps_gemm_epilogue;

/* caps_gemm with an epilogue (NULL: none). With `count` products, each gets the same. */
caps_status caps_gemm_finished(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
    const caps_tensor *b, const caps_gemm_shape *shape, const caps_gemm_epilogue *epilogue,
    caps_error *err);

/* One way to multiply. caps_gemm has checked the shape before it calls any of these. */
typedef struct caps_gemm_implementation {
    const char *name;
    bool applies_epilogue; /* else `run` gets NULL, and caps_gemm_finished applies it */
    /* Why it cannot serve; NULL: it can. `extent` is the greatest element index, plus one, of any
     * operand in its buffer. */
    const char *(*unsupported_reason)(
        const caps_runtime *rt, const caps_gemm_shape *shape, size_t extent);
    caps_status (*run)(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
        const caps_tensor *b, const caps_gemm_shape *shape, const caps_gemm_epilogue *epilogue,
        caps_error *err);
    /* Most bytes of scratch (below) that `run` takes for this shape. */
    size_t (*scratch)(const caps_runtime *rt, const caps_gemm_shape *shape);
} caps_gemm_implementation;

extern const caps_gemm_implementation
    caps_gemm_packed; /* CPU family: panels of B and a register tile */
extern const caps_gemm_implementation caps_gemm_tiled;   /* GPU family: tiles in local memory */
extern const caps_gemm_implementation caps_gemm_clblast; /* the CLBlast library */
extern const caps_gemm_implementation caps_gemm_direct;  /* plain kernels that run anywhere */

/* The choice of one of them, and what is chosen for. A record's problem begins with the shape. */
typedef struct caps_gemm_problem {
    caps_gemm_shape shape;
    size_t extent; /* see above; 0 where it is not known yet */
} caps_gemm_problem;

/* For tuning. The key of a shape: "gemm 100x512x160 nt", followed by " x7" for seven products. The
 * algorithms that are worth measuring for it (at most `capacity`; their number), and a product by
 * one of them, whatever would be chosen. */
void caps_gemm_key(char key[CAPS_TUNING_KEY], const caps_gemm_shape *shape);
size_t caps_gemm_candidates(const caps_runtime *rt, const caps_gemm_shape *shape, size_t extent,
    const char **names, size_t capacity);
caps_status caps_gemm_by(caps_runtime *rt, const char *algorithm, const caps_tensor *c,
    const caps_tensor *a, const caps_tensor *b, const caps_gemm_shape *shape, caps_error *err);

/* CLBlast's own parameters, for the device as a whole: names of sets that are worth measuring, and
 * the one that is in force from now on (CLBlast then builds its kernels again). Which one is
 * without it is tuned under the key "clblast parameters"; caps_clblast_plan records that choice. */
size_t caps_clblast_candidates(const caps_runtime *rt, const char **names, size_t capacity);
caps_status caps_clblast_apply(caps_runtime *rt, const char *name, caps_error *err);
void caps_clblast_plan(const caps_runtime *rt);

/* Where CLBlast fails, at run time, for a shape (by its key) on a runtime, our own product takes
 * its place, and CLBlast is not tried again for it. The first failure is a warning. */
bool caps_clblast_has_failed(const caps_runtime *rt, const caps_gemm_shape *shape);
/* Why the CLBlast in a file is not used (versions that compute wrong products), or NULL. */
const char *caps_clblast_version_reason(const char *file);
/* The one of our own algorithms that serves the shape. */
const caps_gemm_implementation *caps_gemm_own(const caps_runtime *rt, const caps_gemm_shape *shape);

/* A buffer of at least `bytes` for panels or padded copies. One a runtime, grown to the largest
 * need seen, freed with the runtime; its content lasts until the next product. Not the caller's to
 * free. */
caps_status caps_gemm_scratch_get(caps_runtime *rt, size_t bytes, cl_mem *buffer, caps_error *err);

/* What that buffer grows to at most for this shape on this runtime, in bytes: for a forecast of
 * memory before anything is allocated. */
size_t caps_gemm_scratch(const caps_runtime *rt, const caps_gemm_shape *shape);

/* The same for a product that will run: its algorithm is recorded (choice.h). */
size_t caps_gemm_plan(const caps_runtime *rt, const caps_gemm_shape *shape);

/* A batch may be smaller than the largest: so many sizes below it are tried one by one, further
 * ones in steps that are as fine for their size. */
enum { CAPS_SCRATCH_SIZES = 64 };

/* Elements from the first of a stored rows x columns matrix to its last, that one included. */
static inline size_t caps_gemm_extent(size_t rows, size_t columns, size_t ld)
{
    return (rows - 1) * ld + columns;
}

#endif
