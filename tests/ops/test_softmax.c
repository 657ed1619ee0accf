/* test_softmax.c: softmax, cross entropy, dropout, scale. */
#include <math.h>

#include "families.h"
#include "ref.h"
#include "rng.h"

static const size_t shapes[][2] = {{1, 1}, {3, 5}, {2, 17}, {7, 2}, {131, 11}};

#define SHAPES (sizeof shapes / sizeof shapes[0])

typedef struct problem {
    size_t b, j;
    const int32_t *labels;
} problem;

static double mean_entropy(const double *z, void *context)
{
    const problem *p = context;
    double *loss = test_zeros(p->b), sum = 0;
    caps_ref_cross_entropy_forward(loss, z, p->labels, p->b, p->j);
    for (size_t b = 0; b < p->b; b++)
        sum += loss[b] / (double)p->b;
    free(loss);
    return sum;
}

/* Of every class, and one that is none. */
static int32_t *make_labels(size_t b, size_t j)
{
    int32_t *labels = calloc(b, sizeof *labels);
    for (size_t i = 0; i < b; i++)
        labels[i] = (int32_t)((3 * i + 1) % j);
    if (b > 2)
        labels[1] = -1;
    return labels;
}

START_TEST(reference_gradient_by_finite_differences)
{
    const problem p = {4, 5, make_labels(4, 5)};
    double *z = test_random(20, 3, -3, 3), *soft = test_zeros(20), *dz = test_zeros(20);
    caps_ref_softmax_forward(soft, z, 4, 5);
    caps_ref_cross_entropy_backward(dz, soft, p.labels, 0.25, 4, 5);
    ck_assert_double_lt(test_finite_difference(mean_entropy, (void *)&p, z, dz, 20, 1e-5), 1e-7);
    free((void *)p.labels);
    free(z);
    free(soft);
    free(dz);
}
END_TEST

START_TEST(softmax_and_cross_entropy_agree_with_the_reference)
{
    for (size_t n = 0; n < SHAPES; n++) {
        const size_t b = shapes[n][0], j = shapes[n][1];
        caps_error err = {0};
        double *z = test_random(b * j, n, -20, 20), *p = test_zeros(b * j), *loss = test_zeros(b);
        double *dz = test_zeros(b * j);
        int32_t *labels = make_labels(b, j);
        const float scale = 1.0f / (float)b;
        caps_ref_softmax_forward(p, z, b, j);
        caps_ref_cross_entropy_forward(loss, z, labels, b, j);
        caps_ref_cross_entropy_backward(dz, p, labels, (double)scale, b, j);
        caps_tensor tz = test_tensor(z, 2, shapes[n]), tp = test_tensor(NULL, 2, shapes[n]);
        caps_tensor tloss = test_tensor(NULL, 1, &b), tl = test_tensor_i32(labels, 1, &b);
        caps_tensor tdz = test_tensor(NULL, 2, shapes[n]);
        test_ok(caps_softmax_forward(families[_i], &tp, &tz, &err));
        test_expect(&tp, p, 2e-6, "p");
        test_ok(caps_cross_entropy_forward(families[_i], &tloss, &tz, &tl, &err));
        test_expect(&tloss, loss, 1e-6, "loss");
        test_ok(caps_cross_entropy_backward(families[_i], &tdz, &tp, &tl, scale, &err));
        test_expect(&tdz, dz, 5e-6, "dz");
        test_tensor_release(&tz);
        test_tensor_release(&tp);
        test_tensor_release(&tloss);
        test_tensor_release(&tl);
        test_tensor_release(&tdz);
        free(z);
        free(p);
        free(loss);
        free(dz);
        free(labels);
    }
}
END_TEST

/* Logits of any size; what is no number shows. */
START_TEST(logits_of_any_size)
{
    const double z[] = {1000, 0, -1000, NAN, 1, 2, -1e30, -1e30, 1e30};
    caps_error err = {0};
    caps_tensor tz = test_tensor(z, 2, (size_t[]){3, 3}), loss = test_tensor(NULL, 1, tz.shape);
    caps_tensor labels = test_tensor_i32((int32_t[]){2, 1, 2}, 1, tz.shape);
    test_ok(caps_cross_entropy_forward(families[_i], &loss, &tz, &labels, &err));
    double *have = test_download(&loss);
    ck_assert(have[0] == 2000);
    ck_assert(isnan(have[1]));
    ck_assert(have[2] == 0);
    free(have);
    test_tensor_release(&tz);
    test_tensor_release(&loss);
    test_tensor_release(&labels);
}
END_TEST

