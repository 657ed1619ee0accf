/* families.h: one runtime for each kernel family, on the device and queue of test_runtime(), so
 * that tests run every operation in both whatever the device is; and the comparisons they share. */
#ifndef TEST_FAMILIES_H
#define TEST_FAMILIES_H

#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { FAMILIES = 2 };

/* test_tensor makes tensors for both. A test added by families_add takes families[_i]. */
static caps_runtime *families[FAMILIES];

static void families_open(void)
{
    static const char *const names[FAMILIES] = {"cpu", "gpu"};
    caps_runtime *shared = test_runtime();
    for (int i = 0; i < FAMILIES; i++) {
        caps_error err = {0};
        caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options), .kernels = names[i]};
        test_ok(caps_runtime_create_from(&families[i], caps_runtime_context(shared),
            caps_runtime_device(shared)->handle, caps_runtime_queue(shared), &options, &err));
        ck_assert_str_eq(caps_family_name(caps_runtime_family(families[i])), names[i]);
    }
}

static void families_close(void)
{
    for (int i = 0; i < FAMILIES; i++) {
        caps_runtime_free(families[i]);
        families[i] = NULL;
    }
}

static inline TCase *families_case(Suite *s, const char *name)
{
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 0); /* kernels are compiled at first use, and simulators are slow */
    tcase_add_unchecked_fixture(tc, families_open, families_close);
    suite_add_tcase(s, tc);
    return tc;
}

/* Adds a test that runs once per family that is tested. */
#define families_add(tc, test)                                                                     \
    tcase_add_loop_test(tc, test, test_has_family("cpu") ? 0 : CAPS_FAMILY_GPU,                    \
        test_has_family("gpu") ? FAMILIES : CAPS_FAMILY_GPU)

/* Every element equals `expected` as float32: nothing was computed, or everything is exact. */
static inline void test_expect_exactly(
    const caps_tensor *t, const double *expected, const char *what)
{
    double *have = test_download(t);
    size_t i = 0; /* of the first that differs: Check notes every assertion in a file */
    const size_t n = caps_tensor_count(t);
    while (i < n && have[i] == (double)(float)expected[i])
        i++;
    ck_assert_msg(i == n, "%s: element %zu is %.9g, not %.9g", what, i, i < n ? have[i] : 0,
        i < n ? expected[i] : 0);
    free(have);
}

/* The bits of a float32 tensor, to compare two runs. malloc'd. */
static inline uint32_t *test_bits(caps_runtime *rt, const caps_tensor *t)
{
    caps_error err = {0};
    uint32_t *bits = malloc(caps_tensor_bytes(t));
    ck_assert_ptr_nonnull(bits);
    test_ok(caps_tensor_download(rt, t, bits, &err));
    return bits;
}

/* The call (written with `err`, a pointer) is CAPS_ERR_ARGUMENT with exactly this message. */
#define test_refused(call, expected)                                                               \
    do {                                                                                           \
        caps_error test_error = {0}, *err = &test_error;                                           \
        ck_assert_int_eq((call), CAPS_ERR_ARGUMENT);                                               \
        ck_assert_str_eq(test_error.message, (expected));                                          \
    } while (0)

#endif
