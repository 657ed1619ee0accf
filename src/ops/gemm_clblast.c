/* gemm_clblast.c: products by the CLBlast library.
 *
 * CLBlast's kernels are column-major, and a row-major call costs it two transposes. A row-major
 * matrix is its own transpose in column-major order, so C = A B is requested as C^T = B^T A^T: the
 * operands change places, nothing is copied.
 *
 * A batch is a loop over single products: CLBlast 1.5.3's strided batch forgets the offset and
 * stride of an operand that needs no padding, and reports success. */
#define _GNU_SOURCE /* dladdr */
#include "gemm.h"

#include <clblast_c.h>
#include <dlfcn.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "choice.h"
#include "fail.h"
#include "launch.h"
#include "slots.h"

/* ---- version --------------------------------------------------------------------------------- */

/* It tells its version by its file's name alone, libclblast.so.1.6.1; where that does not, by the
 * header that we were built with. */
const char *caps_clblast_version_reason(const char *file)
{
    unsigned version[3] = {0};
    const char *at = file ? strstr(file, "libclblast.so.") : NULL;
    if (!at || sscanf(at, "libclblast.so.%u.%u.%u", &version[0], &version[1], &version[2]) != 3) {
#ifdef CLBLAST_VERSION_MAJOR
        version[0] = CLBLAST_VERSION_MAJOR;
        version[1] = CLBLAST_VERSION_MINOR;
        version[2] = CLBLAST_VERSION_PATCH;
#endif
    }
    if (version[0] == 1 && version[1] == 6 && version[2] < 3)
        return "CLBlast 1.6.0 to 1.6.2 compute wrong products on some GPUs";
    return NULL;
}

static pthread_once_t version_once = PTHREAD_ONCE_INIT;
static const char *version_reason;

static void version_find(void)
{
    Dl_info info = {0};
    void *symbol = dlsym(RTLD_DEFAULT, "CLBlastSgemm");
    char *file = symbol && dladdr(symbol, &info) ? realpath(info.dli_fname, NULL) : NULL;
    version_reason = caps_clblast_version_reason(file);
    free(file);
}

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

/* Parameters of CLBlast's two kernels of products, the large one (Xgemm: padded copies, then tiles
 * of MWG x NWG by groups of MDIMC x NDIMC items) and the small one (XgemmDirect: tiles of WGD). Its
 * database has the makers' devices, but none that is newer than the library, and no PoCL. Every set
 * obeys CLBlast's rules: MWG a multiple of MDIMC VWM and MDIMA VWM, NWG of NDIMC VWN and NDIMB VWN,
 * KWG of KWI, MDIMC NDIMC / MDIMA and MDIMC NDIMC / NDIMB; likewise WGD. */
static const char *const large_names[] = {"GEMMK", "KREG", "KWG", "KWI", "MDIMA", "MDIMC", "MWG",
    "NDIMB", "NDIMC", "NWG", "SA", "SB", "STRM", "STRN", "VWM", "VWN"};
static const char *const small_names[] = {
    "KWID", "MDIMAD", "MDIMCD", "NDIMBD", "NDIMCD", "PADA", "PADB", "VWMD", "VWND", "WGD"};
enum { LARGE = 16, SMALL = 10 };
/* The large kernel is taken from so many cubed multiply-adds on. */
static const char *const routine_names[] = {"XGEMM_MIN_INDIRECT_SIZE"};
static const size_t least_large = 384;