/* Every element is what the host draws, wherever a tensor begins in the whole. */
START_TEST(dropout_is_the_same_on_the_host)
{
    static const size_t counts[] = {1, 3, 257, 2051};
    static const float rates[] = {0, 0.1f, 0.5f, 0.999f};
    for (size_t c = 0; c < 4; c++)
        for (uint64_t first = 0; first < 6; first++) {
            const size_t n = counts[c];
            const caps_dropout d = {.rate = rates[(c + first) % 4],
                .seed = 0xfedcba9876543210u,
                .step = 9 + c,
                .layer = (uint32_t)c,
                .first = first << (first > 4 ? 33 : 0)};
            caps_error err = {0};
            double *x = test_random(n, c, 1, 2), *need = test_zeros(n);
            caps_tensor tx = test_tensor(x, 1, &n), ty = test_tensor(NULL, 1, &n);
            test_ok(caps_dropout_forward(families[_i], &ty, &tx, &d, &err));
            caps_ref_dropout(need, x, (double)d.rate, d.seed, d.step, d.layer, d.first, n);
            double *have = test_download(&ty);
            for (size_t i = 0; i < n; i++)
                ck_assert((have[i] != 0) == (need[i] != 0));
            test_expect(&ty, need, 3e-7, "y");
            /* In place, and the backward is the same map. */
            test_ok(caps_dropout_backward(families[_i], &tx, &tx, &d, &err));
            test_expect_exactly(&tx, have, "dx");
            free(have);
            free(x);
            free(need);
            test_tensor_release(&tx);
            test_tensor_release(&ty);
        }
}
END_TEST

START_TEST(dropout_drops_its_share)
{
    const size_t n = 100000;
    double *x = test_random(n, 1, 1, 1), *y = test_zeros(n);
    size_t dropped = 0, both = 0;
    double *other = test_zeros(n);
    caps_ref_dropout(y, x, 0.3, 5, 1, 0, 0, n);
    caps_ref_dropout(other, x, 0.3, 5, 2, 0, 0, n);
    for (size_t i = 0; i < n; i++) {
        dropped += y[i] == 0;
        both += y[i] == 0 && other[i] == 0;
    }
    /* Five standard deviations of the binomial distributions. */
    ck_assert_double_eq_tol((double)dropped, 0.3 * n, 725);
    ck_assert_double_eq_tol((double)both, 0.09 * n, 453);
    free(x);
    free(y);
    free(other);
}
END_TEST

START_TEST(scale_is_exact)
{
    static const size_t counts[] = {1, 15, 16, 1027, 20001};
    for (size_t c = 0; c < 5; c++) {
        const size_t n = counts[c];
        caps_error err = {0};
        double *x = test_random(n, c, -1, 1);
        caps_tensor tx = test_tensor(x, 1, &n);
        test_ok(caps_scale(families[_i], &tx, &tx, 1.7f, &err));
        for (size_t i = 0; i < n; i++)
            x[i] = (double)(1.7f * (float)x[i]);
        test_expect_exactly(&tx, x, "y");
        test_tensor_release(&tx);
        free(x);
    }
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    caps_runtime *rt = families[_i];
    caps_tensor z = test_tensor(NULL, 2, (size_t[]){2, 3}), b = test_tensor(NULL, 1, (size_t[]){2});
    caps_tensor i3 = test_tensor_i32(NULL, 1, (size_t[]){3});
    caps_dropout d = {.rate = 1};
    test_refused(
        caps_softmax_forward(rt, &b, &z, err), "softmax: p is float32 [2], need float32 [2, 3]");
    test_refused(caps_cross_entropy_forward(rt, &b, &z, &i3, err),
        "cross_entropy: labels is int32 [3], need int32 [2]");
    test_refused(caps_cross_entropy_backward(rt, &b, &z, &i3, 1, err),
        "cross_entropy: dz is float32 [2], need float32 [2, 3]");
    test_refused(
        caps_dropout_forward(rt, &z, &z, &d, err), "dropout: rate is 1, need >= 0 and < 1");
    d.rate = 0.5f;
    test_refused(
        caps_dropout_backward(rt, &b, &z, &d, err), "dropout: dx has 2 float32, need 6 as dy");
    test_refused(caps_scale(rt, &b, &z, 1, err), "scale: y has 2 float32, need 6 as x");
    test_tensor_release(&z);
    test_tensor_release(&b);
    test_tensor_release(&i3);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("softmax");
    TCase *tc = families_case(s, "softmax");
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    tcase_add_test(tc, dropout_drops_its_share);
    families_add(tc, softmax_and_cross_entropy_agree_with_the_reference);
    families_add(tc, logits_of_any_size);
    families_add(tc, dropout_is_the_same_on_the_host);
    families_add(tc, scale_is_exact);
    families_add(tc, wrong_arguments_are_refused);
    return s;
}
