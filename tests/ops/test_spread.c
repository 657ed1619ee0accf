/* test_spread.c: the spread loss, of one label and of several. */
#include <math.h>

#include "families.h"
#include "ref.h"

static const size_t shapes[][3] = {{1, 1, 1}, {3, 5, 1}, {2, 17, 2}, {7, 2, 1}, {131, 11, 3}};

#define SHAPES (sizeof shapes / sizeof shapes[0])
#define MARGIN 0.43f

typedef struct problem {
    size_t b, j, l;
    const int32_t *labels;
} problem;

static double weighted_loss(const double *a, void *context)
{
    const problem *p = context;
    double *loss = test_zeros(p->b), sum = 0;
    caps_ref_spread_forward(loss, a, p->labels, (double)MARGIN, p->b, p->j, p->l);
    for (size_t b = 0; b < p->b; b++)
        sum += 0.25 * loss[b];
    free(loss);
    return sum;
}

/* Of every class; one is none, and one stands twice. */
static int32_t *make_labels(size_t b, size_t j, size_t l)
{
    int32_t *labels = calloc(b * l, sizeof *labels);
    for (size_t i = 0; i < b * l; i++)
        labels[i] = (int32_t)((3 * i + 1) % j);
    if (b > 2)
        labels[l] = -1;
    if (b > 3)
        labels[2 * l] = (int32_t)j;
    if (l > 1)
        labels[l - 1] = labels[0];
    return labels;
}

START_TEST(reference_gradient_by_finite_differences)
{
    for (size_t l = 1; l <= 2; l++) {
        const problem p = {4, 5, l, make_labels(4, 5, l)};
        double *a = test_random(20, 3, 0, 1), *da = test_zeros(20);
        caps_ref_spread_backward(da, a, p.labels, (double)MARGIN, 0.25, 4, 5, l);
        ck_assert_double_lt(
            test_finite_difference(weighted_loss, (void *)&p, a, da, 20, 1e-6), 1e-6);
        free((void *)p.labels);
        free(a);
        free(da);
    }
}
END_TEST

/* Two classes, by hand: (0.5 - (0.7 - 0.4))^2 = 0.04. */
START_TEST(reference_is_the_formula)
{
    const double a[] = {0.4, 0.7};
    double loss, da[2];
    const int32_t label = 1;
    caps_ref_spread_forward(&loss, a, &label, 0.5, 1, 2, 1);
    caps_ref_spread_backward(da, a, &label, 0.5, 1, 1, 2, 1);
    ck_assert_double_eq_tol(loss, 0.04, 1e-12);
    ck_assert_double_eq_tol(da[0], 0.4, 1e-12);
    ck_assert_double_eq_tol(da[1], -0.4, 1e-12);
    caps_ref_spread_forward(&loss, a, &label, 0.3, 1, 2, 1);
    ck_assert_double_eq_tol(loss, 0, 1e-12);
}
END_TEST

START_TEST(agrees_with_the_reference)
{
    for (size_t n = 0; n < SHAPES; n++) {
        const size_t b = shapes[n][0], j = shapes[n][1], l = shapes[n][2];
        caps_error err = {0};
        double *a = test_random(b * j, n, 0, 1), *loss = test_zeros(b), *da = test_zeros(b * j);
        int32_t *labels = make_labels(b, j, l);
        const float scale = 1.0f / (float)b;
        caps_ref_spread_forward(loss, a, labels, (double)MARGIN, b, j, l);
        caps_ref_spread_backward(da, a, labels, (double)MARGIN, (double)scale, b, j, l);
        caps_tensor ta = test_tensor(a, 2, shapes[n]), tda = test_tensor(NULL, 2, shapes[n]);
        caps_tensor tloss = test_tensor(NULL, 1, &b);
        caps_tensor tl = test_tensor_i32(labels, l > 1 ? 2 : 1, (size_t[]){b, l});
        test_ok(caps_spread_forward(families[_i], &tloss, &ta, &tl, MARGIN, &err));
        test_expect(&tloss, loss, 2e-6, "loss");
        test_ok(caps_spread_backward(families[_i], &tda, &ta, &tl, MARGIN, scale, &err));
        test_expect(&tda, da, 2e-6, "da");
        uint32_t *once = test_bits(families[_i], &tda);
        test_ok(caps_spread_backward(families[_i], &tda, &ta, &tl, MARGIN, scale, &err));
        uint32_t *again = test_bits(families[_i], &tda);
        ck_assert(memcmp(once, again, caps_tensor_bytes(&tda)) == 0);
        caps_tensor *all[] = {&ta, &tda, &tloss, &tl};
        for (size_t t = 0; t < sizeof all / sizeof all[0]; t++)
            test_tensor_release(all[t]);
        free(once);
        free(again);
        free(a);
        free(da);
        free(loss);
        free(labels);
    }
}
END_TEST

START_TEST(what_is_no_number_shows)
{
    caps_error err = {0};
    const size_t one = 1, shape[] = {1, 3};
    const int32_t label = 1;
    for (size_t at = 0; at < 3; at++) {
        double a[] = {0.1, 0.2, 0.3};
        a[at] = NAN;
        caps_tensor ta = test_tensor(a, 2, shape), tl = test_tensor_i32(&label, 1, &one);
        caps_tensor tloss = test_tensor(NULL, 1, &one);
        test_ok(caps_spread_forward(families[_i], &tloss, &ta, &tl, MARGIN, &err));
        double *loss = test_download(&tloss);
        ck_assert(isnan(loss[0]));
        free(loss);
        test_tensor_release(&ta);
        test_tensor_release(&tl);
        test_tensor_release(&tloss);
    }
}
END_TEST

START_TEST(bad_arguments_are_refused)
{
    const size_t two = 2, shape[] = {2, 3}, other[] = {2, 4};
    caps_tensor a = test_tensor(NULL, 2, shape), wide = test_tensor(NULL, 2, other);
    caps_tensor loss = test_tensor(NULL, 1, &two);
    caps_tensor labels = test_tensor_i32((int32_t[]){0, 1}, 1, &two);
    test_refused(caps_spread_forward(families[_i], &a, &a, &labels, MARGIN, err),
        "spread: loss is float32 [2, 3], need float32 [2]");
    test_refused(caps_spread_backward(families[_i], &wide, &a, &labels, MARGIN, 1, err),
        "spread: da is float32 [2, 4], need float32 [2, 3]");
    test_refused(caps_spread_forward(families[_i], &loss, &loss, &labels, MARGIN, err),
        "spread: a is float32 [2], need float32 [B, J]");
    caps_tensor *all[] = {&a, &wide, &loss, &labels};
    for (size_t t = 0; t < sizeof all / sizeof all[0]; t++)
        test_tensor_release(all[t]);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("spread");
    TCase *tc = families_case(s, "spread");
    tcase_add_test(tc, reference_gradient_by_finite_differences);
    tcase_add_test(tc, reference_is_the_formula);
    families_add(tc, agrees_with_the_reference);
    families_add(tc, what_is_no_number_shows);
    families_add(tc, bad_arguments_are_refused);
    return s;
}
