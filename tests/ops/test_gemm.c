/* test_gemm.c: caps_gemm by every algorithm, against the reference. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gemm_cases.h"

static const struct {
    const char *kernels, *gemm;
} variants[] = {{"cpu", "packed"}, {"cpu", "direct"}, {"cpu", "clblast"}, {"gpu", "direct"},
    {"gpu", "tiled"}, {"gpu", "clblast"}};
enum { VARIANTS = sizeof variants / sizeof variants[0], OF_GPU = 3 };

/* A simulator takes minutes to run CLBlast's kernels. */
static bool too_slow(const char *gemm)
{
    return test_small() && strcmp(gemm, "clblast") == 0;
}

/* ---- one product ---------------------------------------------------------------------------- */

static void check_finished(
    caps_runtime *rt, const caps_gemm_shape *s, int bias, caps_activation act, const char *name)
{
    check_way(rt, &(product_way){NULL, 0}, s, bias, act, name);
}

static void check_product(caps_runtime *rt, const caps_gemm_shape *s, const char *name)
{
    check_finished(rt, s, 0, CAPS_ACT_NONE, name);
}

START_TEST(every_transpose)
{
    static const size_t small[][3] = {{1, 1, 1}, {5, 3, 7}, {9, 18, 17}, {15, 49, 33}};
    static const size_t full[][3] = {{1, 1, 1}, {5, 3, 7}, {1, 40, 300}, {40, 1, 300}, {17, 33, 9},
        {2, 7, 100}, {3, 61, 515}, {4, 64, 48}, {8, 32, 256}, {16, 64, 512}, {9, 33, 257},
        {131, 97, 515}, {259, 70, 64}, {135, 160, 40}};
    const size_t(*sizes)[3] = test_small() ? small : full;
    size_t n = test_small() ? sizeof small / sizeof small[0] : sizeof full / sizeof full[0];
    if (too_slow(variants[_i].gemm))
        return;
    caps_runtime *rt = family_runtime(variants[_i].kernels, variants[_i].gemm);
    for (size_t i = 0; i < n; i++)
        for (int t = 0; t < 4 && test_takes(i); t++)
            for (size_t gap = 0; gap < 2; gap++) {
                caps_gemm_shape s =
                    shaped(sizes[i][0], sizes[i][1], sizes[i][2], t & 1, t & 2, 1, gap * 3);
                check_product(rt, &s, variants[_i].gemm);
            }
    caps_runtime_free(rt);
}
END_TEST

START_TEST(alpha_and_beta)
{
    static const float factors[][2] = {{2, 1}, {-0.5f, 0.75f}, {1, -1}, {0, 1}, {3, 0}};
    if (too_slow(variants[_i].gemm))
        return;
    caps_runtime *rt = family_runtime(variants[_i].kernels, variants[_i].gemm);
    for (size_t f = 0; f < sizeof factors / sizeof factors[0]; f++)
        for (int t = 0; t < 4 && test_takes(f); t++) {
            /* More than one run of k, so that beta is seen to apply once. */
            caps_gemm_shape s = test_small() ? shaped(6, 19, 10, t & 1, t & 2, 1, 2)
                                             : shaped(37, 53, 531, t & 1, t & 2, 1, 2);
            s.alpha = factors[f][0];
            s.beta = factors[f][1];
            check_product(rt, &s, variants[_i].gemm);
        }
    caps_runtime_free(rt);
}
END_TEST

START_TEST(batches)
{
    if (too_slow(variants[_i].gemm))
        return;
    caps_runtime *rt = family_runtime(variants[_i].kernels, variants[_i].gemm);
    for (int t = 0; t < 4; t++)
        for (size_t gap = 0; gap < 3; gap += 2) {
            caps_gemm_shape s = test_small() ? shaped(5, 18, 7, t & 1, t & 2, 3, gap)
                                             : shaped(29, 43, 67, t & 1, t & 2, 7, gap);
            s.beta = 0.5f;
            check_product(rt, &s, variants[_i].gemm);
            /* One matrix for all products. */
            s.stride_b = 0;
            check_product(rt, &s, variants[_i].gemm);
        }
    if (!test_small() && strcmp(variants[_i].gemm, "clblast") == 0)
        /* Large enough for CLBlast's kernel of large products, and sizes and transposes that it
         * neither pads nor copies: there its own strided batch goes wrong. Rows are tight, products
         * apart. */
        for (int t = 0; t < 4; t++) {
            caps_gemm_shape s = shaped(1024, 512, 512, t & 1, t & 2, 2, 0);
            s.stride_a += 64;
            s.stride_b += 192;
            s.stride_c += 128;
            check_product(rt, &s, variants[_i].gemm);
        }
    caps_runtime_free(rt);
}
END_TEST

