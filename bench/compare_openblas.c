/* compare_openblas.c: caps_gemm beside cblas_sgemm, in turns; bench/compare_openblas compiles it.
 *
 *     compare_openblas DEVICE THREADS ROUNDS TURN_MS < products
 *
 * A line of input is a product, "NAME nn|nt|tn|tt M N K": C = op(A) op(B), op(A) M x K. A line of
 * output is its result as JSON; the first says what ran. A round measures both sides, the one that
 * comes first last time comes last. Before its turn a side runs for half a turn untimed: threads
 * wake, caches hold what they hold in a loop. A turn of ours is products in the queue and one wait.
 * The ratio of a round is OpenBLAS's time over ours. */
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <capscl/capscl.h>

/* Of OpenBLAS itself; cblas.h of another library lacks them. */
char *openblas_get_config(void);
int openblas_get_num_threads(void);
void openblas_set_num_threads(int threads);

enum { MOST_ROUNDS = 1000, CHECKED = 256, NAME = 64 };
#define REST_SECONDS 0.04 /* OpenBLAS's threads spin for some 2^26 cycles after a product */

typedef struct product {
    char name[NAME];
    caps_gemm_shape shape;
    float *a, *b, *c, *own; /* `own`: what caps_gemm made */
    caps_tensor ta, tb, tc;
} product;

static caps_runtime *runtime;
static caps_error error;

static _Noreturn void stop(const char *what, const char *why, int code)
{
    fprintf(stderr, "compare_openblas: %s%s%s\n", what, *why ? ": " : "", why);
    exit(code);
}

