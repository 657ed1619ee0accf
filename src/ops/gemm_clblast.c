/* gemm_clblast.c: products by the CLBlast library.
 *
 * CLBlast's kernels are column-major, and a row-major call costs it two transposes. A row-major
 * matrix is its own transpose in column-major order, so C = A B is asked for as C^T = B^T A^T: the
 * operands change places, nothing is copied.
 *
 * A batch is a loop over single products: CLBlast 1.5.3's strided batch forgets the offset and
 * stride of an operand that needs no padding, and reports success. */
#include "gemm.h"

#include <clblast_c.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>

#include "fail.h"
#include "launch.h"

/* ---- status codes --------------------------------------------------------------------------- */

/* CLBlast's own codes; those it shares with OpenCL go by OpenCL's names. */
static const struct {
    CLBlastStatusCode code;
    const char *name;
} codes[] = {
    {CLBlastNotImplemented, "CLBlastNotImplemented"},
    {CLBlastInvalidMatrixA, "CLBlastInvalidMatrixA"},
    {CLBlastInvalidMatrixB, "CLBlastInvalidMatrixB"},
    {CLBlastInvalidMatrixC, "CLBlastInvalidMatrixC"},
    {CLBlastInvalidDimension, "CLBlastInvalidDimension"},
    {CLBlastInvalidLeadDimA, "CLBlastInvalidLeadDimA"},
    {CLBlastInvalidLeadDimB, "CLBlastInvalidLeadDimB"},
    {CLBlastInvalidLeadDimC, "CLBlastInvalidLeadDimC"},
    {CLBlastInsufficientMemoryA, "CLBlastInsufficientMemoryA"},
    {CLBlastInsufficientMemoryB, "CLBlastInsufficientMemoryB"},
    {CLBlastInsufficientMemoryC, "CLBlastInsufficientMemoryC"},
    {CLBlastInsufficientMemoryTemp, "CLBlastInsufficientMemoryTemp"},
    {CLBlastInvalidOverrideKernel, "CLBlastInvalidOverrideKernel"},
    {CLBlastMissingOverrideParameter, "CLBlastMissingOverrideParameter"},
    {CLBlastInvalidLocalMemUsage, "CLBlastInvalidLocalMemUsage"},
    {CLBlastDatabaseError, "CLBlastDatabaseError"},
    {CLBlastUnknownError, "CLBlastUnknownError"},
    {CLBlastUnexpectedError, "CLBlastUnexpectedError"},
};

static caps_status fail(
    caps_error *err, CLBlastStatusCode code, const caps_gemm_shape *s, const char *what)
{
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i].code == code)
            return caps_fail_cl(err, (int)code, "gemm: %s for %zux%zux%zu: %s", what, s->m, s->n,
                s->k, codes[i].name);
    return caps_fail_cl(err, (int)code, "gemm: %s for %zux%zux%zu", what, s->m, s->n, s->k);
}

/* ---- tuning --------------------------------------------------------------------------------- */

/* CLBlast's database has no entry for PoCL, and its defaults are for GPUs: work-groups of 64 to 256
 * items that a CPU runs as loops, and small vectors. These keep a group small and its vectors wide.
 */
struct tuning {
    const char *kernel;
    size_t count;
    const char *names[16];
    size_t values[16];
};

static const struct tuning cpu_tuning[] = {
    {"Xgemm", 16,
        {"GEMMK", "KREG", "KWG", "KWI", "MDIMA", "MDIMC", "MWG", "NDIMB", "NDIMC", "NWG", "SA",
            "SB", "STRM", "STRN", "VWM", "VWN"},
        {0, 1, 32, 2, 4, 4, 64, 4, 4, 16, 0, 0, 0, 0, 8, 1}},
};

/* CLBlast keeps its settings by device for the whole process, and a change throws compiled kernels
 * away: each device is set once. */
static pthread_mutex_t tuned_lock = PTHREAD_MUTEX_INITIALIZER;
static cl_device_id tuned[64];
static size_t tuned_count;

