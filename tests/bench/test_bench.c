/* test_bench.c: what benchmarks measure: the layers of any network, a row for each. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define STACK                                                                                      \
    "{\"input\": [1, 9, 8], \"classes\": 3, \"layers\": ["                                         \
    "{\"kind\": \"conv\", \"name\": \"a\", \"channels\": 4, \"kernel\": 3},"                       \
    "{\"kind\": \"primary_caps\", \"name\": \"p\", \"types\": 2, \"dim\": 4, \"kernel\": 3,"       \
    " \"stride\": 2},"                                                                             \
    "{\"kind\": \"caps\", \"name\": \"b\", \"capsules\": 5, \"dim\": 6,"                           \
    " \"routing\": {\"kind\": \"dynamic\", \"iterations\": 2}},"                                   \
    "{\"kind\": \"caps\", \"name\": \"c\", \"capsules\": 3, \"dim\": 7,"                           \
    " \"routing\": {\"kind\": \"dynamic\", \"iterations\": 3, \"grad\": \"last\"}}],"              \
    " \"decoder\": {\"hidden\": [11]}}"

typedef struct rows {
    size_t count;
    char shapes[64][112];
    double flops[64];
} rows;

static void on_row(void *user, const caps_bench_row *row)
{
    rows *r = user;
    ck_assert(row->seconds_median >= row->seconds_min && row->seconds_min > 0);
    ck_assert_uint_lt(r->count, 64);
    r->flops[r->count] = row->flops;
    snprintf(r->shapes[r->count++], sizeof r->shapes[0], "%s", row->shape);
}

static rows measure(const caps_model_spec *spec, const char *name, size_t batch)
{
    static caps_bench_network network;
    caps_error err = {0};
    rows r = {0};
    test_ok(caps_bench_network_init(&network, spec, &err));
    const caps_bench b = {.rt = test_runtime(),
        .spec = spec,
        .network = &network,
        .batch = batch,
        .seconds = 1e-6,
        .each = on_row,
        .user = &r};
    const caps_bench_operation *operation;
    for (size_t i = 0; (operation = caps_bench_operation_at(i)) != NULL; i++)
        if (strcmp(operation->name, name) == 0) {
            ck_assert(caps_bench_operation_applies(operation, &network));
            test_ok(operation->run(&b, &err));
        }
    return r;
}

static void expect_shapes(const rows *r, const char *const *shapes, size_t n)
{
    ck_assert_uint_eq(r->count, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_str_eq(r->shapes[i], shapes[i]);
}
#define EXPECT(r, ...)                                                                             \
    do {                                                                                           \
        const char *const shapes[] = {__VA_ARGS__};                                                \
        expect_shapes(&(r), shapes, sizeof shapes / sizeof shapes[0]);                             \
    } while (0)

/* Stacked capsules: each layer of them has rows under its name. */
START_TEST(a_stack_of_capsules)
{
    caps_error err = {0};
    caps_model_spec *spec = NULL;
    test_ok(caps_model_spec_parse(&spec, STACK, "stack", &err));
    rows r = measure(spec, "votes", 3);
    EXPECT(r, "b forward B=3 I=12 J=5 D=6 K=4", "b backward B=3 I=12 J=5 D=6 K=4",
        "c forward B=3 I=5 J=3 D=7 K=6", "c backward B=3 I=5 J=3 D=7 K=6");
    ck_assert(r.flops[2] == 2.0 * 3 * 5 * 3 * 7 * 6);
    r = measure(spec, "squash", 3);
    EXPECT(r, "forward B=3 I=12 K=4", "backward B=3 I=12 K=4");
    r = measure(spec, "group", 3);
    EXPECT(r, "forward B=3 T=2 K=4 3x2", "backward B=3 T=2 K=4 3x2");
    r = measure(spec, "linear", 3);
    EXPECT(r, "fc1 forward B=3 in=21 out=11", "fc1 backward B=3 in=21 out=11",
        "fc2 forward B=3 in=11 out=72", "fc2 backward B=3 in=11 out=72");
    r = measure(spec, "gemm", 3);
    EXPECT(r, "a forward M=4 N=126 K=9", "a dw M=4 N=9 K=126 B^T", "p forward M=8 N=18 K=36",
        "p dw M=8 N=36 K=18 B^T", "p dx M=36 N=18 K=8 A^T", "fc1 forward M=3 N=11 K=21 B^T",
        "fc1 dw M=11 N=21 K=3 A^T", "fc1 dx M=3 N=21 K=11", "fc2 forward M=3 N=72 K=11 B^T",
        "fc2 dw M=72 N=11 K=3 A^T", "fc2 dx M=3 N=11 K=72");
    r = measure(spec, "routing", 3);
    ck_assert_uint_eq(r.count, 12);
    ck_assert_str_eq(r.shapes[7], "c backward B=3 I=5 J=3 D=7 r=3 last");
    ck_assert_str_eq(r.shapes[9], "c backward B=3 I=5 J=3 D=7 K=6 r=3 last");
    r = measure(spec, "forward", 3);
    EXPECT(r, "B=3 input=1x9x8 I=5 J=3");
    caps_model_spec_free(spec);
}
END_TEST

/* The flops of the whole are those of its layers; a step has three times as many, but for the
 * gradient of the images. */