static void must(caps_status status)
{
    if (status != CAPS_OK)
        stop(error.message, "",
            status == CAPS_ERR_NO_DEVICE || status == CAPS_ERR_AMBIGUOUS_DEVICE ? 4 : 1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void rest(void)
{
    const struct timespec t = {0, (long)(REST_SECONDS * 1e9)};
    nanosleep(&t, NULL);
}

/* ---- the two sides -------------------------------------------------------------------------- */

static void run_own(const product *p, size_t times)
{
    for (size_t i = 0; i < times; i++)
        must(caps_gemm(runtime, &p->tc, &p->ta, &p->tb, &p->shape, &error));
    must(caps_runtime_finish(runtime, &error));
}

static void run_openblas(const product *p, size_t times)
{
    const caps_gemm_shape *s = &p->shape;
    for (size_t i = 0; i < times; i++)
        cblas_sgemm(CblasRowMajor, s->trans_a ? CblasTrans : CblasNoTrans,
            s->trans_b ? CblasTrans : CblasNoTrans, (int)s->m, (int)s->n, (int)s->k, s->alpha, p->a,
            (int)s->lda, p->b, (int)s->ldb, s->beta, p->c, (int)s->ldc);
}

typedef void side(const product *p, size_t times);

/* Seconds a product over a turn; *times is what a turn of about `seconds` takes, and is adjusted
 * by the untimed half. */
static double turn(side *run, const product *p, size_t *times, double seconds)
{
    rest();
    const double start = now();
    size_t done = 0;
    for (double passed = 0; passed < seconds / 2; passed = now() - start) {
        const size_t part = *times / 4 + 1;
        run(p, part);
        done += part;
    }
    *times = (size_t)(seconds * (double)done / (now() - start)) + 1;
    const double begin = now();
    run(p, *times);
    return (now() - begin) / (double)*times;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, size_t n)
{
    qsort(x, n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* ---- a product ------------------------------------------------------------------------------ */

static float *numbers(size_t n, uint32_t seed)
{
    float *x = malloc(n * sizeof *x);
    if (!x)
        stop("out of memory", "", 1);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 16777216.0f - 0.5f;
    }
    return x;
}

static caps_tensor tensor_of(const float *host, size_t n)
{
    caps_tensor t;
    must(caps_tensor_init(&t, runtime, CAPS_F32, 1, &n, &error));
    must(caps_tensor_upload(runtime, &t, host, &error));
    return t;
}

static product make(const char *name, const char *transposed, size_t m, size_t n, size_t k)
{
    const bool ta = transposed[0] == 't', tb = transposed[1] == 't';
    product p = {.shape = {.trans_a = ta,
                     .trans_b = tb,
                     .m = m,
                     .n = n,
                     .k = k,
                     .lda = ta ? m : k,
                     .ldb = tb ? k : n,
                     .ldc = n,
                     .alpha = 1,
                     .count = 1}};
    snprintf(p.name, sizeof p.name, "%s", name);
    p.a = numbers(m * k, 1);
    p.b = numbers(k * n, 2);
    p.c = numbers(m * n, 3);
    p.own = numbers(m * n, 3);
    p.ta = tensor_of(p.a, m * k);
    p.tb = tensor_of(p.b, k * n);
    p.tc = tensor_of(p.c, m * n);
    return p;
}

static void release(product *p)
{
    free(p->a);
    free(p->b);
    free(p->c);
    free(p->own);
    caps_tensor_release(&p->ta);
    caps_tensor_release(&p->tb);
    caps_tensor_release(&p->tc);
}

/* An element of the product, in double. */
static double exact(const product *p, size_t row, size_t column)
{
    const caps_gemm_shape *s = &p->shape;
    double sum = 0;
    for (size_t i = 0; i < s->k; i++)
        sum += (double)p->a[s->trans_a ? i * s->lda + row : row * s->lda + i] *
               (double)p->b[s->trans_b ? column * s->ldb + i : i * s->ldb + column];
    return sum;
}

typedef struct errors {
    double own, openblas; /* of elements taken from all over C, against sums in double */
    double difference;    /* of all elements, between the two */
} errors;

/* Each is the norm of the differences over the norm of what is compared with. */
static errors compare(product *p)
{
    const size_t n = p->shape.m * p->shape.n, checked = n < CHECKED ? n : CHECKED;
    double own = 0, openblas = 0, norm = 0, difference = 0, whole = 0;
    run_own(p, 1);
    run_openblas(p, 1);
    must(caps_tensor_download(runtime, &p->tc, p->own, &error));
    for (size_t i = 0; i < checked; i++) {
        const size_t at = checked < 2 ? 0 : i * (n - 1) / (checked - 1);
        const double right = exact(p, at / p->shape.n, at % p->shape.n);
        own += pow(p->own[at] - right, 2);
        openblas += pow(p->c[at] - right, 2);
        norm += right * right;
    }
    for (size_t i = 0; i < n; i++) {
        difference += pow((double)p->own[i] - (double)p->c[i], 2);
        whole += (double)p->c[i] * (double)p->c[i];
    }
    return (errors){sqrt(own / norm), sqrt(openblas / norm), sqrt(difference / whole)};
}

static void measure(product *p, size_t rounds, double seconds)
{
    static double own[MOST_ROUNDS], openblas[MOST_ROUNDS], ratio[MOST_ROUNDS];
    const errors e = compare(p);
    size_t own_times = 1, openblas_times = 1;
    for (size_t i = 0; i < rounds; i++) {
        if (i % 2 == 0)
            own[i] = turn(run_own, p, &own_times, seconds);
        openblas[i] = turn(run_openblas, p, &openblas_times, seconds);
        if (i % 2 != 0)
            own[i] = turn(run_own, p, &own_times, seconds);
        ratio[i] = openblas[i] / own[i];
    }
    const caps_gemm_shape *s = &p->shape;
    const double own_median = median(own, rounds), openblas_median = median(openblas, rounds);
    const double flops = 2.0 * (double)s->m * (double)s->n * (double)s->k;
    printf("{\"name\": \"%s\", \"transposed\": \"%c%c\", \"m\": %zu, \"n\": %zu, \"k\": %zu, "
           "\"algorithm\": \"%s\", ",
        p->name, s->trans_a ? 't' : 'n', s->trans_b ? 't' : 'n', s->m, s->n, s->k,
        caps_gemm_algorithm(runtime, s));
    printf("\"seconds_median\": %.6g, \"openblas_seconds_median\": %.6g, \"gflops\": %.6g, "
           "\"openblas_gflops\": %.6g, ",
        own_median, openblas_median, flops / own_median / 1e9, flops / openblas_median / 1e9);
    printf("\"ratio\": %.6g, ", median(ratio, rounds));
    printf("\"ratio_min\": %.6g, \"ratio_max\": %.6g, \"error\": %.3g, \"openblas_error\": %.3g, "
           "\"difference\": %.3g}\n",
        ratio[0], ratio[rounds - 1], e.own, e.openblas, e.difference);
    fflush(stdout);
}

static void print_text(const char *key, const char *text)
{
    printf("\"%s\": \"", key);
    for (; *text; text++)
        if ((unsigned char)*text >= ' ')
            printf("%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
    printf("\", ");
}

int main(int argc, char **argv)
{
    if (argc != 5)
        stop("usage: compare_openblas DEVICE THREADS ROUNDS TURN_MS < products", "", 2);
    const int threads = atoi(argv[2]), rounds = atoi(argv[3]);
    const double seconds = atof(argv[4]) / 1e3;
    if (threads < 1 || rounds < 1 || rounds > MOST_ROUNDS || !(seconds > 0))
        stop("THREADS and ROUNDS (at most 1000) are at least 1, TURN_MS is above 0", "", 2);
    must(caps_runtime_create(&runtime, argv[1], NULL, &error));
    openblas_set_num_threads(threads);
    const caps_device_info *device = caps_runtime_device(runtime);
    printf("{");
    print_text("device", device->name);
    print_text("platform", device->version);
    print_text("driver", device->driver);
    print_text("capscl", caps_version());
    print_text("openblas", openblas_get_config());
    printf("\"compute_units\": %u, \"openblas_threads\": %d}\n", (unsigned)device->compute_units,
        openblas_get_num_threads());
    char name[NAME], transposed[3];
    size_t m, n, k;
    int fields;
    while ((fields = scanf("%63s %2[nt] %zu %zu %zu", name, transposed, &m, &n, &k)) == 5) {
        if (strlen(transposed) != 2 || m < 1 || n < 1 || k < 1)
            stop("a product is NAME nn|nt|tn|tt M N K", name, 2);
        product p = make(name, transposed, m, n, k);
        measure(&p, (size_t)rounds, seconds);
        release(&p);
    }
    if (fields != EOF)
        stop("a product is NAME nn|nt|tn|tt M N K", "", 2);
    caps_runtime_free(runtime);
    return 0;
}