/* Bias of the columns or of the rows and an activation, in the product's kernel or after it. */
START_TEST(epilogues)
{
    /* Dots, edges on both sides, two runs of k, whole tiles. */
    static const size_t small[][3] = {{3, 5, 18}, {9, 18, 5}};
    static const size_t full[][3] = {{3, 45, 70}, {13, 49, 300}, {40, 64, 17}};
    const size_t(*sizes)[3] = test_small() ? small : full;
    if (too_slow(variants[_i].gemm))
        return;
    caps_runtime *rt = family_runtime(variants[_i].kernels, variants[_i].gemm);
    for (size_t i = 0; i < (test_small() ? 2 : 3); i++)
        for (int bias = 0; bias < 3; bias++)
            for (int act = CAPS_ACT_NONE; act <= CAPS_ACT_SIGMOID; act++)
                for (size_t gap = 0; gap < 3; gap += 2) {
                    caps_gemm_shape s =
                        shaped(sizes[i][0], sizes[i][1], sizes[i][2], false, true, 2, gap);
                    s.alpha = 0.5f;
                    s.beta = gap ? 0.25f : 0;
                    check_finished(rt, &s, bias, (caps_activation)act, variants[_i].gemm);
                }
    caps_runtime_free(rt);
}
END_TEST

/* ---- large products, by samples ------------------------------------------------------------- */

/* Products of many groups, runs of k and items a group: only some elements of C are recomputed. */
START_TEST(cut_into_pieces)
{
    static const struct {
        size_t m, n, k, count;
        bool trans_a, trans_b;
    } cases[] = {
        {40, 4000, 2500, 1, false, false},
        {40, 4000, 2500, 1, true, true},
        {33001, 45, 263, 1, true, false},
        {45, 33001, 263, 1, false, true},
        {100, 100, 1000, 50, false, true},
        {3, 100, 1000, 50, false, true},
        /* A transposed A that many panels read is copied. */
        {1037, 131, 263, 2, true, false},
        {613, 259, 529, 1, true, true},
    };
    caps_error err = {0};
    caps_runtime *rt = family_runtime("cpu", "packed");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        caps_gemm_shape s = shaped(cases[i].m, cases[i].n, cases[i].k, cases[i].trans_a,
            cases[i].trans_b, cases[i].count, 0);
        size_t a_total = s.stride_a * s.count, b_total = s.stride_b * s.count;
        size_t c_total = s.stride_c * s.count;
        double *a = test_random(a_total, 5, -1, 1), *b = test_random(b_total, 6, -1, 1);
        caps_tensor ta = test_tensor(a, 1, &a_total), tb = test_tensor(b, 1, &b_total);
        caps_tensor tc = test_tensor(NULL, 1, &c_total);
        test_ok(caps_gemm(rt, &tc, &ta, &tb, &s, &err));
        double *got = test_download(&tc), worst = 0;
        for (size_t at = 0; at < c_total; at++)
            ck_assert_msg(!isnan(got[at]), "case %zu: element %zu was not written", i, at);
        for (size_t sample = 0; sample < 2000; sample++) {
            size_t at = sample * 7919 * 104729 % c_total;
            size_t item = at / s.stride_c, row = at % s.stride_c / s.n, column = at % s.n;
            double sum = 0;
            for (size_t l = 0; l < s.k; l++)
                sum += a[item * s.stride_a + (s.trans_a ? l * s.lda + row : row * s.lda + l)] *
                       b[item * s.stride_b + (s.trans_b ? column * s.ldb + l : l * s.ldb + column)];
            double difference = fabs(sum - got[at]);
            worst = difference > worst ? difference : worst;
        }
        /* A sum of k products of size 1/3 is near sqrt(k)/3. */
        ck_assert_msg(worst < 2e-6 * sqrt((double)s.k), "case %zu: error %g", i, worst);
        free(got);
        free(a);
        free(b);
        test_tensor_release(&ta);
        test_tensor_release(&tb);
        test_tensor_release(&tc);
    }
    caps_runtime_free(rt);
}
END_TEST