static const struct candidate {
    const char *name;
    size_t large[LARGE], small[SMALL];
} candidates[] = {
    /* A CPU runs a group's items as a loop: few of them, wide vectors, no copies to local
     * memory. */
    {"cpu", {0, 1, 32, 2, 4, 4, 64, 4, 4, 16, 0, 0, 0, 0, 8, 1}, {2, 4, 4, 4, 4, 0, 0, 4, 4, 16}},
    {"64x64 by 256", {0, 1, 32, 2, 16, 16, 64, 16, 16, 64, 1, 1, 0, 0, 4, 4},
        {2, 16, 16, 16, 16, 1, 1, 2, 2, 32}},
    {"64x64 by 64", {0, 1, 32, 2, 8, 8, 64, 8, 8, 64, 1, 1, 0, 0, 4, 4},
        {2, 8, 8, 8, 8, 1, 1, 4, 4, 32}},
    {"64x64 by 64, no local", {0, 1, 32, 2, 8, 8, 64, 8, 8, 64, 0, 0, 0, 0, 4, 4},
        {2, 8, 8, 8, 8, 1, 1, 2, 2, 32}},
    {"128x64 by 128", {0, 1, 32, 2, 16, 16, 128, 8, 8, 64, 1, 1, 0, 0, 4, 4},
        {2, 16, 16, 16, 16, 1, 1, 2, 2, 32}},
    {"128x128 by 256", {0, 1, 16, 2, 16, 16, 128, 16, 16, 128, 1, 1, 0, 0, 4, 4},
        {2, 16, 16, 16, 16, 1, 1, 2, 2, 32}},
};
enum { CANDIDATES = sizeof candidates / sizeof candidates[0] };
#define LIBRARY "library" /* what CLBlast's database has */

/* CLBlast holds its settings by device for the whole process, and a change throws compiled kernels
 * away: a device is set once, at the first product, and again only by caps_clblast_apply. */
static pthread_mutex_t tuned_lock = PTHREAD_MUTEX_INITIALIZER;
static cl_device_id tuned[64];
static size_t tuned_count;

static caps_status override(const caps_runtime *rt, const struct candidate *x, caps_error *err)
{
    const cl_device_id device = caps_runtime_device(rt)->handle;
    /* The API takes a pointer to non-const strings, and does not write them. */
    CLBlastStatusCode code = CLBlastOverrideParameters(device, "Xgemm", CLBlastPrecisionSingle,
        LARGE, (const char **)(uintptr_t)large_names, x->large);
    if (code == CLBlastSuccess)
        code = CLBlastOverrideParameters(device, "XgemmDirect", CLBlastPrecisionSingle, SMALL,
            (const char **)(uintptr_t)small_names, x->small);
    if (code == CLBlastSuccess)
        code = CLBlastOverrideParameters(device, "GemmRoutine", CLBlastPrecisionSingle, 1,
            (const char **)(uintptr_t)routine_names, &least_large);
    return code == CLBlastSuccess
               ? CAPS_OK
               : caps_fail_cl(err, (int)code, "gemm: CLBlast rejects the parameters '%s'", x->name);
}

/* The choice of a set, for a device and not for a problem. `candidates` follow the library's
 * own. */
static const caps_algorithm clblast_names[] = {{LIBRARY, NULL}, {"cpu", NULL},
    {"64x64 by 256", NULL}, {"64x64 by 64", NULL}, {"64x64 by 64, no local", NULL},
    {"128x64 by 128", NULL}, {"128x128 by 256", NULL}};
_Static_assert(sizeof clblast_names / sizeof *clblast_names == CANDIDATES + 1, "a name a set");

static const caps_chooser clblast_chooser;

static void clblast_key(char key[CAPS_TUNING_KEY], const void *problem)
{
    (void)problem;
    snprintf(key, CAPS_TUNING_KEY, "clblast parameters");
}

static double clblast_cost(const caps_runtime *rt, size_t set, const void *problem)
{
    const bool cpu = caps_runtime_device(rt)->type == CAPS_DEVICE_CPU;
    (void)problem;
    if (set == 0)
        return cpu ? INFINITY : 0; /* the database knows no CPU that runs PoCL */
    return set == 1 && cpu ? 0 : 1;
}

/* Once overridden the library's own cannot come back in this process: so they are measured first,
 * and left out where a measured set is in force already. */
static bool clblast_tunable(const caps_runtime *rt, size_t set, const void *problem)
{
    const bool cpu = caps_runtime_device(rt)->type == CAPS_DEVICE_CPU;
    char key[CAPS_TUNING_KEY];
    clblast_key(key, problem);
    const char *name = caps_tuning_get(rt, key);
    const size_t measured = name ? caps_algorithm_find(&clblast_chooser, name) : 0;
    if (set == 0)
        return measured == 0 || measured == CAPS_CHOICE_FREE;
    return cpu || set != 1;
}

static const caps_chooser clblast_chooser = {
    .name = "clblast",
    .algorithms = clblast_names,
    .count = CANDIDATES + 1,
    .key = clblast_key,
    .cost = clblast_cost,
    .tunable = clblast_tunable,
};

