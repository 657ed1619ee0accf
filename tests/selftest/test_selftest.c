/* The selftest's table: everything passes, everything is there, and a wrong result would be seen.
 */
#include <math.h>
#include <stdio.h>

#include "../ops/families.h"
#include "selftest.h"

/* Every operation of capscl/ops.h; those that have a backward. */
static const struct {
    const char *name;
    bool backward;
} operations[] = {{"gemm", false}, {"bias_act", true}, {"conv", true}, {"linear", true},
    {"group", true}, {"squash", true}, {"votes", true}, {"routing", true}, {"class_caps", true},
    {"lengths", false}, {"margin", true}, {"argmax", false}, {"mask", true}, {"sse", true},
    {"totals", false}, {"softmax", false}, {"cross_entropy", true}, {"sigmoid", false},
    {"binary_cross_entropy", true}, {"dropout", true}, {"scale", false}, {"class_weights", false},
    {"adam", false}, {"sgd", false}, {"average", false}, {"batch_norm", true}, {"depthwise", true},
    {"max_pool", true}, {"attention", true}, {"self_routing", true}, {"em", true},
    {"spread", true}};

enum { OPERATIONS = sizeof operations / sizeof operations[0] };

/* And the families that they are for: bit 0 the CPU's, bit 1 the GPU's. A case whose algorithm
 * cannot serve is left out: that none is left out without need is for this test to see. */
static const struct {
    const char *name;
    int families;
} convolutions[] = {
    {"im2col", 3}, {"direct", 1}, {"winograd", 1}, {"toom-cook", 3}, {"implicit", 2}};

enum { CONVOLUTIONS = sizeof convolutions / sizeof convolutions[0] };

typedef struct seen {
    int forward[OPERATIONS], backward[OPERATIONS], all;
    int full, last, packed, stored, fused;
    int conv[2][CONVOLUTIONS]; /* by direction */
} seen;

static void look(void *user, const caps_selftest_result *r)
{
    seen *s = user;
    ck_assert_msg(r->passed, "%s %s %s %s: error %g, allowed %g", r->operation, r->direction,
        r->algorithm, r->shape, r->error, r->tolerance);
    ck_assert(isfinite(r->error) && r->error >= 0);
    const bool backward = strcmp(r->direction, "backward") == 0;
    ck_assert(backward || strcmp(r->direction, "forward") == 0);
    ck_assert(r->tolerance == (backward ? 1e-4 : 1e-5));
    ck_assert(*r->shape && *r->algorithm);
    size_t n = 0;
    while (strcmp(operations[n].name, r->operation) != 0)
        ck_assert_msg(++n < OPERATIONS, "%s", r->operation);
    (backward ? s->backward : s->forward)[n]++;
    const char *algorithm = strchr(r->algorithm, '/');
    for (size_t i = 0; i < CONVOLUTIONS && algorithm && strcmp(r->operation, "conv") == 0; i++)
        s->conv[backward][i] += strcmp(algorithm + 1, convolutions[i].name) == 0;
    s->full += strstr(r->shape, "full") != NULL;
    s->last += strstr(r->shape, "last") != NULL;
    s->packed += strstr(r->algorithm, "packed") != NULL;
    s->stored += strstr(r->algorithm, "stored") != NULL;
    s->fused += strstr(r->algorithm, "fused") != NULL;
    s->all++;
}

START_TEST(everything_passes_and_is_there)
{
    caps_error err = {0};
    seen s = {0};
    const bool small = test_small() || !test_takes((size_t)_i);
    test_ok(caps_selftest_run(families[_i], small, NULL, 0, look, &s, &err));
    for (size_t n = 0; n < OPERATIONS; n++) {
        ck_assert_msg(s.forward[n] >= 1, "%s", operations[n].name);
        ck_assert_msg((s.backward[n] >= 1) == operations[n].backward, "%s", operations[n].name);
    }
    ck_assert_int_ge(s.full, 1);
    ck_assert_int_ge(s.last, 1);
    ck_assert_int_ge(s.stored, 1);
    ck_assert_int_ge(s.fused, 1);
    const bool cpu = caps_runtime_family(families[_i]) == CAPS_FAMILY_CPU;
    if (cpu)
        ck_assert_int_ge(s.packed, 1);
    for (size_t i = 0; i < CONVOLUTIONS; i++)
        if (convolutions[i].families >> !cpu & 1) {
            ck_assert_msg(s.conv[0][i] >= 1, "%s", convolutions[i].name);
            ck_assert_int_eq(s.conv[1][i], s.conv[0][i]);
        } else {
            ck_assert_int_eq(s.conv[0][i], 0);
        }
    if (!small) {
        seen tiny = {0};
        test_ok(caps_selftest_run(families[_i], true, NULL, 0, look, &tiny, &err));
        ck_assert_int_lt(tiny.all, s.all);
    }
}
END_TEST

static void count_failures(void *user, const caps_selftest_result *r)
{
    int *failed = user;
    if (!r->passed) {
        ck_assert(strcmp(r->operation, "squash") == 0 || strcmp(r->operation, "attention") == 0);
        ck_assert(!(r->error <= r->tolerance));
        (*failed)++;
    }
}

/* With kernel sources whose squash is off by a thousandth, squash fails, and nothing else but what
 * is computed with its kernel. */
START_TEST(a_wrong_kernel_is_found)
{
    char *directory = test_directory(), command[1024];
    snprintf(command, sizeof command,
        "cp '%s'/cl/*.cl* '%s' && sed -i "
        "'s/caps_squash_factor(length, squash)/1.001f * caps_squash_factor(length, squash)/;"
        "s/caps_squash_factor(scaled \\/ scale, squash)/1.001f * caps_squash_factor(scaled \\/ "
        "scale, squash)/' "
        "'%s'/squash_cpu.cl '%s'/squash_gpu.cl",
        TEST_SOURCE_DIR, directory, directory, directory);
    ck_assert_int_eq(system(command), 0);
    caps_error err = {0};
    caps_runtime *shared = test_runtime(), *rt = NULL;
    const caps_runtime_options options = {CAPS_OPTIONS(caps_runtime_options),
        .kernels = caps_family_name(caps_runtime_family(families[_i])), .cl_path = directory};
    test_ok(caps_runtime_create_from(&rt, caps_runtime_context(shared),
        caps_runtime_device(shared)->handle, caps_runtime_queue(shared), &options, &err));
    int failed = 0;
    test_ok(caps_selftest_run(rt, true, NULL, 0, count_failures, &failed, &err));
    ck_assert_int_ge(failed, 1);
    caps_runtime_free(rt);
    free(directory);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("selftest");
    TCase *tc = families_case(s, "selftest");
    families_add(tc, everything_passes_and_is_there);
    families_add(tc, a_wrong_kernel_is_found);
    return s;
}