START_TEST(flops_of_a_network)
{
    caps_error err = {0};
    caps_model_spec *spec = NULL;
    test_ok(caps_model_spec_parse(&spec, STACK, "stack", &err));
    const double a = 2.0 * 7 * 6 * 4 * 9, p = 2.0 * 3 * 2 * 8 * 4 * 9;
    const double b = 12.0 * 5 * 6 * (2 * 4 + 4 * 2 - 2), c = 5.0 * 3 * 7 * (2 * 6 + 4 * 3 - 2);
    const double decoder = 2.0 * (21 * 11 + 11 * 72);
    const rows forward = measure(spec, "forward", 2), step = measure(spec, "step", 2);
    ck_assert_double_eq_tol(forward.flops[0], 2 * (a + p + b + c + decoder), 1e-6);
    ck_assert_double_eq_tol(step.flops[0], 2 * (2 * a + 3 * (p + b + c + decoder)), 1e-6);
    caps_model_spec_free(spec);
}
END_TEST

START_TEST(a_network_without_capsules)
{
    static caps_bench_network network;
    caps_error err = {0};
    caps_model_spec *spec = NULL;
    test_ok(caps_model_spec_load(&spec, "cnn-small", &err));
    test_ok(caps_bench_network_init(&network, spec, &err));
    size_t applies = 0, all = 0;
    for (const caps_bench_operation *o; (o = caps_bench_operation_at(all)) != NULL; all++)
        applies += caps_bench_operation_applies(o, &network);
    ck_assert_uint_eq(all - applies, 9); /* what capsules, pooling and normalisation have */
    const rows r = measure(spec, "losses", 4);
    EXPECT(r, "softmax B=4 J=10", "cross entropy forward B=4 J=10",
        "cross entropy backward B=4 J=10", "argmax B=4 J=10", "totals B=4 J=10");
    caps_model_spec_free(spec);
}
END_TEST

/* Each of 4 types of parents at 2x3 windows sees 2x2 children of 2 types; each class all 24. */
START_TEST(matrix_capsules)
{
    caps_error err = {0};
    caps_model_spec *spec = NULL;
    test_ok(caps_model_spec_parse(&spec,
        "{\"input\": [1, 5, 6], \"classes\": 3, \"layers\": ["
        "{\"kind\": \"conv\", \"name\": \"a\", \"channels\": 4, \"kernel\": 3},"
        "{\"kind\": \"matrix_primary\", \"name\": \"p\", \"types\": 2},"
        "{\"kind\": \"matrix_conv\", \"name\": \"m\", \"types\": 4, \"kernel\": 2, \"stride\": 1,"
        " \"routing\": {\"kind\": \"em\", \"iterations\": 2, \"grad\": \"last\"}},"
        "{\"kind\": \"matrix_caps\", \"name\": \"c\", \"capsules\": 3,"
        " \"routing\": {\"kind\": \"em\", \"iterations\": 3}}]}",
        "matrix", &err));
    const rows r = measure(spec, "em", 2);
    EXPECT(r, "m forward B=2 T=2 3x4 C=4 k=2 s=1 r=2",
        "m backward B=2 T=2 3x4 C=4 k=2 s=1 r=2 last", "c forward B=2 T=4 2x3 C=3 k=0 s=0 r=3",
        "c backward B=2 T=4 2x3 C=3 k=0 s=0 r=3 full");
    ck_assert(r.flops[0] == 2.0 * (4 * 2 * 3) * (2 * 2 * 2) * (128 + 16 * 13));
    ck_assert(r.flops[3] == 2.0 * 3 * (4 * 2 * 3) * (3 * 128 + 16 * 8 * 3));
    caps_model_spec_free(spec);
}
END_TEST

START_TEST(attention_pooling_normalisation)
{
    caps_error err = {0};
    caps_model_spec *spec = NULL;
    test_ok(caps_model_spec_parse(&spec,
        "{\"input\": [2, 9, 11], \"classes\": 3, \"layers\": ["
        "{\"kind\": \"conv\", \"name\": \"a\", \"channels\": 6, \"kernel\": 3,"
        " \"norm\": \"batch\"},"
        "{\"kind\": \"max_pool\", \"name\": \"b\", \"kernel\": 3, \"stride\": 2},"
        "{\"kind\": \"primary_caps\", \"name\": \"p\", \"dim\": 3, \"kernel\": 2,"
        " \"stride\": 1, \"depthwise\": true},"
        "{\"kind\": \"caps\", \"name\": \"c\", \"capsules\": 3, \"dim\": 5,"
        " \"routing\": {\"kind\": \"attention\"}}]}",
        "mixed", &err));
    rows r = measure(spec, "batch-norm", 2);
    EXPECT(r, "forward B=2 C=6 7x9", "backward B=2 C=6 7x9");
    r = measure(spec, "max-pool", 2);
    EXPECT(r, "forward B=2 C=6 7x9 k=3 s=2", "backward B=2 C=6 7x9 k=3 s=2");
    r = measure(spec, "depthwise", 2);
    EXPECT(r, "forward B=2 C=6 3x4 k=2 s=1", "backward B=2 C=6 3x4 k=2 s=1");
    ck_assert(r.flops[1] == 2 * 2.0 * 2 * 6 * (2 * 3) * 4);
    r = measure(spec, "attention", 2);
    EXPECT(r, "forward B=2 I=12 J=3 D=5 K=3", "backward B=2 I=12 J=3 D=5 K=3");
    caps_model_spec_free(spec);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("bench");
    TCase *t = tcase_create("bench");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, a_stack_of_capsules);
    tcase_add_test(t, flops_of_a_network);
    tcase_add_test(t, matrix_capsules);
    tcase_add_test(t, attention_pooling_normalisation);
    tcase_add_test(t, a_network_without_capsules);
    suite_add_tcase(s, t);
    return s;
}