/* NULL: the library's own. */
static const struct candidate *candidate_of(size_t set)
{
    return set > 0 ? &candidates[set - 1] : NULL;
}

static const struct candidate *clblast_choose(const caps_runtime *rt)
{
    size_t set;
    (void)caps_choose(&set, &clblast_chooser, rt, NULL, CAPS_CHOICE_FREE, true, NULL);
    return candidate_of(set);
}

void caps_clblast_plan(const caps_runtime *rt)
{
    (void)clblast_choose(rt);
}

size_t caps_clblast_candidates(const caps_runtime *rt, const char **names, size_t capacity)
{
    size_t sets[CAPS_ALGORITHMS], n = 0;
    const size_t count = caps_choice_candidates(&clblast_chooser, rt, NULL, sets);
    while (n < count && n < capacity) {
        names[n] = clblast_names[sets[n]].name;
        n++;
    }
    return n;
}

caps_status caps_clblast_apply(caps_runtime *rt, const char *name, caps_error *err)
{
    const size_t set = caps_algorithm_find(&clblast_chooser, name);
    if (set == CAPS_CHOICE_FREE)
        return caps_fail(err, CAPS_ERR_INTERNAL, "gemm: no CLBlast parameters '%s'", name);
    if (set == 0)
        return CAPS_OK;
    pthread_mutex_lock(&tuned_lock);
    caps_status status = override(rt, candidate_of(set), err);
    pthread_mutex_unlock(&tuned_lock);
    return status;
}