static caps_status tune(const caps_runtime *rt, const caps_gemm_shape *s, caps_error *err)
{
    const caps_device_info *device = caps_runtime_device(rt);
    if (device->type != CAPS_DEVICE_CPU)
        return CAPS_OK;
    caps_status status = CAPS_OK;
    pthread_mutex_lock(&tuned_lock);
    size_t i = 0;
    while (i < tuned_count && tuned[i] != device->handle)
        i++;
    if (i == tuned_count && i < sizeof tuned / sizeof tuned[0]) {
        for (size_t t = 0; t < sizeof cpu_tuning / sizeof cpu_tuning[0] && status == CAPS_OK; t++) {
            const struct tuning *x = &cpu_tuning[t];
            /* The API takes a pointer to non-const strings, and does not write them. */
            CLBlastStatusCode code = CLBlastOverrideParameters(device->handle, x->kernel,
                CLBlastPrecisionSingle, x->count, (const char **)x->names, x->values);
            if (code != CLBlastSuccess)
                status = fail(err, code, s, x->kernel);
        }
        if (status == CAPS_OK)
            tuned[tuned_count++] = device->handle;
    }
    pthread_mutex_unlock(&tuned_lock);
    return status;
}

/* ---- the algorithm -------------------------------------------------------------------------- */

/* No tile of CLBlast's is larger: it pads the sizes to whole tiles. */
enum { LARGEST_TILE = 256 };

/* Floats of padded copies at most. */
static size_t padded(const caps_gemm_shape *s)
{
    size_t m = caps_round_up(s->m, LARGEST_TILE), n = caps_round_up(s->n, LARGEST_TILE);
    size_t k = caps_round_up(s->k, LARGEST_TILE);
    if (m > (size_t)1 << 31 || n > (size_t)1 << 31 || k > (size_t)1 << 31)
        return SIZE_MAX;
    size_t mk = m * k, kn = k * n, mn = m * n;
    return mk > SIZE_MAX / 4 || kn > SIZE_MAX / 4 || mn > SIZE_MAX / 4 ? SIZE_MAX : mk + kn + mn;
}

static const char *refuses(const caps_runtime *rt, const caps_gemm_shape *s, size_t extent)
{
    (void)rt;
    /* It counts elements in int, without a check. */
    if (extent > INT_MAX || s->lda > INT_MAX || s->ldb > INT_MAX || s->ldc > INT_MAX)
        return "an operand reaches beyond 2^31 elements";
    if (padded(s) > INT_MAX)
        return "its padded copies have more than 2^31 elements";
    return NULL;
}

static size_t scratch(const caps_runtime *rt, const caps_gemm_shape *s)
{
    (void)rt;
    size_t floats = padded(s);
    return floats > INT_MAX ? 0 : floats * sizeof(float);
}

static caps_status run(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
    const caps_tensor *b, const caps_gemm_shape *s, const caps_gemm_epilogue *e, caps_error *err)
{
    (void)e;
    const CLBlastTranspose first = s->trans_b ? CLBlastTransposeYes : CLBlastTransposeNo;
    const CLBlastTranspose second = s->trans_a ? CLBlastTransposeYes : CLBlastTransposeNo;
    cl_command_queue queue = caps_runtime_queue(rt);
    uint64_t start = 0;
    caps_status status = CAPS_OK;
    CAPS_TRY(tune(rt, s, err));
    CAPS_TRY(caps_profile_begin(rt, &start, err));
    for (size_t i = 0; i < s->count; i++) {
        const size_t a_at = a->offset + i * s->stride_a, b_at = b->offset + i * s->stride_b;
        const size_t c_at = c->offset + i * s->stride_c;
        /* Its padded copies go into our scratch; by itself it would allocate a buffer every time.
         */
        size_t bytes = 0;
        cl_mem buffer = NULL;
        CLBlastStatusCode code = CLBlastSGemmTempBufferSize(CLBlastLayoutColMajor, first, second,
            s->n, s->m, s->k, b_at, s->ldb, a_at, s->lda, c_at, s->ldc, &queue, &bytes);
        if (code != CLBlastSuccess) {
            status = fail(err, code, s, "CLBlastSGemmTempBufferSize");
            goto done;
        }
        if (bytes > 0)
            CAPS_TRY(caps_gemm_scratch_get(rt, bytes, &buffer, err));
        code = CLBlastSgemmWithTempBuffer(CLBlastLayoutColMajor, first, second, s->n, s->m, s->k,
            s->alpha, b->buffer, b_at, s->ldb, a->buffer, a_at, s->lda, s->beta, c->buffer, c_at,
            s->ldc, &queue, NULL, buffer);
        if (code != CLBlastSuccess) {
            status = fail(err, code, s, "CLBlastSgemm");
            goto done;
        }
    }
    status = caps_profile_end(rt, "gemm:clblast", start, err);
done:
    return status;
}

const caps_gemm_method caps_gemm_clblast = {"clblast", false, refuses, run, scratch};
