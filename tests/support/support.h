/* support.h: what the test programs share.
 *
 * A test program is `tests/<folder>/test_<x>.c` with a function `Suite *suite(void)`; support.c has
 * main, which runs it, prints Check's own summary, and honours $CAPSCL_TEST_SMALL (run only the
 * small shapes: set under Oclgrind and the sanitizers). All tests of a program run in one process,
 * which opens its device once; $CK_FORK=yes gives each a process of its own. Kernels are cached in
 * the build directory unless $CAPSCL_CACHE says otherwise. */
#ifndef CAPS_TEST_SUPPORT_H
#define CAPS_TEST_SUPPORT_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capscl/capscl.h>

Suite *suite(void);

/* True under Oclgrind or the sanitizers: take tiny shapes. */
bool test_small(void);
/* $CAPSCL_TEST_SAMPLE (set by scripts/test without --long): of cases that are slow, every third one
 * is tested. Is case i among them? Without it all are. */
bool test_takes(size_t i);
/* $CAPSCL_TEST_FAMILY (cpu or gpu): operations are tested in this kernel family alone, for drivers
 * that cannot compile the other one. Is `family` among those that are tested? */
bool test_has_family(const char *family);

/* The runtime all tests of this program share (device: $CAPSCL_DEVICE or the default), opened at
 * first use; ends the program with a clear line where there is none. */
caps_runtime *test_runtime(void);

/* ck_assert that a call succeeded: write the call with `&err` and have a `caps_error err = {0}`
 * there. */
#define test_ok(call)                                                                              \
    do {                                                                                           \
        caps_status test_status = (call);                                                          \
        ck_assert_msg(test_status == CAPS_OK, "%s: %s", #call, err.message);                       \
    } while (0)

/* caps_dataset_open with nothing but a split and a limit. */
caps_status test_dataset_load(
    caps_dataset *ds, const char *name, caps_split split, size_t limit, caps_error *err);

/* n values, uniform in lo..hi, reproducible from `seed`; each exactly a float32. malloc'd. */
double *test_random(size_t n, uint64_t seed, double lo, double hi);
/* Zero-filled; malloc'd. */
double *test_zeros(size_t n);

/* A device tensor that begins at a deliberately odd offset inside a larger buffer which is filled
 * with NaN, holding `values` (NULL: NaN too, so that an unwritten element shows). */
caps_tensor test_tensor(const double *values, int ndim, const size_t *shape);
caps_tensor test_tensor_i32(const int32_t *values, int ndim, const size_t *shape);
/* Releases it, after checking that the guard elements around it are untouched. */
void test_tensor_release(caps_tensor *t);
double *test_download(const caps_tensor *t); /* malloc'd */

/* |a - b| / |b| (Euclidean; |a| where b is 0). NaN anywhere gives infinity. */
double test_relative_error(const double *a, const double *b, size_t n);

/* ck_assert that tensor `t` equals `expected` within `tolerance`, in norm. */
void test_expect(const caps_tensor *t, const double *expected, double tolerance, const char *what);

/* Largest relative disagreement of an analytic gradient with central differences of `loss` at
 * x[0..n) (x is put back). loss gets `context`. */
double test_finite_difference(double (*loss)(const double *x, void *context), void *context,
    double *x, const double *gradient, size_t n, double step);

/* A fresh directory under $TMPDIR or /tmp, removed at exit with all it holds. malloc'd. */
char *test_directory(void);

/* Runs a program (argv[0] a path, NULL-terminated), with extra environment ("NAME=value" strings,
 * NULL- terminated, or NULL; "NAME" alone unsets), standard input from /dev/null. */
typedef struct test_process {
    int exit_code;   /* 128 + signal where a signal ended it */
    char *out, *err; /* whole output, NUL-terminated; malloc'd */
} test_process;
test_process test_run(char *const argv[], char *const environment[]);
void test_process_release(test_process *p);

/* The project's source tree and the build's program, as CMake gave them. */
#ifndef TEST_SOURCE_DIR
#error "TEST_SOURCE_DIR is not defined"
#endif

#endif
