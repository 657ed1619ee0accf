/* test_class_weights.c: rows times the weights of their classes, and the loss and gradient that
 * this makes of a loss. */
#include <math.h>

#include "families.h"
#include "ref.h"

typedef struct shape {
    size_t b, n, j, l;
} shape;

static const shape shapes[] = {
    {1, 1, 1, 1}, {3, 5, 2, 1}, {7, 1, 3, 2}, {5, 33, 4, 3}, {131, 7, 28, 1}, {2, 160, 10, 1}};

#define SHAPES (sizeof shapes / sizeof shapes[0])

/* Of every class, and some that are none. */
static int32_t *make_labels(const shape *x)
{
    const size_t n = x->b * x->l;
    int32_t *labels = calloc(n, sizeof *labels);
    ck_assert_ptr_nonnull(labels);
    for (size_t i = 0; i < n; i++)
        labels[i] = i % 7 == 5 ? -1 : i % 11 == 9 ? (int32_t)x->j : (int32_t)(i * 3 % x->j);
    return labels;
}

static caps_tensor labels_tensor(const shape *x, const int32_t *labels)
{
    return test_tensor_i32(labels, x->l > 1 ? 2 : 1, (size_t[]){x->b, x->l});
}

START_TEST(rows_agree_with_the_reference)
{
    for (size_t s = 0; s < SHAPES; s++) {
        const shape *x = &shapes[s];
        caps_error err = {0};
        double *values = test_random(x->b * x->n, s, -1, 1), *weights = test_random(x->j, 9, 0, 3);
        int32_t *labels = make_labels(x);
        caps_tensor tx = test_tensor(values, x->n > 1 ? 2 : 1, (size_t[]){x->b, x->n});
        caps_tensor tw = test_tensor(weights, 1, &x->j), tl = labels_tensor(x, labels);
        test_ok(caps_class_weights_apply(families[_i], &tx, &tw, &tl, &err));
        caps_ref_class_weights(values, weights, labels, x->b, x->n, x->j, x->l);
        test_expect(&tx, values, 1e-6, "x");
        test_tensor_release(&tx);
        test_tensor_release(&tw);
        test_tensor_release(&tl);
        free(values);
        free(weights);
        free(labels);
    }
}
END_TEST

START_TEST(a_weight_of_one_changes_no_bit)
{
    for (size_t s = 0; s < SHAPES; s++) {
        const shape *x = &shapes[s];
        caps_error err = {0};
        double *values = test_random(x->b * x->n, s, -1, 1), *weights = test_zeros(x->j);
        int32_t *labels = make_labels(x);
        for (size_t j = 0; j < x->j; j++)
            weights[j] = 1;
        caps_tensor tx = test_tensor(values, 2, (size_t[]){x->b, x->n});
        caps_tensor tw = test_tensor(weights, 1, &x->j), tl = labels_tensor(x, labels);
        test_ok(caps_class_weights_apply(families[_i], &tx, &tw, &tl, &err));
        test_expect_exactly(&tx, values, "x");
        test_tensor_release(&tx);
        test_tensor_release(&tw);
        test_tensor_release(&tl);
        free(values);
        free(weights);
        free(labels);
    }
}
END_TEST

/* ---- the weighted losses of the reference, by finite differences ----------------------------- */

enum { B = 5, J = 4, D = 3 };
static const double weights[J] = {0.25, 3, 0, 1.5};
static const int32_t labels[B] = {1, 0, 3, 2, 1}, pairs[2 * B] = {1, 0, 3, 2, 2, 2, 0, 3, 1, 1};

static double weighted_mean(double *loss, const int32_t *of, size_t l)
{
    double sum = 0;
    caps_ref_class_weights(loss, weights, of, B, 1, J, l);
    for (size_t b = 0; b < B; b++)
        sum += loss[b] / B;
    return sum;
}

static double margin_loss(const double *v, void *context)
{
    const size_t l = *(const size_t *)context;
    double lengths[B * J], loss[B];
    caps_ref_lengths_forward(lengths, v, B, J, D);
    caps_ref_margin_forward(loss, lengths, l > 1 ? pairs : labels, 0.9, 0.1, 0.5, B, J, l);
    return weighted_mean(loss, l > 1 ? pairs : labels, l);
}

static double cross_entropy(const double *z, void *context)
{
    double loss[B];
    (void)context;
    caps_ref_cross_entropy_forward(loss, z, labels, B, J);
    return weighted_mean(loss, labels, 1);
}

START_TEST(gradients_of_weighted_losses_by_finite_differences)
{
    double *v = test_random(B * J * D, 1, -0.6, 0.6), *z = test_random(B * J, 2, -2, 2);
    double dv[B * J * D], lengths[B * J], p[B * J], dz[B * J];
    for (size_t l = 1; l <= 2; l++) {
        const int32_t *of = l > 1 ? pairs : labels;
        caps_ref_lengths_forward(lengths, v, B, J, D);
        caps_ref_margin_backward(dv, v, lengths, of, 0.9, 0.1, 0.5, 1.0 / B, B, J, D, l);
        caps_ref_class_weights(dv, weights, of, B, (size_t)J * D, J, l);
        ck_assert_double_lt(test_finite_difference(margin_loss, &l, v, dv, B * J * D, 1e-6), 1e-6);
    }
    caps_ref_softmax_forward(p, z, B, J);
    caps_ref_cross_entropy_backward(dz, p, labels, 1.0 / B, B, J);
    caps_ref_class_weights(dz, weights, labels, B, J, J, 1);
    ck_assert_double_lt(test_finite_difference(cross_entropy, NULL, z, dz, B * J, 1e-6), 1e-6);
    free(v);
    free(z);
}
END_TEST

START_TEST(wrong_shapes_are_refused)
{
    caps_runtime *rt = families[_i];
    caps_tensor x = test_tensor(NULL, 2, (size_t[]){2, 3}), w = test_tensor(NULL, 1, &shapes[3].b);
    caps_tensor two = test_tensor_i32(NULL, 1, (size_t[]){2}),
                three = test_tensor_i32(NULL, 1, (size_t[]){3}), none = {0};
    test_refused(caps_class_weights_apply(rt, &none, &w, &two, err),
        "class weights: x has no buffer, need float32 [B, ...]");
    test_refused(caps_class_weights_apply(rt, &x, &x, &two, err),
        "class weights: weights is float32 [2, 3], need float32 [J]");
    test_refused(caps_class_weights_apply(rt, &x, &w, &three, err),
        "class weights: labels is int32 [3], need int32 [2]");
    test_tensor_release(&x);
    test_tensor_release(&w);
    test_tensor_release(&two);
    test_tensor_release(&three);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("class_weights");
    TCase *tc = families_case(s, "class_weights");
    tcase_add_test(tc, gradients_of_weighted_losses_by_finite_differences);
    families_add(tc, rows_agree_with_the_reference);
    families_add(tc, a_weight_of_one_changes_no_bit);
    families_add(tc, wrong_shapes_are_refused);
    return s;
}