/* The first columns of a product do not change a bit when fewer are asked for. */
START_TEST(same_bits_however_cut)
{
    enum { M = 61, N = 301, K = 700, FEW = 17 };
    caps_error err = {0};
    caps_runtime *rt = family_runtime("cpu", "packed");
    size_t a_total = M * K, b_total = K * N, c_total = M * N;
    double *a = test_random(a_total, 7, -1, 1), *b = test_random(b_total, 8, -1, 1);
    caps_tensor ta = test_tensor(a, 1, &a_total), tb = test_tensor(b, 1, &b_total);
    caps_tensor whole = test_tensor(NULL, 1, &c_total), part = test_tensor(NULL, 1, &c_total);
    caps_gemm_shape s = shaped(M, N, K, false, false, 1, 0);
    test_ok(caps_gemm(rt, &whole, &ta, &tb, &s, &err));
    s.n = FEW;
    test_ok(caps_gemm(rt, &part, &ta, &tb, &s, &err));
    double *x = test_download(&whole), *y = test_download(&part);
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < FEW; j++)
            ck_assert(x[i * N + j] == y[i * N + j]);
    free(a);
    free(b);
    free(x);
    free(y);
    test_tensor_release(&ta);
    test_tensor_release(&tb);
    test_tensor_release(&whole);
    test_tensor_release(&part);
    caps_runtime_free(rt);
}
END_TEST

/* ---- choice, memory, refusals --------------------------------------------------------------- */

static bool simulated(void)
{
    const caps_device_info *device = caps_runtime_device(test_runtime());
    return strstr(device->platform, "Oclgrind") != NULL;
}

START_TEST(choice)
{
    caps_runtime *cpu = family_runtime("cpu", NULL), *gpu = family_runtime("gpu", NULL);
    caps_gemm_shape tiny = shaped(4, 5, 6, false, false, 1, 0);
    caps_gemm_shape large = shaped(256, 756, 2048, false, false, 1, 0);
    ck_assert_str_eq(caps_gemm_algorithm(cpu, &tiny), "direct");
    ck_assert_str_eq(caps_gemm_algorithm(gpu, &tiny), "direct");
    if (!simulated()) {
        ck_assert_str_eq(caps_gemm_algorithm(cpu, &large), "packed");
        ck_assert_str_eq(caps_gemm_algorithm(gpu, &large), "tiled");
    } else {
        ck_assert_str_eq(caps_gemm_algorithm(cpu, &large), "direct");
        ck_assert_str_eq(caps_gemm_algorithm(gpu, &large), "direct");
    }
    /* More than tiles can count. */
    large.lda = (size_t)1 << 31;
    ck_assert_str_eq(caps_gemm_algorithm(gpu, &large), "direct");
    caps_runtime_free(cpu);
    caps_runtime_free(gpu);
    caps_runtime *forced = family_runtime("cpu", "direct");
    ck_assert_str_eq(caps_gemm_algorithm(forced, &large), "direct");
    caps_runtime_free(forced);
}
END_TEST

START_TEST(scratch_is_forecast)
{
    if (too_slow(variants[_i].gemm))
        return;
    caps_error err = {0};
    caps_runtime *rt = family_runtime(variants[_i].kernels, variants[_i].gemm);
    size_t a_total = 70 * 600, b_total = 600 * 90, c_total = 70 * 90;
    caps_tensor a = test_tensor(NULL, 1, &a_total), b = test_tensor(NULL, 1, &b_total);
    caps_tensor c = test_tensor(NULL, 1, &c_total);
    caps_gemm_shape s = shaped(70, 90, test_small() ? 20 : 600, false, false, 1, 0);
    uint64_t before = caps_runtime_bytes(rt);
    test_ok(caps_gemm(rt, &c, &a, &b, &s, &err));
    uint64_t first = caps_runtime_bytes(rt);
    ck_assert_uint_le(first - before, caps_gemm_scratch(rt, &s));
    test_ok(caps_gemm(rt, &c, &a, &b, &s, &err));
    ck_assert_uint_eq(caps_runtime_bytes(rt), first); /* a second call allocates nothing */
    test_tensor_release(&a);
    test_tensor_release(&b);
    test_tensor_release(&c);
    caps_runtime_free(rt);
}
END_TEST

START_TEST(versions_of_clblast)
{
    static const char *const wrong[] = {
        "/usr/lib/libclblast.so.1.6.0", "libclblast.so.1.6.1", "/a/libclblast.so.1.6.2"};
    static const char *const right[] = {"/usr/lib/libclblast.so.1.5.3", "libclblast.so.1.6.3",
        "libclblast.so.1.7.0", "libclblast.so.2.6.1", "libclblast.so.1", "/usr/bin/capscl", NULL};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_msg(caps_clblast_version_reason(wrong[i]) != NULL, "%s", wrong[i]);
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        ck_assert_msg(!caps_clblast_version_reason(right[i]), "%s", right[i]);
}
END_TEST

