/* device_support.h: what the tests of the runtime share: an environment of their own, runtimes on
 * the device of test_runtime(), and one operation that shows whether a runtime works. */
#ifndef TEST_DEVICE_SUPPORT_H
#define TEST_DEVICE_SUPPORT_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* ---- the environment ------------------------------------------------------------------------ */

static const char *const environment_names[] = {"CAPSCL_DEVICE", "CAPSCL_CACHE", "CAPSCL_KERNELS",
    "CAPSCL_GEMM", "CAPSCL_ROUTING", "CAPSCL_CONV", "CAPSCL_CL_PATH", "XDG_CACHE_HOME", "HOME"};
enum { ENVIRONMENT_NAMES = sizeof environment_names / sizeof *environment_names };
static char *environment_values[ENVIRONMENT_NAMES];

/* A fixture: opens the shared runtime as the user's variables say, then a test sees none of them
 * but HOME; what it sets is gone after it. */
static void environment_take(void)
{
    test_runtime();
    for (int i = 0; i < ENVIRONMENT_NAMES; i++) {
        const char *value = getenv(environment_names[i]);
        environment_values[i] = value ? strdup(value) : NULL;
        if (strcmp(environment_names[i], "HOME") != 0)
            unsetenv(environment_names[i]);
    }
}

static void environment_give_back(void)
{
    for (int i = 0; i < ENVIRONMENT_NAMES; i++) {
        if (environment_values[i])
            setenv(environment_names[i], environment_values[i], 1);
        else
            unsetenv(environment_names[i]);
        free(environment_values[i]);
        environment_values[i] = NULL;
    }
}

/* ---- runtimes ------------------------------------------------------------------------------- */

/* A runtime of its own on the shared device. */
static inline caps_runtime *open_runtime(const caps_runtime_options *options)
{
    caps_error err = {0};
    caps_runtime *rt = NULL;
    test_ok(caps_runtime_create(&rt, caps_runtime_device(test_runtime())->id, options, &err));
    ck_assert_ptr_nonnull(rt);
    return rt;
}

/* squash((3, 0, 4)) = (3, 0, 4) / 5 * 25 / 26 and squash(0) = 0, on this runtime. */
static inline caps_status squash_runs(caps_runtime *rt, caps_error *error)
{
    caps_error err = {0};
    float x[2][3] = {{3, 0, 4}, {0, 0, 0}}, y[2][3] = {{9, 9, 9}, {9, 9, 9}};
    static const float expected[2][3] = {{15.0f / 26, 0, 20.0f / 26}, {0, 0, 0}};
    caps_tensor s = {0}, v = {0};
    test_ok(caps_tensor_init(&s, rt, CAPS_F32, 2, (size_t[]){2, 3}, &err));
    test_ok(caps_tensor_init(&v, rt, CAPS_F32, 2, (size_t[]){2, 3}, &err));
    test_ok(caps_tensor_upload(rt, &s, x, &err));
    caps_status status = caps_squash_forward(rt, &v, &s, CAPS_SQUASH_PAPER, error);
    if (status == CAPS_OK) {
        test_ok(caps_tensor_download(rt, &v, y, &err));
        for (int i = 0; i < 6; i++)
            ck_assert_float_eq_tol(y[i / 3][i % 3], expected[i / 3][i % 3], 1e-6f);
    }
    caps_tensor_release(&s);
    caps_tensor_release(&v);
    return status;
}

#endif
