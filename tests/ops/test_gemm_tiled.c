/* test_gemm_tiled.c: every tile of the GPU family's own product, also those of other devices than
 * this one, against the reference. */
#include "families.h"
#include "gemm_cases.h"
#include "launch.h"

/* A runtime that serves tile _i; NULL: the device cannot run it. */
static caps_runtime *tile_runtime(size_t tile)
{
    caps_runtime *rt = family_runtime("gpu", "tiled");
    const caps_gemm_shape shape = shaped(3, 5, 7, false, false, 1, 0);
    if (!caps_gemm_tile_reason(rt, tile, &shape))
        return rt;
    caps_runtime_free(rt);
    return NULL;
}

static void check_cut(caps_runtime *rt, size_t tile, const caps_gemm_shape *s, size_t parts,
    size_t offset, int bias, caps_activation act)
{
    caps_gemm_cut cut = caps_gemm_cut_by(rt, tile, s, parts);
    ck_assert_uint_eq(cut.chunk % cut.kc, 0);
    ck_assert_uint_ge(cut.chunk * cut.parts, s->k);
    ck_assert_uint_lt(cut.chunk * (cut.parts - 1), s->k); /* no part is empty */
    check_way(rt, &(product_way){&cut, offset}, s, bias, act, caps_gemm_tile_name(tile));
    cut.apart = !cut.apart;
    if (s->count > 1)
        check_way(rt, &(product_way){&cut, offset}, s, bias, act, "apart");
}

/* Elements after which a test's tensor lies at a multiple of 16 bytes: there are 37 before it. */
enum { ALIGNED = 3, ODD = 0 };

/* Where everything lies at multiples of 16 bytes, and where nothing does: other code. More than one
 * tile both ways, with a rest each; k of whole rounds, and with a rest. Each operand lies along and
 * across; the code for one does not see the other. */
START_TEST(every_tile)
{
    caps_runtime *rt = tile_runtime((size_t)_i);
    if (!rt)
        return;
    const caps_gemm_shape one = shaped(1000, 1, 1, false, false, 1, 0);
    const caps_gemm_cut full = caps_gemm_cut_by(rt, (size_t)_i, &one, 1);
    const size_t m = test_small() ? 8 : full.tm + 12, n = test_small() ? 12 : full.tn + 4;
    const size_t k = (test_small() ? 2 : 3) * full.kc;
    for (int t = 0; t < 2; t++) {
        caps_gemm_shape s = shaped(m, n, k, t, !t, 1, 0);
        check_cut(rt, (size_t)_i, &s, 1, ALIGNED, 0, CAPS_ACT_NONE);
        check_cut(rt, (size_t)_i, &s, 2, ALIGNED, 1 + t, CAPS_ACT_SIGMOID);
        s = shaped(m + 1, n + 3, k - 5, t, !t, 2, 3);
        s.alpha = 0.5f;
        s.beta = 0.25f;
        check_cut(rt, (size_t)_i, &s, 1, ODD, 2 - t, CAPS_ACT_RELU);
    }
    caps_runtime_free(rt);
}
END_TEST

/* Rows of 16 bytes that k or a row's length do not fill, with NaN behind: it is read, and dropped.
 */
START_TEST(filled_rows)
{
    caps_runtime *rt = tile_runtime((size_t)_i);
    if (!rt)
        return;
    for (int t = 0; t < 2; t++) {
        caps_gemm_shape s = shaped(10, 9, 21, t, !t, 2, 0);
        s.lda = s.ldb = 24;
        s.ldc = 12;
        s.stride_a = s.stride_b = 24 * 24;
        s.stride_c = 12 * 12;
        check_cut(rt, (size_t)_i, &s, 1, ALIGNED, 0, CAPS_ACT_NONE);
    }
    caps_runtime_free(rt);
}
END_TEST