static void expect_refusal(caps_runtime *rt, const caps_tensor *c, const caps_tensor *a,
    const caps_tensor *b, const caps_gemm_shape *s, const char *message)
{
    caps_error err = {0};
    ck_assert_int_eq(caps_gemm(rt, c, a, b, s, &err), CAPS_ERR_ARGUMENT);
    ck_assert_msg(strstr(err.message, message), "\"%s\" lacks \"%s\"", err.message, message);
}

START_TEST(refusals)
{
    caps_runtime *rt = family_runtime("cpu", "direct");
    caps_tensor a = test_tensor(NULL, 2, (size_t[]){4, 6}),
                b = test_tensor(NULL, 2, (size_t[]){6, 5});
    caps_tensor c = test_tensor(NULL, 2, (size_t[]){4, 5});
    caps_tensor whole = test_tensor_i32(NULL, 2, (size_t[]){4, 6});
    caps_gemm_shape s = shaped(4, 5, 6, false, false, 1, 0), bad;
    const caps_gemm_epilogue wrong_bias = {&c, false, CAPS_ACT_NONE};
    const caps_gemm_epilogue wrong_act = {NULL, false, (caps_activation)3};
    caps_error err = {0};
    ck_assert_int_eq(caps_gemm_finished(rt, &c, &a, &b, &s, &wrong_bias, &err), CAPS_ERR_ARGUMENT);
    ck_assert_msg(strstr(err.message, "gemm: bias"), "%s", err.message);
    ck_assert_int_eq(caps_gemm_finished(rt, &c, &a, &b, &s, &wrong_act, &err), CAPS_ERR_ARGUMENT);
    ck_assert_msg(strstr(err.message, "gemm: activation is 3"), "%s", err.message);
    bad = s, bad.k = 0;
    expect_refusal(rt, &c, &a, &b, &bad, "k is 0, need 1 to");
    bad = s, bad.count = 0;
    expect_refusal(rt, &c, &a, &b, &bad, "count is 0");
    bad = s, bad.lda = 5;
    expect_refusal(rt, &c, &a, &b, &bad, "lda is 5, need >= 6");
    bad = s, bad.trans_b = true;
    expect_refusal(rt, &c, &a, &b, &bad, "ldb is 5, need >= 6");
    bad = s, bad.m = 1000;
    expect_refusal(rt, &c, &a, &b, &bad, "C ends at element");
    bad = s, bad.count = 2, bad.stride_c = 0;
    expect_refusal(rt, &c, &a, &b, &bad, "stride_c is 0 with count 2");
    bad = s, bad.ldb = SIZE_MAX / 2;
    expect_refusal(rt, &c, &a, &b, &bad, "B is larger than any buffer");
    expect_refusal(rt, &c, &whole, &b, &s, "A is int32, need float32");
    caps_runtime *gpu = family_runtime("gpu", "packed");
    expect_refusal(gpu, &c, &a, &b, &s, "packed cannot take 4x5x6");
    caps_runtime_free(gpu);
    caps_runtime_free(rt);
    test_tensor_release(&a);
    test_tensor_release(&b);
    test_tensor_release(&c);
    test_tensor_release(&whole);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("gemm");
    TCase *t = tcase_create("products");
    const int first = test_has_family("cpu") ? 0 : OF_GPU;
    tcase_set_timeout(t, 600); /* CLBlast compiles for seconds at first use */
    tcase_add_loop_test(t, every_transpose, first, VARIANTS);
    tcase_add_loop_test(t, alpha_and_beta, first, VARIANTS);
    tcase_add_loop_test(t, batches, first, VARIANTS);
    tcase_add_loop_test(t, epilogues, first, VARIANTS);
    if (!test_small() && test_has_family("cpu")) {
        tcase_add_test(t, cut_into_pieces);
        tcase_add_test(t, same_bits_however_cut);
    }
    if (test_has_family("cpu"))
        tcase_add_test(t, choice);
    tcase_add_test(t, versions_of_clblast);
    tcase_add_loop_test(t, scratch_is_forecast, first, VARIANTS);
    tcase_add_test(t, refusals);
    suite_add_tcase(s, t);
    return s;
}
