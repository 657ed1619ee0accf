/* used.c: which algorithm computes an operation. */
#include <string.h>

#include "gemm.h"
#include "launch.h"
#include "selftest.h"

static const char *used_gemm(const caps_runtime *rt)
{
    const caps_gemm_shape decoder = {.trans_b = true,
        .m = 100,
        .n = 512,
        .k = 160,
        .lda = 160,
        .ldb = 160,
        .ldc = 512,
        .alpha = 1,
        .count = 1};
    return caps_gemm_algorithm(rt, &decoder);
}

static const char *used_conv(const caps_runtime *rt)
{
    const caps_conv2d primary = {.stride = 2};
    const size_t x[] = {100, 256, 20, 20}, w[] = {256, 256, 9, 9};
    caps_conv_algorithm found;
    (void)caps_conv2d_choose(
        &found, rt, x, w, &primary, true, true, CAPS_CONV_AUTO, SIZE_MAX, NULL);
    return caps_conv_algorithm_name(found);
}

static const char *used_routing(const caps_runtime *rt)
{
    const caps_class_caps paper = {100, 1152, 10, 16, 8, {.iterations = 3}, CAPS_ROUTING_AUTO};
    return caps_routing_algorithm_name(caps_class_caps_choose(rt, &paper, CAPS_ROUTING_AUTO));
}

const char *caps_selftest_used(const caps_runtime *rt, const char *operation)
{
    static const struct {
        const char *operation;
        const char *(*used)(const caps_runtime *rt);
    } rows[] = {{"gemm", used_gemm}, {"linear", used_gemm}, {"conv", used_conv},
        {"class_caps", used_routing}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].operation, operation) == 0)
            return rows[i].used(rt);
    return caps_family_name(caps_runtime_family(rt));
}