/* An item has as many rows as the matrix needs. */
START_TEST(any_number_of_rows)
{
    static const size_t rows[] = {1, 25, 51, 108};
    caps_runtime *rt = family_runtime("gpu", "tiled");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const caps_gemm_shape s = shaped(rows[i], 36, 40, false, true, 1, 0);
        check_way(rt, &(product_way){NULL, 0}, &s, 0, CAPS_ACT_NONE, "rows");
        if (caps_gemm_tile_reason(rt, 0, &s))
            continue;
        const caps_gemm_cut cut = caps_gemm_cut_by(rt, 0, &s, 1);
        ck_assert_uint_lt(
            cut.tm * caps_div_up(s.m, cut.tm), s.m + cut.lm * caps_div_up(s.m, cut.tm));
        check_cut(rt, 0, &s, 1, ALIGNED, 0, CAPS_ACT_NONE);
    }
    caps_runtime_free(rt);
}
END_TEST

/* The decoder's, conv1's gradient, one image; and more products than a dimension of groups has. */
START_TEST(shapes_of_networks)
{
    caps_error err = {0};
    static const struct {
        size_t m, n, k, count;
        bool trans_a, trans_b;
    } cases[] = {{100, 512, 160, 1, false, true}, {160, 100, 512, 1, true, false},
        {1, 1024, 512, 1, false, true}, {10, 1, 200, 1, false, false},
        {48, 81, 4000, 1, false, true}, {5, 3, 4, 70000, false, false}};
    caps_runtime *rt = family_runtime("gpu", "tiled");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const caps_gemm_shape s = shaped(cases[i].m, cases[i].n, cases[i].k, cases[i].trans_a,
            cases[i].trans_b, cases[i].count, 0);
        check_way(rt, &(product_way){NULL, 0}, &s, 1, CAPS_ACT_RELU, "chosen");
        if (s.count == 1)
            for (size_t parts = 2; parts < 10; parts += 5) {
                caps_gemm_cut cut;
                test_ok(caps_gemm_cut_choose(&cut, rt, &s, false, &err));
                cut = caps_gemm_cut_by(rt, cut.tile, &s, parts);
                check_way(rt, &(product_way){&cut, 0}, &s, 2, CAPS_ACT_NONE, "in parts");
            }
    }
    caps_runtime_free(rt);
}
END_TEST

/* Twice the same bits, whole and in parts. */
START_TEST(same_bits_twice)
{
    caps_error err = {0};
    caps_runtime *rt = family_runtime("gpu", "tiled");
    const size_t n = test_small() ? 20 : 150, all = n * n;
    double *values = test_random(all, 9, -1, 1);
    caps_tensor a = test_tensor(values, 1, &all), b = test_tensor(values, 1, &all);
    caps_tensor c[2] = {test_tensor(NULL, 1, &all), test_tensor(NULL, 1, &all)};
    const caps_gemm_shape s = shaped(n, n, n, false, false, 1, 0);
    caps_gemm_cut cut;
    test_ok(caps_gemm_cut_choose(&cut, rt, &s, false, &err));
    for (size_t parts = 1; parts < 4; parts += 2) {
        cut = caps_gemm_cut_by(rt, cut.tile, &s, parts);
        for (int i = 0; i < 2; i++)
            test_ok(caps_gemm_tiled_run(rt, &cut, &c[i], &a, &b, &s, NULL, &err));
        uint32_t *x = test_bits(rt, &c[0]), *y = test_bits(rt, &c[1]);
        ck_assert(memcmp(x, y, all * sizeof *x) == 0);
        free(x);
        free(y);
    }
    free(values);
    test_tensor_release(&a);
    test_tensor_release(&b);
    test_tensor_release(&c[0]);
    test_tensor_release(&c[1]);
    caps_runtime_free(rt);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("gemm_tiled");
    TCase *t = tcase_create("tiles");
    const int tiles = (int)caps_gemm_tiles_count();
    tcase_set_timeout(t, 0);
    for (int i = 0; i < tiles; i++) {
        if (test_takes((size_t)i))
            tcase_add_loop_test(t, every_tile, i, i + 1);
        if (test_takes((size_t)i + 1) && !test_small())
            tcase_add_loop_test(t, filled_rows, i, i + 1);
    }
    tcase_add_test(t, same_bits_twice);
    if (!test_small()) {
        tcase_add_test(t, any_number_of_rows);
        tcase_add_test(t, shapes_of_networks);
    }
    suite_add_tcase(s, t);
    return s;
}