/* Sets the device before its first product: as measured, else by its type. */
static caps_status tune(const caps_runtime *rt, caps_error *err)
{
    const caps_device_info *device = caps_runtime_device(rt);
    const struct candidate *x = clblast_choose(rt);
    caps_status status = CAPS_OK;
    pthread_mutex_lock(&tuned_lock);
    size_t i = 0;
    while (i < tuned_count && tuned[i] != device->handle)
        i++;
    if (i == tuned_count && i < sizeof tuned / sizeof tuned[0]) {
        if (x)
            status = override(rt, x, err);
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

static const char *clblast_unsupported(
    const caps_runtime *rt, const caps_gemm_shape *s, size_t extent)
{
    (void)rt;
    pthread_once(&version_once, version_find);
    if (version_reason)
        return version_reason;
    /* It counts elements in int, without a check. */
    if (extent > INT_MAX || s->lda > INT_MAX || s->ldb > INT_MAX || s->ldc > INT_MAX)
        return "an operand reaches beyond 2^31 elements";
    if (padded(s) > INT_MAX)
        return "its padded copies have more than 2^31 elements";
    return NULL;
}

/* Of what takes its place where it fails, too. */
static size_t clblast_scratch(const caps_runtime *rt, const caps_gemm_shape *s)
{
    const caps_gemm_implementation *own = caps_gemm_own(rt, s);
    const size_t floats = padded(s), ours = own->scratch(rt, s);
    const size_t bytes = floats > INT_MAX ? 0 : floats * sizeof(float);
    return bytes > ours ? bytes : ours;
}

/* ---- failures -------------------------------------------------------------------------------- */

/* Keys of the shapes for which it failed on a runtime. */
typedef struct failures {
    char (*keys)[CAPS_TUNING_KEY];
    size_t count;
} failures;

static const char failures_slot; /* its address is the slot's key */

static void failures_release(caps_runtime *rt, void *value)
{
    failures *f = value;
    (void)rt;
    free(f->keys);
    free(f);
}

bool caps_clblast_has_failed(const caps_runtime *rt, const caps_gemm_shape *s)
{
    /* Looking leaves the runtime as it is, but for an empty slot. */
    void **slot = caps_runtime_slot((caps_runtime *)rt, &failures_slot, failures_release);
    const failures *f = slot ? *slot : NULL;
    char key[CAPS_TUNING_KEY];
    caps_gemm_key(key, s);
    for (size_t i = 0; f && i < f->count; i++)
        if (strcmp(f->keys[i], key) == 0)
            return true;
    return false;
}

/* Warns at the first one. Out of memory: the shape will be tried again. */
static void failure_keep(caps_runtime *rt, const caps_gemm_shape *s, const char *why)
{
    void **slot = caps_runtime_slot(rt, &failures_slot, failures_release);
    failures *f = slot ? *slot : NULL;
    if (!f || f->count == 0)
        caps_runtime_warn(rt, "%.200s; our own product takes its place", why);
    if (slot && !f)
        *slot = f = calloc(1, sizeof *f);
    char(*keys)[CAPS_TUNING_KEY] = f ? realloc(f->keys, (f->count + 1) * sizeof *keys) : NULL;
    if (!keys)
        return;
    f->keys = keys;
    caps_gemm_key(f->keys[f->count++], s);
}

/* The products from `first` on by our own kernels. */
static caps_status fall_back(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
    const caps_tensor *b, const caps_gemm_shape *s, size_t first, caps_error *err)
{
    caps_gemm_shape rest = *s;
    caps_tensor ci = *c, ai = *a, bi = *b;
    rest.count -= first;
    ci.offset += first * s->stride_c;
    ai.offset += first * s->stride_a;
    bi.offset += first * s->stride_b;
    return caps_gemm_own(rt, s)->run(rt, &ci, &ai, &bi, &rest, NULL, err);
}

/* ---- a product ------------------------------------------------------------------------------- */

/* One product; *code is CLBlast's. */
static caps_status clblast_product(CLBlastStatusCode *code, caps_runtime *rt, const caps_tensor *c,
    const caps_tensor *a, const caps_tensor *b, const caps_gemm_shape *s, size_t i, caps_error *err)
{
    const CLBlastTranspose first = s->trans_b ? CLBlastTransposeYes : CLBlastTransposeNo;
    const CLBlastTranspose second = s->trans_a ? CLBlastTransposeYes : CLBlastTransposeNo;
    const size_t a_at = a->offset + i * s->stride_a, b_at = b->offset + i * s->stride_b;
    const size_t c_at = c->offset + i * s->stride_c;
    cl_command_queue queue = caps_runtime_queue(rt);
    caps_status status = CAPS_OK;
    /* Its padded copies go into our scratch; by itself it would allocate a buffer every time. */
    size_t bytes = 0;
    cl_mem buffer = NULL;
    *code = CLBlastSGemmTempBufferSize(CLBlastLayoutColMajor, first, second, s->n, s->m, s->k, b_at,
        s->ldb, a_at, s->lda, c_at, s->ldc, &queue, &bytes);
    if (*code != CLBlastSuccess)
        return CAPS_OK;
    if (bytes > 0)
        CAPS_TRY(caps_gemm_scratch_get(rt, bytes, &buffer, err));
    *code = CLBlastSgemmWithTempBuffer(CLBlastLayoutColMajor, first, second, s->n, s->m, s->k,
        s->alpha, b->buffer, b_at, s->ldb, a->buffer, a_at, s->lda, s->beta, c->buffer, c_at,
        s->ldc, &queue, NULL, buffer);
done:
    return status;
}

static caps_status clblast_run(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
    const caps_tensor *b, const caps_gemm_shape *s, const caps_gemm_epilogue *e, caps_error *err)
{
    (void)e;
    uint64_t start = 0;
    size_t i = 0;
    caps_error why = {0};
    caps_status status = CAPS_OK;
    CLBlastStatusCode code = CLBlastSuccess;
    if (caps_clblast_has_failed(rt, s))
        return fall_back(rt, c, a, b, s, 0, err);
    bool failed = tune(rt, &why) != CAPS_OK;
    if (!failed) {
        CAPS_TRY(caps_profile_begin(rt, &start, err));
        for (; i < s->count; i++) {
            CAPS_TRY(clblast_product(&code, rt, c, a, b, s, i, err));
            if (code != CLBlastSuccess)
                break;
        }
        CAPS_TRY(caps_profile_end(rt, "gemm:clblast", start, err));
        failed = code != CLBlastSuccess;
        if (failed)
            (void)fail(&why, code, s, "CLBlast");
    }
    if (failed) {
        failure_keep(rt, s, why.message);
        status = fall_back(rt, c, a, b, s, i, err);
    }
done:
    return status;
}

const caps_gemm_implementation caps_gemm_clblast = {
    "clblast", false, clblast_unsupported, clblast_run, clblast_scratch};
